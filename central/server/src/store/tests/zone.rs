//! Zones are remembered from the hours that are rolled up, also from those of before there was a table of them.

use super::*;
use crate::store::zone::Zone;
use crate::store::{Keeper, Limits, Roller};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// Some midnight, in Unix milliseconds.
const MIDNIGHT: i64 = 500_016 * HOUR;

fn zones(bench: &Bench, from: i64, to: i64) -> Vec<(String, bool)> {
    let reader = Reader::new(bench.address.clone());
    let all = reader.zones(gateway().store, UnixMillis(from), UnixMillis(to)).unwrap();
    assert!(all.iter().all(|zone: &Zone| zone.gateway == gateway().gateway));
    all.into_iter().map(|zone| (zone.zone.to_string(), zone.is_booth)).collect()
}

fn roll(bench: &Bench) {
    let mut roller = Roller::open(&bench.address, tenant()).unwrap();
    while roller.roll(1).unwrap() > 0 {}
}

fn a_day() -> Bench {
    let mut bench = Bench::new();
    let tried = fitting(2 * HOUR.cast_unsigned(), TAG, 2, What::TriedOn);
    let mut sent = batch(1, vec![picked(1_000, TAG), tried]);
    sent.anchors = vec![anchor(0, MIDNIGHT, 5)];
    bench.send(&sent);
    bench
}

fn both() -> Vec<(String, bool)> {
    vec![("booth-1".into(), true), ("rail-1".into(), false)]
}

#[test]
fn a_zone_is_known_from_its_first_hour_until_ninety_days_after_its_last() {
    let bench = a_day();
    assert_eq!(zones(&bench, MIDNIGHT, MIDNIGHT + DAY), []);
    roll(&bench);
    assert_eq!(zones(&bench, MIDNIGHT, MIDNIGHT + DAY), both());
    assert_eq!(zones(&bench, MIDNIGHT - DAY, MIDNIGHT), [], "it was not there before");
    assert_eq!(zones(&bench, MIDNIGHT - DAY, MIDNIGHT + 1), [("rail-1".into(), false)]);
    assert_eq!(zones(&bench, MIDNIGHT + 90 * DAY, MIDNIGHT + 91 * DAY), both());
    let late = MIDNIGHT + 90 * DAY + 2 * HOUR;
    assert_eq!(zones(&bench, late, late + DAY), [("booth-1".into(), true)]);
    assert_eq!(zones(&bench, MIDNIGHT + 91 * DAY, MIDNIGHT + 92 * DAY), []);
}

#[test]
fn an_hour_between_changes_nothing_and_a_later_one_does() {
    let mut bench = a_day();
    roll(&bench);
    let hour = HOUR.cast_unsigned();
    // In the booth somebody hangs something up again, a day later: it has become a shelf.
    let mut sent = batch(3, vec![picked(hour, TAG), picked(24 * hour, TAG)]);
    let What::PickedUp(of) = &mut sent.events[1].what else { panic!("a pick-up") };
    of.zone = ZoneId::new("booth-1").unwrap();
    bench.send(&sent);
    roll(&bench);
    assert_eq!(
        zones(&bench, MIDNIGHT, MIDNIGHT + 2 * DAY),
        [("booth-1".into(), false), ("rail-1".into(), false)]
    );
}

#[test]
fn a_database_of_version_8_knows_the_zones_of_its_sheets() {
    let bench = a_day();
    roll(&bench);
    let limits = Limits { events: Some(0), feed: Some(0), ..Limits::default() };
    let mut keeper = Keeper::open(&bench.address, tenant(), limits).unwrap();
    assert!(keeper.pass(UnixMillis(MIDNIGHT + 9 * DAY), &mut || true).unwrap() > 0, "the events are deleted");
    bench.batch(
        "DROP TABLE zone; DROP INDEX stock_by_time; DELETE FROM meta WHERE name = 'zones';
         DROP TABLE account; DROP TABLE session; DROP TABLE token; DROP TABLE audit",
    );
    bench.db().step("", None, 8).unwrap();
    roll(&bench);
    assert_eq!(zones(&bench, MIDNIGHT, MIDNIGHT + DAY), both());
    assert!(bench.db().is_any("SELECT 1 FROM meta WHERE name = 'zones'", &[]).unwrap(), "it is done once");
}
