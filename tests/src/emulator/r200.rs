//! A Magicrf R200 module (also sold as YRM100 or M100). Enters: host commands, tags, time. Leaves:
//! frames. It reads when a region is set and 0x27 or 0x22 was sent, and stops by itself when the
//! rounds that were asked for are over.
//!
//! ```text
//! BB | type | command | length, 2 bytes | parameters | sum | 7E      type 00 command, 01 answer, 02 notice
//! tag notice (02 22): RSSI i8 dBm | PC, 2 | EPC | tag's CRC, 2
//! ```

use super::{air_frame, whole_dbm};
use crate::shop::Sighting;

/// The module.
#[derive(Clone, Debug)]
pub struct R200 {
    received: Vec<u8>,
    region: Option<u8>,
    power_cdbm: u16,
    query: [u8; 2],
    rounds_left: u16,
    round_ends_ms: u64,
    seen_in_round: bool,
}

const HEAD: u8 = 0xbb;
const TAIL: u8 = 0x7e;
/// Head, type, command, length, sum, tail.
const AROUND: usize = 7;
/// No command has more parameters.
const MOST_PARAMETERS: usize = 32;
/// How long one inventory round takes.
const ROUND_MS: u64 = 100;

const INFORMATION: u8 = 0x03;
const SET_REGION: u8 = 0x07;
const GET_REGION: u8 = 0x08;
const GET_QUERY: u8 = 0x0d;
const SET_QUERY: u8 = 0x0e;
const POLL: u8 = 0x22;
const POLL_MANY: u8 = 0x27;
const STOP: u8 = 0x28;
const SET_POWER: u8 = 0xb6;
const GET_POWER: u8 = 0xb7;
const ERROR: u8 = 0xff;

const NO_TAG: u8 = 0x15;
const BAD_COMMAND: u8 = 0x17;
const HOP_TIMEOUT: u8 = 0x20;

const REGIONS: [u8; 5] = [0x01, 0x02, 0x03, 0x04, 0x06];

/// Region Europe, then the most rounds.
pub(super) const START_UP: &[&[u8]] =
    &[&[HEAD, 0, SET_REGION, 0, 1, 3, 0x0b, TAIL], &[HEAD, 0, POLL_MANY, 0, 3, 0x22, 0xff, 0xff, 0x4a, TAIL]];

impl Default for R200 {
    fn default() -> Self {
        Self::new()
    }
}

impl R200 {
    /// A module that has just got power.
    #[must_use]
    pub fn new() -> Self {
        Self {
            received: Vec::new(),
            region: None,
            power_cdbm: 2600,
            query: [0x10, 0x20],
            rounds_left: 0,
            round_ends_ms: 0,
            seen_in_round: false,
        }
    }

    /// Whether rounds are left.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.rounds_left > 0
    }

    /// With what power it sends, in hundredths of a dBm.
    #[must_use]
    pub fn power_cdbm(&self) -> u16 {
        self.power_cdbm
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
            let &[_, kind, command, high, low, ..] = self.received.as_slice() else { return out };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length > MOST_PARAMETERS {
                self.received.remove(0);
                continue;
            }
            if self.received.len() < length + AROUND {
                return out;
            }
            let sum = sum(&self.received[1..length + 5]);
            if self.received[length + 5] != sum || self.received[length + 6] != TAIL {
                self.received.remove(0);
                continue;
            }
            let frame: Vec<u8> = self.received.drain(..length + AROUND).collect();
            if kind == 0 {
                out.extend(self.command(command, &frame[5..length + 5], now_ms));
            }
        }
    }

    /// Takes a tag's answer.
    #[must_use]
    pub fn handle_sighting(&mut self, sighting: &Sighting) -> Vec<u8> {
        if !self.is_reading() {
            return Vec::new();
        }
        self.seen_in_round = true;
        let mut parameters = vec![whole_dbm(sighting.rssi_cdbm)];
        parameters.extend(air_frame(&sighting.epc));
        frame(2, POLL, &parameters)
    }

    /// Ends the rounds that are over by now.
    #[must_use]
    pub fn handle_timeout(&mut self, now_ms: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while self.is_reading() && now_ms >= self.round_ends_ms {
            if !self.seen_in_round {
                out.extend(error(NO_TAG));
            }
            self.seen_in_round = false;
            self.rounds_left -= 1;
            self.round_ends_ms += ROUND_MS;
        }
        out
    }

    fn command(&mut self, command: u8, parameters: &[u8], now_ms: u64) -> Vec<u8> {
        match (command, parameters) {
            (INFORMATION, [0]) => frame(1, INFORMATION, b"\0M100 26dBm V1.0"),
            (INFORMATION, [1]) => frame(1, INFORMATION, b"\x01V2.3.5"),
            (INFORMATION, [2]) => frame(1, INFORMATION, b"\x02MagicRf"),
            (SET_REGION, [region]) if REGIONS.contains(region) => {
                self.region = Some(*region);
                frame(1, SET_REGION, &[0])
            }
            (GET_REGION, []) => frame(1, GET_REGION, &[self.region.unwrap_or(1)]),
            (SET_QUERY, [a, b]) => {
                self.query = [*a, *b];
                frame(1, SET_QUERY, &[0])
            }
            (GET_QUERY, []) => frame(1, GET_QUERY, &self.query),
            (SET_POWER, [high, low]) => {
                self.power_cdbm = u16::from_be_bytes([*high, *low]);
                frame(1, SET_POWER, &[0])
            }
            (GET_POWER, []) => frame(1, GET_POWER, &self.power_cdbm.to_be_bytes()),
            (POLL, []) => self.start(1, now_ms),
            (POLL_MANY, [_, high, low]) => self.start(u16::from_be_bytes([*high, *low]), now_ms),
            (STOP, []) => {
                self.rounds_left = 0;
                frame(1, STOP, &[0])
            }
            _ => error(BAD_COMMAND),
        }
    }

    fn start(&mut self, rounds: u16, now_ms: u64) -> Vec<u8> {
        if self.region.is_none() {
            return error(HOP_TIMEOUT);
        }
        self.rounds_left = rounds;
        self.round_ends_ms = now_ms + ROUND_MS;
        self.seen_in_round = false;
        Vec::new()
    }
}

