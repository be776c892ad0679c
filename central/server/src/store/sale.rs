//! What tills sold and took back, and what was counted. Enters: checked lines and counts. Leaves: rows, and what
//! became of each; the lines of a stretch of time, and the latest counts before a moment.
//!
//! ```text
//! sale         one row per line of a receipt; PRIMARY KEY (store, receipt, line, kind)
//!   at_ms                        when it was paid
//!   gtin, epc                    GTIN-14, tag (hex); at least one of them
//!   quantity                     pieces, at least 1
//!   amount_minor, currency       what was paid for the line in the currency's minor unit (ISO 4217)
//!   digest                       CRC-32C of the content, to tell a copy from a correction
//!   received                     when central got it
//! stock        one row per count; PRIMARY KEY (store, gtin, place, at_ms)
//!   place                        floor | back_room | all
//! ```
//!
//! Times are Unix milliseconds. The same line again changes nothing. A line under a key that is known, with other
//! content, is a correction and takes the place of the older one. But where it was paid more than a day before or
//! after, the till uses its receipt numbers again: it is refused, because one of the two would be lost.

use std::num::NonZeroU32;

use hangtag_central_core::sale::{Currency, Goods, Kind, Line, Place, Price, Receipt, StockCount};
use hangtag_protocol::batch::CRC;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::id::StoreId;

use super::StoreError;
use super::changed::Changed;
use super::db::{Db, Row, binds};
use crate::pos::Rows;

/// The step that makes the tables.
pub(super) const TABLES: &str = "
CREATE TABLE sale (
    store TEXT NOT NULL, receipt TEXT NOT NULL, line BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('sale', 'return')),
    at_ms BIGINT NOT NULL, gtin TEXT, epc TEXT, quantity BIGINT NOT NULL CHECK (quantity > 0),
    amount_minor BIGINT, currency TEXT, received BIGINT NOT NULL, digest BIGINT NOT NULL,
    PRIMARY KEY (store, receipt, line, kind),
    CHECK (gtin IS NOT NULL OR epc IS NOT NULL)
);
CREATE INDEX sale_by_time ON sale (store, at_ms);
CREATE TABLE stock (
    store TEXT NOT NULL, gtin TEXT NOT NULL,
    place TEXT NOT NULL CHECK (place IN ('floor', 'back_room', 'all')),
    at_ms BIGINT NOT NULL, quantity BIGINT NOT NULL CHECK (quantity >= 0), received BIGINT NOT NULL,
    PRIMARY KEY (store, gtin, place, at_ms)
);
";

/// How far a correction's time may be from that of the line that it corrects, in milliseconds: a day.
const CORRECTION_MS: u64 = 86_400_000;

/// The latest count of each product and place until a moment. From product to product through the primary key: of each
/// only the latest counts are read, however many there are.
pub(super) const LATEST: &str = "WITH RECURSIVE product (gtin) AS (
        SELECT min(gtin) FROM stock WHERE store = ?1
        UNION ALL
        SELECT (SELECT min(o.gtin) FROM stock AS o WHERE o.store = ?1 AND o.gtin > product.gtin)
        FROM product WHERE product.gtin IS NOT NULL
    )
    SELECT s.gtin, s.place, s.at_ms, s.quantity FROM product CROSS JOIN
        (SELECT 'all' AS name UNION ALL SELECT 'back_room' UNION ALL SELECT 'floor') AS place
    JOIN stock AS s ON s.store = ?1 AND s.gtin = product.gtin AND s.place = place.name
        AND s.at_ms = (SELECT max(o.at_ms) FROM stock AS o WHERE o.store = ?1 AND o.gtin = product.gtin
            AND o.place = place.name AND o.at_ms <= ?2)
    ORDER BY 1, 2";
/// The counts after one moment and until another.
pub(super) const COUNTS: &str = "SELECT gtin, place, at_ms, quantity FROM stock
    WHERE store = ?1 AND at_ms > ?2 AND at_ms <= ?3 ORDER BY at_ms, gtin, place";

/// What becomes of a row that came later than what is stored, under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newer {
    /// It goes: what is stored last holds, whatever the clock of this machine did meanwhile.
    Goes,
    /// It stays: what is stored waited, and is as old as its time says.
    Stays,
}

