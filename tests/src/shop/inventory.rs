//! A reader that takes inventory: antenna after antenna, round after round, one tag per slot. Enters:
//! the shop's floor at the moment of a slot. Leaves: at most one sighting per slot. The more tags are
//! in view, the less often each is read.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Sighting;
use super::floor::Floor;
use super::layout::{Layout, Protocol};
use super::radio::{Beam, CHANNELS_KHZ, Radio};

pub(super) struct Inventory {
    /// The reader's index in the layout.
    reader: usize,
    beams: Vec<Beam>,
    pace: Pace,
    /// When the next slot begins, in microseconds.
    pub(super) next_us: u64,
    antenna: usize,
    antenna_until_us: u64,
    /// The garments that will answer in this round, last first.
    round: Vec<usize>,
    channel_khz: u32,
    channel_until_us: u64,
}

/// What tells one protocol's readers from another's, in microseconds.
struct Pace {
    slot_us: u64,
    round_us: u64,
    empty_round_us: u64,
    antenna_us: u64,
    tells_phase: bool,
    /// A tag of this strength answers every second time, in dBm.
    sensitivity_dbm: f64,
}

const CHANNEL_US: u64 = 1_000_000;
/// A slot of a tag that is heard may still fail: two tags chose the same one.
const SLOT_SUCCESS: f64 = 0.9;

impl Inventory {
    pub(super) fn new(reader: usize, layout: &Layout) -> Self {
        let site = &layout.readers[reader];
        let beam =
            |(at, antenna)| Beam::new(antenna, layout, site.power_dbm, (reader as u64) << 8 | at as u64);
        Self {
            reader,
            beams: site.antennas.iter().enumerate().map(beam).collect(),
            pace: match site.protocol {
                Protocol::R200 => Pace {
                    slot_us: 9_000,
                    round_us: 12_000,
                    empty_round_us: 25_000,
                    antenna_us: u64::MAX,
                    tells_phase: false,
                    sensitivity_dbm: -68.0,
                },
                Protocol::ThingMagic => Pace {
                    slot_us: 3_600,
                    round_us: 6_000,
                    empty_round_us: 20_000,
                    antenna_us: 120_000,
                    tells_phase: true,
                    sensitivity_dbm: -62.0,
                },
            },
            // Readers do not start in the same microsecond.
            next_us: 1_000 * (1 + reader as u64),
            antenna: 0,
            antenna_until_us: 0,
            round: Vec::new(),
            channel_khz: CHANNELS_KHZ[0],
            channel_until_us: 0,
        }
    }

    /// Does what is due at `next_us`, and says when the next thing is.
    pub(super) fn step(&mut self, floor: &Floor, radio: &Radio, rng: &mut ChaCha8Rng) -> Option<Sighting> {
        let now_us = self.next_us;
        let ms = now_us as f64 / 1000.0;
        if now_us >= self.channel_until_us {
            self.channel_khz = CHANNELS_KHZ[rng.random_range(0..CHANNELS_KHZ.len())];
            self.channel_until_us = now_us + CHANNEL_US;
        }
        if now_us >= self.antenna_until_us {
            self.antenna = (self.antenna + 1) % self.beams.len();
            self.antenna_until_us = now_us.saturating_add(self.pace.antenna_us);
            self.round.clear();
        }
        let beam = &self.beams[self.antenna];
        let Some(garment) = self.round.pop() else {
            self.round = floor.in_reach(radio, beam, ms, self.pace.sensitivity_dbm - 12.0);
            for at in (1..self.round.len()).rev() {
                self.round.swap(at, rng.random_range(0..=at));
            }
            if self.round.is_empty() {
                self.next_us += self.pace.empty_round_us;
                // Nothing here: do not wait out the antenna's time.
                self.antenna_until_us = self.antenna_until_us.min(self.next_us + self.pace.empty_round_us);
            } else {
                self.next_us += self.pace.round_us;
            }
            return None;
        };
        let (target, bodies) = floor.target(garment, ms)?;
        let signal = radio.signal(beam, &target, &bodies, self.channel_khz);
        let margin = signal.rssi_dbm - self.pace.sensitivity_dbm;
        let answers = rng.random_bool(1.0 / (1.0 + libm::exp(-margin / 0.8)));
        if !answers {
            // A slot in which nobody answers is short.
            self.next_us += self.pace.slot_us / 6;
            return None;
        }
        self.next_us += self.pace.slot_us;
        if !rng.random_bool(SLOT_SUCCESS) {
            return None;
        }
        let rssi_dbm = signal.rssi_dbm + 0.7 * bell(rng);
        let phase_noise = 0.06 + 0.01 * (-50.0 - signal.rssi_dbm).max(0.0);
        let phase_rad = signal.phase_rad + phase_noise * bell(rng);
        Some(Sighting {
            at_ms: now_us / 1000,
            reader: self.reader,
            antenna: u8::try_from(self.antenna + 1).expect("at most four antennas"),
            epc: floor.epc(garment),
            rssi_cdbm: (rssi_dbm.clamp(-90.0, -20.0) * 100.0) as i16,
            phase_ddeg: self.pace.tells_phase.then(|| fold(phase_rad)),
            channel_khz: self.channel_khz,
        })
    }
}

/// The phase in tenths of a degree, 0 to 1799: the module cannot tell half turns apart.
fn fold(phase_rad: f64) -> u16 {
    (phase_rad.to_degrees().rem_euclid(180.0) * 10.0) as u16 % 1800
}

/// A random number with mean 0 and deviation 1: twelve uniform ones added up.
pub(super) fn bell(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}
