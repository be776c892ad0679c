//! How one tag looks to one antenna: level, rate, whether it moves, and whether it has come to rest. Enters: reads.
//! Leaves: measures that the state machine in [`tag`](super::tag) decides by.
//!
//! Whether it moves is decided by [`motion`](super::motion) where the reader tells the phase. Where it
//! does not, by changes of the level: a tag that is carried passes through the ups and downs of the field, read by
//! read. The level itself says little: it jumps once when the reader changes its channel, and sinks and rises once
//! when somebody walks past. Each read [votes](super::votes) on it.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::read::Read;

use super::learned::{Elsewhere, Heard as Habitual};
use super::mean::Mean;
use super::motion::{Comparer, Noise, Signs, Turn};
use super::presence::{Heard, Presence, presence};
use super::votes::{Restlessness, Votes};

mod voting;

/// Length of a tick in milliseconds: how often states are looked at.
pub(super) const TICK_MS: u64 = 500;
/// How many ticks "recently" is: five seconds.
pub(super) const RECENT_TICKS: usize = 10;

/// Reads that the mean level weighs: as in Intel's RSP controller.
const LEVEL_READS: f32 = 20.0;
/// Mean phase step, in radians, of the last few reads of a tag that lies or hangs, at most.
const CALM_RAD: f32 = 0.3;
/// Mean phase step, in radians, of the last sixteen or so reads of a tag that is worn.
const WORN_RAD: f32 = 0.18;
/// Mean change of the level from read to read, in hundredths of a dB, of a tag whose surroundings move, and the most
/// of a tag at rest. Readers round to whole dB.
const UNSTEADY_CDB: u32 = 200;
const CALM_CDB: u32 = 160;
/// Ticks over which changes of the level are averaged: four seconds.
const LEVEL_TICKS: usize = 8;

/// Ticks over which the rate at rest is averaged.
const REST_TICKS: u8 = 60;
/// In how many ticks a garment must be heard from elsewhere for that to be known: a garment that is carried
/// from one zone to another is heard in both for one or two.
pub(super) const ELSEWHERE_TICKS: u8 = 10;
/// How much of a tick's level counts in what is known from elsewhere: of a louder and of a softer one.
const ELSEWHERE_WEIGHTS: (f32, f32) = (1.0 / 16.0, 1.0 / 1_024.0);

// There is one for nearly every garment of the shop: its size is most of what a garment takes.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) last: Uptime,
    comparer: Comparer,
    /// While it rests here, that it moves; while it is carried, that it has come to rest.
    votes: Votes,
    restlessness: Restlessness,
    /// Each of the last ticks; the current one is first.
    recent: [Tick; RECENT_TICKS],
    /// Phase steps in the current tick.
    steps: u8,
    /// The sum of the current tick's steps in thousandths of a radian.
    step_mrad: u16,
    /// Mean of the last reads, in milliwatts: what zones are compared by.
    mean_mw: f32,
    /// Of how many reads, up to 255.
    total: u8,
    /// How many reads a tick brings while the garment rests, and over how many ticks that was learned.
    rest_ticks: u8,
    rest_rate: Mean,
    /// Mean phase step in radians: of the last four reads or so, and of the last sixteen. Where the phase does not
    /// tell, the first is what the level votes.
    quick: Mean,
    slow_step: Mean,
    noise: Noise,
    /// The loudest that it was heard here while it was heard at rest in another zone, in dBm, and in how
    /// many ticks it was.
    elsewhere_dbm: f32,
    elsewhere_ticks: u8,
    /// By how much the last read's phase differed from those at rest.
    turned: Turn,
    /// How many reads in a row agreed on that; of a garment of which nothing is known, sixteenths of votes that it is
    /// carried.
    aside: u8,
    pub(super) antenna: u16,
}

/// What is known of where a garment is, as seen from an antenna.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It rests where this antenna looks.
    Here,
    /// It rests elsewhere.
    Elsewhere,
    /// Somebody carries it, or nothing is known.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tick {
    reads: u8,
    changes: u8,
    /// Sum of the changes of the level, in hundredths of a dB.
    change_cdb: u16,
}

impl Track {
    pub(super) fn new(antenna: u16, now: Uptime) -> Self {
        Self {
            antenna,
            last: now,
            comparer: Comparer::default(),
            votes: Votes::none(now),
            restlessness: Restlessness::default(),
            recent: [Tick::default(); RECENT_TICKS],
            steps: 0,
            step_mrad: 0,
            mean_mw: 0.0,
            total: 0,
            rest_ticks: 0,
            rest_rate: Mean::default(),
            quick: Mean::default(),
            slow_step: Mean::default(),
            turned: Turn::default(),
            aside: 0,
            noise: Noise::default(),
            elsewhere_dbm: 0.0,
            elsewhere_ticks: 0,
        }
    }

