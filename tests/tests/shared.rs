//! Two centrals share one subscription and one PostgreSQL server. They are killed, and stopped for a while, again and
//! again while events flow.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::cluster::Cluster;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN, succeeded};
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::listener::Listener;
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, long, seed, skip};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

/// How often one of them is killed or stopped.
const ROUNDS: u32 = 16;
const LONG_ROUNDS: u32 = 300;
/// How long everything may take to settle: longer than the longest pause before a connection.
const PATIENCE: Duration = Duration::from_secs(120);

/// The tables of events as SQLite has them, without their keys: what is there twice is there twice.
const TABLES: &str = "
CREATE TABLE event (store, gateway, epoch, seq, boot, uptime, wall_ms, clock_error, kind, confidence, epc, gtin, zone,
    visit, reads, margin, unrest, dwell, reader, state, since, retracts, digest, received);
CREATE TABLE settled (store, gateway, epoch, fate, first, last);
CREATE VIEW gap AS SELECT epoch, first, last, 'lost' AS why FROM settled WHERE fate = 'lost';
";

/// One of the two.
struct Central {
    name: &'static str,
    process: Option<Process>,
}

impl Central {
    fn command(&self, site: &Site, what: &str) -> Command {
        let mut command = Command::new(site.central(what).get_program());
        command.arg(what).arg("--config").arg(site.folder.join(format!("{}.toml", self.name)));
        command
    }

    fn start(&mut self, site: &Site) -> anyhow::Result<()> {
        let log = site.folder.join(format!("{}.log", self.name));
        self.process = Some(Process::start(self.name, &mut self.command(site, "run"), &log)?);
        Ok(())
    }

    fn check(&mut self) -> anyhow::Result<()> {
        self.process.iter_mut().try_for_each(Process::check)
    }
}

/// A server, a broker and the files of one shop.
fn chain() -> anyhow::Result<(TempDir, Cluster, u16, Mosquitto, Site)> {
    let folder = folder()?;
    let cluster = Cluster::start()?;
    let broker_port = free_port()?;
    let broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    Ok((folder, cluster, broker_port, broker, site))
}

/// Starts both; the second asks the server under a name of its own.
fn start_two(site: &Site, cluster: &Cluster, broker_port: u16) -> anyhow::Result<[Central; 2]> {
    tell(cluster, "CREATE ROLE other SUPERUSER LOGIN")?;
    let urls = [cluster.url(), cluster.url().replace("//hangtag@", "//other@")];
    let mut centrals = ["one", "other"].map(|name| Central { name, process: None });
    for (central, url) in centrals.iter_mut().zip(urls) {
        let text = format!(
            "tenant = \"demo\"\nstores = \"stores.toml\"\n[database]\nurl = \"{url}\"\n[mqtt]\n\
             host = \"127.0.0.1\"\nport = {broker_port}\nshare = \"central\"\n[web]\nlisten = \"127.0.0.1:{}\"\n",
            free_port()?
        );
        site.write(&format!("{}.toml", central.name), &text)?;
        succeeded(central.command(site, "check").output()?)?;
        central.start(site)?;
    }
    Ok(centrals)
}

/// Tells the server something.
fn tell(cluster: &Cluster, sql: &str) -> anyhow::Result<()> {
    let mut psql = Command::new("psql");
    psql.args(["--quiet", "--no-psqlrc", "--command", sql]).arg(cluster.url());
    succeeded(psql.output()?).map(drop)
}

/// Copies what the server has into a file.
fn copy(cluster: &Cluster, to: &Path) -> anyhow::Result<()> {
    let mut dump = Command::new("pg_dump");
    dump.args(["--data-only", "--inserts", "--table=event", "--table=settled"])
        .arg("--dbname")
        .arg(cluster.url());
    let text = String::from_utf8(succeeded(dump.output()?)?.stdout)?;
    let rows = text.lines().filter(|line| line.starts_with("INSERT INTO public."));
    let rows: Vec<String> = rows.map(|line| line.replacen("public.", "", 1)).collect();
    if to.exists() {
        fs::remove_file(to)?;
    }
    Ok(rusqlite::Connection::open(to)?.execute_batch(&format!("BEGIN;{TABLES}{}COMMIT;", rows.concat()))?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_central_is_killed_every_accepted_event_is_on_the_server_exactly_once() -> anyhow::Result<()>
{
    if let Some(why) = Cluster::missing() {
        return skip(why);
    }
    let (folder, cluster, broker_port, _broker, site) = chain()?;
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    let mut centrals = start_two(&site, &cluster, broker_port)?;
    let listener = Listener::start(broker_port);
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), broker_port, "")?;
    let mut agent = gateway.start()?;
    let carousel = Carousel::start(&gateway.readers(), dice.random(), 200)?;
    gateway.wait_accepted(&mut agent, 100)?;

    let rounds = if long() { LONG_ROUNDS } else { ROUNDS };
    let (mut killed, mut stopped) = ([0_u32; 2], [0_u32; 2]);
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(dice.random_range(100..1_500)));
        let victim = dice.random_range(0..2);
        centrals.iter_mut().try_for_each(Central::check)?;
        if dice.random_bool(0.3) {
            // The other goes on, and what this one has begun comes later.
            let process = centrals[victim].process.as_ref().expect("it runs");
            process.pause()?;
            std::thread::sleep(Duration::from_millis(dice.random_range(100..1_500)));
            process.resume()?;
            stopped[victim] += 1;
        } else {
            centrals[victim].process.take().map_or(Ok(()), Process::kill)?;
            killed[victim] += 1;
            if dice.random_bool(0.5) {
                std::thread::sleep(Duration::from_millis(dice.random_range(100..1_000)));
            }
            centrals[victim].start(&site)?;
        }
    }
    drop(carousel);
    agent.stop(STOPS_WITHIN)?;
    // What the agent could not send before it ended, the next one does.
    let agent = gateway.start()?;
    let file = folder.path().join("copy.db");
    let mut complete = |agent: &mut Option<Process>| {
        wait_complete(PATIENCE, || {
            agent.iter_mut().try_for_each(Process::check)?;
            centrals.iter_mut().try_for_each(Central::check)?;
            copy(&cluster, &file)?;
            judge(&gateway.accepted_log(), &file)
        })
    };
    let mut agent = Some(agent);
    complete(&mut agent)?;
    agent.take().map_or(Ok(()), |agent| agent.stop(STOPS_WITHIN))?;
    let verdict = complete(&mut agent)?;
    println!("{rounds} rounds: killed {killed:?}, stopped {stopped:?} times; {verdict:?}");
    // Whoever told a watermark too late has looked again: the last word on the broker is the whole of it.
    wait_for("the last watermark", PATIENCE, || {
        let watermark = listener.heard().watermark.unwrap_or_else(|| panic!("none was told"));
        let told = watermark.epochs.first().map_or(0, |epoch| epoch.contiguous_to.0);
        Ok((told == verdict.in_central).then_some(()))
    })?;
    for central in centrals {
        central.process.map_or(Ok(()), |process| process.stop(STOPS_WITHIN))?;
    }
    assert!(verdict.is_exact(), "{verdict:?}");
    assert_eq!(verdict.epochs, 1, "nothing gave reason to begin anew");
    assert!(killed.iter().all(|times| *times > 0) || !long(), "both were killed: {killed:?}");
    Ok(())
}

