//! What is deleted because of its age. Enters: limits, and the time. Leaves: fewer rows, in many small transactions, and a
//! note of how many of what were deleted up to when. What they added up to stays:
//!
//! ```text
//! event        an hour's events go together, when its sheet (`roll.rs`) has all of them; the sheet then stands *alone*:
//!              it is all that is left of the hour, and counts whatever the hour's mark says. Events of the hour that come
//!              after all are added to it, when it is read and, when they go too, for good. Settled numbers stay: nothing
//!              that comes again is stored again
//! feed         the oldest places, once they are published. Events go when no place leads to them any more
//! sale, stock  as they are; of stock the last count of each product and place before the limit stays
//! quarantine   what settles nothing; the only copies of events stay
//! deleted      per shop (none: of no known one) and table how many rows went, and before which moment
//! ```
//!
//! A retraction goes after the event that it retracts. One that comes when its event is deleted changes nothing any more.

use hangtag_central_core::feed::Form;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{StoreId, TenantId};
use serde::Serialize;

use super::changed::{Changed, HOUR_MS, NO_HOUR};
use super::db::{Db, Mode, Transaction, binds};
use super::piece::{self, Piece};
use super::read::{Reader, parse};
use super::{Address, StoreError, open_to_read, open_to_write, roll, sheet};

/// How many runs of the feed, sales or payloads go in one transaction.
const ROWS: u32 = 256;
/// A day, in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// How long what is kept, in milliseconds; none: for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Events, since they happened; those without a clock, since they came.
    pub events: Option<i64>,
    /// Places in the feed, since their events came.
    pub feed: Option<i64>,
    /// Lines of receipts, since they were paid.
    pub sales: Option<i64>,
    /// Counts of stock, since they were made.
    pub stock: Option<i64>,
    /// Payloads in quarantine that settle nothing, since they came last.
    pub quarantine: Option<i64>,
    /// The forms in which the feed is published: places wait for all of them.
    pub forms: Vec<Form>,
}

impl Limits {
    /// Whether everything is kept for ever.
    pub(crate) fn are_none(&self) -> bool {
        let Self { events, feed, sales, stock, quarantine, forms: _ } = self;
        [events, feed, sales, stock, quarantine].iter().all(|limit| limit.is_none())
    }
}

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

/// The side of the database that deletes.
pub(crate) struct Keeper {
    db: Db,
    limits: Limits,
}

/// Whether to go on with the next transaction.
pub(crate) type GoOn<'g> = &'g mut dyn FnMut() -> bool;

impl Keeper {
    /// Opens the database.
    ///
    /// # Errors
    /// As for the writer.
    pub(crate) fn open(address: &Address, tenant: TenantId, limits: Limits) -> Result<Self, StoreError> {
        Ok(Self { db: open_to_write(address, tenant)?, limits })
    }

    /// Deletes everything that is older than its limit. `go_on` is asked between two transactions, and may take its time.
    /// How many rows.
    ///
    /// # Errors
    /// When the database fails; what was deleted before is noted.
    pub(crate) fn pass(&mut self, now: UnixMillis, go_on: GoOn<'_>) -> Result<u64, StoreError> {
        let seen =
            "SELECT store FROM epoch UNION SELECT store FROM sale UNION SELECT store FROM stock ORDER BY 1";
        let stores: Vec<StoreId> = self.db.all(seen, &[], |row| parse(row.get(0)?, "a store"))?;
        let mut count = 0;
        let before = |limit: Option<i64>| limit.map(|limit| now.0.saturating_sub(limit));
        for store in stores {
            if let Some(before) = before(self.limits.feed) {
                count += self.repeat(go_on, |db, limits| feed(db, store, before, &limits.forms))?;
            }
            if let Some(before) = before(self.limits.events) {
                count += self.events(store, before, go_on)?;
            }
            if let Some(before) = before(self.limits.sales) {
                count += self.repeat(go_on, |db, _| sales(db, store, before))?;
            }
            if let Some(before) = before(self.limits.stock) {
                count += self.repeat(go_on, |db, _| stock(db, store, before))?;
            }
        }
        if let Some(before) = before(self.limits.quarantine) {
            count += self.repeat(go_on, |db, _| quarantine(db, before))?;
        }
        Ok(count)
    }