    /// Takes a read of a garment of which so much is known.
    pub(super) fn handle_read(&mut self, read: &Read, whereabouts: Whereabouts) {
        let pause = read.at.since(self.last);
        if pause > TICK_MS * RECENT_TICKS as u64 {
            // Long unseen: what it looked like then says nothing of where it is today.
            self.total = 0;
        }
        let turned = self.comparer.turned(read);
        let compared = self.comparer.compare(read);
        let tick = &mut self.recent[0];
        tick.reads = tick.reads.saturating_add(1);
        if let Some(change_cdb) = compared.change_cdb {
            tick.changes = tick.changes.saturating_add(1);
            tick.change_cdb = tick.change_cdb.saturating_add(change_cdb);
        }
        if let Some(step) = compared.step_rad {
            let step_mrad = compared.signs(self.noise).step_mrad;
            self.steps = self.steps.saturating_add(1);
            self.step_mrad = self.step_mrad.saturating_add(u16::try_from(step_mrad).expect("at most 1,571"));
            self.slow_step.follow(step, 1.0 / 16.0);
        }
        if let (Some(step), true) = (compared.step_rad, self.phase_tells()) {
            self.quick.follow(step, 0.25);
        }
        self.vote(read, compared, turned, whereabouts);
        self.last = self.last.max(read.at);
        self.total = self.total.saturating_add(1);
        let weight = 1.0 / f32::from(self.total).min(LEVEL_READS);
        self.mean_mw += (milliwatts(f32::from(read.rssi_cdbm) / 100.0) - self.mean_mw) * weight;
    }

    /// Learns how the phase of a garment strays that does not move, as far as is known.
    pub(super) fn learn_noise(&mut self) {
        let (steps, step_mrad) = (self.steps.into(), self.step_mrad.into());
        self.noise.learn(Signs { steps, step_mrad, ..Signs::default() });
    }

    /// Learns how loud the garment is here, which rests in another zone and is heard there.
    pub(super) fn learn_elsewhere(&mut self) {
        if self.recent[0].reads == 0 {
            return;
        }
        self.elsewhere_ticks = self.elsewhere_ticks.saturating_add(1);
        let step = self.level_dbm() - self.elsewhere_dbm;
        let slow = if step > 0.0 { ELSEWHERE_WEIGHTS.0 } else { ELSEWHERE_WEIGHTS.1 };
        let first = self.elsewhere_ticks <= ELSEWHERE_TICKS;
        self.elsewhere_dbm += step * if first { 1.0 / f32::from(self.elsewhere_ticks) } else { slow };
    }

    /// What is heard here is no sign that the garment is here, unless it gets louder.
    pub(super) fn mute(&mut self) {
        (self.elsewhere_dbm, self.elsewhere_ticks) = (self.level_dbm(), u8::MAX);
    }

    /// Whether the garment is in the zone of this antenna, where the surest tags have so many recent
    /// reads; absent if it is not known how it is heard here from elsewhere.
    pub(super) fn presence(&self, surest_reads: f32) -> Option<Presence> {
        let known = self.elsewhere_ticks >= ELSEWHERE_TICKS;
        known.then(|| {
            let heard = Heard { reads: self.reads_recently() as f32, level_dbm: self.level_dbm() };
            presence(heard, surest_reads, Some(self.elsewhere_dbm))
        })
    }

    /// Ends a tick. `at_rest`: the garment rests where this antenna looks, and its rate is learned.
    pub(super) fn end_tick(&mut self, at_rest: bool) {
        if at_rest {
            self.rest_ticks = self.rest_ticks.saturating_add(1);
            let weight = 1.0 / f32::from(self.rest_ticks.min(REST_TICKS));
            self.rest_rate.follow(self.recent[0].reads.into(), weight);
        }
        self.recent.rotate_right(1);
        (self.recent[0], self.steps, self.step_mrad) = (Tick::default(), 0, 0);
    }

    /// What of it outlives a restart, if it was learned; and how many reads a hundred ticks bring at rest.
    pub(super) fn habit(&self) -> (Option<Habitual>, u16) {
        let elsewhere = (self.elsewhere_ticks > 0)
            .then_some(Elsewhere { cdbm: (self.elsewhere_dbm * 100.0) as i16, ticks: self.elsewhere_ticks });
        let heard = Habitual { antenna: self.antenna, noise: self.noise.kept(), elsewhere };
        let learned = elsewhere.is_some() || self.noise != Noise::default();
        (learned.then_some(heard), (self.rest_rate.get() * 100.0 + 0.5) as u16)
    }

