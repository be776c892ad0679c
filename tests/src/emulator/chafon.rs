//! A Chafon UHFReader288 with four antennas. Enters: host commands, tags, time. Leaves: frames. It speaks
//! only when it is asked: an inventory searches at one antenna for as long as the command says, and while it
//! does other commands are lost. What it is set to survives a loss of power.
//!
//! ```text
//! command  LEN ADR CMD data CRC, 2           answer  LEN ADR CMD STATUS data CRC, 2
//! tags     CMD 01, STATUS 03, data: antenna as a bit | count | per tag: length, EPC, RSSI
//! end      CMD 01, STATUS 01, data: antenna as a bit | 00
//! ```

use crc::{CRC_16_MCRF4XX, Crc};

use crate::shop::Sighting;

/// The reader.
#[derive(Clone, Debug)]
pub struct Chafon {
    received: Vec<u8>,
    received_ms: u64,
    address: u8,
    frequencies: [u8; 2],
    power_dbm: u8,
    search: Option<Search>,
    asked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    antenna: u8,
    until_ms: u64,
}

const INVENTORY: u8 = 0x01;
const INFORMATION: u8 = 0x21;
const SET_REGION: u8 = 0x22;
const SET_POWER: u8 = 0x2f;

const OK: u8 = 0x00;
const ALL_TOLD: u8 = 0x01;
const MORE_FOLLOWS: u8 = 0x03;
const BAD_COMMAND: u8 = 0xfe;
const BAD_PARAMETER: u8 = 0xff;

/// The rest of a command must come within this time: its beginning is forgotten. Readers are stricter.
const REST_MS: u64 = 50;

const EVERYBODY: u8 = 0xff;
/// Address, command, CRC.
const LEAST: usize = 4;
const ANTENNAS: u8 = 4;
const STRONGEST_DBM: u8 = 30;
/// What the RSSI byte is above the strength in dBm.
const RSSI_OFFSET: i16 = 129;
/// Firmware 0.22, a 288M, both air protocols.
const VERSION: [u8; 4] = [0x00, 0x16, 0x0c, 0x03];

impl Chafon {
    /// A reader with this RS-485 address, as it left the factory: for Europe, at full power.
    #[must_use]
    pub fn new(address: u8) -> Self {
        Self {
            received: Vec::new(),
            received_ms: 0,
            address,
            frequencies: [0x4e, 0x00],
            power_dbm: STRONGEST_DBM,
            search: None,
            asked: false,
        }
    }

