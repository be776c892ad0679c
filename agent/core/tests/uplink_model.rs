//! The uplink against a plain model of spool, broker and central, in which everything may be lost, doubled,
//! delayed, reordered, restarted, restored and cloned. In the end central has each event exactly once, under
//! whatever number, and nothing was deleted that central had not settled.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;

use std::collections::{BTreeMap, BTreeSet};

use hangtag_agent_core::uplink::{
    Answer, BatchId, Ended, Limits, Note, Purpose, Sent, Settings, SettledBy, Uplink, View,
};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::{Lineage, Run};
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::watermark::{EpochMark, Watermark};
use proptest::prelude::*;

/// What an event is, whatever its number.
type Payload = u64;

/// One epoch of the spool.
#[derive(Clone, Debug, Default)]
struct Held {
    epoch: u64,
    events: BTreeMap<u64, Payload>,
    next: u64,
    settled: SeqSet,
    lost: SeqSet,
    lineage: Lineage,
}

#[derive(Clone, Debug)]
struct Batch {
    epoch: u64,
    first: u64,
    events: Vec<Payload>,
    lost: Vec<SeqRange>,
    lineage: Lineage,
}

#[derive(Clone, Debug, Default)]
struct Recorded {
    events: BTreeMap<u64, Payload>,
    lost: SeqSet,
    lineage: Lineage,
}

type Central = BTreeMap<u64, Recorded>;

#[derive(Clone, Copy, Debug)]
enum Op {
    Accept(u64),
    Evict(u64),
    Send(u64),
    Puback(usize),
    Deliver { which: usize, keep: bool },
    Lose(usize),
    Mark,
    Spool,
    Connect,
    Disconnect,
    Restart,
    Tick(u64),
    Backup,
    Restore,
    Clone(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1u64..400).prop_map(Op::Accept),
        1 => (1u64..100).prop_map(Op::Evict),
        8 => (1u64..300).prop_map(Op::Send),
        4 => (0usize..20).prop_map(Op::Puback),
        6 => (0usize..20, any::<bool>()).prop_map(|(which, keep)| Op::Deliver { which, keep }),
        1 => (0usize..20).prop_map(Op::Lose),
        5 => Just(Op::Mark),
        5 => Just(Op::Spool),
        3 => Just(Op::Connect),
        1 => Just(Op::Disconnect),
        1 => Just(Op::Restart),
        4 => (1u64..8_000).prop_map(Op::Tick),
        1 => Just(Op::Backup),
        1 => Just(Op::Restore),
        1 => (1u64..50).prop_map(Op::Clone),
    ]
}

struct World {
    uplink: Uplink,
    spool: Vec<Held>,
    run: u32,
    accepted: u64,
    evicted: BTreeSet<Payload>,
    notes: Vec<Note>,
    broker: Vec<Batch>,
    in_flight: Vec<BatchId>,
    /// The retained watermark, and whether it is still to be delivered.
    retained: Option<Watermark>,
    due: bool,
    central: Central,
    backup: Central,
    /// Whether settled events are kept, so that a restored central can be refilled.
    keeps: bool,
    cloned: bool,
    connected: bool,
    now: Uptime,
}

const SETTINGS: Settings =
    Settings { backlog_percent: 75, bytes_per_s: Some(1 << 20), settled_by: SettledBy::Central };

impl World {
    fn new(keeps: bool) -> Self {
        let spool = vec![Held { epoch: 1, next: 1, ..Held::default() }];
        Self {
            uplink: Uplink::new(SETTINGS, spool.iter().map(view)),
            spool,
            run: 1,
            accepted: 0,
            evicted: BTreeSet::new(),
            notes: Vec::new(),
            broker: Vec::new(),
            in_flight: Vec::new(),
            retained: None,
            due: false,
            central: Central::new(),
            backup: Central::new(),
            keeps,
            cloned: false,
            connected: false,
            now: Uptime(1_000),
        }
    }

