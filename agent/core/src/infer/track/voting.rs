//! Whether a tag that rests moves, and whether one that is carried has come to rest. Enters: reads, compared with those
//! before. Leaves: since when it does, or has.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::read::Read;

use super::super::motion::{Comparison, Turn, away_vote, turning_vote};
use super::super::votes::{DRIFT, laid_vote};
use super::{Track, Whereabouts};

/// Mean phase step, in radians, of the last few reads of a tag that is carried: at rest it is about 0.15,
/// and 0.79 if every phase is equally likely.
const CARRIED_RAD: f32 = 0.42;
/// Votes that it moves for it to be carried, and for how long, in milliseconds: by phases, by the level, and by the
/// level while somebody walks past. No more than the most are kept.
const CARRIED_BY_PHASE: (f32, u64) = (4.0, 700);
const CARRIED_BY_LEVEL: (f32, u64) = (5.0, 400);
const CARRIED_IN_COMMOTION: (f32, u64) = (8.0, 6_000);
const MOST_BY_PHASE: f32 = 8.0;
const MOST_BY_LEVEL: f32 = 10.0;
/// What the votes of a read count for rest, and for a hand: that it is away from where it rested, and that it turns
/// there. And what the level counts beside them.
const AWAY: (f32, f32) = (0.8, 1.0);
const TURNING: (f32, f32) = (0.5, 1.0);
const LEVEL: f32 = 0.3;
/// What the last few changes of the level must vote on average for it to move now.
const CARRIED_VOTE: f32 = 0.3;
/// Votes that it has come to rest, and for how long, in milliseconds.
const LAID: (f32, u64) = (6.0, 1_000);
const MOST_LAID: f32 = 20.0;
/// The same of a garment of which nothing is known: most have been at rest for long, and no event says so.
const LAID_AT_FIRST: f32 = 3.0;
/// Votes that a garment of which nothing is known is carried: by phases, and by the level. The most that are kept.
const CARRIED_AT_FIRST: (f32, f32) = (5.0, 6.0);
const MOST_AT_FIRST: f32 = 15.0;
const SIXTEENTHS: f32 = 16.0;
/// What a read votes for that whose phase is another one than before, and one whose phase is the same.
const CARRIED_VOTES: (f32, f32) = (1.0, -0.5);
/// Votes of the level up to this add up while somebody stands beside it.
const BESIDE: f32 = 1.5;
/// What a read votes that agrees with those before on where it is, and one that does not.
const LAID_VOTES: (f32, f32) = (1.1, -2.9);
/// Turns of the phase that differ by less than this agree, in radians.
const SAME_RAD: f32 = 0.35;
/// Reads in a row that agree on another place make it the place where it rests: it was pushed aside. They differ by
/// less than this, in radians.
const ASIDE_READS: u8 = 3;
const ASIDE_RAD: f32 = 0.45;
/// Votes from before a pause of more than this do not count, in milliseconds; up to the other they do where the phase is
/// the same as before it.
const PAUSE_MS: u64 = 5_000;
const SELDOM_MS: u64 = 20_000;
/// What the first read after a pause votes for its having come to rest when the pause began, if it was no longer than
/// that: who comes back with a garment carries it in sight for a while, so that the next reads would disagree.
const SILENT_VOTE: f32 = 0.5;
/// Turns of the phase further apart than this are not compared, in milliseconds.
const TURNS_MS: u64 = 3_000;

impl Track {
    /// Takes what a read says, by what is known of the garment.
    pub(super) fn vote(
        &mut self,
        read: &Read,
        compared: Comparison,
        turned: Option<Turn>,
        whereabouts: Whereabouts,
    ) {
        let pause_ms = read.at.since(self.last);
        let paused = pause_ms > PAUSE_MS;
        let by_phase = self.phase_tells();
        // Of where it was before a pause its reads say nothing, nor of when it came here; but what was put down in a
        // place where it is seldom read has the same phase each time.
        let stayed = by_phase
            && whereabouts == Whereabouts::Unknown
            && pause_ms < SELDOM_MS
            && compared.turn_rad.is_some_and(|rad| rad < SAME_RAD);
        if paused && !stayed {
            self.votes.forget();
        }
        match whereabouts {
            Whereabouts::Unknown if paused && !stayed => {
                if pause_ms < SELDOM_MS {
                    self.votes.add(SILENT_VOTE, self.last, MOST_LAID);
                }
            }
            _ if !by_phase => self.vote_by_level(compared, whereabouts),
            Whereabouts::Here => {
                self.vote_moves(read, compared, turned);
                self.comparer.learn_rest(read);
            }
            Whereabouts::Unknown => self.vote_laid(compared, turned),
            Whereabouts::Elsewhere => {}
        }
    }

