//! What a node says. Enters: what its firmware knows. Leaves: the payloads of its frames. Times are the node's
//! own: milliseconds since it started, which the gateway turns into its own.
//!
//! Fields and enum variants are only appended: gateways and nodes of several ages share a shop. A field that is appended
//! has `#[serde(default)]` ([`payload`](super::payload)).

use serde::{Deserialize, Serialize};

use crate::clock::Uptime;
use crate::epc::Epc;
use crate::read::Read;

/// A node: what its chip is called, or what it was given. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl core::fmt::Display for NodeId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node introduces itself: after it started, when it is asked, and while it hears nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who it is.
    pub node: NodeId,
    /// The version of its firmware.
    pub firmware: Firmware,
    /// Why it started.
    pub reason: BootReason,
    /// For how long it has been running, in milliseconds.
    pub uptime: Uptime,
    /// The lowest and the highest version of the link that it speaks.
    pub versions: (u8, u8),
    /// The lowest number that it still holds; `next` when it holds none.
    pub oldest: u32,
    /// The number that its next frame gets.
    pub next: u32,
    /// How many bytes of numbered frames it can hold: a gateway makes them durable before they fill that.
    pub room: u32,
}

/// The version of a firmware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Firmware {
    /// What changed incompatibly.
    pub major: u16,
    /// What was added.
    pub minor: u16,
    /// What was mended.
    pub patch: u16,
}

impl core::fmt::Display for Firmware {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootReason {
    /// The chip does not tell.
    Unknown,
    /// It got power.
    Power,
    /// Its supply was too low for a moment.
    BrownOut,
    /// The reset pin.
    Pin,
    /// The program asked for it.
    Software,
    /// The program hung.
    Watchdog,
    /// The program met a fault.
    Panic,
    /// It was updated.
    Update,
}

/// Reads of one tag at one antenna within one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condensed {
    /// The tag.
    pub epc: Epc,
    /// The reader's port, counted from 1.
    pub antenna: u8,
    /// How many reads, at least 1.
    pub count: u16,
    /// When the last came.
    pub last: Uptime,
    /// How long before that the first came, in milliseconds.
    pub span_ms: u16,
    /// The strongest, in hundredths of a dBm.
    pub strongest_cdbm: i16,
    /// The weakest, in hundredths of a dBm.
    pub weakest_cdbm: i16,
    /// The last, in hundredths of a dBm.
    pub last_cdbm: i16,
    /// The phase of the last in tenths of a degree, 0 to 3599, where the reader tells it.
    pub phase_ddeg: Option<u16>,
    /// The carrier of the last in kHz, where the reader tells it.
    pub channel_khz: Option<u32>,
}

impl Condensed {
    /// A read that stands alone.
    #[must_use]
    pub fn single(read: &Read) -> Self {
        let Read { at, epc, antenna, rssi_cdbm, phase_ddeg, channel_khz } = *read;
        Self {
            epc,
            antenna,
            count: 1,
            last: at,
            span_ms: 0,
            strongest_cdbm: rssi_cdbm,
            weakest_cdbm: rssi_cdbm,
            last_cdbm: rssi_cdbm,
            phase_ddeg,
            channel_khz,
        }
    }
}

/// A sensor was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Motion {
    /// When: the first sign of the movement, or of the rest after it.
    pub at: Uptime,
    /// Which of the node's sensors, counted from 1.
    pub sensor: u8,
    /// How.
    pub how: Moved,
    /// The greatest change of its acceleration against how it lay before, in thousandths of g: until it was seen to be
    /// picked up, or of the whole movement when it was put down. More, where it exceeded the sensor's scale.
    pub peak_mg: u16,
}

/// How a sensor was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moved {
    /// From rest.
    PickedUp,
    /// To rest.
    PutDown,
}

/// A booth is in another state, or its sensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupancy {
    /// Since when.
    pub at: Uptime,
    /// What.
    pub state: BoothState,
}

/// The state of a booth, or of its sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BoothState {
    /// Nobody is in it.
    Free,
    /// Somebody is in it.
    Occupied,
    /// The sensor holds no level.
    Unsteady,
    /// The sensor holds a level again, and the booth is as it was.
    Steady,
    /// The sensor has said *occupied* for longer than anybody is in a booth, and not *free* since.
    Stuck,
    /// The sensor cannot be read.
    Failed,
}

