//! What the spool decides: what to write, what to remove, what is lost when it is full. Enters: accepted
//! events, what central has settled. Leaves: keys and records. Where they are kept is `hangtag-agent`'s
//! business.
//!
//! | module | holds |
//! |---|---|
//! | [`record`] | bytes that carry their own checksum, and can be found without the database |
//! | [`value`] | up to 256 events in a record |
//! | [`epoch`] | the values of one epoch |
//!
//! Keys sort as they are drawn, so that a spool is written at its end and removed at its head:
//!
//! ```text
//! 'd' ‖ slot u16 ‖ first u64   a chapter: which values there are   (big-endian)
//! 'e' ‖ slot u16 ‖ first u64   a value
//! ```
//!
//! An epoch has a slot. The last epoch takes new events; earlier ones, which were rescued from a damaged
//! spool or closed because of a copy, only drain.

use alloc::vec::Vec;

use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Run;
use hangtag_protocol::range::{SeqRange, SeqSet};
use serde::{Deserialize, Serialize};

pub mod epoch;
pub mod record;
pub mod value;

use epoch::{EpochIndex, EpochRecord};

/// What one live byte costs on disk at most: measured on a growing backlog of packed values.
pub const DISK_FACTOR: u64 = 2;
/// Lost ranges that are remembered of one epoch; a page of the database must stay small.
const MAX_LOST: usize = 256;
/// How many times within the retention the spool takes down how far it was.
const MARKS: u32 = 8;

/// Where a record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The values from a number on, in a slot.
    Chapter(u16, Seq),
    /// The value that begins with a number, in a slot.
    Value(u16, Seq),
}

impl Key {
    /// The key's bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 11] {
        let (tag, slot, first) = match self {
            Self::Chapter(slot, first) => (b'd', slot, first),
            Self::Value(slot, first) => (b'e', slot, first),
        };
        let mut bytes = [tag; 11];
        bytes[1..3].copy_from_slice(&slot.to_be_bytes());
        bytes[3..].copy_from_slice(&first.0.to_be_bytes());
        bytes
    }

    /// The key that bytes are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 11] = bytes.try_into().ok()?;
        let slot = u16::from_be_bytes([bytes[1], bytes[2]]);
        let first = Seq(u64::from_be_bytes(core::array::from_fn(|i| bytes[3 + i])));
        match bytes[0] {
            b'd' => Some(Self::Chapter(slot, first)),
            b'e' => Some(Self::Value(slot, first)),
            _ => None,
        }
    }
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Where.
    pub key: Key,
    /// The record.
    pub bytes: Vec<u8>,
}

/// How far the spool was when it had run for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Running time of all agents on this spool, in minutes.
    pub minutes: u32,
    /// The epoch's slot, and
    pub slot: u16,
    /// the number that the next event got.
    pub next: Seq,
}

/// What is in the spool, without the events themselves.
#[derive(Clone, Debug)]
pub struct Index {
    epochs: Vec<EpochIndex>,
    marks: Vec<Mark>,
    removed: Vec<Key>,
}

impl Index {
    /// What is found on disk, oldest epoch first; the last one takes new events.
    ///
    /// # Panics
    /// When there is no epoch.
    #[must_use]
    pub fn new(epochs: Vec<EpochIndex>, marks: Vec<Mark>) -> Self {
        assert!(!epochs.is_empty(), "a spool has an epoch that takes events");
        Self { epochs, marks, removed: Vec::new() }
    }

    /// The epochs, oldest first.
    #[must_use]
    pub fn epochs(&self) -> &[EpochIndex] {
        &self.epochs
    }

    /// The epoch that takes new events.
    #[must_use]
    pub fn current(&self) -> &EpochIndex {
        self.epochs.last().expect("a spool has an epoch that takes events")
    }

    fn current_mut(&mut self) -> &mut EpochIndex {
        self.epochs.last_mut().expect("a spool has an epoch that takes events")
    }

    /// One epoch, if it is held.
    #[must_use]
    pub fn epoch(&self, epoch: Epoch) -> Option<&EpochIndex> {
        self.epochs.iter().find(|held| held.record().epoch == epoch)
    }

