//! Central is backed up while events come, goes on, and is restored: with agent, broker and a consumer of the feed. Every
//! accepted event is in central exactly once, and whoever reads the feed is told from where on it is numbered anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::consumer::{consumer, python, taken};
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN, succeeded};
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::recipient::{Letter, Recipient};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, seed};
use serde_json::Value;

/// Longer than the longest pause before a connection.
const PATIENCE: Duration = Duration::from_secs(120);
/// Events of one stretch.
const EVENTS: usize = 60;

/// Ids by place, and places by generation. A place is one event.
type Places = BTreeMap<String, BTreeMap<u64, String>>;

fn note<'e>(places: &mut Places, events: impl IntoIterator<Item = &'e Value>) -> anyhow::Result<()> {
    for event in events {
        let field = |name: &str| event[name].as_str().with_context(|| format!("no {name}: {event}"));
        let place = places.entry(field("generation")?.into()).or_default();
        let before = place.insert(field("sequence")?.parse()?, field("id")?.into());
        ensure!(before.is_none_or(|before| before == event["id"]), "two events at one place: {event}");
    }
    Ok(())
}

/// What came by MQTT.
fn came(letters: &[Letter]) -> anyhow::Result<Places> {
    let mut places = Places::new();
    note(&mut places, letters.iter().map(|letter| &letter.body))?;
    Ok(places)
}

/// The whole feed by HTTP.
fn feed(site: &Site) -> anyhow::Result<Places> {
    let (mut places, mut after) = (Places::new(), 0);
    loop {
        let path = format!("/api/v1/events?store=demo-shop&limit=1000&after={after}");
        let events: Vec<Value> = serde_json::from_str(&site.get(&path)?)?;
        if events.is_empty() {
            return Ok(places);
        }
        after += events.len();
        note(&mut places, &events)?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_central_has_every_event_once_and_tells_that_places_are_new() -> anyhow::Result<()> {
    let folder = folder()?;
    let broker_port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let config = std::fs::read_to_string(folder.path().join("central.toml"))?;
    site.write("central.toml", &format!("{config}[feed]\npublish = \"cloudevents\"\n"))?;
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), broker_port, "")?;
    let recipient = Recipient::start(broker_port);
    let central = site.start_central()?;
    let consumes = python().map(|python| consumer(&python, folder.path(), broker_port, &site)).transpose()?;
    let mut agent = gateway.start()?;
    let carousel = Carousel::start(&gateway.readers(), seed(), 100)?;
    gateway.wait_accepted(&mut agent, EVENTS)?;

    // While events come.
    let copy = folder.path().join("copy.db");
    let said = succeeded(site.central("backup").arg(&copy).output()?)?;
    println!("{}", String::from_utf8_lossy(&said.stdout));
    let at_backup = published(&recipient)?;
    gateway.wait_accepted(&mut agent, 3 * EVENTS)?;
    wait_for("events that the copy does not have", PATIENCE, || {
        Ok((published(&recipient)? > at_backup + 10).then_some(()))
    })?;

    let restore = || site.central("restore").arg(&copy).arg("--replace").output();
    let refused = restore()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("stop central first"), "{said}");
    central.stop(STOPS_WITHIN)?;
    println!("{}", String::from_utf8_lossy(&succeeded(restore()?)?.stdout));
    let mut central = site.start_central()?;
    let before = gateway.accepted();
    gateway.wait_accepted(&mut agent, before + EVENTS)?;
    drop(carousel);
    agent.stop(STOPS_WITHIN)?;
    // What the agent could not send before it ended, the next one does.
    let mut agent = gateway.start()?;
    let verdict = wait_complete(PATIENCE, || {
        agent.check()?;
        central.check()?;
        judge(&gateway.accepted_log(), &site.database())
    })?;
    assert!(verdict.is_exact(), "{verdict:?}");

    let feed = feed(&site)?;
    let [(generation, places)] = &feed.iter().collect::<Vec<_>>()[..] else {
        panic!("one generation by HTTP")
    };
    assert_eq!(places.keys().copied().collect::<Vec<_>>(), (1..=verdict.in_central).collect::<Vec<_>>());
    let ids: BTreeSet<&String> = places.values().collect();
    assert_eq!(ids.len() as u64, verdict.in_central, "each event has one place");
    let letters = wait_for("the whole feed", PATIENCE, || {
        let came = came(&recipient.came())?;
        Ok(came.get(*generation).is_some_and(|new| new.contains_key(&verdict.in_central)).then_some(came))
    })?;
    let [(old, told), (new, _)] = &letters.iter().collect::<Vec<_>>()[..] else { panic!("two generations") };
    assert!(old < new, "{old} before {new}");
    let other = told.iter().filter(|(place, id)| places.get(place).is_some_and(|now| now != *id)).count();
    println!("{} places told before, {other} of them stand for other events; {verdict:?}", told.len());
    if let Some(mut consumes) = consumes {
        let ids: BTreeSet<String> = ids.into_iter().cloned().collect();
        wait_for("the consumer to have every event", PATIENCE, || {
            consumes.check()?;
            let (taken, last) = taken(folder.path())?;
            Ok((taken == ids && last == verdict.in_central).then_some(()))
        })?;
        let log = std::fs::read_to_string(folder.path().join("consumer.log"))?;
        assert!(log.contains("a new generation"), "{log}");
    }
    stop_all([agent, central])
}

/// How many events came by MQTT.
fn published(recipient: &Recipient) -> anyhow::Result<usize> {
    Ok(came(&recipient.came())?.values().map(BTreeMap::len).sum())
}

fn stop_all(processes: impl IntoIterator<Item = Process>) -> anyhow::Result<()> {
    processes.into_iter().try_for_each(|process| process.stop(STOPS_WITHIN))
}
