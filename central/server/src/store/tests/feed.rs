//! The feed: every event once, in places without gaps, whenever it or its clock came.

use hangtag_central_core::feed::{Clock, Fed, PATIENCE_MS, Sequence, Told};
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::event::{Coverage, ReaderState};
use hangtag_protocol::id::{EventId, ReaderId};
use hangtag_protocol::key::KeyId;
use hangtag_protocol::scan::{Code, MAX_SEALED, Scan, Sealed};
use proptest::prelude::*;

use super::*;
use crate::store::fed::Page;
use crate::store::feed::{Feed, TABLES};
use crate::store::schema::VERSION;
use crate::store::{generation, zone};

impl Bench {
    fn page(&self, after: u64, limit: u32) -> Page {
        Reader::new(self.address.clone()).feed(gateway().store, Sequence(after), limit).unwrap()
    }

    /// The whole feed, read in pages of three. Its places have no gaps.
    fn feed(&self) -> Vec<Fed> {
        let mut all: Vec<Fed> = Vec::new();
        loop {
            let page = self.page(all.len() as u64, 3);
            if page.events.is_empty() {
                assert_eq!(page.last.0, all.len() as u64);
                return all;
            }
            all.extend(page.events);
            assert!(all.iter().zip(1..).all(|(event, place)| event.sequence.0 == place), "{all:?}");
        }
    }

    fn seqs(&self) -> Vec<u64> {
        self.feed().iter().map(|event| event.id.seq.0).collect()
    }

    fn release(&self, now: i64) -> usize {
        Feed::release(&self.db(), UnixMillis(now), 100).unwrap()
    }
}

fn clocked(mut batch: Batch) -> Batch {
    batch.anchors = vec![anchor(0, 1_700_000_000_000, 20)];
    batch
}

#[test]
fn events_with_a_clock_get_places_as_they_come_and_keep_them() {
    let mut bench = Bench::new();
    bench.send(&clocked(plain(4, 3)));
    bench.send(&plain(4, 3));
    bench.send(&plain(7, 2));
    // Late ones, and some that are known.
    bench.send(&plain(1, 5));
    assert_eq!(bench.seqs(), [4, 5, 6, 7, 8, 1, 2, 3]);
    let event = &bench.feed()[0];
    let id = EventId { store: gateway().store, gateway: gateway().gateway, epoch: Epoch(0xabc), seq: Seq(4) };
    assert_eq!((event.id, event.received), (id, UnixMillis(5)));
    assert_eq!(event.clock, Clock::Vouched { at: UnixMillis(1_700_000_004_000), error_ms: 20 });
    // Events that follow one another take a row, and not each its own.
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM feed"), 3);
    assert_eq!(bench.page(2, 3).events.iter().map(|e| e.id.seq.0).collect::<Vec<_>>(), [6, 7, 8]);
    assert_eq!(bench.page(u64::MAX, 3).events, []);
}

#[test]
fn what_has_no_clock_waits_for_it_and_holds_nobody_up() {
    let mut bench = Bench::new();
    let mut first = plain(1, 4);
    first.events[2].boot = BootId(9);
    bench.send(&first);
    let empty = bench.page(0, 9);
    assert_eq!(
        (empty.events, empty.to, empty.first, empty.last),
        (Vec::new(), Sequence(0), Sequence(1), Sequence(0))
    );
    bench.send(&clocked(plain(5, 1)));
    assert_eq!(bench.seqs(), [5, 1, 2, 4], "another boot's clock tells nothing of this one");
    let mut other = plain(6, 1);
    other.anchors = vec![ClockAnchor { boot: BootId(9), ..anchor(0, 1_700_000_000_000, UNKNOWN_ERROR) }];
    bench.send(&other);
    assert_eq!(bench.seqs(), [5, 1, 2, 4, 6, 3]);
    assert_eq!(bench.feed()[5].clock, Clock::Unvouched { at: UnixMillis(1_700_000_003_000) });
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM feed_waiting"), 0);
}

#[test]
fn what_waited_for_an_hour_goes_without_a_clock_and_keeps_its_place_when_one_comes() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 2));
    assert_eq!(bench.release(5 + PATIENCE_MS - 1), 0);
    assert_eq!(bench.release(5 + PATIENCE_MS), 1);
    assert_eq!(bench.seqs(), [1, 2]);
    assert_eq!(bench.feed()[0].clock, Clock::Absent);
    bench.send(&clocked(plain(3, 1)));
    assert_eq!((bench.seqs(), bench.release(i64::MAX)), (vec![1, 2, 3], 0));
    assert_eq!(bench.feed()[0].clock, Clock::Vouched { at: UnixMillis(1_700_000_001_000), error_ms: 20 });
}

