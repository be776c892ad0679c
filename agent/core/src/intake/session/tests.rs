//! Conversations with readers, in invented time.

use super::super::thingmagic::reply;
use super::super::{Code, LoyaltyPattern, Radio, Region};
use super::*;
use alloc::vec;
use hangtag_protocol::epc::Gtin;

const TAG: &str = "bb02220011c9340030751feb705c5904e3d50d703a76ef7e";
const NO_TAG: &str = "bb01ff000115167e";

fn radio() -> Radio {
    Radio { region: Region::Eu, power_cdbm: 2_600, antennas: vec![1] }
}

fn r200() -> Settings {
    Settings::R200(radio())
}

fn thingmagic() -> Settings {
    Settings::ThingMagic(radio())
}

/// Answers whatever an R200 session asks, up to the start; returns when the start was sent.
fn set_up(session: &mut Session, now: Uptime) {
    while let Some(sent) = session.poll_write() {
        match sent[2] {
            0x27 => return,
            code => {
                let mut answer = vec![0xBB, 1, code, 0, 1, 0];
                answer.push(answer[1..].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
                answer.push(0x7E);
                session.handle_bytes(&answer, now);
            }
        }
    }
    panic!("the session sent no start");
}

fn send(session: &mut Session, frame: &str, now: Uptime) {
    session.handle_bytes(&hex::decode(frame).unwrap(), now);
}

#[test]
fn sets_a_reader_up_and_reads() {
    let mut session = Session::new(&r200(), Uptime(0));
    set_up(&mut session, Uptime(10));
    assert_eq!(session.poll_notice(), Some(Notice::Module(String::new())));
    send(&mut session, TAG, Uptime(20));
    assert_eq!(session.poll_notice(), Some(Notice::Listening));
    let read = session.poll_read().unwrap();
    assert_eq!((read.at, read.rssi_cdbm), (Uptime(20), -5_500));
}

#[test]
fn starts_rounds_again_when_they_have_run_out() {
    let mut session = Session::new(&r200(), Uptime(0));
    set_up(&mut session, Uptime(10));
    send(&mut session, NO_TAG, Uptime(20));
    assert_eq!(session.poll_timeout(), Some((Uptime(2_020), Reason::Silence)));
    session.handle_timeout(Uptime(2_020));
    assert_eq!(session.poll_write().unwrap()[2], 0x27);
    send(&mut session, TAG, Uptime(2_100));
    assert!(session.poll_read().is_some());
    assert!(!matches!(session.poll_notice(), Some(Notice::Silent { .. })));
}

#[test]
fn a_reader_that_falls_silent_is_reported_and_set_up_again() {
    for settings in [r200(), thingmagic(), chafon(3_000)] {
        let mut session = Session::new(&settings, Uptime(0));
        let mut now = Uptime(0);
        let mut silent = 0;
        let mut stops = 0;
        while now < Uptime(60_000) {
            now = session.poll_timeout().unwrap().0;
            session.handle_timeout(now);
            while let Some(sent) = session.poll_write() {
                stops += u32::from(sent == session.steps[0].bytes);
            }
            while let Some(notice) = session.poll_notice() {
                assert!(matches!(notice, Notice::Silent { .. }));
                silent += 1;
            }
        }
        assert!((5..=20).contains(&silent), "{silent} notices in a minute");
        assert!(stops >= 2 * silent, "tries again for as long as it takes");
    }
}

#[test]
fn a_refused_region_is_named() {
    let mut session = Session::new(&thingmagic(), Uptime(0));
    session.state = State::Setting { step: 2, tries: 3, until: Uptime(500) };
    session.handle_bytes(&reply(0x97, 0x010B, &[]), Uptime(2));
    assert_eq!(
        session.poll_notice(),
        Some(Notice::Fault("\"region\" was refused: the region is not accepted (010b)".into()))
    );
}

#[test]
fn noise_is_no_sign_of_life() {
    let mut session = Session::listening(&r200(), Uptime(0));
    for now in (0..20_000).step_by(500).map(Uptime) {
        session.handle_bytes(&[0], now);
        session.handle_timeout(now);
    }
    assert!(matches!(session.poll_notice(), Some(Notice::Silent { .. })));
}

#[test]
fn half_a_frame_does_not_hold_up_the_next() {
    let mut session = Session::listening(&r200(), Uptime(0));
    // The start of a frame that claims 250 bytes of parameters, then a good frame.
    send(&mut session, "bb022200fa", Uptime(10));
    send(&mut session, TAG, Uptime(20));
    assert_eq!(session.poll_read(), None);
    assert_eq!(session.poll_timeout(), Some((Uptime(120), Reason::RestOfFrame)));
    session.handle_timeout(Uptime(120));
    assert!(session.poll_read().is_some());
    assert_eq!(session.garbage(), 5);
}

/// A Chafon UHFReader288 for Europe at 30 dBm, as its published reply has it.
const CHAFON: &str = "1100210000160c034e001e0a01000000e651";

fn chafon(power_cdbm: u16) -> Settings {
    let radio = Radio { region: Region::Eu, power_cdbm, antennas: vec![1, 2] };
    Settings::Chafon { radio, address: 0 }
}

/// What a Chafon reader with the address 0 says to a command.
fn say(session: &mut Session, code: u8, data: &[u8], now: Uptime) {
    session.handle_bytes(&chafon::command(0, code, data), now);
}

#[test]
fn a_chafon_reader_is_asked_for_every_round() {
    let mut session = Session::new(&chafon(3_000), Uptime(0));
    assert_eq!(session.poll_write().unwrap()[2], 0x21);
    // The end of a round that was asked for before the agent restarted.
    say(&mut session, 0x01, &[0x01, 1, 0], Uptime(3));
    assert_eq!(session.poll_write(), None);
    send(&mut session, CHAFON, Uptime(5));
    assert!(matches!(session.poll_notice(), Some(Notice::Module(module)) if module.contains("UHFReader288")));
    let first = session.poll_write().unwrap();
    assert_eq!((first[2], first[10]), (0x01, 0x80));
    say(&mut session, 0x01, &[0x03, 1, 1, 2, 0xE2, 0x00, 0x6B], Uptime(50));
    assert_eq!(session.poll_notice(), Some(Notice::Listening));
    assert_eq!(session.poll_read().unwrap().antenna, 1);
    assert_eq!(session.poll_write(), None, "more of this round follows");
    for (now, antenna) in [(100, 0x81), (150, 0x80), (200, 0x81)] {
        say(&mut session, 0x01, &[0xFB], Uptime(now));
        assert_eq!(session.poll_write().unwrap()[10], antenna);
    }
    // The end of a round is lost: the antenna is asked again.
    session.handle_timeout(Uptime(2_200));
    assert_eq!(session.poll_write().unwrap()[10], 0x81);
    say(&mut session, 0x01, &[0x01, 2, 0], Uptime(2_300));
    assert_eq!(session.poll_write().unwrap()[10], 0x80);
    assert_eq!(session.poll_notice(), None);
    session.handle_timeout(Uptime(4_300));
    session.handle_timeout(Uptime(6_300));
    assert!(matches!(session.poll_notice(), Some(Notice::Silent { .. })));
}

#[test]
fn a_chafon_reader_with_a_broken_antenna_reads_at_the_others() {
    let mut session = Session::new(&chafon(3_000), Uptime(0));
    session.poll_write();
    send(&mut session, CHAFON, Uptime(5));
    session.poll_notice();
    session.poll_write();
    say(&mut session, 0x01, &[0xF8], Uptime(10));
    assert_eq!(session.poll_notice(), Some(Notice::Listening));
    let fault = "an antenna is disconnected or damaged (f8)".into();
    assert_eq!(session.poll_notice(), Some(Notice::Fault(fault)));
    assert_eq!(session.poll_write().unwrap()[10], 0x81);
    say(&mut session, 0x01, &[0x01, 2, 1, 2, 0xE2, 0x00, 0x6B], Uptime(20));
    assert_eq!(session.poll_read().unwrap().antenna, 2);
}

#[test]
fn a_chafon_reader_that_differs_is_set() {
    let mut session = Session::new(&chafon(2_400), Uptime(0));
    session.poll_write();
    send(&mut session, CHAFON, Uptime(5));
    session.poll_notice();
    let power = session.poll_write().unwrap();
    assert_eq!(power[2..4], [0x2F, 24]);
    say(&mut session, 0x2F, &[0xFF], Uptime(6));
    assert_eq!(
        session.poll_notice(),
        Some(Notice::Fault("\"power\" was refused: a parameter is not accepted (ff)".into()))
    );
    // Tried again later, from the beginning.
    assert!(matches!(session.poll_notice(), Some(Notice::Silent { .. })));
    let (due, reason) = session.poll_timeout().unwrap();
    assert_eq!(reason, Reason::Retry);
    session.handle_timeout(due);
    assert_eq!(session.poll_write().unwrap()[2], 0x21);
}

const RUUVI_ID: &str = "ca10112c0ccce151217de82ccce1deadbeef2cec360a";

/// A report of a sensor tag that counted so many moves and measurements.
fn report(moves: u8, sequence: u8) -> Vec<u8> {
    let mut payload = hex::decode("c9445429e38d2c1bff99040512fc5394c37c0004fffc040cac36").unwrap();
    payload.extend([moves, 0, sequence, 0xC9, 0x44, 0x54, 0x29, 0xE3, 0x8D, 0x2C, 0xD8, 0x2C]);
    ruuvi::command(0x10, &payload)
}

#[test]
fn a_receiver_is_set_up_and_asked_when_no_tag_speaks() {
    let mut session = Session::new(&Settings::Ruuvi, Uptime(0));
    assert_eq!(session.poll_write(), Some(ruuvi::settings()));
    // An old one does not know the command.
    session.handle_timeout(Uptime(500));
    assert_eq!(session.poll_write(), Some(ruuvi::ask()));
    send(&mut session, RUUVI_ID, Uptime(510));
    assert_eq!(session.poll_notice(), Some(Notice::Module("Ruuvi receiver 2c0ccce151217de8".into())));
    assert_eq!(session.poll_notice(), Some(Notice::Listening));
    assert_eq!(session.poll_timeout(), Some((Uptime(10_510), Reason::Silence)));
    session.handle_timeout(Uptime(10_510));
    assert_eq!(session.poll_write(), Some(ruuvi::ask()));
    send(&mut session, RUUVI_ID, Uptime(10_520));
    // It lost its power for a moment.
    session.handle_bytes(&ruuvi::command(0x19, &[]), Uptime(11_000));
    assert_eq!(session.poll_write(), Some(ruuvi::settings()));
    session.handle_timeout(Uptime(21_000));
    session.handle_timeout(Uptime(23_000));
    assert_eq!(session.poll_notice(), Some(Notice::Module("Ruuvi receiver 2c0ccce151217de8".into())));
    assert!(matches!(session.poll_notice(), Some(Notice::Silent { .. })));
}

#[test]
fn what_moved_while_the_port_was_lost_is_told() {
    let mut session = Session::new(&Settings::Ruuvi, Uptime(0));
    session.handle_timeout(Uptime(500));
    session.handle_bytes(&report(66, 205), Uptime(600));
    assert_eq!(session.poll_notice(), Some(Notice::Listening));
    assert_eq!(session.poll_motion().unwrap().moves, 0);
    session.handle_bytes(&report(67, 206)[..20], Uptime(700));
    session.handle_reopened(Uptime(60_000));
    while session.poll_write().is_some() {}
    session.handle_timeout(Uptime(60_500));
    session.handle_bytes(&report(69, 250), Uptime(60_600));
    let motion = session.poll_motion().unwrap();
    assert_eq!((motion.moves, motion.acceleration_mg), (3, Some([4, -4, 1_036])));
    assert_eq!(session.garbage(), 20);
}

#[test]
fn a_scanner_is_asked_nothing_and_never_silent() {
    let loyalty = vec![LoyaltyPattern::new("LC*").unwrap()];
    let mut session = Session::new(&Settings::Scanner { loyalty }, Uptime(0));
    assert_eq!(session.poll_notice(), Some(Notice::Listening));
    assert_eq!((session.poll_write(), session.poll_timeout()), (None, None));
    session.handle_timeout(Uptime(3_600_000));
    session.handle_bytes(b"4006381333931\r\nLC12", Uptime(3_600_000));
    let product = Code::Product(Gtin::new("4006381333931").unwrap());
    assert_eq!(session.poll_scan(), Some(Scanned { at: Uptime(3_600_000), code: product }));
    // The rest of a line comes late, by radio; of another it never comes.
    session.handle_timeout(Uptime(3_600_300));
    session.handle_bytes(b"34\rLC5", Uptime(3_600_300));
    assert!(matches!(session.poll_scan().unwrap().code, Code::Loyalty(_)));
    assert_eq!(session.poll_timeout(), Some((Uptime(3_600_800), Reason::RestOfFrame)));
    session.handle_timeout(Uptime(3_600_800));
    session.handle_bytes(b"6\r", Uptime(3_601_000));
    assert_eq!(session.poll_scan().unwrap().code, Code::Unknown);
    assert_eq!((session.poll_notice(), session.garbage()), (None, 3));
    session.handle_reopened(Uptime(4_000_000));
    assert_eq!(session.poll_notice(), Some(Notice::Listening));
}

/// Answers whatever a ThingMagic session asks, up to the start; returns the codes that were asked.
fn set_up_thingmagic(session: &mut Session, temperature: &[u8], now: Uptime) -> Vec<u8> {
    let mut asked = Vec::new();
    while let Some(sent) = session.poll_write() {
        asked.push(sent[2]);
        session.handle_bytes(&temperature_or(&sent, temperature), now);
    }
    asked
}

fn temperature_or(sent: &[u8], temperature: &[u8]) -> Vec<u8> {
    match sent[2] {
        0x72 => temperature.to_vec(),
        code => reply(code, 0, &[]),
    }
}

#[test]
fn a_module_tells_its_temperature_if_it_can() {
    for (answer, told) in [(reply(0x72, 0, &[41]), Some(41)), (reply(0x72, 0x0101, &[]), None)] {
        let mut session = Session::new(&thingmagic(), Uptime(0));
        let asked = set_up_thingmagic(&mut session, &answer, Uptime(5));
        assert_eq!(asked, [0x2F, 0x03, 0x97, 0x93, 0x91, 0x92, 0x9A, 0x72, 0x2F]);
        assert!(matches!(session.poll_notice(), Some(Notice::Module(_))));
        if let Some(degrees) = told {
            assert_eq!(session.poll_notice(), Some(Notice::Temperature(degrees)));
        }
        assert_eq!(session.poll_notice(), Some(Notice::Listening));
    }
}

/// The published message of a tag that was read, with one bit of what the tag sent turned over.
fn ghost(bit: usize) -> Vec<u8> {
    let data =
        hex::decode("10001b01ff0101c4110e16400000012700000500000f00803000000000000000000000001545e94a");
    let mut data = data.unwrap();
    let sent = data.len() - 16;
    data[sent + bit / 8] ^= 0x80 >> (bit % 8);
    reply(0x22, 0, &data)
}

#[test]
fn what_noise_made_of_a_tag_is_counted_and_no_read() {
    let mut session = Session::listening(&thingmagic(), Uptime(0));
    for bit in 0..128 {
        session.handle_bytes(&ghost(bit), Uptime(1));
    }
    assert_eq!((session.poll_read(), session.bad_tags(), session.garbage()), (None, 128, 0));
    assert_eq!(session.poll_notice(), None);
    for bit in 0..100 {
        session.handle_bytes(&ghost(bit), Uptime(2));
    }
    let fault = "the data of all of the last 200 tags is damaged".into();
    assert_eq!((session.poll_notice(), session.poll_notice()), (Some(Notice::Fault(fault)), None));
}

#[test]
fn a_fault_is_over_after_a_while_without_one() {
    let mut session = Session::listening(&thingmagic(), Uptime(0));
    session.handle_bytes(&reply(0x22, 0x0504, &[]), Uptime(1_000));
    assert_eq!(session.poll_notice(), Some(Notice::Fault("too hot (0504)".into())));
    for now in (2_000..61_000).step_by(1_000) {
        session.handle_bytes(&reply(0x22, 0x0400, &[]), Uptime(now));
        assert_eq!(session.poll_notice(), None, "{now}");
    }
    session.handle_bytes(&reply(0x22, 0x0400, &[]), Uptime(61_000));
    assert_eq!(session.poll_notice(), Some(Notice::Recovered));
    session.handle_bytes(&reply(0x22, 0x0400, &[]), Uptime(62_000));
    assert_eq!(session.poll_notice(), None);
}

#[test]
fn a_module_that_does_not_answer_is_addressed_in_the_other_framing() {
    let mut session = Session::new(&r200(), Uptime(0));
    let mut heads = Vec::new();
    let mut now = Uptime(0);
    while heads.last() != Some(&0xAA) && now < Uptime(10_000) {
        heads.extend(session.poll_write().map(|sent| sent[0]));
        now = session.poll_timeout().unwrap().0;
        session.handle_timeout(now);
    }
    heads.extend(session.poll_write().map(|sent| sent[0]));
    assert_eq!(heads[..4], [0xBB, 0xBB, 0xBB, 0xAA]);
    send(&mut session, "aa01280001002add", now);
    assert_eq!(session.poll_write().unwrap()[..3], [0xAA, 0x00, 0x03]);
}

#[test]
fn a_reader_is_stopped_and_starts_again() {
    let stopped = [hex::decode("bb01280001002a7e").unwrap(), reply(0x2F, 0, &[0, 0, 2])];
    for (settings, answer) in [r200(), thingmagic()].into_iter().zip(stopped) {
        let mut session = Session::new(&settings, Uptime(0));
        let stop = session.poll_write().unwrap();
        session.state = State::Reading { nudged: false };
        session.handle_stop(Uptime(10));
        assert_eq!(session.poll_write(), Some(stop.clone()));
        // It is lost, and tags come that nobody wants.
        send(&mut session, TAG, Uptime(300));
        session.handle_timeout(Uptime(510));
        assert_eq!((session.poll_write(), session.poll_notice()), (Some(stop.clone()), None));
        session.handle_bytes(&answer, Uptime(520));
        assert_eq!((session.poll_notice(), session.poll_read()), (Some(Notice::Stopped), None));
        assert_eq!((session.poll_timeout(), session.poll_write()), (None, None));
        session.handle_reopened(Uptime(9_000));
        assert_eq!(session.poll_write(), Some(stop));
    }
}

#[test]
fn a_reader_that_does_not_stop_is_told_of_and_others_need_not() {
    let mut session = Session::new(&thingmagic(), Uptime(0));
    session.handle_stop(Uptime(0));
    for now in [500, 1_000, 1_500] {
        assert_eq!(session.poll_notice(), None);
        session.handle_timeout(Uptime(now));
    }
    assert!(matches!(session.poll_notice(), Some(Notice::Fault(why)) if why.contains("reads on")));
    assert_eq!(session.poll_notice(), Some(Notice::Stopped));
    for settings in [chafon(3_000), Settings::Ruuvi, Settings::Scanner { loyalty: Vec::new() }] {
        let mut session = Session::listening(&settings, Uptime(0));
        session.handle_stop(Uptime(5));
        assert!(matches!(session.state, State::Stopped) && session.poll_write().is_none());
    }
}
