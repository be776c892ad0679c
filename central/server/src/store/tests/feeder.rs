//! Who publishes, and how far.

use hangtag_central_core::feed::{Form, Line, PATIENCE_MS, Sequence};

use super::*;
use crate::store::Feeder;

fn at(now: i64) -> (UnixMillis, UnixMillis) {
    (UnixMillis(now), UnixMillis(now + 10))
}

impl Bench {
    fn feeder(&self) -> Feeder {
        Feeder::open(&self.address, tenant()).unwrap()
    }
}

#[test]
fn one_holds_the_lease_until_it_lets_go_or_does_not_renew_it() {
    let bench = Bench::new();
    let (mut one, mut two) = (bench.feeder(), bench.feeder());
    let none = BTreeMap::new();
    assert!(one.hold("one", at(0), &none).unwrap());
    assert!(!two.hold("two", at(9), &none).unwrap());
    assert!(one.hold("one", at(9), &none).unwrap(), "renewed");
    assert!(!two.hold("two", at(18), &none).unwrap());
    two.let_go("two").unwrap();
    assert!(!two.hold("two", at(18), &none).unwrap(), "it had nothing to let go of");
    assert!(two.hold("two", at(19), &none).unwrap(), "not renewed in time");
    assert!(!one.hold("one", at(20), &none).unwrap());
    two.let_go("two").unwrap();
    assert!(one.hold("one", at(20), &none).unwrap());
}

#[test]
fn how_far_a_feed_is_published_is_noted_by_who_holds_the_lease_and_never_goes_back() {
    let mut bench = Bench::new();
    let mut sent = plain(1, 5);
    sent.anchors = vec![anchor(0, 1_700_000_000_000, 20)];
    bench.send(&sent);
    let line = |form| Line { store: gateway().store, form };
    let [clouds, epcis] = [Form::CloudEvents, Form::Epcis].map(line);
    let (mut one, mut two) = (bench.feeder(), bench.feeder());
    let note = |line, place| BTreeMap::from([(line, Sequence(place))]);
    assert!(one.hold("one", at(0), &note(clouds, 4)).unwrap());
    assert!(!two.hold("two", at(0), &note(clouds, 5)).unwrap());
    assert!(one.hold("one", at(0), &note(clouds, 3)).unwrap());
    let lines = two.lines(&[Form::CloudEvents, Form::Epcis]).unwrap();
    assert_eq!(lines, [(clouds, [Sequence(4), Sequence(5)]), (epcis, [Sequence(0), Sequence(5)])]);
}

#[test]
fn what_waited_for_its_clock_is_let_go_in_time() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 5));
    let mut feeder = bench.feeder();
    assert!(!feeder.release(UnixMillis(4 + PATIENCE_MS)).unwrap());
    assert_eq!(feeder.lines(&[Form::Epcis]).unwrap(), []);
    assert!(feeder.release(UnixMillis(5 + PATIENCE_MS)).unwrap());
    assert!(!feeder.release(UnixMillis(5 + PATIENCE_MS)).unwrap());
    assert_eq!(feeder.lines(&[Form::Epcis]).unwrap()[0].1, [Sequence(0), Sequence(5)]);
}
