//! Keeps events. Enters: events from inference, requests from the uplink. Leaves: accepted events, and
//! word of what is held. It owns a thread of its own, because every call of sled blocks.
//!
//! Events are *accepted* when they are behind the barrier of [`store`]. They are made durable together:
//! when 256 wait, or the first has waited for the commit interval. A failed write stops acceptance,
//! never the process: the store is opened again until it works, and the events wait, which slows
//! the readers.

pub(crate) mod recovery;
pub(crate) mod store;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_agent_core::spool::{VALUE_EVENTS, decode_value};
use hangtag_protocol::clock::{BootId, ClockAnchor, Uptime};
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

use recovery::Opened;
use store::StoreError;

/// How long to wait before a failed store is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// Anchors kept of one boot; of more, those nearest to each other in time say nothing new.
const ANCHORS_PER_BOOT: usize = 8;
/// Boots of which anchors are kept: a page of sled's must stay small, or it is never synced.
const BOOTS: usize = 16;
/// Lost ranges that one batch tells of; the next tells of the next ones.
const LOST_PER_BATCH: usize = 64;

/// Events to accept, with what inference must remember if the process dies now.
#[derive(Debug)]
pub(crate) struct Accept {
    pub(crate) events: Vec<(Seq, Event)>,
    pub(crate) snapshot: Vec<u8>,
}

/// What the uplink and the clock ask of the spool.
#[derive(Debug)]
pub(crate) enum Request {
    /// Consecutive events of an epoch within a range, from its first or the next one that is held; not
    /// necessarily all.
    Read { epoch: Epoch, range: SeqRange, reply: oneshot::Sender<Held> },
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
    pub(crate) events: Vec<Event>,
    pub(crate) anchors: Vec<ClockAnchor>,
    /// Lost ranges of the epoch that central may not know of, the lowest ones.
    pub(crate) lost: Vec<SeqRange>,
    pub(crate) lineage: Lineage,
    pub(crate) oldest_held: Seq,
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
    pub(crate) dir: PathBuf,
    pub(crate) cap_bytes: u64,
    pub(crate) commit: Duration,
    pub(crate) boot: BootId,
    pub(crate) accepted_log: Option<PathBuf>,
}

/// The spool, opened and not yet started.
pub(crate) struct Spool {
    settings: Settings,
    /// Only while it is opened again after a failure there is none.
    opened: Option<Opened>,
    log: Option<AcceptedLog>,
    state: watch::Sender<State>,
    /// The oldest event that is held, and when it happened, if it was in this boot.
    oldest: (Seq, Option<Uptime>),
}

impl Spool {
    /// Opens the spool.
    pub(crate) fn open(settings: Settings) -> anyhow::Result<Self> {
        let opened = recovery::open(&settings.dir, settings.cap_bytes)
            .with_context(|| format!("cannot open the spool in {}", settings.dir.display()))?;
        let log = settings.accepted_log.as_deref().map(AcceptedLog::open).transpose()?;
        let state = watch::Sender::new(state_of(&opened, None));
        let mut spool = Self { settings, opened: Some(opened), log, state, oldest: (Seq(0), None) };
        spool.tell();
        Ok(spool)
    }

    /// What inference must take up, and the number that its next event gets.
    pub(crate) fn inference(&self) -> (Seq, &[u8]) {
        (self.opened().meta.next, &self.opened().snapshot)
    }

    fn opened(&self) -> &Opened {
        self.opened.as_ref().expect("open, except within reopen")
    }

    fn opened_mut(&mut self) -> &mut Opened {
        self.opened.as_mut().expect("open, except within reopen")
    }

