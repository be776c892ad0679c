//! What is told of rows that were deleted because of their age. Enters: how many of what went. Leaves: the same, summed up.

use serde::Serialize;

use super::StoreError;
use super::db::{Db, binds};
use super::read::Reader;

/// What was deleted of one table and shop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Deleted {
    /// The shop; empty where none is known.
    pub store: String,
    /// The table.
    pub what: String,
    /// Everything that was deleted is of before this moment, in Unix milliseconds.
    pub before_ms: i64,
    /// Rows.
    pub count: u64,
}

impl Reader {
    /// What was deleted because of its age.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn deleted(&self) -> Result<Vec<Deleted>, StoreError> {
        let question = "SELECT store, what, before_ms, count FROM deleted ORDER BY store, what";
        self.reading()?.all(question, &[], |row| {
            Ok(Deleted { store: row.get(0)?, what: row.get(1)?, before_ms: row.get(2)?, count: row.get(3)? })
        })
    }
}

/// Notes that so many rows went.
pub(super) fn note(db: &Db, store: &str, what: &str, before: i64, count: u64) -> Result<u64, StoreError> {
    if count > 0 {
        let upsert = "INSERT INTO deleted VALUES (?1, ?2, ?3, ?4) ON CONFLICT (store, what) DO UPDATE SET
             count = deleted.count + excluded.count, before_ms = CASE WHEN deleted.before_ms > excluded.before_ms
             THEN deleted.before_ms ELSE excluded.before_ms END";
        db.execute(upsert, binds![store, what, before, count.cast_signed()])?;
    }
    Ok(count)
}
