//! Batches on their way. Enters: what was sent, PUBACKs, what is settled. Leaves: what is still unsettled,
//! and what has taken too long. A batch takes a place in the window until its PUBACK, and counts as
//! unsettled until a watermark covers it; the two end in any order.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::range::{SeqRange, SeqSet};

use super::Purpose;

/// A batch that was sent on the connection that is up.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) epoch: Epoch,
    /// Empty for a batch without events.
    pub(super) range: SeqRange,
    /// The lost ranges that it tells of, where they matter: without events, or where a PUBACK settles.
    pub(super) lost: Vec<SeqRange>,
    pub(super) purpose: Purpose,
    pub(super) bytes: usize,
    /// The CRC-32C of the payload, and how often central had named it when this was sent.
    pub(super) crc: u32,
    pub(super) named: usize,
    pub(super) sent_at: Uptime,
    /// When it has taken too long.
    pub(super) deadline: Uptime,
    /// It waits for its PUBACK.
    pub(super) in_flight: bool,
    /// It waits to be settled.
    pub(super) unsettled: bool,
}

impl Record {
    /// Whether it is settled.
    pub(super) fn is_covered_by(&self, settled: &SeqSet) -> bool {
        settled.covers(self.range) && self.lost.iter().all(|range| settled.covers(*range))
    }
}

/// All batches that were sent on the connection that is up and are not done with.
#[derive(Clone, Debug, Default)]
pub(super) struct Transit {
    records: Vec<Record>,
}

impl Transit {
    pub(super) fn insert(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Forgets everything: the connection is gone. Returns what the broker had not acknowledged.
    pub(super) fn clear(&mut self) -> Vec<Record> {
        let mut records = core::mem::take(&mut self.records);
        records.retain(|record| record.in_flight);
        records
    }

    /// The broker has taken a batch, or refused it. `None` for one that is not known.
    pub(super) fn handle_puback(&mut self, id: u64) -> Option<Record> {
        let at = self.records.iter().position(|record| record.id == id && record.in_flight)?;
        self.records[at].in_flight = false;
        let record = self.records[at].clone();
        self.drop_done();
        Some(record)
    }

    /// Stops waiting for the unsettled batches that `done` picks; returns them.
    pub(super) fn release(&mut self, mut done: impl FnMut(&Record) -> bool) -> Vec<Record> {
        let mut released = Vec::new();
        for record in self.records.iter_mut().filter(|record| record.unsettled) {
            if done(record) {
                record.unsettled = false;
                released.push(record.clone());
            }
        }
        self.drop_done();
        released
    }

    fn drop_done(&mut self) {
        self.records.retain(|record| record.in_flight || record.unsettled);
    }

    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.unsettled)
    }

    /// Gives everything unsettled until then.
    pub(super) fn wait_until(&mut self, deadline: Uptime) {
        self.records.iter_mut().for_each(|record| record.deadline = deadline);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.records.iter().filter(|record| record.in_flight).count()
    }

    pub(super) fn backlog_in_flight(&self) -> usize {
        self.records.iter().filter(|record| record.in_flight && record.purpose != Purpose::Live).count()
    }

    pub(super) fn unsettled_bytes(&self) -> u64 {
        self.unsettled().map(|record| record.bytes as u64).sum()
    }

    pub(super) fn backlog_bytes(&self) -> u64 {
        let backlog = self.unsettled().filter(|record| record.purpose != Purpose::Live);
        backlog.map(|record| record.bytes as u64).sum()
    }
}
