//! What a site teaches, over restarts: it hides nothing that happens and invents nothing, and damaged bytes are
//! refused.

use hangtag_protocol::clock::BootId;
use hangtag_protocol::event::{Kind, ReaderState};
use hangtag_protocol::id::{ReaderId, Seq, ZoneId};
use hangtag_protocol::read::Read;

use super::super::state::State;
use super::super::{Layout, Zone, ZoneKind};
use super::*;

fn zone(name: &str) -> ZoneId {
    ZoneId::new(name).unwrap()
}

/// A rail with a reader of its own, and a booth and a shelf at the ports of another.
fn layout(zones: [&str; 3]) -> Layout {
    let [rail, booth, shelf] = zones.map(zone);
    let mut layout = Layout::new(alloc::vec![
        Zone { id: rail, kind: ZoneKind::Rail },
        Zone { id: booth, kind: ZoneKind::Booth },
        Zone { id: shelf, kind: ZoneKind::Shelf },
    ]);
    layout.add_reader(ReaderId::new("rail").unwrap(), &[(1, rail)]).unwrap();
    layout.add_reader(ReaderId::new("booth").unwrap(), &[(1, booth), (2, shelf)]).unwrap();
    layout
}

const ZONES: [&str; 3] = ["rail", "booth", "shelf"];
const RAIL: (usize, u8) = (0, 1);
const BOOTH: (usize, u8) = (1, 1);

fn epc(garment: u8) -> Epc {
    Epc::new(&[0x30, garment]).unwrap()
}

struct Bench {
    inference: Inference,
    now: u64,
    events: Vec<(Kind, Epc)>,
    next: Seq,
    rolled: u32,
}

impl Bench {
    fn new() -> Self {
        let inference = Inference::new(layout(ZONES), BootId(1), Seq(1), Uptime(0));
        let mut bench = Self { inference, now: 0, events: Vec::new(), next: Seq(1), rolled: 1 };
        bench.listen(&[0, 1]);
        bench
    }

    fn listen(&mut self, readers: &[usize]) {
        for reader in readers {
            self.inference.handle_reader(*reader, ReaderState::Listening, Uptime(self.now));
        }
    }

    fn read(&mut self, garment: u8, (reader, antenna): (usize, u8), rssi_cdbm: i16, phase: Option<u16>) {
        let (at, epc, channel_khz) = (Uptime(self.now), epc(garment), phase.map(|_| 866_300));
        let read = Read { at, epc, antenna, rssi_cdbm, phase_ddeg: phase, channel_khz };
        self.inference.handle_read(reader, &read);
    }

    /// Lets time pass; every quarter of a second, which is counted, each of the reads is made.
    fn pass(&mut self, ms: u64, mut reads: impl FnMut(&mut Self, u64)) {
        let (begin, end) = (self.now, self.now + ms);
        while self.now < end {
            self.inference.handle_timeout(Uptime(self.now));
            reads(self, (self.now - begin) / 250);
            while let Some((seq, event)) = self.inference.poll_event() {
                self.next = seq.plus(1);
                if let Some((epc, ..)) = event.garment() {
                    self.events.push((event.kind(), epc));
                }
            }
            self.now += 250;
        }
    }

    fn roll(&mut self, below: u32) -> u16 {
        self.rolled = self.rolled.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u16::try_from((self.rolled >> 16) % below).unwrap()
    }

    /// The agent is started again: with what it had learned, or without; in the same boot, or another.
    fn restarted(self, learned: Option<&[u8]>, boot: BootId) -> Self {
        let snapshot = self.inference.snapshot();
        let now = if boot == BootId(1) { self.now + 3_000 } else { 60_000 };
        let mut inference = Inference::new(layout(ZONES), boot, self.next, Uptime(now));
        if let Some(bytes) = learned {
            inference.remember(&Learned::read(bytes).unwrap());
        }
        inference.restore(&snapshot, Uptime(now)).unwrap();
        Self { inference, now, events: Vec::new(), ..self }
    }
}

fn learned(inference: &Inference, now: u64) -> Vec<u8> {
    let mut writing = inference.begin_learned("here");
    while !inference.write_learned(&mut writing, 3, Uptime(now)) {}
    writing.finish()
}

