//! Chafon UHFReader18 and UHFReader288 (CF-RU5102 to CF-MU9xx). Enters: bytes in any chunks. Leaves:
//! messages; and the commands to send. Source: the vendor's manuals V2.0 (18) and V1.14 (288, sold as
//! UR series too).
//!
//! ```text
//! command  LEN ADR CMD data CRC(2)             reply  LEN ADR CMD STATUS data CRC(2)
//!          LEN counts what follows it; CRC-16/MCRF4XX of all before it, low byte first
//! inventory reply, 18   count, then per tag: length EPC
//!                  288  antenna (bit 0 is port 1), count, then per tag: length EPC RSSI
//! ```
//!
//! No byte marks a start: only the CRC tells where a frame is. The reader never speaks by itself; while it
//! takes an inventory, commands are lost. Power and region are kept in an EEPROM that wears out: they are
//! set only where they differ.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crc::{CRC_16_MCRF4XX, Crc};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::region::Region;

use super::settings::Radio;
use super::{Message, Scan, Seen, Step};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_MCRF4XX);
/// Address, command, status, CRC.
const SHORTEST_REPLY: usize = 5;
/// Addresses every reader on the line; no reply comes from it.
pub(super) const BROADCAST: u8 = 0xFF;
/// The strongest that any of these readers can be set to, in dBm.
pub(super) const STRONGEST_DBM: u8 = 30;
/// UHFReader288 with eight ports; most have four.
pub(super) const MOST_PORTS: u8 = 8;

/// What takes an inventory.
pub(super) const INVENTORY: u8 = 0x01;
const READER_INFORMATION: u8 = 0x21;
const SET_REGION: u8 = 0x22;
const SET_SCAN_TIME: u8 = 0x25;
const SET_POWER: u8 = 0x2F;
/// What a reader that was switched to work by itself sends.
const BY_ITSELF: u8 = 0xEE;

/// Slots of an inventory round, as a power of two: about the number of tags before an antenna.
const Q: u8 = 6;
/// How long a 288 may search at one antenna, in tenths of a second; the least that its manual allows.
const SEARCH_DS: u8 = 3;
/// How long an 18 may search, in tenths of a second: its factory setting, and the most that is left as it is.
const SCAN_TIME_DS: u8 = 10;
/// A UHFReader18 tells no strength: one in the middle of what readers tell stands for it.
const NO_RSSI_CDBM: i16 = -6_000;
/// What is subtracted from the RSSI byte of a 288 to get dBm. Its manual calls the byte a strength and gives no
/// unit; 129 is what the serial protocol guides of "A0" readers (Invelion, Rodinbell), which have the same radio
/// chip, print in their table of strengths, and no measurement of a 288 is known. If it is wrong, all strengths of
/// a reader are off alike, which matters where readers of another kind hear the same garments.
const RSSI_OFFSET_DB: i16 = 129;

/// How tags are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// UHFReader18: no antenna, no strength.
    R18,
    /// UHFReader288 and its relatives.
    R288,
}

/// What a reader says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    firmware: [u8; 2],
    kind: u8,
    /// Highest and lowest frequency: two bits of the band's number each, and the channel's number.
    frequencies: [u8; 2],
    power_dbm: u8,
    scan_time_ds: u8,
}

impl Info {
    pub(super) fn dialect(&self) -> Dialect {
        if self.kind == 0x09 { Dialect::R18 } else { Dialect::R288 }
    }

    fn band(&self) -> u8 {
        let [highest, lowest] = self.frequencies;
        highest >> 6 << 2 | lowest >> 6
    }

    /// Whether it transmits where it may. A reader that was sold for Europe is left in either of the two
    /// European bands.
    fn is_for(&self, region: Region, wanted: [u8; 2]) -> bool {
        self.frequencies == wanted || region == Region::Eu && matches!(self.band(), EU | EU3)
    }

    fn from_data(data: &[u8]) -> Option<Self> {
        let (&[major, minor, kind, _air, highest, lowest, power_dbm, scan_time_ds], _) =
            data.split_first_chunk::<8>()?;
        let (firmware, frequencies) = ([major, minor], [highest, lowest]);
        Some(Self { firmware, kind, frequencies, power_dbm, scan_time_ds })
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.dialect() {
            Dialect::R18 => "UHFReader18",
            Dialect::R288 => "UHFReader288",
        };
        let [major, minor] = self.firmware;
        let [highest, lowest] = self.frequencies.map(|channel| channel & 0x3F);
        write!(f, "Chafon {name} type {:02x} firmware {major}.{minor}", self.kind)?;
        write!(f, ", band {} channels {lowest} to {highest}, {} dBm", self.band(), self.power_dbm)
    }
}

