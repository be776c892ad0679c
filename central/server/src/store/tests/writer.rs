//! The writing thread, driven through its channels.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::super::writer::Unsealing;
use super::super::{Delivery, Failing, Input, Settled, Work, Writer};
use super::*;

struct Ends {
    input: mpsc::Sender<Input>,
    output: mpsc::Receiver<Settled>,
    failing: watch::Receiver<Option<Failing>>,
    thread: std::thread::JoinHandle<()>,
}

/// Starts the thread with these messages before it, numbered from 1.
fn start(bench: &Bench, messages: Vec<Message>) -> Ends {
    let (input, writer_input) = mpsc::channel(1_000);
    let (writer_output, output) = mpsc::channel(100);
    let (failing, writer_fails) = watch::channel(None);
    for (message, number) in messages.into_iter().zip(1..) {
        input.try_send(Input::Store(Delivery(number), message)).unwrap();
    }
    let (changed, _) = watch::channel(0);
    let address = bench.address.clone();
    let writer = Writer {
        address,
        options: options(),
        input: writer_input,
        output: writer_output,
        changed,
        failing,
        work: Work::new(),
    };
    let store = Store::open(&bench.address, options()).unwrap();
    let thread = std::thread::spawn(move || writer.run(store));
    Ends { input, output, failing: writer_fails, thread }
}

fn message(batch: &Batch) -> Message {
    let payload = batch.encode().unwrap();
    Message { topic: gateway().topic(Channel::Events), payload, received: UnixMillis(5) }
}

impl Ends {
    /// The deliveries in the order in which they were stored.
    fn finish(mut self) -> Vec<u64> {
        drop(self.input);
        let mut stored = Vec::new();
        while let Some(settled) = self.output.blocking_recv() {
            stored.extend(settled.stored.into_iter().map(|delivery| delivery.0));
        }
        self.thread.join().unwrap();
        assert_eq!(*self.failing.borrow(), None);
        stored
    }
}

#[test]
fn a_poisonous_message_is_set_aside_and_the_others_are_stored() {
    let bench = Bench::new();
    bench.poison("INSERT", "event", "NEW.confidence = 66");
    let mut poison = plain(3, 2);
    poison.events[1].confidence = 66;
    let mut ends = start(&bench, [plain(1, 2), poison, plain(5, 2)].iter().map(message).collect());
    let mut stored = Vec::new();
    while stored.len() < 3 {
        stored.extend(ends.output.blocking_recv().unwrap().stored);
    }
    assert_eq!(ends.finish(), [0; 0]);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 4);
    let reason: String = bench.ask("SELECT kind || ' ' || first || ' ' || reason FROM quarantine");
    assert!(reason.starts_with("settled 3 ") && reason.contains("poison"), "{reason}");
    let mut store = Store::open(&bench.address, options()).unwrap();
    assert_eq!(store.watermark(&gateway()).unwrap().epochs[0].contiguous_to, Seq(6));
}

#[tokio::test]
async fn loyalty_codes_are_tried_again_though_nothing_else_comes() {
    let mut bench = Bench::new();
    bench.send(&batch(1, vec![loyalty::loyalty(1_000, 0), loyalty::loyalty(2_000, 0)]));
    bench.poison("UPDATE", "loyalty", "NEW.seq = 2");
    let options = loyalty::with_keys(5, &[9]);
    let (input, writer_input) = mpsc::channel(1);
    let (changed, mut commits) = watch::channel(0);
    let writer = Writer {
        address: bench.address.clone(),
        options: options.clone(),
        input: writer_input,
        output: mpsc::channel(1).0,
        changed,
        failing: watch::channel(None).0,
        work: Work::new(),
    };
    let mut store = Store::open(&bench.address, options).unwrap();
    let mut unsealing = Unsealing::default();
    writer.open_sealed(&mut store, &mut unsealing);
    assert_eq!(bench.list("SELECT state FROM loyalty"), "sealed,sealed");
    bench.heal("loyalty");
    let thread = std::thread::spawn(move || writer.go_on(store, unsealing));
    tokio::time::timeout(Duration::from_secs(120), commits.changed()).await.unwrap().unwrap();
    assert_eq!(bench.list("SELECT state FROM loyalty"), "opened,opened");
    drop(input);
    thread.join().unwrap();
}

/// Stores two messages of one gateway with a damaged row and one of another, and returns which gateways
/// are told a watermark when all are.
fn with_damage(bench: &mut Bench, damage: &str) -> Vec<String> {
    bench.send(&plain(1, 2));
    bench.db().batch(damage).unwrap();
    let mut other = plain(1, 2);
    other.header.gateway.gateway = GatewayId::new("gw-2").unwrap();
    let topic = other.header.gateway.topic(Channel::Events);
    let other = Message { topic, ..message(&other) };
    let status = Message { topic: gateway().topic(Channel::Status), ..message(&plain(1, 1)) };
    let mut ends = start(bench, vec![message(&plain(3, 2)), other, status]);
    let mut stored = Vec::new();
    while stored.len() < 3 {
        stored.extend(ends.output.blocking_recv().unwrap().stored);
    }
    ends.input.try_send(Input::TellAll).unwrap();
    let told = ends.output.blocking_recv().unwrap().marks;
    assert_eq!(ends.finish(), [0; 0]);
    told.into_keys().map(|gateway| gateway.gateway.to_string()).collect()
}