    fn epoch_mut(&mut self, epoch: Epoch) -> Option<&mut EpochIndex> {
        self.epochs.iter_mut().find(|held| held.record().epoch == epoch)
    }

    /// What to write so that these events, which a run accepts, are held. The index holds them from here
    /// on: if writing fails, it is to be made anew from disk.
    pub fn append(&mut self, run: u32, events: &[Event]) -> Vec<Put> {
        let current = self.current_mut();
        let record = &mut current.record;
        if !events.is_empty() && record.lineage.last().is_none_or(|last| last.id != run) {
            record.lineage.push(Run { first: record.next, id: run });
        }
        current.append(events)
    }

    /// These numbers of an epoch are settled, and no others. Of numbers that were never accepted nothing
    /// is believed.
    pub fn settle(&mut self, epoch: Epoch, mut settled: SeqSet) {
        if let Some(held) = self.epoch_mut(epoch) {
            settled.remove(SeqRange { first: held.record.next, last: Seq(u64::MAX) });
            held.settle(settled);
        }
    }

    /// These numbers of an epoch are lost.
    pub fn lose(&mut self, epoch: Epoch, range: SeqRange) {
        if let Some(held) = self.epoch_mut(epoch) {
            held.lose(range);
        }
    }

    /// A value of an epoch cannot be read back. Returns what to write.
    pub fn lose_value(&mut self, epoch: Epoch, first: Seq) -> Option<Put> {
        self.epoch_mut(epoch)?.lose_value(first)
    }

    /// Takes out what is settled and was accepted more than `retention` minutes of running time ago, and
    /// earlier epochs of which nothing is left to tell.
    pub fn trim(&mut self, minutes: u32, retention: u32) {
        let (slot, next) = (self.current().record.slot, self.current().record.next);
        let every = (retention / MARKS).max(1);
        if self.marks.last().is_none_or(|last| minutes.saturating_sub(last.minutes) >= every) {
            self.marks.push(Mark { minutes, slot, next });
        }
        let old = |mark: &Mark| mark.minutes.saturating_add(retention) <= minutes;
        let passed = self.marks.partition_point(old);
        // The latest of those that are old enough says where the horizon is; the others say nothing.
        self.marks.drain(..passed.saturating_sub(1));
        let horizon = match self.marks.first() {
            _ if retention == 0 => (slot, next),
            Some(mark) if old(mark) => (mark.slot, mark.next),
            Some(_) | None => (0, Seq(0)),
        };
        for epoch in &mut self.epochs {
            let slot = epoch.record.slot;
            while epoch.oldest_value().is_some_and(|(range, settled)| settled && (slot, range.last) < horizon)
            {
                epoch.drop_oldest();
            }
        }
        self.forget_done();
    }

    /// Takes values out until the spool takes no more than `cap` bytes on disk: first those that are settled;
    /// then, if waiting events may be dropped, the oldest; what of these is not settled is lost. Returns how
    /// many events that are, and what to write.
    pub fn evict(&mut self, cap: u64, drop_waiting: bool) -> (u64, Vec<Put>) {
        let before = self.lost();
        let mut puts = Vec::new();
        if self.disk_bytes() > cap {
            let settled = self.epochs.iter().flat_map(|held| {
                let epoch = held.record.epoch;
                held.settled_values().map(move |first| (epoch, first))
            });
            for (epoch, first) in settled.collect::<Vec<_>>() {
                if self.disk_bytes() <= cap || self.values() <= 1 {
                    break;
                }
                puts.extend(self.lose_value(epoch, first));
            }
        }
        while drop_waiting && self.disk_bytes() > cap && self.values() > 1 {
            self.drop_oldest();
        }
        let lost = self.lost() - before;
        self.forget_done();
        (lost, puts)
    }

