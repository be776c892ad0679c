//! Inference, driven through its public verbs with invented time: what must be concluded, and what must
//! not.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use hangtag_agent_core::infer::{Inference, Layout, Zone, ZoneKind};
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::{Event, Kind, ReaderState, What};
use hangtag_protocol::id::{ReaderId, Seq, ZoneId};
use hangtag_protocol::read::Read;
use hangtag_protocol::scan::Code;

const RAIL: usize = 0;
const BOOTHS: usize = 1;

fn layout() -> Layout {
    let zone = |id, kind| Zone { id: ZoneId::new(id).unwrap(), kind };
    let mut layout = Layout::new(vec![
        zone("rail", ZoneKind::Rail),
        zone("booth-1", ZoneKind::Booth),
        zone("booth-2", ZoneKind::Booth),
    ]);
    let zone = |id| ZoneId::new(id).unwrap();
    layout.add_reader(ReaderId::new("rail").unwrap(), &[(1, zone("rail"))]).unwrap();
    layout
        .add_reader(
            ReaderId::new("booths").unwrap(),
            &[(1, zone("booth-1")), (2, zone("booth-2")), (3, zone("booth-1"))],
        )
        .unwrap();
    layout
}

/// A shop whose readers listen, and a garment's tag per number.
struct Bench {
    inference: Inference,
    now: u64,
    events: Vec<(Seq, Event)>,
    random: u64,
}

impl Bench {
    fn new() -> Self {
        Self::of(layout())
    }

    fn of(layout: Layout) -> Self {
        let inference = Inference::new(layout, BootId(1), Seq(1), Uptime(0));
        let mut bench = Self { inference, now: 0, events: Vec::new(), random: 7 };
        bench.listen(ReaderState::Listening);
        bench
    }

    fn listen(&mut self, state: ReaderState) {
        for reader in [RAIL, BOOTHS] {
            self.inference.handle_reader(reader, state, Uptime(self.now));
        }
    }

    /// Lets time pass; every quarter of a second each of the reads is made.
    fn pass(&mut self, ms: u64, mut reads: impl FnMut(&mut Self)) {
        let end = self.now + ms;
        while self.now < end {
            self.inference.handle_timeout(Uptime(self.now));
            reads(self);
            self.events.extend(std::iter::from_fn(|| self.inference.poll_event()));
            self.now += 250;
        }
    }

    fn read(&mut self, garment: u8, reader: usize, antenna: u8, dbm: i16, phase_ddeg: Option<u16>) {
        let read = Read {
            at: Uptime(self.now),
            epc: Epc::new(&[0x30, garment]).unwrap(),
            antenna,
            rssi_cdbm: dbm * 100,
            phase_ddeg,
            channel_khz: phase_ddeg.map(|_| 866_300),
        };
        self.inference.handle_read(reader, &read);
    }

