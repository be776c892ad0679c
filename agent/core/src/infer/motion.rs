//! Moved or still: what the reads of about two seconds say of one tag. Enters: reads, compared with
//! earlier ones of the same antenna by a [`Comparer`]. Leaves: [`Signs`], which add up over time and over
//! antennas, and a [`Motion`] with its score and what it rests on.
//!
//! Every phase step votes, from -1 (still) to 1 (moved); the level has one vote in all. What moves the
//! sum past [`ENOUGH`] moved the tag:
//!
//! | sign | still, -1 | moved, 1 | why |
//! |---|---|---|---|
//! | phase step | 0.05 rad | 0.35 rad | an answer's phase turns by 4π per wavelength of way: at 866 MHz 0.35 rad are 1 cm |
//! | mean change of the level from read to read | 1 dB | 2.5 dB | a tag that is carried passes the ups and downs of the field |
//!
//! - Phases are compared only between reads of the same antenna and channel less than 0.6 s apart, and as
//!   doubled angles, because readers may report a half turn more or less. A read is compared with the
//!   first after 0.1 s rather than with the latest: where reads are dense, a slow hand shows only over some
//!   time. (Over 0.3 s the hand that passes over a still tag shows too.)
//! - Where a tag's phase is noisier at rest (weak, or a reader that measures badly), both angles are
//!   larger: twice the mean step at rest votes nothing. [`Noise`] learns it while the tag rests.
//! - The level can never decide: its vote is less than [`ENOUGH`]. People who walk past move it too, and a
//!   reader's change of channel. One odd phase decides nothing either.
//! - Where a channel's phase has proved to be steady while the tag rested ([`Comparer::learn_rest`]), each read tells
//!   also whether the tag is where it was ([`Comparer::turned`], [`away_vote`]): a body beside a tag turns its
//!   phase by up to 0.4 rad. On all channels it turns alike, because they differ by less than a hundredth of their
//!   frequency: of a tag that was pushed aside, or put down elsewhere, the reads of all channels agree on a new turn;
//!   of one that is carried no two do. Where readers do not keep their phase, or hop over more than four channels,
//!   nothing is learned and nothing is told.
//! - Doppler is not used: on the recordings that have it, it says nothing (the same spread, ±150 Hz, for
//!   tags that lie and tags that are carried).
//!
//! The numbers were chosen on some of the recordings that `hangtag-agent evaluate` knows and are
//! reported on others; it says which.

mod phase;

use core::ops::{Add, AddAssign};

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::read::Read;

pub use phase::Turn;
pub(super) use phase::{Phase, told};

/// The sum of votes above which a tag moved.
pub const ENOUGH: f32 = 1.25;
/// Reads of the same channel further apart than this are not compared by phase, in milliseconds.
const PHASE_MS: u32 = 600;
/// The same where the channel's phase has proved to be steady while the tag rested.
const STEADY_PHASE_MS: u32 = 2_500;
/// A read is the one that later ones are compared with for so long, in milliseconds.
const ANCHOR_MS: u32 = 100;
/// Reads further apart than this are not compared by level, in milliseconds.
const LEVEL_MS: u32 = 3_000;
/// A phase step that says nothing, and how much more or less makes a whole vote, in mean steps at rest.
const STEP_NOISES: (f32, f32) = (2.0, 1.5);
/// A read's phase differs by this much from the one at rest, in radians: at most, of a tag that is there, and at
/// least, of one that is away. A body beside a tag at rest turns its phase by 0.4 rad.
const HERE_RAD: (f32, f32) = (0.35, 0.6);
/// The turns of a tag that is away differ so much from read to read: that says nothing, and how much more or less
/// makes a whole vote, in radians.
const TURNING_RAD: (f32, f32) = (0.35, 0.15);
/// How many more reads must have agreed with a phase at rest than have not for it to be known, and how many are
/// counted: a tag that was pushed aside is known in its new place after that many.
const TRUSTED: u8 = 5;
const MOST_TRUST: u8 = 20;
/// Mean change of the level that says nothing, and how much more or less makes a whole vote, in dB.
const CHANGE_DB: (f32, f32) = (1.75, 0.75);

/// Compares the reads of one tag at one antenna.
#[derive(Clone, Debug, Default)]
pub struct Comparer {
    channels: [Channel; 4],
    last_ms: u32,
    last_cdbm: i16,
    heard: bool,
    /// Whether the reader uses more channels than there is room for.
    hops: bool,
}

// There is one for each of very many tags: times are the lowest 32 bits of milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    at_ms: u32,
    /// Stands for the channel; 0 for none.
    code: u8,
    phase: Phase,
    /// The phase here while the tag rested, and how many more reads agreed with it than did not.
    rest: Phase,
    trust: u8,
}

/// How a read differs from those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// By how many radians the phase turned, 0 to π/2; absent without a read to compare with.
    pub step_rad: Option<f32>,
    /// By how many hundredths of a dB the level changed since the last read; absent after a pause.
    pub change_cdb: Option<u16>,
    /// By how many radians the phase turned since the last reads of this channel, however long ago; absent of the
    /// first one.
    pub turn_rad: Option<f32>,
}

