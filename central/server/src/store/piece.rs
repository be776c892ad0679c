//! The events of one hour of one shop. Enters: a snapshot of the database, a stretch of hours. Leaves: the hours,
//! each as the snapshot has it: from its sheet where that was made of what the hour is, else from the events; or from
//! both, where the sheet stands alone and events came after that. What was read from events is kept in memory for as
//! long as it does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use hangtag_central_core::delay::Delays;
use hangtag_central_core::handled::{Handled, Scanned, Visit};
use hangtag_protocol::clock::{UNKNOWN_ERROR, UnixMillis};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{Epoch, GatewayId, Seq, StoreId, ZoneId};

use super::changed::HOUR_MS;
use super::db::{Db, binds};
use super::event::state_name;
use super::read::{HANDLED, NOT_RETRACTED, content, kind, parse};
use super::roll::Sheet;
use super::{Coverage, StoreError, roll, sheet};

/// The most rows that are kept, about 150 bytes each, an hour without any for one; one more makes all others be
/// forgotten.
const MAX_ROWS: usize = 60_000;

/// What happened in an hour.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Piece {
    /// Events about garments, oldest first, without the retracted ones.
    pub handled: Vec<Handled>,
    /// Scans, oldest first, without the retracted ones.
    pub scanned: Vec<Scanned>,
    /// Those of the events about garments whose time of day nobody vouches for.
    pub unvouched: u64,
    /// Stretches of the readers' lives that ended in it.
    pub coverage: Vec<Coverage>,
    /// Which gateways told of garments in which zones: each pair once, in order.
    pub watching: Vec<(ZoneId, GatewayId)>,
    /// How late the events about garments came whose time of day is vouched for.
    pub delays: Delays,
}

impl Piece {
    fn rows(&self) -> usize {
        1 + self.handled.len() + self.scanned.len() + self.coverage.len()
    }
}

/// Hours by number (Unix milliseconds divided by those of an hour); one that is not there is empty.
pub(crate) type Hours = BTreeMap<i64, Arc<Piece>>;

/// A piece with the mark that its hour had.
type Marked = (i64, Arc<Piece>);

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Pieces(Mutex<BTreeMap<(StoreId, i64), Marked>>);

impl Pieces {
    /// The hours of a shop from one to another, both included, as a snapshot has them with their marks; of them only
    /// those that `wanted` says.
    pub(super) fn hours(
        &self,
        db: &Db,
        store: StoreId,
        marks: &BTreeMap<i64, i64>,
        between: (i64, i64),
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Hours, StoreError> {
        let mut hours = Hours::new();
        let mut added_to = BTreeMap::new();
        roll::sheets(db, store.as_str(), between, |Sheet { hour, mark, is_alone, body }| {
            if !wanted(hour) {
                return Ok(());
            }
            let is_all = marks.get(&hour) == Some(&mark);
            if !is_all && !is_alone {
                return Ok(());
            }
            match sheet::unpack(&body) {
                Some(piece) if is_all => drop(hours.insert(hour, Arc::new(piece))),
                Some(piece) => drop(added_to.insert(hour, piece)),
                // Nobody must take it for an hour in which nothing happened.
                None if is_alone => return Err(StoreError::Sheet { store, hour }),
                // The events say the same.
                None => {}
            }
            Ok(())
        })?;
        for (hour, mark) in marks.iter().filter(|(hour, _)| wanted(**hour)) {
            if !hours.contains_key(hour) {
                let known = added_to.remove(hour).unwrap_or_default();
                hours.insert(*hour, self.read(db, (store, *hour), *mark, known)?);
            }
        }
        Ok(hours)
    }

    fn read(&self, db: &Db, key: (StoreId, i64), mark: i64, alone: Piece) -> Result<Arc<Piece>, StoreError> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, piece)) = kept().get(&key)
            && *known == mark
        {
            return Ok(Arc::clone(piece));
        }
        let piece = Arc::new(merged(alone, read(db, key.0.as_str(), key.1)?));
        let mut kept = kept();
        if kept.values().map(|(_, piece)| piece.rows()).sum::<usize>() + piece.rows() > MAX_ROWS {
            kept.clear();
        }
        kept.insert(key, (mark, Arc::clone(&piece)));
        Ok(piece)
    }
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

