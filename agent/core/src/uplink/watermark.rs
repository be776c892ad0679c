//! What a watermark changes: what is settled, what is a fork, what could not be read, how fast central is.

use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::watermark::Watermark;

use super::transit::Record;
use super::{GRACE_MS, Note, Purpose, SettledBy, Uplink};

/// A payload that is named as unreadable and was not named anew since it was sent again: the same bytes get
/// the same answer, but central gets so long to say it, in milliseconds.
const SAME_BYTES_MS: u64 = 1_000;

impl Uplink {
    /// Central has settled these numbers, and no others. Where a PUBACK settles it says nothing.
    pub fn handle_watermark(&mut self, watermark: &Watermark, now: Uptime) {
        if self.settings.settled_by == SettledBy::Broker {
            return;
        }
        let mut gained = false;
        let current = self.strands.last().map(|strand| strand.epoch);
        for strand in &mut self.strands {
            let epoch = strand.epoch;
            let mark = watermark.epochs.iter().find(|mark| mark.epoch == epoch);
            let change = strand.handle_mark(mark, current == Some(epoch));
            gained |= change.gained;
            if let Some(from) = change.fork {
                self.trouble.forget(epoch, SeqRange { first: from, last: Seq(u64::MAX) });
                self.notes.push_back(Note::Fork { epoch, from });
                // Central refuses such a batch whole: what it held below the fork is sent again.
                let refused = |record: &Record| record.epoch == epoch && record.range.last >= from;
                for record in self.transit.release(refused) {
                    strand.in_transit.remove(record.range);
                }
            }
            if change.changed {
                self.notes.push_back(Note::Settle { epoch, settled: strand.settled.clone() });
                for range in strand.settled.ranges() {
                    self.trouble.forget(epoch, *range);
                }
            }
        }
        let backlog_bytes = self.transit.backlog_bytes();
        let strands = &self.strands;
        let settled = self.transit.release(|record| {
            let strand = strands.iter().find(|strand| strand.epoch == record.epoch);
            strand.is_none_or(|strand| record.is_covered_by(&strand.settled))
        });
        let backlog = settled.iter().filter(|record| record.purpose != Purpose::Live);
        if let Some(slowest) = backlog.clone().map(|record| record.sent_at).min()
            && self.stall.is_none()
        {
            let bytes = backlog.map(|record| record.bytes as u64).sum();
            self.share.handle_settled(slowest, bytes, backlog_bytes, now);
        }
        let answered = self.take_unreadable(&watermark.unreadable, now);
        if gained || answered || !settled.is_empty() {
            self.handle_progress(now);
        }
    }

    /// Settles what the broker took, where its word counts.
    pub(super) fn settle_by_broker(&mut self, record: &Record, now: Uptime) {
        self.transit.release(|other| other.id == record.id);
        let strand = self.strands.iter_mut().find(|strand| strand.epoch == record.epoch);
        if let Some(strand) = strand {
            for range in record.lost.iter().chain([&record.range]) {
                strand.settle(*range);
            }
            // Another record may still be on its way for what is left of the range.
            let settled = strand.settled.clone();
            self.notes.push_back(Note::Settle { epoch: record.epoch, settled });
        }
        self.handle_progress(now);
    }

    /// Something was settled: whoever settles is there.
    fn handle_progress(&mut self, now: Uptime) {
        self.settled_at = Some(now);
        self.patience.reset();
        if self.stall.take().is_some() {
            self.transit.wait_until(now + GRACE_MS);
        }
    }

    /// Batches that central could not read are encoded and sent again at once; in the end they are given
    /// up. Returns whether there were any.
    fn take_unreadable(&mut self, named: &[u32], now: Uptime) -> bool {
        let times = |crc: u32| named.iter().filter(|other| **other == crc).count();
        let unreadable = self.transit.release(|record| {
            let again = times(record.crc) > record.named;
            again || (times(record.crc) > 0 && now.since(record.sent_at) >= SAME_BYTES_MS)
        });
        self.unreadable = Vec::from(named);
        let answered = !unreadable.is_empty();
        for record in unreadable {
            self.unsend(record.epoch, record.range);
            if self.trouble.handle_unreadable(record.epoch, record.range) {
                let why = String::from("central cannot read a batch with these events");
                self.set_aside(record.epoch, record.range, why);
            }
        }
        answered
    }
}