// Bands, and the frequency of channel n in MHz. Regions that have no band of their own use a part of one.
/// 920.125 + 0.25 n
const CHINA_2: u8 = 1;
/// 902.75 + 0.5 n
const US: u8 = 2;
/// 917.1 + 0.2 n
const KOREA: u8 = 3;
/// 865.1 + 0.2 n
const EU: u8 = 4;
/// 865.7 + 0.6 n: the four channels of ETSI EN 302 208 with full power.
const EU3: u8 = 9;

/// The highest and the lowest frequency for a region as the reader has them; `None` where it has none.
pub(super) fn frequencies(region: Region, dialect: Dialect) -> Option<[u8; 2]> {
    let (band, lowest, highest) = match (region, dialect) {
        (Region::Eu, Dialect::R18) => (EU, 0, 14),
        (Region::Eu, Dialect::R288) => (EU3, 0, 3),
        (Region::Us, _) => (US, 0, 49),
        (Region::China, _) => (CHINA_2, 0, 19),
        (Region::Korea, _) => (KOREA, 0, 31),
        (Region::India, _) => (EU, 0, 9),
        (Region::Australia, _) => (US, 35, 46),
        // Its channels lie between those of every band.
        (Region::Japan, _) => return None,
    };
    Some([band >> 2 << 6 | highest, (band & 3) << 6 | lowest])
}

/// The commands that ask a reader what it is, set what differs, and start the first inventory. Before it
/// has said what it is, nothing but the question is known.
pub(super) fn steps(radio: &Radio, address: u8, info: Option<&Info>) -> Vec<Step> {
    let step = |name, code, data: &[u8]| Step::new(name, code, command(address, code, data));
    let mut steps = alloc::vec![step("reader information", READER_INFORMATION, &[])];
    let Some(info) = info else { return steps };
    let frequencies = frequencies(radio.region, info.dialect()).unwrap_or_default();
    if !info.is_for(radio.region, frequencies) {
        steps.push(step("region", SET_REGION, &frequencies));
    }
    // Checked to be whole and in range.
    let power_dbm = u8::try_from(radio.power_cdbm / 100).unwrap_or(0);
    if info.power_dbm != power_dbm {
        steps.push(step("power", SET_POWER, &[power_dbm]));
    }
    if info.dialect() == Dialect::R18 && info.scan_time_ds > SCAN_TIME_DS {
        steps.push(step("scan time", SET_SCAN_TIME, &[SCAN_TIME_DS]));
    }
    let first = inventories(radio, address, info.dialect()).into_iter().next();
    steps.extend(first.map(|bytes| Step::new("inventory", INVENTORY, bytes).starting()));
    steps
}

/// The command that makes a reader say what it is.
pub(super) fn questions(address: u8) -> Vec<Step> {
    alloc::vec![Step::new(
        "reader information",
        READER_INFORMATION,
        command(address, READER_INFORMATION, &[])
    )]
}

/// The commands that take one inventory each: one per antenna, in turn.
pub(super) fn inventories(radio: &Radio, address: u8, dialect: Dialect) -> Vec<Vec<u8>> {
    match dialect {
        Dialect::R18 => alloc::vec![command(address, INVENTORY, &[])],
        // Session S0, so that tags answer in every round; the mask over the EPC is empty; target A.
        Dialect::R288 => {
            let ports = if radio.antennas.is_empty() { &[1] } else { &radio.antennas[..] };
            let antennas = ports.iter().map(|port| port.saturating_add(0x7F));
            let data = antennas.map(|antenna| [Q, 0, 1, 0, 0, 0, 0, antenna, SEARCH_DS]);
            data.map(|data| command(address, INVENTORY, &data)).collect()
        }
    }
}

pub(super) fn command(address: u8, code: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![u8::try_from(data.len() + 4).expect("short data"), address, code];
    frame.extend(data);
    frame.extend(CRC.checksum(&frame).to_le_bytes());
    frame
}

/// Looks for a reply at the start of `bytes`.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let length = usize::from(bytes[0]);
    // An echo of a command to all is no reply, and most echoes of commands are too short for one.
    let can_begin = length >= SHORTEST_REPLY
        && bytes.get(1).is_none_or(|address| *address != BROADCAST)
        && bytes.get(2).is_none_or(|code| is_known(*code));
    if !can_begin {
        return Scan::Garbage(1);
    }
    let Some(frame) = bytes.get(..length + 1) else { return Scan::More };
    let (checked, sent) = frame.split_at(length - 1);
    if CRC.checksum(checked).to_le_bytes() == sent { Scan::Frame(length + 1) } else { Scan::Garbage(1) }
}

fn is_known(code: u8) -> bool {
    matches!(code, INVENTORY | READER_INFORMATION | SET_REGION | SET_SCAN_TIME | SET_POWER | BY_ITSELF)
}

