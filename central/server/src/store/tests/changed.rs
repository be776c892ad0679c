//! What is remembered of hours is what a reader that remembers nothing finds, whatever changes them.

use super::*;
use crate::store::{Coverage, Roller, verify};

const HOUR: i64 = 3_600_000;
/// Some midnight, in Unix milliseconds.
const MIDNIGHT: i64 = 500_016 * HOUR;
/// The hours of a day.
const DAY: (i64, i64) = (MIDNIGHT / HOUR, MIDNIGHT / HOUR + 23);

/// What a reader tells of the day.
#[derive(Debug, PartialEq)]
struct Told {
    handled: Vec<hangtag_central_core::handled::Handled>,
    unvouched: u64,
    coverage: Vec<Coverage>,
    unclocked: u64,
}

fn day(reader: &Reader) -> Told {
    let (_, hours) = reader.hours(gateway().store, DAY, |_| true).unwrap();
    let quality = reader.quality(gateway().store, UnixMillis(0), UnixMillis(i64::MAX / 2)).unwrap();
    Told {
        handled: hours.values().flat_map(|piece| &piece.handled).copied().collect(),
        unvouched: hours.values().map(|piece| piece.unvouched).sum(),
        coverage: hours.values().flat_map(|piece| &piece.coverage).copied().collect(),
        unclocked: quality.unclocked.values().sum(),
    }
}

/// What the reader tells, which is what a new one would tell.
fn same(reader: &Reader, bench: &Bench) -> Told {
    let told = day(reader);
    assert_eq!(told, day(&Reader::new(bench.address.clone())));
    // And what it tells when every hour has a sheet.
    let mut roller = Roller::open(&bench.address, tenant()).unwrap();
    while roller.roll(1).unwrap() > 0 {}
    assert_eq!(told, day(&Reader::new(bench.address.clone())), "from sheets");
    told
}

fn coverage(at: u64, since: u64) -> Event {
    let what = What::Coverage(hangtag_protocol::event::Coverage {
        reader: hangtag_protocol::id::ReaderId::new("r").unwrap(),
        state: hangtag_protocol::event::ReaderState::Listening,
        from: Uptime(since),
    });
    Event { boot: BootId(7), at: Uptime(at), confidence: 100, what }
}

#[test]
fn an_hour_is_read_again_whatever_changed_it() {
    let mut bench = Bench::new();
    let reader = Reader::new(bench.address.clone());
    let hour = HOUR.cast_unsigned();
    assert_eq!(same(&reader, &bench).handled, []);
    // Nobody knows yet when it was.
    bench.send(&batch(1, vec![picked(2 * hour, TAG), picked(5 * hour, TAG), coverage(6 * hour, 2 * hour)]));
    assert_eq!(same(&reader, &bench).unclocked, 2);
    // Late events get their time, which nobody vouches for.
    bench.send(&Batch {
        anchors: vec![anchor(0, MIDNIGHT, UNKNOWN_ERROR)],
        ..batch(4, vec![picked(7 * hour, TAG)])
    });
    let told = same(&reader, &bench);
    assert_eq!((told.handled.len(), told.unvouched, told.coverage.len()), (3, 3, 1));
    // A better clock moves them to other hours, one of them out of the day.
    let better = anchor(0, MIDNIGHT - 3 * HOUR, 5);
    bench.send(&Batch { anchors: vec![better], ..batch(5, vec![picked(9 * hour, TAG)]) });
    let told = same(&reader, &bench);
    assert_eq!((told.handled.len(), told.unvouched), (3, 0));
    // A mistake of hours ago is taken back, much later.
    bench.send(&batch(6, vec![retraction(100 * hour, 2)]));
    assert_eq!(same(&reader, &bench).handled.len(), 2);
    // Another process writes.
    let mut other = Store::open(&bench.address, options()).unwrap();
    let payload = batch(7, vec![picked(8 * hour, TAG)]).encode().unwrap();
    let topic = gateway().topic(Channel::Events);
    other.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    assert_eq!(same(&reader, &bench).handled.len(), 3);
}

