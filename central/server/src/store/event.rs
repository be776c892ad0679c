//! The rows of events. Enters: a batch, and which of its numbers are new or known. Leaves: rows with the
//! time of day that the anchors known so far give, or the first known event whose content is another.

use std::collections::BTreeMap;

use hangtag_central_core::loyalty::Keys;
use hangtag_protocol::batch::{Batch, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime, time_of_day};
use hangtag_protocol::event::{Event, ReaderState, What};
use hangtag_protocol::id::{Seq, ZoneId};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::scan::{Code, Scan};
use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params};

use super::changed::Changed;
use super::{StoreError, clock, loyalty};

/// The first event whose stored content is another.
pub(super) fn conflict(
    db: &Connection,
    batch: &Batch,
    known: &[SeqRange],
) -> Result<Option<Seq>, StoreError> {
    let header = &batch.header;
    let mut query = db.prepare_cached(
        "SELECT seq, digest FROM event WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq BETWEEN ?4 AND ?5",
    )?;
    for range in known {
        let mut rows = query.query(params![
            header.gateway.store.as_str(),
            header.gateway.gateway.as_str(),
            header.epoch.to_string(),
            range.first.0.cast_signed(),
            range.last.0.cast_signed()
        ])?;
        while let Some(row) = rows.next()? {
            let (seq, digest) = (Seq(row.get::<_, i64>(0)?.cast_unsigned()), row.get::<_, u32>(1)?);
            if of(batch, seq).digest() != digest {
                return Ok(Some(seq));
            }
        }
    }
    Ok(None)
}

/// Those of these events that are stored under another epoch of the same gateway: the same happened in the
/// same millisecond of the same boot.
pub(super) fn twins(db: &Connection, batch: &Batch, ranges: &[SeqRange]) -> Result<Vec<Seq>, StoreError> {
    let header = &batch.header;
    let epoch = header.epoch.to_string();
    let mut query = db.prepare_cached(
        "SELECT 1 FROM event WHERE store = ?1 AND gateway = ?2 AND boot = ?3 AND uptime = ?4 AND epoch <> ?5
         AND kind = ?6 AND confidence = ?7 AND epc IS ?8 AND zone IS ?9 AND reader IS ?10 AND state IS ?11
         AND since IS ?12 AND (epc IS NOT NULL OR gtin IS ?13) LIMIT 1",
    )?;
    let mut twins = Vec::new();
    for seq in ranges.iter().flat_map(|range| range.first.0..=range.last.0).map(Seq) {
        let event = of(batch, seq);
        let garment = event.garment();
        let (coverage, scan) = match &event.what {
            What::Coverage(coverage) => (Some(*coverage), None),
            What::Scanned(scan) => (None, Some(scan)),
            What::Retracted { .. }
            | What::PickedUp(_)
            | What::PutDown(_)
            | What::CarriedIn(_)
            | What::TriedOn(_)
            | What::CarriedOut(_) => (None, None),
        };
        let zone = garment.map(|(_, zone, ..)| zone).or(scan.map(|scan| scan.zone));
        let found = query.exists(params![
            header.gateway.store.as_str(),
            header.gateway.gateway.as_str(),
            event.boot.to_string(),
            event.at.0.cast_signed(),
            epoch,
            event.kind().name(),
            event.confidence,
            garment.map(|(epc, ..)| epc.to_string()),
            zone.as_ref().map(ZoneId::as_str),
            coverage.as_ref().map(|c| c.reader.as_str()),
            coverage.map(|c| state_name(c.state)),
            coverage.map(|c| c.from.0.cast_signed()),
            scan.and_then(product),
        ])?;
        if found {
            twins.push(seq);
        }
    }
    Ok(twins)
}

/// Writes the new events.
pub(super) fn insert(
    db: &Connection,
    keys: &Keys,
    batch: &Batch,
    fresh: &[SeqRange],
    received: UnixMillis,
    changed: &mut Changed,
) -> Result<(), StoreError> {
    let header = &batch.header;
    let epoch = header.epoch.to_string();
    let mut boots = BTreeMap::<BootId, (Uptime, Uptime)>::new();
    for event in &batch.events {
        let (from, to) = boots.entry(event.boot).or_insert((event.at, event.at));
        (*from, *to) = ((*from).min(event.at), (*to).max(event.at));
    }
    let mut anchors: Vec<ClockAnchor> = Vec::new();
    for (boot, between) in boots {
        anchors.extend(clock::anchors(db, &header.gateway, boot, between)?);
    }
    let numbers: Vec<Seq> = fresh.iter().flat_map(|range| range.first.0..=range.last.0).map(Seq).collect();
    // Rows of one statement share its cursors, which stay at the end of the tables.
    let (many, single) = numbers.as_chunks::<ROWS>();
    for rows in many.iter().map(|rows| &rows[..]).chain(single.chunks(1)) {
        let mut statement = db.prepare_cached(&insert_statement(rows.len()))?;
        let mut place = 0;
        for seq in rows {
            let event = of(batch, *seq);
            let wall = time_of_day(&anchors, event.boot, event.at);
            changed.note(header.gateway.store, wall.map(|(at, _)| at.0));
            bind(&mut statement, &mut place, (header, &epoch), *seq, event, wall, received)?;
        }
        statement.raw_execute()?;
    }
    for seq in &numbers {
        match &of(batch, *seq).what {
            What::Retracted { seq: mistaken } => note_retracted(db, header, *mistaken, changed)?,
            What::Scanned(Scan { code: Code::Loyalty(sealed), .. }) => {
                loyalty::insert(db, keys, &header.gateway, &epoch, *seq, sealed)?;
            }
            What::Scanned(_)
            | What::PickedUp(_)
            | What::PutDown(_)
            | What::CarriedIn(_)
            | What::TriedOn(_)
            | What::CarriedOut(_)
            | What::Coverage(_) => {}
        }
    }
    Ok(())
}

