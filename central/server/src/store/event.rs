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

use super::changed::Changed;
use super::clock::Clocks;
use super::db::{Bind, Db, IntoBind, binds};
use super::feed::Feed;
use super::{StoreError, loyalty};

/// The first event whose stored content is another.
pub(super) fn conflict(db: &Db, batch: &Batch, known: &[SeqRange]) -> Result<Option<Seq>, StoreError> {
    let header = &batch.header;
    let (store, gateway) = (header.gateway.store.as_str(), header.gateway.gateway.as_str());
    let epoch = header.epoch.to_string();
    let mut other = None;
    for range in known {
        let (first, last) = (range.first.0.cast_signed(), range.last.0.cast_signed());
        db.each(
            "SELECT seq, digest FROM event
             WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq BETWEEN ?4 AND ?5 ORDER BY seq",
            binds![store, gateway, &epoch, first, last],
            |row| {
                let (seq, digest) = (Seq(row.get::<i64>(0)?.cast_unsigned()), row.get::<u32>(1)?);
                if other.is_none() && of(batch, seq).digest() != digest {
                    other = Some(seq);
                }
                Ok(())
            },
        )?;
    }
    Ok(other)
}

/// Those of these events that are stored under another epoch of the same gateway: the same happened in the
/// same millisecond of the same boot.
pub(super) fn twins(db: &Db, batch: &Batch, ranges: &[SeqRange]) -> Result<Vec<Seq>, StoreError> {
    let header = &batch.header;
    let epoch = header.epoch.to_string();
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
        let is_known = db.is_any(
            "SELECT 1 FROM event WHERE store = ?1 AND gateway = ?2 AND boot = ?3 AND uptime = ?4 AND epoch <> ?5
             AND kind = ?6 AND confidence = ?7 AND epc IS NOT DISTINCT FROM ?8 AND zone IS NOT DISTINCT FROM ?9
             AND reader IS NOT DISTINCT FROM ?10 AND state IS NOT DISTINCT FROM ?11
             AND since IS NOT DISTINCT FROM ?12 AND (epc IS NOT NULL OR gtin IS NOT DISTINCT FROM ?13) LIMIT 1",
            binds![
                header.gateway.store.as_str(),
                header.gateway.gateway.as_str(),
                event.boot.to_string(),
                event.at.0.cast_signed(),
                &epoch,
                event.kind().name(),
                event.confidence,
                garment.map(|(epc, ..)| epc.to_string()),
                zone.as_ref().map(ZoneId::as_str),
                coverage.as_ref().map(|c| c.reader.as_str()),
                coverage.map(|c| state_name(c.state)),
                coverage.map(|c| c.from.0.cast_signed()),
                scan.and_then(product),
            ],
        )?;
        if is_known {
            twins.push(seq);
        }
    }
    Ok(twins)
}

/// Writes the new events.
pub(super) fn insert(
    db: &Db,
    keys: &Keys,
    batch: &Batch,
    fresh: &[SeqRange],
    received: UnixMillis,
    (clocks, changed, feed): (&mut Clocks, &mut Changed, &mut Feed),
) -> Result<(), StoreError> {
    let header = &batch.header;
    let epoch = header.epoch.to_string();
    let mut boots = BTreeMap::<BootId, (Uptime, Uptime)>::new();
    for event in &batch.events {
        let (from, to) = boots.entry(event.boot).or_insert((event.at, event.at));
        (*from, *to) = ((*from).min(event.at), (*to).max(event.at));
    }
    let mut anchors: Vec<ClockAnchor> = Vec::new();
    for (boot, between) in &boots {
        anchors.extend(clocks.anchors(db, &header.gateway, *boot, *between)?);
    }
    let names: BTreeMap<BootId, String> = boots.keys().map(|boot| (*boot, boot.to_string())).collect();
    let numbers: Vec<Seq> = fresh.iter().flat_map(|range| range.first.0..=range.last.0).map(Seq).collect();
    let rows = numbers.iter().map(|seq| {
        let event = of(batch, *seq);
        let wall = time_of_day(&anchors, event.boot, event.at);
        changed.note(header.gateway.store, wall.map(|(at, _)| at.0));
        feed.note(&header.gateway, (header.epoch, *seq), event.boot, wall.is_some(), received);
        row((header, &epoch, &names[&event.boot]), *seq, event, wall, received)
    });
    db.insert_rows("event", rows)?;
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
fn note_retracted(db: &Db, header: &Header, mistaken: Seq, changed: &mut Changed) -> Result<(), StoreError> {
    let wall: Option<Option<i64>> = db.first(
        "SELECT wall_ms FROM event WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq = ?4",
        binds![
            header.gateway.store.as_str(),
            header.gateway.gateway.as_str(),
            header.epoch.to_string(),
            mistaken.0.cast_signed()
        ],
        |row| row.get(0),
    )?;
    if let Some(wall) = wall {
        changed.note(header.gateway.store, wall);
    }
    Ok(())
}

/// The rows of a batch of one boot whose gateway's uptime is the time of day; `epoch` and `boot` are the batch's.
pub(super) fn rows<'b>(batch: &'b Batch, (epoch, boot): (&'b str, &'b str)) -> Vec<[Bind<'b>; COLUMNS]> {
    let numbered = (batch.header.first.0..).map(Seq).zip(&batch.events);
    let row = |(seq, event): (Seq, &'b Event)| {
        let wall = UnixMillis(event.at.0.cast_signed());
        row((&batch.header, epoch, boot), seq, event, Some((wall, 10)), wall)
    };
    numbered.map(row).collect()
}

/// How many columns a row has.
const COLUMNS: usize = 24;

/// The columns of an event, in the order of the table.
fn row<'b>(
    (header, epoch, boot): (&'b Header, &'b str, &'b str),
    seq: Seq,
    event: &'b Event,
    wall: Option<(UnixMillis, u32)>,
    received: UnixMillis,
) -> [Bind<'b>; COLUMNS] {
    let garment = event.garment();
    let evidence = garment.map(|(_, _, _, evidence)| evidence);
    let (coverage, retracts, scan) = match &event.what {
        What::Coverage(coverage) => (Some(coverage), None, None),
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
    [
        header.gateway.store.as_str().into_bind(),
        header.gateway.gateway.as_str().into_bind(),
        epoch.into_bind(),
        seq.0.cast_signed().into_bind(),
        boot.into_bind(),
        event.at.0.cast_signed().into_bind(),
        wall.map(|(at, _)| at.0).into_bind(),
        wall.map(|(_, error)| error).into_bind(),
        event.kind().name().into_bind(),
        event.confidence.into_bind(),
        garment.map(|(epc, ..)| epc.to_string()).into_bind(),
        gtin.into_bind(),
        zone.map(|zone| zone.to_string()).into_bind(),
        visit.map(|visit| visit.0.cast_signed()).into_bind(),
        evidence.map(|e| e.reads).into_bind(),
        evidence.map(|e| e.margin_db).into_bind(),
        evidence.map(|e| e.unrest).into_bind(),
        evidence.map(|e| e.dwell_ds).into_bind(),
        coverage.map(|c| c.reader.as_str()).into_bind(),
        coverage.map(|c| state_name(c.state)).into_bind(),
        coverage.map(|c| c.from.0.cast_signed()).into_bind(),
        retracts.map(|seq| seq.0.cast_signed()).into_bind(),
        event.digest().into_bind(),
        received.0.into_bind(),
    ]
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
