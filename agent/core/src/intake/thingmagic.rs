//! ThingMagic Mercury serial protocol: M6E, M7E, and Silion modules. Enters: bytes in any chunks.
//! Leaves: messages; and the commands to send. Source: the vendor's developer guide and the public
//! Mercury API.
//!
//! ```text
//! command  FF LEN OP data CRC(2)             reply  FF LEN OP STATUS(2) data CRC(2)
//! ```
//!
//! Everything is big-endian. The CRC covers LEN … data. While reading continuously the module sends
//! replies with OP 22 by itself: one per tag, and one with status 0400 per cycle without a tag.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::region::Region;

use super::settings::Radio;
use super::{Message, Scan, Seen, Step, gen2};

const MAX_DATA: u8 = 248;
const AROUND_DATA: usize = 7;

const VERSION: u8 = 0x03;
const TEMPERATURE: u8 = 0x72;
const READ: u8 = 0x22;
const MULTI_PROTOCOL: u8 = 0x2F;
const SET_ANTENNAS: u8 = 0x91;
const SET_POWER: u8 = 0x92;
const SET_PROTOCOL: u8 = 0x93;
const SET_REGION: u8 = 0x97;
const SET_READER_OPTION: u8 = 0x9A;

/// The commands that stop a module which may still be streaming, set it up, and start it.
pub(super) fn steps(radio: &Radio) -> Vec<Step> {
    let region = region_code(radio.region).unwrap_or_default();
    let power = radio.power_cdbm.to_be_bytes();
    // Option 2: the list of (transmit, receive) ports that are used in turn.
    let antennas: Vec<u8> =
        [2].into_iter().chain(radio.antennas.iter().flat_map(|port| [*port, *port])).collect();
    // Read continuously: time-out none, option 1, sub-operation 22; then protocol Gen2 and the read
    // command itself with search flags 001B (the antenna list, streaming) and all metadata (01FF).
    let start = [0, 0, 1, READ, 0, 0, 5, 7, READ, 0x10, 0x00, 0x1B, 0x03, 0xE8, 0x01, 0xFF];
    [
        ("stop", MULTI_PROTOCOL, &[0, 0, 2][..]),
        ("version", VERSION, &[]),
        ("region", SET_REGION, &[region]),
        ("protocol Gen2", SET_PROTOCOL, &[0, 5]),
        ("antennas", SET_ANTENNAS, &antennas),
        ("power", SET_POWER, &power),
        // With the read filter on, a tag is reported once and then not again for a while.
        ("read filter off", SET_READER_OPTION, &[1, 0x0C, 0]),
        // Not every maker's module measures it.
        ("temperature", TEMPERATURE, &[]),
        ("start", MULTI_PROTOCOL, &start),
    ]
    .into_iter()
    .map(|(name, code, data)| Step::new(name, code, command(code, data)))
    .map(|step| if step.code == TEMPERATURE { step.optional() } else { step })
    .collect()
}

/// The commands that stop a module which may still be streaming, and make it say what it is.
pub(super) fn questions() -> Vec<Step> {
    alloc::vec![
        Step::new("stop", MULTI_PROTOCOL, command(MULTI_PROTOCOL, &[0, 0, 2])),
        Step::new("version", VERSION, command(VERSION, &[])),
    ]
}

/// The module's number for a region; `None` where it has none.
pub(super) fn region_code(region: Region) -> Option<u8> {
    match region {
        Region::Us => Some(0x01),
        Region::India => Some(0x04),
        Region::Japan => Some(0x05),
        Region::China => Some(0x06),
        // EU3: the channels of ETSI EN 302 208 since 2008.
        Region::Eu => Some(0x08),
        Region::Korea => Some(0x09),
        Region::Australia => Some(0x0B),
    }
}

fn command(code: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![0xFF, u8::try_from(data.len()).expect("short data"), code];
    frame.extend(data);
    let crc = crc(&frame[1..]);
    frame.extend(crc.to_be_bytes());
    frame
}

/// The protocol's own CRC. The vendor calls it CCITT, but each nibble enters at the bottom of the
/// register, so that no catalogued CRC-16 gives the same values.
fn crc(bytes: &[u8]) -> u16 {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    nibbles.fold(0xFFFF, |crc: u16, nibble| (crc << 4 | u16::from(nibble)) ^ (crc >> 12).wrapping_mul(0x1021))
}

/// Looks for a reply at the start of `bytes`.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    if bytes[0] != 0xFF {
        return Scan::Garbage(1);
    }
    let Some(&length) = bytes.get(1) else { return Scan::More };
    if length > MAX_DATA {
        return Scan::Garbage(1);
    }
    let total = usize::from(length) + AROUND_DATA;
    let Some(frame) = bytes.get(..total) else { return Scan::More };
    let (checked, sent) = frame[1..].split_at(total - 3);
    if crc(checked).to_be_bytes() == sent { Scan::Frame(total) } else { Scan::Garbage(1) }
}

/// What a checked reply says.
pub(super) fn message(frame: &[u8], on_message: &mut dyn FnMut(Message)) {
    let (code, status) = (frame[2], u16::from_be_bytes([frame[3], frame[4]]));
    let data = &frame[5..frame.len() - 2];
    let message = match (code, status) {
        (READ, 0) => stream(data),
        // The last word of a stream that was stopped.
        (MULTI_PROTOCOL, 0x0400) => Message::Answer { code, module: None },
        // No tag in this cycle: the module's sign of life.
        (_, 0x0400) => Message::Idle,
        (_, 0) => {
            if let (TEMPERATURE, [degrees, ..]) = (code, data) {
                on_message(Message::Temperature(degrees.cast_signed()));
            }
            Message::Answer { code, module: (code == VERSION).then(|| module(data)) }
        }
        (_, status) => Message::Refused { code, why: fault(status) },
    };
    on_message(message);
}

