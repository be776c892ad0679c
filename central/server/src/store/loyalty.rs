//! Scanned loyalty codes. Enters: sealed codes, with the ids of their events; keys. Leaves: rows in which a number
//! stands for the code, as soon as there is a key; until then they are kept sealed.

use hangtag_central_core::loyalty::{Keys, Opened};
use hangtag_protocol::id::Seq;
use hangtag_protocol::scan::Sealed;
use hangtag_protocol::topic::Gateway;
use serde::Serialize;

use super::db::{Db, Owned, binds};
use super::{Address, StoreError};

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
    db: &Db,
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
    let (store, gateway, key) = (of.store.as_str(), of.gateway.as_str(), sealed.key().to_string());
    db.execute(
        "INSERT INTO loyalty VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        binds![store, gateway, epoch, seq.0.cast_signed(), key, state, bytes, code],
    )?;
    Ok(())
}

/// Opens codes that wait for one of these keys. How many there were. A row that cannot be read counts as broken, and
/// stays as it is.
pub(super) fn open_sealed(db: &Db, keys: &Keys, most: u32) -> Result<usize, StoreError> {
    let update = "UPDATE loyalty SET state = ?5, sealed = ?6, code = ?7
         WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq = ?4";
    let mut count = 0;
    for key in keys.ids() {
        let found = db.all(
            "SELECT store, gateway, epoch, seq, sealed FROM loyalty INDEXED BY loyalty_unopened
             WHERE state = 'sealed' AND state <> 'opened' AND key = ?1 LIMIT ?2",
            binds![key.to_string(), most],
            |row| Ok(([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?], row.get(4)?)),
        )?;
        for (id, kept) in &found {
            let [store, gateway, epoch, seq]: &[Owned; 4] = id;
            let sealed = match kept {
                Owned::Bytes(bytes) => Sealed::new(key, bytes.clone()).map_err(|why| why.to_string()),
                other => Err(format!("it is kept as {}", other.name())),
            };
            let opened = sealed.as_ref().map(|sealed| row(keys, sealed));
            if let Ok((BROKEN, ..)) | Err(_) = opened {
                let why = sealed.as_ref().err();
                tracing::warn!(?gateway, ?epoch, ?seq, %key, why, "a loyalty code cannot be opened");
            }
            match opened {
                Ok((state, bytes, code)) => {
                    db.execute(update, binds![store, gateway, epoch, seq, state, bytes, code])?
                }
                // It would be found again and again, and hold up the others.
                Err(_) => {
                    let code: Option<String> = None;
                    db.execute(update, binds![store, gateway, epoch, seq, BROKEN, kept, code])?
                }
            };
        }
        count += found.len();
    }
    Ok(count)
}

/// What is not opened, of one shop or of all.
pub(super) fn unopened(db: &Db, store: Option<&str>) -> Result<Vec<Unopened>, StoreError> {
    db.all(
        "SELECT key, state, count(*) FROM loyalty INDEXED BY loyalty_unopened
         WHERE state <> 'opened' AND (?1 IS NULL OR store = ?1) GROUP BY state, key ORDER BY state DESC, key",
        binds![store],
        |row| Ok(Unopened { key: row.get(0)?, state: row.get(1)?, scans: row.get(2)? }),
    )
}

/// Keeps what tells the secret from others, and refuses another one.
pub(super) fn check_secret(db: &Db, address: &Address, keys: &Keys) -> Result<(), StoreError> {
    let Some(mark) = keys.mark().map(|mark| mark.to_string()) else { return Ok(()) };
    let question = "SELECT value FROM meta WHERE name = 'codes'";
    db.execute("INSERT INTO meta VALUES ('codes', ?1) ON CONFLICT DO NOTHING", binds![&mark])?;
    let known: String = db.only(question, &[], |row| row.get(0))?;
    if known == mark { Ok(()) } else { Err(StoreError::Secret { address: address.clone() }) }
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
