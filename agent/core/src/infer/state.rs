//! What the state machine of a garment is made of. Enters and leaves: nothing; these are the words that
//! [`tag`](super::tag) speaks with the rest of inference.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::event::Evidence;
use hangtag_protocol::id::Seq;
use serde::{Deserialize, Serialize};

use super::layout::Layout;

/// Where a garment is, and what it is doing there. Times are of the present boot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum State {
    /// Seen, but not yet for long enough to say anything.
    New,
    /// At rest in a zone.
    Rest { zone: u16, antenna: u16, since: Uptime, disturbed: Option<Uptime> },
    /// Somebody has it, or nobody knows where it is.
    Hand { since: Uptime, from: Option<u16> },
    /// In a fitting booth.
    Booth { zone: u16, visit: Seq, since: Uptime, tried: bool },
}

/// What a garment was concluded to have done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Conclusion {
    PickedUp { at: Uptime, zone: u16, confidence: u8, evidence: Evidence },
    PutDown { at: Uptime, zone: u16, confidence: u8, evidence: Evidence },
    CarriedIn { at: Uptime, zone: u16, confidence: u8, evidence: Evidence },
    TriedOn { at: Uptime, zone: u16, visit: Seq, confidence: u8, evidence: Evidence },
    CarriedOut { at: Uptime, zone: u16, visit: Seq, silent: bool, confidence: u8, evidence: Evidence },
}

/// What the garment's surroundings say in this tick.
pub(super) struct Surroundings<'a> {
    pub(super) layout: &'a Layout,
    /// Per reader: since when it has been listening, if it is.
    pub(super) listening: &'a [Option<Uptime>],
    /// Per antenna: whether so many garments changed at once that somebody walks past.
    pub(super) commotion: &'a [bool],
    /// Per antenna: the recent reads of the tags that are surest to be in its zone.
    pub(super) surest: &'a [f32],
    /// Per zone: whether nobody is in it, as far as sensors say.
    pub(super) free: &'a [bool],
    pub(super) now: Uptime,
}

impl Surroundings<'_> {
    /// Since when a reader has been listening in a zone, if one is.
    pub(super) fn listening_in(&self, zone: usize) -> Option<Uptime> {
        let antennas = (0..self.layout.antennas()).filter(|a| self.layout.zone_of(*a) == zone);
        antennas.filter_map(|antenna| self.listening[self.layout.reader_of(antenna)]).min()
    }
}
