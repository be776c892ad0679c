//! A dense shop through real doors: pseudo-terminals, Mosquitto, HTTP. In the middle the broker is
//! killed and started again, and the agent is killed with SIGKILL; neither changes anything.

use std::time::Duration;

use hangtag_tests::emulator::line::Faults;
use hangtag_tests::emulator::live::LiveShop;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::judge::{Verdict, judge};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{self, free_port};
use hangtag_tests::shop::layout::stores_toml;
use hangtag_tests::shop::{Difficulty, Pace, Settings, Shop};
use rusqlite::Connection;
use tokio::time::{Instant, sleep};

/// How long the shop is open.
const OPEN: Duration = Duration::from_secs(170);
const BROKER_DIES: Duration = Duration::from_secs(50);
const BROKER_IS_BACK: Duration = Duration::from_secs(60);
const AGENT_DIES: Duration = Duration::from_secs(95);
/// How long central may take to have everything after the agent has ended.
const CATCH_UP: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_event_is_in_central_exactly_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let broker_port = free_port()?;
    let mut broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    site.write("stores.toml", &stores_toml().replace("Europe/Paris", harness::noon()))?;
    let central = site.start_central()?;
    let settings = Settings { seed: 11, pace: Pace::Demo, difficulty: Difficulty::Normal };
    let mut shop = LiveShop::open(Shop::new(settings), &site.readers(), Faults::default())?;
    let mut agent = site.start_agent()?;

    let opened = Instant::now();
    let mut to_do =
        vec![(AGENT_DIES, "agent"), (BROKER_IS_BACK, "start broker"), (BROKER_DIES, "kill broker")];
    while opened.elapsed() < OPEN {
        shop.tick().await;
        if to_do.last().is_some_and(|(at, _)| opened.elapsed() >= *at) {
            match to_do.pop().map(|(_, what)| what) {
                Some("kill broker") => broker.kill()?,
                Some("start broker") => broker.restart()?,
                _ => {
                    agent.kill()?;
                    agent = site.start_agent()?;
                }
            }
        }
        agent.check()?;
    }
    assert_eq!(to_do, []);
    agent.stop(Duration::from_secs(10))?;
    let verdict = caught_up(&site).await?;
    println!("{verdict:?}");

    assert!(verdict.is_exact(), "{verdict:?}");
    assert!(verdict.unlogged <= 256, "more unlogged than one commit can hold: {verdict:?}");
    assert!(verdict.try_ons >= 2, "the shop was busy: {verdict:?}");
    assert!(verdict.by_kind["picked_up"] >= 10, "the shop was busy: {verdict:?}");
    the_page_says_what_the_database_has(&site)?;
    central.stop(Duration::from_secs(10))
}

async fn caught_up(site: &Site) -> anyhow::Result<Verdict> {
    let end = Instant::now() + CATCH_UP;
    loop {
        let verdict = judge(&site.accepted_log(), &site.database())?;
        if verdict.missing == 0 || Instant::now() > end {
            return Ok(verdict);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The sums of every table and CSV are those of the database, and page and CSV show the same rows.
fn the_page_says_what_the_database_has(site: &Site) -> anyhow::Result<()> {
    let database = Connection::open(site.database())?;
    let count = |sql: &str| -> anyhow::Result<u64> {
        let count: i64 = database.query_row(sql, [], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    };
    const HOLDS: &str = "NOT EXISTS (SELECT 1 FROM event r WHERE r.epoch = e.epoch AND r.retracts = e.seq)";
    let events =
        |kind: &str| count(&format!("SELECT count(*) FROM event e WHERE kind = '{kind}' AND {HOLDS}"));
    let expected = [
        events("picked_up")?,
        events("put_down")?,
        events("carried_in")?,
        count(&format!(
            "SELECT count(*) FROM
             (SELECT DISTINCT visit, epc FROM event e WHERE kind = 'tried_on' AND {HOLDS})"
        ))?,
    ];
    let page = site.get("/")?;
    for name in ["products", "zones", "hours"] {
        let csv = site.get(&format!("/{name}.csv"))?;
        let mut lines = csv.trim_start_matches('\u{feff}').lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        let sum = |column: &str| -> u64 {
            let at = header.iter().position(|name| *name == column);
            let at = at.unwrap_or_else(|| panic!("{name}.csv has no column {column}: {header:?}"));
            // Of hours in which nobody listened nothing is said.
            let told = rows.iter().filter(|row| !row[at].is_empty());
            told.map(|row| row[at].parse::<u64>().unwrap_or_else(|_| panic!("{row:?}"))).sum()
        };
        let sums = ["picked_up", "put_down", "carried_in", "tried_on"].map(sum);
        assert_eq!(sums, expected, "{name}.csv");
    }
    for (name, number) in [("Picked up", expected[0]), ("Tried on", expected[3])] {
        assert_eq!(tile(&page, name), Some(number), "the page's tile \"{name}\"");
    }
    Ok(())
}

/// The number on a tile: `<p class="label">NAME</p><p class="value">NUMBER</p>`.
fn tile(page: &str, name: &str) -> Option<u64> {
    let after = page.split_once(&format!(">{name}</p>"))?.1;
    let value = after.split_once("class=\"value\">")?.1;
    value.split_once('<')?.0.replace(',', "").parse().ok()
}
