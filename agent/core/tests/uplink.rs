//! What the uplink decides, driven through its public verbs with invented time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hangtag_agent_core::uplink::{
    Answer, BatchId, Ended, Limits, MOST_HANG_UPS, Note, Purpose, Reason, Send, Sent, Settings, SettledBy,
    UNSETTLED_BYTES, Uplink, View, WINDOW,
};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::{Lineage, Run};
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::watermark::{EpochMark, Watermark};

const OLD: Epoch = Epoch(1);
const NEW: Epoch = Epoch(2);
const LIMITS: Limits = Limits { window: WINDOW, batch_bytes: 65_536 };
const SETTINGS: Settings =
    Settings { backlog_percent: 75, bytes_per_s: None, settled_by: SettledBy::Central };

/// A plain gateway: an uplink, and what its spool would say.
struct Gateway {
    uplink: Uplink,
    held: Vec<Held>,
    now: Uptime,
}

#[derive(Clone)]
struct Held {
    epoch: Epoch,
    oldest: u64,
    next: u64,
    settled: SeqSet,
    lost: u64,
    lineage: Lineage,
}

fn held(epoch: Epoch, next: u64) -> Held {
    let lineage = runs(&[(1, 0xa)]);
    Held { epoch, oldest: 1, next, settled: SeqSet::default(), lost: 0, lineage }
}

fn view(held: &Held) -> View<'_> {
    View {
        epoch: held.epoch,
        oldest_held: Seq(held.oldest),
        next: Seq(held.next),
        settled: &held.settled,
        lost: held.lost,
        lineage: &held.lineage,
    }
}

fn runs(runs: &[(u64, u32)]) -> Lineage {
    Lineage::from(runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect::<Vec<_>>())
}

fn set(ranges: &[(u64, u64)]) -> SeqSet {
    SeqSet::from(ranges.iter().map(|(first, last)| SeqRange::new(*first, *last)).collect::<Vec<_>>())
}

fn mark(epoch: Epoch, settled: &[(u64, u64)]) -> EpochMark {
    let highest = settled.last().map_or(0, |(_, last)| *last);
    EpochMark::of(epoch, &set(settled), Seq(highest), runs(&[(1, 0xa)]))
}

impl Gateway {
    fn new(held: Vec<Held>) -> Self {
        Self::with(SETTINGS, held)
    }

    fn with(settings: Settings, held: Vec<Held>) -> Self {
        let uplink = Uplink::new(settings, held.iter().map(view));
        Self { uplink, held, now: Uptime(1_000_000) }
    }

    /// One epoch with events before the connection came up.
    fn connected(next: u64) -> Self {
        let mut gateway = Self::new(vec![held(OLD, next)]);
        gateway.connect();
        gateway
    }

    fn connect(&mut self) {
        self.uplink.handle_connected(LIMITS, self.now);
    }

    fn accept(&mut self, events: u64) {
        self.held.last_mut().unwrap().next += events;
        self.tell();
    }

    fn tell(&mut self) {
        self.uplink.handle_spool(self.held.iter().map(view), self.now);
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.uplink.handle_timeout(self.now);
    }

    /// Sends one batch of so many bytes, if there is one to send.
    fn send(&mut self, bytes: usize) -> Option<(Send, BatchId)> {
        let send = self.uplink.poll_send(self.now)?;
        let crc = u32::try_from(send.range.first.0).unwrap();
        let sent = Sent { range: send.range, bytes, crc, lost: Vec::new() };
        let id = self.uplink.handle_sent(&send, sent, self.now);
        Some((send, id))
    }

    /// Sends all there is to send at a moment; the broker takes everything at once.
    fn drain(&mut self) -> Vec<(Purpose, SeqRange)> {
        let mut sent = Vec::new();
        while let Some((send, id)) = self.send(1_000) {
            self.uplink.handle_puback(id, Answer::Taken, self.now);
            sent.push((send.purpose, send.range));
        }
        sent
    }

    fn ranges(&mut self) -> Vec<SeqRange> {
        self.drain().into_iter().map(|(_, range)| range).collect()
    }

    fn settle(&mut self, epochs: Vec<EpochMark>) -> Vec<Note> {
        let unreadable = Vec::new();
        self.uplink.handle_watermark(&Watermark { v: 1, epochs, unreadable }, self.now);
        self.notes()
    }

