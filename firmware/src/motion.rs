//! Whether the thing that an accelerometer is fixed to is picked up and put down. Enters: accelerations in
//! thousandths of standard gravity (mg) at about 50 a second, each with its time. Leaves: [`Motion`]s in turn, first
//! picked up and then put down; and what is wrong with the sensor. Which way it lies does not matter.
//!
//! ```text
//!          lies still, with gravity                  two samples changed, within 100 ms: picked up
//! unknown ─────────────────────────▶ rest ──────────────────────────────────────────────────────▶ moved
//!    ▲                                │ ▲       lies still, with gravity: put down                  │
//!    └── a gap, or stuck ─────────────┘ └───────────────────────────────────────────────────────────┘
//! ```
//!
//! - *Changed*: the vector differs by more than `motion_mg` from the mean of the rest before, so that gravity is
//!   out of it and a turn is a change too. That mean follows slowly, because sensors drift as they warm.
//! - *Still*: for `settle_ms` every sample is within half of `motion_mg` of the mean of those before it. So what
//!   trembles around the threshold is picked up once.
//! - *Picked up* is dated by the first sample that changed, *put down* by the first that was still: what lies
//!   between is how long it was moved, to the sample. The peak of the first is what was seen until it was told,
//!   that of the second the greatest of the whole movement, both against the rest before.
//! - One sample alone changes nothing: I²C has no checksum.
//! - At the end of the scale a sample tells less than there was: it is a change whatever the threshold, and the peak
//!   is at least what is told.
//! - Time without samples is neither rest nor movement. After more than a second of it nobody knows when what rested
//!   was moved: it must rest anew.
//! - No sensor is without noise: what tells the same for five seconds, or the end of its scale, is stuck; and where
//!   all is still, there is gravity, or it is broken. Of such a sensor nothing is told.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::{Motion, Moved};

/// What an accelerometer measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Uptime,
    /// Along three axes at right angles, in mg.
    pub mg: [i16; 3],
}

/// From where on a thing is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// What must be exceeded, in mg, 16 to 8,000.
    pub motion_mg: u16,
    /// How long it must be still to be at rest, in milliseconds; five samples at least.
    pub settle_ms: u16,
}

/// What is wrong with a sensor that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implausible {
    /// It tells the same all the time, or the end of its scale.
    Stuck,
    /// All is still, and what it measures is not what gravity would be.
    NoGravity,
}

/// Says when one sensor is moved.
#[derive(Clone, Debug)]
pub struct Detector {
    sensor: u8,
    thresholds: Thresholds,
    state: State,
    /// The stretch of stillness that the last sample belongs to, while it does not rest.
    hold: Option<Hold>,
    last: Option<Sample>,
    /// How many of the last samples say nothing new.
    alike: u16,
    wrong: Option<Implausible>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Unknown,
    Rest {
        lies: Lies,
        /// The first sample that changed, and by how much, until a second does.
        left: Option<(Uptime, u16)>,
    },
    Moved {
        lies: Lies,
        peak_mg: u16,
    },
}

impl Detector {
    /// For the sensor with this number; they count from 1.
    #[must_use]
    pub fn new(sensor: u8, thresholds: Thresholds) -> Self {
        let state = State::Unknown;
        Self { sensor, thresholds, state, hold: None, last: None, alike: 0, wrong: None }
    }

    /// Takes the next sample.
    pub fn handle_sample(&mut self, sample: Sample) -> Option<Motion> {
        self.doubt(sample);
        if self.alike >= STUCK {
            self.wrong = Some(Implausible::Stuck);
            self.lose();
            return None;
        }
        match self.state {
            State::Unknown => {
                let (_, lies) = self.settle(sample)?;
                self.state = State::Rest { lies, left: None };
                None
            }
            State::Rest { lies, left } => self.rest(lies, left, sample),
            State::Moved { lies, peak_mg } => {
                let peak_mg = peak_mg.max(lies.change_mg(sample.mg));
                self.state = State::Moved { lies, peak_mg };
                let (from, lies) = self.settle(sample)?;
                self.state = State::Rest { lies, left: None };
                Some(self.told(from, Moved::PutDown, peak_mg))
            }
        }
    }

    /// What is wrong with it: until it has rested anew.
    #[must_use]
    pub fn wrong(&self) -> Option<Implausible> {
        self.wrong
    }

    /// Judges by other thresholds from here on. What was picked up and not put down still is.
    pub fn work_by(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
        self.hold = None;
    }

    /// Looks at what a sample says of those before it.
    fn doubt(&mut self, sample: Sample) {
        let Some(last) = self.last.replace(sample) else { return };
        let said = sample.mg != last.mg && !is_clipped(sample.mg);
        self.alike = if said { 0 } else { self.alike.saturating_add(1) };
        let unseen_ms = sample.at.since(last.at);
        if unseen_ms > KNOWN_WHEN_MS {
            self.lose();
        } else if unseen_ms > UNSEEN_MS {
            self.hold = None;
        }
    }

    /// How it lies is not known any more. What is moved goes on being.
    fn lose(&mut self) {
        self.hold = None;
        if let State::Rest { .. } = self.state {
            self.state = State::Unknown;
        }
    }

