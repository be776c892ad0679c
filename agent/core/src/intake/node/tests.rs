//! A line to a node, driven with invented time against the node's own end.

use super::single::{MOST_READS, expand};
use super::*;
use crate::intake::Radio;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::Sender;
use hangtag_protocol::link::command::{Ack, Level};
use hangtag_protocol::link::message::{
    BootReason, BoothState, Condensed, Configured, Ended, Firmware, Motion, Moved, NodeId, Occupancy, Outcome,
};
use hangtag_protocol::link::sender::{Identity, Told};
use hangtag_protocol::read::Read;
use hangtag_protocol::region::Region;
use proptest::prelude::*;

const NODE: NodeId = NodeId(5);
const BOOT: u32 = 77;

fn settings() -> Settings {
    let radio = Radio { region: Region::Eu, power_cdbm: 2_600, antennas: alloc::vec![1, 3] };
    let thresholds = Thresholds { motion_mg: 90, ..Thresholds::default() };
    Settings { radio, thresholds, occupied: Some(Level::Low) }
}

fn condensed(at: u64) -> Condensed {
    Condensed::single(&Read {
        at: Uptime(at),
        epc: Epc::new(&[9; 12]).unwrap(),
        antenna: 1,
        rssi_cdbm: -5_000,
        phase_ddeg: None,
        channel_khz: None,
    })
}

/// A node whose clock is 100 s behind, and a line to it without delay.
struct Bench {
    node: Sender<2_000, 2_000>,
    link: Link,
    taken: Marks,
    durable: Marks,
    frames: Vec<Taken>,
    configured: Vec<Configure>,
    health_asked: u32,
}

const BEHIND: u64 = 100_000;

impl Bench {
    fn new(now: Uptime) -> Self {
        let firmware = Firmware { major: 1, minor: 0, patch: 0 };
        let identity = Identity { node: NODE, firmware, reason: BootReason::Power, boot: BOOT };
        Self {
            node: Sender::new(identity, now - BEHIND),
            link: Link::new(Some(&settings()), now),
            taken: Marks::default(),
            durable: Marks::default(),
            frames: Vec::new(),
            configured: Vec::new(),
            health_asked: 0,
        }
    }

    fn exchange(&mut self, now: Uptime) {
        for _ in 0..4 {
            while let Some(bytes) = self.node.poll_transmit(now - BEHIND) {
                self.link.handle_bytes(&bytes, &self.taken, &self.durable, now);
            }
            while let Some(taken) = self.link.poll_taken() {
                self.taken.take(&taken);
                self.frames.push(taken);
            }
            self.link.handle_timeout(now);
            while let Some(bytes) = self.link.poll_write() {
                self.hear(&bytes, now - BEHIND);
            }
        }
    }

    /// The node hears something, by its own clock.
    fn hear(&mut self, bytes: &[u8], now: Uptime) {
        let Self { node, configured, health_asked, .. } = self;
        Deframer::new().handle_bytes(bytes, |frame| {
            let frame = frame.unwrap();
            match Kind::of(frame.kind) {
                Some(Kind::Ack) => node.handle_ack(frame.boot, frame.message::<Ack>().unwrap(), now),
                Some(Kind::Query) => match frame.message().unwrap() {
                    Query::Hello => node.handle_query_hello(now),
                    Query::Clock { asked } => node.handle_query_clock(asked),
                    Query::Health => *health_asked += 1,
                },
                Some(Kind::Configure) => configured.push(frame.message().unwrap()),
                other => panic!("{other:?}"),
            }
        });
    }

    fn tell(&mut self, at: u64) {
        self.node.handle_told(&Told::Read(condensed(at - BEHIND)), Uptime(at - BEHIND));
    }

    fn run(&mut self, from: u64, to: u64) {
        (from..to).step_by(10).for_each(|now| self.exchange(Uptime(now)));
    }

    fn notices(&mut self) -> Vec<Notice> {
        core::iter::from_fn(|| self.link.poll_notice()).collect()
    }
}

#[test]
fn reads_come_by_the_gateways_clock_and_are_forgotten_when_they_are_durable() {
    let mut bench = Bench::new(Uptime(200_000));
    bench.run(200_000, 200_500);
    assert!(matches!(bench.notices()[..], [Notice::Module(_), Notice::Listening]));
    bench.tell(200_600);
    bench.run(200_610, 201_000);
    let taken = bench.frames.pop().unwrap();
    assert_eq!((taken.reads.len(), taken.reads[0].at), (1, Uptime(200_600)));
    assert_eq!(taken.mark, Mark { node: NODE, boot: BOOT, below: 2, reads: 1, dropped: 0 });
    bench.run(201_000, 220_000);
    assert!(!bench.node.is_idle(), "kept as long as nothing is durable");
    assert!(bench.frames.is_empty());
    bench.durable = bench.taken.clone();
    bench.link.handle_durable(&bench.durable, Uptime(220_000));
    bench.run(220_000, 220_100);
    assert!(bench.node.is_idle());
}

