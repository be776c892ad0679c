//! The radio half of a Ruuvi gateway. Enters: host commands, and what sensor tags around it send. Leaves:
//! frames. It listens once it has been told what to listen to.
//!
//! ```text
//! CA | length of payload | command | payload | CRC, 2 | 0A
//! report   command 10: address, 6 | 2C | advertisement | 2C | RSSI | 2C
//! ```

use crc::{CRC_16_IBM_3740, Crc};

/// The receiver.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    received: Vec<u8>,
    listens: bool,
}

/// What a sensor tag sends.
#[derive(Clone, Copy, Debug)]
pub struct SensorTag {
    /// Its address.
    pub address: [u8; 6],
    /// How often it has moved, 0 to 254.
    pub moves: u8,
    /// How often it has measured.
    pub sequence: u16,
    /// In thousandths of the earth's pull.
    pub acceleration_mg: [i16; 3],
}

const HEAD: u8 = 0xca;
const END: u8 = 0x0a;
const SEPARATOR: u8 = 0x2c;
/// Head, length, command, CRC, end.
const AROUND: usize = 6;

const SET_ALL: u8 = 0x0f;
const REPORT: u8 = 0x10;
const DEVICE_ID: u8 = 0x11;
const ASK_DEVICE_ID: u8 = 0x18;
const ACKNOWLEDGE: u8 = 0x20;

/// The id and the address that Ruuvi's own tests use.
const ID: [u8; 16] = [
    0x2c, 0x0c, 0xcc, 0xe1, 0x51, 0x21, 0x7d, 0xe8, SEPARATOR, 0xcc, 0xe1, 0xde, 0xad, 0xbe, 0xef, SEPARATOR,
];
const RSSI_DBM: i8 = -40;
/// 24.3 degrees, 53.49 %, 1000.44 hPa: nobody here reads them.
const WEATHER: [u8; 6] = [0x12, 0xfc, 0x53, 0x94, 0xc3, 0x7c];
/// 2977 mV, sent with 4 dBm.
const POWER: [u8; 2] = [0xac, 0x36];

impl Receiver {
    /// A receiver that has just got power.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it was told to listen.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.listens
    }

    /// Takes bytes from the host. What is no frame is skipped in silence.
    #[must_use]
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.received.extend(bytes);
        let mut out = Vec::new();
        while let [head, rest @ ..] = self.received.as_slice() {
            if *head != HEAD {
                self.received.remove(0);
                continue;
            }
            let Some(&length) = rest.first() else { break };
            let total = usize::from(length) + AROUND;
            let Some(whole) = self.received.get(..total) else { break };
            let checked = &whole[1..total - 3];
            if whole[total - 1] != END || checksum(checked) != whole[total - 3..total - 1] {
                self.received.remove(0);
                continue;
            }
            let command = whole[2];
            self.received.drain(..total);
            match command {
                SET_ALL => {
                    self.listens = true;
                    out.extend(frame(ACKNOWLEDGE, &[SET_ALL, SEPARATOR, 0, SEPARATOR]));
                }
                ASK_DEVICE_ID => out.extend(frame(DEVICE_ID, &ID)),
                _ => {}
            }
        }
        out
    }

    /// What the receiver sends when it hears this tag.
    #[must_use]
    pub fn report(tag: &SensorTag) -> Vec<u8> {
        let mut payload = tag.address.to_vec();
        // Flags, then Ruuvi's own part in format 5.
        payload.extend([SEPARATOR, 0x02, 0x01, 0x04, 0x1b, 0xff, 0x99, 0x04, 0x05]);
        payload.extend(WEATHER);
        payload.extend(tag.acceleration_mg.iter().flat_map(|axis| axis.to_be_bytes()));
        payload.extend(POWER);
        payload.push(tag.moves);
        payload.extend(tag.sequence.to_be_bytes());
        payload.extend(tag.address);
        payload.extend([SEPARATOR, RSSI_DBM.cast_unsigned(), SEPARATOR]);
        frame(REPORT, &payload)
    }
}

fn frame(command: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![HEAD, u8::try_from(payload.len()).expect("a short payload"), command];
    out.extend(payload);
    let crc = checksum(&out[1..]);
    out.extend(crc);
    out.push(END);
    out
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    Crc::<u16>::new(&CRC_16_IBM_3740).checksum(bytes).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_published_frames_do() {
        let mut receiver = Receiver::new();
        let ask = hex::decode("00ca0018368e0a").unwrap();
        let answers: Vec<u8> = ask.iter().flat_map(|byte| receiver.handle_bytes(&[*byte])).collect();
        assert_eq!(hex::encode(answers), "ca10112c0ccce151217de82ccce1deadbeef2cec360a");
        assert!(!receiver.is_reading());
        let set = hex::decode("ca050f01012c7f2ca19f0a").unwrap();
        assert_eq!(receiver.handle_bytes(&set).get(2), Some(&ACKNOWLEDGE));
        assert!(receiver.is_reading());
    }

    #[test]
    fn reports_as_published_frames_do() {
        let address = [0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x4f];
        let tag = SensorTag { address, moves: 66, sequence: 205, acceleration_mg: [4, -4, 1_036] };
        let report = hex::encode(Receiver::report(&tag));
        assert!(report.contains("ff99040512fc5394c37c0004fffc040cac364200cdcbb8334c884f2cd82c"), "{report}");
    }
}
