//! How one tag looks to one antenna: level, rate, and whether it moves. Enters: reads. Leaves:
//! measures that the state machine in [`tag`](super::tag) decides by.
//!
//! Three signs of movement, from the surest to the weakest:
//! - *phase*: the answer's phase turns by 4π per wavelength of way (about 35 cm at 866 MHz), so that
//!   two reads of the same channel less than 0.6 s apart differ only if the tag moved. Angles are
//!   doubled before they are compared, because readers may report a half turn more or less.
//! - *a stronger answer* than at rest: no passer-by makes a tag stronger by much.
//! - *a weaker answer*, or none: the tag moved, or a body stands before it.
//!
//! Deviations are summed (CUSUM, Page 1954), so that one odd read means nothing and a run of them does.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::read::Read;

/// Length of a tick in milliseconds: how often states are looked at.
pub(super) const TICK_MS: u64 = 500;
/// How many ticks "recently" is: five seconds.
pub(super) const RECENT_TICKS: usize = 10;

/// Reads that the mean level weighs: as in Intel's RSP controller.
const LEVEL_READS: f32 = 20.0;
/// Reads of the same channel further apart than this are not compared, in milliseconds.
const PHASE_MS: u64 = 600;
/// A phase step of a tag at rest, in radians, which is noise.
const PHASE_NOISE: f32 = 0.3;
/// Reads after which the level at rest counts as learned.
const LEARNED_READS: u32 = 8;
/// The least mean deviation at rest, in dB: readers round to whole dB.
const LEAST_DEVIATION: f32 = 0.8;
const CUSUM_LIMIT: f32 = 12.0;

#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) antenna: u16,
    pub(super) last: Uptime,
    /// Reads in each of the last ticks; the current one is first.
    recent: [u8; RECENT_TICKS],
    total: u32,
    /// Mean of the last reads, in milliwatts: what zones are compared by.
    mean_mw: f32,
    /// Quick mean and mean deviation of the level, in dBm and dB: over about four reads.
    quick_dbm: f32,
    quick_deviation: f32,
    /// What it is like at rest.
    rest_dbm: f32,
    rest_deviation: f32,
    rest_rate: f32,
    rest_reads: u32,
    up: f32,
    down: f32,
    phase: f32,
    phase_steps: u32,
    channels: [Channel; 4],
}

#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    khz: u32,
    phase_ddeg: u16,
    at: Uptime,
}

impl Track {
    pub(super) fn new(antenna: u16, now: Uptime) -> Self {
        Self {
            antenna,
            last: now,
            recent: [0; RECENT_TICKS],
            total: 0,
            mean_mw: 0.0,
            quick_dbm: 0.0,
            quick_deviation: 0.0,
            rest_dbm: 0.0,
            rest_deviation: 2.0,
            rest_rate: 0.0,
            rest_reads: 0,
            up: 0.0,
            down: 0.0,
            phase: 0.0,
            phase_steps: 0,
            channels: [Channel::default(); 4],
        }
    }

    pub(super) fn handle_read(&mut self, read: &Read) {
        let dbm = f32::from(read.rssi_cdbm) / 100.0;
        if read.at.since(self.last) > TICK_MS * RECENT_TICKS as u64 {
            // Long unseen: what it looked like then says nothing of where it is today.
            self.total = 0;
        }
        self.last = self.last.max(read.at);
        self.recent[0] = self.recent[0].saturating_add(1);
        self.total = self.total.saturating_add(1);
        let weight = 1.0 / (self.total as f32).min(LEVEL_READS);
        self.mean_mw += (milliwatts(dbm) - self.mean_mw) * weight;
        if self.total == 1 {
            self.quick_dbm = dbm;
            self.quick_deviation = 3.0;
        }
        let off = dbm - self.quick_dbm;
        self.quick_dbm += off * 0.25;
        self.quick_deviation += (libm::fabsf(off) - self.quick_deviation) * 0.25;

        let at_rest = dbm - self.rest_dbm;
        let spread = self.rest_deviation.max(LEAST_DEVIATION);
        if self.rest_reads >= LEARNED_READS {
            self.up = cusum(self.up, at_rest / spread - 2.0);
            self.down = cusum(self.down, -at_rest / spread - 2.0);
        }
        self.compare_phase(read);
    }

    fn compare_phase(&mut self, read: &Read) {
        let (Some(phase_ddeg), Some(khz)) = (read.phase_ddeg, read.channel_khz) else { return };
        let known = self.channels.iter().position(|c| c.khz == khz);
        let slot = known.unwrap_or_else(|| {
            let oldest = (0..self.channels.len()).min_by_key(|slot| self.channels[*slot].at);
            oldest.expect("there are four")
        });
        let before = self.channels[slot];
        self.channels[slot] = Channel { khz, phase_ddeg, at: read.at };
        if known.is_none() || read.at.since(before.at) > PHASE_MS {
            return;
        }
        // Doubled, so that 180 degrees and 0 are the same; then the shorter way round, halved again.
        let turn = (u32::from(phase_ddeg) * 2).abs_diff(u32::from(before.phase_ddeg) * 2) % 3_600;
        let step = turn.min(3_600 - turn) as f32 / 20.0 * core::f32::consts::PI / 180.0;
        self.phase_steps = self.phase_steps.saturating_add(1);
        self.phase = cusum(self.phase, (step - PHASE_NOISE) / PHASE_NOISE);
    }

