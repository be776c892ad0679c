//! One transaction. Enters: messages, one after the other. Leaves: rows of events, anchors, health and
//! quarantine; what becomes of each epoch; and which gateways are owed a watermark.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::admit;
use hangtag_central_core::ledger::Ledger;
use hangtag_central_core::loyalty::Keys;
use hangtag_protocol::batch::{Batch, Header};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::lineage::Apart;
use hangtag_protocol::range::SeqSet;
use hangtag_protocol::status::Status;
use hangtag_protocol::topic::{Channel, Gateway, Till};
use hangtag_protocol::watermark::Watermark;

use super::changed::Changed;
use super::clock::Clocks;
use super::db::{Db, binds};
use super::epoch::{self, Key};
use super::feed::Feed;
use super::memory::Memory;
use super::quarantine::{self, Kind, Of};
use super::sale::{self, Newer, Taken};
use super::sums::{Sum, Sums};
use super::{Message, StoreError, event};
use crate::pos::{self, Door};

/// One transaction.
pub(super) struct Group<'a> {
    pub(super) db: &'a Db,
    memory: &'a mut Memory,
    keys: &'a Keys,
    forks: Forks,
    newer: Newer,
    epochs: BTreeMap<Key, Change>,
    owed: BTreeSet<Gateway>,
    events: u64,
    pub(super) sums: Sums,
    lost: BTreeMap<Key, SeqSet>,
    clocks: Clocks,
    changed: Changed,
    feed: Feed,
}

/// What becomes of a batch that does not continue what is recorded of its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forks {
    /// Nobody stores it: its agent sends it again under numbers that nobody has used.
    Refuse,
    /// It is stored under an epoch of its own: its agent will not send it again.
    Adopt,
}

/// Under which epoch a batch comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under {
    /// The one that its agent gave it.
    Given,
    /// One of its own. So often was it parted from another.
    Own(u8),
}

/// What is true when the transaction is committed.
pub(super) struct Finished {
    /// The epochs that changed.
    pub ledgers: BTreeMap<Key, Ledger>,
    /// The watermarks that are owed.
    pub marks: BTreeMap<Gateway, Watermark>,
    /// What became of the batches.
    pub sums: Sums,
    /// The numbers that became gaps.
    pub lost: BTreeMap<Key, SeqSet>,
}

/// What a transaction does to an epoch.
struct Change {
    before: Ledger,
    after: Ledger,
    received: UnixMillis,
}

impl<'a> Group<'a> {
    /// Begins.
    pub(super) fn new(db: &'a Db, memory: &'a mut Memory, keys: &'a Keys, forks: Forks) -> Self {
        let (epochs, owed, lost) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (sums, clocks, changed, feed) =
            (Sums::default(), Clocks::default(), Changed::default(), Feed::default());
        let newer = Newer::Goes;
        Self { db, memory, keys, forks, newer, epochs, owed, events: 0, sums, lost, clocks, changed, feed }
    }

    /// What is taken waited: it takes nothing's place that came after it.
    pub(super) fn of_old(self) -> Self {
        Self { newer: Newer::Stays, ..self }
    }

    /// Nobody else changes what is recorded of a gateway before this is committed.
    pub(super) fn take_turn(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        self.memory.take_turn(self.db, gateway)
    }

    /// How many events the batches held.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Writes what is recorded of the epochs, and reads the watermarks that are owed.
    pub(super) fn finish(self) -> Result<Finished, StoreError> {
        self.changed.write(self.db)?;
        self.feed.write(self.db)?;
        let mut ledgers = BTreeMap::new();
        for (key, Change { before, after, received }) in self.epochs {
            epoch::save(self.db, &key, &before, &after, received)?;
            ledgers.insert(key, after);
        }
        let mut marks = BTreeMap::new();
        for gateway in self.owed {
            if let Some(mark) = self.memory.readable_mark(self.db, &gateway, &ledgers)? {
                marks.insert(gateway, mark);
            }
        }
        Ok(Finished { ledgers, marks, sums: self.sums, lost: self.lost })
    }

