//! Which batch goes next: live events, the backlog, and how much of each.

use super::*;

#[test]
fn closes_a_live_batch_by_count_or_age() {
    let mut gateway = Gateway::connected(1);
    gateway.accept(3);
    assert_eq!(gateway.drain(), [], "waits for company");
    assert_eq!(gateway.uplink.poll_timeout(), Some((gateway.now + 250, Reason::Age)));
    gateway.wait(250);
    assert_eq!(gateway.drain(), [(Purpose::Live, SeqRange::new(1, 3))]);
    gateway.accept(600);
    assert_eq!(gateway.ranges(), [SeqRange::new(4, 259), SeqRange::new(260, 515)]);
    gateway.uplink.handle_finish();
    assert_eq!(gateway.ranges(), [SeqRange::new(516, 603)], "at the end nothing waits");
}

#[test]
fn live_goes_before_backlog_and_backlog_goes_oldest_first() {
    let mut gateway = Gateway::new(vec![held(OLD, 600), held(NEW, 300)]);
    gateway.connect();
    gateway.accept(5);
    gateway.wait(250);
    let sent: Vec<_> = std::iter::from_fn(|| gateway.send(1_000)).map(|(send, _)| send).collect();
    let order: Vec<_> = sent.iter().map(|send| (send.epoch, send.range, send.is_replayed())).collect();
    let expected = [
        (NEW, SeqRange::new(300, 304), false),
        (OLD, SeqRange::new(1, 256), true),
        (OLD, SeqRange::new(257, 512), true),
        (OLD, SeqRange::new(513, 599), true),
        (NEW, SeqRange::new(1, 256), true),
        (NEW, SeqRange::new(257, 299), true),
    ];
    assert_eq!(order, expected);
}

#[test]
fn the_backlog_leaves_places_for_live_events() {
    let mut gateway = Gateway::connected(1_000_000);
    let mut backlog = Vec::new();
    while let Some((send, id)) = gateway.send(1_000) {
        assert_eq!(send.purpose, Purpose::Backlog);
        backlog.push(id);
    }
    assert_eq!(backlog.len(), 12, "three quarters of the window");
    gateway.accept(2_000);
    for _ in 0..4 {
        assert_eq!(gateway.send(1_000).unwrap().0.purpose, Purpose::Live);
    }
    assert!(gateway.send(1_000).is_none(), "the window is full");
    gateway.uplink.handle_puback(backlog[0], Answer::Taken, gateway.now);
    assert_eq!(gateway.send(1_000).unwrap().0.purpose, Purpose::Live);
}

#[test]
fn a_broker_that_takes_one_message_at_a_time_gets_one() {
    let mut gateway = Gateway::new(vec![held(OLD, 1_000)]);
    gateway.uplink.handle_connected(Limits { window: 1, ..LIMITS }, gateway.now);
    let (_, id) = gateway.send(1_000).unwrap();
    assert!(gateway.send(1_000).is_none());
    gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
    assert!(gateway.send(1_000).is_some());
}

#[test]
fn the_unsettled_backlog_is_as_large_as_central_is_quick() {
    let unsettled = |took: u64| {
        let mut gateway = Gateway::connected(10_000_000);
        let (mut settled, mut sent) = (0, 0);
        for _ in 0..40 {
            sent = 0;
            let mut last = settled;
            while let Some((send, id)) = gateway.send(4_000) {
                gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
                (sent, last) = (sent + 4_000, send.range.last.0);
            }
            gateway.now = gateway.now + took;
            settled = last;
            gateway.settle(vec![mark(OLD, &[(1, settled)])]);
        }
        sent
    };
    assert!((950_000..1_000_000).contains(&unsettled(100)), "{}", unsettled(100));
    assert!((32_000..40_000).contains(&unsettled(600)), "{}", unsettled(600));
}

#[test]
fn too_much_unsettled_holds_even_live_events_back() {
    let mut gateway = Gateway::connected(1);
    gateway.accept(1_000_000);
    let mut bytes = 0;
    while let Some((_, id)) = gateway.send(60_000) {
        gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
        bytes += 60_000;
    }
    assert!((UNSETTLED_BYTES..UNSETTLED_BYTES + 60_000).contains(&bytes));
}

#[test]
fn live_events_that_could_not_be_sent_do_not_hold_up_later_ones() {
    let mut gateway = Gateway::new(vec![held(OLD, 1)]);
    gateway.uplink.handle_connected(Limits { window: 1, ..LIMITS }, gateway.now);
    gateway.accept(256);
    let (_, id) = gateway.send(1_000).unwrap();
    // Central has it, but the broker does not say so.
    gateway.settle(vec![mark(OLD, &[(1, 256)])]);
    gateway.accept(50_000);
    gateway.wait(5_000);
    gateway.accept(256);
    gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
    let (send, _) = gateway.send(1_000).unwrap();
    assert_eq!((send.purpose, send.range), (Purpose::Live, SeqRange::new(50_257, 50_512)));
}

#[test]
fn events_of_the_last_moments_before_the_connection_are_live() {
    let mut gateway = Gateway::new(vec![held(OLD, 1_000)]);
    gateway.accept(100);
    gateway.now = gateway.now + 4_900;
    gateway.accept(10);
    gateway.now = gateway.now + 200;
    gateway.connect();
    gateway.uplink.handle_timeout(gateway.now);
    gateway.wait(100);
    assert_eq!(gateway.drain()[0], (Purpose::Live, SeqRange::new(1_100, 1_109)));
    gateway.accept(5);
    gateway.wait(250);
    assert_eq!(gateway.drain(), [(Purpose::Live, SeqRange::new(1_110, 1_114))]);
    gateway.reconnect(Ended::Explained);
    assert!(gateway.drain().iter().all(|(purpose, _)| *purpose == Purpose::Backlog), "sent before");
}

#[test]
fn what_the_spool_knows_as_settled_is_not_sent_at_the_start() {
    let mut gateway = Gateway::new(vec![Held { settled: set(&[(1, 90)]), ..held(OLD, 101) }]);
    gateway.connect();
    assert_eq!(gateway.ranges(), [SeqRange::new(91, 100)]);
}

#[test]
fn the_rate_holds_the_backlog_and_not_live_events() {
    let settings = Settings { bytes_per_s: Some(10_000), ..SETTINGS };
    let mut gateway = Gateway::with(settings, vec![held(OLD, 1_000_000)]);
    gateway.connect();
    let (mut backlog, mut live, mut settled) = (0, 0, SeqSet::default());
    for _ in 0..1_000 {
        gateway.accept(256);
        while let Some((send, id)) = gateway.send(1_000) {
            gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
            *if send.purpose == Purpose::Live { &mut live } else { &mut backlog } += 1_000;
            settled.insert(send.range);
            let ranges: Vec<_> = settled.ranges().iter().map(|range| (range.first.0, range.last.0)).collect();
            gateway.settle(vec![mark(OLD, &ranges)]);
        }
        gateway.wait(200);
    }
    assert_eq!(live, 1_000_000, "5,000 bytes a second, never held");
    assert!((950_000..1_050_000).contains(&backlog), "{backlog}");
}
