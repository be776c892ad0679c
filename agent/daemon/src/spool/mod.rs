//! Keeps events. Enters: events from inference, requests from the uplink. Leaves: accepted events, and
//! word of what is held. It owns a thread of its own, because every call of sled blocks.
//!
//! | module | does |
//! |---|---|
//! | [`store`] | speaks to sled; has the barrier behind which an event is *accepted* |
//! | [`recovery`] | opens the spool, however it is found |
//! | [`rebuild`] | builds it anew: smaller, or with a new epoch |
//! | [`carve`] | reads the files of a damaged or stopped spool, and never writes |
//! | [`disk`] | the folder, its lock, free space, the ballast, the witness |
//! | [`export`] | what waits, as a file for central |
//!
//! Events are made durable together: when enough wait, or the first has waited for the commit interval. What
//! cannot be written is not accepted: it waits, which slows the readers, while requests are answered as far
//! as possible, until there is room or the store opens again.

pub(crate) mod accepted_log;
pub(crate) mod carve;
pub(crate) mod disk;
pub(crate) mod export;
mod rebuild;
pub(crate) mod recovery;
pub(crate) mod store;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_agent_core::spool::epoch::EpochIndex;
use hangtag_agent_core::spool::value::{VALUE_EVENTS, Value, ValueError};
use hangtag_protocol::clock::{BootId, ClockAnchor, Uptime};
use hangtag_protocol::columns;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::line::EventLine;
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use accepted_log::AcceptedLog;
use disk::{Folder, Gauge, Lock, RESERVE, Testimony, Witness};
use rebuild::Fork;
use recovery::{Opened, guarded, random};
use store::StoreError;

use crate::config::WhenFull;

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the last events may take on shutdown while the disk fails.
const GIVE_UP: Duration = Duration::from_secs(3);
/// How long to wait before a spool that could not be built anew is built again.
const REBUILD_AGAIN: Duration = Duration::from_secs(60);
/// Anchors kept of one boot; of more, those nearest to each other in time say nothing new.
const ANCHORS_PER_BOOT: usize = 8;
/// Boots of which anchors are kept: a page of sled's must stay small, or it is never synced.
const BOOTS: usize = 16;
/// Lost ranges that one batch tells of; the next tells of the next ones.
const LOST_PER_BATCH: usize = 64;
/// Above this size on disk, in bytes, a spool that holds little is built anew.
const LARGE: u64 = 32 << 20;
/// What it may hold then, in bytes: building it holds everything up for a moment.
const LITTLE: u64 = 4 << 20;
/// Values that are read at once while a backlog drains.
pub(crate) const AHEAD: usize = 16;
/// How often the oldest event that waits is looked at, at most: it is read back for its time alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Fill levels, in percent, that are worth a word.
const LEVELS: [u8; 3] = [70, 90, 99];

/// Events to accept, with what inference must remember if the process dies now.
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

/// Events that were read back.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) epoch: Epoch,
    /// The number of the first; `None` when none of the range is held.
    pub(crate) first: Option<Seq>,
    pub(crate) events: Events,
    pub(crate) anchors: Vec<ClockAnchor>,
    /// Lost ranges of the epoch that central may not know of, the lowest ones.
    pub(crate) lost: Vec<SeqRange>,
    pub(crate) lineage: Lineage,
    pub(crate) oldest_held: Seq,
}

/// The events themselves.
#[derive(Debug)]
pub(crate) enum Events {
    /// A whole value, as it is on disk.
    Packed { count: u16, packed: Vec<u8> },
    /// A part of one.
    Plain(Vec<Event>),
}

impl Held {
    /// How many events there are.
    pub(crate) fn count(&self) -> usize {
        match &self.events {
            Events::Packed { count, .. } => (*count).into(),
            Events::Plain(events) => events.len(),
        }
    }

    /// The events, unpacked; none when another program packed them.
    pub(crate) fn into_events(self) -> Vec<Event> {
        match (self.events, self.first) {
            (Events::Plain(events), _) => events,
            (Events::Packed { count, packed }, Some(first)) => {
                columns::unpack(first, count.into(), &packed).unwrap_or_default()
            }
            (Events::Packed { .. }, None) => Vec::new(),
        }
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.first.map(|first| Seq((first.0 + self.count() as u64).saturating_sub(1)))
    }
}

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

