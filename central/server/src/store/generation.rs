//! Which numbering of the feed counts. Enters: that a database was restored from a backup. Leaves: a *generation*, the
//! moment at which the present numbering began, and up to which place it is the same as an earlier one.
//!
//! A restored database has forgotten places that other systems know, and gives them to other events. So that nobody takes
//! two events at one place for one, a new generation begins whenever a backup is put into use: the copy that `backup`
//! makes carries a mark, and whoever opens it for writing begins one; after other ways of restoring `restored` does.
//!
//! ```text
//! meta          generation     the present one, Unix ms; later ones are greater whatever the clock says
//!               backup         this is a copy, made at this moment (Unix ms): goes with the generation's beginning
//! feed_past     a row per shop and generation that ended
//!   last                       up to there the feed is the same in the generation after it
//! ```

use hangtag_central_core::feed::{Generation, Sequence};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::StoreId;

use super::StoreError;
use super::db::{Db, binds};

/// The tables. Besides: where the feed begins that can be asked for, which sheets are all that is left of their hours,
/// what was taken out of quarantine, and what was deleted because of its age.
pub(super) const TABLES: &str = "
CREATE TABLE feed_past (
    store TEXT NOT NULL, generation BIGINT NOT NULL, last BIGINT NOT NULL, PRIMARY KEY (store, generation)
);
ALTER TABLE feed_head ADD COLUMN first BIGINT NOT NULL DEFAULT 1;
ALTER TABLE sheet ADD COLUMN alone BIGINT NOT NULL DEFAULT 0;
CREATE TABLE dropped (
    id BIGINT NOT NULL PRIMARY KEY, topic TEXT NOT NULL, store TEXT, gateway TEXT, epoch TEXT, first BIGINT, last BIGINT,
    received BIGINT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, dropped BIGINT NOT NULL, why TEXT NOT NULL
);
CREATE TABLE deleted (
    store TEXT NOT NULL, what TEXT NOT NULL, before_ms BIGINT NOT NULL, count BIGINT NOT NULL,
    PRIMARY KEY (store, what)
);
";

/// The present generation.
///
/// # Errors
/// When the database fails.
pub(super) fn current(db: &Db) -> Result<Generation, StoreError> {
    Ok(Generation(number(db, "generation")?.map_or(UnixMillis(0), UnixMillis)))
}

/// Sees to it that there is a generation, and that a copy that is put into use begins one. Whether one began because of
/// that.
///
/// # Errors
/// When the database fails.
pub(super) fn ensure(db: &Db, now: UnixMillis) -> Result<bool, StoreError> {
    if number(db, "backup")?.is_some() {
        begin(db, now, Generation::default())?;
        return Ok(true);
    }
    if number(db, "generation")?.is_none() {
        db.execute("INSERT INTO meta VALUES ('generation', ?1)", binds![now.0.to_string()])?;
    }
    Ok(false)
}

/// Begins a generation, later than all that the database knows and than another one.
///
/// # Errors
/// When the database fails.
pub(super) fn begin(db: &Db, now: UnixMillis, other: Generation) -> Result<Generation, StoreError> {
    let Generation(before) = current(db)?;
    let next = UnixMillis(now.0.max(before.0 + 1).max(other.0.0 + 1));
    db.execute("INSERT INTO feed_past SELECT store, ?1, last FROM feed_head", binds![before.0])?;
    let upsert = "INSERT INTO meta VALUES ('generation', ?1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(upsert, binds![next.0.to_string()])?;
    db.execute("DELETE FROM meta WHERE name = 'backup'", &[])?;
    Ok(Generation(next))
}

/// Marks a copy as one.
///
/// # Errors
/// When the database fails.
pub(super) fn mark_copy(db: &Db, now: UnixMillis) -> Result<(), StoreError> {
    let upsert = "INSERT INTO meta VALUES ('backup', ?1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(upsert, binds![now.0.to_string()]).map(drop)
}

/// Up to which place a shop's feed is still the one that was known in an earlier generation; 0 when nothing is known of
/// that one.
///
/// # Errors
/// When the database fails.
pub(super) fn same_up_to(db: &Db, store: StoreId, known: Generation) -> Result<Sequence, StoreError> {
    let question = "SELECT min(last) FROM feed_past WHERE store = ?1 AND generation >= ?2
        HAVING min(generation) = ?2";
    let last: Option<Option<u64>> =
        db.first(question, binds![store.as_str(), known.0.0], |row| row.get(0))?;
    Ok(Sequence(last.flatten().unwrap_or(0)))
}

fn number(db: &Db, name: &str) -> Result<Option<i64>, StoreError> {
    let text: Option<String> =
        db.first("SELECT value FROM meta WHERE name = ?1", binds![name], |row| row.get(0))?;
    let wrong = |value| StoreError::Content { table: "meta", value, wanted: "a time" };
    text.map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}
