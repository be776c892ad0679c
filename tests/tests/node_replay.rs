//! What an agent recorded of a reader node concludes the same when it is replayed.

use std::collections::{BTreeMap, BTreeSet};
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

/// When what happened to which garment, in order.
type Events = BTreeMap<(String, String), Vec<u64>>;

fn garments(text: &str) -> Events {
    let mut events = Events::new();
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in all {
        if let (Some(kind), Some(epc), Some(at)) =
            (event["kind"].as_str(), event["epc"].as_str(), event["at"].as_u64())
        {
            events.entry((kind.to_owned(), epc.to_owned())).or_default().push(at);
        }
    }
    events.values_mut().for_each(|all| all.sort_unstable());
    events
}

/// The events of each of two that have none of their own in the other.
fn unmatched<'a>(ours: &'a Events, theirs: &'a Events) -> [Vec<(&'a (String, String), u64)>; 2] {
    let mut alone = [Vec::new(), Vec::new()];
    let kinds: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for what in kinds {
        let times = |events: &'a Events| events.get(what).map_or(&[][..], Vec::as_slice);
        let (mut ours, mut theirs) = (times(ours), times(theirs));
        // The earliest of both fits nothing later better than the earliest of the other.
        while let (Some((our, our_rest)), Some((their, their_rest))) =
            (ours.split_first(), theirs.split_first())
        {
            if our.abs_diff(*their) <= LOOK_MS {
                (ours, theirs) = (our_rest, their_rest);
            } else if our < their {
                alone[0].push((what, *our));
                ours = our_rest;
            } else {
                alone[1].push((what, *their));
                theirs = their_rest;
            }
        }
        alone[0].extend(ours.iter().map(|at| (what, *at)));
        alone[1].extend(theirs.iter().map(|at| (what, *at)));
    }
    alone
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
    let replayed = garments(&String::from_utf8(replayed)?);
    let live = garments(&std::fs::read_to_string(gateway.accepted_log())?);
    // Nothing is concluded from the silence behind a recording.
    let end = live.values().flatten().max().copied().unwrap_or(0).saturating_sub(10_000);
    let sure = |events: &Events| events.values().flatten().filter(|at| **at < end).count();
    let alone = unmatched(&live, &replayed)
        .map(|all| all.into_iter().filter(|(_, at)| *at < end).collect::<Vec<_>>());
    println!(
        "live {} events, {} of them alone; replayed {}, {} of them alone",
        sure(&live),
        alone[0].len(),
        sure(&replayed),
        alone[1].len()
    );
    assert!(sure(&live) > 100, "{live:?}");
    for (alone, all) in alone.iter().zip([&live, &replayed]) {
        assert!(alone.len() * 20 <= sure(all), "{alone:?}");
    }
    Ok(())
}
