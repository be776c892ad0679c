//! What a gateway says to a node. Enters: what the agent knows and wants. Leaves: the payloads of its frames.
//!
//! Fields and enum variants are only appended: gateways and nodes of several ages share a shop.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::id::ZoneId;
use crate::region::Region;

/// How far the gateway has come with the frames of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// What came of every frame below this number is on disk: the node may forget them.
    pub durable: u32,
    /// Every frame below this number is here, if only in memory: the node keeps them, and sends them again
    /// only when a later ack has gone back. At least `durable`.
    pub received: u32,
    /// So many frames from `received` on may be on their way; 0 while the gateway has no room.
    pub window: u8,
    /// A later frame came, and `received` is missing: it is to be sent again at once.
    pub gap: bool,
}

/// The time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// What the gateway's clock showed as it sent this.
    pub wall: UnixMillis,
    /// How far off that may be, in milliseconds; [`UNKNOWN_ERROR`](crate::clock::UNKNOWN_ERROR) when nothing
    /// vouches for it.
    pub error_ms: u32,
}

/// How a node is to work. It checks this, keeps it, and answers with
/// [`Configured`](super::message::Configured).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// Names this configuration in the answer.
    pub id: u32,
    /// The zone that the node is in, if it is one.
    pub zone: Option<ZoneId>,
    /// Where the reader is, which decides the frequencies it may use.
    pub region: Region,
    /// The reader's transmit power in hundredths of a dBm, 0 to 3300.
    pub power_cdbm: u16,
    /// The antenna ports to use: bit 0 is port 1.
    pub antennas: u16,
    /// Reads of a tag within so many milliseconds become one message; 0: each is told.
    pub window_ms: u16,
    /// A change of acceleration above this moves a sensor, in thousandths of g, 16 to 8000.
    pub motion_mg: u16,
    /// A booth's sensor must hold its level for so long, and what was moved lie still, in milliseconds, 40 to 65535.
    pub settle_ms: u16,
    /// The level of the booth's pin that says that somebody is in it; absent where there is no such sensor.
    pub occupied: Option<Level>,
}

/// The level of a digital pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Near ground.
    Low,
    /// Near the supply.
    High,
}

/// A question to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Who are you, and what do you hold? Answered with [`Hello`](super::message::Hello).
    Hello,
    /// How are you? Answered with [`Health`](super::message::Health).
    Health,
}
