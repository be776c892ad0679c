//! The node. Enters: bytes of the gateway and of the reader's module, what else the node's sensors tell, time.
//! Leaves: bytes for both, and configurations to keep.
//!
//! ```text
//! module ──▶ r200 ──▶ sampler ──▶ sender ──▶ gateway
//!              ▲                                │ configure
//!              └──── config, when checked ◀─────┘ ──▶ kept ──▶ answer
//! ```
//!
//! A configuration is answered when the module reads by it and it was kept, or when it is refused; then the node
//! works on by the one before. A module that is silent refuses nothing: the answer waits for it. What else the node
//! has for sensors does not: it works by what was checked until the module refuses it.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::command::{Ack, Configure, Level, Query};
use hangtag_protocol::link::frame::Wire;
use hangtag_protocol::link::message::{BoothState, Configured, Ended, Health, Occupancy, Outcome};
use hangtag_protocol::link::sender::{Identity, Told};
use hangtag_protocol::link::{Deframer, Frame, Kind, Sender};
use hangtag_protocol::read::Read;

use crate::config::Config;
use crate::r200::{Command, R200, Seen, Step, Turn};
use crate::sampler::Sampler;
use crate::sensors::States;

/// A node with room for so many bytes of frames that were sent and of messages that wait, and so many tags that
/// are condensed at a time.
#[derive(Debug)]
pub struct Node<const SENT: usize, const WAITING: usize, const TAGS: usize> {
    boot: u32,
    sender: Sender<SENT, WAITING>,
    ears: Deframer,
    module: R200,
    sampler: Sampler<TAGS>,
    /// What it works by.
    config: Option<Config>,
    /// What the module is asked to read by, until it does or refuses.
    tried: Option<Config>,
    keep: Keep,
    reads: u64,
    listens: bool,
    sensors: States,
    /// What is known of the booth, by which level, and whether its sensor is to be trusted.
    booth: Option<(Occupancy, Option<Level>)>,
    is_doubted: bool,
    health_at: Uptime,
    /// The frames below this number tell how runs before this one ended; no number is so high where one of these had
    /// no room.
    past_below: u32,
    vitals: Vitals,
}

/// How the board does on which the node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Bytes of the stack that were never used, where the board can tell.
    pub stack_free: Option<u32>,
    /// For how much of the time the processor was awake, in thousandths, where the board can tell.
    pub awake_pm: Option<u16>,
    /// How often the port to the gateway failed ([`Line::errors`](crate::line::Line::errors)).
    pub line_errors: u32,
    /// How often the port to the module failed.
    pub reader_line_errors: u32,
}

/// How far the configuration that the node works by is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Done,
    Failed,
    /// It was not handed out yet.
    Due,
    /// It was, and there is no word of it.
    Under,
}

impl<const SENT: usize, const WAITING: usize, const TAGS: usize> Node<SENT, WAITING, TAGS> {
    /// A node that has just started, with what it kept. Without a configuration it reads nothing until it gets
    /// one.
    #[must_use]
    pub fn new(identity: Identity, kept: Option<Config>, now: Uptime) -> Self {
        let mut module = R200::new();
        if let Some(config) = &kept {
            module.start(config.radio(), now);
        }
        Self {
            boot: identity.boot,
            sender: Sender::new(identity, now),
            ears: Deframer::new(),
            module,
            sampler: Sampler::new(kept.map_or(0, |config| config.told().window_ms)),
            config: kept,
            tried: None,
            keep: Keep::Done,
            reads: 0,
            listens: false,
            sensors: States::default(),
            booth: None,
            is_doubted: false,
            health_at: now + HEALTH_MS,
            past_below: 1,
            vitals: Vitals::default(),
        }
    }

    /// Takes how a run before this one ended. It is told before everything else, so it must come before. What has no
    /// room is not told by this run.
    pub fn handle_ended(&mut self, ended: &Ended<'_>) {
        let below = if self.sender.handle_ended(ended) { self.sender.numbers().1 } else { u32::MAX };
        self.past_below = self.past_below.max(below);
    }

    /// Whether the gateway has for good how all the runs before this one ended that the node was given.
    #[must_use]
    pub fn is_past_durable(&self) -> bool {
        self.sender.numbers().0 >= self.past_below
    }

