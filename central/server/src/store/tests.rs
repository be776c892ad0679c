//! The database through its public verbs: what goes in as MQTT payloads comes out as rows, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use hangtag_protocol::batch::{Batch, CRC, FORMAT, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UNKNOWN_ERROR, UnixMillis, Uptime, time_of_day};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Event, Evidence, Fitting, Handling, What};
use hangtag_protocol::id::{Epoch, GatewayId, Seq, StoreId, TenantId, ZoneId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::{Channel, Gateway};
use hangtag_protocol::watermark::EpochMark;
use proptest::prelude::*;
use tempfile::TempDir;

use super::append::Appended;
use super::db::{Db, FromValue};
use super::{Address, Message, Options, Reader, Store, StoreError};

mod adopt;
mod backup;
mod bounds;
mod changed;
mod engines;
mod feed;
mod feeder;
mod lineage;
pub(crate) mod loyalty;
mod rate;
mod release;
mod retention;
mod sale;
mod secret;
mod tls;
mod writer;
mod zone;

pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) address: Address,
    _folder: TempDir,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("demo").unwrap()
}

pub(crate) fn options() -> Options {
    Options { tenant: tenant(), quarantine_bytes: 1 << 20, keys: Arc::default() }
}

pub(crate) fn gateway() -> Gateway {
    Gateway {
        tenant: tenant(),
        store: StoreId::new("paris-1").unwrap(),
        gateway: GatewayId::new("gw-1").unwrap(),
    }
}

pub(crate) fn picked(at: u64, epc: &str) -> Event {
    let handling = Handling {
        epc: Epc::from_hex(epc).unwrap(),
        zone: ZoneId::new("rail-1").unwrap(),
        evidence: Evidence::default(),
    };
    Event { boot: BootId(7), at: Uptime(at), confidence: 90, what: What::PickedUp(handling) }
}

pub(crate) fn fitting(at: u64, epc: &str, visit: u64, what: fn(Fitting) -> What) -> Event {
    let fitting = Fitting {
        epc: Epc::from_hex(epc).unwrap(),
        zone: ZoneId::new("booth-1").unwrap(),
        visit: Seq(visit),
        evidence: Evidence { dwell_ds: 900, ..Evidence::default() },
    };
    Event { boot: BootId(7), at: Uptime(at), confidence: 90, what: what(fitting) }
}

pub(crate) fn retraction(at: u64, seq: u64) -> Event {
    Event { boot: BootId(7), at: Uptime(at), confidence: 90, what: What::Retracted { seq: Seq(seq) } }
}

pub(crate) fn anchor(uptime: u64, wall: i64, error_ms: u32) -> ClockAnchor {
    ClockAnchor { boot: BootId(7), uptime: Uptime(uptime), wall: UnixMillis(wall), error_ms }
}

pub(crate) fn batch(first: u64, events: Vec<Event>) -> Batch {
    let header = Header {
        format: FORMAT,
        replayed: false,
        gateway: gateway(),
        epoch: Epoch(0xabc),
        first: Seq(first),
        count: u32::try_from(events.len()).unwrap(),
    };
    Batch {
        header,
        oldest_held: Seq(1),
        lost: Vec::new(),
        anchors: Vec::new(),
        lineage: Lineage::default(),
        events,
    }
}

pub(crate) const TAG: &str = "3074257bf7194e4000001a85";

