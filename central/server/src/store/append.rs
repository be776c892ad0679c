//! The writing side. Enters: messages as they came from the broker or a file. Leaves: the watermarks of the
//! gateways that are owed one, as of the same transaction. A group of messages is stored in one transaction,
//! whole or not at all, and the same messages again change nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hangtag_central_core::loyalty::Keys;
use hangtag_protocol::batch::Batch;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{GatewayId, StoreId, TenantId};
use hangtag_protocol::range::SeqSet;
use hangtag_protocol::topic::Gateway;
use hangtag_protocol::watermark::Watermark;

use super::changed::Changed;
use super::db::{Db, Mode};
use super::epoch::Key;
use super::group::{Finished, Forks, Group};
use super::memory::Memory;
use super::sale::{self, Newer, Taken};
use super::sums::Sums;
use super::{Address, StoreError, loyalty, open_to_write, quarantine};
use crate::pos::Rows;

/// A group ends with the message that brings it to so many events, or that was taken after so long, whatever comes
/// first, so that a live batch behind it does not wait long.
pub(super) const EVENTS_PER_GROUP: u64 = 4_096;
const GROUP_TAKES: Duration = Duration::from_millis(100);
/// How often a transaction is tried that the database gave up in favour of another process's.
const TRIES: u32 = 5;

/// One message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// When it came.
    pub received: UnixMillis,
}

impl Message {
    /// Whether it is a batch that waited out an outage.
    pub(super) fn is_replayed(&self) -> bool {
        Batch::decode_header(&self.payload).is_ok_and(|(header, _)| header.replayed)
    }
}

/// What a database is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Whose database it is.
    pub tenant: TenantId,
    /// The most bytes that quarantine takes.
    pub quarantine_bytes: u64,
    /// What opens loyalty codes.
    pub keys: Arc<Keys>,
}

/// What became of a group.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// How many messages, from the first on, were in the transaction: at least one.
    pub taken: usize,
    /// The watermarks that are owed.
    pub marks: BTreeMap<Gateway, Watermark>,
    /// What became of the batches.
    pub sums: Sums,
    /// The numbers that became gaps, per epoch.
    pub lost: BTreeMap<Key, SeqSet>,
}

/// The writing side of the database.
pub(crate) struct Store {
    pub(super) db: Db,
    pub(super) tenant: TenantId,
    pub(super) keys: Arc<Keys>,
    pub(super) memory: Memory,
}

impl Store {
    /// Opens the database; makes its tables, and its file, when they are missing.
    ///
    /// # Errors
    /// When it cannot be opened, is another tenant's, or a newer program made it.
    pub(crate) fn open(address: &Address, options: Options) -> Result<Self, StoreError> {
        let db = open_to_write(address, options.tenant)?;
        loyalty::check_secret(&db, address, &options.keys)?;
        let memory = Memory::new(options.quarantine_bytes);
        Ok(Self { db, tenant: options.tenant, keys: options.keys, memory })
    }