    /// Reads that it took from its module since it started.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Takes bytes of the gateway, in any chunks.
    pub fn handle_gateway(&mut self, bytes: &[u8], now: Uptime) {
        let mut ears = core::mem::take(&mut self.ears);
        ears.handle_bytes(bytes, |frame| {
            if let Ok(frame) = frame {
                self.handle_frame(&frame, now);
            }
        });
        self.ears = ears;
    }

    /// Takes bytes of the module, in any chunks.
    pub fn handle_module(&mut self, bytes: &[u8], now: Uptime) {
        let Self { module, sampler, sender, reads, .. } = self;
        module.handle_bytes(bytes, now, |Seen { epc, rssi_cdbm }| {
            let read = Read { at: now, epc, antenna: 1, rssi_cdbm, phase_ddeg: None, channel_khz: None };
            *reads += 1;
            if let Some(condensed) = sampler.handle_read(&read) {
                sender.handle_told(&Told::Read(condensed), now);
            }
        });
        self.turn(now);
    }

    /// Takes how the board does, to be told with its own health.
    pub fn handle_vitals(&mut self, vitals: Vitals) {
        self.vitals = vitals;
    }

    /// Takes what another sensor tells.
    pub fn handle_told(&mut self, told: &Told, now: Uptime) {
        if let Told::Occupancy(booth) = told {
            match booth.state {
                BoothState::Free | BoothState::Occupied => {
                    (self.booth, self.is_doubted) = (Some((*booth, self.occupied())), false);
                }
                // As it was.
                BoothState::Steady => self.is_doubted = false,
                BoothState::Unsteady | BoothState::Stuck | BoothState::Failed => self.is_doubted = true,
            }
        }
        self.sender.handle_told(told, now);
    }

    /// Takes how the other sensors are, to be told with its own health.
    pub fn handle_sensors(&mut self, sensors: States) {
        self.sensors = sensors;
    }

    /// Takes word of whether the configuration that [`poll_keep`](Self::poll_keep) handed out was kept.
    pub fn handle_kept(&mut self, kept: bool, now: Uptime) {
        self.keep = if kept { Keep::Done } else { Keep::Failed };
        if let Some(config) = &self.config {
            let outcome = if kept { Outcome::Taken } else { Outcome::NotKept };
            self.answer(config.told().id, outcome, now);
        }
    }

    /// The next bytes for the gateway, if any are due. Call it until it returns `None`, and only when the line
    /// has taken what it returned before.
    #[must_use = "what is not sent now is sent late"]
    pub fn poll_gateway(&mut self, now: Uptime) -> Option<Wire> {
        while let Some(condensed) = self.sampler.poll_condensed(now) {
            self.sender.handle_told(&Told::Read(condensed), now);
        }
        if self.health_at <= now {
            self.health_at = now + HEALTH_MS;
            return Some(Frame::of(Kind::Health, self.boot, 0, &self.health(now)));
        }
        self.sender.poll_transmit(now)
    }

    /// The next bytes for the module, if any are due.
    #[must_use = "what is not sent now is sent late"]
    pub fn poll_module(&mut self, now: Uptime) -> Option<Command> {
        let command = self.module.poll_command(now);
        self.turn(now);
        command
    }

    /// A configuration to keep over a restart; [`handle_kept`](Self::handle_kept) is to say whether it was.
    #[must_use = "what is not kept is not answered"]
    pub fn poll_keep(&mut self) -> Option<Config> {
        if self.keep != Keep::Due {
            return None;
        }
        self.keep = Keep::Under;
        self.config
    }

    /// What it works by.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// What its other sensors are to work by: also while the module is silent.
    #[must_use]
    pub fn sensing(&self) -> Option<&Config> {
        self.tried.as_ref().or(self.config())
    }