/// A message that the module sends by itself while reading.
fn stream(data: &[u8]) -> Message {
    // The response type stands behind option, search flags and metadata flags; option bit 4 says that
    // the metadata flags are there.
    let Some(&option) = data.first() else { return Message::BadTag };
    let response_type = if option & 0x10 != 0 { 5 } else { 3 };
    match data.get(response_type) {
        Some(1) => tag(data).map_or(Message::BadTag, Message::Tag),
        Some(2) => status_report(&data[response_type + 1..]).map_or(Message::Idle, Message::Temperature),
        // The end of a cycle.
        _ => Message::Idle,
    }
}

/// The temperature in a status report, in degrees Celsius. What is there is told by flags, lowest first.
fn status_report(report: &[u8]) -> Option<i8> {
    let mut fields = Fields(report);
    let flags = u16::from_be_bytes(fields.take()?);
    if flags & 0x0002 != 0 {
        let [_, _, _] = fields.take()?;
    }
    (flags & 0x0004 != 0).then_some(())?;
    let [degrees] = fields.take()?;
    Some(degrees.cast_signed())
}

fn tag(data: &[u8]) -> Option<Seen> {
    let mut fields = Fields(data);
    let [option, _, _] = fields.take()?;
    let flags = if option & 0x10 != 0 { u16::from_be_bytes(fields.take()?) } else { 0 };
    let [_response_type] = fields.take()?;
    let has = |bit| flags & bit != 0;
    let mut seen =
        Seen { epc: Epc::new(&[0]).ok()?, antenna: 1, rssi_cdbm: 0, phase_ddeg: None, channel_khz: None };
    let mut is_gen2 = true;
    if has(0x0001) {
        let [_count] = fields.take()?;
    }
    if has(0x0002) {
        let [rssi] = fields.take()?;
        seen.rssi_cdbm = i16::from(rssi.cast_signed()) * 100;
    }
    if has(0x0004) {
        let [ports] = fields.take()?;
        seen.antenna = ports >> 4;
    }
    if has(0x0008) {
        let [a, b, c] = fields.take()?;
        seen.channel_khz = Some(u32::from_be_bytes([0, a, b, c]));
    }
    if has(0x0010) {
        let [_, _, _, _] = fields.take()?;
    }
    if has(0x0020) {
        // Degrees, 0 to 180: the module cannot tell a half turn.
        seen.phase_ddeg = Some(u16::from_be_bytes(fields.take()?) % 180 * 10);
    }
    if has(0x0040) {
        let [protocol] = fields.take()?;
        is_gen2 = protocol == 5;
    }
    if has(0x0080) {
        let bits = u16::from_be_bytes(fields.take()?);
        fields.skip(usize::from(bits).div_ceil(8))?;
    }
    if has(0x0100) {
        let [_gpio] = fields.take()?;
    }
    for bit in [0x0200, 0x0400, 0x0800] {
        if has(bit) && is_gen2 {
            let [_] = fields.take()?;
        }
    }
    if has(0x1000) {
        let [_, _] = fields.take()?;
    }
    let bits = usize::from(u16::from_be_bytes(fields.take()?));
    let sent = fields.0.get(..bits.div_ceil(8))?;
    seen.epc = match is_gen2 {
        true => gen2::epc(sent)?,
        // Tags of other protocols have checksums of other kinds.
        false => Epc::new(sent.get(2..sent.len().checked_sub(2)?)?).ok()?,
    };
    Some(seen)
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }
}

/// What a version reply says: boot loader(4), hardware(4), date(4), application(4), protocols(4).
fn module(data: &[u8]) -> String {
    let Some((&[_, _, _, _, h0, h1, h2, h3, y0, y1, month, day, a0, a1, a2, a3], _)) =
        data.split_first_chunk::<16>()
    else {
        return "a module with a short version reply".into();
    };
    let maker = if h0 == 0x31 { "Silion" } else { "ThingMagic" };
    format!(
        "{maker} hardware {h0:02x}.{h1:02x}.{h2:02x}.{h3:02x} \
         firmware {a0:02x}.{a1:02x}.{a2:02x}.{a3:02x} of {y0:02x}{y1:02x}-{month:02x}-{day:02x}"
    )
}

fn fault(status: u16) -> String {
    let meaning = match status {
        0x0101 => "unknown command",
        0x0105 => "a parameter is not accepted",
        0x010B => "the region is not accepted",
        0x0503 => "no antenna is connected",
        0x0504 => "too hot",
        0x0505 => "high return loss: an antenna is disconnected or damaged",
        _ => return format!("status {status:04x}"),
    };
    format!("{meaning} ({status:04x})")
}

/// A module's reply, for tests.
#[cfg(test)]
pub(super) fn reply(code: u8, status: u16, data: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![0xFF, u8::try_from(data.len()).expect("short data"), code];
    frame.extend(status.to_be_bytes());
    frame.extend(data);
    let crc = crc(&frame[1..]);
    frame.extend(crc.to_be_bytes());
    frame
}
