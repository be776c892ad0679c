//! Frames of a receiver, published ones and any others; and movements through lost advertisements.

use super::sensors::Sensors;
use super::*;
use hangtag_protocol::clock::Uptime;
use proptest::prelude::*;

const MAC: Mac = Mac([0xC9, 0x44, 0x54, 0x29, 0xE3, 0x8D]);

fn said(frame: &[u8]) -> Message {
    assert_eq!(scan(frame), Scan::Frame(frame.len()), "{frame:02x?}");
    message(frame)
}

/// A report as a receiver sends it, with data of format 5 behind its first byte.
fn report_of(data: &[u8; 23]) -> Vec<u8> {
    let mut payload = MAC.0.to_vec();
    payload.extend([SEPARATOR, 0x02, 0x01, 0x04, 0x1B, 0xFF, 0x99, 0x04, 0x05]);
    payload.extend(data);
    payload.extend([SEPARATOR, 0xD8, SEPARATOR]);
    command(ADVERTISEMENT, &payload)
}

fn data(hex: &str) -> [u8; 23] {
    hex::decode(hex).unwrap()[1..].try_into().unwrap()
}

fn advert_of(hex: &str) -> Advert {
    match said(&report_of(&data(hex))) {
        Message::Advert(advert) => advert,
        other => panic!("{other:?}"),
    }
}

fn moved(moves: u8, sequence: u16) -> Advert {
    let (acceleration_mg, battery_mv) = (None, None);
    let (moves, sequence) = (Some(moves), Some(sequence));
    Advert { sensor: MAC, rssi_cdbm: -4_000, acceleration_mg, battery_mv, moves, sequence }
}

#[test]
fn published_reports_hold_this() {
    let expected = Advert {
        sensor: MAC,
        rssi_cdbm: -4_000,
        acceleration_mg: Some([11_344, 200, -992]),
        battery_mv: Some(2_914),
        moves: Some(240),
        sequence: Some(12_517),
    };
    for frame in [
        "ca2910c9445429e38d2c0201041bff9904050f274035c4542c5000c8fc20a456f030e5c9445429e38d2cd82cb30c0a",
        "ca2d12c9445429e38d2c0201041bff9904050f274035c4542c5000c8fc20a456f030e5c9445429e38d2cd82c1f25042cf0250a",
    ] {
        assert_eq!(said(&hex::decode(frame).unwrap()), Message::Advert(expected));
    }
    let id = said(&hex::decode("ca10112c0ccce151217de82ccce1deadbeef2cec360a").unwrap());
    let module = Some("Ruuvi receiver 2c0ccce151217de8".into());
    assert_eq!(id, Message::Answer { code: DEVICE_ID, module });
    assert_eq!(hex::encode(ask()), "ca0018368e0a");
    // Ruuvi's test sends other settings by the same command.
    assert_eq!(hex::encode(command(SET_ALL, &[1, 1, 0x2C, 0x7F, 0x2C])), "ca050f01012c7f2ca19f0a");
}

#[test]
fn format_5_at_its_limits() {
    let usual = advert_of("0512fc5394c37c0004fffc040cac364200cdcbb8334c884f");
    assert_eq!(usual.acceleration_mg, Some([4, -4, 1_036]));
    assert_eq!((usual.battery_mv, usual.moves, usual.sequence), (Some(2_977), Some(66), Some(205)));
    let highest = advert_of("057ffffffefffe7fff7fff7fffffdefefffecbb8334c884f");
    assert_eq!(highest.acceleration_mg, Some([32_767; 3]));
    assert_eq!((highest.battery_mv, highest.moves, highest.sequence), (Some(3_646), Some(254), Some(65_534)));
    let lowest = advert_of("058001000000008001800180010000000000cbb8334c884f");
    assert_eq!(lowest.acceleration_mg, Some([-32_767; 3]));
    assert_eq!((lowest.battery_mv, lowest.moves, lowest.sequence), (Some(1_600), Some(0), Some(0)));
    let absent = advert_of("058000ffffffff800080008000ffffffffffffffffffffff");
    assert_eq!((absent.acceleration_mg, absent.battery_mv), (None, None));
    assert_eq!((absent.moves, absent.sequence), (None, None));
}

#[test]
fn what_is_not_format_5_is_a_sign_of_life() {
    let of = |advertisement: &[u8]| {
        let parts = [&MAC.0[..], &[SEPARATOR], advertisement, &[SEPARATOR, 0xD8, SEPARATOR]].concat();
        said(&command(ADVERTISEMENT, &parts))
    };
    // Another maker, another format, a part that is longer than the advertisement, nothing.
    for advertisement in
        [&[0x05, 0xFF, 0x4C, 0x00, 0x05, 0x01][..], &[0x04, 0xFF, 0x99, 0x04, 0x03], &[0x1B, 0xFF, 0x99], &[]]
    {
        assert_eq!(of(advertisement), Message::Idle);
    }
    assert_eq!(said(&command(ADVERTISEMENT, &[1, 2, 3])), Message::BadTag);
    assert_eq!(said(&command(ADVERTISEMENT_2, &[1, 2, 3])), Message::BadTag);
    assert_eq!(said(&command(ASK_ALL, &[])), Message::Unset);
}