    fn tell(&mut self) {
        self.uplink.handle_spool(self.spool.iter().map(view), self.now);
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Accept(count) => self.accept(count),
            Op::Evict(count) => self.evict(count),
            Op::Send(most) => drop(self.send(most)),
            Op::Puback(which) => self.puback(which),
            Op::Deliver { which, keep } if !self.broker.is_empty() => {
                let which = which % self.broker.len();
                let batch = if keep { self.broker[which].clone() } else { self.broker.remove(which) };
                self.store(batch);
            }
            Op::Lose(which) if !self.broker.is_empty() => {
                self.broker.remove(which % self.broker.len());
            }
            Op::Mark => self.mark(),
            Op::Spool => self.work(),
            Op::Connect => self.connect(),
            Op::Disconnect => self.disconnect(),
            Op::Restart => {
                self.disconnect();
                // What the spool was not told is forgotten.
                self.notes.clear();
                self.run += 1;
                self.uplink = Uplink::new(SETTINGS, self.spool.iter().map(view));
            }
            Op::Tick(ms) => {
                self.now = self.now + ms;
                self.uplink.handle_timeout(self.now);
            }
            Op::Backup => self.backup = self.central.clone(),
            // A central that forgets a copy after it told of it may take what is on its way under the
            // old numbers: two disasters within a second are one too many.
            Op::Restore if self.keeps && !self.cloned => {
                self.central = self.backup.clone();
                self.publish();
            }
            Op::Clone(count) => self.clone_writes(count),
            Op::Deliver { .. } | Op::Lose(_) | Op::Restore => {}
        }
    }

    fn accept(&mut self, count: u64) {
        let (run, current) = (self.run, self.spool.last_mut().unwrap());
        if current.lineage.last().is_none_or(|last| last.id != run) {
            current.lineage.push(Run { first: Seq(current.next), id: run });
        }
        for _ in 0..count {
            current.events.insert(current.next, self.accepted);
            (current.next, self.accepted) = (current.next + 1, self.accepted + 1);
        }
        self.tell();
    }

    fn evict(&mut self, count: u64) {
        for _ in 0..count {
            let Some(held) = self.spool.iter_mut().find(|held| held.events.len() > 1) else { break };
            let (seq, payload) = held.events.pop_first().unwrap();
            // What was settled is missed only by a central that was restored.
            if !held.settled.contains(Seq(seq)) {
                held.lost.insert(SeqRange::new(seq, seq));
            }
            if self.keeps || !held.settled.contains(Seq(seq)) {
                self.evicted.insert(payload);
            }
        }
        self.tell();
    }

    /// Sends one batch of at most so many events; whether there was one.
    fn send(&mut self, most: u64) -> bool {
        let Some(send) = self.uplink.poll_send(self.now) else { return false };
        let held = self.spool.iter().find(|held| held.epoch == send.epoch.0).unwrap();
        let events = held.events.range(send.range.first.0..send.range.last.0 + 1);
        let first = events.clone().next().map(|(seq, _)| *seq);
        let lost: Vec<SeqRange> =
            held.lost.ranges().iter().filter(|range| range.last < send.end).take(3).copied().collect();
        let consecutive: Vec<Payload> = events
            .zip(first.unwrap_or(0)..)
            .take_while(|((seq, _), expected)| **seq == *expected)
            .map(|((_, payload), _)| *payload)
            .take(usize::try_from(most).unwrap())
            .collect();
        let first = match first {
            Some(first) => first,
            // A proof carries nothing; only a batch for losses needs some.
            None if send.purpose == Purpose::Proof => send.range.first.0,
            None if send.range.is_empty() && !lost.is_empty() => send.range.first.0,
            None => {
                self.uplink.handle_absent(&send, self.now);
                return true;
            }
        };
        let range = SeqRange::new(first, first + consecutive.len() as u64 - 1);
        assert!(consecutive.is_empty() || self.uplink.is_wanted(&send));
        let sent = Sent { range, bytes: 100 + 10 * consecutive.len(), crc: 0, lost: lost.clone() };
        let lineage = held.lineage.since(&self.uplink.recorded(send.epoch));
        self.broker.push(Batch { epoch: held.epoch, first, events: consecutive, lost, lineage });
        self.in_flight.push(self.uplink.handle_sent(&send, sent, self.now));
        true
    }

    fn puback(&mut self, which: usize) {
        if !self.in_flight.is_empty() {
            let id = self.in_flight.remove(which % self.in_flight.len());
            self.uplink.handle_puback(id, Answer::Taken, self.now);
        }
    }

    fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            self.due = self.retained.is_some();
            self.mark();
            self.uplink.handle_connected(Limits { window: 16, batch_bytes: 65_536 }, self.now);
        }
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.in_flight.clear();
        self.uplink.handle_disconnected(Ended::Unexplained);
    }

    fn mark(&mut self) {
        if self.connected && self.due {
            self.due = false;
            self.tell();
            self.uplink.handle_watermark(self.retained.as_ref().unwrap(), self.now);
            self.notes.extend(std::iter::from_fn(|| self.uplink.poll_note()));
        }
    }

    /// The spool does what it was asked.
    fn work(&mut self) {
        for note in std::mem::take(&mut self.notes) {
            match note {
                Note::Settle { epoch, settled } => self.settle(epoch, settled),
                Note::Fork { epoch, from } => self.fork(epoch, from.0),
                Note::SetAside { .. } => panic!("an outage costs no event"),
            }
        }
        self.tell();
    }

    fn settle(&mut self, epoch: Epoch, settled: SeqSet) {
        let Some(held) = self.spool.iter_mut().find(|held| held.epoch == epoch.0) else { return };
        assert!(settled.ranges().last().is_none_or(|range| range.last.0 < held.next));
        for range in settled.ranges() {
            held.lost.remove(*range);
        }
        for (seq, payload) in held.events.iter().filter(|(seq, _)| settled.contains(Seq(**seq))) {
            let stored = self.central.get(&epoch.0).and_then(|recorded| recorded.events.get(seq));
            // A restored central forgets what it had: that is what the spool keeps events for.
            assert!(self.keeps || stored == Some(payload), "{seq} is deleted and not stored");
        }
        if !self.keeps {
            held.events.retain(|seq, _| !settled.contains(Seq(*seq)));
        }
        held.settled = settled;
    }

    fn fork(&mut self, epoch: Epoch, from: u64) {
        let last = self.spool.last().unwrap().epoch;
        let Some(held) = self.spool.iter_mut().find(|held| held.epoch == epoch.0) else { return };
        if from > held.next || (from == held.next && epoch.0 != last) {
            return;
        }
        let own = held.events.split_off(&from);
        held.lost.remove(SeqRange::new(from, u64::MAX));
        held.settled.remove(SeqRange::new(from, u64::MAX));
        (held.next, held.lineage) = (from, held.lineage.before(Seq(from)));
        let begins = epoch.0 == last;
        if begins {
            let lineage = Lineage::from(vec![Run { first: Seq(1), id: self.run }]);
            self.spool.push(Held { epoch: last + 1, next: 1, lineage, ..Held::default() });
        }
        let current = self.spool.last_mut().unwrap();
        let run = self.run;
        if current.lineage.last().is_none_or(|last| last.id != run) {
            current.lineage.push(Run { first: Seq(current.next), id: run });
        }
        for payload in own.into_values() {
            current.events.insert(current.next, payload);
            current.next += 1;
        }
    }

    /// Central takes a batch.
    fn store(&mut self, batch: Batch) {
        let recorded = self.central.entry(batch.epoch).or_default();
        let highest = recorded.events.last_key_value().map_or(0, |(seq, _)| *seq);
        let last = batch.first + batch.events.len() as u64 - 1;
        if recorded.lineage.overrun(&batch.lineage, Seq(last)).is_some() {
            // A fork.
        } else if let Ok(lineage) = recorded.lineage.join(&batch.lineage, Seq(highest)) {
            recorded.lineage = lineage;
            batch.lost.iter().for_each(|range| recorded.lost.insert(*range));
            for (seq, payload) in (batch.first..).zip(batch.events) {
                let before = recorded.events.insert(seq, payload);
                assert!(before.is_none_or(|before| before == payload), "other content under {seq}");
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        let marks = self.central.iter().map(|(epoch, recorded)| {
            let mut settled = recorded.lost.clone();
            recorded.events.keys().for_each(|seq| settled.insert(SeqRange::new(*seq, *seq)));
            let highest = recorded.events.last_key_value().map_or(0, |(seq, _)| *seq);
            EpochMark::of(Epoch(*epoch), &settled, Seq(highest), recorded.lineage.clone())
        });
        self.retained = Some(Watermark { v: 1, epochs: marks.collect(), unreadable: Vec::new() });
        self.due = true;
    }

    /// A copy of this gateway's disk accepts events of its own and sends them.
    fn clone_writes(&mut self, count: u64) {
        self.cloned = true;
        let held = self.spool.last().unwrap();
        let (epoch, first, mut lineage) = (held.epoch, held.next, held.lineage.clone());
        lineage.push(Run { first: Seq(first), id: 1_000_000 + self.run * 1_000 + self.broker.len() as u32 });
        let foreign = 1 << 40;
        let events = (0..count).map(|n| foreign + (first + n) + (u64::from(self.run) << 20)).collect();
        self.store(Batch { epoch, first, events, lost: Vec::new(), lineage });
    }

    /// Everything works until nothing moves any more.
    fn settle_down(&mut self) {
        let done = |world: &Self| {
            world.spool.iter().all(|held| {
                held.lost.is_empty() && held.events.keys().all(|seq| held.settled.contains(Seq(*seq)))
            })
        };
        for _ in 0..1_000 {
            self.connect();
            let mut sent = 0;
            while self.send(256) {
                self.puback(0);
                sent += 1;
                assert!(sent < 10_000, "sends without end: {:?}", self.uplink.poll_send(self.now));
            }
            while !self.in_flight.is_empty() {
                self.puback(0);
            }
            for batch in std::mem::take(&mut self.broker) {
                self.store(batch);
            }
            self.mark();
            self.work();
            if done(self) {
                return;
            }
            self.now = self.now + 500;
            self.uplink.handle_timeout(self.now);
        }
        panic!("does not settle down: {:?}", self.spool);
    }
}

fn view(held: &Held) -> View<'_> {
    View {
        epoch: Epoch(held.epoch),
        oldest_held: Seq(held.events.first_key_value().map_or(held.next, |(seq, _)| *seq)),
        next: Seq(held.next),
        settled: &held.settled,
        lost: held.lost.len(),
        lineage: &held.lineage,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::cases(128, Some(1)) })]

    #[test]
    fn central_gets_each_event_exactly_once(
        keeps in any::<bool>(),
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut world = World::new(keeps);
        for op in ops {
            world.step(op);
        }
        world.settle_down();
        let mut stored = BTreeMap::<Payload, u32>::new();
        for payload in world.central.values().flat_map(|recorded| recorded.events.values()) {
            *stored.entry(*payload).or_default() += 1;
        }
        for payload in 0..world.accepted {
            let times = stored.get(&payload).copied().unwrap_or(0);
            let expected = if world.evicted.contains(&payload) { 0..=1 } else { 1..=1 };
            prop_assert!(expected.contains(&times), "event {payload} is stored {times} times");
        }
    }
}
