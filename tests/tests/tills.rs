//! What a till tells reaches the real central once, by MQTT through Mosquitto, by HTTP and from a file, whatever is
//! killed on the way; and the simulated shop's till says what was really sold.

use std::fmt::Write as _;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::topic::About;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::succeeded;
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::till::{Till, in_central};
use hangtag_tests::harness::{folder, free_port, seed};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);
/// Messages that are sent, and after how many of them central is killed.
const MESSAGES: u64 = 400;
const BURST: u64 = 40;

fn line(receipt: u64, number: u64) -> Value {
    json!({ "receipt": format!("r-{receipt}"), "line": number, "time": "2026-11-22T14:03:11+01:00",
        "gtin": "4006381333931", "quantity": 1, "amount": 39.9, "currency": "EUR" })
}

fn connected(site: &Site) -> anyhow::Result<()> {
    wait_for("central at the broker", PATIENCE, || {
        let health = site.health().unwrap_or_default();
        Ok(health["broker"].as_str().filter(|broker| *broker == "connected").map(drop))
    })
}

fn said(output: Output) -> anyhow::Result<String> {
    Ok(String::from_utf8(succeeded(output)?.stdout)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_counts_once_through_every_door_and_every_kill() -> anyhow::Result<()> {
    let folder = folder()?;
    let port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), port)?;
    let site = Site::for_test(folder.path(), port)?;
    let mut central = site.start_central()?;
    let mut till = Till::start(port);
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    for message in 0..MESSAGES {
        if message % BURST == 0 {
            // From then on the broker hands over what comes, and keeps what is not acknowledged.
            connected(&site)?;
        }
        // Two lines each; what a till is not sure of it sends again.
        let lines = json!([line(message, 1), line(message, 2)]);
        till.tell(About::Sale, &lines).await?;
        if message % 3 == 0 {
            till.tell(About::Sale, &lines).await?;
        }
        if message % BURST == BURST - 1 {
            // Some of the burst is stored by then, some is on its way.
            tokio::time::sleep(Duration::from_micros(dice.random_range(0..20_000))).await;
            central.kill()?;
            central = site.spawn_central()?;
        }
    }
    connected(&site)?;
    till.tell(About::Sale, &json!([{ "receipt": "broken" }, line(9_999, 1)])).await?;
    till.tell(About::Return, &line(0, 1)).await?;
    let count = json!({ "gtin": "4006381333931", "time": "2026-11-22T14:03:11Z", "quantity": 3 });
    till.tell(About::Stock, &count).await?;
    till.settled(PATIENCE).await?;
    let wanted = (2 * MESSAGES + 2, 1);
    wait_for("all lines in central", PATIENCE, || {
        Ok((in_central(&site.database())? == wanted).then_some(()))
    })?;
    let kept = said(site.central("quarantine").output()?)?;
    let rows = kept.lines().filter(|line| line.contains("refused  ")).count();
    ensure!(kept.contains("element 1: line: is missing") && rows == 1, "{kept}");

    // The same lines from a file, and some by HTTP.
    let mut csv = String::from("receipt;line;kind;time;gtin;quantity;amount;currency\n");
    for receipt in 0..MESSAGES + 5 {
        writeln!(csv, "r-{receipt};1;sale;2026-11-22 14:03:11;4006381333931;1;39,90;EUR")?;
    }
    let file = folder.path().join("sales.csv");
    std::fs::write(&file, &csv)?;
    let import = |kind: &str| {
        let mut command = site.central("pos");
        command.args(["import", "--store", "demo-shop", "--kind", kind]).arg(&file);
        command.output()
    };
    let imported = said(import("sale")?)?;
    let known = format!("{MESSAGES} lines known");
    ensure!(imported.contains("5 lines new") && imported.contains(&known), "{imported}");
    let post = |body: &str, content_type: &str| -> anyhow::Result<Value> {
        let url = site.url("/api/v1/pos/demo-shop/sale");
        let mut answer = ureq::post(&url).header("Content-Type", content_type).send(body).context(url)?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    };
    let answer = post(&csv, "text/csv")?;
    assert_eq!((&answer["new"], &answer["known"]), (&json!(0), &json!(MESSAGES + 5)), "{answer}");
    let answer = post(&line(7_777, 1).to_string(), "application/json")?;
    assert_eq!((&answer["new"], &answer["wrong"]), (&json!(1), &json!(0)), "{answer}");
    assert_eq!(in_central(&site.database())?, (wanted.0 + 6, 1));
    ensure!(post(&csv, "text/plain").is_err(), "a form is refused");
    central.stop(Duration::from_secs(15))?;
    Ok(())
}