fn plain(first: u64, count: u64) -> Batch {
    batch(first, (first..first + count).map(|n| picked(n * 1_000, TAG)).collect())
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (address, folder) = engines::address();
        Self { store: Store::open(&address, options()).unwrap(), address, _folder: folder }
    }

    pub(crate) fn send(&mut self, batch: &Batch) -> Appended {
        self.send_bytes(Channel::Events, batch.encode().unwrap())
    }

    pub(crate) fn send_bytes(&mut self, channel: Channel, payload: Vec<u8>) -> Appended {
        let topic = gateway().topic(channel);
        self.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap()
    }

    fn mark(&mut self) -> EpochMark {
        self.store.watermark(&gateway()).unwrap().epochs[0].clone()
    }

    /// Another connection, which may do anything.
    pub(super) fn db(&self) -> Db {
        Db::open_to_write(&self.address).unwrap()
    }

    fn ask<T: for<'v> FromValue<'v>>(&self, sql: &str) -> T {
        self.db().only(sql, &[], |row| row.get(0)).unwrap()
    }

    /// The texts of an answer.
    fn list(&self, sql: &str) -> String {
        let texts: Vec<String> = self.db().all(sql, &[], |row| row.get(0)).unwrap();
        texts.join(",")
    }

    /// Changes it by hand.
    pub(crate) fn batch(&self, sql: &str) {
        self.db().batch(sql).unwrap();
    }

    /// Makes that the database cannot be used any more.
    pub(crate) fn destroy(&self) {
        match &self.address {
            Address::File(path) => std::fs::remove_file(path).unwrap(),
            Address::Server(_) => self.db().batch("DROP VIEW gap; DROP TABLE meta").unwrap(),
        }
    }

    fn settled_to(&mut self) -> u64 {
        self.mark().contiguous_to.0
    }

    fn settled_to_of(&mut self, epoch: u64) -> u64 {
        let epochs = self.store.watermark(&gateway()).unwrap().epochs;
        epochs.into_iter().find(|mark| mark.epoch == Epoch(epoch)).map_or(0, |mark| mark.contiguous_to.0)
    }
}

#[test]
fn the_same_batch_again_changes_nothing() {
    let mut bench = Bench::new();
    let message = plain(1, 10);
    (0..3).for_each(|_| drop(bench.send(&message)));
    // Half of it known, half of it new; in a database that forgot what it had in memory.
    bench.store = Store::open(&bench.address, options()).unwrap();
    bench.send(&plain(6, 10));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 15);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM settled"), 1);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 0);
    assert_eq!(bench.settled_to(), 15);
}

#[test]
fn events_that_are_stored_although_nothing_says_so_are_stored_once() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 40));
    bench.db().batch("DELETE FROM settled; DELETE FROM epoch; DELETE FROM feed").unwrap();
    bench.store = Store::open(&bench.address, options()).unwrap();
    for _ in 0..2 {
        bench.send(&plain(21, 40));
    }
    bench.send(&plain(61, 1));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 61);
    assert_eq!(bench.mark().ranges, [SeqRange::new(21, 61)]);
}

#[test]
fn other_content_under_a_known_id_is_quarantined_whole_and_settled() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 3));
    let mut clone = plain(2, 4);
    clone.events[1].confidence = 10;
    bench.send(&clone);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 3);
    assert_eq!(bench.ask::<i64>("SELECT min(confidence) FROM event"), 90);
    let reason: String = bench.ask("SELECT reason FROM quarantine");
    assert!(reason.starts_with("conflict: same id, other content: event 3"), "{reason}");
    assert_eq!(bench.settled_to(), 5);
    bench.send(&plain(4, 2));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 5, "the real events beat the quarantine");
}

#[test]
fn bytes_that_are_no_batch_are_quarantined_and_ingest_goes_on() {
    let mut bench = Bench::new();
    for payload in [&b""[..], b"HTAG", &[0xff; 300], &[0; 70_000]] {
        bench.send_bytes(Channel::Events, payload.into());
    }
    bench.send_bytes(Channel::Status, b"{".into());
    bench.send_bytes(Channel::Events, b"HTAG".into());
    bench.send(&plain(1, 1));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 5);
    assert_eq!(bench.ask::<i64>("SELECT times FROM quarantine WHERE length(payload) = 4"), 2);
    assert_eq!(bench.settled_to(), 1);
    let listed = Reader::new(bench.address.clone()).quarantine(10).unwrap();
    let (_, payload) = Reader::new(bench.address.clone()).quarantined(listed[2].id).unwrap().unwrap();
    assert_eq!(payload, [0xff; 300]);
}

