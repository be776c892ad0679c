//! Reads what a spool's files hold without opening the database. Enters: a folder, however damaged. Leaves: where
//! its values are, and the latest thing that it knew of itself. It never writes.
//!
//! sled keeps records uncompressed, and ours carry their own magic and checksum: they are found by reading
//! every file from end to end. Old copies are found too. Of the spool's own record the one of the latest commit
//! counts; of a value the one of the latest run, as far as the epoch's lineage lets that run reach: what a process
//! wrote that died before it was accepted may be longer, and the numbers were given to others.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use hangtag_agent_core::spool::epoch::EpochRecord;
use hangtag_agent_core::spool::record::{self, BEFORE_BODY, Kind, MAX_RECORD, RecordError};
use hangtag_agent_core::spool::value::{Value, ValueError};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::{SeqRange, SeqSet};

use super::disk::Testimony;
use super::store::{Meta, StoreError};

/// What a disk fails to read at once, at least.
const BLOCK: usize = 4_096;
/// How much of a file is looked at at once.
const CHUNK: usize = 1 << 20;

/// What was found.
#[derive(Default)]
pub(crate) struct Carved {
    pub(crate) meta: Option<Meta>,
    /// Records of another version, which must read them.
    foreign: Option<u8>,
    values: BTreeMap<(Epoch, Seq), Place>,
    /// All copies of the values, one of each run, until the files are read.
    copies: BTreeMap<(Epoch, Seq), Vec<Place>>,
    files: Vec<PathBuf>,
}

/// Where a value is.
#[derive(Clone, Copy)]
struct Place {
    file: usize,
    at: u64,
    length: usize,
    run: u32,
    /// Events in it that earlier runs had accepted.
    inherited: u16,
    /// Events in it that count.
    count: u16,
}

/// One epoch of what was found.
pub(crate) struct CarvedEpoch {
    /// What is kept of it beside its values. `lost` has what should be there and was not found.
    pub(crate) record: EpochRecord,
    /// The first numbers of the values that were found and are not settled, or all.
    pub(crate) values: Vec<Seq>,
}

impl Carved {
    /// Looks through files and folders; what is not there holds nothing.
    ///
    /// # Errors
    /// When they cannot be read, or another version of the program wrote them.
    pub(crate) fn look(places: &[PathBuf]) -> Result<Self, StoreError> {
        let mut carved = Self::default();
        let mut places = places.to_vec();
        while let Some(place) = places.pop() {
            if place.is_dir() {
                for entry in fs::read_dir(&place)? {
                    places.push(entry?.path());
                }
            } else if place.exists() {
                carved.files.push(place);
                carved.look_at(carved.files.len() - 1)?;
            }
        }
        if let (None, Some(version)) = (&carved.meta, carved.foreign) {
            return Err(StoreError::Version(version));
        }
        carved.choose();
        Ok(carved)
    }