    /// Takes a message as it came.
    pub(super) fn take(&mut self, message: &Message) -> Result<(), StoreError> {
        self.memory.now = message.received;
        if let Some(till) = Till::parse(&message.topic) {
            return self.take_told(message, &till);
        }
        match Gateway::parse(&message.topic) {
            Ok((gateway, Channel::Events)) => self.take_events(message, &gateway),
            Ok((gateway, Channel::Status)) => self.take_status(message, &gateway),
            Ok((gateway, Channel::Ack)) => {
                self.refuse(message, Some(&gateway), "central does not listen to watermarks")
            }
            Err(why) => self.refuse(message, None, &why.to_string()),
        }
    }

    /// Stores a payload that is in quarantine, if it can be read, and takes it out.
    pub(super) fn replay(&mut self, id: i64) -> Result<(), StoreError> {
        let Some(message) = quarantine::message(self.db, id)? else { return Ok(()) };
        let Ok((header, body)) = Batch::decode_header(&message.payload) else { return Ok(()) };
        let Ok(batch) = Batch::decode_body(header, body) else { return Ok(()) };
        if admit::admit(&batch).is_err() {
            return Ok(());
        }
        self.owe(&header.gateway)?;
        self.take_batch(&message, &batch, Under::Given)?;
        if self.sums.new.batches + self.sums.known.batches > 0 {
            quarantine::remove(self.db, id)?;
            self.memory.room.forget();
        }
        Ok(())
    }

    /// A gateway is to be told its watermark, and nobody else changes that before it is committed.
    pub(super) fn owe(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        self.take_turn(gateway)?;
        self.owed.insert(*gateway);
        Ok(())
    }

    fn take_events(&mut self, message: &Message, gateway: &Gateway) -> Result<(), StoreError> {
        let (header, body) = match Batch::decode_header(&message.payload) {
            Ok(decoded) => decoded,
            Err(why) => {
                self.memory.unreadable.note(gateway, &message.payload, message.received);
                self.owe(gateway)?;
                return self.refuse(message, Some(gateway), &format!("header: {why}"));
            }
        };
        if let Err(reason) = acceptable(&header, gateway) {
            return self.refuse(message, Some(gateway), &reason);
        }
        self.events += u64::from(header.count);
        self.owe(gateway)?;
        let batch = Batch::decode_body(header, body).map_err(|why| why.to_string());
        match batch.and_then(|batch| admit::admit(&batch).map(|()| batch).map_err(|why| why.to_string())) {
            Ok(batch) => self.take_batch(message, &batch, Under::Given),
            Err(why) => {
                let reason = format!("body: {why}");
                tracing::warn!(topic = message.topic, numbers = ?header.range(), reason, "cannot use a batch");
                self.settle_aside(message, &header, &reason)
            }
        }
    }

    /// Stores a batch as far as it continues what is recorded; what does not is refused or adopted.
    pub(super) fn take_batch(
        &mut self,
        message: &Message,
        batch: &Batch,
        under: Under,
    ) -> Result<(), StoreError> {
        let header = &batch.header;
        let (topic, epoch, numbers) = (&message.topic, header.epoch, header.range());
        let mut ledger = self.change(header, message.received)?.after.clone();
        if let Err(apart) = ledger.join(&batch.lineage, numbers.last, &batch.lost, batch.oldest_held) {
            return match self.forks {
                Forks::Adopt => self.adopt(message, batch, apart, under),
                Forks::Refuse => self.turn_away(message, header, apart),
            };
        }
        let mut verdict = ledger.weigh(numbers, &batch.lost);
        if let Some(seq) = event::conflict(self.db, batch, &verdict.known)? {
            let reason = format!("conflict: same id, other content: event {seq} of epoch {epoch}");
            tracing::error!(topic, ?numbers, reason, "cannot use a batch");
            return self.settle_aside(message, header, &reason);
        }
        for anchor in batch.anchors.iter().filter(|anchor| admit::plausible(anchor)) {
            let changed = self.clocks.learn(self.db, &header.gateway, anchor, &mut self.changed)?;
            if changed > 0 {
                self.feed.note_clock(&header.gateway, anchor.boot);
            }
            tracing::debug!(topic, boot = %anchor.boot, changed, "learned a clock anchor");
        }
        if let Under::Own(_) = under {
            self.leave_out_twins(batch, &mut verdict)?;
        }
        let notes = (&mut self.clocks, &mut self.changed, &mut self.feed);
        event::insert(self.db, self.keys, batch, &verdict.fresh, message.received, notes)?;
        ledger.settle(&verdict);
        self.sums.count(&verdict.fresh, &verdict.known);
        let change = self.change(header, message.received)?;
        if change.after.oldest_held() < ledger.oldest_held() {
            let unexplained = ledger.unexplained();
            if !unexplained.is_empty() && unexplained != change.after.unexplained() {
                tracing::warn!(topic, %epoch, numbers = ?unexplained, "the gateway has these no more, and did not say why");
            }
        }
        change.after = ledger;
        if !verdict.opened.is_empty() {
            tracing::warn!(topic, %epoch, numbers = ?verdict.opened, "events were lost");
            let lost = self.lost.entry((header.gateway, epoch)).or_default();
            verdict.opened.iter().for_each(|range| lost.insert(*range));
        }
        if !verdict.late.is_empty() {
            tracing::info!(topic, %epoch, numbers = ?verdict.late, "late events closed a gap");
        }
        Ok(())
    }

