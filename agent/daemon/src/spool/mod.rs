//! Keeps events. Enters: events from inference, requests from the uplink. Leaves: accepted events, and
//! word of what is held. It owns a thread of its own, because every call of sled blocks.
//!
//! | module | does |
//! |---|---|
//! | [`store`] | speaks to sled; has the barrier behind which an event is *accepted* |
//! | [`rouse`] | wakes sled when it waits for a write that has failed |
//! | [`thread`] | the thread: when what waits is written |
//! | [`reading`] | reads events back |
//! | [`state`] | what the spool tells of itself |
//! | [`aside`] | writes down what cannot be sent |
//! | [`mending`] | opens it again, closes an epoch, builds it anew |
//! | [`recovery`] | opens the spool, however it is found |
//! | [`rebuild`] | builds it anew: smaller, or with a new epoch |
//! | [`carve`] | reads the files of a damaged or stopped spool, and never writes |
//! | [`disk`] | the folder, its lock, free space, the witness |
//! | [`ballast`] | holds room on the disk until it is needed |
//! | [`look`] | what a stopped spool holds, for people |
//! | [`export`] | what waits, as a file for central |
//!
//! Events are made durable together: when enough wait, or the first has waited for the commit interval. What
//! cannot be written is not accepted: it waits, which slows the readers, while requests are answered as far
//! as possible, until there is room or the store opens again.

pub(crate) mod accepted_log;
mod aside;
pub(crate) mod ballast;
pub(crate) mod carve;
pub(crate) mod disk;
pub(crate) mod export;
pub(crate) mod look;
mod mending;
mod reading;
mod rebuild;
pub(crate) mod recovery;
mod rouse;
mod state;
pub(crate) mod store;
mod thread;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hangtag_agent_core::intake::node::Marks;
use hangtag_protocol::clock::{BootId, ClockAnchor, Uptime};
use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::{SeqRange, SeqSet};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use accepted_log::AcceptedLog;
use disk::{Folder, Gauge, Lock, RESERVE, Testimony, Witness};
use mending::open_or_make_room;
use recovery::{Opened, random};
use state::{marks_in, state_of};
use store::{StoreError, guarded};

pub(crate) use reading::{AHEAD, Events, Held};
pub(crate) use state::{EpochState, Fill, State, Tally};
pub(crate) use thread::Signals;

use crate::config::WhenFull;

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Anchors kept of one boot; of more, those nearest to each other in time say nothing new.
const ANCHORS_PER_BOOT: usize = 8;
/// Boots of which anchors are kept: a page of sled's must stay small, or it is never synced.
const BOOTS: usize = 16;

/// Events to accept, with what must be remembered if the process dies now: what inference knows, and how far
/// reader nodes have come (see [`Marks`]). There may be no events.
#[derive(Clone, Debug)]
pub(crate) struct Accept {
    pub(crate) events: Vec<(Seq, Event)>,
    pub(crate) snapshot: Vec<u8>,
}

/// What the uplink and the clock ask of the spool.
#[derive(Debug)]
pub(crate) enum Request {
    /// Consecutive events of an epoch within a range, from its first or the next one that is held; not
    /// necessarily all. `ahead`: and what is to be sent after them, value by value.
    Read { epoch: Epoch, range: SeqRange, ahead: bool, reply: oneshot::Sender<Vec<Held>> },
    /// These numbers of an epoch are settled, and no others: it replaces what was said before.
    Settle { epoch: Epoch, settled: SeqSet },
    /// Central has other events from this number of an epoch on (see `hangtag_protocol::lineage`): what is
    /// held from there on gets new numbers in a new epoch.
    Fork { epoch: Epoch, from: Seq },
    /// These events cannot be sent by any means: they are set aside for people, and are lost.
    SetAside { epoch: Epoch, range: SeqRange, why: String },
    /// The clock showed this.
    Anchor(ClockAnchor),
}

/// How the spool is set up.
pub(crate) struct Settings {
    /// The data folder.
    pub(crate) data: PathBuf,
    pub(crate) cap_bytes: u64,
    pub(crate) commit: Duration,
    /// So many events are made durable at once, even if the first has not waited for so long.
    pub(crate) commit_events: usize,
    pub(crate) when_full: WhenFull,
    /// How long settled events are kept, in minutes of running time.
    pub(crate) retention: u32,
    pub(crate) boot: BootId,
    pub(crate) accepted_log: Option<PathBuf>,
}

