//! The agent's own spool, in the hand of a measure. Enters: events, what is settled. Leaves: the moment
//! at which they are on stable storage. The only file here that speaks to [`crate::spool`].

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hangtag_protocol::clock::ClockAnchor;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::SeqSet;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use crate::spool::{Accept, Request, Settings, Spool, State};

/// A spool with its thread running.
pub(super) struct Keeper {
    thread: JoinHandle<()>,
    accept: mpsc::Sender<Accept>,
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
}

impl Keeper {
    /// Opens the spool of a configuration; events are made durable `commit` after they came.
    pub(super) fn open(
        config: &Config,
        commit: Duration,
        accepted_log: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let cap_bytes = u64::from(config.spool.cap_mib) << 20;
        let dir = config.spool_dir();
        Self::start(Settings { dir, cap_bytes, commit, boot: clock::boot_id()?, accepted_log })
    }

    fn start(settings: Settings) -> anyhow::Result<Self> {
        let spool = Spool::open(settings)?;
        let state = spool.watch();
        // One of each on its way: what is sent next waits until the one before is being handled.
        let (accept, accept_out) = mpsc::channel(1);
        let (requests, requests_out) = mpsc::channel(1);
        let finished = CancellationToken::new();
        let thread = spool
            .start(Handle::current(), accept_out, requests_out, finished)
            .context("cannot start the spool")?;
        Ok(Self { thread, accept, requests, state })
    }

    /// The number that the next event gets.
    pub(super) fn next(&self) -> Seq {
        self.state.borrow().next
    }

    /// Hands events over and waits until they are on stable storage.
    pub(super) async fn accept(&self, events: Vec<(Seq, Event)>, snapshot: Vec<u8>) -> anyhow::Result<()> {
        let Some((last, _)) = events.last() else { return Ok(()) };
        let last = *last;
        self.accept.send(Accept { events, snapshot }).await.map_err(|_| gone())?;
        self.state.clone().wait_for(|state| state.next > last).await.map_err(|_| gone())?;
        Ok(())
    }

    /// Says what central has settled of the current epoch.
    pub(super) async fn settle(&self, settled: SeqSet) -> anyhow::Result<()> {
        let epoch = self.state.borrow().epoch;
        self.requests.send(Request::Settle { epoch, settled }).await.map_err(|_| gone())
    }

    /// Tells a clock anchor, and returns when the spool has it.
    pub(super) async fn anchor(&self, anchor: ClockAnchor) -> anyhow::Result<()> {
        self.requests.send(Request::Anchor(anchor)).await.map_err(|_| gone())?;
        // There is room again when the request was taken out, and it is handled before any other.
        self.requests.reserve().await.map_err(|_| gone())?;
        Ok(())
    }

    /// Ends the thread.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Self { thread, accept, requests, .. } = self;
        drop((accept, requests));
        tokio::task::spawn_blocking(move || thread.join()).await?.map_err(|_| anyhow!("the spool failed"))
    }
}

fn gone() -> anyhow::Error {
    anyhow!("the spool is gone")
}
