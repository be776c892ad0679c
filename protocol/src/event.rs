//! What the agent concluded. Made by inference, which numbers events; never changed afterwards.
//!
//! [`Kind`] numbers, and the order of every enum here, are frozen: append, never reorder.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::clock::{BootId, Uptime};
use crate::epc::Epc;
use crate::id::{ReaderId, Seq, ZoneId};
use crate::scan::Scan;

/// Something the agent concluded. Its sequence number stands beside it, not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The boot in which it happened.
    pub boot: BootId,
    /// When it happened, which is earlier than when it was concluded.
    pub at: Uptime,
    /// How sure the agent is, in percent, 0 to 100.
    pub confidence: u8,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A garment left its rest on a rail or shelf for somebody's hand.
    PickedUp(Handling),
    /// A garment came to rest on a rail or shelf again.
    PutDown(Handling),
    /// A garment was brought into a fitting booth.
    CarriedIn(Fitting),
    /// A garment was tried on in a fitting booth.
    TriedOn(Fitting),
    /// A garment left a fitting booth.
    CarriedOut(Fitting),
    /// An earlier event of the same epoch was a mistake.
    Retracted {
        /// The mistaken event.
        seq: Seq,
    },
    /// A reader was in one state for a while; the while ends with the event's own time.
    Coverage(Coverage),
    /// A code was scanned.
    Scanned(Scan),
}

/// A garment handled on the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handling {
    /// The garment's tag.
    pub epc: Epc,
    /// The rail or shelf.
    pub zone: ZoneId,
    /// Why the agent thinks so.
    pub evidence: Evidence,
}

/// A garment in a fitting booth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fitting {
    /// The garment's tag.
    pub epc: Epc,
    /// The booth.
    pub zone: ZoneId,
    /// The visit: the number of the event that opened it, in the same epoch.
    pub visit: Seq,
    /// Why the agent thinks so.
    pub evidence: Evidence,
}

/// What a conclusion rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Reads that were weighed; 65,535 stands for more.
    pub reads: u16,
    /// By how many dB the zone won over the next, 0 to 255.
    pub margin_db: u8,
    /// Share of the time in which the garment was restless, in percent, 0 to 100.
    pub unrest: u8,
    /// How long the garment had been in the state that ended or was proved, in tenths of a second;
    /// 65,535 stands for more.
    pub dwell_ds: u16,
}

/// A stretch of one reader's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The reader.
    pub reader: ReaderId,
    /// What it was doing.
    pub state: ReaderState,
    /// Since when; until the event's own time, in the same boot.
    pub from: Uptime,
}

/// What a reader is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaderState {
    /// It reads tags: silence means that there are none.
    Listening,
    /// Its port is open, but it does not answer or does not read.
    Silent,
    /// Its port cannot be opened.
    Absent,
    /// It does not read because the schedule says so: nothing is expected of it.
    Off,
}

/// The kind of an event: what is counted, and the number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// See [`What::PickedUp`].
    PickedUp = 0,
    /// See [`What::PutDown`].
    PutDown = 1,
    /// See [`What::CarriedIn`].
    CarriedIn = 2,
    /// See [`What::TriedOn`].
    TriedOn = 3,
    /// See [`What::CarriedOut`].
    CarriedOut = 4,
    /// See [`What::Retracted`].
    Retracted = 5,
    /// See [`What::Coverage`].
    Coverage = 6,
    /// See [`What::Scanned`].
    Scanned = 7,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::PickedUp,
        Self::PutDown,
        Self::CarriedIn,
        Self::TriedOn,
        Self::CarriedOut,
        Self::Retracted,
        Self::Coverage,
        Self::Scanned,
    ];

    /// The kind with a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The kind's name in JSON, tables and channels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PickedUp => "picked_up",
            Self::PutDown => "put_down",
            Self::CarriedIn => "carried_in",
            Self::TriedOn => "tried_on",
            Self::CarriedOut => "carried_out",
            Self::Retracted => "retracted",
            Self::Coverage => "coverage",
            Self::Scanned => "scanned",
        }
    }
}

impl Event {
    /// The event's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.what {
            What::PickedUp(_) => Kind::PickedUp,
            What::PutDown(_) => Kind::PutDown,
            What::CarriedIn(_) => Kind::CarriedIn,
            What::TriedOn(_) => Kind::TriedOn,
            What::CarriedOut(_) => Kind::CarriedOut,
            What::Retracted { .. } => Kind::Retracted,
            What::Coverage(_) => Kind::Coverage,
            What::Scanned(_) => Kind::Scanned,
        }
    }

    /// The garment, the place, the visit where there is one, and the evidence; `None` for events
    /// that are about no garment.
    #[must_use]
    pub fn garment(&self) -> Option<(Epc, ZoneId, Option<Seq>, Evidence)> {
        match self.what {
            What::PickedUp(h) | What::PutDown(h) => Some((h.epc, h.zone, None, h.evidence)),
            What::CarriedIn(f) | What::TriedOn(f) | What::CarriedOut(f) => {
                Some((f.epc, f.zone, Some(f.visit), f.evidence))
            }
            What::Retracted { .. } | What::Coverage(_) | What::Scanned(_) => None,
        }
    }

    /// A checksum of the event's content: CRC-32C of its postcard encoding. Two events under one id
    /// with different digests come from a cloned or rolled-back gateway.
    #[must_use]
    pub fn digest(&self) -> u32 {
        let bytes: Vec<u8> = postcard::to_allocvec(self).expect("an event always encodes");
        crate::batch::CRC.checksum(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_numbers_match() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(Kind::from_number(number as u64), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), alloc::format!("\"{}\"", kind.name()));
        }
        assert_eq!(Kind::from_number(8), None);
    }

    #[test]
    fn the_digest_of_an_event_never_changes() {
        let event = Event {
            boot: BootId(1),
            at: Uptime(2),
            confidence: 90,
            what: What::TriedOn(Fitting {
                epc: Epc::from_hex("3074257bf7194e4000001a85").unwrap(),
                zone: ZoneId::new("booth-1").unwrap(),
                visit: Seq(3),
                evidence: Evidence { reads: 4, margin_db: 5, unrest: 6, dwell_ds: 700 },
            }),
        };
        // Central compares digests that it stored years ago: fix the code, never this number.
        assert_eq!(event.digest(), 0xec2d_152b);
        let later = Event { at: Uptime(3), ..event.clone() };
        assert_ne!(event.digest(), later.digest());
    }
}
