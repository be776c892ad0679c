//! Magicrf R200 / M100 / YRM100. Enters: bytes of the module in any chunks, how it is to read, time. Leaves:
//! tags, commands, and what became of an order to read. Source: R200 user protocol V2.3.3.
//!
//! Frames are drawn in `frame`. A module that does not answer is asked by the other framing next; what it says
//! tells which one is its own.
//!
//! ```text
//! tag notice (command 22): RSSI (i8 dBm), PC(2), EPC, CRC-16/GENIBUS of PC and EPC(2)
//! ```
//!
//! ```text
//! off ──start──▶ asking: stop, information, region, power, read ──a tag, or word that there is none──▶ reading
//!                   ▲ │ refused, or no answer to three                                                   │
//!                   │ ▼                                                                                  │
//!                 resting ◀───────────────────────── nothing comes ──────────────────────────────────────┘
//! ```
//!
//! Every tag in a good frame counts, in whatever state: a module that reads on while it is asked to stop says
//! what is there.

use arrayvec::ArrayVec;
use crc::{CRC_16_GENIBUS, Crc};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;

mod frame;

use frame::{COMMAND, Framing, MAX_FRAME, NOTICE, Scan, parts, scan};

/// The bytes of a command.
pub type Command = ArrayVec<u8, 10>;

/// How the module is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Radio {
    /// Its number for the region: 1 China, 2 United States, 3 Europe, 6 Korea.
    pub region: u8,
    /// Transmit power in hundredths of a dBm.
    pub power_cdbm: u16,
}

/// A tag that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The tag.
    pub epc: Epc,
    /// How strong, in hundredths of a dBm; the module tells whole dBm.
    pub rssi_cdbm: i16,
}

/// What the module is asked, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To stop whatever it does.
    Stop,
    /// What it is.
    Information,
    /// To use the frequencies of a region.
    Region,
    /// To send with so much power.
    Power,
    /// To read.
    Read,
}

/// What became of an order to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It reads.
    Reading,
    /// It refused a step with this code.
    Refused(Step, u8),
    /// It does not answer, or fell silent.
    Silent,
}

/// One module.
#[derive(Debug, Default)]
pub struct R200 {
    pending: ArrayVec<u8, MAX_FRAME>,
    garbage: u64,
    framing: Framing,
    radio: Option<Radio>,
    state: State,
    turn: Option<Turn>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Off,
    /// `due`: the command is to be sent, again if it was before.
    Asking {
        step: Step,
        sent: u8,
        due: Uptime,
    },
    Reading {
        heard: Uptime,
    },
    Resting {
        until: Uptime,
    },
}

impl R200 {
    /// A module of which nothing is wanted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it read like this from here on; whatever it does before is stopped.
    pub fn start(&mut self, radio: Radio, now: Uptime) {
        self.radio = Some(radio);
        self.turn = None;
        self.ask(Step::Stop, now);
    }

    /// Wants nothing of it any more; what it does it goes on doing.
    pub fn leave(&mut self) {
        (self.radio, self.state) = (None, State::Off);
    }

