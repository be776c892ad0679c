//! What other systems are told of an event. Enters: an event that is stored, the time of day that is known of it, its
//! place in its shop's feed. Leaves: the same, free of everything that is nobody's business: of a loyalty code only
//! that one was scanned. How it is written is the server's part.

use alloc::boxed::Box;

use hangtag_protocol::clock::{UNKNOWN_ERROR, UnixMillis};
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::{Evidence, Kind, ReaderState};
use hangtag_protocol::id::{EventId, ReaderId, Seq, StoreId, ZoneId};

/// How long an event waits for its clock before it goes out without one, in milliseconds by central's clock since it
/// came: 1 hour.
pub const PATIENCE_MS: i64 = 3_600_000;

/// Where in its shop's feed an event stands: 1 for the first, then without gaps; the same for as long as a
/// [generation](Generation) lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Which numbering of the feeds counts: when it began, in Unix milliseconds. It changes when central is restored from a
/// backup: places may then stand for other events than before. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub UnixMillis);

impl Default for Generation {
    /// Before all others.
    fn default() -> Self {
        Self(UnixMillis(0))
    }
}

/// In which form a feed is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// CloudEvents 1.0 JSON.
    CloudEvents,
    /// EPCIS 2.0 JSON-LD.
    Epcis,
}

impl Form {
    /// Its name in tables and questions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudEvents => "cloudevents",
            Self::Epcis => "epcis",
        }
    }
}

/// One of the feeds that are published: a shop's, in one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The shop.
    pub store: StoreId,
    /// The form.
    pub form: Form,
}

/// When an event happened, by a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// A clock that somebody vouches for.
    Vouched {
        /// When.
        at: UnixMillis,
        /// How far off it may be, in milliseconds.
        error_ms: u32,
    },
    /// A clock that was set, by nobody who vouches for it.
    Unvouched {
        /// When.
        at: UnixMillis,
    },
    /// The gateway had no clock then.
    Absent,
}

impl Clock {
    /// What a time of day with its error comes to.
    #[must_use]
    pub fn new(time: Option<(UnixMillis, u32)>) -> Self {
        match time {
            Some((at, UNKNOWN_ERROR)) => Self::Unvouched { at },
            Some((at, error_ms)) => Self::Vouched { at, error_ms },
            None => Self::Absent,
        }
    }

    /// When, whoever vouches for it.
    #[must_use]
    pub fn at(self) -> Option<UnixMillis> {
        match self {
            Self::Vouched { at, .. } | Self::Unvouched { at } => Some(at),
            Self::Absent => None,
        }
    }
}

/// One event of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Its id.
    pub id: EventId,
    /// Its place in the feed,
    pub sequence: Sequence,
    /// by the numbering that counts when this is told.
    pub generation: Generation,
    /// When it happened.
    pub clock: Clock,
    /// When central got it.
    pub received: UnixMillis,
    /// How sure the agent was, in percent, 0 to 100.
    pub confidence: u8,
    /// What happened.
    pub what: Told,
    /// The retraction that stands before it in the feed, because it came before it.
    pub retracted: Option<Retraction>,
}

/// A word that an event was a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retraction {
    /// The event that says so.
    pub id: EventId,
    /// When it was said, by a clock.
    pub clock: Clock,
    /// When central got it.
    pub received: UnixMillis,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something was done with a garment.
    Garment(Garment),
    /// An earlier event was a mistake.
    Retracted {
        /// The mistaken event,
        mistaken: EventId,
        /// and what it said, unless it is not there or a retraction itself.
        said: Option<Box<Fed>>,
    },
    /// A reader was in one state for a while, which ended when the event happened.
    Coverage {
        /// The reader.
        reader: ReaderId,
        /// What it was doing.
        state: ReaderState,
        /// For how long, in milliseconds.
        lasted_ms: u64,
    },
    /// A code was scanned.
    Scanned {
        /// Where.
        zone: ZoneId,
        /// The visit that was open: the number of the event that opened it, in the same epoch.
        visit: Option<Seq>,
        /// The product whose code it was; `None` where it was a shopper's own.
        product: Option<Gtin>,
    },
}

/// What was done with a garment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garment {
    /// What.
    pub deed: Deed,
    /// The tag.
    pub epc: Epc,
    /// Where.
    pub zone: ZoneId,
    /// The visit, for deeds in a booth: the number of the event that opened it, in the same epoch.
    pub visit: Option<Seq>,
    /// What the conclusion rests on.
    pub evidence: Evidence,
}

/// What can be done with a garment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It left a rail or shelf for somebody's hand.
    PickedUp,
    /// It came to rest on a rail or shelf again.
    PutDown,
    /// It was brought into a booth.
    CarriedIn,
    /// It was tried on.
    TriedOn,
    /// It left a booth.
    CarriedOut,
}

impl Deed {
    /// The deed that a kind of event tells of; `None` for kinds that are about no garment.
    #[must_use]
    pub fn new(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::PickedUp => Self::PickedUp,
            Kind::PutDown => Self::PutDown,
            Kind::CarriedIn => Self::CarriedIn,
            Kind::TriedOn => Self::TriedOn,
            Kind::CarriedOut => Self::CarriedOut,
            Kind::Retracted | Kind::Coverage | Kind::Scanned => return None,
        })
    }
}

impl Fed {
    /// The kind of the event.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.what {
            Told::Garment(garment) => match garment.deed {
                Deed::PickedUp => Kind::PickedUp,
                Deed::PutDown => Kind::PutDown,
                Deed::CarriedIn => Kind::CarriedIn,
                Deed::TriedOn => Kind::TriedOn,
                Deed::CarriedOut => Kind::CarriedOut,
            },
            Told::Retracted { .. } => Kind::Retracted,
            Told::Coverage { .. } => Kind::Coverage,
            Told::Scanned { .. } => Kind::Scanned,
        }
    }

    /// Its place, and that of the event that it retracts, are of this numbering.
    pub fn stands_in(&mut self, generation: Generation) {
        self.generation = generation;
        if let Told::Retracted { said: Some(said), .. } = &mut self.what {
            said.stands_in(generation);
        }
    }

    /// An event of the same epoch.
    #[must_use]
    pub fn beside(&self, seq: Seq) -> EventId {
        EventId { seq, ..self.id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_a_deed_or_something_else() {
        let deeds = Kind::ALL.into_iter().filter(|kind| Deed::new(*kind).is_some()).count();
        assert_eq!(deeds, 5);
    }

    #[test]
    fn whether_somebody_vouches_for_a_clock_is_in_its_error() {
        let at = UnixMillis(7);
        assert_eq!(Clock::new(Some((at, 0))), Clock::Vouched { at, error_ms: 0 });
        assert_eq!(Clock::new(Some((at, UNKNOWN_ERROR))), Clock::Unvouched { at });
        assert_eq!(Clock::new(None).at(), None);
    }
}