#[test]
fn what_was_taken_is_not_taken_again_by_another_opening_of_the_line() {
    let mut bench = Bench::new(Uptime(200_000));
    bench.tell(200_000);
    bench.run(200_000, 200_500);
    assert_eq!(bench.frames.len(), 1);
    // Not durable: the same process goes on.
    bench.link = Link::new(Some(&settings()), Uptime(200_500));
    bench.run(200_500, 203_000);
    assert_eq!(bench.frames.len(), 1);
    // Another process, which knows what is durable: nothing.
    bench.link = Link::new(Some(&settings()), Uptime(203_000));
    bench.taken = Marks::default();
    bench.run(203_000, 204_000);
    assert_eq!(bench.frames.len(), 2);
    assert_eq!(bench.frames[1].mark, bench.frames[0].mark);
}

#[test]
fn a_read_that_comes_late_is_counted_and_no_evidence() {
    let mut bench = Bench::new(Uptime(200_000));
    bench.tell(200_000);
    bench.tell(206_000);
    bench.run(206_500, 207_000);
    let taken = bench.frames.pop().unwrap();
    assert_eq!((taken.mark.reads, taken.reads.len()), (2, 1));
    assert_eq!(taken.reads[0].at, Uptime(206_000));
}

#[test]
fn what_is_said_of_a_booth_comes_by_the_gateways_clock_however_late() {
    let mut bench = Bench::new(Uptime(200_000));
    for (at, state) in [(200_000, BoothState::Occupied), (206_000, BoothState::Free)] {
        let told = Told::Occupancy(Occupancy { at: Uptime(at - BEHIND), state });
        bench.node.handle_told(&told, Uptime(at - BEHIND));
    }
    bench.run(206_500, 207_000);
    let told: Vec<_> = bench.frames.iter().flat_map(|taken| taken.occupancy.clone()).collect();
    assert_eq!(told, [(Uptime(200_000), BoothState::Occupied), (Uptime(206_000), BoothState::Free)]);
    assert_eq!(bench.link.unknown(), 0);
}

#[test]
fn a_sensor_that_begins_to_move_is_told_unless_it_is_long_ago() {
    let mut bench = Bench::new(Uptime(200_000));
    let moved = [(200_000, Moved::PickedUp), (205_000, Moved::PickedUp), (206_000, Moved::PutDown)];
    for (at, how) in moved {
        let motion = Motion { at: Uptime(at - BEHIND), sensor: 3, how, peak_mg: 400 };
        bench.node.handle_told(&Told::Motion(motion), Uptime(at - BEHIND));
    }
    bench.run(206_500, 207_000);
    let told: Vec<_> = bench.frames.iter().flat_map(|taken| taken.motions.clone()).collect();
    assert_eq!(told, [(Uptime(205_000), 3)]);
    assert_eq!(bench.link.unknown(), 0);
}

/// A node of which nobody heard for half an hour, over a line that takes its time, by clocks that drift apart.
#[test]
fn what_waited_through_an_outage_is_dated_right() {
    // The node's clock is slow by 40 ppm.
    let theirs = |ours: u64| Uptime((ours - BEHIND) - (ours - BEHIND) / 25_000);
    let (there, back) = (25, 15);
    let mut bench = Bench::new(Uptime(3_000_000));
    let mut told = Vec::new();
    for (n, at) in (1_200_000..3_000_000).step_by(300_000).enumerate() {
        let state = if n % 2 == 0 { BoothState::Occupied } else { BoothState::Free };
        bench.node.handle_told(&Told::Occupancy(Occupancy { at: theirs(at), state }), theirs(at));
        told.push((at, state));
    }
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for now in 3_000_000..3_005_000 {
        let ready = |(at, _): &(u64, Vec<u8>)| *at <= now;
        for (_, bytes) in up.extract_if(.., |one| ready(one)) {
            bench.link.handle_bytes(&bytes, &bench.taken, &bench.durable, Uptime(now));
            while let Some(taken) = bench.link.poll_taken() {
                bench.taken.put(taken.mark);
                bench.frames.push(taken);
            }
        }
        bench.link.handle_timeout(Uptime(now));
        while let Some(bytes) = bench.link.poll_write() {
            down.push((now + there, bytes));
        }
        for (_, bytes) in down.extract_if(.., |one| ready(one)) {
            bench.hear(&bytes, theirs(now));
        }
        while let Some(wire) = bench.node.poll_transmit(theirs(now)) {
            up.push((now + back, wire.to_vec()));
        }
    }
    let dated: Vec<_> = bench.frames.iter().flat_map(|taken| taken.occupancy.clone()).collect();
    assert_eq!(dated.len(), told.len());
    for ((at, state), (dated, said)) in told.into_iter().zip(dated) {
        let (off, waited) = (dated.0.abs_diff(at), 3_000_000 - at);
        assert!(said == state && off <= 22 + waited / 10_000, "{off} ms after {waited}");
    }
    assert!(bench.link.node().unwrap().clock_off_ms.unwrap() <= 25);
}

