//! The one way to a database. Enters: SQL with numbered places (`?1`), and what is bound to them. Leaves: rows. Which
//! engine answers is known in this folder alone; everything else in `store` is written once for all of them.
//!
//! Statements are prepared once per connection and kept by their text. Whoever asks within a [`Transaction`] does so
//! through the [`Db`] that it stands for.

use std::ops::Deref;
use std::path::Path;

use super::{Address, StoreError};

mod copy;
mod dialect;
mod error;
mod postgres;
mod server;
mod sqlite;
mod tls;
mod value;
mod word;

use postgres::Postgres;
use sqlite::Sqlite;

pub(crate) use error::DbError;
pub(crate) use server::Server;
pub(super) use value::{Bind, FromValue, IntoBind, Owned, Value};
pub(crate) use word::Word;

/// What is bound to the places of a statement, from the first on.
macro_rules! binds {
    ($($value:expr),* $(,)?) => { &[$($crate::store::db::IntoBind::into_bind($value)),*] };
}
pub(super) use binds;

/// A connection.
pub(super) struct Db(Engine);

enum Engine {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// A file that one process wants for itself.
pub(super) enum Alone {
    /// Nobody else can open it before this is dropped, and all that was written stands in the file itself.
    Taken(Db),
    /// Somebody has it open.
    InUse,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All answers come from one moment.
    Read,
    /// Nobody else changes what it reads of the gateways whose turn it takes, before it ends.
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
    /// PostgreSQL's.
    Postgres(&'r tokio_postgres::Row),
}

impl Db {
    /// Opens a database for writing; makes it when it is a file that is missing.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn open_to_write(address: &Address) -> Result<Self, DbError> {
        Ok(Self(match address {
            Address::File(path) => Engine::Sqlite(Sqlite::open_to_write(path)?),
            Address::Server(server) => Engine::Postgres(Box::new(Postgres::open_to_write(server)?)),
        }))
    }

    /// Opens a database for reading; it must exist.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn open_to_read(address: &Address) -> Result<Self, DbError> {
        Self::open_for_reading(address, Sqlite::open_to_read)
    }

