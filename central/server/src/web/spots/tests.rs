//! A Saturday in Paris, from 10:00 to 19:30, with two gateways of three rails each; one of them is silent from 14:00.

use hangtag_protocol::clock::{UnixMillis, Uptime};
use hangtag_protocol::epc::{Epc, Gtin, Serial, Sgtin};
use hangtag_protocol::event::{Coverage, Event, Evidence, Handling, ReaderState, What};
use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, ZoneId};
use hangtag_protocol::topic::{Channel, Gateway};

use super::super::tests::{described, get, site};
use crate::store::tests::{Bench, anchor, batch, gateway, picked, tenant};
use crate::store::{Message, Roller};

/// 2026-10-24 10:00 in Paris.
const OPENS: i64 = 1_792_828_800_000;
const HOUR: u64 = 3_600_000;
const DAY: &str = "store=paris-1&from=2026-10-24";

fn tag(item: u64, serial: u64) -> Epc {
    let serial = Serial::Number(serial);
    Sgtin { filter: 1, company: 614_141, company_digits: 7, item, serial }.encode_96().unwrap()
}

fn gtin(item: u64) -> Gtin {
    tag(item, 1).sgtin().unwrap().gtin()
}

/// From which hour to which, in tenths, a reader was in a state.
fn coverage(reader: &str, state: ReaderState, from: u64, to: u64) -> Event {
    let of = Coverage { reader: ReaderId::new(reader).unwrap(), state, from: Uptime(from * HOUR / 10) };
    Event { at: Uptime(to * HOUR / 10), what: What::Coverage(of), ..picked(0, &tag(1, 1).to_string()) }
}

/// Every garment of a rail is picked up so many times in each hour that is listened to.
fn send(bench: &mut Bench, name: &str, rails: [(u64, u64); 3], hours: u64, coverages: &[Event]) {
    let mut events = Vec::new();
    for hour in 0..hours {
        for (rail, times) in rails {
            for n in 0..times * 10 {
                let zone = ZoneId::new(&format!("rail-{rail}")).unwrap();
                let of = Handling { epc: tag(rail, n % 10), zone, evidence: Evidence::default() };
                let at = Uptime(hour * HOUR + 60_000 * n);
                events.push(Event { at, what: What::PickedUp(of), ..picked(0, &tag(1, 1).to_string()) });
            }
        }
    }
    events.extend_from_slice(coverages);
    let mut message = batch(1, events);
    message.header.gateway = Gateway { gateway: GatewayId::new(name).unwrap(), ..gateway() };
    message.header.epoch = Epoch(u64::from(name.ends_with('2')) + 1);
    message.anchors = vec![anchor(0, OPENS, 10)];
    let topic = message.header.gateway.topic(Channel::Events);
    let payload = message.encode().unwrap();
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
}

fn two_gateways() -> Bench {
    let mut bench = Bench::new();
    let all_day = [coverage("a", ReaderState::Listening, 0, 95)];
    // The last hour, in which the shop closes, included.
    send(&mut bench, "gw-1", [(1, 2), (2, 2), (3, 2)], 10, &all_day);
    let half = [coverage("a", ReaderState::Listening, 0, 40), coverage("a", ReaderState::Absent, 40, 95)];
    send(&mut bench, "gw-2", [(4, 2), (5, 2), (6, 5)], 4, &half);
    bench
}

async fn rows(bench: &Bench, path: &str) -> Vec<serde_json::Value> {
    rows_of(bench, path, &[(1, "S1", "M"), (2, "S2", "M")]).await
}

/// Of a shop that knows some items by their style and size.
async fn rows_of(bench: &Bench, path: &str, items: &[(u64, &str, &str)]) -> Vec<serde_json::Value> {
    let catalogue = items.iter().map(|(item, style, size)| {
        let category = if *style == "S2" { "Skirt" } else { "Dress" };
        format!("{},{style},red,{size},{category},1\n", gtin(*item))
    });
    let (site, _changed) = site(bench, &catalogue.collect::<String>());
    let text = get(&site, path).await.text;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let errors: Vec<String> = described().iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{path}: {errors:?}");
    json["rows"].as_array().unwrap_or_else(|| panic!("{text}")).clone()
}

