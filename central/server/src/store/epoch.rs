//! The record of one epoch of one gateway. Enters: a ledger as it was and as it became. Leaves: rows, and
//! the ledger again. Only rows that changed are written.

use hangtag_central_core::ledger::{Fate, Ledger};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::Gateway;

use super::StoreError;
use super::db::{Db, binds};

/// Which epoch of which gateway.
pub(crate) type Key = (Gateway, Epoch);

/// Reads a ledger; an empty one when nothing is recorded.
pub(super) fn load(db: &Db, (gateway, epoch): &Key) -> Result<Ledger, StoreError> {
    let (store, gateway, epoch) = (gateway.store.as_str(), gateway.gateway.as_str(), epoch.to_string());
    let row: Option<(String, i64)> = db.first(
        "SELECT lineage, oldest_held FROM epoch WHERE store = ?1 AND gateway = ?2 AND epoch = ?3",
        binds![store, gateway, &epoch],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((runs, oldest_held)) = row else { return Ok(Ledger::default()) };
    let lineage = lineage(runs)?;
    let settled = db.all(
        "SELECT fate, first, last FROM settled WHERE store = ?1 AND gateway = ?2 AND epoch = ?3",
        binds![store, gateway, &epoch],
        |row| {
            let name: &str = row.get(0)?;
            let fate = Fate::ALL.into_iter().find(|fate| fate.name() == name);
            let wrong = || StoreError::Content { table: "settled", value: name.into(), wanted: "a fate" };
            let (first, last): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok((fate.ok_or_else(wrong)?, SeqRange::new(first.cast_unsigned(), last.cast_unsigned())))
        },
    )?;
    Ok(Ledger::new(settled, lineage, Seq(oldest_held.cast_unsigned())))
}

/// The epochs of a gateway with the runs that wrote them.
pub(super) fn lineages(db: &Db, gateway: &Gateway) -> Result<Vec<(Epoch, Lineage)>, StoreError> {
    db.all(
        "SELECT epoch, lineage FROM epoch WHERE store = ?1 AND gateway = ?2",
        binds![gateway.store.as_str(), gateway.gateway.as_str()],
        |row| {
            let epoch: &str = row.get(0)?;
            let wrong = |_| StoreError::Content { table: "epoch", value: epoch.into(), wanted: "an epoch" };
            Ok((epoch.parse().map_err(wrong)?, lineage(row.get(1)?)?))
        },
    )
}

fn lineage(runs: String) -> Result<Lineage, StoreError> {
    let wrong = |value| StoreError::Content { table: "epoch", value, wanted: "a lineage" };
    serde_json::from_str(&runs).map_err(|_| wrong(runs))
}

/// Writes what changed, and when the epoch's last batch came.
pub(super) fn save(
    db: &Db,
    (gateway, epoch): &Key,
    before: &Ledger,
    after: &Ledger,
    received: UnixMillis,
) -> Result<(), StoreError> {
    let (store, gateway, epoch) = (gateway.store.as_str(), gateway.gateway.as_str(), epoch.to_string());
    let lineage = serde_json::to_string(after.lineage()).expect("numbers always encode");
    let oldest_held = after.oldest_held().0.cast_signed();
    db.execute(
        "INSERT INTO epoch VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6) ON CONFLICT (store, gateway, epoch) DO UPDATE SET
         last_received = excluded.last_received, lineage = excluded.lineage, oldest_held = excluded.oldest_held",
        binds![store, gateway, &epoch, received.0, lineage, oldest_held],
    )?;
    let delete =
        "DELETE FROM settled WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND fate = ?4 AND first = ?5";
    let insert = "INSERT INTO settled VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for fate in Fate::ALL {
        let (old, new) = (before.set(fate).ranges(), after.set(fate).ranges());
        for range in old.iter().filter(|range| new.binary_search(range).is_err()) {
            let first = range.first.0.cast_signed();
            db.execute(delete, binds![store, gateway, &epoch, fate.name(), first])?;
        }
        for range in new.iter().filter(|range| old.binary_search(range).is_err()) {
            let (first, last) = (range.first.0.cast_signed(), range.last.0.cast_signed());
            db.execute(insert, binds![store, gateway, &epoch, fate.name(), first, last])?;
        }
    }
    Ok(())
}
