//! Tags that measure acceleration: whether the thing they hang on is moved, and whether the person who
//! wears them walks. Enters: accelerations in thousandths of standard gravity (mg), and what the tag's
//! reads say. Leaves: judgements with their scores and what they rest on. Which way the sensor lies does
//! not matter for a movement; for walking it must be known which axis points up on an upright wearer.
//!
//! - *moved*: in half a second, the acceleration strays from its mean by more than a sensor's noise (1 to
//!   5 mg). 10 mg is also what a turn by half a degree makes.
//! - *walking*: upright, and either heard louder than usual by what a zone must win by, because its wearer
//!   passes an antenna, or shaken while its phase turns. Shaking alone is a person who turns over in bed.

use libm::{acosf, sqrtf};

use super::motion::Signs;
use super::presence::MARGIN_DB;

/// How far accelerations stray from their mean when a thing is moved, in mg (root mean square).
pub const MOVED_MG: f32 = 10.0;
/// The same of somebody who walks.
pub const WALKING_MG: f32 = 100.0;
/// How far the upward axis leans from the vertical at most while somebody walks, in degrees.
pub const UPRIGHT_DEG: f32 = 35.0;
/// Over how many reads the usual level is averaged.
const USUAL_READS: u16 = 64;

/// The accelerations of a short time, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shake {
    samples: f32,
    sum: [f32; 3],
    squares: f32,
}

impl Shake {
    /// Takes one acceleration in mg: along three axes at right angles.
    pub fn add(&mut self, mg: [f32; 3]) {
        self.samples += 1.0;
        for (sum, along) in self.sum.iter_mut().zip(mg) {
            *sum += along;
            self.squares += along * along;
        }
    }

    /// The mean acceleration in mg; zero without samples.
    #[must_use]
    pub fn mean_mg(&self) -> [f32; 3] {
        self.sum.map(|sum| if self.samples > 0.0 { sum / self.samples } else { 0.0 })
    }

    /// How far the accelerations stray from their mean, in mg (root mean square).
    #[must_use]
    pub fn stray_mg(&self) -> f32 {
        let mean = self.mean_mg();
        let of_mean = mean.iter().map(|along| along * along).sum::<f32>();
        if self.samples > 0.0 { sqrtf((self.squares / self.samples - of_mean).max(0.0)) } else { 0.0 }
    }

    /// By how many degrees the axis with this number, 0 to 2, leans from the vertical; 90 without samples.
    ///
    /// # Panics
    /// When there is no such axis.
    #[must_use]
    pub fn lean_deg(&self, up: usize) -> f32 {
        let mean = self.mean_mg();
        let whole = sqrtf(mean.iter().map(|along| along * along).sum::<f32>());
        let cosine = if whole > 0.0 { (mean[up] / whole).clamp(-1.0, 1.0) } else { 0.0 };
        acosf(cosine) * 180.0 / core::f32::consts::PI
    }

    /// Whether the thing was moved, from the accelerations of about half a second.
    #[must_use]
    pub fn moved(&self) -> Moved {
        let stray_mg = self.stray_mg();
        Moved { moved: stray_mg >= MOVED_MG, score: stray_mg / MOVED_MG, stray_mg }
    }
}

/// Whether a thing was moved, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// It was.
    pub moved: bool,
    /// At least 1 if it was.
    pub score: f32,
    /// How far its accelerations strayed from their mean, in mg.
    pub stray_mg: f32,
}

/// How often a tag that counts its own movements moved between two counts: the counter has 8 bits and
/// begins again after 255.
#[must_use]
pub fn movements(before: u8, after: u8) -> u8 {
    after.wrapping_sub(before)
}

/// The level at which a tag is usually heard.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usual {
    reads: u16,
    mean_dbm: f32,
}

impl Usual {
    /// By how many dB a read is louder than usual; it then counts among the usual.
    pub fn rise_db(&mut self, dbm: f32) -> f32 {
        let rise = if self.reads > 0 { dbm - self.mean_dbm } else { 0.0 };
        self.reads = (self.reads + 1).min(USUAL_READS);
        self.mean_dbm += (dbm - self.mean_dbm) / f32::from(self.reads);
        rise
    }
}

