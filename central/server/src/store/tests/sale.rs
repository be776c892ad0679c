//! Lines of receipts and counts: once, corrected, refused, and read as they were told.

use hangtag_central_core::sale::{Currency, Goods, Kind, Line, Place, Price, Receipt, StockCount};
use hangtag_protocol::epc::Gtin;

use super::*;
use crate::pos::Rows;
use crate::store::Taken;
use crate::store::changed;
use crate::store::db::{Bind, Db, binds};
use crate::store::sale::{COUNTS, LATEST};

const NOON: i64 = 1_700_000_000_000;
const DAY: i64 = 86_400_000;

fn line(receipt: &str, number: u32, at: i64) -> Line {
    let goods = Goods::new(Some(Gtin::new("4006381333931").unwrap()), None).unwrap();
    Line {
        receipt: Receipt::new(receipt).unwrap(),
        line: number,
        at: UnixMillis(at),
        kind: Kind::Sale,
        quantity: goods.pieces(2).unwrap(),
        goods,
        price: Some(Price { minor: 3_990, currency: Currency::new("EUR").unwrap() }),
    }
}

fn tell(bench: &mut Bench, lines: &[Line]) -> Taken {
    let rows = lines.iter().map(|line| (gateway().store, line.clone())).collect();
    bench.store.append_sales(&Rows::Lines(rows), UnixMillis(5)).unwrap()
}

fn sums(taken: &Taken) -> (u64, u64, u64, usize) {
    (taken.new, taken.known, taken.replaced, taken.refused.len())
}

fn read(bench: &Bench, from: i64, to: i64) -> Vec<Line> {
    Reader::new(bench.address.clone()).sales(gateway().store, UnixMillis(from), UnixMillis(to)).unwrap()
}

fn marks(bench: &Bench, at: i64) -> BTreeMap<i64, i64> {
    let hour = at / changed::HOUR_MS;
    changed::marks(&Db::open_to_read(&bench.address).unwrap(), gateway().store.as_str(), hour, hour).unwrap()
}

#[test]
fn lines_are_read_as_they_were_told_however_often() {
    let mut bench = Bench::new();
    let tag = Epc::from_hex(TAG).unwrap();
    let goods = Goods::new(None, Some(tag)).unwrap();
    let by_tag = Line { goods, quantity: goods.pieces(1).unwrap(), price: None, ..line("b", 2, NOON) };
    let back = Line { kind: Kind::Return, ..line("a", 1, NOON) };
    let told = [line("a", 1, NOON), by_tag, line("c", 1, NOON + 1), back];
    assert_eq!(sums(&tell(&mut bench, &told)), (4, 0, 0, 0));
    let before = marks(&bench, NOON);
    assert_eq!(before.len(), 1);
    assert_eq!(sums(&tell(&mut bench, &told)), (0, 4, 0, 0));
    assert_eq!(marks(&bench, NOON), before, "nothing changed");
    let mut sorted = told.to_vec();
    sorted.sort_by_key(|line| (line.at, line.receipt.clone(), line.line, line.kind.name()));
    assert_eq!(read(&bench, NOON, NOON + 2), sorted);
    assert_eq!(read(&bench, NOON, NOON + 1).len(), 3);
    assert_eq!(read(&bench, NOON + 1, NOON + 2).len(), 1);
}

#[test]
fn a_correction_takes_the_place_of_the_line_and_both_hours_changed() {
    let mut bench = Bench::new();
    tell(&mut bench, &[line("a", 1, NOON)]);
    let before = marks(&bench, NOON);
    let corrected = Line { price: None, ..line("a", 1, NOON + DAY) };
    assert_eq!(sums(&tell(&mut bench, std::slice::from_ref(&corrected))), (0, 0, 1, 0));
    assert_eq!(read(&bench, 0, i64::MAX), [corrected]);
    assert_ne!(marks(&bench, NOON), before);
    assert_eq!(marks(&bench, NOON + DAY).len(), 1);
}

#[test]
fn a_receipts_number_that_comes_again_days_later_costs_neither_line() {
    let mut bench = Bench::new();
    tell(&mut bench, &[line("1001", 1, NOON)]);
    let again = [line("1001", 1, NOON + DAY + 1), line("1002", 1, NOON + DAY + 1)];
    let taken = tell(&mut bench, &again);
    assert_eq!(sums(&taken), (1, 0, 0, 1));
    let (position, why) = &taken.refused[0];
    assert_eq!(*position, 0);
    assert!(why.starts_with("receipt \"1001\" line 1 is a sale of 1 days before already"), "{why}");
    assert_eq!(read(&bench, 0, i64::MAX), [line("1001", 1, NOON), again[1].clone()]);
    let earlier = tell(&mut bench, &[line("1001", 1, NOON - 3 * DAY)]);
    assert!(earlier.refused[0].1.contains("3 days after"), "{earlier:?}");
}

