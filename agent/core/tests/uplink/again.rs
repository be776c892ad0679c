//! What is sent again, and when: outages, a central that forgot, broker or spool that lost something.

use super::*;

#[test]
fn only_what_is_missing_is_sent_again_after_an_outage() {
    let mut gateway = Gateway::connected(101);
    gateway.drain();
    let notes = gateway.settle(vec![mark(OLD, &[(1, 40), (51, 60)])]);
    assert_eq!(notes, [Note::Settle { epoch: OLD, settled: set(&[(1, 40), (51, 60)]) }]);
    gateway.uplink.handle_disconnected(Ended::Unexplained);
    assert!(gateway.uplink.poll_send(gateway.now).is_none());
    gateway.connect();
    let again = [SeqRange::new(41, 50), SeqRange::new(61, 100)].map(|range| (Purpose::Backlog, range));
    assert_eq!(gateway.drain(), again);
}

#[test]
fn a_central_that_went_back_in_time_gets_what_is_still_held() {
    let mut gateway = Gateway::connected(101);
    gateway.drain();
    gateway.settle(vec![mark(OLD, &[(1, 100)])]);
    gateway.wait(5_000);
    assert_eq!(gateway.drain(), []);
    let notes = gateway.settle(vec![mark(OLD, &[(1, 20)])]);
    assert_eq!(notes, [Note::Settle { epoch: OLD, settled: set(&[(1, 20)]) }]);
    assert_eq!(gateway.drain(), [(Purpose::Backlog, SeqRange::new(21, 100))]);
    let notes = gateway.settle(vec![]);
    assert_eq!(notes, [Note::Settle { epoch: OLD, settled: SeqSet::default() }], "it knows nothing of it");
    assert_eq!(gateway.drain(), [(Purpose::Backlog, SeqRange::new(1, 20))]);
    assert_eq!(gateway.settle(vec![]), [], "nothing new");
}

#[test]
fn a_broker_that_acknowledges_what_central_never_gets_is_probed_with_one_batch() {
    let mut gateway = Gateway::connected(2_561);
    assert_eq!(gateway.drain().len(), 10);
    let began = gateway.now;
    let mut probes = Vec::new();
    for _ in 0..2_000 {
        gateway.wait(100);
        for range in gateway.ranges() {
            assert_eq!(range, SeqRange::new(1, 256));
            probes.push(gateway.now.since(began));
        }
    }
    assert_eq!(probes, [5_000, 15_000, 35_000, 75_000, 135_000, 195_000]);
    gateway.settle(vec![mark(OLD, &[(1, 256)])]);
    gateway.wait(1_000);
    assert_eq!(gateway.ranges().len(), 9, "central is back: on with all");
}

#[test]
fn probes_take_the_epochs_in_turn() {
    let mut gateway = Gateway::new(vec![held(OLD, 100), held(NEW, 100)]);
    gateway.connect();
    assert_eq!(gateway.drain().len(), 2);
    let mut probed = Vec::new();
    for _ in 0..1_200 {
        gateway.wait(100);
        while let Some((send, id)) = gateway.send(1_000) {
            gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
            probed.push(send.epoch);
        }
    }
    assert_eq!(probed[..4], [OLD, NEW, OLD, NEW]);
}

#[test]
fn one_batch_that_was_lost_is_sent_again_while_others_are_settled() {
    let mut gateway = Gateway::connected(257);
    gateway.drain();
    let mut again = Vec::new();
    for second in 1..=60 {
        gateway.accept(1);
        gateway.wait(250);
        let sent = gateway.drain();
        again.extend(sent.iter().filter(|(purpose, _)| *purpose == Purpose::Backlog).map(|_| second));
        let next = gateway.held[0].next;
        gateway.settle(vec![mark(OLD, &[(257, next - 1)])]);
        gateway.wait(750);
    }
    assert!((3..=5).contains(&again.len()), "less and less often: {again:?}");
    assert!(again[0] >= 5);
}

#[test]
fn lost_ranges_are_told_without_events_when_nothing_else_carries_them() {
    let mut gateway = Gateway::connected(101);
    gateway.drain();
    gateway.settle(vec![mark(OLD, &[(1, 100)])]);
    gateway.held[0].lost = 20;
    gateway.tell();
    let (send, id) = gateway.send(200).unwrap();
    assert_eq!((send.purpose, send.range.is_empty(), send.range.first), (Purpose::Losses, true, Seq(101)));
    assert!(gateway.uplink.is_wanted(&send));
    gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
    assert!(gateway.send(200).is_none(), "on its way");
    gateway.held[0].lost = 0;
    gateway.tell();
    assert!(gateway.send(200).is_none(), "told");

    gateway.held[0].lost = 3;
    gateway.tell();
    gateway.accept(2);
    gateway.wait(250);
    assert_eq!(gateway.drain()[0].1, SeqRange::new(101, 102), "events carry them");
}

#[test]
fn a_spool_without_the_lost_ranges_that_it_counted_is_not_asked_all_the_time() {
    let mut gateway = Gateway::new(vec![Held { lost: 5, ..held(OLD, 1) }]);
    gateway.connect();
    let send = gateway.uplink.poll_send(gateway.now).unwrap();
    gateway.uplink.handle_absent(&send, gateway.now);
    assert!(gateway.uplink.poll_send(gateway.now).is_none());
    gateway.wait(60_000);
    assert!(gateway.uplink.poll_send(gateway.now).is_some());
}

#[test]
fn holes_in_the_spool_are_stepped_over() {
    let mut gateway = Gateway::connected(1_000);
    let send = gateway.uplink.poll_send(gateway.now).unwrap();
    gateway.uplink.handle_absent(&send, gateway.now);
    let send = gateway.uplink.poll_send(gateway.now).unwrap();
    assert_eq!(send.range, SeqRange::new(257, 512));
    let sent = Sent { range: SeqRange::new(300, 512), bytes: 1_000, crc: 0, lost: Vec::new() };
    gateway.uplink.handle_sent(&send, sent, gateway.now);
    assert_eq!(gateway.ranges(), [SeqRange::new(513, 768), SeqRange::new(769, 999)]);
    gateway.settle(vec![mark(OLD, &[(300, 999)])]);
    gateway.wait(60_000);
    assert_eq!(gateway.ranges()[0], SeqRange::new(1, 256), "asked for once more");
}

#[test]
fn where_the_broker_settles_watermarks_say_nothing() {
    let settings = Settings { settled_by: SettledBy::Broker, ..SETTINGS };
    let mut gateway = Gateway::with(settings, vec![Held { lost: 2, ..held(OLD, 513) }]);
    gateway.connect();
    let send = gateway.uplink.poll_send(gateway.now).unwrap();
    let lost = vec![SeqRange::new(600, 601)];
    let sent = Sent { range: send.range, bytes: 1_000, crc: 0, lost };
    let id = gateway.uplink.handle_sent(&send, sent, gateway.now);
    gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
    let settled = set(&[(1, 256), (600, 601)]);
    assert_eq!(gateway.notes(), [Note::Settle { epoch: OLD, settled }]);
    assert_eq!(gateway.settle(vec![]), []);
    gateway.held[0].lost = 0;
    gateway.tell();
    let (_, id) = gateway.send(1_000).unwrap();
    gateway.uplink.handle_puback(id, Answer::Unheard, gateway.now);
    assert_eq!(gateway.notes(), [], "nobody got it");
    gateway.wait(5_000);
    assert_eq!(gateway.ranges(), [SeqRange::new(257, 512)]);
}
