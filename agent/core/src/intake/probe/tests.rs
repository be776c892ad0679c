//! Probes in invented time, with readers that know one question each.

use super::super::thingmagic::reply;
use super::*;

const TAG: &str = "bb02220011c9340030751feb705c5904e3d50d703a76ef7e";
const RARE_TAG: &str = "aa02220011c73000e28068900000500e88c6a4a7119b29dd";
const INFO: &str = "bb01030010004d31303020323664426d2056312e30";
const CHAFON: &str = "1100210000160c034e001e0a01000000e651";
const ADVERT: &str =
    "ca2910c9445429e38d2c0201041bff9904050f274035c4542c5000c8fc20a456f030e5c9445429e38d2cd82cb30c0a";
const VERSION: &str = "2301060038000201202409130201060800000010";
const RUUVI_ID: &str = "ca10112c0ccce151217de82ccce1deadbeef2cec360a";

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

/// An answer of an R200, with its sum.
fn r200_answer(frame: &str, end: u8) -> Vec<u8> {
    let mut frame = bytes(frame);
    frame.push(frame[1..].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    frame.push(end);
    frame
}

/// What happened at a port.
#[derive(Debug)]
struct Port {
    outcome: Outcome,
    took_ms: u64,
    sent: Vec<(u32, Vec<u8>)>,
    /// When the first question was sent.
    first_ms: Option<u64>,
}

/// Runs a probe at a port. `answer` is given the speed and a question; `says` what comes at a moment, looked at
/// every 20 ms.
fn probe(
    known: &Known,
    mut says: impl FnMut(u64, u32) -> Vec<u8>,
    mut answer: impl FnMut(u32, &[u8]) -> Vec<u8>,
) -> Port {
    let mut probe = Probe::new(known, Uptime(1_000));
    let (mut baud, mut sent, mut first_ms) = (0, Vec::new(), None);
    for took_ms in (0..=LONGEST_MS + 1_000).step_by(20) {
        let now = Uptime(1_000 + took_ms);
        while let Some(action) = probe.poll_action() {
            match action {
                Action::Speed(speed) => baud = speed,
                Action::Send(question) => {
                    first_ms.get_or_insert(took_ms);
                    let answer = answer(baud, &question);
                    sent.push((baud, question));
                    probe.handle_bytes(&answer, now);
                }
            }
        }
        // As a line hands them over: in pieces.
        says(took_ms, baud).chunks(7).for_each(|chunk| probe.handle_bytes(chunk, now));
        probe.handle_timeout(now);
        if let Some(outcome) = probe.poll_outcome() {
            assert_eq!((probe.poll_timeout(), probe.poll_action()), (None, None), "it is over");
            return Port { outcome, took_ms, sent, first_ms };
        }
    }
    panic!("no end: {probe:?}");
}

fn silent(_: u64, _: u32) -> Vec<u8> {
    Vec::new()
}

fn found(port: &Port) -> &Found {
    match &port.outcome {
        Outcome::Found(found) => found,
        Outcome::Nothing { why } => panic!("{why}"),
    }
}

#[test]
fn every_module_is_found_at_every_speed_it_may_have() {
    let thingmagic: &[u8] = &[0xFF, 0, 3, 0x1D, 0x0C];
    let version = reply(3, 0, &bytes(VERSION));
    let r200 = bytes("bb0003000100047e");
    for (speeds, asks, says, protocol, name) in [
        (
            &[9_600, 115_200, 921_600][..],
            thingmagic.to_vec(),
            version,
            Protocol::ThingMagic,
            "ThingMagic hardware 38.00.02.01 firmware 02.01.06.08 of 2024-09-13",
        ),
        (&[57_600, 115_200, 460_800], r200, r200_answer(INFO, 0x7E), Protocol::R200, "M100 26dBm V1.0"),
        (
            &[9_600, 57_600, 115_200],
            bytes("04ff211995"),
            bytes(CHAFON),
            Protocol::Chafon,
            "Chafon UHFReader288 type 0c firmware 0.22",
        ),
        (
            &[115_200],
            bytes("ca0018368e0a"),
            bytes(RUUVI_ID),
            Protocol::Ruuvi,
            "Ruuvi receiver 2c0ccce151217de8",
        ),
    ] {
        for speed in speeds {
            let port = probe(&Known::default(), silent, |baud, question| {
                if baud == *speed && question == asks { says.clone() } else { Vec::new() }
            });
            let found = found(&port);
            assert_eq!((found.who, found.baud, found.was_reading), (Who::Reader(protocol), *speed, false));
            assert!(found.module.as_ref().unwrap().starts_with(name), "{found:?}");
            assert!(port.took_ms <= LONGEST_MS && port.first_ms >= Some(3_000), "{port:?}");
        }
    }
}

#[test]
fn an_r200_tells_its_firmware_too() {
    let port = probe(&Known::default(), silent, |_, question| match question {
        [0xAA, _, 3, _, _, 0, ..] => r200_answer(&INFO.replacen("bb", "aa", 1), 0xDD),
        [0xAA, _, 3, _, _, 1, ..] => r200_answer("aa010300070156322e332e35", 0xDD),
        _ => Vec::new(),
    });
    assert_eq!(found(&port).module.as_deref(), Some("M100 26dBm V1.0, firmware V2.3.5"), "{port:?}");
}

#[test]
fn a_module_that_is_reading_is_stopped_before_it_is_asked_and_nobody_else_is() {
    let stop = [0xFF, 3, 0x2F, 0, 0, 2, 0x5E, 0x86];
    let reading = core::cell::Cell::new(true);
    let port = probe(
        &Known::default(),
        |at, baud| {
            if baud == 115_200 && reading.get() && at % 1_000 == 500 {
                return reply(0x22, 0x0400, &[]);
            }
            Vec::new()
        },
        |_, question| {
            if question == stop {
                reading.set(false);
                return reply(0x2F, 0, &[0, 0, 2]);
            }
            if reading.get() { Vec::new() } else { reply(3, 0, &bytes(VERSION)) }
        },
    );
    assert!(found(&port).was_reading && found(&port).module.is_some(), "{port:?}");
    let codes: Vec<u8> = port.sent.iter().map(|(_, question)| question[2]).collect();
    assert_eq!(codes, [0x2F, 3], "{port:?}");
    assert!(port.took_ms < 1_300, "{port:?}");
}

#[test]
fn a_reading_r200_of_the_rare_framing_is_stopped_in_its_own() {
    let port = probe(
        &Known::default(),
        |at, _| if at < 100 { bytes(RARE_TAG) } else { Vec::new() },
        |_, question| match question {
            [0xAA, 0, 0x28, ..] => r200_answer("aa0128000100", 0xDD),
            [0xAA, 0, 3, ..] => r200_answer(&INFO.replacen("bb", "aa", 1), 0xDD),
            _ => panic!("{question:02x?}"),
        },
    );
    assert_eq!(found(&port).who, Who::Reader(Protocol::R200));
}

#[test]
fn a_receiver_that_does_not_answer_is_known_by_what_it_reports() {
    let port = probe(
        &Known::default(),
        |at, _| if at % 100 == 0 { bytes(ADVERT) } else { Vec::new() },
        |_, _| Vec::new(),
    );
    assert_eq!((found(&port).who, found(&port).module.clone()), (Who::Reader(Protocol::Ruuvi), None));
}

#[test]
fn a_scanner_is_known_by_a_code_and_the_code_is_not_lost_and_not_shown() {
    let mut probe = Probe::new(&Known::default(), Uptime(0));
    probe.handle_timeout(Uptime(1_300));
    for piece in [b"4711-SEC".as_slice(), b"RET", b"\r"] {
        assert_eq!(probe.poll_outcome(), None);
        probe.handle_bytes(piece, Uptime(1_400));
    }
    assert!(!format!("{probe:?}").contains("SEC"));
    let outcome = probe.poll_outcome();
    let who = Who::Reader(Protocol::Scanner);
    let found = Found { who, baud: 9_600, module: None, was_reading: true };
    assert_eq!(outcome, Some(Outcome::Found(found)));
    assert_eq!(probe.take_heard().as_slice(), b"4711-SECRET\r");
}

#[test]
fn noise_satellites_consoles_and_echoes_are_no_readers() {
    let mut state = 1u32;
    let mut noise = |_: u64, _: u32| {
        let byte = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..40).map(byte).collect()
    };
    let none = |_: u32, _: &[u8]| Vec::new();
    let echo = |_: u32, question: &[u8]| question.to_vec();
    let satellites = |at, _| if at % 500 == 0 { b"$GPGLL,,,,,,V,N*64\r\n".to_vec() } else { Vec::new() };
    let console = |at, _| if at == 0 { b"[    0.1] usb 1-1: new device\r\n".to_vec() } else { Vec::new() };
    for (port, named) in [
        (probe(&Known::default(), &mut noise, none), "bytes came that are of no reader"),
        (probe(&Known::default(), satellites, none), "bytes came that are of no reader"),
        (probe(&Known::default(), console, none), "31 bytes came that are of no reader"),
        (probe(&Known::default(), silent, echo), "it does not say what it is"),
        (probe(&Known::default(), silent, none), "nothing came back"),
    ] {
        let Outcome::Nothing { why } = &port.outcome else { panic!("{port:?}") };
        assert!(why.contains(named) && why.contains("were asked at 115200, 57600"), "{why}");
        assert!(port.took_ms <= LONGEST_MS, "{}", port.took_ms);
    }
}

