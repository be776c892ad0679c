//! A node's clock by the gateway's. Enters: what the node's clock showed, between which moments of ours. Leaves: the
//! gateway's times of what the node dated, and how far off they may be; nothing where they cannot be known.
//!
//! ```text
//! ours     asked ──────────────────────────▶ now
//! theirs                  uptime                    ours − theirs is between asked − uptime and now − uptime
//! ```
//!
//! Each answer bounds how far the clocks are apart, by the time that question and answer took. Two crystals drift apart
//! by at most 100 ppm, so that a bound holds for other times too, if it is made wider; all that are remembered hold at
//! once. What is dated is off by at most half the time of the quickest exchange and 100 ppm of the time to it: 50 ms
//! where an exchange takes 40 ms and nothing waited for longer than four minutes, and 0.1 ms more for each further
//! second. A worse crystal adds at most [`STEP_MS`] to that.
//!
//! An answer that contradicts those before shows that the node's clock jumped. What may have been dated before that
//! has no time here. A jump is not known before the next answer, and one while no gateway listens never is.
//!
//! Of nodes that do not answer the shortest way of a word from there to here decides, because what waited in the node
//! or on the line only makes a way longer.

use alloc::collections::VecDeque;

use hangtag_protocol::clock::Uptime;

/// Two clocks drift apart by at most one part in so many: 100 ppm.
const DRIFT: u64 = 10_000;
/// Answers that are remembered, and jumps behind which nothing was dated yet.
const ANSWERS: usize = 16;
const JUMPS: usize = 64;
/// Words of a node that does not answer are remembered so far apart, in milliseconds: what waited on the line comes all
/// at once.
const APART_MS: u64 = 1_000;
/// A contradiction of at most so much is a worse crystal, and no jump, in milliseconds.
const STEP_MS: u64 = 25;
/// What a node tells is not quite in the order of its dates: reads are condensed, and a booth's level must hold, for
/// together at most so long, in milliseconds.
const DISORDER_MS: u64 = 70_000;

/// How the two clocks were found to be.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    found: VecDeque<Found>,
    /// The latest last.
    jumps: VecDeque<Jump>,
    /// The latest of their times that was dated since the last jump.
    newest: Option<Uptime>,
}

/// One moment of theirs by ours.
#[derive(Clone, Copy, Debug)]
struct Found {
    theirs: Uptime,
    /// When it was known here.
    at: Uptime,
    ahead: Ahead,
}

/// How far our clock is ahead of theirs, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    /// At least; unknown if they were not asked.
    least: Option<i64>,
    /// At most.
    most: i64,
}

/// A jump of their clock.
#[derive(Clone, Copy, Debug)]
struct Jump {
    /// What was found last before.
    before: Found,
    /// When it was noticed.
    noticed: Uptime,
    /// What they hold from before is dated by their old clock, and not before this.
    held_since: Uptime,
}

/// A time of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    /// Never later than now.
    pub(super) at: Uptime,
    /// How far off that may be, in milliseconds; unknown of nodes that do not answer.
    pub(super) off_ms: Option<u64>,
}

impl Clock {
    /// A node said what its clock shows, and the word came just now.
    pub(super) fn new(theirs: Uptime, now: Uptime) -> Self {
        let mut clock = Self { found: VecDeque::new(), jumps: VecDeque::new(), newest: None };
        clock.hear(theirs, now);
        clock
    }

    /// It said so again, without being asked.
    pub(super) fn hear(&mut self, theirs: Uptime, now: Uptime) {
        let found = Found { theirs, at: now, ahead: Ahead { least: None, most: ahead(now, theirs) } };
        match self.found.back_mut() {
            // What was asked for tells more.
            Some(last) if last.ahead.least.is_some() => {}
            Some(last) if now.since(last.at) < APART_MS => {
                if found.ahead.most < last.ahead.most {
                    *last = found;
                }
            }
            Some(_) | None => remember(&mut self.found, ANSWERS, found),
        }
    }

