//! What others do to a database: strangers, damage, a second process.

use super::*;

fn kept(bench: &Bench) -> Vec<(String, i64)> {
    let db = bench.db();
    let question = "SELECT kind, count(*) FROM quarantine GROUP BY kind ORDER BY kind";
    db.all(question, &[], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
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
    bench.store = Store::open(&bench.address, options.clone()).unwrap();
    let junk = |n: u8| vec![n; size];
    (0..9).for_each(|n| drop(bench.send_bytes(Channel::Events, junk(n))));
    assert_eq!(kept(&bench), [("refused".into(), 4)]);
    assert_eq!(bench.ask::<Vec<u8>>("SELECT payload FROM quarantine ORDER BY id LIMIT 1"), junk(5));
    for n in 0..4 {
        bench.send_bytes(Channel::Events, newer(&plain(1 + 10 * n, 10)));
        bench.store = Store::open(&bench.address, options.clone()).unwrap();
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
    bench.store = Store::open(&bench.address, super::options()).unwrap();
    bench.send_bytes(Channel::Events, newer(&plain(41, 10)));
    assert_eq!(bench.settled_to(), 51);
}

#[test]
fn a_group_that_fails_takes_no_room() {
    let mut bench = Bench::new();
    let breaker = bench.db();
    breaker.batch("ALTER TABLE settled RENAME TO away").unwrap();
    let message =
        |payload| Message { topic: gateway().topic(Channel::Events), payload, received: UnixMillis(5) };
    let group = [message(b"junk".into()), message(plain(1, 1).encode().unwrap())];
    assert!(bench.store.append(&group).is_err());
    breaker.batch("ALTER TABLE away RENAME TO settled").unwrap();
    assert_eq!(kept(&bench), []);
    assert_eq!(bench.store.append(&group).unwrap().taken, 2);
    assert_eq!(kept(&bench), [("refused".into(), 1)]);
}

#[test]
fn two_processes_write_one_database() {
    let mut bench = Bench::new();
    let mut other = Store::open(&bench.address, options()).unwrap();
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

/// Five processes get everything, each in an order of its own, as after many outages.
#[test]
fn many_processes_write_at_once() {
    const GATEWAYS: u64 = 4;
    const BATCHES: u64 = 12;
    let bench = Bench::new();
    let sent: Vec<Message> = (0..GATEWAYS * BATCHES)
        .map(|n| {
            let mut batch = plain(1 + 7 * (n / GATEWAYS), 10);
            batch.header.gateway.gateway = GatewayId::new(&format!("gw-{}", n % GATEWAYS)).unwrap();
            batch.anchors = vec![anchor(n * 500, 1_800_000_000_000 + 500 * n.cast_signed(), 9)];
            let topic = batch.header.gateway.topic(Channel::Events);
            Message { topic, payload: batch.encode().unwrap(), received: UnixMillis(5) }
        })
        .collect();
    std::thread::scope(|scope| {
        for process in 0..5 {
            let (sent, address) = (&sent, &bench.address);
            scope.spawn(move || {
                let mut store = Store::open(address, options()).unwrap();
                let mut order: Vec<&Message> = sent.iter().collect();
                order.rotate_left(process * sent.len() / 5);
                if process % 2 == 1 {
                    order.reverse();
                }
                for group in order.chunks(6) {
                    let mut taken = 0;
                    while taken < group.len() {
                        match store.append(group[taken..].iter().copied()) {
                            Ok(appended) => taken += appended.taken,
                            // SQLite's lock is not fair: who waits too long tries again, as the writer does.
                            Err(why) => assert!(why.is_of_every_message(), "{why}"),
                        }
                    }
                }
            });
        }
    });
    let events = GATEWAYS.cast_signed() * (7 * (BATCHES.cast_signed() - 1) + 10);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), events);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event WHERE wall_ms = 1800000000000 + uptime"), events);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM settled"), GATEWAYS.cast_signed());
    assert_eq!(bench.ask::<i64>("SELECT CAST(sum(last - first + 1) AS BIGINT) FROM settled"), events);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 0);
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
    let taken = bench.store.append(&messages).unwrap().taken;
    // Fewer where the machine is slow.
    assert!((1..=5).contains(&taken), "{taken}");
    assert_eq!(bench.settled_to(), 1_000 * taken as u64);
}

#[test]
fn a_database_of_another_tenant_is_refused() {
    let bench = Bench::new();
    let other = Options { tenant: TenantId::new("other").unwrap(), ..options() };
    let error = Store::open(&bench.address, other).err().unwrap().to_string();
    assert!(error.contains("tenant \"demo\"") && error.contains("\"other\""), "{error}");
}
