//! The events of one hour of one shop, kept in memory for as long as the database's mark of the hour stays
//! what it was. Enters: a snapshot of the database, a stretch of time. Leaves: its hours, each as the snapshot
//! has it. A busy shop's page reads the hour that is under way, and no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hangtag_central_core::tally::{Handled, Scanned, Visit};
use hangtag_protocol::clock::{UNKNOWN_ERROR, UnixMillis};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{Epoch, GatewayId, Seq, StoreId};

use super::changed::{self, HOUR_MS};
use super::db::{Db, binds};
use super::event::state_name;
use super::read::{HANDLED, NOT_RETRACTED, content, kind, parse};
use super::{Coverage, StoreError};

/// The most rows that are kept, about 100 bytes each, an hour without any for one; one more makes all others be
/// forgotten.
const MAX_ROWS: usize = 200_000;

/// What happened in an hour, or in the part of it that belongs to a day.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    /// Events about garments, oldest first, without the retracted ones.
    pub handled: Vec<Handled>,
    /// Scans, without the retracted ones.
    pub scanned: Vec<Scanned>,
    /// Those of the events about garments whose time of day nobody vouches for.
    pub unvouched: u64,
    /// Stretches of the readers' lives that ended in it.
    pub coverage: Vec<Coverage>,
}

impl Piece {
    fn rows(&self) -> usize {
        1 + self.handled.len() + self.scanned.len() + self.coverage.len()
    }
}

/// Whose, from when until before when.
type Key = (StoreId, i64, i64);

/// A piece with the mark that its hour had.
type Marked = (Option<i64>, Arc<Piece>);

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Pieces(Mutex<BTreeMap<Key, Marked>>);

impl Pieces {
    /// The hours of a shop from one moment until before another, as a snapshot has them.
    pub(super) fn hours(
        &self,
        db: &Db,
        store: StoreId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<Arc<Piece>>, StoreError> {
        let marks = changed::marks(db, store.as_str(), from.0 / HOUR_MS, to.0 / HOUR_MS)?;
        let mut pieces = Vec::new();
        let mut at = from.0;
        while at < to.0 {
            let end = (at - at.rem_euclid(HOUR_MS) + HOUR_MS).min(to.0);
            // An hour that has never been marked is empty, or older than the marks.
            pieces.push(self.piece(db, (store, at, end), marks.get(&(at / HOUR_MS)).copied())?);
            at = end;
        }
        Ok(pieces)
    }

    fn piece(&self, db: &Db, key: Key, mark: Option<i64>) -> Result<Arc<Piece>, StoreError> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, piece)) = kept().get(&key)
            && *known == mark
        {
            return Ok(Arc::clone(piece));
        }
        let (store, from, to) = key;
        let (handled, unvouched) = handled(db, store.as_str(), from, to)?;
        let coverage = coverage(db, store.as_str(), from, to)?;
        let scanned = scanned(db, store.as_str(), from, to)?;
        let piece = Arc::new(Piece { handled, scanned, unvouched, coverage });
        let mut kept = kept();
        if kept.values().map(|(_, piece)| piece.rows()).sum::<usize>() + piece.rows() > MAX_ROWS {
            kept.clear();
        }
        kept.insert(key, (mark, Arc::clone(&piece)));
        Ok(piece)
    }
}

/// The events about garments, and how many of them nobody vouches for.
fn handled(db: &Db, id: &str, from: i64, to: i64) -> Result<(Vec<Handled>, u64), StoreError> {
    let question = format!(
        "SELECT wall_ms, kind, epc, zone, gateway, epoch, visit, dwell, clock_error FROM event AS e
         WHERE store = ?1 AND wall_ms >= ?2 AND wall_ms < ?3 AND {HANDLED} AND {NOT_RETRACTED}
         ORDER BY wall_ms, gateway, epoch, seq"
    );
    let mut unvouched = 0;
    let handled = db.all(&question, binds![id, from, to], |row| {
        let (gateway, epoch): (GatewayId, Epoch) =
            (parse(row.get(4)?, "a gateway")?, parse(row.get(5)?, "an epoch")?);
        unvouched += u64::from(row.get::<Option<u32>>(8)? == Some(UNKNOWN_ERROR));
        let opened_by: Option<i64> = row.get(6)?;
        let epc: &str = row.get(2)?;
        Ok(Handled {
            at: UnixMillis(row.get(0)?),
            kind: kind(row.get(1)?)?,
            epc: Epc::from_hex(epc).map_err(|_| content(epc, "an EPC"))?,
            zone: parse(row.get(3)?, "a zone")?,
            visit: opened_by.map(|seq| Visit { gateway, epoch, opened_by: Seq(seq.cast_unsigned()) }),
            dwell_ds: row.get(7)?,
        })
    })?;
    Ok((handled, unvouched))
}

/// What scanners read.
fn scanned(db: &Db, id: &str, from: i64, to: i64) -> Result<Vec<Scanned>, StoreError> {
    let question = format!(
        "SELECT zone, gateway, epoch, visit, gtin IS NOT NULL FROM event AS e INDEXED BY event_by_scan
         WHERE store = ?1 AND wall_ms >= ?2 AND wall_ms < ?3 AND kind = 'scanned' AND {NOT_RETRACTED}"
    );
    db.all(&question, binds![id, from, to], |row| {
        let (gateway, epoch): (GatewayId, Epoch) =
            (parse(row.get(1)?, "a gateway")?, parse(row.get(2)?, "an epoch")?);
        let opened_by: Option<i64> = row.get(3)?;
        Ok(Scanned {
            zone: parse(row.get(0)?, "a zone")?,
            visit: opened_by.map(|seq| Visit { gateway, epoch, opened_by: Seq(seq.cast_unsigned()) }),
            is_product: row.get(4)?,
        })
    })
}

/// What the readers told of themselves, whole.
fn coverage(db: &Db, id: &str, from: i64, to: i64) -> Result<Vec<Coverage>, StoreError> {
    let question = format!(
        "SELECT gateway, reader, state, wall_ms - (uptime - since), wall_ms FROM event AS e
         WHERE store = ?1 AND wall_ms >= ?2 AND wall_ms < ?3
           AND kind = 'coverage' AND since BETWEEN 0 AND uptime AND {NOT_RETRACTED}"
    );
    db.all(&question, binds![id, from, to], |row| {
        let name: &str = row.get(2)?;
        let state = [ReaderState::Listening, ReaderState::Silent, ReaderState::Absent, ReaderState::Off]
            .into_iter()
            .find(|state| state_name(*state) == name)
            .ok_or_else(|| content(name, "a reader's state"))?;
        Ok(Coverage {
            gateway: parse(row.get(0)?, "a gateway")?,
            reader: parse(row.get(1)?, "a reader")?,
            state,
            from: UnixMillis(row.get(3)?),
            to: UnixMillis(row.get(4)?),
        })
    })
}