/// What became of lines or counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many are new,
    pub new: u64,
    /// were known already,
    pub known: u64,
    /// took the place of an older one under the same key.
    pub replaced: u64,
    /// Those that were not stored, by their position, with the reason.
    pub refused: Vec<(usize, String)>,
}

/// Stores what a till told.
pub(super) fn insert(
    db: &Db,
    rows: &Rows,
    (received, newer): (UnixMillis, Newer),
    changed: &mut Changed,
) -> Result<Taken, StoreError> {
    match rows {
        Rows::Lines(lines) => insert_lines(db, lines, (received, newer), changed),
        Rows::Counts(counts) => insert_counts(db, counts, (received, newer), changed),
    }
}

fn insert_lines(
    db: &Db,
    lines: &[(StoreId, Line)],
    (received, newer): (UnixMillis, Newer),
    changed: &mut Changed,
) -> Result<Taken, StoreError> {
    let mut taken = Taken::default();
    let find = "SELECT digest, at_ms, received FROM sale
         WHERE store = ?1 AND receipt = ?2 AND line = ?3 AND kind = ?4";
    let upsert =
        "INSERT INTO sale (store, receipt, line, kind, at_ms, gtin, epc, quantity, amount_minor, currency,
             received, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (store, receipt, line, kind) DO UPDATE SET at_ms = excluded.at_ms, gtin = excluded.gtin,
             epc = excluded.epc, quantity = excluded.quantity, amount_minor = excluded.amount_minor,
             currency = excluded.currency, received = excluded.received, digest = excluded.digest";
    for (position, (store, line)) in lines.iter().enumerate() {
        let (receipt, kind, digest) = (line.receipt.as_str(), line.kind.name(), digest(line));
        let known = db.first(find, binds![store.as_str(), receipt, line.line, kind], |row| {
            Ok((row.get::<u32>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?))
        })?;
        match known {
            Some((known, ..)) if known == digest => {
                taken.known += 1;
                continue;
            }
            Some((_, before, _)) if before.abs_diff(line.at.0) > CORRECTION_MS => {
                let days = before.abs_diff(line.at.0) / CORRECTION_MS;
                let order = if before < line.at.0 { "before" } else { "after" };
                taken.refused.push((
                    position,
                    format!(
                        "receipt {receipt:?} line {} is a {kind} of {days} days {order} already: a receipt's number \
                         must not come again, put till and date before it",
                        line.line
                    ),
                ));
                continue;
            }
            Some((.., came)) if newer == Newer::Stays && came > received.0 => {
                taken.known += 1;
                continue;
            }
            Some((_, before, _)) => {
                tracing::info!(%store, receipt, line = line.line, kind, "a line of a receipt was corrected");
                changed.note(*store, Some(before));
                taken.replaced += 1;
            }
            None => taken.new += 1,
        }
        let row = binds![
            store.as_str(),
            receipt,
            line.line,
            kind,
            line.at.0,
            line.gtin().map(|gtin| gtin.to_string()),
            line.epc().map(|epc| epc.to_string()),
            line.quantity.get(),
            line.price.map(|price| price.minor),
            line.price.as_ref().map(|price| price.currency.as_str()),
            received.0,
            digest,
        ];
        db.execute(upsert, row)?;
        changed.note(*store, Some(line.at.0));
    }
    Ok(taken)
}

/// Of two counts of the same moment the one that came later holds.
fn insert_counts(
    db: &Db,
    counts: &[(StoreId, StockCount)],
    (received, newer): (UnixMillis, Newer),
    changed: &mut Changed,
) -> Result<Taken, StoreError> {
    let mut taken = Taken::default();
    let find =
        "SELECT quantity, received FROM stock WHERE store = ?1 AND gtin = ?2 AND place = ?3 AND at_ms = ?4";
    let upsert =
        "INSERT INTO stock (store, gtin, place, at_ms, quantity, received) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (store, gtin, place, at_ms) DO UPDATE SET quantity = excluded.quantity,
             received = excluded.received";
    for (store, StockCount { gtin, place, at, quantity }) in counts {
        let gtin = gtin.to_string();
        let key = binds![store.as_str(), gtin.as_str(), place.name(), at.0];
        let known = db.first(find, key, |row| Ok((row.get::<u32>(0)?, row.get::<i64>(1)?)))?;
        match known {
            Some((known, came)) if known == *quantity || (newer == Newer::Stays && came > received.0) => {
                taken.known += 1;
                continue;
            }
            Some(_) => taken.replaced += 1,
            None => taken.new += 1,
        }
        let row = binds![store.as_str(), gtin.as_str(), place.name(), at.0, *quantity, received.0];
        db.execute(upsert, row)?;
        changed.note(*store, Some(at.0));
    }
    Ok(taken)
}

