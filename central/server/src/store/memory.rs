//! What the writer knows without asking the database. Enters: what a transaction committed. Leaves: ledgers
//! and watermarks. Another process may write too: where one writes at a time, its commits change the database's
//! `data_version`, and then everything is read again; where several do, each takes a gateway's *turn*, and what is
//! known of the gateway holds if the turn before was this process's own.

use std::collections::BTreeMap;

use hangtag_central_core::ledger::Ledger;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::topic::Gateway;
use hangtag_protocol::watermark::{self, Watermark};

use super::StoreError;
use super::db::{Db, binds};
use super::epoch::{self, Key};
use super::quarantine::Room;
use super::unreadable::Unreadable;

/// The most epochs that a watermark tells of: the last ones that sent anything.
const EPOCHS_PER_WATERMARK: u32 = 16;
/// Ledgers that are kept; each is a few ranges.
const LEDGERS: usize = 4_096;

/// What is known of the database as of its last commit.
pub(super) struct Memory {
    /// Room in quarantine. Whoever uses it up calls [`Room::forget`] unless it is committed.
    pub room: Room,
    /// What could not be read.
    pub unreadable: Unreadable,
    /// When the latest message came.
    pub now: UnixMillis,
    ledgers: BTreeMap<Key, Ledger>,
    data_version: Option<i64>,
    /// The last turn of each gateway that was committed here.
    turns: BTreeMap<Gateway, i64>,
    /// The turns of the transaction that is under way.
    taken: BTreeMap<Gateway, i64>,
}

impl Memory {
    /// Knows nothing yet.
    pub(super) fn new(quarantine_bytes: u64) -> Self {
        Self {
            room: Room::new(quarantine_bytes),
            unreadable: Unreadable::default(),
            now: UnixMillis(0),
            ledgers: BTreeMap::new(),
            data_version: None,
            turns: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Forgets everything that another process may have changed. To be called when a transaction begins.
    pub(super) fn refresh(&mut self, db: &Db) -> Result<(), StoreError> {
        self.taken.clear();
        let data_version = db.others_commits()?;
        if data_version.is_none() {
            self.room.forget();
        }
        if self.data_version != data_version || self.ledgers.len() > LEDGERS {
            self.ledgers.clear();
            self.turns.clear();
            self.room.forget();
            self.data_version = data_version;
        }
        Ok(())
    }

    /// Forgets everything: somebody wrote past it.
    pub(super) fn forget(&mut self) {
        self.ledgers.clear();
        self.turns.clear();
        self.taken.clear();
        self.room.forget();
    }

    /// Makes that what is recorded of a gateway is as the transaction reads it until it is committed. Whoever takes
    /// the turns of several takes them in their order, or may have to begin again.
    pub(super) fn take_turn(&mut self, db: &Db, gateway: &Gateway) -> Result<(), StoreError> {
        if self.taken.contains_key(gateway) {
            return Ok(());
        }
        let Some(turn) = db.take_turn(gateway.store.as_str(), gateway.gateway.as_str())? else {
            return Ok(());
        };
        if self.turns.remove(gateway) != Some(turn - 1) {
            // Another process had the one before.
            self.ledgers.retain(|(of, _), _| of != gateway);
        }
        self.taken.insert(*gateway, turn);
        Ok(())
    }

    /// What is known of an epoch, when nobody can have changed it.
    fn known(&self, key: &Key) -> Option<&Ledger> {
        self.ledgers.get(key).filter(|_| self.data_version.is_some() || self.taken.contains_key(&key.0))
    }

    /// What is recorded of an epoch.
    pub(super) fn ledger(&self, db: &Db, key: &Key) -> Result<Ledger, StoreError> {
        match self.known(key) {
            Some(ledger) => Ok(ledger.clone()),
            None => epoch::load(db, key),
        }
    }

    /// Takes over what was committed.
    pub(super) fn remember(&mut self, changes: BTreeMap<Key, Ledger>) {
        self.ledgers.extend(changes);
        self.turns.append(&mut self.taken);
    }

    /// The same as [`mark`](Self::mark), but `None`, and an error in the log, when one of the gateway's rows cannot
    /// be read: the others are told theirs.
    pub(super) fn readable_mark(
        &self,
        db: &Db,
        gateway: &Gateway,
        changes: &BTreeMap<Key, Ledger>,
    ) -> Result<Option<Watermark>, StoreError> {
        match self.mark(db, gateway, changes) {
            Ok(mark) => Ok(Some(mark)),
            Err(error) if error.is_of_every_message() => Err(error),
            Err(error) => {
                let Gateway { store, gateway, .. } = gateway;
                tracing::error!(%store, %gateway, %error, "cannot tell a watermark");
                Ok(None)
            }
        }
    }

    /// What is settled of one gateway, with what the transaction changed.
    pub(super) fn mark(
        &self,
        db: &Db,
        gateway: &Gateway,
        changes: &BTreeMap<Key, Ledger>,
    ) -> Result<Watermark, StoreError> {
        let texts: Vec<String> = db.all(
            "SELECT epoch FROM epoch WHERE store = ?1 AND gateway = ?2
             ORDER BY last_received DESC, epoch LIMIT ?3",
            binds![gateway.store.as_str(), gateway.gateway.as_str(), EPOCHS_PER_WATERMARK],
            |row| row.get(0),
        )?;
        let mut epochs = Vec::new();
        for text in texts {
            let epoch: Epoch = text.parse().map_err(|_| StoreError::Content {
                table: "epoch",
                value: text.clone(),
                wanted: "an epoch",
            })?;
            let key = (*gateway, epoch);
            epochs.push(match changes.get(&key).or_else(|| self.known(&key)) {
                Some(ledger) => ledger.mark(epoch),
                None => epoch::load(db, &key)?.mark(epoch),
            });
        }
        Ok(Watermark { v: watermark::VERSION, epochs, unreadable: self.unreadable.of(gateway, self.now) })
    }
}
