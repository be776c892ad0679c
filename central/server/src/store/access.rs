//! Who may come in, and who did what. Enters: names, digests, hashes, times. Leaves: users, sessions, tokens, and what is
//! written down of them. No password, no session and no token is here: only what they are known by.
//!
//! ```text
//! account      one row per person who signs in; PRIMARY KEY (name)
//!   role                         merchandiser | privacy-officer | administrator
//!   password                     argon2id, in PHC's form
//!   made                         when the person was added
//! session      one row per browser that is signed in; PRIMARY KEY (digest)
//!   digest                       SHA-256 of what its cookie holds, hexadecimal
//!   began, used                  when it was signed in, and was last heard of, to the minute
//! token        one row per token of a program; PRIMARY KEY (id)
//!   name                         what it is for
//!   digest                       SHA-256 of it, hexadecimal
//!   scopes                       what it may do, words with blanks between
//!   made, expires, used, revoked when; absent: never
//! audit        one row per thing that was done, the oldest go when there are many; PRIMARY KEY (id)
//!   at, who, what, address, about when, by whom, what (`Deed`), from where, and about what
//!   is_noise                     1: anybody can cause it; such rows do not push out others
//! ```
//!
//! Times are Unix milliseconds.

use std::sync::{Mutex, PoisonError};

use hangtag_protocol::id::TenantId;

use super::db::Db;
use super::idle::Idle;
use super::{Address, StoreError, open_to_write};

mod account;
mod audit;
mod session;
mod token;

pub(crate) use audit::{Deed, Entry, Noted};
pub(crate) use session::{Ends, Guest};
pub(crate) use token::{Bearer, Granted, NewToken};

/// The step that makes the tables.
pub(super) const TABLES: &str = "
CREATE TABLE account (
    name TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, made BIGINT NOT NULL
);
CREATE TABLE session (
    digest TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, began BIGINT NOT NULL, used BIGINT NOT NULL
);
CREATE INDEX session_by_name ON session (name, used);
CREATE TABLE token (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL,
    made BIGINT NOT NULL, expires BIGINT, used BIGINT, revoked BIGINT
);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at_ms BIGINT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    address TEXT NOT NULL, about TEXT NOT NULL, is_noise BIGINT NOT NULL
);
CREATE INDEX audit_by_noise ON audit (is_noise, id);
";

/// How exactly it is known when a session or a token was last used, in milliseconds: a minute.
const USED_TO: i64 = 60_000;

/// The part of the database that is about who may come in.
#[derive(Debug)]
pub(crate) struct Access {
    address: Address,
    tenant: TenantId,
    /// Who asks does not wait for who writes.
    asks: Idle,
    writes: Kept,
}

/// A connection that is opened when it is first needed, and anew after an error.
#[derive(Default)]
struct Kept(Mutex<Option<Db>>);

impl Access {
    /// Of that database. It is opened when something is asked of it.
    pub(crate) fn new(address: Address, tenant: TenantId) -> Self {
        Self { address, tenant, asks: Idle::default(), writes: Kept::default() }
    }

    /// Makes the tables, and the file, when they are missing.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        self.write(|_| Ok(()))
    }

    /// Whether the tables are there, as this version has them. Changes nothing.
    ///
    /// # Errors
    /// When they are not.
    pub(crate) fn is_ready(&self) -> Result<(), StoreError> {
        self.ask(|_| Ok(()))
    }

    /// A database that is missing is not made: in an empty one there would be no users, and nobody would be asked.
    fn ask<T>(&self, question: impl FnOnce(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        question(&mut *self.asks.reading(&self.address)?)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.writes.with(|| open_to_write(&self.address, self.tenant), change)
    }
}

impl Kept {
    fn with<T>(
        &self,
        open: impl FnOnce() -> Result<Db, StoreError>,
        work: impl FnOnce(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut db = kept.take().map_or_else(open, Ok)?;
        let result = work(&mut db);
        if result.is_ok() {
            *kept = Some(db);
        }
        result
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}
