//! Reader modules, emulated from the module's side of the serial line. Enters: what a host sends, in
//! any chunks, and what the readers of a [`Shop`](crate::shop::Shop) see. Leaves: the bytes that a real
//! module would send. The modules in [`r200`], [`thingmagic`], [`chafon`], [`rs485`] and [`ruuvi`] touch no port and no
//! clock; a barcode scanner needs no module, as it only sends lines. [`port`]
//! puts them behind a pseudo-terminal, and [`live`] runs a whole shop in real time. [`node`] is a reader node of
//! our own, and [`board`] the same with its real firmware, in QEMU.

pub mod board;
pub mod carousel;
pub mod chafon;
pub mod line;
pub mod live;
pub mod node;
pub mod port;
pub mod r200;
pub mod rs485;
pub mod ruuvi;
pub mod thingmagic;

use crc::{CRC_16_GENIBUS, Crc};
use hangtag_protocol::epc::Epc;

use crate::shop::Sighting;
use crate::shop::layout::Protocol;
use chafon::Chafon;
use r200::R200;
use rs485::Rs485;
use ruuvi::Receiver;
use thingmagic::ThingMagic;

/// A module of any protocol.
#[derive(Clone, Debug)]
pub enum Module {
    /// See [`R200`].
    R200(R200),
    /// See [`ThingMagic`].
    ThingMagic(ThingMagic),
    /// See [`Chafon`].
    Chafon(Chafon),
    /// See [`Rs485`].
    Rs485(Rs485),
    /// See [`Receiver`].
    Ruuvi(Receiver),
    /// A barcode scanner: it takes no commands.
    Scanner,
}

impl Module {
    /// A module that has just got power.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::R200 => Self::R200(R200::new()),
            Protocol::ThingMagic => Self::ThingMagic(ThingMagic::new()),
        }
    }

    /// A module that a host has set up for Europe with all antennas and started at time 0.
    #[must_use]
    pub fn reading(protocol: Protocol) -> Self {
        let mut module = Self::new(protocol);
        module.start(0);
        module
    }

    /// Does what [`reading`](Self::reading) says, at some moment.
    pub fn start(&mut self, now_ms: u64) {
        let commands = match self {
            Self::R200(_) => r200::START_UP,
            Self::ThingMagic(_) => thingmagic::START_UP,
            // Whose host asks for every round, or which needs none.
            Self::Chafon(_) | Self::Rs485(_) | Self::Ruuvi(_) | Self::Scanner => &[],
        };
        for command in commands {
            // The answers are for a host, and there is none.
            let _ = self.handle_bytes(command, now_ms);
        }
    }

    /// Takes bytes from the host, in any chunks, and returns the module's answers.
    #[must_use]
    pub fn handle_bytes(&mut self, bytes: &[u8], now_ms: u64) -> Vec<u8> {
        match self {
            Self::R200(module) => module.handle_bytes(bytes, now_ms),
            Self::ThingMagic(module) => module.handle_bytes(bytes, now_ms),
            Self::Chafon(module) => module.handle_bytes(bytes, now_ms),
            Self::Rs485(line) => line.handle_bytes(bytes, now_ms),
            Self::Ruuvi(module) => module.handle_bytes(bytes),
            Self::Scanner => Vec::new(),
        }
    }

    /// Takes a tag's answer and returns its frame; nothing while the module does not read.
    #[must_use]
    pub fn handle_sighting(&mut self, sighting: &Sighting) -> Vec<u8> {
        match self {
            Self::R200(module) => module.handle_sighting(sighting),
            Self::ThingMagic(module) => module.handle_sighting(sighting),
            Self::Chafon(module) => module.handle_sighting(sighting),
            Self::Rs485(line) => line.handle_sighting(sighting),
            Self::Ruuvi(_) | Self::Scanner => Vec::new(),
        }
    }

    /// Lets time pass and returns what the module says of rounds without tags.
    #[must_use]
    pub fn handle_timeout(&mut self, now_ms: u64) -> Vec<u8> {
        match self {
            Self::R200(module) => module.handle_timeout(now_ms),
            Self::ThingMagic(module) => module.handle_timeout(now_ms),
            Self::Chafon(module) => module.handle_timeout(now_ms),
            Self::Rs485(line) => line.handle_timeout(now_ms),
            Self::Ruuvi(_) | Self::Scanner => Vec::new(),
        }
    }

    /// Whether the host has started it.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        match self {
            Self::R200(module) => module.is_reading(),
            Self::ThingMagic(module) => module.is_reading(),
            Self::Chafon(module) => module.is_reading(),
            Self::Rs485(line) => line.is_reading(),
            Self::Ruuvi(module) => module.is_reading(),
            Self::Scanner => true,
        }
    }
}

/// What a tag sends: protocol control word, EPC, and their CRC-16 (Gen2 air protocol).
fn air_frame(epc: &Epc) -> Vec<u8> {
    let words = u16::try_from(epc.as_bytes().len().div_ceil(2)).expect("at most 31 words");
    let mut frame = (words << 11).to_be_bytes().to_vec();
    frame.extend(epc.as_bytes());
    if frame.len() % 2 == 1 {
        frame.push(0);
    }
    let crc = Crc::<u16>::new(&CRC_16_GENIBUS).checksum(&frame);
    frame.extend(crc.to_be_bytes());
    frame
}

/// The strength in whole dBm, as both protocols have it.
fn whole_dbm(rssi_cdbm: i16) -> u8 {
    let rounded = (rssi_cdbm - 50) / 100;
    i8::try_from(rounded.clamp(-128, 127)).expect("clamped").cast_unsigned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sighting(hex: &str, rssi_cdbm: i16) -> Sighting {
        Sighting {
            at_ms: 0,
            reader: 0,
            antenna: 1,
            epc: Epc::from_hex(hex).unwrap(),
            rssi_cdbm,
            phase_ddeg: Some(0),
            channel_khz: 865_700,
        }
    }

    #[test]
    fn strengths_are_rounded_to_whole_dbm() {
        assert_eq!(whole_dbm(-5549), 0xc9, "-55");
        assert_eq!(whole_dbm(-5550), 0xc8, "-56");
        assert_eq!(whole_dbm(-6000), 0xc4, "-60");
    }

    #[test]
    fn modules_that_are_started_read_and_fresh_ones_do_not() {
        for protocol in [Protocol::R200, Protocol::ThingMagic] {
            let tag = sighting("30751feb705c5904e3d50d70", -5500);
            assert!(Module::new(protocol).handle_sighting(&tag).is_empty());
            assert!(!Module::reading(protocol).handle_sighting(&tag).is_empty());
        }
    }
}
