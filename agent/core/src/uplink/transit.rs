//! Batches on their way. Enters: what was sent, PUBACKs, what is settled. Leaves: what is still unsettled,
//! and what has taken too long. A batch takes a place in the window until its PUBACK, and counts as
//! unsettled until a watermark covers it; the two end in any order.

use alloc::collections::VecDeque;
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

/// All batches that were sent on the connection that is up and are not done with, in the order of their ids.
///
/// Hundreds of small batches can be unsettled while a backlog drains, and each one that is sent asks for the
/// sums: these are kept, not counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Transit {
    records: VecDeque<Record>,
    sums: Sums,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    in_flight: usize,
    backlog_in_flight: usize,
    unsettled: usize,
    unsettled_bytes: u64,
    backlog_bytes: u64,
    /// The first deadline of an unsettled batch.
    deadline: Option<Uptime>,
}

impl Sums {
    fn add(&mut self, record: &Record) {
        let backlog = record.purpose != Purpose::Live;
        if record.in_flight {
            self.in_flight += 1;
            self.backlog_in_flight += usize::from(backlog);
        }
        if record.unsettled {
            self.unsettled += 1;
            self.unsettled_bytes += record.bytes as u64;
            self.backlog_bytes += if backlog { record.bytes as u64 } else { 0 };
            self.deadline = Some(self.deadline.map_or(record.deadline, |first| first.min(record.deadline)));
        }
    }
}

impl Transit {
    /// Takes a batch up; its id is higher than all before.
    pub(super) fn insert(&mut self, record: Record) {
        debug_assert!(self.records.back().is_none_or(|last| last.id < record.id));
        self.sums.add(&record);
        self.records.push_back(record);
    }

    /// Forgets everything: the connection is gone. Returns what the broker had not acknowledged.
    pub(super) fn clear(&mut self) -> Vec<Record> {
        self.sums = Sums::default();
        self.records.drain(..).filter(|record| record.in_flight).collect()
    }

    /// The broker has taken a batch, or refused it. `None` for one that is not known.
    pub(super) fn handle_puback(&mut self, id: u64) -> Option<Record> {
        let at = self.records.binary_search_by_key(&id, |record| record.id).ok()?;
        let record = self.records.get_mut(at).filter(|record| record.in_flight)?;
        record.in_flight = false;
        self.sums.in_flight -= 1;
        self.sums.backlog_in_flight -= usize::from(record.purpose != Purpose::Live);
        if record.unsettled { Some(record.clone()) } else { self.records.remove(at) }
    }

    /// Stops waiting for the unsettled batches that `done` picks; returns them.
    pub(super) fn release(&mut self, mut done: impl FnMut(&Record) -> bool) -> Vec<Record> {
        let mut released = Vec::new();
        let mut sums = Sums::default();
        self.records.retain_mut(|record| {
            if record.unsettled && done(record) {
                record.unsettled = false;
                released.push(record.clone());
            }
            sums.add(record);
            record.in_flight || record.unsettled
        });
        self.sums = sums;
        released
    }

    /// The batches that wait to be settled.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.unsettled)
    }

    /// Gives everything unsettled until then.
    pub(super) fn wait_until(&mut self, deadline: Uptime) {
        self.records.iter_mut().for_each(|record| record.deadline = deadline);
        self.sums.deadline = self.sums.deadline.map(|_| deadline);
    }

    /// The first deadline of what waits to be settled.
    pub(super) fn deadline(&self) -> Option<Uptime> {
        self.sums.deadline
    }

    /// How many wait for their PUBACK.
    pub(super) fn in_flight(&self) -> usize {
        self.sums.in_flight
    }

    /// How many of these are of the backlog.
    pub(super) fn backlog_in_flight(&self) -> usize {
        self.sums.backlog_in_flight
    }

    /// How many wait to be settled.
    pub(super) fn unsettled_batches(&self) -> usize {
        self.sums.unsettled
    }

    /// Their bytes.
    pub(super) fn unsettled_bytes(&self) -> u64 {
        self.sums.unsettled_bytes
    }

    /// The bytes of those of the backlog.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.sums.backlog_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_protocol::id::Seq;
    use proptest::prelude::*;

    fn record(id: u64, live: bool, unsettled: bool) -> Record {
        Record {
            id,
            epoch: Epoch(1),
            range: SeqRange { first: Seq(id), last: Seq(id) },
            lost: Vec::new(),
            purpose: if live { Purpose::Live } else { Purpose::Backlog },
            bytes: 10 + usize::try_from(id).unwrap(),
            crc: 0,
            named: 0,
            sent_at: Uptime(id),
            deadline: Uptime(5_000 - id % 7),
            in_flight: true,
            unsettled,
        }
    }

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_batches(steps in prop::collection::vec((0u8..6, 0u64..40, any::<bool>()), 0..120)) {
            let (mut transit, mut sent) = (Transit::default(), 0);
            for (step, number, flag) in steps {
                match step {
                    0..=2 => {
                        sent += 1;
                        transit.insert(record(sent, flag, number > 3));
                    }
                    3 => {
                        let there = transit.records.iter().any(|r| r.id == number && r.in_flight);
                        prop_assert_eq!(transit.handle_puback(number).map(|r| r.id), there.then_some(number));
                    }
                    4 => drop(transit.release(|record| record.id % 40 < number)),
                    _ if number == 0 => drop(transit.clear()),
                    _ => transit.wait_until(Uptime(9_000 + number)),
                }
                let mut counted = Sums::default();
                transit.records.iter().for_each(|record| counted.add(record));
                prop_assert_eq!(transit.sums, counted);
                prop_assert!(transit.records.iter().all(|record| record.in_flight || record.unsettled));
            }
        }
    }
}