/// The port of a central's page.
fn web(site: &Site, name: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(site.folder.join(format!("{name}.toml")))?;
    let listen = text.lines().find_map(|line| line.strip_prefix("listen = "));
    Ok(format!("http://{}", listen.context("no page")?.trim_matches('"')))
}

#[test]
fn a_page_is_told_of_what_another_central_stores() -> anyhow::Result<()> {
    if let Some(why) = Cluster::missing() {
        return skip(why);
    }
    let (_folder, cluster, broker_port, _broker, site) = chain()?;
    let mut centrals = start_two(&site, &cluster, broker_port)?;
    let hears = |times: usize| {
        let text = fs::read_to_string(site.folder.join("other.log")).unwrap_or_default();
        Ok((text.matches("hears of what other centrals store").count() >= times).then_some(()))
    };
    for round in 1..=2 {
        wait_for("a central that hears of the other", PATIENCE, || hears(round))?;
        let url = format!("{}/live", web(&site, "other")?);
        let mut live = BufReader::new(ureq::get(&url).call()?.into_body().into_reader());
        let url = format!("{}/api/v1/pos/demo-shop/sale", web(&site, "one")?);
        let line = format!(
            r#"{{"receipt":"{round}","line":1,"time":"2026-11-22T14:03:11Z","gtin":"4006381333931","quantity":1}}"#
        );
        wait_for("the page of the one that a till tells", PATIENCE, || {
            centrals.iter_mut().try_for_each(Central::check)?;
            let told = ureq::post(&url).header("content-type", "application/json").send(&line);
            Ok(told.is_ok().then_some(()))
        })?;
        let mut said = String::new();
        while !said.contains("changed") {
            said.clear();
            anyhow::ensure!(live.read_line(&mut said)? > 0, "the page's stream ended");
        }
        // It hears again after it lost its connections.
        tell(&cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'other'")?;
    }
    for central in centrals {
        central.process.map_or(Ok(()), |process| process.stop(STOPS_WITHIN))?;
    }
    Ok(())
}

#[test]
fn a_central_that_cannot_store_leaves_the_events_to_the_other() -> anyhow::Result<()> {
    if let Some(why) = Cluster::missing() {
        return skip(why);
    }
    let (folder, cluster, broker_port, _broker, site) = chain()?;
    let mut centrals = start_two(&site, &cluster, broker_port)?;
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), broker_port, "")?;
    let mut agent = gateway.start()?;
    let carousel = Carousel::start(&gateway.readers(), seed(), 200)?;
    gateway.wait_accepted(&mut agent, 50)?;

    tell(&cluster, "ALTER ROLE other NOLOGIN")?;
    tell(&cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'other'")?;
    let said = |what: &str, times: usize| {
        let text = fs::read_to_string(site.folder.join("other.log")).unwrap_or_default();
        Ok((text.matches(what).count() >= times).then_some(()))
    };
    wait_for("a central that leaves", PATIENCE, || said("leaving the broker", 1))?;
    let before = gateway.accepted();
    gateway.wait_accepted(&mut agent, before + 100)?;
    drop(carousel);
    agent.stop(STOPS_WITHIN)?;
    let mut agent = gateway.start()?;
    let file = folder.path().join("copy.db");
    let verdict = wait_complete(PATIENCE, || {
        agent.check()?;
        centrals.iter_mut().try_for_each(Central::check)?;
        copy(&cluster, &file)?;
        judge(&gateway.accepted_log(), &file)
    })?;
    assert!(verdict.is_exact(), "{verdict:?}");
    said("connected to the broker", 2)?
        .map_or(Ok(()), |()| anyhow::bail!("it came back before it could store"))?;

    tell(&cluster, "ALTER ROLE other LOGIN")?;
    wait_for("a central that comes back", PATIENCE, || said("connected to the broker", 2))?;
    for central in centrals {
        central.process.map_or(Ok(()), |process| process.stop(STOPS_WITHIN))?;
    }
    Ok(())
}