    /// 0 to `below - 1`, the same in every run.
    fn roll(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// On the rail: steady, a dB up and down.
    fn rests(&mut self, garment: u8) {
        let dbm = -60 - i16::try_from(self.roll(2)).unwrap();
        self.read(garment, RAIL, 1, dbm, None);
    }

    /// In a hand before the rail: up and down with every read.
    fn in_hand(&mut self, garment: u8) {
        let dbm = -52 - i16::try_from(self.roll(16)).unwrap();
        self.read(garment, RAIL, 1, dbm, None);
    }

    /// On a hook in a booth: level and phase steady.
    fn on_hook(&mut self, garment: u8, booth: u8) {
        let phase = 900 + u16::try_from(self.roll(60)).unwrap();
        self.read(garment, BOOTHS, booth, -48, Some(phase));
    }

    /// Worn in a booth: the phase wanders, some reads are missing.
    fn worn(&mut self, garment: u8, booth: u8) {
        if self.roll(3) > 0 {
            let phase = u16::try_from(self.roll(1_800)).unwrap();
            self.read(garment, BOOTHS, booth, -55, Some(phase));
        }
    }

    fn kinds(&self, garment: u8) -> Vec<Kind> {
        let epc = Epc::new(&[0x30, garment]).unwrap();
        let of_garment = |event: &&(Seq, Event)| event.1.garment().is_some_and(|g| g.0 == epc);
        self.events.iter().filter(of_garment).map(|(_, event)| event.kind()).collect()
    }

    fn visit(&self, garment: u8, kind: Kind) -> Seq {
        let epc = Epc::new(&[0x30, garment]).unwrap();
        let found = self.events.iter().find_map(|(_, event)| {
            let (of, _, visit, _) = event.garment()?;
            (of == epc && event.kind() == kind).then_some(visit?)
        });
        found.unwrap()
    }
}

#[test]
fn picked_up_and_put_back() {
    let mut bench = Bench::new();
    bench.pass(20_000, |b| (1..=9).for_each(|n| b.rests(n)));
    let picked = bench.now;
    bench.pass(6_000, |b| {
        b.in_hand(1);
        (2..=9).for_each(|n| b.rests(n));
    });
    let put = bench.now;
    bench.pass(12_000, |b| (1..=9).for_each(|n| b.rests(n)));
    assert_eq!(bench.kinds(1), [Kind::PickedUp, Kind::PutDown]);
    assert!((2..=9).all(|n| bench.kinds(n).is_empty()), "its neighbours did not move");
    let at = |kind| bench.events.iter().find(|(_, e)| e.kind() == kind).unwrap().1.at.0;
    assert!(at(Kind::PickedUp).abs_diff(picked) < 4_000, "{} {picked}", at(Kind::PickedUp));
    assert!(at(Kind::PutDown).abs_diff(put) < 4_000, "{} {put}", at(Kind::PutDown));
}

#[test]
fn what_is_first_seen_in_a_hand_is_put_down_and_what_hung_there_is_not() {
    let mut bench = Bench::new();
    bench.pass(8_000, |b| {
        b.in_hand(1);
        (2..=9).for_each(|n| b.rests(n));
    });
    let put = bench.now;
    bench.pass(12_000, |b| (1..=9).for_each(|n| b.rests(n)));
    assert_eq!(bench.kinds(1), [Kind::PutDown], "nobody saw where it was taken");
    assert!((2..=9).all(|n| bench.kinds(n).is_empty()), "{:?}", bench.events);
    let at = bench.events.iter().find(|(_, e)| e.kind() == Kind::PutDown).unwrap().1.at.0;
    assert!(at.abs_diff(put) < 4_000, "{at} {put}");
}

#[test]
fn carried_in_is_known_after_two_ticks() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(9));
    bench.pass(1_250, |b| {
        b.on_hook(1, 1);
        b.read(1, BOOTHS, 2, -56, Some(300));
    });
    assert_eq!(bench.kinds(1), [Kind::CarriedIn], "8 dB above the booth next door");
}

#[test]
fn tried_on_is_told_from_carried_in() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| (1..=2).for_each(|n| b.rests(n)));
    bench.pass(3_000, |b| (1..=2).for_each(|n| b.in_hand(n)));
    bench.pass(4_000, |_| ());
    bench.pass(8_000, |b| (1..=2).for_each(|n| b.on_hook(n, 1)));
    bench.pass(45_000, |b| {
        b.worn(1, 1);
        b.on_hook(2, 1);
    });
    bench.pass(30_000, |_| ());
    assert_eq!(bench.kinds(1), [Kind::PickedUp, Kind::CarriedIn, Kind::TriedOn, Kind::CarriedOut]);
    assert_eq!(bench.kinds(2), [Kind::PickedUp, Kind::CarriedIn, Kind::CarriedOut]);
    let visit = bench.visit(1, Kind::CarriedIn);
    assert_eq!(bench.visit(2, Kind::CarriedOut), visit, "one stay, one visit");
    let opened = bench.events.iter().find(|(seq, _)| *seq == visit).unwrap();
    assert_eq!(opened.1.kind(), Kind::CarriedIn, "a visit is named by the event that opened it");
}

#[test]
fn the_next_shopper_in_a_booth_is_another_visit() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(1));
    bench.pass(10_000, |b| b.on_hook(1, 1));
    bench.pass(12_000, |_| ());
    bench.pass(10_000, |b| b.on_hook(2, 1));
    assert_ne!(bench.visit(1, Kind::CarriedIn), bench.visit(2, Kind::CarriedIn));
}

#[test]
fn a_booth_next_door_hears_but_does_not_win() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(9));
    bench.pass(60_000, |b| {
        b.on_hook(1, 1);
        let stray = 900 + u16::try_from(b.roll(60)).unwrap();
        b.read(1, BOOTHS, 2, -60, Some(stray));
    });
    assert_eq!(bench.kinds(1), [Kind::CarriedIn]);
    assert_eq!(bench.events.iter().filter_map(|(_, e)| e.garment()).next().unwrap().1.as_str(), "booth-1");
}

