//! The gateway's end of the link. Enters: hellos, numbers of frames, word of what is durable, time. Leaves:
//! which frames are to be taken, acks and queries to send. It takes each numbered frame of a run once and in
//! order: what comes early or again is left out, and the ack says where to go on.
//!
//! ```text
//!          hello                        the next number: taken
//! asking ─────────▶ receiving(boot) ◀──────────────────────────┐
//!    ▲                    │  └────────────────────────────────┘
//!    └── another boot ────┘  lower: again; higher: early
//! ```

use super::command::Ack;
use super::message::{Hello, NodeId};
use crate::clock::Uptime;

/// How many frames beyond what is received may be on their way.
pub const WINDOW: u8 = 16;
/// A node that is not known is asked for its hello so often, in milliseconds.
const ASK_MS: u64 = 1_000;
/// An ack waits so long for more to acknowledge, in milliseconds.
const GATHER_MS: u64 = 20;
/// That a frame is missing is told again after this time at the earliest, in milliseconds: what comes before may
/// have been on its way when it was told.
const TELL_MS: u64 = 200;
/// An ack is sent at least so often, in milliseconds, so that a lost one does no harm and the node sees that
/// its gateway lives.
const ALIVE_MS: u64 = 1_000;

/// What became of a numbered frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next one: take it.
    Taken,
    /// It was taken before.
    Again,
    /// One before it is missing: it comes again.
    Early,
    /// It is of a run that has not introduced itself.
    Unknown,
}

/// What a hello began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Whether it is another run than the one before.
    pub begins: bool,
    /// Numbered frames that the node was told to forget, and that nobody here remembers: another gateway
    /// took them, or this one's disk is older than that.
    pub missed: u32,
}

/// What is remembered of a run beyond one opening of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Every frame below this number was taken. In a process that has just started: as much as is durable.
    pub received: u32,
    /// What came of every frame below this number is durable.
    pub durable: u32,
}

/// The gateway's end.
#[derive(Clone, Debug)]
pub struct Receiver {
    run: Option<Run>,
    window: u8,
    ask_at: Option<Uptime>,
    ack_at: Option<Uptime>,
    /// The number that is missing, while the node is to be told, and the last that it was told of.
    gap: Option<u32>,
    told: Option<(u32, Uptime)>,
}

/// The run whose frames are taken.
#[derive(Clone, Copy, Debug)]
struct Run {
    node: NodeId,
    boot: u32,
    received: u32,
    durable: u32,
}

impl Receiver {
    /// A line that was just opened: whoever is there is asked who it is.
    #[must_use]
    pub fn new(now: Uptime) -> Self {
        Self { run: None, window: WINDOW, ask_at: Some(now), ack_at: None, gap: None, told: None }
    }

    /// The node and boot whose frames are taken.
    #[must_use]
    pub fn run(&self) -> Option<(NodeId, u32)> {
        self.run.map(|run| (run.node, run.boot))
    }

    /// Takes a hello. `known` is what is remembered of its run, if it is known.
    pub fn handle_hello(&mut self, boot: u32, hello: &Hello, known: Option<Known>, now: Uptime) -> Greeting {
        let Hello { node, oldest, next, .. } = *hello;
        self.ask_at = None;
        self.ack_at = Some(now);
        (self.gap, self.told) = (None, None);
        let before = self.run.filter(|run| (run.node, run.boot) == (node, boot));
        let known = before.map(|Run { received, durable, .. }| Known { received, durable }).or(known);
        // Numbers that the run has not reached are of another run that drew the same boot.
        let known = known.filter(|known| known.received <= next);
        let received = known.map_or(oldest, |known| known.received.max(oldest));
        let durable = known.map_or(oldest, |known| known.durable.max(oldest).min(received));
        self.run = Some(Run { node, boot, received, durable });
        let missed = known.map_or(0, |known| oldest.saturating_sub(known.received));
        Greeting { begins: before.is_none(), missed }
    }

    /// Takes the number of a frame that has one.
    pub fn handle_number(&mut self, boot: u32, number: u32, now: Uptime) -> Arrival {
        let Some(run) = self.run.as_mut().filter(|run| run.boot == boot) else {
            self.ask_at = Some(self.ask_at.map_or(now, |at| at.min(now + ASK_MS)));
            return Arrival::Unknown;
        };
        let gathered = now + GATHER_MS;
        self.ack_at = Some(self.ack_at.map_or(gathered, |at| at.min(gathered)));
        if number < run.received {
            return Arrival::Again;
        }
        // No run has a frame of the last number: there would be none after it.
        if number > run.received || number == u32::MAX {
            let told = |(number, at)| number == run.received && now.since(at) < TELL_MS;
            if !self.told.is_some_and(told) {
                (self.gap, self.told) = (Some(run.received), Some((run.received, now)));
                self.ack_at = Some(now);
            }
            return Arrival::Early;
        }
        run.received += 1;
        Arrival::Taken
    }

    /// Frames of a boot below a number that have not come never will: a recording does not have them.
    pub fn handle_missing(&mut self, boot: u32, below: u32) {
        if let Some(run) = self.run.as_mut().filter(|run| run.boot == boot) {
            run.received = run.received.max(below);
        }
    }

    /// What came of every frame of a boot below a number is durable.
    pub fn handle_durable(&mut self, node: NodeId, boot: u32, below: u32, now: Uptime) {
        if let Some(run) = self.run.as_mut().filter(|run| (run.node, run.boot) == (node, boot))
            && below > run.durable
        {
            run.durable = below.min(run.received);
            self.ack_at = Some(now);
        }
    }

    /// The ack that is due, and the boot that it is for.
    pub fn poll_ack(&mut self, now: Uptime) -> Option<(u32, Ack)> {
        let run = self.run.filter(|_| self.ack_at.is_some_and(|at| at <= now))?;
        self.ack_at = Some(now + ALIVE_MS);
        let gap = self.gap.take() == Some(run.received);
        Some((run.boot, Ack { durable: run.durable, received: run.received, window: self.window, gap }))
    }

    /// Whether the node is to be asked for its hello now.
    pub fn poll_ask(&mut self, now: Uptime) -> bool {
        let due = self.ask_at.is_some_and(|at| at <= now);
        if due {
            self.ask_at = Some(now + ASK_MS);
        }
        due
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let ack = self.ack_at.filter(|_| self.run.is_some());
        self.ask_at.into_iter().chain(ack).min()
    }
}
