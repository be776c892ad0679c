//! Whether a garment in a booth is worn. Enters: its reads there. Leaves: in which ticks it was restless or silent.
//!
//! On its hook the phase of a garment's tag strays about one value on each channel. On a body it is another one each
//! time the body lets a read through: such reads come in bursts of a tenth of a second, within which nothing turns, so
//! that only what is further apart tells. Where the reader tells no phase, or hops over more channels than are followed,
//! the level must do (see [`Track::is_restless`](super::track::Track::is_restless)).

use hangtag_protocol::read::Read;
use serde::{Deserialize, Serialize};

use super::motion::{Phase, Turn, told};
use super::track::TICK_MS;

/// Channels of a booth's antennas that are followed: four of each of two.
const CHANNELS: usize = 8;
/// A phase that differs from the one on the hook by more than this, in radians, is another one.
const OTHER_RAD: f32 = 0.6;
/// Ticks that are remembered.
const TICKS: u8 = 64;

/// What a garment was in each of the last 64 ticks in a booth, one bit for each, the latest lowest.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Worn {
    /// Read, and restless.
    restless: u64,
    /// Not read at all.
    silent: u64,
    /// For how many ticks more it is remembered that it was silent for so long that it seemed to have left.
    hidden: u8,
    #[serde(skip)]
    channels: [Channel; CHANNELS],
}

/// One channel of one antenna.
#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    antenna: u16,
    /// Stands for the channel; 0 for none.
    code: u8,
    /// Ticks since it was last heard.
    age: u8,
    /// About what the phase strays, and where it was last.
    hook: Phase,
    last: Phase,
    /// Reads of the current tick near the hook's, and others.
    same: u8,
    other: u8,
    /// First heard in this tick: there is nothing to compare with.
    new: bool,
}

impl Worn {
    /// Takes a read at an antenna of the booth.
    pub(super) fn handle_read(&mut self, antenna: u16, read: &Read) {
        let Some((phase, code)) = told(read) else { return };
        let known = self.channels.iter().position(|c| (c.antenna, c.code) == (antenna, code));
        let Some(slot) = known else {
            let oldest = self.channels.iter_mut().max_by_key(|c| (c.code == 0, c.age));
            let new = Channel { antenna, code, hook: phase, last: phase, new: true, ..Channel::default() };
            *oldest.expect("there are eight") = new;
            return;
        };
        let channel = &mut self.channels[slot];
        (channel.age, channel.last) = (0, phase);
        let way = phase.since(channel.hook);
        let same = way.rad() < OTHER_RAD;
        if same || channel.new {
            channel.hook = channel.hook.turned(Turn::default().drawn_to(way));
        }
        match (channel.new, same) {
            (true, _) => {}
            (false, true) => channel.same = channel.same.saturating_add(1),
            (false, false) => channel.other = channel.other.saturating_add(1),
        }
    }

    /// Whether half of the reads of the tick that ends had another phase than the ones before.
    pub(super) fn end_reads(&mut self) -> bool {
        let (mut same, mut other) = (0, 0);
        for channel in &mut self.channels {
            same += u32::from(channel.same);
            other += u32::from(channel.other);
            if channel.other > channel.same {
                channel.hook = channel.last;
            }
            channel.age = channel.age.saturating_add(1);
            (channel.same, channel.other, channel.new) = (0, 0, false);
        }
        other > 0 && other >= same
    }

    /// Ends a tick.
    pub(super) fn end_tick(&mut self, restless: bool, silent: bool) {
        self.restless = self.restless << 1 | u64::from(restless);
        self.silent = self.silent << 1 | u64::from(silent);
        self.hidden = self.hidden.saturating_sub(1);
    }

    /// It is heard again, after it was silent for so long that it seemed to have left.
    pub(super) fn was_hidden_for(&mut self, ms: u64) {
        (0..(ms / TICK_MS).min(TICKS.into())).for_each(|_| self.end_tick(false, true));
        self.hidden = TICKS;
    }

    /// Whether it was, within what is remembered: what hangs behind others is heard now and then.
    pub(super) fn was_hidden(&self) -> bool {
        self.hidden > 0
    }

    /// In how many ticks it was restless or silent, and in how many of these restless.
    pub(super) fn ticks(&self) -> (u32, u32) {
        ((self.restless | self.silent).count_ones(), self.restless.count_ones())
    }

    /// How many milliseconds ago it was put on: in the middle of the first eight ticks of which at least six are
    /// restless or silent. It was in a hand before.
    pub(super) fn put_on_ago(&self) -> u64 {
        let worn = self.restless | self.silent;
        let first = (7..64).rev().find(|ago| (worn >> (ago - 7) & 0xff).count_ones() >= 6);
        first.map_or(0, |ago| ago - 4) * TICK_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use hangtag_protocol::clock::Uptime;
    use hangtag_protocol::epc::Epc;

    fn read(phase_ddeg: Option<u16>, channel: u32) -> Read {
        Read {
            at: Uptime(0),
            epc: Epc::new(&[1]).unwrap(),
            antenna: 1,
            rssi_cdbm: -6_000,
            phase_ddeg,
            channel_khz: Some(865_700 + channel * 600),
        }
    }

    /// How many of 64 ticks are restless, of which each has these reads: phase in degrees, channel.
    fn restless(mut reads: impl FnMut(u32) -> Vec<(u32, u32)>) -> u32 {
        let mut worn = Worn::default();
        for tick in 0..64 {
            for (degrees, channel) in reads(tick) {
                worn.handle_read(3, &read(Some((degrees % 180 * 10) as u16), channel));
            }
            let restless = worn.end_reads();
            worn.end_tick(restless, false);
        }
        worn.ticks().1
    }

    #[test]
    fn on_a_hook_phases_stray_about_one_value_on_each_channel() {
        // As weak reads do, by 20 degrees to either side, and about another value on each channel.
        let strays = |tick| (0..5).map(move |n| (60 * (tick % 4) + 150 + (tick * 7 + n * 13) % 40, tick % 4));
        assert_eq!(restless(|tick| strays(tick).collect()), 0);
        // A swing is slow.
        assert_eq!(restless(|tick| vec![(tick * 4, 0), (tick * 4 + 5, 0)]), 0);
    }

    #[test]
    fn on_a_body_each_burst_has_another_phase() {
        let bursts = |tick| (0..4).map(move |n| (tick * 67 + n * 3, tick % 2)).collect();
        assert!(restless(bursts) >= 40, "{}", restless(bursts));
    }

    #[test]
    fn reads_without_phase_say_nothing() {
        let mut worn = Worn::default();
        for _ in 0..10 {
            worn.handle_read(3, &read(None, 0));
            assert!(!worn.end_reads());
        }
    }

    #[test]
    fn it_was_put_on_when_it_began_to_be_restless_or_silent() {
        let mut worn = Worn::default();
        (0..40).for_each(|_| worn.end_tick(false, false));
        (0..20).for_each(|tick| worn.end_tick(tick % 2 == 0, tick % 2 == 1));
        assert_eq!((worn.ticks(), worn.put_on_ago()), ((20, 10), 17 * TICK_MS));
        worn.was_hidden_for(3_000);
        assert_eq!((worn.ticks(), worn.was_hidden()), ((26, 10), true));
        (0..64).for_each(|_| worn.end_tick(false, false));
        assert_eq!((worn.ticks(), worn.was_hidden()), ((0, 0), false));
    }
}