/// How a node is: told regularly. The latest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// For how long it has been running, in milliseconds.
    pub uptime: Uptime,
    /// Reads that it took from its reader since it started.
    pub reads: u64,
    /// Reads of these that it had no room for.
    pub dropped: u64,
    /// Bytes of its frames that wait for the gateway.
    pub waiting: u32,
    /// Bytes from the gateway that belonged to no good frame.
    pub garbage: u32,
    /// Bytes from the reader that belonged to no good frame.
    pub reader_garbage: u32,
    /// Whether its reader answers.
    pub reader_listens: bool,
    /// Its temperature in tenths of a degree Celsius, where it can tell.
    pub temperature_dc: Option<i16>,
    /// Its supply in thousandths of a volt, where it can tell.
    pub supply_mv: Option<u16>,
    /// How its sensors beside the reader are.
    pub sensors: Sensors,
    /// Bytes of its stack that were never used, where it can tell.
    pub stack_free: Option<u32>,
    /// For how much of the last second its processor was awake, in thousandths, where it can tell.
    pub awake_pm: Option<u16>,
    /// How often its port to the gateway failed, as far as it can tell: bytes were overrun, or came with framing errors
    /// or noise.
    #[serde(default)]
    pub line_errors: u32,
    /// How often its port to the reader did.
    #[serde(default)]
    pub reader_line_errors: u32,
    /// Why its accelerometer is not used.
    #[serde(default)]
    pub accelerometer_fault: Option<SensorFault>,
    /// Why its booth's sensor is not to be trusted.
    #[serde(default)]
    pub occupancy_fault: Option<SensorFault>,
}

/// How a node's sensors are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sensors {
    /// The one of which [`Motion`] tells.
    pub accelerometer: SensorState,
    /// The one of which [`Occupancy`] tells.
    pub occupancy: SensorState,
}

/// How a sensor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    /// Nobody asks it: it is not configured, or the node has no place for it.
    #[default]
    Unused,
    /// Nothing answers where it would be, or something else does.
    Absent,
    /// It tells something that can be.
    Works,
    /// It is there, and cannot be read, or tells what cannot be.
    Failed,
}

/// What is wrong with a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorFault {
    /// Another answers in its place, which says in its register WHO_AM_I that it is this.
    Stranger(u8),
    /// Its bus, or its pin, fails.
    Unreadable,
    /// It does not hold its settings: it loses its power for moments, or bits are lost on the way.
    Forgetful,
    /// What it says is no measurement.
    Garbled,
    /// It measures nothing.
    Silent,
    /// It says the same for longer than can be.
    Stuck,
    /// Where all is still, it measures what is not gravity.
    NoGravity,
    /// It holds no level.
    Unsteady,
}

/// What a node's clock shows: the answer to [`Query::Clock`](super::command::Query::Clock). Between the question and
/// its answer the gateway's clock passed the moment that this tells of, which bounds how far apart the two are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What the gateway said that its own showed as it asked.
    pub asked: Uptime,
    /// What the node's showed as it sent this.
    pub uptime: Uptime,
}

/// What a node had no room for: it takes the place of what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many reads.
    pub reads: u64,
    /// How many other messages.
    pub others: u32,
    /// When the earliest of them came.
    pub first: Uptime,
    /// When the latest of them came.
    pub last: Uptime,
}

/// How a run before this one ended. What it held went with its memory; what of its reads the gateway neither has nor
/// was told to be dropped is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended<'a> {
    /// That run.
    pub boot: u32,
    /// Why it ended.
    pub reason: BootReason,
    /// Reads that it took from its reader.
    pub reads: u64,
    /// For how long it had been running when it last looked, in milliseconds.
    pub uptime: Uptime,
    /// Runs that nobody was told of, and that the node has forgotten: what they lost is not known.
    pub forgotten: u32,
    /// What it said as it ended, at most [`MAX_WORDS`] bytes; empty where it said nothing.
    pub words: &'a str,
}

/// The most bytes of a run's last words.
pub const MAX_WORDS: usize = 96;

/// What a node did with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The number of the configuration.
    pub id: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The node works by it and keeps it.
    Taken,
    /// The node works by it, but could not keep it over a restart.
    NotKept,
    /// The reader has no such region.
    Region,
    /// The reader cannot send with this power.
    Power,
    /// The reader has no such antenna.
    Antennas,
    /// A threshold is out of range.
    Threshold,
    /// The reader did not take it.
    Reader,
}