    /// What the spool holds, from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Starts the thread. When `accept` closes it makes the last events durable and cancels `finished`;
    /// it ends when `requests` has closed too.
    pub(crate) fn start(
        mut self,
        runtime: Handle,
        mut accept: mpsc::Receiver<Accept>,
        mut requests: mpsc::Receiver<Request>,
        finished: CancellationToken,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("spool".into()).spawn(move || {
            let mut waiting: Vec<Accept> = Vec::new();
            let mut due: Option<Instant> = None;
            let (mut accepting, mut asked) = (true, true);
            while accepting || asked {
                let count: usize = waiting.iter().map(|accept| accept.events.len()).sum();
                // Every branch is cancel-safe: receiving from a channel, and a timer.
                let next = runtime.block_on(async {
                    tokio::select! {
                        accepted = accept.recv(), if accepting && count < VALUE_EVENTS => Next::Accept(accepted),
                        request = requests.recv(), if asked => Next::Request(request),
                        () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Next::Commit,
                    }
                });
                match next {
                    Next::Accept(Some(accepted)) => {
                        let full = count + accepted.events.len() >= VALUE_EVENTS;
                        waiting.push(accepted);
                        let soon = Instant::now() + self.settings.commit;
                        due = Some(if full { Instant::now() } else { due.unwrap_or(soon) });
                        continue;
                    }
                    Next::Request(Some(request)) => {
                        self.handle_request(request);
                        continue;
                    }
                    Next::Request(None) => {
                        asked = false;
                        continue;
                    }
                    Next::Accept(None) => accepting = false,
                    Next::Commit => {}
                }
                if !waiting.is_empty() {
                    self.accept(&waiting);
                    waiting.clear();
                }
                due = None;
                if !accepting {
                    finished.cancel();
                }
            }
            info!("the spool is closed");
        })
    }

    /// Makes events durable, for as long as it takes.
    fn accept(&mut self, waiting: &[Accept]) {
        let events: Vec<(Seq, Event)> = waiting.iter().flat_map(|accept| accept.events.clone()).collect();
        let snapshot = waiting.last().map(|accept| accept.snapshot.as_slice());
        while let Err(why) = self.try_accept(&events, snapshot) {
            error!(%why, events = events.len(), "cannot keep events: acceptance stops until the spool opens again");
            thread::sleep(REOPEN);
            self.reopen();
        }
    }

    fn try_accept(&mut self, events: &[(Seq, Event)], snapshot: Option<&[u8]>) -> Result<(), StoreError> {
        let Opened { store, index, meta, .. } = self.opened_mut();
        // After a reopening, some may turn out to have been kept.
        let new: Vec<Event> =
            events.iter().filter(|(seq, _)| *seq >= index.next()).map(|(_, event)| event.clone()).collect();
        let first = index.next();
        let writes = index.append(&new);
        let evicted = index.evict();
        meta.next = index.next();
        meta.lost = index.lost().clone();
        store.commit(writes, meta, snapshot)?;
        store.remove(&evicted)?;
        if !evicted.is_empty() {
            warn!(
                values = evicted.len(),
                lost = meta.lost.len(),
                "the spool is full: the oldest events are lost"
            );
        }
        debug!(first = first.0, events = new.len(), "accepted");
        if let Some(log) = &mut self.log {
            log.write(events);
        }
        self.tell();
        Ok(())
    }

