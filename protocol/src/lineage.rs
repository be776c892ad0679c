//! Who wrote an epoch. Enters: the runs of an agent, what central recorded. Leaves: whether both tell of
//! the same events, and if not, from which number on they differ.
//!
//! An SD card can be cloned and a spool restored from an old image: two agents then hand out the same
//! numbers to different events. Therefore every start of an agent that accepts an event draws a random
//! *run*, and an epoch's lineage lists the runs with the first number that each accepted:
//!
//! ```text
//! the original   (1, a) (501, b) (820, d)
//! its copy       (1, a) (501, b) (790, c)      differ from 790 on: the copy's events above are a fork
//! ```
//!
//! Central keeps the lineage that came first. A batch that does not continue it is stored by nobody, so
//! that its events may get new numbers in a new epoch without being counted twice.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::Seq;

/// The most runs that an agent remembers of an epoch.
pub const MAX_RUNS: usize = 16;

/// The life of one agent process, from the first number that it accepted on. In JSON `[first, id]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Seq, u32)", into = "(Seq, u32)")]
pub struct Run {
    /// The first number that it accepted.
    pub first: Seq,
    /// Random.
    pub id: u32,
}

impl From<(Seq, u32)> for Run {
    fn from((first, id): (Seq, u32)) -> Self {
        Self { first, id }
    }
}

impl From<Run> for (Seq, u32) {
    fn from(run: Run) -> Self {
        (run.first, run.id)
    }
}

/// The runs of one epoch, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(Vec<Run>);

/// Why a batch does not continue what is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    /// Both know a run, and went different ways after it.
    #[error("events from number {0} on are written by another run than the recorded ones")]
    Fork(Seq),
    /// They have no run in common: the sender must tell more.
    #[error("no run in common with the recorded lineage")]
    Unknown,
}

impl From<Vec<Run>> for Lineage {
    fn from(runs: Vec<Run>) -> Self {
        Self(runs)
    }
}