#[test]
fn a_booth_that_always_hears_a_garment_on_the_rail_has_it_only_when_it_is_louder() {
    let mut bench = Bench::new();
    bench.pass(60_000, |b| {
        b.rests(1);
        let dbm = -66 - i16::try_from(b.roll(2)).unwrap();
        b.read(1, BOOTHS, 1, dbm, Some(900));
    });
    // Somebody stands before the rail: only the booth hears the garment.
    bench.pass(8_000, |b| b.read(1, BOOTHS, 1, -66, Some(900)));
    bench.pass(10_000, |b| b.rests(1));
    assert!(bench.kinds(1).is_empty(), "{:?}", bench.events);
    bench.pass(10_000, |b| b.on_hook(1, 1));
    assert_eq!(bench.kinds(1), [Kind::PickedUp, Kind::CarriedIn]);
}

#[test]
fn a_booth_with_two_antennas_is_one_booth() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(9));
    bench.pass(10_000, |b| b.on_hook(1, 1));
    bench.pass(60_000, |b| b.worn(1, 3));
    bench.pass(30_000, |_| ());
    assert_eq!(bench.kinds(1), [Kind::CarriedIn, Kind::TriedOn, Kind::CarriedOut]);
}

#[test]
fn a_dead_reader_at_the_rail_hides_no_try_on() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(1));
    bench.inference.handle_reader(RAIL, ReaderState::Absent, Uptime(bench.now));
    bench.pass(5_000, |_| ());
    bench.pass(60_000, |b| b.worn(1, 1));
    assert_eq!(bench.kinds(1), [Kind::PickedUp, Kind::CarriedIn, Kind::TriedOn]);
}

/// A garment in a booth that the rail's antenna hears too. The booths' reader falls silent for so long; from then on
/// the garment is at a level on the rail, and in the booth only if it stays.
fn deaf_booth(silent_ms: u64, rail_dbm: i16, stays: bool) -> Bench {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| (1..=3).for_each(|n| b.rests(n)));
    bench.pass(10_000, |b| {
        b.on_hook(4, 1);
        b.read(4, RAIL, 1, -70, None);
    });
    bench.inference.handle_reader(BOOTHS, ReaderState::Silent, Uptime(bench.now));
    bench.pass(silent_ms, |b| b.read(4, RAIL, 1, rail_dbm, None));
    bench.inference.handle_reader(BOOTHS, ReaderState::Listening, Uptime(bench.now));
    bench.pass(5_000, |b| {
        b.read(4, RAIL, 1, rail_dbm, None);
        if stays {
            b.on_hook(4, 1);
        }
    });
    bench
}

#[test]
fn a_booth_whose_reader_falls_silent_keeps_what_others_hear_faintly() {
    for silent_ms in [3_000, 8_000, 20_000] {
        let bench = deaf_booth(silent_ms, -70, true);
        assert_eq!(bench.kinds(4), [Kind::CarriedIn], "silent for {silent_ms} ms");
        let bench = deaf_booth(silent_ms, -60, false);
        assert_eq!(
            bench.kinds(4)[..2],
            [Kind::CarriedIn, Kind::CarriedOut],
            "as soon as the booth is heard again"
        );
    }
    // A reader that stays silent keeps nobody in a booth.
    let mut bench = deaf_booth(20_000, -60, true);
    bench.inference.handle_reader(BOOTHS, ReaderState::Absent, Uptime(bench.now));
    bench.pass(24_000, |b| b.read(4, RAIL, 1, -60, None));
    assert_eq!(bench.kinds(4), [Kind::CarriedIn]);
    bench.pass(3_000, |b| b.read(4, RAIL, 1, -60, None));
    assert_eq!(bench.kinds(4)[..2], [Kind::CarriedIn, Kind::CarriedOut]);
}

#[test]
fn what_neighbours_hear_of_a_worn_garment_hides_nothing() {
    let mut bench = Bench::new();
    bench.pass(25_000, |_| ());
    let read = |b: &mut Bench, (reader, antenna), dbm: i16, channel: u64, phase| {
        let read = Read {
            at: Uptime(b.now),
            epc: Epc::new(&[0x30, 4]).unwrap(),
            antenna,
            rssi_cdbm: dbm * 100,
            phase_ddeg: Some(u16::try_from(phase).unwrap()),
            channel_khz: Some(865_700 + u32::try_from(channel).unwrap() % 4 * 600),
        };
        b.inference.handle_read(reader, &read);
    };
    bench.pass(50_000, |b| {
        let now = b.now;
        // A body lets a burst through now and then; others hear it often, on all four channels.
        if now % 2_000 == 0 {
            let phase = b.roll(1_800);
            (0..3).for_each(|_| read(b, (BOOTHS, 1), -52, now / 2_000, phase));
        }
        if now % 500 == 0 {
            for there in [(BOOTHS, 2), (RAIL, 1)] {
                read(b, there, -70, now / 500, 900);
            }
        }
    });
    assert_eq!(bench.kinds(4), [Kind::CarriedIn, Kind::TriedOn]);
}

