//! Batches whose numbers another run has used, stored under an epoch of their own. Enters: a batch that does
//! not continue what is recorded. Leaves: rows under its old epoch as far as it continues that, and under
//! one of its own from there on. What is stored under any other number is not stored again.

use hangtag_central_core::adopt::{self, Parted};
use hangtag_central_core::ledger::Verdict;
use hangtag_protocol::batch::{Batch, Header};
use hangtag_protocol::id::Epoch;
use hangtag_protocol::lineage::Apart;
use hangtag_protocol::range::{SeqRange, SeqSet};

use super::group::{Group, Under};
use super::sums::Sum;
use super::{Message, StoreError, epoch, event};

/// A copy of a copy of a copy: whoever parts more often has made its batches up.
const MAX_PARTED: u8 = 8;

impl Group<'_> {
    /// Stores a batch that does not continue what is recorded.
    pub(super) fn adopt(
        &mut self,
        message: &Message,
        batch: &Batch,
        apart: Apart,
        under: Under,
    ) -> Result<(), StoreError> {
        let parted = match under {
            Under::Given => 1,
            Under::Own(parted) => parted + 1,
        };
        if parted > MAX_PARTED {
            return self.turn_away(message, &batch.header, apart);
        }
        // Where a copy of it is in quarantine; what is turned away further down is kept anew.
        self.release(message)?;
        let Parted { common, branch } = adopt::part(batch, apart);
        if let Some(common) = common {
            self.take_batch(message, &common, under)?;
        }
        let Some(branch) = branch else { return Ok(()) };
        let own = self.own_epoch(&branch)?;
        let topic = &message.topic;
        tracing::info!(topic, epoch = %batch.header.epoch, %own, numbers = ?branch.header.range(), "adopted a fork");
        let branch = Batch { header: Header { epoch: own, ..branch.header }, ..branch };
        self.take_batch(message, &branch, Under::Own(parted))
    }

    /// The epoch of a branch: one that was adopted before and knows one of its runs, or that of its first run.
    fn own_epoch(&self, branch: &Batch) -> Result<Epoch, StoreError> {
        let Header { gateway, epoch: given, .. } = branch.header;
        let runs = branch.lineage.runs();
        let of = |run| adopt::epoch(&gateway, given, run);
        let Some(first) = runs.first().map(|run| of(*run)) else { return Ok(given) };
        if !self.ledger(&(gateway, first))?.lineage().is_empty() {
            return Ok(first);
        }
        // An agent forgets its oldest runs: the same branch, exported later, may begin with another one.
        for (known, lineage) in epoch::lineages(self.db, &gateway)? {
            let is_adopted = lineage.runs().iter().any(|run| of(*run) == known);
            if is_adopted && lineage.runs().iter().any(|run| runs.contains(run)) {
                return Ok(known);
            }
        }
        Ok(first)
    }

    /// Takes out of the new events those that are stored under other numbers, and counts them as known.
    pub(super) fn leave_out_twins(&mut self, batch: &Batch, verdict: &mut Verdict) -> Result<(), StoreError> {
        let mut fresh = SeqSet::from(std::mem::take(&mut verdict.fresh));
        for seq in event::twins(self.db, batch, fresh.ranges())? {
            let twin = SeqRange { first: seq, last: seq };
            fresh.remove(twin);
            verdict.known.push(twin);
        }
        verdict.fresh = fresh.into();
        let events = verdict.fresh.iter().map(SeqRange::len).sum();
        self.sums.adopted += Sum { batches: 1, events };
        Ok(())
    }
}
