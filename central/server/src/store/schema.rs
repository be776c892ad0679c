//! The tables. Enters: a connection to a file of this or an earlier version. Leaves: the tables of this
//! version. A new file goes through the same steps as an old one.

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use jiff::Timestamp;

use super::db::{Db, Mode, Transaction, binds};
use super::{Address, StoreError, access, feed, generation, roll, sale, secret, zone};

/// The version of the schema, in SQLite's `user_version`.
pub(super) const VERSION: i64 = 10;

/// The first version that says whose database it is.
const META_SINCE: i64 = 2;

/// What makes each version of the one before; the first of an empty file. What was released never changes.
const STEPS: [&str; 10] = [
    V1,
    V2,
    V3,
    V4,
    sale::TABLES,
    roll::TABLES,
    feed::TABLES,
    generation::TABLES,
    zone::TABLES,
    access::TABLES,
];

const V1: &str = "
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

/// Ranges of an epoch are disjoint whatever their fate: what lies between two of them, below the oldest
/// number that is held, is unexplained.
const V2: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

ALTER TABLE epoch ADD COLUMN lineage TEXT NOT NULL DEFAULT '[]';
ALTER TABLE epoch ADD COLUMN oldest_held INTEGER NOT NULL DEFAULT 0;

ALTER TABLE quarantine ADD COLUMN kind TEXT NOT NULL DEFAULT 'refused'
    CHECK (kind IN ('refused', 'fork', 'settled'));
UPDATE quarantine SET kind = 'settled' WHERE epoch IS NOT NULL;
CREATE INDEX quarantine_by_kind ON quarantine (kind);

DROP VIEW gap;
CREATE VIEW gap AS
SELECT store, gateway, epoch, first, last, 'lost' AS why FROM settled WHERE fate = 'lost'
UNION ALL
SELECT store, gateway, epoch, first, last, 'unexplained' FROM (
    SELECT store, gateway, epoch, last + 1 AS first,
        min(oldest_held, lead(first, 1, oldest_held) OVER each_epoch) - 1 AS last
    FROM (
        SELECT store, gateway, epoch, 0 AS first, 0 AS last, oldest_held FROM epoch
        UNION ALL
        SELECT store, gateway, epoch, first, last, oldest_held
        FROM settled JOIN epoch USING (store, gateway, epoch)
    )
    WINDOW each_epoch AS (PARTITION BY store, gateway, epoch ORDER BY first)
) WHERE first <= last;
";

const V3: &str = "
CREATE TABLE changed (
    store TEXT NOT NULL, hour INTEGER NOT NULL, mark INTEGER NOT NULL, PRIMARY KEY (store, hour)
) WITHOUT ROWID;
";

const V4: &str = "
CREATE TABLE loyalty (
    store TEXT NOT NULL, gateway TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
    key TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('sealed', 'opened', 'broken')),
    sealed BLOB, code TEXT,
    PRIMARY KEY (store, gateway, epoch, seq)
) WITHOUT ROWID;
CREATE INDEX loyalty_unopened ON loyalty (state, key) WHERE state <> 'opened';
CREATE INDEX event_by_scan ON event (store, wall_ms) WHERE kind = 'scanned';
";

/// The first version that servers have, and all of its tables in PostgreSQL's words. From then on, steps are translated.
/// `turn` is PostgreSQL's alone: a row per gateway, which whoever writes for it locks, and how often that was done.
const SERVERS_SINCE: i64 = 4;
const SERVERS: &str = include_str!("schema.sql");

/// Makes the tables, or what is missing of them, and checks whose database it is. A file of version 1
/// does not say, and from then on belongs to whoever opened it.
///
/// # Errors
/// When a newer program or another tenant owns the file.
pub(super) fn prepare(db: &mut Db, address: &Address, tenant: TenantId) -> Result<(), StoreError> {
    let transaction = db.transaction(Mode::Write).map_err(|why| of_file(address, why))?;
    transaction.lock_schema()?;
    migrate(&transaction, version(&transaction, address)?)?;
    if !is_owned(&transaction, address, tenant)? {
        transaction.execute("INSERT INTO meta VALUES ('tenant', ?1)", binds![tenant.as_str()])?;
    }
    if generation::ensure(&transaction, UnixMillis(Timestamp::now().as_millisecond()))? {
        tracing::info!(database = %address, "a backup is put into use: a new generation of the feed begins");
    }
    secret::ensure(&transaction)?;
    transaction.commit()
}

