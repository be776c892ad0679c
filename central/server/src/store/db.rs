//! The one way to a database. Enters: SQL with numbered places (`?1`), and what is bound to them. Leaves: rows. Which
//! engine answers is known in this folder alone; everything else in `store` is written once for all of them.
//!
//! Statements are prepared once per connection and kept by their text. Whoever asks within a [`Transaction`] does so
//! through the [`Db`] that it stands for.

use std::ops::Deref;
use std::path::Path;

use super::StoreError;

mod sqlite;
mod value;

pub(super) use sqlite::Sqlite;
pub(super) use value::{Bind, FromValue, IntoBind, Owned, Value};

/// What is bound to the places of a statement, from the first on.
macro_rules! binds {
    ($($value:expr),* $(,)?) => { &[$($crate::store::db::IntoBind::into_bind($value)),*] };
}
pub(super) use binds;

/// A connection.
pub(super) struct Db(Engine);

enum Engine {
    Sqlite(Sqlite),
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All answers come from one moment.
    Read,
    /// Nobody else changes what it reads before it ends.
    Write,
}

/// A transaction; dropped without [`commit`](Transaction::commit) it leaves nothing behind.
pub(super) struct Transaction<'d> {
    db: &'d Db,
    is_open: bool,
}

/// One row of an answer.
pub(super) enum Row<'r> {
    /// SQLite's.
    Sqlite(&'r rusqlite::Row<'r>),
}

/// Why a database did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A column holds what this program never writes.
    #[error("column {column} of the answer is {found}, not {wanted}")]
    Column {
        /// The column, from 0 on.
        column: usize,
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        wanted: &'static str,
    },
}

impl DbError {
    /// Whether other statements would fail alike: the disk, the server or another process is to blame.
    pub(super) fn is_of_every_message(&self) -> bool {
        match self {
            Self::Sqlite(why) => sqlite::is_of_every_message(why),
            Self::Column { .. } => false,
        }
    }
}

impl Db {
    /// Opens a file for writing; makes it when it is missing.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn open_to_write(path: &Path) -> Result<Self, DbError> {
        Ok(Self(Engine::Sqlite(Sqlite::open_to_write(path)?)))
    }

    /// Opens a file for reading; it must exist.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, DbError> {
        Ok(Self(Engine::Sqlite(Sqlite::open_to_read(path)?)))
    }

    /// The same, without leaving anything behind.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn open_to_look(path: &Path) -> Result<Self, DbError> {
        Ok(Self(Engine::Sqlite(Sqlite::open_to_look(path)?)))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the database fails, or another process is writing for too long.
    pub(super) fn transaction(&mut self, mode: Mode) -> Result<Transaction<'_>, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.begin(mode)?,
        }
        Ok(Transaction { db: self, is_open: true })
    }

    /// Runs several statements, without anything bound to them.
    ///
    /// # Errors
    /// When one fails.
    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.batch(sql)?),
        }
    }

    /// Runs a statement. How many rows it wrote or removed.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn execute(&self, sql: &str, binds: &[Bind<'_>]) -> Result<usize, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.execute(sql, binds)?),
        }
    }

    /// Writes rows into all columns of a table, but for those whose key is there. Their number bounds only the memory:
    /// an engine sends as many at once as suits it.
    ///
    /// # Errors
    /// When one fails.
    pub(super) fn insert_rows<'v, const COLUMNS: usize>(
        &self,
        table: &str,
        rows: impl ExactSizeIterator<Item = [Bind<'v>; COLUMNS]>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.insert_rows(table, rows)?),
        }
    }

    /// Visits the rows of an answer.
    ///
    /// # Errors
    /// When the database fails, or the visitor does.
    pub(super) fn each(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.each(sql, binds, visit),
        }
    }

    /// All rows of an answer.
    ///
    /// # Errors
    /// When the database fails, or a row cannot be read.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = Vec::new();
        self.each(sql, binds, |row| {
            rows.push(read(row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The first row of an answer, if it has any.
    ///
    /// # Errors
    /// When the database fails, or the row cannot be read.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.first(sql, binds, read),
        }
    }

    /// The row of an answer that always has one, as sums do.
    ///
    /// # Errors
    /// When the database fails, or the row cannot be read.
    pub(super) fn only<T>(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        Ok(self.first(sql, binds, read)?.ok_or(DbError::Column {
            column: 0,
            found: "missing: there is no row",
            wanted: "a value",
        })?)
    }

    /// Whether an answer has any row.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn is_any(&self, sql: &str, binds: &[Bind<'_>]) -> Result<bool, StoreError> {
        Ok(self.first(sql, binds, |_| Ok(()))?.is_some())
    }

    /// The version of the schema, 0 when there is none.
    ///
    /// # Errors
    /// When this is no database.
    pub(super) fn version(&self) -> Result<i64, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.version(),
        }
    }

    /// Notes the version of the schema.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn set_version(&self, version: i64) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.set_version(version)?),
        }
    }

    /// A number that is another one when another connection has committed anything.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn others_commits(&self) -> Result<i64, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.others_commits(),
        }
    }
}

impl Transaction<'_> {
    /// Ends it: everything is on stable storage.
    ///
    /// # Errors
    /// When the database fails: nothing was stored then.
    pub(super) fn commit(mut self) -> Result<(), StoreError> {
        self.batch("COMMIT")?;
        self.is_open = false;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            match &self.db.0 {
                Engine::Sqlite(sqlite) => sqlite.roll_back(),
            }
        }
    }
}

impl<'r> Row<'r> {
    /// A column, from 0 on.
    ///
    /// # Errors
    /// When it holds something else.
    pub(super) fn get<T: FromValue<'r>>(&self, column: usize) -> Result<T, StoreError> {
        let value = match self {
            Self::Sqlite(row) => sqlite::value(row, column)?,
        };
        Ok(T::from_value(value).ok_or(DbError::Column { column, found: value.name(), wanted: T::WANTED })?)
    }
}
