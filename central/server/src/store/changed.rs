//! Which hours of which shops changed. Enters: what a transaction did to events. Leaves: a mark per hour,
//! drawn anew by every transaction that changed what the hour adds up to. Who reads an hour and keeps what it
//! adds up to asks for its mark before it uses that again; late events, retractions and better clocks change
//! it like any other event.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_protocol::id::StoreId;

use super::StoreError;
use super::db::{Db, binds};

/// An hour, in milliseconds.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// Stands for all events without a time of day.
pub(super) const NO_HOUR: i64 = i64::MIN;

/// What a transaction changed.
#[derive(Debug, Default)]
pub(super) struct Changed(BTreeSet<(StoreId, i64)>);

impl Changed {
    /// An event at this time of day came, went, or counts no more.
    pub(super) fn note(&mut self, store: StoreId, wall_ms: Option<i64>) {
        self.note_hour(store, wall_ms.map_or(NO_HOUR, |wall_ms| wall_ms / HOUR_MS));
    }

    /// The same for an hour: Unix milliseconds divided by those of an hour, towards zero.
    pub(super) fn note_hour(&mut self, store: StoreId, hour: i64) {
        self.0.insert((store, hour));
    }

    /// Marks the hours.
    pub(super) fn write(&self, db: &Db) -> Result<(), StoreError> {
        for (store, hour) in &self.0 {
            db.execute(
                "INSERT INTO changed (store, hour, mark) VALUES (?1, ?2, ?3)
                 ON CONFLICT (store, hour) DO UPDATE SET mark = excluded.mark",
                binds![store.as_str(), *hour, rand::random::<i64>()],
            )?;
        }
        Ok(())
    }
}

/// The marks of the hours of one shop from one to another, both included; unmarked ones have never changed.
pub(super) fn marks(db: &Db, id: &str, from: i64, to: i64) -> Result<BTreeMap<i64, i64>, StoreError> {
    let question = "SELECT hour, mark FROM changed WHERE store = ?1 AND hour BETWEEN ?2 AND ?3";
    let marks = db.all(question, binds![id, from, to], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(marks.into_iter().collect())
}
