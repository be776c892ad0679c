//! What the uplink knows of one epoch. Enters: what the spool holds of it, what central says of it. Leaves:
//! which numbers may be sent, and what of them is settled.

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
        let end = self.end().min(below);
        let taken = [&self.settled, &self.in_transit, &self.absent, &self.aside];
        // Asked for every batch: nothing is collected.
        let first = first_in_none(&taken, first).filter(|first| *first < end)?;
        let next = taken.iter().filter_map(|set| Some(set.ranges_from(first).first()?.first)).min();
        let end = next.map_or(end, |next| next.min(end));
        Some(SeqRange { first, last: Seq((end.0 - 1).min(first.0.saturating_add(most - 1))) })
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

/// The lowest number from `seq` on that is in none of the sets; `None` when the numbers end before.
fn first_in_none(sets: &[&SeqSet], mut seq: Seq) -> Option<Seq> {
    loop {
        let holds = |set: &&SeqSet| set.ranges_from(seq).first().filter(|range| range.first <= seq).copied();
        match sets.iter().find_map(holds) {
            Some(range) => seq = Seq(range.last.0.checked_add(1)?),
            None => return Some(seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn set() -> impl Strategy<Value = SeqSet> {
        prop::collection::vec((0u64..60, 0u64..9), 0..6).prop_map(|ranges| {
            let range = |(first, more)| SeqRange::new(first, first + more);
            SeqSet::from(ranges.into_iter().map(range).collect::<Vec<_>>())
        })
    }

    proptest! {
        #[test]
        fn the_lowest_that_may_be_sent_is_found(
            sets in (set(), set(), set(), set()), oldest in 0u64..20, from in 0u64..50, below in 0u64..80, most in 1u64..9,
        ) {
            let (settled, lineage) = (SeqSet::default(), Lineage::default());
            let (oldest_held, next) = (Seq(oldest), Seq(64));
            let epoch = Epoch(1);
            let mut strand =
                Strand::new(View { epoch, oldest_held, next, settled: &settled, lost: 0, lineage: &lineage });
            (strand.settled, strand.in_transit, strand.absent, strand.aside) = sets;
            let taken = [&strand.settled, &strand.in_transit, &strand.absent, &strand.aside];
            let open = |seq: &u64| !taken.iter().any(|set| set.contains(Seq(*seq)));
            let first = (oldest.max(from).max(1)..below.min(64)).find(open);
            let last = first.map(|first| (first..below.min(64)).take_while(open).take(most as usize).last());
            let expected = first.zip(last.flatten()).map(|(first, last)| SeqRange::new(first, last));
            prop_assert_eq!(strand.unsent(Seq(from), Seq(below), most), expected);
        }
    }
}
