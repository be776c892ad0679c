//! What is known of one epoch of one gateway. Enters: a batch's numbers, lost ranges, lineage and the
//! lowest number that the agent still holds. Leaves: whether the batch continues what is recorded, which
//! numbers are new, which are duplicates, which gaps open and which close, and the watermark. It never
//! forgets a number that it settled.
//!
//! Every number has at most one fate, and only moves to the left:
//!
//! ```text
//! stored  ◀──  quarantined  ◀──  lost  ◀──  unknown
//! └───────────── settled ───────────┘
//! ```
//!
//! Only when a person drops a batch that was set aside its numbers go back, from quarantined to lost.
//!
//! An unknown number below the lowest one that the agent holds is *unexplained*: it was never declared lost,
//! and whoever sent it then has it no more. An agent of whom central remembers everything leaves none;
//! one whose central was restored from a backup leaves those that it had already forgotten. They are shown
//! as gaps, but not settled, because a watermark is the permission to delete: should anybody hold such an
//! event after all, it is still wanted, and closes its part of the gap.

use alloc::vec::Vec;

use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::{Apart, Lineage};
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::watermark::{EpochMark, MAX_RANGES};

/// The most runs of an epoch that are recorded; the latest ones.
pub const MAX_RUNS: usize = 64;

/// What became of a settled number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The event is in the database.
    Stored,
    /// The batch that held it was set aside as it came.
    Quarantined,
    /// The agent declared it lost: a gap.
    Lost,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Self; 3] = [Self::Stored, Self::Quarantined, Self::Lost];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Quarantined => "quarantined",
            Self::Lost => "lost",
        }
    }
}

/// What is recorded of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    stored: SeqSet,
    quarantined: SeqSet,
    lost: SeqSet,
    lineage: Lineage,
    oldest_held: Seq,
}

/// What a batch changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Numbers whose events are to be stored.
    pub fresh: Vec<SeqRange>,
    /// Numbers whose events were stored before: their content must be the same.
    pub known: Vec<SeqRange>,
    /// The part of `fresh` that was thought lost or had been set aside.
    pub late: Vec<SeqRange>,
    /// Numbers that become gaps.
    pub opened: Vec<SeqRange>,
}

impl Ledger {
    /// Takes what a database kept.
    #[must_use]
    pub fn new(
        settled: impl IntoIterator<Item = (Fate, SeqRange)>,
        lineage: Lineage,
        oldest_held: Seq,
    ) -> Self {
        let mut ledger = Self { lineage, oldest_held, ..Self::default() };
        for (fate, range) in settled {
            ledger.set_mut(fate).insert(range);
        }
        ledger
    }

    /// The numbers with one fate.
    #[must_use]
    pub fn set(&self, fate: Fate) -> &SeqSet {
        match fate {
            Fate::Stored => &self.stored,
            Fate::Quarantined => &self.quarantined,
            Fate::Lost => &self.lost,
        }
    }

    /// The runs that wrote the epoch.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The highest number of which the agent said that it holds nothing below; 0 when it said nothing.
    #[must_use]
    pub fn oldest_held(&self) -> Seq {
        self.oldest_held
    }

    /// Records who wrote a batch, whose last event is `last` and which tells that `lost` is lost, and what its
    /// agent still holds. Nothing changes when it is refused.
    ///
    /// # Errors
    /// When the batch does not continue what is recorded: its events must not be stored under this epoch.
    pub fn join(
        &mut self,
        told: &Lineage,
        last: Seq,
        lost: &[SeqRange],
        oldest_held: Seq,
    ) -> Result<(), Apart> {
        // Whoever lost a number had handed it out.
        let reach = lost.iter().map(|range| range.last).fold(last, Seq::max);
        if let Some(from) = self.lineage.overrun(told, reach) {
            return Err(Apart::Fork(from));
        }
        let joined = self.lineage.join(told, self.highest())?;
        let forgotten = joined.runs().len().saturating_sub(MAX_RUNS);
        self.lineage = match forgotten {
            0 => joined,
            _ => Lineage::from(joined.runs()[forgotten..].to_vec()),
        };
        self.oldest_held = self.oldest_held.max(oldest_held);
        Ok(())
    }