    fn look_at(&mut self, file: usize) -> io::Result<()> {
        let input = File::open(&self.files[file])?;
        let length = input.metadata()?.len();
        let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK + MAX_RECORD);
        let mut begins_at = 0u64;
        loop {
            let at = begins_at + buffer.len() as u64;
            let wanted = usize::try_from((length - at.min(length)).min(CHUNK as u64)).unwrap_or(CHUNK);
            read_what_can_be(&input, at, wanted, &mut buffer);
            let end = at + wanted as u64 >= length;
            // A record that begins near the end may go on in the next chunk.
            let settled_to = if end { buffer.len() } else { buffer.len().saturating_sub(MAX_RECORD) };
            let mut from = 0;
            while let Some(at) = record::find(&buffer[..], from).filter(|at| *at < settled_to) {
                from = at + 1;
                match record::read(&buffer[at..]) {
                    Ok((kind, body)) => {
                        let length = BEFORE_BODY + body.len();
                        self.take(kind, body, (file, begins_at + at as u64, length));
                        from = at + length;
                    }
                    Err(RecordError::Version(version)) => self.foreign = Some(version),
                    Err(_) => {}
                }
            }
            if end {
                return Ok(());
            }
            let done = from.max(settled_to).min(buffer.len());
            begins_at += done as u64;
            buffer.drain(..done);
        }
    }

    fn take(&mut self, kind: Kind, body: &[u8], (file, at, length): (usize, u64, usize)) {
        match kind {
            Kind::Value => {
                let Ok(Value { epoch, first, run, inherited, count, .. }) = Value::of(body) else { return };
                let place = Place { file, at, length, run, inherited, count };
                let copies = self.copies.entry((epoch, first)).or_default();
                // One process gives a number to one event: of its copies the longest has all that it wrote.
                match copies.iter_mut().find(|copy| copy.run == run) {
                    Some(known) if known.count < count => *known = place,
                    Some(_) => {}
                    None => copies.push(place),
                }
            }
            Kind::Meta => {
                let Ok(meta) = Meta::decode(body) else { return };
                if self.meta.as_ref().is_none_or(|known| known.commits <= meta.commits) {
                    self.meta = Some(meta);
                }
            }
            Kind::Chapter => {}
        }
    }

    /// Chooses among the copies of each value.
    fn choose(&mut self) {
        let records = self.meta.as_ref().map(|meta| &meta.epochs[..]).unwrap_or_default();
        for ((epoch, first), copies) in std::mem::take(&mut self.copies) {
            let record = records.iter().find(|record| record.epoch == epoch);
            let reaching = copies.into_iter().map(|copy| Place { count: reach(copy, first, record), ..copy });
            // Whoever inherited more came later.
            let latest =
                reaching.filter(|copy| copy.count > 0).max_by_key(|copy| (copy.inherited, copy.count));
            if let Some(latest) = latest {
                self.values.insert((epoch, first), latest);
            }
        }
    }

    /// The epochs, oldest first. `all` keeps what is settled, too.
    pub(crate) fn epochs(&self, witness: Option<Testimony>, all: bool) -> Vec<CarvedEpoch> {
        let known = self.meta.as_ref().map(|meta| meta.epochs.clone()).unwrap_or_default();
        let mut records: Vec<EpochRecord> = Vec::new();
        let mut unknown: Vec<Epoch> = self.values.keys().map(|(epoch, _)| *epoch).collect();
        unknown.extend(witness.map(|told| told.epoch));
        unknown.dedup();
        for epoch in unknown {
            // With the spool's own record at hand, other epochs are old: they were done with.
            let is_new = known.iter().chain(&records).all(|record| record.epoch != epoch);
            if is_new && (known.is_empty() || witness.is_some_and(|told| told.epoch == epoch)) {
                let mut record = EpochRecord::new(epoch, 0);
                if let Some(told) = witness.filter(|told| told.epoch == epoch) {
                    let last = Seq(told.oldest.0.saturating_sub(1));
                    record.settled.insert(SeqRange { first: Seq::FIRST, last });
                    record.oldest = told.oldest;
                }
                records.push(record);
            }
        }
        records.extend(known);
        records.into_iter().map(|record| self.epoch(record, witness, all)).collect()
    }

    fn epoch(&self, mut record: EpochRecord, witness: Option<Testimony>, all: bool) -> CarvedEpoch {
        if let Some(told) = witness.filter(|told| told.epoch == record.epoch) {
            record.next = record.next.max(told.next);
        }
        let mut values = Vec::new();
        let mut found = SeqSet::default();
        let mut after = Seq(0);
        let epoch = record.epoch;
        for ((_, first), place) in self.values.range((epoch, Seq(0))..=(epoch, Seq(u64::MAX))) {
            let range =
                SeqRange { first: *first, last: Seq((first.0 + u64::from(place.count)).saturating_sub(1)) };
            if range.last < record.oldest || range.is_empty() || range.first < after {
                continue;
            }
            // A value beyond what the spool knew of was never accepted, unless that knowledge is old.
            record.next = record.next.max(range.last.plus(1));
            after = range.last.plus(1);
            found.insert(range);
            if all || !record.settled.covers(range) {
                values.push(*first);
            }
        }
        let all_of_it = SeqRange { first: record.oldest, last: Seq(record.next.0 - 1) };
        for missing in found.missing_in(all_of_it) {
            for lost in record.settled.missing_in(missing) {
                record.lost.insert(lost);
            }
        }
        // An old declaration of loss is beaten by what was found.
        found.ranges().iter().for_each(|range| record.lost.remove(*range));
        CarvedEpoch { record, values }
    }

    /// The values of an epoch that were found: their numbers and bytes.
    pub(crate) fn values(&self, epoch: &CarvedEpoch) -> impl Iterator<Item = (SeqRange, u64)> {
        epoch.values.iter().filter_map(|first| {
            let place = self.values.get(&(epoch.record.epoch, *first))?;
            let last = Seq((first.0 + u64::from(place.count)).saturating_sub(1));
            Some((SeqRange { first: *first, last }, place.length as u64))
        })
    }

    /// The value that holds an event, or the first one after it.
    pub(crate) fn value_at(&self, epoch: Epoch, seq: Seq) -> Option<Vec<u8>> {
        let before = self.values.range((epoch, Seq(0))..=(epoch, seq)).next_back();
        let holding = before.filter(|((_, first), place)| first.0 + u64::from(place.count) > seq.0);
        let after = || self.values.range((epoch, seq)..=(epoch, Seq(u64::MAX))).next();
        let ((_, first), _) = holding.or_else(after)?;
        self.value(epoch, *first).ok()
    }

    /// Bytes of all files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum()
    }

    /// Reads a value that was found.
    ///
    /// # Errors
    /// When it is not there any more.
    pub(crate) fn value(&self, epoch: Epoch, first: Seq) -> Result<Vec<u8>, ValueError> {
        let place = self.values.get(&(epoch, first)).copied();
        let bytes = place.and_then(|place| {
            let mut bytes = vec![0; place.length];
            File::open(&self.files[place.file])
                .and_then(|file| file.read_exact_at(&mut bytes, place.at))
                .ok()?;
            Some(bytes)
        });
        let bytes = bytes.unwrap_or_default();
        let value = Value::read_as(&bytes, epoch, first)?;
        match place.map(|place| place.count).filter(|count| *count < value.count) {
            Some(count) => value.cut(count.into()),
            None => Ok(bytes),
        }
    }
}

