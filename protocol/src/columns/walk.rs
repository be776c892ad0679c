//! Event by event through a batch, the same way for writing, reading and weighing. Enters: events when
//! they are written, a coder that has them when they are read. Leaves: events. What is decided, and in
//! which order, is drawn in [`columns`](super).

use alloc::vec::Vec;

use super::UnpackError;
use super::coder::Coder;
use super::coverage::Reader;
use super::evidence::Known;
use super::model::{Model, NUMBER};
use super::names::Speller;
use super::place;
use super::tags::{Found, Tag, Tags};
use super::zones::Zone;
use crate::clock::{BootId, Uptime};
use crate::event::{Event, Fitting, Handling, Kind, What};
use crate::id::Seq;
use crate::key::KeyId;

/// How often inference looks, in milliseconds.
pub(super) const TICK_MS: u64 = 500;

/// What is known of the events before.
pub(super) struct Walk<C> {
    pub(super) model: Model<C>,
    pub(super) kind: Option<Kind>,
    boots: Vec<BootId>,
    /// By how many milliseconds the ticks are off whole ones.
    pub(super) phase: u64,
    /// The latest tick in which something was concluded.
    pub(super) concluded: u64,
    tags: Tags,
    pub(super) speller: Speller,
    pub(super) zones: Vec<Zone>,
    /// The last one is last: of the floor, and of the booths.
    pub(super) zone_order: [Vec<usize>; 2],
    /// The last one is last.
    pub(super) readers: Vec<Reader>,
    /// To which the last loyalty code was sealed.
    pub(super) key: Option<KeyId>,
}

impl<C: Coder> Walk<C> {
    pub(super) fn new(coder: C) -> Self {
        Self {
            model: Model::new(coder),
            kind: None,
            boots: Vec::new(),
            phase: 0,
            concluded: 0,
            tags: Tags::default(),
            speller: Speller::default(),
            zones: Vec::new(),
            zone_order: [Vec::new(), Vec::new()],
            readers: Vec::new(),
            key: None,
        }
    }

    /// Begins a batch. A writer says which events are to come.
    pub(super) fn start(&mut self, events: &[Event]) {
        self.model.coder.column("at");
        self.phase = self.model.coder.plain(9, phase_of(events));
    }

    /// One event.
    pub(super) fn event(&mut self, seq: u64, given: Option<&Event>) -> Result<Event, UnpackError> {
        let kind = self.kind(given)?;
        let k = kind as usize;
        self.model.coder.column("confidence");
        let confidence = given.map_or(0, |event| event.confidence.into());
        let confidences =
            if kind == Kind::Scanned { place::SCAN_CONFIDENCE } else { place::CONFIDENCE + k * 255 };
        let confidence = self.model.tree(confidences, 8, confidence) as u8;
        let class = k * 8 + usize::from(confidence / 5 % 8);
        let (boot, rebooted) = self.boot(given)?;
        let at = given.map_or(Uptime(0), |event| event.at);
        if kind == Kind::Scanned {
            let scan = given.and_then(|event| match &event.what {
                What::Scanned(scan) => Some(scan),
                _ => None,
            });
            let (at, scan) = self.scan(seq, at, rebooted, scan)?;
            return Ok(Event { boot, at, confidence, what: What::Scanned(scan) });
        }
        if kind == Kind::Coverage {
            let coverage = given.and_then(|event| match event.what {
                What::Coverage(coverage) => Some(coverage),
                _ => None,
            });
            let (at, coverage) = self.coverage(at, rebooted, class, coverage)?;
            return Ok(Event { boot, at, confidence, what: What::Coverage(coverage) });
        }
        if kind == Kind::Retracted {
            let (at, _) = self.at(kind, class, rebooted, at);
            self.model.coder.column("retracts");
            let back = given.map_or(0, |event| match event.what {
                What::Retracted { seq: mistaken } => seq.wrapping_sub(mistaken.0),
                _ => 0,
            });
            let mistaken = Seq(seq.wrapping_sub(self.model.number(place::RETRACTS, back)));
            return Ok(Event { boot, at, confidence, what: What::Retracted { seq: mistaken } });
        }

        let garment = given.and_then(Event::garment);
        let found = self.tags.find(&mut self.model, kind, garment.map(|garment| garment.0))?;
        let (tag_place, epc) = match found {
            Found::Known(place) => (Some(place), self.tags.of(place).epc),
            Found::New(epc) => (None, epc),
        };
        let before = tag_place.map(|place| self.tags.of(place).clone());
        let before = before.as_ref();
        let (at, concluded) = self.at(kind, class, rebooted, at);
        let zone_place = self.zone(kind, class, before, garment.map(|garment| garment.1))?;
        let zone = self.zones[zone_place].id;
        let fitting = matches!(kind, Kind::CarriedIn | Kind::TriedOn | Kind::CarriedOut);
        let visit =
            fitting.then(|| self.visit(kind, seq, before, zone_place, garment.and_then(|garment| garment.2)));
        let known = Known { kind, class, confidence, at, concluded, before };
        let evidence = self.evidence(&known, garment.map(|garment| garment.3).unwrap_or_default())?;
        let since = if kind == Kind::TriedOn { before.map_or(at, |tag| tag.since) } else { at };
        let tag = Tag { epc, kind, zone: zone_place, visit, since };
        self.tags.remember(tag_place, tag);

        let handling = Handling { epc, zone, evidence };
        let fitting = Fitting { epc, zone, visit: visit.unwrap_or(Seq(0)), evidence };
        let what = match kind {
            Kind::PickedUp => What::PickedUp(handling),
            Kind::PutDown => What::PutDown(handling),
            Kind::CarriedIn => What::CarriedIn(fitting),
            Kind::TriedOn => What::TriedOn(fitting),
            Kind::CarriedOut | Kind::Retracted | Kind::Coverage | Kind::Scanned => What::CarriedOut(fitting),
        };
        Ok(Event { boot, at, confidence, what })
    }

