//! What other systems receive, through real doors: MQTT, HTTP, `kill -9`. Whatever is killed, every event arrives at
//! least once, under one id and in one place of a feed without gaps.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hangtag_protocol::event::Kind;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::cluster::Cluster;
use hangtag_tests::harness::consumer::{consumer, python, taken};
use hangtag_tests::harness::gateway::succeeded;
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::recipient::{BATCH, Letter, Recipient, all, batch_of, places};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, seed, skip};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Longer than the longest pause before a connection, and than a lease.
const PATIENCE: Duration = Duration::from_secs(90);
const STOPS_WITHIN: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(200);

/// A shop whose central publishes.
fn site(folder: &Path, broker_port: u16, publish: &str) -> anyhow::Result<Site> {
    let site = Site::for_test(folder, broker_port)?;
    let config = std::fs::read_to_string(folder.join("central.toml"))?;
    site.write("central.toml", &format!("{config}[feed]\npublish = \"{publish}\"\n"))?;
    Ok(site)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_though_central_is_killed_and_the_broker_is_away() -> anyhow::Result<()> {
    const BATCHES: u64 = 24;
    let folder = folder()?;
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    let broker_port = free_port()?;
    let mut broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = site(folder.path(), broker_port, "both")?;
    let recipient = Recipient::start(broker_port);
    let mut central = site.start_central()?;
    for batch in 0..BATCHES {
        recipient.send(&site, batch).await?;
        // As soon as a batch is stored it is published: somewhere in that central is killed.
        if dice.random_bool(0.4) {
            tokio::time::sleep(Duration::from_micros(dice.random_range(0..20_000))).await;
            central.kill()?;
            central = site.spawn_central()?;
        }
        if batch == BATCHES / 2 {
            broker.stop()?;
            central.kill()?;
            central = site.spawn_central()?;
            broker.restart()?;
        }
        central.check()?;
    }
    let wanted = all(BATCHES);
    let letters = wait_for("every event in both forms", PATIENCE, || {
        central.check()?;
        let letters = recipient.came();
        let is_whole = |of_epcis| Ok::<_, anyhow::Error>(places(&letters, of_epcis)?.len() >= wanted.len());
        Ok((is_whole(true)? && is_whole(false)?).then_some(letters.clone()))
    })?;
    for of_epcis in [true, false] {
        let places = places(&letters, of_epcis)?;
        assert_eq!(places.keys().copied().collect::<Vec<_>>(), (1..=BATCHES * BATCH).collect::<Vec<_>>());
        assert_eq!(places.into_values().collect::<BTreeSet<_>>(), wanted, "each id has one place");
    }
    for letter in &letters {
        let content_type = letter.content_type.as_deref();
        if letter.topic == "hangtag/v1/demo/feed/demo-shop/epcis" {
            assert_eq!(
                (content_type, &letter.body["type"]),
                (Some("application/ld+json"), &"ObjectEvent".into())
            );
            continue;
        }
        assert_eq!(content_type, Some("application/cloudevents+json"));
        let kind = Kind::ALL.into_iter().find(|kind| letter.topic.ends_with(kind.name()));
        let kind = kind.with_context(|| letter.topic.clone())?.name();
        assert_eq!(letter.topic, format!("hangtag/v1/demo/feed/demo-shop/{kind}"));
        assert_eq!(letter.body["type"], format!("hangtag.{kind}.v1"));
    }
    println!("{} documents for {} events in two forms", letters.len(), wanted.len());

    // Nothing more comes from a central that is asked to stop and started again: it knows what it has published.
    central.stop(STOPS_WITHIN)?;
    let before = recipient.came().len();
    let mut central = site.start_central()?;
    recipient.send(&site, BATCHES).await?;
    let wanted = usize::try_from(2 * BATCH)?;
    wait_for("the last batch", PATIENCE, || {
        central.check()?;
        Ok((recipient.came().len() >= before + wanted).then_some(()))
    })?;
    central.stop(STOPS_WITHIN)?;
    assert_eq!(recipient.came().len(), before + wanted);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_has_the_counts_and_what_describes_them() -> anyhow::Result<()> {
    let folder = folder()?;
    let broker_port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let config = std::fs::read_to_string(folder.path().join("central.toml"))?;
    site.write("central.toml", &format!("{config}[feed]\ncounts = true\n"))?;
    let mut central = site.start_central()?;
    let early = Recipient::of(broker_port, "early", "hangtag/v1/demo/counts/#");
    early.send(&site, 0).await?;
    let sum = |letters: &[Letter], measure: &str| -> Option<u64> {
        let topic = format!("hangtag/v1/demo/counts/demo-shop/{measure}");
        let last = letters.iter().rev().find(|letter| letter.topic == topic)?;
        // Of hours in which nobody listened the count is null.
        Some(last.body["hours"].as_array()?.iter().filter_map(|hour| hour["count"].as_u64()).sum())
    };
    wait_for("the pick-ups to be counted", PATIENCE, || {
        central.check()?;
        Ok((sum(&early.came(), "picked_up") == Some(BATCH / 4)).then_some(()))
    })?;
    // Who was not there when it was published has it too.
    let late = Recipient::of(broker_port, "late", "hangtag/v1/demo/#");
    let documents =
        |letters: &[Letter]| letters.iter().filter(|letter| letter.topic.contains("/schema/")).count();
    let (sums, letters) = wait_for("what the broker keeps", PATIENCE, || {
        let letters = late.came();
        let sums = ["picked_up", "put_down", "carried_in", "tried_on"].map(|measure| sum(&letters, measure));
        Ok((!sums.contains(&None) && documents(&letters) >= 15).then_some((sums, letters)))
    })?;
    // Every try-on was taken back.
    assert_eq!(sums, [Some(BATCH / 4), Some(0), Some(BATCH / 4), Some(0)]);
    for (topic, id) in [("counts/1", "counts:1"), ("pos-sale/1", "pos-sale:1")] {
        let topic = format!("hangtag/v1/demo/schema/{topic}");
        let schema = letters.iter().find(|letter| letter.topic == topic).context(topic)?;
        assert_eq!(schema.body["$id"], format!("urn:hangtag:schema:{id}"));
    }
    assert!(letters.iter().all(|letter| !letter.topic.contains("/feed/")), "nothing else was asked for");
    central.stop(STOPS_WITHIN)
}

/// A number that central's database tells.
fn ask(site: &Site, question: &str) -> anyhow::Result<i64> {
    let db = rusqlite::Connection::open(site.database())?;
    db.busy_timeout(Duration::from_secs(5))?;
    Ok(db.query_row(question, [], |row| row.get(0))?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_did_not_acknowledge_is_not_called_published() -> anyhow::Result<()> {
    const BATCHES: u64 = 4;
    let folder = folder()?;
    let broker_port = free_port()?;
    let broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = site(folder.path(), broker_port, "cloudevents")?;
    let recipient = Recipient::start(broker_port);
    let central = site.start_central()?;
    recipient.send(&site, 0).await?;
    let came = |batches: u64| {
        wait_for("every event", PATIENCE, || {
            Ok((places(&recipient.came(), false)?.len() >= all(batches).len()).then_some(()))
        })
    };
    came(1)?;
    let sent = "SELECT coalesce(max(sequence), 0) FROM feed_sent";
    let first = i64::try_from(BATCH)?;
    wait_for("the first batch to be noted", PATIENCE, || Ok((ask(&site, sent)? == first).then_some(())))?;

    // What comes while the broker says nothing comes another way.
    broker.pause(true)?;
    let mut file = b"HTGX\x01".to_vec();
    for batch in 1..BATCHES {
        let payload = batch_of(batch)?.encode()?;
        file.extend(u32::try_from(payload.len())?.to_le_bytes());
        file.extend(payload);
    }
    std::fs::write(folder.path().join("more.htgx"), file)?;
    succeeded(site.central("import").arg(folder.path().join("more.htgx")).output()?)?;
    // Each time it renews its lease central tells the database what is published: first of what it has read by then.
    for _ in 0..3 {
        let until = ask(&site, "SELECT until FROM lease")?;
        let renewed = || Ok((ask(&site, "SELECT until FROM lease")? != until).then_some(()));
        wait_for("the lease to be renewed", PATIENCE, renewed)?;
    }
    assert_eq!((ask(&site, sent)?, ask(&site, "SELECT last FROM feed_head")?), (first, 4 * first));
    central.kill()?;
    broker.pause(false)?;
    let central = site.start_central()?;
    came(BATCHES)?;
    central.stop(STOPS_WITHIN)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_consumer_takes_every_event_whatever_is_killed() -> anyhow::Result<()> {
    const BATCHES: u64 = 16;
    let Some(python) = python() else {
        return skip("no Python with paho-mqtt; apt-get install python3-paho-mqtt");
    };
    let folder = folder()?;
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    let broker_port = free_port()?;
    // One that loses what it acknowledged: the consumer finds out by the numbers.
    let mut broker = Mosquitto::start_forgetful(&folder.path().join("mosquitto"), broker_port)?;
    let site = site(folder.path(), broker_port, "cloudevents")?;
    let mut central = site.start_central()?;
    let mut consumes = consumer(&python, folder.path(), broker_port, &site)?;
    let recipient = Recipient::start(broker_port);
    for batch in 0..BATCHES {
        match dice.random_range(0..6) {
            0 => broker.restart()?,
            1 => {
                central.kill()?;
                central = site.spawn_central()?;
            }
            2 => {
                consumes.kill()?;
                consumes = consumer(&python, folder.path(), broker_port, &site)?;
            }
            _ => {}
        }
        recipient.send(&site, batch).await?;
        central.check()?;
        consumes.check()?;
    }
    let wanted = all(BATCHES);
    let end = Instant::now() + PATIENCE;
    let last = loop {
        central.check()?;
        consumes.check()?;
        let (ids, last) = taken(folder.path())?;
        if ids == wanted {
            break last;
        }
        if Instant::now() > end {
            let log = std::fs::read_to_string(folder.path().join("consumer.log"))?;
            bail!("{} of {} events were taken\n{log}", ids.len(), wanted.len());
        }
        tokio::time::sleep(SOON).await;
    };
    assert_eq!(last, BATCHES * BATCH);
    let log = std::fs::read_to_string(folder.path().join("consumer.log"))?;
    let said: BTreeSet<&str> = log.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert!(wanted.iter().all(|id| said.contains(id.as_str())), "each was handed on");
    println!("{} times events were asked for by HTTP", log.matches("asking for them").count());
    central.stop(STOPS_WITHIN)
}

/// One of several centrals on one database.
fn one_of_many(folder: &Path, broker_port: u16, server: &str) -> anyhow::Result<Site> {
    let site = site(folder, broker_port, "cloudevents")?;
    let config = std::fs::read_to_string(folder.join("central.toml"))?;
    let port = format!("port = {broker_port}\n");
    let shared = format!("{port}share = \"centrals\"\n");
    let config = config.replace("data = \"central.db\"\n", "").replace(&port, &shared);
    site.write("central.toml", &format!("{config}[database]\nurl = \"{server}\"\n"))?;
    Ok(site)
}

/// How often a central has begun to publish.
fn begun(site: &Site) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(site.folder.join("central.log"))?;
    Ok(log.matches("publishes the feed forms=").count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_centrals_one_publishes_and_the_other_takes_over_when_it_is_killed() -> anyhow::Result<()> {
    if let Some(why) = Cluster::missing() {
        return skip(why);
    }
    let cluster = Cluster::start()?;
    let folder = folder()?;
    let broker_port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let sites =
        ["one", "two"].map(|name| one_of_many(&folder.path().join(name), broker_port, &cluster.url()));
    let [one, two] = sites;
    let (one, two) = (one?, two?);
    let recipient = Recipient::start(broker_port);
    let first = one.start_central()?;
    recipient.send(&one, 0).await?;
    let came = |batches: u64| {
        wait_for("every event", PATIENCE, || {
            let letters = recipient.came();
            Ok((places(&letters, false)?.len() >= all(batches).len()).then_some(letters.len()))
        })
    };
    came(1)?;
    let mut second = two.start_central()?;
    recipient.send(&two, 1).await?;
    let letters = came(2)?;
    assert_eq!((begun(&one)?, begun(&two)?), (1, 0), "one at a time");
    assert_eq!(letters, all(2).len(), "each was published once");

    first.kill()?;
    recipient.send(&two, 2).await?;
    came(3)?;
    second.check()?;
    assert_eq!((begun(&one)?, begun(&two)?), (1, 1));
    let mut first = one.start_central()?;
    recipient.send(&one, 3).await?;
    came(4)?;
    first.check()?;
    assert_eq!((begun(&one)?, begun(&two)?), (1, 1), "whoever comes back does not take over");

    // Who is asked to stop lets go at once.
    second.stop(STOPS_WITHIN)?;
    recipient.send(&one, 4).await?;
    came(5)?;
    assert_eq!((begun(&one)?, begun(&two)?), (2, 1));
    let places = places(&recipient.came(), false)?;
    assert_eq!(places.keys().copied().collect::<Vec<_>>(), (1..=5 * BATCH).collect::<Vec<_>>());
    assert_eq!(places.into_values().collect::<BTreeSet<_>>(), all(5));
    first.stop(STOPS_WITHIN)
}
