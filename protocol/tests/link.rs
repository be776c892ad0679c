//! Both ends of the node link over a line that loses, doubles, garbles and reorders, with gateways that are killed
//! and nodes that run out of room: whatever happens, what was told is taken exactly once and in order, or counted
//! as dropped in the place where it is missing.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

#[path = "../../agent/core/tests/cases/mod.rs"]
mod cases;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::command::{Ack, Query};
use hangtag_protocol::link::message::{
    BootReason, BoothState, Clock, Condensed, Dropped, Firmware, Hello, NodeId, Occupancy,
};
use hangtag_protocol::link::receiver::{Arrival, Known};
use hangtag_protocol::link::sender::{Identity, Told};
use hangtag_protocol::link::{Deframer, Frame, Kind, Receiver, Sender};
use hangtag_protocol::read::Read;
use proptest::prelude::*;

const NODE: NodeId = NodeId(0x1234);

type Node = Sender<1_000, 600>;

/// Two things to tell in three are reads; each has its number in the order of telling.
fn told(number: u32) -> Told {
    let at = Uptime(number.into());
    if number % 3 == 2 {
        return Told::Occupancy(Occupancy { at, state: BoothState::Occupied });
    }
    Told::Read(Condensed::single(&Read {
        at,
        epc: Epc::new(&number.to_be_bytes()).unwrap(),
        antenna: 1,
        rssi_cdbm: -5_000,
        phase_ddeg: None,
        channel_khz: None,
    }))
}

fn node(boot: u32, now: Uptime) -> Node {
    let firmware = Firmware { major: 0, minor: 1, patch: 0 };
    Sender::new(Identity { node: NODE, firmware, reason: BootReason::Power, boot }, now)
}

/// What a gateway took: the number of something told, or how much was dropped in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    Told(u32),
    Dropped(Dropped),
}

/// A gateway with a disk. What it took is in memory until it is made durable, and a kill forgets it.
struct Gateway {
    receiver: Receiver,
    deframer: Deframer,
    memory: Vec<Took>,
    disk: Vec<Took>,
    /// The run whose frames were taken, and the number after the last: as taken, and as on disk.
    taken: Option<(u32, u32)>,
    mark: Option<(u32, u32)>,
}

impl Gateway {
    fn new(now: Uptime) -> Self {
        let (memory, disk) = (Vec::new(), Vec::new());
        Self {
            receiver: Receiver::new(now),
            deframer: Deframer::new(),
            memory,
            disk,
            taken: None,
            mark: None,
        }
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Uptime) {
        let Self { receiver, deframer, memory, taken, mark, .. } = self;
        deframer.handle_bytes(bytes, |frame| {
            let Ok(frame) = frame else { return };
            if Kind::of(frame.kind) == Some(Kind::Hello) {
                let hello: Hello = frame.message().unwrap();
                let of = |mark: &Option<(u32, u32)>| {
                    mark.filter(|(boot, _)| *boot == frame.boot).map(|(_, below)| below)
                };
                let known = of(taken)
                    .or(of(mark))
                    .map(|received| Known { received, durable: of(mark).unwrap_or(hello.oldest) });
                let greeting = receiver.handle_hello(frame.boot, &hello, known, now);
                assert_eq!(greeting.missed, 0, "nobody else takes frames");
                return;
            }
            match receiver.handle_number(frame.boot, frame.number, now) {
                Arrival::Taken => {}
                Arrival::Again | Arrival::Early | Arrival::Unknown => return,
            }
            *taken = Some((frame.boot, frame.number + 1));
            match Kind::of(frame.kind).unwrap() {
                Kind::Reads => memory.extend(frame.messages::<Condensed>().map(|read| {
                    let bytes = read.unwrap().epc.as_bytes().try_into().unwrap();
                    Took::Told(u32::from_be_bytes(bytes))
                })),
                Kind::Occupancy => {
                    memory.push(Took::Told(frame.message::<Occupancy>().unwrap().at.0 as u32));
                }
                Kind::Dropped => memory.push(Took::Dropped(frame.message().unwrap())),
                other => panic!("{other:?}"),
            }
        });
    }

    fn commit(&mut self, now: Uptime) {
        self.disk.append(&mut self.memory);
        self.mark = self.taken;
        if let Some((boot, below)) = self.mark {
            self.receiver.handle_durable(NODE, boot, below, now);
        }
    }