    /// Does not store a batch that does not continue what is recorded.
    pub(super) fn turn_away(
        &mut self,
        message: &Message,
        header: &Header,
        apart: Apart,
    ) -> Result<(), StoreError> {
        let (topic, epoch, numbers) = (&message.topic, header.epoch, header.range());
        match apart {
            Apart::Fork(from) => {
                tracing::error!(
                    topic, %epoch, ?numbers, %from,
                    "refused a batch of a gateway whose numbers another one used: is its disk a copy of another's?"
                );
                self.keep(message, Of::Batch(header), Kind::Fork, &format!("fork: {apart}"))?;
                self.sums.forked += Sum::of(numbers);
            }
            Apart::Unknown => {
                tracing::info!(topic, %epoch, ?numbers, "left a batch that does not tell enough of its lineage");
                self.sums.untold += Sum::of(numbers);
            }
        }
        Ok(())
    }

    /// Stores what is good of what a till told; when a part is wrong the whole is kept for people too.
    fn take_told(&mut self, message: &Message, till: &Till) -> Result<(), StoreError> {
        let Till { store, about, .. } = *till;
        let mut told =
            pos::json(&message.payload, Door { about, store: Some(store), is_told: true, shops: None });
        let Taken { new, known, replaced, refused } =
            sale::insert(self.db, &told.rows, (message.received, self.newer), &mut self.changed)?;
        tracing::debug!(topic = message.topic, new, known, replaced, "took what a till told");
        self.events += told.places.len() as u64;
        told.refused(refused);
        let Some(reason) = told.reason() else { return Ok(()) };
        tracing::warn!(topic = message.topic, reason, "cannot use all that a till told");
        self.sums.aside.batches += 1;
        self.keep(message, Of::Shop(store), Kind::Refused, &reason).map(drop)
    }

    fn take_status(&mut self, message: &Message, gateway: &Gateway) -> Result<(), StoreError> {
        let status: Result<Status, _> = serde_json::from_slice(&message.payload);
        let body = match (status, std::str::from_utf8(&message.payload)) {
            (Ok(_), Ok(body)) => body,
            (Err(why), _) => return self.refuse(message, Some(gateway), &format!("status: {why}")),
            (_, Err(why)) => return self.refuse(message, Some(gateway), &format!("status: {why}")),
        };
        // A broker hands a retained message out again at every connection: it is as old as when it first came.
        let upsert = "INSERT INTO status VALUES (?1, ?2, ?3, ?4) ON CONFLICT (store, gateway) DO UPDATE SET
            received = CASE WHEN status.body = excluded.body THEN status.received ELSE excluded.received END,
            body = excluded.body";
        let only_older = match self.newer {
            Newer::Goes => "",
            Newer::Stays => " WHERE status.received <= excluded.received",
        };
        let (store, name) = (gateway.store.as_str(), gateway.gateway.as_str());
        self.db.execute(&format!("{upsert}{only_older}"), binds![store, name, message.received.0, body])?;
        // A watermark that the broker kept from before this database was restored must not stand.
        self.owe(gateway)?;
        Ok(())
    }

