//! What sensors beside the readers add: pick-ups that readers do not see, rails that are shaken, booths that are
//! free.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use hangtag_agent_core::infer::{Inference, Layout, SensorOn, Zone, ZoneKind};
use hangtag_agent_core::intake::{Mac, Motion};
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Event, Kind, ReaderState};
use hangtag_protocol::id::{ReaderId, Seq, ZoneId};
use hangtag_protocol::link::message::BoothState;
use hangtag_protocol::read::Read;

const RAIL: u8 = 1;
const BOOTH: u8 = 2;
/// The number of the reader that hears sensor tags.
const RECEIVER: usize = 1;
const GARMENT: Mac = Mac([1; 6]);
const FIXTURE: Mac = Mac([2; 6]);

fn epc(garment: u8) -> Epc {
    Epc::new(&[0x30, garment]).unwrap()
}

struct Bench {
    inference: Inference,
    now: u64,
    events: Vec<Event>,
    random: u64,
    /// When each sensor was heard last, and how it lay.
    heard: [u64; 3],
    mg: [i16; 3],
}

impl Bench {
    /// A shop that has been open for half a minute, with nine garments on its rail.
    fn new() -> Self {
        let (rail, booth) = (ZoneId::new("rail").unwrap(), ZoneId::new("booth").unwrap());
        let zones = [(rail, ZoneKind::Rail), (booth, ZoneKind::Booth)];
        let mut layout = Layout::new(zones.map(|(id, kind)| Zone { id, kind }).to_vec());
        let reader = ReaderId::new("node").unwrap();
        let number = layout.add_reader(reader, &[(RAIL, rail), (BOOTH, booth)]).unwrap();
        layout.add_occupancy(number, booth).unwrap();
        assert_eq!(layout.add_reader(ReaderId::new("receiver").unwrap(), &[]), Ok(RECEIVER));
        layout.add_sensor(GARMENT, SensorOn::Garment(epc(1))).unwrap();
        layout.add_node_sensor(number, 4, SensorOn::Garment(epc(2))).unwrap();
        layout.add_sensor(FIXTURE, SensorOn::Fixture(rail)).unwrap();
        let inference = Inference::new(layout, BootId(1), Seq(1), Uptime(0));
        let (heard, mg) = ([0; 3], [0, 0, 1_000]);
        let mut bench = Self { inference, now: 0, events: Vec::new(), random: 7, heard, mg };
        for reader in [0, RECEIVER] {
            bench.inference.handle_reader(reader, ReaderState::Listening, Uptime(0));
        }
        bench.rest(30_000);
        bench
    }

    /// Lets time pass; every quarter of a second each of the reads is made.
    fn pass(&mut self, ms: u64, mut reads: impl FnMut(&mut Self)) {
        let end = self.now + ms;
        while self.now < end {
            self.inference.handle_timeout(Uptime(self.now));
            reads(self);
            let events = std::iter::from_fn(|| self.inference.poll_event()).map(|(_, event)| event);
            self.events.extend(events.filter(|event| event.kind() != Kind::Coverage));
            self.now += 250;
        }
    }

    /// All hang on the rail and are read.
    fn rest(&mut self, ms: u64) {
        self.pass(ms, |b| (1..=9).for_each(|garment| b.hangs(garment)));
    }

    fn hangs(&mut self, garment: u8) {
        let dbm = -60 - i16::try_from(self.roll(2)).unwrap();
        self.read(garment, RAIL, dbm, None);
    }

    fn worn(&mut self, garment: u8) {
        let phase = u16::try_from(self.roll(1_800)).unwrap();
        self.read(garment, BOOTH, -50, Some(phase));
    }

