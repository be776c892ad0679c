//! Which reader is at a port. Enters: what comes in at the port, and time. Leaves: speeds to set, questions to
//! send, and in the end which reader it is, or that none is known to be there.
//!
//! ```text
//!  listen ──▶ ask, at factory speeds ──▶ ask, at other speeds ──▶ nothing
//!    │ a frame       │ an answer               │                     ▲
//!    └───────────────┴───────▶ meet ◀──────────┘                     │
//!                               │ └── it does not say what it is ────┘ (by way of what is left to ask)
//!                             found
//! ```
//!
//! Who already speaks is heard before anything is sent: a module that an agent left reading, a receiver, a
//! scanner. Questions change nothing in any reader; those for others have a wrong checksum, or none, to each.
//! A module that is found reading is stopped as its driver does it, because it hears no question otherwise, and
//! stays stopped: nobody listens to it. What is set up in a reader is never changed. A reader node is only asked
//! to introduce itself, which it does at any time.

mod heard;
mod node;
mod outcome;
mod plan;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::Deframer;
use zeroize::Zeroizing;

use super::decoder::Decoder;
use super::{Message, Protocol, Step, chafon, r200, ruuvi, thingmagic};
use heard::Heard;
pub use outcome::{Action, Found, Outcome, Who};
pub use plan::Known;
use plan::{Act, Attempt};

/// The longest that a probe takes, in milliseconds.
pub const LONGEST_MS: u64 = 12_000;
/// How long a reader that was heard may take to answer, in milliseconds, and how often it is asked.
const ANSWER_MS: u64 = 400;
const TRIES: u8 = 2;
/// So many good frames of a receiver of sensor tags are no accident, even if it does not say what it is.
const NO_ACCIDENT: u8 = 2;

/// The search for the reader at one port.
pub struct Probe {
    plan: VecDeque<Attempt>,
    speeds: Vec<u32>,
    known: Known,
    state: State,
    ends: Uptime,
    baud: u32,
    ears: [(Protocol, Decoder); 5],
    node_ear: Deframer,
    heard: Heard,
    /// Of whom a frame was heard who then did not say what it is.
    mute: Option<Who>,
    actions: VecDeque<Action>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum State {
    /// Something of the plan is tried.
    Trying { until: Uptime },
    /// Somebody was heard, and is asked what it is.
    Meeting(Meeting),
    /// It is over.
    Over,
}

#[derive(Debug)]
struct Meeting {
    found: Found,
    steps: VecDeque<Step>,
    frames: u8,
    tries: u8,
    until: Uptime,
}

impl Probe {
    /// Begins to find out who is at a port that was just opened.
    #[must_use]
    pub fn new(known: &Known, now: Uptime) -> Self {
        let (plan, speeds) = plan::plan(known);
        let ears =
            [Protocol::ThingMagic, Protocol::R200, Protocol::Ruuvi, Protocol::Chafon, Protocol::Scanner];
        let mut probe = Self {
            plan,
            speeds,
            known: *known,
            state: State::Trying { until: now },
            ends: now + LONGEST_MS,
            baud: 0,
            ears: ears.map(|protocol| (protocol, Decoder::hearing(protocol))),
            node_ear: Deframer::new(),
            heard: Heard::new(),
            mute: None,
            actions: VecDeque::new(),
            outcome: None,
        };
        probe.go_on(now);
        probe
    }

    /// Takes what came in.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Uptime) {
        self.heard.take(bytes);
        let mut messages = Vec::new();
        for (protocol, ear) in &mut self.ears {
            ear.handle_bytes(bytes, |message| messages.push((*protocol, message)));
        }
        messages.into_iter().for_each(|(protocol, message)| self.handle_message(protocol, message, now));
        self.hear_node(bytes, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        // What looks like the beginning of a frame may hide a whole one.
        let mut messages = Vec::new();
        for (protocol, ear) in &mut self.ears {
            ear.give_up(|message| messages.push((*protocol, message)));
        }
        messages.into_iter().for_each(|(protocol, message)| self.handle_message(protocol, message, now));
        // One of these may have put off what was due.
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match &mut self.state {
            _ if now >= self.ends => self.end_late(),
            State::Trying { .. } => self.go_on(now),
            State::Meeting(meeting) if meeting.tries > 1 => {
                meeting.tries -= 1;
                meeting.until = now + ANSWER_MS;
                let bytes = meeting.steps.front().map(|step| step.bytes.clone());
                self.actions.extend(bytes.map(Action::Send));
            }
            State::Meeting(_) => self.unanswered(now),
            State::Over => {}
        }
    }