    /// Takes up what was learned before a restart.
    pub(super) fn recall(&mut self, heard: Habitual) {
        self.noise = Noise::of_kept(heard.noise);
        if let Some(Elsewhere { cdbm, ticks }) = heard.elsewhere {
            (self.elsewhere_dbm, self.elsewhere_ticks) = (f32::from(cdbm) / 100.0, ticks);
        }
    }

    /// The garment rested here before a restart, and so many reads came in a hundred ticks.
    pub(super) fn recall_rest(&mut self, reads: u16) {
        (self.rest_rate, self.rest_ticks) = (Mean::of(f32::from(reads) / 100.0), REST_TICKS);
    }

    /// Whether a garment that has not come to rest yet rested here before a restart.
    pub(super) fn is_home(&self) -> bool {
        self.rest_ticks > 0
    }

    /// Takes the present for rest.
    pub(super) fn rest_here(&mut self) {
        self.rest_rate = Mean::of(self.reads_recently() as f32 / RECENT_TICKS as f32);
        self.rest_ticks = 10;
        self.votes.forget();
        if self.knows_rest() {
            self.comparer.move_rest(self.turned);
        } else {
            self.comparer.forget_rest();
        }
    }

    /// What its reads said is not true any more.
    pub(super) fn stir(&mut self) {
        self.aside = 0;
        self.votes.forget();
    }

    /// It rests here no more.
    pub(super) fn lift(&mut self) {
        self.aside = 0;
        self.votes.forget();
        self.comparer.lift();
    }

    /// Reads in the last five seconds.
    pub(super) fn reads_recently(&self) -> u32 {
        self.recent.iter().map(|tick| u32::from(tick.reads)).sum()
    }

    /// In how many of the last ticks there was a read.
    pub(super) fn ticks_seen(&self) -> usize {
        self.recent.iter().filter(|tick| tick.reads > 0).count()
    }

    /// Whether it was read in the tick that just ended.
    pub(super) fn seen_last_tick(&self) -> bool {
        self.recent[1].reads > 0
    }

    /// The level by which zones are compared, in dBm.
    pub(super) fn level_dbm(&self) -> f32 {
        // 10 times the decimal logarithm: the binary one is the fastest.
        libm::log2f(self.mean_mw.max(1e-12)) * 3.010_3
    }

    /// How many reads a tick brings while it rests.
    pub(super) fn rest_rate(&self) -> f32 {
        self.rest_rate.get()
    }

    /// Whether the reader tells the phase, and it says something.
    fn phase_tells(&self) -> bool {
        self.comparer.has_phase() && !self.noise.is_deaf()
    }

    /// Whether its level changes more than noise explains.
    pub(super) fn is_unsteady(&self) -> bool {
        self.level_change(LEVEL_TICKS).is_some_and(|(_, mean)| mean >= UNSTEADY_CDB)
    }

    /// Whether it has been read steadily: enough reads, the level even, the phase calm.
    pub(super) fn is_calm(&self) -> bool {
        let recent = self.level_change(RECENT_TICKS);
        let even = recent.is_some_and(|(pairs, mean)| pairs >= 3 && mean <= CALM_CDB);
        even && (self.quick.get() < CALM_RAD || !self.phase_tells())
    }

    /// Whether its phases compare over any time.
    pub(super) fn compares_turns(&self) -> bool {
        self.phase_tells() && !self.comparer.hops()
    }

    /// Whether what is read of it now is restless.
    pub(super) fn is_restless(&self) -> bool {
        if self.phase_tells() {
            return self.slow_step.get() > WORN_RAD;
        }
        self.is_unsteady()
    }

    /// How many reads of the last ticks could be compared with the one before, and by how many
    /// hundredths of a dB they changed on average.
    fn level_change(&self, ticks: usize) -> Option<(u32, u32)> {
        let recent = &self.recent[..ticks];
        let changes: u32 = recent.iter().map(|tick| u32::from(tick.changes)).sum();
        let change_cdb: u32 = recent.iter().map(|tick| u32::from(tick.change_cdb)).sum();
        Some((changes, change_cdb.checked_div(changes)?))
    }
}

fn milliwatts(dbm: f32) -> f32 {
    libm::exp2f(dbm / 3.010_3)
}

#[cfg(test)]
mod tests;