/// A frame of the node link, as it is frozen.
fn frozen(name: &str) -> Vec<u8> {
    let lines = include_str!("../../../../../protocol/tests/wire/link-v1.tsv").lines();
    bytes(lines.filter_map(|line| line.split_once('\t')).find(|line| line.0 == name).unwrap().1)
}

#[test]
fn a_node_is_found_at_every_speed_and_says_its_firmware() {
    let query = plan::hello().bytes;
    for speed in [9_600, 57_600, 115_200, 921_600] {
        let port = probe(&Known::default(), silent, |baud, question| {
            if baud == speed && question == query { frozen("hello") } else { Vec::new() }
        });
        let found = found(&port);
        assert_eq!((found.who, found.baud, found.was_reading), (Who::Node, speed, true), "{port:?}");
        let module = found.module.as_deref().unwrap();
        assert!(module.starts_with("node ") && module.ends_with(" firmware 1.2.3"), "{module}");
        assert!(port.took_ms <= LONGEST_MS, "{}", port.took_ms);
    }
    let known = Known { before: Some((Who::Node, 38_400)), ..Known::default() };
    let port =
        probe(&known, silent, |_, question| if question == query { frozen("hello") } else { Vec::new() });
    assert_eq!((found(&port).baud, port.took_ms), (38_400, 0));
}