fn error(code: u8) -> Vec<u8> {
    frame(1, ERROR, &[code])
}

fn frame(kind: u8, command: u8, parameters: &[u8]) -> Vec<u8> {
    let length = u16::try_from(parameters.len()).expect("a few bytes").to_be_bytes();
    let mut out = vec![HEAD, kind, command, length[0], length[1]];
    out.extend(parameters);
    out.push(sum(&out[1..]));
    out.push(TAIL);
    out
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::tests::sighting;

    fn ask(module: &mut R200, hex_command: &str) -> String {
        hex::encode(module.handle_bytes(&hex::decode(hex_command).unwrap(), 0))
    }

    fn started() -> R200 {
        let mut module = R200::new();
        for command in START_UP {
            let _ = module.handle_bytes(command, 0);
        }
        module
    }

    #[test]
    fn answers_as_published_frames_do() {
        let mut module = started();
        assert_eq!(ask(&mut module, "bb00280000287e"), "bb01280001002a7e");
        assert_eq!(ask(&mut module, "bb00b6000207d08f7e"), "bb01b6000100b87e");
        assert_eq!(ask(&mut module, "bb00b70000b77e"), "bb01b7000207d0917e");
        let information = "bb01030010004d31303020323664426d2056312e30";
        assert_eq!(ask(&mut module, "bb0003000100047e").get(..42), Some(information));
        assert_eq!(ask(&mut module, "bb00990000997e"), "bb01ff000117187e");
    }

    #[test]
    fn tag_notices_are_as_published_frames() {
        let mut module = started();
        for (epc, rssi, frame) in [
            ("e200001d7315016521408fc6", -6000, "bb02220011c43000e200001d7315016521408fc6b83ec27e"),
            ("e28068900000500e88c6a4a7", -5700, "bb02220011c73000e28068900000500e88c6a4a7119b"),
        ] {
            let made = hex::encode(module.handle_sighting(&sighting(epc, rssi)));
            assert!(made.starts_with(frame), "{made}");
        }
    }

    #[test]
    fn rounds_run_out_and_can_be_asked_for_again() {
        let mut module = started();
        let three_rounds = "bb002700032200034f7e";
        assert_eq!(ask(&mut module, three_rounds), "");
        let _ = module.handle_sighting(&sighting("e200", -6000));
        assert!(module.handle_timeout(ROUND_MS).is_empty(), "a round with a tag has no error");
        assert_eq!(hex::encode(module.handle_timeout(2 * ROUND_MS)), "bb01ff000115167e");
        assert!(module.is_reading());
        assert!(!module.handle_timeout(3 * ROUND_MS).is_empty());
        assert!(!module.is_reading());
        assert!(module.handle_timeout(99 * ROUND_MS).is_empty());
        assert!(module.handle_sighting(&sighting("e200", -6000)).is_empty());
        assert_eq!(ask(&mut module, three_rounds), "");
        assert!(module.is_reading());
    }

    #[test]
    fn refuses_to_read_without_a_region() {
        let mut module = R200::new();
        assert_eq!(ask(&mut module, "bb00270003222710837e"), "bb01ff000120217e");
        assert!(!module.is_reading());
    }

    #[test]
    fn finds_commands_in_garbage_and_in_any_chunks() {
        let mut module = started();
        // A wrong length, a wrong sum, a foreign flavour, then a good command.
        let garbage = hex::decode("bb000d000d7e00bb002800002900bbbb7eaa00280000287edd").unwrap();
        let mut bytes = garbage;
        bytes.extend(hex::decode("bb00280000287e").unwrap());
        let answers: Vec<u8> = bytes.iter().flat_map(|byte| module.handle_bytes(&[*byte], 0)).collect();
        assert_eq!(hex::encode(answers), "bb01280001002a7e");
    }
}