/// What a checked reply says. Replies of other readers on the same line say nothing.
pub(super) fn message(
    frame: &[u8],
    address: u8,
    dialect: Option<Dialect>,
    on_message: &mut dyn FnMut(Message),
) {
    let (from, code, status) = (frame[1], frame[2], frame[3]);
    let data = &frame[4..frame.len() - 2];
    if address != BROADCAST && from != address {
        return;
    }
    match (code, status) {
        (INVENTORY, _) => inventory(status, data, dialect, on_message),
        (BY_ITSELF, _) => {
            on_message(Message::Fault("it is switched to read by itself; switch it to answer mode".into()));
        }
        (READER_INFORMATION, 0) => on_message(match Info::from_data(data) {
            Some(info) => Message::Reader(info),
            None => Message::Fault("it does not say what it is".into()),
        }),
        (_, 0) => on_message(Message::Answer { code, module: None }),
        (_, 0xF8..) => on_message(Message::Refused { code, why: fault(status) }),
        // The echo of a command to this very reader, whose first byte of data stands for the status.
        (_, 1..0xF8) => {}
    }
}

fn inventory(status: u8, data: &[u8], dialect: Option<Dialect>, on_message: &mut dyn FnMut(Message)) {
    match status {
        // All told; the time was over; more follows; the reader's memory was full.
        0x01..=0x04 => {
            match tags(data, dialect) {
                Some(tags) => {
                    for seen in tags {
                        on_message(seen.map_or(Message::BadTag, Message::Tag));
                    }
                }
                None => on_message(Message::BadTag),
            }
            match status {
                0x03 => on_message(Message::Idle),
                0x04 => {
                    on_message(Message::RoundOver);
                    on_message(Message::Fault(fault(status)));
                }
                _ => on_message(Message::RoundOver),
            }
        }
        // A tag was heard badly, or none was heard.
        0xFA | 0xFB => on_message(Message::RoundOver),
        // The other antennas may be whole.
        0xF8 => {
            on_message(Message::RoundOver);
            on_message(Message::Fault(fault(status)));
        }
        // The next inventory would fare no better: it is tried when the silence has lasted.
        0xF9.. => on_message(Message::Refused { code: INVENTORY, why: fault(status) }),
        // Counts of the round, which were not asked for.
        _ => on_message(Message::Idle),
    }
}

/// A list of tags; `None` stands for one without a good EPC.
type Tags = Vec<Option<Seen>>;

/// The tags of a list that is whole; `None` when it is not what the dialect says. As long as the dialect is
/// not known the list itself must tell.
fn tags(data: &[u8], dialect: Option<Dialect>) -> Option<Tags> {
    match dialect {
        Some(Dialect::R18) => tags_18(data),
        Some(Dialect::R288) => tags_288(data),
        None => {
            let all_good = |tags: &Tags| tags.iter().all(Option::is_some);
            tags_288(data).filter(all_good).or_else(|| tags_18(data))
        }
    }
}

fn tags_18(data: &[u8]) -> Option<Tags> {
    let Some((&count, list)) = data.split_first() else { return Some(Vec::new()) };
    list_of(count, list, 0, |epc, _| seen(epc, 1, NO_RSSI_CDBM))
}

fn tags_288(data: &[u8]) -> Option<Tags> {
    let Some((&[antennas, count], list)) = data.split_first_chunk() else {
        return data.is_empty().then(Vec::new);
    };
    if count > 0 && !antennas.is_power_of_two() {
        return None;
    }
    let antenna = u8::try_from(antennas.trailing_zeros()).expect("at most 8") + 1;
    list_of(count, list, 1, |epc, rssi| seen(epc, antenna, (i16::from(rssi[0]) - RSSI_OFFSET_DB) * 100))
}

fn list_of(
    count: u8,
    mut list: &[u8],
    behind: usize,
    seen: impl Fn(&[u8], &[u8]) -> Option<Seen>,
) -> Option<Tags> {
    let mut tags = Vec::with_capacity(count.into());
    for _ in 0..count {
        let (&length, rest) = list.split_first()?;
        let (epc, rest) = rest.split_at_checked(length.into())?;
        let (extra, rest) = rest.split_at_checked(behind)?;
        tags.push(seen(epc, extra));
        list = rest;
    }
    list.is_empty().then_some(tags)
}

fn seen(epc: &[u8], antenna: u8, rssi_cdbm: i16) -> Option<Seen> {
    let epc = Epc::new(epc).ok()?;
    Some(Seen { epc, antenna, rssi_cdbm, phase_ddeg: None, channel_khz: None })
}

fn fault(status: u8) -> String {
    let meaning = match status {
        0x04 => "more tags than it can hold answered at once",
        0xF8 => "an antenna is disconnected or damaged",
        0xF9 => "it could not carry out a command",
        0xFC => "a tag reports an error",
        0xFD => "a command has a wrong length",
        0xFE => "it does not know a command",
        0xFF => "a parameter is not accepted",
        _ => return format!("status {status:02x}"),
    };
    format!("{meaning} ({status:02x})")
}

#[cfg(test)]
mod tests;
