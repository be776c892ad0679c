//! A ThingMagic module (M7E, M6E; the Mercury serial protocol). Enters: host commands, tags, time.
//! Leaves: frames. It reads when a region is set and 0x2F started it. Until its read filter is turned
//! off it reports every tag only once.
//!
//! ```text
//! command  FF | length | opcode | data            | CRC, 2
//! answer   FF | length | opcode | status, 2 | data | CRC, 2       length counts data only
//! tag      opcode 22, data: option 10 | search flags 001B | metadata flags | 01 | the metadata that the
//!          flags ask for, lowest bit first | bits of PC, EPC and CRC, 2 | PC | EPC | the tag's CRC
//! ```

use std::collections::BTreeSet;

use hangtag_protocol::epc::Epc;

use super::{air_frame, whole_dbm};
use crate::shop::Sighting;

/// The module.
#[derive(Clone, Debug)]
pub struct ThingMagic {
    received: Vec<u8>,
    region: Option<u8>,
    antennas: BTreeSet<u8>,
    filter: bool,
    reading: Option<Reading>,
}

#[derive(Clone, Debug)]
struct Reading {
    metadata: u16,
    since_ms: u64,
    last_frame_ms: u64,
    reported: BTreeSet<(u8, Epc)>,
}

const HEAD: u8 = 0xff;
/// Head, length, opcode, CRC.
const AROUND: usize = 5;
const LONGEST: usize = 250;
/// A module without tags says so once per search.
const SEARCH_MS: u64 = 1_000;

const VERSION: u8 = 0x03;
const READ_MANY: u8 = 0x22;
const MULTI_PROTOCOL: u8 = 0x2f;
const SET_ANTENNA: u8 = 0x91;
const SET_POWER: u8 = 0x92;
const SET_PROTOCOL: u8 = 0x93;
const SET_REGION: u8 = 0x97;
const SET_OPTION: u8 = 0x9a;

const OK: u16 = 0;
const BAD_OPCODE: u16 = 0x0101;
const BAD_PARAMETER: u16 = 0x0105;
const BAD_REGION: u16 = 0x010b;
const NO_TAG: u16 = 0x0400;

const SEARCH_LIST: u8 = 0x02;
const READ_FILTER: u8 = 0x0c;
const GEN2: u8 = 5;
const STRONGEST_CDBM: u16 = 3_150;
const REGIONS: [u8; 12] = [0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0xff];
/// The metadata that this module knows: all that SparkFun's library asks for.
const KNOWN_METADATA: u16 = 0x01ff;
/// An M7E: its hardware, the date of its firmware, its firmware, and Gen2 as its only protocol.
const VERSION_DATA: [u8; 20] = [
    0x23, 0x01, 0x06, 0x00, 0x38, 0x00, 0x02, 0x01, 0x20, 0x24, 0x09, 0x13, 0x02, 0x01, 0x06, 0x08, 0, 0, 0,
    0x10,
];

/// Region Europe, antennas 1 to 4, every read reported, start.
pub(super) const START_UP: &[&[u8]] = &[
    &[HEAD, 1, SET_REGION, 8, 0x4b, 0xb5],
    &[HEAD, 9, SET_ANTENNA, SEARCH_LIST, 1, 1, 2, 2, 3, 3, 4, 4, 0xfc, 0x1b],
    &[HEAD, 3, SET_OPTION, 1, READ_FILTER, 0, 0xa3, 0x5d],
    &[
        HEAD,
        0x10,
        MULTI_PROTOCOL,
        0,
        0,
        1,
        READ_MANY,
        0,
        0,
        GEN2,
        7,
        READ_MANY,
        0x10,
        0,
        0x1b,
        3,
        0xe8,
        1,
        0xff,
        0xdd,
        0x2b,
    ],
];

impl Default for ThingMagic {
    fn default() -> Self {
        Self::new()
    }
}

impl ThingMagic {
    /// A module that has just got power.
    #[must_use]
    pub fn new() -> Self {
        Self {
            received: Vec::new(),
            region: None,
            antennas: BTreeSet::from([1]),
            filter: true,
            reading: None,
        }
    }

    /// Whether the host has started it.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Takes bytes from the host. What is no frame is skipped in silence.
    #[must_use]
    pub fn handle_bytes(&mut self, bytes: &[u8], now_ms: u64) -> Vec<u8> {
        self.received.extend(bytes);
        let mut out = Vec::new();
        loop {
            let Some(head) = self.received.iter().position(|b| *b == HEAD) else {
                self.received.clear();
                return out;
            };
            self.received.drain(..head);
            let &[_, length, opcode, ..] = self.received.as_slice() else { return out };
            let length = usize::from(length);
            if length > LONGEST {
                self.received.remove(0);
                continue;
            }
            if self.received.len() < length + AROUND {
                return out;
            }
            let crc = crc(&self.received[1..length + 3]);
            if self.received[length + 3..length + AROUND] != crc.to_be_bytes() {
                self.received.remove(0);
                continue;
            }
            let frame: Vec<u8> = self.received.drain(..length + AROUND).collect();
            out.extend(self.command(opcode, &frame[3..length + 3], now_ms));
        }
    }

