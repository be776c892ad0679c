//! The bytes of the node link, frozen. When a test in this file fails, fix the code, never the test: nodes on
//! rails and gateways in the field are updated apart from one another.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::ZoneId;
use hangtag_protocol::link::command::{Ack, Configure, Level, Query};
use hangtag_protocol::link::frame::Wire;
use hangtag_protocol::link::message::{
    BootReason, BoothState, Clock, Condensed, Configured, Dropped, Ended, Firmware, Health, Hello, Motion,
    Moved, NodeId, Occupancy, Outcome, SensorFault, SensorState, Sensors,
};
use hangtag_protocol::link::{Deframer, Frame, FrameError, Kind, MAX_PAYLOAD, MAX_WIRE};
use hangtag_protocol::region::Region;
use proptest::prelude::*;

/// One frame of every kind, in hexadecimal, with its name. Where fields were appended to a message, what the earlier
/// version wrote stays, and what this one writes has a line of its own.
const GOLDEN: &str = include_str!("wire/link-v1.tsv");
/// What only earlier versions write.
const EARLIER: [&str; 1] = ["health"];

const BOOT: u32 = 0x89ab_cdef;

fn read(epc: &str) -> Condensed {
    Condensed {
        epc: Epc::from_hex(epc).unwrap(),
        antenna: 2,
        count: 3,
        last: Uptime(81_234),
        span_ms: 140,
        strongest_cdbm: -5_450,
        weakest_cdbm: -6_100,
        last_cdbm: -5_500,
        phase_ddeg: Some(1_234),
        channel_khz: Some(866_300),
    }
}

fn frames() -> Vec<(&'static str, Wire)> {
    let hello = Hello {
        node: NodeId(0x0011_2233_4455_6677),
        firmware: Firmware { major: 1, minor: 2, patch: 3 },
        reason: BootReason::Watchdog,
        uptime: Uptime(81_000),
        versions: (1, 1),
        oldest: 5,
        next: 9,
        room: 24_576,
    };
    let mut reads = [0; MAX_PAYLOAD];
    let used = postcard::to_slice(&read("3034007d00011c400000000b"), &mut reads).unwrap().len();
    let plain = Condensed { phase_ddeg: None, channel_khz: None, ..read("e28068900000500e88c6a4a7") };
    let more = postcard::to_slice(&plain, &mut reads[used..]).unwrap().len();
    let reads =
        Frame { kind: Kind::Reads.byte(), boot: BOOT, number: 5, payload: &reads[..used + more] }.encode();
    let health = Health {
        uptime: Uptime(90_000),
        reads: 100_000,
        dropped: 12,
        waiting: 1_500,
        garbage: 3,
        reader_garbage: 4,
        reader_listens: true,
        temperature_dc: Some(-55),
        supply_mv: Some(3_300),
        sensors: Sensors { accelerometer: SensorState::Works, occupancy: SensorState::Failed },
        stack_free: Some(40_960),
        awake_pm: Some(125),
        line_errors: 300,
        reader_line_errors: 5,
        accelerometer_fault: Some(SensorFault::Stranger(0x11)),
        occupancy_fault: Some(SensorFault::Unsteady),
    };
    let configure = Configure {
        id: 7,
        zone: Some(ZoneId::new("rail-a").unwrap()),
        region: Region::Eu,
        power_cdbm: 2_600,
        antennas: 0b1011,
        window_ms: 250,
        motion_mg: 120,
        settle_ms: 400,
        occupied: Some(Level::High),
    };
    let dropped = Dropped { reads: 70_000, others: 2, first: Uptime(10), last: Uptime(70_010) };
    let motion = Motion { at: Uptime(81_300), sensor: 1, how: Moved::PutDown, peak_mg: 840 };
    let occupancy = Occupancy { at: Uptime(81_400), state: BoothState::Occupied };
    let configured = Configured { id: 7, outcome: Outcome::Power };
    let clock = Clock { asked: Uptime(12_000), uptime: Uptime(81_500) };
    let ended = Ended {
        boot: 0x0102_0304,
        reason: BootReason::Panic,
        reads: 1_000_000,
        uptime: Uptime(3_600_000),
        forgotten: 1,
        words: "fault at deadbeee",
    };
    vec![
        ("hello", Frame::of(Kind::Hello, BOOT, 0, &hello)),
        ("reads", reads),
        ("motion", Frame::of(Kind::Motion, BOOT, 6, &motion)),
        ("occupancy", Frame::of(Kind::Occupancy, BOOT, 7, &occupancy)),
        ("health-2", Frame::of(Kind::Health, BOOT, 0, &health)),
        ("dropped", Frame::of(Kind::Dropped, BOOT, 8, &dropped)),
        ("configured", Frame::of(Kind::Configured, BOOT, 0x0102_0304, &configured)),
        ("ack", Frame::of(Kind::Ack, BOOT, 0, &Ack { durable: 5, received: 300, window: 16, gap: true })),
        ("configure", Frame::of(Kind::Configure, BOOT, 0, &configure)),
        ("query-hello", Frame::of(Kind::Query, 0, 0, &Query::Hello)),
        ("query-health", Frame::of(Kind::Query, BOOT, 0, &Query::Health)),
        ("clock", Frame::of(Kind::Clock, BOOT, 0, &clock)),
        ("query-clock", Frame::of(Kind::Query, BOOT, 0, &Query::Clock { asked: Uptime(12_000) })),
        ("ended", Frame::of(Kind::Ended, BOOT, 1, &ended)),
    ]
}

