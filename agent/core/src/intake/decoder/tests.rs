//! Frames that public sources print, and what must be true of any bytes.

use super::super::thingmagic::reply;
use super::super::{Radio, Region, Step};
use super::*;
use alloc::vec;
use hangtag_protocol::epc::Epc;
use proptest::prelude::*;

/// The frames of all protocols that public sources print, with what must become of each.
const FRAMES: &str = include_str!("../../../tests/frames.tsv");

fn settings(protocol: &str) -> Settings {
    let radio = Radio { region: Region::Eu, power_cdbm: 2_000, antennas: vec![1] };
    match protocol {
        "r200" => Settings::R200(radio),
        "thingmagic" => Settings::ThingMagic(radio),
        "ruuvi" => Settings::Ruuvi,
        "chafon" => Settings::Chafon { radio, address: chafon::BROADCAST },
        other => panic!("unknown protocol {other}"),
    }
}

/// The protocols whose frames are found by a checksum.
const FRAMED: [&str; 4] = ["r200", "thingmagic", "chafon", "ruuvi"];

fn decode(protocol: &str, chunks: &[&[u8]]) -> (Vec<Message>, u64) {
    let mut decoder = Decoder::new(&settings(protocol));
    let mut messages = Vec::new();
    for chunk in chunks {
        decoder.handle_bytes(chunk, |message| messages.push(message));
    }
    decoder.give_up(|message| messages.push(message));
    (messages, decoder.garbage)
}

fn frames() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>, &'static str)> {
    FRAMES.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        (fields[0], fields[1], hex::decode(fields[2]).unwrap(), fields[3])
    })
}

#[test]
fn published_replies_are_decoded_or_refused() {
    let mut counted = 0;
    for (protocol, direction, bytes, expect) in frames().filter(|frame| frame.1 == "rx") {
        let (messages, garbage) = decode(protocol, &[&bytes]);
        match expect {
            "valid" => assert!(
                garbage == 0 && !messages.is_empty() && !messages.contains(&Message::BadTag),
                "{bytes:02x?}"
            ),
            "valid-frame-bad-tag" => assert_eq!((messages, garbage), (vec![Message::BadTag], 0)),
            "invalid" => assert!(messages.is_empty() && garbage > 0, "{bytes:02x?}"),
            other => panic!("{direction}: unknown expectation {other}"),
        }
        counted += 1;
    }
    assert_eq!(counted, 26);
}

#[test]
fn published_commands_are_the_ones_that_are_sent() {
    let published = |hex: &str| frames().any(|frame| frame.1 == "tx" && hex::encode(&frame.2) == hex);
    let radio = |region| Radio { region, power_cdbm: 2_000, antennas: vec![1] };
    let sent = |steps: Vec<Step>, names: &[&str]| {
        for name in names {
            let step = steps.iter().find(|step| step.name == *name).unwrap();
            assert!(published(&hex::encode(&step.bytes)), "{name}: {:02x?}", step.bytes);
        }
    };
    sent(r200::steps(&radio(Region::Eu), r200::Flavour::Usual), &["stop", "module information", "power"]);
    sent(ruuvi::steps(), &["device id"]);
    sent(
        thingmagic::steps(&radio(Region::Us)),
        &["stop", "version", "region", "protocol Gen2", "power", "start"],
    );
}

#[test]
fn tags_carry_what_the_reader_said() {
    let tag = |protocol: &str, text: &str| match decode(protocol, &[&hex::decode(text).unwrap()]).0.pop() {
        Some(Message::Tag(seen)) => seen,
        other => panic!("{other:?}"),
    };
    let seen = tag("r200", "bb02220011c9340030751feb705c5904e3d50d703a76ef7e");
    assert_eq!(seen.epc, Epc::from_hex("30751feb705c5904e3d50d70").unwrap());
    assert_eq!((seen.rssi_cdbm, seen.antenna, seen.phase_ddeg), (-5_500, 1, None));
    let seen = tag(
        "thingmagic",
        "ff2822000010001b01ff0101c4110e16400000012700000500000f00803000000000000000000000001545e94a561d",
    );
    assert_eq!(seen.epc, Epc::from_hex("000000000000000000001545").unwrap());
    assert_eq!((seen.rssi_cdbm, seen.antenna), (-6_000, 1));
    assert_eq!((seen.phase_ddeg, seen.channel_khz), (Some(0), Some(923_200)));
}

#[test]
fn modules_say_what_they_are() {
    let module = |text: &str| match decode("thingmagic", &[&hex::decode(text).unwrap()]).0.pop() {
        Some(Message::Answer { module, .. }) => module.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        module("ff140300002301060038000201202409130201060800000010cb65"),
        "ThingMagic hardware 38.00.02.01 firmware 02.01.06.08 of 2024-09-13"
    );
    assert!(module("ff14030000220211003102000020230312230312000000001051e2").starts_with("Silion"));
}

