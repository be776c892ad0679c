//! The broker as it is shipped: `deploy/broker/mosquitto.conf`, with certificates, list of revoked ones and rules that
//! `hangtag-central pki` makes. Who is let in, and to what; each refusal is in the broker's log.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_tests::harness::binaries::Binaries;
use hangtag_tests::harness::chain::{Chain, Client, Said};
use hangtag_tests::harness::pki::Authority;
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::{folder, free_port};

const PATIENCE: Duration = Duration::from_secs(20);
const GW_1: &str = "hangtag/v1/demo/gw/paris-1/gw-1";
const GW_2: &str = "hangtag/v1/demo/gw/paris-1/gw-2";

/// A broker, and who was certified for it.
fn open(folder: &Path) -> anyhow::Result<Chain> {
    let all = ["central", "consumer/bi", "till/paris-1", "gw/paris-1/gw-1", "gw/paris-1/gw-2"];
    Chain::open(folder, &Binaries::build()?.central, free_port()?, &all)
}

#[test]
fn everybody_has_his_own_topics_and_no_others() -> anyhow::Result<()> {
    let dir = folder()?;
    let chain = open(dir.path())?;
    let topic = |gateway: &str, level: &str| format!("{gateway}/{level}");
    let feed = "hangtag/v1/demo/feed/paris-1/tried_on";
    let (sale, counts) = ("hangtag/v1/demo/pos/paris-1/sale", "hangtag/v1/demo/counts/paris-1/tried_on");
    let events = topic(GW_1, "events");
    let all = [
        (events.as_str(), "gw/paris-1/gw-1"),
        (&topic(GW_1, "status"), "gw/paris-1/gw-1"),
        (&topic(GW_1, "reply"), "gw/paris-1/gw-1"),
        (&topic(GW_1, "ack"), "central"),
        (&topic(GW_1, "command"), "central"),
        (feed, "central"),
        (counts, "central"),
        ("hangtag/v1/demo/schema/event/1", "central"),
        (sale, "till/paris-1"),
    ];
    // Whoever subscribes to everything gets nothing but what he may read.
    let mut listeners = Vec::new();
    for (who, may_read) in [
        ("gw/paris-1/gw-1", vec![all[3].0, all[4].0]),
        ("gw/paris-1/gw-2", vec![]),
        ("central", vec![all[0].0, all[1].0, all[2].0, sale]),
        ("consumer/bi", vec![feed, counts, all[7].0]),
    ] {
        let from = chain.log_length()?;
        let client = chain.client(who);
        let listener =
            client.listen(&["#", "hangtag/#", "hangtag/v1/demo/gw/+/+/+", "$share/a/hangtag/v1/#"])?;
        chain.logged(from, &[" 1 #"])?;
        listeners.push((who, may_read, listener));
    }
    let writers = ["gw/paris-1/gw-1", "gw/paris-1/gw-2", "central", "consumer/bi", "till/paris-1"];
    for who in writers {
        let client = chain.client(who);
        for (topic, owner) in all {
            let from = chain.log_length()?;
            let said = client.publish(topic)?;
            if who == owner {
                ensure!(said == Said::Taken, "{who} may publish to {topic}: {said:?}");
            } else {
                ensure!(said == Said::Refused, "{who} may not publish to {topic}: {said:?}");
                chain.logged(from, &["Denied PUBLISH", topic])?;
            }
        }
        for topic in
            ["hangtag/v1/other/gw/paris-1/gw-1/events", "anything", "hangtag/v1/demo/gw/paris-1/events"]
        {
            ensure!(client.publish(topic)? == Said::Refused, "{who} may not publish to {topic}");
        }
    }
    // Till of another shop, and what the gateways' pattern would make of other names.
    let wrong = [
        ("till/paris-1", "hangtag/v1/demo/pos/lyon-1/sale"),
        ("consumer/bi", "hangtag/v1/demo/consumer/bi/events"),
    ];
    for (who, topic) in wrong {
        ensure!(chain.client(who).publish(topic)? == Said::Refused, "{who} {topic}");
    }
    for (who, may_read, listener) in listeners {
        let heard = listener.heard(may_read.len())?;
        let mut heard: Vec<&str> = heard.iter().map(String::as_str).collect();
        let mut wanted = may_read;
        heard.sort_unstable();
        heard.dedup();
        wanted.sort_unstable();
        ensure!(heard == wanted, "{who} heard {heard:?}, and may hear {wanted:?}");
    }
    Ok(())
}

