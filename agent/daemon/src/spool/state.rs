//! What the spool tells of itself. Enters: its index, what is free on the disk. Leaves: a state for the uplink,
//! the status message and people.

use std::time::Duration;

use hangtag_agent_core::spool::epoch::EpochIndex;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};
use tokio::time::Instant;
use tracing::{error, warn};

use super::recovery::Opened;
use super::{Fault, Spool, disk, keep};
use crate::config::WhenFull;

/// How often the oldest event that waits is looked at, at most: it is read back for its time alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Fill levels, in percent, that are worth a word.
const LEVELS: [u8; 3] = [70, 90, 99];

/// What the spool holds, told as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The epochs that are held, oldest first. The last one takes new events, the others only drain.
    pub(crate) epochs: Vec<EpochState>,
    /// Events that are held and not settled.
    pub(crate) waiting: u64,
    /// Events that are held.
    pub(crate) held: u64,
    pub(crate) live_bytes: u64,
    pub(crate) disk_bytes: u64,
    /// How much of what the spool may take is taken.
    pub(crate) percent: u8,
    /// Lost events that central may not know of.
    pub(crate) lost: u64,
    /// When the oldest event that waits happened, if it was in this boot.
    pub(crate) oldest_at: Option<Uptime>,
    /// Why nothing is accepted at the moment.
    pub(crate) fault: Option<String>,
}

/// What the spool holds of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EpochState {
    pub(crate) epoch: Epoch,
    /// The lowest number that is held; `next` when none is.
    pub(crate) oldest_held: Seq,
    /// The number after the last accepted event.
    pub(crate) next: Seq,
    /// What is settled, as far as the spool was told.
    pub(crate) settled: SeqSet,
    /// Lost events that central may not know of.
    pub(crate) lost: u64,
    pub(crate) lineage: Lineage,
}

impl State {
    /// The epoch that takes new events.
    pub(crate) fn current(&self) -> &EpochState {
        self.epochs.last().expect("a spool always has an epoch that takes events")
    }
}

impl Spool {
    /// Tells what the spool holds.
    pub(super) fn tell(&mut self) {
        let mut state = match &self.opened {
            Some(opened) if !self.over => state_of(opened),
            Some(_) | None => self.state.borrow().clone(),
        };
        if let Some(opened) = &self.opened {
            let waits = |epoch: &EpochIndex| Some((epoch.record().epoch, epoch.oldest_waiting()?));
            self.look_at_oldest(opened.index.epochs().iter().find_map(waits));
        }
        let mut full = None;
        if let Some(opened) = &self.opened {
            let (cap, taken) = (self.settings.cap_bytes, opened.index.disk_bytes());
            let free = self.gauge.free();
            let cap = free.map_or(cap, |free| disk::quota(cap, free, opened.store.disk_bytes())).max(1);
            state.percent = u8::try_from((taken.saturating_mul(100) / cap).min(100)).unwrap_or(100);
            // Nothing may be there to be refused, and it is full all the same.
            let cap = keep(cap, taken, self.settings.cap_bytes);
            if self.settings.when_full == WhenFull::Refuse && opened.index.is_full(cap) {
                full = Some(Fault::Full { taken, cap }.to_string());
            }
        }
        let level = LEVELS.into_iter().rfind(|level| *level <= state.percent).unwrap_or(0);
        if level > self.level {
            warn!(percent = state.percent, waiting = state.waiting, "the spool fills up");
        }
        self.level = level;
        state.oldest_at = self.oldest.1;
        state.fault = self.fault.clone().or(full);
        self.state.send_replace(state);
    }

    /// When the oldest event that waits happened: at once if there was none before, else now and then.
    pub(super) fn look_at_oldest(&mut self, oldest: Option<(Epoch, Seq)>) {
        let again = self.looked + LOOK_EVERY;
        let Some((epoch, seq)) = oldest else {
            (self.oldest, self.look_at) = ((None, None), None);
            return;
        };
        if self.oldest.0 == oldest || self.oldest.0.is_some() && Instant::now() < again {
            self.look_at = (self.oldest.0 != oldest).then_some(again);
            return;
        }
        let held = match self.read(epoch, SeqRange { first: seq, last: seq }) {
            Ok(held) => held,
            Err(why) => {
                error!(%why, "cannot read the oldest event back");
                return self.broken(&why);
            }
        };
        let first = held.into_events().into_iter().next();
        let here = |event: &Event| event.boot == self.settings.boot;
        self.oldest = (oldest, first.filter(here).map(|event| event.at));
        (self.looked, self.look_at) = (Instant::now(), None);
    }
}

pub(super) fn state_of(opened: &Opened) -> State {
    let Opened { store, index, .. } = opened;
    let epochs = index.epochs().iter().map(|epoch| EpochState {
        epoch: epoch.record().epoch,
        oldest_held: epoch.oldest_held(),
        next: epoch.record().next,
        settled: epoch.record().settled.clone(),
        lost: epoch.untold().iter().map(SeqRange::len).sum(),
        lineage: epoch.record().lineage.clone(),
    });
    State {
        epochs: epochs.collect(),
        waiting: index.waiting(),
        held: index.held(),
        live_bytes: index.live_bytes(),
        disk_bytes: store.disk_bytes(),
        percent: 0,
        lost: index.lost(),
        oldest_at: None,
        fault: None,
    }
}
