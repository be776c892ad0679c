//! A day by invented events.

use alloc::string::ToString;
use alloc::vec;

use hangtag_protocol::id::{Epoch, GatewayId, Seq};

use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::Kind;

use super::*;
use crate::handled::Visit;
use crate::sale;

const A: &str = "3074257bf7194e4000001a85";
const TWIN: &str = "3074257bf7194e4000001a86";
const OTHER: &str = "e28068900000500e88c6a4a7";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// The day begins here; 24 hours.
const BEGIN: i64 = 1_000 * 24 * HOUR;

fn at(minutes: i64) -> i64 {
    BEGIN + minutes * MINUTE
}

fn handled(minutes: i64, kind: Kind, epc: &str, zone: &str, visit: Option<u64>) -> Handled {
    Handled {
        at: UnixMillis(at(minutes)),
        kind,
        epc: Epc::from_hex(epc).unwrap(),
        zone: ZoneId::new(zone).unwrap(),
        visit: visit.map(visit_of),
        dwell_ds: 600,
    }
}

fn visit_of(opened_by: u64) -> Visit {
    Visit { gateway: GatewayId::new("g").unwrap(), epoch: Epoch(1), opened_by: Seq(opened_by) }
}

fn hours() -> Vec<Start> {
    (0..24).map(|n| Start { at: UnixMillis(BEGIN + i64::from(n) * HOUR), clock: n }).collect()
}

fn day_with(events: &[Handled], scans: &[Scanned], known_to: i64) -> Day {
    let hours = hours();
    let span = Span { hours: &hours, end: UnixMillis(at(24 * 60)), known_to: UnixMillis(known_to) };
    Day::new(span, events, scans, &[], &|_| 0)
}

fn day(events: &[Handled]) -> Day {
    day_with(events, &[], i64::MAX)
}

#[test]
fn twice_in_one_visit_is_one_try_on_and_in_two_visits_two() {
    let day = day(&[
        handled(1, Kind::TriedOn, A, "booth-1", Some(1)),
        handled(2, Kind::TriedOn, A, "booth-1", Some(1)),
        handled(100, Kind::TriedOn, A, "booth-1", Some(9)),
    ]);
    assert_eq!(day.total().tried_on, 2);
    let hours: Vec<u8> = day.cells.iter().map(|cell| cell.hour).collect();
    assert_eq!((hours, day.stays.len()), (vec![0, 1], 2));
}

#[test]
fn what_is_carried_in_again_in_one_visit_is_carried_in_once() {
    let day = day(&[
        handled(1, Kind::CarriedIn, A, "booth-1", Some(1)),
        handled(2, Kind::CarriedOut, A, "booth-1", Some(1)),
        handled(3, Kind::CarriedIn, A, "booth-1", Some(1)),
        handled(4, Kind::CarriedIn, TWIN, "booth-1", Some(1)),
    ]);
    assert_eq!((day.total().carried_in, day.items.len()), (2, 2));
    assert_eq!(day.stays[0].dwell_ds, None, "both are in the booth");
}

#[test]
fn a_visit_over_midnight_belongs_to_the_day_on_which_it_began() {
    let events = [
        handled(-10, Kind::CarriedIn, A, "booth-1", Some(1)),
        handled(5, Kind::TriedOn, A, "booth-1", Some(1)),
        handled(24 * 60 - 5, Kind::CarriedIn, TWIN, "booth-1", Some(7)),
        handled(24 * 60 + 5, Kind::TriedOn, TWIN, "booth-1", Some(7)),
    ];
    let day = day(&events);
    assert_eq!(day.total(), Counts { carried_in: 1, tried_on: 1, ..Counts::default() });
    assert_eq!(
        (day.stays.len(), day.articles[day.items[0].article as usize]),
        (1, Article::of(&Epc::from_hex(TWIN).unwrap()))
    );
    assert!(day.cells.iter().all(|cell| cell.hour == 23), "{:?}", day.cells);
}

#[test]
fn neighbouring_days_count_each_try_on_once() {
    let events: Vec<Handled> =
        (0..96).map(|n| handled(n * 30 - 720, Kind::TriedOn, A, "booth-1", Some((n / 3) as u64))).collect();
    let distinct = 96 / 3;
    let mut count = 0;
    for shift in [-24 * HOUR, 0, 24 * HOUR] {
        let hours: Vec<Start> =
            hours().into_iter().map(|hour| Start { at: UnixMillis(hour.at.0 + shift), ..hour }).collect();
        let end = UnixMillis(at(24 * 60) + shift);
        count +=
            Day::new(Span { hours: &hours, end, known_to: end }, &events, &[], &[], &|_| 0).total().tried_on;
    }
    assert_eq!(count, distinct);
}

#[test]
fn a_stay_lasts_from_the_first_garment_in_to_the_last_one_out() {
    let out =
        |minutes, epc| Handled { dwell_ds: 1_200, ..handled(minutes, Kind::CarriedOut, epc, "b", Some(1)) };
    let day = day(&[
        handled(0, Kind::CarriedIn, A, "b", Some(1)),
        handled(1, Kind::CarriedIn, TWIN, "b", Some(1)),
        out(3, A),
        out(4, TWIN),
    ]);
    assert_eq!(day.stays[0].dwell_ds, Some(1_800), "the last one came after 1 and stayed 2 minutes");
}