    /// Does the same until there is nothing left to do.
    fn repeat(
        &mut self,
        go_on: GoOn<'_>,
        mut work: impl FnMut(&Transaction<'_>, &Limits) -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        let mut all = 0;
        while go_on() {
            let transaction = self.db.transaction(Mode::Write)?;
            let count = work(&transaction, &self.limits)?;
            if count == 0 {
                break;
            }
            transaction.commit()?;
            all += count;
        }
        Ok(all)
    }

    fn events(&mut self, store: StoreId, before: i64, go_on: GoOn<'_>) -> Result<u64, StoreError> {
        let next = "SELECT min(wall_ms) FROM event WHERE store = ?1 AND wall_ms >= ?2 AND wall_ms < ?3";
        // Whole hours.
        let end = before / HOUR_MS * HOUR_MS;
        let (mut from, mut all) = (0, 0);
        while go_on() {
            let first: Option<i64> =
                self.db.only(next, binds![store.as_str(), from, end], |row| row.get(0))?;
            let Some(first) = first else { break };
            let hour = first / HOUR_MS;
            let transaction = self.db.transaction(Mode::Write)?;
            let count = put_away(&transaction, store, hour)?;
            transaction.commit()?;
            all += count;
            from = (hour + 1) * HOUR_MS;
        }
        let transaction = self.db.transaction(Mode::Write)?;
        all += without_clock(&transaction, store, before)?;
        transaction.commit()?;
        Ok(all)
    }
}

/// Deletes the oldest places of a feed.
fn feed(db: &Db, store: StoreId, before: i64, forms: &[Form]) -> Result<u64, StoreError> {
    let id = store.as_str();
    let mut published = i64::MAX;
    for form in forms {
        let question = "SELECT sequence FROM feed_sent WHERE store = ?1 AND form = ?2";
        let sent: Option<i64> = db.first(question, binds![id, form.name()], |row| row.get(0))?;
        published = published.min(sent.unwrap_or(0));
    }
    let question = "SELECT f.sequence + f.count - 1, f.count, e.received FROM feed AS f LEFT JOIN event AS e
         ON e.store = f.store AND e.gateway = f.gateway AND e.epoch = f.epoch AND e.seq = f.seq + f.count - 1
         WHERE f.store = ?1 ORDER BY f.sequence LIMIT ?2";
    let runs: Vec<(i64, u64, Option<i64>)> =
        db.all(question, binds![id, ROWS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let is_old = |(last, _, received): &(i64, u64, Option<i64>)| {
        *last <= published && received.is_none_or(|received| received < before)
    };
    let old: Vec<_> = runs.into_iter().take_while(is_old).collect();
    let Some((last, ..)) = old.last() else { return Ok(0) };
    db.execute("DELETE FROM feed WHERE store = ?1 AND sequence <= ?2", binds![id, *last])?;
    db.execute("UPDATE feed_head SET first = ?2 WHERE store = ?1 AND first < ?2", binds![id, *last + 1])?;
    let count = old.iter().map(|(_, count, _)| count).sum();
    note(db, id, "feed", before, count)
}

/// Deletes the events of an hour, when its sheet says what they say and no place in the feed leads to them.
fn put_away(db: &Db, store: StoreId, hour: i64) -> Result<u64, StoreError> {
    let id = store.as_str();
    // Whoever stores an event of this hour writes this row before the commit: until that of this transaction nobody's
    // events come to those that are read here.
    let lock = "UPDATE changed SET rolled = rolled WHERE store = ?1 AND hour = ?2 RETURNING mark, rolled";
    let marks =
        db.first(lock, binds![id, hour], |row| Ok((row.get::<i64>(0)?, row.get::<Option<i64>>(1)?)))?;
    let question = "SELECT mark, alone, body FROM sheet WHERE store = ?1 AND hour = ?2";
    let found = db.first(question, binds![id, hour], |row| {
        Ok((row.get::<i64>(0)?, row.get::<i64>(1)? != 0, row.get::<Vec<u8>>(2)?))
    })?;
    // Without a sheet, or with an old one, the events are all that there is.
    let (Some((mark, rolled)), Some((of, is_alone, body))) = (marks, found) else { return Ok(0) };
    let (from, to) = (hour * HOUR_MS, (hour + 1) * HOUR_MS);
    let is_fed = is_fed(db, id, "wall_ms >= ?2 AND wall_ms < ?3", (from, to))?;
    if is_fed || (!is_alone && (of != mark || rolled != Some(mark))) {
        return Ok(0);
    }
    let known = sheet::unpack(&body);
    if is_alone {
        let Some(known) = known else {
            tracing::error!(%store, hour, "cannot read the sheet of an hour whose events are deleted");
            return Ok(0);
        };
        let piece = merged(known, piece::read(db, id, hour)?);
        let packed = sheet::pack(UnixMillis(from), &piece);
        let Some(body) = packed.filter(|body| sheet::unpack(body).as_ref() == Some(&piece)) else {
            return Ok(0);
        };
        let mark: i64 = rand::random();
        let keep = "UPDATE sheet SET mark = ?3, body = ?4 WHERE store = ?1 AND hour = ?2";
        db.execute(keep, binds![id, hour, mark, body.as_slice()])?;
        let remark = "UPDATE changed SET mark = ?3, rolled = ?3 WHERE store = ?1 AND hour = ?2";
        db.execute(remark, binds![id, hour, mark])?;
    } else if known != Some(piece::read(db, id, hour)?) {
        // Of another version, or damaged: it is made anew, and what it should say is kept until then.
        tracing::error!(%store, hour, "the sheet of an hour does not say what its events say: they are kept");
        roll::forget(db, id, hour)?;
        return Ok(0);
    }
    let count = delete(db, id, "wall_ms >= ?2 AND wall_ms < ?3", (from, to))?;
    db.execute("UPDATE sheet SET alone = 1 WHERE store = ?1 AND hour = ?2", binds![id, hour])?;
    note(db, id, "event", to, count)
}

/// Deletes events that have no time of day, which no sheet has.
fn without_clock(db: &Db, store: StoreId, before: i64) -> Result<u64, StoreError> {
    let condition = "wall_ms IS NULL AND received >= ?2 AND received < ?3";
    let id = store.as_str();
    if is_fed(db, id, condition, (0, before))? {
        return Ok(0);
    }
    let count = delete(db, id, condition, (0, before))?;
    if count > 0 {
        let mut changed = Changed::default();
        changed.note_hour(store, NO_HOUR);
        changed.write(db)?;
    }
    note(db, id, "event", before, count)
}

/// Whether a place in the feed leads, or will lead, to one of these events or to one between them.
fn is_fed(db: &Db, id: &str, condition: &str, between: (i64, i64)) -> Result<bool, StoreError> {
    let runs = format!(
        "SELECT gateway, epoch, min(seq), max(seq) FROM event WHERE store = ?1 AND {condition} GROUP BY gateway, epoch"
    );
    let runs = db.all(&runs, binds![id, between.0, between.1], |row| {
        Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<i64>(2)?, row.get::<i64>(3)?))
    })?;
    for (gateway, epoch, first, last) in &runs {
        for table in ["feed", "feed_waiting"] {
            let leads = format!(
                "SELECT 1 FROM {table} WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq <= ?5
                 AND seq + count > ?4 LIMIT 1"
            );
            if db.is_any(&leads, binds![id, gateway, epoch, *first, *last])? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Deletes events, with what scanned codes stand for; a retraction only after its event.
fn delete(db: &Db, id: &str, condition: &str, between: (i64, i64)) -> Result<u64, StoreError> {
    let of = binds![id, between.0, between.1];
    let codes = format!(
        "DELETE FROM loyalty WHERE (store, gateway, epoch, seq) IN
         (SELECT store, gateway, epoch, seq FROM event WHERE store = ?1 AND kind = 'scanned' AND {condition})"
    );
    db.execute(&codes, of)?;
    let events = format!("DELETE FROM event WHERE store = ?1 AND kind <> 'retracted' AND {condition}");
    let retractions = format!(
        "DELETE FROM event WHERE store = ?1 AND kind = 'retracted' AND {condition} AND NOT EXISTS
         (SELECT 1 FROM event AS e WHERE e.store = event.store AND e.gateway = event.gateway
          AND e.epoch = event.epoch AND e.seq = event.retracts AND e.seq <> event.seq)"
    );
    Ok((db.execute(&events, of)? + db.execute(&retractions, of)?) as u64)
}

fn sales(db: &Db, store: StoreId, before: i64) -> Result<u64, StoreError> {
    let id = store.as_str();
    let question = "SELECT receipt, line, kind, at_ms FROM sale WHERE store = ?1 AND at_ms < ?2
         ORDER BY at_ms LIMIT ?3";
    let old = db.all(question, binds![id, before, ROWS], |row| {
        Ok((row.get::<String>(0)?, row.get::<i64>(1)?, row.get::<String>(2)?, row.get::<i64>(3)?))
    })?;
    let mut changed = Changed::default();
    for (receipt, line, kind, at) in &old {
        let delete = "DELETE FROM sale WHERE store = ?1 AND receipt = ?2 AND line = ?3 AND kind = ?4";
        db.execute(delete, binds![id, receipt, *line, kind])?;
        changed.note(store, Some(*at));
    }
    changed.write(db)?;
    note(db, id, "sale", before, old.len() as u64)
}

/// Deletes the counts of a day that others of before the limit followed.
fn stock(db: &Db, store: StoreId, before: i64) -> Result<u64, StoreError> {
    const FOLLOWED: &str = "EXISTS (SELECT 1 FROM stock AS later WHERE later.store = stock.store
         AND later.gtin = stock.gtin AND later.place = stock.place AND later.at_ms > stock.at_ms
         AND later.at_ms < ?2)";
    let id = store.as_str();
    let first = format!("SELECT min(at_ms) FROM stock WHERE store = ?1 AND at_ms < ?2 AND {FOLLOWED}");
    let first: Option<i64> = db.only(&first, binds![id, before], |row| row.get(0))?;
    let Some(first) = first else { return Ok(0) };
    let delete = format!(
        "DELETE FROM stock WHERE store = ?1 AND at_ms < ?2 AND at_ms < ?3 AND {FOLLOWED} RETURNING at_ms"
    );
    let day = first.saturating_add(DAY_MS);
    let gone: Vec<i64> = db.all(&delete, binds![id, before, day], |row| row.get(0))?;
    let mut changed = Changed::default();
    gone.iter().for_each(|at| changed.note(store, Some(*at)));
    changed.write(db)?;
    note(db, id, "stock", before, gone.len() as u64)
}

fn quarantine(db: &Db, before: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE kind <> 'settled'
         AND received < ?1 ORDER BY id LIMIT ?2) RETURNING coalesce(store, '')";
    let stores: Vec<String> = db.all(delete, binds![before, ROWS], |row| row.get(0))?;
    for store in &stores {
        note(db, store, "quarantine", before, 1)?;
    }
    Ok(stores.len() as u64)
}

/// Notes that so many rows went.
fn note(db: &Db, store: &str, what: &str, before: i64, count: u64) -> Result<u64, StoreError> {
    if count > 0 {
        let upsert = "INSERT INTO deleted VALUES (?1, ?2, ?3, ?4) ON CONFLICT (store, what) DO UPDATE SET
             count = deleted.count + excluded.count, before_ms = CASE WHEN deleted.before_ms > excluded.before_ms
             THEN deleted.before_ms ELSE excluded.before_ms END";
        db.execute(upsert, binds![store, what, before, count.cast_signed()])?;
    }
    Ok(count)
}

/// What a sheet that stands alone says, with events of its hour that came later.
pub(super) fn merged(mut known: Piece, late: Piece) -> Piece {
    // Field by field: one that is new must not be left out.
    let Piece { handled, scanned, unvouched, coverage, watching, delays } = late;
    known.handled.extend(handled);
    known.handled.sort_by_key(|event| event.at);
    known.scanned.extend(scanned);
    known.scanned.sort_by_key(|scan| scan.at);
    known.unvouched += unvouched;
    known.coverage.extend(coverage);
    known.watching.extend(watching);
    known.watching.sort_unstable();
    known.watching.dedup();
    known.delays += &delays;
    known
}

impl Reader {
    /// What was deleted because of its age.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn deleted(&self) -> Result<Vec<Deleted>, StoreError> {
        let question = "SELECT store, what, before_ms, count FROM deleted ORDER BY store, what";
        open_to_read(self.address())?.all(question, &[], |row| {
            Ok(Deleted { store: row.get(0)?, what: row.get(1)?, before_ms: row.get(2)?, count: row.get(3)? })
        })
    }
}