/// A day in a hard shop, and what was learned in it: each garment would be taken for moved or carried in by
/// whoever knew nothing of it.
fn day(bench: &mut Bench, now_and_then: u64) {
    bench.pass(now_and_then, |b, n| {
        // Rests on the rail, and is heard in the booth.
        b.read(1, RAIL, -6_000 - n as i16 % 2 * 100, None);
        b.read(1, BOOTH, -6_600, Some(900));
        // Its phases stray wherever it is.
        let phase = 900 + b.roll(260);
        b.read(2, (1, 2), -5_500, Some(phase));
        // Hangs in the booth for ever, and is read now and then.
        if n % 40 < 8 {
            b.read(3, BOOTH, -6_200, Some(300));
        }
    });
}

#[test]
fn garments_that_rested_all_the_time_make_no_event_after_a_restart_or_a_reboot() {
    for boot in [BootId(1), BootId(2)] {
        let mut results = [false, true].map(|remembers| {
            let mut bench = Bench::new();
            day(&mut bench, 300_000);
            bench.events.clear();
            let bytes = learned(&bench.inference, bench.now);
            let mut bench = bench.restarted(remembers.then_some(&bytes), boot);
            // The rail's reader takes its time, and the booth hears what hangs on the rail meanwhile.
            bench.listen(&[1]);
            bench.pass(30_000, |b, n| {
                if n > 90 {
                    b.read(1, BOOTH, -6_600, Some(900));
                }
                if n % 40 < 8 && n > 88 {
                    b.read(3, BOOTH, -6_200, Some(300));
                }
            });
            bench.listen(&[0]);
            day(&mut bench, 60_000);
            bench.events
        });
        let [forgot, remembered] = &mut results;
        assert_eq!(*remembered, []);
        for garment in [1, 3] {
            assert!(forgot.contains(&(Kind::CarriedIn, epc(garment))), "{garment}: {forgot:?}");
        }
    }
}

#[test]
fn a_jump_of_the_level_soon_after_a_restart_is_no_event() {
    let rail = |b: &mut Bench, cdbm| b.read(1, RAIL, cdbm, None);
    for jump in 8..16 {
        let mut bench = Bench::new();
        bench.pass(60_000, |b, n| {
            if n % 2 == 0 {
                rail(b, -6_000);
            }
        });
        let bytes = learned(&bench.inference, bench.now);
        let mut bench = bench.restarted(Some(&bytes), BootId(2));
        bench.listen(&[0, 1]);
        bench.pass(30_000, |b, n| {
            if n % 2 == 0 {
                rail(b, if n / 2 < jump { -6_000 } else { -6_800 });
            }
        });
        assert_eq!(bench.events, [], "after {jump} reads");
    }
}

#[test]
fn what_is_remembered_hides_nothing_that_happens() {
    let mut bench = Bench::new();
    day(&mut bench, 300_000);
    let bytes = learned(&bench.inference, bench.now);
    let mut bench = bench.restarted(Some(&bytes), BootId(2));
    bench.listen(&[0, 1]);
    day(&mut bench, 30_000);
    assert_eq!(bench.events, []);
    bench.pass(10_000, |b, _| b.read(1, BOOTH, -4_800, Some(900)));
    assert_eq!(bench.events, [(Kind::PickedUp, epc(1)), (Kind::CarriedIn, epc(1))]);
}

#[test]
fn a_dead_reader_at_home_does_not_hide_a_booth_for_ever() {
    let mut bench = Bench::new();
    bench.pass(60_000, |b, n| b.read(1, RAIL, -6_000 - n as i16 % 2 * 100, None));
    let bytes = learned(&bench.inference, bench.now);
    let mut bench = bench.restarted(Some(&bytes), BootId(1));
    bench.listen(&[1]);
    bench.pass(100_000, |_, _| ());
    bench.pass(15_000, |b, _| b.read(1, BOOTH, -4_800, Some(900)));
    assert_eq!(bench.events, [], "it may hang where nobody listens yet");
    bench.pass(15_000, |b, _| b.read(1, BOOTH, -4_800, Some(900)));
    assert_eq!(bench.events, [(Kind::CarriedIn, epc(1))]);
}

