//! The record of one epoch of one gateway. Enters: a ledger as it was and as it became. Leaves: rows, and
//! the ledger again. Only rows that changed are written.

use hangtag_central_core::ledger::{Fate, Ledger};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::Gateway;
use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;

/// Which epoch of which gateway.
pub(crate) type Key = (Gateway, Epoch);

/// Reads a ledger; an empty one when nothing is recorded.
pub(super) fn load(db: &Connection, (gateway, epoch): &Key) -> Result<Ledger, StoreError> {
    let (store, gateway, epoch) = (gateway.store.as_str(), gateway.gateway.as_str(), epoch.to_string());
    let row: Option<(String, i64)> = db
        .prepare_cached(
            "SELECT lineage, oldest_held FROM epoch WHERE store = ?1 AND gateway = ?2 AND epoch = ?3",
        )?
        .query_row(params![store, gateway, epoch], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((runs, oldest_held)) = row else { return Ok(Ledger::default()) };
    let lineage = lineage(runs)?;
    let mut query = db.prepare_cached(
        "SELECT fate, first, last FROM settled WHERE store = ?1 AND gateway = ?2 AND epoch = ?3",
    )?;
    let mut rows = query.query(params![store, gateway, epoch])?;
    let mut settled = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let fate = Fate::ALL.into_iter().find(|fate| fate.name() == name);
        let Some(fate) = fate else {
            return Err(StoreError::Content { table: "settled", value: name, wanted: "a fate" });
        };
        let (first, last): (i64, i64) = (row.get(1)?, row.get(2)?);
        settled.push((fate, SeqRange::new(first.cast_unsigned(), last.cast_unsigned())));
    }
    Ok(Ledger::new(settled, lineage, Seq(oldest_held.cast_unsigned())))
}

/// The epochs of a gateway with the runs that wrote them.
pub(super) fn lineages(db: &Connection, gateway: &Gateway) -> Result<Vec<(Epoch, Lineage)>, StoreError> {
    let mut query =
        db.prepare_cached("SELECT epoch, lineage FROM epoch WHERE store = ?1 AND gateway = ?2")?;
    let of = params![gateway.store.as_str(), gateway.gateway.as_str()];
    let rows = query.query_map(of, |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let read = |row: rusqlite::Result<(String, String)>| {
        let (epoch, runs) = row?;
        let wrong = |value, wanted| StoreError::Content { table: "epoch", value, wanted };
        let id = epoch.parse().map_err(|_| wrong(epoch, "an epoch"))?;
        Ok((id, lineage(runs)?))
    };
    rows.map(read).collect()
}

fn lineage(runs: String) -> Result<Lineage, StoreError> {
    let wrong = |value| StoreError::Content { table: "epoch", value, wanted: "a lineage" };
    serde_json::from_str(&runs).map_err(|_| wrong(runs))
}

/// Writes what changed, and when the epoch's last batch came.
pub(super) fn save(
    db: &Connection,
    (gateway, epoch): &Key,
    before: &Ledger,
    after: &Ledger,
    received: UnixMillis,
) -> Result<(), StoreError> {
    let (store, gateway, epoch) = (gateway.store.as_str(), gateway.gateway.as_str(), epoch.to_string());
    let lineage = serde_json::to_string(after.lineage()).expect("numbers always encode");
    let oldest_held = after.oldest_held().0.cast_signed();
    db.prepare_cached(
        "INSERT INTO epoch VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET
         last_received = excluded.last_received, lineage = excluded.lineage, oldest_held = excluded.oldest_held",
    )?
    .execute(params![store, gateway, epoch, received.0, lineage, oldest_held])?;
    let mut delete = db.prepare_cached(
        "DELETE FROM settled WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND fate = ?4 AND first = ?5",
    )?;
    let mut insert = db.prepare_cached("INSERT INTO settled VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for fate in Fate::ALL {
        let (old, new) = (before.set(fate).ranges(), after.set(fate).ranges());
        for range in old.iter().filter(|range| new.binary_search(range).is_err()) {
            delete.execute(params![store, gateway, epoch, fate.name(), range.first.0.cast_signed()])?;
        }
        for range in new.iter().filter(|range| old.binary_search(range).is_err()) {
            let (first, last) = (range.first.0.cast_signed(), range.last.0.cast_signed());
            insert.execute(params![store, gateway, epoch, fate.name(), first, last])?;
        }
    }
    Ok(())
}
