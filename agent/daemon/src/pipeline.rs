//! Every task and channel of a running agent, and how it ends.
//!
//! ```text
//! intake (one per port)   ──seen──▶ infer ──accept──▶ spool ◀──requests── uplink ══▶ broker
//!   ▲                                 │                 ├────state────────▶│
//!   └──────────────marks──────────────│─────────────────┘                  │
//!                                     └──reads──▶ onlooker                 ▼
//!                                       health, state ──▶ metrics
//! clock ─────────────────anchors──────────────────▶ spool               settled
//! ```
//!
//! Data is pushed up to the disk and pulled after it. Shutdown runs with the data: cancelling ends the
//! readers' tasks, inference ends when its channel closes, the spool makes the last events durable,
//! and the uplink gets a limited time to send them. A task that ends early fails the process, and so does an end
//! that takes longer than [`END`]. While the spool is being opened there is nothing to end: every moment of it
//! may be the last.

use std::cell::Cell;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hangtag_agent_core::infer::Inference;
use hangtag_agent_core::intake::node::Marks;
use hangtag_agent_core::uplink::SettledBy;
use hangtag_protocol::clock::{BootId, ClockAnchor};
use hangtag_service::{Heart, Life};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::capture::Capture;
use crate::config::{Config, DeleteAfter};
use crate::enrol::renewal::{self, Renewal};
use crate::health::Health;
use crate::hours::Hours;
use crate::infer::Progress;
use crate::intake::{Intake, Nodes};
use crate::learned::Keeper;
use crate::metrics::Monitor;
use crate::onlooker::Onlooker;
use crate::spool::{self, Request, Signals, Spool};
use crate::uplink::Uplink;
use crate::{clock, infer, intake, uplink};

/// Reads on their way to inference: a second of 16 busy readers. Full, it slows the readers' tasks, and
/// the kernel's buffers fill.
const SEEN: usize = 16_384;
/// Conclusions on their way to the spool. Full while a write fails, it slows inference.
const ACCEPT: usize = 64;
/// Requests to the spool; their senders wait for the answer anyway.
const REQUESTS: usize = 8;
/// Reads that a slow onlooker may be behind before it misses some.
const READS: usize = 1_024;
/// How long the end may take altogether: the spool gets 3 seconds for a disk that fails, the uplink 4 for a broker
/// that is slow. The service manager kills after 30 (`TimeoutStopSec`).
const END: Duration = Duration::from_secs(20);
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
    let life = Life::begin();
    loop {
        let asked = async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        match run_once(config.clone(), extras.accepted_log.clone(), capture.clone(), &life, asked).await? {
            Ended::Stopped => return Ok(()),
            Ended::StartOver => info!("starting over with a new epoch"),
        }
    }
}

