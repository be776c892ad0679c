//! The state machine of one garment. Enters: how its tag looks to the antennas at the end of a tick.
//! Leaves: at most one conclusion per tick. What happens in fitting booths is in [`booth`].
//!
//! ```text
//!    ┌──────────────────────── moves on the floor: no event ──────────────┐
//!    │       calm on a rail or shelf          moves, or is elsewhere      ▼
//!   New ───────────────────────────▶ Rest ───────────────────────────▶ Hand
//!    │                                ▲        calm again: PutDown      │ ▲
//!    │                                └─────────────────────────────────┘ │ elsewhere, or
//!    └──────────────────────────────────────────────▶ Booth ◀─────────────┤ unseen: CarriedOut
//!              a booth wins: CarriedIn                  │ ────────────────┘
//!                                                       └ restless for long: TriedOn
//! ```

mod best;
pub(super) mod booth;
mod habit;
mod tracks;

use alloc::boxed::Box;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::event::Evidence;
use hangtag_protocol::read::Read;

use super::rule::Rule;
use super::state::{Conclusion, State, Surroundings};
use super::track::{RECENT_TICKS, TICK_MS, Track, Whereabouts};
use super::worn::Worn;

use best::Best;
pub(super) use tracks::Tracks;

/// Antennas that one tag is followed at; the one unseen for longest makes room.
const MAX_TRACKS: usize = 4;
/// A zone in which there was no read for so long takes no part, in milliseconds.
pub(super) const RECENT_MS: u64 = TICK_MS * RECENT_TICKS as u64;
/// How long a tag must look calm to have been put down, in milliseconds. Calm is judged over the last five
/// seconds, of which the first may be the last of the movement.
const CALM_MS: u64 = 1_500;
const CALM_BEFORE_MS: u64 = 4_000;
/// A tag first seen in a booth so soon after its reader started was there before, in milliseconds.
const WARM_UP_MS: u64 = 20_000;
/// A tag that rested elsewhere before a restart is expected there for so long, in milliseconds, while the
/// reader there does not listen yet.
const HOME_WAIT_MS: u64 = 120_000;
/// How long a garment must have rested before a movement means anything, in milliseconds.
const LEARN_MS: u64 = 2_000;
/// One garment.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    tracks: Tracks,
    pub(super) state: State,
    /// For how many ticks it has been calm at the antenna where it is read best.
    calm_ticks: u16,
    /// What it was in each of the last ticks in a booth; few garments are in one.
    pub(super) worn: Option<Box<Worn>>,
}

impl Tag {
    pub(super) fn new() -> Self {
        Self { tracks: Tracks::default(), state: State::New, calm_ticks: 0, worn: None }
    }

    /// Takes a read at an antenna of a zone.
    pub(super) fn handle_read(&mut self, antenna: u16, its_zone: usize, read: &Read) {
        let known = self.tracks.slot_of(antenna);
        let slot = known.unwrap_or_else(|| {
            let track = Track::new(antenna, read.at);
            if self.tracks.len() < MAX_TRACKS {
                return self.tracks.push(track);
            }
            // The antenna where it rests is still needed when it is heard at many others.
            let resting_at = self.resting_at();
            let others = (0..MAX_TRACKS).filter(|slot| Some(self.tracks[*slot].antenna) != resting_at);
            let oldest = others.min_by_key(|slot| self.tracks[*slot].last).expect("there are three");
            self.tracks[oldest] = track;
            oldest
        });
        let whereabouts = match self.resting_at() {
            Some(resting_at) if resting_at == antenna => Whereabouts::Here,
            Some(_) => Whereabouts::Elsewhere,
            None => Whereabouts::Unknown,
        };
        self.tracks[slot].handle_read(read, whereabouts);
        // What neighbours hear of it would take the room of the booth's own channels.
        if let State::Booth { zone, .. } = self.state
            && usize::from(zone) == its_zone
        {
            self.worn.get_or_insert_default().handle_read(antenna, read);
        }
    }