/// Whether [`prepare`] would succeed, as far as reading tells.
///
/// # Errors
/// As [`prepare`].
pub(super) fn check(db: &Db, address: &Address, tenant: TenantId) -> Result<(), StoreError> {
    if version(db, address)? >= META_SINCE {
        is_owned(db, address, tenant)?;
    }
    Ok(())
}

/// Whether the file is this tenant's; false when it is nobody's.
fn is_owned(db: &Db, address: &Address, tenant: TenantId) -> Result<bool, StoreError> {
    let question = "SELECT value FROM meta WHERE name = 'tenant'";
    match db.first(question, &[], |row| row.get::<String>(0))? {
        None => Ok(false),
        Some(owner) if owner == tenant.as_str() => Ok(true),
        Some(owner) => Err(StoreError::Tenant { address: address.clone(), owner, tenant }),
    }
}

fn migrate(transaction: &Transaction<'_>, found: i64) -> Result<(), StoreError> {
    for (step, makes) in STEPS.iter().zip(1..) {
        if makes > found {
            let on_server =
                (makes <= SERVERS_SINCE).then_some(if makes == SERVERS_SINCE { SERVERS } else { "" });
            transaction.step(step, on_server, makes)?;
            if found > 0 {
                tracing::info!(from = makes - 1, to = makes, "brought the database to a newer schema");
            }
        }
    }
    Ok(())
}

/// The version of the file's schema; 0 when it has none.
///
/// # Errors
/// When the file is no database, or a newer program made it.
pub(super) fn version(db: &Db, address: &Address) -> Result<i64, StoreError> {
    match db.version().map_err(|why| of_file(address, why))? {
        found if found > VERSION => Err(StoreError::Newer { address: address.clone(), found }),
        found => Ok(found),
    }
}

/// The first statement tells whether the file can be used at all.
fn of_file(address: &Address, why: StoreError) -> StoreError {
    match why {
        StoreError::Statement(why) => StoreError::Open { address: address.clone(), why },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::tests::{gateway, options};
    use crate::store::{Reader, Store};
    use hangtag_protocol::id::Seq;
    use hangtag_protocol::watermark::Watermark;

    /// A database of version 1 with an epoch, a gap, and a payload of each kind in quarantine.
    fn old(path: &std::path::Path) -> Connection {
        let db = Connection::open(path).unwrap();
        db.execute_batch(V1).unwrap();
        db.execute_batch(
            "PRAGMA user_version = 1;
             INSERT INTO epoch VALUES ('paris-1', 'gw-1', '0000000000000abc', 3, 4);
             INSERT INTO settled VALUES ('paris-1', 'gw-1', '0000000000000abc', 'stored', 3, 9);
             INSERT INTO settled VALUES ('paris-1', 'gw-1', '0000000000000abc', 'lost', 1, 2);
             INSERT INTO quarantine (topic, received, reason, digest, payload) VALUES ('t', 1, 'r', 0, x'00');
             INSERT INTO quarantine (topic, epoch, first, last, received, reason, digest, payload)
                 VALUES ('t', '0000000000000abc', 4, 5, 1, 'r', 0, x'01');",
        )
        .unwrap();
        db
    }

    #[test]
    fn a_database_of_version_1_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("central.db");
        let db = old(&path);
        let address = Address::from(path);
        let mut store = Store::open(&address, options()).unwrap();
        let Watermark { epochs, .. } = store.watermark(&gateway()).unwrap();
        assert_eq!((epochs[0].contiguous_to, epochs[0].highest), (Seq(9), Seq(9)));
        assert!(epochs[0].lineage.is_empty());
        let kinds: String =
            db.query_row("SELECT group_concat(kind) FROM quarantine", [], |row| row.get(0)).unwrap();
        assert_eq!(kinds, "refused,settled");
        assert_eq!(Reader::new(address.clone()).totals().unwrap().lost, 2);
        drop(store);
        Store::open(&address, options()).unwrap();
    }

    #[test]
    fn whoever_only_reads_an_old_database_is_told_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("central.db");
        old(&path);
        let said = Reader::new(path.into()).quarantine(1).unwrap_err().to_string();
        let wanted = format!(
            "has schema version 1, this program reads {VERSION}: bring it up to date by running central once"
        );
        assert!(said.ends_with(&wanted), "{said}");
    }

    #[test]
    fn a_new_database_has_the_same_tables_as_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let tables = |name: &str, is_old: bool| -> Vec<String> {
            let path = folder.path().join(name);
            if is_old {
                old(&path);
            }
            Store::open(&path.clone().into(), options()).unwrap();
            let db = Connection::open(&path).unwrap();
            let mut query = db.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY 1").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(tables("old", true), tables("new", false));
    }
}