    /// Each lost range is remembered on its own: of an epoch with too many, the values between the closest two
    /// are lost too. Returns how many events that are, and what to write.
    pub fn merge_losses(&mut self) -> (u64, Vec<Put>) {
        let before = self.lost();
        let mut puts = Vec::new();
        for at in 0..self.epochs.len() {
            while self.epochs[at].record.lost.ranges().len() > MAX_LOST {
                let between = self.epochs[at].closest_losses();
                if between.is_empty() {
                    break;
                }
                puts.extend(between.into_iter().filter_map(|first| self.epochs[at].lose_value(first)));
            }
        }
        (self.lost() - before, puts)
    }

    /// Whether what is not settled would take more than `cap` bytes on disk.
    #[must_use]
    pub fn is_full(&self, cap: u64) -> bool {
        self.disk_bytes() > cap
            && self.epochs.iter().map(EpochIndex::waiting_bytes).sum::<u64>() * DISK_FACTOR > cap
    }

    fn drop_oldest(&mut self) {
        if let Some(epoch) = self.epochs.iter_mut().find(|epoch| epoch.values() > 0) {
            epoch.drop_oldest();
        }
    }

    fn forget_done(&mut self) {
        let last = self.epochs.len() - 1;
        let mut at = 0;
        self.epochs.retain_mut(|epoch| {
            at += 1;
            let keep = at > last || !epoch.is_done();
            if !keep {
                self.removed.extend(epoch.keys());
                self.removed.extend(epoch.take_removed());
            }
            keep
        });
    }

    /// Keys to remove once [`records`](Self::records), as they are, are on stable storage: not before, or
    /// what was removed on purpose would look lost after a crash.
    pub fn take_removed(&mut self) -> Vec<Key> {
        let mut removed = core::mem::take(&mut self.removed);
        removed.extend(self.epochs.iter_mut().flat_map(EpochIndex::take_removed));
        removed
    }

    /// What is to be kept beside the values, in the same step as these.
    #[must_use]
    pub fn records(&self) -> (Vec<EpochRecord>, &[Mark]) {
        (self.epochs.iter().map(|epoch| epoch.record.clone()).collect(), &self.marks)
    }

    fn values(&self) -> usize {
        self.epochs.iter().map(EpochIndex::values).sum()
    }

    /// How many events are lost and not known to be by central.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.epochs.iter().flat_map(EpochIndex::untold).map(|range| range.len()).sum()
    }

    /// How many events are held and not settled.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.epochs.iter().map(EpochIndex::waiting).sum()
    }

    /// How many events are held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.epochs.iter().map(EpochIndex::held).sum()
    }

    /// Bytes of all values that are held.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.epochs.iter().map(EpochIndex::live_bytes).sum()
    }

    /// What that takes on disk at most.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.live_bytes() * DISK_FACTOR
    }
}

#[cfg(test)]
#[path = "../../tests/cases/mod.rs"]
mod cases;

#[cfg(test)]
mod tests {
    use super::cases::cases;
    use super::epoch::Damaged;
    use super::value::{VALUE_BYTES, Value};
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use hangtag_protocol::clock::{BootId, Uptime};
    use hangtag_protocol::epc::Epc;
    use hangtag_protocol::event::{Evidence, Handling, What};
    use hangtag_protocol::id::ZoneId;
    use hangtag_protocol::key::KeyId;
    use hangtag_protocol::scan::{Code, MAX_SEALED, Scan, Sealed};
    use proptest::prelude::*;

    const E: Epoch = Epoch(7);