#[tokio::test]
async fn a_rail_is_measured_by_the_hours_in_which_its_gateway_listened() {
    let bench = two_gateways();
    let rows = rows(&bench, &format!("/api/v1/measures/spots?{DAY}")).await;
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let half = ["rail-4", "rail-5", "rail-6"].contains(&row["zone"].as_str().unwrap());
        let (hours, picked_up) = if half { (4.0, 20 * 4) } else { (9.0, 20 * 9) };
        assert_eq!((&row["listened_hours"], &row["garments"]), (&hours.into(), &10.into()), "{row}");
        if row["zone"] == "rail-6" {
            assert_eq!((&row["picked_up"], &row["verdict"]), (&200.into(), &"hot".into()), "{row}");
            continue;
        }
        assert_eq!((&row["picked_up"], &row["verdict"]), (&picked_up.into(), &"even".into()), "{row}");
        // Of 10 garments twice in an hour: 200 of 100 garments. The half hour before closing counts on neither side.
        let rate = row["pick_up_rate"]["value"].as_f64().unwrap();
        assert!((rate - 200.0).abs() < 1e-3, "{row}");
    }
    let (site, _changed) = site(&bench, "");
    let page = get(&site, &format!("/?{DAY}")).await.text;
    let section = page.split("<section id=\"spots\">").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(section.contains("rail-6 draws 2.50 times the hands that were to be expected"), "{section}");
    assert!(section.contains("class=\"drawing spread\"") && section.contains("▲ hot"), "{section}");
    // What the funnels say is said whole.
    assert!(section.contains(">chance alone: 998 of 1,000 in here<"), "{section}");
    let page = get(&site, &format!("/?{DAY}&lang=zh-CN")).await.text;
    assert!(page.contains(">若仅偶然波动，998/1000落在此带内<"), "{page}");
}

/// On the Monday before, hands went to a rail of each gateway to which nobody goes on Saturday.
#[tokio::test]
async fn a_rail_that_nobody_touches_is_told_and_one_that_nobody_watches_is_not_measured() {
    let mut bench = two_gateways();
    for (name, rail, epoch) in [("gw-1", 8, 11), ("gw-3", 9, 13)] {
        let zone = ZoneId::new(&format!("rail-{rail}")).unwrap();
        let of = Handling { epc: tag(rail, 1), zone, evidence: Evidence::default() };
        let event = Event { what: What::PickedUp(of), ..picked(HOUR, &tag(1, 1).to_string()) };
        let mut message = batch(1, vec![event]);
        message.header.gateway = Gateway { gateway: GatewayId::new(name).unwrap(), ..gateway() };
        message.header.epoch = Epoch(epoch);
        message.events[0].boot.0 = epoch;
        message.anchors = vec![anchor(0, OPENS - 5 * 86_400_000, 10)];
        message.anchors[0].boot.0 = epoch;
        let (topic, payload) = (message.header.gateway.topic(Channel::Events), message.encode().unwrap());
        bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    }
    let mut roller = Roller::open(&bench.address, tenant()).unwrap();
    while roller.roll(100).unwrap() > 0 {}
    let of = |rows: &[serde_json::Value], zone: &str| {
        rows.iter().find(|row| row["zone"] == zone).unwrap_or_else(|| panic!("{zone} in {rows:?}")).clone()
    };
    let spots = rows(&bench, &format!("/api/v1/measures/spots?{DAY}")).await;
    assert_eq!(spots.len(), 8);
    let (untouched, unwatched) = (of(&spots, "rail-8"), of(&spots, "rail-9"));
    assert_eq!(
        (&untouched["verdict"], &untouched["picked_up"], &untouched["listened_hours"]),
        (&"untouched".into(), &0.into(), &9.0.into())
    );
    assert_eq!(
        (&unwatched["verdict"], &unwatched["picked_up"], &unwatched["listened_hours"]),
        (&"unknown".into(), &().into(), &0.0.into())
    );
    let zones = rows(&bench, &format!("/api/v1/measures/zones?{DAY}")).await;
    assert_eq!((&of(&zones, "rail-8")["picked_up"], &of(&zones, "rail-8")["visits"]), (&0.into(), &0.into()));
    assert_eq!(
        (&of(&zones, "rail-9")["picked_up"], &of(&zones, "rail-9")["visits"]),
        (&().into(), &().into())
    );
    // Under a filter of goods nobody knows where those hang.
    let some = rows(&bench, &format!("/api/v1/measures/zones?{DAY}&style=S1")).await;
    assert!(some.iter().all(|row| row["zone"] != "rail-8"), "{some:?}");
    // Before there was such a rail it is none.
    let before = rows(&bench, "/api/v1/measures/zones?store=paris-1&from=2026-10-17").await;
    assert_eq!(before, [] as [serde_json::Value; 0]);
    let (site, _changed) = site(&bench, "");
    let page = get(&site, &format!("/?{DAY}")).await.text;
    assert!(page.contains("1 rail was listened to, and nobody touched anything there."), "{page}");
    assert!(page.contains("<td class=\"text\">nobody touched it</td>"), "{page}");
}

