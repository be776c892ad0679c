//! SQLite, in a file: one process writes at a time, any number read. What was committed is on stable storage:
//! write-ahead log, `synchronous=FULL`.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags};

use super::super::StoreError;
use super::{Bind, Mode, Row, Value};

/// What the writer keeps of the file in memory, so that the ends of the tables of many gateways fit; and what others
/// who write keep of it.
const CACHE_KIB: i64 = 32_768;
const SMALL_CACHE_KIB: i64 = 4_096;
/// So many pages of the log are written back at a time: a page that changes again and again is written back once.
const CHECKPOINT: i64 = 4_000;
/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);
/// Statements that are kept prepared.
const STATEMENTS: usize = 64;
/// How many rows one statement writes: they share its cursors, which stay at the end of the tables.
const ROWS: usize = 16;

/// A connection.
pub(in crate::store) struct Sqlite(Connection);

impl Sqlite {
    /// Opens a file for writing; makes it when it is missing.
    pub(super) fn open_to_write(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
        Ok(Self::from(connection))
    }

    /// Opens a file for reading; it must exist.
    pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open_with_flags(path, READ)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self::from(connection))
    }

    /// The same, without leaving files behind. Whether it is read as one that nobody changes meanwhile: whoever asks must
    /// look afterwards whether nobody did.
    pub(super) fn open_to_look(path: &Path) -> rusqlite::Result<(Self, bool)> {
        // What belongs to the file lies beside it, not beside a link to it.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_there = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            Path::new(&name).exists()
        };
        // A reader makes a log, and the last one that only reads leaves it behind, perhaps as another user's. It is there
        // whenever somebody has the database open; when not, and no journal either, the file itself tells everything.
        let (connection, is_immutable) = match path.to_str() {
            Some(text) if !is_there("-wal") && !is_there("-journal") => {
                let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
                let flags = READ | OpenFlags::SQLITE_OPEN_URI;
                (Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)?, true)
            }
            Some(_) | None => (Connection::open_with_flags(path, READ)?, false),
        };
        connection.busy_timeout(BUSY)?;
        Ok((Self::from(connection), is_immutable))
    }

    /// Opens a file for one process alone, with its write-ahead log folded into it. `None` when another one has it open.
    pub(super) fn open_alone(path: &Path) -> rusqlite::Result<Option<Self>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        // Only who is alone may leave the write-ahead log, and nobody can enter it again during the transaction.
        let taken = connection
            .pragma_update(None, "journal_mode", "delete")
            .and_then(|()| connection.execute_batch("BEGIN EXCLUSIVE"));
        match taken {
            Ok(()) => Ok(Some(Self::from(connection))),
            Err(why) if why.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(None),
            Err(why) => Err(why),
        }
    }

    pub(super) fn begin(&self, mode: Mode) -> rusqlite::Result<()> {
        self.0.execute_batch(match mode {
            Mode::Read => "BEGIN DEFERRED",
            Mode::Write => "BEGIN IMMEDIATE",
        })
    }

    pub(super) fn roll_back(&self) {
        // Some errors end the transaction by themselves. What is not rolled back is never committed either: whoever
        // writes opens the file anew after an error.
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll a transaction back");
        }
    }

    pub(super) fn batch(&self, sql: &str) -> rusqlite::Result<()> {
        self.0.execute_batch(sql)
    }

    pub(super) fn execute(&self, sql: &str, binds: &[Bind<'_>]) -> rusqlite::Result<usize> {
        self.bound(sql, binds)?.raw_execute()
    }

    pub(super) fn merge_rows<'v, const COLUMNS: usize>(
        &self,
        table: &str,
        mut rows: impl ExactSizeIterator<Item = [Bind<'v>; COLUMNS]>,
        on_conflict: &str,
    ) -> rusqlite::Result<()> {
        while rows.len() > 0 {
            let count = if rows.len() < ROWS { 1 } else { ROWS };
            let mut statement =
                self.0.prepare_cached(&insert_statement(table, count, COLUMNS, on_conflict))?;
            for (at, bind) in (1..).zip(rows.by_ref().take(count).flatten()) {
                statement.raw_bind_parameter(at, bind)?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    }

    pub(super) fn each(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.bound(sql, binds)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            visit(&Row::Sqlite(row))?;
        }
        Ok(())
    }

    pub(super) fn first<T>(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.bound(sql, binds)?;
        let mut rows = statement.raw_query();
        rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
    }

    pub(super) fn version(&self) -> Result<i64, StoreError> {
        self.pragma("user_version")
    }

    pub(super) fn set_version(&self, version: i64) -> rusqlite::Result<()> {
        self.0.pragma_update(None, "user_version", version)
    }

    pub(super) fn relax(&self) -> rusqlite::Result<()> {
        self.0.pragma_update(None, "synchronous", "normal")?;
        self.0.pragma_update(None, "cache_size", -SMALL_CACHE_KIB)
    }

    pub(super) fn others_commits(&self) -> Result<i64, StoreError> {
        self.pragma("data_version")
    }

    fn pragma(&self, name: &str) -> Result<i64, StoreError> {
        Ok(self.0.pragma_query_value(None, name, |row| row.get(0))?)
    }

    fn bound(&self, sql: &str, binds: &[Bind<'_>]) -> rusqlite::Result<CachedStatement<'_>> {
        let mut statement = self.0.prepare_cached(sql)?;
        for (at, bind) in (1..).zip(binds) {
            statement.raw_bind_parameter(at, bind)?;
        }
        Ok(statement)
    }
}

impl From<Connection> for Sqlite {
    fn from(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Self(connection)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(why: rusqlite::Error) -> Self {
        Self::Statement(why.into())
    }
}

impl ToSql for Bind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(number) => number.map_or(ValueRef::Null, ValueRef::Integer),
            Self::Real(number) => number.map_or(ValueRef::Null, ValueRef::Real),
            Self::Text(text) => {
                text.as_deref().map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
            }
            Self::Bytes(bytes) => bytes.as_deref().map_or(ValueRef::Null, ValueRef::Blob),
        }))
    }
}

/// A column of a row.
pub(super) fn value<'r>(row: &'r rusqlite::Row<'r>, column: usize) -> Result<Value<'r>, StoreError> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => {
            std::str::from_utf8(text).map_or(Value::Other("a text that is not UTF-8"), Value::Text)
        }
        ValueRef::Blob(bytes) => Value::Bytes(bytes),
    })
}

/// Whether other statements would fail alike: the disk, the file or another process is to blame.
pub(super) fn is_of_every_message(why: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(
        why.sqlite_error_code(),
        Some(
            Code::PermissionDenied
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::OutOfMemory
                | Code::ReadOnly
                | Code::OperationInterrupted
                | Code::SystemIoFailure
                | Code::DatabaseCorrupt
                | Code::DiskFull
                | Code::CannotOpen
                | Code::FileLockingProtocolFailed
                | Code::NotADatabase
        )
    )
}

fn insert_statement(table: &str, rows: usize, columns: usize, on_conflict: &str) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    // A row that is refused ends the transaction: otherwise every page would be copied before it changes, so that the
    // statement alone could be undone.
    format!("INSERT OR ROLLBACK INTO {table} VALUES {} ON CONFLICT {on_conflict}", vec![row; rows].join(","))
}

const READ: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
