//! What is known of a garment from before a restart. Enters: what was kept. Leaves: what is to be kept, never a
//! conclusion.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;

use super::super::layout::Layout;
use super::super::learned::{Habit, Home};
use super::super::state::State;
use super::super::track::Track;
use super::{MAX_TRACKS, Tag};

impl Tag {
    /// A garment that was followed before a restart. In a booth it counts as heard right now: the time
    /// in which nobody listened is no evidence that it left.
    pub(in super::super) fn restored(state: State, layout: &Layout, now: Uptime) -> Self {
        let mut tag = Self { state, ..Self::new() };
        if let State::Booth { zone, .. } = state {
            let antennas = (0..layout.antennas()).filter(|a| layout.zone_of(*a) == usize::from(zone));
            let track =
                |antenna| Track::new(u16::try_from(antenna).expect("fewer than 65,536 antennas"), now);
            tag.tracks = antennas.take(MAX_TRACKS).map(track).collect();
        }
        tag
    }

    /// Takes up what was learned before a restart.
    pub(in super::super) fn recall(&mut self, habit: &Habit) {
        let tracks = &mut self.tracks;
        let mut at = |antenna| {
            let room = tracks.len() < MAX_TRACKS;
            tracks.slot_of(antenna).or_else(|| room.then(|| tracks.push(Track::new(antenna, Uptime(0)))))
        };
        let home = habit.home.and_then(|home| Some((at(home.antenna)?, home.reads)));
        let heard: Vec<_> =
            habit.heard.iter().filter_map(|heard| Some((at(heard.antenna)?, *heard))).collect();
        heard.into_iter().for_each(|(slot, heard)| tracks[slot].recall(heard));
        if let Some((slot, reads)) = home {
            tracks[slot].recall_rest(reads);
        }
    }

    /// What of it outlives a restart, if anything was learned.
    pub(in super::super) fn habit(&self, unheard_h: u8) -> Option<Habit> {
        let home = self.home().map(|track| Home { antenna: track.antenna, reads: track.habit().1 });
        let heard: Box<[_]> = self.tracks.iter().filter_map(|track| track.habit().0).collect();
        (home.is_some() || !heard.is_empty()).then_some(Habit { unheard_h, home, heard })
    }

    /// Where it rests, or where it rested before a restart, if it has not come to rest since.
    pub(super) fn home(&self) -> Option<&Track> {
        match self.state {
            State::Rest { antenna, .. } => self.tracks.of(antenna),
            State::New => self.tracks.iter().find(|track| track.is_home()),
            State::Hand { .. } | State::Booth { .. } => None,
        }
    }
}