#[test]
fn a_lost_advertisement_loses_no_movement() {
    let mut sensors = Sensors::default();
    let mut moves = |moves, sequence| {
        sensors.handle_advert(&moved(moves, sequence), Uptime(sequence.into())).map(|motion| motion.moves)
    };
    assert_eq!(moves(66, 205), Some(0), "heard for the first time");
    assert_eq!(moves(66, 205), None, "the same measurement, sent again");
    assert_eq!(moves(66, 206), Some(0));
    // Ten advertisements are lost, and in them three movements.
    assert_eq!(moves(69, 217), Some(3));
    assert_eq!(moves(254, 300), Some(185));
    assert_eq!(moves(2, 301), Some(3), "254, 0, 1, 2");
    assert_eq!(moves(2, 65_534), Some(2), "a sequence that goes back is a new battery: it moved since");
    assert_eq!(moves(3, 1), Some(1), "the sequence begins anew");
}

#[test]
fn an_absent_count_forgets_nothing() {
    let mut sensors = Sensors::default();
    let absent = Advert { moves: None, sequence: None, ..moved(0, 0) };
    let mut moves = |advert| sensors.handle_advert(&advert, Uptime(0)).map(|motion| motion.moves);
    assert_eq!(moves(moved(7, 1)), Some(0));
    assert_eq!(moves(absent), Some(0));
    assert_eq!(moves(moved(9, 3)), Some(2));
}

#[test]
fn strangers_do_not_fill_the_memory() {
    let mut sensors = Sensors::default();
    for number in 0u16..10_000 {
        let [high, low] = number.to_be_bytes();
        let advert = Advert { sensor: Mac([0, 0, 0, 0, high, low]), ..moved(5, 1) };
        sensors.handle_advert(&advert, Uptime(number.into()));
        // Ours speaks all the time.
        sensors.handle_advert(&moved(u8::try_from(number % 255).unwrap(), number), Uptime(number.into()));
    }
    let motion = sensors.handle_advert(&moved(100, 10_000), Uptime(10_000)).unwrap();
    assert_eq!(motion.moves, 46, "9,999 mod 255 is 54");
}

proptest! {
    #[test]
    fn every_advertisement_is_read_as_it_was_written(
        axes: [i16; 3], battery in 0u16..=0x7FF, tx in 0u16..32, moves: u8, sequence: u16, around: [u8; 12],
    ) {
        let mut bytes = [0; 23];
        bytes[..6].copy_from_slice(&around[..6]);
        bytes[17..].copy_from_slice(&around[6..]);
        for (at, axis) in axes.iter().enumerate() {
            bytes[6 + 2 * at..8 + 2 * at].copy_from_slice(&axis.to_be_bytes());
        }
        bytes[12..14].copy_from_slice(&(battery << 5 | tx).to_be_bytes());
        bytes[14] = moves;
        bytes[15..17].copy_from_slice(&sequence.to_be_bytes());
        let expected = Advert {
            sensor: MAC,
            rssi_cdbm: -4_000,
            acceleration_mg: (!axes.contains(&i16::MIN)).then_some(axes),
            battery_mv: (battery != 0x7FF).then_some(1_600 + battery),
            moves: (moves != 255).then_some(moves),
            sequence: (sequence != 65_535).then_some(sequence),
        };
        prop_assert_eq!(said(&report_of(&bytes)), Message::Advert(expected));
    }

    #[test]
    fn any_losses_add_up_to_what_the_tag_counted(
        steps in prop::collection::vec((0u8..20, prop::bool::weighted(0.6)), 1..200),
    ) {
        let mut sensors = Sensors::default();
        sensors.handle_advert(&moved(250, 65_500), Uptime(0));
        let (mut counted, mut told, mut heard) = (0u32, 0u32, 0u32);
        for (number, (moves, lost)) in (1u16..).zip(&steps) {
            counted += u32::from(*moves);
            // Twelve in a row at most, so that less than a whole turn is lost.
            let lost = *lost && number % 12 != 0 && usize::from(number) != steps.len();
            if !lost {
                let sequence = u16::try_from((65_500 + u32::from(number)) % 65_535).unwrap();
                let moves = u8::try_from((250 + counted) % 255).unwrap();
                let motion = sensors.handle_advert(&moved(moves, sequence), Uptime(number.into())).unwrap();
                told += u32::from(motion.moves);
                heard = counted;
            }
        }
        prop_assert_eq!(told, heard);
    }

    #[test]
    fn any_payload_is_survived(code: u8, payload in prop::collection::vec(any::<u8>(), 0..=255)) {
        said(&command(code, &payload));
    }
}