    /// It said so because it was asked at a moment of ours. When that shows that its clock jumped, returns by how
    /// much, in milliseconds.
    pub(super) fn handle_answer(&mut self, asked: Uptime, theirs: Uptime, now: Uptime) -> Option<i64> {
        let answer = Ahead { least: Some(ahead(asked, theirs)), most: ahead(now, theirs) };
        let found = Found { theirs, at: now, ahead: answer };
        let Some(known) = known(&self.found, theirs).filter(|known| known.least.is_some()) else {
            self.found.clear();
            remember(&mut self.found, ANSWERS, found);
            return None;
        };
        let apart = known.apart(answer);
        if apart > 0 {
            let before = core::mem::take(&mut self.found);
            if let Some(before) = before.back().filter(|_| apart > STEP_MS).copied() {
                let newest = self.newest.take().map_or(Uptime(0), |newest| before.date(newest).at);
                let jump = Jump { before, noticed: now, held_since: newest - DISORDER_MS };
                remember(&mut self.jumps, JUMPS, jump);
            }
        }
        remember(&mut self.found, ANSWERS, found);
        (apart > STEP_MS).then(|| known.middle().saturating_sub(answer.middle()))
    }

    /// A time of theirs by ours; none if it cannot be known.
    pub(super) fn date(&mut self, theirs: Uptime, now: Uptime) -> Option<Dated> {
        let ahead = known(&self.found, theirs)?;
        let dated = ahead.date(theirs);
        // Nothing comes before it happens.
        if ahead.least.is_some_and(|least| here(theirs, least) > now) {
            return None;
        }
        if self.jumps.iter().any(|jump| jump.doubts(theirs, dated)) {
            return None;
        }
        // It comes in the order in which they told it: nothing from before a jump follows.
        self.jumps.retain(|jump| dated.at < jump.noticed + DISORDER_MS);
        self.newest = self.newest.max(Some(theirs));
        Some(Dated { at: dated.at.min(now), ..dated })
    }

    /// How far off what it dates now is by ours, in milliseconds; unknown of nodes that do not answer.
    pub(super) fn off_ms(&self) -> Option<u64> {
        let theirs = self.found.back()?.theirs;
        known(&self.found, theirs)?.date(theirs).off_ms
    }
}

impl Found {
    /// What it says of a time of theirs.
    fn ahead(&self, theirs: Uptime) -> Ahead {
        let drift = i64::try_from(theirs.0.abs_diff(self.theirs.0) / DRIFT + 1).unwrap_or(i64::MAX);
        let Ahead { least, most } = self.ahead;
        Ahead { least: least.map(|least| least.saturating_sub(drift)), most: most.saturating_add(drift) }
    }

    fn date(&self, theirs: Uptime) -> Dated {
        self.ahead(theirs).date(theirs)
    }
}

impl Jump {
    /// Whether a time of theirs may be of their old clock, given what it is by the new one.
    fn doubts(&self, theirs: Uptime, dated: Dated) -> bool {
        let off = dated.off_ms.unwrap_or(0);
        let old = self.before.date(theirs).at;
        (self.held_since..=self.noticed + off + STEP_MS).contains(&old)
    }
}

impl Ahead {
    fn date(self, theirs: Uptime) -> Dated {
        // A half is rounded up, and both ends of an exchange are whole milliseconds of two clocks.
        let off = |least: i64| u64::try_from(self.most.saturating_sub(least)).unwrap_or(0) / 2 + 2;
        Dated { at: here(theirs, self.middle()), off_ms: self.least.map(off) }
    }

    /// The best guess.
    fn middle(self) -> i64 {
        self.least.map_or(self.most, |least| least + self.most.saturating_sub(least) / 2)
    }

    /// How much is missing for both to be true, in milliseconds.
    fn apart(self, other: Self) -> u64 {
        let over = |least: Option<i64>, most: i64| {
            least.map_or(0, |least| u64::try_from(least.saturating_sub(most)).unwrap_or(0))
        };
        over(self.least, other.most).max(over(other.least, self.most))
    }
}

/// What holds at a time of theirs.
fn known(found: &VecDeque<Found>, theirs: Uptime) -> Option<Ahead> {
    let all = found.iter().map(|found| found.ahead(theirs));
    all.reduce(|one, other| Ahead { least: one.least.max(other.least), most: one.most.min(other.most) })
}

fn remember<T>(all: &mut VecDeque<T>, most: usize, one: T) {
    if all.len() >= most {
        all.pop_front();
    }
    all.push_back(one);
}

fn ahead(ours: Uptime, theirs: Uptime) -> i64 {
    i64::try_from(i128::from(ours.0) - i128::from(theirs.0)).unwrap_or(if ours > theirs {
        i64::MAX
    } else {
        i64::MIN
    })
}

fn here(theirs: Uptime, ahead: i64) -> Uptime {
    let here = i128::from(theirs.0) + i128::from(ahead);
    Uptime(u64::try_from(here.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