#[test]
fn a_header_of_another_gateway_settles_nothing() {
    let mut bench = Bench::new();
    let mut foreign = plain(1, 2);
    foreign.header.gateway.gateway = GatewayId::new("gw-2").unwrap();
    bench.send(&foreign);
    let reason: String = bench.ask("SELECT reason FROM quarantine");
    assert!(reason.contains("demo/paris-1/gw-2"), "{reason}");
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM settled"), 0);
    assert_eq!(bench.store.watermark(&gateway()).unwrap().epochs, []);
}

#[test]
fn a_late_event_closes_its_gap() {
    let mut bench = Bench::new();
    let mut message = plain(4, 1);
    message.lost = vec![SeqRange::new(1, 3)];
    bench.send(&message);
    assert_eq!(bench.settled_to(), 4);
    assert_eq!(Reader::new(bench.address.clone()).totals().unwrap().lost, 3);
    bench.send(&plain(2, 1));
    let totals = Reader::new(bench.address.clone()).totals().unwrap();
    assert_eq!((totals.events, totals.gaps, totals.lost, totals.quarantined), (2, 2, 2, 0));
}

/// The same batch in a body format that is not known yet.
fn newer(batch: &Batch) -> Vec<u8> {
    let mut newer = batch.encode().unwrap();
    let crc_at = 26 + 3 + "demo".len() + "paris-1".len() + "gw-1".len();
    newer[4] = FORMAT + 1;
    let mut digest = CRC.digest();
    digest.update(&newer[..crc_at]);
    digest.update(&newer[crc_at + 4..]);
    let crc = digest.finalize();
    newer[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    newer
}

#[test]
fn a_newer_agents_batch_is_kept_whole_and_settled_and_the_next_is_stored() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 2));
    let payload = newer(&plain(3, 4));
    bench.send_bytes(Channel::Events, payload.clone());
    assert_eq!((bench.settled_to(), bench.mark().highest), (6, Seq(2)));
    let reason: String = bench.ask("SELECT reason FROM quarantine WHERE first = 3 AND last = 6");
    assert!(reason.contains("body format 3"), "{reason}");
    assert_eq!(bench.ask::<Vec<u8>>("SELECT payload FROM quarantine"), payload);
    bench.send(&plain(7, 1));
    assert_eq!((bench.ask::<i64>("SELECT count(*) FROM event"), bench.settled_to()), (3, 7));
}

#[test]
fn a_status_that_is_handed_out_again_is_as_old_as_it_was() {
    let mut bench = Bench::new();
    let topic = gateway().topic(Channel::Status);
    let payload = |state: &str| format!("{{\"v\":1,\"state\":\"{state}\",\"agent\":\"0.1.0\"}}").into_bytes();
    for (state, received) in [("online", 10), ("offline", 20), ("offline", 500)] {
        let message =
            Message { topic: topic.clone(), payload: payload(state), received: UnixMillis(received) };
        bench.store.append(&[message]).unwrap();
    }
    assert_eq!(bench.ask::<i64>("SELECT received FROM status"), 20);
}

#[test]
fn the_largest_losses_can_be_added_up() {
    let mut bench = Bench::new();
    for epoch in 1..=50 {
        let mut batch = plain(1, 0);
        batch.header.epoch = Epoch(epoch);
        batch.lost = vec![SeqRange { first: Seq(1), last: hangtag_central_core::admit::MAX_SEQ }];
        bench.send(&batch);
    }
    let totals = Reader::new(bench.address.clone()).totals().unwrap();
    assert_eq!((totals.gaps, totals.lost), (50, 50 << 40));
}

#[test]
fn lost_ranges_that_cannot_be_are_refused() {
    let mut bench = Bench::new();
    let mut message = plain(1, 1);
    message.lost = vec![SeqRange::new(9, 3)];
    bench.send(&message);
    let reason: String = bench.ask("SELECT reason FROM quarantine");
    assert!(reason.contains("lost range 9..=3"), "{reason}");
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM gap"), 0);
}