    /// Keeps a message that the database cannot store.
    pub(super) fn set_poison_aside(&mut self, message: &Message, reason: &str) -> Result<(), StoreError> {
        let gateway = Gateway::parse(&message.topic).ok().map(|(gateway, _)| gateway);
        let header = Batch::decode_header(&message.payload).ok().map(|(header, _)| header);
        tracing::error!(topic = message.topic, reason, "cannot store a message, setting it aside");
        match (gateway, header) {
            (Some(gateway), Some(header)) if acceptable(&header, &gateway).is_ok() => {
                self.owe(&gateway)?;
                self.settle_aside(message, &header, reason)
            }
            (gateway, _) => self.refuse(message, gateway.as_ref(), reason),
        }
    }

    /// Keeps a message of a gateway whose record cannot be read: neither the record nor a watermark is touched.
    pub(super) fn keep_unsettled(&mut self, message: &Message, reason: &str) -> Result<(), StoreError> {
        let gateway = Gateway::parse(&message.topic).ok().map(|(gateway, _)| gateway);
        tracing::error!(topic = message.topic, reason, "cannot settle a message, keeping it as it came");
        self.refuse(message, gateway.as_ref(), reason)
    }

    /// Keeps a message that settles nothing, while there is room.
    fn refuse(
        &mut self,
        message: &Message,
        gateway: Option<&Gateway>,
        reason: &str,
    ) -> Result<(), StoreError> {
        tracing::warn!(topic = message.topic, bytes = message.payload.len(), reason, "refused a message");
        self.sums.aside.batches += 1;
        let of = gateway.map_or(Of::Nobody, Of::Gateway);
        self.keep(message, of, Kind::Refused, reason).map(drop)
    }

    /// Keeps a batch whose header is good, and settles its numbers; neither when there is no room.
    fn settle_aside(&mut self, message: &Message, header: &Header, reason: &str) -> Result<(), StoreError> {
        if self.keep(message, Of::Batch(header), Kind::Settled, reason)? {
            self.change(header, message.received)?.after.quarantine(header.range());
            self.sums.aside += Sum::of(header.range());
        } else {
            self.sums.left += Sum::of(header.range());
        }
        Ok(())
    }

    /// Keeps a payload. False when there is no room.
    fn keep(&mut self, message: &Message, of: Of<'_>, kind: Kind, reason: &str) -> Result<bool, StoreError> {
        quarantine::keep(self.db, &mut self.memory.room, message, of, (kind, reason))
    }

    /// Takes a batch out of quarantine that is stored after all.
    pub(super) fn release(&mut self, message: &Message) -> Result<(), StoreError> {
        quarantine::remove_fork(self.db, message)?;
        self.memory.room.forget();
        Ok(())
    }

    /// What is recorded of an epoch, with what this transaction changed.
    pub(super) fn ledger(&self, key: &Key) -> Result<Ledger, StoreError> {
        match self.epochs.get(key) {
            Some(change) => Ok(change.after.clone()),
            None => self.memory.ledger(self.db, key),
        }
    }

    /// The record of the epoch of a batch that came.
    fn change(&mut self, header: &Header, received: UnixMillis) -> Result<&mut Change, StoreError> {
        let key = (header.gateway, header.epoch);
        Ok(match self.epochs.entry(key) {
            Entry::Occupied(entry) => {
                let change = entry.into_mut();
                change.received = received;
                change
            }
            Entry::Vacant(entry) => {
                let before = self.memory.ledger(self.db, &key)?;
                entry.insert(Change { after: before.clone(), before, received })
            }
        })
    }
}

/// Whether a batch on this gateway's topic can be the gateway's.
fn acceptable(header: &Header, gateway: &Gateway) -> Result<(), String> {
    if header.gateway != *gateway {
        let Gateway { tenant, store, gateway } = header.gateway;
        return Err(format!("header: is of {tenant}/{store}/{gateway}, which is not the topic's gateway"));
    }
    admit::admit_header(header).map_err(|why| format!("header: {why}"))
}
