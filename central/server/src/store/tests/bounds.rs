//! What others do to a database: strangers, damage, a second process.

use super::super::quarantine;
use super::*;

fn kept(bench: &Bench) -> Vec<(String, i64)> {
    let db = Connection::open(&bench.path).unwrap();
    let mut rows = db.prepare("SELECT kind, count(*) FROM quarantine GROUP BY kind ORDER BY kind").unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_payload_without_a_header_is_answered() {
    let mut bench = Bench::new();
    let damaged = {
        let mut payload = plain(1, 2).encode().unwrap();
        payload[30] ^= 1;
        payload
    };
    let appended = bench.send_bytes(Channel::Events, damaged.clone());
    let mark = &appended.marks[&gateway()];
    assert_eq!((mark.unreadable.clone(), mark.epochs.len()), (vec![CRC.checksum(&damaged)], 0));
    assert_eq!(kept(&bench), [("refused".into(), 1)]);
    let later = bench.send(&plain(1, 2));
    assert_eq!(later.marks[&gateway()].unreadable, [CRC.checksum(&damaged)], "for a while");
    bench.send_bytes(Channel::Status, b"{".into());
    assert_eq!(bench.store.watermark(&gateway()).unwrap().unreadable.len(), 1);
}

#[test]
fn quarantine_is_bounded_and_never_drops_the_only_copy() {
    let mut bench = Bench::new();
    let payload = newer(&plain(1, 10));
    // The others' payloads differ by a few bytes.
    let size = payload.len() + 8;
    let row = 512 + size as u64;
    let options = Options { quarantine_bytes: 4 * row, ..options() };
    bench.store = Store::open(&bench.path, options.clone()).unwrap();
    let junk = |n: u8| vec![n; size];
    (0..9).for_each(|n| drop(bench.send_bytes(Channel::Events, junk(n))));
    assert_eq!(kept(&bench), [("refused".into(), 4)]);
    assert_eq!(bench.ask::<Vec<u8>>("SELECT payload FROM quarantine ORDER BY id LIMIT 1"), junk(5));
    for n in 0..4 {
        bench.send_bytes(Channel::Events, newer(&plain(1 + 10 * n, 10)));
        bench.store = Store::open(&bench.path, options.clone()).unwrap();
    }
    assert_eq!(kept(&bench), [("settled".into(), 4)], "junk makes room");
    assert_eq!(bench.settled_to(), 40);
    let appended = bench.send_bytes(Channel::Events, newer(&plain(41, 10)));
    assert_eq!((appended.sums.left.events, bench.settled_to()), (10, 40), "the agent keeps it");
    bench.send_bytes(Channel::Events, junk(9));
    assert_eq!(kept(&bench), [("settled".into(), 4)]);
    bench.send(&plain(51, 1));
    assert_eq!(bench.mark().highest, Seq(51), "what can be read is stored");
    // Somebody gives it more room.
    bench.store = Store::open(&bench.path, super::options()).unwrap();
    bench.send_bytes(Channel::Events, newer(&plain(41, 10)));
    assert_eq!(bench.settled_to(), 51);
}

#[test]
fn a_group_that_fails_takes_no_room() {
    let db = Connection::open_in_memory().unwrap();
    let mut room = quarantine::Room::new(1);
    assert!(db.query_row("SELECT 1 FROM quarantine", [], |_| Ok(())).is_err());
    room.forget();
    let mut bench = Bench::new();
    let breaker = Connection::open(&bench.path).unwrap();
    breaker.execute_batch("ALTER TABLE settled RENAME TO away").unwrap();
    let message =
        |payload| Message { topic: gateway().topic(Channel::Events), payload, received: UnixMillis(5) };
    let group = [message(b"junk".into()), message(plain(1, 1).encode().unwrap())];
    assert!(bench.store.append(&group).is_err());
    breaker.execute_batch("ALTER TABLE away RENAME TO settled").unwrap();
    assert_eq!(kept(&bench), []);
    assert_eq!(bench.store.append(&group).unwrap().taken, 2);
    assert_eq!(kept(&bench), [("refused".into(), 1)]);
}

#[test]
fn two_processes_write_one_database() {
    let mut bench = Bench::new();
    let mut other = Store::open(&bench.path, options()).unwrap();
    let message = |batch: &Batch| Message {
        topic: gateway().topic(Channel::Events),
        payload: batch.encode().unwrap(),
        received: UnixMillis(5),
    };
    for n in 0..20 {
        let batch = plain(1 + 5 * n, 10);
        let appended =
            if n % 2 == 0 { bench.send(&batch) } else { other.append([&message(&batch)]).unwrap() };
        assert_eq!(appended.marks[&gateway()].epochs[0].contiguous_to, Seq(10 + 5 * n));
        assert_eq!(appended.sums.known.events, if n == 0 { 0 } else { 5 });
    }
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 105);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM settled"), 1);
    assert_eq!((bench.settled_to(), other.watermark(&gateway()).unwrap().epochs[0].highest), (105, Seq(105)));
}

#[test]
fn a_large_group_is_stored_in_parts() {
    let mut bench = Bench::new();
    let messages: Vec<Message> = (0..10)
        .map(|n| Message {
            topic: gateway().topic(Channel::Events),
            payload: plain(1 + 1_000 * n, 1_000).encode().unwrap(),
            received: UnixMillis(5),
        })
        .collect();
    assert_eq!(bench.store.append(&messages).unwrap().taken, 3);
    assert_eq!(bench.settled_to(), 3_000);
}

#[test]
fn a_database_of_another_tenant_is_refused() {
    let bench = Bench::new();
    let other = Options { tenant: TenantId::new("other").unwrap(), ..options() };
    let error = Store::open(&bench.path, other).err().unwrap().to_string();
    assert!(error.contains("tenant \"demo\"") && error.contains("\"other\""), "{error}");
}
