//! What the uplink decides: which events go into the next batch, and when what was sent is sent again.
//! Enters: what the spool holds, PUBACKs, watermarks, time. Leaves: ranges to send, and word to the spool.
//!
//! A PUBACK comes from the broker and proves nothing about central; it only makes room in the window.
//! What was sent stays *unsettled* until a watermark covers it.
//!
//! ```text
//!            live ──────────────────────────────┐ first, never waits for a place
//! spool ─────┤                                  ├──▶ window ──▶ unsettled ──▶ settled
//!            backlog: oldest epoch, lowest ─────┘ a share of the window, as much as central keeps up with
//! ```
//!
//! An event is *live* if it was accepted by this process, was never sent, and waited no longer than
//! [`LIVE_MS`], be it for a connection; everything else is *backlog* and marked as replayed. When watermarks stop,
//! single batches probe whether central is back; when it settles others and not one, that one is sent
//! again.

mod choice;
mod epoch;
mod pace;
mod search;
mod stall;
mod transit;
mod trouble;
mod watermark;
mod words;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};

use crate::backoff::Backoff;
use epoch::Strand;
pub use epoch::View;
use pace::{Bucket, Share};
use search::ALONE;
use stall::Stall;
use transit::{Record, Transit};
use trouble::Trouble;
pub use words::{Answer, BatchId, Ended, Limits, Note, Purpose, Reason, Send, Sent, Settings, SettledBy};

/// Batches that are on their way at the same time, at most.
pub const WINDOW: usize = 16;
/// Bytes that may be sent and unsettled: beyond, central is behind, and more would only be lost.
pub const UNSETTLED_BYTES: u64 = 1 << 20;
/// Batches that may be sent and unsettled, however small they are.
pub const UNSETTLED_BATCHES: usize = 1_024;
/// The most events in one batch.
pub const BATCH_EVENTS: u64 = 256;
/// A live event waits at most so long for company, in milliseconds.
pub const BATCH_AGE_MS: u64 = 250;
/// A live event that could not be sent for so long is backlog, so that those after it are not held up by
/// it, in milliseconds.
pub const LIVE_MS: u64 = 5_000;
/// The most connections that an event costs on which a broker hangs up, and on nothing else, before it is set
/// aside: two until batches are suspected, one until it is known which, and the rest for the events in it.
pub const MOST_HANG_UPS: u32 = 2 + 1 + BATCH_EVENTS.ilog2() + (ALONE as u32 - 1);
/// How long central may take to settle what was sent before it is sent again, in milliseconds: at
/// first, and at most.
const PATIENCE_MS: (u64, u64) = (5_000, 60_000);
/// When central is back, what it has not settled yet gets so long before it is sent again, in milliseconds.
const GRACE_MS: u64 = 1_000;
/// What the spool did not hold is asked for again after this time, in milliseconds.
const ABSENT_MS: u64 = 60_000;
/// Moments remembered at which live events were accepted.
const MARKS: usize = 64;

/// What the uplink decides.
#[derive(Clone, Debug)]
pub struct Uplink {
    settings: Settings,
    /// Oldest first; the last takes new events.
    strands: Vec<Strand>,
    link: Option<Link>,
    transit: Transit,
    trouble: Trouble,
    share: Share,
    bucket: Bucket,
    notes: VecDeque<Note>,
    /// The number after an event that was accepted lately, and when.
    marks: VecDeque<(Seq, Uptime)>,
    /// Payloads that central could not read, as the latest watermark has them.
    unreadable: Vec<u32>,
    /// When central last settled something.
    settled_at: Option<Uptime>,
    stall: Option<Stall>,
    patience: Backoff,
    forget_absent_at: Option<Uptime>,
    finishing: bool,
    sent: u64,
    /// The connection told more of what the broker does not take.
    nearer: bool,
}

/// The connection that is up.
#[derive(Clone, Copy, Debug)]
struct Link {
    limits: Limits,
    /// It has taken a batch.
    proved: bool,
}