    /// Stores messages, from the first one on, in one transaction.
    ///
    /// # Errors
    /// When the database fails: nothing was stored then, and the same messages can be tried again.
    pub(crate) fn append<'m>(
        &mut self,
        messages: impl IntoIterator<Item = &'m Message>,
    ) -> Result<Appended, StoreError> {
        self.append_with(messages, Forks::Refuse)
    }

    /// The same, with a say in what becomes of batches that do not continue what is recorded.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    pub(crate) fn append_with<'m>(
        &mut self,
        messages: impl IntoIterator<Item = &'m Message>,
        forks: Forks,
    ) -> Result<Appended, StoreError> {
        let messages: Vec<&Message> = messages.into_iter().collect();
        // In one order, or two processes could wait for each other.
        let topics = messages.iter().filter_map(|message| Gateway::parse(&message.topic).ok());
        let gateways: BTreeSet<Gateway> = topics.map(|(gateway, _)| gateway).collect();
        self.transact(forks, |group| {
            let last = Instant::now() + GROUP_TAKES;
            gateways.iter().try_for_each(|gateway| group.take_turn(gateway))?;
            let mut taken = 0;
            for message in &messages {
                group.take(message)?;
                taken += 1;
                if group.events() >= EVENTS_PER_GROUP || Instant::now() >= last {
                    break;
                }
            }
            Ok(taken)
        })
    }

    /// Keeps a message that the database cannot store, and settles its numbers when its header is good.
    ///
    /// # Errors
    /// When the database cannot even do that.
    pub(crate) fn set_aside(&mut self, message: &Message, reason: &str) -> Result<Appended, StoreError> {
        self.transact(Forks::Refuse, |group| group.set_poison_aside(message, reason).map(|()| 1))
    }

    /// Keeps a message that cannot even be set aside, because what is recorded of its gateway cannot be read.
    /// Settles nothing, and tells no watermark: its agent goes on to hold its events.
    ///
    /// # Errors
    /// When the database cannot even do that.
    pub(crate) fn keep_unsettled(&mut self, message: &Message, reason: &str) -> Result<Appended, StoreError> {
        self.transact(Forks::Refuse, |group| group.keep_unsettled(message, reason).map(|()| 1))
    }

    /// The payloads in quarantine that this version may be able to store although an earlier one could not.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn replayable(&self) -> Result<VecDeque<i64>, StoreError> {
        quarantine::replayable(&self.db)
    }

    /// Stores a payload in quarantine as if it came, and takes it out when that succeeds.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn replay(&mut self, id: i64) -> Result<Appended, StoreError> {
        self.transact(Forks::Refuse, |group| group.replay(id).map(|()| 1))
    }

    /// Opens loyalty codes that came before their key did, at most so many. How many there were: none when
    /// all that can be opened is.
    ///
    /// # Errors
    /// When the database fails; nothing was opened then.
    pub(crate) fn open_sealed(&mut self, most: u32) -> Result<usize, StoreError> {
        let transaction = self.db.transaction(Mode::Write)?;
        let opened = loyalty::open_sealed(&transaction, &self.keys, most)?;
        transaction.commit()?;
        Ok(opened)
    }

    /// Stores what tills told, in one transaction.
    ///
    /// # Errors
    /// When the database fails: nothing was stored then, and the same can be tried again.
    pub(crate) fn append_sales(&mut self, rows: &Rows, received: UnixMillis) -> Result<Taken, StoreError> {
        let transaction = self.db.transaction(Mode::Write)?;
        let mut changed = Changed::default();
        let taken = sale::insert(&transaction, rows, (received, Newer::Goes), &mut changed)?;
        changed.write(&transaction)?;
        transaction.commit()?;
        Ok(taken)
    }

    fn transact(
        &mut self,
        forks: Forks,
        mut work: impl FnMut(&mut Group<'_>) -> Result<usize, StoreError>,
    ) -> Result<Appended, StoreError> {
        let mut tries = TRIES;
        loop {
            let done = self.try_transact(forks, &mut work).inspect_err(|_| self.memory.room.forget());
            match done {
                Err(StoreError::Statement(why)) if why.is_passing() && tries > 1 => {
                    tracing::debug!(%why, "the database asks for a transaction again");
                    tries -= 1;
                }
                done => return done,
            }
        }
    }

    fn try_transact(
        &mut self,
        forks: Forks,
        work: impl FnOnce(&mut Group<'_>) -> Result<usize, StoreError>,
    ) -> Result<Appended, StoreError> {
        let transaction = self.db.transaction(Mode::Write)?;
        self.memory.refresh(&transaction)?;
        let mut group = Group::new(&transaction, &mut self.memory, &self.keys, forks);
        let taken = work(&mut group)?;
        let Finished { ledgers, marks, sums, lost } = group.finish()?;
        transaction.commit()?;
        self.memory.remember(ledgers);
        Ok(Appended { taken, marks, sums, lost })
    }

    /// The watermarks of all gateways that ever sent something, but for those of whom a row cannot be read.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn watermarks(&mut self) -> Result<BTreeMap<Gateway, Watermark>, StoreError> {
        let gateways = self.gateways()?;
        self.watermarks_of(gateways)
    }

    /// Those of some gateways.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn watermarks_of(
        &mut self,
        gateways: BTreeSet<Gateway>,
    ) -> Result<BTreeMap<Gateway, Watermark>, StoreError> {
        let transaction = self.db.transaction(Mode::Read)?;
        self.memory.refresh(&transaction)?;
        let mut marks = BTreeMap::new();
        for gateway in gateways {
            if let Some(mark) = self.memory.readable_mark(&transaction, &gateway, &BTreeMap::new())? {
                marks.insert(gateway, mark);
            }
        }
        Ok(marks)
    }

    /// What is settled of one gateway.
    ///
    /// # Errors
    /// When the database fails.
    #[cfg(test)]
    pub(crate) fn watermark(&mut self, gateway: &Gateway) -> Result<Watermark, StoreError> {
        let transaction = self.db.transaction(Mode::Read)?;
        self.memory.refresh(&transaction)?;
        self.memory.mark(&transaction, gateway, &BTreeMap::new())
    }

    fn gateways(&self) -> Result<BTreeSet<Gateway>, StoreError> {
        let mut gateways = BTreeSet::new();
        let question = "SELECT store, gateway FROM epoch UNION SELECT store, gateway FROM status";
        self.db.each(question, &[], |row| {
            let named = row.get(0).and_then(|store| self.named(store, row.get(1)?));
            match named {
                Ok(gateway) => drop(gateways.insert(gateway)),
                Err(error) => tracing::error!(%error, "cannot read the name of a gateway"),
            }
            Ok(())
        })?;
        Ok(gateways)
    }

    fn named(&self, store: &str, gateway: &str) -> Result<Gateway, StoreError> {
        let wrong = |value: &str| StoreError::Content {
            table: "epoch or status",
            value: value.to_owned(),
            wanted: "a name",
        };
        Ok(Gateway {
            tenant: self.tenant,
            store: StoreId::new(store).map_err(|_| wrong(store))?,
            gateway: GatewayId::new(gateway).map_err(|_| wrong(gateway))?,
        })
    }
}
