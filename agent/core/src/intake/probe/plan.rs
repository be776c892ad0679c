//! What a probe tries, in which order. Enters: what is known of the port before. Leaves: attempts, the mildest
//! first.
//!
//! | attempts | at baud | for |
//! |---|---|---|
//! | ask who was there before, twice | where it was | a reader that was plugged in again |
//! | listen | 115,200, 9,600, 57,600 | who speaks by itself |
//! | ask | 115,200: all; 57,600: Chafon, then the other modules | what left the factory so |
//! | ask | 38,400, 19,200, 9,600, 230,400, 460,800, 921,600 | what was set otherwise |
//!
//! Reader nodes are asked last at every speed: what is sent to them says nothing to any other reader.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hangtag_protocol::link::command::Query;
use hangtag_protocol::link::{Frame, Kind};

use super::super::{Protocol, Step, chafon, r200, ruuvi, thingmagic};
use super::{ANSWER_MS, TRIES, Who};

/// How long who speaks by itself may take, in milliseconds: a reading ThingMagic module without tags reports once
/// a second, and so does a sensor tag.
const LISTEN_MS: u64 = 1_300;
/// A Chafon reader that is switched to read by itself does so all the time.
const LISTEN_BRIEFLY_MS: u64 = 400;
/// How long an answer to a question may take, in milliseconds: twenty times what readers take, and the slowest
/// line and a USB adapter's pause on top.
const QUESTION_MS: u64 = 200;

/// What is known of a port before it is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The speed of the line in baud, if it is sure.
    pub baud: Option<u32>,
    /// Who was there before, and at which speed.
    pub before: Option<(Who, u32)>,
    /// The address that a Chafon reader has on an RS-485 line, 0 to 254; 255 asks whoever is there.
    pub address: u8,
}

impl Default for Known {
    fn default() -> Self {
        Self { baud: None, before: None, address: chafon::BROADCAST }
    }
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) baud: u32,
    pub(super) act: Act,
}

#[derive(Debug)]
pub(super) enum Act {
    Listen { for_ms: u64 },
    Ask { question: Vec<u8>, for_ms: u64 },
}

/// The attempts, and the speeds at which somebody is asked.
pub(super) fn plan(known: &Known) -> (VecDeque<Attempt>, Vec<u32>) {
    let mut plan = VecDeque::new();
    if let Some((who, baud)) = known.before {
        if who == Who::Reader(Protocol::Scanner) {
            plan.push_back(listen(baud, LISTEN_MS));
        }
        for _ in 0..TRIES {
            plan.extend(questions(who, known.address).map(|bytes| ask(baud, bytes, ANSWER_MS)));
        }
    }
    let speeds = match known.baud {
        Some(baud) => {
            plan.push_back(listen(baud, LISTEN_MS));
            alloc::vec![baud]
        }
        None => {
            plan.push_back(listen(115_200, LISTEN_MS));
            plan.push_back(listen(9_600, LISTEN_MS));
            plan.push_back(listen(57_600, LISTEN_BRIEFLY_MS));
            alloc::vec![115_200, 57_600, 38_400, 19_200, 9_600, 230_400, 460_800, 921_600]
        }
    };
    // ThingMagic is asked before Chafon at every speed: the question to all Chafon readers holds the byte with
    // which its commands begin. At Chafon's own speed hardly anything else is found.
    for &baud in &speeds {
        let who: &[Protocol] = match baud {
            115_200 => &[Protocol::ThingMagic, Protocol::R200, Protocol::Ruuvi, Protocol::Chafon],
            57_600 => &[Protocol::Chafon, Protocol::ThingMagic, Protocol::R200],
            ..57_600 => &[Protocol::ThingMagic, Protocol::R200, Protocol::Chafon],
            _ => &[Protocol::ThingMagic, Protocol::R200],
        };
        for who in who.iter().map(|protocol| Who::Reader(*protocol)).chain([Who::Node]) {
            plan.extend(questions(who, known.address).map(|bytes| ask(baud, bytes, QUESTION_MS)));
        }
    }
    (plan, speeds)
}

fn listen(baud: u32, for_ms: u64) -> Attempt {
    Attempt { baud, act: Act::Listen { for_ms } }
}

fn ask(baud: u32, question: Vec<u8>, for_ms: u64) -> Attempt {
    Attempt { baud, act: Act::Ask { question, for_ms } }
}

/// What makes somebody say what it is, and nothing else.
fn questions(who: Who, address: u8) -> impl Iterator<Item = Vec<u8>> {
    let steps = match who {
        Who::Node => alloc::vec![hello()],
        Who::Reader(Protocol::ThingMagic) => thingmagic::questions(),
        Who::Reader(Protocol::R200) => {
            let both = [r200::Flavour::Usual, r200::Flavour::Rare].map(r200::questions);
            both.into_iter().flatten().collect()
        }
        Who::Reader(Protocol::Chafon) => chafon::questions(address),
        Who::Reader(Protocol::Ruuvi) => ruuvi::questions(),
        Who::Reader(Protocol::Scanner) => Vec::new(),
    };
    steps.into_iter().filter(|step| step.name != "stop" && !step.optional).map(|step| step.bytes)
}

/// What makes a node introduce itself. Nodes answer with frames of their own, not with codes.
pub(super) fn hello() -> Step {
    Step::new("hello", 0, Frame::of(Kind::Query, 0, 0, &Query::Hello).to_vec())
}