    /// The next thing to do at the port.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What it came to, once; then it is over.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; never when it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        match &self.state {
            State::Trying { until } | State::Meeting(Meeting { until, .. }) => Some((*until).min(self.ends)),
            State::Over => None,
        }
    }

    /// What a scanner sent by which it was known: the codes in it are still to be read.
    #[must_use]
    pub fn take_heard(&mut self) -> Zeroizing<Vec<u8>> {
        self.heard.take_bytes()
    }

    /// Tries what comes next in the plan.
    fn go_on(&mut self, now: Uptime) {
        let Some(Attempt { baud, act }) = self.plan.pop_front() else { return self.end() };
        self.set_speed(baud);
        let (for_ms, question) = match act {
            Act::Listen { for_ms } => (for_ms, None),
            Act::Ask { question, for_ms } => (for_ms, Some(question)),
        };
        self.actions.extend(question.map(Action::Send));
        self.state = State::Trying { until: now + for_ms };
    }

    fn set_speed(&mut self, baud: u32) {
        if self.baud != baud {
            self.baud = baud;
            self.heard.begin_anew();
            self.ears.iter_mut().for_each(|(_, ear)| ear.forget());
            self.node_ear = Deframer::new();
            self.actions.push_back(Action::Speed(baud));
        }
    }

    fn handle_message(&mut self, protocol: Protocol, message: Message, now: Uptime) {
        match &mut self.state {
            State::Trying { .. } if protocol == Protocol::Scanner => {
                if self.heard.has_code() {
                    let who = Who::Reader(protocol);
                    self.finish(Found { who, baud: self.baud, module: None, was_reading: true });
                }
            }
            State::Trying { .. } => self.meet(protocol, message, now),
            State::Meeting(meeting) if meeting.found.who == Who::Reader(protocol) => {
                meeting.frames = meeting.frames.saturating_add(u8::from(is_report(&message)));
                let Some(step) = meeting.steps.front() else { return };
                let (code, optional) = (step.code, step.optional);
                match message {
                    Message::Reader(info) => self.said(format!("{info}"), now),
                    Message::Answer { code: answered, module: Some(module) } if answered == code => {
                        self.said(module, now);
                    }
                    Message::Answer { code: answered, module: None } if answered == code => {
                        self.next_step(now);
                    }
                    Message::Refused { code: refused, .. } if refused == code && optional => {
                        self.next_step(now);
                    }
                    Message::Fault(_) if optional => self.next_step(now),
                    Message::Tag(_) | Message::BadTag | Message::Idle if !meeting.found.was_reading => {
                        meeting.found.was_reading = true;
                        let stop = match protocol {
                            Protocol::ThingMagic => thingmagic::questions().into_iter().next(),
                            Protocol::R200 => r200::questions(self.heard.flavour()).into_iter().next(),
                            Protocol::Chafon | Protocol::Ruuvi | Protocol::Scanner => None,
                        };
                        if let Some(stop) = stop {
                            meeting.steps.push_front(stop);
                            self.ask(now);
                        }
                    }
                    // What it was reading when it was stopped.
                    Message::Answer { .. }
                    | Message::Refused { .. }
                    | Message::Fault(_)
                    | Message::Tag(_)
                    | Message::BadTag
                    | Message::Idle
                    | Message::RoundOver
                    | Message::Temperature(_)
                    | Message::Advert(_)
                    | Message::Unset
                    | Message::Scanned(_) => {}
                }
            }
            State::Meeting(_) | State::Over => {}
        }
    }

    /// Asks who was heard what it is, unless it has just said it.
    fn meet(&mut self, protocol: Protocol, message: Message, now: Uptime) {
        let flavour = self.heard.flavour();
        let mut steps: VecDeque<Step> = match protocol {
            Protocol::ThingMagic => thingmagic::questions().into(),
            Protocol::R200 => r200::questions(flavour).into(),
            Protocol::Chafon => chafon::questions(self.known.address).into(),
            Protocol::Ruuvi => ruuvi::questions().into(),
            // It is known by what it scans.
            Protocol::Scanner => return,
        };
        let was_reading = match &message {
            Message::Tag(_)
            | Message::BadTag
            | Message::Idle
            | Message::RoundOver
            | Message::Fault(_)
            | Message::Advert(_)
            | Message::Scanned(_) => true,
            Message::Reader(_)
            | Message::Answer { .. }
            | Message::Refused { .. }
            | Message::Unset
            | Message::Temperature(_) => false,
        };
        // What it has said it need not say again, and who is silent need not be stopped.
        while steps.front().is_some_and(|step| !was_reading && step.name == "stop") {
            steps.pop_front();
        }
        let found = Found { who: Who::Reader(protocol), baud: self.baud, module: None, was_reading };
        let (frames, until) = (u8::from(is_report(&message)), now + ANSWER_MS);
        let module = match message {
            Message::Reader(info) => Some(format!("{info}")),
            Message::Answer { module, .. } => module,
            Message::Tag(_)
            | Message::BadTag
            | Message::Idle
            | Message::Refused { .. }
            | Message::Fault(_)
            | Message::RoundOver
            | Message::Temperature(_)
            | Message::Advert(_)
            | Message::Unset
            | Message::Scanned(_) => None,
        };
        self.state = State::Meeting(Meeting { found, steps, frames, tries: TRIES, until });
        match module {
            Some(module) => self.said(module, now),
            None => self.ask(now),
        }
    }

    /// It said what it is, or a part of that.
    fn said(&mut self, said: String, now: Uptime) {
        if let State::Meeting(Meeting { found, .. }) = &mut self.state {
            found.module = Some(match found.module.take() {
                Some(before) if before != said => format!("{before}, firmware {said}"),
                Some(_) | None => said,
            });
        }
        self.next_step(now);
    }

    fn next_step(&mut self, now: Uptime) {
        if let State::Meeting(meeting) = &mut self.state {
            meeting.steps.pop_front();
        }
        self.ask(now);
    }

    /// Sends the question that is due; when none is left all is known.
    fn ask(&mut self, now: Uptime) {
        let State::Meeting(meeting) = &mut self.state else { return };
        match meeting.steps.front() {
            Some(step) => {
                self.actions.push_back(Action::Send(step.bytes.clone()));
                (meeting.tries, meeting.until) = (TRIES, now + ANSWER_MS);
            }
            None => {
                let found = meeting.found.clone();
                self.finish(found);
            }
        }
    }

    /// A question stays without an answer.
    fn unanswered(&mut self, now: Uptime) {
        let State::Meeting(Meeting { found, steps, frames, .. }) = &self.state else { return };
        let sure = match found.who {
            Who::Node => true,
            Who::Reader(protocol) => protocol == Protocol::Ruuvi && *frames >= NO_ACCIDENT,
        };
        if steps.front().is_some_and(|step| step.optional || step.name == "stop") {
            self.next_step(now);
        } else if sure {
            let found = found.clone();
            self.finish(found);
        } else {
            self.mute = Some(found.who);
            self.go_on(now);
        }
    }

    fn finish(&mut self, found: Found) {
        self.outcome = Some(Outcome::Found(found));
        self.state = State::Over;
    }

    /// The time is over. Who has already said what it is need say no more.
    fn end_late(&mut self) {
        match &self.state {
            State::Meeting(Meeting { found, .. }) if found.module.is_some() => {
                let found = found.clone();
                self.finish(found);
            }
            State::Meeting(_) | State::Trying { .. } | State::Over => self.end(),
        }
    }

    fn end(&mut self) {
        let speeds: Vec<String> = self.speeds.iter().map(|speed| format!("{speed}")).collect();
        let tried =
            format!("ThingMagic, R200, Chafon, Ruuvi and nodes were asked at {} baud", speeds.join(", "));
        let came = match (self.mute, self.heard.count()) {
            (Some(who), _) => format!("a frame of \"{who}\" came, but it does not say what it is"),
            (None, 0) => "nothing came back; a scanner is only heard when it scans".into(),
            (None, bytes) => format!("{bytes} bytes came that are of no reader that is known"),
        };
        self.outcome = Some(Outcome::Nothing { why: format!("{came}; {tried}") });
        self.state = State::Over;
    }
}

/// What a receiver of sensor tags sends by itself. An echo of a question, on a line that gives back what is sent,
/// is none.
fn is_report(message: &Message) -> bool {
    matches!(message, Message::Advert(_) | Message::Idle | Message::Unset)
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe {{ {:?}, {} baud, {} bytes heard }}", self.state, self.baud, self.heard.count())
    }
}

#[cfg(test)]
mod tests;