    fn unreadable(&mut self, unreadable: Vec<u32>) -> Vec<Note> {
        self.uplink.handle_watermark(&Watermark { v: 1, epochs: Vec::new(), unreadable }, self.now);
        self.notes()
    }

    fn notes(&mut self) -> Vec<Note> {
        std::iter::from_fn(|| self.uplink.poll_note()).collect()
    }

    fn reconnect(&mut self, ended: Ended) {
        self.uplink.handle_disconnected(ended);
        self.now = self.now + 1_000;
        self.connect();
    }
}

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
fn what_the_spool_knows_as_settled_is_not_sent_at_the_start() {
    let mut gateway = Gateway::new(vec![Held { settled: set(&[(1, 90)]), ..held(OLD, 101) }]);
    gateway.connect();
    assert_eq!(gateway.ranges(), [SeqRange::new(91, 100)]);
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
fn a_copy_of_the_spool_is_told_from_where_its_events_are_its_own() {
    let lineage = runs(&[(1, 0xa), (501, 0xb), (790, 0xc)]);
    let mut gateway = Gateway::new(vec![Held { lineage, ..held(OLD, 800) }]);
    gateway.connect();
    gateway.drain();
    let original = runs(&[(1, 0xa), (501, 0xb), (820, 0xd)]);
    let theirs = EpochMark::of(OLD, &set(&[(1, 600), (700, 900)]), Seq(900), original);
    let notes = gateway.settle(vec![theirs.clone()]);
    let expected = [
        Note::Fork { epoch: OLD, from: Seq(790) },
        Note::Settle { epoch: OLD, settled: set(&[(1, 600), (700, 789)]) },
    ];
    assert_eq!(notes, expected, "nothing that is the copy's own is settled");
    gateway.accept(50);
    assert_eq!(gateway.settle(vec![theirs]), [], "told once");
    gateway.reconnect(Ended::Explained);
    gateway.wait(5_000);
    assert_eq!(gateway.ranges(), [SeqRange::new(601, 699)], "below the fork everything goes on");
    // The spool has acted: what was above is in a new epoch.
    gateway.held[0].next = 790;
    gateway.held.push(Held { lineage: runs(&[(1, 0xe)]), ..held(NEW, 61) });
    gateway.tell();
    assert_eq!(gateway.drain(), [(Purpose::Backlog, SeqRange::new(1, 60))]);
}

#[test]
fn a_gateway_that_was_rolled_back_begins_anew_and_deletes_nothing_of_its_own() {
    let mut gateway = Gateway::connected(11);
    let ahead = mark(OLD, &[(1, 500)]);
    let notes = gateway.settle(vec![ahead]);
    assert_eq!(notes[0], Note::Fork { epoch: OLD, from: Seq(11) });
    assert_eq!(notes[1], Note::Settle { epoch: OLD, settled: set(&[(1, 10)]) });
    gateway.accept(3);
    gateway.wait(250);
    assert_eq!(gateway.drain(), []);
}

#[test]
fn an_older_central_tells_of_a_fork_by_numbers_alone() {
    let mut gateway = Gateway::connected(11);
    let older = EpochMark::of(OLD, &set(&[(1, 500)]), Seq(0), Lineage::default());
    assert_eq!(gateway.settle(vec![older])[0], Note::Fork { epoch: OLD, from: Seq(11) });
}

#[test]
fn an_epoch_that_only_drains_has_no_future_to_fork() {
    let mut gateway = Gateway::new(vec![held(OLD, 11), held(NEW, 1)]);
    gateway.connect();
    let notes = gateway.settle(vec![mark(OLD, &[(1, 500)])]);
    assert_eq!(notes, [Note::Settle { epoch: OLD, settled: set(&[(1, 10)]) }]);
}

#[test]
fn what_central_recorded_of_the_runs_is_known() {
    let mut gateway = Gateway::connected(11);
    assert_eq!(gateway.uplink.recorded(OLD), Lineage::default());
    gateway.settle(vec![mark(OLD, &[(1, 5)])]);
    assert_eq!(gateway.uplink.recorded(OLD), runs(&[(1, 0xa)]));
}

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