#[test]
fn what_a_node_kept_while_its_clock_jumped_is_counted_and_is_at_no_time() {
    let mut bench = Bench::new(Uptime(200_000));
    bench.run(200_000, 205_000);
    bench.notices();
    // Kept on the node until the jump is known.
    let kept = Told::Read(condensed(205_000 - BEHIND));
    let booth = Told::Occupancy(Occupancy { at: Uptime(204_000 - BEHIND), state: BoothState::Free });
    let hour = 3_600_000;
    let clock = message::Clock { asked: Uptime(205_000), uptime: Uptime(205_000 - BEHIND + hour) };
    let answer = Frame::of(Kind::Clock, BOOT, 0, &clock);
    bench.link.handle_bytes(&answer, &bench.taken, &bench.durable, Uptime(205_005));
    assert!(matches!(&bench.notices()[..], [Notice::Happened(why)] if why.contains("jumped forward by 3")));
    for told in [kept, booth, Told::Read(condensed(205_010 - BEHIND + hour))] {
        bench.node.handle_told(&told, Uptime(205_010 - BEHIND));
    }
    // A stamp that nothing can have; it costs only itself.
    bench.node.handle_told(&Told::Read(condensed(u64::MAX)), Uptime(205_010 - BEHIND));
    bench.run(205_020, 205_060);
    let reads: Vec<u64> = bench.frames.iter().flat_map(|taken| &taken.reads).map(|read| read.at.0).collect();
    assert_eq!(bench.frames.last().unwrap().mark.reads, 3);
    assert!(matches!(reads[..], [at] if at.abs_diff(205_010) <= 5), "{reads:?}");
    let booth: Vec<_> = bench.frames.iter().flat_map(|taken| taken.occupancy.clone()).collect();
    assert!(matches!(booth[..], [(at, BoothState::Free)] if at >= Uptime(205_020)), "{booth:?}");
}

#[test]
fn what_is_known_of_a_node_is_what_it_said_last() {
    let mut bench = Bench::new(Uptime(200_000));
    assert_eq!(bench.link.node(), None);
    bench.run(200_000, 203_100);
    assert_eq!(bench.health_asked, 1, "once, so that it is known soon");
    let told = bench.configured[0].id;
    bench.node.handle_told(&Told::Configured(Configured { id: told, outcome: Outcome::NotKept }), Uptime(0));
    let health = Health { uptime: Uptime(103_000), reads: 5, reader_listens: true, ..Health::default() };
    let bytes = Frame::of(Kind::Health, BOOT, 0, &health);
    bench.link.handle_bytes(&bytes, &bench.taken, &bench.durable, Uptime(203_200));
    bench.run(203_200, 203_300);
    let node = bench.link.node().unwrap();
    assert_eq!((node.node, node.reason, node.health), (NODE, BootReason::Power, Some(health)));
    assert_eq!(node.configured, Some(Outcome::NotKept));
    assert!(node.clock_off_ms.unwrap() <= 3, "{node:?}");
    bench.link.handle_timeout(Uptime(203_300 + SILENCE_MS));
    let gone = NodeHealth { health: None, ..node };
    assert_eq!(bench.link.node(), Some(gone), "how it is nobody knows any more");
}

#[test]
fn a_node_whose_room_is_half_full_makes_it_hurry() {
    let mut bench = Bench::new(Uptime(200_000));
    for at in 200_000..200_040 {
        bench.tell(at);
    }
    bench.run(200_040, 200_500);
    let hurried = bench.frames.iter().filter(|taken| taken.hurry).count();
    assert_eq!((hurried, bench.frames.last().unwrap().mark.reads), (1, 40));
}

