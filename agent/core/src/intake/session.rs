//! One conversation with a reader. Enters: the bytes it sends, and time. Leaves: reads, bytes to send,
//! and notices of what the reader is doing.
//!
//! ```text
//!            answered                 tag, or "no tag"
//! Setting(0) ────────▶ … Setting(last) ──────────────▶ Reading
//!     ▲  no answer, 3 tries │                            │ silence
//!     └────── Waiting ◀─────┴────────────────────────────┘
//! ```
//!
//! From any of these it can be made to stop (`stop`).

pub mod notice;

mod silence;
mod stop;
mod turn;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::read::Read;

use super::decoder::Decoder;
use super::ruuvi::sensors::Sensors;
use super::{Message, Motion, Scanned, Settings, Step, chafon, r200, ruuvi, thingmagic};
use crate::backoff::Backoff;
pub use notice::{Notice, Reason};

/// How long a reader may take to answer a command, in milliseconds.
const ANSWER_MS: u64 = 500;
/// How often a command is sent before the reader is given up for a while.
const TRIES: u8 = 3;
/// A frame whose rest does not come for so many milliseconds was none.
const REST_OF_FRAME_MS: u64 = 100;
/// The same for a line of a scanner, which may send it by radio to its foot.
const REST_OF_LINE_MS: u64 = 500;
/// A reader that reported no fault for so many milliseconds has recovered.
const RECOVERED_MS: u64 = 60_000;
/// How long a reader may take to report again after it was nudged, in milliseconds.
const NUDGED_MS: u64 = 2_000;
/// So many tags in a row whose data is damaged are no ghosts: something is wrong with the reader.
const ALL_BAD: u32 = 200;

/// One conversation with a reader, from the opening of its port to its loss.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    decoder: Decoder,
    steps: Vec<Step>,
    /// Commands that ask a reader for one round each, in turn, where it must be asked for every one.
    rounds: Vec<Vec<u8>>,
    round: usize,
    state: State,
    retry: Backoff,
    /// When the last byte came, and the last good frame: noise is no sign of life.
    heard: Uptime,
    reported: Uptime,
    bad_tags: u64,
    /// How many of these came since the last good one.
    bad_in_a_row: u32,
    /// Which framing an R200 is addressed in.
    flavour: r200::Flavour,
    /// When it last reported a fault from which it has not recovered.
    fault: Option<Uptime>,
    sensors: Sensors,
    writes: VecDeque<Vec<u8>>,
    reads: VecDeque<Read>,
    motions: VecDeque<Motion>,
    scans: VecDeque<Scanned>,
    notices: VecDeque<Notice>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A step's command was sent.
    Setting { step: usize, tries: u8, until: Uptime },
    /// Rounds were started; `nudged` when they were started again after a silence.
    Reading { nudged: bool },
    /// The reader did not answer; it is tried again later.
    Waiting { until: Uptime },
    /// The command to stop was sent.
    Stopping { tries: u8, until: Uptime },
    /// Nobody wants to know what it reads.
    Stopped,
}

impl Session {
    /// Starts talking to a reader whose port was just opened.
    #[must_use]
    pub fn new(settings: &Settings, now: Uptime) -> Self {
        let mut session = Self {
            settings: settings.clone(),
            decoder: Decoder::new(settings),
            steps: Vec::new(),
            rounds: Vec::new(),
            round: 0,
            state: State::Waiting { until: now },
            retry: Backoff::new(1_000, 10_000),
            heard: now,
            reported: now,
            bad_tags: 0,
            bad_in_a_row: 0,
            flavour: r200::Flavour::Usual,
            fault: None,
            sensors: Sensors::default(),
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            motions: VecDeque::new(),
            scans: VecDeque::new(),
            notices: VecDeque::new(),
        };
        session.begin(now);
        session
    }

    /// A session that listens only: to a recording of a reader that was already reading.
    #[must_use]
    pub fn listening(settings: &Settings, now: Uptime) -> Self {
        let mut session = Self::new(settings, now);
        session.writes.clear();
        session.state = State::Reading { nudged: false };
        session
    }