    /// How its antennas hear it.
    pub(super) fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// A sensor on it moved: it is not calm.
    pub(super) fn stir(&mut self) {
        self.calm_ticks = 0;
        self.tracks.iter_mut().for_each(Track::stir);
    }

    /// It left its rest.
    pub(super) fn lift(&mut self, from: Option<u16>, at: Uptime) {
        self.calm_ticks = 0;
        self.tracks.iter_mut().for_each(Track::lift);
        self.state = State::Hand { since: at, from };
    }

    /// It was never carried into the booth where it is: it hangs there.
    pub(super) fn park(&mut self, zone: u16, antenna: u16, now: Uptime) {
        self.tracks.iter_mut().filter(|track| track.antenna == antenna).for_each(|track| {
            track.rest_here();
            track.mute();
        });
        (self.calm_ticks, self.worn) = (0, None);
        self.state = State::Rest { zone, antenna, since: now, disturbed: None };
    }

    /// The antenna where it rests, and whether it looks disturbed there: for the commotion of a zone.
    pub(super) fn disturbance(&self, now: Uptime) -> Option<(u16, bool)> {
        let State::Rest { antenna, .. } = self.state else { return None };
        let track = self.tracks.of(antenna)?;
        let expected = track.rest_rate() * (now.since(track.last) / TICK_MS) as f32;
        Some((antenna, track.is_unsteady() || expected > 5.0))
    }

    /// When it was last read anywhere, or, restored and not read since, what it was doing then.
    pub(super) fn last_read(&self) -> Option<Uptime> {
        let since = match self.state {
            State::New => None,
            State::Rest { since, .. } | State::Hand { since, .. } | State::Booth { since, .. } => Some(since),
        };
        // What was recalled of an antenna was read before all that is known here.
        self.tracks.iter().map(|track| track.last).max().max(since)
    }

    /// Ends a tick: looks at the tracks, changes the state, concludes.
    pub(super) fn end_tick(&mut self, around: &Surroundings<'_>) -> Option<Conclusion> {
        if self.sleeps(around.now) {
            self.calm_ticks = 0;
            return None;
        }
        let resting_at = self.resting_at();
        let rests_here = self.heard_at_rest(around);
        for track in self.tracks.iter_mut() {
            if rests_here.is_some_and(|zone| zone != around.layout.zone_of(track.antenna.into())) {
                track.learn_elsewhere();
            }
            let listening = around.listening[around.layout.reader_of(track.antenna.into())].is_some();
            match self.state {
                State::New | State::Rest { .. } => track.learn_noise(),
                State::Hand { .. } | State::Booth { .. } => (),
            }
            track.end_tick(listening && resting_at == Some(track.antenna));
        }
        match self.state {
            State::New => {
                let best = self.best(around);
                self.watch_calm(best.as_ref(), around.now);
                self.end_tick_new(best, around)
            }
            // Most garments rest, and most of those are heard at one antenna: it is where they are.
            State::Rest { .. } if self.tracks.len() == 1 => self.end_tick_rest(None, around),
            State::Rest { .. } => self.end_tick_rest(self.best(around), around),
            State::Hand { since, from } => {
                let best = self.best(around);
                self.watch_calm(best.as_ref(), around.now);
                self.end_tick_hand(best, since, from, around)
            }
            State::Booth { .. } => self.end_tick_booth(self.best(around), around),
        }
    }

    /// Whether nothing can be concluded until it is read again: so are garments that were sold, or carried
    /// away. Their ticks hold no reads any more.
    fn sleeps(&self, now: Uptime) -> bool {
        match self.state {
            State::New | State::Hand { .. } => {
                self.tracks.iter().all(|track| now.since(track.last) > RECENT_MS + TICK_MS)
            }
            State::Rest { .. } | State::Booth { .. } => false,
        }
    }

    /// The zone where it rests, if it was heard there just now.
    fn heard_at_rest(&self, around: &Surroundings<'_>) -> Option<usize> {
        let antenna = self.resting_at()?;
        let track = self.tracks.of(antenna)?;
        (around.now.since(track.last) < 2 * TICK_MS).then(|| around.layout.zone_of(antenna.into()))
    }

