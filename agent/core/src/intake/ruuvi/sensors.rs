//! What sensor tags say to what moved. Enters: advertisements, of which any may be lost. Leaves: how often
//! each tag moved since it was last heard. The tag counts its own movements, so that a lost advertisement
//! loses no pick-up.

use core::fmt;

use hangtag_protocol::clock::Uptime;
use indexmap::IndexMap;

use super::Advert;

/// The address of a sensor tag, as it is printed on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// What a sensor tag said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Motion {
    /// When the gateway received it.
    pub at: Uptime,
    /// When it heard the tag before; the same for the first time.
    pub since: Uptime,
    /// The tag.
    pub sensor: Mac,
    /// Received signal strength in hundredths of a dBm.
    pub rssi_cdbm: i16,
    /// How often it moved since it was last heard, 0 to 254; 0 when it is heard for the first time.
    pub moves: u8,
    /// Acceleration along the tag's own axes in thousandths of the earth's pull, where it is measured.
    pub acceleration_mg: Option<[i16; 3]>,
    /// Battery in millivolts, 1,600 to 3,646, where it is measured.
    pub battery_mv: Option<u16>,
}

/// The sensor tags that were heard, and what they said last.
#[derive(Debug, Default)]
pub(in super::super) struct Sensors(IndexMap<Mac, Known, rustc_hash::FxBuildHasher>);

#[derive(Clone, Copy, Debug)]
struct Known {
    moves: Option<u8>,
    sequence: Option<u16>,
    heard: Uptime,
}

/// Phones and other shops have tags too: beyond so many the one that was unheard for longest is forgotten.
const MOST: usize = 4_096;
/// Firmware counts movements to 254 and begins anew; some counts one further, where 255 says nothing. A
/// turn of theirs is counted one short, which no movement is lost by.
const MOVES_TURN: u8 = 255;
const SEQUENCE_TURN: u16 = 65_535;

impl Sensors {
    /// Takes an advertisement. `None` when it repeats the last one: a measurement is sent several times.
    pub(in super::super) fn handle_advert(&mut self, advert: &Advert, now: Uptime) -> Option<Motion> {
        let known = self.0.get(&advert.sensor).copied();
        if known.is_none() && self.0.len() >= MOST {
            self.forget_one();
        }
        let moves = match known {
            Some(known) if known.is_repeated_by(advert) => None,
            Some(known) => Some(known.moves_until(advert)),
            None => Some(0),
        };
        let before = known.unwrap_or(Known { moves: None, sequence: None, heard: now });
        self.0.insert(
            advert.sensor,
            Known {
                // An absent count changes nothing: the next one is compared with the one before.
                moves: advert.moves.or(before.moves),
                sequence: advert.sequence.or(before.sequence),
                heard: now,
            },
        );
        Some(Motion {
            at: now,
            since: before.heard,
            sensor: advert.sensor,
            rssi_cdbm: advert.rssi_cdbm,
            moves: moves?,
            acceleration_mg: advert.acceleration_mg,
            battery_mv: advert.battery_mv,
        })
    }

    fn forget_one(&mut self) {
        let oldest = (0..self.0.len()).min_by_key(|slot| self.0[*slot].heard);
        if let Some(slot) = oldest {
            self.0.swap_remove_index(slot);
        }
    }
}

impl Known {
    fn is_repeated_by(self, advert: &Advert) -> bool {
        advert.sequence.is_some() && advert.sequence == self.sequence && advert.moves == self.moves
    }

    fn moves_until(self, advert: &Advert) -> u8 {
        match (self.moves, advert.moves) {
            // It counts from 0 since it got a new battery.
            (_, Some(after)) if self.has_restarted(advert) => after,
            (Some(before), Some(after)) if after >= before => after - before,
            (Some(before), Some(after)) => MOVES_TURN - before + after,
            (None, _) | (_, None) => 0,
        }
    }

    /// A sequence that goes back, and not from its end to its beginning, belongs to another life.
    fn has_restarted(self, advert: &Advert) -> bool {
        match (self.sequence, advert.sequence) {
            (Some(before), Some(after)) => {
                let ahead = if after >= before { after - before } else { SEQUENCE_TURN - before + after };
                ahead > SEQUENCE_TURN / 2
            }
            (None, _) | (_, None) => false,
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