/// Reads an hour from its events.
pub(super) fn read(db: &Db, id: &str, hour: i64) -> Result<Piece, StoreError> {
    let (from, to) = (hour * HOUR_MS, (hour + 1) * HOUR_MS);
    let (handled, unvouched, watching, delays) = handled(db, id, from, to)?;
    let (scanned, coverage) = (scanned(db, id, from, to)?, coverage(db, id, from, to)?);
    Ok(Piece { handled, scanned, unvouched, coverage, watching, delays })
}

/// Events about garments, how many of them nobody vouches for, which gateways told of which zones, and how late.
type Told = (Vec<Handled>, u64, Vec<(ZoneId, GatewayId)>, Delays);

/// The events about garments.
fn handled(db: &Db, id: &str, from: i64, to: i64) -> Result<Told, StoreError> {
    let question = format!(
        "SELECT wall_ms, kind, epc, zone, gateway, epoch, visit, dwell, clock_error, received FROM event AS e
         WHERE store = ?1 AND wall_ms >= ?2 AND wall_ms < ?3 AND {HANDLED} AND {NOT_RETRACTED}
         ORDER BY wall_ms, gateway, epoch, seq"
    );
    let mut unvouched = 0;
    let mut watching = BTreeSet::new();
    let mut delays = Delays::default();
    let handled = db.all(&question, binds![id, from, to], |row| {
        let (gateway, epoch): (GatewayId, Epoch) =
            (parse(row.get(4)?, "a gateway")?, parse(row.get(5)?, "an epoch")?);
        let at = UnixMillis(row.get(0)?);
        if row.get::<Option<u32>>(8)? == Some(UNKNOWN_ERROR) {
            unvouched += 1;
        } else {
            delays.note(row.get::<i64>(9)? - at.0);
        }
        let opened_by: Option<i64> = row.get(6)?;
        let epc: &str = row.get(2)?;
        let zone: ZoneId = parse(row.get(3)?, "a zone")?;
        watching.insert((zone, gateway));
        Ok(Handled {
            at,
            kind: kind(row.get(1)?)?,
            epc: Epc::from_hex(epc).map_err(|_| content(epc, "an EPC"))?,
            zone,
            visit: opened_by.map(|seq| Visit { gateway, epoch, opened_by: Seq(seq.cast_unsigned()) }),
            dwell_ds: row.get(7)?,
        })
    })?;
    Ok((handled, unvouched, watching.into_iter().collect(), delays))
}

/// What scanners read.
fn scanned(db: &Db, id: &str, from: i64, to: i64) -> Result<Vec<Scanned>, StoreError> {
    let question = format!(
        "SELECT zone, gateway, epoch, visit, gtin IS NOT NULL, wall_ms FROM event AS e INDEXED BY event_by_scan
         WHERE store = ?1 AND wall_ms >= ?2 AND wall_ms < ?3 AND kind = 'scanned' AND {NOT_RETRACTED}
         ORDER BY wall_ms, gateway, epoch, seq"
    );
    db.all(&question, binds![id, from, to], |row| {
        let (gateway, epoch): (GatewayId, Epoch) =
            (parse(row.get(1)?, "a gateway")?, parse(row.get(2)?, "an epoch")?);
        let opened_by: Option<i64> = row.get(3)?;
        Ok(Scanned {
            at: UnixMillis(row.get(5)?),
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
        Ok(Coverage {
            gateway: parse(row.get(0)?, "a gateway")?,
            reader: parse(row.get(1)?, "a reader")?,
            state: state(row.get(2)?)?,
            from: UnixMillis(row.get(3)?),
            to: UnixMillis(row.get(4)?),
        })
    })
}

/// The state that a name in the table stands for.
pub(super) fn state(name: &str) -> Result<ReaderState, StoreError> {
    [ReaderState::Listening, ReaderState::Silent, ReaderState::Absent, ReaderState::Off]
        .into_iter()
        .find(|state| state_name(*state) == name)
        .ok_or_else(|| content(name, "a reader's state"))
}
