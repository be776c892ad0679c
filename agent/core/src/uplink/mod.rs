//! What the uplink decides: which events go into the next batch, and when what was sent is sent again.
//! Enters: what is in the spool, PUBACKs, watermarks, time. Leaves: ranges to send.
//!
//! A PUBACK comes from the broker and proves nothing about central; it only makes room in the window.
//! What was sent stays *unsettled* until a watermark covers it. When watermarks stop, everything
//! unsettled is sent again, at most once per patience, which doubles up to a minute.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::{SeqRange, SeqSet};

use crate::backoff::Backoff;

/// Batches that are on their way at the same time.
pub const WINDOW: usize = 16;
/// Bytes that may be sent and unsettled: beyond, central is behind, and more would only be lost.
pub const UNSETTLED_BYTES: u64 = 1 << 20;
/// The most events in one batch.
pub const BATCH_EVENTS: u64 = 256;
/// An event waits at most so long for company, in milliseconds.
pub const BATCH_AGE_MS: u64 = 500;
/// How long central may take to settle what was sent before it is sent again, in milliseconds: at
/// first, and at most.
const PATIENCE_MS: (u64, u64) = (5_000, 60_000);

/// Why the uplink wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Events have waited long enough for company.
    Age,
    /// Central has not settled what was sent.
    Patience,
}

/// What the uplink decides, for the events of one epoch.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// The number after the last accepted event.
    next: Seq,
    oldest_held: Seq,
    settled: SeqSet,
    /// Sent since the last reset, settled or not.
    sent: SeqSet,
    /// Everything below was sent before, by this process or an earlier one.
    replayed_below: Seq,
    in_flight: usize,
    unsettled_bytes: u64,
    connected: bool,
    /// When the oldest event that was not sent was accepted.
    waiting_since: Option<Uptime>,
    patience: Backoff,
    give_up_at: Option<Uptime>,
}

/// A batch to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// The events; fewer may be sent, from the first on.
    pub range: SeqRange,
    /// Whether they were sent before or waited out an outage.
    pub replayed: bool,
}

impl Uplink {
    /// Starts with what the spool holds: everything accepted before now counts as replayed.
    #[must_use]
    pub fn new(oldest_held: Seq, next: Seq) -> Self {
        Self {
            next,
            oldest_held,
            settled: SeqSet::default(),
            sent: SeqSet::default(),
            replayed_below: next,
            in_flight: 0,
            unsettled_bytes: 0,
            connected: false,
            waiting_since: None,
            patience: Backoff::new(PATIENCE_MS.0, PATIENCE_MS.1),
            give_up_at: None,
        }
    }

    /// Events were accepted, or evicted.
    pub fn handle_spool(&mut self, oldest_held: Seq, next: Seq, now: Uptime) {
        if next > self.next {
            self.waiting_since = self.waiting_since.or(Some(now));
        }
        (self.oldest_held, self.next) = (oldest_held, next);
    }

    /// The connection is up: whatever was sent on another one is sent again, unless it is settled.
    pub fn handle_connected(&mut self, now: Uptime) {
        self.connected = true;
        self.send_again();
        self.waiting_since = self.next_unsent().map(|_| now - BATCH_AGE_MS);
        self.patience.reset();
    }

    /// The connection is gone.
    pub fn handle_disconnected(&mut self) {
        self.connected = false;
        self.send_again();
    }

    /// A batch was handed to the connection.
    pub fn handle_sent(&mut self, range: SeqRange, bytes: usize, now: Uptime) {
        self.sent.insert(range);
        self.in_flight += 1;
        self.unsettled_bytes += bytes as u64;
        if self.next_unsent().is_none() {
            self.waiting_since = None;
        }
        if self.give_up_at.is_none() {
            self.give_up_at = Some(now + self.patience.next_full_ms());
        }
    }

