//! How few bytes the invented events could take. Enters: batches of events. Leaves: the entropy of each
//! column, in bits per event.
//!
//! The floor is what an ideal coder would need that knows how often each value occurs and codes every
//! column by itself, batch by batch:
//!
//! | column | its entropy is that of |
//! |---|---|
//! | at | the difference to the event before |
//! | kind, confidence, reads, margin, unrest, dwell | the value |
//! | visit | the distance to the number of the opening event |
//! | zone | the zone, given that of the garment event before |
//! | reader | the reader and its state; a reader's stretch is as long as the last one |
//! | tag | whether the tag is new in the batch, or how many other tags ago it was there last |
//! | tag table | a batch is read by itself: each of its tags costs item and serial number once |
//!
//! *Given the kind*, the floor is lower: then confidence, evidence and visit are coded by a table per kind,
//! because a kind allows few values.
//!
//! Frequencies are counted over the whole run and cost nothing; a value that was seen once may have been
//! one of many (Miller–Madow: half a nat for each). Numbers, epoch, names and checksum are not counted,
//! although a batch that is read by itself needs them: what is measured is held against less than that.
//!
//! It is no floor for a coder that looks across columns: how long a garment was in somebody's hand follows
//! from when it was picked up, if that is in the batch.

use std::collections::BTreeMap;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Event, What};
use hangtag_protocol::id::Seq;

use super::stock::TAG_BITS;

/// How often each value occurs in each context.
#[derive(Default)]
struct Counts(BTreeMap<(u64, u64), u64>);

impl Counts {
    /// The bits that all values take, given their contexts.
    fn bits(&self) -> f64 {
        let mut contexts: BTreeMap<u64, u64> = BTreeMap::new();
        for ((context, _), count) in &self.0 {
            *contexts.entry(*context).or_default() += count;
        }
        let bits = |((context, _), count): (&(u64, u64), &u64)| {
            *count as f64 * (contexts[context] as f64 / *count as f64).log2()
        };
        let unseen = (self.0.len() - contexts.len()) as f64 / (2.0 * std::f64::consts::LN_2);
        self.0.iter().map(bits).sum::<f64>() + unseen
    }
}

/// The columns of all batches that were counted.
pub(super) struct Floor {
    given_kind: bool,
    events: u64,
    columns: BTreeMap<&'static str, Counts>,
    table_bits: f64,
}

impl Floor {
    pub(super) fn new(given_kind: bool) -> Self {
        Self { given_kind, events: 0, columns: BTreeMap::new(), table_bits: 0.0 }
    }

    /// Counts a batch.
    pub(super) fn count(&mut self, batch: &[(Seq, Event)]) {
        let mut before = batch.first().map_or(0, |(_, event)| event.at.0);
        let mut last_zone = 0;
        let mut tags: Vec<Epc> = Vec::new();
        for (seq, event) in batch {
            self.events += 1;
            let kind = event.kind() as u64;
            let context = if self.given_kind { kind } else { 0 };
            self.add("at", 0, event.at.0.wrapping_sub(before));
            before = event.at.0;
            self.add("kind", 0, kind);
            self.add("confidence", context, event.confidence.into());
            if let Some((epc, zone, visit, evidence)) = event.garment() {
                self.add("reads", context, evidence.reads.into());
                self.add("margin", context, evidence.margin_db.into());
                self.add("unrest", context, evidence.unrest.into());
                self.add("dwell", context, evidence.dwell_ds.into());
                if let Some(visit) = visit {
                    self.add("visit", context, seq.0 - visit.0);
                }
                let zone = number(zone.as_str());
                self.add("zone", last_zone, zone);
                last_zone = zone;
                let ago = tags.iter().rev().position(|tag| *tag == epc);
                self.add("tag", 0, ago.map_or(u64::MAX, |ago| ago as u64));
                match ago {
                    Some(ago) => drop(tags.remove(tags.len() - 1 - ago)),
                    None => self.table_bits += TAG_BITS,
                }
                tags.push(epc);
            }
            if let What::Coverage(coverage) = event.what {
                self.add("reader", coverage.state as u64, number(coverage.reader.as_str()));
            }
        }
    }

    fn add(&mut self, column: &'static str, context: u64, value: u64) {
        *self.columns.entry(column).or_default().0.entry((context, value)).or_default() += 1;
    }

    /// Each column and its bits per event.
    pub(super) fn columns(&self) -> Vec<(&'static str, f64)> {
        let per_event = |bits: f64| bits / self.events as f64;
        let columns = self.columns.iter().map(|(name, counts)| (*name, per_event(counts.bits())));
        columns.chain([("tag table", per_event(self.table_bits))]).collect()
    }

    /// All columns together, in bytes per event.
    pub(super) fn bytes(&self) -> f64 {
        self.columns().into_iter().map(|(_, bits)| bits).sum::<f64>() / 8.0
    }
}

/// A number that stands for a name: its last eight bytes.
fn number(name: &str) -> u64 {
    name.bytes().fold(0, |number, byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::day::{Day, TAGS};
    use hangtag_protocol::clock::{BootId, Uptime};

    #[test]
    fn entropies_are_those_of_the_textbook() {
        let fair = Counts([((0, 0), 5_000), ((0, 1), 5_000)].into());
        assert!((fair.bits() - 10_000.0).abs() < 1.0);
        let given = Counts([((0, 0), 5_000), ((1, 1), 5_000)].into());
        assert!(given.bits().abs() < 1e-9, "the context says it all");
    }

    #[test]
    fn knowing_the_kind_lowers_the_floor() {
        let (mut alone, mut given_kind) = (Floor::new(false), Floor::new(true));
        let mut day = Day::new(TAGS, 7, BootId(1), Uptime(10_000_000), Seq(1));
        for _ in 0..300 {
            let batch: Vec<_> = day.by_ref().take(100).collect();
            alone.count(&batch);
            given_kind.count(&batch);
        }
        assert!(given_kind.bytes() < alone.bytes());
        assert!((5.0..10.0).contains(&alone.bytes()), "{} bytes", alone.bytes());
    }
}