    fn read(&mut self, garment: u8, antenna: u8, dbm: i16, phase_ddeg: Option<u16>) {
        let (at, channel_khz) = (Uptime(self.now), phase_ddeg.map(|_| 866_300));
        let epc = epc(garment);
        self.inference
            .handle_read(0, &Read { at, epc, antenna, rssi_cdbm: dbm * 100, phase_ddeg, channel_khz });
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn sensor(&mut self, sensor: Mac, moves: u8, turned: bool) {
        if turned {
            self.mg.rotate_right(1);
        }
        let number = usize::from(sensor.0[0]);
        let since = std::mem::replace(&mut self.heard[number], self.now);
        let motion = Motion {
            at: Uptime(self.now),
            since: Uptime(since),
            sensor,
            rssi_cdbm: -7_000,
            moves,
            acceleration_mg: Some(self.mg),
            battery_mv: None,
        };
        self.inference.handle_motion(RECEIVER, &motion);
    }

    fn booth(&mut self, state: BoothState) {
        self.inference.handle_occupancy(0, state, Uptime(self.now));
    }

    fn told(&self) -> Vec<(Kind, u8)> {
        self.events.iter().map(|event| (event.kind(), event.confidence)).collect()
    }

    fn kinds(&self) -> Vec<Kind> {
        let of_garment = |event: &&Event| event.garment().is_some_and(|garment| garment.0 == epc(1));
        self.events.iter().filter(of_garment).map(Event::kind).collect()
    }
}

#[test]
fn a_sensor_that_moved_is_a_pick_up_that_the_reader_did_not_see() {
    for (turned, confidence) in [(true, 97), (false, 60)] {
        let mut bench = Bench::new();
        bench.sensor(GARMENT, 0, false);
        bench.rest(5_000);
        let moved = bench.now;
        bench.sensor(GARMENT, 2, turned);
        bench.rest(250);
        assert_eq!(bench.told(), [(Kind::PickedUp, confidence)], "turned: {turned}");
        assert_eq!(bench.events[0].at, Uptime(moved));
        bench.rest(10_000);
        assert_eq!(bench.kinds(), [Kind::PickedUp, Kind::PutDown], "it hangs there again");
    }
}

#[test]
fn a_sensor_of_a_node_that_began_to_move_is_a_pick_up_too() {
    let mut bench = Bench::new();
    let moved = bench.now;
    bench.inference.handle_node_motion(0, 5, Uptime(moved));
    bench.inference.handle_node_motion(0, 4, Uptime(moved));
    bench.rest(250);
    assert_eq!(bench.told(), [(Kind::PickedUp, 97)]);
    assert_eq!((bench.events[0].at, bench.events[0].garment().unwrap().0), (Uptime(moved), epc(2)));
}

#[test]
fn lost_advertisements_lose_no_pick_up_and_double_none() {
    let mut bench = Bench::new();
    bench.sensor(GARMENT, 0, false);
    bench.rest(55_000);
    bench.sensor(GARMENT, 1, true);
    bench.rest(20_000);
    assert_eq!(bench.kinds(), [Kind::PickedUp, Kind::PutDown], "nobody heard the sensor for a minute");
    bench.sensor(GARMENT, 0, false);
    // In a hand, as the reader sees: its levels go up and down.
    bench.pass(6_000, |b| {
        let dbm = -52 - i16::try_from(b.roll(16)).unwrap();
        b.read(1, RAIL, dbm, None);
        (2..=9).for_each(|garment| b.hangs(garment));
    });
    bench.rest(60_000);
    let seen = [Kind::PickedUp, Kind::PutDown, Kind::PickedUp, Kind::PutDown];
    assert_eq!(bench.kinds(), seen);
    bench.sensor(GARMENT, 3, true);
    bench.rest(20_000);
    assert_eq!(bench.kinds(), seen, "that was what the reader saw");
}

#[test]
fn what_moved_nobody_knows_when_is_no_pick_up() {
    for state in [ReaderState::Off, ReaderState::Absent, ReaderState::Silent] {
        let mut bench = Bench::new();
        bench.sensor(GARMENT, 0, false);
        bench.rest(5_000);
        bench.inference.handle_reader(RECEIVER, state, Uptime(bench.now));
        bench.rest(10_000);
        bench.inference.handle_reader(RECEIVER, ReaderState::Listening, Uptime(bench.now));
        bench.rest(1_000);
        bench.sensor(GARMENT, 1, true);
        bench.rest(20_000);
        assert_eq!(bench.told(), [], "{state:?} until a second before");
        bench.sensor(GARMENT, 1, true);
        bench.rest(250);
        assert_eq!(bench.told(), [(Kind::PickedUp, 97)], "heard twice since {state:?}");
    }
    let mut bench = Bench::new();
    bench.sensor(GARMENT, 0, false);
    bench.rest(61_000);
    bench.sensor(GARMENT, 1, true);
    bench.rest(20_000);
    assert_eq!(bench.kinds(), [], "heard too seldom");
}

#[test]
fn a_garment_that_no_reader_hears_is_said_to_have_moved_by_its_sensor_alone() {
    for (turned, confidence) in [(true, 97), (false, 60)] {
        let mut bench = Bench::new();
        bench.sensor(GARMENT, 0, false);
        // Others hide it: for long enough to know nothing, not for long enough to have left.
        bench.pass(6_000, |b| (2..=9).for_each(|garment| b.hangs(garment)));
        bench.sensor(GARMENT, 1, turned);
        bench.pass(250, |_| ());
        assert_eq!(bench.told(), [(Kind::PickedUp, confidence)], "turned: {turned}");
    }
}

#[test]
fn a_garment_that_swings_after_it_was_put_down_is_not_picked_up_again() {
    let mut bench = Bench::new();
    bench.sensor(GARMENT, 0, false);
    bench.rest(5_000);
    bench.sensor(GARMENT, 1, true);
    for _ in 0..8 {
        bench.rest(1_000);
        bench.sensor(GARMENT, u8::from(bench.events.len() == 2), true);
    }
    bench.rest(20_000);
    assert_eq!(bench.kinds(), [Kind::PickedUp, Kind::PutDown]);
}

#[test]
fn a_garment_whose_sensor_moves_is_not_put_down() {
    let mut bench = Bench::new();
    bench.sensor(GARMENT, 0, false);
    bench.rest(5_000);
    for _ in 0..12 {
        bench.sensor(GARMENT, 1, true);
        bench.rest(1_000);
    }
    assert_eq!(bench.kinds(), [Kind::PickedUp], "somebody holds it still before the reader");
}

#[test]
fn sensors_that_nobody_named_and_those_that_did_not_move_say_nothing() {
    let mut bench = Bench::new();
    bench.sensor(GARMENT, 0, true);
    bench.rest(20_000);
    bench.sensor(GARMENT, 0, true);
    bench.rest(2_000);
    bench.heard[0] = bench.now;
    bench.sensor(Mac([0; 6]), 200, true);
    bench.rest(20_000);
    assert_eq!(bench.kinds(), []);
}

#[test]
fn a_rail_that_is_shaken_moves_no_garment() {
    let shaken = |says: bool| {
        let mut bench = Bench::new();
        bench.sensor(FIXTURE, 0, false);
        bench.rest(20_000);
        bench.sensor(FIXTURE, u8::from(says), true);
        // Two of nine change: too few for somebody who walks past.
        bench.pass(4_500, |b| {
            for garment in 1..=2 {
                // Every other read differs by 8 dB from the one before.
                let dbm = if b.now / 500 % 2 == 0 { -56 } else { -64 };
                b.read(garment, RAIL, dbm, None);
            }
            (3..=9).for_each(|garment| b.hangs(garment));
        });
        bench.rest(10_000);
        bench.kinds().len()
    };
    assert_eq!(shaken(true), 0);
    assert!(shaken(false) > 0, "without its sensor they would be picked up");
}

/// A garment is worn in the booth, or seems to be, and is heard no more.
fn fitting(state: impl Fn(u64) -> Option<BoothState>) -> Bench {
    let mut bench = Bench::new();
    let begin = bench.now;
    let tell = |b: &mut Bench| {
        if let Some(state) = state((b.now - begin) / 1_000) {
            b.booth(state);
        }
    };
    bench.pass(4_000, |b| {
        tell(b);
        b.read(1, BOOTH, -48, Some(900));
    });
    bench.pass(40_000, |b| {
        tell(b);
        b.worn(1);
    });
    bench.pass(40_000, |b| tell(b));
    bench
}

#[test]
fn in_a_free_booth_nothing_is_tried_on_and_what_left_has_left_sooner() {
    const OUT: [Kind; 4] = [Kind::PickedUp, Kind::CarriedIn, Kind::TriedOn, Kind::CarriedOut];
    assert_eq!(fitting(|_| None).kinds(), OUT, "without a sensor");
    assert_eq!(fitting(|_| Some(BoothState::Occupied)).kinds(), OUT);
    assert_eq!(fitting(|_| Some(BoothState::Stuck)).kinds(), OUT, "it says nothing");
    assert_eq!(fitting(|s| Some(if s < 2 { BoothState::Free } else { BoothState::Failed })).kinds(), OUT);
    let free = fitting(|_| Some(BoothState::Free));
    assert_eq!(free.kinds(), [Kind::PickedUp, Kind::CarriedIn, Kind::CarriedOut], "nobody is there");

    // How long after it was last heard it is known to have left. A pause in which the gateway stood still loses no
    // word of a sensor; one in which nobody spoke does.
    let known_after = |leaves: bool, pause: Option<ReaderState>| {
        let mut bench = Bench::new();
        bench.pass(4_000, |b| b.read(1, BOOTH, -48, Some(900)));
        bench.booth(BoothState::Occupied);
        bench.pass(10_000, |b| b.read(1, BOOTH, -48, Some(900)));
        if leaves {
            bench.booth(BoothState::Free);
        }
        bench.pass(4_000, |b| b.read(1, BOOTH, -48, Some(900)));
        let begin = Uptime(bench.now);
        bench.now += 9_000;
        match pause {
            Some(state) => {
                bench.inference.handle_reader(0, state, begin);
                bench.inference.handle_reader(0, ReaderState::Listening, Uptime(bench.now));
            }
            None => bench.inference.handle_stall(begin, Uptime(bench.now)),
        }
        let last = bench.now;
        while !bench.kinds().contains(&Kind::CarriedOut) {
            bench.pass(250, |_| ());
        }
        bench.now - last
    };
    let (with, without) = (known_after(true, None), known_after(false, None));
    assert!(with < 10_000 && without > 12_000, "{with} and {without} ms");
    assert!(known_after(true, Some(ReaderState::Silent)) > 12_000, "it may be another by then");
}

#[test]
fn what_left_while_nobody_was_there_was_not_worn() {
    let heard_again = |while_silent: BoothState, later: BoothState| {
        let mut bench = Bench::new();
        bench.booth(BoothState::Occupied);
        bench.pass(10_000, |b| b.read(1, BOOTH, -48, Some(900)));
        bench.booth(while_silent);
        bench.pass(15_000, |_| ());
        bench.booth(later);
        bench.pass(10_000, |_| ());
        bench.booth(BoothState::Occupied);
        bench.pass(5_000, |b| b.read(1, BOOTH, -48, Some(900)));
        bench.kinds()
    };
    let seen = [Kind::PickedUp, Kind::CarriedIn, Kind::CarriedOut];
    assert_eq!(
        heard_again(BoothState::Occupied, BoothState::Occupied),
        [&seen[..], &[Kind::TriedOn]].concat()
    );
    for (while_silent, later) in
        [(BoothState::Free, BoothState::Free), (BoothState::Occupied, BoothState::Free)]
    {
        let again = [&seen[..], &[Kind::CarriedIn]].concat();
        assert_eq!(heard_again(while_silent, later), again, "{while_silent:?}, {later:?}");
    }
}