    /// Starts over: the port was lost and is open again, perhaps with another reader behind it. What sensor
    /// tags counted is remembered, so that what moved meanwhile is told.
    pub fn handle_reopened(&mut self, now: Uptime) {
        self.decoder.forget();
        self.writes.clear();
        self.retry.reset();
        self.heard = now;
        self.reported = now;
        self.begin(now);
    }

    /// Takes what came in.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Uptime) {
        self.heard = now;
        let mut messages = Vec::new();
        self.decoder.handle_bytes(bytes, |message| messages.push(message));
        messages.into_iter().for_each(|message| self.handle_message(message, now));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        self.handle_rest(now);
        match self.state {
            State::Setting { step, tries, until } if now >= until => {
                if self.steps[step].optional {
                    self.send(step + 1, TRIES, now);
                } else if tries > 1 {
                    self.send(step, tries - 1, now);
                } else {
                    if step == 0 {
                        self.flavour = self.flavour.other();
                    }
                    self.give_up(format!("no answer to \"{}\"", self.steps[step].name), now);
                }
            }
            State::Reading { nudged } if self.silent_at(nudged).is_some_and(|at| now >= at) => {
                match self.nudge() {
                    Some(bytes) if !nudged => {
                        self.writes.push_back(bytes);
                        self.state = State::Reading { nudged: true };
                    }
                    Some(_) | None => self.give_up("it stopped reporting".into(), now),
                }
            }
            State::Waiting { until } if now >= until => self.begin(now),
            State::Stopping { tries, until } if now >= until => self.stop_again(tries, now),
            State::Setting { .. }
            | State::Reading { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Stopped => {}
        }
    }

    /// The next bytes to send.
    pub fn poll_write(&mut self) -> Option<Vec<u8>> {
        self.writes.pop_front()
    }

    /// The next read.
    pub fn poll_read(&mut self) -> Option<Read> {
        self.reads.pop_front()
    }

    /// The next motion of a sensor tag.
    pub fn poll_motion(&mut self) -> Option<Motion> {
        self.motions.pop_front()
    }

    /// The next scanned code.
    pub fn poll_scan(&mut self) -> Option<Scanned> {
        self.scans.pop_front()
    }

    /// The next notice.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Uptime, Reason)> {
        let state = match self.state {
            State::Setting { until, .. } | State::Stopping { until, .. } => Some((until, Reason::Answer)),
            State::Stopped => None,
            State::Reading { nudged } => self.silent_at(nudged).map(|at| (at, Reason::Silence)),
            State::Waiting { until } => Some((until, Reason::Retry)),
        };
        let rest = self.rest_timeout().map(|at| (at, Reason::RestOfFrame));
        // Of two that are due at once the state's comes first,
        [state, rest].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Bytes that belonged to no good frame, so far.
    #[must_use]
    pub fn garbage(&self) -> u64 {
        self.decoder.garbage()
    }

    /// Tags whose data was damaged, so far.
    #[must_use]
    pub fn bad_tags(&self) -> u64 {
        self.bad_tags
    }

    /// Begins to set the reader up.
    fn begin(&mut self, now: Uptime) {
        self.steps = match &self.settings {
            Settings::R200(radio) => r200::steps(radio, self.flavour),
            Settings::ThingMagic(radio) => thingmagic::steps(radio),
            Settings::Chafon { radio, address } => chafon::steps(radio, *address, None),
            Settings::Ruuvi => ruuvi::steps(),
            // It is asked nothing: that its port is open is all that can be known of it.
            Settings::Scanner { .. } => return self.read(),
        };
        self.send(0, TRIES, now);
    }

    /// Goes on with what depends on what the reader said of itself.
    fn meet(&mut self, info: &chafon::Info, now: Uptime) {
        self.notices.push_back(Notice::Module(format!("{info}")));
        if let (Settings::Chafon { radio, address }, State::Setting { step: 0, .. }) =
            (&self.settings, self.state)
        {
            self.steps = chafon::steps(radio, *address, Some(info));
            self.rounds = chafon::inventories(radio, *address, info.dialect());
            self.round = 0;
            self.send(1, TRIES, now);
        }
    }

    fn ask_for_the_next_round(&mut self) {
        self.round = (self.round + 1) % self.rounds.len().max(1);
        self.writes.extend(self.rounds.get(self.round).cloned());
    }