#[test]
fn a_retraction_that_comes_before_its_event_takes_that_back_too() {
    let mut bench = Bench::new();
    let reader = Reader::new(bench.address.clone());
    let hour = HOUR.cast_unsigned();
    bench.send(&Batch { anchors: vec![anchor(0, MIDNIGHT, 5)], ..batch(3, vec![retraction(9 * hour, 2)]) });
    assert_eq!(same(&reader, &bench).handled, []);
    bench.send(&batch(1, vec![picked(2 * hour, TAG), fitting(3 * hour, TAG, 2, What::TriedOn)]));
    let kinds: Vec<_> = same(&reader, &bench).handled.iter().map(|handled| handled.kind).collect();
    assert_eq!(kinds, [hangtag_protocol::event::Kind::PickedUp]);
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let mut bench = Bench::new();
    let reader = Reader::new(bench.address.clone());
    bench.send(&Batch { anchors: vec![anchor(0, MIDNIGHT, 5)], ..batch(1, vec![picked(3_600_000, TAG)]) });
    assert_eq!(day(&reader).handled.len(), 1);
    // Somebody changes the database by hand, behind central's back.
    let db = bench.db();
    db.execute("UPDATE event SET kind = 'put_down'", &[]).unwrap();
    assert_eq!(day(&reader).handled[0].kind, hangtag_protocol::event::Kind::PickedUp);
    // An event of another hour does not make it read this one; one of this hour does.
    bench.send(&batch(2, vec![picked(4 * 3_600_000, TAG)]));
    assert_eq!(day(&reader).handled[0].kind, hangtag_protocol::event::Kind::PickedUp);
    bench.send(&batch(3, vec![picked(3_700_000, TAG)]));
    assert_eq!(day(&reader).handled[0].kind, hangtag_protocol::event::Kind::PutDown);
}

#[test]
fn a_sheet_of_what_an_hour_was_before_is_not_used() {
    let mut bench = Bench::new();
    let mut roller = Roller::open(&bench.address, tenant()).unwrap();
    bench.send(&Batch { anchors: vec![anchor(0, MIDNIGHT, 5)], ..batch(1, vec![picked(3_600_000, TAG)]) });
    assert_eq!((roller.roll(9).unwrap(), roller.roll(9).unwrap()), (1, 0));
    let told = || day(&Reader::new(bench.address.clone())).handled.len();
    // What is not read from events is read from the sheet.
    bench.db().execute("DELETE FROM event", &[]).unwrap();
    assert_eq!(told(), 1);
    bench.db().execute("UPDATE changed SET mark = mark + 1", &[]).unwrap();
    assert_eq!(told(), 0, "the hour is another one");
    assert_eq!(roller.roll(9).unwrap(), 1, "and gets another sheet");
    assert_eq!(told(), 0);
}

#[test]
fn a_sheet_that_says_something_else_than_its_events_is_found_and_made_anew() {
    let mut bench = Bench::new();
    let mut roller = Roller::open(&bench.address, tenant()).unwrap();
    let events = vec![picked(3_600_000, TAG), picked(2 * 3_600_000, TAG), picked(3 * 3_600_000, TAG)];
    bench.send(&Batch { anchors: vec![anchor(0, MIDNIGHT, 5)], ..batch(1, events) });
    roller.roll(2).unwrap();
    let told = verify(&bench.address).unwrap();
    assert_eq!((told.right, told.waiting, told.wrong.len()), (2, 1, 0));
    roller.roll(2).unwrap();
    let reader = Reader::new(bench.address.clone());
    bench.db().execute("UPDATE event SET kind = 'put_down' WHERE seq = 2", &[]).unwrap();
    let told = verify(&bench.address).unwrap();
    let wrong = ("paris-1".to_owned(), MIDNIGHT / HOUR + 2);
    assert_eq!((told.right, told.wrong), (2, vec![wrong.clone()]));
    let kind = || day(&reader).handled[1].kind;
    assert_eq!(kind(), hangtag_protocol::event::Kind::PickedUp);
    roller.forget(&wrong.0, wrong.1).unwrap();
    assert_eq!(kind(), hangtag_protocol::event::Kind::PutDown);
    assert_eq!(roller.roll(9).unwrap(), 1);
    assert_eq!((verify(&bench.address).unwrap().right, kind()), (3, hangtag_protocol::event::Kind::PutDown));
}

#[test]
fn sheets_of_another_version_are_made_anew() {
    let mut bench = Bench::new();
    bench.send(&Batch { anchors: vec![anchor(0, MIDNIGHT, 5)], ..batch(1, vec![picked(3_600_000, TAG)]) });
    let mut roller = Roller::open(&bench.address, tenant()).unwrap();
    assert_eq!((roller.roll(9).unwrap(), roller.roll(9).unwrap()), (1, 0));
    assert_eq!(Roller::open(&bench.address, tenant()).unwrap().roll(9).unwrap(), 0, "they are of this one");
    bench.db().execute("UPDATE meta SET value = '0' WHERE name = 'sheets'", &[]).unwrap();
    assert_eq!(Roller::open(&bench.address, tenant()).unwrap().roll(9).unwrap(), 1);
    assert_eq!(verify(&bench.address).unwrap().right, 1);
}
