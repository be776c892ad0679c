//! What is held of one epoch: which values there are, what of them is settled, what is lost. Enters:
//! events, watermarks. Leaves: values and chapters to write, keys to remove. It holds no event but those of the
//! last value.
//!
//! A **chapter** lists up to 64 full values, so that a spool with millions of events opens without reading
//! them. The last value is in no chapter until it is full.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::{Lineage, Run};
use hangtag_protocol::range::{SeqRange, SeqSet};
use serde::{Deserialize, Serialize};

use super::record::{self, Kind};
use super::value::{self, VALUE_BYTES, VALUE_EVENTS, Value, ValueError, range_of};
use super::{Key, Put};

/// So many events at once begin a value of their own: to pack those before them once more would cost more
/// than it saves.
const FRESH: usize = 64;
/// The most values in one chapter.
const CHAPTER: usize = 64;

/// What is kept of an epoch beside its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// Its place among the keys; later epochs have higher ones.
    pub slot: u16,
    /// The lowest number that may be held: everything below is settled or lost.
    pub oldest: Seq,
    /// The number after the last accepted event.
    pub next: Seq,
    /// What central has settled.
    pub settled: SeqSet,
    /// What is lost, from the oldest number that may be held on; below, as long as central does not know.
    pub lost: SeqSet,
    /// Who wrote it.
    pub lineage: Lineage,
}

impl EpochRecord {
    /// An epoch that begins.
    #[must_use]
    pub fn new(epoch: Epoch, slot: u16) -> Self {
        let (settled, lost) = (SeqSet::default(), SeqSet::default());
        Self { epoch, slot, oldest: Seq::FIRST, next: Seq::FIRST, settled, lost, lineage: Lineage::default() }
    }
}

/// Chapters and records contradict one another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {epoch}: the list of values is damaged at number {at}")]
pub struct Damaged {
    epoch: Epoch,
    at: Seq,
}

/// The values of one epoch.
#[derive(Clone, Debug)]
pub struct EpochIndex {
    pub(super) record: EpochRecord,
    values: VecDeque<Entry>,
    /// The first numbers of the chapters that are on disk.
    chapters: VecDeque<Seq>,
    /// The events of the last value, if it can still grow.
    tail: Vec<Event>,
    live_bytes: u64,
    held: u64,
    removed: Vec<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    first: Seq,
    events: u16,
    bytes: u16,
}

impl Entry {
    fn range(self) -> SeqRange {
        range_of(self.first, self.events)
    }
}

impl EpochIndex {
    /// An epoch of which no value is known yet.
    #[must_use]
    pub fn new(record: EpochRecord) -> Self {
        let (values, chapters) = (VecDeque::new(), VecDeque::new());
        Self { record, values, chapters, tail: Vec::new(), live_bytes: 0, held: 0, removed: Vec::new() }
    }

    /// Takes up a chapter that was found on disk; chapters are given in order.
    ///
    /// # Errors
    /// When it does not decode, or contradicts what was taken up before.
    pub fn take_chapter(&mut self, first: Seq, bytes: &[u8]) -> Result<(), Damaged> {
        let damaged = Damaged { epoch: self.record.epoch, at: first };
        let body = record::open(Kind::Chapter, bytes).map_err(|_| damaged.clone())?;
        let entries: Vec<Entry> = postcard::from_bytes(body).map_err(|_| damaged.clone())?;
        let mut held = false;
        for entry in entries {
            let after = self.values.back().map_or(Seq(1), |last| last.range().last.plus(1));
            let range = entry.range();
            if entry.events == 0 || range.last >= self.record.next || entry.first < after {
                return Err(damaged);
            }
            if range.last >= self.record.oldest {
                self.push(entry);
                held = true;
            }
        }
        if held {
            self.chapters.push_back(first);
        } else {
            self.removed.push(Key::Chapter(self.record.slot, first));
        }
        Ok(())
    }

    /// Where values that are in no chapter begin.
    #[must_use]
    pub fn unlisted_from(&self) -> Seq {
        self.values.back().map_or(self.record.oldest, |last| last.range().last.plus(1))
    }