#[test]
fn a_node_that_speaks_is_asked_who_it_is_and_known_without_an_answer() {
    let says = |at, baud| if baud == 115_200 && at % 500 == 0 { frozen("reads") } else { Vec::new() };
    let query = plan::hello().bytes;
    for answers in [true, false] {
        let port = probe(&Known::default(), says, |_, question| {
            if answers && question == query { frozen("hello") } else { Vec::new() }
        });
        assert_eq!(found(&port).who, Who::Node);
        assert_eq!(found(&port).module.is_some(), answers, "{port:?}");
        assert!(port.sent.iter().all(|(_, question)| *question == query), "nobody else is asked: {port:?}");
        assert!(port.took_ms < 1_300, "{}", port.took_ms);
    }
}

#[test]
fn who_was_there_before_is_found_at_once() {
    let known = Known { before: Some((Who::Reader(Protocol::R200), 38_400)), ..Known::default() };
    let port = probe(&known, silent, |baud, question| {
        if baud == 38_400 && question.get(2) == Some(&3) { r200_answer(INFO, 0x7E) } else { Vec::new() }
    });
    assert_eq!((found(&port).who, port.took_ms), (Who::Reader(Protocol::R200), 0));
}

#[test]
fn only_the_speed_that_is_sure_is_tried() {
    let known = Known { baud: Some(38_400), ..Known::default() };
    let port = probe(&known, silent, |_, _| Vec::new());
    assert!(port.sent.iter().all(|(baud, _)| *baud == 38_400) && !port.sent.is_empty(), "{port:?}");
}

#[test]
fn a_module_that_reads_and_answers_nothing_is_named_in_the_end() {
    let port = probe(
        &Known::default(),
        |at, baud| if baud == 115_200 && at % 200 == 0 { bytes(TAG) } else { Vec::new() },
        |_, _| Vec::new(),
    );
    let Outcome::Nothing { why } = &port.outcome else { panic!("{port:?}") };
    assert!(why.starts_with("a frame of \"r200\" came, but"), "{why}");
    assert!(port.took_ms <= LONGEST_MS);
}

#[test]
fn a_module_that_answers_while_it_reads_is_stopped_too() {
    let port = probe(&Known::default(), silent, |baud, question| match question {
        _ if baud != 38_400 => Vec::new(),
        [0xBB, 0, 3, _, _, 0, ..] => [r200_answer(INFO, 0x7E), bytes(TAG)].concat(),
        [0xBB, 0, 0x28, ..] => r200_answer("bb0128000100", 0x7E),
        _ => Vec::new(),
    });
    assert!(found(&port).was_reading && found(&port).module.is_some(), "{port:?}");
    assert!(port.sent.iter().any(|(_, question)| question[2] == 0x28), "{port:?}");
}
