//! Scanned loyalty codes. Enters: sealed codes, with the ids of their events; keys. Leaves: rows in which a number
//! stands for the code, as soon as there is a key; until then they are kept sealed.

use std::path::Path;

use hangtag_central_core::loyalty::{Keys, Opened};
use hangtag_protocol::id::Seq;
use hangtag_protocol::scan::Sealed;
use hangtag_protocol::topic::Gateway;
use rusqlite::types::{Null, Value};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::StoreError;

/// What is not opened of what was sealed to one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unopened {
    /// The key's id.
    pub key: String,
    /// `sealed`: the key is not there; `broken`: it does not open them, or they are damaged.
    pub state: String,
    /// How many.
    pub scans: u64,
}

/// Keeps a code: the number that stands for it, or as it came.
pub(super) fn insert(
    db: &Connection,
    keys: &Keys,
    of: &Gateway,
    epoch: &str,
    seq: Seq,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    let (state, bytes, code) = row(keys, sealed);
    if state == BROKEN {
        tracing::warn!(gateway = %of.gateway, epoch, %seq, key = %sealed.key(), "a loyalty code cannot be opened");
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO loyalty VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    )?;
    insert.execute(params![
        of.store.as_str(),
        of.gateway.as_str(),
        epoch,
        seq.0.cast_signed(),
        sealed.key().to_string(),
        state,
        bytes,
        code
    ])?;
    Ok(())
}

/// Opens codes that wait for one of these keys. How many there were. A row that cannot be read counts as broken, and
/// stays as it is.
pub(super) fn open_sealed(db: &Connection, keys: &Keys, most: u32) -> Result<usize, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT store, gateway, epoch, seq, sealed FROM loyalty INDEXED BY loyalty_unopened
         WHERE state = 'sealed' AND state <> 'opened' AND key = ?1 LIMIT ?2",
    )?;
    let mut update = db.prepare_cached(
        "UPDATE loyalty SET state = ?5, sealed = ?6, code = ?7
         WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq = ?4",
    )?;
    let mut count = 0;
    for key in keys.ids() {
        let mut rows = query.query(params![key.to_string(), most])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id: [Value; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            found.push((id, row.get::<_, Value>(4)?));
        }
        for ([store, gateway, epoch, seq], kept) in &found {
            let sealed = match kept {
                Value::Blob(bytes) => Sealed::new(key, bytes.clone()).map_err(|why| why.to_string()),
                other => Err(format!("it is kept as {}", other.data_type())),
            };
            let opened = sealed.as_ref().map(|sealed| row(keys, sealed));
            if let Ok((BROKEN, ..)) | Err(_) = opened {
                let why = sealed.as_ref().err();
                tracing::warn!(?gateway, ?epoch, ?seq, %key, why, "a loyalty code cannot be opened");
            }
            match opened {
                Ok((state, bytes, code)) => {
                    update.execute(params![store, gateway, epoch, seq, state, bytes, code])?
                }
                // It would be found again and again, and hold up the others.
                Err(_) => update.execute(params![store, gateway, epoch, seq, BROKEN, kept, Null])?,
            };
        }
        count += found.len();
    }
    Ok(count)
}

/// What is not opened, of one shop or of all.
pub(super) fn unopened(db: &Connection, store: Option<&str>) -> Result<Vec<Unopened>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT key, state, count(*) FROM loyalty INDEXED BY loyalty_unopened
         WHERE state <> 'opened' AND (?1 IS NULL OR store = ?1) GROUP BY state, key ORDER BY state DESC, key",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Unopened { key: row.get(0)?, state: row.get(1)?, scans: row.get::<_, i64>(2)?.cast_unsigned() })
    };
    Ok(query.query_map([store], row)?.collect::<Result<_, _>>()?)
}

/// Keeps what tells the secret from others, and refuses another one.
pub(super) fn check_secret(db: &Connection, path: &Path, keys: &Keys) -> Result<(), StoreError> {
    let Some(mark) = keys.mark().map(|mark| mark.to_string()) else { return Ok(()) };
    let question = "SELECT value FROM meta WHERE name = 'codes'";
    match db.query_row(question, [], |row| row.get::<_, String>(0)).optional()? {
        Some(known) if known == mark => Ok(()),
        Some(_) => Err(StoreError::Secret { path: path.to_owned() }),
        None => {
            db.execute("INSERT INTO meta VALUES ('codes', ?1)", [mark])?;
            Ok(())
        }
    }
}

const BROKEN: &str = "broken";

/// State, sealed bytes and number of a code. What is opened is not kept sealed.
fn row<'s>(keys: &Keys, sealed: &'s Sealed) -> (&'static str, Option<&'s [u8]>, Option<String>) {
    match keys.open(sealed) {
        Opened::Code(code) => ("opened", None, Some(code.to_string())),
        Opened::NoKey => ("sealed", Some(sealed.as_bytes()), None),
        Opened::Broken => (BROKEN, Some(sealed.as_bytes()), None),
    }
}
