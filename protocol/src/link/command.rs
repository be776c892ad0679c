//! What a gateway says to a node. Enters: what the agent knows and wants. Leaves: the payloads of its frames.
//!
//! Fields and enum variants are only appended: gateways and nodes of several ages share a shop. A field that is appended
//! has `#[serde(default)]` ([`payload`](super::payload)).

use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::clock::Uptime;
use crate::id::ZoneId;
use crate::region::Region;

/// The windows within which reads may become one message, in milliseconds. What comes more than five seconds late is no
/// evidence on the gateway: the line and a resend need some of them.
pub const WINDOW_MS: RangeInclusive<u16> = 0..=2_000;
/// The changes of acceleration that may move a sensor, in thousandths of g.
pub const MOTION_MG: RangeInclusive<u16> = 16..=8_000;
/// For how long a booth's sensor may have to hold its level, in milliseconds: it is sampled four times in it, and a
/// board looks every 10 ms.
pub const SETTLE_MS: RangeInclusive<u16> = 40..=u16::MAX;

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
    /// Reads of a tag within so many milliseconds become one message, within [`WINDOW_MS`]; 0: each is told.
    pub window_ms: u16,
    /// A change of acceleration above this moves a sensor, in thousandths of g, within [`MOTION_MG`].
    pub motion_mg: u16,
    /// A booth's sensor must hold its level for so long, and what was moved lie still, in milliseconds, within
    /// [`SETTLE_MS`].
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
    /// What does your clock show? Answered at once with [`Clock`](super::message::Clock).
    Clock {
        /// What the gateway's own showed as it asked: the answer says it back.
        asked: Uptime,
    },
}