    fn kind(&mut self, given: Option<&Event>) -> Result<Kind, UnpackError> {
        self.model.coder.column("kind");
        let after = match self.kind {
            Some(Kind::Scanned) => place::KIND_AFTER,
            Some(kind) => place::KIND + kind as usize * 7,
            None => place::KIND + 7 * 7,
        };
        let given = given.map_or(0, |event| event.kind() as u64);
        let mut number = self.model.tree(after, 3, given.min(FURTHER));
        if number == FURTHER {
            let further = self.model.number(place::FURTHER_KIND, given.saturating_sub(FURTHER));
            number = FURTHER.saturating_add(further);
        }
        let kind = Kind::from_number(number).ok_or(UnpackError::Value { column: "kind", value: number })?;
        self.kind = Some(kind);
        Ok(kind)
    }

    /// The boot, and whether it is another than that of the event before.
    fn boot(&mut self, given: Option<&Event>) -> Result<(BootId, bool), UnpackError> {
        self.model.coder.column("boot");
        let given = given.map(|event| event.boot);
        if let Some(last) = self.boots.last()
            && self.model.bit(place::SAME_BOOT, given == Some(*last))
        {
            return Ok((*last, false));
        }
        let known = self.boots.iter().rev().position(|boot| Some(*boot) == given);
        let boot = if !self.boots.is_empty() && self.model.bit(place::BOOT_MET, known.is_some()) {
            let rank = self.model.number(place::BOOT_RANK, known.unwrap_or(0) as u64);
            self.boots.remove(from_back(self.boots.len(), rank, "boot")?)
        } else {
            BootId(self.model.coder.plain(64, given.map_or(0, |boot| boot.0)))
        };
        self.boots.push(boot);
        Ok((boot, true))
    }

    /// When it happened, and about in which tick it was concluded.
    pub(super) fn at(&mut self, kind: Kind, class: usize, rebooted: bool, at: Uptime) -> (Uptime, u64) {
        self.model.coder.column("at");
        let aligned = at.0.wrapping_sub(self.phase);
        let ticks = aligned.div_ceil(TICK_MS);
        let rest = ticks.wrapping_mul(TICK_MS).wrapping_sub(aligned);
        let late = lag(kind, class % 8);
        let later = ticks.wrapping_add(late).wrapping_sub(self.concluded);
        let numbers = if kind == Kind::PickedUp && class == GONE { 7 } else { kind as usize };
        let earlier = self.model.bit(place::EARLIER + class, later >> 63 == 1);
        let later = if earlier {
            !self.model.number(place::TICKS_EARLIER, !later)
        } else {
            self.model.number(place::TICKS + numbers * NUMBER, later)
        };
        let concluded = self.concluded.wrapping_add(later);
        let rest = if self.model.bit(place::ON_TICK + class, rest == 0) {
            0
        } else {
            let high = self.model.tree(place::REST, 3, rest >> 6);
            high << 6 | self.model.coder.plain(6, rest)
        };
        if rebooted || later >> 63 == 0 {
            self.concluded = concluded;
        }
        let ticks = concluded.wrapping_sub(late);
        let at = ticks.wrapping_mul(TICK_MS).wrapping_sub(rest).wrapping_add(self.phase);
        (Uptime(at), concluded)
    }
}

/// The first kind whose number does not fit the tree of kinds.
const FURTHER: u64 = 7;

/// The class of a picking up that was noticed because the garment was missed.
const GONE: usize = 5;

/// About how many ticks after it happened something is concluded.
fn lag(kind: Kind, class: usize) -> u64 {
    match kind {
        Kind::PickedUp if class == GONE => 60,
        Kind::PickedUp => 3,
        Kind::PutDown => 11,
        Kind::CarriedIn | Kind::CarriedOut => 4,
        Kind::TriedOn => 20,
        Kind::Retracted | Kind::Coverage | Kind::Scanned => 0,
    }
}

/// The rest that the times of garments leave, divided by a tick, if most leave the same; any other would
/// do, but takes more bits.
fn phase_of(events: &[Event]) -> u64 {
    let rests = events.iter().filter(|event| event.garment().is_some()).map(|event| event.at.0 % TICK_MS);
    let vote = |(leader, votes): (u64, u32), rest| match votes {
        _ if rest == leader => (leader, votes + 1),
        0 => (rest, 1),
        _ => (leader, votes - 1),
    };
    rests.fold((0, 0), vote).0
}

/// The place that a rank means; the last is first.
pub(super) fn from_back(length: usize, rank: u64, column: &'static str) -> Result<usize, UnpackError> {
    let at = usize::try_from(rank).ok().and_then(|rank| length.checked_sub(rank)?.checked_sub(1));
    at.ok_or(UnpackError::Value { column, value: rank })
}
