//! Counts per hour, against events of known times and against the schema that describes them.

use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::event::{Coverage, Event, Fitting, What};
use hangtag_protocol::id::ReaderId;
use serde_json::{Value, json};

use super::*;
use crate::catalogue::Catalogue;
use crate::feed::documents::tests::{strict, value};
use crate::feed::tests::complaints;
use crate::goods::Goods;
use crate::shop::tests::paris;
use crate::store::Reader;
use crate::store::tests::{Bench, TAG, anchor, batch, fitting, picked, retraction, tenant};

/// A Saturday in winter, 10:30 in Paris.
const NOW: i64 = 1_795_253_400_000;
const HOUR: u64 = 3_600_000;
const UNKNOWN: &str = "e28068900000500e88c6a4a7";

fn hourly(bench: &Bench) -> Hourly {
    let goods = Arc::new(Goods::new(Catalogue::default()));
    Hourly {
        tenant: tenant(),
        shops: Arc::new([paris()]),
        days: Days::new(Reader::new(bench.address.clone()), goods),
        now: || Timestamp::from_millisecond(NOW).unwrap(),
    }
}

/// What happened from yesterday 23:30 on: the gateway has run since then.
fn bench(events: Vec<Event>) -> Bench {
    let mut bench = Bench::new();
    let mut message = batch(1, events);
    message.anchors = vec![anchor(0, NOW - 11 * HOUR.cast_signed(), 20)];
    bench.send(&message);
    bench
}

fn listened(reader: &str, from: u64, to: u64) -> Event {
    let reader = ReaderId::new(reader).unwrap();
    let what = What::Coverage(Coverage { reader, state: ReaderState::Listening, from: Uptime(from) });
    Event { boot: BootId(7), at: Uptime(to), confidence: 100, what }
}

fn events() -> Vec<Event> {
    let tried = |at| fitting(at, TAG, 3, What::TriedOn as fn(Fitting) -> What);
    vec![
        picked(HOUR / 4, TAG),
        picked(10 * HOUR, UNKNOWN),
        fitting(10 * HOUR + 1, TAG, 3, What::CarriedIn),
        tried(10 * HOUR + 2),
        tried(10 * HOUR + 3),
        picked(10 * HOUR + 4, TAG),
        picked(10 * HOUR + 5, TAG),
        retraction(10 * HOUR + 6, 7),
        listened("a", 9 * HOUR + HOUR / 2, 11 * HOUR),
        listened("b", 10 * HOUR, 11 * HOUR),
    ]
}

fn said(hourly: &Hourly) -> Vec<Value> {
    let letters = letters(hourly, &paris()).unwrap();
    letters.iter().map(|(_, letter)| serde_json::from_str(&letter.payload).unwrap()).collect()
}

#[test]
fn hours_are_counted_by_the_shops_clock_as_the_schema_says() {
    let bench = bench(events());
    let said = said(&hourly(&bench));
    let schema = jsonschema::options().should_validate_formats(true).build(&strict(value("counts"))).unwrap();
    for document in &said {
        assert_eq!(complaints(&schema, document), [""; 0]);
    }
    let [picked_up, put_down, carried_in, tried_on] = &said[..] else { panic!("{said:?}") };
    assert_eq!(
        [&picked_up["measure"], &picked_up["store"], &picked_up["counted"]],
        ["picked_up", "paris-1", "2026-11-21T09:30:00.000Z"]
    );
    // Yesterday, and today as far as it has begun.
    let hours = picked_up["hours"].as_array().unwrap();
    assert_eq!(hours.len(), 24 + 11);
    let gtin = hangtag_protocol::epc::Epc::from_hex(TAG).unwrap().sgtin().unwrap().gtin().to_string();
    assert_eq!(
        hours[23],
        json!({
            "from": "2026-11-20T23:00:00+01:00", "to": "2026-11-21T00:00:00+01:00", "count": 1,
            "listened_percent": 0, "zones": { "rail-1": 1 }, "products": { gtin.clone(): 1 }, "other_products": 0,
        })
    );
    // One of three was a mistake. Reader a listened to all of this hour, and b to a half.
    assert_eq!(
        hours[33],
        json!({
            "from": "2026-11-21T09:00:00+01:00", "to": "2026-11-21T10:00:00+01:00", "count": 2,
            "listened_percent": 75, "zones": { "rail-1": 2 }, "products": { gtin.clone(): 1 }, "other_products": 1,
        })
    );
    // Of the hour that has begun half has passed, to which both listened.
    assert_eq!((&hours[34]["count"], &hours[34]["listened_percent"]), (&json!(0), &json!(100)));
    // Nobody told of anything in the hours between, nor of whether anybody listened.
    for (at, count, percent) in [(24, None::<u64>, 0), (32, None, 0)] {
        let of = (&hours[at]["count"], &hours[at]["listened_percent"]);
        assert_eq!(of, (&json!(count), &json!(percent)), "{at}");
        assert_eq!((&hours[at]["zones"], &hours[at]["other_products"]), (&json!({}), &json!(0)), "{at}");
    }
    assert_eq!(put_down["hours"][33]["count"], 0, "listened to");
    // In the hour of a pick-up nothing was tried on, as far as anything is known.
    assert_eq!(tried_on["hours"][23]["count"], 0);
    for (document, sum) in [(put_down, 0), (carried_in, 1), (tried_on, 1)] {
        let counts =
            document["hours"].as_array().unwrap().iter().map(|hour| hour["count"].as_u64().unwrap_or(0));
        assert_eq!(counts.sum::<u64>(), sum, "{document}");
    }
    assert_eq!(tried_on["hours"][33]["zones"], json!({ "booth-1": 1 }));
}

