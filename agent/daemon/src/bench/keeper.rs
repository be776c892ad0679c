//! The agent's own spool, in the hand of a measure. Enters: events, what is settled. Leaves: the moment
//! at which they are on stable storage. The only file here that speaks to [`crate::spool`].

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hangtag_protocol::clock::ClockAnchor;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::{SeqRange, SeqSet};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::config::{Config, WhenFull};
use crate::spool::{Accept, Request, Settings, Signals, Spool, State};

/// What a measure's spool may take on disk.
const CAP_BYTES: u64 = 16 << 30;
/// As the configuration has it by default.
pub(super) const COMMIT_EVENTS: usize = 256;
/// As many as the running agent lets wait.
const ACCEPT: usize = 64;

/// A spool with its thread running.
pub(super) struct Keeper {
    thread: JoinHandle<()>,
    accept: mpsc::Sender<Accept>,
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    /// A full spool accepts nothing.
    refuses: bool,
    signals: Signals,
}

impl Keeper {
    /// Opens the spool of a configuration; events are made durable at once.
    pub(super) fn open(config: &Config, accepted_log: Option<PathBuf>) -> anyhow::Result<Self> {
        Self::start(Settings {
            commit: Duration::ZERO,
            ..config.spool_settings(clock::boot_id()?, accepted_log)
        })
    }

    /// Opens a spool in a folder; events are made durable `commit` after they came, or when so many wait.
    pub(super) fn in_folder(folder: &Path, commit: Duration, commit_events: usize) -> anyhow::Result<Self> {
        Self::start(Settings { commit_events, ..settings(folder, commit)? })
    }

    fn start(settings: Settings) -> anyhow::Result<Self> {
        let refuses = settings.when_full == WhenFull::Refuse;
        let spool = Spool::open(settings)?;
        let state = spool.watch();
        let signals = Signals::default();
        let (accept, accept_out) = mpsc::channel(ACCEPT);
        // What is asked next waits until the one before is being handled.
        let (requests, requests_out) = mpsc::channel(1);
        let thread = spool
            .start(
                Handle::current(),
                accept_out,
                requests_out,
                signals.clone(),
                hangtag_service::Life::begin().heart("spool"),
            )
            .context("cannot start the spool")?;
        Ok(Self { thread, accept, requests, state, refuses, signals })
    }

    /// The number that the next event gets; all below are on stable storage.
    pub(super) fn next(&self) -> Seq {
        self.state.borrow().current().next
    }

    /// How many events are held.
    pub(super) fn held(&self) -> u64 {
        self.state.borrow().held
    }

    /// Hands events over.
    pub(super) async fn hand_over(&self, events: Vec<(Seq, Event)>, snapshot: Vec<u8>) -> anyhow::Result<()> {
        self.accept.send(Accept { events, snapshot }).await.map_err(|_| gone())
    }

    /// Hands events over and waits until they are on stable storage.
    pub(super) async fn accept(&self, events: Vec<(Seq, Event)>, snapshot: Vec<u8>) -> anyhow::Result<()> {
        let Some(last) = events.last().map(|(seq, _)| *seq) else { return Ok(()) };
        self.hand_over(events, snapshot).await?;
        self.state.clone().wait_for(|state| state.current().next > last).await.map_err(|_| gone())?;
        Ok(())
    }

    /// The same; why not, when the spool is full and is to refuse then: only central could change that.
    pub(super) async fn accept_unless_full(
        &self,
        events: Vec<(Seq, Event)>,
        snapshot: Vec<u8>,
    ) -> anyhow::Result<Option<String>> {
        let Some(last) = events.last().map(|(seq, _)| *seq) else { return Ok(None) };
        self.hand_over(events, snapshot).await?;
        let mut state = self.state.clone();
        let refused = |state: &State| state.fault.clone().filter(|_| self.refuses);
        let done = state.wait_for(|state| state.current().next > last || refused(state).is_some()).await;
        let done = done.map_err(|_| gone())?;
        Ok(refused(&done).filter(|_| done.current().next <= last))
    }

    /// Settles all of the current epoch up to a number.
    pub(super) async fn settle(&self, last: Seq) -> anyhow::Result<()> {
        let epoch = self.state.borrow().current().epoch;
        let settled = SeqSet::from(vec![SeqRange { first: Seq::FIRST, last }]);
        self.requests.send(Request::Settle { epoch, settled }).await.map_err(|_| gone())
    }

    /// Tells a clock anchor, and returns when the spool has it.
    pub(super) async fn anchor(&self, anchor: ClockAnchor) -> anyhow::Result<()> {
        self.requests.send(Request::Anchor(anchor)).await.map_err(|_| gone())?;
        // There is room again when the request was taken out, and it is handled before any other.
        self.requests.reserve().await.map_err(|_| gone())?;
        Ok(())
    }

    /// Ends the thread. Events that it cannot keep it gives up after a while.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Self { thread, accept, requests, signals, .. } = self;
        signals.stopping.cancel();
        drop((accept, requests));
        tokio::task::spawn_blocking(move || thread.join()).await?.map_err(|_| anyhow!("the spool failed"))
    }
}

/// A spool without a thread: what its thread does, step by step.
pub(super) struct Bare(Spool);

impl Bare {
    pub(super) fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(Spool::open(settings(folder, Duration::ZERO)?)?))
    }

    /// Returns when the events are on stable storage.
    pub(super) fn accept(&mut self, accept: &Accept) {
        self.0.accept(&mut vec![accept.clone()]);
    }

    /// Settles all of the current epoch up to a number.
    pub(super) fn settle(&mut self, last: Seq) {
        let epoch = self.0.watch().borrow().current().epoch;
        let settled = SeqSet::from(vec![SeqRange { first: Seq::FIRST, last }]);
        self.0.handle_request(Request::Settle { epoch, settled });
    }
}

fn settings(folder: &Path, commit: Duration) -> anyhow::Result<Settings> {
    Ok(Settings {
        data: folder.to_owned(),
        cap_bytes: CAP_BYTES,
        commit,
        commit_events: COMMIT_EVENTS,
        when_full: WhenFull::DropOldest,
        retention: 0,
        boot: clock::boot_id()?,
        accepted_log: None,
    })
}

fn gone() -> anyhow::Error {
    anyhow!("the spool is gone")
}
