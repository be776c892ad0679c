//! The folder that the spool lives in. Enters: the data folder. Leaves: names of what is in it, its lock,
//! free space and the witness.
//!
//! ```text
//! lock             held by the agent, or by a command that looks at the spool; 8 random bytes
//! spool/           sled's folder
//! spool.tmp/       a new spool that is being built; worth nothing
//! spool.new/       a finished one that is to take the place of spool/, which then goes
//! spool.rescued/   a finished one that is to take the place of a damaged spool/, which is kept
//! spool.bad-TIME/  a damaged one, for people; the latest is kept
//! before.db        sled's file as it was before it was opened last; gone once it opened well
//! ballast          8 MiB that are given up when the disk is full, see [`ballast`](super::ballast)
//! witness          how far the spool was at least, see below
//! set-aside.jsonl  events that could not be sent
//! ```
//!
//! The witness is written after each commit and never synced. It tells after damage how many events were
//! accepted at least, which a database that was cut short does not know:
//!
//! ```text
//! record 'M': epoch u64, next u64, oldest that waits u64 (little-endian)
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hangtag_agent_core::spool::record::{self, Kind};
use hangtag_protocol::id::{Epoch, Seq};
use rustix::fs::{FlockOperation, StatVfsMountFlags, flock, statvfs};
use tracing::warn;

use super::ballast::BALLAST;
use super::recovery::random;
use super::store::StoreError;
use crate::clock;

/// Below so much free space nothing is accepted, in bytes: sled must never meet the end of the disk.
pub(crate) const RESERVE: u64 = 4 << 20;
/// The largest file of sled's that is copied before it is opened, in bytes.
const COPIED: u64 = 256 << 20;
/// With more than this nobody looks after every commit, in bytes: before the next look the spool and others
/// cannot get down to the reserve.
const AMPLE: u64 = 64 << 20;
/// After so many bytes of its own, before sled multiplies them, and after so long the spool looks again.
const LOOK_BYTES: usize = 1 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The spool may take at most this part of what the disk has for it.
const SHARE: u64 = 3;

/// Holds the data folder for this process.
pub(super) struct Lock {
    _file: File,
    /// Random, drawn when the file was made: tells the folder from another one.
    id: [u8; 8],
}

