//! One conversation with a reader. Enters: the bytes it sends, and time. Leaves: reads, bytes to send,
//! and notices of what the reader is doing.
//!
//! ```text
//!            answered                 tag, or "no tag"
//! Setting(0) ────────▶ … Setting(last) ──────────────▶ Reading
//!     ▲  no answer, 3 tries │                            │ silence
//!     └────── Waiting ◀─────┴────────────────────────────┘
//! ```

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::read::Read;

use super::{Decoder, Message, Protocol, Settings, Step, r200, thingmagic};
use crate::backoff::Backoff;

/// How long a reader may take to answer a command, in milliseconds.
const ANSWER_MS: u64 = 500;
/// How often a command is sent before the reader is given up for a while.
const TRIES: u8 = 3;
/// A frame whose rest does not come for so many milliseconds was none.
const REST_OF_FRAME_MS: u64 = 100;
/// A reading module reports about once a second, be it that it sees no tag. This many milliseconds without
/// a report mean that an R200's rounds have run out, or that a ThingMagic module is gone.
fn silence_ms(protocol: Protocol) -> u64 {
    match protocol {
        Protocol::R200 => 2_000,
        Protocol::ThingMagic => 3_000,
    }
}

/// What a reader is doing, told as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It reads: from here on, silence means that there is no tag.
    Listening,
    /// It does not answer, or stopped reading.
    Silent {
        /// At which step, in words.
        why: String,
    },
    /// It said what it is.
    Module(String),
    /// It reports a fault, in words.
    Fault(String),
}

/// Why a session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A command should have been answered by then.
    Answer,
    /// The rest of a frame should have come by then.
    RestOfFrame,
    /// The reader should have reported something by then.
    Silence,
    /// The next attempt to set the reader up.
    Retry,
}

/// One conversation with a reader, from the opening of its port to its loss.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    decoder: Decoder,
    steps: Vec<Step>,
    state: State,
    retry: Backoff,
    /// When the last byte came, and the last good frame: noise is no sign of life.
    heard: Uptime,
    reported: Uptime,
    bad_tags: u64,
    writes: VecDeque<Vec<u8>>,
    reads: VecDeque<Read>,
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
}

impl Session {
    /// Starts talking to a reader whose port was just opened.
    #[must_use]
    pub fn new(settings: &Settings, now: Uptime) -> Self {
        let steps = match settings.protocol {
            Protocol::R200 => r200::steps(settings),
            Protocol::ThingMagic => thingmagic::steps(settings),
        };
        let mut session = Self {
            protocol: settings.protocol,
            decoder: Decoder::new(settings.protocol),
            steps,
            state: State::Waiting { until: now },
            retry: Backoff::new(1_000, 10_000),
            heard: now,
            reported: now,
            bad_tags: 0,
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            notices: VecDeque::new(),
        };
        session.send(0, TRIES, now);
        session
    }

