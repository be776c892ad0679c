//! Batches that do not get through. Enters: which batches were on their way when a connection ended, which the
//! broker refused, which central could not read or did not settle. Leaves: how large batches may be, how
//! many at a time, and which events cannot be sent by any means.
//!
//! A broker that takes only small messages and does not say so, or that hangs up on one certain message,
//! would otherwise be sent the same batch on every connection for ever. Suspicion falls on a batch that
//! was on its way when two connections in a row ended. From then on batches go one at a time, so that the
//! one at fault is known, and it is halved until it passes or is a single event. An event is given up only
//! when the same connection took another batch just before: an outage never costs an event.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::SeqRange;

/// Connections in a row that a batch must have seen the end of to be suspected.
const SUSPECT: u8 = 2;
/// So often a single event may fail where other batches pass.
const ALONE: u8 = 5;
/// So often central may be unable to read a batch.
const UNREADABLE: u8 = 3;
/// Batches of which trouble is remembered.
const REMEMBERED: usize = 64;
/// How long a limit that was found by trying is believed, in milliseconds.
const BELIEVED_MS: u64 = 3_600_000;

/// What went wrong with the events of one batch.
#[derive(Clone, Copy, Debug)]
struct Case {
    epoch: Epoch,
    range: SeqRange,
    /// Connections in a row that ended while it was on its way.
    losses: u8,
    /// How often it failed as a single event where another batch had passed.
    alone: u8,
    /// How often central could not read it.
    unreadable: u8,
    /// How often central did not settle it in time, though it settled others.
    unanswered: u8,
}

/// Everything that does not get through.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    cases: Vec<Case>,
    /// Batches above this size failed; and until when that is believed.
    limit: Option<(usize, Uptime)>,
}

impl Trouble {
    /// Whether batches go one at a time.
    pub(super) fn is_careful(&self) -> bool {
        self.cases.iter().any(|case| case.losses >= SUSPECT)
    }

    /// Whether a single event is suspected: then another batch must pass first on each connection.
    pub(super) fn wants_proof(&self) -> bool {
        self.cases.iter().any(|case| case.losses >= SUSPECT && case.range.len() == 1)
    }

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

    /// A connection ended while a batch was on its way; `size`: its bytes, and whether it alone can have been
    /// the cause. `proved`: the connection had taken another batch. Returns whether the event cannot be
    /// sent.
    pub(super) fn handle_loss(
        &mut self,
        epoch: Epoch,
        range: SeqRange,
        size: (usize, bool),
        proved: bool,
        now: Uptime,
    ) -> bool {
        if range.is_empty() {
            return false;
        }
        let (bytes, only) = size;
        let case = self.case(epoch, range);
        case.losses = case.losses.saturating_add(1);
        if !only || case.losses < SUSPECT {
            return false;
        }
        if range.len() > 1 {
            let limit = self.limit(now).min(bytes) / 2;
            self.limit = Some((limit, now + BELIEVED_MS));
            return false;
        }
        if proved {
            case.alone += 1;
        }
        if case.alone < ALONE {
            return false;
        }
        // It was this event, not the size.
        self.limit = None;
        self.forget(epoch, range);
        true
    }

    /// The broker took a batch.
    pub(super) fn handle_taken(&mut self, epoch: Epoch, range: SeqRange) {
        let same = |case: &&mut Case| {
            case.epoch == epoch && (holds(case.range, range.first) || holds(range, case.range.first))
        };
        self.cases.iter_mut().filter(same).for_each(|case| (case.losses, case.alone) = (0, 0));
        self.drop_done();
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
    }

    /// The case of a batch: what began with the same event before, now with the range that it has.
    fn case(&mut self, epoch: Epoch, range: SeqRange) -> &mut Case {
        let known = self.cases.iter().position(|case| case.epoch == epoch && holds(case.range, range.first));
        let at = known.unwrap_or_else(|| {
            if self.cases.len() >= REMEMBERED {
                self.cases.remove(0);
            }
            self.cases.push(Case { epoch, range, losses: 0, alone: 0, unreadable: 0, unanswered: 0 });
            self.cases.len() - 1
        });
        self.cases[at].range = range;
        &mut self.cases[at]
    }

    fn drop_done(&mut self) {
        self.cases.retain(|case| (case.losses, case.unreadable, case.unanswered) != (0, 0, 0));
    }
}

fn holds(range: SeqRange, seq: Seq) -> bool {
    range.first <= seq && seq <= range.last
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Epoch = Epoch(1);

    fn lose(trouble: &mut Trouble, first: u64, last: u64, proved: bool) -> bool {
        trouble.handle_loss(E, SeqRange::new(first, last), (1_000, true), proved, Uptime(0))
    }

    #[test]
    fn one_outage_raises_no_suspicion() {
        let mut trouble = Trouble::default();
        assert!(!lose(&mut trouble, 1, 256, false));
        assert!(!trouble.is_careful());
        trouble.handle_taken(E, SeqRange::new(1, 256));
        assert!(!lose(&mut trouble, 1, 256, false) && !trouble.is_careful(), "it passed in between");
    }

    #[test]
    fn a_batch_is_halved_until_it_passes() {
        let mut trouble = Trouble::default();
        lose(&mut trouble, 1, 256, false);
        lose(&mut trouble, 1, 256, false);
        assert!(trouble.is_careful());
        assert_eq!(trouble.limit(Uptime(0)), 500);
        trouble.handle_taken(E, SeqRange::new(1, 100));
        assert!(!trouble.is_careful());
        assert_eq!((trouble.limit(Uptime(0)), trouble.limit(Uptime(BELIEVED_MS))), (500, usize::MAX));
    }

    #[test]
    fn a_single_event_is_given_up_only_where_others_pass() {
        let mut trouble = Trouble::default();
        for _ in 0..50 {
            assert!(!lose(&mut trouble, 7, 7, false), "an outage");
        }
        assert!(trouble.wants_proof());
        assert_eq!((0..5).filter(|_| lose(&mut trouble, 7, 7, true)).count(), 1);
        assert!(!trouble.is_careful());
    }

    #[test]
    fn trouble_is_bounded_and_forgotten() {
        let mut trouble = Trouble::default();
        for n in 1..1_000 {
            lose(&mut trouble, n * 10, n * 10 + 5, false);
        }
        assert_eq!(trouble.cases.len(), REMEMBERED);
        trouble.forget(E, SeqRange::new(1, 1_000_000));
        assert!(trouble.cases.is_empty());
    }
}
