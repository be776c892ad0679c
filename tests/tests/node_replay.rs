//! What an agent recorded of a reader node concludes the same when it is replayed.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hangtag_tests::emulator::line::Faults;
use hangtag_tests::emulator::node::{Node, Roomy, Settings};
use hangtag_tests::harness::gateway::{STOPS_WITHIN, succeeded};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::{self, folder, seed};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);
/// Inference looks every half second, live by the clock and in a replay by what comes, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// When what happened to which garment, and when the last of all was.
fn garments(text: &str) -> (BTreeMap<(String, String), Vec<u64>>, u64) {
    let mut events = BTreeMap::<_, Vec<u64>>::new();
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in all {
        if let (Some(kind), Some(epc), Some(at)) =
            (event["kind"].as_str(), event["epc"].as_str(), event["at"].as_u64())
        {
            events.entry((kind.to_owned(), epc.to_owned())).or_default().push(at);
        }
    }
    let last = events.values().flatten().max().copied().unwrap_or(0);
    (events, last)
}

#[test]
fn a_recorded_node_concludes_the_same_when_it_is_replayed() -> anyhow::Result<()> {
    let folder = folder()?;
    let gateway = harness::node::gateway(folder.path(), &folder.path().join("agent-data"), "thingmagic")?;
    let faults = Faults { garbage: 0.02, loss: 0.05, truncation: 0.02 };
    let settings = Settings { seed: seed(), garments: 60, reads: 5_000, faults };
    let node = Node::start(&gateway.readers(), settings, Roomy::new)?;
    let capture = folder.path().join("capture.txt");
    let mut command = gateway.run();
    let mut agent = Process::start("hangtag-agent", command.arg("--capture").arg(&capture), &gateway.log())?;
    wait_for("all reads to be durable", PATIENCE, || {
        agent.check()?;
        let told = node.counts().all_reads.load(Ordering::Relaxed) >= settings.reads;
        Ok((told && node.counts().idle.load(Ordering::Acquire)).then_some(()))
    })?;
    agent.stop(STOPS_WITHIN)?;
    let replayed = succeeded(gateway.command(&["replay"]).arg(&capture).output()?)?.stdout;
    let (replayed, _) = garments(&String::from_utf8(replayed)?);
    let (live, last) = garments(&std::fs::read_to_string(gateway.accepted_log())?);
    // Nothing is concluded from the silence behind a recording.
    let sure = live.iter().flat_map(|(what, all)| all.iter().map(move |at| (what, *at)));
    let sure: Vec<_> = sure.filter(|(_, at)| *at + 10_000 < last).collect();
    let missing: Vec<_> = sure
        .iter()
        .filter(|(what, at)| {
            let there = replayed.get(what).into_iter().flatten().any(|other| other.abs_diff(*at) <= LOOK_MS);
            !there
        })
        .collect();
    println!("{} of {} events are in the replay", sure.len() - missing.len(), sure.len());
    assert!(sure.len() > 100, "{live:?}");
    assert!(missing.len() * 20 <= sure.len(), "{missing:?}");
    Ok(())
}
