//! The only file that speaks to sled. Enters: records, state. Leaves: the same, after a crash too.
//!
//! Two trees, which one transaction changes at once:
//!
//! ```text
//! the default one    'e' …             values, as hangtag_agent_core::spool has them
//! "book"             'd' …             chapters
//!                    'm'               record 'M': postcard [`Meta`]
//!                    's' ‖ part u16    a part of inference's snapshot
//! ```
//!
//! sled writes a page whole again after ten changes. What changes with every commit shares no page with values,
//! which never change once they are full.
//!
//! sled 0.34.7 is used by rules that were found by cutting its power:
//! - its `flush` does not fsync on Linux (spacejam/sled#1351): [`Store::barrier`] does;
//! - values stay below the size at which sled moves pages to files it never syncs (VALUE_BYTES);
//! - removals are single; reads are one value at a time; the cache is bounded.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use hangtag_agent_core::spool::epoch::EpochRecord;
use hangtag_agent_core::spool::record::{self, Kind, RecordError};
use hangtag_agent_core::spool::value::VALUE_BYTES;
use hangtag_agent_core::spool::{Key, Mark, Put};
use hangtag_protocol::clock::ClockAnchor;
use hangtag_protocol::id::Seq;
use serde::{Deserialize, Serialize};
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional as _};
use tracing::warn;

use super::rouse::{Rouser, Watch};

const CACHE_BYTES: u64 = 4 << 20;
/// Garbage is collected only by sled's own flusher; more often costs more writes.
const COLLECT_MS: u64 = 5_000;
const META: &[u8] = b"m";
const BOOK: &[u8] = b"book";

/// What the spool knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Counts commits, so that of several copies in a damaged file the latest is known.
    pub(crate) commits: u64,
    /// Running time of all agents on this spool, in minutes.
    pub(crate) minutes: u32,
    /// The epochs, oldest first.
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) anchors: Vec<ClockAnchor>,
}

impl Meta {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, StoreError> {
        postcard::from_bytes(body)
            .map_err(|why| StoreError::Damaged(format!("the spool's own record: {why}")))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("numbers always encode");
        // Agents that know neither scans nor readers that are off would take values with them for damaged, if they took
        // the spool at all.
        record::seal_newest(Kind::Meta, &body)
    }
}

/// Why the store fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("another agent, or a command of one, uses this folder")]
    InUse,
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The disk did not keep what it had taken.
    #[error("syncing: {0}")]
    Sync(io::Error),
    #[error("{0}")]
    Damaged(String),
    #[error("it was written by another version of this program (records of version {0}), which must read it")]
    Version(u8),
    #[error("sled panicked: {0}")]
    Panic(String),
}

impl StoreError {
    /// Whether the data is at fault. Anything else (another process holds it, the disk is full, slow or
    /// gone, no memory, no file handles) may pass, and the data must stay where it is.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Sled(sled::Error::Corruption { .. } | sled::Error::Unsupported(_)) => true,
            // sled reports a foreign configuration file as an input error of its own making.
            // A page that the disk cannot read any more is damage too.
            Self::Sled(sled::Error::Io(why)) | Self::Io(why) => {
                why.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
                    || matches!(
                        why.kind(),
                        io::ErrorKind::InvalidData
                            | io::ErrorKind::InvalidInput
                            | io::ErrorKind::UnexpectedEof
                    )
            }
            Self::Sled(_) | Self::Sync(_) | Self::Version(_) | Self::InUse => false,
            Self::Damaged(_) | Self::Panic(_) => true,
        }
    }
}

