//! A broker that confirms what it then forgets. Central is away, so that messages wait in the broker;
//! the broker has confirmed them to the agent, and dies with them.

use std::time::Duration;

use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::judge::{Verdict, judge, wait_complete};
use hangtag_tests::harness::listener::Listener;
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port};

/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Events of a stretch of time in which whatever is on its way arrives.
const MEANWHILE: usize = 100;

fn after_the_broker_has_lied(spool: &str) -> anyhow::Result<Verdict> {
    let folder = folder()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let _inside = runtime.enter();
    let broker_port = free_port()?;
    let mut broker = Mosquitto::start_forgetful(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), broker_port, spool)?;
    let central = site.start_central()?;
    let carousel = Carousel::start(&gateway.readers(), 1, 100)?;
    let listener = Listener::start(broker_port);
    let mut agent = gateway.start()?;
    wait_for("central to get something", PATIENCE, || {
        agent.check()?;
        Ok((judge(&gateway.accepted_log(), &site.database())?.in_central > 0).then_some(()))
    })?;

    central.kill()?;
    let before = gateway.accepted();
    wait_for("the broker to take events", PATIENCE, || {
        agent.check()?;
        // While nobody settles anything, only a few seconds' events are sent.
        Ok((listener.highest() > before as u64).then_some(()))
    })?;
    // The broker has confirmed those by the time at which others are accepted.
    gateway.wait_accepted(&mut agent, before + MEANWHILE)?;
    broker.restart()?;

    let mut central = site.start_central()?;
    let after = gateway.accepted() + MEANWHILE;
    gateway.wait_accepted(&mut agent, after)?;
    drop(carousel);
    wait_for("central to get what was accepted last", PATIENCE, || {
        agent.check()?;
        central.check()?;
        let last = last_in_central(&site)?;
        Ok((last >= after as u64).then_some(()))
    })?;
    agent.stop(STOPS_WITHIN)?;
    // What it could not send at its end waits for the next start.
    let mut agent = gateway.start()?;
    let last = gateway.accepted() as u64;
    wait_for("central to get the rest", PATIENCE, || {
        agent.check()?;
        Ok((last_in_central(&site)? >= last).then_some(()))
    })?;
    let patience = if spool.is_empty() { PATIENCE } else { Duration::ZERO };
    let verdict = wait_complete(patience, || judge(&gateway.accepted_log(), &site.database()))?;
    central.stop(STOPS_WITHIN)?;
    println!("{verdict:?}");
    Ok(verdict)
}

fn last_in_central(site: &Site) -> anyhow::Result<u64> {
    let database = rusqlite::Connection::open(site.database())?;
    database.busy_timeout(Duration::from_secs(5))?;
    let last: Option<i64> = database.query_row("SELECT max(seq) FROM event", [], |row| row.get(0))?;
    Ok(u64::try_from(last.unwrap_or(0))?)
}

#[test]
fn what_the_broker_forgets_is_sent_again() -> anyhow::Result<()> {
    let verdict = after_the_broker_has_lied("")?;
    assert!(verdict.is_exact(), "{verdict:?}");
    assert_eq!(verdict.unlogged, 0, "{verdict:?}");
    Ok(())
}

/// What `delete_after = "broker"` cannot promise.
#[test]
fn who_believes_the_broker_loses_what_it_forgets() -> anyhow::Result<()> {
    let verdict = after_the_broker_has_lied("[spool]\ndelete_after = \"broker\"\n")?;
    assert!(verdict.missing > 0, "nothing was lost: the setting's warning is out of date: {verdict:?}");
    assert!(verdict.doubled == 0 && verdict.changed == 0, "{verdict:?}");
    Ok(())
}