    /// Opens the store again until it works.
    fn reopen(&mut self) {
        // The old one holds the lock of its folder: it must be gone before.
        let old = self.opened.take().expect("open, except within reopen").meta;
        let (epoch, anchors) = (old.epoch, old.anchors);
        self.opened = loop {
            match recovery::open(&self.settings.dir, self.settings.cap_bytes) {
                Ok(opened) if opened.meta.epoch != epoch => {
                    // Inference and uplink number by the old epoch: only a start from the beginning
                    // brings everybody together. What waited is concluded again or was never accepted.
                    error!(old = %epoch, new = %opened.meta.epoch, "a new epoch began: the agent starts over");
                    std::process::exit(1);
                }
                Ok(mut opened) => {
                    opened.meta.anchors = anchors;
                    break Some(opened);
                }
                Err(why) => error!(%why, "the spool cannot be opened"),
            }
            thread::sleep(REOPEN);
        };
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::Read { range, reply, .. } => {
                let held = self.read(range).unwrap_or_else(|why| {
                    error!(%why, "cannot read events back");
                    self.nothing()
                });
                // The uplink may have given up waiting; then nobody needs the answer.
                let _ = reply.send(held);
            }
            // A watermark of a spool that was set aside meanwhile.
            Request::Settle { epoch, .. } if epoch != self.opened().meta.epoch => {}
            Request::Settle { settled, .. } => {
                let opened = self.opened_mut();
                let removed = opened.index.settle(&settled);
                if let Err(why) = opened.store.remove(&removed) {
                    error!(%why, "cannot remove settled events; they stay until the next start");
                }
                if !removed.is_empty() {
                    debug!(values = removed.len(), "removed settled events");
                }
                self.tell();
            }
            Request::Fork { .. } | Request::SetAside { .. } => {}
            Request::Anchor(anchor) => add_anchor(&mut self.opened_mut().meta.anchors, anchor),
        }
    }

    /// Tells what the spool holds.
    fn tell(&mut self) {
        let oldest = self.opened().index.oldest_held();
        if oldest != self.oldest.0 || self.oldest.1.is_none() {
            let held = self.read(SeqRange { first: oldest, last: oldest });
            let first = held.ok().and_then(|held| held.events.into_iter().next());
            let here = |event: &Event| event.boot == self.settings.boot;
            self.oldest = (oldest, first.filter(here).map(|event| event.at));
        }
        self.state.send_replace(state_of(self.opened(), self.oldest.1));
    }

    fn nothing(&self) -> Held {
        let epoch = self.opened().meta.epoch;
        Held {
            epoch,
            first: None,
            events: Vec::new(),
            anchors: Vec::new(),
            lost: Vec::new(),
            lineage: Lineage::default(),
            oldest_held: Seq(0),
        }
    }

    fn read(&mut self, range: SeqRange) -> Result<Held, StoreError> {
        let Opened { store, index, .. } = self.opened();
        let Some(key) = index.value_at(range.first).filter(|key| *key <= range.last) else {
            return Ok(self.nothing());
        };
        let value = store.value(key)?.unwrap_or_default();
        let mut events = match decode_value(key, &value) {
            Ok(events) => events,
            Err(why) => {
                error!(first = key.0, %why, "a value cannot be read back: its events are lost");
                self.lose(key)?;
                return Ok(self.nothing());
            }
        };
        let Opened { index, meta, .. } = self.opened();
        let first = key.max(range.first);
        events.drain(..usize::try_from(first.0 - key.0).unwrap_or(usize::MAX).min(events.len()));
        events.truncate(usize::try_from(range.last.0 - first.0 + 1).unwrap_or(usize::MAX));
        let boots = |anchor: &&ClockAnchor| events.iter().any(|event| event.boot == anchor.boot);
        Ok(Held {
            epoch: meta.epoch,
            first: Some(first),
            anchors: meta.anchors.iter().filter(boots).copied().collect(),
            lost: index.lost().ranges().iter().take(LOST_PER_BATCH).copied().collect(),
            lineage: Lineage::default(),
            oldest_held: index.oldest_held(),
            events,
        })
    }

    /// Takes an unreadable value out, after its loss is on record.
    fn lose(&mut self, key: Seq) -> Result<(), StoreError> {
        let Opened { store, index, meta, .. } = self.opened_mut();
        index.lose_value(key);
        meta.lost = index.lost().clone();
        store.commit(Vec::new(), meta, None)?;
        store.remove(&[key])
    }
}

enum Next {
    Accept(Option<Accept>),
    Request(Option<Request>),
    Commit,
}

