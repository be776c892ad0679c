//! Which batch goes next: live events before all, then what the window, central and the rate leave to the
//! backlog.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::SeqRange;

use super::{
    BATCH_AGE_MS, BATCH_EVENTS, Purpose, Send, SettledBy, UNSETTLED_BATCHES, UNSETTLED_BYTES, Uplink, WINDOW,
};

impl Uplink {
    /// The next batch to send, if the window has room and enough events wait or have waited enough.
    #[must_use]
    pub fn poll_send(&self, now: Uptime) -> Option<Send> {
        let link = self.link?;
        let search = &self.trouble.search;
        let window = if search.is_narrowing() { 1 } else { link.limits.window.clamp(1, WINDOW) };
        if self.transit.in_flight() >= window {
            return None;
        }
        if search.is_narrowing() && !link.proved {
            let current = self.strands.last()?;
            return self.send(current.epoch, nothing_at(current.next), Purpose::Proof, now);
        }
        if self.stall.is_some() {
            return self.probe().and_then(|(epoch, range, purpose)| self.send(epoch, range, purpose, now));
        }
        if self.transit.unsettled_bytes() >= UNSETTLED_BYTES
            || self.transit.unsettled_batches() >= UNSETTLED_BATCHES
        {
            return None;
        }
        // They are few, and until it is known which is at fault all others wait for one another.
        if let Some((epoch, range)) = self.suspect() {
            return self.send(epoch, range, Purpose::Backlog, now);
        }
        if let Some((range, since)) = self.live() {
            let old = self.finishing || now.since(since) >= BATCH_AGE_MS;
            if range.len() >= BATCH_EVENTS || old {
                return self.send(self.strands.last()?.epoch, range, Purpose::Live, now);
            }
        }
        let places = (window * usize::from(self.settings.backlog_percent) / 100).max(1);
        let room = self.transit.backlog_in_flight() < places
            && (self.settings.settled_by == SettledBy::Broker
                || self.share.has_room(self.transit.backlog_bytes()));
        if !room || self.bucket.ready_at() > now {
            return None;
        }
        let (epoch, range, purpose) = self.backlog()?;
        self.send(epoch, range, purpose, now)
    }

    /// The lowest live events, and since when the first of them waits.
    fn live(&self) -> Option<(SeqRange, Uptime)> {
        let strand = self.strands.last()?;
        let range = strand.unsent(strand.live_from, strand.next, BATCH_EVENTS)?;
        let mark = self.marks.iter().find(|(next, _)| *next > range.first);
        Some((range, mark.map_or(Uptime(0), |(_, at)| *at)))
    }

    pub(super) fn live_since(&self) -> Option<Uptime> {
        self.live().map(|(_, since)| since)
    }

    /// The next piece of what may make the broker hang up.
    fn suspect(&self) -> Option<(Epoch, SeqRange)> {
        self.trouble.search.pieces().find_map(|(epoch, range, most)| {
            let strand = self.strands.iter().find(|strand| strand.epoch == epoch)?;
            Some((epoch, strand.unsent(range.first, range.last.plus(1), most.min(BATCH_EVENTS))?))
        })
    }

    /// The next of the backlog: the lowest of the oldest epoch.
    pub(super) fn backlog(&self) -> Option<(Epoch, SeqRange, Purpose)> {
        self.strands.iter().find_map(|strand| {
            if let Some(range) = strand.unsent(Seq(0), strand.live_from, BATCH_EVENTS) {
                return Some((strand.epoch, range, Purpose::Backlog));
            }
            // Every batch tells of lost ranges: only when there is no other must one go without events.
            let carried = self.transit.unsettled().any(|record| record.epoch == strand.epoch)
                || strand.unsent(Seq(0), strand.end(), 1).is_some();
            (strand.lost > 0 && !strand.losses_told && !carried)
                .then(|| (strand.epoch, nothing_at(strand.end()), Purpose::Losses))
        })
    }

    fn send(&self, epoch: Epoch, range: SeqRange, purpose: Purpose, now: Uptime) -> Option<Send> {
        let limit = self.link?.limits.batch_bytes;
        let end = self.strands.iter().find(|strand| strand.epoch == epoch)?.end();
        let range = self.trouble.search.clip(epoch, range);
        Some(Send { epoch, range, purpose, limit, advice: limit.min(self.trouble.limit(now)), end })
    }
}

/// A batch without events.
fn nothing_at(first: Seq) -> SeqRange {
    SeqRange { first, last: Seq(first.0 - 1) }
}