    pub(super) fn event(n: u64) -> Event {
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

    /// What a disk would hold: the last records, and the keys.
    #[derive(Clone, Default)]
    struct Disk {
        keys: BTreeMap<Key, Vec<u8>>,
        epochs: Vec<EpochRecord>,
        marks: Vec<Mark>,
    }

    impl Disk {
        fn commit(&mut self, puts: Vec<Put>, index: &mut Index) {
            for put in puts {
                assert!(put.bytes.len() <= VALUE_BYTES, "{} bytes", put.bytes.len());
                self.keys.insert(put.key, put.bytes);
            }
            let (epochs, marks) = index.records();
            (self.epochs, self.marks) = (epochs, marks.to_vec());
            for key in index.take_removed() {
                assert!(self.keys.remove(&key).is_some(), "{key:?} is not there");
            }
        }

        fn open(&self) -> Result<Index, Damaged> {
            let mut epochs = Vec::new();
            for record in &self.epochs {
                let mut epoch = EpochIndex::new(record.clone());
                let slot = record.slot;
                for (key, bytes) in
                    self.keys.range(Key::Chapter(slot, Seq(0))..=Key::Chapter(slot, Seq(u64::MAX)))
                {
                    let Key::Chapter(_, first) = key else { unreachable!() };
                    epoch.take_chapter(*first, bytes)?;
                }
                let rest = Key::Value(slot, epoch.unlisted_from())..=Key::Value(slot, Seq(u64::MAX));
                for (key, bytes) in self.keys.range(rest) {
                    let Key::Value(_, first) = key else { unreachable!() };
                    epoch.take_value(*first, bytes).unwrap();
                }
                epochs.push(epoch);
            }
            Ok(Index::new(epochs, self.marks.clone()))
        }

        fn events(&self, index: &Index) -> Vec<(Seq, Event)> {
            let mut found = Vec::new();
            for epoch in index.epochs() {
                let mut from = Seq(1);
                while let Some((key, first)) = epoch.value_at(from) {
                    let value = Value::read_as(&self.keys[&key], epoch.record().epoch, first).unwrap();
                    from = value.range().last.plus(1);
                    found.extend((first.0..).map(Seq).zip(value.events().unwrap()));
                }
            }
            found
        }
    }

    fn fresh() -> Index {
        Index::new(vec![EpochIndex::new(EpochRecord::new(E, 0))], Vec::new())
    }

    fn settled(last: u64) -> SeqSet {
        SeqSet::from(vec![SeqRange::new(1, last)])
    }

    #[test]
    fn values_of_long_scans_stay_small() {
        let scan = |n: u64| {
            let noise =
                (0..MAX_SEALED as u64).map(|at| (n * 31 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56);
            let sealed = Sealed::new(KeyId([1; 8]), noise.map(|byte| byte as u8).collect()).unwrap();
            let (zone, code) = (ZoneId::new("booth-1").unwrap(), Code::Loyalty(sealed));
            let what = What::Scanned(Scan { zone, visit: None, code });
            Event { boot: BootId(1), at: Uptime(n), confidence: 100, what }
        };
        let (mut index, mut disk) = (fresh(), Disk::default());
        let events: Vec<Event> = (1..=300).map(scan).collect();
        // Many at once, and one by one.
        let puts = index.append(1, &events[..256]);
        disk.commit(puts, &mut index);
        for event in &events[256..] {
            let puts = index.append(1, core::slice::from_ref(event));
            disk.commit(puts, &mut index);
        }
        let held = disk.events(&disk.open().unwrap());
        assert_eq!(held, (1..).map(Seq).zip(events).collect::<Vec<_>>());
    }

    #[test]
    fn one_event_per_commit_fills_one_value() {
        let (mut index, mut disk) = (fresh(), Disk::default());
        for n in 0..50 {
            let puts = index.append(1, &[event(n)]);
            disk.commit(puts, &mut index);
        }
        assert_eq!(disk.keys.len(), 1);
        assert_eq!(disk.events(&index).len(), 50);
    }

    #[test]
    fn a_long_backlog_opens_without_its_values() {
        let (mut index, mut disk) = (fresh(), Disk::default());
        for n in (0..60_000).step_by(100) {
            let events: Vec<Event> = (n..n + 100).map(event).collect();
            let puts = index.append(1, &events);
            disk.commit(puts, &mut index);
        }
        let values = disk.keys.keys().filter(|key| matches!(key, Key::Value(..))).count();
        let chapters = disk.keys.len() - values;
        assert!(chapters >= 2 && chapters <= values / 60 + 1, "{chapters} chapters for {values} values");
        let mut without = disk.clone();
        let last = without.keys.keys().last().copied();
        without.keys.retain(|key, _| matches!(key, Key::Chapter(..)) || Some(*key) == last);
        let opened = without.open().unwrap();
        assert_eq!((opened.held(), opened.waiting()), (60_000, 60_000));
        assert_eq!(opened.live_bytes(), index.live_bytes());
    }

    #[test]
    fn a_damaged_chapter_is_found() {
        let (mut index, mut disk) = (fresh(), Disk::default());
        let events: Vec<Event> = (0..2_000).map(event).collect();
        let puts = index.append(1, &events);
        disk.commit(puts, &mut index);
        let key = *disk.keys.keys().next().unwrap();
        assert!(matches!(key, Key::Chapter(..)));
        disk.keys.get_mut(&key).unwrap()[20] ^= 1;
        assert!(disk.open().is_err());
    }

    #[test]
    fn a_full_spool_loses_the_oldest_and_says_which() {
        let (mut index, mut disk) = (fresh(), Disk::default());
        let cap = 40_000;
        let mut lost = 0;
        for n in 0..1_000 {
            let puts = index.append(1, &[event(n)]);
            let (gone, more) = index.evict(cap, true);
            lost += gone;
            disk.commit([puts, more].concat(), &mut index);
        }
        assert!(index.disk_bytes() <= cap && index.is_full(cap / 2));
        let oldest = index.current().oldest_held();
        assert_eq!(lost, oldest.0 - 1);
        assert_eq!(index.current().record().lost.ranges(), [SeqRange::new(1, oldest.0 - 1)]);
        assert_eq!(disk.events(&index).first().unwrap().0, oldest);
        index.settle(E, settled(oldest.0 - 1));
        assert_eq!(index.lost(), 0, "central knows of them");
        index.settle(E, SeqSet::default());
        assert_eq!(index.lost(), lost, "a central that forgot is told again");
    }

    #[test]
    fn what_is_settled_makes_room_without_loss() {
        let mut index = fresh();
        let events: Vec<Event> = (0..1_000).map(event).collect();
        index.append(1, &events);
        index.settle(E, settled(1_000));
        assert_eq!((index.waiting(), index.held()), (0, 1_000));
        // Room for one value.
        let cap = VALUE_BYTES as u64 * DISK_FACTOR;
        assert!(!index.is_full(cap));
        assert_eq!(index.evict(cap, false).0, 0);
        assert!(index.disk_bytes() <= cap && index.lost() == 0);
    }

    #[test]
    fn what_is_settled_goes_before_what_waits() {
        let (mut index, mut disk) = (fresh(), Disk::default());
        let puts = index.append(1, &(0..1_000).map(event).collect::<Vec<_>>());
        disk.commit(puts, &mut index);
        let old = index.current().value_at(Seq(300)).unwrap().1.0 - 1;
        index.settle(E, SeqSet::from(vec![SeqRange::new(old + 1, 1_000)]));
        assert!(!index.is_full(index.disk_bytes() / 2), "only what waits fills a spool");
        let (lost, puts) = index.evict(index.disk_bytes() / 2, true);
        disk.commit(puts, &mut index);
        assert_eq!((lost, index.waiting()), (0, old));
        assert_eq!(disk.open().unwrap().waiting(), old);
    }

    #[test]
    fn of_too_many_losses_the_closest_are_merged() {
        let (mut index, mut disk) = (fresh(), Disk::default());
        let mut firsts = Vec::new();
        for n in 0..700 {
            let puts = index.append(1, &(n * 70..n * 70 + 70).map(event).collect::<Vec<_>>());
            disk.commit(puts, &mut index);
            firsts.push(Seq(n * 70 + 1));
        }
        let mut puts = Vec::new();
        for first in firsts.iter().step_by(2) {
            puts.extend(index.lose_value(E, *first));
        }
        let before = index.held();
        let (lost, more) = index.merge_losses();
        disk.commit([puts, more].concat(), &mut index);
        assert!(index.current().record().lost.ranges().len() <= MAX_LOST);
        assert_eq!(before - index.held(), lost);
        assert!(lost <= 70 * 100, "{lost}: no more than needed");
        assert_eq!(disk.open().unwrap().held(), index.held());
    }

    #[test]
    fn settled_events_stay_for_the_retention() {
        let (mut index, mut disk) = (fresh(), Disk::default());
        for hour in 0..96 {
            let events: Vec<Event> = (0..300).map(event).collect();
            let puts = index.append(1, &events);
            index.settle(E, settled((hour + 1) * 300));
            index.trim(u32::try_from(hour).unwrap() * 60, 48 * 60);
            disk.commit(puts, &mut index);
            assert!(index.marks.len() <= MARKS as usize + 2, "{}", index.marks.len());
            assert!(index.held() >= 300 * (hour + 1).min(48), "hour {hour}: {}", index.held());
            assert!(index.held() <= 300 * (48 + 7) + 512, "hour {hour}: {}", index.held());
        }
        let opened = disk.open().unwrap();
        assert_eq!((opened.held(), opened.waiting()), (index.held(), 0));
        index.settle(E, settled(90 * 300));
        assert_eq!(index.waiting(), 6 * 300, "central went back in time");
        index.trim(96 * 60, 0);
        assert!(index.held() < 6 * 300 + 512);
        assert_eq!(index.waiting(), 6 * 300);
    }

    #[test]
    fn earlier_epochs_drain_and_are_forgotten() {
        let mut old = EpochIndex::new(EpochRecord::new(Epoch(1), 0));
        old.append(&(0..600).map(event).collect::<Vec<_>>());
        old.lose(SeqRange::new(1, 1));
        let keys = old.keys().count();
        let new = EpochIndex::new(EpochRecord::new(Epoch(2), 1));
        let mut index = Index::new(vec![old, new], Vec::new());
        index.append(1, &[event(9)]);
        index.settle(Epoch(1), settled(599));
        index.trim(0, 0);
        assert_eq!((index.epochs().len(), index.waiting()), (2, 2));
        index.settle(Epoch(1), settled(600));
        index.trim(0, 0);
        assert_eq!(index.epochs().len(), 1);
        assert_eq!(index.take_removed().len(), keys, "its values and their chapter");
    }

    #[test]
    fn every_run_that_accepts_something_is_in_the_lineage() {
        let mut index = fresh();
        index.append(1, &[event(1), event(2)]);
        index.append(1, &[event(3)]);
        index.append(2, &[]);
        index.append(3, &[event(4)]);
        let runs: Vec<(u64, u32)> =
            index.current().record().lineage.runs().iter().map(|r| (r.first.0, r.id)).collect();
        assert_eq!(runs, [(1, 1), (4, 3)]);
    }

    #[test]
    fn keys_sort_as_events_do_and_are_read_back() {
        let keys = [
            Key::Chapter(0, Seq(9)),
            Key::Chapter(1, Seq(1)),
            Key::Value(0, Seq(1)),
            Key::Value(0, Seq(256)),
            Key::Value(1, Seq(1)),
        ];
        assert!(keys.windows(2).all(|pair| pair[0].bytes() < pair[1].bytes() && pair[0] < pair[1]));
        assert!(keys.iter().all(|key| Key::of(&key.bytes()) == Some(*key)));
        assert_eq!(Key::of(b"m"), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        Settle(usize),
        Trim,
        Evict(u64),
        LoseValue(usize),
        /// The process dies and starts again from disk.
        Crash,
        /// It dies after the records were written and before anything was removed.
        CrashBeforeRemoval(usize),
        /// A write fails: either nothing of it is on disk or all of it, and the events are given once more.
        FailedWrite {
            events: usize,
            all: bool,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (1usize..700).prop_map(Step::Append),
            2 => (0usize..3_000).prop_map(Step::Settle),
            2 => Just(Step::Trim),
            1 => (5_000u64..200_000).prop_map(Step::Evict),
            1 => (0usize..3_000).prop_map(Step::LoseValue),
            1 => Just(Step::Crash),
            1 => (1usize..300).prop_map(Step::CrashBeforeRemoval),
            2 => (1usize..300, any::<bool>()).prop_map(|(events, all)| Step::FailedWrite { events, all }),
        ]
    }

    proptest! {
        #![proptest_config(cases(24, None))]
        /// Whatever happens: each number is held as it was accepted, or settled, or declared lost.
        #[test]
        fn equals_a_plain_model(steps in prop::collection::vec(step(), 1..20)) {
            let (mut index, mut disk) = (fresh(), Disk::default());
            disk.commit(Vec::new(), &mut index);
            let (mut ever_settled, mut next) = (SeqSet::default(), 1u64);
            for step in steps {
                match step {
                    Step::Append(n) | Step::CrashBeforeRemoval(n) => {
                        let events: Vec<Event> = (next..next + n as u64).map(event).collect();
                        let puts = index.append(1, &events);
                        next += n as u64;
                        if matches!(step, Step::CrashBeforeRemoval(_)) {
                            index.trim(0, 0);
                            let mut copy = index.clone();
                            disk.commit(puts, &mut copy);
                            // The removed keys are on disk again, and are no part of what opens.
                            let back = index.take_removed();
                            back.iter().for_each(|key| drop(disk.keys.insert(*key, vec![0])));
                            disk.keys.retain(|key, bytes| bytes.len() > 1 || matches!(key, Key::Value(..)));
                            index = disk.open().unwrap();
                            disk.keys.retain(|_, bytes| bytes.len() > 1);
                        } else {
                            disk.commit(puts, &mut index);
                        }
                    }
                    Step::Settle(n) => {
                        let mut set = index.current().record().settled.clone();
                        let first = (n as u64 * 7) % next + 1;
                        set.insert(SeqRange::new(first, (first + n as u64).min(next)));
                        ever_settled.insert(SeqRange::new(first, (first + n as u64).min(next - 1)));
                        index.settle(E, set);
                    }
                    Step::Trim => {
                        index.trim(0, 0);
                        disk.commit(Vec::new(), &mut index);
                    }
                    Step::Evict(cap) => {
                        let (_, puts) = index.evict(cap, true);
                        disk.commit(puts, &mut index);
                    }
                    Step::LoseValue(n) => {
                        if let Some((_, first)) = index.current().value_at(Seq(n as u64 + 1)) {
                            let put = index.lose_value(E, first);
                            disk.commit(put.into_iter().collect(), &mut index);
                        }
                    }
                    Step::Crash => index = disk.open().unwrap(),
                    Step::FailedWrite { events: n, all } => {
                        let events: Vec<Event> = (next..next + n as u64).map(event).collect();
                        let puts = index.append(2, &events);
                        if all {
                            disk.commit(puts, &mut index.clone());
                        }
                        index = disk.open().unwrap();
                        let kept = usize::try_from(index.current().record().next.0 - next).unwrap();
                        prop_assert_eq!(kept, if all { n } else { 0 });
                        let puts = index.append(2, &events[kept..]);
                        disk.commit(puts, &mut index);
                        next += n as u64;
                    }
                }
                let held = disk.events(&index);
                prop_assert_eq!(index.held(), held.len() as u64);
                prop_assert_eq!(index.current().record().next, Seq(next));
                prop_assert!(held.iter().all(|(seq, e)| *e == event(seq.0)), "each under its number");
                let record = index.current().record();
                let kept = SeqSet::from(held.iter().map(|(seq, _)| SeqRange { first: *seq, last: *seq }).collect::<Vec<_>>());
                for missing in kept.missing_in(SeqRange::new(1, next - 1)) {
                    for undeclared in record.lost.missing_in(missing) {
                        prop_assert!(ever_settled.covers(undeclared), "{:?} is neither held nor settled nor lost", undeclared);
                    }
                }
                prop_assert!(record.lost.ranges().iter().all(|range| !range.is_empty() && kept.missing_in(*range) == [*range]));
                let waiting = held.iter().filter(|(seq, _)| !record.settled.contains(*seq)).count() as u64;
                prop_assert_eq!(index.waiting(), waiting);
                let first = held.iter().map(|(seq, _)| *seq).find(|seq| !record.settled.contains(*seq));
                prop_assert_eq!(index.current().oldest_waiting(), first);
            }
        }
    }
}