/// The product whose code was scanned.
fn product(scan: &Scan) -> Option<String> {
    match &scan.code {
        Code::Product(gtin) => Some(gtin.to_string()),
        Code::Loyalty(_) => None,
    }
}

/// A retraction changes what the hour of the mistaken event adds up to; when that comes later, it does so itself.
fn note_retracted(
    db: &Connection,
    header: &Header,
    mistaken: Seq,
    changed: &mut Changed,
) -> Result<(), StoreError> {
    let wall: Option<Option<i64>> = db
        .prepare_cached(
            "SELECT wall_ms FROM event WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq = ?4",
        )?
        .query_row(
            params![
                header.gateway.store.as_str(),
                header.gateway.gateway.as_str(),
                header.epoch.to_string(),
                mistaken.0.cast_signed()
            ],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(wall) = wall {
        changed.note(header.gateway.store, wall);
    }
    Ok(())
}

/// How many rows one statement writes.
const ROWS: usize = 16;
/// How many columns a row has.
const COLUMNS: usize = 24;

fn insert_statement(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(","));
    format!("INSERT INTO event VALUES {} ON CONFLICT DO NOTHING", vec![row; rows].join(","))
}

fn bind(
    statement: &mut Statement<'_>,
    place: &mut usize,
    (header, epoch): (&Header, &str),
    seq: Seq,
    event: &Event,
    wall: Option<(UnixMillis, u32)>,
    received: UnixMillis,
) -> rusqlite::Result<()> {
    let garment = event.garment();
    let evidence = garment.map(|(_, _, _, evidence)| evidence);
    let (coverage, retracts, scan) = match &event.what {
        What::Coverage(coverage) => (Some(*coverage), None, None),
        What::Retracted { seq } => (None, Some(*seq), None),
        What::Scanned(scan) => (None, None, Some(scan)),
        What::PickedUp(_)
        | What::PutDown(_)
        | What::CarriedIn(_)
        | What::TriedOn(_)
        | What::CarriedOut(_) => (None, None, None),
    };
    let gtin = garment.and_then(|(epc, ..)| Some(epc.sgtin()?.gtin().to_string())).or(scan.and_then(product));
    let zone = garment.map(|(_, zone, ..)| zone).or(scan.map(|scan| scan.zone));
    let visit = garment.and_then(|(_, _, visit, _)| visit).or(scan.and_then(|scan| scan.visit));
    let row: [&dyn ToSql; COLUMNS] = [
        &header.gateway.store.as_str(),
        &header.gateway.gateway.as_str(),
        &epoch,
        &seq.0.cast_signed(),
        &event.boot.to_string(),
        &event.at.0.cast_signed(),
        &wall.map(|(at, _)| at.0),
        &wall.map(|(_, error)| error),
        &event.kind().name(),
        &event.confidence,
        &garment.map(|(epc, ..)| epc.to_string()),
        &gtin,
        &zone.as_ref().map(ZoneId::as_str),
        &visit.map(|visit| visit.0.cast_signed()),
        &evidence.map(|e| e.reads),
        &evidence.map(|e| e.margin_db),
        &evidence.map(|e| e.unrest),
        &evidence.map(|e| e.dwell_ds),
        &coverage.as_ref().map(|c| c.reader.as_str()),
        &coverage.map(|c| state_name(c.state)),
        &coverage.map(|c| c.from.0.cast_signed()),
        &retracts.map(|seq| seq.0.cast_signed()),
        &event.digest(),
        &received.0,
    ];
    for value in row {
        *place += 1;
        statement.raw_bind_parameter(*place, value)?;
    }
    Ok(())
}

/// A reader's state in the table.
pub(super) fn state_name(state: ReaderState) -> &'static str {
    match state {
        ReaderState::Listening => "listening",
        ReaderState::Silent => "silent",
        ReaderState::Absent => "absent",
        ReaderState::Off => "off",
    }
}

fn of(batch: &Batch, seq: Seq) -> &Event {
    let at = usize::try_from(seq.0 - batch.header.first.0).expect("a batch's numbers are its own");
    &batch.events[at]
}