#[test]
fn the_bytes_of_every_kind_never_change() {
    let ours: Vec<String> =
        frames().iter().map(|(name, wire)| format!("{name}\t{}", hex::encode(wire))).collect();
    let golden =
        GOLDEN.lines().filter(|line| EARLIER.iter().all(|name| line.split('\t').next() != Some(*name)));
    assert_eq!(ours, golden.collect::<Vec<_>>());
}

#[test]
fn what_earlier_versions_said_is_read() {
    let frozen: Vec<Vec<u8>> = EARLIER.iter().map(|name| frozen(name)).collect();
    let mut read = Vec::new();
    for wire in &frozen {
        Deframer::new().handle_bytes(wire, |frame| read.push(frame.unwrap().message::<Health>()));
    }
    let first = Health {
        uptime: Uptime(90_000),
        reads: 100_000,
        dropped: 12,
        waiting: 1_500,
        garbage: 3,
        reader_garbage: 4,
        reader_listens: true,
        temperature_dc: Some(-55),
        supply_mv: Some(3_300),
        sensors: Sensors { accelerometer: SensorState::Works, occupancy: SensorState::Failed },
        stack_free: Some(40_960),
        awake_pm: Some(125),
        line_errors: 0,
        reader_line_errors: 0,
        accelerometer_fault: None,
        occupancy_fault: None,
    };
    assert_eq!(read, [Ok(first)]);
}

fn frozen(name: &str) -> Vec<u8> {
    let mut lines = GOLDEN.lines().filter_map(|line| line.split_once('\t'));
    hex::decode(lines.find(|line| line.0 == name).unwrap().1).unwrap()
}

#[test]
fn what_is_reserved_for_updates_means_nothing_yet() {
    for kind in (0x40..=0x4f).chain(0xc0..=0xcf) {
        assert_eq!(Kind::of(kind), None);
    }
}

#[test]
fn reads_are_read_back_one_by_one() {
    let mut deframer = Deframer::new();
    let mut seen = Vec::new();
    let reads = frames().into_iter().find(|frame| frame.0 == "reads").unwrap().1;
    deframer.handle_bytes(&reads, |frame| {
        seen.extend(frame.unwrap().messages::<Condensed>().map(Result::unwrap));
    });
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], read("3034007d00011c400000000b"));
    assert_eq!(seen[1].phase_ddeg, None);
}

/// What a payload of a kind says, as text.
fn says(kind: Kind, payload: &[u8]) -> Option<String> {
    fn text<'p, T: serde::Deserialize<'p> + std::fmt::Debug>(frame: &Frame<'p>) -> Option<String> {
        frame.message::<T>().ok().map(|message| format!("{message:?}"))
    }
    let frame = Frame { kind: kind.byte(), boot: BOOT, number: 0, payload };
    match kind {
        Kind::Hello => text::<Hello>(&frame),
        // Several, of which the last is looked at.
        Kind::Reads => frame.messages::<Condensed>().last()?.ok().map(|read| format!("{read:?}")),
        Kind::Motion => text::<Motion>(&frame),
        Kind::Occupancy => text::<Occupancy>(&frame),
        Kind::Health => text::<Health>(&frame),
        Kind::Dropped => text::<Dropped>(&frame),
        Kind::Configured => text::<Configured>(&frame),
        Kind::Clock => text::<Clock>(&frame),
        Kind::Ended => text::<Ended<'_>>(&frame),
        Kind::Ack => text::<Ack>(&frame),
        Kind::Configure => text::<Configure>(&frame),
        Kind::Query => text::<Query>(&frame),
    }
}