    /// Weighs a batch with these events and these lost ranges, and changes nothing: whoever asks
    /// first compares the known events, then calls [`settle`](Self::settle).
    #[must_use]
    pub fn weigh(&self, events: SeqRange, lost: &[SeqRange]) -> Verdict {
        let fresh = self.stored.missing_in(events);
        let new = SeqSet::from(fresh.clone());
        let mut absent = SeqSet::from(lost.to_vec());
        absent.remove(events);
        for fate in Fate::ALL {
            for range in self.set(fate).ranges() {
                absent.remove(*range);
            }
        }
        let written_off = self.quarantined.ranges().iter().chain(self.lost.ranges());
        Verdict {
            known: new.missing_in(events),
            late: SeqSet::from(written_off.flat_map(|range| common(&fresh, *range)).collect::<Vec<_>>())
                .into(),
            opened: absent.into(),
            fresh,
        }
    }

    /// Settles what [`weigh`](Self::weigh) found: the fresh events are stored, the gaps are open.
    pub fn settle(&mut self, verdict: &Verdict) {
        for range in &verdict.fresh {
            self.stored.insert(*range);
            self.quarantined.remove(*range);
            self.lost.remove(*range);
        }
        for range in &verdict.opened {
            self.lost.insert(*range);
        }
    }

    /// Settles numbers whose batch is set aside as it came. Stored ones stay stored.
    pub fn quarantine(&mut self, events: SeqRange) {
        for range in self.stored.missing_in(events) {
            self.quarantined.insert(range);
            self.lost.remove(range);
        }
    }

    /// Gives up numbers whose batch was set aside and is not there any more: they are gaps.
    pub fn give_up(&mut self, events: SeqRange) {
        let set_aside: Vec<SeqRange> = common(self.quarantined.ranges(), events).collect();
        for range in set_aside {
            self.quarantined.remove(range);
            self.lost.insert(range);
        }
    }

    /// Everything that is settled.
    #[must_use]
    pub fn settled(&self) -> SeqSet {
        let all = Fate::ALL.into_iter().flat_map(|fate| self.set(fate).ranges());
        SeqSet::from(all.copied().collect::<Vec<_>>())
    }

    /// The highest number that is known to be handed out, because it is stored or was declared lost; 0 when
    /// none is.
    #[must_use]
    pub fn highest(&self) -> Seq {
        // A header alone does not tell which run handed out the numbers of a batch that is set aside.
        let last = |set: &SeqSet| set.ranges().last().map_or(Seq(0), |range| range.last);
        last(&self.stored).max(last(&self.lost))
    }

    /// The numbers that are not settled although the agent holds them no more.
    #[must_use]
    pub fn unexplained(&self) -> Vec<SeqRange> {
        let forgotten = SeqRange { first: Seq::FIRST, last: Seq(self.oldest_held.0.saturating_sub(1)) };
        self.settled().missing_in(forgotten)
    }

    /// What the agent may delete.
    #[must_use]
    pub fn mark(&self, epoch: Epoch) -> EpochMark {
        let mut settled = self.settled();
        // A watermark tells of few ranges: unexplained numbers must not keep it from telling the rest.
        if settled.ranges().len() > MAX_RANGES {
            self.unexplained().into_iter().for_each(|range| settled.insert(range));
        }
        EpochMark::of(epoch, &settled, self.highest(), self.lineage.clone())
    }

    fn set_mut(&mut self, fate: Fate) -> &mut SeqSet {
        match fate {
            Fate::Stored => &mut self.stored,
            Fate::Quarantined => &mut self.quarantined,
            Fate::Lost => &mut self.lost,
        }
    }
}

/// The parts of `range` that lie in sorted `ranges`.
fn common(ranges: &[SeqRange], range: SeqRange) -> impl Iterator<Item = SeqRange> {
    ranges
        .iter()
        .map(move |r| SeqRange { first: r.first.max(range.first), last: r.last.min(range.last) })
        .filter(|r| !r.is_empty() && r.first > Seq(0))
}

#[cfg(test)]
mod tests;
