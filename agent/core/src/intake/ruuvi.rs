//! Ruuvi sensor tags through a serial receiver: the radio half of a Ruuvi gateway. Enters: bytes in any
//! chunks. Leaves: messages; and the commands to send. Source: Ruuvi's endpoint library and its data
//! format 5 (RAWv2).
//!
//! ```text
//! CA LEN CMD payload CRC(2) 0A      LEN counts the payload; CRC-16/CCITT-FALSE of LEN … payload, low byte first
//! CMD 10   MAC(6) 2C advertisement 2C RSSI 2C
//! CMD 12   MAC(6) 2C advertisement 2C RSSI 2C PHY channel power 2C
//!
//! advertisement  length type … per part; the part FF 99 04 holds format 5, big-endian:
//! 05 temperature(2) humidity(2) pressure(2) acceleration x, y, z(2 each, mg) power(2) moves sequence(2) MAC(6)
//!                                                             └ 11 bits of battery in mV above 1600
//! ```
//!
//! 2C may stand inside every field: only its position makes it a separator. A field of which all bits are
//! set, or 8000 where it is signed, is absent.

pub mod sensors;

use alloc::format;
use alloc::vec::Vec;

use crc::{CRC_16_IBM_3740, Crc};

use super::{Message, Scan, Step};
pub use sensors::{Mac, Motion};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_3740);
const HEAD: u8 = 0xCA;
const END: u8 = 0x0A;
const SEPARATOR: u8 = 0x2C;
/// Head, length, command, CRC, end.
const AROUND_PAYLOAD: usize = 6;

const SET_ALL: u8 = 0x0F;
const ADVERTISEMENT: u8 = 0x10;
const DEVICE_ID: u8 = 0x11;
const ADVERTISEMENT_2: u8 = 0x12;
const ASK_DEVICE_ID: u8 = 0x18;
const ASK_ALL: u8 = 0x19;
const ACKNOWLEDGE: u8 = 0x20;

/// No filter, and the radio channels 37 to 39 at 1 Mbit/s: a filter for the wrong maker would make the
/// receiver deaf, and what others send is skipped here.
const EVERYTHING: [u8; 5] = [0x99, 0x04, SEPARATOR, 0x74, SEPARATOR];

/// What a sensor tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advert {
    pub(super) sensor: Mac,
    pub(super) rssi_cdbm: i16,
    /// In thousandths of the earth's pull, along the tag's own axes.
    pub(super) acceleration_mg: Option<[i16; 3]>,
    pub(super) battery_mv: Option<u16>,
    /// Counts movements, 0 to 254, then from 0 again.
    pub(super) moves: Option<u8>,
    /// Counts measurements, 0 to 65,534, then from 0 again.
    pub(super) sequence: Option<u16>,
}

/// The commands that make a receiver listen, and say what it is.
pub(super) fn steps() -> Vec<Step> {
    alloc::vec![
        // Old receivers know no settings and listen by themselves.
        Step::new("settings", ACKNOWLEDGE, settings()).optional(),
        Step::new("device id", DEVICE_ID, ask()).starting(),
    ]
}

/// The question that a receiver answers at any time.
pub(super) fn ask() -> Vec<u8> {
    command(ASK_DEVICE_ID, &[])
}

/// The command that makes a receiver say what it is.
pub(super) fn questions() -> Vec<Step> {
    alloc::vec![Step::new("device id", DEVICE_ID, ask())]
}

/// What a receiver that has just got power asks for.
pub(super) fn settings() -> Vec<u8> {
    command(SET_ALL, &EVERYTHING)
}

pub(super) fn command(code: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![HEAD, u8::try_from(payload.len()).expect("short payload"), code];
    frame.extend(payload);
    frame.extend(CRC.checksum(&frame[1..]).to_le_bytes());
    frame.push(END);
    frame
}

/// Looks for a frame at the start of `bytes`.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    if bytes[0] != HEAD {
        return Scan::Garbage(1);
    }
    let Some(&length) = bytes.get(1) else { return Scan::More };
    let total = usize::from(length) + AROUND_PAYLOAD;
    let Some(frame) = bytes.get(..total) else { return Scan::More };
    let (checked, sent) = frame[1..total - 1].split_at(total - 4);
    if frame[total - 1] == END && CRC.checksum(checked).to_le_bytes() == sent {
        Scan::Frame(total)
    } else {
        Scan::Garbage(1)
    }
}

/// What a checked frame says.
pub(super) fn message(frame: &[u8]) -> Message {
    let (code, payload) = (frame[2], &frame[3..frame.len() - 3]);
    match code {
        ADVERTISEMENT => report(payload, &[]),
        ADVERTISEMENT_2 => match payload.split_last_chunk::<4>() {
            Some((rest, behind)) => report(rest, behind),
            None => Message::BadTag,
        },
        DEVICE_ID => Message::Answer {
            code,
            module: Some(match payload.split_first_chunk::<8>() {
                Some((id, _)) => format!("Ruuvi receiver {:016x}", u64::from_be_bytes(*id)),
                None => "a Ruuvi receiver with a short id".into(),
            }),
        },
        ASK_ALL => Message::Unset,
        code => Message::Answer { code, module: None },
    }
}

/// An advertisement with what stands around it. Those of other makers and formats are a sign of life.
fn report(payload: &[u8], behind: &[u8]) -> Message {
    let Some((&[a, b, c, d, e, f, SEPARATOR], rest)) = payload.split_first_chunk::<7>() else {
        return Message::BadTag;
    };
    let Some((parts, &[SEPARATOR, rssi, SEPARATOR])) = rest.split_last_chunk::<3>() else {
        return Message::BadTag;
    };
    if !matches!(behind, [] | [.., SEPARATOR]) {
        return Message::BadTag;
    }
    let rssi_cdbm = i16::from(rssi.cast_signed()) * 100;
    match format_5(parts).and_then(|data| advert(data, Mac([a, b, c, d, e, f]), rssi_cdbm)) {
        Some(advert) => Message::Advert(advert),
        None => Message::Idle,
    }
}

/// The data of format 5 among the parts of an advertisement.
fn format_5(mut parts: &[u8]) -> Option<&[u8]> {
    while let Some((&length, rest)) = parts.split_first() {
        let (part, rest) = rest.split_at_checked(length.into())?;
        if let [0xFF, 0x99, 0x04, 0x05, data @ ..] = part {
            return Some(data);
        }
        parts = rest;
    }
    None
}

fn advert(data: &[u8], sensor: Mac, rssi_cdbm: i16) -> Option<Advert> {
    let (&[_, _, _, _, _, _, x0, x1, y0, y1, z0, z1, p0, p1, moves, s0, s1], _) =
        data.split_first_chunk::<17>()?;
    let signed = |high, low| Some(i16::from_be_bytes([high, low])).filter(|value| *value != i16::MIN);
    let axes = [signed(x0, x1), signed(y0, y1), signed(z0, z1)];
    let battery = u16::from_be_bytes([p0, p1]) >> 5;
    Some(Advert {
        sensor,
        rssi_cdbm,
        acceleration_mg: match axes {
            [Some(x), Some(y), Some(z)] => Some([x, y, z]),
            _ => None,
        },
        battery_mv: (battery != 0x7FF).then_some(1_600 + battery),
        moves: (moves != u8::MAX).then_some(moves),
        sequence: Some(u16::from_be_bytes([s0, s1])).filter(|sequence| *sequence != u16::MAX),
    })
}

#[cfg(test)]
mod tests;
