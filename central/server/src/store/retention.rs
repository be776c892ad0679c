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
//! Of several processes on one database one deletes at a time, whoever holds the lease. Places wait for every form in which
//! one of them publishes, or ever did: a member need not know what others publish.
//!
//! A retraction goes after the event that it retracts. One that comes when its event is deleted changes nothing any more.

use std::collections::BTreeSet;
use std::time::Instant;

use hangtag_central_core::feed::Form;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{StoreId, TenantId};

use super::changed::{Changed, HOUR_MS, NO_HOUR};
use super::db::{Db, Mode, Transaction, binds};
use super::deleted::note;
use super::piece::{self, merged};
use super::read::parse;
use super::{Address, StoreError, lease, open_to_write, roll, sheet, zone};

/// How many runs of the feed, sales or payloads go in one transaction.
const ROWS: u32 = 256;
/// The name of the lease, and for how long it is taken at each transaction, in milliseconds.
const LEASE: &str = "retention";
const LEASE_MS: i64 = 300_000;
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
    /// The forms in which this process publishes the feed: places wait for all of them, and for those of others.
    pub forms: Vec<Form>,
}

impl Limits {
    /// Whether everything is kept for ever.
    pub(crate) fn are_none(&self) -> bool {
        let Self { events, feed, sales, stock, quarantine, forms: _ } = self;
        [events, feed, sales, stock, quarantine].iter().all(|limit| limit.is_none())
    }
}

/// The side of the database that deletes.
pub(crate) struct Keeper {
    db: Db,
    limits: Limits,
    /// Who this is to others.
    holder: String,
    /// When the pass began, by the wall and by a clock that nobody sets.
    began: (UnixMillis, Instant),
}

/// Whether to go on with the next transaction.
pub(crate) type GoOn<'g> = &'g mut dyn FnMut() -> bool;

impl Keeper {
    /// Opens the database.
    ///
    /// # Errors
    /// As for the writer.
    pub(crate) fn open(address: &Address, tenant: TenantId, limits: Limits) -> Result<Self, StoreError> {
        let holder = format!("{:016x}", rand::random::<u64>());
        let began = (UnixMillis(0), Instant::now());
        Ok(Self { db: open_to_write(address, tenant)?, limits, holder, began })
    }

    /// Deletes everything that is older than its limit. `go_on` is asked between two transactions, and may take its time.
    /// How many rows; none when another process is at it.
    ///
    /// # Errors
    /// When the database fails; what was deleted before is noted.
    pub(crate) fn pass(&mut self, now: UnixMillis, go_on: GoOn<'_>) -> Result<u64, StoreError> {
        self.began = (now, Instant::now());
        let passed = self.pass_by(now, go_on);
        let let_go = lease::let_go(&self.db, LEASE, &self.holder);
        let count = passed?;
        let_go.map(|()| count)
    }

    fn pass_by(&mut self, now: UnixMillis, go_on: GoOn<'_>) -> Result<u64, StoreError> {
        self.tell_of_others()?;
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

    /// Says for which forms places wait that this process does not publish.
    fn tell_of_others(&self) -> Result<(), StoreError> {
        for form in forms(&self.db, &[])? {
            let is_own = self.limits.forms.iter().any(|own| own.name() == form);
            if self.limits.feed.is_some() && !is_own {
                tracing::info!(form, "the feed is kept until it is published in a form that others publish");
            }
        }
        Ok(())
    }

    /// Begins a transaction, unless another process is at it.
    fn begin(&mut self) -> Result<Option<Transaction<'_>>, StoreError> {
        let (UnixMillis(began), since) = self.began;
        let passed = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = began.saturating_add(passed);
        let until = UnixMillis(now.saturating_add(LEASE_MS));
        let transaction = self.db.transaction(Mode::Write)?;
        let is_held = lease::take(&transaction, LEASE, &self.holder, (UnixMillis(now), until))?;
        Ok(is_held.then_some(transaction))
    }

    /// Does the same until there is nothing left to do.
    fn repeat(
        &mut self,
        go_on: GoOn<'_>,
        mut work: impl FnMut(&Transaction<'_>, &Limits) -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        let mut all = 0;
        let limits = self.limits.clone();
        while go_on() {
            let Some(transaction) = self.begin()? else { break };
            let count = work(&transaction, &limits)?;
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
            let Some(transaction) = self.begin()? else { return Ok(all) };
            let count = put_away(&transaction, store, hour)?;
            transaction.commit()?;
            all += count;
            from = (hour + 1) * HOUR_MS;
        }
        let Some(transaction) = self.begin()? else { return Ok(all) };
        all += without_clock(&transaction, store, before)?;
        transaction.commit()?;
        Ok(all)
    }
}

/// The names of these forms, and of those in which any shop's feed was ever published.
fn forms(db: &Db, own: &[Form]) -> Result<BTreeSet<String>, StoreError> {
    let question = "SELECT DISTINCT form FROM feed_sent";
    let others: Vec<String> = db.all(question, &[], |row| row.get(0))?;
    Ok(others.into_iter().chain(own.iter().map(|form| form.name().to_owned())).collect())
}

/// Deletes the oldest places of a feed.
fn feed(db: &Db, store: StoreId, before: i64, own: &[Form]) -> Result<u64, StoreError> {
    let id = store.as_str();
    let mut published = i64::MAX;
    for form in forms(db, own)? {
        let question = "SELECT sequence FROM feed_sent WHERE store = ?1 AND form = ?2";
        let sent: Option<i64> = db.first(question, binds![id, form.as_str()], |row| row.get(0))?;
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
    let delete = "DELETE FROM feed WHERE store = ?1 AND sequence <= ?2 RETURNING count";
    let gone: Vec<u64> = db.all(delete, binds![id, *last], |row| row.get(0))?;
    db.execute("UPDATE feed_head SET first = ?2 WHERE store = ?1 AND first < ?2", binds![id, *last + 1])?;
    note(db, id, "feed", before, gone.iter().sum())
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
        let mut zones = zone::Noted::default();
        zones.hour(id, hour, &piece);
        zones.write(db)?;
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
    // The condition stands twice: a line that is corrected meanwhile may be of another day.
    let delete = "DELETE FROM sale WHERE store = ?1 AND at_ms < ?2 AND (receipt, line, kind) IN
         (SELECT receipt, line, kind FROM sale WHERE store = ?1 AND at_ms < ?2 ORDER BY at_ms LIMIT ?3)
         RETURNING at_ms";
    let id = store.as_str();
    let gone: Vec<i64> = db.all(delete, binds![id, before, ROWS], |row| row.get(0))?;
    let mut changed = Changed::default();
    gone.iter().for_each(|at| changed.note(store, Some(*at)));
    changed.write(db)?;
    note(db, id, "sale", before, gone.len() as u64)
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
    // Twice, as for sales: it may come again meanwhile, or become the only copy of its events.
    let delete = "DELETE FROM quarantine WHERE kind <> 'settled' AND received < ?1 AND id IN
         (SELECT id FROM quarantine WHERE kind <> 'settled' AND received < ?1 ORDER BY id LIMIT ?2) RETURNING coalesce(store, '')";
    let stores: Vec<String> = db.all(delete, binds![before, ROWS], |row| row.get(0))?;
    for store in &stores {
        note(db, store, "quarantine", before, 1)?;
    }
    Ok(stores.len() as u64)
}
