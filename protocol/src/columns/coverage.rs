//! What readers were doing. Enters: coverage events. Leaves: decisions.

use super::UnpackError;
use super::coder::Coder;
use super::place;
use super::walk::{TICK_MS, Walk};
use crate::clock::Uptime;
use crate::event::{Coverage, Kind, ReaderState};
use crate::id::ReaderId;

/// The last stretch of a reader.
pub(super) struct Reader {
    id: ReaderId,
    at: Uptime,
    length: u64,
}

impl<C: Coder> Walk<C> {
    pub(super) fn coverage(
        &mut self,
        at: Uptime,
        rebooted: bool,
        class: usize,
        given: Option<Coverage>,
    ) -> Result<(Uptime, Coverage), UnpackError> {
        let column = "reader";
        self.model.coder.column(column);
        let known = self.readers.iter().position(|reader| given.is_some_and(|c| c.reader == reader.id));
        let met = !self.readers.is_empty()
            && self.model.bit(place::READER_MET + self.readers.len().min(7), known.is_some());
        let before = if met {
            // The one that was silent longest comes first.
            let rank = self.model.number(place::READER, known.unwrap_or(0) as u64);
            let at = usize::try_from(rank).ok().filter(|at| *at < self.readers.len());
            Some(self.readers.remove(at.ok_or(UnpackError::Value { column, value: rank })?))
        } else {
            None
        };
        let reader = match &before {
            Some(reader) => reader.id,
            None => {
                self.model.coder.column("readers");
                let name = given.as_ref().map(|coverage| coverage.reader.as_str());
                let name = self.speller.spell(&mut self.model, "readers", name)?;
                ReaderId::new(name).expect("a name was spelled")
            }
        };
        self.model.coder.column("state");
        let state = given.map_or(0, |coverage| coverage.state as u64);
        let state = match self.model.tree(place::STATE, 2, state) {
            0 => ReaderState::Listening,
            1 => ReaderState::Silent,
            2 => ReaderState::Absent,
            3 => ReaderState::Off,
            value => return Err(UnpackError::Value { column: "state", value }),
        };
        self.model.coder.column("at");
        let due = before.as_ref().map(|reader| Uptime(reader.at.0.wrapping_add(reader.length)));
        let at = match due {
            Some(due) if self.model.bit(place::ON_TIME, at == due) => {
                let ticks = due.0.wrapping_sub(self.phase).div_ceil(TICK_MS);
                if rebooted || ticks.wrapping_sub(self.concluded) >> 63 == 0 {
                    self.concluded = ticks;
                }
                due
            }
            _ => self.at(Kind::Coverage, class, rebooted, at).0,
        };
        self.model.coder.column("from");
        let length = self.readers.last().map_or(60_000, |reader| reader.length);
        let from = before.as_ref().map_or(Uptime(at.0.wrapping_sub(length)), |reader| reader.at);
        let given = given.map_or(from, |coverage| coverage.from);
        let from = if self.model.bit(place::FROM_SURE, given == from) {
            from
        } else {
            Uptime(at.0.wrapping_sub(self.model.number(place::FROM, at.0.wrapping_sub(given.0))))
        };
        self.readers.push(Reader { id: reader, at, length: at.0.wrapping_sub(from.0) });
        Ok((at, Coverage { reader, state, from }))
    }
}
