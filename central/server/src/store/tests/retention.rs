//! What is deleted because of its age, and what stays right without it.

use hangtag_central_core::feed::{Form, Line as Feed, Sequence};
use hangtag_central_core::sale::{Goods, Kind, Line, Place, Receipt, StockCount};
use hangtag_protocol::epc::Gtin;

use super::*;
use crate::pos::Rows;
use crate::store::db::{Mode, binds};
use crate::store::lease;
use crate::store::{Deleted, Feeder, Hours, Keeper, Limits, Roller, Verified, verify};

const HOUR: i64 = 3_600_000;
/// Some midnight.
const MIDNIGHT: i64 = 500_016 * HOUR;
/// The end of the first hour of that day, as long after as what is told of events may be kept.
const NOW: UnixMillis = UnixMillis(MIDNIGHT + HOUR + KEPT);
const KEPT: i64 = 100 * 24 * HOUR;

fn clocked(batch: Batch) -> Batch {
    Batch { anchors: vec![anchor(0, MIDNIGHT, 20)], ..batch }
}

/// A garment that is picked up in an hour of the day, from 0 on.
fn at(hour: u64, ms: u64) -> Event {
    picked(hour * HOUR.cast_unsigned() + ms, TAG)
}

fn limits() -> Limits {
    Limits { events: Some(KEPT), feed: Some(KEPT), ..Limits::default() }
}

impl Bench {
    fn roll(&self) {
        let mut roller = Roller::open(&self.address, tenant()).unwrap();
        while roller.roll(1).unwrap() > 0 {}
    }

    fn age(&self, limits: Limits) -> u64 {
        Keeper::open(&self.address, tenant(), limits).unwrap().pass(NOW, &mut || true).unwrap()
    }

    /// What the page would read, by a reader that remembers nothing.
    fn hours(&self) -> Hours {
        let day = (MIDNIGHT / HOUR, MIDNIGHT / HOUR + 23);
        Reader::new(self.address.clone()).hours(gateway().store, day, |_| true).unwrap().1
    }

    fn handled(&self) -> usize {
        self.hours().values().map(|piece| piece.handled.len()).sum()
    }

    fn rows(&self, table: &str) -> i64 {
        self.ask(&format!("SELECT count(*) FROM {table}"))
    }

    fn verified(&self) -> Verified {
        verify(&self.address).unwrap()
    }
}

#[test]
fn events_go_by_whole_hours_and_what_they_add_up_to_stays() {
    let mut bench = Bench::new();
    let mut events: Vec<Event> = (1..=5).map(|n| at(0, n * 1_000)).collect();
    events.extend((1..=3).map(|n| at(1, n)));
    let sent = clocked(batch(1, events));
    bench.send(&sent);
    assert_eq!(bench.age(limits()), 8, "only the feed's places: no sheet says yet what the hour was");
    assert_eq!(bench.rows("event"), 8);
    bench.roll();
    let before = bench.hours();
    assert_eq!(bench.age(limits()), 5);
    assert_eq!((bench.rows("event"), bench.hours()), (3, before));
    assert_eq!(bench.age(limits()), 0);
    bench.roll();
    assert_eq!(bench.verified(), Verified { right: 1, alone: 1, ..Verified::default() });
    let deleted = Reader::new(bench.address.clone()).deleted().unwrap();
    let of = |what: &str, before_ms: i64, count: u64| Deleted {
        store: "paris-1".into(),
        what: what.into(),
        before_ms,
        count,
    };
    assert_eq!(deleted, [of("event", MIDNIGHT + HOUR, 5), of("feed", MIDNIGHT + HOUR, 8)]);
    // What is settled stays so: the same again is known, and its numbers are not handed out anew.
    bench.send(&sent);
    assert_eq!((bench.rows("event"), bench.rows("quarantine"), bench.settled_to()), (3, 0, 8));
    assert_eq!(Reader::new(bench.address.clone()).totals().unwrap().events, 8);
}