/// Why nothing is accepted at the moment.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the disk is full: {} KiB are free, the spool leaves {} KiB", .free / 1_024, RESERVE / 1_024)]
    DiskFull { free: u64 },
    #[error("the disk is read-only")]
    ReadOnly,
    #[error("the spool is full: {taken} of {cap} bytes wait, and when_full = \"refuse\"")]
    Full { taken: u64, cap: u64 },
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The spool, opened and not yet started.
pub(crate) struct Spool {
    settings: Settings,
    folder: Folder,
    lock: Lock,
    gauge: Gauge,
    witness: Witness,
    /// While the store is broken there is none.
    opened: Option<Opened>,
    /// What its files hold meanwhile, once somebody asked.
    files: Option<carve::Carved>,
    /// This process, in the lineage.
    run: u32,
    since: Instant,
    minutes_before: u32,
    log: Option<AcceptedLog>,
    state: watch::Sender<State>,
    tally: Tally,
    /// How far reader nodes have come for good.
    marks: watch::Sender<Marks>,
    fault: Option<String>,
    level: u8,
    /// What the clock showed since the start: a store that is opened again may not know all of it.
    anchors: Vec<ClockAnchor>,
    /// A fork that is not done yet, and when it is tried again.
    forked: Option<(Epoch, Seq, Instant)>,
    /// Building the spool anew failed: not before.
    rebuild_after: Instant,
    /// The ballast is not looked for before.
    ballast_after: Instant,
    /// The disk refused to keep what it had taken: what the kernel shows of it may not be there.
    distrust: bool,
    /// A new epoch began: what inference numbers is of the old one.
    over: bool,
    /// The oldest event that waits, and when it happened, if it was in this boot.
    oldest: (Option<(Epoch, Seq)>, Option<Uptime>),
    /// When that was looked at, and when it is to be looked at again.
    looked: Instant,
    look_at: Option<Instant>,
}

impl Spool {
    /// Opens the spool.
    pub(crate) fn open(settings: Settings) -> anyhow::Result<Self> {
        let folder = Folder::new(&settings.data);
        let opening = || format!("cannot open the spool in {}", folder.spool().display());
        let lock = folder.lock().with_context(opening)?;
        let witness = folder.witness().map_err(StoreError::Io).with_context(opening)?;
        let opened = open_or_make_room(&folder, &witness, false).with_context(opening)?;
        folder.lay_ballast();
        let log = settings.accepted_log.as_deref().map(AcceptedLog::open).transpose()?;
        let run = u32::try_from(random().context("no random numbers")? >> 32).expect("32 bits are left");
        let minutes_before = opened.meta.minutes;
        let state = watch::Sender::new(state_of(&opened));
        let marks = watch::Sender::new(marks_in(&opened.snapshot));
        let mut spool = Self {
            settings,
            gauge: Gauge::new(folder.clone()),
            folder,
            lock,
            witness,
            opened: Some(opened),
            files: None,
            run,
            since: Instant::now(),
            minutes_before,
            log,
            state,
            tally: Tally::default(),
            marks,
            fault: None,
            level: 0,
            anchors: Vec::new(),
            forked: None,
            rebuild_after: Instant::now(),
            ballast_after: Instant::now(),
            distrust: false,
            over: false,
            oldest: (None, None),
            looked: Instant::now(),
            look_at: None,
        };
        spool.testify();
        spool.tell();
        // That reads the oldest event.
        if spool.opened.is_none() || spool.over {
            bail!("the spool in {} failed as soon as it was opened", spool.folder.spool().display());
        }
        Ok(spool)
    }

    /// What inference must take up, and the number that its next event gets.
    pub(crate) fn inference(&self) -> (Seq, &[u8]) {
        let opened = self.opened.as_ref().expect("open until it is started");
        (opened.index.current().record().next, &opened.snapshot)
    }

