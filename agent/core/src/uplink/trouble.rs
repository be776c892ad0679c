//! Batches that do not get through. Enters: which batches were on their way when a connection ended, which the
//! broker refused, which central could not read or did not settle. Leaves: how large batches may be, how
//! many at a time, and which events cannot be sent by any means.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::SeqRange;

use super::search::{Clue, Search};

/// So often central may be unable to read a batch.
const UNREADABLE: u8 = 3;
/// Batches of which trouble is remembered.
const REMEMBERED: usize = 64;
/// How long a limit that was found by trying is believed, in milliseconds.
const BELIEVED_MS: u64 = 3_600_000;

/// What central does not do with the events of one batch.
#[derive(Clone, Copy, Debug)]
struct Case {
    epoch: Epoch,
    range: SeqRange,
    /// How often central could not read it.
    unreadable: u8,
    /// How often central did not settle it in time, though it settled others.
    unanswered: u8,
}

/// Everything that does not get through.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub(super) search: Search,
    cases: Vec<Case>,
    /// Batches above this size failed; and until when that is believed.
    limit: Option<(usize, Uptime)>,
}

impl Trouble {
    /// The largest batch that is tried.
    pub(super) fn limit(&self, now: Uptime) -> usize {
        self.limit.filter(|(_, until)| now < *until).map_or(usize::MAX, |(bytes, _)| bytes)
    }

    /// How often a batch from this event on was not settled in time.
    pub(super) fn unanswered(&self, epoch: Epoch, first: Seq) -> u8 {
        self.cases
            .iter()
            .find(|case| case.epoch == epoch && holds(case.range, first))
            .map_or(0, |c| c.unanswered)
    }

    /// A connection ended while these batches were on their way, or the broker refused one.
    pub(super) fn handle_end(&mut self, lost: &[(Epoch, SeqRange, usize)], proved: bool) -> Clue {
        let clue = self.search.handle_end(lost, proved);
        if let Clue::Found(epoch, range) = clue {
            // It was this event, not the size.
            self.limit = None;
            self.forget(epoch, range);
        }
        clue
    }

    /// The broker took a batch.
    pub(super) fn handle_taken(&mut self, epoch: Epoch, range: SeqRange, bytes: usize, now: Uptime) {
        if let Some(limit) = self.search.handle_taken(epoch, range, bytes) {
            self.limit = Some((limit, now + BELIEVED_MS));
        }
    }

    /// Central could not read a batch. Returns whether that was the last try.
    pub(super) fn handle_unreadable(&mut self, epoch: Epoch, range: SeqRange) -> bool {
        if range.is_empty() {
            return false;
        }
        let case = self.case(epoch, range);
        case.unreadable += 1;
        let over = case.unreadable >= UNREADABLE;
        if over {
            self.forget(epoch, range);
        }
        over
    }

    /// Central did not settle a batch in time, though it settled others.
    pub(super) fn handle_unanswered(&mut self, epoch: Epoch, range: SeqRange) {
        if !range.is_empty() {
            let case = self.case(epoch, range);
            case.unanswered = case.unanswered.saturating_add(1);
        }
    }

    /// These events are settled, or held no more.
    pub(super) fn forget(&mut self, epoch: Epoch, range: SeqRange) {
        self.cases.retain(|case| case.epoch != epoch || !holds(range, case.range.first));
        self.search.forget(epoch, range);
    }

    /// The case of a batch: what began with the same event before, now with the range that it has.
    fn case(&mut self, epoch: Epoch, range: SeqRange) -> &mut Case {
        let known = self.cases.iter().position(|case| case.epoch == epoch && holds(case.range, range.first));
        let at = known.unwrap_or_else(|| {
            if self.cases.len() >= REMEMBERED {
                self.cases.remove(0);
            }
            self.cases.push(Case { epoch, range, unreadable: 0, unanswered: 0 });
            self.cases.len() - 1
        });
        self.cases[at].range = range;
        &mut self.cases[at]
    }
}

fn holds(range: SeqRange, seq: Seq) -> bool {
    range.first <= seq && seq <= range.last
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Epoch = Epoch(1);

    #[test]
    fn a_size_that_failed_is_believed_for_an_hour() {
        let mut trouble = Trouble::default();
        let batch = |bytes| [(E, SeqRange::new(1, 2), bytes)];
        for _ in 0..2 {
            trouble.handle_end(&batch(1_000), false);
        }
        trouble.handle_end(&batch(1_000), true);
        for n in 1..=2 {
            trouble.handle_taken(E, SeqRange::new(n, n), 400, Uptime(0));
        }
        assert_eq!((trouble.limit(Uptime(0)), trouble.limit(Uptime(BELIEVED_MS))), (500, usize::MAX));
    }

    #[test]
    fn trouble_is_bounded_and_forgotten() {
        let mut trouble = Trouble::default();
        for n in 1..1_000 {
            trouble.handle_unanswered(E, SeqRange::new(n * 10, n * 10 + 5));
        }
        assert_eq!(trouble.cases.len(), REMEMBERED);
        trouble.handle_end(&[(E, SeqRange::new(5, 9), 100)], false);
        trouble.forget(E, SeqRange::new(1, 1_000_000));
        assert!(trouble.cases.is_empty());
        trouble.handle_end(&[(E, SeqRange::new(5, 9), 100)], false);
        assert!(!trouble.search.is_narrowing());
    }
}