impl Comparer {
    /// Takes a read and compares it.
    pub fn compare(&mut self, read: &Read) -> Comparison {
        let at_ms = low_bits(read.at);
        let pause_ms = at_ms.wrapping_sub(self.last_ms);
        let change_cdb = (self.heard && pause_ms < LEVEL_MS).then(|| read.rssi_cdbm.abs_diff(self.last_cdbm));
        (self.last_ms, self.last_cdbm, self.heard) = (at_ms, read.rssi_cdbm, true);
        let turned = self.compare_phase(read, at_ms);
        let step_rad = turned.and_then(|(rad, recent)| recent.then_some(rad));
        Comparison { step_rad, change_cdb, turn_rad: turned.map(|(rad, _)| rad) }
    }

    /// By how many radians it turned, and whether that was of late.
    fn compare_phase(&mut self, read: &Read, at_ms: u32) -> Option<(f32, bool)> {
        let (phase, code) = told(read)?;
        let age_ms = |channel: &Channel| at_ms.wrapping_sub(channel.at_ms);
        let known = self.known(code);
        let slot = known.unwrap_or_else(|| {
            // One of no channel is older than all.
            let age_ms = |slot: &usize| (self.channels[*slot].code == 0, age_ms(&self.channels[*slot]));
            (0..self.channels.len()).max_by_key(age_ms).expect("there are four")
        });
        let anchor = self.channels[slot];
        if known.is_none() {
            self.hops |= anchor.code != 0;
            self.channels[slot] = Channel { at_ms, code, phase, ..Channel::default() };
            return None;
        }
        if age_ms(&anchor) > ANCHOR_MS {
            self.channels[slot] = Channel { at_ms, phase, ..anchor };
        }
        let limit_ms = if anchor.trust >= TRUSTED { STEADY_PHASE_MS } else { PHASE_MS };
        Some((phase.since(anchor.phase).rad(), age_ms(&anchor) <= limit_ms))
    }

    /// Learns where the tag rests: its phase on each channel.
    pub fn learn_rest(&mut self, read: &Read) {
        let Some((phase, code)) = told(read) else { return };
        let Some(slot) = self.known(code) else { return };
        let channel = &mut self.channels[slot];
        let way = phase.since(channel.rest);
        if channel.trust == 0 {
            (channel.rest, channel.trust) = (phase, 1);
        } else if way.rad() < HERE_RAD.0 {
            channel.rest = channel.rest.turned(Turn::default().drawn_to(way));
            channel.trust = (channel.trust + 1).min(MOST_TRUST);
        } else {
            channel.trust -= 1;
        }
    }

    /// By how much a read's phase differs from those at rest; absent where that is not known.
    #[must_use]
    pub fn turned(&self, read: &Read) -> Option<Turn> {
        let (phase, code) = told(read)?;
        let channel = self.channels[self.known(code)?];
        (channel.trust >= TRUSTED).then(|| phase.since(channel.rest))
    }

    /// The tag rests elsewhere now, from where its phase differs so much: on all channels, if that is true, and what
    /// the next read of one contradicts is not believed.
    pub fn move_rest(&mut self, by: Turn) {
        for channel in self.channels.iter_mut().filter(|channel| channel.trust >= TRUSTED) {
            (channel.rest, channel.trust) = (channel.rest.turned(by), TRUSTED);
        }
    }

    /// The tag was taken: only channels of which it is known how they differ still say something.
    pub fn lift(&mut self) {
        self.channels
            .iter_mut()
            .filter(|channel| channel.trust < TRUSTED)
            .for_each(|channel| channel.trust = 0);
    }

    /// The tag may rest elsewhere now.
    pub fn forget_rest(&mut self) {
        self.channels.iter_mut().for_each(|channel| channel.trust = 0);
    }

    /// Whether the reader hops over more channels than are followed: there only reads close together compare.
    #[must_use]
    pub fn hops(&self) -> bool {
        self.hops
    }

    /// Whether the reader told a phase.
    #[must_use]
    pub fn has_phase(&self) -> bool {
        self.channels.iter().any(|channel| channel.code != 0)
    }

    fn known(&self, code: u8) -> Option<usize> {
        self.channels.iter().position(|channel| channel.code == code)
    }
}

impl Comparison {
    /// What it says of a tag with this noise.
    #[must_use]
    pub fn signs(self, noise: Noise) -> Signs {
        let angles = (STEP_NOISES.0 * noise.step_rad(), STEP_NOISES.1 * noise.step_rad());
        let votes = |step| (vote(step, angles) * 100.0) as i32;
        Signs {
            steps: u16::from(self.step_rad.is_some()),
            step_mrad: self.step_rad.map_or(0, |step| (step * 1_000.0) as u32),
            votes: self.step_rad.map_or(0, votes),
            changes: u16::from(self.change_cdb.is_some()),
            change_cdb: self.change_cdb.unwrap_or(0).into(),
        }
    }
}

