//! What is known of a board from both of its lines. Enters: tags that the module told, frames that the node said and
//! heard, and when. Leaves: exact counts, and how long reads took.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::command::Ack;
use hangtag_protocol::link::message::{Condensed, Configured, Health};
use hangtag_protocol::link::{Frame, Kind};
use tokio::time::Instant;

/// What is known of a board from both of its lines.
#[derive(Default)]
pub struct Counts {
    /// Tags that the module told.
    told: AtomicU64,
    /// Whether the module sees no tag any more, and its line has carried all that it told.
    idle: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_tag: BTreeMap<Epc, u64>,
    power_cdbm: u16,
    health: Option<(u32, Health)>,
    durable: (u32, u32),
    configured: Vec<Configured>,
    first: Option<Instant>,
    last: Option<Instant>,
    /// When the first read of a tag that is on no frame came.
    waiting: BTreeMap<Epc, Instant>,
    /// The last frame that was seen first, and those on their way: their number, a tag in each, and when its reads came.
    number: (u32, u32),
    on_the_way: VecDeque<(u32, Epc, Instant)>,
    /// The first read of each tag.
    firsts: BTreeMap<Epc, First>,
    to_line: Vec<Duration>,
    to_agent: Vec<Duration>,
}

/// The first read of a tag.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// When its last byte was put on the module's line.
    pub read: Instant,
    /// When the agent said that it has the frame that tells of it.
    pub agent: Option<Instant>,
}

/// How long something took, half the times and 19 times in 20 at most.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// Half the times.
    pub p50: Duration,
    /// 19 times in 20.
    pub p95: Duration,
}

impl Delay {
    /// Of at least one time.
    #[must_use]
    pub fn of(all: &[Duration]) -> Option<Self> {
        let mut sorted = all.to_vec();
        sorted.sort_unstable();
        let at = |share: usize| sorted.get(sorted.len().saturating_sub(1) * share / 100).copied();
        Some(Self { p50: at(50)?, p95: at(95)? })
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts")
            .field("told", &self.told())
            .field("is_idle", &self.is_idle())
            .field("health", &self.health())
            .field("durable", &self.durable())
            .field("configured", &self.configured())
            .finish_non_exhaustive()
    }
}

impl Counts {
    /// Tags that the module told.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// Whether the module knows that it is [held](super::Board::hold), and its line has carried all that it told: then
    /// it tells no more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    /// How often it told each tag.
    #[must_use]
    pub fn by_tag(&self) -> BTreeMap<Epc, u64> {
        self.state().by_tag.clone()
    }

    /// With what power the module was told to send, in hundredths of a dBm.
    #[must_use]
    pub fn power_cdbm(&self) -> u16 {
        self.state().power_cdbm
    }

    /// The last that the node said of its health.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        self.state().health.map(|(_, health)| health)
    }

    /// The same, and in which run.
    #[must_use]
    pub fn run(&self) -> Option<(u32, Health)> {
        self.state().health
    }

    /// What it answered to configurations.
    #[must_use]
    pub fn configured(&self) -> Vec<Configured> {
        self.state().configured.clone()
    }

    /// The run that the agent last spoke to, and the number below which all its frames are durable.
    #[must_use]
    pub fn durable(&self) -> (u32, u32) {
        self.state().durable
    }

    /// How long it took from the last byte of the first read of a stretch of reads to the frame that tells of it, and to
    /// the agent's word that it has that frame.
    #[must_use]
    pub fn delays(&self) -> Option<[Delay; 2]> {
        let state = self.state();
        Some([Delay::of(&state.to_line)?, Delay::of(&state.to_agent)?])
    }

    /// The first read of a tag, if it was read.
    #[must_use]
    pub fn first(&self, epc: &Epc) -> Option<First> {
        self.state().firsts.get(epc).copied()
    }

    /// From the first read to the agent's word that it has the last.
    #[must_use]
    pub fn span(&self) -> Option<Duration> {
        let state = self.state();
        Some(state.last? - state.first?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handle_told(&self, epc: Epc) {
        *self.state().by_tag.entry(epc).or_default() += 1;
        self.told.fetch_add(1, Ordering::Release);
    }

    /// The last byte of a read was put on the line.
    pub(super) fn handle_carried(&self, epc: Epc, now: Instant) {
        let mut state = self.state();
        state.first = state.first.or(Some(now));
        state.waiting.entry(epc).or_insert(now);
        state.firsts.entry(epc).or_insert(First { read: now, agent: None });
    }

    pub(super) fn note_line(&self, idle: bool, power_cdbm: u16) {
        self.idle.store(idle, Ordering::Release);
        self.state().power_cdbm = power_cdbm;
    }

    /// The node said something.
    pub(super) fn handle_said(&self, frame: &Frame<'_>, now: Instant) {
        let mut state = self.state();
        match Kind::of(frame.kind) {
            Some(Kind::Health) => state.health = frame.message().ok().map(|health| (frame.boot, health)),
            Some(Kind::Configured) => state.configured.extend(frame.message::<Configured>()),
            Some(Kind::Reads) => {
                let (boot, last) = state.number;
                if (boot, frame.number) == (boot, last) || (boot == frame.boot && frame.number < last) {
                    return;
                }
                state.number = (frame.boot, frame.number);
                for read in frame.messages::<Condensed>().flatten() {
                    if let Some(since) = state.waiting.remove(&read.epc) {
                        state.to_line.push(now - since);
                        state.on_the_way.push_back((frame.number, read.epc, since));
                    }
                }
            }
            _ => {}
        }
    }

    /// The agent said something.
    pub(super) fn handle_heard(&self, frame: &Frame<'_>, now: Instant) {
        let Ok(Ack { received, durable, .. }) = frame.message() else { return };
        let mut state = self.state();
        state.durable = (frame.boot, durable);
        while let Some((_, epc, since)) = state.on_the_way.pop_front_if(|(number, ..)| *number < received) {
            state.last = Some(now);
            state.to_agent.push(now - since);
            if let Some(first) = state.firsts.get_mut(&epc) {
                first.agent.get_or_insert(now);
            }
        }
    }
}