#[test]
fn whoever_has_no_good_certificate_is_refused_at_the_door() -> anyhow::Result<()> {
    let dir = folder()?;
    let mut chain = open(dir.path())?;
    let events = format!("{GW_2}/events");
    let refused = |chain: &Chain, client: &Client, words: &[&str]| -> anyhow::Result<()> {
        let from = chain.log_length()?;
        let said = client.publish(&events);
        ensure!(said.is_err(), "was let in: {said:?}");
        chain.logged(from, words)
    };
    const UNVERIFIED: &[&str] = &["OpenSSL Error", "certificate verify failed"];
    let (foreign, own) = (
        chain.with("foreign/gw.pem", "foreign/gw.key"),
        chain.with("broker/broker.pem", "broker/broker.key"),
    );
    refused(&chain, &chain.stranger(), &["OpenSSL Error", "peer did not return a certificate"])?;

    // Another authority of the same name, for the same gateway.
    let stranger = Authority::found(&chain.path("foreign"), "Hangtag authority of demo")?;
    stranger.sign("gw", "gw/paris-1/gw-2", (2020, 4000))?;
    refused(&chain, &foreign, UNVERIFIED)?;

    // The broker's own is none to connect with.
    refused(&chain, &own, UNVERIFIED)?;

    chain.certify("gw/paris-1/gw-3", "10s")?;
    let brief = chain.client("gw/paris-1/gw-3");
    let topic = "hangtag/v1/demo/gw/paris-1/gw-3/events";
    ensure!(brief.publish(topic)? == Said::Taken, "it is good for some seconds");
    wait_for("the end of a certificate", PATIENCE, || Ok(brief.publish(topic).is_err().then_some(())))?;
    refused(&chain, &brief, UNVERIFIED)?;

    // Revoked: who is connected stays until the broker is started again, nobody comes in anew.
    let two = chain.client("gw/paris-1/gw-2");
    let ack = format!("{GW_2}/ack");
    let inside = two.listen(&[&ack])?;
    ensure!(two.publish(&events)? == Said::Taken, "not revoked yet");
    let said = chain.pki(&["revoke", "--dir", "pki", "paris-1/gw-2"])?;
    ensure!(said.contains("revoked 01"), "{said}");
    chain.publish()?;
    ensure!(two.publish(&events)? == Said::Taken, "the broker does not know yet");
    chain.broker.reload()?;
    wait_for("the new list", PATIENCE, || Ok(two.publish(&events).is_err().then_some(())))?;
    refused(&chain, &two, UNVERIFIED)?;
    ensure!(chain.client("gw/paris-1/gw-1").publish(&format!("{GW_1}/events"))? == Said::Taken);
    ensure!(chain.client("central").publish(&ack)? == Said::Taken);
    ensure!(inside.heard(1)? == [ack.as_str()], "whoever is inside stays inside");
    chain.broker.restart()?;
    refused(&chain, &two, UNVERIFIED)?;

    // A list that is over keeps everybody out.
    chain.pki(&["crl", "--dir", "pki", "--valid", "10s"])?;
    chain.publish()?;
    chain.broker.reload()?;
    let one = chain.client("gw/paris-1/gw-1");
    let over = || Ok(one.publish(&format!("{GW_1}/events")).is_err().then_some(()));
    wait_for("the end of the list", PATIENCE, over)?;
    chain.pki(&["crl", "--dir", "pki"])?;
    chain.publish()?;
    chain.broker.reload()?;
    let again = || Ok(one.publish(&format!("{GW_1}/events")).is_ok().then_some(()));
    wait_for("the next list", PATIENCE, again).context("after the broker was told")
}

/// The rules are those that the documentation shows.
#[test]
fn the_files_that_are_shipped_name_what_the_readme_says() -> anyhow::Result<()> {
    let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/broker"));
    let (conf, readme) = (
        std::fs::read_to_string(deploy.join("mosquitto.conf"))?,
        std::fs::read_to_string(deploy.join("README.md"))?,
    );
    for line in conf.lines().filter(|line| line.contains("/etc/mosquitto/hangtag/")) {
        let path = line.split_whitespace().last().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        ensure!(readme.contains(file), "{path} is not in the README");
    }
    Ok(())
}
