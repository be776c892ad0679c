//! Batches that do not get through, and what becomes of their events.

use super::*;

#[test]
fn an_unreadable_batch_is_sent_again_at_once_and_given_up_after_three_answers() {
    let mut gateway = Gateway::connected(301);
    gateway.drain();
    for answer in 1..=3 {
        gateway.now = gateway.now + 100;
        let notes = gateway.unreadable(vec![1; answer]);
        if answer < 3 {
            assert_eq!(notes, []);
            assert_eq!(gateway.ranges(), [SeqRange::new(1, 256)]);
        } else {
            let [Note::SetAside { epoch, range, .. }] = &notes[..] else { panic!("{notes:?}") };
            assert_eq!((*epoch, *range), (OLD, SeqRange::new(1, 256)));
        }
    }
    gateway.reconnect(Ended::Explained);
    assert_eq!(gateway.ranges(), [SeqRange::new(257, 300)]);
}

#[test]
fn an_answer_that_is_repeated_counts_once() {
    let mut gateway = Gateway::connected(257);
    gateway.drain();
    assert_eq!(gateway.unreadable(vec![1]), []);
    assert_eq!(gateway.ranges().len(), 1);
    for _ in 0..20 {
        assert_eq!(gateway.unreadable(vec![1]), [], "the retained word of before");
    }
    assert_eq!(gateway.ranges(), [], "it has not been answered");
}

#[test]
fn an_event_that_is_too_large_is_set_aside_and_the_rest_goes_on() {
    let mut gateway = Gateway::connected(11);
    gateway.uplink.handle_too_large(OLD, Seq(1), "900 bytes".into());
    let notes = gateway.notes();
    assert!(matches!(&notes[..], [Note::SetAside { range, .. }] if *range == SeqRange::new(1, 1)));
    assert_eq!(gateway.ranges(), [SeqRange::new(2, 10)]);
}

/// A broker that hangs up on batches above a size: everything arrives, in ever smaller batches.
#[test]
fn a_broker_that_hangs_up_on_large_batches_gets_small_ones() {
    let mut gateway = Gateway::connected(1_025);
    let (mut connections, mut taken) = (1, SeqSet::default());
    while taken.len() < 1_024 {
        let send = gateway.uplink.poll_send(gateway.now);
        let Some(send) = send else {
            gateway.reconnect(Ended::Unexplained);
            connections += 1;
            assert!(connections < 20);
            continue;
        };
        // Ten bytes per event.
        let most = (send.advice / 10).clamp(1, 256) as u64;
        let last = send.range.last.0.min(send.range.first.0 + most - 1);
        let range = SeqRange { last: Seq(last), ..send.range };
        let bytes = usize::try_from(range.len() * 10).unwrap();
        let sent = Sent { range, bytes, crc: 0, lost: Vec::new() };
        let id = gateway.uplink.handle_sent(&send, sent, gateway.now);
        if bytes > 700 {
            gateway.reconnect(Ended::Unexplained);
            connections += 1;
            assert!(connections < 20);
        } else {
            gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
            taken.insert(range);
            gateway.settle(vec![mark(OLD, &[(1, taken.contiguous_to().0)])]);
        }
    }
    assert!(gateway.notes().is_empty(), "nothing is given up");
}

/// A broker that hangs up on one certain event: that one is set aside, everything else arrives. Returns how
/// often it hung up.
fn poisoned(poison: u64, live: bool) -> u32 {
    let mut gateway = Gateway::connected(4_097);
    let (mut taken, mut aside, mut hang_ups) = (SeqSet::default(), Vec::new(), 0);
    loop {
        if live {
            gateway.accept(10);
            gateway.wait(250);
        }
        // The broker reads what was sent in turn, and answers until it meets the event.
        let sent: Vec<(Send, BatchId)> = std::iter::from_fn(|| gateway.send(1_000)).collect();
        let met = |(send, _): &(Send, BatchId)| send.range.first.0 <= poison && poison <= send.range.last.0;
        let until = sent.iter().position(met).unwrap_or(sent.len());
        for (send, id) in &sent[..until] {
            gateway.uplink.handle_puback(*id, Answer::Taken, gateway.now);
            taken.insert(send.range);
        }
        let ranges: Vec<_> = taken.ranges().iter().map(|range| (range.first.0, range.last.0)).collect();
        gateway.settle(vec![mark(OLD, &ranges)]);
        if until < sent.len() {
            gateway.uplink.handle_disconnected(Ended::Unexplained);
            hang_ups += 1;
            assert!(hang_ups < 100, "for ever");
            aside.extend(gateway.notes().into_iter().filter_map(|note| match note {
                Note::SetAside { range, .. } => Some(range),
                Note::Settle { .. } | Note::Fork { .. } => None,
            }));
            gateway.now = gateway.now + 1_000;
            gateway.connect();
        } else if sent.is_empty() || (live && !aside.is_empty() && taken.len() >= 4_095) {
            assert_eq!(aside, [SeqRange::new(poison, poison)]);
            assert_eq!(taken.missing_in(SeqRange::new(1, 4_096)), aside);
            return hang_ups;
        }
    }
}

#[test]
fn an_event_that_the_broker_hangs_up_on_is_set_aside_alone_and_soon() {
    let mut most = 0;
    for poison in [1, 2, 3, 128, 129, 255, 256, 257, 700, 1_025, 4_095, 4_096] {
        for live in [false, true] {
            let hang_ups = poisoned(poison, live);
            assert!(hang_ups <= MOST_HANG_UPS, "event {poison}: {hang_ups}");
            most = most.max(hang_ups);
        }
    }
    assert_eq!(most, MOST_HANG_UPS, "the bound is no larger than it must be");
}

#[test]
fn every_hang_up_of_a_search_tells_something() {
    let mut gateway = Gateway::connected(257);
    let told: Vec<bool> = (0..MOST_HANG_UPS)
        .map(|_| {
            while let Some((send, id)) = gateway.send(1_000) {
                if send.range.first.0 <= 100 && 100 <= send.range.last.0 {
                    break;
                }
                gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
            }
            let nearer = gateway.uplink.handle_disconnected(Ended::Unexplained);
            gateway.connect();
            nearer
        })
        .collect();
    let clues = told.iter().filter(|nearer| **nearer).count();
    assert!(clues > 3, "{told:?}");
    // The first two may have been an outage; after the last nothing was on its way.
    assert_eq!(told[..2], [false; 2]);
    assert!(told[2..2 + clues].iter().all(|nearer| *nearer), "{told:?}");
}

#[test]
fn an_outage_costs_no_event_however_often_it_comes_back() {
    let mut gateway = Gateway::connected(2);
    for _ in 0..100 {
        while gateway.send(100).is_some() {}
        gateway.reconnect(Ended::Unexplained);
    }
    assert_eq!(gateway.notes(), []);
    let (send, id) = gateway.send(100).unwrap();
    assert_eq!(send.purpose, Purpose::Proof);
    gateway.uplink.handle_puback(id, Answer::Taken, gateway.now);
    assert_eq!(gateway.ranges(), [SeqRange::new(1, 1)]);
}

#[test]
fn a_broker_that_refuses_everything_costs_no_event() {
    let mut gateway = Gateway::connected(2);
    for answer in [Answer::Closed, Answer::Refused].repeat(50) {
        if let Some((_, id)) = gateway.send(100) {
            gateway.uplink.handle_puback(id, answer, gateway.now);
        }
        gateway.reconnect(Ended::Explained);
    }
    assert_eq!(gateway.notes(), []);
}