fn state_of(opened: &Opened, oldest_at: Option<Uptime>) -> State {
    let Opened { store, index, meta, .. } = opened;
    State {
        epochs: vec![EpochState {
            epoch: meta.epoch,
            oldest_held: index.oldest_held(),
            next: index.next(),
            settled: SeqSet::default(),
            lost: index.lost().len(),
            lineage: Lineage::default(),
        }],
        waiting: index.held(),
        held: index.held(),
        live_bytes: index.live_bytes(),
        disk_bytes: store.disk_bytes().unwrap_or(0),
        percent: 0,
        lost: index.lost().len(),
        oldest_at,
        fault: None,
    }
}

/// Keeps the first anchor of a boot, which is nearest to its start, and the latest ones; and only the
/// latest boots.
fn add_anchor(anchors: &mut Vec<ClockAnchor>, anchor: ClockAnchor) {
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

/// A file that gets one line per accepted event, after the barrier: by it a test judges what was
/// accepted without asking the spool.
struct AcceptedLog {
    file: File,
    path: PathBuf,
    next: Seq,
}

impl AcceptedLog {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot open the accepted log {}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), next: Seq::FIRST })
    }

    fn write(&mut self, events: &[(Seq, Event)]) {
        let mut lines = Vec::new();
        let next = self.next;
        for (seq, event) in events.iter().filter(|(seq, _)| *seq >= next) {
            serde_json::to_writer(&mut lines, &EventLine::new(*seq, event)).expect("a line always encodes");
            lines.push(b'\n');
            self.next = seq.plus(1);
        }
        if let Err(why) = self.file.write_all(&lines) {
            warn!(path = %self.path.display(), %why, "cannot write the accepted log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_protocol::clock::UnixMillis;
    use hangtag_protocol::event::What;

    fn settings(dir: &Path) -> Settings {
        Settings {
            dir: dir.join("spool"),
            cap_bytes: 64 << 20,
            commit: Duration::from_millis(20),
            boot: BootId(1),
            accepted_log: None,
        }
    }

    fn events(range: std::ops::Range<u64>) -> Vec<(Seq, Event)> {
        range
            .map(|n| {
                let what = What::Retracted { seq: Seq(n) };
                (Seq(n), Event { boot: BootId(1), at: Uptime(n), confidence: 1, what })
            })
            .collect()
    }

    fn accept(spool: &mut Spool, range: std::ops::Range<u64>, snapshot: &[u8]) {
        spool.accept(&[Accept { events: events(range), snapshot: snapshot.to_vec() }]);
    }

    fn all(spool: &mut Spool) -> Vec<(Seq, Event)> {
        let mut found = Vec::new();
        let mut from = Seq(1);
        loop {
            let held = spool.read(SeqRange { first: from, last: Seq(1_000_000) }).unwrap();
            let Some(first) = held.first else { return found };
            from = first.plus(held.events.len() as u64);
            found.extend((first.0..).map(Seq).zip(held.events));
        }
    }

    #[test]
    fn what_was_accepted_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        let epoch = spool.opened().meta.epoch;
        let large = vec![7; 20_000];
        accept(&mut spool, 1..300, &large);
        accept(&mut spool, 300..301, b"small");
        drop(spool);
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        assert_eq!(spool.opened().meta.epoch, epoch);
        assert_eq!(spool.inference(), (Seq(301), &b"small"[..]));
        assert_eq!(all(&mut spool), events(1..301));
    }

    #[test]
    fn a_second_agent_is_told_that_the_folder_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Spool::open(settings(dir.path())).unwrap();
        let why = Spool::open(settings(dir.path())).err().map(|why| format!("{why:#}")).unwrap_or_default();
        assert!(why.contains("another agent"), "{why}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is set aside");
    }

    #[test]
    fn settled_events_are_removed_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        accept(&mut spool, 1..600, b"");
        let old = Request::Settle { epoch: Epoch(0), settled: SeqSet::from(vec![SeqRange::new(1, 599)]) };
        spool.handle_request(old);
        assert_eq!(all(&mut spool), events(1..600), "of another epoch");
        let epoch = spool.opened().meta.epoch;
        spool.handle_request(Request::Settle { epoch, settled: SeqSet::from(vec![SeqRange::new(1, 520)]) });
        assert_eq!(all(&mut spool), events(513..600), "whole values go");
        spool.handle_request(Request::Settle { epoch, settled: SeqSet::from(vec![SeqRange::new(1, 599)]) });
        assert_eq!(all(&mut spool), []);
        accept(&mut spool, 600..601, b"");
        drop(spool);
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        assert_eq!(all(&mut spool), events(600..601));
    }

    #[test]
    fn a_damaged_value_is_lost_and_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        accept(&mut spool, 1..257, b"");
        accept(&mut spool, 257..513, b"");
        let mut value = spool.opened().store.value(Seq(1)).unwrap().unwrap();
        value[20] ^= 1;
        let damaged = hangtag_agent_core::spool::Write { first: Seq(1), value };
        let meta = spool.opened().meta.clone();
        spool.opened_mut().store.commit(vec![damaged], &meta, None).unwrap();
        drop(spool);
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        assert_eq!(all(&mut spool), events(257..513));
        assert_eq!(spool.opened().index.lost().ranges(), [SeqRange::new(1, 256)]);
        drop(spool);
        let spool = Spool::open(settings(dir.path())).unwrap();
        assert_eq!(spool.opened().index.lost().ranges(), [SeqRange::new(1, 256)], "on record");
    }

    #[test]
    fn a_value_that_spoils_while_the_agent_runs_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        accept(&mut spool, 1..257, b"");
        accept(&mut spool, 257..300, b"");
        let mut value = spool.opened().store.value(Seq(1)).unwrap().unwrap();
        value[20] ^= 1;
        let damaged = hangtag_agent_core::spool::Write { first: Seq(1), value };
        let meta = spool.opened().meta.clone();
        spool.opened_mut().store.commit(vec![damaged], &meta, None).unwrap();
        assert_eq!(all(&mut spool), [], "the value is taken out");
        assert_eq!(all(&mut spool), events(257..300));
        assert_eq!(spool.opened().index.lost().ranges(), [SeqRange::new(1, 256)]);
    }

    #[test]
    fn a_foreign_or_broken_folder_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let spool_dir = dir.path().join("spool");
        std::fs::create_dir(&spool_dir).unwrap();
        std::fs::write(spool_dir.join("conf"), b"not a sled configuration").unwrap();
        std::fs::write(spool_dir.join("db"), vec![0x55; 100_000]).unwrap();
        std::fs::write(spool_dir.join("snap.0000.generating"), b"half").unwrap();
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        accept(&mut spool, 1..3, b"");
        assert_eq!(all(&mut spool), events(1..3));
        let aside = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(aside.filter(|name| name.to_string_lossy().starts_with("spool.bad-")).count() == 1);
    }

    #[test]
    fn a_store_that_is_opened_again_keeps_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(settings(dir.path())).unwrap();
        accept(&mut spool, 1..10, b"");
        spool.reopen();
        accept(&mut spool, 5..12, b"");
        assert_eq!(all(&mut spool), events(1..12));
    }

    #[test]
    fn anchors_are_bounded_and_the_first_stays() {
        let mut anchors = Vec::new();
        for n in 0..50 {
            let anchor =
                ClockAnchor { boot: BootId(n % 2), uptime: Uptime(n), wall: UnixMillis(0), error_ms: 0 };
            add_anchor(&mut anchors, anchor);
        }
        assert_eq!(anchors.len(), 2 * ANCHORS_PER_BOOT);
        assert!(anchors.iter().any(|anchor| anchor.uptime == Uptime(0)));
        assert!(anchors.iter().any(|anchor| anchor.uptime == Uptime(49)));
        for n in 100..200 {
            let anchor = ClockAnchor { boot: BootId(n), uptime: Uptime(n), wall: UnixMillis(0), error_ms: 0 };
            add_anchor(&mut anchors, anchor);
        }
        assert!(anchors.len() <= BOOTS * ANCHORS_PER_BOOT, "{}", anchors.len());
    }
}