    /// The broker has taken a batch.
    pub fn handle_puback(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Central has settled these, and nothing else, of this epoch. Returns what the spool may delete. A
    /// watermark of events that were never accepted here tells of another gateway under the same name,
    /// or of an older copy of this one: nothing is deleted by it.
    pub fn handle_watermark(&mut self, settled: &SeqSet, now: Uptime) -> SeqSet {
        if settled.ranges().last().is_some_and(|range| range.last >= self.next) {
            return SeqSet::default();
        }
        let settled = settled.clone();
        let moved = settled.len() > self.settled.len();
        if settled.len() < self.settled.len() {
            // Central was restored from a backup: what it forgot is sent again.
            let forgotten_to = self.settled.ranges().last().map_or(Seq(0), |range| range.last);
            self.replayed_below = self.replayed_below.max(Seq(forgotten_to.0 + 1));
            self.send_again();
        }
        self.settled = settled;
        let unsettled = self.sent.ranges().iter().any(|range| !self.settled.covers(*range));
        if moved {
            self.patience.reset();
            self.give_up_at = None;
        }
        if self.next_unsent().is_none() {
            self.waiting_since = None;
        }
        if !unsettled {
            self.unsettled_bytes = 0;
            self.give_up_at = None;
            self.sent = SeqSet::default();
        } else if self.give_up_at.is_none() {
            self.give_up_at = Some(now + self.patience.next_full_ms());
        }
        self.settled.clone()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        if self.connected && self.give_up_at.is_some_and(|at| now >= at) {
            self.send_again();
        }
    }

    /// The next batch to send, if the window has room and enough events wait or have waited enough.
    #[must_use]
    pub fn poll_send(&self, now: Uptime) -> Option<Send> {
        if !self.connected || self.is_full() {
            return None;
        }
        let range = self.next_unsent()?;
        let old = self.waiting_since.is_some_and(|since| now.since(since) >= BATCH_AGE_MS);
        let replayed = range.first < self.replayed_below;
        (range.len() >= BATCH_EVENTS || old || replayed).then_some(Send { range, replayed })
    }

    /// Whether everything that is held is settled or on its way.
    #[must_use]
    pub fn is_all_sent(&self) -> bool {
        self.next_unsent().is_none()
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_send`](Self::poll_send) is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Uptime, Reason)> {
        if !self.connected {
            return None;
        }
        let age = self.waiting_since.filter(|_| !self.is_full());
        let age = age.map(|since| (since + BATCH_AGE_MS, Reason::Age));
        let patience = self.give_up_at.map(|at| (at, Reason::Patience));
        age.into_iter().chain(patience).min_by_key(|(at, _)| *at)
    }

    fn is_full(&self) -> bool {
        self.in_flight >= WINDOW || (self.unsettled_bytes >= UNSETTLED_BYTES && !self.sent.is_empty())
    }

    /// The lowest events that are held, not settled and not sent.
    fn next_unsent(&self) -> Option<SeqRange> {
        let held = SeqRange { first: self.oldest_held, last: Seq(self.next.0 - 1) };
        let unsettled = self.settled.missing_in(held);
        let unsent = unsettled.into_iter().flat_map(|range| self.sent.missing_in(range)).next()?;
        Some(SeqRange { last: unsent.last.min(Seq(unsent.first.0 + BATCH_EVENTS - 1)), ..unsent })
    }

    fn send_again(&mut self) {
        let sent_to = self.sent.ranges().last().map_or(Seq(0), |range| range.last);
        self.replayed_below = self.replayed_below.max(Seq(sent_to.0 + 1));
        self.sent = SeqSet::default();
        self.in_flight = 0;
        self.unsettled_bytes = 0;
        self.give_up_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn set(first: u64, last: u64) -> SeqSet {
        SeqSet::from(vec![SeqRange::new(first, last)])
    }

    fn connected(next: u64) -> Uplink {
        let mut uplink = Uplink::new(Seq(1), Seq(1));
        uplink.handle_connected(Uptime(0));
        uplink.handle_spool(Seq(1), Seq(next), Uptime(0));
        uplink
    }

    /// Sends all there is to send at a moment; returns the ranges.
    fn drain(uplink: &mut Uplink, now: Uptime) -> Vec<SeqRange> {
        let mut sent = Vec::new();
        while let Some(send) = uplink.poll_send(now) {
            uplink.handle_sent(send.range, 1_000, now);
            sent.push(send.range);
        }
        sent
    }

    #[test]
    fn closes_a_batch_by_count_or_age() {
        let mut uplink = connected(1);
        drain(&mut uplink, Uptime(0));
        uplink.waiting_since = None;
        uplink.handle_spool(Seq(1), Seq(4), Uptime(1_000));
        assert_eq!(uplink.poll_send(Uptime(1_000)), None, "waits for company");
        assert_eq!(uplink.poll_timeout(), Some((Uptime(1_500), Reason::Age)));
        assert_eq!(drain(&mut uplink, Uptime(1_500)), [SeqRange::new(1, 3)]);
        uplink.handle_spool(Seq(1), Seq(600), Uptime(1_600));
        assert_eq!(drain(&mut uplink, Uptime(1_600)), [SeqRange::new(4, 259), SeqRange::new(260, 515)]);
    }

    #[test]
    fn the_window_bounds_what_is_on_its_way() {
        let mut uplink = connected(100_000);
        assert_eq!(drain(&mut uplink, Uptime(600)).len(), WINDOW);
        uplink.handle_puback();
        assert_eq!(drain(&mut uplink, Uptime(600)).len(), 1);
    }

    #[test]
    fn a_broker_that_acknowledges_what_central_never_gets_is_not_believed() {
        let mut uplink = connected(11);
        drain(&mut uplink, Uptime(600));
        uplink.handle_puback();
        let mut sent_again = Vec::new();
        for now in (600..200_000).step_by(100).map(Uptime) {
            uplink.handle_timeout(now);
            for range in drain(&mut uplink, now) {
                assert_eq!(range, SeqRange::new(1, 10));
                assert!(uplink.replayed_below > Seq(10));
                uplink.handle_puback();
                sent_again.push(now.0);
            }
        }
        assert!((5..=9).contains(&sent_again.len()), "{sent_again:?}");
        assert!(
            sent_again[0] <= 6_000 && sent_again.last().unwrap() - sent_again[sent_again.len() - 2] > 50_000
        );
    }

    #[test]
    fn only_what_is_missing_is_sent_again() {
        let mut uplink = connected(101);
        drain(&mut uplink, Uptime(600));
        let mut settled = set(1, 40);
        settled.insert(SeqRange::new(51, 60));
        assert_eq!(uplink.handle_watermark(&settled, Uptime(700)), settled);
        uplink.handle_disconnected();
        assert_eq!(uplink.poll_send(Uptime(800)), None);
        uplink.handle_connected(Uptime(900));
        assert_eq!(drain(&mut uplink, Uptime(900)), [SeqRange::new(41, 50), SeqRange::new(61, 100)]);
    }

    #[test]
    fn a_central_that_went_back_in_time_gets_what_is_still_held() {
        let mut uplink = connected(101);
        drain(&mut uplink, Uptime(600));
        uplink.handle_watermark(&set(1, 100), Uptime(700));
        assert_eq!(uplink.poll_send(Uptime(5_000)), None);
        uplink.handle_watermark(&set(1, 20), Uptime(6_000));
        assert_eq!(drain(&mut uplink, Uptime(6_000)), [SeqRange::new(21, 100)]);
    }

    #[test]
    fn a_watermark_from_the_future_deletes_nothing_of_it() {
        let mut uplink = connected(11);
        assert_eq!(uplink.handle_watermark(&set(1, 500), Uptime(1)), SeqSet::default());
        assert_eq!(drain(&mut uplink, Uptime(600)), [SeqRange::new(1, 10)], "what is held is still sent");
    }

    #[test]
    fn too_much_unsettled_holds_the_rest_back() {
        let mut uplink = connected(1_000_000);
        let mut bytes = 0;
        while let Some(send) = uplink.poll_send(Uptime(600)) {
            uplink.handle_sent(send.range, 60_000, Uptime(600));
            uplink.handle_puback();
            bytes += 60_000;
        }
        assert!((UNSETTLED_BYTES..UNSETTLED_BYTES + 60_000).contains(&bytes));
        uplink.handle_timeout(Uptime(6_000));
        assert!(uplink.poll_send(Uptime(6_000)).is_some(), "tries again after a while");
    }
}