#[test]
fn every_message_is_read_when_a_later_version_appended_to_it_and_none_when_it_is_cut() {
    for (name, wire) in frames() {
        Deframer::new().handle_bytes(&wire, |frame| {
            let frame = frame.unwrap();
            let kind = Kind::of(frame.kind).unwrap();
            let ours = says(kind, frame.payload).unwrap();
            for later in [&[0xFF][..], &[0; 9], b"and so on"] {
                let said = says(kind, &[frame.payload, later].concat());
                assert_eq!(said.as_ref() == Some(&ours), kind != Kind::Reads, "{name}: {said:?}");
            }
            let whole: Vec<_> =
                (0..frame.payload.len()).filter(|end| says(kind, &frame.payload[..*end]).is_some()).collect();
            // The first of two reads is whole without the second, a health without what was appended to it.
            let expected: &[usize] = match kind {
                Kind::Reads => &[33],
                Kind::Health => &[25, 27, 28, 31],
                _ => &[],
            };
            assert_eq!(whole, expected, "{name}");
        });
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let (_, wire) = frames().swap_remove(1);
    let good = wire.len() - 1;
    for bit in 0..good * 8 {
        let mut flipped = wire.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut deframer = Deframer::new();
        deframer.handle_bytes(&flipped, |frame| assert!(frame.is_err(), "bit {bit}"));
    }
    for length in 1..good {
        let mut cut = wire[1..length].to_vec();
        assert!(Frame::decode(&mut cut).is_err(), "{length} bytes");
    }
}

#[test]
fn another_version_is_named() {
    // As the first byte is 1, COBS leaves it where it is.
    let frame = Frame { kind: 1, boot: 0, number: 0, payload: &[] };
    let mut raw = frame.encode();
    raw.pop();
    raw.remove(0);
    let length = cobs_decoded(&mut raw);
    let mut other = raw[..length - 4].to_vec();
    other[0] = 2;
    let crc = hangtag_protocol::batch::CRC.checksum(&other);
    other.extend(crc.to_le_bytes());
    let mut coded = cobs_encoded(&other);
    assert_eq!(Frame::decode(&mut coded), Err(FrameError::Version(2)));
}

#[test]
fn a_line_without_an_end_is_skipped_up_to_the_next() {
    let mut deframer = Deframer::new();
    let (_, good) = frames().swap_remove(7);
    let mut seen = Vec::new();
    let bytes = [&[0x55; 1_000][..], &[0], &good].concat();
    deframer.handle_bytes(&bytes, |frame| seen.push(frame.map(|frame| frame.kind)));
    assert_eq!(seen, [Err(FrameError::Long), Ok(Kind::Ack.byte())]);
    assert_eq!(deframer.garbage(), 1_000);
}

fn cobs_decoded(bytes: &mut [u8]) -> usize {
    cobs::decode_in_place(bytes).unwrap()
}

fn cobs_encoded(bytes: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; bytes.len() + 2];
    let length = cobs::encode(bytes, &mut coded);
    coded.truncate(length);
    coded
}

proptest! {
    /// In whatever chunks and behind whatever garbage, frames are read back; none takes more than MAX_WIRE.
    #[test]
    fn frames_are_read_back_whatever_the_chunks(
        parts in prop::collection::vec(
            (any::<u8>(), any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD),
             prop::collection::vec(any::<u8>(), 0..300)),
            1..8,
        ),
        chunk in 1usize..300,
    ) {
        let mut bytes = Vec::new();
        for (kind, boot, number, payload, garbage) in &parts {
            bytes.extend(garbage);
            let wire = Frame { kind: *kind, boot: *boot, number: *number, payload }.encode();
            prop_assert!(wire.len() <= MAX_WIRE && !wire[1..wire.len() - 1].contains(&0));
            bytes.extend(wire);
        }
        let mut deframer = Deframer::new();
        let mut seen = Vec::new();
        for chunk in bytes.chunks(chunk) {
            deframer.handle_bytes(chunk, |frame| {
                if let Ok(frame) = frame { seen.push((frame.kind, frame.boot, frame.number, frame.payload.to_vec())); }
            });
        }
        let sent: Vec<_> = parts.into_iter().map(|part| (part.0, part.1, part.2, part.3)).collect();
        prop_assert_eq!(seen, sent);
    }
}