/// The mean phase step of a tag at rest, in radians: 0.1 until it is learned, and never less.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    mrad: u16,
    /// How many steps it was learned from, up to [`Noise::MEMORY`].
    steps: u8,
}

impl Default for Noise {
    fn default() -> Self {
        Self { mrad: (Self::LEAST_RAD * 1_000.0) as u16, steps: 4 }
    }
}

impl Noise {
    const LEAST_RAD: f32 = 0.1;
    /// From about this on, phases say nothing: if every phase is equally likely, the mean step is 0.79.
    const DEAF_RAD: f32 = 0.5;
    /// Over how many steps it is averaged.
    const MEMORY: u8 = 64;

    /// Takes what some reads at rest say.
    pub fn learn(&mut self, at_rest: Signs) {
        if let Some(mean) = at_rest.mean_step_rad() {
            let steps = u8::try_from(at_rest.steps).unwrap_or(u8::MAX).min(Self::MEMORY / 4);
            self.steps = (self.steps + steps).min(Self::MEMORY);
            let rad = f32::from(self.mrad) / 1_000.0;
            let learned = rad + (mean - rad) * f32::from(steps) / f32::from(self.steps);
            self.mrad = (learned * 1_000.0 + 0.5) as u16;
        }
    }

    /// What of it outlives a restart: thousandths of a radian, and the steps it was learned from.
    pub(super) fn kept(self) -> (u16, u8) {
        (self.mrad, self.steps)
    }

    /// What was kept of it.
    pub(super) fn of_kept((mrad, steps): (u16, u8)) -> Self {
        Self { mrad, steps: steps.min(Self::MEMORY) }
    }

    fn step_rad(self) -> f32 {
        (f32::from(self.mrad) / 1_000.0).max(Self::LEAST_RAD)
    }

    /// Whether phases say nothing.
    #[must_use]
    pub fn is_deaf(self) -> bool {
        self.step_rad() > Self::DEAF_RAD
    }
}

/// What some reads say of movement, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Phase steps.
    pub steps: u16,
    /// Their sum in thousandths of a radian.
    pub step_mrad: u32,
    /// What they vote, in hundredths: -100 to 100 each.
    pub votes: i32,
    /// Changes of the level.
    pub changes: u16,
    /// Their sum in hundredths of a dB.
    pub change_cdb: u32,
}

impl Signs {
    /// By how many radians the phase turned on average.
    #[must_use]
    pub fn mean_step_rad(self) -> Option<f32> {
        (self.steps > 0).then(|| self.step_mrad as f32 / 1_000.0 / f32::from(self.steps))
    }

    /// How the level changed from read to read on average, in dB.
    #[must_use]
    pub fn mean_change_db(self) -> Option<f32> {
        (self.changes > 0).then(|| self.change_cdb as f32 / 100.0 / f32::from(self.changes))
    }

    /// What they say when they are of about two seconds.
    #[must_use]
    pub fn motion(self) -> Motion {
        let phase = self.votes as f32 / 100.0;
        let level = self.mean_change_db().map_or(0.0, |db| vote(db, CHANGE_DB));
        let score = phase + level;
        Motion { moved: self.steps > 0 && score > ENOUGH, score, phase, level }
    }
}

impl Add for Signs {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            steps: self.steps.saturating_add(other.steps),
            step_mrad: self.step_mrad.saturating_add(other.step_mrad),
            votes: self.votes.saturating_add(other.votes),
            changes: self.changes.saturating_add(other.changes),
            change_cdb: self.change_cdb.saturating_add(other.change_cdb),
        }
    }
}

impl AddAssign for Signs {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl core::iter::Sum for Signs {
    fn sum<I: Iterator<Item = Self>>(signs: I) -> Self {
        signs.fold(Self::default(), Add::add)
    }
}

/// What a read says of a tag whose phase at rest is known: -1, it is there, to 1, it is away.
#[must_use]
pub fn away_vote(away_rad: f32) -> f32 {
    let middle = (HERE_RAD.0 + HERE_RAD.1) / 2.0;
    vote(away_rad, (middle, HERE_RAD.1 - middle))
}

/// What the difference between a tag's turns at two reads says of one that is away: -1, it is still, to 1, it moves.
#[must_use]
pub fn turning_vote(step_rad: f32) -> f32 {
    vote(step_rad, TURNING_RAD)
}

/// Whether a tag moved, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// It moved.
    pub moved: bool,
    /// The sum of all votes; more than [`ENOUGH`] is movement.
    pub score: f32,
    /// What the phase votes.
    pub phase: f32,
    /// What the level votes, -1 to 1.
    pub level: f32,
}

fn low_bits(at: Uptime) -> u32 {
    (at.0 & u64::from(u32::MAX)) as u32
}

/// -1 to 1: how far a value is from one that says nothing.
fn vote(value: f32, (nothing, whole): (f32, f32)) -> f32 {
    ((value - nothing) / whole).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests;