    /// Whether a host has asked for tags.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.asked
    }

    /// Whether it searches, and so transmits on its line in a moment.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// Somebody else speaks on its line while it does: what it was to say is lost.
    pub fn interrupt(&mut self) {
        self.search = None;
        self.received.clear();
    }

    /// Takes bytes from the host. What is no frame is skipped in silence.
    #[must_use]
    pub fn handle_bytes(&mut self, bytes: &[u8], now_ms: u64) -> Vec<u8> {
        if now_ms > self.received_ms + REST_MS {
            self.received.clear();
        }
        self.received_ms = now_ms;
        self.received.extend(bytes);
        let mut out = Vec::new();
        while let Some(&length) = self.received.first() {
            let length = usize::from(length);
            if length < LEAST {
                self.received.remove(0);
                continue;
            }
            let Some(frame) = self.received.get(..=length) else { break };
            let (checked, crc) = frame.split_at(length - 1);
            if checksum(checked) != crc {
                self.received.remove(0);
                continue;
            }
            let (address, code, data) = (frame[1], frame[2], checked[3..].to_vec());
            self.received.drain(..=length);
            if (address == self.address || address == EVERYBODY) && self.search.is_none() {
                out.extend(self.command(code, &data, now_ms));
            }
        }
        out
    }

    /// Takes a tag's answer.
    #[must_use]
    pub fn handle_sighting(&mut self, sighting: &Sighting) -> Vec<u8> {
        let Some(Search { antenna, .. }) = self.search.filter(|search| search.antenna == sighting.antenna)
        else {
            return Vec::new();
        };
        let epc = sighting.epc.as_bytes();
        let mut data = vec![1 << (antenna - 1), 1, u8::try_from(epc.len()).expect("at most 62 bytes")];
        data.extend(epc);
        let raw = (sighting.rssi_cdbm / 100 + RSSI_OFFSET).clamp(0, 255);
        data.push(u8::try_from(raw).expect("clamped"));
        self.answer(INVENTORY, MORE_FOLLOWS, &data)
    }

    /// Ends a search whose time is over.
    #[must_use]
    pub fn handle_timeout(&mut self, now_ms: u64) -> Vec<u8> {
        match self.search {
            Some(Search { antenna, until_ms }) if now_ms >= until_ms => {
                self.search = None;
                self.answer(INVENTORY, ALL_TOLD, &[1 << (antenna - 1), 0])
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn command(&mut self, code: u8, data: &[u8], now_ms: u64) -> Vec<u8> {
        match (code, data) {
            (INFORMATION, []) => {
                let [highest, lowest] = self.frequencies;
                let settings = [highest, lowest, self.power_dbm, 0x0a, 0x01, 0, 0, 0];
                self.answer(code, OK, &[VERSION.as_slice(), &settings].concat())
            }
            (SET_REGION, [highest, lowest]) => {
                self.frequencies = [*highest, *lowest];
                self.answer(code, OK, &[])
            }
            (SET_POWER, [power]) if *power <= STRONGEST_DBM => {
                self.power_dbm = *power;
                self.answer(code, OK, &[])
            }
            // Q, session, where the mask lies, an empty mask, target, antenna, tenths of a second.
            (INVENTORY, [0..=15, 0..=3, 1..=3, _, _, 0, 0..=1, antenna @ 0x80..=0xff, tenths @ 1..=0xff])
                if *antenna < 0x80 + ANTENNAS =>
            {
                let until_ms = now_ms + 100 * u64::from(*tenths);
                self.search = Some(Search { antenna: antenna - 0x7f, until_ms });
                self.asked = true;
                Vec::new()
            }
            (SET_REGION | SET_POWER | INVENTORY | INFORMATION, _) => self.answer(code, BAD_PARAMETER, &[]),
            _ => self.answer(code, BAD_COMMAND, &[]),
        }
    }

    fn answer(&self, code: u8, status: u8, data: &[u8]) -> Vec<u8> {
        let length = u8::try_from(data.len() + 5).expect("one tag at a time");
        let mut frame = vec![length, self.address, code, status];
        frame.extend(data);
        frame.extend(checksum(&frame));
        frame
    }
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    Crc::<u16>::new(&CRC_16_MCRF4XX).checksum(bytes).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::tests::sighting;

    fn ask(reader: &mut Chafon, hex_command: &str, now_ms: u64) -> String {
        hex::encode(reader.handle_bytes(&hex::decode(hex_command).unwrap(), now_ms))
    }

    #[test]
    fn answers_as_published_frames_do() {
        let mut reader = Chafon::new(0);
        assert_eq!(ask(&mut reader, "04ff211995", 0), "1100210000160c034e001e0a01000000e651");
        assert_eq!(ask(&mut reader, "0dff010f0001000000008014c03a", 0), "");
        assert!(reader.is_reading());
        let tag = sighting("000000000000000000000313", -2_200);
        assert_eq!(hex::encode(reader.handle_sighting(&tag)), "1500010301010c0000000000000000000003136bb1a5");
        // Another command is lost.
        assert_eq!(ask(&mut reader, "04ff211995", 1_000), "");
        assert!(reader.handle_timeout(1_999).is_empty());
        assert_eq!(hex::encode(reader.handle_timeout(2_000)), "0700010101001e4b");
        assert!(reader.handle_sighting(&tag).is_empty(), "nobody asks");
    }

    #[test]
    fn commands_to_others_are_left_alone_and_garbage_is_skipped() {
        let mut reader = Chafon::new(3);
        let mut bytes = vec![0x02, 0x09, 0x00];
        for (address, code) in [(5, INFORMATION), (3, 0x77), (3, SET_POWER)] {
            let mut frame = vec![4, address, code];
            frame.extend(checksum(&frame));
            bytes.extend(frame);
        }
        let answers: Vec<u8> = bytes.iter().flat_map(|byte| reader.handle_bytes(&[*byte], 0)).collect();
        let expected = [reader.answer(0x77, BAD_COMMAND, &[]), reader.answer(SET_POWER, BAD_PARAMETER, &[])];
        assert_eq!(answers, expected.concat());
    }
}