    /// What the spool holds, from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Makes events durable and takes them from what waits; what cannot be kept stays there.
    pub(crate) fn accept(&mut self, waiting: &mut Vec<Accept>) {
        if let Some((epoch, from, at)) = self.forked
            && Instant::now() >= at
        {
            self.fork(epoch, from);
        }
        if self.over || waiting.is_empty() {
            return;
        }
        match self.try_accept(waiting) {
            // They are numbered by the old epoch, and were never accepted.
            Ok(()) if self.over => waiting.clear(),
            Ok(()) => {
                if self.fault.take().is_some() {
                    info!("events are accepted again");
                }
                waiting.clear();
            }
            Err(fault) => {
                let text = fault.to_string();
                if self.fault.is_none() {
                    error!(why = text, "cannot keep events: nothing is accepted until that changes");
                }
                self.fault = Some(text);
                if let (Fault::Store(why), Some(_)) = (fault, &self.opened) {
                    self.broken(&why);
                }
            }
        }
        self.tell();
    }

    fn try_accept(&mut self, waiting: &[Accept]) -> Result<(), Fault> {
        self.reopen()?;
        if self.over {
            return Ok(());
        }
        // Asked before sled meets it: a store that failed once answers nothing any more.
        if self.folder.is_read_only() {
            return Err(Fault::ReadOnly);
        }
        let free = self.room()?;
        let minutes = self.minutes();
        let opened = self.opened.as_mut().expect("reopened");
        let cap = disk::quota(self.settings.cap_bytes, free, opened.store.disk_bytes());
        let Opened { store, index, meta, .. } = opened;
        // When others fill the disk the spool does not grow, but gives up nothing that it has.
        let cap = keep(cap, index.disk_bytes(), self.settings.cap_bytes);
        index.trim(minutes, self.settings.retention);
        meta.minutes = minutes;
        if self.settings.when_full == WhenFull::Refuse && index.is_full(cap) {
            let removed = index.take_removed();
            if !removed.is_empty() {
                guarded(|| commit(store, index, meta, Vec::new(), None))?;
                guarded(|| store.remove(&removed))?;
            }
            return Err(Fault::Full { taken: index.disk_bytes(), cap });
        }
        // After a reopening, some may turn out to have been kept.
        let first = index.current().record().next;
        let events = waiting.iter().flat_map(|accept| &accept.events);
        let new = events.clone().filter(|(seq, _)| *seq >= first).map(|(_, event)| event.clone());
        let new: Vec<Event> = new.collect();
        let snapshot = waiting.last().map(|accept| accept.snapshot.as_slice());
        let mut puts = index.append(self.run, &new);
        let (lost, more) = index.evict(cap, self.settings.when_full == WhenFull::DropOldest);
        puts.extend(more);
        let (torn, more) = index.merge_losses();
        puts.extend(more);
        self.gauge.count(puts.iter().map(|put| put.bytes.len()).sum());
        guarded(|| commit(store, index, meta, puts, snapshot))?;
        new.iter().for_each(|event| self.tally.accepted[event.kind() as usize] += 1);
        self.tally.evicted += lost;
        self.tally.torn += torn;
        let marks = snapshot.map(marks_in).unwrap_or_default();
        if !marks.all().is_empty() {
            self.marks.send_replace(marks);
        }
        if lost > 0 {
            warn!(lost, "the spool is full: the oldest events are lost");
        }
        if torn > 0 {
            error!(lost = torn, "too many holes in the spool: what lies between some of them is lost");
        }
        debug!(first = first.0, events = new.len(), "accepted");
        self.testify();
        if let Some(log) = &mut self.log {
            let epoch = self.opened.as_ref().expect("reopened").index.current().record().epoch;
            log.write(epoch, events);
        }
        let Opened { store, index, .. } = self.opened.as_mut().expect("reopened");
        let removed = index.take_removed();
        if let Err(why) = guarded(|| store.remove(&removed)) {
            // They come back, and are below what is held: the next opening removes them.
            warn!(%why, "cannot remove what is not held any more");
        }
        self.compact();
        Ok(())
    }

