//! Conversations with an invented R200 module that refuses, falls silent, echoes and stutters.

extern crate std;

use super::frame::sum;
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const EUROPE: Radio = Radio { region: 3, power_cdbm: 2_000 };
/// Published tag notices: -60 dBm and -57 dBm.
const TAGS: [&[u8]; 2] = [
    &[
        0xbb, 0x02, 0x22, 0x00, 0x11, 0xc4, 0x30, 0x00, 0xe2, 0x00, 0x00, 0x1d, 0x73, 0x15, 0x01, 0x65, 0x21,
        0x40, 0x8f, 0xc6, 0xb8, 0x3e, 0xc2, 0x7e,
    ],
    &[
        0xbb, 0x02, 0x22, 0x00, 0x11, 0xc7, 0x30, 0x00, 0xe2, 0x80, 0x68, 0x90, 0x00, 0x00, 0x50, 0x0e, 0x88,
        0xc6, 0xa4, 0xa7, 0x11, 0x9b, 0x29, 0x7e,
    ],
];
const NO_TAG_ROUND: &[u8] = &[0xbb, 0x01, 0xff, 0x00, 0x01, 0x15, 0x16, 0x7e];

fn hear(module: &mut R200, bytes: &[u8], at: u64) -> Vec<Seen> {
    let mut out = Vec::new();
    module.handle_bytes(bytes, Uptime(at), |seen| out.push(seen));
    out
}

const HEAD: u8 = 0xbb;
const END: u8 = 0x7e;

fn frame(kind: u8, code: u8, parameters: &[u8]) -> Vec<u8> {
    let mut frame = std::vec![HEAD, kind, code, 0, u8::try_from(parameters.len()).unwrap()];
    frame.extend(parameters);
    frame.push(sum(&frame[1..]));
    frame.push(END);
    frame
}

/// Answers every command well until the module is to read; what it was asked.
fn lead(module: &mut R200, now: u64) -> Vec<Vec<u8>> {
    let mut asked = Vec::new();
    while let Some(command) = module.poll_command(Uptime(now)) {
        let code = command[2];
        asked.push(command.to_vec());
        if code != POLL_MANY {
            assert!(hear(module, &frame(1, code, &[0]), now).is_empty());
        }
    }
    asked
}

fn reading() -> R200 {
    let mut module = R200::new();
    module.start(EUROPE, Uptime(0));
    lead(&mut module, 0);
    hear(&mut module, NO_TAG_ROUND, 0);
    assert_eq!(module.poll_turn(), Some(Turn::Reading));
    module
}

#[test]
fn commands_are_as_published_frames() {
    let mut module = R200::new();
    assert_eq!(module.poll_command(Uptime(0)), None, "without a region nothing is sent");
    module.start(EUROPE, Uptime(0));
    let asked = lead(&mut module, 0);
    let published: [&[u8]; 5] = [
        &[0xbb, 0x00, 0x28, 0x00, 0x00, 0x28, 0x7e],
        &[0xbb, 0x00, 0x03, 0x00, 0x01, 0x00, 0x04, 0x7e],
        &[0xbb, 0x00, 0x07, 0x00, 0x01, 0x03, 0x0b, 0x7e],
        &[0xbb, 0x00, 0xb6, 0x00, 0x02, 0x07, 0xd0, 0x8f, 0x7e],
        &[0xbb, 0x00, 0x27, 0x00, 0x03, 0x22, 0xff, 0xff, 0x4a, 0x7e],
    ];
    assert_eq!(asked, published);
    assert_eq!(module.poll_turn(), None, "it has not begun");
    assert_eq!(hear(&mut module, TAGS[0], 1).len(), 1);
    assert_eq!(module.poll_turn(), Some(Turn::Reading));
}

