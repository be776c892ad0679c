//! What an antenna hears of a tag. Enters: where the antenna, the tag and people's bodies are at one
//! moment. Leaves: signal strength and phase without noise. The same question always has the same
//! answer: walls and furniture do not move, so their echoes are a fixed field over the room.
//!
//! The strength is that of a backscatter link: both ways, thus 40 dB per decade of distance, and
//! twice every loss on the way. A body near the way scatters (one echo more) or stands in it.

use std::f64::consts::TAU;

use super::Difficulty;
use super::layout::{Antenna, Layout};
use super::space::Point;

/// The four channels of the European upper band for strong readers, in kHz.
pub(super) const CHANNELS_KHZ: [u32; 4] = [865_700, 866_300, 866_900, 867_500];

/// A tag, as a radio wave meets it.
pub(super) struct Target {
    pub(super) at: Point,
    /// Losses at the tag, both ways: its angle, garments on it, the body that wears it.
    pub(super) loss_db: f64,
    /// The phase that chip and tag antenna add, in radians.
    pub(super) turn_rad: f64,
}

/// What arrives at the reader.
#[derive(Clone, Copy)]
pub(super) struct Signal {
    pub(super) rssi_dbm: f64,
    /// In radians; whole turns are kept.
    pub(super) phase_rad: f64,
}

/// An antenna with what does not change.
pub(super) struct Beam {
    at: Point,
    boresight: Point,
    /// Tells the echoes of one antenna from those of another.
    salt: u64,
    rssi_at_1m: f64,
}

pub(super) struct Radio {
    seed: u64,
    echo_db: f64,
    wall_db: f64,
    scatter: f64,
}

/// The strength at 1 m and 26 dBm: what cheap modules with 6 dBi antennas print.
const RSSI_AT_1M: f64 = -40.0;
const LIGHT_M_PER_S: f64 = 299_792_458.0;
/// Echoes change over a quarter of the wavelength.
const ECHO_CELL_M: f64 = 0.0865;

impl Beam {
    pub(super) fn new(antenna: &Antenna, layout: &Layout, power_dbm: f64, salt: u64) -> Self {
        let target = layout.zones[antenna.zone].middle();
        Self {
            at: antenna.at,
            boresight: (target - antenna.at).unit(),
            salt,
            rssi_at_1m: RSSI_AT_1M + power_dbm - 26.0,
        }
    }
}

impl Radio {
    pub(super) fn new(seed: u64, difficulty: Difficulty) -> Self {
        let (echo_db, wall_db, scatter) = match difficulty {
            Difficulty::Easy => (2.0, 12.0, 0.08),
            Difficulty::Normal => (3.0, 4.0, 0.14),
            Difficulty::Hard => (4.5, 1.0, 0.22),
        };
        Self { seed, echo_db, wall_db, scatter }
    }

    /// Whether an antenna could ever hear a tag there: nothing answers from farther than 6 m.
    pub(super) fn is_near(beam: &Beam, at: Point) -> bool {
        let way = at - beam.at;
        way.dot(way) < 36.0
    }

    /// The strength without echoes and bodies: whether it is worth asking for more.
    pub(super) fn strength(&self, beam: &Beam, tag: &Target) -> f64 {
        let way = tag.at - beam.at;
        let distance = way.length().max(0.2);
        // 3GPP's antenna model, with a patch antenna's opening of 75 degrees; 15 dB at the back.
        let cosine = (way.dot(beam.boresight) / distance).clamp(-1.0, 1.0);
        let angle = libm::acos(cosine).to_degrees() / 75.0;
        let off_axis = (12.0 * angle * angle).min(15.0);
        let walls = match (Layout::booth_column(beam.at), Layout::booth_column(tag.at)) {
            (Some(here), Some(there)) => f64::from((here - there).abs()),
            (None, _) | (_, None) => 0.0,
        };
        beam.rssi_at_1m - 40.0 * libm::log10(distance) - 2.0 * off_axis - walls * self.wall_db - tag.loss_db
    }

    /// What the antenna hears on a channel while people stand at `bodies`.
    pub(super) fn signal(&self, beam: &Beam, tag: &Target, bodies: &[Point], channel_khz: u32) -> Signal {
        let wave_number = TAU * f64::from(channel_khz) * 1000.0 / LIGHT_M_PER_S;
        let distance = tag.at.distance(beam.at);
        let (mut real, mut imaginary, mut shadow_db) = (1.0, 0.0, 0.0);
        for body in bodies {
            let chest = body.at_height(1.2);
            let detour = chest.distance(beam.at) + chest.distance(tag.at) - distance;
            let echo = self.scatter * libm::exp(-detour / 0.7);
            real += echo * libm::cos(wave_number * detour);
            imaginary -= echo * libm::sin(wave_number * detour);
            shadow_db += shadow(beam.at, tag.at, *body);
        }
        // The field over all channels, and a smaller part that differs between them: 600 kHz apart,
        // channels still share most echoes of a room.
        let common = self.field(beam.salt, tag.at);
        let own = self.field(beam.salt ^ u64::from(channel_khz) << 16, tag.at);
        let bend = self.field(beam.salt ^ 0x5eed_0000, tag.at);
        let people = real.hypot(imaginary);
        Signal {
            rssi_dbm: self.strength(beam, tag)
                + self.echo_db * (common + 0.3 * own)
                + 40.0 * libm::log10(people.max(0.1))
                - shadow_db,
            phase_rad: 2.0 * wave_number * distance + 0.1 * self.echo_db * bend
                - 2.0 * libm::atan2(imaginary, real)
                + tag.turn_rad,
        }
    }

