//! What resets lose, between a node and a gateway that are reset and killed.

use super::*;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::message::{Condensed, Dropped, Firmware, Hello, NodeId};
use hangtag_protocol::link::receiver::{Arrival, Known};
use hangtag_protocol::link::sender::{Identity, Told};
use hangtag_protocol::link::{Deframer, Kind, Receiver, Sender};
use hangtag_protocol::read::Read;
use std::collections::BTreeMap;

type Link = Sender<1_000, 600>;

/// A node whose memory is gone with each reset, all but that RAM.
struct Node {
    past: Past<Cut>,
    link: Link,
    below: u32,
    reads: u64,
}

impl Node {
    fn start(ram: Cut, boot: u32, now: Uptime) -> Self {
        let mut past = Past::open(ram);
        past.begin(boot, BootReason::Watchdog);
        let firmware = Firmware { major: 0, minor: 1, patch: 0 };
        let identity = Identity { node: NodeId(1), firmware, reason: BootReason::Watchdog, boot };
        let mut link = Link::new(identity, now);
        for ended in past.untold() {
            assert!(link.handle_ended(&ended));
        }
        let below = link.numbers().1;
        Self { past, link, below, reads: 0 }
    }

    fn read(&mut self, count: u16, now: Uptime) {
        self.reads += u64::from(count);
        self.past.note(self.reads, now);
        let read = Read {
            at: now,
            epc: Epc::new(&[7; 12]).unwrap(),
            antenna: 1,
            rssi_cdbm: -5_000,
            phase_ddeg: None,
            channel_khz: None,
        };
        let condensed = Condensed { count, ..Condensed::single(&read) };
        self.link.handle_told(&Told::Read(condensed), now);
    }
}

/// Per run: the number after the last frame, reads, dropped, lost.
type Marks = BTreeMap<u32, (u32, u64, u64, u64)>;

/// A gateway that may be killed, which takes it back to its disk.
struct Gateway {
    receiver: Receiver,
    memory: Marks,
    disk: Marks,
}

impl Gateway {
    fn take(&mut self, bytes: &[u8], now: Uptime) {
        let Self { receiver, memory, disk } = self;
        Deframer::new().handle_bytes(bytes, |frame| {
            let frame = frame.unwrap();
            let boot = frame.boot;
            if Kind::of(frame.kind) == Some(Kind::Hello) {
                let hello: Hello = frame.message().unwrap();
                let below = |marks: &Marks| marks.get(&boot).map_or(1, |mark| mark.0);
                let known = Known { received: below(memory), durable: below(disk) };
                receiver.handle_hello(boot, &hello, Some(known), now);
                return;
            }
            if receiver.handle_number(boot, frame.number, now) != Arrival::Taken {
                return;
            }
            let mark = memory.entry(boot).or_default();
            mark.0 = frame.number + 1;
            match Kind::of(frame.kind).unwrap() {
                Kind::Reads => {
                    mark.1 +=
                        frame.messages::<Condensed>().map(|read| u64::from(read.unwrap().count)).sum::<u64>();
                }
                Kind::Dropped => mark.2 += frame.message::<Dropped>().unwrap().reads,
                Kind::Ended => {
                    let ended: Ended<'_> = frame.message().unwrap();
                    assert_eq!(ended.forgotten, 0);
                    let (_, reads, dropped, lost) = memory.entry(ended.boot).or_default();
                    *lost = ended.reads.checked_sub(*reads + *dropped).expect("never more than it took in");
                }
                other => panic!("{other:?}"),
            }
        });
    }

    fn exchange(&mut self, node: &mut Node, now: Uptime) {
        for _ in 0..4 {
            if self.receiver.poll_ask(now) {
                node.link.handle_query_hello(now);
            }
            while let Some(wire) = node.link.poll_transmit(now) {
                self.take(&wire, now);
            }
            if let Some((boot, ack)) = self.receiver.poll_ack(now) {
                node.link.handle_ack(boot, ack, now);
            }
        }
        if node.link.numbers().0 >= node.below {
            node.past.forget();
        }
    }

    fn commit(&mut self, now: Uptime) {
        self.disk = self.memory.clone();
        for (boot, mark) in &self.disk {
            self.receiver.handle_durable(NodeId(1), *boot, mark.0, now);
        }
    }

    fn kill(&mut self, now: Uptime) {
        (self.memory, self.receiver) = (self.disk.clone(), Receiver::new(now));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(u16),
    Exchange,
    Commit,
    Kill,
    /// After so many more writes to the RAM.
    Reset(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u16..50).prop_map(Step::Read),
        6 => Just(Step::Exchange),
        3 => Just(Step::Commit),
        1 => Just(Step::Kill),
        2 => (0usize..25).prop_map(Step::Reset),
    ]
}

proptest! {
    /// Of every run the gateway at last has, or knows to be dropped or lost, exactly what it took in: whatever was
    /// killed or reset in between, and wherever.
    #[test]
    fn what_resets_lose_is_counted_exactly(steps in prop::collection::vec(step(), 1..80)) {
        let mut now = Uptime(1_000);
        let mut boot = 100;
        let mut node = Node::start(blank(), boot, now);
        let mut gateway = Gateway { receiver: Receiver::new(now), memory: Marks::new(), disk: Marks::new() };
        let (mut taken, mut untold) = (Marks::new(), 0);
        for step in steps {
            now = now + 600;
            match step {
                Step::Read(count) => node.read(count, now),
                Step::Exchange => {
                    gateway.exchange(&mut node, now);
                    untold = node.past.runs.len();
                }
                Step::Commit => gateway.commit(now),
                Step::Kill => gateway.kill(now),
                // More in a row are forgotten, which is another test's.
                Step::Reset(_) if untold >= RUNS => {}
                Step::Reset(left) => {
                    // Cut off while reads come in: those that are not noted are told to nobody.
                    node.past.ram.left = left;
                    let before = node.reads;
                    node.past.note(before + 9, now);
                    let reads = if node.past.ram.left > 0 { before + 9 } else {
                        Past::open(node.past.ram.clone()).run.unwrap().reads
                    };
                    prop_assert!(reads == before || reads == before + 9);
                    taken.insert(boot, (0, reads, 0, 0));
                    boot += 1;
                    untold += 1;
                    let ram = Cut { left: usize::MAX, ..node.past.ram };
                    node = Node::start(ram, boot, now);
                }
            }
        }
        taken.insert(boot, (0, node.reads, 0, 0));
        for _ in 0..200 {
            now = now + 600;
            gateway.exchange(&mut node, now);
            gateway.commit(now);
        }
        prop_assert!(node.link.is_idle() && node.past.runs.is_empty());
        for (boot, (_, reads, ..)) in taken {
            let (_, sent, dropped, lost) = gateway.disk.get(&boot).copied().unwrap_or_default();
            prop_assert_eq!(sent + dropped + lost, reads, "run {}: {} {} {}", boot, sent, dropped, lost);
        }
    }
}