/// Whether the wearer of a tag walks, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walking {
    /// The wearer walks.
    pub walks: bool,
    /// At least 1 if so.
    pub score: f32,
    /// By how many degrees the wearer leans.
    pub lean_deg: f32,
    /// How far accelerations stray from their mean, in mg.
    pub stray_mg: f32,
    /// By how many dB the loudest read was louder than usual.
    pub rise_db: f32,
}

/// Judges two seconds of a worn tag: its accelerations, of which the axis `up` points up on an upright
/// wearer; what its phase and level say; and by how many dB its loudest read was louder than [`Usual`].
///
/// # Panics
/// When `up` is not 0, 1 or 2.
#[must_use]
pub fn walking(shake: &Shake, up: usize, signs: Signs, rise_db: f32) -> Walking {
    let (lean_deg, stray_mg) = (shake.lean_deg(up), shake.stray_mg());
    let shaken = if signs.votes > 0 { stray_mg / WALKING_MG } else { 0.0 };
    let score = (UPRIGHT_DEG / lean_deg.max(1.0)).min(shaken.max(rise_db / MARGIN_DB));
    Walking { walks: score >= 1.0, score, lean_deg, stray_mg, rise_db }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shake(samples: &[[f32; 3]]) -> Shake {
        let mut shake = Shake::default();
        samples.iter().for_each(|mg| shake.add(*mg));
        shake
    }

    #[test]
    fn a_thing_at_rest_is_still_however_it_lies() {
        for lies in [[0.0, 0.0, -994.0], [988.0, 180.0, -8.0]] {
            let noise = |n: f32| lies.map(|along: f32| along + n);
            let judged = shake(&[noise(0.0), noise(4.0), noise(-4.0), noise(3.0)]).moved();
            assert!(!judged.moved && judged.stray_mg < 6.0, "{judged:?}");
        }
        assert!(!Shake::default().moved().moved);
    }

    #[test]
    fn a_thing_that_is_lifted_or_turned_is_moved() {
        assert!(shake(&[[0.0, 0.0, 1_000.0], [0.0, 0.0, 1_100.0], [0.0, 0.0, 930.0]]).moved().moved);
        // Five degrees within half a second.
        assert!(shake(&[[0.0, 0.0, 1_000.0], [44.0, 0.0, 999.0], [87.0, 0.0, 996.0]]).moved().moved);
    }

    #[test]
    fn a_lost_count_loses_no_movement() {
        assert_eq!((movements(7, 7), movements(250, 3)), (0, 9));
    }

    #[test]
    fn only_who_is_upright_walks() {
        let upright = shake(&[[200.0, 950.0, 0.0], [250.0, 1_000.0, 0.0]]);
        let lying = shake(&[[1_000.0, 50.0, 0.0], [800.0, 300.0, 0.0]]);
        let turning = Signs { steps: 4, votes: 300, ..Signs::default() };
        assert!(walking(&upright, 1, Signs::default(), 7.0).walks, "passes an antenna");
        assert!(!walking(&upright, 1, turning, 2.0).walks, "neither louder nor shaken");
        assert!(!walking(&lying, 1, turning, 9.0).walks);
        let shaken = shake(&[[200.0, 850.0, 0.0], [250.0, 1_150.0, 0.0]]);
        assert!(walking(&shaken, 1, turning, 2.0).walks);
        assert!(!walking(&shaken, 1, Signs { votes: -300, ..turning }, 2.0).walks, "the phase stands still");
    }

    #[test]
    fn the_usual_level_follows_slowly() {
        let mut usual = Usual::default();
        assert_eq!(usual.rise_db(-60.0), 0.0);
        (0..200).for_each(|_| assert!(usual.rise_db(-60.0).abs() < 0.01));
        assert!((usual.rise_db(-50.0) - 10.0).abs() < 0.01);
        assert!(usual.rise_db(-60.0) > -0.2);
    }
}