    /// Answers a request.
    pub(crate) fn handle_request(&mut self, request: Request) {
        match request {
            Request::Read { epoch, range, ahead, reply } => {
                let _watch = self.opened.as_ref().map(|opened| opened.store.watch());
                let held = match self.read(epoch, range) {
                    Ok(held) if self.opened.is_some() => Some(held),
                    Ok(_) => self.read_from_files(epoch, range),
                    Err(why) => {
                        error!(%why, "cannot read events back");
                        self.broken(&why);
                        None
                    }
                };
                // Without an answer the uplink asks again.
                let Some(held) = held else { return };
                let mut held = vec![held];
                if ahead {
                    self.read_ahead(epoch, &mut held);
                }
                // The uplink may have given up waiting; then nobody needs the answer.
                let _ = reply.send(held);
                if self.opened.as_ref().is_some_and(|opened| opened.index.lost() != self.state.borrow().lost)
                {
                    self.tell();
                }
            }
            Request::Settle { epoch, settled } => {
                if let Some(opened) = &mut self.opened {
                    opened.index.settle(epoch, settled);
                    self.tell();
                }
            }
            Request::Fork { epoch, from } => self.fork(epoch, from),
            Request::SetAside { epoch, range, why } => self.set_aside(epoch, range, &why),
            Request::Anchor(anchor) => {
                add_anchor(&mut self.anchors, anchor);
                if let Some(opened) = &mut self.opened {
                    add_anchor(&mut opened.meta.anchors, anchor);
                }
            }
        }
    }

    /// Keeps what central settled lately, so that the next start need not ask.
    fn close(&mut self) {
        let minutes = self.minutes();
        let Some(Opened { store, index, meta, .. }) = &mut self.opened else { return };
        meta.minutes = minutes;
        if index.records().0 != meta.epochs && self.folder.free().is_ok_and(|free| free >= RESERVE) {
            index.trim(minutes, self.settings.retention);
            let done = guarded(|| commit(store, index, meta, Vec::new(), None));
            let removed = index.take_removed();
            if let Err(why) = done.and_then(|()| guarded(|| store.remove(&removed))) {
                warn!(%why, "cannot write down what is settled");
            }
        }
    }

    fn minutes(&self) -> u32 {
        let minutes = u32::try_from(self.since.elapsed().as_secs() / 60).unwrap_or(u32::MAX);
        self.minutes_before.saturating_add(minutes)
    }

    fn testify(&self) {
        let Some(opened) = &self.opened else { return };
        let current = opened.index.current();
        let record = current.record();
        let oldest = current.oldest_waiting().unwrap_or(record.next);
        self.witness.write(Testimony { epoch: record.epoch, next: record.next, oldest });
    }
}

/// What the spool may take when the disk allows it `quota` bytes, it takes `taken`, and is told `cap`.
fn keep(quota: u64, taken: u64, cap: u64) -> u64 {
    quota.max(taken.min(cap))
}

/// Writes what the index says.
fn commit(
    store: &mut store::Store,
    index: &hangtag_agent_core::spool::Index,
    meta: &mut store::Meta,
    puts: Vec<hangtag_agent_core::spool::Put>,
    snapshot: Option<&[u8]>,
) -> Result<(), StoreError> {
    let (epochs, marks) = index.records();
    (meta.epochs, meta.marks) = (epochs, marks.to_vec());
    meta.commits += 1;
    store.commit(puts, meta, snapshot)
}

/// Keeps the first anchor of a boot, which is nearest to its start, and the latest ones; and only the
/// latest boots.
fn add_anchor(anchors: &mut Vec<ClockAnchor>, anchor: ClockAnchor) {
    if anchors.contains(&anchor) {
        return;
    }
    let same: Vec<usize> = (0..anchors.len()).filter(|slot| anchors[*slot].boot == anchor.boot).collect();
    if same.len() >= ANCHORS_PER_BOOT {
        anchors.remove(same[1]);
    }
    anchors.push(anchor);
    let mut boots: Vec<BootId> = anchors.iter().map(|anchor| anchor.boot).collect();
    boots.dedup();
    if boots.len() > BOOTS {
        let oldest = boots[0];
        anchors.retain(|anchor| anchor.boot != oldest);
    }
}

#[cfg(test)]
mod tests;
