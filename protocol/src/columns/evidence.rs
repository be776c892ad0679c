//! What a conclusion rests on. Enters: evidence. Leaves: decisions.

use super::UnpackError;
use super::coder::Coder;
use super::model::NUMBER;
use super::place;
use super::tags::Tag;
use super::walk::{TICK_MS, Walk};
use crate::clock::Uptime;
use crate::event::{Evidence, Kind};

/// What has been read of an event when its evidence is reached.
pub(super) struct Known<'a> {
    pub(super) kind: Kind,
    pub(super) class: usize,
    pub(super) confidence: u8,
    pub(super) at: Uptime,
    pub(super) concluded: u64,
    /// What was said of its tag before, in the same boot or another.
    pub(super) before: Option<&'a Tag>,
}

impl<C: Coder> Walk<C> {
    pub(super) fn evidence(&mut self, known: &Known<'_>, given: Evidence) -> Result<Evidence, UnpackError> {
        let (kind, class) = (known.kind as usize, known.class);
        let model = &mut self.model;
        model.coder.column("margin");
        let sure = known.confidence.saturating_sub(70);
        let margin = if model.bit(place::NO_MARGIN + class, given.margin_db == 0) {
            0
        } else if known.kind == Kind::CarriedIn
            && model.bit(place::SURE_MARGIN + class % 8, given.margin_db == sure)
        {
            sure.into()
        } else {
            model.number(place::MARGIN + kind * NUMBER, given.margin_db.into())
        };
        model.coder.column("unrest");
        let sure =
            u8::try_from((u32::from(known.confidence) + 34).saturating_sub(60) * 100 / 64).unwrap_or(100);
        let unrest = if model.bit(place::UNREST + class * 3, given.unrest == 0) {
            0
        } else if model.bit(place::UNREST + class * 3 + 1, given.unrest == 100) {
            100
        } else if model.bit(place::UNREST + class * 3 + 2, given.unrest == sure) {
            sure.into()
        } else {
            model.tree(place::OTHER_UNREST, 8, given.unrest.into())
        };
        model.coder.column("reads");
        let reads = model.number(place::READS + kind * NUMBER, given.reads.into());
        model.coder.column("dwell");
        let dwell = match known.before {
            Some(tag) => {
                let until = if known.kind == Kind::PickedUp {
                    known.concluded.wrapping_mul(TICK_MS).wrapping_add(self.phase)
                } else {
                    known.at.0
                };
                let sure = until.saturating_sub(tag.since.0) / 100;
                let sure = u16::try_from(sure).unwrap_or(u16::MAX);
                if model.bit(place::DWELL_SURE + class, given.dwell_ds == sure) {
                    sure.into()
                } else if model.bit(place::DWELL_BELOW + kind, given.dwell_ds < sure) {
                    u64::from(sure).wrapping_sub(
                        model.number(place::DWELL_LESS, u64::from(sure.saturating_sub(given.dwell_ds))),
                    )
                } else {
                    u64::from(sure).wrapping_add(model.number(
                        place::DWELL_MORE + kind * NUMBER,
                        given.dwell_ds.saturating_sub(sure).into(),
                    ))
                }
            }
            None => model.number(place::DWELL + kind * NUMBER, given.dwell_ds.into()),
        };
        Ok(Evidence {
            reads: small("reads", reads)?,
            margin_db: small("margin", margin)?,
            unrest: small("unrest", unrest)?,
            dwell_ds: small("dwell", dwell)?,
        })
    }
}

fn small<T: TryFrom<u64>>(column: &'static str, value: u64) -> Result<T, UnpackError> {
    T::try_from(value).map_err(|_| UnpackError::Value { column, value })
}
