//! What a technician does with a reader node: `node status`, `node configure`; and what a refusal looks like.

use std::process::Output;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hangtag_protocol::link::message::Outcome;
use hangtag_tests::emulator::carousel::READER;
use hangtag_tests::emulator::node::{NODE, Node, Roomy, Settings, TEMPERATURE_DC};
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::node::durable;
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::{self, folder};
use serde_json::Value;

/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn few() -> Settings {
    Settings { garments: 20, reads: 300, ..Settings::quiet() }
}

/// What a command says in JSON of one node, and its exit code.
fn said(gateway: &Gateway, arguments: &[&str]) -> anyhow::Result<(Value, Option<i32>)> {
    let Output { stdout, stderr, status } = gateway.command(arguments).arg("--json").output()?;
    let mut lines: Vec<Value> = serde_json::from_slice(&stdout)
        .map_err(|why| anyhow::anyhow!("{why}: {}", String::from_utf8_lossy(&[stdout, stderr].concat())))?;
    anyhow::ensure!(lines.len() == 1, "{lines:?}");
    Ok((lines.remove(0), status.code()))
}

#[test]
fn a_node_of_a_stopped_agent_says_how_it_is_and_keeps_what_it_has() -> anyhow::Result<()> {
    let folder = folder()?;
    let gateway = harness::node::gateway(folder.path(), &folder.path().join("agent-data"), "thingmagic")?;
    let node = Node::start(&gateway.readers(), few(), Roomy::new)?;
    wait_for("reads", PATIENCE, || {
        Ok((node.counts().all_reads.load(Ordering::Relaxed) >= 300).then_some(()))
    })?;

    let (line, code) = said(&gateway, &["node", "status", READER])?;
    assert_eq!((code, &line["state"], &line["from"]), (Some(0), &"there".into(), &"port".into()), "{line}");
    let about = &line["node"];
    assert_eq!((&about["node"], &about["reason"]), (&NODE.to_string().into(), &"power".into()), "{line}");
    assert_eq!(about["firmware"], "0.1.0");
    assert_eq!(about["health"]["temperature_dc"], TEMPERATURE_DC);
    assert_eq!((&about["health"]["reads"], &about["health"]["reader_listens"]), (&300.into(), &true.into()));
    assert!(about["clock_off_ms"].is_u64() && about["configured"].is_null(), "{line}");
    let port = gateway.readers().join(READER);
    let by_port = said(&gateway, &["node", "status", port.to_str().unwrap_or_default()])?;
    assert_eq!((by_port.1, &by_port.0["reader"]), (Some(0), &READER.into()));
    assert_eq!(node.counts().configured.load(Ordering::Relaxed), 0, "who asks changes nothing");

    let (line, code) = said(&gateway, &["node", "configure", "--dry-run", READER])?;
    assert_eq!(
        (code, &line["state"], &line["told"]["window_ms"]),
        (Some(0), &"not-asked".into(), &200.into())
    );
    assert_eq!(node.counts().configured.load(Ordering::Relaxed), 0);
    let (line, code) = said(&gateway, &["node", "configure", READER])?;
    assert_eq!((code, &line["node"]["configured"]), (Some(0), &"taken".into()), "{line}");
    node.refuse(Outcome::Threshold);
    let (line, code) = said(&gateway, &["node", "configure", READER])?;
    assert_eq!((code, &line["node"]["configured"]), (Some(1), &"threshold".into()), "{line}");
    let text = String::from_utf8(gateway.command(&["node", "configure", READER]).output()?.stdout)?;
    for part in ["is told", "motion 120 mg", "\"settle_ms\" was refused", "temperature   23.1 °C"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(node.counts().acks.load(Ordering::Relaxed), 0, "nothing was called durable");
    let mut agent = gateway.start()?;
    wait_for("everything to be durable", PATIENCE, || {
        agent.check()?;
        Ok(node.counts().idle.load(Ordering::Acquire).then_some(()))
    })?;
    agent.stop(STOPS_WITHIN)?;
    assert_eq!(durable(&gateway)?, (300, 0));
    Ok(())
}

#[test]
fn a_running_agent_is_asked_and_tells_of_a_refusal() -> anyhow::Result<()> {
    let folder = folder()?;
    let gateway = harness::node::gateway(folder.path(), &folder.path().join("agent-data"), "thingmagic")?;
    let node = Node::start(&gateway.readers(), few(), Roomy::new)?;
    node.refuse(Outcome::Power);
    let mut agent = gateway.start()?;
    let line = wait_for("the refusal", PATIENCE, || {
        agent.check()?;
        // Its socket is not there at once.
        let Ok((line, _)) = said(&gateway, &["node", "status", READER]) else { return Ok(None) };
        let told = line["from"] == "agent" && !line["node"]["configured"].is_null();
        Ok((told && !line["node"]["health"].is_null()).then_some(line))
    })?;
    assert_eq!(line["node"]["configured"], "power");
    assert!(line["fault"].as_str().is_some_and(|why| why.contains("\"power_dbm\" was refused")), "{line}");
    assert_eq!(said(&gateway, &["node", "configure", READER])?.1, Some(1), "it was refused");
    let log = std::fs::read_to_string(gateway.log())?;
    assert!(
        log.contains("\\\"power_dbm\\\" was refused") || log.contains("\"power_dbm\" was refused"),
        "{log}"
    );

    // Who does not know of this agent does not take its port either.
    let other = folder.path().join("other");
    std::fs::create_dir(&other)?;
    let stranger = harness::node::gateway(&other, &other.join("agent-data"), "thingmagic")?;
    let port = gateway.readers().join(READER);
    let (line, code) = said(&stranger, &["node", "status", port.to_str().unwrap_or_default()])?;
    assert_eq!(
        (code, &line["state"], &line["name"]),
        (Some(1), &"in-use".into(), &"hangtag-agent".into()),
        "{line}"
    );
    // Unplugged, it is as it was no more.
    drop(node);
    let line = wait_for("the node to be missed", PATIENCE, || {
        agent.check()?;
        let (line, code) = said(&gateway, &["node", "status", READER])?;
        Ok((code == Some(1)).then_some(line))
    })?;
    let why = line["why"].as_str().unwrap_or_default();
    assert!(
        line["state"] == "silent" && why.contains("it was node 000000000dd50c1a, firmware 0.1.0"),
        "{line}"
    );
    agent.stop(STOPS_WITHIN)?;
    let (line, code) = said(&gateway, &["node", "status"])?;
    assert_eq!((code, &line["state"]), (Some(1), &"unusable".into()), "{line}");
    Ok(())
}

#[test]
fn a_file_that_was_changed_beside_a_running_agent_is_not_taken_for_what_the_node_works_by()
-> anyhow::Result<()> {
    let folder = folder()?;
    let gateway = harness::node::gateway(folder.path(), &folder.path().join("agent-data"), "thingmagic")?;
    let _node = Node::start(&gateway.readers(), few(), Roomy::new)?;
    let started = || -> anyhow::Result<_> {
        let mut agent = gateway.start()?;
        let line = wait_for("the node to answer", PATIENCE, || {
            agent.check()?;
            let Ok((line, _)) = said(&gateway, &["node", "status", READER]) else { return Ok(None) };
            let told = line["from"] == "agent" && line["node"]["configured"] == "taken";
            Ok(told.then_some(line))
        })?;
        Ok((agent, line))
    };
    let (agent, line) = started()?;
    assert_eq!(line["stale"], false, "{line}");
    let told = line["node"]["told"].as_u64();
    assert_eq!(said(&gateway, &["node", "configure", READER])?.1, Some(0));

    let file = folder.path().join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    let slower = text.replacen("protocol = \"node\"", "protocol = \"node\"\nwindow_ms = 300", 1);
    std::fs::write(&file, &slower)?;
    let (line, code) = said(&gateway, &["node", "configure", READER])?;
    assert_eq!((code, &line["stale"], &line["told"]["window_ms"]), (Some(1), &true.into(), &300.into()));
    assert_eq!((&line["node"]["configured"], line["node"]["told"].as_u64()), (&"taken".into(), told));
    let text = String::from_utf8(gateway.command(&["node", "configure", READER]).output()?.stdout)?;
    assert!(text.contains("the file says region") && text.contains("restart the agent"), "{text}");
    let (line, code) = said(&gateway, &["node", "status", READER])?;
    assert_eq!((code, &line["stale"]), (Some(0), &true.into()), "it answered: {line}");

    agent.stop(STOPS_WITHIN)?;
    let (agent, line) = started()?;
    assert_eq!(line["stale"], false, "{line}");
    assert!(told.is_some() && line["node"]["told"].as_u64() != told, "{line}");
    assert_eq!(said(&gateway, &["node", "configure", READER])?.1, Some(0));
    agent.stop(STOPS_WITHIN)
}

#[test]
fn what_went_with_a_run_of_a_node_is_counted() -> anyhow::Result<()> {
    let folder = folder()?;
    let gateway = harness::node::gateway(folder.path(), &folder.path().join("agent-data"), "thingmagic")?;
    let node = Node::start(&gateway.readers(), few(), Roomy::new)?;
    wait_for("reads", PATIENCE, || {
        Ok((node.counts().all_reads.load(Ordering::Relaxed) >= 300).then_some(()))
    })?;
    node.reset();
    wait_for("another run", PATIENCE, || {
        Ok((node.counts().reads.load(Ordering::Relaxed) == 0).then_some(()))
    })?;
    // What is settled is not lost again.
    for lost in [300, 0] {
        let mut agent = gateway.start()?;
        let line = wait_for("the node to answer", PATIENCE, || {
            agent.check()?;
            let Ok((line, _)) = said(&gateway, &["node", "status", READER]) else { return Ok(None) };
            let told = line["from"] == "agent" && node.counts().idle.load(Ordering::Acquire);
            Ok((told && line["node"]["configured"] == "taken").then_some(line))
        })?;
        assert_eq!(line["lost_reads"], lost, "{line}");
        let text = String::from_utf8(gateway.command(&["node", "status", READER]).output()?.stdout)?;
        assert_eq!(text.contains("300 reads with its earlier runs"), lost > 0, "{text}");
        agent.stop(STOPS_WITHIN)?;
    }
    Ok(())
}