/// An open sled database.
pub(crate) struct Store {
    trees: Trees,
    rouser: Rouser,
    /// A second handle of sled's file, to sync it.
    file: File,
    snapshot_parts: u16,
    /// What is stored of it, if that is known: it seldom changes.
    snapshot: Option<Vec<u8>>,
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
        let rouser = Rouser::start(db.clone())?;
        let book = db.open_tree(BOOK)?;
        let parts = book.scan_prefix(b"s").keys().count();
        Ok(Self {
            trees: Trees { values: Some(db), book: Some(book) },
            rouser,
            file,
            snapshot_parts: u16::try_from(parts).unwrap_or(u16::MAX),
            snapshot: None,
        })
    }

    /// Closes it. sled writes then, and panics if the disk refuses to keep it: what the kernel shows of the
    /// file may not be there.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        let Self { mut trees, rouser, .. } = self;
        // Nobody can be woken once the database goes: nothing is to be left to write then.
        let flushed = guarded(|| Ok(rouser.watch(|| trees.values().flush())?));
        drop(rouser);
        flushed.map(drop).and(trees.close())
    }

    /// Wakes whatever of this store waits for a failed write, until the end of what is returned.
    pub(super) fn watch(&self) -> Watch {
        self.rouser.begin()
    }

    /// What the spool knows of itself; `None` in a new one.
    pub(crate) fn meta(&self) -> Result<Option<Meta>, StoreError> {
        let bytes = self.trees.book().get(META)?;
        // Before version 4 there was one tree.
        let Some(bytes) = bytes.map_or_else(|| self.trees.values().get(META), |bytes| Ok(Some(bytes)))?
        else {
            return Ok(None);
        };
        let body = record::open(Kind::Meta, &bytes).map_err(|why| match why {
            RecordError::Version(version) => StoreError::Version(version),
            why => StoreError::Damaged(format!("the spool's own record: {why}")),
        })?;
        Meta::decode(body).map(Some)
    }

    /// Whether there is nothing in it at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.trees.values().is_empty() && self.trees.book().is_empty()
    }

    /// The records from one key to another of the same kind, both included, in order.
    pub(crate) fn records(
        &self,
        from: Key,
        to: Key,
    ) -> impl Iterator<Item = Result<(Key, Vec<u8>), StoreError>> {
        self.tree(from).range(from.bytes()..=to.bytes()).map(|entry| {
            let (key, bytes) = entry?;
            let key = Key::of(&key).ok_or_else(|| StoreError::Damaged(format!("a key is {key:02x?}")))?;
            Ok((key, bytes.to_vec()))
        })
    }

    /// One record.
    pub(crate) fn record(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tree(key).get(key.bytes())?.map(|value| value.to_vec()))
    }

    /// Inference's snapshot, empty when there is none.
    pub(crate) fn snapshot(&self) -> Result<Vec<u8>, StoreError> {
        let mut whole = Vec::new();
        for part in self.trees.book().scan_prefix(b"s") {
            whole.extend_from_slice(&part?.1);
        }
        Ok(whole)
    }

    /// Writes records without making them durable: what is built must be committed before it counts.
    pub(crate) fn write(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        self.rouser.watch(|| self.apply(&Changes::of(puts)))
    }

    fn tree(&self, key: Key) -> &sled::Tree {
        match key {
            Key::Chapter(..) => self.trees.book(),
            Key::Value(..) => self.trees.values(),
        }
    }

    /// All or nothing, after a crash too.
    fn apply(&self, Changes { values, book }: &Changes) -> Result<(), StoreError> {
        let trees = (&**self.trees.values(), self.trees.book());
        let done = trees.transaction(|(to_values, to_book)| {
            to_values.apply_batch(values)?;
            to_book.apply_batch(book)?;
            Ok::<(), ConflictableTransactionError<StoreError>>(())
        });
        done.map_err(|why| match why {
            TransactionError::Abort(why) => why,
            TransactionError::Storage(why) => StoreError::Sled(why),
        })
    }

    /// Writes everything at once, and returns when it is on stable storage.
    pub(crate) fn commit(
        &mut self,
        puts: Vec<Put>,
        meta: &Meta,
        snapshot: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let mut changes = Changes::of(puts);
        let book = &mut changes.book;
        book.insert(META, meta.encode());
        let mut parts = self.snapshot_parts;
        let snapshot = snapshot.filter(|new| self.snapshot.as_deref() != Some(*new));
        if let Some(snapshot) = snapshot {
            parts = 0;
            for part in snapshot.chunks(VALUE_BYTES) {
                book.insert(part_key(parts).as_slice(), part);
                parts += 1;
            }
            (parts..self.snapshot_parts).for_each(|part| book.remove(part_key(part).as_slice()));
        }
        self.rouser.watch(|| {
            self.apply(&changes)?;
            self.barrier()
        })?;
        self.snapshot_parts = parts;
        if let Some(snapshot) = snapshot {
            self.snapshot = Some(snapshot.to_vec());
        }
        Ok(())
    }

    /// Removes records. Not made durable by itself: what comes back after a crash is below what the spool
    /// says it holds, and is removed again.
    pub(crate) fn remove(&self, keys: &[Key]) -> Result<(), StoreError> {
        // One by one: a large batch of removals holds everything in memory.
        self.rouser
            .watch(|| keys.iter().try_for_each(|key| self.tree(*key).remove(key.bytes()).map(drop)))?;
        Ok(())
    }

    /// The barrier behind which an event is accepted. sled's flush hands its buffers to the kernel; on
    /// Linux only our own sync makes the device keep them (spacejam/sled#1351). Both are needed.
    fn barrier(&self) -> Result<(), StoreError> {
        self.trees.values().flush()?;
        self.file.sync_data().map_err(StoreError::Sync)?;
        Ok(())
    }

    /// What the database takes on disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// sled, which may panic when it goes.
struct Trees {
    values: Option<sled::Db>,
    /// What changes with every commit.
    book: Option<sled::Tree>,
}

impl Trees {
    fn values(&self) -> &sled::Db {
        self.values.as_ref().expect("open until it goes")
    }

    fn book(&self) -> &sled::Tree {
        self.book.as_ref().expect("open until it goes")
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let (values, book) = (self.values.take(), self.book.take());
        guarded(|| {
            drop(book);
            drop(values);
            Ok(())
        })
    }
}

impl Drop for Trees {
    fn drop(&mut self) {
        if self.values.is_some()
            && let Err(why) = self.close()
        {
            warn!(%why, "the store does not close");
        }
    }
}

/// Turns a panic of sled's into an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::Panic(text.unwrap_or("without a message").to_owned()))
    })
}

/// What one transaction changes.
#[derive(Default)]
struct Changes {
    values: sled::Batch,
    book: sled::Batch,
}

impl Changes {
    fn of(puts: Vec<Put>) -> Self {
        let mut changes = Self::default();
        for Put { key, bytes } in puts {
            let batch = match key {
                Key::Chapter(..) => &mut changes.book,
                Key::Value(..) => &mut changes.values,
            };
            batch.insert(key.bytes().as_slice(), bytes);
        }
        changes
    }
}

fn part_key(part: u16) -> [u8; 3] {
    let [high, low] = part.to_be_bytes();
    [b's', high, low]
}

/// Every key of a slot, or of all slots.
pub(crate) const FIRST: Seq = Seq(0);
pub(crate) const LAST: Seq = Seq(u64::MAX);

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