#[test]
fn published_tags_are_read() {
    let mut module = reading();
    let both = [TAGS[0], TAGS[1]].concat();
    let seen = hear(&mut module, &both, 1);
    let tags: Vec<_> = seen.iter().map(|seen| (std::format!("{}", seen.epc), seen.rssi_cdbm)).collect();
    assert_eq!(
        tags,
        [("e200001d7315016521408fc6".into(), -6_000), ("e28068900000500e88c6a4a7".into(), -5_700)]
    );
    assert_eq!(module.garbage(), 0);
}

#[test]
fn a_tag_with_a_wrong_checksum_is_a_sign_of_life_and_no_tag() {
    let mut module = reading();
    let mut parameters = TAGS[0][5..22].to_vec();
    parameters[5] ^= 1;
    assert!(hear(&mut module, &frame(2, TAG, &parameters), 1_900).is_empty());
    assert_eq!(module.poll_command(Uptime(2_100)), None);
    assert_eq!(module.poll_turn(), None);
}

#[test]
fn a_module_that_answers_nothing_is_told_and_asked_again() {
    let mut module = R200::new();
    module.start(EUROPE, Uptime(0));
    let mut asked = Vec::new();
    for at in 0..6_000 {
        if let Some(command) = module.poll_command(Uptime(at)) {
            asked.push((at, command[2]));
        }
        assert_eq!(module.poll_turn(), (at == 1_500 || at == 5_000).then_some(Turn::Silent), "{at}");
    }
    let often = [0, 500, 1_000, 3_500, 4_000, 4_500];
    assert_eq!(asked, often.map(|at| (at, STOP)));
}

/// The same frame as a module of the other framing says it.
fn rare(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let last = frame.len() - 1;
    (frame[0], frame[last]) = (0xaa, 0xdd);
    frame
}

#[test]
fn a_module_of_the_rare_framing_is_found_and_stays_known() {
    let mut module = R200::new();
    module.start(EUROPE, Uptime(0));
    let mut asked = Vec::new();
    for at in 0..4_000 {
        let Some(command) = module.poll_command(Uptime(at)) else { continue };
        // Such a module passes over everything else.
        if command[0] == 0xaa && command[command.len() - 1] == 0xdd {
            asked.push(command[2]);
            let code = command[2];
            let answer = if code == POLL_MANY { NO_TAG_ROUND.to_vec() } else { frame(1, code, &[0]) };
            hear(&mut module, &rare(&answer), at);
        }
    }
    assert_eq!(asked, [STOP, INFORMATION, REGION, POWER, POLL_MANY]);
    assert_eq!(module.poll_turn(), Some(Turn::Reading));
    // As published.
    assert_eq!(rare(TAGS[1])[..4], [0xaa, 0x02, 0x22, 0x00]);
    let seen = hear(&mut module, &rare(TAGS[1]), 4_000);
    assert_eq!(std::format!("{}", seen[0].epc), "e28068900000500e88c6a4a7");
    // Ends of both kinds are no frame, and a new order is in its own framing at once.
    let mut mixed = rare(TAGS[0]);
    mixed.pop();
    mixed.push(END);
    assert!(hear(&mut module, &mixed, 4_000).is_empty());
    module.start(EUROPE, Uptime(4_100));
    let heads: Vec<_> = (4_100..7_600).filter_map(|at| Some(module.poll_command(Uptime(at))?[0])).collect();
    assert_eq!(heads, [0xaa; 3], "and then it would be asked by the other");
    hear(&mut module, &rare(TAGS[0]), 7_500);
    assert_eq!(module.poll_command(Uptime(7_600)).unwrap()[0], 0xaa, "but it was heard");
}

#[test]
fn an_echo_says_nothing_of_the_framing() {
    let mut module = R200::new();
    module.start(EUROPE, Uptime(0));
    let (mut heads, mut last) = (Vec::new(), Command::new());
    for at in 0..8_400 {
        if let Some(command) = module.poll_command(Uptime(at)) {
            heads.push(command[0]);
            last = command;
        }
        // So late that the other framing is next.
        if at % 500 == 499 {
            hear(&mut module, &last, at);
        }
    }
    assert_eq!(heads, [[0xbb; 3], [0xaa; 3], [0xbb; 3]].concat());
}

