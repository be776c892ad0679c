//! The feed's outbox. Enters, in the transaction that stores events: which ones, and whether their time of day is
//! known. Leaves: their places in their shop's feed, without gaps and for ever. Events without a time of day wait for
//! their clock, at most [`PATIENCE_MS`]; what comes meanwhile goes before them.
//!
//! ```text
//! feed          a row per run of events that follow one another in an epoch and in the feed, not per event
//!   store, sequence              where in the shop's feed its first event is; 1 is the first of all
//!   gateway, epoch, seq, count   the events: count of them, from seq on
//! feed_head     the last place that is taken, per shop. Whoever appends to a shop's feed holds this row until the
//!               commit, so that nobody sees a place before those below it are taken
//! feed_waiting  runs of one boot that have no clock, and when central got them (Unix ms)
//! feed_sent     the last place up to which the broker has acknowledged everything, per shop and form
//! lease         who does what only one may do at a time, and until when (Unix ms)
//! ```

use std::collections::BTreeMap;

use hangtag_central_core::feed::PATIENCE_MS;
use hangtag_protocol::clock::{BootId, UnixMillis};
use hangtag_protocol::id::{Epoch, GatewayId, Seq, StoreId};
use hangtag_protocol::topic::Gateway;

use super::StoreError;
use super::db::{Bind, Db, Row, binds};
use super::read::parse;

/// The tables; what is stored already is in the feed, oldest numbers first.
pub(super) const TABLES: &str = "
CREATE TABLE feed (
    store TEXT NOT NULL, sequence BIGINT NOT NULL,
    gateway TEXT NOT NULL, epoch TEXT NOT NULL, seq BIGINT NOT NULL, count BIGINT NOT NULL,
    PRIMARY KEY (store, sequence), UNIQUE (store, gateway, epoch, seq)
);
CREATE TABLE feed_head (store TEXT NOT NULL PRIMARY KEY, last BIGINT NOT NULL);
CREATE TABLE feed_waiting (
    store TEXT NOT NULL, gateway TEXT NOT NULL, epoch TEXT NOT NULL, seq BIGINT NOT NULL, count BIGINT NOT NULL,
    boot TEXT NOT NULL, received BIGINT NOT NULL,
    PRIMARY KEY (store, gateway, epoch, seq)
);
CREATE INDEX feed_waiting_by_boot ON feed_waiting (store, gateway, boot);
CREATE INDEX feed_waiting_by_age ON feed_waiting (received);
CREATE TABLE feed_sent (
    store TEXT NOT NULL, form TEXT NOT NULL, sequence BIGINT NOT NULL, PRIMARY KEY (store, form)
);
CREATE TABLE lease (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, until BIGINT NOT NULL);

INSERT INTO feed
SELECT store, 1 + sum(count) OVER (PARTITION BY store ORDER BY gateway, epoch, seq) - count,
       gateway, epoch, seq, count
FROM (
    SELECT store, gateway, epoch, min(seq) AS seq, count(*) AS count
    FROM (
        SELECT store, gateway, epoch, seq,
               seq - row_number() OVER (PARTITION BY store, gateway, epoch ORDER BY seq) AS run
        FROM event
    ) AS numbered
    GROUP BY store, gateway, epoch, run
) AS runs;
INSERT INTO feed_head SELECT store, max(sequence + count - 1) FROM feed GROUP BY store;
";

/// What a transaction adds to the feed.
#[derive(Debug, Default)]
pub(super) struct Feed {
    fed: BTreeMap<StoreId, Vec<Run>>,
    waiting: Vec<(StoreId, Run, BootId, UnixMillis)>,
    clocked: Vec<(Gateway, BootId)>,
}

/// Events that follow one another in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    gateway: GatewayId,
    epoch: Epoch,
    first: Seq,
    count: u64,
}

impl Run {
    /// Takes the next event in, if it is the next.
    fn extend(&mut self, next: &Self) -> bool {
        let is_next = (self.gateway, self.epoch, self.first.0.checked_add(self.count))
            == (next.gateway, next.epoch, Some(next.first.0));
        if is_next {
            self.count += next.count;
        }
        is_next
    }
}

impl Feed {
    /// An event is stored for the first time.
    pub(super) fn note(
        &mut self,
        of: &Gateway,
        (epoch, seq): (Epoch, Seq),
        boot: BootId,
        has_time: bool,
        received: UnixMillis,
    ) {
        let run = Run { gateway: of.gateway, epoch, first: seq, count: 1 };
        if has_time {
            self.add(of.store, run);
            return;
        }
        if let Some((store, last, last_boot, last_received)) = self.waiting.last_mut()
            && (*store, *last_boot, *last_received) == (of.store, boot, received)
            && last.extend(&run)
        {
            return;
        }
        self.waiting.push((of.store, run, boot, received));
    }