async fn run_once(
    config: Config,
    accepted_log: Option<PathBuf>,
    capture: Option<Capture>,
    life: &Life,
    asked: impl Future<Output = ()>,
) -> anyhow::Result<Ended> {
    let boot = clock::boot_id()?;
    tokio::pin!(asked);
    let spool = tokio::select! {
        spool = open(config.spool_settings(boot, accepted_log), life.heart("opening")) => spool?,
        () = &mut asked => {
            info!("asked to end while the spool was being opened");
            return Ok(Ended::Stopped);
        }
    };
    let health = Health::new(config.readers.iter().map(|reader| reader.id));
    let readers: Vec<_> = config.readers.iter().map(|reader| reader.id).collect();

    let (next, kept) = spool.inference();
    let (marks, snapshot) = Marks::split(kept).unwrap_or_else(|why| {
        warn!(%why, "open visits are forgotten");
        (Marks::default(), &[])
    });
    let nodes = Nodes::new(marks.clone(), spool.watch_marks());
    let progress = Progress::new(marks);
    let mut inference = Inference::new(config.layout.clone(), boot, next, clock::uptime());
    let keeper = Keeper::open(&config.data, &config.gateway, &mut inference, clock::uptime());
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
    let onlooker = Onlooker::bind(
        &config.socket(),
        (readers, config.layout.clone()),
        reads.clone(),
        health.clone(),
        state.clone(),
    )
    .with_context(|| format!("cannot open {}", config.socket().display()))?;
    let mut onlooker = tokio::spawn(onlooker.run());
    let monitor = Monitor {
        gateway: config.gateway,
        boot,
        clock_kept: config.clock_kept,
        cap_bytes: config.cap(),
        health: health.clone(),
        state: state.clone(),
    };
    let mut metrics = tokio::spawn(monitor.serve(config.metrics));
    let reads_now = |hours: &Hours| hours.reads(clock::anchor(boot, config.clock_kept).as_ref());
    let (hours_in, hours) = watch::channel(config.hours.as_ref().is_none_or(reads_now));
    let watched = config.hours.clone().map(|hours| (hours, hours_in));
    let mut clock = tokio::spawn(watch_clock(boot, config.clock_kept, requests_in.clone(), watched));
    let spool = spool
        .start(Handle::current(), accept, requests, signals, life.heart("spool"))
        .context("cannot start the spool")?;
    let mut spool = joined(spool);
    let settled_by = match config.spool.delete_after {
        DeleteAfter::Central => SettledBy::Central,
        DeleteAfter::Broker => SettledBy::Broker,
    };
    let renewal = Renewal {
        gateway: config.gateway,
        files: config.mqtt.tls.clone(),
        door: config.mqtt.renew.clone(),
        health: health.clone(),
    };
    let mut renewal = tokio::spawn(renewal::run(renewal));
    let settings = uplink::Settings { gateway: config.gateway, boot, mqtt: config.mqtt, settled_by };
    let uplink = Uplink::new(settings, state, requests_in, health.clone(), finish, life.heart("uplink"));
    let mut uplink = tokio::spawn(uplink.run());
    let mut infer = tokio::spawn(infer::run(
        inference,
        progress,
        Some(keeper),
        seen,
        accept_in,
        reads,
        life.heart("inference"),
    ));
    let intakes = config.readers.into_iter().enumerate().map(|(number, reader)| {
        let (out, health) = (seen_in.clone(), health.clone());
        let (capture, cancel) = (capture.clone(), cancel.clone());
        let (nodes, hours, key) = (nodes.clone(), hours.clone(), config.key);
        Intake { number, reader, key, out, health, capture, nodes, hours, cancel }
    });
    let mut intakes = intake::start(intakes);
    drop(seen_in);
    info!(gateway = %config.gateway.gateway, store = %config.gateway.store, %boot, "the agent runs");
    life.ready();

    let ended = tokio::select! {
        () = &mut asked => Ended::Stopped,
        () = start_over.cancelled() => Ended::StartOver,
        ended = &mut infer => bail!("inference ended early: {ended:?}"),
        ended = &mut spool => bail!("the spool ended early: {ended:?}"),
        ended = &mut clock => bail!("the clock's task ended early: {ended:?}"),
        ended = &mut onlooker => bail!("the local socket's task ended early: {ended:?}"),
        ended = &mut metrics => bail!("the metrics' task ended early: {ended:?}"),
        ended = &mut uplink => bail!("the uplink ended early: {ended:?}"),
        ended = &mut renewal => bail!("the certificate's task ended early: {ended:?}"),
        Some(ended) = intakes.join_next() => bail!("a reader's task ended early: {ended:?}"),
    };
    info!("shutting down");
    if matches!(ended, Ended::Stopped) {
        life.stopping();
    }
    cancel.cancel();
    let left = Cell::new("readers, inference, uplink, spool");
    let stages = async {
        intakes.join_all().await;
        left.set("inference, uplink, spool");
        infer.await.context("inference failed")?;
        onlooker.abort();
        metrics.abort();
        // What it is about to replace it replaces in one step.
        renewal.abort();
        // It holds a sender of requests; the spool ends when the last one is gone.
        clock.abort();
        left.set("uplink, spool");
        // Inference has let go of its channel: the spool accepts the rest at once and tells the uplink to
        // finish, which ends when everything is sent or its time is over.
        uplink.await.context("the uplink failed")?;
        left.set("spool");
        spool.await?.map_err(|_| anyhow::anyhow!("the spool failed"))
    };
    within(END, stages, &left).await?;
    // A socket file without an agent behind it only puzzles people; if it stays, the next start takes it.
    let _ = std::fs::remove_file(config.data.join("agent.sock"));
    Ok(ended)
}

