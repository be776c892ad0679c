//! The wiring: which tasks there are, and every channel between them.
//!
//! ```text
//! broker ⇄ connection ──events──▶ ingest ──input──▶ writer (thread) ──changed──▶
//!                    ◀─requests──        ◀─output──   ▲    └──failing──▶ health
//!                                              tills ──┘ input, each with its answer
//!                                        ──broker──────────────────────▶ health
//! changed ──▶ rollups ──▶ database ◀── retention
//! changed ──▶ neighbours ⇄ other centrals
//!                        ──news──▶ page
//! what all of them say of themselves ──▶ metrics
//! broker ◀───────────────── courier ◀──changed── writer
//! ```
//!
//! Shutdown runs with the data: ingest takes nothing more, the writer ends when its input closes (tills hold it only
//! while they ask), ingest acknowledges and publishes what the writer settled last, and then the page stops. The
//! courier stops at once: what it did not publish it does when it starts again.

use std::sync::Arc;

use anyhow::{Context, bail};
use hangtag_service::{Heart, Life};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::catalogue::Catalogue;
use crate::config::{self, Config};
use crate::days::Days;
use crate::enrol::{self, Door};
use crate::feed::Scene;
use crate::feed::courier::{self, Courier};
use crate::feed::desk::{self, Desk};
use crate::feed::hourly::Hourly;
use crate::feed::mqtt::Connect;
use crate::goods::Goods;
use crate::ingest::{self, Broker, Ingest};
use crate::metrics::Monitor;
use crate::neighbours;
use crate::problem::{self, Problem};
use crate::retention;
use crate::rollups;
use crate::shop;
use crate::store::{Access, Failing, Input, Reader, Store, Work, Writer};
use crate::web::{self, Guard, Requests, Site, Tills, Vitals};

/// Messages between ingest and writer: what comes during a transaction. The writer takes out at once what comes, so
/// that all messages which the broker may send are before its eyes.
const INPUT: usize = 256;
/// Answers of the writer; each is of a whole transaction.
const OUTPUT: usize = 16;

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// When a file or the port cannot be used, or a task ends early.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let shops = shop::read(&config.stores).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })?;
    let catalogue = config.catalogue.as_deref().map(Catalogue::read).unwrap_or_default();
    for problem in &catalogue.problems {
        tracing::warn!(%problem, "catalogue row left out");
    }
    let target = config.mqtt.target().context("mqtt.password_file")?;
    let options = config.store_options().map_err(|problems| anyhow::anyhow!(problem::lines(&problems)))?;
    let address = config.address()?;
    let store = Store::open(&address, options.clone())?;
    // Before anything is said to the broker: a second central on the same configuration ends here, and must not
    // have thrown the first one out of its session.
    let listener = TcpListener::bind(config.web.listen)
        .await
        .with_context(|| format!("web.listen = {}", config.web.listen))?;
    let scheme = if config.web.tls.is_some() { "https" } else { "http" };
    tracing::info!("page is at {scheme}://{}", listener.local_addr()?);
    let page_guard = Guard::new(Access::new(address.clone(), config.tenant), &config.web, Timestamp::now);
    page_guard.announce()?;
    let door = match &config.enrol {
        Some(enrol) => Some(open_door(enrol).await?),
        None => None,
    };

    let metrics = config.metrics().context("metrics.listen")?;
    let (work, requests) = (Work::new(), Requests::default());

    let (input, writer_input) = mpsc::channel(INPUT);
    let (writer_output, output) = mpsc::channel(OUTPUT);
    let (changed, commits) = watch::channel(0);
    let (broker, broker_known) = watch::channel(Broker::unknown());
    let (failing, writer_failing) = watch::channel(None);
    let (stop, stopping) = watch::channel(false);

    let writer = Writer {
        address: address.clone(),
        options,
        input: writer_input,
        output: writer_output,
        changed,
        failing,
        work: work.clone(),
    };
    let writer = std::thread::Builder::new().name("writer".into()).spawn(move || writer.run(store))?;
    let life = Life::begin();
    let pulse = tokio::spawn(pulse(life.heart("writer"), input.downgrade(), writer_failing.clone()));
    let tills = Tills { input: input.downgrade(), shops: shops.clone() };
    let scene = Scene::new(config.tenant, &shops);
    let desk = Desk::new(address.clone(), config.tenant);
    let goods = Arc::new(Goods::new(catalogue));
    let days = Days::new(Reader::new(address.clone()), Arc::clone(&goods));
    let hourly = Hourly {
        tenant: config.tenant,
        shops: shops.clone().into(),
        days: days.clone(),
        now: Timestamp::now,
    };
    let courier = Courier {
        desk: desk.clone(),
        reader: Reader::new(address.clone()),
        scene: scene.clone(),
        forms: config.feed.publish.forms(),
        hourly: config.feed.counts.then_some(hourly),
        connect: Connect {
            client_id: match config.mqtt.share {
                // Members of a group have one name; what publishes needs its own.
                Some(_) => format!("{}-feed-{:08x}", config.mqtt.client_id, rand::random::<u32>()),
                None => format!("{}-feed", config.mqtt.client_id),
            },
            target: target.clone(),
        },
        commits: commits.clone(),
    };
    let mut feed = tokio::spawn(feed(courier, desk, stopping.clone()));
    let ingest =
        Ingest::new(&config.mqtt, target, config.tenant, input, output, broker, writer_failing.clone());
    let monitor = Monitor {
        reader: Reader::new(address.clone()),
        forms: config.feed.publish.forms(),
        broker: broker_known.clone(),
        failing: writer_failing.clone(),
        told: ingest.told(),
        work,
        requests: requests.clone(),
    };
    let mut metrics = tokio::spawn(monitor.serve(metrics));
    let mut ingest = tokio::spawn(ingest::run(ingest, stopping.clone()));

    let reader = Reader::new(address.clone());
    let rolling = rollups::run(address.clone(), config.tenant, commits.clone(), stopping.clone());
    let rolling = tokio::spawn(rolling);
    // What this process commits is rolled up and published by it; the page shows what all commit.
    let (news, heard) = watch::channel(0);
    let hearing = tokio::spawn(neighbours::run(address.clone(), commits, news, stopping.clone()));
    let keeping = retention::run(address.clone(), config.tenant, config.limits(), stopping.clone());
    let keeping = tokio::spawn(keeping);
    let site = Arc::new(Site {
        days,
        reader,
        scene,
        shops,
        goods,
        commits: heard,
        vitals: Vitals { broker: broker_known, failing: writer_failing, forms: config.feed.publish.forms() },
        stopping: stopping.clone(),
        now: Timestamp::now,
        turns: web::turns(),
        made: web::Made::default(),
    });
    let ready = tokio::spawn(web::keep_ready(Arc::clone(&site), stopping.clone()));
    let mut door = tokio::spawn(guard(door, stopping.clone()));
    let paths = (site, tills, requests);
    let mut page = tokio::spawn(web::serve(listener, config.web, page_guard, paths, stopping));

    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    life.ready();
    tokio::select! {
        _ = terminated.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupted.recv() => tracing::info!("SIGINT: stopping"),
        ended = &mut ingest => bail!("ingest ended early: {ended:?}"),
        ended = &mut feed => bail!("feed ended early: {ended:?}"),
        ended = &mut page => bail!("page ended early: {ended:?}"),
        ended = &mut door => bail!("the enrolment door ended early: {ended:?}"),
        ended = &mut metrics => bail!("metrics ended early: {ended:?}"),
    }
    life.stopping();
    stop.send_replace(true);
    pulse.abort();
    metrics.abort();
    ingest.await.context("ingest")?;
    if tokio::task::spawn_blocking(|| writer.join()).await.context("writer")?.is_err() {
        bail!("the writer panicked");
    }
    feed.await.context("feed")?;
    door.await.context("enrolment door")?;
    page.await.context("page")?.context("page")?;
    rolling.await.context("rollups")?;
    keeping.await.context("retention")?;
    hearing.await.context("neighbours")?;
    ready.await.context("page")?;
    tracing::info!("stopped");
    Ok(())
}