#[test]
fn events_stay_while_their_sheet_does_not_say_what_they_say() {
    let mut bench = Bench::new();
    bench.send(&clocked(batch(1, vec![at(0, 1), at(0, 2), at(1, 3)])));
    bench.roll();
    let before = bench.hours();
    let (other_version, none) = match bench.address {
        Address::File(_) => ("CAST(x'02' || substr(body, 2) AS BLOB)", "x''"),
        Address::Server(_) => ("decode('02', 'hex') || substr(body, 2)", "decode('', 'hex')"),
    };
    let of_another_hour = format!("(SELECT body FROM sheet WHERE hour = {})", MIDNIGHT / HOUR + 1);
    let feed = Limits { events: None, ..limits() };
    bench.age(feed);
    for body in [other_version, none, &of_another_hour] {
        bench.batch(&format!("UPDATE sheet SET body = {body} WHERE hour = {}", MIDNIGHT / HOUR));
        assert_eq!((bench.age(limits()), bench.rows("event")), (0, 3), "{body}");
        assert_eq!(bench.hours(), before);
        bench.roll();
        assert_eq!(bench.verified(), Verified { right: 2, ..Verified::default() }, "it was made anew");
    }
    // As whoever writes sheets of another version leaves it.
    bench.batch("UPDATE changed SET rolled = NULL");
    assert_eq!((bench.age(limits()), bench.rows("event")), (0, 3));
    bench.roll();
    assert_eq!((bench.age(limits()), bench.rows("event"), bench.hours()), (2, 1, before));
}

#[test]
fn an_event_that_comes_after_its_hour_is_put_away_counts_at_once_and_for_good() {
    let mut bench = Bench::new();
    bench.send(&clocked(batch(1, vec![at(0, 1), at(0, 2)])));
    bench.roll();
    bench.age(limits());
    assert_eq!((bench.rows("event"), bench.handled()), (0, 2));
    for (seq, handled) in [(3, 3), (4, 4)] {
        bench.send(&batch(seq, vec![at(0, seq)]));
        assert_eq!((bench.rows("event"), bench.handled()), (1, handled), "before it is deleted");
        bench.roll();
        assert_eq!(bench.handled(), handled, "and when others have been rolled up");
        bench.age(Limits { feed: None, ..limits() });
        assert_eq!(bench.rows("event"), 1, "its place in the feed is still offered");
        assert_eq!(bench.age(limits()), 2);
        assert_eq!((bench.rows("event"), bench.handled()), (0, handled), "and after");
        assert_eq!(bench.verified(), Verified { alone: 1, ..Verified::default() });
    }
    // A garment that nobody told of in this place: the whole hour is as if nothing had ever been deleted.
    let carried_in = |ms: u64| fitting(ms, TAG, 5, What::CarriedIn);
    bench.send(&batch(5, vec![carried_in(5)]));
    let mut whole = Bench::new();
    whole.send(&clocked(batch(1, vec![at(0, 1), at(0, 2), at(0, 3), at(0, 4), carried_in(5)])));
    assert_eq!(bench.hours(), whole.hours());
    bench.age(limits());
    assert_eq!((bench.rows("event"), bench.hours()), (0, whole.hours()));
    // A sheet of which nothing can be made again is not thrown away.
    Roller::open(&bench.address, tenant()).unwrap().forget("paris-1", MIDNIGHT / HOUR).unwrap();
    bench.roll();
    assert_eq!(bench.handled(), 5);
    let damaged = match bench.address {
        Address::File(_) => "UPDATE sheet SET body = x'ff'",
        Address::Server(_) => "UPDATE sheet SET body = decode('ff', 'hex')",
    };
    bench.batch(damaged);
    assert_eq!(bench.verified().gone, [("paris-1".to_owned(), MIDNIGHT / HOUR)]);
    let hour = (MIDNIGHT / HOUR, MIDNIGHT / HOUR);
    let reader = Reader::new(bench.address.clone());
    let read = || reader.hours(gateway().store, hour, |_| true).map(drop);
    let said = read().unwrap_err().to_string();
    let wanted = format!("the hour {} of store paris-1 cannot be read, and its events are deleted", hour.0);
    assert!(said.contains(&wanted), "{said}");
    // Nor is it one that has only what came later.
    bench.send(&batch(6, vec![at(0, 6)]));
    assert_eq!(read().unwrap_err().to_string(), said);
    assert_eq!((bench.age(limits()), bench.rows("event")), (1, 1), "only a place in the feed");
}

