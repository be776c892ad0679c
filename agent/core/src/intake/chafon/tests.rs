//! Replies of Chafon readers, published ones and any others.

use super::*;
use alloc::vec;
use proptest::prelude::*;

const INFO: &str = "1100210000160c034e001e0a01000000e651";

fn radio(region: Region, power_cdbm: u16) -> Radio {
    Radio { region, power_cdbm, antennas: vec![1, 3] }
}

fn said(frame: &[u8], address: u8, dialect: Option<Dialect>) -> Vec<Message> {
    let mut messages = Vec::new();
    assert_eq!(scan(frame), Scan::Frame(frame.len()), "{frame:02x?}");
    message(frame, address, dialect, &mut |message| messages.push(message));
    messages
}

fn said_hex(frame: &str, dialect: Option<Dialect>) -> Vec<Message> {
    said(&hex::decode(frame).unwrap(), BROADCAST, dialect)
}

fn tag(epc: &str, antenna: u8, rssi_cdbm: i16) -> Message {
    Message::Tag(seen(&hex::decode(epc).unwrap(), antenna, rssi_cdbm).unwrap())
}

fn info(kind: u8, frequencies: [u8; 2], power_dbm: u8, scan_time_ds: u8) -> Info {
    Info { firmware: [2, 36], kind, frequencies, power_dbm, scan_time_ds }
}

#[test]
fn published_lists_hold_these_tags() {
    let two = "2300010301020c0000000000000000000003136b0c0000000000000000000003146c70f2";
    for dialect in [Some(Dialect::R288), None] {
        assert_eq!(
            said_hex(two, dialect),
            [
                tag("000000000000000000000313", 1, -2_200),
                tag("000000000000000000000314", 1, -2_100),
                Message::Idle
            ]
        );
        let third = said_hex("1500010304010c49440000000000000a0003346425c0", dialect);
        assert_eq!(third[0], tag("49440000000000000a000334", 3, -2_900));
        assert_eq!(said_hex("0700010101001e4b", dialect), [Message::RoundOver]);
    }
    let plain = "13000103010c0000000000000000000003133f39";
    for dialect in [Some(Dialect::R18), None] {
        assert_eq!(said_hex(plain, dialect)[0], tag("000000000000000000000313", 1, NO_RSSI_CDBM));
    }
    assert_eq!(said_hex(plain, Some(Dialect::R288)), [Message::BadTag, Message::Idle]);
}

#[test]
fn a_reader_says_what_it_is() {
    let [Message::Reader(info)] = said_hex(INFO, None)[..] else { panic!("no information") };
    assert_eq!(
        alloc::string::ToString::to_string(&info),
        "Chafon UHFReader288 type 0c firmware 0.22, band 4 channels 0 to 14, 30 dBm"
    );
    assert_eq!((info.dialect(), info.band(), info.scan_time_ds), (Dialect::R288, EU, 10));
}

#[test]
fn what_a_reader_has_in_its_eeprom_is_not_written_again() {
    let names = |radio: &Radio, info: Info| -> Vec<&str> {
        steps(radio, 0, Some(&info)).iter().map(|step| step.name).collect()
    };
    let eu = [0x4E, 0x00];
    assert_eq!(names(&radio(Region::Eu, 3_000), info(0x0C, eu, 30, 10)), ["reader information", "inventory"]);
    assert_eq!(
        names(&radio(Region::Us, 2_400), info(0x0C, eu, 30, 20)),
        ["reader information", "region", "power", "inventory"]
    );
    assert_eq!(
        names(&radio(Region::Eu, 3_000), info(0x09, eu, 30, 20)),
        ["reader information", "scan time", "inventory"]
    );
}

#[test]
fn regions_are_bands_and_channels() {
    // As two manuals have them, for readers of another protocol of the same makers too.
    assert_eq!(frequencies(Region::Us, Dialect::R288), Some([0x31, 0x80]));
    assert_eq!(frequencies(Region::Eu, Dialect::R18), Some([0x4E, 0x00]));
    assert_eq!(frequencies(Region::Eu, Dialect::R288), Some([0x83, 0x40]));
    assert_eq!(frequencies(Region::Korea, Dialect::R288), Some([0x1F, 0xC0]));
    assert_eq!(frequencies(Region::Japan, Dialect::R288), None);
    for region in [Region::Eu, Region::Us, Region::China, Region::Korea, Region::India, Region::Australia] {
        let set = frequencies(region, Dialect::R288).unwrap();
        assert!(info(0x0C, set, 30, 10).is_for(region, set));
        assert!(!info(0x0C, [0x2C, 0xA3], 30, 10).is_for(region, set), "{region:?}");
    }
}