    /// Whether its frames have no numbers left: it must be started again.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.sender.is_spent()
    }

    /// How it is.
    #[must_use]
    pub fn health(&self, now: Uptime) -> Health {
        let counted = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Health {
            uptime: now,
            reads: self.reads,
            dropped: self.sender.dropped_reads(),
            waiting: u32::try_from(self.sender.waiting()).unwrap_or(u32::MAX),
            garbage: counted(self.ears.garbage()),
            reader_garbage: counted(self.module.garbage()),
            reader_listens: self.listens,
            temperature_dc: None,
            supply_mv: None,
            sensors: self.sensors.sensors,
            stack_free: self.vitals.stack_free,
            awake_pm: self.vitals.awake_pm,
            line_errors: self.vitals.line_errors,
            reader_line_errors: self.vitals.reader_line_errors,
            accelerometer_fault: self.sensors.accelerometer_fault,
            occupancy_fault: self.sensors.occupancy_fault,
        }
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, now: Uptime) {
        match Kind::of(frame.kind) {
            Some(Kind::Ack) => {
                if let Ok(ack) = frame.message::<Ack>() {
                    self.sender.handle_ack(frame.boot, ack, now);
                }
            }
            Some(Kind::Query) => match frame.message() {
                Ok(Query::Hello) => self.sender.handle_query_hello(now),
                Ok(Query::Health) => self.health_at = now,
                Ok(Query::Clock { asked }) => self.sender.handle_query_clock(asked),
                Err(_) => {}
            },
            Some(Kind::Configure) if frame.boot == self.boot || frame.boot == 0 => {
                if let Ok(configure) = frame.message::<Configure>() {
                    self.configure(configure, now);
                }
            }
            Some(
                Kind::Configure
                | Kind::Hello
                | Kind::Reads
                | Kind::Motion
                | Kind::Occupancy
                | Kind::Health
                | Kind::Dropped
                | Kind::Configured
                | Kind::Clock
                | Kind::Ended,
            )
            | None => {}
        }
    }

    fn configure(&mut self, told: Configure, now: Uptime) {
        let config = match Config::new(told) {
            Ok(config) => config,
            Err(wrong) => return self.answer(told.id, wrong, now),
        };
        if self.tried == Some(config) {
            // It comes again until it is answered.
            return;
        }
        if self.config == Some(config) && self.tried.is_none() {
            match self.keep {
                Keep::Done => self.answer(told.id, Outcome::Taken, now),
                Keep::Failed => self.keep = Keep::Due,
                Keep::Due | Keep::Under => {}
            }
            return;
        }
        self.tried = Some(config);
        self.module.start(config.radio(), now);
    }

    /// Takes what became of the order to read.
    fn turn(&mut self, now: Uptime) {
        match self.module.poll_turn() {
            Some(Turn::Reading) => {
                self.listens = true;
                if let Some(config) = self.tried.take() {
                    self.work_by(config, now);
                }
            }
            Some(Turn::Silent) => self.listens = false,
            Some(Turn::Refused(step, _)) => {
                self.listens = false;
                if let Some(config) = self.tried.take() {
                    self.answer(config.told().id, refusal(step), now);
                    match &self.config {
                        Some(before) => self.module.start(before.radio(), now),
                        None => self.module.leave(),
                    }
                }
            }
            None => {}
        }
    }

    fn work_by(&mut self, config: Config, now: Uptime) {
        while let Some(condensed) = self.sampler.take_oldest() {
            self.sender.handle_told(&Told::Read(condensed), now);
        }
        self.sampler = Sampler::new(config.told().window_ms);
        self.config = Some(config);
        self.keep = Keep::Due;
    }

    fn answer(&mut self, id: u32, outcome: Outcome, now: Uptime) {
        self.sender.handle_told(&Told::Configured(Configured { id, outcome }), now);
        // Who tells it how to work may be new, and know nothing of the booth.
        if let Some((booth, by)) = self.booth
            && by == self.occupied()
            && !self.is_doubted
        {
            self.sender.handle_told(&Told::Occupancy(booth), now);
        }
    }

    /// The level of the booth's pin that says that somebody is in it.
    fn occupied(&self) -> Option<Level> {
        self.sensing().and_then(|config| config.told().occupied)
    }
}

fn refusal(step: Step) -> Outcome {
    match step {
        Step::Region => Outcome::Region,
        Step::Power => Outcome::Power,
        Step::Stop | Step::Information | Step::Read => Outcome::Reader,
    }
}

/// How often it says how it is, in milliseconds: a gateway that hears nothing for twelve seconds calls it silent.
const HEALTH_MS: u64 = 2_000;

#[cfg(test)]
mod tests;
