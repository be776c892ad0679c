//! What a node is told of how to work, and what it answers. Enters: what the configuration says. Leaves: the command
//! for its link; words for a refusal.

use hangtag_protocol::link::command::{Configure, Level, MOTION_MG, SETTLE_MS, WINDOW_MS};
use hangtag_protocol::link::message::Outcome;

use super::MOST_PORTS;
use crate::intake::Radio;

/// How a node is to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How its module transmits.
    pub radio: Radio,
    /// When its sensors tell something.
    pub thresholds: Thresholds,
    /// The level of a booth's sensor that says that somebody is there; absent where there is no such sensor.
    pub occupied: Option<Level>,
}

/// When a node's sensors tell something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Reads of a tag within so many milliseconds become one message, within [`WINDOW_MS`]; 0: each is told.
    pub window_ms: u16,
    /// A change of acceleration above this moves a sensor, in thousandths of g, within [`MOTION_MG`].
    pub motion_mg: u16,
    /// A booth's sensor must hold its level for so long, in milliseconds, within [`SETTLE_MS`].
    pub settle_ms: u16,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { window_ms: 200, motion_mg: 120, settle_ms: 400 }
    }
}

impl Settings {
    /// The command. Its number follows from what it says, so that an answer to another is known.
    #[must_use]
    pub fn command(&self) -> Configure {
        let Thresholds { window_ms, motion_mg, settle_ms } = self.thresholds;
        debug_assert!(WINDOW_MS.contains(&window_ms) && MOTION_MG.contains(&motion_mg));
        debug_assert!(SETTLE_MS.contains(&settle_ms), "the configuration was checked");
        let antennas = self.radio.antennas.iter().filter(|port| (1..=MOST_PORTS).contains(*port));
        let command = Configure {
            id: 0,
            zone: None,
            region: self.radio.region,
            power_cdbm: self.radio.power_cdbm,
            antennas: antennas.fold(0, |bits, port| bits | 1 << (port - 1)),
            window_ms,
            motion_mg,
            settle_ms,
            occupied: self.occupied,
        };
        let bytes = postcard::to_allocvec(&command).expect("numbers always encode");
        Configure { id: hangtag_protocol::batch::CRC.checksum(&bytes), ..command }
    }
}

/// What is wrong with a node's configuration by its answer, if anything is.
#[must_use]
pub fn refusal(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Taken => None,
        Outcome::NotKept => Some("it works by its configuration, but will not after a restart"),
        Outcome::Region => Some("\"region\" was refused: its reader has no such region"),
        Outcome::Power => Some("\"power_dbm\" was refused: its reader cannot send with it"),
        Outcome::Antennas => Some("\"antenna\" was refused: its reader has no such port"),
        Outcome::Threshold => {
            Some("\"window_ms\", \"motion_mg\" or \"settle_ms\" was refused: it is out of the node's range")
        }
        Outcome::Reader => Some("its reader did not take the configuration"),
    }
}
