//! What the spool decides: which values to write, which to remove, what is lost when it is full.
//! Enters: accepted events, what central has settled. Leaves: keys and values. Where they are kept is
//! `hangtag-agent`'s business.
//!
//! ```text
//! key    number of the first event, 8 bytes, big-endian
//! value  version u8 (1), count u16, CRC-32C u32 over count and packed (both little-endian), packed
//! ```
//!
//! One event per value would be slow and large, so the last value is rewritten under its key until it
//! is full.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hangtag_protocol::batch::CRC;
use hangtag_protocol::columns::{self, UnpackError};
use hangtag_protocol::event::Event;
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::{SeqRange, SeqSet};

/// The most events in one value.
pub const VALUE_EVENTS: usize = 256;
/// The most bytes in one value. sled 0.34 puts pages above a quarter of a segment (512 KiB) into files
/// that it never syncs; a page holds up to 18 values.
pub const VALUE_BYTES: usize = 7_000;
/// What one live byte costs on disk at most: measured on a growing backlog of packed values.
pub const DISK_FACTOR: u64 = 2;

const VERSION: u8 = 1;
const BEFORE_PACKED: usize = 7;

/// Why a value cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is too short, or of another version.
    #[error("the value has no header of version {VERSION}")]
    Header,
    /// Its checksum does not match.
    #[error("CRC-32C is {found:08x}, the value says {expected:08x}")]
    Checksum {
        /// What the value says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The events do not unpack.
    #[error("events: {0}")]
    Events(#[from] UnpackError),
}

/// Writes a value.
#[must_use]
pub fn encode_value(first: Seq, events: &[Event]) -> Vec<u8> {
    let count = u16::try_from(events.len()).expect("at most VALUE_EVENTS").to_le_bytes();
    let packed = columns::pack(first, events);
    let mut value = Vec::with_capacity(BEFORE_PACKED + packed.len());
    value.push(VERSION);
    value.extend(count);
    value.extend(checksum(count, &packed).to_le_bytes());
    value.extend(packed);
    value
}

/// How many events a value holds, and its packed bytes.
fn split_value(value: &[u8]) -> Result<(u16, &[u8]), ValueError> {
    let Some((&[VERSION, c0, c1, s0, s1, s2, s3], packed)) = value.split_first_chunk::<BEFORE_PACKED>()
    else {
        return Err(ValueError::Header);
    };
    let (expected, found) = (u32::from_le_bytes([s0, s1, s2, s3]), checksum([c0, c1], packed));
    if expected != found {
        return Err(ValueError::Checksum { expected, found });
    }
    Ok((u16::from_le_bytes([c0, c1]), packed))
}

/// Reads a value back.
///
/// # Errors
/// When it is not what [`encode_value`] wrote.
pub fn decode_value(first: Seq, value: &[u8]) -> Result<Vec<Event>, ValueError> {
    let (count, packed) = split_value(value)?;
    Ok(columns::unpack(first, count.into(), packed)?)
}

fn checksum(count: [u8; 2], packed: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&count);
    digest.update(packed);
    digest.finalize()
}

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The number of its first event.
    pub first: Seq,
    /// The value.
    pub value: Vec<u8>,
}

/// What is in the spool, without the events themselves, except those of the last value.
#[derive(Clone, Debug)]
pub struct Index {
    values: BTreeMap<Seq, Size>,
    tail: Vec<Event>,
    next: Seq,
    live_bytes: u64,
    cap_bytes: u64,
    lost: SeqSet,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    events: u32,
    bytes: u32,
}

impl Index {
    /// An index of an empty spool. `cap_bytes` bounds what it may take on disk.
    #[must_use]
    pub fn new(next: Seq, lost: SeqSet, cap_bytes: u64) -> Self {
        Self { values: BTreeMap::new(), tail: Vec::new(), next, live_bytes: 0, cap_bytes, lost }
    }

    /// Takes up a value that was found on disk; values are given in order.
    ///
    /// # Errors
    /// When it cannot be read back: its events are then lost.
    pub fn found(&mut self, first: Seq, value: &[u8]) -> Result<(), ValueError> {
        let tail = decode_value(first, value)?;
        self.insert(first, tail.len(), value.len());
        self.next = self.next.max(first.plus(tail.len() as u64));
        self.tail = tail;
        Ok(())
    }

    /// A value turned out to be unreadable: its events are lost. Returns its key, to be removed.
    pub fn lose_value(&mut self, first: Seq) -> Option<Seq> {
        let size = *self.values.get(&first)?;
        self.lost.insert(range_of(first, size));
        self.remove(first);
        Some(first)
    }

    /// Takes up a range that is known to be lost.
    pub fn lose(&mut self, range: SeqRange) {
        self.lost.insert(range);
    }

