//! How one tag looks to one antenna: level, rate, and whether it moves. Enters: reads. Leaves:
//! measures that the state machine in [`tag`](super::tag) decides by.
//!
//! Whether it moves is decided by [`motion`](super::motion) where the reader tells the phase. Where it
//! does not, by changes of the level over four seconds: a tag that is carried passes through the ups and
//! downs of the field, read by read. The level itself says little: it jumps once when the reader changes
//! its channel, and sinks and rises once when somebody walks past.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::read::Read;

use super::learned::{Elsewhere, Heard as Habitual};
use super::motion::{Comparer, Noise, Signs, away_vote};
use super::presence::{Heard, Presence, presence};

/// Length of a tick in milliseconds: how often states are looked at.
pub(super) const TICK_MS: u64 = 500;
/// How many ticks "recently" is: five seconds.
pub(super) const RECENT_TICKS: usize = 10;

/// Reads that the mean level weighs: as in Intel's RSP controller.
const LEVEL_READS: f32 = 20.0;
/// Mean phase step, in radians, of the last few reads of a tag that is carried: at rest it is about 0.15,
/// and 0.79 if every phase is equally likely.
const CARRIED_RAD: f32 = 0.42;
/// The same of a tag that lies or hangs, at most.
const CALM_RAD: f32 = 0.3;
/// Mean phase step, in radians, of the last sixteen or so reads of a tag that is worn.
const WORN_RAD: f32 = 0.18;
/// Mean change of the level from read to read, in hundredths of a dB, of a tag that is carried: while
/// all around is quiet, and while somebody walks past.
const CARRIED_CDB: (u32, u32) = (350, 500);
/// The same of a tag whose surroundings move, and the most of a tag at rest. Readers round to whole dB.
const UNSTEADY_CDB: u32 = 200;
const CALM_CDB: u32 = 160;
/// Votes that it moves, less what each read takes away, must add up to so many for so long, in milliseconds, for a
/// garment to be carried: one that is only pushed swings for a second. No more than the most are kept, so that the
/// sum is soon gone when it rests.
const CARRIED_VOTES: (f32, f32) = (4.0, 8.0);
const CARRIED_MS: u32 = 2_000;
const DRIFT: f32 = 0.1;
/// A phase step of a tag that moves, at least, in radians: when it was put down is told by the last of them.
const MOVING_RAD: f32 = 0.35;
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
    /// Votes that it moves, added up read by read and never less than 0, and since when they are more.
    moved: f32,
    onset: Moment,
    /// The last step of its phase that told of movement.
    stepped: Moment,
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
    rest_rate: f32,
    /// Mean phase step in radians: of the last four reads or so, and of the last sixteen.
    quick_step: f32,
    slow_step: f32,
    noise: Noise,
    /// The loudest that it was heard here while it was heard at rest in another zone, in dBm, and in how
    /// many ticks it was.
    elsewhere_dbm: f32,
    elsewhere_ticks: u8,
    has_phase: bool,
    pub(super) antenna: u16,
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
            moved: 0.0,
            onset: Moment::of(now),
            stepped: Moment::of(now),
            recent: [Tick::default(); RECENT_TICKS],
            steps: 0,
            step_mrad: 0,
            mean_mw: 0.0,
            total: 0,
            rest_ticks: 0,
            rest_rate: 0.0,
            quick_step: 0.0,
            slow_step: 0.0,
            has_phase: false,
            noise: Noise::default(),
            elsewhere_dbm: 0.0,
            elsewhere_ticks: 0,
        }
    }

    /// Takes a read. `at_rest`: the garment rests where this antenna looks.
    pub(super) fn handle_read(&mut self, read: &Read, at_rest: bool) {
        let away = self.comparer.away_rad(read).map(away_vote);
        let pause = read.at.since(self.last);
        if pause > TICK_MS * RECENT_TICKS as u64 {
            // Long unseen: what it looked like then says nothing of where it is today.
            self.total = 0;
        }
        let compared = self.comparer.compare(read);
        if at_rest {
            self.comparer.learn_rest(read);
        }
        let tick = &mut self.recent[0];
        tick.reads = tick.reads.saturating_add(1);
        if let Some(change_cdb) = compared.change_cdb {
            tick.changes = tick.changes.saturating_add(1);
            tick.change_cdb = tick.change_cdb.saturating_add(change_cdb);
        }
        let mut moved = away;
        if let Some(step) = compared.step_rad {
            let signs = compared.signs(self.noise);
            moved = Some(away.unwrap_or(0.0) + signs.votes as f32 / 100.0);
            if step > MOVING_RAD {
                self.stepped = Moment::of(read.at);
            }
            self.steps = self.steps.saturating_add(1);
            self.step_mrad =
                self.step_mrad.saturating_add(u16::try_from(signs.step_mrad).expect("at most 1,571"));
            self.has_phase = true;
            self.quick_step += (step - self.quick_step) / 4.0;
            self.slow_step += (step - self.slow_step) / 16.0;
        }
        if let Some(votes) = moved {
            if self.moved == 0.0 {
                self.onset = Moment::of(read.at);
            }
            self.moved = (self.moved + votes - DRIFT).clamp(0.0, CARRIED_VOTES.1);
        }
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
            self.rest_rate += (f32::from(self.recent[0].reads) - self.rest_rate) * weight;
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
        (learned.then_some(heard), (self.rest_rate * 100.0) as u16)
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
        (self.rest_rate, self.rest_ticks) = (f32::from(reads) / 100.0, REST_TICKS);
    }

    /// Whether a garment that has not come to rest yet rested here before a restart.
    pub(super) fn is_home(&self) -> bool {
        self.rest_ticks > 0
    }

    /// Takes the present for rest.
    pub(super) fn rest_here(&mut self) {
        self.rest_rate = self.reads_recently() as f32 / RECENT_TICKS as f32;
        self.rest_ticks = 10;
        self.comparer.forget_rest();
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
        self.rest_rate
    }

    /// Whether the phase says that it moves: has for two seconds, and still does. A shop has a thousand tags at
    /// rest for each that is carried, so that one sign is not enough.
    pub(super) fn phase_moves(&self) -> bool {
        let latest = self.recent[1].reads > 0 && self.quick_step > CARRIED_RAD;
        latest
            && self.phase_tells()
            && self.moved >= CARRIED_VOTES.0
            && self.last.since(self.moves_since()) >= u64::from(CARRIED_MS)
    }

    /// Since when the votes say that it moves.
    pub(super) fn moves_since(&self) -> Uptime {
        self.onset.before(self.last)
    }

    /// When its phase last told of movement; absent where the phase does not tell.
    pub(super) fn moved_last(&self) -> Option<Uptime> {
        self.phase_tells().then(|| self.stepped.before(self.last))
    }

    /// Whether the reader tells the phase, and it says something.
    fn phase_tells(&self) -> bool {
        self.has_phase && !self.noise.is_deaf()
    }

    /// Whether the level says that it moves; `in_commotion` more is asked for.
    /// Where the phase tells, it decides alone.
    pub(super) fn level_moves(&self, in_commotion: bool) -> bool {
        if self.phase_tells() {
            return false;
        }
        let least = if in_commotion { CARRIED_CDB.1 } else { CARRIED_CDB.0 };
        self.level_change(LEVEL_TICKS).is_some_and(|(pairs, mean)| pairs >= 4 && mean >= least)
    }

    /// Whether its level changes more than noise explains.
    pub(super) fn is_unsteady(&self) -> bool {
        self.level_change(LEVEL_TICKS).is_some_and(|(_, mean)| mean >= UNSTEADY_CDB)
    }

    /// Whether it has been read steadily: enough reads, the level even, the phase calm.
    pub(super) fn is_calm(&self) -> bool {
        let recent = self.level_change(RECENT_TICKS);
        let even = recent.is_some_and(|(pairs, mean)| pairs >= 3 && mean <= CALM_CDB);
        even && (self.quick_step < CALM_RAD || !self.phase_tells())
    }

    /// Whether what is read of it now is restless.
    pub(super) fn is_restless(&self) -> bool {
        if self.phase_tells() {
            return self.slow_step > WORN_RAD;
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

/// A moment of the last 49 days: the lowest 32 bits of its milliseconds.
#[derive(Clone, Copy, Debug)]
struct Moment(u32);

impl Moment {
    fn of(at: Uptime) -> Self {
        Self((at.0 & u64::from(u32::MAX)) as u32)
    }

    /// The moment, which is not after this one.
    fn before(self, now: Uptime) -> Uptime {
        now - u64::from(Self::of(now).0.wrapping_sub(self.0))
    }
}

fn milliwatts(dbm: f32) -> f32 {
    libm::exp2f(dbm / 3.010_3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_protocol::epc::Epc;

    fn read(at: u64, rssi_cdbm: i16, phase: Option<u16>) -> Read {
        Read {
            at: Uptime(at),
            epc: Epc::new(&[1]).unwrap(),
            antenna: 1,
            rssi_cdbm,
            phase_ddeg: phase,
            channel_khz: phase.map(|_| 866_300),
        }
    }

    /// Ten seconds at rest, four reads a second, a dB up and down.
    fn rested(phase: Option<u16>) -> Track {
        let mut track = Track::new(0, Uptime(0));
        for n in 0..40u64 {
            track.handle_read(&read(n * 250, if n % 3 == 0 { -6_100 } else { -6_000 }, phase), true);
            if n % 2 == 1 {
                track.end_tick(true);
            }
        }
        track
    }

    fn moves(track: &Track) -> bool {
        track.phase_moves() || track.level_moves(false)
    }

    #[test]
    fn a_track_is_small() {
        assert!(size_of::<Track>() <= 144, "{} bytes", size_of::<Track>());
    }

    #[test]
    fn a_tag_at_rest_does_not_move() {
        let track = rested(Some(900));
        assert!(!moves(&track) && track.is_calm() && !track.is_restless());
        assert!((track.level_dbm() + 60.3).abs() < 0.5, "{}", track.level_dbm());
        assert!((track.rest_rate() - 2.0).abs() < 0.2, "two reads a tick: {}", track.rest_rate());
    }

    #[test]
    fn a_turning_phase_is_movement_whatever_the_level() {
        let mut track = rested(Some(900));
        for n in 0..12u16 {
            track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n * 400)), true);
            if n % 2 == 1 {
                track.end_tick(false);
            }
        }
        assert!(track.phase_moves() && !track.level_moves(false));
        assert_eq!(track.moves_since(), Uptime(10_250), "the first read that differed");
    }

    #[test]
    fn a_garment_that_is_pushed_aside_is_not_carried() {
        let mut track = rested(Some(900));
        // It swings for a second, and then hangs 2 cm from where it was.
        let swing = [700u16, 1_700, 900, 1_600];
        for n in 0..60u16 {
            let phase = swing.get(usize::from(n)).copied().unwrap_or(1_300 + n % 2 * 30);
            track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(phase)), true);
            if n % 2 == 1 {
                track.end_tick(true);
                assert!(!track.phase_moves(), "after {} ms: {track:?}", u64::from(n) * 250);
            }
        }
        assert_eq!(track.moved_last(), Some(Uptime(11_000)), "the step to where it hangs now");
    }

    #[test]
    fn a_phase_that_means_nothing_is_not_listened_to() {
        let mut track = rested(None);
        for n in 0..200u16 {
            track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(n % 7 * 513 % 1_800)), true);
            if n % 2 == 1 {
                track.learn_noise();
                track.end_tick(true);
            }
        }
        assert!(!moves(&track) && track.is_calm() && !track.is_restless());
        for n in 0..10 {
            let at = 60_000 + n * 500;
            track.handle_read(
                &read(at, [-5_400, -6_300, -5_800][n as usize % 3], Some(n as u16 * 513 % 1_800)),
                true,
            );
            track.end_tick(false);
        }
        assert!(track.level_moves(false), "the level decides in its place");
    }

    #[test]
    fn a_half_turn_more_or_less_is_no_movement() {
        let mut track = rested(Some(900));
        for n in 0..8u16 {
            track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n % 2 * 1_800)), true);
        }
        assert!(!moves(&track));
    }

    #[test]
    fn a_level_that_goes_up_and_down_is_movement() {
        let mut track = rested(None);
        for n in 0..10 {
            track.handle_read(&read(10_000 + n * 500, [-5_400, -6_300, -5_800][n as usize % 3], None), true);
            track.end_tick(false);
        }
        assert!(track.level_moves(false), "{:?}", track.level_change(LEVEL_TICKS));
        assert!(!track.is_calm() && track.is_restless());
    }

    #[test]
    fn a_stray_is_known_by_how_loud_it_ever_was() {
        let mut stray = rested(None);
        assert_eq!(stray.presence(10.0), None, "nothing is known");
        let mut at = 10_000;
        for cdbm in [-6_000, -6_200, -6_000, -6_100] {
            (0..40).for_each(|_| {
                at += 250;
                stray.handle_read(&read(at, cdbm, None), true);
                stray.learn_elsewhere();
                stray.end_tick(false);
            });
        }
        let judged = stray.presence(5.0).unwrap();
        assert!(!judged.present && judged.rise_db.unwrap() < 1.5, "{judged:?}");
        (0..20).for_each(|_| {
            at += 250;
            stray.handle_read(&read(at, -5_000, None), true);
            stray.end_tick(false);
        });
        assert!(stray.presence(5.0).unwrap().present, "{:?}", stray.presence(5.0));
        assert!(!stray.presence(50.0).unwrap().present, "others are read more often");
    }

    #[test]
    fn one_jump_of_the_level_is_another_channel() {
        let mut track = rested(None);
        for n in 0..8 {
            track.handle_read(&read(10_000 + n * 250, -5_300, None), true);
        }
        assert!(!moves(&track));
    }

    #[test]
    fn somebody_walking_past_is_no_movement() {
        let mut track = rested(None);
        for (n, cdbm) in [-6_200, -6_700, -6_800, -6_700, -6_300, -6_000].into_iter().enumerate() {
            track.handle_read(&read(10_000 + n as u64 * 300, cdbm, None), true);
        }
        assert!(!moves(&track));
    }
}
