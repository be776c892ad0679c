//! What could not be used. Enters: a payload with its topic and the reason. Leaves: the same, for
//! people. A payload is kept once, however often it comes; the copies are counted.
//!
//! There is room for so many bytes. What is kept is of three kinds:
//!
//! ```text
//! refused   settles nothing: no batch, no header of this gateway's, or
//!           what is recorded of the gateway cannot be read; what a
//!           till told of which a part is wrong                           goes first when there is no room
//! fork      settles nothing: the agent gives its events new numbers      goes next
//! settled   the agent may delete these events: this is the only copy     never goes
//! ```
//!
//! When nothing may go any more, a batch of the third kind is not kept, and not settled either: the agent
//! holds it until there is room.

use std::collections::VecDeque;

use hangtag_protocol::batch::{CRC, Header};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::StoreId;
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::topic::Gateway;

use super::db::{Db, Row, binds};
use super::{Message, StoreError};

/// What a row takes beside its payload, in bytes: topic, reason and indexes, roughly.
const ROW_BYTES: u64 = 512;

/// One payload that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// Its number.
    pub id: i64,
    /// When it came last.
    pub received: UnixMillis,
    /// How often it came.
    pub times: u64,
    /// What became of its numbers: `refused`, `fork` or `settled`.
    pub kind: String,
    /// The topic.
    pub topic: String,
    /// The shop, where it is known,
    pub store: Option<String>,
    /// and the gateway.
    pub gateway: Option<String>,
    /// The spool's life, and the first and last number in it, of a batch.
    pub numbers: Option<(String, i64, i64)>,
    /// Why it was set aside.
    pub reason: String,
    /// Bytes.
    pub size: u64,
}

/// What becomes of the numbers of a payload that is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It has none that are known.
    Refused,
    /// They are not settled.
    Fork,
    /// They are settled.
    Settled,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Fork => "fork",
            Self::Settled => "settled",
        }
    }

    /// The kinds that make room for this one, first to last.
    fn beats(self) -> &'static [Self] {
        match self {
            Self::Refused => &[Self::Refused],
            Self::Fork | Self::Settled => &[Self::Refused, Self::Fork],
        }
    }
}

/// How much may be kept.
#[derive(Debug)]
pub(super) struct Room {
    max: u64,
    /// `None` before it is counted.
    taken: Option<u64>,
}

impl Room {
    /// Room for so many bytes.
    pub(super) fn new(max: u64) -> Self {
        Self { max, taken: None }
    }

    /// To be called when others may have written, or what was written may be gone.
    pub(super) fn forget(&mut self) {
        self.taken = None;
    }

    fn make(&mut self, db: &Db, kind: Kind, size: u64) -> Result<bool, StoreError> {
        let mut taken = match self.taken {
            Some(taken) => taken,
            None => count(db)?,
        };
        let mut victims = kind.beats().iter();
        let mut victim = victims.next();
        while let Some(kind) = victim.filter(|_| taken + size > self.max) {
            let gone: Option<i64> = db.first(
                "DELETE FROM quarantine WHERE id = (SELECT min(id) FROM quarantine WHERE kind = ?1)
                 RETURNING length(payload)",
                binds![kind.name()],
                |row| row.get(0),
            )?;
            match gone {
                Some(bytes) => taken = taken.saturating_sub(ROW_BYTES + bytes.cast_unsigned()),
                None => victim = victims.next(),
            }
        }
        let fits = taken + size <= self.max;
        self.taken = Some(if fits { taken + size } else { taken });
        Ok(fits)
    }
}

