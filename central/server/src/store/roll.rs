//! The rollups: one sheet per shop and hour, with everything that counts of the hour's events. Enters: hours that
//! changed since their sheet was made. Leaves: their sheets, made anew of the events. A sheet counts only while its
//! mark is that of its hour, so that nobody waits for it, and several processes may make the same one; late
//! events, retractions and better clocks mark their hours like any other event.
//!
//! ```text
//! sheet          one row per shop and hour
//!   mark         the mark that the hour had when the sheet was made
//!   alone        1: the hour's events are deleted (`retention.rs`), and the sheet holds whatever the mark; else 0
//!   body         see `sheet.rs`
//! changed
//!   rolled       the mark of which a sheet was made last
//! ```

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;

use super::changed::{HOUR_MS, NO_HOUR};
use super::db::{Db, Mode, binds};
use super::{Address, StoreError, open_to_read, open_to_write, piece, sheet, zone};

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
        let mut db = open_to_write(address, tenant)?;
        // Sheets can be made again: they need not be on stable storage before the next checkpoint.
        db.relax()?;
        remake(&db)?;
        zone::fill(&mut db)?;
        Ok(Self(db))
    }

    /// Throws a sheet away: its hour waits for another one.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn forget(&mut self, store: &str, hour: i64) -> Result<(), StoreError> {
        let write = self.0.transaction(Mode::Write)?;
        forget(&write, store, hour)?;
        write.commit()
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
        let mut zones = zone::Noted::default();
        for (store, hour, mark) in &due {
            let piece = piece::read(&snapshot, store, *hour)?;
            zones.hour(store, *hour, &piece);
            sheets.push((store, *hour, *mark, sheet::pack(UnixMillis(hour * HOUR_MS), &piece)));
        }
        snapshot.commit()?;
        let write = self.0.transaction(Mode::Write)?;
        for (store, hour, mark, body) in &sheets {
            if let Some(body) = body {
                write.execute(
                    "INSERT INTO sheet (store, hour, mark, body) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (store, hour) DO UPDATE SET mark = excluded.mark, body = excluded.body
                     WHERE sheet.alone = 0",
                    binds![store.as_str(), *hour, *mark, body.as_slice()],
                )?;
            }
            write.execute(
                "UPDATE changed SET rolled = ?3 WHERE store = ?1 AND hour = ?2",
                binds![store.as_str(), *hour, *mark],
            )?;
        }
        zones.write(&write)?;
        write.commit()?;
        Ok(due.len())
    }
}

/// Throws a sheet away that does not stand alone: its hour waits for another one.
///
/// # Errors
/// When the database fails.
pub(super) fn forget(db: &Db, store: &str, hour: i64) -> Result<(), StoreError> {
    let forget = "DELETE FROM sheet WHERE store = ?1 AND hour = ?2 AND alone = 0";
    db.execute(forget, binds![store, hour])?;
    // Whoever remembers what the wrong sheet said learns that there is something else.
    let remark = "UPDATE changed SET rolled = NULL, mark = ?3 WHERE store = ?1 AND hour = ?2";
    db.execute(remark, binds![store, hour, rand::random::<i64>()]).map(drop)
}

/// Lets all hours wait for another sheet when those that are there are of another version.
fn remake(db: &Db) -> Result<(), StoreError> {
    let question = "SELECT value FROM meta WHERE name = 'sheets'";
    let known: Option<String> = db.first(question, &[], |row| row.get(0))?;
    let version = sheet::VERSION.to_string();
    if known.as_deref() == Some(version.as_str()) {
        return Ok(());
    }
    if known.is_some() {
        db.execute("UPDATE changed SET rolled = NULL", &[])?;
    }
    let upsert =
        "INSERT INTO meta VALUES ('sheets', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(upsert, binds![version.as_str()]).map(drop)
}

/// What sheets are, held against the events of which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Sheets that say what the events say.
    pub right: u64,
    /// Hours that wait for their sheet: they are read from events meanwhile.
    pub waiting: u64,
    /// Sheets that are all that is left of their hours, and can be read.
    pub alone: u64,
    /// Shop and hour (Unix milliseconds divided by those of an hour) of those that say something else.
    pub wrong: Vec<(String, i64)>,
    /// The same of those that stand alone and cannot be read.
    pub gone: Vec<(String, i64)>,
}