#[test]
fn what_is_not_published_in_every_form_stays() {
    let mut bench = Bench::new();
    bench.send(&clocked(batch(1, vec![at(0, 1), at(0, 2)])));
    bench.send(&batch(3, vec![at(0, 3)]));
    bench.roll();
    let limits = || Limits { forms: vec![Form::CloudEvents, Form::Epcis], ..limits() };
    let publish = |form, to| {
        let mut feeder = Feeder::open(&bench.address, tenant()).unwrap();
        let sent = [(Feed { store: gateway().store, form }, Sequence(to))].into();
        assert!(feeder.hold("x", (UnixMillis(0), UnixMillis(1)), &sent).unwrap());
    };
    assert_eq!(bench.age(limits()), 0);
    publish(Form::CloudEvents, 3);
    publish(Form::Epcis, 2);
    assert_eq!(bench.age(limits()), 2, "the places of the first two");
    assert_eq!(bench.rows("event"), 3);
    let page = |after| Reader::new(bench.address.clone()).feed(gateway().store, Sequence(after), 9).unwrap();
    assert_eq!((page(0).first, page(0).events.len(), page(2).events.len()), (Sequence(3), 1, 1));
    publish(Form::Epcis, 3);
    assert_eq!(bench.age(limits()), 4);
    assert_eq!((bench.rows("event"), bench.rows("feed"), page(0).first), (0, 0, Sequence(4)));
    bench.send(&batch(4, vec![at(2, 1)]));
    let page = Reader::new(bench.address.clone()).feed(gateway().store, Sequence(3), 9).unwrap();
    assert_eq!((page.events[0].sequence, page.first), (Sequence(4), Sequence(4)), "numbers go on");
}

#[test]
fn what_another_member_has_not_published_stays() {
    let mut bench = Bench::new();
    bench.send(&clocked(batch(1, vec![at(0, 1), at(0, 2)])));
    bench.roll();
    let mut feeder = Feeder::open(&bench.address, tenant()).unwrap();
    let mut publish = |store, to| {
        let sent = [(Feed { store, form: Form::Epcis }, Sequence(to))].into();
        assert!(feeder.hold("x", (UnixMillis(0), UnixMillis(1)), &sent).unwrap());
    };
    // Another shop's feed says that somebody publishes in this form.
    publish(StoreId::new("lyon-1").unwrap(), 9);
    assert_eq!(bench.age(limits()), 0, "who publishes nothing deletes nothing that others have to");
    publish(gateway().store, 1);
    assert_eq!(bench.age(limits()), 0);
    // As a form is retired.
    bench.batch("DELETE FROM feed_sent WHERE form = 'epcis'");
    assert_eq!(bench.age(limits()), 4);
}

#[test]
fn one_process_deletes_at_a_time_and_lets_go() {
    let mut bench = Bench::new();
    bench.send(&clocked(batch(1, vec![at(0, 1)])));
    bench.roll();
    let hold = |until: i64| {
        let db = bench.db();
        assert!(lease::take(&db, "retention", "another", (UnixMillis(NOW.0), UnixMillis(until))).unwrap());
    };
    hold(NOW.0 + HOUR);
    assert_eq!((bench.age(limits()), bench.rows("event"), bench.rows("feed")), (0, 1, 1));
    lease::let_go(&bench.db(), "retention", "another").unwrap();
    hold(NOW.0);
    assert_eq!((bench.age(limits()), bench.rows("lease")), (2, 0), "a lease ends, and is given back");
}

#[test]
fn a_line_that_is_corrected_while_others_go_stays() {
    let mut bench = Bench::new();
    // In a file, one process writes at a time.
    let Address::Server(_) = bench.address else { return };
    let goods = Goods::new(Some(Gtin::new("4006381333931").unwrap()), None).unwrap();
    let old = NOW.0 - KEPT;
    let line = |receipt: &str| Line {
        receipt: Receipt::new(receipt).unwrap(),
        line: 1,
        at: UnixMillis(old - 1),
        kind: Kind::Sale,
        quantity: goods.pieces(1).unwrap(),
        goods,
        price: None,
    };
    let lines = vec![(gateway().store, line("1")), (gateway().store, line("2"))];
    bench.store.append_sales(&Rows::Lines(lines), UnixMillis(5)).unwrap();
    let mut db = bench.db();
    let correction = db.transaction(Mode::Write).unwrap();
    correction.execute("UPDATE sale SET at_ms = ?1 WHERE receipt = '1'", binds![old + 5]).unwrap();
    std::thread::scope(|scope| {
        let address = bench.address.clone();
        let limits = Limits { sales: Some(KEPT), ..Limits::default() };
        let keeper = scope.spawn(move || {
            Keeper::open(&address, tenant(), limits).unwrap().pass(NOW, &mut || true).unwrap()
        });
        let waits = "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = current_setting('application_name') AND wait_event_type = 'Lock'";
        while bench.ask::<i64>(waits) == 0 {
            assert!(!keeper.is_finished(), "it did not wait for the correction");
            std::thread::yield_now();
        }
        correction.commit().unwrap();
        assert_eq!(keeper.join().unwrap(), 1);
    });
    assert_eq!(bench.list("SELECT receipt FROM sale"), "1");
    let deleted = Reader::new(bench.address.clone()).deleted().unwrap();
    assert_eq!(deleted.iter().map(|deleted| deleted.count).sum::<u64>(), 1);
}