/// Takes the port of the enrolment door.
async fn open_door(config: &config::Enrol) -> anyhow::Result<(TcpListener, Door)> {
    let door = Door::new(config)?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("enrol.listen = {}", config.listen))?;
    tracing::info!("gateways enrol at https://{}", listener.local_addr()?);
    Ok((listener, door))
}

/// Keeps the enrolment door, if there is one.
async fn guard(door: Option<(TcpListener, Door)>, mut stopping: watch::Receiver<bool>) {
    match door {
        Some((listener, door)) => enrol::serve(listener, door, stopping).await,
        None => drop(stopping.wait_for(|stop| *stop).await),
    }
}

/// Beats for as long as the writer answers. One that cannot store says so, which is an answer too.
async fn pulse(
    mut heart: Heart,
    input: mpsc::WeakSender<Input>,
    mut failing: watch::Receiver<Option<Failing>>,
) {
    loop {
        heart.beat().await;
        if failing.borrow_and_update().is_some() {
            continue;
        }
        let Some(input) = input.upgrade() else { return };
        let (answer, answered) = oneshot::channel();
        let ask = async { input.send(Input::Beat(answer)).await.is_ok() && answered.await.is_ok() };
        // A question that is dropped is answered to nobody.
        tokio::select! {
            answered = ask => if !answered { return },
            changed = failing.changed() => if changed.is_err() { return },
        }
    }
}

/// Keeps the feed going, and publishes it if that is wanted.
async fn feed(courier: Courier, desk: Desk, stopping: watch::Receiver<bool>) {
    let release = desk::release(desk, stopping.clone());
    if courier.forms.is_empty() && courier.hourly.is_none() {
        return release.await;
    }
    tokio::join!(release, courier::run(courier, stopping));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::net::TcpListener;

    use super::{Config, run};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_second_central_ends_before_it_speaks_to_the_broker() {
        let folder = tempfile::tempdir().unwrap();
        let [broker, page] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        broker.set_nonblocking(true).unwrap();
        fs::write(folder.path().join("stores.toml"), "[[store]]\nid='a'\nname='A'\ntime_zone='UTC'\n")
            .unwrap();
        let file = folder.path().join("central.toml");
        let text = format!(
            "tenant='demo'\ndata='central.db'\nstores='stores.toml'\n\
             [mqtt]\nhost='127.0.0.1'\nport={}\n[web]\nlisten='{}'\n",
            broker.local_addr().unwrap().port(),
            page.local_addr().unwrap()
        );
        fs::write(&file, text).unwrap();
        // Often, because a connection that is begun too early need not be made before the program ends.
        for _ in 0..20 {
            let said = format!("{:#}", run(Config::read(&file).unwrap()).await.unwrap_err());
            assert!(said.starts_with("web.listen = 127.0.0.1:") && said.contains("in use"), "{said}");
            assert_eq!(broker.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}
