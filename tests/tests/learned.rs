//! What a site teaches survives restarts and kills, and no restart makes an event of a garment that rests.

use std::time::Duration;

use anyhow::Context as _;
use hangtag_protocol::line::EventLine;
use hangtag_tests::capture;
use hangtag_tests::emulator::line::Faults;
use hangtag_tests::emulator::live::LiveShop;
use hangtag_tests::harness::free_port;
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::score::read_lines;
use hangtag_tests::shop::{Difficulty, Pace, Settings, Shop};
use serde_json::Value;
use tokio::time::Instant;

const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// Longer than a tag must be unknown to be taken for one that was carried in.
const AFTER_A_START: Duration = Duration::from_secs(27);

fn closed(difficulty: Difficulty) -> Shop {
    Shop::new(Settings { seed: 5, pace: Pace::Closed, difficulty })
}

/// What the agent says that it has learned.
fn learned(site: &Site) -> anyhow::Result<Value> {
    let output = site.agent("learned").arg("--json").output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn at_rest(learned: &Value) -> anyhow::Result<u64> {
    let zones = learned["zones"].as_array().context("no zones")?;
    Ok(zones.iter().filter_map(|zone| zone["at_rest"].as_u64()).sum())
}

/// Garments of which something was concluded.
fn concluded(site: &Site) -> anyhow::Result<Vec<EventLine>> {
    let text = std::fs::read_to_string(site.accepted_log())?;
    let lines: Vec<EventLine> = read_lines("accepted", &text)?;
    Ok(lines.into_iter().filter(|line| line.epc.is_some()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_shop_at_rest_makes_no_event_when_its_agent_is_stopped_and_killed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), free_port()?)?;
    let mut shop = LiveShop::open(closed(Difficulty::Easy), &site.readers(), Faults::default())?;
    let mut agent = site.start_agent()?;
    let mut open = async |agent: &mut Process| -> anyhow::Result<()> {
        let end = Instant::now() + AFTER_A_START;
        while Instant::now() < end {
            shop.tick().await;
            agent.check()?;
        }
        Ok(())
    };
    open(&mut agent).await?;
    agent.stop(STOPS_WITHIN)?;
    let first = learned(&site)?;
    assert!(at_rest(&first)? > 50, "the shop is full: {first}");
    let rail = first["zones"].as_array().and_then(|zones| zones.iter().find(|zone| zone["zone"] == "rail-a"));
    assert!(rail.and_then(|rail| rail["reads_per_s"].as_f64()) > Some(5.0), "{first}");

    let mut agent = site.start_agent()?;
    open(&mut agent).await?;
    agent.kill()?;
    let mut agent = site.start_agent()?;
    open(&mut agent).await?;
    let log = std::fs::read_to_string(site.folder.join("agent.log"))?;
    assert!(log.contains("remembered what was learned"), "{log}");
    agent.stop(STOPS_WITHIN)?;
    assert_eq!(concluded(&site)?, []);
    assert!(at_rest(&learned(&site)?)? >= at_rest(&first)?, "nothing was forgotten");

    // A disk that turns a bit.
    let file = site.folder.join("agent-data/learned");
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, bytes)?;
    let refused = site.agent("learned").output()?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("checksum"), "{refused:?}");
    let mut agent = site.start_agent()?;
    let aside = site.folder.join("agent-data/learned.set-aside");
    wait_for("the file to be set aside", STOPS_WITHIN, || {
        agent.check()?;
        let log = std::fs::read_to_string(site.folder.join("agent.log"))?;
        Ok((aside.exists() && log.contains("set aside")).then_some(()))
    })?;
    agent.stop(STOPS_WITHIN)
}

#[test]
fn restarts_add_no_event_in_a_shop_at_rest_and_double_none_in_a_busy_one() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), free_port()?)?;
    let file = folder.path().join("capture.txt");
    let replay = |more: &[&str]| -> anyhow::Result<Vec<EventLine>> {
        let output = site.agent("replay").arg(&file).args(more).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<EventLine> = read_lines("events", std::str::from_utf8(&output.stdout)?)?;
        Ok(lines.into_iter().filter(|line| line.epc.is_some()).collect())
    };
    let mut bytes = Vec::new();
    capture::write(&mut bytes, &mut closed(Difficulty::Normal), 240_000)?;
    std::fs::write(&file, &bytes)?;
    // What the rules take for a movement is none of a restart's.
    let of = |event: &EventLine| (event.kind, event.epc, event.at);
    let mistaken: Vec<_> = replay(&[])?.iter().map(of).collect();
    let mut torn = replay(&["--restart-every", "40"])?;
    torn.retain(|event| !mistaken.contains(&of(event)));
    assert_eq!(torn, []);

    let busy = Settings { seed: 11, pace: Pace::Demo, difficulty: Difficulty::Normal };
    bytes.clear();
    capture::write(&mut bytes, &mut Shop::new(busy), 300_000)?;
    std::fs::write(&file, &bytes)?;
    let (whole, torn) = (replay(&[])?, replay(&["--restart-every", "45"])?);
    let count = |events: &[EventLine], kind| events.iter().filter(|event| event.kind == kind).count();
    for kind in hangtag_tests::score::KINDS {
        let (whole, torn) = (count(&whole, kind), count(&torn, kind));
        assert!(torn <= whole && torn > 0, "{kind:?}: {torn} with restarts, {whole} without");
    }
    assert!(torn.is_sorted_by(|a, b| a.seq < b.seq), "no number comes twice");
    Ok(())
}