    /// Takes up a value that is in no chapter.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub fn take_value(&mut self, first: Seq, bytes: &[u8]) -> Result<(), ValueError> {
        let value = Value::read_as(bytes, self.record.epoch, first)?;
        let tail = value.events()?;
        let size = u16::try_from(bytes.len()).expect("a record is below 64 KiB");
        self.push(Entry { first, events: value.count, bytes: size });
        self.tail = tail;
        Ok(())
    }

    fn push(&mut self, entry: Entry) {
        self.live_bytes += u64::from(entry.bytes);
        self.held += u64::from(entry.events);
        self.values.push_back(entry);
        self.tail.clear();
    }

    fn left(&mut self, entry: Entry) {
        self.live_bytes -= u64::from(entry.bytes);
        self.held -= u64::from(entry.events);
    }

    /// What to write so that these events, which follow the last, are held.
    pub fn append(&mut self, events: &[Event]) -> Vec<Put> {
        let mut puts: Vec<Put> = Vec::new();
        let mut rest = events;
        let run = self.record.lineage.last().unwrap_or(Run { first: Seq::FIRST, id: 0 });
        while !rest.is_empty() {
            let before = if rest.len() < FRESH && self.has_room() { self.tail.len() } else { 0 };
            if before == 0 {
                self.tail.clear();
            }
            let mut fits = rest.len().min(VALUE_EVENTS - before);
            let first = Seq(self.record.next.0 - before as u64);
            self.tail.extend_from_slice(&rest[..fits]);
            let mut bytes = value::encode(self.record.epoch, run, first, &self.tail);
            while bytes.len() > VALUE_BYTES && fits > 1 {
                fits = fits.div_ceil(2);
                self.tail.truncate(before + fits);
                bytes = value::encode(self.record.epoch, run, first, &self.tail);
            }
            if bytes.len() > VALUE_BYTES && before > 0 {
                // The last value is full after all: a new one begins.
                self.tail.clear();
                continue;
            }
            let size = u16::try_from(bytes.len()).expect("a record is below 64 KiB");
            if before > 0 {
                let last = self.values.pop_back().expect("the tail is the last value");
                self.left(last);
            } else {
                puts.extend(self.list_last());
            }
            let tail = core::mem::take(&mut self.tail);
            self.push(Entry { first, events: u16::try_from(tail.len()).expect("at most 256"), bytes: size });
            self.tail = tail;
            self.record.next = self.record.next.plus(fits as u64);
            rest = &rest[fits..];
            let key = Key::Value(self.record.slot, first);
            puts.retain(|put| put.key != key);
            puts.push(Put { key, bytes });
        }
        puts
    }

    /// Takes over a value as it is, after the last one. Returns what to write.
    ///
    /// # Errors
    /// When it is not a sound value of this epoch, or does not come after the last.
    pub fn adopt(&mut self, bytes: Vec<u8>) -> Result<Vec<Put>, ValueError> {
        let Value { epoch, first, count, .. } = Value::read(&bytes)?;
        let after = self.values.back().map_or(Seq::FIRST, |last| last.range().last.plus(1));
        if epoch != self.record.epoch || first < after {
            return Err(ValueError::Other { epoch, first });
        }
        let mut puts: Vec<Put> = self.list_last().into_iter().collect();
        let size = u16::try_from(bytes.len()).expect("a record is below 64 KiB");
        let entry = Entry { first, events: count, bytes: size };
        self.push(entry);
        self.record.next = self.record.next.max(entry.range().last.plus(1));
        puts.push(Put { key: Key::Value(self.record.slot, first), bytes });
        Ok(puts)
    }

    /// Whether the last value ends where the next event begins, and is not full.
    fn has_room(&self) -> bool {
        self.values.back().is_some_and(|last| {
            !self.tail.is_empty()
                && self.tail.len() == usize::from(last.events)
                && last.range().last.plus(1) == self.record.next
                && self.tail.len() < VALUE_EVENTS
                && usize::from(last.bytes) < VALUE_BYTES * 9 / 10
        })
    }

    /// Lists the last value, which is full, in a chapter.
    fn list_last(&mut self) -> Option<Put> {
        let last = *self.values.back()?;
        let listed = |chapter: Seq| self.values.len() - self.values.partition_point(|v| v.first < chapter);
        let open = self.chapters.back().copied().filter(|chapter| listed(*chapter) <= CHAPTER);
        let chapter = open.unwrap_or(last.first);
        if open.is_none() {
            self.chapters.push_back(chapter);
        }
        Some(self.chapter(chapter, self.values.len()))
    }

    /// A chapter that lists the values from its first number on, up to a place.
    fn chapter(&self, chapter: Seq, to: usize) -> Put {
        let from = self.values.partition_point(|v| v.first < chapter);
        let entries: Vec<Entry> = self.values.range(from..to).copied().collect();
        let body = postcard::to_allocvec(&entries).expect("numbers always encode");
        Put { key: Key::Chapter(self.record.slot, chapter), bytes: record::seal(Kind::Chapter, &body) }
    }

    /// These numbers are settled, and no others. Losses stay on record: a central that was restored from a
    /// backup must be told of them once more.
    pub fn settle(&mut self, settled: SeqSet) {
        self.record.settled = settled;
    }

    /// Lost ranges that central does not know to be lost.
    #[must_use]
    pub fn untold(&self) -> Vec<SeqRange> {
        let lost = self.record.lost.ranges().iter();
        lost.flat_map(|range| self.record.settled.missing_in(*range)).collect()
    }

    /// These numbers are lost, except those that are settled.
    pub fn lose(&mut self, range: SeqRange) {
        for range in self.record.settled.missing_in(range) {
            self.record.lost.insert(range);
        }
    }

    /// What follows begins at a number; what lies between was lost before it came here.
    pub fn skip_to(&mut self, next: Seq) {
        if next > self.record.next {
            self.tail.clear();
            self.lose(SeqRange { first: self.record.next, last: Seq(next.0 - 1) });
            self.record.next = next;
        }
    }

    /// The first numbers of the values of which everything is settled, oldest first.
    pub fn settled_values(&self) -> impl Iterator<Item = Seq> {
        let settled = |value: &&Entry| self.record.settled.covers(value.range());
        self.values.iter().filter(settled).map(|value| value.first)
    }

    /// Bytes of the values of which not everything is settled.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        let open = |value: &&Entry| !self.record.settled.covers(value.range());
        self.values.iter().filter(open).map(|value| u64::from(value.bytes)).sum()
    }

    /// The two lost ranges with the fewest numbers between them, and the values between, by their firsts.
    #[must_use]
    pub fn closest_losses(&self) -> Vec<Seq> {
        let pairs = self.record.lost.ranges().windows(2);
        let Some(pair) = pairs.min_by_key(|pair| pair[1].first.0 - pair[0].last.0) else { return Vec::new() };
        let between = |value: &&Entry| value.range().last > pair[0].last && value.first < pair[1].first;
        self.values.iter().filter(between).map(|value| value.first).collect()
    }

    /// A value cannot be read back, or is not wanted: what of it is not settled is lost. Returns the chapter that does not list it, to be
    /// written in its stead.
    pub fn lose_value(&mut self, first: Seq) -> Option<Put> {
        let at = self.values.binary_search_by_key(&first, |value| value.first).ok()?;
        let entry = self.values.remove(at)?;
        self.lose(entry.range());
        self.left(entry);
        if at == self.values.len() {
            self.tail.clear();
        }
        self.removed.push(Key::Value(self.record.slot, first));
        let number = self.chapters.partition_point(|chapter| *chapter <= first);
        let chapter = *self.chapters.get(number.checked_sub(1)?)?;
        let to = match self.chapters.get(number) {
            Some(next) => self.values.partition_point(|value| value.first < *next),
            // The last value is in no chapter, unless it just became the last.
            None if self.tail.is_empty() => self.values.len(),
            None => self.values.len() - 1,
        };
        let put = self.chapter(chapter, to);
        self.forget_chapters();
        self.chapters.contains(&chapter).then_some(put)
    }

    /// The oldest value, its numbers, and whether all of it is settled.
    #[must_use]
    pub fn oldest_value(&self) -> Option<(SeqRange, bool)> {
        let range = self.values.front()?.range();
        Some((range, self.record.settled.covers(range)))
    }

    /// Takes the oldest value out; what of it is not settled is lost.
    pub fn drop_oldest(&mut self) {
        let Some(entry) = self.values.pop_front() else { return };
        self.lose(entry.range());
        self.left(entry);
        self.removed.push(Key::Value(self.record.slot, entry.first));
        if self.values.is_empty() {
            self.tail.clear();
        }
        self.record.oldest = self.values.front().map_or(self.record.next, |value| value.first);
        let below = SeqRange { first: Seq(0), last: Seq(self.record.oldest.0.saturating_sub(1)) };
        let told: Vec<SeqRange> = self.record.settled.ranges().to_vec();
        for range in told {
            self.record.lost.remove(SeqRange { first: range.first, last: range.last.min(below.last) });
        }
        self.forget_chapters();
    }

    /// Chapters all of whose values are gone.
    fn forget_chapters(&mut self) {
        let oldest = self.values.front().map_or(self.record.next, |value| value.first);
        while let Some(chapter) = self.chapters.front().copied() {
            let end = self.chapters.get(1).copied().unwrap_or(self.record.next);
            if end > oldest {
                break;
            }
            self.chapters.pop_front();
            self.removed.push(Key::Chapter(self.record.slot, chapter));
        }
    }

    /// Keys to remove once the record of this epoch, as it is, is on stable storage.
    pub fn take_removed(&mut self) -> Vec<Key> {
        core::mem::take(&mut self.removed)
    }

    /// The key and first number of the value that holds an event, or of the first one after it.
    #[must_use]
    pub fn value_at(&self, seq: Seq) -> Option<(Key, Seq)> {
        let at = self.values.partition_point(|value| value.range().last < seq);
        let first = self.values.get(at)?.first;
        Some((Key::Value(self.record.slot, first), first))
    }

    /// The keys and numbers of all values, oldest first.
    pub fn all_values(&self) -> impl Iterator<Item = (Key, SeqRange)> {
        let slot = self.record.slot;
        self.values.iter().map(move |value| (Key::Value(slot, value.first), value.range()))
    }

    /// What is kept of it beside its values.
    #[must_use]
    pub fn record(&self) -> &EpochRecord {
        &self.record
    }

    /// The lowest number that is held; the next one when nothing is.
    #[must_use]
    pub fn oldest_held(&self) -> Seq {
        self.values.front().map_or(self.record.next, |value| value.first)
    }

    /// How many events are held and not settled.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let held = SeqRange { first: self.oldest_held(), last: Seq(self.record.next.0 - 1) };
        let open = self.record.settled.missing_in(held);
        open.iter().flat_map(|range| self.record.lost.missing_in(*range)).map(|range| range.len()).sum()
    }

    /// The lowest number that is held and not settled.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Seq> {
        let held = SeqRange { first: self.oldest_held(), last: Seq(self.record.next.0 - 1) };
        let open = self.record.settled.missing_in(held);
        open.iter().flat_map(|range| self.record.lost.missing_in(*range)).map(|range| range.first).next()
    }

    /// How many events are held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many values are held.
    #[must_use]
    pub fn values(&self) -> usize {
        self.values.len()
    }

    /// Bytes of all values that are held.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Whether nothing is held and everything that was lost is settled.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.values.is_empty() && self.untold().is_empty()
    }

    /// Every key of it on disk.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let slot = self.record.slot;
        let chapters = self.chapters.iter().map(move |chapter| Key::Chapter(slot, *chapter));
        self.all_values().map(|(key, _)| key).chain(chapters)
    }
}