    /// Takes a tag's answer.
    #[must_use]
    pub fn handle_sighting(&mut self, sighting: &Sighting) -> Vec<u8> {
        let Some(reading) = &mut self.reading else { return Vec::new() };
        if !self.antennas.contains(&sighting.antenna) {
            return Vec::new();
        }
        if self.filter && !reading.reported.insert((sighting.antenna, sighting.epc)) {
            return Vec::new();
        }
        reading.last_frame_ms = sighting.at_ms;
        let since_ms = u32::try_from(sighting.at_ms.saturating_sub(reading.since_ms)).unwrap_or(u32::MAX);
        let degrees = (sighting.phase_ddeg.unwrap_or(0) + 5) / 10;
        let fields: [(u16, &[u8]); 9] = [
            (0x0001, &[1]),
            (0x0002, &[whole_dbm(sighting.rssi_cdbm)]),
            (0x0004, &[sighting.antenna << 4 | sighting.antenna]),
            (0x0008, &sighting.channel_khz.to_be_bytes()[1..]),
            (0x0010, &since_ms.to_be_bytes()),
            (0x0020, &degrees.to_be_bytes()),
            (0x0040, &[GEN2]),
            (0x0080, &[0, 0]),
            (0x0100, &[0x0f]),
        ];
        let mut data = vec![0x10, 0, 0x1b];
        data.extend(reading.metadata.to_be_bytes());
        data.push(1);
        for (flag, bytes) in fields {
            if reading.metadata & flag != 0 {
                data.extend(bytes);
            }
        }
        let air = air_frame(&sighting.epc);
        data.extend(u16::try_from(8 * air.len()).expect("at most 66 bytes").to_be_bytes());
        data.extend(air);
        answer(READ_MANY, OK, &data)
    }