#[test]
fn only_a_try_on_after_the_pick_up_follows_it() {
    let day = day(&[
        handled(0, Kind::TriedOn, A, "booth-1", Some(1)),
        handled(1, Kind::PickedUp, A, "rail", None),
        handled(2, Kind::PickedUp, OTHER, "rail", None),
        handled(3, Kind::TriedOn, OTHER, "booth-1", Some(8)),
    ]);
    let tried: Vec<bool> = day.picked.iter().map(|picked| picked.then_tried).collect();
    assert_eq!((tried, day.unknown_tags), (vec![false, true], 1));
}

#[test]
fn put_back_is_what_is_next_put_down_and_soon() {
    let day = day(&[
        handled(0, Kind::PickedUp, A, "rail", None),
        handled(2, Kind::PutDown, A, "rail", None),
        handled(3, Kind::PickedUp, A, "rail", None),
        handled(30, Kind::PutDown, A, "shelf", None),
        handled(40, Kind::PickedUp, TWIN, "rail", None),
        handled(44, Kind::TriedOn, TWIN, "booth-1", Some(3)),
        handled(46, Kind::PutDown, TWIN, "rail", None),
    ]);
    let of = |n: usize| (day.picked[n].times, day.picked[n].put_back);
    assert_eq!((of(0), of(1)), ((2, 1), (1, 0)));
}

#[test]
fn an_outcome_is_open_until_its_time_has_passed() {
    let tried = handled(0, Kind::TriedOn, A, "booth-1", Some(1));
    let outcome = |rest: &[Handled], known_to| {
        let events: Vec<Handled> = [tried].iter().chain(rest).copied().collect();
        day_with(&events, &[], known_to).items[0].outcome
    };
    let back = handled(30, Kind::PutDown, A, "rail", None);
    let late = handled(121, Kind::PutDown, A, "rail", None);
    assert_eq!(outcome(&[], at(60)), Outcome::Open);
    assert_eq!(outcome(&[], at(120)), Outcome::NotSeen);
    assert_eq!(
        outcome(&[back], at(60)),
        Outcome::Open,
        "else what is put back would count before what is sold"
    );
    assert_eq!(outcome(&[back], at(120)), Outcome::Back);
    assert_eq!(outcome(&[late], at(300)), Outcome::NotSeen);
}

#[test]
fn scans_are_counted_where_they_were_and_are_no_handling() {
    let scan = |minutes, zone: &str, visit: Option<u64>, is_product| Scanned {
        at: UnixMillis(at(minutes)),
        zone: ZoneId::new(zone).unwrap(),
        visit: visit.map(visit_of),
        is_product,
    };
    let scans = [
        scan(1, "booth-1", Some(1), false),
        scan(2, "booth-1", Some(1), false),
        scan(3, "booth-2", Some(5), false),
        scan(4, "till", None, true),
        scan(-5, "till", None, true),
    ];
    let day = day_with(&[handled(1, Kind::CarriedIn, A, "booth-1", Some(1))], &scans, i64::MAX);
    let of: Vec<_> = day
        .scans
        .iter()
        .map(|scans| (day.zones[usize::from(scans.zone)].to_string(), scans.loyalty, scans.product))
        .collect();
    assert_eq!(of, [("booth-1".into(), 2, 0), ("booth-2".into(), 1, 0), ("till".into(), 0, 1)]);
    assert_eq!((day.stays.len(), day.items.len(), day.total().carried_in), (2, 1, 1));
}

#[test]
fn what_is_only_known_to_have_left_was_not_counted_in_but_its_stay_is_known() {
    let day = day(&[handled(5, Kind::CarriedOut, A, "booth-1", Some(1))]);
    assert_eq!((day.total().carried_in, day.stays[0].dwell_ds), (0, Some(600)));
}

/// A line of one piece.
fn line(number: u32, minutes: i64, kind: sale::Kind, goods: sale::Goods) -> Line {
    Line {
        receipt: sale::Receipt::new("r").unwrap(),
        line: number,
        at: UnixMillis(at(minutes)),
        kind,
        goods,
        quantity: goods.pieces(1).unwrap(),
        price: None,
    }
}

#[test]
fn what_passed_the_till_is_counted_on_its_day_and_try_ons_know_their_sales() {
    let epc = |text| Epc::from_hex(text).unwrap();
    let garment = |text| sale::Goods::new(None, Some(epc(text))).unwrap();
    let product = |text| sale::Goods::new(epc(text).sgtin().map(|sgtin| sgtin.gtin()), None).unwrap();
    let events = [
        handled(0, Kind::TriedOn, A, "booth-1", Some(1)),
        handled(0, Kind::TriedOn, TWIN, "booth-1", Some(1)),
        handled(24 * 60 - 5, Kind::TriedOn, A, "booth-1", Some(3)),
    ];
    let lines = [
        line(1, 30, sale::Kind::Sale, garment(A)),
        line(2, 40, sale::Kind::Return, product(A)),
        line(3, 24 * 60 + 30, sale::Kind::Sale, product(A)),
    ];
    let hours = hours();
    let span = Span { hours: &hours, end: UnixMillis(at(24 * 60)), known_to: UnixMillis(i64::MAX) };
    let day = Day::new(span, &events, &[], &lines, &|_| 0);
    let sold: Vec<Sold> = day.items.iter().map(|item| item.sold).collect();
    assert_eq!(sold, [Sold::Tag, Sold::No, Sold::Product], "the last one after midnight");
    assert_eq!(day.tills, [Till { article: day.items[0].article, sold: 1, returned: 1 }]);
}
