//! What the page shows, read in one snapshot. Enters: a shop and a stretch of time. Leaves: rows.
//! It never writes, and never waits for the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hangtag_central_core::sale::{Line, StockCount};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::event::{Kind, ReaderState};
use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, StoreId};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::status::Status;
use serde::Serialize;

use super::changed;
use super::db::{Db, Mode, binds};
use super::idle::{Idle, Reading};
use super::piece::{Hours, Pieces};
use super::{Address, Dropped, Quarantined, StoreError, Unopened, loyalty, quarantine, release, sale};

/// The most rows of gaps and of quarantine that the page shows.
const SHOWN: u32 = 50;
/// How long a reader that says nothing is still shown, in milliseconds: 30 days.
const REMEMBERED_MS: i64 = 30 * 86_400_000;
/// Events of a kind that retracted nothing and was not retracted. Indexes are named because SQLite, which knows nothing
/// of how many rows there are, may take the primary key instead, and walk through a whole epoch for every event.
pub(super) const NOT_RETRACTED: &str =
    "NOT EXISTS (SELECT 1 FROM event AS r INDEXED BY event_by_retraction WHERE r.store = e.store
     AND r.gateway = e.gateway AND r.epoch = e.epoch AND r.retracts = e.seq AND r.kind = 'retracted')";
pub(super) const HANDLED: &str =
    "e.kind IN ('picked_up', 'put_down', 'carried_in', 'tried_on', 'carried_out')";

/// The reading side of the database. Connections are kept between questions; hours that have not changed since the last
/// question are remembered.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    address: Address,
    idle: Arc<Idle>,
    pieces: Arc<Pieces>,
}

/// Sums of the whole database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// Events stored.
    pub events: u64,
    /// Ranges of events that are missing.
    pub gaps: u64,
    /// Events in them that their gateway declared lost,
    pub lost: u64,
    /// and that it does not hold any more and did not declare.
    pub unexplained: u64,
    /// Payloads in quarantine.
    pub quarantined: u64,
}

/// A stretch of one reader's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// The gateway.
    pub gateway: GatewayId,
    /// The reader.
    pub reader: ReaderId,
    /// What it was doing.
    pub state: ReaderState,
    /// Since when.
    pub from: UnixMillis,
    /// Until when.
    pub to: UnixMillis,
}

/// The last health message of a gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayHealth {
    /// The gateway.
    pub gateway: GatewayId,
    /// When the message came.
    pub received: UnixMillis,
    /// The message.
    pub status: Status,
}

/// A gateway that records nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotRecording {
    /// Its shop.
    pub store: String,
    /// The gateway.
    pub gateway: String,
    /// Why its spool accepts nothing, in its own words.
    pub why: String,
}

/// A range of missing events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its spool's life.
    pub epoch: Epoch,
    /// The numbers.
    pub range: SeqRange,
    /// `lost` or `unexplained`.
    pub why: String,
}

/// How good the data of one shop and one stretch of time are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quality {
    /// Loyalty codes of the shop, of any day, that are not opened.
    pub unopened: Vec<Unopened>,
    /// Events about garments that have no time of day, by kind.
    pub unclocked: BTreeMap<Kind, u64>,
    /// The readers that told of themselves in the month before, heard of or not in the stretch.
    pub readers: Vec<(GatewayId, ReaderId)>,
    /// The gateways' health.
    pub gateways: Vec<GatewayHealth>,
    /// Time of day of the shop's last event about a garment, of any day.
    pub last: Option<UnixMillis>,
    /// The first missing ranges,
    pub gaps: Vec<Gap>,
    /// how many there are, and how many events were in them.
    pub gap_sum: (u64, u64),
    /// The newest payloads in quarantine.
    pub quarantine: Vec<Quarantined>,
    /// How many there are, with copies.
    pub quarantine_sum: u64,
    /// Every shop that ever sent something.
    pub stores_seen: BTreeSet<String>,
}

impl Reader {
    /// Reads from there.
    #[must_use]
    pub(crate) fn new(address: Address) -> Self {
        Self { address, idle: Arc::default(), pieces: Arc::default() }
    }

