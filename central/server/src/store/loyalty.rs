//! Scanned loyalty codes. Enters: sealed codes, with the ids of their events. Leaves: rows.

use hangtag_protocol::id::Seq;
use hangtag_protocol::scan::Sealed;
use hangtag_protocol::topic::Gateway;
use rusqlite::{Connection, params};

use super::StoreError;

/// Keeps a code as it came.
pub(super) fn insert(
    db: &Connection,
    of: &Gateway,
    epoch: &str,
    seq: Seq,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached(
        "INSERT INTO loyalty VALUES (?1, ?2, ?3, ?4, ?5, 'sealed', ?6, NULL) ON CONFLICT DO NOTHING",
    )?;
    insert.execute(params![
        of.store.as_str(),
        of.gateway.as_str(),
        epoch,
        seq.0.cast_signed(),
        sealed.key().to_string(),
        sealed.as_bytes()
    ])?;
    Ok(())
}