/// The data folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    pub(super) fn building(&self) -> PathBuf {
        self.0.join("spool.tmp")
    }

    pub(super) fn set_aside(&self) -> PathBuf {
        self.0.join("set-aside.jsonl")
    }

    pub(super) fn before(&self) -> PathBuf {
        self.0.join("before.db")
    }

    /// Keeps sled's file as it is before sled opens it: at a damaged place sled overwrites what follows. The
    /// copy is gone again before the kernel writes it to the disk, unless it is needed.
    pub(super) fn keep_copy(&self) {
        let db = self.spool().join("db");
        let size = fs::metadata(&db).map_or(0, |file| file.len());
        let room = self.free().is_ok_and(|free| free > 2 * size + BALLAST + RESERVE);
        // One that is there is from an opening that did not end.
        if size == 0 || size > COPIED || !room || self.before().exists() {
            return;
        }
        if let Err(why) = fs::copy(&db, self.before()) {
            warn!(%why, "cannot keep a copy of the spool while it is opened");
            self.drop_copy();
        }
    }

    /// Removes that copy.
    pub(super) fn drop_copy(&self) {
        // It may never have been made.
        let _ = fs::remove_file(self.before());
    }

    pub(super) fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes the folder for this process, until the returned lock is dropped.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse),
            Err(why) => return Err(StoreError::Io(why.into())),
        }
        let mut id = [0; 8];
        if file.read_exact_at(&mut id, 0).is_err() {
            id = random()?.to_le_bytes();
            file.write_all_at(&id, 0)?;
            file.sync_all()?;
        }
        Ok(Lock { _file: file, id })
    }

    /// The same for who only looks, and changes nothing: nothing to hold where no agent ever was.
    pub(super) fn lock_to_look(&self) -> Result<Option<File>, StoreError> {
        let file = match File::open(self.0.join("lock")) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse),
            Err(why) => Err(StoreError::Io(why.into())),
        }
    }

    /// Fails unless the folder is the one whose lock this is: a disk that was unmounted leaves another one
    /// under the same name, where a new spool must not begin.
    pub(super) fn check(&self, lock: &Lock) -> Result<(), StoreError> {
        if fs::read(self.0.join("lock"))? == lock.id {
            return Ok(());
        }
        let why = format!("{} is not the folder that it was at the start", self.0.display());
        Err(StoreError::Io(io::Error::other(why)))
    }

    /// Bytes that are free for the agent.
    pub(super) fn free(&self) -> io::Result<u64> {
        let stat = statvfs(&self.0)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Whether nothing can be written.
    pub(super) fn is_read_only(&self) -> bool {
        statvfs(&self.0).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    /// Makes a finished spool ready to take the place of the present one, which is kept if it is damaged,
    /// and lets it.
    pub(super) fn replace(&self, damaged: bool) -> io::Result<()> {
        sync(&self.building())?;
        fs::rename(self.building(), self.0.join(if damaged { "spool.rescued" } else { "spool.new" }))?;
        sync(&self.0)?;
        self.finish_replacing()
    }

    /// Ends what [`replace`](Self::replace) began, wherever it was cut off.
    pub(super) fn finish_replacing(&self) -> io::Result<()> {
        remove(&self.building())?;
        let (new, rescued) = (self.0.join("spool.new"), self.0.join("spool.rescued"));
        let spool = self.spool();
        if rescued.exists() {
            if spool.exists() {
                self.remove_bad()?;
                fs::rename(&spool, self.0.join(format!("spool.bad-{}", clock::wall().0)))?;
            }
            fs::rename(&rescued, &spool)?;
        } else if new.exists() {
            // Gone before the new one has its name: then this is gone through again.
            remove(&spool)?;
            fs::rename(&new, &spool)?;
        }
        sync(&self.0)
    }

    /// Damaged spools are kept for people, but not many.
    fn remove_bad(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("spool.bad-") {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The spool that counts, also in the middle of a replacement.
    pub(super) fn latest(&self) -> PathBuf {
        let finished = ["spool.rescued", "spool.new"].map(|name| self.0.join(name));
        finished.into_iter().find(|dir| dir.exists()).unwrap_or_else(|| self.spool())
    }

    /// What the witness says, if there is one.
    pub(super) fn testimony(&self) -> Option<Testimony> {
        Witness(File::open(self.0.join("witness")).ok()?).read()
    }

    /// Opens the witness.
    pub(super) fn witness(&self) -> io::Result<Witness> {
        let path = self.0.join("witness");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        Ok(Witness(file))
    }
}

/// What the spool may take of a disk, given what is free and what it takes.
pub(super) fn quota(cap: u64, free: u64, taken: u64) -> u64 {
    cap.min((free + taken) / SHARE)
}

/// What is free on the disk, looked at now and then: every commit asks.
pub(super) struct Gauge {
    folder: Folder,
    seen: Option<(Instant, u64)>,
    /// Bytes that were written since.
    written: usize,
}

impl Gauge {
    pub(super) fn new(folder: Folder) -> Self {
        Self { folder, seen: None, written: 0 }
    }

    /// Bytes that are free for the agent.
    pub(super) fn free(&mut self) -> io::Result<u64> {
        if let Some((at, free)) = self.seen
            && free >= AMPLE
            && self.written < LOOK_BYTES
            && at.elapsed() < LOOK_EVERY
        {
            return Ok(free);
        }
        (self.seen, self.written) = (None, 0);
        let free = self.folder.free()?;
        self.seen = Some((Instant::now(), free));
        Ok(free)
    }

    /// So many bytes are about to be written.
    pub(super) fn count(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
    }
}

/// Says how far the spool was at least.
pub(crate) struct Witness(File);

/// How far a spool was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Testimony {
    pub(crate) epoch: Epoch,
    pub(crate) next: Seq,
    /// Everything below was settled.
    pub(crate) oldest: Seq,
}

impl Witness {
    /// What it says, if it says anything that can be believed.
    pub(super) fn read(&self) -> Option<Testimony> {
        let mut bytes = [0; 34];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let body = record::open(Kind::Meta, &bytes).ok()?;
        let number = |at: usize| {
            let bytes = body.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes)
        };
        Some(Testimony { epoch: Epoch(number(0)?), next: Seq(number(8)?), oldest: Seq(number(16)?) })
    }

    /// Tells it. It is a help after damage, never what an event is accepted by: a failure is no reason to stop.
    pub(super) fn write(&self, told: Testimony) {
        let mut body = Vec::with_capacity(24);
        body.extend(told.epoch.0.to_le_bytes());
        body.extend(told.next.0.to_le_bytes());
        body.extend(told.oldest.0.to_le_bytes());
        if let Err(why) = self.0.write_all_at(&record::seal(Kind::Meta, &body), 0) {
            warn!(%why, "cannot write the witness");
        }
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_is_finished_wherever_it_was_cut_off() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::new(data.path());
        let put = |name: &str, text: &str| {
            fs::create_dir_all(data.path().join(name)).unwrap();
            fs::write(data.path().join(name).join("db"), text).unwrap();
        };
        let spool = || fs::read_to_string(folder.spool().join("db")).unwrap();
        let bad = || {
            let names = fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().starts_with("spool.bad-")).count()
        };
        put("spool", "old");
        put("spool.tmp", "half");
        folder.finish_replacing().unwrap();
        assert_eq!((spool(), folder.building().exists()), ("old".into(), false));
        put("spool.new", "new");
        folder.finish_replacing().unwrap();
        assert_eq!((spool(), bad()), ("new".into(), 0));
        // The old one was gone already.
        fs::remove_dir_all(folder.spool()).unwrap();
        put("spool.new", "newer");
        folder.finish_replacing().unwrap();
        assert_eq!(spool(), "newer");
        put("spool.bad-1", "long ago");
        put("spool.rescued", "rescued");
        folder.finish_replacing().unwrap();
        assert_eq!((spool(), bad()), ("rescued".into(), 1));
        assert!(!data.path().join("spool.bad-1").exists());
        put("spool.tmp", "built");
        folder.replace(false).unwrap();
        assert_eq!(spool(), "built");
    }

    #[test]
    fn the_witness_is_believed_only_whole() {
        let data = tempfile::tempdir().unwrap();
        let witness = Folder::new(data.path()).witness().unwrap();
        assert_eq!(witness.read(), None);
        let told = Testimony { epoch: Epoch(7), next: Seq(100), oldest: Seq(40) };
        witness.write(told);
        assert_eq!(witness.read(), Some(told));
        witness.0.write_all_at(&[0xff], 20).unwrap();
        assert_eq!(witness.read(), None);
    }
}