#[tokio::test]
async fn without_readers_that_listened_there_is_no_rate() {
    let mut bench = Bench::new();
    send(&mut bench, "gw-1", [(1, 2), (2, 2), (3, 2)], 9, &[coverage("a", ReaderState::Silent, 0, 95)]);
    for row in rows(&bench, &format!("/api/v1/measures/spots?{DAY}")).await {
        assert_eq!(
            (&row["verdict"], &row["pick_up_rate"], &row["of_expected"]),
            (&"unknown".into(), &().into(), &().into())
        );
    }
    for row in rows(&bench, &format!("/api/v1/measures/styles?{DAY}")).await {
        assert_eq!((&row["pick_up_rate"], &row["on_show_known"]), (&().into(), &"".into()), "{row}");
    }
}

#[tokio::test]
async fn a_style_is_measured_by_what_was_counted_on_the_floor() {
    let mut bench = two_gateways();
    let count = |item: u64, place: &str, quantity: u32| {
        format!(
            r#"{{"gtin":"{}","place":"{place}","time":"2026-10-24T08:00:00Z","quantity":{quantity}}}"#,
            gtin(item)
        )
    };
    // Of the skirt fewer were counted than were seen.
    let counts = [count(1, "floor", 25), count(1, "back_room", 100), count(2, "floor", 3)];
    let payload = format!("[{}]", counts.join(",")).into_bytes();
    let topic = "hangtag/v1/demo/pos/paris-1/stock".into();
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    let rows = rows(&bench, &format!("/api/v1/measures/styles?{DAY}")).await;
    let of = |name: &str| rows.iter().find(|row| row["style"] == name).unwrap().clone();
    let (dress, skirt) = (of("S1"), of("S2"));
    assert_eq!((&dress["on_show"], &dress["on_show_known"]), (&25.into(), &"floor".into()));
    assert_eq!((&skirt["on_show"], &skirt["on_show_known"]), (&10.into(), &"seen".into()));
    // The two gateways listened 9 and 4 hours.
    assert_eq!(dress["pick_up_rate"]["whole"], 25.0 * 6.5);
    assert_eq!(dress["pick_up_rate"]["part"], 180);
    assert!(dress["pick_up_rate"]["low"].is_number(), "{dress}");
}

