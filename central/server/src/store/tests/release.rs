//! What leaves quarantine because a person says so.

use super::*;
use crate::store::{Dropped, Replayed};

impl Bench {
    fn listed(&self) -> Vec<(i64, u64, String)> {
        let rows = Reader::new(self.address.clone()).quarantine(10).unwrap();
        rows.into_iter().map(|row| (row.id, row.times, row.kind)).collect()
    }

    /// The only payload in quarantine.
    fn id(&self) -> i64 {
        let [(id, ..)] = self.listed()[..] else { panic!("one: {:?}", self.listed()) };
        id
    }
}

fn stays(replayed: Result<Replayed, StoreError>, said: &str) {
    let Replayed::Stays(why) = replayed.unwrap() else { panic!("it does not stay") };
    assert!(why.contains(said), "{said} in {why}");
}

#[test]
fn what_can_be_stored_by_now_is_stored_once_and_gone_from_quarantine() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 2));
    bench.poison("INSERT", "event", "NEW.confidence = 66");
    let mut poison = plain(3, 2);
    poison.events[1].confidence = 66;
    let topic = gateway().topic(Channel::Events);
    let message = Message { topic, payload: poison.encode().unwrap(), received: UnixMillis(5) };
    bench.store.set_aside(&message, "poison").unwrap();
    let id = bench.id();
    assert!(bench.store.try_again(id).is_err(), "the database still refuses it");
    assert_eq!((bench.id(), bench.settled_to()), (id, 4));
    bench.heal("event");
    bench.store = Store::open(&bench.address, options()).unwrap();
    assert_eq!(bench.store.try_again(id).unwrap(), Replayed::Stored { new: 2, known: 0 });
    assert_eq!(bench.store.try_again(id).unwrap(), Replayed::Absent);
    assert_eq!((bench.ask::<i64>("SELECT count(*) FROM event"), bench.settled_to()), (4, 4));
    assert_eq!(bench.list("SELECT fate FROM settled"), "stored");
    bench.send(&poison);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 4);
}

#[test]
fn what_cannot_be_used_stays_as_it_was_and_says_why() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 2));
    bench.send_bytes(Channel::Events, newer(&plain(3, 4)));
    bench.send_bytes(Channel::Status, b"{".into());
    let mut other = plain(1, 1);
    other.events[0].confidence = 10;
    bench.send(&other);
    let before = bench.listed();
    let [conflict, status, newer] = [before[0].0, before[1].0, before[2].0];
    for _ in 0..2 {
        stays(bench.store.try_again(newer), "body format");
        stays(bench.store.try_again(status), "status: ");
        stays(bench.store.try_again(conflict), "conflict: same id");
    }
    assert_eq!(bench.listed(), before);
    assert_eq!((bench.settled_to(), bench.ask::<i64>("SELECT count(*) FROM event")), (6, 2));
    bench.send(&plain(7, 1));
    assert_eq!(bench.settled_to(), 7);
}

#[test]
fn what_a_till_told_is_stored_when_the_rest_of_it_can_be() {
    let mut bench = Bench::new();
    let payload =
        br#"[{"receipt":"1","line":1,"time":"2026-11-21T10:00:00Z","gtin":"4006381333931","quantity":0}]"#;
    let topic = "hangtag/v1/demo/pos/paris-1/sale".to_owned();
    let message = Message { topic, payload: payload.to_vec(), received: UnixMillis(5) };
    bench.store.append(&[message]).unwrap();
    let id = bench.id();
    stays(bench.store.try_again(id), "quantity");
    // A version with other rules would have taken it.
    let better = String::from_utf8(payload.to_vec()).unwrap().replace(":0}", ":2}");
    let hex: String = better.bytes().map(|byte| format!("{byte:02x}")).collect();
    bench.batch(&match bench.address {
        Address::File(_) => format!("UPDATE quarantine SET payload = x'{hex}'"),
        Address::Server(_) => format!("UPDATE quarantine SET payload = decode('{hex}', 'hex')"),
    });
    bench.store = Store::open(&bench.address, options()).unwrap();
    assert!(matches!(bench.store.try_again(id).unwrap(), Replayed::Stored { .. }));
    assert_eq!((bench.listed(), bench.ask::<i64>("SELECT quantity FROM sale")), (Vec::new(), 2));
}

