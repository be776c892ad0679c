//! Opening the spool, however it is found. Enters: a folder. Leaves: an open store and its index.
//!
//! | found | done |
//! |---|---|
//! | nothing | a new spool with a new epoch |
//! | a good database | its values are indexed |
//! | a half-written snapshot file | it is removed first |
//! | a database that does not open | its snapshot files are removed and it is tried once more |
//! | one that still does not open | it is set aside as `spool.bad-TIME`, and a new epoch begins |
//! | a value that does not read back | its numbers are lost, and are reported as such |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::{fs, io};

use hangtag_agent_core::spool::Index;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::{SeqRange, SeqSet};
use tracing::{error, info, warn};

use super::store::{Meta, Store, StoreError, remove_snapshots};
use crate::clock;

/// An open spool.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) index: Index,
    pub(crate) meta: Meta,
    pub(crate) snapshot: Vec<u8>,
}

/// Opens the spool in a folder, or begins a new one. Fails only when the folder cannot be used at all.
pub(crate) fn open(dir: &Path, cap_bytes: u64) -> Result<Opened, StoreError> {
    remove_snapshots(dir, false)?;
    let why = match try_open(dir, cap_bytes) {
        Err(why) if is_damaged(&why) => why,
        other => return other,
    };
    warn!(spool = %dir.display(), %why, "the spool does not open; trying without its snapshot files");
    remove_snapshots(dir, true)?;
    let why = match try_open(dir, cap_bytes) {
        Err(why) if is_damaged(&why) => why,
        other => return other,
    };
    let aside = dir.with_extension(format!("bad-{}", clock::wall().0));
    error!(
        spool = %dir.display(), aside = %aside.display(), %why,
        "the spool cannot be read: it is set aside, and a new one begins"
    );
    fs::rename(dir, &aside)?;
    try_open(dir, cap_bytes)
}

/// Whether the data is at fault. Anything else (another process holds it, the disk is full, slow or
/// gone, no memory, no file handles) may pass, and the data must stay where it is.
fn is_damaged(why: &StoreError) -> bool {
    match why {
        StoreError::Sled(sled::Error::Corruption { .. } | sled::Error::Unsupported(_)) => true,
        // sled reports a foreign configuration file as an input error of its own making.
        StoreError::Sled(sled::Error::Io(why)) | StoreError::Sync(why) => {
            matches!(why.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        }
        StoreError::Sled(_) | StoreError::InUse => false,
        StoreError::Meta(_) | StoreError::Panic(_) => true,
    }
}

/// sled panics on some damaged files instead of returning an error.
fn try_open(dir: &Path, cap_bytes: u64) -> Result<Opened, StoreError> {
    catch_unwind(AssertUnwindSafe(|| scan(Store::open(dir)?, cap_bytes))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::Panic(text.unwrap_or("without a message").to_owned()))
    })
}

fn scan(mut store: Store, cap_bytes: u64) -> Result<Opened, StoreError> {
    let Some(mut meta) = store.meta()? else {
        let meta =
            Meta { epoch: Epoch(random()?), next: Seq::FIRST, lost: SeqSet::default(), anchors: Vec::new() };
        store.commit(Vec::new(), &meta, None)?;
        info!(epoch = %meta.epoch, "began a new spool");
        let index = Index::new(meta.next, SeqSet::default(), cap_bytes);
        return Ok(Opened { store, index, meta, snapshot: Vec::new() });
    };
    let mut index = Index::new(meta.next, meta.lost.clone(), cap_bytes);
    let mut damaged = Vec::new();
    let mut unreadable_from: Option<Seq> = None;
    for entry in store.values() {
        let (first, value) = entry?;
        if let Some(from) = unreadable_from.take() {
            index.lose(SeqRange { first: from, last: Seq(first.0 - 1) });
        }
        if let Err(why) = index.found(first, &value) {
            error!(first = first.0, %why, "a value cannot be read back: its events are lost");
            unreadable_from = Some(first);
            damaged.push(first);
        }
    }
    if let Some(from) = unreadable_from {
        index.lose(SeqRange { first: from, last: Seq(meta.next.0 - 1) });
    }
    meta.next = index.next();
    if !damaged.is_empty() {
        // Their loss is on record before they go.
        meta.lost = index.lost().clone();
        store.commit(Vec::new(), &meta, None)?;
        store.remove(&damaged)?;
    }
    let snapshot = store.snapshot()?;
    info!(epoch = %meta.epoch, next = meta.next.0, held = index.held(), "opened the spool");
    Ok(Opened { store, index, meta, snapshot })
}

/// Random bits from the kernel.
pub(crate) fn random() -> io::Result<u64> {
    use std::io::Read as _;
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