    /// Votes on whether it moves, which rests here.
    fn vote_moves(&mut self, read: &Read, compared: Comparison, turned: Option<Turn>) {
        let Some(turn) = turned else {
            if compared.step_rad.is_some() {
                let vote = compared.signs(self.noise).votes as f32 / 100.0;
                self.votes.add(vote, read.at, MOST_BY_PHASE);
            }
            return;
        };
        let recent = read.at.since(self.last) < TURNS_MS;
        let step = recent.then(|| turn.after(self.turned).rad());
        if let Some(step) = step {
            self.quick.follow(step, 0.25);
        }
        self.turned = turn;
        let away = away_vote(turn.rad());
        let agrees = away > 0.0 && step.is_some_and(|step| step < ASIDE_RAD);
        self.aside = if agrees { self.aside + 1 } else { 0 };
        if self.aside == ASIDE_READS {
            self.comparer.move_rest(turn);
            self.aside = 0;
            self.votes.forget();
            return;
        }
        let turns = if away > 0.0 { step.map_or(0.0, turning_vote) } else { 0.0 };
        let vote = weighed(away, AWAY) + weighed(turns, TURNING) + self.level_beside(compared);
        self.votes.add(vote, read.at, MOST_BY_PHASE);
    }

    /// What a change of the level says beside the phase: somebody who walks past changes it too.
    fn level_beside(&mut self, compared: Comparison) -> f32 {
        let Some(change_cdb) = compared.change_cdb else { return 0.0 };
        let vote = LEVEL * self.restlessness.carried_vote(change_cdb);
        self.restlessness.learn(change_cdb);
        vote.clamp(-LEVEL, 2.0 * LEVEL)
    }

    /// Votes on whether it has come to rest, which was carried.
    fn vote_laid(&mut self, compared: Comparison, turned: Option<Turn>) {
        let by_channel = compared.turn_rad.map(|rad| rad < SAME_RAD);
        let by_all = turned.map(|turn| {
            let same = turn.after(self.turned).rad() < SAME_RAD;
            self.turned = if same { self.turned.drawn_to(turn) } else { turn };
            same
        });
        // Where echoes turn the phases of two channels apart, each channel still agrees with itself.
        if by_channel.is_some() || by_all.is_some() {
            let same = by_channel.unwrap_or(false) || by_all.unwrap_or(false);
            self.votes.add(if same { LAID_VOTES.0 } else { LAID_VOTES.1 }, self.last, MOST_LAID);
            self.vote_carried(if same { CARRIED_VOTES.1 } else { CARRIED_VOTES.0 });
        }
    }

    /// Votes on whether it is carried, of which nothing is known.
    fn vote_carried(&mut self, vote: f32) {
        let sum = self.carried_votes() + vote - DRIFT;
        self.aside = (sum.clamp(0.0, MOST_AT_FIRST) * SIXTEENTHS) as u8;
    }

    fn carried_votes(&self) -> f32 {
        f32::from(self.aside) / SIXTEENTHS
    }

    /// Votes by a change of the level.
    fn vote_by_level(&mut self, compared: Comparison, whereabouts: Whereabouts) {
        let Some(change_cdb) = compared.change_cdb else { return };
        match whereabouts {
            Whereabouts::Here => {
                let vote = self.restlessness.carried_vote(change_cdb);
                self.quick.follow(vote, 0.25);
                self.votes.add_beyond(BESIDE, vote, self.last, MOST_BY_LEVEL);
                self.restlessness.learn(change_cdb);
            }
            Whereabouts::Unknown => {
                self.votes.add(laid_vote(change_cdb), self.last, MOST_LAID);
                self.vote_carried(self.restlessness.carried_vote(change_cdb));
            }
            Whereabouts::Elsewhere => {}
        }
    }

    /// Since when the phase says that it moves, if it still does. A shop has a thousand tags at rest for each that is
    /// carried, so that one sign is not enough.
    pub(in super::super) fn moves_by_phase(&self) -> Option<Uptime> {
        let now = self.phase_tells() && self.seen_last_tick() && self.quick.get() > CARRIED_RAD;
        self.votes.enough(CARRIED_BY_PHASE, self.last).filter(|_| now)
    }

    /// Since when the level says that it moves, if it still does; `in_commotion` more is asked for.
    /// Where the phase tells, the level only votes beside it.
    pub(in super::super) fn moves_by_level(&self, in_commotion: bool) -> Option<Uptime> {
        let least = if in_commotion { CARRIED_IN_COMMOTION } else { CARRIED_BY_LEVEL };
        let now = !self.phase_tells() && self.seen_last_tick() && self.quick.get() > CARRIED_VOTE;
        self.votes.enough(least, self.last).filter(|_| now)
    }

    /// Since when it has been at rest here, if it was carried and has come to rest.
    pub(in super::super) fn laid(&self) -> Option<Uptime> {
        self.votes.enough(LAID, self.last)
    }

    /// The same of a garment of which nothing is known.
    pub(in super::super) fn laid_at_first(&self) -> Option<Uptime> {
        self.votes.enough((LAID_AT_FIRST, LAID.1), self.last)
    }

    /// Whether a garment of which nothing is known is carried.
    pub(in super::super) fn is_carried_at_first(&self) -> bool {
        let least = if self.phase_tells() { CARRIED_AT_FIRST.0 } else { CARRIED_AT_FIRST.1 };
        self.carried_votes() >= least
    }

    /// Whether [`laid`](Self::laid) says when it comes to rest; else only calm does.
    pub(in super::super) fn knows_rest(&self) -> bool {
        !self.phase_tells() || !self.comparer.hops()
    }
}

/// A vote, by what it counts for rest and for a hand.
fn weighed(vote: f32, (rest, hand): (f32, f32)) -> f32 {
    vote * if vote < 0.0 { rest } else { hand }
}
