//! What `hangtag-central bench` says of the whole way, with a real broker. How fast it is says nothing here.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, ensure};
use hangtag_tests::harness::binaries::Binaries;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::cluster::Cluster;
use hangtag_tests::harness::{free_port, skip};

/// What every run tells.
const NAMES: [&str; 17] = [
    "events",
    "mqtt_to_committed",
    "mqtt_to_rolled_up",
    "rolled_up_after_last_commit",
    "central_cpu_to_committed",
    "central_cpu_to_rolled_up",
    "central_memory_peak",
    "bare_engine",
    "bare_engine_with_rollups",
    "mqtt_to_committed_of_bare_engine",
    "feed_published",
    "feed_cpu",
    "live_delay_alone_max",
    "late_events",
    "late_to_committed",
    "live_delay_alone_p50",
    "central_memory_peak_beside_late",
];

/// Measures with few events; everything that it says, by name.
fn measure(more: &[&str]) -> anyhow::Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let _broker = Mosquitto::start_forgetful(&folder.path().join("mosquitto"), port)?;
    let mut bench = Command::new(Binaries::build()?.central);
    bench.args(["bench", "--events", "3000", "--late", "3000", "--stores", "2"]);
    let output = bench.args(["--mqtt", &format!("127.0.0.1:{port}")]).args(more).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    let line = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (name, value, unit) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        (!unit.is_empty()).then(|| (name.to_owned(), value))
    };
    said.lines().map(|text| line(text).with_context(|| text.to_owned())).collect()
}

fn holds(measured: &BTreeMap<String, f64>) {
    for name in NAMES {
        assert!(measured.get(name).is_some_and(|value| *value >= 0.0), "{name} in {measured:?}");
    }
    assert_eq!((measured["events"], measured["late_events"]), (3_000.0, 3_000.0));
    assert!(measured["mqtt_to_committed"] >= measured["mqtt_to_rolled_up"], "{measured:?}");
    assert!(measured["live_delay_alone_p50"] <= measured["live_delay_alone_max"], "{measured:?}");
}

#[test]
fn the_whole_way_is_measured_with_a_file() -> anyhow::Result<()> {
    holds(&measure(&[])?);
    Ok(())
}

#[test]
fn the_whole_way_is_measured_with_a_server() -> anyhow::Result<()> {
    if let Some(why) = Cluster::missing() {
        return skip(why);
    }
    let cluster = Cluster::start()?;
    holds(&measure(&["--database", &cluster.url()])?);
    Ok(())
}