#[test]
fn a_retraction_tells_what_was_said_and_what_comes_after_it_tells_of_it() {
    let mut bench = Bench::new();
    let said = fitting(1_000, TAG, 1, What::TriedOn);
    bench.send(&clocked(batch(1, vec![said.clone(), retraction(2_000, 1), retraction(3_000, 5)])));
    bench.send(&clocked(batch(4, vec![retraction(4_000, 4)])));
    bench.send(&clocked(batch(5, vec![said])));
    let feed = bench.feed();
    let told = |place: usize| match &feed[place - 1].what {
        Told::Retracted { mistaken, said } => (mistaken.seq.0, said.as_ref().map(|said| said.id.seq.0)),
        other => panic!("{other:?}"),
    };
    // A retraction of itself takes nothing back.
    assert_eq!((told(2), told(3), told(4)), ((1, Some(1)), (5, Some(5)), (4, None)));
    assert_eq!(feed[0].retracted, None, "it was told before it was retracted");
    assert_eq!(feed[4].retracted.map(|by| by.id.seq.0), Some(3));
}

#[test]
fn of_a_loyalty_code_the_feed_knows_nothing() {
    let mut bench = Bench::new();
    let sealed = Sealed::new(KeyId(*b"key-id-8"), vec![7; MAX_SEALED]).unwrap();
    let zone = ZoneId::new("booth-1").unwrap();
    let scan = |visit, code| Event { what: What::Scanned(Scan { zone, visit, code }), ..picked(1_000, TAG) };
    let gtin = Gtin::new("4006381333931").unwrap();
    let events = vec![scan(Some(Seq(1)), Code::Loyalty(sealed)), scan(None, Code::Product(gtin))];
    bench.send(&clocked(batch(1, events)));
    let what: Vec<_> = bench.feed().into_iter().map(|event| event.what).collect();
    assert_eq!(
        what,
        [
            Told::Scanned { zone, visit: Some(Seq(1)), product: None },
            Told::Scanned { zone, visit: None, product: Some(gtin) },
        ]
    );
}

#[test]
fn coverage_tells_how_long_it_lasted() {
    let mut bench = Bench::new();
    let (reader, state) = (ReaderId::new("rail-a").unwrap(), ReaderState::Silent);
    let coverage = What::Coverage(Coverage { reader, state, from: Uptime(400) });
    bench.send(&clocked(batch(1, vec![Event { what: coverage, ..picked(1_000, TAG) }])));
    assert_eq!(bench.feed()[0].what, Told::Coverage { reader, state, lasted_ms: 600 });
}

#[test]
fn what_an_older_database_holds_is_in_the_feed() {
    let mut bench = Bench::new();
    bench.send(&plain(2, 2));
    bench.send(&plain(6, 1));
    let tables = "ALTER TABLE sheet DROP COLUMN alone; DROP TABLE feed_past; DROP TABLE dropped; DROP TABLE deleted;
        DROP TABLE zone; DROP INDEX stock_by_time;
        DROP TABLE feed; DROP TABLE feed_head; DROP TABLE feed_waiting; DROP TABLE feed_sent; DROP TABLE lease;";
    bench.db().batch(tables).unwrap();
    bench.db().step(TABLES, None, VERSION - 2).unwrap();
    bench.db().step(generation::TABLES, None, VERSION - 1).unwrap();
    bench.db().step(zone::TABLES, None, VERSION).unwrap();
    bench.send(&clocked(plain(4, 1)));
    assert_eq!(bench.seqs(), [2, 3, 6, 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_comes_in_whatever_order_has_one_place_each(
        sent in prop::collection::vec((1..30_u64, 1..6_u64, 0..3_u64, prop::option::of(0..3_u64), any::<bool>()), 1..25)
    ) {
        let mut bench = Bench::new();
        let event = |n: u64| Event { boot: BootId(n / 8), ..picked(n * 1_000, TAG) };
        let mut known = std::collections::BTreeSet::new();
        let mut places: Vec<Fed> = Vec::new();
        for (first, count, epoch, clock, late) in sent {
            let mut batch = batch(first, (first..first + count).map(event).collect());
            batch.header.epoch = Epoch(epoch);
            batch.anchors = clock
                .map(|boot| ClockAnchor { boot: BootId(boot), ..anchor(0, 1_700_000_000_000, 5) })
                .into_iter()
                .collect();
            known.extend((first..first + count).map(|n| (epoch, n)));
            bench.send(&batch);
            if late {
                bench.release(5 + PATIENCE_MS);
                // Now it is all there.
                prop_assert_eq!(bench.feed().len(), known.len());
            }
            let feed = bench.feed();
            let ids = |feed: &[Fed]| feed.iter().map(|event| event.id).collect::<Vec<_>>();
            prop_assert_eq!(&ids(&feed)[..places.len()], ids(&places), "places stay");
            places = feed;
        }
        bench.release(i64::MAX);
        let all: std::collections::BTreeSet<_> =
            bench.feed().iter().map(|event| (event.id.epoch.0, event.id.seq.0)).collect();
        prop_assert_eq!(all.len(), bench.feed().len());
        prop_assert_eq!(all, known);
    }
}