    /// How often it was read at its antennas of late.
    pub(super) fn recent_reads(&self, now: Uptime) -> impl Iterator<Item = (u16, u32)> {
        let recent = self.tracks.iter().filter(move |track| now.since(track.last) < RECENT_MS);
        recent.map(|track| (track.antenna, track.reads_recently()))
    }

    fn resting_at(&self) -> Option<u16> {
        match self.state {
            State::Rest { antenna, .. } => Some(antenna),
            State::New | State::Hand { .. } | State::Booth { .. } => None,
        }
    }

    fn end_tick_new(&mut self, best: Option<Best>, around: &Surroundings<'_>) -> Option<Conclusion> {
        let best = best?;
        let home = self.home().map(|track| usize::from(track.antenna));
        let elsewhere = home.filter(|home| around.layout.zone_of(*home) != usize::from(best.zone));
        let started = self.listening_since(best.track, around)?;
        if elsewhere.is_some_and(|home| self.is_awaited(home, started, around)) {
            return None;
        }
        // What rested in the booth before a restart was not carried in.
        let at_home = home.is_some() && elsewhere.is_none();
        if self.is_booth(best.zone, around) && !at_home && around.now.since(started) > WARM_UP_MS {
            return self.carried_in(&best, around);
        }
        let track = &self.tracks[best.track];
        // Nobody knows where it was taken, and so no event says it; but it will be put down.
        if track.is_carried_at_first() && self.is_floor(best.zone, around) {
            self.lift(None, track.last);
            return None;
        }
        // Stock that was there before us: no event.
        let laid = if track.knows_rest() { track.laid_at_first() } else { self.laid(&best, around.now) };
        if laid.is_some() {
            self.rest(&best, around.now);
        }
        None
    }

    /// Whether a garment that rested at an antenna before a restart may still be heard there: nobody has listened
    /// for long enough.
    fn is_awaited(&self, home: usize, started: Uptime, around: &Surroundings<'_>) -> bool {
        let listening = around.listening[around.layout.reader_of(home)];
        let heard_out = listening.is_some_and(|since| around.now.since(since) > WARM_UP_MS);
        !heard_out && around.now.since(started) < HOME_WAIT_MS
    }

    fn end_tick_rest(&mut self, best: Option<Best>, around: &Surroundings<'_>) -> Option<Conclusion> {
        let State::Rest { zone, antenna, since, disturbed } = self.state else { return None };
        let now = around.now;
        let slot = self.tracks.slot_of(antenna)?;
        let track = &self.tracks[slot];
        // Time in which the reader was not listening is no evidence.
        let listening = self.listening_since(slot, around);
        let unseen_ms = listening.map_or(0, |since| now.since(track.last.max(since)));
        let missed = track.rest_rate() * (unseen_ms / TICK_MS) as f32;
        let commotion = around.commotion[usize::from(antenna)];
        let learned = now.since(since) > LEARN_MS;

        let quiet_here = listening.is_none() || unseen_ms >= 1_500;
        let elsewhere = best.as_ref().filter(|best| best.zone != zone && quiet_here);
        let by_phase = track.moves_by_phase();
        let moves = by_phase.or_else(|| track.moves_by_level(commotion)).filter(|_| learned);
        // Unread alone is no evidence: garments that others are pushed over fall silent where they are.
        let silent = (missed > 3.0).then(|| disturbed.unwrap_or(track.last));
        let onset = moves.or(silent);
        self.state = State::Rest { zone, antenna, since, disturbed: onset };

        let rule = if elsewhere.is_some() {
            Rule::Elsewhere
        } else if moves.is_none() {
            return None;
        } else if by_phase.is_some() {
            Rule::PhaseMoves
        } else {
            Rule::LevelMoves
        };
        let confidence = rule.confidence();
        let evidence = Evidence {
            reads: track.reads_recently().try_into().unwrap_or(u16::MAX),
            margin_db: elsewhere.map_or(0, |best| whole_db(best.margin_db)),
            unrest: if moves.is_some() { 100 } else { 0 },
            dwell_ds: deciseconds(now.since(since)),
        };
        let at = onset.unwrap_or(track.last);
        self.lift(Some(zone), at);
        // What staff move in the back room is nobody's interest.
        self.is_floor(zone, around).then_some(Conclusion::PickedUp { at, zone, confidence, evidence })
    }

