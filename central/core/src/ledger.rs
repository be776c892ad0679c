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
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use hangtag_protocol::lineage::Run;
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
        assert_eq!(ledger.mark(Epoch(1)).contiguous_to, Seq(6));
    }

    fn lineage(runs: &[(u64, u32)]) -> Lineage {
        Lineage::from(runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect::<Vec<_>>())
    }

    #[test]
    fn a_copy_does_not_join_and_changes_nothing() {
        let mut ledger = Ledger::default();
        ledger.join(&lineage(&[(1, 7)]), Seq(0), &[], Seq(1)).unwrap();
        ledger.settle(&ledger.weigh(SeqRange::new(1, 9), &[]));
        ledger.join(&lineage(&[(1, 7), (10, 8)]), Seq(0), &[], Seq(1)).unwrap();
        ledger.settle(&ledger.weigh(SeqRange::new(10, 12), &[]));
        let before = ledger.clone();
        assert_eq!(ledger.join(&lineage(&[(1, 7), (11, 9)]), Seq(0), &[], Seq(5)), Err(Apart::Fork(Seq(11))));
        assert_eq!(ledger.join(&lineage(&[(11, 9)]), Seq(0), &[], Seq(5)), Err(Apart::Unknown));
        assert_eq!(ledger, before);
        let mark = ledger.mark(Epoch(1));
        assert_eq!((mark.highest, mark.lineage), (Seq(12), lineage(&[(1, 7), (10, 8)])));
    }

    #[test]
    fn a_lost_number_was_handed_out_too() {
        let mut ledger = Ledger::default();
        ledger.join(&lineage(&[(1, 7)]), Seq(349), &[], Seq(1)).unwrap();
        ledger.settle(&ledger.weigh(SeqRange::new(1, 349), &[]));
        // An epoch that is rescued without its lineage declares its end lost.
        let (none, lost) = (SeqRange { first: Seq(501), last: Seq(500) }, [SeqRange::new(350, 500)]);
        ledger.join(&Lineage::default(), none.last, &lost, Seq(1)).unwrap();
        ledger.settle(&ledger.weigh(none, &lost));
        // Its spool of yesterday goes on from there.
        let rolled_back = lineage(&[(1, 7), (350, 8)]);
        assert_eq!(ledger.join(&rolled_back, Seq(600), &[], Seq(1)), Err(Apart::Fork(Seq(350))));
        let mark = ledger.mark(Epoch(1));
        assert_eq!((mark.contiguous_to, mark.highest), (Seq(500), Seq(500)));
        assert_eq!(
            rolled_back.fork(Seq(601), &mark.lineage, mark.highest),
            Some(Seq(350)),
            "the agent agrees"
        );
    }

    #[test]
    fn an_image_of_what_was_rescued_without_its_lineage_is_compared_and_not_refused() {
        let mut ledger = Ledger::default();
        // The whole epoch comes from a spool that lost its record of itself, and its end with it.
        let lost = [SeqRange::new(401, 500)];
        ledger.join(&Lineage::default(), Seq(400), &lost, Seq(1)).unwrap();
        ledger.settle(&ledger.weigh(SeqRange::new(1, 400), &lost));
        // Its image of yesterday was at 380, and went on there.
        let image = lineage(&[(1, 7), (350, 8), (380, 9)]);
        assert_eq!(ledger.join(&image, Seq(450), &[], Seq(1)), Ok(()));
        let verdict = ledger.weigh(SeqRange::new(350, 450), &[]);
        assert_eq!(verdict.known, [SeqRange::new(350, 400)], "to be compared: up to 379 they are the same");
        assert_eq!(verdict.late, [SeqRange::new(401, 450)], "these were lost");
        // From here on there is a lineage, and another image does not get past it.
        let other = lineage(&[(1, 7), (350, 8), (390, 10)]);
        assert_eq!(ledger.join(&other, Seq(450), &[], Seq(1)), Err(Apart::Fork(Seq(390))));
    }

    #[test]
    fn an_original_that_lost_numbers_of_its_copy_does_not_join() {
        let mut ledger = Ledger::default();
        ledger.join(&lineage(&[(1, 7), (790, 9)]), Seq(800), &[], Seq(1)).unwrap();
        ledger.settle(&ledger.weigh(SeqRange::new(790, 800), &[]));
        let before = ledger.clone();
        let mut join = |lost| ledger.join(&lineage(&[(1, 7)]), Seq(700), &[lost], Seq(1));
        assert_eq!(join(SeqRange::new(701, 899)), Err(Apart::Fork(Seq(790))));
        assert_eq!(join(SeqRange::new(701, 789)), Ok(()));
        assert_eq!(ledger, before);
    }

    #[test]
    fn only_the_latest_runs_are_recorded() {
        let mut ledger = Ledger::default();
        for n in 1..=100 {
            ledger.join(&lineage(&[(n, 0), (n + 1, 0)]), Seq(0), &[], Seq(1)).unwrap();
        }
        assert_eq!(ledger.lineage().runs().len(), MAX_RUNS);
        assert_eq!(ledger.lineage().last().map(|run| run.first), Some(Seq(101)));
    }

    #[test]
    fn what_nobody_holds_is_unexplained_until_it_comes() {
        let mut ledger = Ledger::default();
        ledger.settle(&ledger.weigh(SeqRange::new(1, 10), &[SeqRange::new(21, 22)]));
        ledger.join(&Lineage::default(), Seq(0), &[], Seq(31)).unwrap();
        ledger.join(&Lineage::default(), Seq(0), &[], Seq(5)).unwrap();
        assert_eq!(ledger.unexplained(), [SeqRange::new(11, 20), SeqRange::new(23, 30)]);
        assert_eq!(ledger.mark(Epoch(1)).contiguous_to, Seq(10), "nobody is permitted to delete them");
        ledger.settle(&ledger.weigh(SeqRange::new(12, 20), &[]));
        assert_eq!(ledger.unexplained(), [SeqRange::new(11, 11), SeqRange::new(23, 30)]);
    }

    #[test]
    fn unexplained_numbers_do_not_keep_a_watermark_from_moving() {
        let mut ledger = Ledger::default();
        for n in 0..20 {
            ledger.settle(&ledger.weigh(SeqRange::new(10 * n + 1, 10 * n + 9), &[]));
        }
        assert!(!ledger.mark(Epoch(1)).settled().contains(Seq(199)), "too many ranges");
        ledger.join(&Lineage::default(), Seq(0), &[], Seq(151)).unwrap();
        assert!(ledger.mark(Epoch(1)).settled().contains(Seq(199)));
        assert!(!ledger.mark(Epoch(1)).settled().contains(Seq(160)), "the agent may still hold it");
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
                let mark = ledger.mark(Epoch(1));
                let contiguous = (1..).take_while(|n| plain.contains_key(n)).last().unwrap_or(0);
                prop_assert_eq!(mark.contiguous_to, Seq(contiguous));
                prop_assert!(mark.settled().ranges().iter().flat_map(|r| r.first.0..=r.last.0).all(|n| plain.contains_key(&n)));
            }
            prop_assert_eq!(ledger.set(Fate::Stored).len(), stored as u64, "each event is stored once");
        }
    }
}
