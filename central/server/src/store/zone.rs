//! Which zones the shops have. Enters: hours that are rolled up. Leaves: a row per zone and gateway that ever told of
//! garments there, so that a rail is known when nobody touches it and when its gateway is silent.
//!
//! ```text
//! zone         one row per shop, zone and gateway
//!   is_booth                     1: what happened there last happened in a visit; else 0
//!   first_ms, last_ms            the hours in which something happened there: from the first one's start to the last
//!                                one's end (Unix ms)
//! ```
//!
//! A database of before this table is filled from its sheets when hours are rolled up for the first time (`zones` in
//! `meta`). A clock that was wrong may have made a zone older or younger than it is: it is shown for longer then.

use std::collections::BTreeMap;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{GatewayId, StoreId, ZoneId};

use super::changed::HOUR_MS;
use super::db::{Db, Mode, binds};
use super::piece::Piece;
use super::read::parse;
use super::{Reader, StoreError, sheet};

/// The tables. Besides, counts of stock are found by their time.
pub(super) const TABLES: &str = "
CREATE TABLE zone (
    store TEXT NOT NULL, zone TEXT NOT NULL, gateway TEXT NOT NULL, is_booth BIGINT NOT NULL,
    first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL,
    PRIMARY KEY (store, zone, gateway)
);
CREATE INDEX stock_by_time ON stock (store, at_ms);
";

/// How long a zone in which nothing happens is still one of the shop's, in milliseconds: 90 days.
const REMEMBERED_MS: i64 = 90 * 86_400_000;
/// So many sheets are in memory at a time.
const SHEETS: u32 = 256;

/// A zone, as far as one gateway told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Zone {
    /// Its name.
    pub zone: ZoneId,
    /// Who told.
    pub gateway: GatewayId,
    /// Whether it is a fitting booth.
    pub is_booth: bool,
}

/// Zones in which something happened.
#[derive(Debug, Default)]
pub(super) struct Noted(BTreeMap<(String, ZoneId, GatewayId), Seen>);

#[derive(Debug)]
struct Seen {
    is_booth: bool,
    first: i64,
    last: i64,
}

impl Noted {
    /// Takes note of an hour of a shop.
    pub(super) fn hour(&mut self, store: &str, hour: i64, piece: &Piece) {
        for (zone, gateway) in &piece.watching {
            let last = piece.handled.iter().rfind(|event| event.zone == *zone);
            let is_booth = last.is_some_and(|event| event.visit.is_some());
            let seen = self.0.entry((store.to_owned(), *zone, *gateway));
            let seen = seen.or_insert(Seen { is_booth, first: hour, last: hour });
            seen.first = seen.first.min(hour);
            if hour >= seen.last {
                (seen.is_booth, seen.last) = (is_booth, hour);
            }
        }
    }

    /// Writes it down, always in the same order: others do so at the same time.
    pub(super) fn write(&self, db: &Db) -> Result<(), StoreError> {
        let upsert = "INSERT INTO zone (store, zone, gateway, is_booth, first_ms, last_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (store, zone, gateway) DO UPDATE SET
             is_booth = CASE WHEN excluded.last_ms < zone.last_ms THEN zone.is_booth ELSE excluded.is_booth END,
             first_ms = CASE WHEN excluded.first_ms < zone.first_ms THEN excluded.first_ms ELSE zone.first_ms END,
             last_ms = CASE WHEN excluded.last_ms > zone.last_ms THEN excluded.last_ms ELSE zone.last_ms END
             WHERE excluded.first_ms < zone.first_ms OR excluded.last_ms > zone.last_ms";
        for ((store, zone, gateway), seen) in &self.0 {
            let (first, last) = (seen.first * HOUR_MS, (seen.last + 1) * HOUR_MS);
            let row = binds![
                store.as_str(),
                zone.as_str(),
                gateway.as_str(),
                i64::from(seen.is_booth),
                first,
                last
            ];
            db.execute(upsert, row)?;
        }
        Ok(())
    }
}

/// Takes note of the hours that were rolled up before there was this table, once.
///
/// # Errors
/// When the database fails.
pub(super) fn fill(db: &mut Db) -> Result<(), StoreError> {
    if db.is_any("SELECT 1 FROM meta WHERE name = 'zones'", &[])? {
        return Ok(());
    }
    let stores: Vec<String> =
        db.all("SELECT DISTINCT store FROM sheet ORDER BY store", &[], |row| row.get(0))?;
    let question = "SELECT hour, body FROM sheet WHERE store = ?1 AND hour > ?2 ORDER BY hour LIMIT ?3";
    let mut noted = Noted::default();
    for store in stores {
        let mut after = i64::MIN;
        loop {
            let sheets: Vec<(i64, Vec<u8>)> =
                db.all(question, binds![store.as_str(), after, SHEETS], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            let Some((last, _)) = sheets.last() else { break };
            after = *last;
            for (hour, body) in &sheets {
                // One of another version is made anew, and noted then.
                if let Some(piece) = sheet::unpack(body) {
                    noted.hour(&store, *hour, &piece);
                }
            }
        }
    }
    let write = db.transaction(Mode::Write)?;
    noted.write(&write)?;
    write.execute("INSERT INTO meta VALUES ('zones', '1') ON CONFLICT DO NOTHING", &[])?;
    write.commit()
}

impl Reader {
    /// The zones that a shop has in a stretch of time: those in which something happened in it or in the 90 days before,
    /// by zone and gateway.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn zones(
        &self,
        store: StoreId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<Zone>, StoreError> {
        let question = "SELECT zone, gateway, is_booth FROM zone
             WHERE store = ?1 AND last_ms > ?2 AND first_ms < ?3 ORDER BY zone, gateway";
        let db = self.reading()?;
        db.all(question, binds![store.as_str(), from.0 - REMEMBERED_MS, to.0], |row| {
            Ok(Zone {
                zone: parse(row.get(0)?, "a zone")?,
                gateway: parse(row.get(1)?, "a gateway")?,
                is_booth: row.get::<i64>(2)? != 0,
            })
        })
    }
}
