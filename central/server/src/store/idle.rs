//! Connections to a file that only read, kept between questions: to open one is to read the schema anew. Enters: who
//! asks. Leaves: a connection, which comes back when the question is answered. A server's sessions are kept by
//! `db/server.rs`.

use std::fmt::{self, Debug, Formatter};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::db::Db;
use super::{Address, StoreError, open_to_read};

/// Connections that are kept: as many as the page has turns, and a few for other questions.
const KEPT: usize = 8;

/// The connections that nobody uses, each with the file to which it leads.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<(Db, Inode)>>);

/// A connection that somebody uses.
pub(super) struct Reading<'i> {
    /// Is there until it is dropped.
    db: Option<Db>,
    /// Where it goes then.
    home: Option<(&'i Idle, Inode)>,
}

/// The numbers of a file's device and of the file.
type Inode = (u64, u64);

impl Idle {
    /// A connection to the database, whose tables must exist.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn reading(&self, address: &Address) -> Result<Reading<'_>, StoreError> {
        let inode = match address {
            Address::File(path) => fs::metadata(path).ok().map(|file| (file.dev(), file.ino())),
            Address::Server(_) => None,
        };
        let Some(inode) = inode else { return Ok(Reading { db: Some(open_to_read(address)?), home: None }) };
        let kept = {
            let mut kept = self.kept();
            // One that leads to a file that was moved away would answer as if nothing had happened.
            kept.retain(|(_, of)| *of == inode);
            kept.pop()
        };
        let db = kept.map_or_else(|| open_to_read(address), |(db, _)| Ok(db))?;
        Ok(Reading { db: Some(db), home: Some((self, inode)) })
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Db, Inode)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Idle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

impl Deref for Reading<'_> {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db.as_ref().expect("it is taken only when this is dropped")
    }
}

impl DerefMut for Reading<'_> {
    fn deref_mut(&mut self) -> &mut Db {
        self.db.as_mut().expect("it is taken only when this is dropped")
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        // A question that panicked may have left anything behind.
        let (Some(db), Some((idle, inode)), false) = (self.db.take(), self.home, std::thread::panicking())
        else {
            return;
        };
        let mut kept = idle.kept();
        if kept.len() < KEPT {
            kept.push((db, inode));
        }
    }
}