    fn rest(&mut self, lies: Lies, left: Option<(Uptime, u16)>, sample: Sample) -> Option<Motion> {
        let change_mg = lies.change_mg(sample.mg);
        let left = left.filter(|(at, _)| sample.at.since(*at) <= AGAIN_MS);
        if change_mg <= self.thresholds.motion_mg && !is_clipped(sample.mg) {
            let lies = if change_mg <= self.still_mg() { lies.follow(sample.mg) } else { lies };
            self.state = State::Rest { lies, left };
            return None;
        }
        let Some((at, first_mg)) = left else {
            self.state = State::Rest { lies, left: Some((sample.at, change_mg)) };
            return None;
        };
        let peak_mg = first_mg.max(change_mg);
        self.state = State::Moved { lies, peak_mg };
        Some(self.told(at, Moved::PickedUp, peak_mg))
    }

    /// Since when it has been still for long enough, and how it lies.
    fn settle(&mut self, sample: Sample) -> Option<(Uptime, Lies)> {
        if is_clipped(sample.mg) {
            self.hold = None;
            return None;
        }
        let still_mg = self.still_mg();
        let hold = match self.hold.take() {
            Some(hold) if hold.is_near(sample.mg, still_mg) => hold.with(sample.mg),
            Some(_) | None => Hold::new(sample),
        };
        let held = sample.at.since(hold.from) >= self.thresholds.settle_ms.into();
        if !held || hold.count < LEAST_SAMPLES || !hold.varied {
            self.hold = Some(hold);
            return None;
        }
        let lies = hold.mean();
        // Otherwise it begins anew.
        if !GRAVITY_MG.contains(&lies.change_mg([0; 3])) {
            self.wrong = Some(Implausible::NoGravity);
            return None;
        }
        self.wrong = None;
        Some((hold.from, lies))
    }

    fn still_mg(&self) -> u16 {
        self.thresholds.motion_mg / 2
    }

    fn told(&self, at: Uptime, how: Moved, peak_mg: u16) -> Motion {
        Motion { at, sensor: self.sensor, how, peak_mg }
    }
}

/// A stretch in which it was still.
#[derive(Clone, Copy, Debug)]
struct Hold {
    from: Uptime,
    first: [i16; 3],
    varied: bool,
    count: u32,
    sum: [i64; 3],
}

impl Hold {
    fn new(Sample { at, mg }: Sample) -> Self {
        Self { from: at, first: mg, varied: false, count: 1, sum: mg.map(i64::from) }
    }

    fn is_near(&self, mg: [i16; 3], still_mg: u16) -> bool {
        let count = i64::from(self.count);
        let ways = self.sum.iter().zip(mg).map(|(sum, along)| i64::from(along) * count - sum);
        let still = i64::from(still_mg) * count;
        ways.map(|way| way * way).sum::<i64>() <= still * still
    }

    fn with(self, mg: [i16; 3]) -> Self {
        let mut sum = self.sum;
        sum.iter_mut().zip(mg).for_each(|(sum, along)| *sum += i64::from(along));
        Self { varied: self.varied || mg != self.first, count: self.count + 1, sum, ..self }
    }

    fn mean(&self) -> Lies {
        let whole = |sum: i64| sum * i64::from(Lies::ONE_MG) / i64::from(self.count);
        Lies(self.sum.map(|sum| i32::try_from(whole(sum)).expect("a mean of samples is as small as they")))
    }
}

/// What is measured at rest: 65,536 are one mg.
#[derive(Clone, Copy, Debug)]
struct Lies([i32; 3]);

impl Lies {
    const ONE_MG: i32 = 1 << 16;
    /// It goes this part of the way to each sample: in about ten seconds to most of them.
    const SLOWLY: i32 = 512;

    /// By how much a sample differs, in whole mg.
    fn change_mg(self, mg: [i16; 3]) -> u16 {
        let lies = self.0.map(|along| (along + Self::ONE_MG / 2).div_euclid(Self::ONE_MG));
        let squares = lies.iter().zip(mg).map(|(lies, along)| u64::from(lies.abs_diff(along.into())).pow(2));
        u16::try_from(squares.sum::<u64>().isqrt()).unwrap_or(u16::MAX)
    }

    fn follow(self, mg: [i16; 3]) -> Self {
        let mut lies = self.0;
        for (lies, along) in lies.iter_mut().zip(mg) {
            *lies += (i32::from(along) * Self::ONE_MG - *lies) / Self::SLOWLY;
        }
        Self(lies)
    }
}

/// Whether an axis is at the end of a scale of 12 bits.
fn is_clipped(mg: [i16; 3]) -> bool {
    mg.iter().any(|along| !(-CLIPPED_MG < *along && *along < CLIPPED_MG))
}

/// The scale goes from -2,048 to 2,047.
const CLIPPED_MG: i16 = 2_047;
/// A second sample must have changed within so many milliseconds of the first.
const AGAIN_MS: u64 = 100;
/// Samples further apart than this do not make one stretch of stillness, in milliseconds.
const UNSEEN_MS: u64 = 100;
/// What was moved while nothing was measured for longer than this was moved nobody knows when, in milliseconds.
const KNOWN_WHEN_MS: u64 = 1_000;
/// A mean of fewer says little.
const LEAST_SAMPLES: u32 = 5;
/// So many samples alike are five seconds. The noise of a LIS2DH12 is about one digit on each axis.
const STUCK: u16 = 250;
/// What gravity measures as: a sensor's zero is off by up to 40 mg on each axis, its scale by some percent.
const GRAVITY_MG: core::ops::RangeInclusive<u16> = 700..=1_300;

#[cfg(test)]
mod tests;