impl Lineage {
    /// The runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// The latest run.
    #[must_use]
    pub fn last(&self) -> Option<Run> {
        self.0.last().copied()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes up a run that begins; beyond [`MAX_RUNS`] the oldest is forgotten.
    pub fn push(&mut self, run: Run) {
        self.0.push(run);
        if self.0.len() > MAX_RUNS {
            self.0.remove(0);
        }
    }

    /// The runs that began below a number.
    #[must_use]
    pub fn before(&self, seq: Seq) -> Self {
        Self(self.0.iter().take_while(|run| run.first < seq).copied().collect())
    }

    /// What is to be told to somebody who knows `other`: from the last common run on; everything when
    /// there is none.
    #[must_use]
    pub fn since(&self, other: &Self) -> Self {
        let from = self.0.iter().rposition(|run| other.0.contains(run)).unwrap_or(0);
        Self(self.0[from..].to_vec())
    }

    /// What is recorded after a batch that tells of `told`; `highest` is the highest number that is stored or lost,
    /// 0 for none. An empty lineage tells nothing and contradicts nothing.
    ///
    /// So where nothing is recorded any lineage is taken, though its runs begin up to `highest`. A spool that was
    /// rescued without its record of itself sends such numbers, and whoever tells of runs afterwards is its own
    /// image of an earlier day: nobody knows which of the runs were still the same. Refused from one of them on,
    /// its events would get new numbers, and those that are the same be counted twice. Taken, the same ones are
    /// duplicates, those of numbers that were declared lost come late, and others are set aside for people,
    /// because central compares what comes under a number that it has.
    ///
    /// # Errors
    /// When the batch's events are not a continuation of the stored ones.
    pub fn join(&self, told: &Self, highest: Seq) -> Result<Self, Apart> {
        let (Some(ours), Some(theirs)) = (self.last(), told.last()) else {
            return Ok(if self.is_empty() { told.clone() } else { self.clone() });
        };
        if let Some(at) = told.0.iter().position(|run| *run == ours) {
            let new = &told.0[at + 1..];
            return match new.first() {
                // Numbers that the last run had handed out already.
                Some(run) if run.first <= highest => Err(Apart::Fork(run.first)),
                Some(_) | None => Ok(Self(self.0.iter().chain(new).copied().collect())),
            };
        }
        if self.0.contains(&theirs) {
            return Ok(self.clone());
        }
        match told.0.iter().rposition(|run| self.0.contains(run)) {
            Some(common) => Err(Apart::Fork(told.0[common + 1].first)),
            None => Err(Apart::Unknown),
        }
    }

    /// From which number on a batch that tells of `told` and ends with the event `last` holds events of a run
    /// that had ended by then, as recorded: the original goes on in its old run while a copy of it has
    /// begun another. [`join`](Self::join) does not see it, because `told` is a part of what is recorded.
    #[must_use]
    pub fn overrun(&self, told: &Self, last: Seq) -> Option<Seq> {
        let theirs = told.last()?;
        let at = self.0.iter().position(|run| *run == theirs)?;
        self.0.get(at + 1).map(|next| next.first).filter(|first| *first <= last)
    }

    /// Where `recorded`, with events up to `highest`, went another way than this lineage, whose next event
    /// will have the number `next`: from the returned number on, events here are not the recorded ones.
    /// `None` when nothing contradicts.
    #[must_use]
    pub fn fork(&self, next: Seq, recorded: &Self, highest: Seq) -> Option<Seq> {
        let Some(theirs) = recorded.last() else {
            return (highest >= next).then_some(next);
        };
        if let Some(at) = self.0.iter().position(|run| *run == theirs) {
            let end = self.0.get(at + 1).map_or(next, |run| run.first);
            return (highest >= end).then_some(end);
        }
        let Some(common) = self.0.iter().rposition(|run| recorded.0.contains(run)) else {
            return Some(self.0.first().map_or(next, |run| run.first));
        };
        let ours = self.0.get(common + 1).map_or(next, |run| run.first);
        let went_on = recorded.0.iter().rposition(|run| *run == self.0[common]).map(|at| at + 1);
        let other = went_on.and_then(|at| recorded.0.get(at)).map_or(next, |run| run.first);
        Some(ours.min(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn lineage(runs: &[(u64, u32)]) -> Lineage {
        Lineage(runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect())
    }

    const A: (u64, u32) = (1, 0xa);
    const B: (u64, u32) = (501, 0xb);
    const C: (u64, u32) = (790, 0xc);
    const D: (u64, u32) = (820, 0xd);

    #[test]
    fn a_continuation_is_recorded() {
        let recorded = lineage(&[A]);
        assert_eq!(recorded.join(&lineage(&[A]), Seq(300)), Ok(lineage(&[A])));
        assert_eq!(recorded.join(&lineage(&[A, B, D]), Seq(500)), Ok(lineage(&[A, B, D])));
        assert_eq!(Lineage::default().join(&lineage(&[A]), Seq(0)), Ok(lineage(&[A])));
        assert_eq!(
            recorded.join(&Lineage::default(), Seq(9)),
            Ok(recorded.clone()),
            "format 1 tells nothing"
        );
        let longer = lineage(&[A, B, D]);
        assert_eq!(
            longer.join(&lineage(&[B]), Seq(900)),
            Ok(longer.clone()),
            "a batch from before comes late"
        );
    }

    #[test]
    fn a_copy_is_not_recorded() {
        let recorded = lineage(&[A, B, D]);
        assert_eq!(recorded.join(&lineage(&[A, B, C]), Seq(900)), Err(Apart::Fork(Seq(790))));
        assert_eq!(recorded.join(&lineage(&[C]), Seq(900)), Err(Apart::Unknown));
        // The copy's run begins at a number that the recorded run had handed out.
        assert_eq!(lineage(&[A, B]).join(&lineage(&[B, C]), Seq(790)), Err(Apart::Fork(Seq(790))));
        assert!(lineage(&[A, B]).join(&lineage(&[B, C]), Seq(789)).is_ok());
    }

    #[test]
    fn where_no_run_is_recorded_none_is_refused() {
        let none = Lineage::default();
        // 1 to 600 came from a spool that was rescued without its lineage; these are its images.
        for image in [vec![A], vec![A, B], vec![A, B, C]] {
            let image = lineage(&image);
            assert_eq!(
                none.join(&image, Seq(600)),
                Ok(image.clone()),
                "what is the same must not come twice"
            );
            assert_eq!(image.fork(Seq(900), &none, Seq(600)), None, "the agent agrees");
            assert_eq!(image.overrun(&none, Seq(600)), None, "and the rescued one goes on");
            assert_eq!(image.join(&none, Seq(600)), Ok(image.clone()));
        }
    }

    #[test]
    fn a_run_that_goes_on_after_the_next_one_began_is_not_recorded() {
        let recorded = lineage(&[A, B, C]);
        assert_eq!(recorded.overrun(&lineage(&[A, B]), Seq(789)), None, "a batch from before comes late");
        assert_eq!(recorded.overrun(&lineage(&[A, B]), Seq(790)), Some(Seq(790)));
        assert_eq!(recorded.overrun(&lineage(&[B, C]), Seq(2_000)), None);
        assert_eq!(recorded.overrun(&lineage(&[A, B, D]), Seq(2_000)), None, "for join to tell");
        assert_eq!(lineage(&[A, B]).fork(Seq(800), &recorded, Seq(795)), Some(Seq(790)), "the agent agrees");
    }

    #[test]
    fn the_agent_finds_where_its_own_events_begin() {
        let copy = lineage(&[A, B, C]);
        let next = Seq(800);
        assert_eq!(copy.fork(next, &lineage(&[A, B]), Seq(789)), None);
        assert_eq!(copy.fork(next, &lineage(&[A, B]), Seq(795)), Some(Seq(790)), "the original was quicker");
        assert_eq!(copy.fork(next, &lineage(&[A, B, D]), Seq(900)), Some(Seq(790)));
        assert_eq!(copy.fork(next, &lineage(&[A]), Seq(400)), None, "central was restored from a backup");
        assert_eq!(copy.fork(next, &copy, Seq(799)), None);
        assert_eq!(copy.fork(next, &copy, Seq(800)), Some(next), "rolled back within a run");
        assert_eq!(lineage(&[A, B]).fork(Seq(700), &copy, Seq(795)), Some(Seq(700)), "rolled back");
        assert_eq!(
            lineage(&[A, B]).fork(Seq(795), &copy, Seq(795)),
            Some(Seq(790)),
            "the original, too late"
        );
        assert_eq!(copy.fork(next, &lineage(&[D]), Seq(900)), Some(Seq(1)), "nothing in common");
        assert_eq!(copy.fork(next, &Lineage::default(), Seq(10)), None);
        assert_eq!(copy.fork(next, &Lineage::default(), Seq(800)), Some(next));
    }

    #[test]
    fn only_what_is_new_is_told() {
        let whole = lineage(&[A, B, C]);
        assert_eq!(whole.since(&lineage(&[A, B])), lineage(&[B, C]));
        assert_eq!(whole.since(&Lineage::default()), whole);
        assert_eq!(whole.before(Seq(790)), lineage(&[A, B]));
        let mut many = Lineage::default();
        (0..40).for_each(|n| many.push(Run { first: Seq(n), id: 0 }));
        assert_eq!(many.runs().len(), MAX_RUNS);
        assert_eq!(many.last().map(|run| run.first), Some(Seq(39)));
    }

    /// Two agents that went apart never both get their events under the same numbers stored.
    #[test]
    fn join_and_fork_agree() {
        for (ours, next) in [(vec![A, B], 789), (vec![A, B, C], 800), (vec![A], 500), (vec![A, B, D], 900)] {
            for (recorded, highest) in [
                (vec![], 0),
                (vec![], 600),
                (vec![A], 400),
                (vec![A, B], 700),
                (vec![A, B, D], 900),
                (vec![D], 900),
            ] {
                let (ours, recorded) = (lineage(&ours), lineage(&recorded));
                let fork = ours.fork(Seq(next), &recorded, Seq(highest));
                if let Err(Apart::Fork(from)) = recorded.join(&ours, Seq(highest)) {
                    assert_eq!(fork, Some(from), "{ours:?} after {recorded:?}");
                }
                if fork.is_none() {
                    assert!(recorded.join(&ours, Seq(highest)).is_ok(), "{ours:?} after {recorded:?}");
                }
            }
        }
    }
}