    /// Says that there was no tag, when there was none for a whole search.
    #[must_use]
    pub fn handle_timeout(&mut self, now_ms: u64) -> Vec<u8> {
        match &mut self.reading {
            Some(reading) if now_ms >= reading.last_frame_ms + SEARCH_MS => {
                reading.last_frame_ms = now_ms;
                answer(READ_MANY, NO_TAG, &[])
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn command(&mut self, opcode: u8, data: &[u8], now_ms: u64) -> Vec<u8> {
        let status = match (opcode, data) {
            (VERSION, []) => return answer(VERSION, OK, &VERSION_DATA),
            (SET_REGION, [region]) if REGIONS.contains(region) => {
                self.region = Some(*region);
                OK
            }
            (SET_REGION, _) => BAD_REGION,
            (SET_PROTOCOL, [0, GEN2]) => OK,
            (SET_POWER, [high, low]) if u16::from_be_bytes([*high, *low]) <= STRONGEST_CDBM => OK,
            (SET_ANTENNA, [transmit @ 1..=4, receive]) if transmit == receive => {
                self.antennas = BTreeSet::from([*transmit]);
                OK
            }
            (SET_ANTENNA, [SEARCH_LIST, pairs @ ..]) if is_search_list(pairs) => {
                self.antennas = pairs.iter().step_by(2).copied().collect();
                OK
            }
            (SET_OPTION, [1, READ_FILTER, on @ 0..=1]) => {
                self.filter = *on == 1;
                OK
            }
            (SET_OPTION, [1, _, _]) => OK,
            (MULTI_PROTOCOL, [0, 0, 2]) => {
                self.reading = None;
                return answer(MULTI_PROTOCOL, OK, &[2]);
            }
            (
                MULTI_PROTOCOL,
                [0, 0, 1, READ_MANY, 0, 0, GEN2, 7, READ_MANY, 0x10, 0, 0x1b, _, _, high, low],
            ) => return self.start(u16::from_be_bytes([*high, *low]), now_ms),
            (SET_PROTOCOL | SET_POWER | SET_ANTENNA | SET_OPTION | MULTI_PROTOCOL | VERSION, _) => {
                BAD_PARAMETER
            }
            _ => BAD_OPCODE,
        };
        answer(opcode, status, &[])
    }

    fn start(&mut self, metadata: u16, now_ms: u64) -> Vec<u8> {
        if self.region.is_none() {
            return answer(MULTI_PROTOCOL, BAD_REGION, &[]);
        }
        if metadata & !KNOWN_METADATA != 0 {
            return answer(MULTI_PROTOCOL, BAD_PARAMETER, &[]);
        }
        self.reading =
            Some(Reading { metadata, since_ms: now_ms, last_frame_ms: now_ms, reported: BTreeSet::new() });
        answer(MULTI_PROTOCOL, OK, &[1, READ_MANY, 0, 0])
    }
}

/// Pairs of transmitting and receiving port, each the same port.
fn is_search_list(pairs: &[u8]) -> bool {
    !pairs.is_empty()
        && pairs.len().is_multiple_of(2)
        && pairs.chunks(2).all(|pair| pair[0] == pair[1] && (1..=4).contains(&pair[0]))
}

fn answer(opcode: u8, status: u16, data: &[u8]) -> Vec<u8> {
    let mut out = vec![HEAD, u8::try_from(data.len()).expect("at most 248"), opcode];
    out.extend(status.to_be_bytes());
    out.extend(data);
    out.extend(crc(&out[1..]).to_be_bytes());
    out
}

/// Polynomial 1021 from FFFF, nibble by nibble, without the 16 zero bits that other users of this
/// polynomial append: it is not CRC-16/CCITT-FALSE.
fn crc(bytes: &[u8]) -> u16 {
    let mut crc = 0xffff_u16;
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            let out = crc >> 12;
            crc = (crc << 4 | u16::from(nibble)) ^ out.wrapping_mul(0x1021);
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::tests::sighting;

    fn ask(module: &mut ThingMagic, hex_command: &str) -> String {
        hex::encode(module.handle_bytes(&hex::decode(hex_command).unwrap(), 0))
    }

    fn started() -> ThingMagic {
        let mut module = ThingMagic::new();
        for command in START_UP {
            let answer = module.handle_bytes(command, 0);
            assert_eq!(answer.get(3..5), Some([0, 0].as_slice()), "{command:02x?}");
        }
        module
    }

    #[test]
    fn answers_as_published_frames_do() {
        let mut module = ThingMagic::new();
        assert_eq!(ask(&mut module, "ff00031d0c"), "ff140300002301060038000201202409130201060800000010cb65");
        assert_eq!(ask(&mut module, "ff0197014bbc").get(..10), Some("ff00970000"));
        assert_eq!(ask(&mut module, "ff02930005517d").get(..10), Some("ff00930000"));
        assert_eq!(ask(&mut module, "ff029207d04689").get(..10), Some("ff00920000"));
        assert_eq!(ask(&mut module, "ff102f00000122000005072210001b03e801ffdd2b"), "ff042f0000012200006dc3");
        assert_eq!(hex::encode(module.handle_timeout(1_000)), "ff0022040084e0");
        assert_eq!(ask(&mut module, "ff032f0000025e86").get(..12), Some("ff012f000002"));
        assert!(!module.is_reading());
    }

    #[test]
    fn a_tag_message_is_as_a_published_frame() {
        let mut module = started();
        let seen =
            Sighting { at_ms: 295, channel_khz: 923_200, ..sighting("000000000000000000001545", -6000) };
        assert_eq!(
            hex::encode(module.handle_sighting(&seen)),
            "ff2822000010001b01ff0101c4110e16400000012700000500000f00803000000000000000000000001545e94a561d"
        );
    }

    #[test]
    fn reports_a_tag_once_until_the_filter_is_off() {
        let mut module = ThingMagic::new();
        for command in [START_UP[0], START_UP[3]] {
            let _ = module.handle_bytes(command, 0);
        }
        let tag = sighting("e2001122", -6000);
        assert!(!module.handle_sighting(&tag).is_empty());
        assert!(module.handle_sighting(&tag).is_empty());
        let _ = module.handle_bytes(START_UP[2], 0);
        assert!(!module.handle_sighting(&tag).is_empty());
    }

    #[test]
    fn hears_only_the_antennas_it_was_told_of() {
        let mut module = started();
        let tag = Sighting { antenna: 3, ..sighting("e2001122", -6000) };
        assert!(!module.handle_sighting(&tag).is_empty());
        // Antenna 1 only, as transmitting and receiving port.
        let mut command = vec![HEAD, 2, SET_ANTENNA, 1, 1];
        command.extend(crc(&command[1..]).to_be_bytes());
        let _ = module.handle_bytes(&command, 0);
        assert!(module.handle_sighting(&tag).is_empty());
    }

    #[test]
    fn refuses_to_read_without_a_region_and_unknown_opcodes() {
        let mut module = ThingMagic::new();
        assert_eq!(&module.handle_bytes(START_UP[3], 0)[..5], [HEAD, 0, MULTI_PROTOCOL, 1, 0x0b]);
        assert!(!module.is_reading());
        let mut command = vec![HEAD, 0, 0x77];
        command.extend(crc(&command[1..]).to_be_bytes());
        assert_eq!(&module.handle_bytes(&command, 0)[..5], [HEAD, 0, 0x77, 1, 1]);
    }

    #[test]
    fn finds_commands_in_garbage_and_in_any_chunks() {
        let mut module = ThingMagic::new();
        let mut bytes = hex::decode("ffff00031d0dff0000").unwrap();
        bytes.extend(hex::decode("ff00031d0c").unwrap());
        let answers: Vec<u8> = bytes.iter().flat_map(|byte| module.handle_bytes(&[*byte], 0)).collect();
        assert_eq!(answers.len(), 27, "{answers:02x?}");
        assert_eq!(&answers[..5], [HEAD, 0x14, VERSION, 0, 0]);
    }
}
