//! One event as one line of JSON, for people, scripts and logs. Never the wire: that is
//! [`batch`](crate::batch).
//!
//! ```json
//! {"seq":12,"boot":"00000000000000aa","at":81234,"kind":"tried_on","confidence":90,
//!  "epc":"3034…","zone":"booth-1","visit":9,"evidence":{"reads":40,"margin_db":9,"unrest":55,"dwell_ds":412}}
//! {"seq":13,"boot":"00000000000000aa","at":90000,"kind":"coverage","confidence":100,
//!  "reader":"rail-a","state":"listening","from":30000}
//! {"seq":14,"boot":"00000000000000aa","at":90500,"kind":"retracted","confidence":80,"retracts":12}
//! {"seq":15,"boot":"00000000000000aa","at":91000,"kind":"scanned","confidence":100,
//!  "zone":"booth-1","visit":9,"gtin":"04006381333931"}
//! {"seq":16,"boot":"00000000000000aa","at":92000,"kind":"scanned","confidence":100,
//!  "zone":"booth-1","visit":9,"key":"8520f0098930a754","sealed":"5d7c…"}
//! ```

use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::clock::Uptime;
use crate::epc::Epc;
use crate::event::{Event, Evidence, Kind, ReaderState, What};
use crate::id::{ReaderId, Seq, ZoneId};
use crate::key::KeyId;
use crate::scan::Code;

/// One event, flat. Fields that its kind does not have are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The event's number.
    pub seq: Seq,
    /// The boot, as 16 hexadecimal digits.
    pub boot: String,
    /// When, in milliseconds of that boot.
    pub at: Uptime,
    /// When the agent knew of it, in milliseconds of that boot, where a replay tells: what is concluded is dated back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Uptime>,
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
    /// The product whose code was scanned, as 14 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtin: Option<String>,
    /// The key to which a shopper's code is sealed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// and the sealed code, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

impl EventLine {
    /// The line of an event.
    #[must_use]
    pub fn new(seq: Seq, event: &Event) -> Self {
        let mut line = Self {
            seq,
            boot: event.boot.to_string(),
            at: event.at,
            known: None,
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
            gtin: None,
            key: None,
            sealed: None,
        };
        if let Some((epc, zone, visit, evidence)) = event.garment() {
            (line.epc, line.zone, line.visit, line.evidence) = (Some(epc), Some(zone), visit, Some(evidence));
        }
        match &event.what {
            What::Retracted { seq } => line.retracts = Some(*seq),
            What::Coverage(c) => {
                (line.reader, line.state, line.from) = (Some(c.reader), Some(c.state), Some(c.from));
            }
            What::Scanned(scan) => {
                (line.zone, line.visit) = (Some(scan.zone), scan.visit);
                match &scan.code {
                    Code::Product(gtin) => line.gtin = Some(gtin.to_string()),
                    Code::Loyalty(sealed) => {
                        (line.key, line.sealed) = (Some(sealed.key()), Some(sealed.to_hex()));
                    }
                }
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