    /// A session that listens only: to a recording of a reader that was already reading.
    #[must_use]
    pub fn listening(protocol: Protocol, now: Uptime) -> Self {
        let settings = Settings { protocol, region: super::Region::Eu, power_cdbm: 0, antennas: Vec::new() };
        let mut session = Self::new(&settings, now);
        session.writes.clear();
        session.state = State::Reading { nudged: false };
        session
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
        if !self.decoder.pending.is_empty() && now >= self.heard + REST_OF_FRAME_MS {
            let mut messages = Vec::new();
            while !self.decoder.pending.is_empty() {
                self.decoder.skip(|message| messages.push(message));
            }
            messages.into_iter().for_each(|message| self.handle_message(message, now));
        }
        match self.state {
            State::Setting { step, tries, until } if now >= until => {
                if tries > 1 {
                    self.send(step, tries - 1, now);
                } else {
                    self.give_up(format!("no answer to \"{}\"", self.steps[step].name), now);
                }
            }
            State::Reading { nudged } if now >= self.silent_at(nudged) => {
                let rounds_may_have_run_out = self.protocol == Protocol::R200;
                if rounds_may_have_run_out && !nudged {
                    let start = self.steps.last().expect("every protocol has steps");
                    self.writes.push_back(start.bytes.clone());
                    self.state = State::Reading { nudged: true };
                } else {
                    self.give_up("it stopped reporting".into(), now);
                }
            }
            State::Waiting { until } if now >= until => self.send(0, TRIES, now),
            State::Setting { .. } | State::Reading { .. } | State::Waiting { .. } => {}
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

    /// The next notice.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Uptime, Reason)> {
        let state = match self.state {
            State::Setting { until, .. } => (until, Reason::Answer),
            State::Reading { nudged } => (self.silent_at(nudged), Reason::Silence),
            State::Waiting { until } => (until, Reason::Retry),
        };
        let rest = (self.heard + REST_OF_FRAME_MS, Reason::RestOfFrame);
        Some(if !self.decoder.pending.is_empty() && rest.0 < state.0 { rest } else { state })
    }

    /// Bytes that belonged to no good frame, so far.
    #[must_use]
    pub fn garbage(&self) -> u64 {
        self.decoder.garbage
    }

    /// Tags whose data was damaged, so far.
    #[must_use]
    pub fn bad_tags(&self) -> u64 {
        self.bad_tags
    }

    fn silent_at(&self, nudged: bool) -> Uptime {
        let silence_ms = silence_ms(self.protocol);
        self.reported + if nudged { 2 * silence_ms } else { silence_ms }
    }

    fn handle_message(&mut self, message: Message, now: Uptime) {
        self.reported = now;
        if let Message::Answer { module: Some(module), .. } = &message {
            self.notices.push_back(Notice::Module(module.clone()));
        }
        match self.state {
            State::Setting { step, .. } => {
                let last = step + 1 == self.steps.len();
                let code = self.steps[step].code;
                match message {
                    Message::Answer { code: answered, .. } if answered == code && !last => {
                        self.send(step + 1, TRIES, now);
                    }
                    Message::Answer { code: answered, .. } if answered == code => self.read(),
                    // An R200 answers a start with the first round itself.
                    Message::Tag(_) | Message::Idle if last => {
                        self.read();
                        self.handle_message(message, now);
                    }
                    Message::Refused { code: refused, why } if refused == code => {
                        self.refuse(step, &why, now);
                    }
                    Message::Fault(why) => self.refuse(step, &why, now),
                    // A module that was streaming before we came, or an answer that comes late.
                    Message::Tag(_)
                    | Message::BadTag
                    | Message::Idle
                    | Message::Answer { .. }
                    | Message::Refused { .. } => {}
                }
            }
            State::Reading { .. } => {
                self.state = State::Reading { nudged: false };
                match message {
                    Message::Tag(seen) => self.reads.push_back(Read {
                        at: now,
                        epc: seen.epc,
                        antenna: seen.antenna,
                        rssi_cdbm: seen.rssi_cdbm,
                        phase_ddeg: seen.phase_ddeg,
                        channel_khz: seen.channel_khz,
                    }),
                    Message::BadTag => self.bad_tags += 1,
                    Message::Refused { why, .. } | Message::Fault(why) => {
                        self.notices.push_back(Notice::Fault(why));
                    }
                    Message::Idle | Message::Answer { .. } => {}
                }
            }
            State::Waiting { .. } => {}
        }
    }

    fn read(&mut self) {
        self.state = State::Reading { nudged: false };
        self.retry.reset();
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
mod tests {
    use super::super::Region;
    use super::*;
    use alloc::vec;

    const TAG: &str = "bb02220011c9340030751feb705c5904e3d50d703a76ef7e";
    const NO_TAG: &str = "bb01ff000115167e";

    fn settings(protocol: Protocol) -> Settings {
        Settings { protocol, region: Region::Eu, power_cdbm: 2_600, antennas: vec![1] }
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
        let mut session = Session::new(&settings(Protocol::R200), Uptime(0));
        set_up(&mut session, Uptime(10));
        assert_eq!(session.poll_notice(), Some(Notice::Module(String::new())));
        send(&mut session, TAG, Uptime(20));
        assert_eq!(session.poll_notice(), Some(Notice::Listening));
        let read = session.poll_read().unwrap();
        assert_eq!((read.at, read.rssi_cdbm), (Uptime(20), -5_500));
    }

    #[test]
    fn starts_rounds_again_when_they_have_run_out() {
        let mut session = Session::new(&settings(Protocol::R200), Uptime(0));
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
        for protocol in [Protocol::R200, Protocol::ThingMagic] {
            let mut session = Session::new(&settings(protocol), Uptime(0));
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
        let mut session = Session::new(&settings(Protocol::ThingMagic), Uptime(0));
        session.state = State::Setting { step: 2, tries: 3, until: Uptime(500) };
        let refusal = {
            // Reply to 97 with status 010B.
            let body = [0x00, 0x97, 0x01, 0x0B];
            let crc = body.iter().flat_map(|b| [b >> 4, b & 15]).fold(0xFFFFu16, |crc, nibble| {
                (crc << 4 | u16::from(nibble)) ^ (crc >> 12).wrapping_mul(0x1021)
            });
            [&[0xFF][..], &body, &crc.to_be_bytes()].concat()
        };
        session.handle_bytes(&refusal, Uptime(2));
        assert_eq!(
            session.poll_notice(),
            Some(Notice::Fault("\"region\" was refused: the region is not accepted (010b)".into()))
        );
    }

    #[test]
    fn noise_is_no_sign_of_life() {
        let mut session = Session::listening(Protocol::R200, Uptime(0));
        for now in (0..20_000).step_by(500).map(Uptime) {
            session.handle_bytes(&[0], now);
            session.handle_timeout(now);
        }
        assert!(matches!(session.poll_notice(), Some(Notice::Silent { .. })));
    }

    #[test]
    fn half_a_frame_does_not_hold_up_the_next() {
        let mut session = Session::listening(Protocol::R200, Uptime(0));
        // The start of a frame that claims 250 bytes of parameters, then a good frame.
        send(&mut session, "bb022200fa", Uptime(10));
        send(&mut session, TAG, Uptime(20));
        assert_eq!(session.poll_read(), None);
        assert_eq!(session.poll_timeout(), Some((Uptime(120), Reason::RestOfFrame)));
        session.handle_timeout(Uptime(120));
        assert!(session.poll_read().is_some());
        assert_eq!(session.garbage(), 5);
    }
}