    fn end_tick_hand(
        &mut self,
        best: Option<Best>,
        since: Uptime,
        from: Option<u16>,
        around: &Surroundings<'_>,
    ) -> Option<Conclusion> {
        let best = best?;
        if self.is_booth(best.zone, around) {
            return self.carried_in(&best, around);
        }
        let at = self.laid(&best, around.now)?.max(since);
        let evidence = self.evidence(&best, 0, at.since(since));
        self.rest(&best, at);
        let rule = if from == Some(best.zone) { Rule::CalmAgain } else { Rule::CalmElsewhere };
        let confidence = rule.confidence();
        self.is_floor(best.zone, around).then_some(Conclusion::PutDown {
            at,
            zone: best.zone,
            confidence,
            evidence,
        })
    }

    /// Since when it has been at rest where it is read best, if it is.
    fn laid(&self, best: &Best, now: Uptime) -> Option<Uptime> {
        let track = &self.tracks[best.track];
        if track.knows_rest() {
            return track.laid();
        }
        let calm_ms = self.calm_ms();
        (calm_ms >= CALM_MS).then(|| now - calm_ms - CALM_BEFORE_MS)
    }

    fn evidence(&self, best: &Best, unrest: u8, dwell_ms: u64) -> Evidence {
        Evidence {
            reads: self.tracks[best.track].reads_recently().try_into().unwrap_or(u16::MAX),
            margin_db: whole_db(best.margin_db),
            unrest,
            dwell_ds: deciseconds(dwell_ms),
        }
    }

    fn rest(&mut self, best: &Best, since: Uptime) {
        let at_home = self.home().is_some_and(|home| home.antenna == self.tracks[best.track].antenna);
        let track = &mut self.tracks[best.track];
        // That it has come to rest is no vote that it moves.
        track.stir();
        // What was learned there before a restart is better than the few reads since.
        if !at_home {
            track.rest_here();
        }
        self.state = State::Rest { zone: best.zone, antenna: track.antenna, since, disturbed: None };
    }

    fn watch_calm(&mut self, best: Option<&Best>, now: Uptime) {
        let calm = best.is_some_and(|best| {
            let track = &self.tracks[best.track];
            track.is_calm() && now.since(track.last) < 2_000
        });
        self.calm_ticks = if calm { self.calm_ticks.saturating_add(1) } else { 0 };
    }

    /// For how long it has been calm, in milliseconds.
    fn calm_ms(&self) -> u64 {
        u64::from(self.calm_ticks) * TICK_MS
    }

    fn is_booth(&self, zone: u16, around: &Surroundings<'_>) -> bool {
        around.layout.zones()[usize::from(zone)].kind == super::ZoneKind::Booth
    }

    fn is_floor(&self, zone: u16, around: &Surroundings<'_>) -> bool {
        around.layout.zones()[usize::from(zone)].kind.is_floor()
    }

    fn listening_since(&self, track: usize, around: &Surroundings<'_>) -> Option<Uptime> {
        around.listening[around.layout.reader_of(self.tracks[track].antenna.into())]
    }
}

fn whole_db(db: f32) -> u8 {
    // A float cast saturates: negative margins become 0.
    db as u8
}

fn deciseconds(ms: u64) -> u16 {
    u16::try_from(ms / 100).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_small() {
        assert!(size_of::<Track>() <= 128, "{} bytes", size_of::<Track>());
        // With the first of its tracks.
        assert!(size_of::<Tag>() <= 192, "{} bytes, state {}", size_of::<Tag>(), size_of::<State>());
    }
}