    /// `kill -9`, or the port is opened anew.
    fn restart(&mut self, killed: bool, now: Uptime) {
        if killed {
            self.memory.clear();
            self.taken = self.mark;
        }
        (self.receiver, self.deframer) = (Receiver::new(now), Deframer::new());
    }

    fn poll(&mut self, now: Uptime) -> Option<Vec<u8>> {
        if self.receiver.poll_ask(now) {
            return Some(Frame::of(Kind::Query, 0, 0, &Query::Hello).to_vec());
        }
        self.receiver.poll_ack(now).map(|(boot, ack)| Frame::of(Kind::Ack, boot, 0, &ack).to_vec())
    }
}

/// One direction of the line.
#[derive(Default)]
struct Line(Vec<Vec<u8>>);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Lost,
    Doubled,
    Garbled(u8, u8),
    /// The frame before comes after this one.
    Late,
}

impl Line {
    fn send(&mut self, mut bytes: Vec<u8>, fault: Option<Fault>) {
        match fault {
            None => self.0.push(bytes),
            Some(Fault::Lost) => {}
            Some(Fault::Doubled) => self.0.extend([bytes.clone(), bytes]),
            Some(Fault::Garbled(at, with)) => {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= with.max(1);
                self.0.push(bytes);
            }
            Some(Fault::Late) => {
                let at = self.0.len().saturating_sub(1);
                self.0.insert(at, bytes);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Tell(u8),
    /// Time passes, and everything on the line arrives.
    Pass(u16),
    Commit,
    Kill,
    Reopen,
    /// A fault of the next frame from the node, or to it.
    FromNode(Fault),
    ToNode(Fault),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => Just(Fault::Lost),
        1 => Just(Fault::Doubled),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(at, with)| Fault::Garbled(at, with)),
        1 => Just(Fault::Late),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u8..60).prop_map(Step::Tell),
        8 => (1u16..700).prop_map(Step::Pass),
        1 => (1_000u16..20_000).prop_map(Step::Pass),
        3 => Just(Step::Commit),
        1 => Just(Step::Kill),
        1 => Just(Step::Reopen),
        4 => fault().prop_map(Step::FromNode),
        2 => fault().prop_map(Step::ToNode),
    ]
}

/// A node and a gateway, and the line between them.
struct World {
    now: Uptime,
    node: Node,
    boot: u32,
    ears: Deframer,
    gateway: Gateway,
    up: Line,
    down: Line,
    up_faults: Vec<Fault>,
    down_faults: Vec<Fault>,
    told: u32,
}

impl World {
    fn new() -> Self {
        let now = Uptime(0);
        Self {
            now,
            node: node(1, now),
            boot: 1,
            ears: Deframer::new(),
            gateway: Gateway::new(now),
            up: Line::default(),
            down: Line::default(),
            up_faults: Vec::new(),
            down_faults: Vec::new(),
            told: 0,
        }
    }

    fn tell(&mut self, count: u32) {
        for _ in 0..count {
            self.node.handle_told(&told(self.told), self.now);
            self.told += 1;
        }
    }

