//! A try-on that was none, through real doors: a pseudo-terminal, Mosquitto, HTTP. It is counted, and when the agent
//! finds out that the garment had left, it is not any more.

use std::time::Duration;

use anyhow::{Context as _, bail};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::Kind;
use hangtag_protocol::line::EventLine;
use hangtag_tests::emulator::line::Line;
use hangtag_tests::emulator::port::Port;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::free_port;
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::site::Site;
use hangtag_tests::score::read_lines;
use hangtag_tests::shop::Sighting;
use hangtag_tests::shop::layout::{Protocol, stores_toml};
use tokio::time::{Instant, interval};

const TAG: &str = "3074257bf7194e4000001a85";
/// The reader's ports at a booth and at the shelf.
const BOOTH: u8 = 1;
const SHELF: u8 = 4;
const STOPS_WITHIN: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(16);
/// The garment rests, hangs in the booth, is worn, and is carried out where nobody hears it, in milliseconds.
const CARRIED_IN_MS: u64 = 10_000;
const PUT_ON_MS: u64 = 14_000;
const LEFT_MS: u64 = 35_000;
/// How often it is read, in milliseconds.
const READ_MS: u64 = 200;

/// The read that is due, if one is.
fn sighting(now_ms: u64) -> Vec<Sighting> {
    let (antenna, rssi_cdbm, turn) = match now_ms {
        0..CARRIED_IN_MS => (SHELF, -5_500, 0),
        CARRIED_IN_MS..PUT_ON_MS => (BOOTH, -4_800, 0),
        PUT_ON_MS..LEFT_MS => (BOOTH, -5_500, 1),
        LEFT_MS.. => return Vec::new(),
    };
    // A worn tag's phase may be anything.
    let phase_ddeg = 900 + turn * u16::try_from(now_ms / READ_MS * 517 % 1_700).expect("below 1,700");
    let epc = Epc::from_hex(TAG).expect("an EPC");
    let channel_khz = 866_300;
    vec![Sighting {
        at_ms: now_ms,
        reader: 0,
        antenna,
        epc,
        rssi_cdbm,
        phase_ddeg: Some(phase_ddeg),
        channel_khz,
    }]
}

/// What central counts as tried on, by its table.
fn tried_on(site: &Site) -> anyhow::Result<u64> {
    let csv = site.get("/hours.csv")?;
    let mut lines = csv.trim_start_matches('\u{feff}').lines();
    let mut columns = lines.next().unwrap_or_default().split(',');
    let column = columns.position(|name| name == "tried_on").context("no column tried_on")?;
    // Of hours in which nobody listened nothing is said.
    let counts = lines.map(|line| line.split(',').nth(column).context("a short line"));
    counts.filter(|count| !matches!(count, Ok(""))).map(|count| Ok(count?.parse::<u64>()?)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_on_that_was_none_is_counted_and_then_not_any_more() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let broker_port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    site.write("stores.toml", &stores_toml().replace("Europe/Paris", hangtag_tests::harness::noon()))?;
    let mut central = site.start_central()?;
    let mut agent = site.start_agent()?;
    let mut port = Port::new(&site.readers().join("booths"), Protocol::ThingMagic, Line::clean());
    port.plug()?;
    port.started().await;

    let begin = Instant::now();
    let mut tick = interval(TICK);
    let (mut read_ms, mut counted) = (0, false);
    loop {
        tick.tick().await;
        let now_ms = u64::try_from(begin.elapsed().as_millis())?;
        let due = now_ms >= read_ms;
        port.feed(now_ms, if due { sighting(now_ms) } else { Vec::new() });
        if !due {
            continue;
        }
        read_ms = now_ms + READ_MS;
        agent.check()?;
        central.check()?;
        match (tried_on(&site)?, counted) {
            (1, _) => counted = true,
            (0, true) => break,
            (0, false) => {}
            (more, _) => bail!("{more} try-ons of one garment"),
        }
        if begin.elapsed() > PATIENCE {
            let accepted = std::fs::read_to_string(site.accepted_log())?;
            bail!("counted: {counted}; the agent accepted\n{accepted}");
        }
    }
    let log = std::fs::read_to_string(site.accepted_log())?;
    let lines: Vec<EventLine> = read_lines("accepted", &log)?;
    let retracted: Vec<_> = lines.iter().filter_map(|line| line.retracts).collect();
    let tried = lines.iter().filter(|line| line.kind == Kind::TriedOn);
    assert_eq!(retracted, tried.map(|line| line.seq).collect::<Vec<_>>(), "once, by its number");

    agent.stop(STOPS_WITHIN)?;
    let verdict = wait_complete(PATIENCE, || judge(&site.accepted_log(), &site.database()))?;
    assert!(verdict.is_exact() && verdict.try_ons == 0, "{verdict:?}");
    central.stop(STOPS_WITHIN)?;
    central = site.start_central()?;
    assert_eq!(tried_on(&site)?, 0, "after a restart, too");
    let page = site.get("/")?;
    assert!(page.contains(">Tried on</p><p class=\"value\">0</p>"), "{page}");
    central.stop(STOPS_WITHIN)
}
