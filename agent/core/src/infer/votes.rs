//! Read by read, whether what is known of a garment still holds: that it rests, or that it is carried. Enters: what
//! single reads say. Leaves: whether they say enough, and since when.
//!
//! Votes add up and never fall below nothing, so that what was long ago does not count (Page's cumulative sum).
//! Where the reader tells the phase, [`motion`](super::motion) says what a read votes. Where it does not, the change
//! of the level since the read before does: on the way of a hand it is 4 dB on average, at rest a few tenths to 2 dB,
//! more where the reader's channels differ, so that each garment learns its own. Both are taken to be distributed
//! exponentially; the vote is the logarithm of how much likelier one is than the other.

use hangtag_protocol::clock::Uptime;

/// What votes lose with each read: chance must not add up.
pub(super) const DRIFT: f32 = 0.1;
/// Mean change of the level from read to read of a garment that is carried, in dB.
const CARRIED_DB: f32 = 4.0;
/// The same of one at rest: what is added to what it has learned, and the least. Somebody stands beside it, or it
/// swings.
const REST_DB: (f32, f32) = (0.15, 1.2);
/// The same of one that is put down, of which nothing is known.
const LAID_DB: f32 = 1.2;
/// What one change can vote: for rest, and for a hand.
const VOTE: (f32, f32) = (-1.5, 4.0);
/// Changes over which the level at rest is learned; so few count as known at first.
const LEARNED: (u8, u8) = (8, 64);
/// A greater change is learned as this, in hundredths of a dB.
const MOST_CDB: u16 = 800;

/// Votes that were added up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Votes {
    sum: f32,
    since: Moment,
}

impl Votes {
    pub(super) fn none(now: Uptime) -> Self {
        Self { sum: 0.0, since: Moment::of(now) }
    }

    /// Adds a vote of something that began at a time; `most` are kept, so that they are soon gone.
    pub(super) fn add(&mut self, vote: f32, began: Uptime, most: f32) {
        self.add_beyond(0.0, vote, began, most);
    }

    /// The same where up to so many votes add up by chance: when it began is told by what comes beyond them.
    pub(super) fn add_beyond(&mut self, chance: f32, vote: f32, began: Uptime, most: f32) {
        if self.sum <= chance {
            self.since = Moment::of(began);
        }
        self.sum = (self.sum + vote - DRIFT).clamp(0.0, most);
    }

    pub(super) fn forget(&mut self) {
        self.sum = 0.0;
    }

    /// Since when there are votes, if they are so many and have been for so long, in milliseconds, at the last read.
    pub(super) fn enough(&self, (least, ms): (f32, u64), last: Uptime) -> Option<Uptime> {
        let since = self.since.before(last);
        (self.sum >= least && last.since(since) >= ms).then_some(since)
    }
}

/// How the level of a garment at rest changes from read to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restlessness {
    cdb: u16,
    changes: u8,
}

impl Default for Restlessness {
    fn default() -> Self {
        Self { cdb: 150, changes: LEARNED.0 }
    }
}

impl Restlessness {
    /// Takes a change of the level, in hundredths of a dB, of the garment at rest.
    pub(super) fn learn(&mut self, change_cdb: u16) {
        self.changes = (self.changes + 1).min(LEARNED.1);
        let known = f32::from(self.cdb);
        let step = (f32::from(change_cdb.min(MOST_CDB)) - known) / f32::from(self.changes);
        self.cdb = (known + step + 0.5) as u16;
    }

    /// What a change of the level votes for its being carried.
    pub(super) fn carried_vote(self, change_cdb: u16) -> f32 {
        vote(change_cdb, (f32::from(self.cdb) / 100.0 + REST_DB.0).max(REST_DB.1))
    }
}

/// What a change of the level votes for a garment that was carried being at rest.
pub(super) fn laid_vote(change_cdb: u16) -> f32 {
    -vote(change_cdb, LAID_DB)
}

fn vote(change_cdb: u16, rest_db: f32) -> f32 {
    let change_db = f32::from(change_cdb) / 100.0;
    let likelier = libm::logf(rest_db / CARRIED_DB) + change_db * (1.0 / rest_db - 1.0 / CARRIED_DB);
    likelier.clamp(VOTE.0, VOTE.1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_counted_from_when_they_began() {
        let mut votes = Votes::none(Uptime(0));
        votes.add(-1.0, Uptime(1_000), 8.0);
        votes.add(1.0, Uptime(2_000), 8.0);
        votes.add(1.0, Uptime(2_500), 8.0);
        assert_eq!(votes.enough((1.5, 400), Uptime(2_500)), Some(Uptime(2_000)));
        assert_eq!(votes.enough((1.5, 501), Uptime(2_500)), None, "for too short");
        assert_eq!(votes.enough((2.0, 400), Uptime(2_500)), None, "too few");
        (0..100).for_each(|_| votes.add(1.0, Uptime(3_000), 8.0));
        (0..8).for_each(|_| votes.add(-1.0, Uptime(4_000), 8.0));
        assert_eq!(votes.enough((0.1, 0), Uptime(4_000)), None, "soon gone");
        let late = Uptime(u64::from(u32::MAX) + 10);
        votes.add(1.0, late - 20, 8.0);
        assert_eq!(votes.enough((0.5, 20), late), Some(late - 20), "across a turn of the counter");
    }

    #[test]
    fn what_adds_up_by_chance_does_not_say_when_it_began() {
        let mut votes = Votes::none(Uptime(0));
        votes.add_beyond(1.5, 1.0, Uptime(1_000), 8.0);
        votes.add_beyond(1.5, 0.2, Uptime(9_000), 8.0);
        votes.add_beyond(1.5, 2.0, Uptime(10_000), 8.0);
        votes.add_beyond(1.5, 2.0, Uptime(10_500), 8.0);
        assert_eq!(votes.enough((4.0, 400), Uptime(10_500)), Some(Uptime(10_000)));
    }

    #[test]
    fn a_garment_whose_level_jumps_at_rest_must_jump_further() {
        let learned = |cdb| {
            let mut rest = Restlessness::default();
            (0..200).for_each(|n| rest.learn(if n % 2 == 0 { cdb } else { 0 }));
            rest
        };
        let (quiet, hops) = (learned(100), learned(600));
        assert!(quiet.carried_vote(400) > 0.5 && hops.carried_vote(400) < 0.1, "{quiet:?} {hops:?}");
        assert!(quiet.carried_vote(100) < -0.4 && laid_vote(100) > 0.4);
        assert_eq!((quiet.carried_vote(4_000), laid_vote(4_000)), (4.0, -4.0), "one jump decides little");
    }
}
