//! Opening the spool, however it is found. Enters: the data folder. Leaves: an open store and its index.
//!
//! | found | done |
//! |---|---|
//! | nothing | a new spool with a new epoch |
//! | nothing, but a witness that there was something | all that it told of is lost, and a new epoch begins |
//! | any database | sled's file is copied first: where it is damaged sled overwrites what follows |
//! | a good database | its values are listed by their chapters |
//! | a replacement that was cut off | it is finished |
//! | a half-written snapshot file of sled's | it is removed first |
//! | a database that does not open, or contradicts itself | sled's snapshot files are removed and it is tried once more |
//! | one that still does not open | what its files hold is rescued; it is kept as `spool.bad-TIME`; a new epoch begins |
//! | a database that ends before its witness | the same: sled takes a damaged end for one that was never written |
//! | a value that does not read back | its numbers are lost |
//! | a full or read-only disk, no rights, another agent | an error: the data stays where it is |
//!
//! Whatever is lost is on record before anything else is accepted.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hangtag_agent_core::spool::epoch::{EpochIndex, EpochRecord};
use hangtag_agent_core::spool::{Index, Key};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::SeqRange;
use tracing::{error, info, warn};

use super::carve::Carved;
use super::disk::{Folder, Testimony};
use super::rebuild::Builder;
use super::store::{FIRST, LAST, Meta, Store, StoreError, guarded, remove_snapshots};

/// How long sled's own lock may be held by what remains of an earlier opening.
const LOCKED: Duration = Duration::from_secs(5);

/// An open spool.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) index: Index,
    pub(crate) meta: Meta,
    pub(crate) snapshot: Vec<u8>,
}

/// Opens the spool in a data folder, or begins a new one. `again`: this process had it open before. Fails
/// only when the folder cannot be used at the moment.
pub(crate) fn open(folder: &Folder, witness: Option<Testimony>, again: bool) -> Result<Opened, StoreError> {
    folder.finish_replacing()?;
    let dir = folder.spool();
    remove_snapshots(&dir, false)?;
    // A sled that panicked keeps its lock for as long as the process lives. The folder is ours.
    let beyond = |why: &StoreError, again: bool| why.is_damage() || again && matches!(why, StoreError::InUse);
    folder.keep_copy();
    let mut opened = try_open(&dir);
    // A thread of sled's that is still ending, or a process that was just forked off, lets go of it soon.
    let until = Instant::now() + LOCKED;
    while matches!(opened, Err(StoreError::InUse)) && Instant::now() < until {
        thread::sleep(LOCKED / 100);
        opened = try_open(&dir);
    }
    if let Err(why) = &opened
        && beyond(why, again)
    {
        warn!(spool = %dir.display(), %why, "the spool does not open; trying without sled's snapshot files");
        remove_snapshots(&dir, true)?;
        opened = try_open(&dir);
    }
    let why = match opened {
        Ok(opened) => match check(&opened, witness) {
            Ok(()) => {
                folder.drop_copy();
                return Ok(opened);
            }
            Err(why) => why,
        },
        Err(why) if beyond(&why, true) => why,
        Err(why) => return Err(why),
    };
    rescue(folder, witness, &why)?;
    try_open(&dir)
}

/// Builds a new spool from what the files of a damaged one hold.
pub(crate) fn rescue(
    folder: &Folder,
    witness: Option<Testimony>,
    why: &StoreError,
) -> Result<(), StoreError> {
    error!(
        spool = %folder.spool().display(), %why,
        "the spool is damaged: what it holds is rescued, it is set aside, and a new epoch begins"
    );
    let carved = Carved::look(&[folder.spool(), folder.before()])?;
    let mut builder = Builder::new(folder)?;
    for found in carved.epochs(witness, false) {
        let (epoch, next) = (found.record.epoch, found.record.next);
        let (lost, rescued) = (found.record.lost.len(), found.values.len());
        error!(%epoch, next = next.0, values = rescued, lost, "rescued from the damaged spool");
        let values: Vec<_> = carved.values(&found).map(|(range, _)| range).collect();
        builder.epoch(found.record);
        for range in values {
            // It was sound a moment ago.
            let bytes = carved.value(epoch, range.first).unwrap_or_default();
            builder.value(range, bytes)?;
        }
    }
    builder.epoch(EpochRecord::new(Epoch(random()?), 0));
    let meta = carved.meta.unwrap_or_default();
    builder.finish(meta.commits + 1, meta.minutes, meta.anchors, &[], true)?;
    folder.drop_copy();
    Ok(())
}