/// Opens the spool on a thread of its own: it may take minutes where a damaged one is rescued, or for ever where a
/// disk hangs. The thread of an opening that is given up ends with the process.
async fn open(settings: spool::Settings, mut heart: Heart) -> anyhow::Result<Spool> {
    let (done, opened) = oneshot::channel();
    let opening = move || drop(done.send(Spool::open(settings)));
    thread::Builder::new().name("opening".into()).spawn(opening).context("cannot open the spool")?;
    heart.while_waiting(opened).await.context("the spool's opening panicked")?
}

/// The end of a thread, without one of the runtime's that would have to end before the process.
fn joined(thread: thread::JoinHandle<()>) -> oneshot::Receiver<thread::Result<()>> {
    let (done, joined) = oneshot::channel();
    // Without a thread to wait, the end is told as an early one.
    let _ = thread::Builder::new().name("join".into()).spawn(move || drop(done.send(thread.join())));
    joined
}

/// Lets the stages end, for so long; `left` names those that have not.
async fn within(
    limit: Duration,
    stages: impl Future<Output = anyhow::Result<()>>,
    left: &Cell<&'static str>,
) -> anyhow::Result<()> {
    if let Ok(ended) = timeout(limit, stages).await {
        return ended;
    }
    let left = left.get();
    error!(left, ?limit, "the end takes too long and is given up; what was accepted is in the spool");
    bail!("not ended within {limit:?}: {left}")
}

/// Tells the spool what the wall clock shows: at the start, and when it was stepped; and readers whether it is time
/// to read.
async fn watch_clock(
    boot: BootId,
    kept: bool,
    requests: mpsc::Sender<Request>,
    hours: Option<(Hours, watch::Sender<bool>)>,
) {
    let mut told: Option<ClockAnchor> = None;
    let mut look = tokio::time::interval(LOOK_AT_CLOCK);
    loop {
        look.tick().await;
        let anchor = clock::anchor(boot, kept);
        if let Some((hours, tell)) = &hours {
            let reads = hours.reads(anchor.as_ref());
            if tell.send_if_modified(|told| std::mem::replace(told, reads) != reads) {
                info!(reads, schedule = hours.text, "the schedule starts or stops the readers");
            }
        }
        let Some(anchor) = anchor else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
tenant = "acme"
store = "paris-1"
gateway = "gw-1"
data = "data"
[mqtt]
host = "localhost"
[[zone]]
id = "rail-a"
kind = "rail"
[[reader]]
id = "rail-a"
port = "/nowhere"
protocol = "r200"
region = "eu"
power_dbm = 26.0
[[reader.antenna]]
port = 1
zone = "rail-a"
"#;

    #[test]
    fn an_opening_that_does_not_end_is_given_up_when_the_agent_is_asked_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("spool")).unwrap();
        std::fs::write(data.join("spool/conf"), b"not a sled configuration").unwrap();
        // What is rescued is looked for there too; nobody ever writes into it, and reading waits.
        rustix::fs::mkfifoat(rustix::fs::CWD, data.join("before.db"), rustix::fs::Mode::RWXU).unwrap();
        std::fs::write(dir.path().join("agent.toml"), CONFIG).unwrap();
        let config = Config::load(&dir.path().join("agent.toml")).unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        // Not awaited here: an opening on this thread would hold the test up for ever.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ended =
                runtime.block_on(async { run_once(config, None, None, &Life::begin(), async {}).await });
            runtime.shutdown_background();
            done.send(matches!(ended, Ok(Ended::Stopped)))
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(true));
    }

    #[tokio::test]
    async fn an_end_that_takes_too_long_is_given_up_by_name() {
        let left = Cell::new("uplink, spool");
        let stages = async {
            left.set("spool");
            std::future::pending().await
        };
        let why = within(Duration::from_millis(1), stages, &left).await.unwrap_err().to_string();
        assert!(why.ends_with("spool") && !why.contains("uplink"), "{why}");
        let failed = async { bail!("the uplink failed") };
        let why = within(END, failed, &left).await.unwrap_err().to_string();
        assert_eq!(why, "the uplink failed");
        within(END, async { Ok(()) }, &left).await.unwrap();
    }
}
