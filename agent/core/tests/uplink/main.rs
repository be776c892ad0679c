//! What the uplink decides, driven through its public verbs with invented time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod again;
mod copies;
mod order;
mod trouble;

use hangtag_agent_core::uplink::{
    Answer, BatchId, Ended, Limits, MOST_HANG_UPS, Note, Purpose, Reason, Send, Sent, Settings, SettledBy,
    UNSETTLED_BYTES, Uplink, View, WINDOW,
};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::{Lineage, Run};
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::watermark::{EpochMark, Watermark};

const OLD: Epoch = Epoch(1);
const NEW: Epoch = Epoch(2);
const LIMITS: Limits = Limits { window: WINDOW, batch_bytes: 65_536 };
const SETTINGS: Settings =
    Settings { backlog_percent: 75, bytes_per_s: None, settled_by: SettledBy::Central };

/// A plain gateway: an uplink, and what its spool would say.
struct Gateway {
    uplink: Uplink,
    held: Vec<Held>,
    now: Uptime,
}

#[derive(Clone)]
struct Held {
    epoch: Epoch,
    oldest: u64,
    next: u64,
    settled: SeqSet,
    lost: u64,
    lineage: Lineage,
}

fn held(epoch: Epoch, next: u64) -> Held {
    let lineage = runs(&[(1, 0xa)]);
    Held { epoch, oldest: 1, next, settled: SeqSet::default(), lost: 0, lineage }
}

fn view(held: &Held) -> View<'_> {
    View {
        epoch: held.epoch,
        oldest_held: Seq(held.oldest),
        next: Seq(held.next),
        settled: &held.settled,
        lost: held.lost,
        lineage: &held.lineage,
    }
}

fn runs(runs: &[(u64, u32)]) -> Lineage {
    Lineage::from(runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect::<Vec<_>>())
}

fn set(ranges: &[(u64, u64)]) -> SeqSet {
    SeqSet::from(ranges.iter().map(|(first, last)| SeqRange::new(*first, *last)).collect::<Vec<_>>())
}

fn mark(epoch: Epoch, settled: &[(u64, u64)]) -> EpochMark {
    let highest = settled.last().map_or(0, |(_, last)| *last);
    EpochMark::of(epoch, &set(settled), Seq(highest), runs(&[(1, 0xa)]))
}

impl Gateway {
    fn new(held: Vec<Held>) -> Self {
        Self::with(SETTINGS, held)
    }

    fn with(settings: Settings, held: Vec<Held>) -> Self {
        let uplink = Uplink::new(settings, held.iter().map(view));
        Self { uplink, held, now: Uptime(1_000_000) }
    }

    /// One epoch with events before the connection came up.
    fn connected(next: u64) -> Self {
        let mut gateway = Self::new(vec![held(OLD, next)]);
        gateway.connect();
        gateway
    }

    fn connect(&mut self) {
        self.uplink.handle_connected(LIMITS, self.now);
    }

    fn accept(&mut self, events: u64) {
        self.held.last_mut().unwrap().next += events;
        self.tell();
    }

    fn tell(&mut self) {
        self.uplink.handle_spool(self.held.iter().map(view), self.now);
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.uplink.handle_timeout(self.now);
    }

    /// Sends one batch of so many bytes, if there is one to send.
    fn send(&mut self, bytes: usize) -> Option<(Send, BatchId)> {
        let send = self.uplink.poll_send(self.now)?;
        let crc = u32::try_from(send.range.first.0).unwrap();
        let sent = Sent { range: send.range, bytes, crc, lost: Vec::new() };
        let id = self.uplink.handle_sent(&send, sent, self.now);
        Some((send, id))
    }

    /// Sends all there is to send at a moment; the broker takes everything at once.
    fn drain(&mut self) -> Vec<(Purpose, SeqRange)> {
        let mut sent = Vec::new();
        while let Some((send, id)) = self.send(1_000) {
            self.uplink.handle_puback(id, Answer::Taken, self.now);
            sent.push((send.purpose, send.range));
        }
        sent
    }

    fn ranges(&mut self) -> Vec<SeqRange> {
        self.drain().into_iter().map(|(_, range)| range).collect()
    }

    fn settle(&mut self, epochs: Vec<EpochMark>) -> Vec<Note> {
        let unreadable = Vec::new();
        self.uplink.handle_watermark(&Watermark { v: 1, epochs, unreadable }, self.now);
        self.notes()
    }

    fn unreadable(&mut self, unreadable: Vec<u32>) -> Vec<Note> {
        self.uplink.handle_watermark(&Watermark { v: 1, epochs: Vec::new(), unreadable }, self.now);
        self.notes()
    }

    fn notes(&mut self) -> Vec<Note> {
        std::iter::from_fn(|| self.uplink.poll_note()).collect()
    }

    fn reconnect(&mut self, ended: Ended) {
        self.uplink.handle_disconnected(ended);
        self.now = self.now + 1_000;
        self.connect();
    }
}