/// The lines of a shop that were paid from one moment until before another, by time, receipt, number and kind.
pub(super) fn sales(
    db: &Db,
    store: StoreId,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<Line>, StoreError> {
    let question = "SELECT receipt, line, kind, at_ms, gtin, epc, quantity, amount_minor, currency FROM sale
         WHERE store = ?1 AND at_ms >= ?2 AND at_ms < ?3 ORDER BY at_ms, receipt, line, kind";
    db.all(question, binds![store.as_str(), from.0, to.0], line)
}

/// The latest count of each product and place of a shop that was made at a moment or before, by product and place.
pub(super) fn stock(db: &Db, store: StoreId, at: UnixMillis) -> Result<Vec<StockCount>, StoreError> {
    db.all(LATEST, binds![store.as_str(), at.0], count)
}

/// The counts of a shop's stock after one moment and until another, oldest first.
pub(super) fn counts(
    db: &Db,
    store: StoreId,
    after: UnixMillis,
    until: UnixMillis,
) -> Result<Vec<StockCount>, StoreError> {
    db.all(COUNTS, binds![store.as_str(), after.0, until.0], count)
}

fn count(row: &Row<'_>) -> Result<StockCount, StoreError> {
    let place: &str = row.get(1)?;
    Ok(StockCount {
        gtin: gtin("stock", row.get(0)?)?,
        place: named(Place::ALL, Place::name, place).ok_or_else(|| content("stock", place, "a place"))?,
        at: UnixMillis(row.get(2)?),
        quantity: row.get(3)?,
    })
}

fn line(row: &Row<'_>) -> Result<Line, StoreError> {
    let (receipt, kind): (&str, &str) = (row.get(0)?, row.get(2)?);
    let read_epc = |text| Epc::from_hex(text).map_err(|_| content("sale", text, "an EPC"));
    let read_currency = |text| Currency::new(text).map_err(|_| content("sale", text, "a currency"));
    let gtin = row.get::<Option<&str>>(4)?.map(|text| gtin("sale", text)).transpose()?;
    let epc = row.get::<Option<&str>>(5)?.map(read_epc).transpose()?;
    let currency = row.get::<Option<&str>>(8)?.map(read_currency).transpose()?;
    let minor: Option<i64> = row.get(7)?;
    let quantity: u32 = row.get(6)?;
    Ok(Line {
        receipt: Receipt::new(receipt).map_err(|_| content("sale", receipt, "a receipt"))?,
        line: row.get(1)?,
        at: UnixMillis(row.get(3)?),
        kind: named(Kind::ALL, Kind::name, kind).ok_or_else(|| content("sale", kind, "a kind"))?,
        goods: Goods::new(gtin, epc).map_err(|_| content("sale", receipt, "a receipt with goods"))?,
        quantity: NonZeroU32::new(quantity).ok_or_else(|| content("sale", "0", "a number of pieces"))?,
        price: minor.zip(currency).map(|(minor, currency)| Price { minor, currency }),
    })
}

fn gtin(table: &'static str, text: &str) -> Result<Gtin, StoreError> {
    Gtin::new(text).map_err(|_| content(table, text, "a GTIN"))
}

fn named<T: Copy, const N: usize>(all: [T; N], name: fn(T) -> &'static str, text: &str) -> Option<T> {
    all.into_iter().find(|known| name(*known) == text)
}

fn content(table: &'static str, value: &str, wanted: &'static str) -> StoreError {
    StoreError::Content { table, value: value.to_owned(), wanted }
}

/// Of everything but the key.
fn digest(line: &Line) -> u32 {
    let Line { at, goods, quantity, price, receipt: _, line: _, kind: _ } = line;
    let text = |field: Option<String>| field.unwrap_or_default();
    let content = [
        at.0.to_string(),
        text(goods.gtin().map(|gtin| gtin.to_string())),
        text(goods.epc().map(|epc| epc.to_string())),
        quantity.to_string(),
        text(price.map(|price| price.to_string())),
    ]
    .join(" ");
    CRC.checksum(content.as_bytes())
}