#[test]
fn every_antenna_is_asked_in_turn() {
    let asked = inventories(&radio(Region::Eu, 3_000), BROADCAST, Dialect::R288);
    assert_eq!(asked.iter().map(|bytes| bytes[10]).collect::<Vec<_>>(), [0x80, 0x82]);
    let [only] = &inventories(&radio(Region::Eu, 3_000), BROADCAST, Dialect::R18)[..] else { panic!() };
    assert_eq!(hex::encode(only), "04ff011bb4");
    assert_eq!(hex::encode(command(BROADCAST, READER_INFORMATION, &[])), "04ff211995");
    // The published one: Q 15, antenna 1, two seconds.
    let published = command(BROADCAST, INVENTORY, &[0x0F, 0, 1, 0, 0, 0, 0, 0x80, 0x14]);
    assert_eq!(hex::encode(published), "0dff010f0001000000008014c03a");
}

#[test]
fn faults_are_told_in_words() {
    let reply = |code, data: &[u8]| command(0, code, data);
    assert_eq!(
        said(&reply(INVENTORY, &[0xF8]), 0, None),
        [Message::RoundOver, Message::Fault("an antenna is disconnected or damaged (f8)".into())]
    );
    assert_eq!(said(&reply(INVENTORY, &[0xFB]), 0, None), [Message::RoundOver]);
    let why = "a parameter is not accepted (ff)".into();
    assert_eq!(said(&reply(SET_REGION, &[0xFF]), 0, None), [Message::Refused { code: SET_REGION, why }]);
    let why = "it does not know a command (fe)".into();
    assert_eq!(said(&reply(INVENTORY, &[0xFE]), 0, None), [Message::Refused { code: INVENTORY, why }]);
}

#[test]
fn others_on_the_same_line_are_not_listened_to() {
    let list = hex::decode("1500010304010c49440000000000000a0003346425c0").unwrap();
    assert_eq!(said(&list, 5, None), []);
    assert_eq!(said(&list, 0, None).len(), 2);
    // The echo of a command to reader 5, as two-wire adapters give it.
    assert_eq!(said(&command(5, SET_POWER, &[24]), 5, None), []);
    assert_eq!(scan(&command(5, READER_INFORMATION, &[])), Scan::Garbage(1));
    assert_eq!(scan(&command(BROADCAST, SET_POWER, &[24])), Scan::Garbage(1));
}

proptest! {
    #[test]
    fn every_list_is_read_as_it_was_written(
        tags in prop::collection::vec((prop::collection::vec(any::<u8>(), 2..=18), any::<u8>()), 0..8),
        port in 1u8..=8,
        more: bool,
    ) {
        let status = if more { 3 } else { 1 };
        let last = || if more { Message::Idle } else { Message::RoundOver };
        let count = u8::try_from(tags.len()).unwrap();
        let mut of_288 = vec![status, 1 << (port - 1), count];
        let mut of_18 = vec![status, count];
        for (epc, rssi) in &tags {
            let length = u8::try_from(epc.len()).unwrap();
            of_18.push(length);
            of_18.extend(epc);
            of_288.push(length);
            of_288.extend(epc);
            of_288.push(*rssi);
        }
        let expected = |antenna, rssi_cdbm: fn(u8) -> i16| {
            let tags = tags.iter().map(|(epc, rssi)| Message::Tag(seen(epc, antenna, rssi_cdbm(*rssi)).unwrap()));
            tags.chain([last()]).collect::<Vec<_>>()
        };
        let cdbm = |rssi: u8| (i16::from(rssi) - RSSI_OFFSET_DB) * 100;
        prop_assert_eq!(said(&command(7, INVENTORY, &of_288), 7, Some(Dialect::R288)), expected(port, cdbm));
        prop_assert_eq!(said(&command(7, INVENTORY, &of_18), 7, Some(Dialect::R18)), expected(1, |_| NO_RSSI_CDBM));
    }
}
