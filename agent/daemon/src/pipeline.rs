//! Every task and channel of a running agent, and how it ends.
//!
//! ```text
//! intake (one per reader) ──seen──▶ infer ──accept──▶ spool ◀──requests── uplink ══▶ broker
//!                                     │                 └────state────────▶│
//!                                     └──reads──▶ onlooker                 ▼
//! clock ─────────────────anchors──────────────────▶ spool               settled
//! ```
//!
//! Data is pushed up to the disk and pulled after it. Shutdown runs with the data: cancelling ends the
//! readers' tasks, inference ends when its channel closes, the spool makes the last events durable,
//! and the uplink gets a limited time to send them. A task that ends early fails the process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hangtag_agent_core::infer::Inference;
use hangtag_agent_core::uplink::SettledBy;
use hangtag_protocol::clock::{BootId, ClockAnchor};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::capture::Capture;
use crate::config::{Config, DeleteAfter};
use crate::health::Health;
use crate::intake::Intake;
use crate::onlooker::Onlooker;
use crate::spool::{Request, Signals, Spool};
use crate::uplink::Uplink;
use crate::{clock, infer, uplink};

/// Reads on their way to inference: a second of 16 busy readers. Full, it slows the readers' tasks, and
/// the kernel's buffers fill.
const SEEN: usize = 16_384;
/// Conclusions on their way to the spool. Full while a write fails, it slows inference.
const ACCEPT: usize = 64;
/// Requests to the spool; their senders wait for the answer anyway.
const REQUESTS: usize = 8;
/// Reads that a slow onlooker may be behind before it misses some.
const READS: usize = 1_024;
/// How often the wall clock is compared with the last anchor.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

/// What `run` may be told beside the configuration.
pub(crate) struct Extras {
    /// One line per accepted event goes here, after the barrier.
    pub(crate) accepted_log: Option<PathBuf>,
    /// Everything that readers send goes here.
    pub(crate) capture: Option<PathBuf>,
}

/// How a run of the agent ends.
enum Ended {
    /// A signal asked for it.
    Stopped,
    /// The spool began a new epoch: everything that numbers events begins again.
    StartOver,
}

/// Runs the agent until a signal ends it.
pub(crate) async fn run(config: Config, extras: Extras) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot create data folder {}", config.data.display()))?;
    let capture = extras.capture.as_deref().map(Capture::open).transpose()?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    loop {
        let asked = async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        match run_once(config.clone(), extras.accepted_log.clone(), capture.clone(), asked).await? {
            Ended::Stopped => return Ok(()),
            Ended::StartOver => info!("starting over with a new epoch"),
        }
    }
}

async fn run_once(
    config: Config,
    accepted_log: Option<PathBuf>,
    capture: Option<Capture>,
    asked: impl Future<Output = ()>,
) -> anyhow::Result<Ended> {
    let boot = clock::boot_id()?;
    let spool = Spool::open(config.spool_settings(boot, accepted_log))?;
    let health = Health::new(config.readers.iter().map(|reader| reader.id));
    let readers: Vec<_> = config.readers.iter().map(|reader| reader.id).collect();

    let (next, snapshot) = spool.inference();
    let mut inference = Inference::new(config.layout.clone(), boot, next, clock::uptime());
    if !snapshot.is_empty()
        && let Err(why) = inference.restore(snapshot, clock::uptime())
    {
        warn!(%why, "open visits are forgotten");
    }

    let (seen_in, seen) = mpsc::channel(SEEN);
    let (accept_in, accept) = mpsc::channel(ACCEPT);
    let (requests_in, requests) = mpsc::channel(REQUESTS);
    let (reads, _) = broadcast::channel(READS);
    let signals = Signals::default();
    let Signals { stopping: cancel, finished: finish, start_over } = signals.clone();

    let state = spool.watch();
    let onlooker = Onlooker::bind(&config.socket(), readers, reads.clone(), state.clone())
        .with_context(|| format!("cannot open {}", config.socket().display()))?;
    let mut onlooker = tokio::spawn(onlooker.run());
    let mut clock = tokio::spawn(watch_clock(boot, config.clock_kept, requests_in.clone()));
    let spool =
        spool.start(Handle::current(), accept, requests, signals).context("cannot start the spool")?;
    let mut spool = tokio::task::spawn_blocking(move || spool.join());
    let settled_by = match config.spool.delete_after {
        DeleteAfter::Central => SettledBy::Central,
        DeleteAfter::Broker => SettledBy::Broker,
    };
    let settings = uplink::Settings { gateway: config.gateway, boot, mqtt: config.mqtt, settled_by };
    let uplink = Uplink::new(settings, state, requests_in, health.clone(), finish);
    let mut uplink = tokio::spawn(uplink.run());
    let mut infer = tokio::spawn(infer::run(inference, seen, accept_in, reads));
    let mut intakes = JoinSet::new();
    for (number, reader) in config.readers.into_iter().enumerate() {
        let (out, health) = (seen_in.clone(), health.clone());
        let (capture, cancel) = (capture.clone(), cancel.clone());
        intakes.spawn(Intake { number, reader, out, health, capture, cancel }.run());
    }
    drop(seen_in);
    info!(gateway = %config.gateway.gateway, store = %config.gateway.store, %boot, "the agent runs");

    let ended = tokio::select! {
        () = asked => Ended::Stopped,
        () = start_over.cancelled() => Ended::StartOver,
        ended = &mut infer => bail!("inference ended early: {ended:?}"),
        ended = &mut spool => bail!("the spool ended early: {ended:?}"),
        ended = &mut clock => bail!("the clock's task ended early: {ended:?}"),
        ended = &mut onlooker => bail!("the local socket's task ended early: {ended:?}"),
        ended = &mut uplink => bail!("the uplink ended early: {ended:?}"),
        Some(ended) = intakes.join_next() => bail!("a reader's task ended early: {ended:?}"),
    };
    info!("shutting down");
    cancel.cancel();
    intakes.join_all().await;
    infer.await.context("inference failed")?;
    onlooker.abort();
    // It holds a sender of requests; the spool ends when the last one is gone.
    clock.abort();
    // Inference has let go of its channel: the spool accepts the rest at once and tells the uplink to
    // finish, which ends when everything is sent or its time is over.
    uplink.await.context("the uplink failed")?;
    spool.await?.map_err(|_| anyhow::anyhow!("the spool failed"))?;
    // A socket file without an agent behind it only puzzles people; if it stays, the next start takes it.
    let _ = std::fs::remove_file(config.data.join("agent.sock"));
    Ok(ended)
}

/// Tells the spool what the wall clock shows: at the start, and when it was stepped.
async fn watch_clock(boot: BootId, kept: bool, requests: mpsc::Sender<Request>) {
    let mut told: Option<ClockAnchor> = None;
    let mut look = tokio::time::interval(LOOK_AT_CLOCK);
    loop {
        look.tick().await;
        let Some(anchor) = clock::anchor(boot, kept) else { continue };
        if told.is_none_or(|told| clock::differs(&anchor, &told)) {
            if told.is_some() {
                info!(wall = anchor.wall.0, "the wall clock was set");
            }
            told = Some(anchor);
            if requests.send(Request::Anchor(anchor)).await.is_err() {
                return;
            }
        }
    }
}