impl Uplink {
    /// Starts with what the spool holds, oldest epoch first: everything accepted before counts as backlog.
    #[must_use]
    pub fn new<'a>(settings: Settings, held: impl IntoIterator<Item = View<'a>>) -> Self {
        Self {
            settings,
            strands: held.into_iter().map(Strand::new).collect(),
            link: None,
            transit: Transit::default(),
            trouble: Trouble::default(),
            share: Share::new(),
            bucket: Bucket::new(settings.bytes_per_s),
            notes: VecDeque::new(),
            marks: VecDeque::new(),
            unreadable: Vec::new(),
            settled_at: None,
            stall: None,
            patience: Backoff::new(PATIENCE_MS.0, PATIENCE_MS.1),
            forget_absent_at: None,
            finishing: false,
            sent: 0,
            nearer: false,
        }
    }

    /// Events were accepted or evicted, an epoch began or is done with.
    pub fn handle_spool<'a>(&mut self, held: impl IntoIterator<Item = View<'a>>, now: Uptime) {
        let mut before = core::mem::take(&mut self.strands);
        for view in held {
            let known = before.iter().position(|strand| strand.epoch == view.epoch);
            // An epoch that begins while connected may hold events that waited in another.
            let Some(mut strand) = known.map(|at| before.remove(at)) else {
                self.strands.push(Strand::new(view));
                self.marks.clear();
                continue;
            };
            if strand.see(view) {
                self.marks.retain(|(next, _)| *next > strand.live_from);
                let full = self.marks.len() >= MARKS;
                match self.marks.back_mut().filter(|_| full) {
                    Some((next, _)) => *next = strand.next,
                    None => self.marks.push_back((strand.next, now)),
                }
            }
            let gone = SeqRange { first: Seq(0), last: Seq(view.oldest_held.0.saturating_sub(1)) };
            self.trouble.forget(view.epoch, gone);
            self.strands.push(strand);
        }
        if let Some((_, drained)) = self.strands.split_last_mut() {
            drained.iter_mut().for_each(|strand| strand.live_from = strand.next);
        }
        if self.link.is_none() {
            self.forget_old_marks(now);
        }
        for gone in before {
            self.transit.release(|record| record.epoch == gone.epoch);
            self.trouble.forget(gone.epoch, SeqRange { first: Seq(0), last: Seq(u64::MAX) });
        }
    }

    /// The connection is up: whatever was sent on another one is sent again, unless it is settled.
    pub fn handle_connected(&mut self, limits: Limits, now: Uptime) {
        self.link = Some(Link { limits, proved: false });
        for strand in &mut self.strands {
            strand.absent = SeqSet::default();
            strand.losses_told = false;
        }
        let strands = &self.strands;
        self.trouble.search.keep(|epoch, range| {
            let strand = strands.iter().find(|strand| strand.epoch == epoch);
            strand.is_some_and(|strand| strand.unsent(range.first, range.last.plus(1), 1).is_some())
        });
        self.forget_old_marks(now);
        self.stall = None;
        self.settled_at = None;
        self.patience.reset();
        self.bucket.take(0, now);
    }

    /// The connection is gone. Returns whether it brought the search for what the broker does not take further:
    /// then the next one need not wait for long.
    pub fn handle_disconnected(&mut self, ended: Ended) -> bool {
        let proved = self.link.take().is_some_and(|link| link.proved);
        let lost = self.transit.clear();
        for strand in &mut self.strands {
            strand.in_transit = SeqSet::default();
        }
        if ended == Ended::Unexplained {
            let lost: Vec<_> = lost.iter().map(|record| (record.epoch, record.range, record.bytes)).collect();
            self.lose(&lost, proved);
        }
        core::mem::take(&mut self.nearer)
    }

    /// A batch was handed to the connection. It may hold less than was asked for.
    pub fn handle_sent(&mut self, send: &Send, sent: Sent, now: Uptime) -> BatchId {
        self.sent += 1;
        let Sent { range, bytes, crc, lost } = sent;
        let by_broker = self.settings.settled_by == SettledBy::Broker;
        let tries = self.trouble.unanswered(send.epoch, range.first);
        let wait = PATIENCE_MS.0.saturating_mul(1 << tries.min(8)).min(PATIENCE_MS.1);
        if !range.is_empty() {
            self.note_absent(send.epoch, SeqRange { last: Seq(range.first.0 - 1), ..send.range }, now);
        }
        if let Some(strand) = self.strands.iter_mut().find(|strand| strand.epoch == send.epoch) {
            strand.in_transit.insert(range);
            strand.losses_told |= send.purpose == Purpose::Losses;
            if send.purpose == Purpose::Live {
                strand.live_from = strand.live_from.max(range.last.plus(1));
            }
        }
        if self.stall.is_some() {
            let next_at = now + self.patience.next_full_ms();
            self.stall = self.stall.map(|stall| Stall { probe: None, next_at, ..stall });
        }
        self.bucket.take(bytes, now);
        self.transit.insert(Record {
            id: self.sent,
            epoch: send.epoch,
            range,
            lost: if range.is_empty() || by_broker { lost } else { Vec::new() },
            purpose: send.purpose,
            bytes,
            crc,
            named: self.unreadable.iter().filter(|named| **named == crc).count(),
            sent_at: now,
            deadline: now + wait,
            in_flight: true,
            unsettled: send.purpose != Purpose::Proof,
        });
        BatchId(self.sent)
    }

    /// The spool holds nothing of what was asked for.
    pub fn handle_absent(&mut self, send: &Send, now: Uptime) {
        self.note_absent(send.epoch, send.range, now);
        let strand = self.strands.iter_mut().find(|strand| strand.epoch == send.epoch);
        if let (Some(strand), Purpose::Losses) = (strand, send.purpose) {
            strand.losses_told = true;
            self.forget_absent_at = self.forget_absent_at.or(Some(now + ABSENT_MS));
        }
        if let Some(stall) = &mut self.stall {
            (stall.probe, stall.next_at) = (None, now);
        }
    }

    /// One event alone is larger than the broker takes.
    pub fn handle_too_large(&mut self, epoch: Epoch, seq: Seq, why: String) {
        self.set_aside(epoch, SeqRange { first: seq, last: seq }, why);
    }

    /// The broker answered a batch. After anything but [`Answer::Taken`] and [`Answer::Unheard`] the
    /// connection is to be given up.
    pub fn handle_puback(&mut self, id: BatchId, answer: Answer, now: Uptime) {
        let Some(record) = self.transit.handle_puback(id.0) else { return };
        let proved = self.link.is_some_and(|link| link.proved);
        match answer {
            Answer::Taken | Answer::Unheard => {
                self.trouble.handle_taken(record.epoch, record.range, record.bytes, now);
                if let Some(link) = &mut self.link {
                    link.proved = true;
                }
            }
            Answer::Refused => self.lose(&[(record.epoch, record.range, record.bytes)], proved),
            Answer::Closed => {}
        }
        if self.settings.settled_by == SettledBy::Broker && answer == Answer::Taken && record.unsettled {
            self.settle_by_broker(&record, now);
        }
    }

    /// From here on nothing waits for company.
    pub fn handle_finish(&mut self) {
        self.finishing = true;
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        if self.link.is_none() {
            return;
        }
        if self.live_since().is_some_and(|since| now.since(since) >= LIVE_MS)
            && let Some(strand) = self.strands.last_mut()
        {
            strand.live_from = strand.next;
            self.marks.clear();
        }
        if self.forget_absent_at.is_some_and(|at| now >= at) {
            self.forget_absent_at = None;
            for strand in &mut self.strands {
                (strand.absent, strand.losses_told) = (SeqSet::default(), false);
            }
        }
        match self.stall {
            Some(stall) if self.probe().is_none() && now >= stall.next_at => self.choose_probe(stall, now),
            Some(_) => {}
            None => self.look_for_overdue(now),
        }
    }

    /// Whether a batch that was asked for some time ago is still to be sent.
    #[must_use]
    pub fn is_wanted(&self, send: &Send) -> bool {
        self.link.is_some() && self.wants(send.epoch, send.range)
    }

    fn wants(&self, epoch: Epoch, range: SeqRange) -> bool {
        let strand = self.strands.iter().find(|strand| strand.epoch == epoch);
        strand.is_some_and(|strand| range.is_empty() || strand.wants(range.first))
    }

    /// What central has recorded of an epoch's runs.
    #[must_use]
    pub fn recorded(&self, epoch: Epoch) -> Lineage {
        let strand = self.strands.iter().find(|strand| strand.epoch == epoch);
        strand.map(|strand| strand.recorded.clone()).unwrap_or_default()
    }

    /// What the spool is to be told next.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// Whether everything that is held is settled or on its way.
    #[must_use]
    pub fn is_all_sent(&self) -> bool {
        self.strands.iter().all(|strand| strand.unsent(Seq(0), strand.end(), 1).is_none())
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_send`](Self::poll_send) is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Uptime, Reason)> {
        let link = self.link?;
        let mut due = [self.forget_absent_at.map(|at| (at, Reason::Patience)), None, None, None];
        if let Some(since) = self.live_since() {
            let room = self.transit.in_flight() < link.limits.window && self.stall.is_none();
            due[1] = Some((since + if room { BATCH_AGE_MS } else { LIVE_MS }, Reason::Age));
        }
        match self.stall {
            Some(stall) if self.probe().is_none() => due[2] = Some((stall.next_at, Reason::Patience)),
            Some(_) => {}
            None => {
                due[2] = self.transit.deadline().map(|at| (at, Reason::Patience));
                if self.settings.bytes_per_s.is_some() && self.backlog().is_some() {
                    due[3] = Some((self.bucket.ready_at(), Reason::Rate));
                }
            }
        }
        due.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn set_aside(&mut self, epoch: Epoch, range: SeqRange, why: String) {
        if let Some(strand) = self.strands.iter_mut().find(|strand| strand.epoch == epoch) {
            strand.put_aside(range);
        }
        self.trouble.search.forget(epoch, range);
        self.notes.push_back(Note::SetAside { epoch, range, why });
    }

    fn note_absent(&mut self, epoch: Epoch, range: SeqRange, now: Uptime) {
        if let Some(strand) = self.strands.iter_mut().find(|strand| strand.epoch == epoch)
            && !range.is_empty()
        {
            strand.absent.insert(range);
            self.trouble.search.forget(epoch, range);
            self.forget_absent_at = self.forget_absent_at.or(Some(now + ABSENT_MS));
        }
    }

    /// What was accepted longer ago than a live event may wait is backlog.
    fn forget_old_marks(&mut self, now: Uptime) {
        let Some(strand) = self.strands.last_mut() else { return };
        while let Some((next, _)) = self.marks.pop_front_if(|(_, at)| now.since(*at) >= LIVE_MS) {
            strand.live_from = strand.live_from.max(next);
        }
    }

    fn unsend(&mut self, epoch: Epoch, range: SeqRange) {
        if let Some(strand) = self.strands.iter_mut().find(|strand| strand.epoch == epoch) {
            strand.in_transit.remove(range);
            strand.losses_told &= !range.is_empty();
        }
    }
}
