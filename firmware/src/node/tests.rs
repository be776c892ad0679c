//! A node between an invented module and an invented gateway, with a flash that fails when it is told to.

extern crate std;

use super::*;
use crate::config::tests::good;
use hangtag_protocol::link::Receiver;
use hangtag_protocol::link::command::Level;
use hangtag_protocol::link::message::{
    BootReason, BoothState, Clock, Condensed, Dropped, Firmware, Hello, Motion, Moved, NodeId, Occupancy,
    SensorState,
};
use hangtag_protocol::link::receiver::Arrival;
use proptest::prelude::*;
use std::vec::Vec;

mod ended;
mod sensing;

const BOOT: u32 = 0x1234_5678;
const NO_TAG: &[u8] = &[0xbb, 0x01, 0xff, 0x00, 0x01, 0x15, 0x16, 0x7e];
/// -60 dBm.
const TAG: &[u8] = &[
    0xbb, 0x02, 0x22, 0x00, 0x11, 0xc4, 0x30, 0x00, 0xe2, 0x00, 0x00, 0x1d, 0x73, 0x15, 0x01, 0x65, 0x21,
    0x40, 0x8f, 0xc6, 0xb8, 0x3e, 0xc2, 0x7e,
];
const READ: u8 = 0x27;
const POWER: u8 = 0xb6;

/// A node between a module that does what it is told, and a gateway.
struct Bench {
    node: Node<1_024, 1_024, 4>,
    now: Uptime,
    /// Commands that the module got. It answers none while it is `deaf`, and refuses the next `refuses`.
    commands: Vec<u8>,
    power_cdbm: u16,
    reading: bool,
    deaf: bool,
    refuses: Option<u8>,
    gateway: Receiver,
    ears: Deframer,
    away: bool,
    reads: u64,
    dropped: u64,
    answers: Vec<(u32, Outcome)>,
    motions: Vec<Motion>,
    booth: Vec<Occupancy>,
    health: Option<Health>,
    hello: Option<Hello>,
    keeps: bool,
    kept: Vec<Config>,
}

fn bench(kept: Option<Config>) -> Bench {
    let firmware = Firmware { major: 1, minor: 2, patch: 3 };
    let identity = Identity { node: NodeId(9), firmware, reason: BootReason::Watchdog, boot: BOOT };
    Bench {
        node: Node::new(identity, kept, Uptime(0)),
        now: Uptime(0),
        commands: Vec::new(),
        power_cdbm: 0,
        reading: false,
        deaf: false,
        refuses: None,
        gateway: Receiver::new(Uptime(0)),
        ears: Deframer::new(),
        away: false,
        reads: 0,
        dropped: 0,
        answers: Vec::new(),
        motions: Vec::new(),
        booth: Vec::new(),
        health: None,
        hello: None,
        keeps: true,
        kept: Vec::new(),
    }
}

fn config(id: u32) -> Config {
    Config::new(Configure { id, ..good() }).unwrap()
}

impl Bench {
    /// Lets so many milliseconds pass, five at a time.
    fn run(&mut self, ms: u64) -> &mut Self {
        let end = self.now + ms;
        while self.now < end {
            self.now = self.now + 5;
            while let Some(command) = self.node.poll_module(self.now) {
                self.command(&command);
            }
            if self.reading && !self.deaf && self.now.0.is_multiple_of(100) {
                self.node.handle_module(NO_TAG, self.now);
            }
            while let Some(config) = self.node.poll_keep() {
                self.kept.extend(self.keeps.then_some(config));
                self.node.handle_kept(self.keeps, self.now);
            }
            while let Some(wire) = self.node.poll_gateway(self.now) {
                if !self.away {
                    self.hear(&wire);
                }
            }
            if self.away {
                continue;
            }
            if self.gateway.poll_ask(self.now) {
                self.say(Kind::Query, 0, &Query::Hello);
            }
            if let Some((boot, ack)) = self.gateway.poll_ack(self.now) {
                self.say(Kind::Ack, boot, &ack);
            }
        }
        self
    }

    fn command(&mut self, command: &[u8]) {
        let code = command[2];
        self.commands.push(code);
        if code == POWER {
            self.power_cdbm = u16::from_be_bytes([command[5], command[6]]);
        }
        if self.deaf {
            return;
        }
        self.reading = code == READ;
        if self.refuses == Some(code) {
            (self.refuses, self.reading) = (None, false);
            self.node.handle_module(&[0xbb, 0x01, 0xff, 0x00, 0x01, 0x17, 0x18, 0x7e], self.now);
        } else if code == READ {
            self.node.handle_module(NO_TAG, self.now);
        } else {
            let sum = code.wrapping_add(2);
            self.node.handle_module(&[0xbb, 0x01, code, 0x00, 0x01, 0x00, sum, 0x7e], self.now);
        }
    }