/// What the spool's thread is told, and tells, beside its channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// The agent ends.
    pub(crate) stopping: CancellationToken,
    /// The last event was accepted.
    pub(crate) finished: CancellationToken,
    /// A new epoch began.
    pub(crate) start_over: CancellationToken,
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
    fault: Option<String>,
    level: u8,
    /// What the clock showed since the start: a store that is opened again may not know all of it.
    anchors: Vec<ClockAnchor>,
    /// A fork that is not done yet, and when it is tried again.
    forked: Option<(Epoch, Seq, Instant)>,
    /// Building the spool anew failed: not before.
    rebuild_after: Instant,
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
        folder.load_ballast();
        let log = settings.accepted_log.as_deref().map(AcceptedLog::open).transpose()?;
        let run = u32::try_from(random().context("no random numbers")? >> 32).expect("32 bits are left");
        let minutes_before = opened.meta.minutes;
        let state = watch::Sender::new(state_of(&opened));
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
            fault: None,
            level: 0,
            anchors: Vec::new(),
            forked: None,
            rebuild_after: Instant::now(),
            distrust: false,
            over: false,
            oldest: (None, None),
            looked: Instant::now(),
            look_at: None,
        };
        spool.testify();
        spool.tell();
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

    /// Starts the thread. When `accept` closes it makes the last events durable and cancels `finished`;
    /// it ends when `requests` has closed too. It cancels `start_over` when a new epoch began: then
    /// everything that numbers events must begin again with what the spool holds. Once `stopping` is
    /// cancelled nothing waits for long for a disk that fails.
    pub(crate) fn start(
        mut self,
        runtime: Handle,
        mut accept: mpsc::Receiver<Accept>,
        mut requests: mpsc::Receiver<Request>,
        Signals { stopping, finished, start_over }: Signals,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("spool".into()).spawn(move || {
            let mut waiting: Vec<Accept> = Vec::new();
            let mut due: Option<Instant> = None;
            let most = self.settings.commit_events;
            let mut give_up: Option<Instant> = None;
            let (mut accepting, mut asked, mut closed) = (true, true, false);
            while accepting || asked {
                let count: usize = waiting.iter().map(|accept| accept.events.len()).sum();
                // Every branch is cancel-safe: receiving from a channel, and a timer.
                let next = runtime.block_on(async {
                    tokio::select! {
                        accepted = accept.recv(), if !closed && count < most => Next::Accept(accepted),
                        request = requests.recv(), if asked => Next::Request(request),
                        () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Next::Commit,
                        () = sleep_until(self.look_at.unwrap_or_else(Instant::now)), if self.look_at.is_some() => Next::Look,
                        () = stopping.cancelled(), if self.fault.is_some() && give_up.is_none() => Next::GiveUp,
                    }
                });
                match next {
                    Next::Accept(Some(_)) if self.over => continue,
                    Next::Accept(Some(accepted)) => {
                        let full = count + accepted.events.len() >= most || self.settings.commit.is_zero();
                        waiting.push(accepted);
                        if !full || self.fault.is_some() {
                            let soon = Instant::now() + self.settings.commit;
                            due = Some(due.map_or(soon, |due| due.min(soon)));
                            continue;
                        }
                        // At once: a timer would round up to the next millisecond.
                        self.accept(&mut waiting);
                        due = (!waiting.is_empty()).then(|| Instant::now() + RETRY);
                    }
                    Next::Request(Some(Request::Fork { epoch, from })) => {
                        // What waits belongs to the old numbers, and moves with them.
                        self.accept(&mut waiting);
                        self.fork(epoch, from);
                    }
                    Next::Request(Some(request)) => self.handle_request(request),
                    Next::Request(None) => asked = false,
                    Next::Accept(None) => {
                        closed = true;
                        give_up = give_up.or(Some(Instant::now() + GIVE_UP));
                    }
                    Next::Look => {
                        self.look_at = None;
                        self.tell();
                    }
                    Next::GiveUp => give_up = Some(Instant::now() + GIVE_UP),
                    Next::Commit => {
                        self.accept(&mut waiting);
                        due = (!waiting.is_empty()).then(|| Instant::now() + RETRY);
                    }
                }
                if self.over {
                    start_over.cancel();
                    (waiting, due) = (Vec::new(), None);
                }
                if let Some(end) = give_up.filter(|_| accepting) {
                    self.accept(&mut waiting);
                    let over = Instant::now() >= end;
                    if over && !waiting.is_empty() {
                        error!(why = self.fault, "the last events could not be kept: they were never accepted");
                    }
                    due = (!waiting.is_empty()).then(|| Instant::now() + RETRY);
                    if over || (closed && waiting.is_empty()) {
                        accept.close();
                        (accepting, closed, due) = (false, true, None);
                        waiting.clear();
                        finished.cancel();
                    }
                }
            }
            self.close();
            info!("the spool is closed");
        })
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
        let free = self.gauge.free().map_err(StoreError::Io)?;
        if free < RESERVE {
            return Err(Fault::DiskFull { free });
        }
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

    /// Opens the store if it is not open.
    fn reopen(&mut self) -> Result<(), StoreError> {
        if self.opened.is_none() {
            self.folder.check(&self.lock)?;
            let mut opened = open_or_make_room(&self.folder, &self.witness, true)?;
            for anchor in &self.anchors {
                add_anchor(&mut opened.meta.anchors, *anchor);
            }
            if self.distrust {
                // The kernel shows what it failed to write, and forgets that it failed: only what is
                // written and synced anew is sure to be there.
                guarded(|| rebuild::rebuild(&self.folder, &opened, None))?;
                drop(opened);
                opened = open_or_make_room(&self.folder, &self.witness, true)?;
                self.distrust = false;
            }
            self.opened = Some(opened);
            self.files = None;
            self.check_epoch();
        }
        Ok(())
    }

    /// After an opening: inference and uplink may number by an epoch that was closed.
    fn check_epoch(&mut self) {
        let before = self.state.borrow().current().epoch;
        let now = self.opened.as_ref().map(|opened| opened.index.current().record().epoch);
        if now.is_some_and(|now| now != before) {
            error!(old = %before, "a new epoch began: the agent starts over");
            self.over = true;
        }
    }

    /// The store failed: it is dropped, to be opened again; if its data is damaged, that is mended.
    fn broken(&mut self, why: &StoreError) {
        // What was appended to the index and not written must be forgotten with it.
        self.opened = None;
        self.distrust |= matches!(why, StoreError::Sync(_));
        if why.is_damage() {
            let told = self.witness.read();
            if let Err(why) = guarded(|| recovery::rescue(&self.folder, told, why)) {
                error!(%why, "the damaged spool cannot be rescued at the moment");
            }
        }
        if let Err(why) = self.reopen() {
            error!(%why, "the spool cannot be opened at the moment");
        }
    }

    /// Answers a request.
    pub(crate) fn handle_request(&mut self, request: Request) {
        match request {
            Request::Read { epoch, range, ahead, reply } => {
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

    /// Central has other events under these numbers: a new epoch begins.
    fn fork(&mut self, epoch: Epoch, from: Seq) {
        let Some(opened) = &self.opened else {
            self.forked = Some((epoch, from, Instant::now() + RETRY));
            return;
        };
        self.forked = None;
        let current = opened.index.current().record();
        let Some(held) = opened.index.epoch(epoch).map(|held| held.record()) else { return };
        if epoch != current.epoch && from >= held.next {
            return;
        }
        error!(
            %epoch, from = from.0, next = held.next.0,
            "central has other events under these numbers: this gateway's disk is a copy of another's, or was \
             restored from an old image. What is held from there on gets new numbers in a new epoch"
        );
        // The witness must not miss what moves.
        let end = held.next.min(from);
        self.witness.write(Testimony { epoch, next: end, oldest: end });
        if let Err(why) = self.rebuild(Some(Fork { epoch, from, run: self.run })) {
            error!(%why, "the new epoch cannot be begun at the moment");
            self.forked = Some((epoch, from, Instant::now() + REBUILD_AGAIN));
        }
        self.testify();
        self.tell();
    }

    /// Builds the spool anew and opens it; if that fails, the present one stays.
    fn rebuild(&mut self, fork: Option<Fork>) -> Result<(), StoreError> {
        let Some(mut opened) = self.opened.take() else { return Ok(()) };
        let (epochs, marks) = opened.index.records();
        (opened.meta.epochs, opened.meta.marks) = (epochs, marks.to_vec());
        let done = guarded(|| rebuild::rebuild(&self.folder, &opened, fork));
        drop(opened);
        if let Err(why) = self.reopen() {
            error!(%why, "the spool cannot be opened at the moment");
        }
        done
    }

    /// Writes events that cannot be sent down for people, and declares them lost.
    fn set_aside(&mut self, epoch: Epoch, range: SeqRange, why: &str) {
        let held = self.read(epoch, range).unwrap_or_else(|_| nothing(epoch));
        let first = held.first;
        error!(%epoch, ?range, why, file = %self.folder.set_aside().display(), "events cannot be sent: they are set aside and lost");
        let mut text = String::new();
        for (seq, event) in first.into_iter().flat_map(|first| first.0..).map(Seq).zip(held.into_events()) {
            let line = EventLine::new(seq, &event);
            text += &serde_json::json!({ "epoch": epoch.to_string(), "why": why, "event": line }).to_string();
            text.push('\n');
        }
        if let Err(why) = disk::append_bounded(&self.folder.set_aside(), &text) {
            warn!(%why, "cannot write down what is set aside");
        }
        if let Some(opened) = &mut self.opened {
            opened.index.lose(epoch, range);
            self.tell();
        }
    }

    fn read(&mut self, epoch: Epoch, range: SeqRange) -> Result<Held, StoreError> {
        let Some(Opened { store, index, meta, .. }) = &mut self.opened else { return Ok(nothing(epoch)) };
        let Some(held) = index.epoch(epoch) else { return Ok(nothing(epoch)) };
        let told = |first, boots: &[BootId], events| Held {
            epoch,
            first,
            anchors: meta.anchors.iter().filter(|anchor| boots.contains(&anchor.boot)).copied().collect(),
            lost: held.untold().into_iter().take(LOST_PER_BATCH).collect(),
            lineage: held.record().lineage.clone(),
            oldest_held: held.oldest_held(),
            events,
        };
        let Some((key, first)) = held.value_at(range.first).filter(|(_, first)| *first <= range.last) else {
            return Ok(told(None, &[], Events::Plain(Vec::new())));
        };
        let bytes = guarded(|| store.record(key))?.unwrap_or_default();
        let value = match Value::read_as(&bytes, epoch, first) {
            Ok(value) => value,
            Err(why) => {
                self.lose(epoch, first, &why)?;
                return Ok(nothing(epoch));
            }
        };
        let boots: Vec<BootId> = value.boots().collect();
        let from = first.max(range.first);
        // Events that were set aside are held, and are not to be sent.
        let lost = held.record().lost.ranges().iter().find(|lost| lost.last >= from);
        let end = lost.map_or(Seq(u64::MAX), |lost| lost.first).min(Seq(range.last.0.saturating_add(1)));
        let Value { count, packed, .. } = value;
        if from == first && value.range().last < end {
            let packed = packed.to_vec();
            return Ok(told(Some(first), &boots, Events::Packed { count, packed }));
        }
        let mut events = match value.events() {
            Ok(events) => events,
            Err(why) => {
                self.lose(epoch, first, &why)?;
                return Ok(nothing(epoch));
            }
        };
        events.drain(..usize::try_from(from.0 - first.0).unwrap_or(usize::MAX).min(events.len()));
        events.truncate(usize::try_from(end.0.saturating_sub(from.0)).unwrap_or(usize::MAX));
        let first = (!events.is_empty()).then_some(from);
        Ok(told(first, &boots, Events::Plain(events)))
    }

    /// Reads on after what was read: the next values that are not settled.
    fn read_ahead(&mut self, epoch: Epoch, held: &mut Vec<Held>) {
        while held.len() < AHEAD {
            let Some(last) = held.last().and_then(Held::last) else { return };
            let Some(index) = self.opened.as_ref().and_then(|opened| opened.index.epoch(epoch)) else {
                return;
            };
            let rest = SeqRange { first: last.plus(1), last: Seq(index.record().next.0 - 1) };
            let Some(open) = index.record().settled.missing_in(rest).first().copied() else { return };
            let range = SeqRange { last: open.last.min(open.first.plus(VALUE_EVENTS as u64 - 1)), ..open };
            match self.read(epoch, range) {
                Ok(next) if next.first.is_some() => held.push(next),
                // Whoever asks for it is told.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// While the store cannot be opened, for want of space or because the disk became read-only, its files
    /// can be read all the same.
    fn read_from_files(&mut self, epoch: Epoch, range: SeqRange) -> Option<Held> {
        if self.files.is_none() {
            let look = carve::Carved::look(&[self.folder.spool()]);
            self.files = Some(look.inspect_err(|why| debug!(%why, "the spool's files cannot be read")).ok()?);
        }
        let files = self.files.as_ref()?;
        let meta = files.meta.as_ref()?;
        let record = meta.epochs.iter().find(|record| record.epoch == epoch)?;
        let bytes = files.value_at(epoch, range.first)?;
        let value = Value::read(&bytes).ok().filter(|value| value.first <= range.last)?;
        let from = value.first.max(range.first);
        let boots: Vec<BootId> = value.boots().collect();
        let events = (value.first.0..).map(Seq).zip(value.events().ok()?);
        let events = events.filter(|(seq, _)| *seq >= from && *seq <= range.last).map(|(_, event)| event);
        Some(Held {
            epoch,
            first: Some(from),
            anchors: meta.anchors.iter().filter(|anchor| boots.contains(&anchor.boot)).copied().collect(),
            lost: record.lost.ranges().iter().take(LOST_PER_BATCH).copied().collect(),
            lineage: record.lineage.clone(),
            oldest_held: record.oldest,
            events: Events::Plain(events.collect()),
        })
    }

    /// Takes an unreadable value out, after its loss is on record.
    fn lose(&mut self, epoch: Epoch, first: Seq, why: &ValueError) -> Result<(), StoreError> {
        error!(%epoch, first = first.0, %why, "a value cannot be read back: its events are lost");
        let Some(Opened { store, index, meta, .. }) = &mut self.opened else { return Ok(()) };
        let puts = index.lose_value(epoch, first).into_iter().collect();
        guarded(|| commit(store, index, meta, puts, None))?;
        let removed = index.take_removed();
        guarded(|| store.remove(&removed))
    }

    /// sled's file never shrinks: a spool that was large and holds little is built anew.
    fn compact(&mut self) {
        let Some(opened) = &self.opened else { return };
        let (disk, live) = (opened.store.disk_bytes(), opened.index.live_bytes());
        if disk < LARGE || live > LITTLE || disk < live * 8 || Instant::now() < self.rebuild_after {
            return;
        }
        match self.rebuild(None) {
            Ok(()) => info!(bytes = disk, "the spool was large and held little: it was built anew"),
            Err(why) => {
                error!(%why, "the spool cannot be built anew");
                self.rebuild_after = Instant::now() + REBUILD_AGAIN;
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

    /// Tells what the spool holds.
    fn tell(&mut self) {
        let mut state = match &self.opened {
            Some(opened) if !self.over => state_of(opened),
            Some(_) | None => self.state.borrow().clone(),
        };
        if let Some(opened) = &self.opened {
            let waits = |epoch: &EpochIndex| Some((epoch.record().epoch, epoch.oldest_waiting()?));
            self.look_at_oldest(opened.index.epochs().iter().find_map(waits));
        }
        if let Some(opened) = &self.opened {
            let (cap, taken) = (self.settings.cap_bytes, opened.index.disk_bytes());
            let free = self.gauge.free();
            let cap = free.map_or(cap, |free| disk::quota(cap, free, opened.store.disk_bytes())).max(1);
            state.percent = u8::try_from((taken.saturating_mul(100) / cap).min(100)).unwrap_or(100);
        }
        let level = LEVELS.into_iter().rfind(|level| *level <= state.percent).unwrap_or(0);
        if level > self.level {
            warn!(percent = state.percent, waiting = state.waiting, "the spool fills up");
        }
        self.level = level;
        state.oldest_at = self.oldest.1;
        state.fault = self.fault.clone();
        self.state.send_replace(state);
    }

    /// When the oldest event that waits happened: at once if there was none before, else now and then.
    fn look_at_oldest(&mut self, oldest: Option<(Epoch, Seq)>) {
        let again = self.looked + LOOK_EVERY;
        let Some((epoch, seq)) = oldest else {
            (self.oldest, self.look_at) = ((None, None), None);
            return;
        };
        if self.oldest.0 == oldest || self.oldest.0.is_some() && Instant::now() < again {
            self.look_at = (self.oldest.0 != oldest).then_some(again);
            return;
        }
        let held = self.read(epoch, SeqRange { first: seq, last: seq }).ok();
        let first = held.and_then(|held| held.into_events().into_iter().next());
        let here = |event: &Event| event.boot == self.settings.boot;
        self.oldest = (oldest, first.filter(here).map(|event| event.at));
        (self.looked, self.look_at) = (Instant::now(), None);
    }
}

/// What the spool may take when the disk allows it `quota` bytes, it takes `taken`, and is told `cap`.
fn keep(quota: u64, taken: u64, cap: u64) -> u64 {
    quota.max(taken.min(cap))
}

/// Opens the spool; if the disk is full, the ballast goes first.
fn open_or_make_room(folder: &Folder, witness: &Witness, again: bool) -> Result<Opened, StoreError> {
    let told = witness.read();
    match recovery::open(folder, told, again) {
        Err(why) if !why.is_damage() && folder.drop_ballast() => {
            warn!(%why, "the spool does not open: giving up the ballast");
            recovery::open(folder, told, again)
        }
        other => other,
    }
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

fn nothing(epoch: Epoch) -> Held {
    Held {
        epoch,
        first: None,
        events: Events::Plain(Vec::new()),
        anchors: Vec::new(),
        lost: Vec::new(),
        lineage: Lineage::default(),
        oldest_held: Seq(0),
    }
}

enum Next {
    Accept(Option<Accept>),
    Request(Option<Request>),
    Commit,
    Look,
    GiveUp,
}

fn state_of(opened: &Opened) -> State {
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