/// How many events of a value count: those that its run inherited, and its own up to where the next run began.
fn reach(copy: Place, first: Seq, record: Option<&EpochRecord>) -> u16 {
    let below = |end: Seq| u16::try_from(end.0.saturating_sub(first.0)).unwrap_or(u16::MAX).min(copy.count);
    let Some(record) = record else { return copy.count };
    let runs = record.lineage.runs();
    let Some(oldest) = runs.first() else { return copy.count };
    let own = first.plus(copy.inherited.into());
    match runs.iter().position(|run| run.id == copy.run) {
        Some(at) => runs.get(at + 1).map_or(copy.count, |next| below(next.first)),
        // It began after what is found of the spool's own record was written.
        None if own >= record.next => copy.count,
        // It accepted nothing, or did so before the oldest run that is remembered.
        None => below(own.max(oldest.first)),
    }
}

/// Reads bytes of a file; where the disk gives none there are zeroes, which are no record.
fn read_what_can_be(file: &File, at: u64, wanted: usize, buffer: &mut Vec<u8>) {
    let from = buffer.len();
    buffer.resize(from + wanted, 0);
    if file.read_exact_at(&mut buffer[from..], at).is_ok() {
        return;
    }
    for (n, block) in buffer[from..].chunks_mut(BLOCK).enumerate() {
        if file.read_exact_at(block, at + (n * BLOCK) as u64).is_err() {
            block.fill(0);
        }
    }
}
