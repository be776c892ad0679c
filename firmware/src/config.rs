//! How the node works. Enters: what the gateway said, or what was kept. Leaves: a configuration in which every
//! value is one that this node can work by, or what is wrong with it. There is no default: without a region a
//! module must not send.

use hangtag_protocol::link::command::{Configure, MOTION_MG, SETTLE_MS, WINDOW_MS};
use hangtag_protocol::link::message::Outcome;
use hangtag_protocol::region::Region;

use crate::r200::Radio;

/// A configuration that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    told: Configure,
    radio: Radio,
}

impl Config {
    /// Checks what the gateway said.
    ///
    /// # Errors
    /// What is to be answered: the module has no such region, power or antenna, or a threshold is out of range.
    pub fn new(told: Configure) -> Result<Self, Outcome> {
        let Configure {
            id: _,
            zone: _,
            region,
            power_cdbm,
            antennas,
            window_ms,
            motion_mg,
            settle_ms,
            occupied: _,
        } = told;
        let region = region_code(region).ok_or(Outcome::Region)?;
        if power_cdbm > MOST_CDBM {
            return Err(Outcome::Power);
        }
        if antennas != ONE_ANTENNA {
            return Err(Outcome::Antennas);
        }
        let thresholds = WINDOW_MS.contains(&window_ms)
            && MOTION_MG.contains(&motion_mg)
            && SETTLE_MS.contains(&settle_ms);
        if !thresholds {
            return Err(Outcome::Threshold);
        }
        Ok(Self { told, radio: Radio { region, power_cdbm } })
    }

    /// What the gateway said.
    #[must_use]
    pub fn told(&self) -> &Configure {
        &self.told
    }

    /// How the module is to read.
    #[must_use]
    pub fn radio(&self) -> Radio {
        self.radio
    }
}

/// The module's number for a region; `None` where it has none.
fn region_code(region: Region) -> Option<u8> {
    match region {
        Region::China => Some(1),
        Region::Us => Some(2),
        Region::Eu => Some(3),
        Region::Korea => Some(6),
        Region::Japan | Region::India | Region::Australia => None,
    }
}

/// The most that the link can say; what a module cannot do below that it refuses itself.
const MOST_CDBM: u16 = 3_300;
/// An R200 has one port.
const ONE_ANTENNA: u16 = 1;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hangtag_protocol::id::ZoneId;

    pub(crate) fn good() -> Configure {
        Configure {
            id: 7,
            zone: ZoneId::new("rail-1").ok(),
            region: Region::Eu,
            power_cdbm: 2_000,
            antennas: 1,
            window_ms: 200,
            motion_mg: 120,
            settle_ms: 400,
            occupied: None,
        }
    }

    #[test]
    fn values_at_their_limits_are_taken_and_those_beyond_are_named() {
        let good = good();
        let check = |told| Config::new(told).map(|config| config.radio()).err();
        assert_eq!(
            Config::new(good).map(|config| config.radio()),
            Ok(Radio { region: 3, power_cdbm: 2_000 })
        );
        for region in [Region::China, Region::Us, Region::Korea] {
            assert_eq!(check(Configure { region, ..good }), None);
        }
        for region in [Region::Japan, Region::India, Region::Australia] {
            assert_eq!(check(Configure { region, ..good }), Some(Outcome::Region));
        }
        for (power_cdbm, wrong) in [(0, None), (3_300, None), (3_301, Some(Outcome::Power))] {
            assert_eq!(check(Configure { power_cdbm, ..good }), wrong);
        }
        for antennas in [0, 2, 3] {
            assert_eq!(check(Configure { antennas, ..good }), Some(Outcome::Antennas));
        }
        let threshold = Some(Outcome::Threshold);
        for (window_ms, wrong) in [(0, None), (2_000, None), (2_001, threshold)] {
            assert_eq!(check(Configure { window_ms, ..good }), wrong);
        }
        for (motion_mg, wrong) in [(15, threshold), (16, None), (8_000, None), (8_001, threshold)] {
            assert_eq!(check(Configure { motion_mg, ..good }), wrong);
        }
        for (settle_ms, wrong) in [(39, threshold), (40, None), (u16::MAX, None)] {
            assert_eq!(check(Configure { settle_ms, ..good }), wrong);
        }
    }
}
