//! Magicrf R200 / M100 / YRM100. Enters: bytes in any chunks. Leaves: messages; and the commands to
//! send. Source: R200 user protocol V2.3.3.
//!
//! ```text
//! BB type command length(2) parameters sum 7E     or the same between AA and DD
//!    00 command, 01 answer, 02 notice             sum = low byte of type … last parameter
//! ```
//!
//! A tag notice (command 22) holds RSSI (i8 dBm), PC(2), EPC, tag CRC(2). The end byte may occur
//! inside: only the length says where a frame ends.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::region::Region;

use super::settings::Radio;
use super::{Message, Scan, Seen, Step, gen2};

/// Longer parameters than any answer that is asked for are taken for garbage.
const MAX_PARAMETERS: usize = 255;
const BEFORE_PARAMETERS: usize = 5;
/// Rounds per start command; the most the module takes.
const ROUNDS: u16 = 0xFFFF;

const MODULE_INFO: u8 = 0x03;
const SET_REGION: u8 = 0x07;
const SINGLE_POLL: u8 = 0x22;
const MULTI_POLL: u8 = 0x27;
const STOP: u8 = 0x28;
const SET_POWER: u8 = 0xB6;
const ERROR: u8 = 0xFF;

/// Between which bytes a module frames what it says. Both are understood; which one it understands shows
/// when it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// BB … 7E
    Usual,
    /// AA … DD
    Rare,
}

impl Flavour {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Usual => Self::Rare,
            Self::Rare => Self::Usual,
        }
    }

    fn frame(self) -> (u8, u8) {
        match self {
            Self::Usual => (0xBB, 0x7E),
            Self::Rare => (0xAA, 0xDD),
        }
    }
}

/// The commands that make a module stop whatever it does, say what it is, and read for ever.
pub(super) fn steps(radio: &Radio, flavour: Flavour) -> Vec<Step> {
    let region = region_code(radio.region).unwrap_or_default();
    let [power_high, power_low] = radio.power_cdbm.to_be_bytes();
    let [rounds_high, rounds_low] = ROUNDS.to_be_bytes();
    [
        ("stop", STOP, &[][..]),
        ("module information", MODULE_INFO, &[0]),
        ("region", SET_REGION, &[region]),
        ("power", SET_POWER, &[power_high, power_low]),
    ]
    .into_iter()
    .map(|(name, code, parameters)| Step::new(name, code, command(flavour, code, parameters)))
    // The answer to a start is the first round: a tag, or the error that says there is none.
    .chain([Step::new("start", MULTI_POLL, command(flavour, MULTI_POLL, &[0x22, rounds_high, rounds_low]))
        .starting()])
    .collect()
}

/// The commands that stop a module which may still be reading, and make it say what it is; last its firmware,
/// which not every module tells.
pub(super) fn questions(flavour: Flavour) -> Vec<Step> {
    let step = |name, code, parameters: &[u8]| Step::new(name, code, command(flavour, code, parameters));
    alloc::vec![
        step("stop", STOP, &[]),
        step("module information", MODULE_INFO, &[0]),
        step("firmware", MODULE_INFO, &[1]).optional(),
    ]
}

/// The module's number for a region; `None` where it has none.
pub(super) fn region_code(region: Region) -> Option<u8> {
    match region {
        Region::China => Some(1),
        Region::Us => Some(2),
        Region::Eu => Some(3),
        Region::Korea => Some(6),
        Region::Japan | Region::India | Region::Australia => None,
    }
}

fn command(flavour: Flavour, code: u8, parameters: &[u8]) -> Vec<u8> {
    let (head, end) = flavour.frame();
    let mut frame = alloc::vec![head, 0x00, code];
    frame.extend(u16::try_from(parameters.len()).expect("short parameters").to_be_bytes());
    frame.extend(parameters);
    frame.push(sum(&frame[1..]));
    frame.push(end);
    frame
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Looks for a frame at the start of `bytes`.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let end = match bytes[0] {
        0xBB => 0x7E,
        0xAA => 0xDD,
        _ => return Scan::Garbage(1),
    };
    match bytes.get(1) {
        None => return Scan::More,
        Some(0..=2) => {}
        Some(_) => return Scan::Garbage(1),
    }
    let Some(&[high, low]) = bytes.get(3..BEFORE_PARAMETERS) else { return Scan::More };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_PARAMETERS {
        return Scan::Garbage(1);
    }
    let total = BEFORE_PARAMETERS + length + 2;
    let Some(frame) = bytes.get(..total) else { return Scan::More };
    if frame[total - 1] == end && sum(&frame[1..total - 2]) == frame[total - 2] {
        Scan::Frame(total)
    } else {
        Scan::Garbage(1)
    }
}

/// What a checked frame says. `None` for a command, such as an echo of our own.
pub(super) fn message(frame: &[u8]) -> Option<Message> {
    let (kind, code) = (frame[1], frame[2]);
    let parameters = &frame[BEFORE_PARAMETERS..frame.len() - 2];
    match (kind, code) {
        (0, _) => None,
        (2, SINGLE_POLL) => Some(tag(parameters).map_or(Message::BadTag, Message::Tag)),
        (_, ERROR) => Some(error(parameters)),
        (_, MODULE_INFO) => Some(Message::Answer { code, module: Some(module(parameters)) }),
        _ => Some(Message::Answer { code, module: None }),
    }
}

fn tag(parameters: &[u8]) -> Option<Seen> {
    let (&rssi, rest) = parameters.split_first()?;
    Some(Seen {
        epc: gen2::epc(rest)?,
        antenna: 1,
        rssi_cdbm: i16::from(rssi.cast_signed()) * 100,
        phase_ddeg: None,
        channel_khz: None,
    })
}

fn error(parameters: &[u8]) -> Message {
    let Some(&code) = parameters.first() else { return Message::Fault("an error without a code".into()) };
    let meaning = match code {
        // No tag in this round: the module's sign of life.
        0x15 => return Message::Idle,
        0x09 => "a tag could not be read",
        0x10 => "a tag could not be written",
        0x12 => "a tag could not be killed",
        0x13 => "a tag could not be locked",
        0x16 => "a tag refused the password",
        0x17 => "it does not know a command",
        0x20 => "no free channel to hop to",
        0xA0.. => "a tag reports an error",
        _ => return Message::Fault(format!("error {code:02x}")),
    };
    Message::Fault(format!("{meaning} ({code:02x})"))
}

/// The module's description of itself; unprintable bytes are left out.
fn module(parameters: &[u8]) -> String {
    let text = parameters.get(1..).unwrap_or_default();
    text.iter().filter(|c| (b' '..=b'~').contains(*c)).map(|&c| char::from(c)).collect()
}
