//! What could not be used. Enters: a payload with its topic and the reason. Leaves: the same, for
//! people. A payload is kept once, however often it comes; the copies are counted.

use hangtag_protocol::batch::{CRC, Header};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::topic::Gateway;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Message, StoreError};

/// One payload that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// Its number.
    pub id: i64,
    /// When it came last.
    pub received: UnixMillis,
    /// How often it came.
    pub times: u64,
    /// The topic.
    pub topic: String,
    /// Why it was set aside.
    pub reason: String,
    /// Bytes.
    pub size: u64,
}

/// Keeps a payload; `header` is that of a batch whose numbers are settled with it.
pub(super) fn keep(
    db: &Connection,
    message: &Message,
    gateway: Option<&Gateway>,
    header: Option<&Header>,
    reason: &str,
) -> Result<(), StoreError> {
    let range = header.map(Header::range);
    db.prepare_cached(
        "INSERT INTO quarantine (topic, store, gateway, epoch, first, last, received, reason, digest, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (topic, digest, payload) DO UPDATE SET times = times + 1, received = excluded.received",
    )?
    .execute(params![
        message.topic,
        gateway.map(|g| g.store.as_str()),
        gateway.map(|g| g.gateway.as_str()),
        header.map(|h| h.epoch.to_string()),
        range.map(|r| r.first.0.cast_signed()),
        range.map(|r| r.last.0.cast_signed()),
        message.received.0,
        reason,
        CRC.checksum(&message.payload),
        message.payload,
    ])?;
    Ok(())
}

const COLUMNS: &str = "SELECT id, received, times, topic, reason, length(payload) FROM quarantine";

/// The newest ones first.
pub(super) fn list(db: &Connection, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
    let mut query = db.prepare(&format!("{COLUMNS} ORDER BY id DESC LIMIT ?1"))?;
    let rows = query.query_map([limit], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest ones of one shop, and those whose shop is unknown.
pub(super) fn of_shop(db: &Connection, store: &str, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
    let mut query =
        db.prepare(&format!("{COLUMNS} WHERE store = ?1 OR store IS NULL ORDER BY id DESC LIMIT ?2"))?;
    let rows = query.query_map(params![store, limit], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One of them with its payload.
pub(super) fn show(db: &Connection, id: i64) -> Result<Option<(Quarantined, Vec<u8>)>, StoreError> {
    let found = db.query_row(&format!("{COLUMNS} WHERE id = ?1"), [id], row).optional()?;
    let Some(found) = found else { return Ok(None) };
    let payload = db.query_row("SELECT payload FROM quarantine WHERE id = ?1", [id], |row| row.get(0))?;
    Ok(Some((found, payload)))
}

fn row(row: &Row<'_>) -> rusqlite::Result<Quarantined> {
    Ok(Quarantined {
        id: row.get(0)?,
        received: UnixMillis(row.get(1)?),
        times: row.get::<_, i64>(2)?.cast_unsigned(),
        topic: row.get(3)?,
        reason: row.get(4)?,
        size: row.get::<_, i64>(5)?.cast_unsigned(),
    })
}