    /// The values to write so that these events, which follow the last, are in the spool. The index
    /// holds them from here on: if writing fails, the index is to be made anew from disk.
    pub fn append(&mut self, events: &[Event]) -> Vec<Write> {
        let mut writes: Vec<Write> = Vec::new();
        let mut rest = events;
        while !rest.is_empty() {
            let (mut first, mut all) = match self.values.last_key_value() {
                Some((first, size)) if self.has_room(*first, *size) => (*first, self.tail.clone()),
                _ => (self.next, Vec::new()),
            };
            let before = all.len();
            let taken = rest.len().min(VALUE_EVENTS - before);
            all.extend_from_slice(&rest[..taken]);
            let mut value = encode_value(first, &all);
            let mut fits = taken;
            while value.len() > VALUE_BYTES && fits > 1 {
                fits = fits.div_ceil(2);
                all.truncate(before + fits);
                value = encode_value(first, &all);
            }
            if value.len() > VALUE_BYTES && before > 0 {
                // The last value is full after all: begin a new one.
                all.drain(..before);
                first = self.next;
                value = encode_value(first, &all);
            }
            self.insert(first, all.len(), value.len());
            self.next = self.next.plus(fits as u64);
            self.tail = all;
            rest = &rest[fits..];
            writes.retain(|write| write.first != first);
            writes.push(Write { first, value });
        }
        writes
    }

    /// Whether the last value ends where the next event begins, and is not full.
    fn has_room(&self, first: Seq, size: Size) -> bool {
        first.plus(size.events.into()) == self.next
            && self.tail.len() == size.events as usize
            && size.events < VALUE_EVENTS as u32
            && (size.bytes as usize) < VALUE_BYTES * 9 / 10
    }

    fn insert(&mut self, first: Seq, events: usize, bytes: usize) {
        let size = Size {
            events: u32::try_from(events).expect("at most VALUE_EVENTS"),
            bytes: u32::try_from(bytes).expect("a value is far below 4 GiB"),
        };
        let before = self.values.insert(first, size);
        self.live_bytes += u64::from(size.bytes);
        self.live_bytes -= before.map_or(0, |size| u64::from(size.bytes));
    }

    /// The values to remove because all their events are settled; lost ranges that are settled are
    /// forgotten.
    pub fn settle(&mut self, settled: &SeqSet) -> Vec<Seq> {
        settled.ranges().iter().for_each(|range| self.lost.remove(*range));
        let covered =
            |(first, size): (&Seq, &Size)| settled.covers(range_of(*first, *size)).then_some(*first);
        let removed: Vec<Seq> = self.values.iter().filter_map(covered).collect();
        removed.iter().for_each(|first| self.remove(*first));
        removed
    }

    /// The oldest values to remove because the spool is over its cap; their events are lost.
    pub fn evict(&mut self) -> Vec<Seq> {
        let mut removed = Vec::new();
        while self.live_bytes * DISK_FACTOR > self.cap_bytes && self.values.len() > 1 {
            let (first, size) = self.values.first_key_value().map(|(f, s)| (*f, *s)).expect("more than one");
            self.lost.insert(range_of(first, size));
            self.remove(first);
            removed.push(first);
        }
        removed
    }

    fn remove(&mut self, first: Seq) {
        if let Some(size) = self.values.remove(&first) {
            if range_of(first, size).last.plus(1) == self.next {
                self.tail.clear();
            }
            self.live_bytes -= u64::from(size.bytes);
        }
    }

    /// The key of the value that holds an event, or of the first one after it.
    #[must_use]
    pub fn value_at(&self, seq: Seq) -> Option<Seq> {
        let holding = self
            .values
            .range(..=seq)
            .next_back()
            .filter(|(first, size)| range_of(**first, **size).last >= seq);
        holding.or_else(|| self.values.range(seq..).next()).map(|(first, _)| *first)
    }

    /// The number that the next event gets.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.next
    }

    /// The lowest number that is held; the next one when nothing is.
    #[must_use]
    pub fn oldest_held(&self) -> Seq {
        self.values.first_key_value().map_or(self.next, |(first, _)| *first)
    }

    /// Ranges that were lost and that central does not know of yet.
    #[must_use]
    pub fn lost(&self) -> &SeqSet {
        &self.lost
    }

    /// How many events are held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.values.values().map(|size| u64::from(size.events)).sum()
    }

    /// Bytes of all values that are held.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

