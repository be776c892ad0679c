//! Storing messages, each event exactly once. Enters: messages as they came from the broker. Leaves:
//! the gateways whose watermark changed. A group of messages is stored in one transaction, whole or
//! not at all, and the same messages again change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hangtag_central_core::admit;
use hangtag_central_core::ledger::{Fate, Ledger};
use hangtag_protocol::batch::{Batch, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime, time_of_day};
use hangtag_protocol::event::{Event, ReaderState, What};
use hangtag_protocol::id::{Epoch, GatewayId, Seq, StoreId, TenantId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::status::Status;
use hangtag_protocol::topic::{Channel, Gateway};
use hangtag_protocol::watermark::{self, Watermark};
use rusqlite::{Connection, params};

use super::{StoreError, clock, open_to_write, quarantine};

/// The most epochs that a watermark tells of: the last ones that sent anything.
const EPOCHS_PER_WATERMARK: u32 = 4;
/// Ledgers that are kept in memory; each is a few ranges.
const LEDGERS_IN_MEMORY: usize = 4_096;

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

/// The writing side of the database.
pub(crate) struct Store {
    db: Connection,
    tenant: TenantId,
    ledgers: BTreeMap<(Gateway, Epoch), Ledger>,
}

impl Store {
    /// Opens the file; makes it when it is missing.
    ///
    /// # Errors
    /// When it cannot be opened, or a newer program made it.
    pub(crate) fn open(path: &Path, tenant: TenantId) -> Result<Self, StoreError> {
        Ok(Self { db: open_to_write(path)?, tenant, ledgers: BTreeMap::new() })
    }

    /// Stores messages in one transaction and returns the gateways that are owed a watermark.
    ///
    /// # Errors
    /// When the database fails: nothing was stored then, and the same messages can be tried again.
    pub(crate) fn append(&mut self, messages: &[Message]) -> Result<BTreeSet<Gateway>, StoreError> {
        let mut ledgers = std::mem::take(&mut self.ledgers);
        if ledgers.len() > LEDGERS_IN_MEMORY {
            ledgers.clear();
        }
        let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut group = Group { db: &transaction, ledgers, owed: BTreeSet::new() };
        for message in messages {
            group.take(message)?;
        }
        let Group { ledgers, owed, .. } = group;
        transaction.commit()?;
        // Only what is in the database may be remembered; after an error it is read again.
        self.ledgers = ledgers;
        Ok(owed)
    }

    /// Every gateway that ever sent something.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn gateways(&self) -> Result<BTreeSet<Gateway>, StoreError> {
        let mut query = self
            .db
            .prepare_cached("SELECT store, gateway FROM epoch UNION SELECT store, gateway FROM status")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut gateways = BTreeSet::new();
        for row in rows {
            let (store, gateway) = row?;
            let wrong = |value: &str| StoreError::Content {
                table: "epoch or status",
                value: value.to_owned(),
                wanted: "a name",
            };
            gateways.insert(Gateway {
                tenant: self.tenant,
                store: StoreId::new(&store).map_err(|_| wrong(&store))?,
                gateway: GatewayId::new(&gateway).map_err(|_| wrong(&gateway))?,
            });
        }
        Ok(gateways)
    }

    /// What is settled of one gateway.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn watermark(&mut self, gateway: &Gateway) -> Result<Watermark, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT epoch FROM epoch WHERE store = ?1 AND gateway = ?2 ORDER BY last_received DESC LIMIT ?3",
        )?;
        let of = params![gateway.store.as_str(), gateway.gateway.as_str(), EPOCHS_PER_WATERMARK];
        let texts = query.query_map(of, |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let mut epochs = Vec::new();
        for text in texts {
            let epoch: Epoch = text.parse().map_err(|_| StoreError::Content {
                table: "epoch",
                value: text.clone(),
                wanted: "an epoch",
            })?;
            let mark = match self.ledgers.get(&(*gateway, epoch)) {
                Some(ledger) => ledger.mark(epoch, Lineage::default()),
                None => load(&self.db, gateway, epoch)?.mark(epoch, Lineage::default()),
            };
            epochs.push(mark);
        }
        Ok(Watermark { v: watermark::VERSION, epochs, unreadable: Vec::new() })
    }
}

