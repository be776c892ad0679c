//! The only file that speaks to sled. Enters: values, state. Leaves: the same, after a crash too.
//!
//! One tree, so that one batch changes it at once:
//!
//! ```text
//! "e" ‖ number, 8 bytes big-endian   a value, as hangtag_agent_core::spool has it
//! "m"                                postcard [`Meta`]
//! "s" ‖ part, 1 byte                 a part of inference's snapshot
//! ```
//!
//! sled 0.34.7 is used by rules that were found by cutting its power:
//! - its `flush` does not fsync on Linux (spacejam/sled#1351): [`Store::barrier`] does;
//! - values stay below the size at which sled moves pages to files it never syncs (VALUE_BYTES);
//! - removals are single; reads are one value at a time; the cache is bounded.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use hangtag_agent_core::spool::{VALUE_BYTES, Write};
use hangtag_protocol::clock::ClockAnchor;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::SeqSet;
use serde::{Deserialize, Serialize};

const CACHE_BYTES: u64 = 4 << 20;
/// Garbage is collected only by sled's own flusher; more often costs more writes.
const COLLECT_MS: u64 = 5_000;
const META: &[u8] = b"m";

/// What the spool knows of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) epoch: Epoch,
    pub(crate) next: Seq,
    pub(crate) lost: SeqSet,
    pub(crate) anchors: Vec<ClockAnchor>,
}

/// Why the store fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("another agent, or a command of one, uses this folder")]
    InUse,
    #[error("syncing: {0}")]
    Sync(#[from] io::Error),
    #[error("the spool's own record does not decode: {0}")]
    Meta(postcard::Error),
    #[error("sled panicked: {0}")]
    Panic(String),
}

/// An open sled database.
pub(crate) struct Store {
    db: sled::Db,
    /// A second handle of sled's file, to sync it.
    file: File,
    snapshot_parts: u8,
}

impl Store {
    /// Opens or creates the database in a folder.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(COLLECT_MS))
            .open()
            .map_err(|why| match why {
                // sled keeps the kind of this error in its text only.
                sled::Error::Io(why) if why.to_string().contains("could not acquire lock") => {
                    StoreError::InUse
                }
                why => StoreError::Sled(why),
            })?;
        // The fixes of sled's own opening were never released for 0.34.
        File::open(dir.join("conf"))?.sync_all()?;
        File::open(dir)?.sync_all()?;
        let file = File::open(dir.join("db"))?;
        file.sync_all()?;
        let snapshot_parts = u8::try_from(db.scan_prefix(b"s").count()).unwrap_or(u8::MAX);
        Ok(Self { db, file, snapshot_parts })
    }

    /// What the spool knows of itself; `None` in a new one.
    pub(crate) fn meta(&self) -> Result<Option<Meta>, StoreError> {
        let Some(bytes) = self.db.get(META)? else { return Ok(None) };
        postcard::from_bytes(&bytes).map(Some).map_err(StoreError::Meta)
    }

    /// The keys and values of all events, in order.
    pub(crate) fn values(&self) -> impl Iterator<Item = Result<(Seq, Vec<u8>), StoreError>> {
        self.db.scan_prefix(b"e").map(|entry| {
            let (key, value) = entry?;
            let number = key.get(1..9).and_then(|n| <[u8; 8]>::try_from(n).ok()).unwrap_or([0; 8]);
            Ok((Seq(u64::from_be_bytes(number)), value.to_vec()))
        })
    }

    /// One value.
    pub(crate) fn value(&self, first: Seq) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key(first))?.map(|value| value.to_vec()))
    }

    /// Inference's snapshot, empty when there is none.
    pub(crate) fn snapshot(&self) -> Result<Vec<u8>, StoreError> {
        let mut whole = Vec::new();
        for part in self.db.scan_prefix(b"s") {
            whole.extend_from_slice(&part?.1);
        }
        Ok(whole)
    }

    /// Writes everything at once, and returns when it is on stable storage.
    pub(crate) fn commit(
        &mut self,
        writes: Vec<Write>,
        meta: &Meta,
        snapshot: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for write in writes {
            batch.insert(key(write.first).as_slice(), write.value);
        }
        batch.insert(META, postcard::to_allocvec(meta).map_err(StoreError::Meta)?);
        let mut parts = self.snapshot_parts;
        if let Some(snapshot) = snapshot {
            parts = 0;
            for part in snapshot.chunks(VALUE_BYTES) {
                batch.insert(&[b's', parts], part);
                parts = parts.saturating_add(1);
            }
            (parts..self.snapshot_parts).for_each(|part| batch.remove(&[b's', part]));
        }
        self.db.apply_batch(batch)?;
        self.snapshot_parts = parts;
        self.barrier()
    }

    /// Removes values. Not made durable by itself: what comes back after a crash is settled already and
    /// is removed again.
    pub(crate) fn remove(&self, firsts: &[Seq]) -> Result<(), StoreError> {
        // One by one: a large batch of removals holds everything in memory.
        for first in firsts {
            self.db.remove(key(*first))?;
        }
        Ok(())
    }

    /// The barrier behind which an event is accepted. sled's flush hands its buffers to the kernel; on
    /// Linux only our own sync makes the device keep them (spacejam/sled#1351). Both are needed.
    fn barrier(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }

    /// What the database takes on disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.db.size_on_disk()?)
    }
}

fn key(first: Seq) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&first.0.to_be_bytes());
    key
}

/// A half-written snapshot file that a cut or a full disk left behind makes every later open fail
/// (spacejam/sled#1527): it is removed. With `all`, complete snapshots go too; sled then reads its log.
pub(crate) fn remove_snapshots(dir: &Path, all: bool) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(why),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && (all || name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