#[test]
fn the_end_of_an_old_visit_does_not_end_the_next() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(9));
    bench.pass(10_000, |b| b.on_hook(1, 1));
    bench.pass(12_000, |_| ());
    // Garment 1 is concluded out while garment 2 is there.
    bench.pass(20_000, |b| b.on_hook(2, 1));
    assert_eq!(bench.kinds(1), [Kind::CarriedIn, Kind::CarriedOut]);
    bench.pass(8_000, |b| {
        b.on_hook(2, 1);
        b.on_hook(3, 1);
    });
    assert_eq!(bench.visit(3, Kind::CarriedIn), bench.visit(2, Kind::CarriedIn));
}

#[test]
fn a_stall_of_the_gateway_is_no_evidence() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| (1..=3).for_each(|n| b.rests(n)));
    bench.pass(10_000, |b| b.on_hook(4, 1));
    let before = Uptime(bench.now);
    bench.now += 120_000;
    bench.inference.handle_stall(before, Uptime(bench.now));
    bench.pass(10_000, |b| {
        b.on_hook(4, 1);
        (1..=3).for_each(|n| b.rests(n));
    });
    assert!((1..=3).all(|n| bench.kinds(n).is_empty()), "{:?}", bench.events);
    assert_eq!(bench.kinds(4), [Kind::CarriedIn]);
}

#[test]
fn somebody_walking_past_moves_nothing() {
    let mut bench = Bench::new();
    bench.pass(20_000, |b| (1..=9).for_each(|n| b.rests(n)));
    for step in 0..12u64 {
        let depth = 8 - i16::try_from(step.abs_diff(6)).unwrap() * 8 / 6;
        bench.pass(250, |b| {
            (1..=9).for_each(|n| {
                let dbm = -60 - depth - i16::try_from(b.roll(2)).unwrap();
                b.read(n, RAIL, 1, dbm, None);
            });
        });
    }
    bench.pass(20_000, |b| (1..=9).for_each(|n| b.rests(n)));
    assert!((1..=9).all(|n| bench.kinds(n).is_empty()), "{:?}", bench.events);
}

#[test]
fn time_in_which_nobody_listened_is_no_evidence() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| (1..=3).for_each(|n| b.rests(n)));
    bench.pass(10_000, |b| {
        b.on_hook(4, 1);
        (1..=3).for_each(|n| b.rests(n));
    });
    bench.listen(ReaderState::Absent);
    bench.pass(300_000, |_| ());
    bench.listen(ReaderState::Listening);
    bench.pass(10_000, |b| {
        b.on_hook(4, 1);
        (1..=3).for_each(|n| b.rests(n));
    });
    assert!((1..=3).all(|n| bench.kinds(n).is_empty()));
    assert_eq!(bench.kinds(4), [Kind::CarriedIn], "it never left");
    let absent = bench
        .events
        .iter()
        .filter(|(_, e)| matches!(e.what, What::Coverage(c) if c.state == ReaderState::Absent));
    assert!(absent.count() >= 2, "the outage is told of both readers");
}

#[test]
fn a_try_on_in_progress_survives_a_restart_and_is_counted_once() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(9));
    bench.pass(8_000, |b| b.on_hook(1, 1));
    bench.pass(15_000, |b| b.worn(1, 1));
    let snapshot = bench.inference.snapshot();
    let next = Seq(bench.events.last().unwrap().0.0 + 1);
    bench.inference = Inference::new(layout(), BootId(1), next, Uptime(bench.now + 3_000));
    bench.inference.restore(&snapshot, Uptime(bench.now + 3_000)).unwrap();
    bench.now += 3_000;
    bench.listen(ReaderState::Listening);
    bench.pass(45_000, |b| b.worn(1, 1));
    bench.pass(30_000, |_| ());
    assert_eq!(bench.kinds(1), [Kind::CarriedIn, Kind::TriedOn, Kind::CarriedOut]);
    assert_eq!(bench.visit(1, Kind::TriedOn), bench.visit(1, Kind::CarriedIn));
}

#[test]
fn a_restart_invents_no_event() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| (1..=5).for_each(|n| b.rests(n)));
    let snapshot = bench.inference.snapshot();
    let mut again = Bench::new();
    again.inference.restore(&snapshot, Uptime(0)).unwrap();
    again.pass(30_000, |b| (1..=5).for_each(|n| b.rests(n)));
    assert!((1..=5).all(|n| again.kinds(n).is_empty()));
}