    /// Takes bytes of the module and hands on every tag in them.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Uptime, mut take: impl FnMut(Seen)) {
        for &byte in bytes {
            // Room is made by every scan: a full buffer is a frame or begins with garbage.
            self.pending.push(byte);
            loop {
                match scan(&self.pending) {
                    Scan::More => break,
                    Scan::Garbage => {
                        self.pending.remove(0);
                        self.garbage += 1;
                    }
                    Scan::Frame => {
                        let frame = core::mem::take(&mut self.pending);
                        // A line that echoes says what we say.
                        if parts(&frame).0 == COMMAND {
                            continue;
                        }
                        self.framing = Framing::of(frame[0]).unwrap_or_default();
                        match seen(&frame) {
                            Some(Ok(seen)) => {
                                take(seen);
                                self.handle_round(now);
                            }
                            Some(Err(BadTag)) => self.handle_round(now),
                            None => self.handle_answer(&frame, now),
                        }
                    }
                }
            }
        }
    }

    /// The next command for the module, if one is due.
    #[must_use = "what is not sent is not asked again before its time"]
    pub fn poll_command(&mut self, now: Uptime) -> Option<Command> {
        let radio = self.radio?;
        match self.state {
            State::Resting { until } if until <= now => self.ask(Step::Stop, now),
            State::Reading { heard } if heard + SILENCE_MS <= now => {
                self.turn = Some(Turn::Silent);
                self.ask(Step::Stop, now);
            }
            State::Off | State::Asking { .. } | State::Reading { .. } | State::Resting { .. } => {}
        }
        let State::Asking { step, sent, due } = self.state else { return None };
        if now < due {
            return None;
        }
        if sent >= TRIES {
            self.turn = Some(Turn::Silent);
            self.state = State::Resting { until: now + REST_MS };
            self.framing = self.framing.other();
            return None;
        }
        self.state = State::Asking { step, sent: sent + 1, due: now + ANSWER_MS };
        Some(step.command(radio, self.framing))
    }

    /// The latest turn, once.
    pub fn poll_turn(&mut self) -> Option<Turn> {
        self.turn.take()
    }

    /// When [`poll_command`](Self::poll_command) has something to do at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        match self.state {
            State::Off => None,
            State::Asking { due, .. } => Some(due),
            State::Reading { heard } => Some(heard + SILENCE_MS),
            State::Resting { until } => Some(until),
        }
    }

    /// Bytes that belonged to no good frame, so far.
    #[must_use]
    pub fn garbage(&self) -> u64 {
        self.garbage
    }

    fn ask(&mut self, step: Step, now: Uptime) {
        self.state = State::Asking { step, sent: 0, due: now };
    }

    /// A tag, or word that there is none: the module reads.
    fn handle_round(&mut self, now: Uptime) {
        match &mut self.state {
            State::Reading { heard } => *heard = now,
            // Before the command was sent a round is of what it did before.
            State::Asking { step: Step::Read, sent: 1.., .. } => {
                self.state = State::Reading { heard: now };
                self.turn = Some(Turn::Reading);
            }
            State::Asking { .. } | State::Off | State::Resting { .. } => {}
        }
    }

    fn handle_answer(&mut self, frame: &[u8], now: Uptime) {
        let (_, code, parameters) = parts(frame);
        if code == ERROR {
            match parameters.first() {
                Some(&NO_TAG) => self.handle_round(now),
                Some(&why) => self.handle_refusal(why),
                None => self.handle_refusal(0),
            }
            return;
        }
        if let State::Asking { step, sent: 1.., .. } = self.state
            && code == step.code()
            && let Some(next) = step.next()
        {
            self.ask(next, now);
        }
    }

    fn handle_refusal(&mut self, why: u8) {
        if let State::Asking { step, sent: 1.., due } = self.state {
            self.turn = Some(Turn::Refused(step, why));
            self.state = State::Resting { until: due + REST_MS };
        }
    }
}

impl Step {
    fn code(self) -> u8 {
        match self {
            Self::Stop => STOP,
            Self::Information => INFORMATION,
            Self::Region => REGION,
            Self::Power => POWER,
            Self::Read => POLL_MANY,
        }
    }

    /// What is asked when this was answered; after the last nothing, because its answer is the first round.
    fn next(self) -> Option<Self> {
        match self {
            Self::Stop => Some(Self::Information),
            Self::Information => Some(Self::Region),
            Self::Region => Some(Self::Power),
            Self::Power => Some(Self::Read),
            Self::Read => None,
        }
    }

    fn command(self, radio: Radio, framing: Framing) -> Command {
        let [power_high, power_low] = radio.power_cdbm.to_be_bytes();
        let [rounds_high, rounds_low] = ROUNDS.to_be_bytes();
        let parameters: &[u8] = match self {
            Self::Stop => &[],
            Self::Information => &[0],
            Self::Region => &[radio.region],
            Self::Power => &[power_high, power_low],
            Self::Read => &[0x22, rounds_high, rounds_low],
        };
        framing.command(self.code(), parameters)
    }
}

/// A frame of the module that says that a tag answered, and its own checksum that none did.
struct BadTag;

fn seen(frame: &[u8]) -> Option<Result<Seen, BadTag>> {
    let (NOTICE, TAG, parameters) = parts(frame) else { return None };
    let tag = || {
        let (&rssi, sent) = parameters.split_first()?;
        let (protected, crc) = sent.split_last_chunk::<2>()?;
        let (_pc, epc) = protected.split_first_chunk::<2>()?;
        let good = TAG_CRC.checksum(protected) == u16::from_be_bytes(*crc);
        let epc = good.then(|| Epc::new(epc).ok()).flatten()?;
        Some(Seen { epc, rssi_cdbm: i16::from(rssi.cast_signed()) * 100 })
    };
    Some(tag().ok_or(BadTag))
}

const TAG_CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_GENIBUS);

/// How long a step may take, in milliseconds, and how often it is asked.
const ANSWER_MS: u64 = 500;
const TRIES: u8 = 3;
/// How long a module is left alone that does not answer or refuses, in milliseconds.
const REST_MS: u64 = 2_000;
/// Rounds take 100 ms or so, and each says something.
const SILENCE_MS: u64 = 2_000;
/// Rounds per command; the most the module takes: two hours, after which it is silent and asked again.
const ROUNDS: u16 = 0xFFFF;

const INFORMATION: u8 = 0x03;
const REGION: u8 = 0x07;
const TAG: u8 = 0x22;
const POLL_MANY: u8 = 0x27;
const STOP: u8 = 0x28;
const POWER: u8 = 0xB6;
const ERROR: u8 = 0xFF;
/// A round in which no tag answered: the module's sign of life.
const NO_TAG: u8 = 0x15;

#[cfg(test)]
mod tests;
