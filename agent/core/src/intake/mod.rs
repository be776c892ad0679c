//! Bytes of one serial line to reads, and the commands that make a reader read.
//!
//! A [`Session`] is one conversation with a reader, from the opening of its port to its loss: it stops
//! a module that may still be streaming, sets it up step by step, starts it, and starts over when it
//! falls silent. Bytes that belong to no good frame are counted and skipped, one at a time, until a
//! good frame begins. A [`Probe`] finds out which reader there is to talk to.
//!
//! When readers read at all, a [`Schedule`] says.
//!
//! Several readers that share a line take turns ([`Shared`]).
//!
//! A [`Link`](node::Link) is the same with a reader node of our own, which keeps what is not acknowledged.
//!
//! | module | readers |
//! |---|---|
//! | `chafon` | Chafon UHFReader18, UHFReader288 |
//! | [`node`] | reader nodes with our firmware |
//! | `r200` | Magicrf R200, M100, YRM100 |
//! | `ruuvi` | Ruuvi sensor tags through a serial receiver |
//! | `scanner` | serial barcode scanners |
//! | `thingmagic` | ThingMagic Mercury, Silion |

pub mod node;
pub mod probe;
pub mod ruuvi;
pub mod scanner;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod shared;

mod chafon;
mod decoder;
mod gen2;
mod r200;
mod thingmagic;

use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::read::Read;

pub use hangtag_protocol::region::Region;
pub use probe::{Found, Known, Probe};
pub use ruuvi::{Mac, Motion};
pub use scanner::{Code, LoyaltyCode, LoyaltyPattern, Scanned};
pub use schedule::{Schedule, Window, WindowError};
pub use session::{Notice, Session};
pub use settings::{Protocol, Radio, Settings, SettingsError};
pub use shared::Shared;

/// One step of setting a reader up: a command, and the code that its answer will have.
#[derive(Clone, Debug)]
struct Step {
    name: &'static str,
    code: u8,
    bytes: Vec<u8>,
    /// What it starts may be its only answer.
    starts: bool,
    /// Not every reader can do it: without an answer, or refused, it is left out.
    optional: bool,
}

impl Step {
    fn new(name: &'static str, code: u8, bytes: Vec<u8>) -> Self {
        Self { name, code, bytes, starts: false, optional: false }
    }

    fn starting(self) -> Self {
        Self { starts: true, ..self }
    }

    fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// What stands at the start of the bytes that have not been understood yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    /// Maybe a frame, when more bytes come.
    More,
    /// A good frame of so many bytes.
    Frame(usize),
    /// So many bytes belong to no frame.
    Garbage(usize),
}

/// What a frame says.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// A tag answered.
    Tag(Seen),
    /// A tag answered, but its data is damaged.
    BadTag,
    /// No tag answered: the reader is alive.
    Idle,
    /// A command was carried out.
    Answer { code: u8, module: Option<String> },
    /// A command was refused, or reading met a fault.
    Refused { code: u8, why: String },
    /// The reader reports a fault without saying to what.
    Fault(String),
    /// The reader said what it is, on which the commands depend.
    Reader(chafon::Info),
    /// A round has ended, and the reader waits to be asked for the next.
    RoundOver,
    /// The module's temperature in degrees Celsius.
    Temperature(i8),
    /// A sensor tag was heard.
    Advert(ruuvi::Advert),
    /// The receiver has lost its settings.
    Unset,
    /// A code was scanned.
    Scanned(Code),
}

/// What a reader says of a tag that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    epc: Epc,
    antenna: u8,
    rssi_cdbm: i16,
    phase_ddeg: Option<u16>,
    channel_khz: Option<u32>,
}

impl Seen {
    /// The same as a read.
    fn at(self, at: Uptime) -> Read {
        let Self { epc, antenna, rssi_cdbm, phase_ddeg, channel_khz } = self;
        Read { at, epc, antenna, rssi_cdbm, phase_ddeg, channel_khz }
    }
}
