//! What a reader is told. Enters: the configuration's words. Leaves: settings that the reader's protocol
//! can carry out, or which key is wrong. What the module that is really there makes of them it says itself.

use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;

use super::{r200, thingmagic};

/// Which language a reader speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Magicrf R200, M100, YRM100: one antenna, no phase, no time.
    R200,
    /// ThingMagic Mercury, Silion: up to 15 ports, phase, channel.
    ThingMagic,
}

/// Where the reader is, which decides the frequencies it may use. There is no default: a wrong one is
/// illegal somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// Europe: 865 to 868 MHz, ETSI EN 302 208.
    Eu,
    /// United States and Canada: 902 to 928 MHz, FCC part 15.
    Us,
    /// China: 920 to 925 MHz.
    China,
    /// Korea: 917 to 923.5 MHz.
    Korea,
    /// Japan: 916 to 921 MHz.
    Japan,
    /// India: 865 to 867 MHz.
    India,
    /// Australia: 920 to 926 MHz.
    Australia,
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
}

/// Why a reader cannot be set up as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The module has no such region.
    #[error("region: readers of this protocol have no region {0:?}")]
    Region(Region),
    /// The power is out of range.
    #[error("power_dbm: {} dBm is out of range; 0 to 33 is possible", f32::from(*.0) / 100.0)]
    Power(u16),
    /// An antenna port that the module does not have.
    #[error("antenna: port {port} is out of range; readers of this protocol have ports 1 to {most}")]
    Antenna {
        /// The port.
        port: u8,
        /// The highest that exists.
        most: u8,
    },
}

const STRONGEST_CDBM: u16 = 3_300;

impl Settings {
    /// The language that the reader speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::R200(_) => Protocol::R200,
            Self::ThingMagic(_) => Protocol::ThingMagic,
        }
    }

    /// How the reader transmits, if it does.
    #[must_use]
    pub fn radio(&self) -> Option<&Radio> {
        match self {
            Self::R200(radio) | Self::ThingMagic(radio) => Some(radio),
        }
    }

    /// Checks what does not depend on the reader that is really there.
    ///
    /// # Errors
    /// When the protocol's modules cannot do what is asked.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (radio, region, most) = match self {
            Self::R200(radio) => (radio, r200::region_code(radio.region), 1),
            Self::ThingMagic(radio) => (radio, thingmagic::region_code(radio.region), 15),
        };
        region.ok_or(SettingsError::Region(radio.region))?;
        if radio.power_cdbm > STRONGEST_CDBM {
            return Err(SettingsError::Power(radio.power_cdbm));
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
        }
    }
}

impl fmt::Display for Radio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} dBm", self.region, f32::from(self.power_cdbm) / 100.0)
    }
}
