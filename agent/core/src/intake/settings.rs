//! What a reader is told. Enters: the configuration's words. Leaves: settings that the reader's protocol
//! can carry out, or which key is wrong. What the module that is really there makes of them it says itself.

use alloc::vec::Vec;
use core::fmt;

use hangtag_protocol::region::Region;
use serde::Deserialize;

use super::chafon::{self, Dialect};
use super::scanner::LoyaltyPattern;
use super::{r200, thingmagic};

/// Which language a reader speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Magicrf R200, M100, YRM100: one antenna, no phase, no time.
    R200,
    /// ThingMagic Mercury, Silion: up to 15 ports, phase, channel.
    ThingMagic,
    /// Chafon UHFReader288: up to 8 ports; UHFReader18: one antenna, no strength. Neither tells a phase.
    Chafon,
    /// A receiver of Ruuvi sensor tags, which tell how they move.
    Ruuvi,
    /// A barcode scanner that sends a line per code.
    Scanner,
}

impl Protocol {
    /// The speed of the line that such readers leave the factory with, in baud.
    #[must_use]
    pub fn factory_baud(self) -> u32 {
        match self {
            Self::R200 | Self::ThingMagic | Self::Ruuvi => 115_200,
            Self::Chafon => 57_600,
            Self::Scanner => 9_600,
        }
    }
}

/// How a reader of RFID tags is to transmit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radio {
    /// Where it is.
    pub region: Region,
    /// Transmit power in hundredths of a dBm, 0 to 3300.
    pub power_cdbm: u16,
    /// The antenna ports to use in turn, counted from 1.
    pub antennas: Vec<u8>,
}

/// How a reader is to be set up, by the language it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// See [`Protocol::R200`].
    R200(Radio),
    /// See [`Protocol::ThingMagic`].
    ThingMagic(Radio),
    /// See [`Protocol::Chafon`].
    Chafon {
        /// How it transmits.
        radio: Radio,
        /// Its address on an RS-485 line, 0 to 254; 255 talks to whoever is there.
        address: u8,
    },
    /// See [`Protocol::Ruuvi`]. It transmits nothing.
    Ruuvi,
    /// See [`Protocol::Scanner`].
    Scanner {
        /// What the shop's loyalty codes look like.
        loyalty: Vec<LoyaltyPattern>,
    },
}

/// Why a reader cannot be set up as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The module has no such region.
    #[error("readers of this protocol have no region {0:?}")]
    Region(Region),
    /// The power is out of range.
    #[error("{} dBm is out of range; 0 to {most_dbm} is possible", f32::from(*.cdbm) / 100.0)]
    Power {
        /// The power in hundredths of a dBm.
        cdbm: u16,
        /// The strongest that is possible, in dBm.
        most_dbm: u8,
    },
    /// The module takes whole dBm only.
    #[error("{} dBm is not whole, as readers of this protocol need it", f32::from(*.0) / 100.0)]
    Fraction(u16),
    /// An antenna port that the module does not have.
    #[error("port {port} is out of range; readers of this protocol have ports 1 to {most}")]
    Antenna {
        /// The port.
        port: u8,
        /// The highest that exists.
        most: u8,
    },
}

impl Settings {
    /// The language that the reader speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::R200(_) => Protocol::R200,
            Self::ThingMagic(_) => Protocol::ThingMagic,
            Self::Chafon { .. } => Protocol::Chafon,
            Self::Ruuvi => Protocol::Ruuvi,
            Self::Scanner { .. } => Protocol::Scanner,
        }
    }

    /// How the reader transmits, if it does.
    #[must_use]
    pub fn radio(&self) -> Option<&Radio> {
        match self {
            Self::R200(radio) | Self::ThingMagic(radio) | Self::Chafon { radio, .. } => Some(radio),
            Self::Ruuvi | Self::Scanner { .. } => None,
        }
    }

    /// Checks what does not depend on the reader that is really there.
    ///
    /// # Errors
    /// When the protocol's modules cannot do what is asked.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (radio, region, most, most_dbm) = match self {
            Self::R200(radio) => (radio, r200::region_code(radio.region).is_some(), 1, 33),
            Self::ThingMagic(radio) => (radio, thingmagic::region_code(radio.region).is_some(), 15, 33),
            Self::Chafon { radio, .. } => {
                let region = chafon::frequencies(radio.region, Dialect::R288).is_some();
                (radio, region, chafon::MOST_PORTS, chafon::STRONGEST_DBM)
            }
            Self::Ruuvi | Self::Scanner { .. } => return Ok(()),
        };
        if !region {
            return Err(SettingsError::Region(radio.region));
        }
        let cdbm = radio.power_cdbm;
        if cdbm > u16::from(most_dbm) * 100 {
            return Err(SettingsError::Power { cdbm, most_dbm });
        }
        if self.protocol() == Protocol::Chafon && !cdbm.is_multiple_of(100) {
            return Err(SettingsError::Fraction(cdbm));
        }
        match radio.antennas.iter().find(|port| !(1..=most).contains(*port)) {
            Some(&port) => Err(SettingsError::Antenna { port, most }),
            None => Ok(()),
        }
    }
}

/// For people: language, region, power.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::R200(radio) | Self::ThingMagic(radio) => write!(f, "{:?}, {radio}", self.protocol()),
            Self::Chafon { radio, address: chafon::BROADCAST } => write!(f, "Chafon, {radio}"),
            Self::Ruuvi => write!(f, "Ruuvi receiver"),
            Self::Scanner { loyalty } => write!(f, "scanner, {} loyalty patterns", loyalty.len()),
            Self::Chafon { radio, address } => write!(f, "Chafon at address {address}, {radio}"),
        }
    }
}

impl fmt::Display for Radio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} dBm", self.region, f32::from(self.power_cdbm) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec;

    #[test]
    fn what_a_protocol_cannot_do_is_refused_with_the_key() {
        let radio = |region, power_cdbm, port| Radio { region, power_cdbm, antennas: vec![port] };
        let chafon = |radio| Settings::Chafon { radio, address: 0 };
        assert_eq!(chafon(radio(Region::Eu, 3_000, 8)).check(), Ok(()));
        for (settings, why) in [
            (Settings::R200(radio(Region::Japan, 2_000, 1)), "readers of this protocol have no region"),
            (Settings::R200(radio(Region::Eu, 2_000, 2)), "port 2 is out of range"),
            (chafon(radio(Region::Japan, 2_000, 1)), "readers of"),
            (chafon(radio(Region::Eu, 3_100, 1)), "31 dBm is out of range; 0 to 30 is possible"),
            (chafon(radio(Region::Eu, 2_050, 1)), "20.5 dBm is not whole"),
            (chafon(radio(Region::Eu, 2_000, 9)), "port 9 is out of range"),
        ] {
            let refusal = settings.check().unwrap_err().to_string();
            assert!(refusal.starts_with(why), "{refusal}");
        }
    }
}