#[test]
fn a_configuration_is_sent_until_it_is_answered_and_a_refusal_is_told() {
    let mut bench = Bench::new(Uptime(200_000));
    bench.run(200_000, 207_000);
    assert_eq!(bench.configured.len(), 3);
    let asked = bench.configured[0];
    assert_eq!((asked.power_cdbm, asked.antennas, asked.region), (2_600, 0b101, Region::Eu));
    assert_eq!(asked.occupied, Some(Level::Low));
    assert_eq!((asked.window_ms, asked.motion_mg, asked.settle_ms), (200, 90, 400));
    let other = Thresholds { settle_ms: 401, ..settings().thresholds };
    let other = Settings { thresholds: other, ..settings() }.command();
    assert_ne!(other.id, asked.id, "the answer to one is none to another");
    bench.notices();
    let answer = |id| Told::Configured(Configured { id, outcome: Outcome::Power });
    bench.node.handle_told(&answer(asked.id ^ 1), Uptime(107_000));
    bench.node.handle_told(&answer(asked.id), Uptime(107_000));
    bench.run(207_000, 220_000);
    assert_eq!(bench.configured.len(), 3);
    assert!(matches!(&bench.notices()[0], Notice::Fault(why) if why.contains("\"power_dbm\" was refused")));
}

#[test]
fn a_node_that_falls_silent_is_told() {
    let mut bench = Bench::new(Uptime(200_000));
    bench.run(200_000, 200_100);
    bench.notices();
    bench.link.handle_timeout(Uptime(200_000 + SILENCE_MS - 1));
    assert_eq!(bench.notices(), []);
    bench.link.handle_timeout(Uptime(200_100 + SILENCE_MS));
    assert!(matches!(bench.notices()[..], [Notice::Silent { .. }]));
    let deaf = Health { uptime: Uptime(112_500), ..Health::default() };
    for (listens, told) in [(true, 1), (false, 1), (false, 0), (true, 1)] {
        let health = Health { reader_listens: listens, ..deaf };
        let bytes = Frame::of(Kind::Health, BOOT, 0, &health);
        bench.link.handle_bytes(&bytes, &bench.taken, &bench.durable, Uptime(212_600));
        assert_eq!(bench.notices().len(), told, "{listens}");
    }
}

#[test]
fn a_node_that_was_silent_is_asked_how_its_booth_is_unless_it_refused() {
    for (outcome, times) in [(Outcome::Taken, 1), (Outcome::Power, 0), (Outcome::NotKept, 0)] {
        let mut bench = Bench::new(Uptime(200_000));
        bench.run(200_000, 200_100);
        let id = bench.configured[0].id;
        bench.node.handle_told(&Told::Configured(Configured { id, outcome }), Uptime(100_100));
        bench.run(200_100, 201_000);
        bench.configured.clear();
        for reader_listens in [false, true] {
            let bytes = Frame::of(Kind::Health, BOOT, 0, &Health { reader_listens, ..Health::default() });
            bench.link.handle_bytes(&bytes, &bench.taken, &bench.durable, Uptime(201_000));
            bench.exchange(Uptime(201_000));
        }
        assert_eq!(bench.configured.len(), times, "{outcome:?}");
    }
}

#[test]
fn condensed_reads_change_as_little_as_they_can() {
    let condensed = Condensed {
        count: 5,
        span_ms: 400,
        weakest_cdbm: -6_000,
        strongest_cdbm: -5_400,
        last_cdbm: -5_500,
        phase_ddeg: Some(10),
        ..condensed(0)
    };
    let mut reads = Vec::new();
    expand(&condensed, Uptime(1_000), &mut reads);
    let levels: Vec<_> = reads.iter().map(|read| (read.at.0, read.rssi_cdbm)).collect();
    assert_eq!(levels, [(600, -6_000), (700, -5_800), (800, -5_600), (900, -5_400), (1_000, -5_500)]);
    assert_eq!(reads.iter().filter(|read| read.phase_ddeg.is_some()).count(), 1);
    reads.clear();
    expand(&Condensed { count: 2, last_cdbm: -6_000, ..condensed }, Uptime(1_000), &mut reads);
    let levels: Vec<_> = reads.iter().map(|read| (read.at.0, read.rssi_cdbm)).collect();
    assert_eq!(levels, [(600, -5_400), (1_000, -6_000)]);
}

