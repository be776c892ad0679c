//! The database: SQLite, one writer, readers on their own connections. All SQL is in this folder.
//! Enters: MQTT payloads with their topics. Leaves: watermarks, and what the page shows. What was
//! acknowledged is on stable storage: write-ahead log, `synchronous=FULL`.
//!
//! ```text
//! event        one row per event; PRIMARY KEY (store, gateway, epoch, seq)
//!   store, gateway, epoch, seq   the event's id; epoch as 16 hexadecimal digits
//!   boot, uptime                 when, by the gateway's own clock: 16 hexadecimal digits, ms
//!   wall_ms, clock_error         time of day (Unix ms, UTC) derived from anchors and how far off it
//!                                may be (ms; 4294967295 = nobody vouches for it); NULL: no clock yet
//!   kind                         picked_up put_down carried_in tried_on carried_out retracted coverage
//!   confidence                   percent
//!   epc, gtin, zone              garment events: tag (hex), GTIN-14 where the tag is an SGTIN, place
//!   visit                        booth events: seq of the event that opened the visit
//!   reads, margin, unrest, dwell evidence: count, dB, percent, tenths of a second
//!   reader, state, since         coverage: listening | silent | absent, from uptime `since` to `uptime`
//!   retracts                     retracted: seq of the mistaken event
//!   digest                       CRC-32C of the content, to tell a copy from a conflict
//!   received                     when central got it (Unix ms)
//! epoch        one row per spool life of a gateway: when its first and last batch came (Unix ms)
//! settled      ranges of seq per epoch with their fate: stored | quarantined | lost
//! gap          view: the lost ranges of `settled`
//! anchor       what the wall clock showed at one uptime of one boot
//! status       the last health message of each gateway, JSON as it came
//! quarantine   payloads that could not be used, whole, with the reason; `times` counts copies
//! ```
//!
//! Times are Unix milliseconds. Numbers fit signed 64 bits because `admit` refuses larger ones; a
//! visit's and a retraction's are kept by their bits.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

mod append;
mod clock;
mod quarantine;
mod read;
mod writer;

pub(crate) use append::{Message, Store};
pub(crate) use quarantine::Quarantined;
pub(crate) use read::{Coverage, DayRead, GatewayHealth, Reader};
pub(crate) use writer::{Delivery, Input, Settled, Writer};

/// The version of the schema, in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE event (
    store TEXT NOT NULL, gateway TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
    boot TEXT NOT NULL, uptime INTEGER NOT NULL, wall_ms INTEGER, clock_error INTEGER,
    kind TEXT NOT NULL, confidence INTEGER NOT NULL,
    epc TEXT, gtin TEXT, zone TEXT, visit INTEGER,
    reads INTEGER, margin INTEGER, unrest INTEGER, dwell INTEGER,
    reader TEXT, state TEXT, since INTEGER,
    retracts INTEGER, digest INTEGER NOT NULL, received INTEGER NOT NULL,
    PRIMARY KEY (store, gateway, epoch, seq)
) WITHOUT ROWID;
CREATE INDEX event_by_time ON event (store, wall_ms);
CREATE INDEX event_by_boot ON event (store, gateway, boot, uptime);
CREATE INDEX event_by_reader ON event (store, gateway, reader, wall_ms) WHERE kind = 'coverage';
CREATE INDEX event_by_retraction ON event (store, gateway, epoch, retracts) WHERE kind = 'retracted';

CREATE TABLE epoch (
    store TEXT NOT NULL, gateway TEXT NOT NULL, epoch TEXT NOT NULL,
    first_received INTEGER NOT NULL, last_received INTEGER NOT NULL,
    PRIMARY KEY (store, gateway, epoch)
) WITHOUT ROWID;

CREATE TABLE settled (
    store TEXT NOT NULL, gateway TEXT NOT NULL, epoch TEXT NOT NULL,
    fate TEXT NOT NULL CHECK (fate IN ('stored', 'quarantined', 'lost')),
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (store, gateway, epoch, fate, first)
) WITHOUT ROWID;
CREATE VIEW gap AS SELECT store, gateway, epoch, first, last FROM settled WHERE fate = 'lost';

CREATE TABLE anchor (
    store TEXT NOT NULL, gateway TEXT NOT NULL, boot TEXT NOT NULL,
    error_ms INTEGER NOT NULL, uptime INTEGER NOT NULL, wall_ms INTEGER NOT NULL,
    PRIMARY KEY (store, gateway, boot, error_ms, uptime, wall_ms)
) WITHOUT ROWID;

CREATE TABLE status (
    store TEXT NOT NULL, gateway TEXT NOT NULL, received INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (store, gateway)
) WITHOUT ROWID;

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL, store TEXT, gateway TEXT, epoch TEXT, first INTEGER, last INTEGER,
    received INTEGER NOT NULL, times INTEGER NOT NULL DEFAULT 1,
    reason TEXT NOT NULL, digest INTEGER NOT NULL, payload BLOB NOT NULL,
    UNIQUE (topic, digest, payload)
);
CREATE INDEX quarantine_by_store ON quarantine (store);
";

/// Why the database did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file cannot be opened.
    #[error("{}: {why}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        why: rusqlite::Error,
    },
    /// A newer program made the schema.
    #[error("{}: has schema version {found}, this program knows up to {SCHEMA_VERSION}: use the newer program", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A statement failed.
    #[error("database: {0}")]
    Statement(#[from] rusqlite::Error),
    /// A row holds what this program never writes.
    #[error("database: table {table} holds {value:?}, which is not {wanted}")]
    Content {
        /// The table.
        table: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Opens the file for writing; makes it and its tables when they are missing.
fn open_to_write(path: &Path) -> Result<Connection, StoreError> {
    let failed = |why| StoreError::Open { path: path.to_owned(), why };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    match version(&transaction, path)? {
        0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        SCHEMA_VERSION => {}
        found => return Err(StoreError::Newer { path: path.to_owned(), found }),
    }
    transaction.commit()?;
    Ok(connection)
}

/// Opens the file for reading; it must exist.
fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let failed = |why| StoreError::Open { path: path.to_owned(), why };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    match version(&connection, path)? {
        found if found > SCHEMA_VERSION => Err(StoreError::Newer { path: path.to_owned(), found }),
        _ => Ok(connection),
    }
}

fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    found.map_err(|why| StoreError::Open { path: path.to_owned(), why })
}

#[cfg(test)]
pub(crate) mod tests;