    /// Events of a boot that had no time of day may have one.
    pub(super) fn note_clock(&mut self, of: &Gateway, boot: BootId) {
        if self.clocked.last() != Some(&(*of, boot)) {
            self.clocked.push((*of, boot));
        }
    }

    /// Whether an event came so long ago that it waits for no clock any more.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn is_due(db: &Db, now: UnixMillis) -> Result<bool, StoreError> {
        let question = "SELECT 1 FROM feed_waiting WHERE received <= ?1 LIMIT 1";
        db.is_any(question, binds![now.0.saturating_sub(PATIENCE_MS)])
    }

    /// Gives events that came so long ago that they wait for no clock any more their places. How many runs.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn release(db: &Db, now: UnixMillis, most: u32) -> Result<usize, StoreError> {
        let mut feed = Self::default();
        let due = db.all(
            "SELECT store, gateway, epoch, seq FROM feed_waiting WHERE received <= ?1
             ORDER BY received, store, gateway, epoch, seq LIMIT ?2",
            binds![now.0.saturating_sub(PATIENCE_MS), most],
            |row| {
                let texts = [row.get::<String>(0)?, row.get(1)?, row.get(2)?];
                Ok((texts, row.get::<i64>(3)?))
            },
        )?;
        for ([store, gateway, epoch], seq) in &due {
            feed.take_waiting(
                db,
                "DELETE FROM feed_waiting WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq = ?4
                 RETURNING store, gateway, epoch, seq, count",
                binds![store, gateway, epoch, *seq],
            )?;
        }
        feed.write(db)?;
        Ok(due.len())
    }

    /// Gives everything its place.
    pub(super) fn write(mut self, db: &Db) -> Result<(), StoreError> {
        for (store, run, boot, received) in std::mem::take(&mut self.waiting) {
            let row = binds![
                store.as_str(),
                run.gateway.as_str(),
                run.epoch.to_string(),
                run.first.0.cast_signed(),
                run.count.cast_signed(),
                boot.to_string(),
                received.0,
            ];
            db.execute("INSERT INTO feed_waiting VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row)?;
        }
        for (of, boot) in std::mem::take(&mut self.clocked) {
            self.take_waiting(
                db,
                "DELETE FROM feed_waiting WHERE store = ?1 AND gateway = ?2 AND boot = ?3
                 RETURNING store, gateway, epoch, seq, count",
                binds![of.store.as_str(), of.gateway.as_str(), boot.to_string()],
            )?;
        }
        let take = "INSERT INTO feed_head (store, last) VALUES (?1, ?2)
            ON CONFLICT (store) DO UPDATE SET last = feed_head.last + excluded.last RETURNING last";
        // Shop by shop in the order of their ids: whoever else appends waits, and never for each other.
        for (store, runs) in &self.fed {
            let count = runs.iter().map(|run| run.count).sum::<u64>().cast_signed();
            let last: i64 = db.only(take, binds![store.as_str(), count], |row| row.get(0))?;
            let mut sequence = last - count + 1;
            for run in runs {
                let row = binds![
                    store.as_str(),
                    sequence,
                    run.gateway.as_str(),
                    run.epoch.to_string(),
                    run.first.0.cast_signed(),
                    run.count.cast_signed(),
                ];
                db.execute("INSERT INTO feed VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row)?;
                sequence += run.count.cast_signed();
            }
        }
        Ok(())
    }

    fn add(&mut self, store: StoreId, run: Run) {
        let runs = self.fed.entry(store).or_default();
        if !runs.last_mut().is_some_and(|last| last.extend(&run)) {
            runs.push(run);
        }
    }

    /// Lets go of what waited. The statement takes it out, so that no other process does too.
    fn take_waiting(&mut self, db: &Db, statement: &str, of: &[Bind<'_>]) -> Result<(), StoreError> {
        let mut runs = db.all(statement, of, run)?;
        runs.sort_by_key(|(store, run)| (*store, run.gateway, run.epoch, run.first));
        runs.into_iter().for_each(|(store, run)| self.add(store, run));
        Ok(())
    }
}

fn run(row: &Row<'_>) -> Result<(StoreId, Run), StoreError> {
    let run = Run {
        gateway: parse(row.get(1)?, "a gateway")?,
        epoch: parse(row.get(2)?, "an epoch")?,
        first: Seq(row.get::<i64>(3)?.cast_unsigned()),
        count: row.get(4)?,
    };
    Ok((parse(row.get(0)?, "a store")?, run))
}
