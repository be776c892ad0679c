//! Sets of sequence numbers, kept as ranges: what is settled, what is lost.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Seq;

/// The numbers from `first` to `last`, both included. In JSON `[first, last]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(Seq, Seq)", into = "(Seq, Seq)")]
pub struct SeqRange {
    /// The first number in it.
    pub first: Seq,
    /// The last number in it. A range whose last is below its first is empty.
    pub last: Seq,
}

impl From<(Seq, Seq)> for SeqRange {
    fn from((first, last): (Seq, Seq)) -> Self {
        Self { first, last }
    }
}

impl From<SeqRange> for (Seq, Seq) {
    fn from(range: SeqRange) -> Self {
        (range.first, range.last)
    }
}

impl fmt::Debug for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

impl SeqRange {
    /// The numbers from `first` to `last`, both included.
    #[must_use]
    pub fn new(first: u64, last: u64) -> Self {
        Self { first: Seq(first), last: Seq(last) }
    }

    /// How many numbers it holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        if self.is_empty() { 0 } else { (self.last.0 - self.first.0).saturating_add(1) }
    }

    /// Whether it holds no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last < self.first
    }
}

/// A set of sequence numbers: sorted ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<SeqRange>", into = "Vec<SeqRange>")]
pub struct SeqSet(Vec<SeqRange>);

impl From<Vec<SeqRange>> for SeqSet {
    fn from(ranges: Vec<SeqRange>) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl From<SeqSet> for Vec<SeqRange> {
    fn from(set: SeqSet) -> Self {
        set.0
    }
}

impl SeqSet {
    /// Adds a range, merging what it touches or overlaps.
    pub fn insert(&mut self, range: SeqRange) {
        if range.is_empty() {
            return;
        }
        let start = self.0.partition_point(|r| r.last.0.saturating_add(1) < range.first.0);
        let end = self.0.partition_point(|r| r.first.0 <= range.last.0.saturating_add(1));
        let merged = match self.0.get(start..end) {
            Some([first, .., last]) => {
                SeqRange { first: range.first.min(first.first), last: range.last.max(last.last) }
            }
            Some([only]) => SeqRange { first: range.first.min(only.first), last: range.last.max(only.last) },
            Some([]) | None => range,
        };
        self.0.splice(start..end.max(start), [merged]);
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: SeqRange) {
        if range.is_empty() {
            return;
        }
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for r in &self.0 {
            let before = SeqRange { first: r.first, last: r.last.min(Seq(range.first.0.saturating_sub(1))) };
            let after = SeqRange { first: r.first.max(Seq(range.last.0.saturating_add(1))), last: r.last };
            let after_exists = range.last.0 < u64::MAX && !after.is_empty();
            if r.first < range.first && !before.is_empty() {
                kept.push(before);
            }
            if after_exists {
                kept.push(after);
            }
        }
        self.0 = kept;
    }

    /// Whether a number is in the set.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        self.0.get(self.0.partition_point(|r| r.last < seq)).is_some_and(|r| r.first <= seq)
    }

    /// Its ranges from the one on that holds a number, or else the next after it.
    #[must_use]
    pub fn ranges_from(&self, seq: Seq) -> &[SeqRange] {
        &self.0[self.0.partition_point(|r| r.last < seq)..]
    }

    /// Whether every number of a range is in the set.
    #[must_use]
    pub fn covers(&self, range: SeqRange) -> bool {
        range.is_empty()
            || self
                .0
                .get(self.0.partition_point(|r| r.last < range.first))
                .is_some_and(|r| r.first <= range.first && range.last <= r.last)
    }

    /// The parts of a range that are not in the set, in order.
    #[must_use]
    pub fn missing_in(&self, range: SeqRange) -> Vec<SeqRange> {
        let mut missing = Vec::new();
        let mut next = range.first;
        for r in &self.0[self.0.partition_point(|r| r.last < range.first)..] {
            if r.first > range.last {
                break;
            }
            if next < r.first {
                missing.push(SeqRange { first: next, last: Seq(r.first.0 - 1) });
            }
            if r.last.0 == u64::MAX {
                return missing;
            }
            next = Seq(r.last.0 + 1);
        }
        if next <= range.last {
            missing.push(SeqRange { first: next, last: range.last });
        }
        missing
    }

    /// The last number up to which nothing is missing, counted from 1; 0 when 1 is missing.
    #[must_use]
    pub fn contiguous_to(&self) -> Seq {
        match self.0.first() {
            Some(r) if r.first <= Seq::FIRST => r.last,
            _ => Seq(0),
        }
    }

    /// The ranges, sorted.
    #[must_use]
    pub fn ranges(&self) -> &[SeqRange] {
        &self.0
    }

    /// How many numbers the set holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(SeqRange::len).sum()
    }

    /// Whether the set holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_a_plain_set(ops in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..40)) {
            let mut set = SeqSet::default();
            let mut plain = BTreeSet::new();
            for (add, first, length) in ops {
                let range = SeqRange::new(first, (first + length).saturating_sub(1));
                let numbers = first..first + length;
                if length == 0 { continue; }
                if add { set.insert(range); plain.extend(numbers); }
                else { set.remove(range); for n in numbers { plain.remove(&n); } }
            }
            for n in 0..80 {
                prop_assert_eq!(set.contains(Seq(n)), plain.contains(&n));
            }
            prop_assert_eq!(set.len(), plain.len() as u64);
            for pair in set.ranges().windows(2) {
                prop_assert!(pair[0].last.0 + 1 < pair[1].first.0, "sorted, apart");
            }
            let missing: BTreeSet<u64> =
                set.missing_in(SeqRange::new(5, 50)).iter().flat_map(|r| r.first.0..=r.last.0).collect();
            prop_assert_eq!(missing, (5..=50).filter(|n| !plain.contains(n)).collect::<BTreeSet<_>>());
            prop_assert_eq!(set.covers(SeqRange::new(10, 14)), (10..=14).all(|n| plain.contains(&n)));
        }
    }

    #[test]
    fn contiguous_counts_from_one() {
        let mut set = SeqSet::default();
        assert_eq!(set.contiguous_to(), Seq(0));
        set.insert(SeqRange::new(3, 9));
        assert_eq!(set.contiguous_to(), Seq(0));
        set.insert(SeqRange::new(1, 2));
        assert_eq!(set.contiguous_to(), Seq(9));
    }

    #[test]
    fn the_ends_of_the_number_line_hold() {
        let mut set = SeqSet::default();
        set.insert(SeqRange::new(0, u64::MAX));
        set.insert(SeqRange::new(5, 6));
        assert_eq!(set.ranges(), [SeqRange::new(0, u64::MAX)]);
        set.remove(SeqRange::new(0, u64::MAX));
        assert!(set.is_empty());
    }
}
