//! One event as one line of JSON, for people, scripts and logs. Never the wire: that is
//! [`batch`](crate::batch).
//!
//! ```json
//! {"seq":12,"boot":"00000000000000aa","at":81234,"kind":"tried_on","confidence":90,
//!  "epc":"3034…","zone":"booth-1","visit":9,"evidence":{"reads":40,"margin_db":9,"unrest":55,"dwell_ds":412}}
//! {"seq":13,"boot":"00000000000000aa","at":90000,"kind":"coverage","confidence":100,
//!  "reader":"rail-a","state":"listening","from":30000}
//! {"seq":14,"boot":"00000000000000aa","at":90500,"kind":"retracted","confidence":80,"retracts":12}
//! ```

use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::clock::Uptime;
use crate::epc::Epc;
use crate::event::{Event, Evidence, Kind, ReaderState, What};
use crate::id::{ReaderId, Seq, ZoneId};

/// One event, flat. Fields that its kind does not have are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The event's number.
    pub seq: Seq,
    /// The boot, as 16 hexadecimal digits.
    pub boot: String,
    /// When, in milliseconds of that boot.
    pub at: Uptime,
    /// What happened.
    pub kind: Kind,
    /// Percent.
    pub confidence: u8,
    /// The garment's tag, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epc: Option<Epc>,
    /// The rail, shelf or booth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneId>,
    /// The number of the event that opened the visit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<Seq>,
    /// What the conclusion rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// The number of the mistaken event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retracts: Option<Seq>,
    /// The reader that was in a state,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<ReaderId>,
    /// the state,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ReaderState>,
    /// and since when; until `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Uptime>,
}

impl EventLine {
    /// The line of an event.
    #[must_use]
    pub fn new(seq: Seq, event: &Event) -> Self {
        let mut line = Self {
            seq,
            boot: event.boot.to_string(),
            at: event.at,
            kind: event.kind(),
            confidence: event.confidence,
            epc: None,
            zone: None,
            visit: None,
            evidence: None,
            retracts: None,
            reader: None,
            state: None,
            from: None,
        };
        if let Some((epc, zone, visit, evidence)) = event.garment() {
            (line.epc, line.zone, line.visit, line.evidence) = (Some(epc), Some(zone), visit, Some(evidence));
        }
        match event.what {
            What::Retracted { seq } => line.retracts = Some(seq),
            What::Coverage(c) => {
                (line.reader, line.state, line.from) = (Some(c.reader), Some(c.state), Some(c.from));
            }
            What::PickedUp(_)
            | What::PutDown(_)
            | What::CarriedIn(_)
            | What::TriedOn(_)
            | What::CarriedOut(_) => {}
        }
        line
    }
}