fn count(db: &Db) -> Result<u64, StoreError> {
    let (rows, bytes): (i64, i64) =
        db.only("SELECT count(*), coalesce(sum(length(payload)), 0) FROM quarantine", &[], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(rows.cast_unsigned() * ROW_BYTES + bytes.cast_unsigned())
}

/// Whose a payload is, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of<'a> {
    /// Nobody's who is known.
    Nobody,
    /// A shop's.
    Shop(StoreId),
    /// A gateway's.
    Gateway(&'a Gateway),
    /// A gateway's batch.
    Batch(&'a Header),
}

/// Keeps a payload. Returns false when there is no room.
pub(super) fn keep(
    db: &Db,
    room: &mut Room,
    message: &Message,
    of: Of<'_>,
    (kind, reason): (Kind, &str),
) -> Result<bool, StoreError> {
    let (store, gateway, header) = match of {
        Of::Nobody => (None, None, None),
        Of::Shop(store) => (Some(store), None, None),
        Of::Gateway(gateway) => (Some(gateway.store), Some(gateway), None),
        Of::Batch(header) => (Some(header.gateway.store), Some(&header.gateway), Some(header)),
    };
    let digest = CRC.checksum(&message.payload);
    let again = db.execute(
        "UPDATE quarantine SET times = times + 1, received = ?4,
             reason = CASE WHEN kind = 'settled' THEN reason ELSE ?6 END,
             kind = CASE WHEN kind = 'settled' THEN kind ELSE ?5 END
         WHERE topic = ?1 AND digest = ?2 AND payload = ?3",
        binds![&message.topic, digest, &message.payload, message.received.0, kind.name(), reason],
    )?;
    if again > 0 {
        return Ok(true);
    }
    if !room.make(db, kind, ROW_BYTES + message.payload.len() as u64)? {
        tracing::warn!(topic = message.topic, reason, "quarantine is full: raise quarantine.max_mib");
        return Ok(false);
    }
    let range = header.map(Header::range);
    let (id, number) = if db.uses_numbers_again() { draw_number(db)? } else { ("", "") };
    db.execute(
        &format!(
            "INSERT INTO quarantine
                 ({id} topic, store, gateway, epoch, first, last, received, kind, reason, digest, payload)
             VALUES ({number} ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING"
        ),
        binds![
            &message.topic,
            store.as_ref().map(StoreId::as_str),
            gateway.map(|g| g.gateway.as_str()),
            header.map(|h| h.epoch.to_string()),
            range.map(|r| r.first.0.cast_signed()),
            range.map(|r| r.last.0.cast_signed()),
            message.received.0,
            kind.name(),
            reason,
            digest,
            &message.payload,
        ],
    )?;
    Ok(true)
}

/// Draws a number that no payload ever had: one that somebody was told must not become another payload's. The column,
/// and where its value is.
fn draw_number(db: &Db) -> Result<(&'static str, &'static str), StoreError> {
    let next = "INSERT INTO meta SELECT 'quarantine', 1 + coalesce(max(id), 0) FROM (
             SELECT id FROM quarantine UNION ALL SELECT id FROM dropped
             UNION ALL SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'quarantine'
         ) AS known WHERE true
         ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(next, &[])?;
    Ok(("id,", "(SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'quarantine'),"))
}

/// The settled ones, oldest first, without those whose numbers other events have.
pub(super) fn replayable(db: &Db) -> Result<VecDeque<i64>, StoreError> {
    let question =
        "SELECT id FROM quarantine WHERE kind = 'settled' AND reason NOT LIKE 'conflict:%' ORDER BY id";
    Ok(db.all(question, &[], |row| row.get(0))?.into())
}

/// One of them as it came.
pub(super) fn message(db: &Db, id: i64) -> Result<Option<Message>, StoreError> {
    db.first("SELECT topic, payload, received FROM quarantine WHERE id = ?1", binds![id], |row| {
        Ok(Message { topic: row.get(0)?, payload: row.get(1)?, received: UnixMillis(row.get(2)?) })
    })
}

/// Takes one out.
pub(super) fn remove(db: &Db, id: i64) -> Result<(), StoreError> {
    db.execute("DELETE FROM quarantine WHERE id = ?1", binds![id])?;
    Ok(())
}

/// Takes out the copy of a fork's batch.
pub(super) fn remove_fork(db: &Db, message: &Message) -> Result<(), StoreError> {
    db.execute(
        "DELETE FROM quarantine WHERE topic = ?1 AND digest = ?2 AND payload = ?3 AND kind = 'fork'",
        binds![&message.topic, CRC.checksum(&message.payload), &message.payload],
    )?;
    Ok(())
}

const COLUMNS: &str =
    "SELECT id, received, times, kind, topic, reason, length(payload), store, gateway, epoch, first, last
     FROM quarantine";

/// The newest ones first.
pub(super) fn list(db: &Db, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
    db.all(&format!("{COLUMNS} ORDER BY id DESC LIMIT ?1"), binds![limit], row)
}

/// The newest ones of one shop, and those whose shop is unknown.
pub(super) fn of_shop(db: &Db, store: &str, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
    let question = format!("{COLUMNS} WHERE store = ?1 OR store IS NULL ORDER BY id DESC LIMIT ?2");
    db.all(&question, binds![store, limit], row)
}

/// One of them with its payload.
pub(super) fn show(db: &Db, id: i64) -> Result<Option<(Quarantined, Vec<u8>)>, StoreError> {
    let found = db.first(&format!("{COLUMNS} WHERE id = ?1"), binds![id], row)?;
    let Some(found) = found else { return Ok(None) };
    let question = "SELECT payload FROM quarantine WHERE id = ?1";
    Ok(db.first(question, binds![id], |row| row.get(0))?.map(|payload| (found, payload)))
}

/// Why a payload is there, if it is.
pub(super) fn reason(db: &Db, message: &Message) -> Result<Option<String>, StoreError> {
    db.first(
        "SELECT reason FROM quarantine WHERE topic = ?1 AND digest = ?2 AND payload = ?3",
        binds![&message.topic, CRC.checksum(&message.payload), &message.payload],
        |row| row.get(0),
    )
}

/// The numbers of a gateway's epoch that other payloads hold.
pub(super) fn numbers_of_others(
    db: &Db,
    id: i64,
    (store, gateway, epoch): (&str, &str, &str),
) -> Result<SeqSet, StoreError> {
    let ranges = db.all(
        "SELECT first, last FROM quarantine
         WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND id <> ?4 AND kind = 'settled'",
        binds![store, gateway, epoch, id],
        |row| {
            let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(SeqRange::new(first.cast_unsigned(), last.cast_unsigned()))
        },
    )?;
    Ok(SeqSet::from(ranges))
}

fn row(row: &Row<'_>) -> Result<Quarantined, StoreError> {
    let (epoch, first, last): (Option<String>, _, _) = (row.get(9)?, row.get(10)?, row.get(11)?);
    let numbers = epoch.zip(Option::zip(first, last)).map(|(epoch, (first, last))| (epoch, first, last));
    Ok(Quarantined {
        id: row.get(0)?,
        received: UnixMillis(row.get(1)?),
        times: row.get(2)?,
        kind: row.get(3)?,
        topic: row.get(4)?,
        reason: row.get(5)?,
        size: row.get(6)?,
        store: row.get(7)?,
        gateway: row.get(8)?,
        numbers,
    })
}
