//! What the spool tells of itself. Enters: its index, what is free on the disk. Leaves: a state for the uplink,
//! the status message and people.

use std::time::Duration;

use hangtag_agent_core::intake::node::Marks;
use hangtag_agent_core::spool::epoch::EpochIndex;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::event::{Event, Kind};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, warn};

use super::disk::RESERVE;
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
    /// How much of what the spool may take is taken by what waits.
    pub(crate) percent: u8,
    /// How much by what is settled, and goes first.
    pub(crate) kept_percent: u8,
    /// Lost events that central may not know of.
    pub(crate) lost: u64,
    /// When the oldest event that waits happened, if it was in this boot.
    pub(crate) oldest_at: Option<Uptime>,
    /// Why nothing is accepted at the moment.
    pub(crate) fault: Option<String>,
    /// What was done since it was opened.
    pub(crate) tally: Tally,
}

/// What the spool has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Events that were accepted, by the number of their kind.
    pub(crate) accepted: [u64; Kind::ALL.len()],
    /// Events that were lost because the spool was full,
    pub(crate) evicted: u64,
    /// because they lay between too many holes,
    pub(crate) torn: u64,
    /// because they could not be sent by any means,
    pub(crate) set_aside: u64,
    /// and because they could not be read back.
    pub(crate) unreadable: u64,
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
    /// How far reader nodes have come for good, from now on.
    pub(crate) fn watch_marks(&self) -> watch::Receiver<Marks> {
        self.marks.subscribe()
    }

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
            let free = self.gauge.free().ok();
            let cap = free.map_or(cap, |free| disk::quota(cap, free, opened.store.disk_bytes())).max(1);
            let fill = Fill::of(state.waiting, state.held, taken, cap);
            (state.percent, state.kept_percent) = (fill.waiting, fill.kept);
            let cap = keep(cap, taken, self.settings.cap_bytes);
            if opened.index.is_full(cap) {
                // Of many values a part waits, and values go whole.
                (state.percent, state.kept_percent) = (100, 0);
                // Nothing may be there to be refused, and it is full all the same.
                if self.settings.when_full == WhenFull::Refuse {
                    full = Some(Fault::Full { taken, cap }.to_string());
                }
            }
            if let Some(free) = free
                && free < RESERVE
                && self.folder.ballast_bytes().is_ok_and(|bytes| bytes == 0)
            {
                full = Some(Fault::DiskFull { free }.to_string());
                // Nobody may come to be refused: that there is room again must be seen all the same.
                self.look_at.get_or_insert(Instant::now() + LOOK_EVERY);
            }
        }
        let level = LEVELS.into_iter().rfind(|level| *level <= state.percent).unwrap_or(0);
        if level > self.level {
            warn!(percent = state.percent, waiting = state.waiting, "the spool fills up with what waits");
        }
        self.level = level;
        state.oldest_at = self.oldest.1;
        state.tally = self.tally;
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

/// How full a spool is, in percent of what it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Taken by what waits.
    pub(crate) waiting: u8,
    /// Taken by what is settled and kept for a restored central: it goes first, and is no reason to worry.
    pub(crate) kept: u8,
}

impl Fill {
    /// Of so many bytes on disk, that hold so many events of which some wait, and may be `cap` bytes. All events are
    /// taken for equally large: they nearly are, and looking at each value takes long when a million wait.
    pub(crate) fn of(waiting: u64, held: u64, taken: u64, cap: u64) -> Self {
        let percent =
            |bytes: u128| u8::try_from((bytes * 100 / u128::from(cap.max(1))).min(100)).unwrap_or(100);
        let open = u128::from(taken) * u128::from(waiting.min(held)) / u128::from(held.max(1));
        let (waiting, all) = (percent(open), percent(taken.into()));
        Self { waiting, kept: all - waiting }
    }
}

/// How far reader nodes have come, by what is kept with events.
pub(super) fn marks_in(kept: &[u8]) -> Marks {
    Marks::split(kept).map(|(marks, _)| marks).unwrap_or_else(|why| {
        error!(%why, "what reader nodes send again may be counted twice");
        Marks::default()
    })
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
        kept_percent: 0,
        lost: index.lost(),
        oldest_at: None,
        fault: None,
        tally: Tally::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_kept_does_not_count_as_waiting() {
        let fill = |waiting, held, taken| {
            let Fill { waiting, kept } = Fill::of(waiting, held, taken, 1_000);
            (waiting, kept)
        };
        assert_eq!(fill(2, 824_836, 1_000), (0, 100));
        assert_eq!(fill(824_836, 824_836, 1_000), (100, 0));
        assert_eq!(fill(500, 1_000, 800), (40, 40));
        assert_eq!(fill(500, 1_000, 3_000), (100, 0), "nothing is more than full");
        assert_eq!(fill(0, 0, 0), (0, 0));
    }
}
