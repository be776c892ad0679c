//! The rollups: one sheet per shop and hour, with everything that counts of the hour's events. Enters: hours that
//! changed since their sheet was made. Leaves: their sheets, made anew of the events. A sheet counts only while its
//! mark is that of its hour, so that nobody waits for it, and several processes may make the same one; late
//! events, retractions and better clocks mark their hours like any other event.
//!
//! ```text
//! sheet          one row per shop and hour
//!   mark         the mark that the hour had when the sheet was made
//!   body         see `sheet.rs`
//! changed
//!   rolled       the mark of which a sheet was made last
//! ```

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;

use super::changed::{HOUR_MS, NO_HOUR};
use super::db::{Db, Mode, binds};
use super::{Address, StoreError, open_to_write, piece, sheet};

/// The tables. Hours from before hours were marked are marked here.
pub(super) const TABLES: &str = "
CREATE TABLE sheet (
    store TEXT NOT NULL, hour INTEGER NOT NULL, mark INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (store, hour)
) WITHOUT ROWID;
ALTER TABLE changed ADD COLUMN rolled INTEGER;
INSERT INTO changed (store, hour, mark)
    SELECT DISTINCT store, wall_ms / 3600000, 0 FROM event WHERE wall_ms IS NOT NULL
    ON CONFLICT DO NOTHING;
CREATE INDEX changed_since_rolled ON changed (store, hour) WHERE rolled IS NULL OR rolled <> mark;
";

/// The side of the database that makes sheets.
pub(crate) struct Roller(Db);

impl Roller {
    /// Opens the database.
    ///
    /// # Errors
    /// As for the writer.
    pub(crate) fn open(address: &Address, tenant: TenantId) -> Result<Self, StoreError> {
        let db = open_to_write(address, tenant)?;
        // Sheets can be made again: they need not be on stable storage before the next checkpoint.
        db.relax()?;
        Ok(Self(db))
    }

    /// Makes the sheets of some of the hours that changed, at most so many. How many there were.
    ///
    /// # Errors
    /// When the database fails; nothing was made then.
    pub(crate) fn roll(&mut self, most: u32) -> Result<usize, StoreError> {
        // What is long, reading, is done before the lock is taken that the writer needs.
        let snapshot = self.0.transaction(Mode::Read)?;
        let due = due(&snapshot, most)?;
        let mut sheets = Vec::new();
        for (store, hour, mark) in &due {
            let piece = piece::read(&snapshot, store, *hour)?;
            sheets.push((store, *hour, *mark, sheet::pack(UnixMillis(hour * HOUR_MS), &piece)));
        }
        snapshot.commit()?;
        let write = self.0.transaction(Mode::Write)?;
        for (store, hour, mark, body) in &sheets {
            if let Some(body) = body {
                write.execute(
                    "INSERT INTO sheet VALUES (?1, ?2, ?3, ?4) ON CONFLICT (store, hour) DO UPDATE SET
                     mark = excluded.mark, body = excluded.body",
                    binds![store.as_str(), *hour, *mark, body.as_slice()],
                )?;
            }
            write.execute(
                "UPDATE changed SET rolled = ?3 WHERE store = ?1 AND hour = ?2",
                binds![store.as_str(), *hour, *mark],
            )?;
        }
        write.commit()?;
        Ok(due.len())
    }
}

/// Hours that changed since their sheet was made.
fn due(db: &Db, most: u32) -> Result<Vec<(String, i64, i64)>, StoreError> {
    let question = "SELECT store, hour, mark FROM changed
         WHERE (rolled IS NULL OR rolled <> mark) AND hour <> ?1 ORDER BY store, hour LIMIT ?2";
    db.all(question, binds![NO_HOUR, most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// Reads the sheets of a shop from one hour to another, both included: hour, mark, body.
pub(super) fn sheets(
    db: &Db,
    id: &str,
    (from, to): (i64, i64),
    mut each: impl FnMut(i64, i64, &[u8]),
) -> Result<(), StoreError> {
    let question = "SELECT hour, mark, body FROM sheet WHERE store = ?1 AND hour BETWEEN ?2 AND ?3";
    db.each(question, binds![id, from, to], |row| {
        each(row.get(0)?, row.get(1)?, row.get::<Vec<u8>>(2)?.as_slice());
        Ok(())
    })
}