/// One transaction.
struct Group<'a> {
    db: &'a Connection,
    ledgers: BTreeMap<(Gateway, Epoch), Ledger>,
    owed: BTreeSet<Gateway>,
}

impl Group<'_> {
    fn take(&mut self, message: &Message) -> Result<(), StoreError> {
        match Gateway::parse(&message.topic) {
            Ok((gateway, Channel::Events)) => self.take_events(message, &gateway),
            Ok((gateway, Channel::Status)) => self.take_status(message, &gateway),
            Ok((gateway, Channel::Ack)) => {
                self.refuse(message, Some(&gateway), "central does not listen to watermarks")
            }
            Err(why) => self.refuse(message, None, &why.to_string()),
        }
    }

    fn take_events(&mut self, message: &Message, gateway: &Gateway) -> Result<(), StoreError> {
        let (header, body) = match Batch::decode_header(&message.payload) {
            Ok(decoded) => decoded,
            Err(why) => return self.refuse(message, Some(gateway), &format!("header: {why}")),
        };
        if header.gateway != *gateway {
            let Gateway { tenant, store, gateway: id } = header.gateway;
            let reason = format!("header: is of {tenant}/{store}/{id}, which is not the topic's gateway");
            return self.refuse(message, Some(gateway), &reason);
        }
        if let Err(why) = admit::admit_header(&header) {
            return self.refuse(message, Some(gateway), &format!("header: {why}"));
        }
        self.touch(&header, message.received)?;
        self.owed.insert(*gateway);
        let batch = Batch::decode_body(header, body).map_err(|why| why.to_string());
        match batch.and_then(|batch| admit::admit(&batch).map(|()| batch).map_err(|why| why.to_string())) {
            Ok(batch) => self.take_batch(message, &batch),
            Err(why) => {
                let reason = format!("body: {why}");
                tracing::warn!(topic = message.topic, numbers = ?header.range(), reason, "quarantined a batch");
                self.set_aside(message, &header, &reason)
            }
        }
    }

    fn take_batch(&mut self, message: &Message, batch: &Batch) -> Result<(), StoreError> {
        let header = &batch.header;
        let mut ledger = self.ledger(header)?;
        let verdict = ledger.weigh(header.range(), &batch.lost);
        if let Some(seq) = self.conflict(batch, &verdict.known)? {
            let reason = format!("conflict: same id, other content: event {} of epoch {}", seq, header.epoch);
            tracing::error!(topic = message.topic, numbers = ?header.range(), reason, "quarantined a batch");
            return self.set_aside(message, header, &reason);
        }
        for anchor in batch.anchors.iter().filter(|anchor| admit::plausible(anchor)) {
            let changed = clock::learn(self.db, &header.gateway, anchor)?;
            tracing::debug!(topic = message.topic, boot = %anchor.boot, changed, "learned a clock anchor");
        }
        self.insert(batch, &verdict.fresh, message.received)?;
        let before = ledger.clone();
        ledger.settle(&verdict);
        self.save(header, &before, ledger)?;
        if !verdict.opened.is_empty() {
            tracing::warn!(topic = message.topic, epoch = %header.epoch, numbers = ?verdict.opened, "events were lost");
        }
        if !verdict.late.is_empty() {
            tracing::info!(topic = message.topic, epoch = %header.epoch, numbers = ?verdict.late, "late events closed a gap");
        }
        Ok(())
    }

    fn take_status(&mut self, message: &Message, gateway: &Gateway) -> Result<(), StoreError> {
        let status: Result<Status, _> = serde_json::from_slice(&message.payload);
        let body = match (status, std::str::from_utf8(&message.payload)) {
            (Ok(_), Ok(body)) => body,
            (Err(why), _) => return self.refuse(message, Some(gateway), &format!("status: {why}")),
            (_, Err(why)) => return self.refuse(message, Some(gateway), &format!("status: {why}")),
        };
        // A broker hands a retained message out again at every connection: it is as old as when it first came.
        let upsert = "INSERT INTO status VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET
            received = CASE WHEN body = excluded.body THEN received ELSE excluded.received END,
            body = excluded.body";
        self.db.prepare_cached(upsert)?.execute(params![
            gateway.store.as_str(),
            gateway.gateway.as_str(),
            message.received.0,
            body
        ])?;
        // A watermark that the broker kept from before this database was restored must not stand.
        self.owed.insert(*gateway);
        Ok(())
    }

    /// Keeps a message that settles nothing.
    fn refuse(&self, message: &Message, gateway: Option<&Gateway>, reason: &str) -> Result<(), StoreError> {
        tracing::warn!(topic = message.topic, bytes = message.payload.len(), reason, "quarantined a message");
        quarantine::keep(self.db, message, gateway, None, reason)
    }

    /// Keeps a batch whose header is good, and settles its numbers.
    fn set_aside(&mut self, message: &Message, header: &Header, reason: &str) -> Result<(), StoreError> {
        quarantine::keep(self.db, message, Some(&header.gateway), Some(header), reason)?;
        let before = self.ledger(header)?;
        let mut ledger = before.clone();
        ledger.quarantine(header.range());
        self.save(header, &before, ledger)
    }

    fn touch(&self, header: &Header, received: UnixMillis) -> Result<(), StoreError> {
        self.db
            .prepare_cached(
                "INSERT INTO epoch VALUES (?1, ?2, ?3, ?4, ?4)
                 ON CONFLICT DO UPDATE SET last_received = excluded.last_received",
            )?
            .execute(params![
                header.gateway.store.as_str(),
                header.gateway.gateway.as_str(),
                header.epoch.to_string(),
                received.0
            ])?;
        Ok(())
    }

    /// The first event whose stored content is another.
    fn conflict(&self, batch: &Batch, known: &[SeqRange]) -> Result<Option<Seq>, StoreError> {
        let header = &batch.header;
        let mut query = self.db.prepare_cached(
            "SELECT seq, digest FROM event
             WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq BETWEEN ?4 AND ?5",
        )?;
        for range in known {
            let mut rows = query.query(params![
                header.gateway.store.as_str(),
                header.gateway.gateway.as_str(),
                header.epoch.to_string(),
                range.first.0.cast_signed(),
                range.last.0.cast_signed()
            ])?;
            while let Some(row) = rows.next()? {
                let (seq, digest) = (Seq(row.get::<_, i64>(0)?.cast_unsigned()), row.get::<_, u32>(1)?);
                if event_of(batch, seq).digest() != digest {
                    return Ok(Some(seq));
                }
            }
        }
        Ok(None)
    }

    fn insert(&self, batch: &Batch, fresh: &[SeqRange], received: UnixMillis) -> Result<(), StoreError> {
        let header = &batch.header;
        let epoch = header.epoch.to_string();
        let mut boots = BTreeMap::<BootId, (Uptime, Uptime)>::new();
        for event in &batch.events {
            let (from, to) = boots.entry(event.boot).or_insert((event.at, event.at));
            (*from, *to) = ((*from).min(event.at), (*to).max(event.at));
        }
        let mut anchors: Vec<ClockAnchor> = Vec::new();
        for (boot, between) in boots {
            anchors.extend(clock::anchors(self.db, &header.gateway, boot, between)?);
        }
        let mut insert = self.db.prepare_cached(
            "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
             ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24) ON CONFLICT DO NOTHING",
        )?;
        for seq in fresh.iter().flat_map(|range| range.first.0..=range.last.0).map(Seq) {
            let event = event_of(batch, seq);
            let wall = time_of_day(&anchors, event.boot, event.at);
            let garment = event.garment();
            let evidence = garment.map(|(_, _, _, evidence)| evidence);
            let (coverage, retracts) = match event.what {
                What::Coverage(coverage) => (Some(coverage), None),
                What::Retracted { seq } => (None, Some(seq)),
                What::PickedUp(_)
                | What::PutDown(_)
                | What::CarriedIn(_)
                | What::TriedOn(_)
                | What::CarriedOut(_) => (None, None),
            };
            insert.execute(params![
                header.gateway.store.as_str(),
                header.gateway.gateway.as_str(),
                epoch,
                seq.0.cast_signed(),
                event.boot.to_string(),
                event.at.0.cast_signed(),
                wall.map(|(at, _)| at.0),
                wall.map(|(_, error)| error),
                event.kind().name(),
                event.confidence,
                garment.map(|(epc, ..)| epc.to_string()),
                garment.and_then(|(epc, ..)| Some(epc.sgtin()?.gtin().to_string())),
                garment.map(|(_, zone, ..)| zone.to_string()),
                garment.and_then(|(_, _, visit, _)| Some(visit?.0.cast_signed())),
                evidence.map(|e| e.reads),
                evidence.map(|e| e.margin_db),
                evidence.map(|e| e.unrest),
                evidence.map(|e| e.dwell_ds),
                coverage.map(|c| c.reader.to_string()),
                coverage.map(|c| state_name(c.state)),
                coverage.map(|c| c.from.0.cast_signed()),
                retracts.map(|seq| seq.0.cast_signed()),
                event.digest(),
                received.0,
            ])?;
        }
        Ok(())
    }

    fn ledger(&self, header: &Header) -> Result<Ledger, StoreError> {
        match self.ledgers.get(&(header.gateway, header.epoch)) {
            Some(ledger) => Ok(ledger.clone()),
            None => load(self.db, &header.gateway, header.epoch),
        }
    }

    /// Writes the ranges that changed.
    fn save(&mut self, header: &Header, before: &Ledger, after: Ledger) -> Result<(), StoreError> {
        let (store, gateway) = (header.gateway.store, header.gateway.gateway);
        let epoch = header.epoch.to_string();
        let mut delete = self.db.prepare_cached(
            "DELETE FROM settled WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND fate = ?4 AND first = ?5",
        )?;
        let mut insert = self.db.prepare_cached("INSERT INTO settled VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for fate in Fate::ALL {
            let (old, new) = (before.set(fate).ranges(), after.set(fate).ranges());
            for range in old.iter().filter(|range| new.binary_search(range).is_err()) {
                let first = range.first.0.cast_signed();
                delete.execute(params![store.as_str(), gateway.as_str(), epoch, fate.name(), first])?;
            }
            for range in new.iter().filter(|range| old.binary_search(range).is_err()) {
                let (first, last) = (range.first.0.cast_signed(), range.last.0.cast_signed());
                insert.execute(params![store.as_str(), gateway.as_str(), epoch, fate.name(), first, last])?;
            }
        }
        self.ledgers.insert((header.gateway, header.epoch), after);
        Ok(())
    }
}

fn event_of(batch: &Batch, seq: Seq) -> &Event {
    let at = usize::try_from(seq.0 - batch.header.first.0).expect("a batch's numbers are its own");
    &batch.events[at]
}

fn load(db: &Connection, gateway: &Gateway, epoch: Epoch) -> Result<Ledger, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT fate, first, last FROM settled WHERE store = ?1 AND gateway = ?2 AND epoch = ?3",
    )?;
    let of = params![gateway.store.as_str(), gateway.gateway.as_str(), epoch.to_string()];
    let mut rows = query.query(of)?;
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
    Ok(Ledger::new(settled))
}

/// A reader's state in the table.
pub(super) fn state_name(state: ReaderState) -> &'static str {
    match state {
        ReaderState::Listening => "listening",
        ReaderState::Silent => "silent",
        ReaderState::Absent => "absent",
    }
}