    fn handle_message(&mut self, message: Message, now: Uptime) {
        self.reported = now;
        if let Message::Answer { module: Some(module), .. } = &message {
            self.notices.push_back(Notice::Module(module.clone()));
        }
        if let Message::Temperature(degrees) = message {
            self.notices.push_back(Notice::Temperature(degrees));
        }
        if let Message::Reader(info) = &message {
            self.meet(info, now);
            return;
        }
        match self.state {
            State::Setting { step, .. } => {
                let last = step + 1 == self.steps.len();
                let Step { code, starts, optional, .. } = self.steps[step];
                match message {
                    Message::Answer { code: answered, .. } if answered == code && !last => {
                        self.send(step + 1, TRIES, now);
                    }
                    Message::Answer { code: answered, .. } if answered == code => self.read(),
                    Message::Tag(_)
                    | Message::BadTag
                    | Message::Idle
                    | Message::RoundOver
                    | Message::Advert(_)
                        if starts =>
                    {
                        self.read();
                        self.handle_message(message, now);
                    }
                    Message::Refused { code: refused, .. } if refused == code && optional => {
                        self.send(step + 1, TRIES, now);
                    }
                    Message::Refused { code: refused, why } if refused == code => {
                        self.refuse(step, &why, now);
                    }
                    Message::Fault(why) => self.refuse(step, &why, now),
                    // A module that was streaming before we came, or an answer that comes late.
                    Message::Tag(_)
                    | Message::BadTag
                    | Message::Idle
                    | Message::RoundOver
                    | Message::Reader(_)
                    | Message::Advert(_)
                    | Message::Unset
                    | Message::Temperature(_)
                    | Message::Scanned(_)
                    | Message::Answer { .. }
                    | Message::Refused { .. } => {}
                }
            }
            State::Reading { .. } => {
                self.state = State::Reading { nudged: false };
                match message {
                    Message::Tag(seen) => {
                        self.bad_in_a_row = 0;
                        self.reads.push_back(seen.at(now));
                    }
                    Message::BadTag => self.count_bad_tag(now),
                    Message::Refused { why, .. } | Message::Fault(why) => {
                        self.fault = Some(now);
                        self.notices.push_back(Notice::Fault(why));
                    }
                    Message::RoundOver => self.ask_for_the_next_round(),
                    Message::Advert(advert) => self.motions.extend(self.sensors.handle_advert(&advert, now)),
                    Message::Scanned(code) => self.scans.push_back(Scanned { at: now, code }),
                    // It has just got power.
                    Message::Unset => self.writes.push_back(ruuvi::settings()),
                    Message::Idle | Message::Temperature(_) | Message::Reader(_) | Message::Answer { .. } => {
                    }
                }
                if self.fault.is_some_and(|at| now.since(at) >= RECOVERED_MS) {
                    self.fault = None;
                    self.notices.push_back(Notice::Recovered);
                }
            }
            State::Stopping { .. } => self.handle_stopping(&message),
            State::Waiting { .. } | State::Stopped => {}
        }
    }

    fn count_bad_tag(&mut self, now: Uptime) {
        self.bad_tags += 1;
        self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
        if self.bad_in_a_row.is_multiple_of(ALL_BAD) {
            self.fault = Some(now);
            let why = format!("the data of all of the last {ALL_BAD} tags is damaged");
            self.notices.push_back(Notice::Fault(why));
        }
    }

    fn read(&mut self) {
        self.state = State::Reading { nudged: false };
        self.retry.reset();
        self.fault = None;
        self.notices.push_back(Notice::Listening);
    }

    fn refuse(&mut self, step: usize, why: &str, now: Uptime) {
        let name = self.steps[step].name;
        self.notices.push_back(Notice::Fault(format!("\"{name}\" was refused: {why}")));
        self.give_up(format!("\"{name}\" was refused"), now);
    }

    fn give_up(&mut self, why: String, now: Uptime) {
        self.notices.push_back(Notice::Silent { why });
        self.state = State::Waiting { until: now + self.retry.next_full_ms() };
    }

    fn send(&mut self, step: usize, tries: u8, now: Uptime) {
        self.writes.push_back(self.steps[step].bytes.clone());
        self.state = State::Setting { step, tries, until: now + ANSWER_MS };
    }
}

#[cfg(test)]
mod tests;