#[test]
fn a_snapshot_of_another_boot_is_not_taken_up_and_garbage_is_refused() {
    let mut bench = Bench::new();
    bench.pass(25_000, |b| b.rests(9));
    bench.pass(8_000, |b| b.on_hook(1, 1));
    let snapshot = bench.inference.snapshot();
    let mut other = Inference::new(layout(), BootId(2), Seq(1), Uptime(0));
    other.restore(&snapshot, Uptime(0)).unwrap();
    assert_eq!(other.tags(), 0);
    assert!(other.restore(&[], Uptime(0)).is_err());
    assert!(other.restore(&[99, 1, 2], Uptime(0)).is_err());
    assert!(other.restore(&snapshot[..snapshot.len() - 1], Uptime(0)).is_err());
}

#[test]
fn the_same_reads_give_the_same_events() {
    let run = || {
        let mut bench = Bench::new();
        bench.pass(20_000, |b| (1..=30).for_each(|n| b.rests(n)));
        bench.pass(8_000, |b| (1..=30).for_each(|n| if n % 7 == 0 { b.in_hand(n) } else { b.rests(n) }));
        bench.pass(20_000, |b| (1..=30).for_each(|n| if n % 7 == 0 { b.on_hook(n, 2) } else { b.rests(n) }));
        bench.events
    };
    assert_eq!(run(), run());
}

#[test]
fn a_scan_is_an_event_at_once_in_the_visit_that_is_open() {
    let (mut bench, [in_booth, at_rail]) = with_scanners();
    let code = Code::Product(Gtin::new("96385074").unwrap());
    let scan = |bench: &mut Bench, reader| {
        let at = Uptime(bench.now);
        bench.inference.handle_timeout(at);
        bench.inference.handle_scan(reader, code.clone(), at);
        let (seq, event) = std::iter::from_fn(|| bench.inference.poll_event()).last().unwrap();
        let What::Scanned(scan) = event.what else { panic!("{event:?}") };
        assert_eq!((event.at, scan.code), (at, code.clone()));
        (seq, scan.zone.to_string(), scan.visit)
    };
    assert_eq!(scan(&mut bench, in_booth), (Seq(1), "booth-1".into(), None), "nobody is there yet");
    bench.pass(20_000, |b| b.rests(1));
    bench.pass(3_000, |b| b.in_hand(1));
    bench.pass(15_000, |b| b.on_hook(1, 1));
    let visit = bench.visit(1, Kind::CarriedIn);
    let (first, zone, in_visit) = scan(&mut bench, in_booth);
    assert_eq!((zone.as_str(), in_visit), ("booth-1", Some(visit)));
    let elsewhere = scan(&mut bench, at_rail);
    assert_eq!(elsewhere, (first.plus(1), "rail".into(), None), "the visit is another zone's");
    bench.pass(12_000, |_| {});
    assert_eq!(bench.kinds(1).last(), Some(&Kind::CarriedIn));
    assert_eq!(scan(&mut bench, in_booth).2, None, "whoever scans now may be the next");
    bench.pass(60_000, |_| {});
    assert_eq!(bench.kinds(1).last(), Some(&Kind::CarriedOut));
    assert_eq!(scan(&mut bench, in_booth).2, None, "it has ended");
}

#[test]
fn a_scanner_that_listens_is_no_evidence_that_a_booth_is_empty() {
    let (mut bench, [in_booth, _]) = with_scanners();
    bench.inference.handle_reader(in_booth, ReaderState::Listening, Uptime(0));
    bench.pass(20_000, |b| b.rests(1));
    bench.pass(3_000, |b| b.in_hand(1));
    bench.pass(15_000, |b| b.on_hook(1, 1));
    bench.listen(ReaderState::Absent);
    bench.pass(120_000, |_| {});
    assert_eq!(bench.kinds(1).last(), Some(&Kind::CarriedIn), "nobody looked");
    bench.listen(ReaderState::Listening);
    bench.pass(120_000, |_| {});
    assert_eq!(bench.kinds(1).last(), Some(&Kind::CarriedOut));
}

/// The shop with a scanner in the first booth and one at the rail.
fn with_scanners() -> (Bench, [usize; 2]) {
    let mut layout = layout();
    let scanners = [("scan-b", "booth-1"), ("scan-r", "rail")].map(|(id, zone)| {
        layout.add_scanner(ReaderId::new(id).unwrap(), ZoneId::new(zone).unwrap()).unwrap()
    });
    (Bench::of(layout), scanners)
}