#[test]
fn modules_say_how_warm_they_are() {
    let said = |frame: &[u8]| decode("thingmagic", &[frame]).0;
    let answer = Message::Answer { code: 0x72, module: None };
    assert_eq!(said(&reply(0x72, 0, &[0xFB])), [Message::Temperature(-5), answer]);
    // Status reports: with a frequency before the temperature, with an antenna behind it, without one.
    let report = |flags: u8, rest: &[u8]| {
        said(&reply(0x22, 0, &[&[0x10, 0, 0x1B, 1, 0xFF, 2, 0, flags], rest].concat())).remove(0)
    };
    assert_eq!(report(0x06, &[0x0D, 0x38, 0x90, 61]), Message::Temperature(61));
    assert_eq!(report(0x0C, &[61, 1, 1]), Message::Temperature(61));
    assert_eq!(report(0x08, &[1, 1]), Message::Idle);
    assert_eq!(report(0x06, &[0x0D]), Message::Idle, "cut short");
    let hot = Message::Refused { code: 0x22, why: "too hot (0504)".into() };
    assert_eq!(said(&reply(0x22, 0x0504, &[])), [hot]);
    // A stream that is stopped ends with the status that there is no tag.
    let stopped = Message::Answer { code: 0x2F, module: None };
    assert_eq!(said(&reply(0x2F, 0x0400, &[2])), [stopped]);
}

#[test]
fn modules_of_the_rare_framing_are_addressed_in_it() {
    let steps =
        r200::steps(&Radio { region: Region::Eu, power_cdbm: 2_000, antennas: vec![1] }, r200::Flavour::Rare);
    let power = steps.iter().find(|step| step.name == "power").unwrap();
    assert_eq!(hex::encode(&power.bytes), "aa00b6000207d08fdd");
    assert_eq!(
        decode("r200", &[&hex::decode("aa01ff00012021dd").unwrap()]).0,
        [Message::Fault("no free channel to hop to (20)".into())]
    );
}

/// Good replies of a protocol with garbage between them, and how many messages they make.
fn noisy(protocol: &'static str) -> impl Strategy<Value = (Vec<u8>, usize)> {
    let good: Vec<(Vec<u8>, usize)> = frames()
        .filter(|(p, direction, _, expect)| *p == protocol && *direction == "rx" && *expect == "valid")
        .map(|frame| (decode(protocol, &[&frame.2]).0.len(), frame.2))
        .map(|(messages, frame)| (frame, messages))
        .collect();
    let piece = prop_oneof![
        prop::sample::select(good),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|garbage| (garbage, 0)),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let messages = pieces.iter().map(|piece| piece.1).sum();
        (pieces.into_iter().flat_map(|piece| piece.0).collect(), messages)
    })
}

fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_chunking_decodes_alike(
        bytes in prop_oneof![
            FRAMED.map(noisy).prop_map(|lines| lines.into_iter().flat_map(|line| line.0).collect()),
            prop::collection::vec(any::<u8>(), 0..600),
        ],
        cuts in prop::collection::vec(0usize..600, 0..20),
    ) {
        for protocol in FRAMED {
            prop_assert_eq!(decode(protocol, &cut(&bytes, &cuts)), decode(protocol, &[&bytes]));
        }
    }

    #[test]
    fn garbage_costs_no_good_frame(
        lines in FRAMED.map(noisy),
        cuts in prop::collection::vec(0usize..600, 0..20),
    ) {
        for (protocol, (bytes, messages)) in FRAMED.into_iter().zip(lines) {
            prop_assert_eq!(decode(protocol, &cut(&bytes, &cuts)).0.len(), messages, "{}", protocol);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        for protocol in FRAMED {
            let mut decoder = Decoder::new(&settings(protocol));
            for chunk in bytes.chunks(7) {
                decoder.handle_bytes(chunk, |_| ());
                prop_assert!(decoder.pending.len() <= 262, "bounded");
            }
            decoder.give_up(|_| ());
            prop_assert!(decoder.pending.is_empty());
        }
    }
}

#[test]
fn who_hears_a_scanner_without_knowing_keeps_its_codes_in_one_place() {
    for protocol in
        [Protocol::ThingMagic, Protocol::R200, Protocol::Ruuvi, Protocol::Chafon, Protocol::Scanner]
    {
        let mut decoder = Decoder::hearing(protocol);
        let place = decoder.pending.as_ptr();
        // Codes, and what begins like the longest frame of any protocol.
        for begin in
            [b"4711-SECRET\r".as_slice(), b"4711-SEC", &[0xFF, 248], &[0xBB, 2, 0x22, 0, 255], &[0xCA, 255]]
        {
            for chunk in [begin, &[b'7'; 4_096], begin] {
                decoder.handle_bytes(chunk, |_| ());
                assert_eq!(decoder.pending.as_ptr(), place, "{protocol:?}");
            }
            decoder.give_up(|_| ());
            decoder.forget();
            assert_eq!((decoder.pending.as_ptr(), decoder.pending.capacity()), (place, SCANNED));
        }
    }
}