fn range_of(first: Seq, size: Size) -> SeqRange {
    SeqRange { first, last: Seq(first.0 - 1 + u64::from(size.events)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use hangtag_protocol::clock::{BootId, Uptime};
    use hangtag_protocol::epc::Epc;
    use hangtag_protocol::event::{Evidence, Handling, What};
    use hangtag_protocol::id::ZoneId;
    use proptest::prelude::*;

    fn event(n: u64) -> Event {
        let mut epc = [0; 62];
        epc.iter_mut()
            .zip(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().iter().cycle())
            .enumerate()
            .for_each(|(i, (slot, byte))| *slot = byte.wrapping_mul(u8::try_from(i | 1).unwrap()));
        let epc = Epc::new(&epc).unwrap();
        let zone = ZoneId::new("rail").unwrap();
        let what = What::PickedUp(Handling { epc, zone, evidence: Evidence::default() });
        Event { boot: BootId(1), at: Uptime(n), confidence: 50, what }
    }

    /// What a disk would hold.
    #[derive(Default)]
    struct Disk(BTreeMap<Seq, Vec<u8>>);

    impl Disk {
        fn write(&mut self, writes: Vec<Write>) {
            for write in writes {
                assert!(write.value.len() <= VALUE_BYTES, "{} bytes", write.value.len());
                self.0.insert(write.first, write.value);
            }
        }

        fn events(&self) -> Vec<(Seq, Event)> {
            self.0
                .iter()
                .flat_map(|(first, value)| (first.0..).map(Seq).zip(decode_value(*first, value).unwrap()))
                .collect()
        }
    }

    #[test]
    fn one_event_per_commit_fills_one_value() {
        let mut index = Index::new(Seq(1), SeqSet::default(), u64::MAX);
        let mut disk = Disk::default();
        for n in 0..50 {
            disk.write(index.append(&[event(n)]));
        }
        assert_eq!(disk.0.len(), 1);
        assert_eq!(disk.events().len(), 50);
    }

    #[test]
    fn a_damaged_value_is_found() {
        let value = encode_value(Seq(1), &[event(1), event(2)]);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_value(Seq(1), &flipped).is_err(), "bit {bit}");
        }
        assert_eq!(decode_value(Seq(1), &[]), Err(ValueError::Header));
    }

    #[test]
    fn a_full_spool_loses_the_oldest_and_says_which() {
        let mut index = Index::new(Seq(1), SeqSet::default(), 40_000);
        let mut disk = Disk::default();
        for n in 0..1_000 {
            disk.write(index.append(&[event(n)]));
            index.evict().iter().for_each(|first| drop(disk.0.remove(first)));
        }
        assert!(index.live_bytes() * DISK_FACTOR <= 40_000);
        let oldest = index.oldest_held();
        assert_eq!(index.lost().ranges(), [SeqRange { first: Seq(1), last: Seq(oldest.0 - 1) }]);
        assert_eq!(disk.events().first().unwrap().0, oldest);
        index.settle(&SeqSet::from(vec![SeqRange { first: Seq(1), last: Seq(oldest.0 - 1) }]));
        assert!(index.lost().is_empty(), "central knows of them");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_a_plain_model(steps in prop::collection::vec((0u8..4, 1usize..400), 1..25)) {
            let mut index = Index::new(Seq(1), SeqSet::default(), u64::MAX);
            let mut disk = Disk::default();
            let mut settled = SeqSet::default();
            let mut next = 1u64;
            for (step, n) in steps {
                match step {
                    0 | 1 => {
                        let events: Vec<Event> = (next..next + n as u64).map(event).collect();
                        disk.write(index.append(&events));
                        next += n as u64;
                    }
                    2 => {
                        let first = (n as u64 * 7) % next + 1;
                        let last = (first + n as u64).min(next - 1);
                        settled.insert(SeqRange { first: Seq(first), last: Seq(last) });
                        for key in index.settle(&settled) { prop_assert!(disk.0.remove(&key).is_some()); }
                    }
                    // The process dies and starts again from disk.
                    _ => {
                        let mut found = Index::new(Seq(next), SeqSet::default(), u64::MAX);
                        for (first, value) in &disk.0 { found.found(*first, value).unwrap(); }
                        prop_assert_eq!(found.live_bytes(), index.live_bytes());
                        index = found;
                    }
                }
                let held = disk.events();
                prop_assert_eq!(index.held(), held.len() as u64);
                prop_assert_eq!(index.next(), Seq(next));
                prop_assert!(held.iter().all(|(seq, e)| *e == event(seq.0)), "each under its number");
                let kept: SeqSet = held.iter().map(|(seq, _)| SeqRange { first: *seq, last: *seq }).collect::<Vec<_>>().into();
                for missing in kept.missing_in(SeqRange::new(1, next - 1)) {
                    prop_assert!(settled.covers(missing), "{:?} is neither held nor settled", missing);
                }
                for seq in [1, next / 2, next - 1].map(|s| Seq(s.max(1))) {
                    let first_held = held.iter().map(|(s, _)| *s).find(|s| *s >= seq);
                    let value = index.value_at(seq).map(|key| decode_value(key, &disk.0[&key]).unwrap().len() as u64 + key.0);
                    prop_assert_eq!(first_held.is_some(), value.is_some());
                    if let (Some(first), Some(end)) = (first_held, value) { prop_assert!(first.0 < end); }
                }
            }
        }
    }
}