#[test]
fn a_gateway_whose_record_is_damaged_does_not_stop_the_others() {
    for damage in ["UPDATE epoch SET lineage = '[[1'", "UPDATE epoch SET oldest_held = x'00'"] {
        let mut bench = Bench::new();
        if matches!(bench.address, Address::Server(_)) && damage.contains("x'") {
            // There a number is a number.
            continue;
        }
        assert_eq!(with_damage(&mut bench, damage), ["gw-2"]);
        assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event WHERE gateway = 'gw-2'"), 2);
        assert_eq!(bench.list("SELECT CAST(last AS TEXT) FROM settled WHERE gateway = 'gw-1'"), "2");
        let kept: Vec<u8> =
            bench.ask("SELECT payload FROM quarantine WHERE kind = 'refused' ORDER BY id LIMIT 1");
        assert_eq!(kept, plain(3, 2).encode().unwrap());
    }
}

#[test]
fn a_damaged_record_of_an_earlier_epoch_does_not_stop_its_gateway() {
    let mut bench = Bench::new();
    let told = with_damage(&mut bench, "UPDATE epoch SET epoch = '0000000000000def', lineage = '[[1'");
    assert_eq!(told, ["gw-2"], "what cannot be read may be settled or not");
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 6);
}

#[test]
fn what_is_live_goes_before_the_backlog() {
    let bench = Bench::new();
    let replayed = |first| {
        let mut batch = plain(first, 1_000);
        batch.header.replayed = true;
        message(&batch)
    };
    let mut messages: Vec<Message> = (0..9).map(|n| replayed(1 + 1_000 * n)).collect();
    messages.push(message(&plain(10_001, 1)));
    let stored = start(&bench, messages).finish();
    assert_eq!(stored, [10, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn what_is_live_is_seen_behind_a_long_backlog() {
    let bench = Bench::new();
    let replayed = |first| {
        let mut batch = plain(first, 1);
        batch.header.replayed = true;
        message(&batch)
    };
    let mut messages: Vec<Message> = (1..=900).map(replayed).collect();
    messages.push(message(&plain(1_001, 1)));
    let stored = start(&bench, messages).finish();
    assert_eq!((stored.len(), stored[0]), (901, 901));
}

#[test]
fn a_database_that_cannot_be_used_is_waited_for() {
    let bench = Bench::new();
    let breaker = bench.db();
    let mut ends = start(&bench, Vec::new());
    // Somebody makes a table unusable, and mends it after the writer said so.
    breaker.batch("ALTER TABLE quarantine RENAME TO away").unwrap();
    let junk = Message { payload: b"junk".into(), ..message(&plain(1, 1)) };
    ends.input.try_send(Input::Store(Delivery(1), junk)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let why = runtime.block_on(async {
        let failing = ends.failing.wait_for(Option::is_some).await.unwrap();
        failing.as_ref().map(|failing| failing.why.clone()).unwrap()
    });
    assert!(why.contains("quarantine"), "{why}");
    breaker.batch("ALTER TABLE away RENAME TO quarantine").unwrap();
    assert_eq!(ends.output.blocking_recv().unwrap().stored, [Delivery(1)]);
    ends.finish();
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 1);
}

#[test]
fn a_connection_that_was_cut_is_opened_again() {
    let bench = Bench::new();
    let reader = Reader::new(bench.address.clone());
    let mut ends = start(&bench, vec![message(&plain(1, 2))]);
    assert_eq!(ends.output.blocking_recv().unwrap().stored, [Delivery(1)]);
    assert_eq!(reader.totals().unwrap().events, 2);
    bench.cut_connections();
    ends.input.try_send(Input::Store(Delivery(2), message(&plain(3, 2)))).unwrap();
    assert_eq!(ends.output.blocking_recv().unwrap().stored, [Delivery(2)]);
    assert_eq!(ends.finish(), [0; 0]);
    // A reader that kept a session may learn with its next question only that it was cut.
    assert!((0..2).any(|_| reader.totals().is_ok_and(|totals| totals.events == 4)));
}

#[test]
fn what_an_older_central_could_not_read_is_stored_after_the_upgrade() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 2));
    // One that can be read by now, one that cannot, and one whose numbers other events have.
    bench.store.set_aside(&message(&plain(3, 2)), "body: body format 2").unwrap();
    bench.send_bytes(Channel::Events, newer(&plain(5, 2)));
    let mut other = plain(1, 1);
    other.events[0].confidence = 10;
    bench.send(&other);
    assert_eq!((bench.settled_to(), bench.mark().highest), (6, Seq(2)));
    let mut ends = start(&bench, Vec::new());
    let settled = ends.output.blocking_recv().unwrap();
    assert!(settled.stored.is_empty() && settled.marks[&gateway()].contains("\"highest\":4"));
    assert_eq!(ends.finish(), [0; 0]);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 4);
    assert_eq!(bench.list("SELECT CAST(first AS TEXT) FROM quarantine ORDER BY id"), "5,1");
}