    /// The same, without leaving anything behind. Whether it is a file that is read as one that nobody changes.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn open_to_look(address: &Address) -> Result<(Self, bool), DbError> {
        let mut is_immutable = false;
        let db = Self::open_for_reading(address, |path| {
            let (sqlite, immutable) = Sqlite::open_to_look(path)?;
            is_immutable = immutable;
            Ok(sqlite)
        })?;
        Ok((db, is_immutable))
    }

    /// Opens a file, which must exist, unless anybody else has it open.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn open_alone(path: &Path) -> Result<Alone, DbError> {
        let taken = Sqlite::open_alone(path)?;
        Ok(taken.map_or(Alone::InUse, |sqlite| Alone::Taken(Self(Engine::Sqlite(sqlite)))))
    }

    fn open_for_reading(
        address: &Address,
        open: impl FnOnce(&Path) -> rusqlite::Result<Sqlite>,
    ) -> Result<Self, DbError> {
        Ok(Self(match address {
            Address::File(path) => Engine::Sqlite(open(path)?),
            Address::Server(server) => Engine::Postgres(Box::new(Postgres::open_to_read(server)?)),
        }))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the database fails, or another process is writing for too long.
    pub(super) fn transaction(&mut self, mode: Mode) -> Result<Transaction<'_>, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.begin(mode)?,
            Engine::Postgres(postgres) => postgres.begin(mode)?,
        }
        Ok(Transaction { db: self, is_open: true })
    }

    /// Runs several statements, in the engine's own words.
    ///
    /// # Errors
    /// When one fails.
    #[cfg(test)]
    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.batch(sql)?),
            Engine::Postgres(postgres) => Ok(postgres.batch(sql)?),
        }
    }

    /// Runs a statement. How many rows it wrote or removed.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn execute(&self, sql: &str, binds: &[Bind<'_>]) -> Result<usize, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.execute(sql, binds)?),
            Engine::Postgres(postgres) => Ok(postgres.execute(sql, binds)?),
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
            Engine::Sqlite(sqlite) => Ok(sqlite.merge_rows(table, rows, "DO NOTHING")?),
            Engine::Postgres(postgres) => Ok(postgres.insert_rows(table, rows)?),
        }
    }

    /// The same, with what is done where a row of the same key is there, in SQL behind `ON CONFLICT`. No two of the
    /// rows may have the same key.
    ///
    /// # Errors
    /// When one fails.
    pub(super) fn merge_rows<'v, const COLUMNS: usize>(
        &self,
        table: &str,
        rows: impl ExactSizeIterator<Item = [Bind<'v>; COLUMNS]>,
        on_conflict: &str,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.merge_rows(table, rows, on_conflict)?),
            Engine::Postgres(postgres) => Ok(postgres.merge_rows(table, rows, on_conflict)?),
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
        mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.each(sql, binds, visit),
            Engine::Postgres(postgres) => {
                postgres.query(sql, binds)?.iter().try_for_each(|row| visit(&Row::Postgres(row)))
            }
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
            Engine::Postgres(postgres) => {
                postgres.query(sql, binds)?.first().map(|row| read(&Row::Postgres(row))).transpose()
            }
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
            Engine::Postgres(_) => {
                if !self.only("SELECT to_regclass('meta') IS NOT NULL", &[], |row| row.get(0))? {
                    return Ok(0);
                }
                let question = "SELECT value FROM meta WHERE name = 'schema'";
                let version: Option<String> = self.first(question, &[], |row| row.get(0))?;
                let wrong =
                    |value| StoreError::Content { table: "meta", value, wanted: "a schema's version" };
                version.map_or(Ok(0), |text| text.parse().map_err(|_| wrong(text)))
            }
        }
    }

    /// Makes or changes tables, and notes the version of the schema that this leads to. A server gets the same in its
    /// own words, or `on_server`; when that is empty, it has no such version.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn step(&self, tables: &str, on_server: Option<&str>, version: i64) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => {
                sqlite.batch(tables)?;
                Ok(sqlite.set_version(version)?)
            }
            Engine::Postgres(postgres) => {
                match on_server {
                    Some("") => return Ok(()),
                    Some(tables) => postgres.batch(tables)?,
                    None => postgres.batch(&dialect::tables_of_postgres(tables))?,
                }
                let upsert = "INSERT INTO meta VALUES ('schema', ?1)
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                self.execute(upsert, binds![version.to_string()]).map(drop)
            }
        }
    }

    /// What this connection commits need not be on stable storage before the engine next writes it back: for what can
    /// be made again.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn relax(&self) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => Ok(sqlite.relax()?),
            Engine::Postgres(postgres) => Ok(postgres.batch("SET synchronous_commit TO off")?),
        }
    }

    /// Keeps others from changing tables until the transaction ends.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn lock_schema(&self) -> Result<(), StoreError> {
        match &self.0 {
            // A transaction that writes keeps all others from writing.
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(postgres) => Ok(postgres.lock_schema()?),
        }
    }

    /// Where only one process writes at a time, a number that is another one when another connection has committed
    /// anything. Elsewhere nothing: there [turns](Self::take_turn) tell.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn others_commits(&self) -> Result<Option<i64>, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.others_commits().map(Some),
            Engine::Postgres(_) => Ok(None),
        }
    }

    /// Whether a row that the engine numbers may get the number of one that was deleted.
    pub(super) fn uses_numbers_again(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(_) => true,
            Engine::Postgres(_) => false,
        }
    }

    /// Keeps all other processes from changing what is recorded of a gateway until the transaction ends. How many
    /// transactions have done so, this one included, where several can write at a time.
    ///
    /// # Errors
    /// When the database fails, or another process takes too long.
    pub(super) fn take_turn(&self, store: &str, gateway: &str) -> Result<Option<i64>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(None),
            // A row that is written is locked, whether it was there or not.
            Engine::Postgres(_) => self.first(
                "INSERT INTO turn VALUES (?1, ?2, 1)
                 ON CONFLICT (store, gateway) DO UPDATE SET count = turn.count + 1 RETURNING count",
                binds![store, gateway],
                |row| row.get(0),
            ),
        }
    }
}

impl Transaction<'_> {
    /// Ends it: everything is on stable storage.
    ///
    /// # Errors
    /// When the database fails: nothing was stored then.
    pub(super) fn commit(mut self) -> Result<(), StoreError> {
        match &self.db.0 {
            Engine::Sqlite(sqlite) => sqlite.batch("COMMIT")?,
            Engine::Postgres(postgres) => postgres.commit()?,
        }
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
                Engine::Postgres(postgres) => postgres.roll_back(),
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
            Self::Postgres(row) => postgres::value(row, column)?,
        };
        Ok(T::from_value(value).ok_or(DbError::Column { column, found: value.name(), wanted: T::WANTED })?)
    }
}