    fn exchange(&mut self) {
        // Each round may make one of the ends say more.
        for _ in 0..6 {
            while let Some(bytes) = self.node.poll_transmit(self.now) {
                self.up.send(bytes.to_vec(), self.up_faults.pop());
            }
            for bytes in std::mem::take(&mut self.up.0) {
                self.gateway.handle_bytes(&bytes, self.now);
            }
            while let Some(bytes) = self.gateway.poll(self.now) {
                self.down.send(bytes, self.down_faults.pop());
            }
            for bytes in std::mem::take(&mut self.down.0) {
                let Self { ears, node, now, .. } = self;
                ears.handle_bytes(&bytes, |frame| {
                    let Ok(frame) = frame else { return };
                    match Kind::of(frame.kind) {
                        Some(Kind::Ack) => node.handle_ack(frame.boot, frame.message::<Ack>().unwrap(), *now),
                        Some(Kind::Query) => node.handle_query_hello(*now),
                        other => panic!("{other:?}"),
                    }
                });
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        self.exchange();
        while self.now < end {
            let due = self.node.poll_timeout().into_iter().chain(self.gateway.receiver.poll_timeout()).min();
            self.now = due.unwrap_or(end).max(self.now + 1).min(end);
            self.exchange();
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Tell(count) => self.tell(count.into()),
            Step::Pass(ms) => self.pass(ms.into()),
            Step::Commit => self.gateway.commit(self.now),
            Step::Kill => self.gateway.restart(true, self.now),
            Step::Reopen => self.gateway.restart(false, self.now),
            Step::FromNode(fault) => self.up_faults.push(fault),
            Step::ToNode(fault) => self.down_faults.push(fault),
        }
    }

    /// The line and the disk are good: in the end the gateway has everything. Returns what the disk holds.
    fn settle(&mut self) -> Result<Vec<Took>, TestCaseError> {
        (self.up_faults, self.down_faults) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            self.pass(1_000);
            self.gateway.commit(self.now);
        }
        prop_assert!(self.node.is_idle(), "{} bytes wait", self.node.waiting());
        Ok(self.gateway.disk.clone())
    }
}

/// Checks that what was taken is what was told from `first` to `end`, in order, or counted where it is missing.
fn check(took: &[Took], first: u32, end: u32) -> Result<u64, TestCaseError> {
    let (mut next, mut reads) = (first, 0);
    for took in took {
        match *took {
            Took::Told(number) => {
                prop_assert_eq!(number, next);
                next += 1;
            }
            Took::Dropped(dropped) => {
                let missing = u32::try_from(dropped.reads).unwrap() + dropped.others;
                let others = (next..next + missing).filter(|number| number % 3 == 2).count();
                prop_assert_eq!(usize::try_from(dropped.others).unwrap(), others);
                prop_assert_eq!(dropped.first, Uptime(next.into()));
                next += missing;
                prop_assert_eq!(dropped.last, Uptime(u64::from(next) - 1));
                reads += dropped.reads;
            }
        }
    }
    prop_assert_eq!(next, end);
    Ok(reads)
}

proptest! {
    #![proptest_config(cases::cases(256, None))]

    #[test]
    fn what_is_told_is_taken_once_and_in_order_or_counted(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        let took = world.settle()?;
        let dropped = check(&took, 0, world.told)?;
        prop_assert_eq!(dropped, world.node.dropped_reads());
    }

    #[test]
    fn a_node_that_starts_again_is_not_mistaken_for_the_run_before(
        before in prop::collection::vec(step(), 0..60),
        after in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new();
        before.into_iter().for_each(|step| world.take(step));
        // Its memory is gone, and with it what the gateway did not have.
        (world.boot, world.node) = (2, node(2, world.now));
        let first = world.told;
        after.into_iter().for_each(|step| world.take(step));
        let took = world.settle()?;
        let at = took.iter().position(|took| match took {
            Took::Told(number) => *number >= first,
            Took::Dropped(dropped) => dropped.first >= Uptime(first.into()),
        });
        let (old, new) = took.split_at(at.unwrap_or(took.len()));
        check(new, first, world.told)?;
        let end = old.iter().fold(0, |end, took| match took {
            Took::Told(number) => number + 1,
            Took::Dropped(dropped) => end + u32::try_from(dropped.reads).unwrap() + dropped.others,
        });
        prop_assert!(end <= first);
        check(old, 0, end)?;
    }
}

#[test]
fn while_nothing_becomes_durable_the_node_keeps_everything_and_sends_it_once() {
    let mut world = World::new();
    world.tell(20);
    world.pass(5_000);
    assert_eq!(world.gateway.memory.len(), 20);
    let garbage = world.gateway.deframer.garbage();
    let held = world.node.waiting();
    assert!(held > 200, "{held}");
    // It hears that everything has arrived: nothing is sent again.
    for _ in 0..100 {
        world.now = world.now + 500;
        let sent = world.node.poll_transmit(world.now);
        assert!(sent.is_none(), "{sent:?}");
        while let Some(bytes) = world.gateway.poll(world.now) {
            world.down.send(bytes, None);
        }
        world.exchange();
    }
    assert_eq!((world.gateway.memory.len(), world.gateway.deframer.garbage()), (20, garbage));
    world.gateway.commit(world.now);
    world.pass(10);
    assert_eq!(world.node.waiting(), 0);
}

#[test]
fn a_frame_that_is_missing_is_asked_for_at_once() {
    let mut world = World::new();
    world.pass(10);
    world.tell(15);
    let mut frames = Vec::new();
    while let Some(bytes) = world.node.poll_transmit(world.now) {
        frames.push(bytes.to_vec());
    }
    assert!(frames.len() > 4, "{}", frames.len());
    frames.remove(2);
    frames.iter().for_each(|bytes| world.gateway.handle_bytes(bytes, world.now));
    assert!(world.gateway.memory.len() < 15);
    world.pass(50);
    assert_eq!(world.gateway.memory.len(), 15);
}

#[test]
fn noise_on_an_idle_line_costs_no_frame() {
    let mut world = World::new();
    for _ in 0..10 {
        world.gateway.handle_bytes(b"noise", world.now);
        world.tell(1);
        world.exchange();
        world.pass(50);
        assert_eq!(world.gateway.memory.len(), usize::try_from(world.told).unwrap());
    }
}

#[test]
fn what_was_taken_and_not_durable_comes_again_to_a_gateway_that_was_killed() {
    let mut world = World::new();
    world.tell(10);
    world.pass(1_000);
    world.gateway.commit(world.now);
    world.pass(1_000);
    world.tell(10);
    world.pass(1_000);
    assert_eq!(world.gateway.memory.len(), 10);
    world.gateway.restart(true, world.now);
    // Sooner than the node would send anything again by itself.
    world.pass(100);
    assert_eq!(world.gateway.memory.first(), Some(&Took::Told(10)));
    assert_eq!(world.gateway.memory.len(), 10);
}

#[test]
fn a_gateway_whose_disk_is_older_than_the_acks_goes_on_and_says_what_it_missed() {
    let mut world = World::new();
    world.tell(10);
    world.pass(1_000);
    world.gateway.commit(world.now);
    world.pass(1_000);
    assert!(world.node.is_idle());
    let hello = |oldest, next| Hello {
        node: NODE,
        firmware: Firmware::default(),
        reason: BootReason::Power,
        uptime: world.now,
        versions: (1, 1),
        oldest,
        next,
        room: 1_000,
    };
    let known = |below| Some(Known { received: below, durable: below });
    for (known, oldest, next, missed, received) in [
        (known(2), 5, 9, 3, 5),
        (known(7), 5, 9, 0, 7),
        (None, 5, 9, 0, 5),
        // The boot is the same by chance: its numbers say that it is another run.
        (known(70), 5, 9, 0, 5),
    ] {
        let mut receiver = Receiver::new(world.now);
        let greeting = receiver.handle_hello(1, &hello(oldest, next), known, world.now);
        assert_eq!((greeting.begins, greeting.missed), (true, missed));
        assert_eq!(receiver.poll_ack(world.now).unwrap().1.received, received);
    }
}

#[test]
fn the_clock_is_told_once_and_first_also_to_a_gateway_that_is_not_known() {
    let mut node = node(7, Uptime(0));
    node.handle_query_clock(Uptime(123_456));
    let mut said = Vec::new();
    while let Some(wire) = node.poll_transmit(Uptime(5)) {
        Deframer::new().handle_bytes(&wire, |frame| {
            let frame = frame.unwrap();
            said.push((Kind::of(frame.kind), frame.message::<Clock>().ok()));
        });
    }
    let clock = Clock { asked: Uptime(123_456), uptime: Uptime(5) };
    assert_eq!(said[0], (Some(Kind::Clock), Some(clock)));
    assert!(matches!(said[1..], [(Some(Kind::Hello), _)]), "{said:?}");
}

#[test]
fn acks_that_cannot_be_are_ignored() {
    let mut world = World::new();
    world.tell(10);
    world.pass(1_000);
    let held = world.node.waiting();
    let ack = |durable, received| Ack { durable, received, window: 8, gap: false };
    for (boot, ack) in [(2, ack(2, 2)), (1, ack(900, 900)), (1, ack(2, 1)), (1, ack(0, 0)), (1, ack(1, 900))]
    {
        world.node.handle_ack(boot, ack, world.now);
        assert_eq!(world.node.waiting(), held, "{ack:?}");
    }
    world.node.handle_ack(1, ack(2, 2), world.now);
    assert!(world.node.waiting() < held);
}
