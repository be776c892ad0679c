//! What leaves quarantine because a person says so. Enters: the number of a payload. Leaves: its events, stored as if it
//! could have been when it came; or nothing but a note that it was dropped, and gaps where its events would be. Works beside a central
//! that runs.

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{Epoch, GatewayId, StoreId};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::Gateway;

use super::db::{Db, Mode, binds};
use super::group::{Finished, Forks, Group};
use super::read::parse;
use super::{Quarantined, Store, StoreError, epoch, quarantine};

/// What became of a payload that was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// It can be used: it is stored and out of quarantine.
    Stored {
        /// Events that are new,
        new: u64,
        /// and that were known.
        known: u64,
    },
    /// It cannot be used and stays as it was.
    Stays(String),
    /// There is none of this number.
    Absent,
}

/// One payload that somebody took out for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// The number that it had.
    pub id: i64,
    /// Its topic.
    pub topic: String,
    /// Why it was in quarantine.
    pub reason: String,
    /// When it was dropped.
    pub at: UnixMillis,
    /// Why, in a person's words.
    pub why: String,
}

impl Store {
    /// Takes a payload in quarantine as if it could have been used when it came: what came after it of the same line, count
    /// or gateway's health stays.
    ///
    /// # Errors
    /// When the database fails; it stays then.
    pub(crate) fn try_again(&mut self, id: i64) -> Result<Replayed, StoreError> {
        let transaction = self.db.transaction(Mode::Write)?;
        self.memory.refresh(&transaction)?;
        let Some(message) = quarantine::message(&transaction, id)? else { return Ok(Replayed::Absent) };
        quarantine::remove(&transaction, id)?;
        self.memory.room.forget();
        let mut group = Group::new(&transaction, &mut self.memory, &self.keys, Forks::Refuse).of_old();
        group.take(&message)?;
        let Finished { ledgers, sums, .. } = group.finish()?;
        let stays = match quarantine::reason(&transaction, &message)? {
            Some(reason) => Some(reason),
            None if sums.untold.batches > 0 => Some("it does not tell enough of its gateway's runs".into()),
            None if sums.left.batches > 0 => Some("quarantine is full: raise quarantine.max_mib".into()),
            None => None,
        };
        if let Some(why) = stays {
            // Nothing is committed: how often it came is not how often it was tried.
            self.memory.room.forget();
            return Ok(Replayed::Stays(why));
        }
        transaction.commit()?;
        self.memory.remember(ledgers);
        Ok(Replayed::Stored { new: sums.new.events, known: sums.known.events })
    }

    /// Takes a payload out for good. The numbers of its events that nobody else has become gaps. False when there is none.
    ///
    /// # Errors
    /// When the database fails; it stays then.
    pub(crate) fn drop_for_good(&mut self, id: i64, why: &str, now: UnixMillis) -> Result<bool, StoreError> {
        let transaction = self.db.transaction(Mode::Write)?;
        self.memory.refresh(&transaction)?;
        let Some((row, _)) = quarantine::show(&transaction, id)? else { return Ok(false) };
        let Quarantined { store: of_store, gateway: of_gateway, numbers, .. } = &row;
        if let (Some(store), Some(gateway), Some((of_epoch, first, last))) = (of_store, of_gateway, numbers) {
            let (store_id, gateway_id): (StoreId, GatewayId) =
                (parse(store, "a store")?, parse(gateway, "a gateway")?);
            let of = Gateway { tenant: self.tenant, store: store_id, gateway: gateway_id };
            let key = (of, parse::<Epoch>(of_epoch, "an epoch")?);
            self.memory.take_turn(&transaction, &key.0)?;
            let before = self.memory.ledger(&transaction, &key)?;
            let mut after = before.clone();
            let others = quarantine::numbers_of_others(&transaction, id, (store, gateway, of_epoch))?;
            let range = SeqRange::new(first.cast_unsigned(), last.cast_unsigned());
            if row.kind == "settled" {
                others.missing_in(range).into_iter().for_each(|range| after.give_up(range));
            }
            epoch::save(&transaction, &key, &before, &after, last_received(&transaction, &key)?)?;
        }
        let note = "INSERT INTO dropped
             SELECT id, topic, store, gateway, epoch, first, last, received, kind, reason, ?2, ?3
             FROM quarantine WHERE id = ?1";
        transaction.execute(note, binds![id, now.0, why])?;
        quarantine::remove(&transaction, id)?;
        transaction.commit()?;
        // What is known of the epoch is read anew.
        self.memory.forget();
        Ok(true)
    }
}

fn last_received(db: &Db, (gateway, of_epoch): &epoch::Key) -> Result<UnixMillis, StoreError> {
    let question = "SELECT last_received FROM epoch WHERE store = ?1 AND gateway = ?2 AND epoch = ?3";
    let of = binds![gateway.store.as_str(), gateway.gateway.as_str(), of_epoch.to_string()];
    Ok(UnixMillis(db.first(question, of, |row| row.get(0))?.unwrap_or(0)))
}

/// The payloads that were dropped last, the newest first.
pub(super) fn dropped(db: &Db, limit: u32) -> Result<Vec<Dropped>, StoreError> {
    let question =
        "SELECT id, topic, reason, dropped, why FROM dropped ORDER BY dropped DESC, id DESC LIMIT ?1";
    db.all(question, binds![limit], |row| {
        let at = UnixMillis(row.get(3)?);
        Ok(Dropped { id: row.get(0)?, topic: row.get(1)?, reason: row.get(2)?, at, why: row.get(4)? })
    })
}