    /// A connection for one question.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub(super) fn reading(&self) -> Result<Reading<'_>, StoreError> {
        self.idle.reading(&self.address)
    }

    /// Sums of the whole database.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn totals(&self) -> Result<Totals, StoreError> {
        let db = self.reading()?;
        let sum = |question: &str| db.only(question, &[], |row| row.get(0));
        let events = "SELECT CAST(coalesce(sum(last - first + 1), 0) AS BIGINT) FROM";
        Ok(Totals {
            events: sum(&format!("{events} settled WHERE fate = 'stored'"))?,
            gaps: sum("SELECT count(*) FROM gap")?,
            lost: sum(&format!("{events} gap WHERE why = 'lost'"))?,
            unexplained: sum(&format!("{events} gap WHERE why = 'unexplained'"))?,
            quarantined: sum("SELECT count(*) FROM quarantine")?,
        })
    }

    /// The gateways of all shops whose last word was that they cannot keep events.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn not_recording(&self) -> Result<Vec<NotRecording>, StoreError> {
        let db = self.reading()?;
        let mut not_recording = Vec::new();
        db.each(
            "SELECT store, gateway, body FROM status WHERE body LIKE '%spool_fault%' ORDER BY 1, 2",
            &[],
            |row| {
                let body: &str = row.get(2)?;
                let status: Status = serde_json::from_str(body).map_err(|_| content(body, "a status"))?;
                if let Some(why) = status.health.and_then(|health| health.spool_fault) {
                    not_recording.push(NotRecording { store: row.get(0)?, gateway: row.get(1)?, why });
                }
                Ok(())
            },
        )?;
        Ok(not_recording)
    }

    /// Loyalty codes of all shops that are not opened.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn unopened(&self) -> Result<Vec<Unopened>, StoreError> {
        loyalty::unopened(&*self.reading()?, None)
    }

    /// The newest payloads in quarantine.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn quarantine(&self, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
        quarantine::list(&*self.reading()?, limit)
    }

    /// What was taken out of quarantine for good, the latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn dropped(&self, limit: u32) -> Result<Vec<Dropped>, StoreError> {
        release::dropped(&*self.reading()?, limit)
    }

    /// The numbers of all payloads in quarantine, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn quarantine_ids(&self) -> Result<Vec<i64>, StoreError> {
        self.reading()?.all("SELECT id FROM quarantine ORDER BY id", &[], |row| row.get(0))
    }

    /// One payload in quarantine.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn quarantined(&self, id: i64) -> Result<Option<(Quarantined, Vec<u8>)>, StoreError> {
        quarantine::show(&*self.reading()?, id)
    }

    /// The lines of a shop's receipts that were paid from one moment until before another, by time.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn sales(
        &self,
        store: StoreId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<Line>, StoreError> {
        sale::sales(&*self.reading()?, store, from, to)
    }

    /// Whether a shop sold anything or took anything back from one moment until before another.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn has_sales(
        &self,
        store: StoreId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<bool, StoreError> {
        let question = "SELECT 1 FROM sale WHERE store = ?1 AND at_ms >= ?2 AND at_ms < ?3 LIMIT 1";
        self.reading()?.is_any(question, binds![store.as_str(), from.0, to.0])
    }

    /// The latest count of each product and place of a shop that was made at a moment or before.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn stock(&self, store: StoreId, at: UnixMillis) -> Result<Vec<StockCount>, StoreError> {
        sale::stock(&*self.reading()?, store, at)
    }

    /// The counts of a shop's stock after one moment and until another, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn counts(
        &self,
        store: StoreId,
        after: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<StockCount>, StoreError> {
        sale::counts(&*self.reading()?, store, after, until)
    }

    /// The marks of a shop's hours from one to another, both included: Unix milliseconds divided by those of an
    /// hour. An hour without a mark is empty; another mark tells of another content.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn marks(&self, store: StoreId, hours: (i64, i64)) -> Result<BTreeMap<i64, i64>, StoreError> {
        changed::marks(&*self.reading()?, store.as_str(), hours.0, hours.1)
    }

    /// The hours of a shop from one to another, both included, and the marks that they have; of the hours only
    /// those that `wanted` says.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn hours(
        &self,
        store: StoreId,
        hours: (i64, i64),
        wanted: impl Fn(i64) -> bool,
    ) -> Result<(BTreeMap<i64, i64>, Hours), StoreError> {
        let mut db = self.reading()?;
        let db = db.transaction(Mode::Read)?;
        let marks = changed::marks(&db, store.as_str(), hours.0, hours.1)?;
        let pieces = self.pieces.hours(&db, store, &marks, hours, wanted)?;
        Ok((marks, pieces))
    }

    /// The readers of a shop that said anything from a month before a stretch until its end.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn readers(
        &self,
        store: StoreId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<(GatewayId, ReaderId)>, StoreError> {
        let mut db = self.reading()?;
        let db = db.transaction(Mode::Read)?;
        readers(&db, store.as_str(), from, to)
    }

    /// How good the data of one shop are from one moment until before another.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn quality(
        &self,
        store: StoreId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Quality, StoreError> {
        let mut db = self.reading()?;
        // All answers come from one moment of the database.
        let db = db.transaction(Mode::Read)?;
        let id = store.as_str();
        let gap_sum = db.only(
            "SELECT count(*), CAST(coalesce(sum(last - first + 1), 0) AS BIGINT) FROM gap WHERE store = ?1",
            binds![id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let quarantine_sum = db.only(
            "SELECT CAST(coalesce(sum(times), 0) AS BIGINT) FROM quarantine WHERE store = ?1 OR store IS NULL",
            binds![id],
            |row| row.get(0),
        )?;
        let last = db.first(
            &format!(
                "SELECT wall_ms FROM event AS e WHERE store = ?1 AND wall_ms IS NOT NULL AND {HANDLED}
                 ORDER BY wall_ms DESC LIMIT 1"
            ),
            binds![id],
            |row| row.get(0).map(UnixMillis),
        )?;
        let seen = "SELECT store FROM epoch UNION SELECT store FROM status";
        let stores_seen = db.all(seen, &[], |row| row.get(0))?.into_iter().collect();
        Ok(Quality {
            unopened: loyalty::unopened(&db, Some(id))?,
            unclocked: unclocked(&db, id)?,
            readers: readers(&db, id, from, to)?,
            gateways: gateways(&db, id)?,
            last,
            gaps: gaps(&db, id)?,
            gap_sum,
            quarantine: quarantine::of_shop(&db, id, SHOWN)?,
            quarantine_sum,
            stores_seen,
        })
    }
}

fn unclocked(db: &Db, id: &str) -> Result<BTreeMap<Kind, u64>, StoreError> {
    let question = format!(
        "SELECT kind, count(*) FROM event AS e INDEXED BY event_by_time
         WHERE store = ?1 AND wall_ms IS NULL AND {HANDLED} AND {NOT_RETRACTED} GROUP BY kind"
    );
    let counts = db.all(&question, binds![id], |row| Ok((kind(row.get(0)?)?, row.get(1)?)))?;
    Ok(counts.into_iter().collect())
}

/// The readers that said anything from a month before until the end of a stretch: one that is dead today
/// must not vanish.
fn readers(
    db: &Db,
    id: &str,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<(GatewayId, ReaderId)>, StoreError> {
    db.all(
        "SELECT DISTINCT gateway, reader FROM event
         WHERE store = ?1 AND kind = 'coverage' AND wall_ms >= ?2 AND wall_ms < ?3",
        binds![id, from.0 - REMEMBERED_MS, to.0],
        |row| Ok((parse(row.get(0)?, "a gateway")?, parse(row.get(1)?, "a reader")?)),
    )
}

fn gateways(db: &Db, id: &str) -> Result<Vec<GatewayHealth>, StoreError> {
    db.all(
        "SELECT gateway, received, body FROM status WHERE store = ?1 ORDER BY gateway",
        binds![id],
        |row| {
            let body: &str = row.get(2)?;
            Ok(GatewayHealth {
                gateway: parse(row.get(0)?, "a gateway")?,
                received: UnixMillis(row.get(1)?),
                status: serde_json::from_str(body).map_err(|_| content(body, "a status"))?,
            })
        },
    )
}

fn gaps(db: &Db, id: &str) -> Result<Vec<Gap>, StoreError> {
    db.all(
        "SELECT gateway, epoch, first, last, why FROM gap WHERE store = ?1 ORDER BY 1, 2, 3 LIMIT ?2",
        binds![id, SHOWN],
        |row| {
            let (first, last): (i64, i64) = (row.get(2)?, row.get(3)?);
            Ok(Gap {
                gateway: parse(row.get(0)?, "a gateway")?,
                epoch: parse(row.get(1)?, "an epoch")?,
                range: SeqRange::new(first.cast_unsigned(), last.cast_unsigned()),
                why: row.get(4)?,
            })
        },
    )
}

pub(super) fn kind(name: &str) -> Result<Kind, StoreError> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| content(name, "a kind"))
}

pub(super) fn parse<T: std::str::FromStr>(text: &str, wanted: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| content(text, wanted))
}

pub(super) fn content(value: &str, wanted: &'static str) -> StoreError {
    StoreError::Content { table: "event, status or settled", value: value.to_owned(), wanted }
}