#[test]
fn a_retraction_goes_after_the_event_that_it_retracts() {
    let mut bench = Bench::new();
    let events = vec![at(0, 1), at(0, 2), retraction(HOUR.cast_unsigned() + 1, 1)];
    bench.send(&clocked(batch(1, events)));
    bench.roll();
    // The hour of the mistake changed since it was rolled up.
    bench.send(&batch(4, vec![at(0, 9)]));
    let both = Limits { events: Some(KEPT - HOUR), ..limits() };
    bench.age(both.clone());
    assert_eq!(bench.list("SELECT kind FROM event ORDER BY seq"), "picked_up,picked_up,retracted,picked_up");
    bench.roll();
    bench.age(both.clone());
    bench.age(both);
    assert_eq!((bench.rows("event"), bench.handled()), (0, 2));
}

#[test]
fn what_has_no_time_of_day_goes_by_when_it_came() {
    let mut bench = Bench::new();
    bench.send(&batch(1, vec![at(0, 1)]));
    assert_eq!(bench.age(limits()), 0, "it waits for its clock, to be told to others");
    bench.batch("DELETE FROM feed_waiting");
    assert_eq!(bench.age(limits()), 1);
    assert_eq!((bench.rows("event"), bench.settled_to()), (0, 1));
}

#[test]
fn what_tills_told_goes_but_for_the_last_count_and_only_copies_stay_in_quarantine() {
    let mut bench = Bench::new();
    let gtin = Gtin::new("4006381333931").unwrap();
    let goods = Goods::new(Some(gtin), None).unwrap();
    let old = NOW.0 - KEPT;
    let line = |receipt: &str, at: i64| Line {
        receipt: Receipt::new(receipt).unwrap(),
        line: 1,
        at: UnixMillis(at),
        kind: Kind::Sale,
        quantity: goods.pieces(1).unwrap(),
        goods,
        price: None,
    };
    let count = |at: i64, quantity| StockCount { gtin, place: Place::All, at: UnixMillis(at), quantity };
    let store = gateway().store;
    let lines = vec![(store, line("1", old - 1)), (store, line("2", old))];
    let counts = vec![(store, count(old - 9, 1)), (store, count(old - 5, 2)), (store, count(old + 5, 3))];
    bench.store.append_sales(&Rows::Lines(lines), UnixMillis(5)).unwrap();
    bench.store.append_sales(&Rows::Counts(counts), UnixMillis(5)).unwrap();
    bench.send_bytes(Channel::Events, newer(&plain(3, 4)));
    bench.send_bytes(Channel::Status, b"{".into());
    assert_eq!(bench.age(Limits::default()), 0);
    let kept = Some(KEPT);
    let limits = Limits { sales: kept, stock: kept, quarantine: kept, ..Limits::default() };
    assert_eq!(bench.age(limits.clone()), 3);
    assert_eq!(bench.list("SELECT receipt FROM sale"), "2");
    assert_eq!(bench.list("SELECT CAST(quantity AS TEXT) FROM stock ORDER BY at_ms"), "2,3");
    assert_eq!(bench.list("SELECT kind FROM quarantine"), "settled");
    assert_eq!(bench.age(limits), 0);
}

#[test]
fn what_scanned_codes_stand_for_goes_with_their_events() {
    use hangtag_protocol::key::KeyId;
    use hangtag_protocol::scan::{Code, MAX_SEALED, Scan, Sealed};
    let mut bench = Bench::new();
    let sealed = Sealed::new(KeyId(*b"key-id-8"), vec![7; MAX_SEALED]).unwrap();
    let scan = Scan { zone: ZoneId::new("till").unwrap(), visit: None, code: Code::Loyalty(sealed) };
    let scanned = |hour: u64| Event { what: What::Scanned(scan.clone()), ..at(hour, 1) };
    bench.send(&clocked(batch(1, vec![scanned(0), at(0, 2), scanned(1)])));
    bench.roll();
    bench.age(limits());
    assert_eq!((bench.rows("event"), bench.rows("loyalty")), (1, 1));
    assert_eq!(bench.hours().values().map(|piece| piece.scanned.len()).sum::<usize>(), 2);
}