#[test]
fn a_refusal_names_its_step_and_is_tried_again() {
    for (step, refused) in [(Step::Region, REGION), (Step::Power, POWER), (Step::Read, POLL_MANY)] {
        let mut module = R200::new();
        module.start(EUROPE, Uptime(0));
        while let Some(command) = module.poll_command(Uptime(0)) {
            let code = command[2];
            let answer = if code == refused { frame(1, ERROR, &[0x17]) } else { frame(1, code, &[0]) };
            hear(&mut module, &answer, 0);
        }
        assert_eq!(module.poll_turn(), Some(Turn::Refused(step, 0x17)));
        let due = module.poll_timeout().unwrap();
        assert_eq!(module.poll_command(due).unwrap()[2], STOP);
    }
}

#[test]
fn a_module_that_falls_silent_is_started_again() {
    let mut module = reading();
    hear(&mut module, TAGS[0], 500);
    assert_eq!(module.poll_command(Uptime(2_499)), None);
    assert_eq!(module.poll_command(Uptime(2_500)).unwrap()[2], STOP);
    assert_eq!(module.poll_turn(), Some(Turn::Silent));
    // What it says without being asked does not mean that it took the commands.
    assert_eq!(hear(&mut module, TAGS[1], 2_600).len(), 1);
    assert_eq!(module.poll_turn(), None);
}

#[test]
fn a_round_before_the_order_to_read_is_not_its_answer() {
    let mut module = R200::new();
    module.start(EUROPE, Uptime(0));
    for code in [STOP, INFORMATION, REGION, POWER] {
        assert_eq!(module.poll_command(Uptime(0)).unwrap()[2], code);
        hear(&mut module, &frame(1, code, &[0]), 0);
    }
    hear(&mut module, NO_TAG_ROUND, 0);
    assert_eq!(module.poll_turn(), None);
    assert_eq!(module.poll_command(Uptime(0)).unwrap()[2], POLL_MANY);
    hear(&mut module, NO_TAG_ROUND, 0);
    assert_eq!(module.poll_turn(), Some(Turn::Reading));
}

#[test]
fn an_echo_and_an_answer_to_something_else_lead_nowhere() {
    let mut module = R200::new();
    module.start(EUROPE, Uptime(0));
    let stop = module.poll_command(Uptime(0)).unwrap();
    hear(&mut module, &stop, 0);
    hear(&mut module, &frame(1, POWER, &[0]), 0);
    assert_eq!(module.poll_command(Uptime(1)), None);
    hear(&mut module, &frame(1, STOP, &[0]), 1);
    assert_eq!(module.poll_command(Uptime(1)).unwrap()[2], INFORMATION);
}

proptest! {
    /// Whatever stands between frames and however they are cut: each good frame is read, each once; unless the
    /// noise begins a frame itself, which only bytes of its head do.
    #[test]
    fn every_tag_is_found_between_noise(
        noise in prop::collection::vec(prop::collection::vec(prop::num::u8::ANY.prop_filter("head", |b| ![HEAD, 0xaa].contains(b)), 0..40), 1..20),
        cut in 1usize..50,
    ) {
        let mut bytes = Vec::new();
        for noise in &noise {
            bytes.extend(noise);
            bytes.extend(TAGS[0]);
        }
        let mut module = reading();
        let found: usize = bytes.chunks(cut).map(|chunk| hear(&mut module, chunk, 0).len()).sum();
        prop_assert_eq!(found, noise.len());
        prop_assert_eq!(module.garbage(), noise.iter().map(Vec::len).sum::<usize>() as u64);
    }

    /// No bytes make it panic, and a good frame after the longest that noise could promise is read.
    #[test]
    fn it_finds_its_way_back_from_anything(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut module = reading();
        hear(&mut module, &bytes, 0);
        hear(&mut module, &[0; MAX_FRAME], 0);
        prop_assert_eq!(hear(&mut module, TAGS[0], 0).len(), 1);
    }
}
