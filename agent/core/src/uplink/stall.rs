//! When what was sent is not settled. Enters: time. Leaves: single batches to send again. Where central
//! settles others, one that is overdue was lost on the way; where it settles nothing it is away, and one batch
//! at a time probes whether it is back.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::range::SeqRange;

use super::transit::Record;
use super::{PATIENCE_MS, Purpose, Uplink};

/// When central settled something so lately, in milliseconds, one batch that is overdue was lost; otherwise
/// central is away.
const ALIVE_MS: u64 = 2_000;

/// Central settles nothing any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    /// The batch that is to be sent again.
    pub(super) probe: Option<(Epoch, SeqRange, Purpose)>,
    /// When the next one is.
    pub(super) next_at: Uptime,
    /// Takes the epochs in turn.
    pub(super) turn: usize,
}

impl Uplink {
    /// What is overdue was lost on the way, or central is away.
    pub(super) fn look_for_overdue(&mut self, now: Uptime) {
        if self.transit.deadline().is_none_or(|first| first > now) {
            return;
        }
        if self.settled_at.is_some_and(|at| now.since(at) < ALIVE_MS) {
            for Record { epoch, range, .. } in self.transit.release(|record| record.deadline <= now) {
                self.trouble.handle_unanswered(epoch, range);
                self.unsend(epoch, range);
            }
            return;
        }
        self.patience.reset();
        self.patience.next_full_ms();
        self.choose_probe(Stall { probe: None, next_at: now, turn: 0 }, now);
    }

    /// The lowest unsettled batch of an epoch is sent again, the epochs taking turns: watermarks tell of a
    /// few ranges only, and of these the lowest.
    pub(super) fn choose_probe(&mut self, mut stall: Stall, now: Uptime) {
        let mut waiting: Vec<&Record> = self.transit.unsettled().collect();
        waiting.sort_by_key(|record| {
            (self.strands.iter().position(|s| s.epoch == record.epoch), record.range.first)
        });
        waiting.dedup_by_key(|record| record.epoch);
        let chosen = waiting.get(stall.turn % waiting.len().max(1)).map(|record| record.id);
        stall.turn += 1;
        let released = self.transit.release(|record| Some(record.id) == chosen);
        stall.probe = released.first().map(|record| {
            let purpose = if record.range.is_empty() { Purpose::Losses } else { Purpose::Backlog };
            (record.epoch, record.range, purpose)
        });
        for Record { epoch, range, .. } in released {
            self.unsend(epoch, range);
        }
        if stall.probe.is_none() {
            // What waited is held no more: anything else shows as well whether central is there.
            stall.probe = self.backlog();
            stall.next_at = now + PATIENCE_MS.0;
        }
        self.stall = Some(stall);
    }

    /// The batch that is to show whether central is there, if one is chosen and still to be sent.
    pub(super) fn probe(&self) -> Option<(Epoch, SeqRange, Purpose)> {
        self.stall?.probe.filter(|(epoch, range, _)| self.wants(*epoch, *range))
    }
}