/// Compares what was found with what the witness saw: sled takes a damaged end for one that was never written.
fn check(opened: &Opened, witness: Option<Testimony>) -> Result<(), StoreError> {
    let Some(told) = witness else { return Ok(()) };
    let known = opened.index.epoch(told.epoch).map(|epoch| epoch.record().next);
    // An epoch of which nothing was left to tell is forgotten.
    if known.map_or(told.oldest >= told.next, |next| next >= told.next) {
        return Ok(());
    }
    let next = known.unwrap_or(Seq::FIRST);
    Err(StoreError::Damaged(format!(
        "it ends before event {next}, and {} had been accepted",
        told.next.0 - 1
    )))
}

/// sled panics on some damaged files instead of returning an error.
fn try_open(dir: &Path) -> Result<Opened, StoreError> {
    guarded(|| scan(Store::open(dir)?, dir))
}

fn scan(mut store: Store, dir: &Path) -> Result<Opened, StoreError> {
    let Some(mut meta) = store.meta()? else {
        if !store.is_empty() {
            return Err(StoreError::Damaged("it has events but no record of itself".into()));
        }
        if store.disk_bytes() > 0 && Carved::look(&[dir.to_owned()])?.meta.is_some() {
            return Err(StoreError::Damaged("sled finds nothing, but its files hold a spool".into()));
        }
        let meta = Meta { epochs: vec![EpochRecord::new(Epoch(random()?), 0)], ..Meta::default() };
        store.commit(Vec::new(), &meta, None)?;
        info!(epoch = %meta.epochs[0].epoch, "began a new spool");
        let (index, _) = list(&store, &meta)?;
        return Ok(Opened { store, index, meta, snapshot: Vec::new() });
    };
    let (index, unreadable) = list(&store, &meta)?;
    let (epochs, _) = index.records();
    if epochs != meta.epochs {
        // The loss is on record before the values go.
        meta.epochs = epochs;
        meta.commits += 1;
        store.commit(Vec::new(), &meta, None)?;
    }
    store.remove(&unreadable)?;
    // A removal that was not durable came back.
    let first = index.epochs().iter().find_map(|epoch| epoch.value_at(FIRST)).map(|(key, _)| key);
    let end = first.unwrap_or(Key::Value(u16::MAX, LAST));
    let behind = store.records(Key::Value(0, FIRST), end).map(|record| record.map(|(key, _)| key));
    let behind: Vec<Key> =
        behind.filter(|key| !matches!(key, Ok(key) if Some(*key) == first)).collect::<Result<_, _>>()?;
    store.remove(&behind)?;
    let snapshot = store.snapshot()?;
    let epoch = index.current().record();
    info!(epoch = %epoch.epoch, next = epoch.next.0, waiting = index.waiting(), held = index.held(), "opened the spool");
    Ok(Opened { store, index, meta, snapshot })
}

/// Lists what is held, and the keys of what cannot be read back.
fn list(store: &Store, meta: &Meta) -> Result<(Index, Vec<Key>), StoreError> {
    let mut epochs = Vec::new();
    let mut unreadable = Vec::new();
    for record in &meta.epochs {
        let mut epoch = EpochIndex::new(record.clone());
        let slot = record.slot;
        for entry in store.records(Key::Chapter(slot, FIRST), Key::Chapter(slot, LAST)) {
            let (Key::Chapter(_, first) | Key::Value(_, first), bytes) = entry?;
            epoch.take_chapter(first, &bytes).map_err(|why| StoreError::Damaged(why.to_string()))?;
        }
        let from = Key::Value(slot, epoch.unlisted_from());
        for entry in store.records(from, Key::Value(slot, LAST)) {
            let (Key::Chapter(_, first) | Key::Value(_, first), bytes) = entry?;
            if let Err(why) = epoch.take_value(first, &bytes) {
                error!(first = first.0, %why, "a value cannot be read back: its events are lost");
                unreadable.push(Key::Value(slot, first));
            }
        }
        // The end of what can be read is not the end of what was accepted.
        let end = epoch.unlisted_from();
        if end > record.next && epoch.values() > 0 {
            // Their numbers would be given to others.
            return Err(StoreError::Damaged(format!(
                "epoch {}: its values go beyond event {}, where its record ends",
                record.epoch,
                record.next.0 - 1
            )));
        }
        if end < record.next {
            epoch.lose(SeqRange { first: end, last: Seq(record.next.0 - 1) });
        }
        epochs.push(epoch);
    }
    if epochs.is_empty() {
        return Err(StoreError::Damaged("its record names no epoch".into()));
    }
    Ok((Index::new(epochs, meta.marks.clone()), unreadable))
}

/// Random bits from the kernel.
pub(crate) fn random() -> io::Result<u64> {
    use std::io::Read as _;
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