#[test]
fn what_waited_takes_the_place_of_nothing_that_came_after_it() {
    let mut bench = Bench::new();
    let told = |about: &str, more: &str, quantity: u32| {
        let payload = format!(
            r#"[{{"time":"2026-11-21T10:00:00Z","gtin":"4006381333931","quantity":{quantity},{more}}}]"#
        );
        (format!("hangtag/v1/demo/pos/paris-1/{about}"), payload)
    };
    let status = |n: u32| {
        let body = format!(
            r#"{{"v":1,"state":"online","agent":"1.0","health":{{"boot":"0000000000000007","uptime_ms":{n},
            "epoch":"0000000000000abc","next":9,"waiting":1,"oldest_ms":0,"lost":0,"readers":[]}}}}"#
        );
        (gateway().topic(Channel::Status), body)
    };
    let (receipt, place) = (r#""receipt":"1","line":1"#, r#""place":"all""#);
    let cases = [
        (told("sale", receipt, 2), told("sale", receipt, 3), "SELECT CAST(quantity AS TEXT) FROM sale"),
        (told("stock", place, 2), told("stock", place, 3), "SELECT CAST(quantity AS TEXT) FROM stock"),
        (status(2), status(3), "SELECT body FROM status"),
    ];
    for ((topic, old), (_, new), question) in cases {
        let message = |payload: &str, received| Message {
            topic: topic.clone(),
            payload: payload.into(),
            received: UnixMillis(received),
        };
        // As an earlier version left it that could not use it.
        let try_again = |bench: &mut Bench| {
            bench.store.set_aside(&message(&old, 5), "an earlier version").unwrap();
            let id = bench.id();
            assert!(matches!(bench.store.try_again(id).unwrap(), Replayed::Stored { .. }));
            assert_eq!(bench.listed(), []);
            bench.list(question)
        };
        bench.store.append(&[message(&new, 4)]).unwrap();
        let of_new = bench.list(question);
        let of_old = try_again(&mut bench);
        assert_ne!(of_old, of_new, "what came before it goes");
        bench.store.append(&[message(&new, 6)]).unwrap();
        assert_eq!(bench.list(question), of_new);
        assert_eq!(try_again(&mut bench), of_new, "what came after it stays");
    }
}

#[test]
fn numbers_are_never_another_payloads() {
    let mut bench = Bench::new();
    let mut seen = Vec::new();
    for n in 0..4 {
        bench.send_bytes(Channel::Status, vec![b'{', n]);
        let id = bench.id();
        assert!(!seen.contains(&id), "{id} again after {seen:?}");
        seen.push(id);
        if n == 0 {
            assert!(bench.store.drop_for_good(id, "a test", UnixMillis(5)).unwrap());
        } else {
            // As it goes with age, to make room, or because it could be stored.
            bench.batch("DELETE FROM quarantine");
        }
        for id in &seen {
            assert_eq!(bench.store.try_again(*id).unwrap(), Replayed::Absent);
        }
    }
    bench.send_bytes(Channel::Status, b"{".into());
    let id = bench.id();
    assert!(bench.store.drop_for_good(id, "another", UnixMillis(6)).unwrap());
    assert_eq!(Reader::new(bench.address.clone()).dropped(10).unwrap().len(), 2);
}

#[test]
fn what_is_dropped_becomes_a_gap_and_is_remembered() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 2));
    bench.send_bytes(Channel::Events, newer(&plain(3, 4)));
    // Another payload holds one of the numbers.
    bench.send_bytes(Channel::Events, newer(&plain(6, 3)));
    let [_, (id, ..)] = bench.listed()[..] else { panic!("two") };
    assert!(bench.store.drop_for_good(id, "a test gateway", UnixMillis(77)).unwrap());
    assert!(!bench.store.drop_for_good(id, "again", UnixMillis(78)).unwrap());
    let reader = Reader::new(bench.address.clone());
    let totals = reader.totals().unwrap();
    assert_eq!((totals.lost, totals.quarantined), (3, 1));
    assert_eq!(bench.settled_to(), 8, "the watermark does not go back");
    let [Dropped { id: of, why, at, reason, .. }] = &reader.dropped(10).unwrap()[..] else { panic!("one") };
    assert_eq!((*of, why.as_str(), *at), (id, "a test gateway", UnixMillis(77)));
    assert!(reason.contains("body format"), "{reason}");
    // Should the events come after all, they beat their gap.
    bench.send(&plain(3, 4));
    assert_eq!((reader.totals().unwrap().lost, bench.ask::<i64>("SELECT count(*) FROM event")), (0, 6));
    // What settles nothing leaves no gap.
    bench.send_bytes(Channel::Status, b"{".into());
    let (id, ..) = bench.listed()[0];
    assert!(bench.store.drop_for_good(id, "no status", UnixMillis(79)).unwrap());
    assert_eq!((reader.totals().unwrap().lost, reader.dropped(10).unwrap()[0].id), (0, id));
}
