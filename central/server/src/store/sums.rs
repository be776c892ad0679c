//! What became of batches, in numbers. Enters: what a transaction did with each. Leaves: sums of batches and
//! events.

use std::ops::AddAssign;

use hangtag_protocol::range::SeqRange;

/// What became of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// With at least one event that was stored; their new events.
    pub new: Sum,
    /// All of whose events had been stored before; and known events of others.
    pub known: Sum,
    /// In quarantine, but for those of a fork.
    pub aside: Sum,
    /// Of `new` and `known`, what went into an epoch of its own, because another run has used its numbers.
    pub adopted: Sum,
    /// Of a copy of the gateway: nobody stores them under these numbers.
    pub forked: Sum,
    /// Left with the agent: the lineage tells too little.
    pub untold: Sum,
    /// Left with the agent: quarantine is full.
    pub left: Sum,
}

/// Batches and events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub batches: u64,
    pub events: u64,
}

impl Sum {
    /// One batch with these numbers.
    pub(super) fn of(numbers: SeqRange) -> Self {
        Self { batches: 1, events: numbers.len() }
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.events += other.events;
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.new += other.new;
        self.known += other.known;
        self.aside += other.aside;
        self.adopted += other.adopted;
        self.forked += other.forked;
        self.untold += other.untold;
        self.left += other.left;
    }
}

impl Sums {
    /// Counts a batch that was stored: its new events, and those that had been stored before.
    pub(super) fn count(&mut self, fresh: &[SeqRange], known: &[SeqRange]) {
        let events = |ranges: &[SeqRange]| ranges.iter().map(SeqRange::len).sum::<u64>();
        self.new.events += events(fresh);
        self.known.events += events(known);
        *(if fresh.is_empty() { &mut self.known.batches } else { &mut self.new.batches }) += 1;
    }
}