    /// Ends a tick. `at_rest`: the garment rests where this antenna looks, and is learned.
    pub(super) fn end_tick(&mut self, at_rest: bool) {
        if at_rest && !self.moves() && self.recent[0] > 0 {
            let reads = u32::from(self.recent[0]);
            self.rest_reads = self.rest_reads.saturating_add(reads);
            let weight = (reads as f32 / (self.rest_reads as f32).min(64.0)).min(1.0);
            let off = self.quick_dbm - self.rest_dbm;
            self.rest_dbm += off * weight;
            self.rest_deviation += (self.quick_deviation - self.rest_deviation) * weight;
        }
        if at_rest {
            let rate = f32::from(self.recent[0]);
            let weight = if self.rest_reads < 40 { 0.1 } else { 0.02 };
            self.rest_rate += (rate - self.rest_rate) * weight;
        }
        self.recent.rotate_right(1);
        self.recent[0] = 0;
        // Without reads there is no news of movement.
        self.phase *= 0.9;
        self.up *= 0.9;
        self.down *= 0.9;
    }

    /// Forgets what rest was like, and takes the present for it.
    pub(super) fn rest_here(&mut self) {
        self.rest_dbm = self.quick_dbm;
        self.rest_deviation = self.quick_deviation.max(1.0);
        self.rest_rate = self.reads_recently() as f32 / RECENT_TICKS as f32;
        self.rest_reads = 0;
        self.up = 0.0;
        self.down = 0.0;
        self.phase = 0.0;
    }

    /// Reads in the last five seconds.
    pub(super) fn reads_recently(&self) -> u32 {
        self.recent.iter().map(|n| u32::from(*n)).sum()
    }

    /// In how many of the last ticks there was a read.
    pub(super) fn ticks_seen(&self) -> usize {
        self.recent.iter().filter(|n| **n > 0).count()
    }

    /// Whether it was read in the tick that just ended.
    pub(super) fn seen_last_tick(&self) -> bool {
        self.recent[1] > 0
    }

    /// The level by which zones are compared, in dBm.
    pub(super) fn level_dbm(&self) -> f32 {
        10.0 * libm::log10f(self.mean_mw.max(1e-12))
    }

    /// How many reads a tick brings while it rests.
    pub(super) fn rest_rate(&self) -> f32 {
        self.rest_rate
    }

    /// Whether the phase says that it moves.
    pub(super) fn phase_moves(&self) -> bool {
        self.phase > 3.0
    }

    /// Whether it is stronger than at rest.
    pub(super) fn is_stronger(&self) -> bool {
        self.up > 5.0
    }

    /// Whether it is weaker than at rest.
    pub(super) fn is_weaker(&self) -> bool {
        self.down > 5.0
    }

    pub(super) fn moves(&self) -> bool {
        self.phase_moves() || self.is_stronger() || self.is_weaker()
    }

    /// Whether it has been read steadily: enough reads, near one another, the phase calm.
    pub(super) fn is_calm(&self) -> bool {
        self.quick_deviation < 1.6 && self.phase < 0.5 && self.ticks_seen() >= 3
    }

    /// Whether what is read of it now is restless.
    pub(super) fn is_restless(&self) -> bool {
        self.phase > 0.8 || (self.phase_steps < 8 && self.quick_deviation > 2.5)
    }
}

fn cusum(sum: f32, excess: f32) -> f32 {
    (sum + excess).clamp(0.0, CUSUM_LIMIT)
}

fn milliwatts(dbm: f32) -> f32 {
    libm::powf(10.0, dbm / 10.0)
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
    fn rested() -> Track {
        let mut track = Track::new(0, Uptime(0));
        for n in 0..40u64 {
            track.handle_read(&read(n * 250, if n % 3 == 0 { -6_100 } else { -6_000 }, Some(900)));
            if n == 8 {
                track.rest_here();
            }
            if n % 2 == 1 {
                track.end_tick(n > 8);
            }
        }
        track
    }

    #[test]
    fn a_tag_at_rest_does_not_move() {
        let track = rested();
        assert!(!track.moves() && track.is_calm() && !track.is_restless());
        assert!((track.level_dbm() + 60.3).abs() < 0.5, "{}", track.level_dbm());
    }

    #[test]
    fn a_turning_phase_is_movement_whatever_the_level() {
        let mut track = rested();
        for n in 0..4u16 {
            track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n * 400)));
        }
        assert!(track.phase_moves() && !track.is_stronger() && !track.is_weaker());
    }

    #[test]
    fn a_half_turn_more_or_less_is_no_movement() {
        let mut track = rested();
        for n in 0..8u16 {
            track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n % 2 * 1_800)));
        }
        assert!(!track.phase_moves());
    }

    #[test]
    fn a_level_that_leaves_its_rest_is_told_up_from_down() {
        let (mut up, mut down) = (rested(), rested());
        for n in 0..5 {
            up.handle_read(&read(10_000 + n * 250, -5_400, None));
            down.handle_read(&read(10_000 + n * 250, -6_700, None));
        }
        assert!(up.is_stronger() && !up.is_weaker());
        assert!(down.is_weaker() && !down.is_stronger());
    }

    #[test]
    fn one_odd_read_means_nothing() {
        let mut track = rested();
        track.handle_read(&read(10_000, -5_500, Some(900)));
        assert!(!track.moves());
    }
}
