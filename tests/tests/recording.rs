//! Reads of real tags worn by people (UCI 427, CC BY 4.0), played down a pseudo-terminal as a ThingMagic
//! module sends them: the agent reads them like a live reader, and central shows what came of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::free_port;
use hangtag_tests::harness::judge::judge;
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::uci::{Trial, trial_number};

const TRIAL: &str = "d1p49F";
/// Faster than life: what is tested is the way of the data. At real pace the trial takes 266 s.
const SPEED: &str = "4";
const LONGEST: Duration = Duration::from_secs(150);

fn trial() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/uci-427").join(TRIAL)
}

/// Four antennas in a room: two look at where one sits, one at the bed, one at the way.
fn agent_toml(site: &Site, broker_port: u16) -> String {
    let zones = [("bed", "booth"), ("chair", "rail"), ("door", "rail"), ("corner", "shelf")];
    let mut text = format!(
        "tenant = \"demo\"\nstore = \"demo-shop\"\ngateway = \"gw-1\"\ndata = \"agent-data\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {broker_port}\n"
    );
    for (zone, kind) in zones {
        text += &format!("[[zone]]\nid = \"{zone}\"\nkind = \"{kind}\"\n");
    }
    text += &format!(
        "[[reader]]\nid = \"uci\"\nport = \"{}\"\nprotocol = \"thingmagic\"\nregion = \"us\"\npower_dbm = 27.0\n",
        site.readers().join("uci").display()
    );
    for (port, (zone, _)) in (1..).zip(zones) {
        text += &format!("[[reader.antenna]]\nport = {port}\nzone = \"{zone}\"\n");
    }
    text
}

#[test]
fn a_recording_of_worn_tags_goes_the_whole_way() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let broker_port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    site.write("agent.toml", &agent_toml(&site, broker_port))?;
    let central = site.start_central()?;
    let text = std::fs::read_to_string(trial())?;
    let reads = Trial::parse(TRIAL, trial_number(TRIAL), &text)?.sightings().len() as u64;

    let mut player = Command::new(env!("CARGO_BIN_EXE_hangtag-shop"));
    player.arg("play").arg(trial()).arg("--link").arg(site.readers().join("uci")).args(["--speed", SPEED]);
    let mut player = Process::start("hangtag-shop", &mut player, &folder.path().join("play.log"))?;
    let mut agent = site.start_agent()?;
    let mut seen = 0;
    wait_for("the recording to be read", LONGEST, || {
        agent.check()?;
        // The player ends with the recording.
        Ok(player.check().is_err().then_some(()))
    })?;
    // The agent tells of its readers every 15 s.
    wait_for("the agent to have told of every read", Duration::from_secs(30), || {
        agent.check()?;
        seen = seen.max(reads_of(&site)?);
        Ok((seen >= reads).then_some(()))
    })?;
    assert_eq!(seen, reads, "every read of the recording was seen once");
    agent.stop(Duration::from_secs(10))?;
    let verdict = wait_for("central to have everything", Duration::from_secs(20), || {
        let verdict = judge(&site.accepted_log(), &site.database())?;
        Ok((verdict.missing == 0).then_some(verdict))
    })?;
    println!("{verdict:?}");
    assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
    let garments: u64 =
        verdict.by_kind.iter().filter(|(kind, _)| *kind != "coverage").map(|(_, count)| count).sum();
    assert!(garments > 0, "somebody who gets up and walks about is noticed: {verdict:?}");
    let page = site.get("/")?;
    assert!(page.contains("uci"), "the page shows the reader's coverage");
    central.stop(Duration::from_secs(10))
}

#[test]
fn broker_and_agent_may_die_during_a_recording() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let broker_port = free_port()?;
    let mut broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    site.write("agent.toml", &agent_toml(&site, broker_port))?;
    let central = site.start_central()?;
    let mut player = Command::new(env!("CARGO_BIN_EXE_hangtag-shop"));
    player.arg("play").arg(trial()).arg("--link").arg(site.readers().join("uci")).args(["--speed", "8"]);
    let mut player = Process::start("hangtag-shop", &mut player, &folder.path().join("play.log"))?;
    let mut agent = site.start_agent()?;
    let accepted = |least: usize| {
        let text = std::fs::read_to_string(site.accepted_log()).unwrap_or_default();
        Ok((text.lines().count() >= least).then_some(()))
    };
    wait_for("the first event", LONGEST, || accepted(1))?;
    agent.kill()?;
    broker.restart()?;
    agent = site.start_agent()?;
    wait_for("the end of the recording", LONGEST, || {
        agent.check()?;
        Ok(player.check().is_err().then_some(()))
    })?;
    agent.stop(Duration::from_secs(10))?;
    let verdict = wait_for("central to have everything", Duration::from_secs(30), || {
        let verdict = judge(&site.accepted_log(), &site.database())?;
        Ok((verdict.missing == 0).then_some(verdict))
    })?;
    println!("{verdict:?}");
    assert!(verdict.is_exact() && verdict.accepted > 1, "{verdict:?}");
    central.stop(Duration::from_secs(10))
}

/// How many reads the agent has told central of in its status.
fn reads_of(site: &Site) -> anyhow::Result<u64> {
    let database = rusqlite::Connection::open(site.database())?;
    let body: Result<String, _> = database.query_row("SELECT body FROM status", [], |row| row.get(0));
    let Ok(body) = body else { return Ok(0) };
    let status: serde_json::Value = serde_json::from_str(&body)?;
    Ok(status["health"]["readers"][0]["reads"].as_u64().unwrap_or(0))
}