/// Of one product what hangs on the floor was counted, of another only all there is.
#[tokio::test]
async fn each_product_of_a_style_counts_as_it_was_counted_best_while_the_count_is_good() {
    let mut bench = two_gateways();
    let count = |item: u64, place: &str, quantity: u32, time: &str| {
        format!(r#"{{"gtin":"{}","place":"{place}","time":"{time}","quantity":{quantity}}}"#, gtin(item))
    };
    let counts = [
        count(1, "floor", 15, "2026-10-24T06:00:00Z"),
        count(4, "all", 40, "2026-10-24T06:00:00Z"),
        // Counted on the floor before all of it was counted,
        count(2, "floor", 700, "2026-10-23T06:00:00Z"),
        count(2, "all", 60, "2026-10-24T06:00:00Z"),
        // and so long ago that nobody knows.
        count(3, "floor", 90, "2026-10-04T06:00:00Z"),
    ];
    let payload = format!("[{}]", counts.join(",")).into_bytes();
    let topic = "hangtag/v1/demo/pos/paris-1/stock".into();
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    let rows = rows_of(
        &bench,
        &format!("/api/v1/measures/styles?{DAY}"),
        &[(1, "S1", "M"), (4, "S1", "S"), (2, "S2", "M"), (3, "S3", "M")],
    )
    .await;
    let of = |name: &str| rows.iter().find(|row| row["style"] == name).unwrap().clone();
    for (style, on_show, known) in [("S1", 55, "stock"), ("S2", 60, "stock"), ("S3", 10, "seen")] {
        let row = of(style);
        assert_eq!((&row["on_show"], &row["on_show_known"]), (&on_show.into(), &known.into()), "{row}");
    }
}

/// On one day ten were seen where four were counted; of several days that would be no reason to doubt the count.
#[tokio::test]
async fn what_was_seen_over_days_does_not_replace_a_count() {
    let mut bench = two_gateways();
    let payload =
        format!(r#"[{{"gtin":"{}","place":"floor","time":"2026-10-24T06:00:00Z","quantity":4}}]"#, gtin(1));
    let topic = "hangtag/v1/demo/pos/paris-1/stock".into();
    let payload = payload.into_bytes();
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    for (from, known, on_show) in [("2026-10-23", "floor", 4), ("2026-10-24", "seen", 10)] {
        let path = format!("/api/v1/measures/styles?store=paris-1&from={from}&to=2026-10-24");
        let row = rows(&bench, &path).await.into_iter().find(|row| row["style"] == "S1").unwrap();
        assert_eq!((&row["on_show"], &row["on_show_known"]), (&on_show.into(), &known.into()), "{row}");
    }
}

/// Another gateway of the shop watches booths, and listens all day; and nobody can say how much counts vary.
#[tokio::test]
async fn styles_are_measured_by_the_readers_that_watch_rails_and_without_an_interval_that_nobody_knows() {
    let mut bench = Bench::new();
    let half = [coverage("a", ReaderState::Listening, 0, 40)];
    send(&mut bench, "gw-1", [(1, 2), (2, 0), (3, 0)], 4, &half);
    send(&mut bench, "gw-2", [(1, 0), (2, 0), (3, 0)], 0, &[coverage("a", ReaderState::Listening, 0, 95)]);
    let row = &rows(&bench, &format!("/api/v1/measures/styles?{DAY}")).await[0];
    assert_eq!(row["pick_up_rate"]["whole"], 10.0 * 4.0, "{row}");
    assert_eq!(
        (&row["pick_up_rate"]["low"], &row["pick_up_rate"]["high"]),
        (&().into(), &().into()),
        "{row}"
    );
    let row = &rows(&bench, &format!("/api/v1/measures/spots?{DAY}")).await[0];
    for name in ["pick_up_rate", "of_expected"] {
        assert_eq!((&row[name]["low"], &row[name]["high"]), (&().into(), &().into()), "{name}: {row}");
    }
}

#[tokio::test]
async fn it_is_told_how_late_events_came_and_of_how_much_nothing_was_told() {
    let mut bench = Bench::new();
    send(&mut bench, "gw-1", [(1, 0), (2, 0), (3, 0)], 0, &[coverage("a", ReaderState::Silent, 0, 95)]);
    let twice = [coverage("a", ReaderState::Listening, 0, 38), coverage("b", ReaderState::Listening, 19, 38)];
    send(&mut bench, "gw-2", [(1, 0), (2, 0), (3, 0)], 0, &twice);
    // 19 events that came 20 seconds late, and one that came an hour late.
    let events = (0..20).map(|_| picked(HOUR, &tag(1, 1).to_string())).collect();
    let mut message = batch(1, events);
    message.anchors = vec![anchor(0, OPENS, 10)];
    let at = OPENS + 3_600_000;
    for (seqs, late) in [(0..19, 20_000), (19..20, 3_600_000)] {
        let mut part = message.clone();
        part.header.first.0 = 1 + seqs.start as u64;
        part.events = message.events[seqs].to_vec();
        part.header.count = part.events.len() as u32;
        let topic = gateway().topic(Channel::Events);
        let payload = part.encode().unwrap();
        bench.store.append(&[Message { topic, payload, received: UnixMillis(at + late) }]).unwrap();
    }
    let row = &rows(&bench, &format!("/api/v1/measures/summary?{DAY}")).await[0];
    // 13.3 hours of 19, and what another reader says at the same time is not counted again.
    assert_eq!(row["reported_percent"], 70.0, "{row}");
    let delay = row["delay_p95"].as_f64().unwrap();
    assert!((20.0..24.0).contains(&delay), "{row}");
    let (site, _changed) = site(&bench, "");
    let page = get(&site, &format!("/?{DAY}")).await.text;
    assert!(page.contains("Gateways reported on 70 % of the opening hours."), "{page}");
}

/// Three rails in one hour: they can be compared, but how much chance there is nobody knows.
#[tokio::test]
async fn rails_of_which_too_little_is_known_are_said_to_be_so() {
    let mut bench = Bench::new();
    let hour = [coverage("a", ReaderState::Listening, 0, 10)];
    send(&mut bench, "gw-1", [(1, 2), (2, 2), (3, 2)], 1, &hour);
    let (site, _changed) = site(&bench, "");
    let page = get(&site, &format!("/?{DAY}")).await.text;
    assert!(page.contains("Too little was counted to tell what is more than chance"), "{page}");
}

/// A gateway that told of itself the day before is dead all day.
#[tokio::test]
async fn a_gateway_that_is_dead_all_day_is_missed() {
    let mut bench = Bench::new();
    send(&mut bench, "gw-1", [(1, 0), (2, 0), (3, 0)], 0, &[coverage("a", ReaderState::Listening, 0, 95)]);
    let mut message = batch(1, vec![coverage("b", ReaderState::Listening, 0, 95)]);
    message.header.gateway = Gateway { gateway: GatewayId::new("gw-2").unwrap(), ..gateway() };
    message.header.epoch = Epoch(2);
    message.anchors = vec![anchor(0, OPENS - 24 * 3_600_000, 10)];
    let topic = message.header.gateway.topic(Channel::Events);
    let payload = message.encode().unwrap();
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    let row = &rows(&bench, &format!("/api/v1/measures/summary?{DAY}")).await[0];
    assert_eq!((&row["reported_percent"], &row["listened_percent"]), (&50.0.into(), &50.0.into()), "{row}");
}