#[test]
fn what_is_written_is_read_whatever_the_slices_and_kept_until_it_is_heard() {
    let mut bench = Bench::new();
    day(&mut bench, 120_000);
    let bytes = learned(&bench.inference, bench.now);
    let read = Learned::read(&bytes).unwrap();
    assert_eq!((read.of(), read.tags()), ("here", 3));
    let zones = read.zones();
    let named = |name: &str| zones.iter().find(|zone| zone.zone.as_str() == name).unwrap();
    assert_eq!((named("rail").at_rest, named("rail").background), (1, 0));
    assert!((named("rail").reads_per_s - 4.0).abs() < 0.2, "{zones:?}");
    assert_eq!((named("booth").at_rest, named("booth").background), (1, 1));
    assert!((named("booth").background_dbm.unwrap() + 66.0).abs() < 1.0, "{zones:?}");
    // Nobody is heard: the same is written again, until ten days have passed.
    let mut again = Inference::new(layout(ZONES), BootId(2), Seq(1), Uptime(7));
    assert_eq!(again.remember(&read), 3);
    assert_eq!(learned(&again, 7), bytes);
    assert_eq!(again.tags(), 0, "nobody is there until it is heard");
    let weekend_ms = 3 * 24 * HOUR_MS;
    assert_eq!(Learned::read(&learned(&again, weekend_ms)).unwrap().tags(), 3);
    assert_eq!(Learned::read(&learned(&again, FORGOTTEN_MS + 7)).unwrap().tags(), 0);
}

#[test]
fn a_garment_in_a_hand_is_not_forgotten_by_an_agent_that_starts_on_a_gateway_that_runs_for_long() {
    let mut bench = Bench::new();
    day(&mut bench, 120_000);
    let bytes = learned(&bench.inference, bench.now);
    let now = Uptime(2 * FORGOTTEN_MS);
    bench.inference.tags.get_mut(&Known::from(epc(1))).unwrap().state =
        State::Hand { since: now, from: None };
    let mut other = Inference::new(layout(ZONES), BootId(1), Seq(1), now);
    other.remember(&Learned::read(&bytes).unwrap());
    other.restore(&bench.inference.snapshot(), now).unwrap();
    let followed = other.tags();
    assert!(followed > 0);
    other.handle_timeout(now + 120_000);
    assert_eq!(other.tags(), followed);
}

#[test]
fn antennas_that_look_elsewhere_by_now_are_left_out() {
    let mut bench = Bench::new();
    day(&mut bench, 120_000);
    let read = Learned::read(&learned(&bench.inference, bench.now)).unwrap();
    let moved = Inference::new(layout(["rail", "booth-2", "shelf"]), BootId(2), Seq(1), Uptime(0));
    let mut moved = { moved };
    assert_eq!(moved.remember(&read), 2, "of the garment in the booth nothing is left");
    let zones = Learned::read(&learned(&moved, 0)).unwrap().zones();
    assert_eq!(zones.iter().map(|zone| (zone.at_rest, zone.background)).max(), Some((1, 0)));
}

#[test]
fn damaged_and_foreign_bytes_are_refused_wherever_the_damage_is() {
    let mut bench = Bench::new();
    day(&mut bench, 30_000);
    let bytes = learned(&bench.inference, bench.now);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Learned::read(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Learned::read(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(
        Learned::read(b"\x7fELF\x02\x01\x01\0"),
        Err(LearnedError::Foreign("\\u{7f}ELF\\u{2}\\u{1}\\u{1}\\0".into()))
    );
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(Learned::read(&newer), Err(LearnedError::Version(2)));
    // The right checksum over nonsense.
    let nonsense = file::finish([&bytes[..bytes.len() - 4], &[0xff; 5]].concat());
    assert!(
        matches!(Learned::read(&nonsense), Err(LearnedError::Structure { at, .. }) if at == bytes.len() - 4)
    );
}

const FROZEN: &str = "48414e475441474c01046865726503047261696c01047261696c05626f6f74680105626f6f746805626f6f7468\
                      02057368656c6602300100010098010100092900ea433ffb";

#[test]
fn the_bytes_of_a_version_never_change() {
    let mut bench = Bench::new();
    let heard = Heard { antenna: 0, noise: (9, 41), elsewhere: None };
    let habit = Habit { unheard_h: 0, home: Some(Home { antenna: 0, reads: 152 }), heard: Box::new([heard]) };
    bench.inference.remembered.habits.insert(Known::from(epc(1)), habit);
    // Gateways hold such bytes through upgrades: fix the code, never these bytes.
    assert_eq!(hex::encode(learned(&bench.inference, bench.now)), FROZEN);
}

#[test]
fn no_more_is_remembered_than_is_followed() {
    let mut bench = Bench::new();
    bench.inference.remembered.habits.extend((0..MAX_TAGS as u32).map(|n| {
        let epc = Epc::new(&n.to_le_bytes()).unwrap();
        (Known::from(epc), Habit { unheard_h: 0, home: None, heard: Box::default() })
    }));
    bench.read(200, RAIL, -6_000, None);
    bench.read(201, RAIL, -6_000, None);
    assert_eq!((bench.inference.tags(), bench.inference.remembered.len()), (2, MAX_TAGS - 2));
}