/// Makes every sheet that counts again and compares. Hours that come meanwhile are not counted.
///
/// # Errors
/// When the database fails.
pub(crate) fn verify(address: &Address) -> Result<Verified, StoreError> {
    let mut db = open_to_read(address)?;
    let hours = hours(&db)?;
    compare(&mut db, hours)
}

/// All hours, by shop.
fn hours(db: &Db) -> Result<Vec<(String, i64)>, StoreError> {
    let question = "SELECT store, hour FROM changed WHERE hour <> ?1 ORDER BY 1, 2";
    db.all(question, binds![NO_HOUR], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn compare(db: &mut Db, hours: Vec<(String, i64)>) -> Result<Verified, StoreError> {
    let question = "SELECT s.mark = c.mark, s.alone, s.body FROM changed AS c
         JOIN sheet AS s ON s.store = c.store AND s.hour = c.hour WHERE c.store = ?1 AND c.hour = ?2";
    let mut verified = Verified::default();
    for (store, hour) in hours {
        // Sheet and events of one moment: the events may go meanwhile.
        let snapshot = db.transaction(Mode::Read)?;
        let sheet = snapshot.first(question, binds![store.as_str(), hour], |row| {
            Ok((row.get::<bool>(0)?, row.get::<i64>(1)? != 0, row.get::<Vec<u8>>(2)?))
        })?;
        match sheet {
            // There is nothing left to hold it against.
            Some((_, true, body)) => match sheet::unpack(&body) {
                Some(_) => verified.alone += 1,
                None => verified.gone.push((store, hour)),
            },
            Some((true, false, body)) => {
                if sheet::unpack(&body) == Some(piece::read(&snapshot, &store, hour)?) {
                    verified.right += 1;
                } else {
                    verified.wrong.push((store, hour));
                }
            }
            Some((false, false, _)) | None => verified.waiting += 1,
        }
        snapshot.commit()?;
    }
    Ok(verified)
}

/// Hours that changed since their sheet was made, and that have more than that.
fn due(db: &Db, most: u32) -> Result<Vec<(String, i64, i64)>, StoreError> {
    let question = "SELECT store, hour, mark FROM changed AS c
         WHERE (rolled IS NULL OR rolled <> mark) AND hour <> ?1 AND NOT EXISTS
           (SELECT 1 FROM sheet AS s WHERE s.store = c.store AND s.hour = c.hour AND s.alone = 1)
         ORDER BY store, hour LIMIT ?2";
    db.all(question, binds![NO_HOUR, most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// One sheet.
pub(super) struct Sheet {
    /// Its hour.
    pub hour: i64,
    /// The mark that the hour had.
    pub mark: i64,
    /// Whether it is all that is left of the hour, but for events that came later.
    pub is_alone: bool,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Reads the sheets of a shop from one hour to another, both included.
pub(super) fn sheets(
    db: &Db,
    id: &str,
    (from, to): (i64, i64),
    mut each: impl FnMut(Sheet) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let question = "SELECT hour, mark, alone, body FROM sheet WHERE store = ?1 AND hour BETWEEN ?2 AND ?3";
    db.each(question, binds![id, from, to], |row| {
        let is_alone = row.get::<i64>(2)? != 0;
        each(Sheet { hour: row.get(0)?, mark: row.get(1)?, is_alone, body: row.get(3)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Bench, TAG, anchor, batch, picked, tenant};
    use crate::store::{Keeper, Limits};

    #[test]
    fn an_hour_whose_events_are_deleted_meanwhile_is_not_wrong() {
        let mut bench = Bench::new();
        let mut sent = batch(1, vec![picked(1, TAG)]);
        sent.anchors = vec![anchor(0, 500_016 * HOUR_MS, 20)];
        bench.send(&sent);
        Roller::open(&bench.address, tenant()).unwrap().roll(9).unwrap();
        let mut db = open_to_read(&bench.address).unwrap();
        let hours = hours(&db).unwrap();
        let limits = Limits { events: Some(0), feed: Some(0), ..Limits::default() };
        let now = UnixMillis(500_020 * HOUR_MS);
        assert_eq!(
            Keeper::open(&bench.address, tenant(), limits).unwrap().pass(now, &mut || true).unwrap(),
            2
        );
        let verified = compare(&mut db, hours).unwrap();
        assert_eq!(verified, Verified { alone: 1, ..Verified::default() });
    }
}