    fn say<T: serde::Serialize>(&mut self, kind: Kind, boot: u32, message: &T) {
        self.node.handle_gateway(&Frame::of(kind, boot, 0, message), self.now);
    }

    fn configure(&mut self, told: Configure) -> &mut Self {
        self.say(Kind::Configure, BOOT, &told);
        self
    }

    /// The gateway takes a frame; what it took is durable at once.
    fn hear(&mut self, wire: &[u8]) {
        let Self { gateway, ears, reads, dropped, answers, motions, booth, health, hello, now, .. } = self;
        ears.handle_bytes(wire, |frame| {
            let frame = frame.unwrap();
            match Kind::of(frame.kind).unwrap() {
                Kind::Hello => {
                    let told = frame.message().unwrap();
                    gateway.handle_hello(frame.boot, &told, None, *now);
                    *hello = Some(told);
                }
                Kind::Health => *health = Some(frame.message().unwrap()),
                kind => {
                    if gateway.handle_number(frame.boot, frame.number, *now) != Arrival::Taken {
                        return;
                    }
                    gateway.handle_durable(NodeId(9), BOOT, frame.number + 1, *now);
                    match kind {
                        Kind::Reads => {
                            let counts =
                                frame.messages::<Condensed>().map(|read| u64::from(read.unwrap().count));
                            *reads += counts.sum::<u64>();
                        }
                        Kind::Dropped => *dropped += frame.message::<Dropped>().unwrap().reads,
                        Kind::Configured => {
                            let Configured { id, outcome } = frame.message().unwrap();
                            answers.push((id, outcome));
                        }
                        Kind::Motion => motions.push(frame.message().unwrap()),
                        Kind::Occupancy => booth.push(frame.message().unwrap()),
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
    }

    /// So many reads, one each 10 ms.
    fn read(&mut self, count: u32) -> &mut Self {
        for _ in 0..count {
            self.node.handle_module(TAG, self.now);
            self.run(10);
        }
        self
    }
}

#[test]
fn it_introduces_itself_and_reads_nothing_without_a_configuration() {
    let mut bench = bench(None);
    bench.run(5_000);
    let hello = bench.hello.unwrap();
    assert_eq!((hello.node, hello.reason, hello.firmware.minor), (NodeId(9), BootReason::Watchdog, 2));
    assert!(bench.commands.is_empty());
    let health = bench.health.unwrap();
    assert!(!health.reader_listens && health.uptime >= Uptime(4_000));
}

#[test]
fn a_configuration_is_worked_by_kept_and_answered_once() {
    let mut bench = bench(None);
    bench.deaf = true;
    bench.run(100).configure(*config(1).told()).run(5).configure(*config(1).told()).run(100);
    assert_eq!(bench.commands.len(), 1, "what comes again is not begun again");
    bench.deaf = false;
    bench.run(1_000);
    assert_eq!(bench.answers, [(1, Outcome::Taken)]);
    assert_eq!(bench.kept, [config(1)]);
    bench.read(50).run(3_000);
    assert_eq!((bench.reads, bench.health.unwrap().reads), (50, 50));
    // The same again is answered, and the module is left alone.
    let commands = bench.commands.len();
    bench.read(1).configure(*config(1).told()).run(100);
    assert_eq!((bench.answers.len(), bench.kept.len(), bench.commands.len()), (2, 1, commands));
}

#[test]
fn a_node_that_kept_its_configuration_reads_without_a_gateway() {
    let mut bench = bench(Some(config(3)));
    bench.away = true;
    bench.run(100).read(20).run(300);
    bench.away = false;
    bench.run(9_000);
    assert_eq!((bench.reads, bench.dropped), (20, 0));
    assert!(bench.kept.is_empty(), "it is kept");
}

#[test]
fn what_cannot_be_worked_by_is_refused_and_the_one_before_stays() {
    let mut bench = bench(None);
    bench.run(100).configure(*config(1).told()).run(100);
    bench.configure(Configure { id: 2, antennas: 3, ..good() }).run(100);
    bench.refuses = Some(POWER);
    bench.configure(Configure { id: 3, power_cdbm: 3_300, ..good() });
    bench.run(3_000).read(5).run(3_000);
    assert_eq!(bench.answers, [(1, Outcome::Taken), (2, Outcome::Antennas), (3, Outcome::Power)]);
    assert_eq!((bench.kept.len(), bench.reads), (1, 5));
    assert_eq!((bench.node.config, bench.power_cdbm), (Some(config(1)), 2_000));
    assert!(bench.health.unwrap().reader_listens);
}

#[test]
fn a_refused_first_configuration_leaves_the_module_alone() {
    let mut bench = bench(None);
    bench.refuses = Some(READ);
    bench.run(100).configure(*config(1).told()).run(10_000);
    assert_eq!(bench.answers, [(1, Outcome::Reader)]);
    assert_eq!(bench.commands.len(), 5, "{:?}", bench.commands);
}

#[test]
fn a_silent_module_is_told_and_its_configuration_answered_when_it_comes() {
    let mut bench = bench(None);
    bench.deaf = true;
    bench.run(100).configure(*config(1).told()).run(20_000);
    assert!(bench.answers.is_empty() && !bench.health.unwrap().reader_listens);
    bench.deaf = false;
    bench.run(6_000);
    assert_eq!(
        (&bench.answers[..], bench.health.unwrap().reader_listens),
        (&[(1, Outcome::Taken)][..], true)
    );
    bench.deaf = true;
    bench.run(8_000);
    assert!(!bench.health.unwrap().reader_listens);
}

#[test]
fn what_could_not_be_kept_is_said_and_tried_again() {
    let mut bench = bench(None);
    bench.keeps = false;
    bench.run(100).configure(*config(1).told()).run(500);
    assert_eq!(bench.answers, [(1, Outcome::NotKept)]);
    assert_eq!(bench.read(3).run(1_000).reads, 3, "it works by it");
    bench.keeps = true;
    bench.configure(*config(1).told()).run(100);
    assert_eq!(bench.answers, [(1, Outcome::NotKept), (1, Outcome::Taken)]);
    assert_eq!(bench.kept, [config(1)]);
}

#[test]
fn what_has_no_room_while_the_gateway_is_away_is_counted_exactly() {
    let told = Configure { window_ms: 0, ..good() };
    let mut bench = bench(Config::new(told).ok());
    bench.run(100).away = true;
    bench.read(500);
    let dropped = bench.node.health(bench.now).dropped;
    assert!(dropped > 300, "{dropped}");
    bench.away = false;
    bench.run(20_000);
    assert_eq!((bench.reads, bench.dropped), (500 - dropped, dropped));
    assert_eq!(bench.node.health(bench.now).waiting, 0);
}

#[test]
fn another_window_hands_out_what_was_condensed_by_the_one_before() {
    let mut bench = bench(Config::new(Configure { window_ms: 2_000, ..good() }).ok());
    bench.run(100).read(5);
    assert_eq!(bench.reads, 0, "the window is open");
    bench.configure(Configure { id: 8, window_ms: 0, ..good() }).run(200);
    assert_eq!((bench.reads, bench.answers.len()), (5, 1));
}

#[test]
fn the_clock_is_told_at_once_and_by_whom_it_was_asked() {
    let mut bench = bench(Some(config(1)));
    bench.run(100).read(3);
    bench.say(Kind::Query, 0, &Query::Clock { asked: Uptime(777) });
    // Reads wait, and a clock that is told behind them is known less well.
    let now = bench.now + 3;
    let wire = bench.node.poll_gateway(now).unwrap();
    Deframer::new().handle_bytes(&wire, |frame| {
        let frame = frame.unwrap();
        assert_eq!((Kind::of(frame.kind), frame.boot, frame.number), (Some(Kind::Clock), BOOT, 0));
        assert_eq!(frame.message(), Ok(Clock { asked: Uptime(777), uptime: now }));
    });
    bench.run(1_000);
    assert_eq!(bench.reads, 3);
}

#[test]
fn a_configuration_for_another_run_is_not_taken() {
    let mut bench = bench(None);
    bench.run(100).say(Kind::Configure, BOOT + 1, config(1).told());
    bench.run(1_000);
    assert!(bench.commands.is_empty());
    bench.say(Kind::Query, 0, &Query::Health);
    bench.run(5);
    assert!(bench.health.is_some(), "before its time");
}

proptest! {
    /// Noise on both lines costs no read that came whole.
    #[test]
    fn noise_on_both_lines_costs_no_read(
        noise in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), prop::collection::vec(any::<u8>(), 0..60)), 1..20),
    ) {
        let mut bench = bench(Some(config(1)));
        bench.run(100);
        for (up, down) in &noise {
            bench.node.handle_gateway(up, bench.now);
            bench.node.handle_module(down, bench.now);
            // Longer than any frame that noise could have begun.
            bench.node.handle_module(&[0; 103], bench.now);
            bench.read(1);
        }
        bench.run(10_000);
        prop_assert_eq!((bench.reads, bench.dropped), (noise.len() as u64, 0));
    }
}