#[test]
fn of_very_many_products_the_most_counted_are_named() {
    let tag = |item: usize| format!("3074257bf7{item:06x}00001a85");
    let mut events: Vec<Event> =
        (0..MOST_PRODUCTS + 20).map(|item| picked(10 * HOUR, &tag(item << 6))).collect();
    events.extend((0..3).map(|_| picked(10 * HOUR + 1, &tag((MOST_PRODUCTS + 19) << 6))));
    let bench = bench(events);
    let hour = &said(&hourly(&bench))[0]["hours"][33];
    let products = hour["products"].as_object().unwrap();
    let named: u64 = products.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((products.len(), named), (MOST_PRODUCTS, MOST_PRODUCTS as u64 + 3));
    assert_eq!((&hour["count"], &hour["other_products"]), (&json!(MOST_PRODUCTS + 23), &json!(20)));
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_new_is_not_said_again() {
    let mut bench = bench(events());
    let mut rounds = Rounds::new(Some(hourly(&bench)));
    let topics = |letters: Vec<Letter>| -> Vec<String> {
        letters.into_iter().map(|letter| letter.topic.rsplit_once('/').unwrap().1.to_owned()).collect()
    };
    let first = topics(rounds.next().await.unwrap());
    assert_eq!(first, ["picked_up", "put_down", "carried_in", "tried_on"]);
    // What a gateway tells late changes an hour that is over, and a mistake one that is not.
    for (more, changed) in [
        (picked(HOUR / 3, TAG), "picked_up"),
        (retraction(10 * HOUR + 7, 3), "carried_in"),
        (fitting(11 * HOUR - 1, UNKNOWN, 3, What::TriedOn), "tried_on"),
    ] {
        let first = bench.store.watermark(&crate::store::tests::gateway()).unwrap().epochs[0].contiguous_to;
        bench.send(&batch(first.0 + 1, vec![more]));
        assert_eq!(topics(rounds.next().await.unwrap()), [changed]);
    }
}

/// Also in the hour that is not over: the counts of this hour are 0 from then on.
#[tokio::test(start_paused = true)]
async fn that_somebody_listens_is_said() {
    let mut bench = bench(vec![picked(HOUR, TAG)]);
    let mut rounds = Rounds::new(Some(hourly(&bench)));
    let last = |letters: &[Letter]| -> Vec<Value> {
        let said = letters.iter().map(|letter| serde_json::from_str::<Value>(&letter.payload).unwrap());
        said.map(|document| document["hours"][34]["count"].clone()).collect()
    };
    assert_eq!(last(&rounds.next().await.unwrap()), [const { Value::Null }; 4]);
    bench.send(&batch(2, vec![listened("a", 10 * HOUR + HOUR / 2, 11 * HOUR)]));
    assert_eq!(last(&rounds.next().await.unwrap()), [json!(0), json!(0), json!(0), json!(0)]);
}