proptest! {
    /// Good frames that say anything at all, from a node that is broken or means harm, are survived.
    #[test]
    fn any_frames_are_survived(
        frames in prop::collection::vec(
            (0u8..11, 0u32..2, prop_oneof![0u32..6, Just(u32::MAX)], prop::collection::vec(any::<u8>(), 0..240)),
            0..40,
        ),
        hello in (prop_oneof![0u32..6, Just(u32::MAX)], prop_oneof![0u32..6, Just(u32::MAX)]),
        at in any::<u64>(),
    ) {
        let mut link = Link::new(Some(&settings()), Uptime(5));
        let (oldest, next) = hello;
        let hello = Hello {
            node: NODE,
            firmware: Firmware::default(),
            reason: BootReason::Unknown,
            uptime: Uptime(at),
            versions: (9, 1),
            oldest,
            next,
            room: 0,
        };
        let mut taken = Marks::default();
        for (kind, boot, number, payload) in frames {
            let wire = if kind == 10 {
                Frame::of(Kind::Hello, boot, number, &hello)
            } else {
                Frame { kind, boot, number, payload: &payload }.encode()
            };
            link.handle_bytes(&wire, &taken, &Marks::default(), Uptime(6));
            while let Some(frame) = link.poll_taken() {
                prop_assert!(frame.reads.len() <= 240 * usize::from(MOST_READS));
                taken.put(frame.mark);
            }
            link.handle_durable(&taken, Uptime(6));
            while link.poll_write().is_some() || link.poll_notice().is_some() {}
        }
    }
}

#[test]
fn what_a_run_lost_as_it_ended_is_counted_once_however_often_it_is_told() {
    let mut bench = Bench::new(Uptime(200_000));
    for at in 200_000..200_007 {
        bench.tell(at);
    }
    bench.run(200_000, 200_500);
    bench.durable = bench.taken.clone();
    let words = "panicked at \x1b[31m src/main.rs:7";
    let ended = Ended {
        boot: BOOT,
        reason: BootReason::Panic,
        reads: 10,
        uptime: Uptime(65_000),
        forgotten: 0,
        words,
    };
    let firmware = Firmware { major: 1, minor: 0, patch: 0 };
    // The second does not know that the first has told it.
    for boot in [BOOT + 1, BOOT + 2] {
        bench.notices();
        let identity = Identity { node: NODE, firmware, reason: BootReason::Panic, boot };
        bench.node = Sender::new(identity, Uptime(0));
        assert!(bench.node.handle_ended(&ended));
        bench.tell(200_600);
        let from = if boot == BOOT + 1 { 200_600 } else { 210_000 };
        bench.run(from, from + 500);
        let first = bench.frames.iter().find(|taken| taken.mark.boot == boot).unwrap();
        assert!(first.hurry && first.before.is_some());
        let mark = bench.taken.of(NODE, BOOT).unwrap();
        assert_eq!((mark.below, mark.reads, mark.dropped), (2, 7, 3), "{boot}");
        let own = bench.taken.of(NODE, boot).unwrap();
        assert_eq!((own.reads, own.dropped), (1, 0));
        let said = format!("{:?}", bench.notices());
        let lost = if boot == BOOT + 1 { 3 } else { 0 };
        assert!(said.contains(&format!("of 10 reads {lost} were lost")), "{said}");
        assert!(said.contains("ended after 65 s by Panic") && said.contains("src/main.rs:7"), "{said}");
        assert!(!said.contains('\x1b'), "a log is no terminal");
    }
    assert_eq!((bench.link.unknown(), bench.link.lost()), (0, 3));
}

#[test]
fn of_a_run_that_nobody_here_knows_everything_is_lost_and_of_its_own_nothing_is_told() {
    let mut bench = Bench::new(Uptime(200_000));
    let ended = |boot, reads| Ended {
        boot,
        reason: BootReason::Pin,
        reads,
        uptime: Uptime(1),
        forgotten: 2,
        words: "",
    };
    for ended in [ended(3, 4), ended(BOOT, 5)] {
        assert!(bench.node.handle_ended(&ended));
    }
    bench.run(200_000, 200_500);
    assert_eq!(bench.taken.of(NODE, 3).map(|mark| (mark.reads, mark.dropped)), Some((0, 4)));
    let said = format!("{:?}", bench.notices());
    assert!(said.contains("2 boots before it are forgotten"), "{said}");
    assert_eq!((bench.link.unknown(), bench.link.lost()), (1, 4));
}
