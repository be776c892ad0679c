//! What the uplink knows of one epoch. Enters: what the spool holds of it, what central says of it. Leaves:
//! which numbers may be sent, and what of them is settled.

use alloc::vec::Vec;

use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::watermark::EpochMark;

/// What the spool holds of one epoch.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The epoch.
    pub epoch: Epoch,
    /// The lowest number that is held; `next` when none is.
    pub oldest_held: Seq,
    /// The number after the last accepted event.
    pub next: Seq,
    /// What was settled when the spool was last told. Only looked at when the epoch is new here: from then
    /// on watermarks say it.
    pub settled: &'a SeqSet,
    /// Lost events that central may not know of.
    pub lost: u64,
    /// The runs that wrote the epoch.
    pub lineage: &'a Lineage,
}

/// One epoch on its way to central.
#[derive(Clone, Debug)]
pub(super) struct Strand {
    pub(super) epoch: Epoch,
    pub(super) next: Seq,
    pub(super) lost: u64,
    /// Nothing below this number, and nothing that was ever sent, is live.
    pub(super) live_from: Seq,
    /// What central has recorded of the epoch's runs.
    pub(super) recorded: Lineage,
    pub(super) settled: SeqSet,
    /// Sent and not settled.
    pub(super) in_transit: SeqSet,
    /// Asked for and not held, for a while; and what was set aside, for ever.
    pub(super) absent: SeqSet,
    aside: SeqSet,
    /// Whether the lost ranges went out on their own, or turned out to be none, since their count changed.
    pub(super) losses_told: bool,
    oldest_held: Seq,
    lineage: Lineage,
    /// From here on central has other events.
    forked_at: Option<Seq>,
}

/// What a watermark changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Something is settled that was not.
    pub(super) gained: bool,
    /// What is settled is not what it was.
    pub(super) changed: bool,
    /// From here on central has other events; told once.
    pub(super) fork: Option<Seq>,
}

impl Strand {
    /// An epoch that is new here: all of it counts as backlog.
    pub(super) fn new(view: View<'_>) -> Self {
        let mut strand = Self {
            epoch: view.epoch,
            next: view.next,
            lost: view.lost,
            live_from: view.next,
            recorded: Lineage::default(),
            settled: SeqSet::default(),
            in_transit: SeqSet::default(),
            absent: SeqSet::default(),
            aside: SeqSet::default(),
            losses_told: false,
            oldest_held: view.oldest_held,
            lineage: view.lineage.clone(),
            forked_at: None,
        };
        strand.settled = strand.credible(view.settled.clone());
        strand
    }

    /// Takes up what the spool holds. Whether events were accepted.
    pub(super) fn see(&mut self, view: View<'_>) -> bool {
        let grown = view.next > self.next;
        if view.lost != self.lost {
            (self.lost, self.losses_told) = (view.lost, false);
        }
        (self.oldest_held, self.next) = (view.oldest_held, view.next);
        if self.lineage != *view.lineage {
            self.lineage = view.lineage.clone();
        }
        grown
    }

    /// The number after the last that may be sent.
    pub(super) fn end(&self) -> Seq {
        self.forked_at.map_or(self.next, |at| at.min(self.next))
    }

    /// The lowest numbers from `from` to below `below` that are held, not settled and not on their way; at
    /// most `most`.
    pub(super) fn unsent(&self, from: Seq, below: Seq, most: u64) -> Option<SeqRange> {
        let first = self.oldest_held.max(from).max(Seq::FIRST);
        let last = Seq(self.end().min(below).0.saturating_sub(1));
        let mut missing: Vec<SeqRange> = self.settled.missing_in(SeqRange { first, last });
        for taken in [&self.in_transit, &self.absent, &self.aside] {
            missing = missing.into_iter().flat_map(|range| taken.missing_in(range)).collect();
        }
        let lowest = missing.first()?;
        Some(SeqRange { first: lowest.first, last: lowest.last.min(Seq(lowest.first.0 + most - 1)) })
    }

    /// Whether an event may be sent and is not on its way.
    pub(super) fn wants(&self, seq: Seq) -> bool {
        let taken = [&self.settled, &self.in_transit, &self.aside];
        seq < self.end() && !taken.iter().any(|set| set.contains(seq))
    }

    /// Never to be sent again.
    pub(super) fn put_aside(&mut self, range: SeqRange) {
        self.aside.insert(range);
    }

    /// Settles by hand what the broker took, where its word counts.
    pub(super) fn settle(&mut self, range: SeqRange) {
        self.settled.insert(range);
        self.in_transit.remove(range);
    }

    /// Takes up what a watermark says; `None` when it does not list the epoch. A fork that only touches
    /// numbers to come matters in the `current` epoch alone.
    pub(super) fn handle_mark(&mut self, mark: Option<&EpochMark>, current: bool) -> Change {
        let said = mark.map(EpochMark::settled).unwrap_or_default();
        let mut change = Change::default();
        if let Some(mark) = mark {
            let last = said.ranges().last().map_or(Seq(0), |range| range.last);
            // An older central tells neither runs nor what it has stored.
            let older = mark.highest == Seq(0) && mark.lineage.is_empty();
            let highest = if older && last >= self.next { last } else { mark.highest };
            let fork = self.lineage.fork(self.next, &mark.lineage, highest);
            let matters = |from: &Seq| {
                (current || *from < self.next) && self.forked_at.is_none_or(|known| *from < known)
            };
            if let Some(from) = fork.filter(matters) {
                self.forked_at = Some(from);
                change.fork = Some(from);
            }
        }
        self.recorded = mark.map(|mark| mark.lineage.clone()).unwrap_or_default();
        let settled = self.credible(said);
        change.changed = settled != self.settled;
        change.gained = settled.ranges().iter().any(|range| !self.settled.covers(*range));
        self.settled = settled;
        for range in self.settled.ranges() {
            self.in_transit.remove(*range);
        }
        change
    }

    /// What of the settled numbers can be of this epoch's own events.
    fn credible(&self, mut settled: SeqSet) -> SeqSet {
        settled.remove(SeqRange { first: self.end(), last: Seq(u64::MAX) });
        settled
    }
}