#[test]
fn events_get_their_time_of_day_when_an_anchor_comes_later() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 2));
    assert_eq!(bench.ask::<Option<i64>>("SELECT max(wall_ms) FROM event"), None);
    let mut message = plain(3, 1);
    message.anchors = vec![anchor(3_000, 1_800_000_000_000, UNKNOWN_ERROR)];
    bench.send(&message);
    assert_eq!(bench.ask::<i64>("SELECT wall_ms FROM event WHERE seq = 1"), 1_799_999_998_000);
    let mut message = plain(4, 1);
    message.anchors = vec![anchor(4_000, 1_900_000_000_000, 20), anchor(9, i64::MAX, 0)];
    bench.send(&message);
    assert_eq!(bench.ask::<i64>("SELECT wall_ms FROM event WHERE seq = 1"), 1_899_999_997_000);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event WHERE clock_error = 20"), 4);
}

#[test]
fn a_newer_schema_is_refused() {
    let bench = Bench::new();
    match bench.address {
        Address::File(_) => bench.db().batch("PRAGMA user_version = 99").unwrap(),
        Address::Server(_) => bench.db().batch("UPDATE meta SET value = '99' WHERE name = 'schema'").unwrap(),
    }
    let error = Store::open(&bench.address, options()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert!(Reader::new(bench.address.clone()).totals().is_err());
}

#[test]
fn the_watermark_tells_of_the_latest_epochs() {
    let mut bench = Bench::new();
    for epoch in 1..=20 {
        let mut message = plain(1, 1);
        message.header.epoch = Epoch(epoch);
        let topic = gateway().topic(Channel::Events);
        let received = UnixMillis(i64::try_from(epoch).unwrap());
        bench.store.append(&[Message { topic, payload: message.encode().unwrap(), received }]).unwrap();
    }
    let marks = bench.store.watermarks().unwrap();
    let told: Vec<u64> = marks[&gateway()].epochs.iter().map(|mark| mark.epoch.0).collect();
    assert_eq!(told, (5..=20).rev().collect::<Vec<_>>());
    assert_eq!(marks.len(), 1);
}

#[test]
fn a_failed_group_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let breaker = bench.db();
    breaker.batch("ALTER TABLE settled RENAME TO away").unwrap();
    let topic = gateway().topic(Channel::Events);
    let payload = plain(1, 2).encode().unwrap();
    let message = Message { topic, payload, received: UnixMillis(5) };
    assert!(bench.store.append(std::slice::from_ref(&message)).is_err());
    breaker.batch("ALTER TABLE away RENAME TO settled").unwrap();
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 0);
    bench.store.append(&[message]).unwrap();
    assert_eq!((bench.ask::<i64>("SELECT count(*) FROM event"), bench.settled_to()), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the order in which batches and anchors come, and however often, the rows are those
    /// of the plain set of events, with the time of day that all the anchors together give.
    #[test]
    fn order_and_copies_do_not_matter(
        sent in prop::collection::vec((1u64..40, 1u64..10, prop::option::of((0u64..40_000, 0u32..3))), 1..25)
    ) {
        let mut bench = Bench::new();
        let mut anchors = Vec::new();
        let mut plainly = BTreeMap::new();
        for (first, count, seen) in sent {
            let mut message = plain(first, count);
            if let Some((uptime, error)) = seen {
                let wall = 1_800_000_000_000 + i64::try_from(uptime % 7 * 1_000_000).unwrap();
                message.anchors.push(anchor(uptime, wall, error));
            }
            anchors.extend(message.anchors.clone());
            plainly.extend((first..).zip(message.events.clone()));
            bench.send(&message);
        }
        anchors.sort_by_key(|anchor| (anchor.uptime, anchor.wall));
        let db = bench.db();
        let rows: Vec<(u64, Option<i64>)> =
            db.all("SELECT seq, wall_ms FROM event ORDER BY seq", &[], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let expected: Vec<(u64, Option<i64>)> = plainly
            .iter()
            .map(|(seq, event)| (*seq, time_of_day(&anchors, event.boot, event.at).map(|(at, _)| at.0)))
            .collect();
        prop_assert_eq!(rows, expected);
    }
}
