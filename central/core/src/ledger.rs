//! What is known of one epoch of one gateway. Enters: the numbers of a batch and its lost ranges.
//! Leaves: which of them are new, which are duplicates, which gaps open and which close, and the
//! watermark. It never forgets a number that it settled.
//!
//! Every number has at most one fate, and only moves to the left:
//!
//! ```text
//! stored  ◀──  quarantined  ◀──  lost  ◀──  unknown
//! └───────────── settled ───────────┘
//! ```

use alloc::vec::Vec;

use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::watermark::EpochMark;

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

/// The settled numbers of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    stored: SeqSet,
    quarantined: SeqSet,
    lost: SeqSet,
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
    pub fn new(settled: impl IntoIterator<Item = (Fate, SeqRange)>) -> Self {
        let mut ledger = Self::default();
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

    /// Everything that is settled.
    #[must_use]
    pub fn settled(&self) -> SeqSet {
        let all = Fate::ALL.into_iter().flat_map(|fate| self.set(fate).ranges());
        SeqSet::from(all.copied().collect::<Vec<_>>())
    }

    /// The highest number that is stored; 0 when none is.
    #[must_use]
    pub fn highest(&self) -> Seq {
        self.stored.ranges().last().map_or(Seq(0), |range| range.last)
    }

    /// What the agent may delete.
    #[must_use]
    pub fn mark(&self, epoch: Epoch, lineage: Lineage) -> EpochMark {
        EpochMark::of(epoch, &self.settled(), self.highest(), lineage)
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
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn numbers(ranges: &[SeqRange]) -> Vec<u64> {
        ranges.iter().flat_map(|r| r.first.0..=r.last.0).collect()
    }

    #[test]
    fn a_batch_again_is_known_and_changes_nothing() {
        let mut ledger = Ledger::default();
        ledger.settle(&ledger.weigh(SeqRange::new(1, 10), &[]));
        let before = ledger.clone();
        let again = ledger.weigh(SeqRange::new(1, 10), &[]);
        assert_eq!(again, Verdict { known: [SeqRange::new(1, 10)].into(), ..Verdict::default() });
        ledger.settle(&again);
        assert_eq!(ledger, before);
    }

    #[test]
    fn a_late_event_beats_its_gap() {
        let mut ledger = Ledger::default();
        let first = ledger.weigh(SeqRange::new(6, 6), &[SeqRange::new(1, 5)]);
        assert_eq!(first.opened, [SeqRange::new(1, 5)]);
        ledger.settle(&first);
        let late = ledger.weigh(SeqRange::new(3, 4), &[SeqRange::new(1, 5)]);
        assert_eq!(
            (late.fresh.clone(), late.late.clone()),
            (late.late.clone(), [SeqRange::new(3, 4)].into())
        );
        assert_eq!(late.opened, []);
        ledger.settle(&late);
        assert_eq!(ledger.set(Fate::Lost).ranges(), [SeqRange::new(1, 2), SeqRange::new(5, 5)]);
        assert_eq!(ledger.mark(Epoch(1), Lineage::default()).contiguous_to, Seq(6));
    }

    #[test]
    fn a_batch_without_events_only_opens_gaps() {
        let empty = SeqRange { first: Seq(9), last: Seq(8) };
        let verdict = Ledger::default().weigh(empty, &[SeqRange::new(1, 8)]);
        assert_eq!((verdict.fresh, verdict.known), (Vec::new(), Vec::new()));
        assert_eq!(verdict.opened, [SeqRange::new(1, 8)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Batch { first: u64, count: u64, lost: Vec<(u64, u64)> },
        Unreadable { first: u64, count: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let lost = prop::collection::vec((1u64..60, 0u64..8), 0..3);
        prop_oneof![
            3 => (1u64..60, 0u64..12, lost).prop_map(|(first, count, lost)| Step::Batch { first, count, lost }),
            1 => (1u64..60, 1u64..12).prop_map(|(first, count)| Step::Unreadable { first, count }),
        ]
    }

    proptest! {
        /// Batches in any order, again, overlapping, late, with losses and unreadable ones: every
        /// number has the fate that a plain map gives it.
        #[test]
        fn equals_a_plain_map(steps in prop::collection::vec(step(), 0..40)) {
            let mut ledger = Ledger::default();
            let mut plain = BTreeMap::<u64, Fate>::new();
            let mut stored = 0;
            for step in steps {
                match step {
                    Step::Batch { first, count, lost } => {
                        let events = SeqRange { first: Seq(first), last: Seq(first + count - 1) };
                        let lost: Vec<_> = lost.into_iter().map(|(a, n)| SeqRange::new(a, a + n)).collect();
                        let verdict = ledger.weigh(events, &lost);
                        let is = |n: &u64, fates: &[Fate]| plain.get(n).is_some_and(|f| fates.contains(f));
                        let batch: Vec<u64> = (first..first + count).collect();
                        let pick = |keep: &dyn Fn(&u64) -> bool| -> Vec<u64> {
                            batch.iter().copied().filter(|n| keep(n)).collect()
                        };
                        prop_assert_eq!(numbers(&verdict.known), pick(&|n| is(n, &[Fate::Stored])));
                        prop_assert_eq!(numbers(&verdict.fresh), pick(&|n| !is(n, &[Fate::Stored])));
                        let late = pick(&|n| is(n, &[Fate::Lost, Fate::Quarantined]));
                        prop_assert_eq!(numbers(&verdict.late), late);
                        stored += numbers(&verdict.fresh).len();
                        ledger.settle(&verdict);
                        for n in batch { plain.insert(n, Fate::Stored); }
                        for n in numbers(&lost) { plain.entry(n).or_insert(Fate::Lost); }
                    }
                    Step::Unreadable { first, count } => {
                        ledger.quarantine(SeqRange::new(first, first + count - 1));
                        for n in first..first + count {
                            let fate = plain.entry(n).or_insert(Fate::Quarantined);
                            if *fate == Fate::Lost { *fate = Fate::Quarantined; }
                        }
                    }
                }
                for fate in Fate::ALL {
                    let wanted: Vec<u64> =
                        plain.iter().filter(|(_, f)| **f == fate).map(|(n, _)| *n).collect();
                    prop_assert_eq!(numbers(ledger.set(fate).ranges()), wanted);
                }
                let mark = ledger.mark(Epoch(1), Lineage::default());
                let contiguous = (1..).take_while(|n| plain.contains_key(n)).last().unwrap_or(0);
                prop_assert_eq!(mark.contiguous_to, Seq(contiguous));
                prop_assert!(mark.settled().ranges().iter().flat_map(|r| r.first.0..=r.last.0).all(|n| plain.contains_key(&n)));
            }
            prop_assert_eq!(ledger.set(Fate::Stored).len(), stored as u64, "each event is stored once");
        }
    }
}