#[test]
fn the_latest_count_before_a_moment_holds_per_product_and_place() {
    let mut bench = Bench::new();
    let count = |gtin: &str, place, at, quantity| StockCount {
        gtin: Gtin::new(gtin).unwrap(),
        place,
        at: UnixMillis(at),
        quantity,
    };
    let (a, b) = ("4006381333931", "80614141123458");
    let told = [
        count(a, Place::Floor, NOON, 3),
        count(a, Place::Floor, NOON + 10, 1),
        count(a, Place::BackRoom, NOON, 7),
        count(b, Place::All, NOON + 20, 0),
    ];
    let mut tell = |counts: &[StockCount]| {
        let rows = counts.iter().map(|count| (gateway().store, *count)).collect();
        sums(&bench.store.append_sales(&Rows::Counts(rows), UnixMillis(5)).unwrap())
    };
    assert_eq!(tell(&told), (4, 0, 0, 0));
    assert_eq!(tell(&told), (0, 4, 0, 0));
    assert_eq!(tell(&[count(a, Place::BackRoom, NOON, 8)]), (0, 0, 1, 0));
    let reader = Reader::new(bench.address.clone());
    let at = |at| reader.stock(gateway().store, UnixMillis(at)).unwrap();
    assert_eq!(at(NOON - 1), []);
    assert_eq!(at(NOON + 9), [count(a, Place::BackRoom, NOON, 8), told[0]]);
    assert_eq!(at(NOON + 20), [count(a, Place::BackRoom, NOON, 8), told[1], told[3]]);
    assert_eq!(reader.stock(StoreId::new("other").unwrap(), UnixMillis(NOON + 20)).unwrap(), []);
}

const TOLD: &str =
    r#"{"receipt":"T1","line":1,"time":"2026-11-22T14:03:11+01:00","gtin":"4006381333931","quantity":1}"#;

fn message(about: &str, payload: &str) -> Message {
    let topic = format!("hangtag/v1/demo/pos/paris-1/{about}");
    Message { topic, payload: payload.into(), received: UnixMillis(5) }
}

#[test]
fn what_a_till_tells_by_mqtt_is_stored_once_beside_batches() {
    let mut bench = Bench::new();
    let picked = plain(1, 3);
    let batch = Message {
        topic: gateway().topic(Channel::Events),
        payload: picked.encode().unwrap(),
        received: UnixMillis(5),
    };
    let back = TOLD.replace("\"T1\"", "\"T2\"");
    let count = r#"[{"gtin":"4006381333931","time":"2026-11-22T14:03:11Z","quantity":9}]"#;
    let messages = [message("sale", TOLD), batch, message("return", &back), message("stock", count)];
    for _ in 0..2 {
        assert_eq!(bench.store.append(&messages).unwrap().taken, 4);
    }
    let kinds: Vec<_> = read(&bench, 0, i64::MAX).iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [Kind::Sale, Kind::Return]);
    let reader = Reader::new(bench.address.clone());
    assert_eq!(reader.stock(gateway().store, UnixMillis(i64::MAX)).unwrap().len(), 1);
    let totals = reader.totals().unwrap();
    assert_eq!((totals.events, totals.quarantined), (3, 0));
}

#[test]
fn what_is_wrong_in_a_tills_message_is_kept_with_its_reasons_and_the_rest_is_stored() {
    let mut bench = Bench::new();
    let wrong = TOLD.replace("4006381333931", "4006381333932");
    let payload = format!("[{wrong},{TOLD}]");
    let messages = [message("sale", &payload), message("sale", "no JSON"), message("sale", &payload)];
    assert_eq!(bench.store.append(&messages).unwrap().taken, 3);
    assert_eq!(read(&bench, 0, i64::MAX).len(), 1);
    let reader = Reader::new(bench.address.clone());
    let [none, part] = &reader.quarantine(9).unwrap()[..] else { panic!("two payloads") };
    assert!(none.reason.starts_with("is not JSON: "), "{none:?}");
    assert!(part.reason.starts_with("element 1: gtin: \"4006381333932\" ends in 2"), "{part:?}");
    assert_eq!((part.times, part.kind.as_str(), none.times), (2, "refused", 1));
    let kept = reader.quarantined(part.id).unwrap().unwrap().1;
    assert_eq!(kept, payload.as_bytes());
    // The shop's page tells of it, other shops' pages do not.
    let shown = |store: &str| {
        let read = reader.quality(StoreId::new(store).unwrap(), UnixMillis(0), UnixMillis(1)).unwrap();
        read.quarantine.len()
    };
    assert_eq!((shown("paris-1"), shown("lyon")), (2, 0));
    // A receipt's number that comes again is not lost, although there is no till to be told.
    let again = TOLD.replace("2026-11-22", "2026-12-22");
    bench.store.append(&[message("sale", &again)]).unwrap();
    assert!(
        reader.quarantine(1).unwrap()[0]
            .reason
            .starts_with("element 1: receipt \"T1\" line 1 is a sale of 30 days")
    );
}

#[test]
fn stock_is_found_without_reading_all_counts() {
    let bench = Bench::new();
    let Address::File(_) = bench.address else { return };
    let plan = |question: &str, binds: &[Bind<'_>]| -> String {
        let steps: Vec<String> =
            bench.db().all(&format!("EXPLAIN QUERY PLAN {question}"), binds, |row| row.get(3)).unwrap();
        steps.join("\n")
    };
    let (store, from, to) = (gateway().store, 1_i64, 2_i64);
    let by_time = plan(COUNTS, binds![store.as_str(), from, to]);
    assert!(by_time.contains("INDEX stock_by_time (store=? AND at_ms>? AND at_ms<?)"), "{by_time}");
    let latest = plan(LATEST, binds![store.as_str(), to]);
    assert!(latest.contains("SEARCH s USING INDEX"), "{latest}");
    assert!(
        !latest.contains("SCAN s") && !latest.contains("SCAN stock") && !latest.contains("SCAN o"),
        "{latest}"
    );
}