    /// A smooth field over the room with mean 0 and deviation of about 1.
    fn field(&self, salt: u64, at: Point) -> f64 {
        let scaled = at * (1.0 / ECHO_CELL_M);
        let floor = Point::new(libm::floor(scaled.x), libm::floor(scaled.y), libm::floor(scaled.z));
        let rest = scaled - floor;
        let (x, y, z) = (floor.x as i64, floor.y as i64, floor.z as i64);
        let mut sum = 0.0;
        let mut squares = 0.0;
        for corner in 0..8_i64 {
            let (i, j, k) = (corner & 1, corner >> 1 & 1, corner >> 2);
            let share = |on: i64, rest: f64| if on == 1 { rest } else { 1.0 - rest };
            let weight = share(i, rest.x) * share(j, rest.y) * share(k, rest.z);
            sum += weight * self.bell(salt, [x + i, y + j, z + k]);
            squares += weight * weight;
        }
        sum / squares.sqrt()
    }

    /// A number of a cell with mean 0 and deviation 1: four uniform ones added up.
    fn bell(&self, salt: u64, cell: [i64; 3]) -> f64 {
        let mut bits = self.seed ^ salt;
        for c in cell {
            bits = mix(bits ^ c.cast_unsigned());
        }
        let sum: u64 = (0..4).map(|n| bits >> (16 * n) & 0xffff).sum();
        (sum as f64 / 65_535.0 - 2.0) * 3f64.sqrt()
    }
}

/// What a body in the way takes, both ways: up to 14 dB, less when the way passes beside it or above
/// its head.
fn shadow(from: Point, to: Point, body: Point) -> f64 {
    let flat = (to - from).at_height(0.0);
    let length = flat.length();
    if length < 0.05 {
        return 0.0;
    }
    let share = ((body - from).at_height(0.0).dot(flat) / (length * length)).clamp(0.0, 1.0);
    let nearest = from.towards(to, share);
    let beside = nearest.at_height(0.0).distance(body.at_height(0.0)) / 0.25;
    let above = (nearest.z - 1.75) / 0.08;
    14.0 * libm::exp(-beside * beside) / (1.0 + libm::exp(above))
}

/// The finaliser of splitmix64: every input bit reaches every output bit.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench() -> (Radio, Beam) {
        let layout = Layout::demo();
        let beam = Beam::new(&layout.readers[2].antennas[0], &layout, 26.0, 1);
        (Radio::new(1, Difficulty::Easy), beam)
    }

    fn below(beam: &Beam, metres: f64) -> Target {
        Target { at: beam.at + beam.boresight * metres, loss_db: 0.0, turn_rad: 0.0 }
    }

    #[test]
    fn strength_falls_by_40_db_per_decade() {
        let (radio, beam) = bench();
        let near = radio.strength(&beam, &below(&beam, 1.0));
        assert!((near - RSSI_AT_1M).abs() < 1e-9);
        assert!((near - radio.strength(&beam, &below(&beam, 10.0)) - 40.0).abs() < 1e-9);
    }

    #[test]
    fn phase_turns_twice_in_a_wavelength_and_stays_for_a_still_tag() {
        let (radio, beam) = bench();
        let phase = |metres| radio.signal(&beam, &below(&beam, metres), &[], CHANNELS_KHZ[0]).phase_rad;
        assert_eq!(phase(1.0).to_bits(), phase(1.0).to_bits());
        let wavelength = LIGHT_M_PER_S / 865_700_000.0;
        let turned = phase(1.0 + wavelength / 2.0) - phase(1.0);
        // Echoes bend the phase by a few tenths of a radian.
        assert!((turned - TAU).abs() < 1.5, "{turned}");
    }

    #[test]
    fn a_body_in_the_way_weakens_and_one_far_away_does_not() {
        let (radio, beam) = bench();
        let tag = Target { at: Point::new(beam.at.x + 2.0, beam.at.y, 1.0), loss_db: 0.0, turn_rad: 0.0 };
        let rssi = |bodies: &[Point]| radio.signal(&beam, &tag, bodies, CHANNELS_KHZ[0]).rssi_dbm;
        let between = Point::new(beam.at.x + 1.5, beam.at.y, 0.0);
        assert!(rssi(&[between]) < rssi(&[]) - 8.0);
        assert!((rssi(&[Point::new(-20.0, -20.0, 0.0)]) - rssi(&[])).abs() < 0.1);
    }

    #[test]
    fn echoes_have_deviation_one() {
        let (radio, _) = bench();
        let samples: Vec<f64> =
            (0..4000).map(|n| radio.field(3, Point::new(f64::from(n) * 0.211, 1.0, 2.0))).collect();
        let mean = samples.iter().sum::<f64>() / 4000.0;
        let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 4000.0;
        assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.15, "mean {mean}, variance {variance}");
    }
}
