//! Devices other than the simulated shop's readers, on pseudo-terminals, with the real agent. What it makes of
//! them is read from its socket, as `watch` does.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::key::PublicKey;
use hangtag_tests::emulator::Module;
use hangtag_tests::emulator::chafon::Chafon;
use hangtag_tests::emulator::line::{Faults, Line};
use hangtag_tests::emulator::port::Port;
use hangtag_tests::emulator::rs485::Rs485;
use hangtag_tests::emulator::ruuvi::{self, SensorTag};
use hangtag_tests::harness::free_port;
use hangtag_tests::harness::onlooker::{Told, readers};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::shop::Sighting;
use hangtag_tests::shop::layout::Protocol;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);
const TAG: &str = "3074257bf7194e4000001a85";

fn configure(site: &Site, readers: &str) -> anyhow::Result<()> {
    let port = free_port()?;
    let head = format!(
        "tenant = \"demo\"\nstore = \"demo-shop\"\ngateway = \"gw-1\"\ndata = \"agent-data\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n\
         [[zone]]\nid = \"booth-1\"\nkind = \"booth\"\n[[zone]]\nid = \"rail-1\"\nkind = \"rail\"\n"
    );
    site.write("agent.toml", &(head + readers))
}

fn sighting(at_ms: u64, antenna: u8) -> Sighting {
    let epc = Epc::from_hex(TAG).expect("an EPC");
    let (rssi_cdbm, phase_ddeg, channel_khz) = (-5_500, None, 865_700);
    Sighting { at_ms, reader: 0, antenna, epc, rssi_cdbm, phase_ddeg, channel_khz }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chafon_reader_is_polled_at_every_antenna_through_noise_and_loss() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    configure(
        &site,
        "[[reader]]\nid = \"cf\"\nport = \"readers/cf\"\nprotocol = \"chafon\"\naddress = 3\nregion = \"eu\"\n\
         power_dbm = 24.0\n[[reader.antenna]]\nport = 1\nzone = \"booth-1\"\n\
         [[reader.antenna]]\nport = 3\nzone = \"rail-1\"\n",
    )?;
    let faults = Faults { garbage: 0.1, loss: 0.05, truncation: 0.05 };
    let module = Module::Chafon(Chafon::new(3));
    let mut port = Port::with(&site.readers().join("cf"), module, Line::new(11, faults));
    port.plug()?;
    let mut agent = site.start_agent()?;
    let reads = Told::ask(&site, &mut agent, "reads")?;
    let clock = Instant::now();
    for round in 0..2 {
        for antenna in [3, 1, 3] {
            let act = |now_ms| port.feed(now_ms, vec![sighting(now_ms, 1), sighting(now_ms, 3)]);
            let read = reads.until(clock, act, |read| read["antenna"] == antenna).await;
            let read = read.with_context(|| format!("round {round}, antenna {antenna}"))?;
            assert_eq!((&read["epc"], &read["rssi_cdbm"]), (&TAG.into(), &(-5_500).into()), "{read}");
        }
        if round == 0 {
            port.unplug().await?;
            port.plug()?;
        }
    }
    agent.stop(Duration::from_secs(10))?;
    let log = std::fs::read_to_string(site.folder.join("agent.log"))?;
    assert!(log.contains("UHFReader288"), "{log}");
    let accepted = std::fs::read_to_string(site.accepted_log())?;
    for state in ["listening", "absent"] {
        assert!(accepted.contains(state), "{state}: {accepted}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_on_one_line_are_asked_in_turn_and_a_dead_one_stops_nobody() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    let reader = |address: u8| {
        format!(
            "[[reader]]\nid = \"cf-{address}\"\nport = \"readers/bus\"\nprotocol = \"chafon\"\naddress = {address}\n\
             region = \"eu\"\npower_dbm = 24.0\n[[reader.antenna]]\nport = 1\nzone = \"booth-1\"\n"
        )
    };
    configure(&site, &[1, 2, 9].map(reader).concat())?;
    let link = site.readers().join("bus");
    let line = |addresses: &[u8]| Port::with(&link, Module::Rs485(Rs485::new(addresses)), Line::clean());
    let mut port = line(&[1, 2]);
    port.plug()?;
    let mut agent = site.start_agent()?;
    let reads = Told::ask(&site, &mut agent, "reads")?;
    let clock = Instant::now();
    let see = |port: &Port, now_ms| {
        port.feed(now_ms, (0..3).map(|reader| Sighting { reader, ..sighting(now_ms, 1) }).collect());
    };
    for id in ["cf-1", "cf-2", "cf-1", "cf-2"] {
        reads.until(clock, |now_ms| see(&port, now_ms), |read| read["reader"] == id).await.context(id)?;
    }
    let told = readers(&site)?;
    let states = told.iter().map(|told| told["state"].clone());
    assert_eq!(states.collect::<Vec<_>>(), ["listening", "listening", "silent"], "{told:?}");
    assert_eq!(told[1]["protocol"], "chafon, 57600 baud, address 2");
    // The dead one comes back, with the line pulled out and plugged in again.
    port.unplug().await?;
    while !readers(&site)?.iter().all(|told| told["state"] == "absent") {
        agent.check()?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    port = line(&[1, 2, 9]);
    port.plug()?;
    for id in ["cf-9", "cf-1", "cf-2", "cf-9"] {
        reads.until(clock, |now_ms| see(&port, now_ms), |read| read["reader"] == id).await.context(id)?;
    }
    agent.stop(Duration::from_secs(10))?;
    // Each has a coverage of its own.
    let accepted = std::fs::read_to_string(site.accepted_log())?;
    let covered = |id: &str, state: &str| {
        let of = |line: &&str| line.contains(&format!("\"{id}\"")) && line.contains(&format!("\"{state}\""));
        accepted.lines().filter(of).count()
    };
    for id in ["cf-1", "cf-2", "cf-9"] {
        assert!(covered(id, "listening") > 0 && covered(id, "absent") > 0, "{id}: {accepted}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_tag_that_moved_while_its_receiver_was_unplugged_is_noticed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    configure(&site, "[[reader]]\nid = \"sensors\"\nport = \"readers/sensors\"\nprotocol = \"ruuvi\"\n")?;
    let module = Module::Ruuvi(ruuvi::Receiver::new());
    let mut port = Port::with(&site.readers().join("sensors"), module, Line::clean());
    port.plug()?;
    let mut agent = site.start_agent()?;
    let motions = Told::ask(&site, &mut agent, "motions")?;
    let clock = Instant::now();
    let address = [0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x4f];
    let mut tag = SensorTag { address, moves: 253, sequence: 205, acceleration_mg: [4, -4, 1_036] };
    let first = motions.until(clock, |now| port.say(now, ruuvi::Receiver::report(&tag)), |_| true).await?;
    assert_eq!((&first["moves"], &first["sensor"]), (&0.into(), &"CB:B8:33:4C:88:4F".into()), "{first}");
    port.unplug().await?;
    port.plug()?;
    // 254, 0, 1, while nobody listened.
    tag = SensorTag { moves: 1, sequence: 300, acceleration_mg: [1_000, 0, 0], ..tag };
    let then = motions.until(clock, |now| port.say(now, ruuvi::Receiver::report(&tag)), |_| true).await?;
    assert_eq!(then["moves"], 3, "{then}");
    assert_eq!(then["acceleration_mg"], serde_json::json!([1_000, 0, 0]));
    assert_eq!(then["battery_mv"], 2_977);
    agent.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_garment_whose_sensor_moved_is_picked_up_and_other_sensors_are_shown() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    configure(
        &site,
        &format!(
            "[[reader]]\nid = \"sensors\"\nport = \"readers/sensors\"\nprotocol = \"ruuvi\"\n\
             [[reader]]\nid = \"rail\"\nport = \"readers/rail\"\nprotocol = \"thingmagic\"\nregion = \"eu\"\n\
             power_dbm = 24.0\n[[reader.antenna]]\nport = 1\nzone = \"rail-1\"\n\
             [[sensor]]\naddress = \"CB:B8:33:4C:88:4F\"\nepc = \"{TAG}\"\n"
        ),
    )?;
    let receiver = Module::Ruuvi(ruuvi::Receiver::new());
    let mut sensors = Port::with(&site.readers().join("sensors"), receiver, Line::clean());
    sensors.plug()?;
    let mut rail = Port::new(&site.readers().join("rail"), Protocol::ThingMagic, Line::clean());
    rail.plug()?;
    let mut agent = site.start_agent()?;
    let address = [0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x4f];
    let mut own = SensorTag { address, moves: 66, sequence: 205, acceleration_mg: [4, -4, 1_036] };
    let mut other = SensorTag { address: [0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x50], ..own };
    let clock = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(16));
    let picked_up = loop {
        tick.tick().await;
        agent.check()?;
        let now_ms = u64::try_from(clock.elapsed().as_millis())?;
        // The tag hangs still all the time, and is read four times a second.
        let due = now_ms / 250 != now_ms.saturating_sub(16) / 250;
        rail.feed(now_ms, if due { vec![sighting(now_ms, 1)] } else { Vec::new() });
        if now_ms / 1_000 != now_ms.saturating_sub(16) / 1_000 {
            (own.sequence, other.sequence) = (own.sequence + 1, other.sequence + 1);
            if own.sequence.is_multiple_of(15) {
                own.moves += 1;
                own.acceleration_mg.rotate_right(1);
            }
            sensors.say(now_ms, ruuvi::Receiver::report(&own));
            sensors.say(now_ms, ruuvi::Receiver::report(&other));
            let accepted = std::fs::read_to_string(site.accepted_log()).unwrap_or_default();
            if let Some(line) = accepted.lines().find(|line| line.contains("\"picked_up\"")) {
                break line.to_owned();
            }
        }
        anyhow::ensure!(clock.elapsed() < PATIENCE, "waited in vain");
    };
    let picked_up: serde_json::Value = serde_json::from_str(&picked_up)?;
    assert_eq!((&picked_up["epc"], &picked_up["zone"]), (&TAG.into(), &"rail-1".into()), "{picked_up}");
    assert_eq!(picked_up["confidence"], 97, "the sensor moved, and lies otherwise: {picked_up}");
    let shown = site.agent("watch").args(["--for", "1"]).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    let line = |address: &str| shown.lines().find(|line| line.contains(address)).map(str::to_owned);
    let own = line("CB:B8:33:4C:88:4F").with_context(|| shown.clone())?;
    assert!(own.contains(&format!("on garment {TAG}")), "{own}");
    let other = line("CB:B8:33:4C:88:50").with_context(|| shown.clone())?;
    assert!(other.contains("not in the configuration"), "{other}");
    agent.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanned_loyalty_code_is_recognised_and_written_nowhere() -> anyhow::Result<()> {
    const SECRET: &str = "4711SECRET99";
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    // A key whose private half nobody has.
    let key = PublicKey::new([7; 32]);
    configure(
        &site,
        &format!(
            "[loyalty]\nkey = \"{key}\"\n\
             [[reader]]\nid = \"scan\"\nport = \"readers/scan\"\nprotocol = \"scanner\"\nzone = \"booth-1\"\n\
             loyalty = [\"LC-*\"]\n\
             [[reader]]\nid = \"sensors\"\nport = \"readers/sensors\"\nprotocol = \"ruuvi\"\n"
        ),
    )?;
    let mut scanner = Port::with(&site.readers().join("scan"), Module::Scanner, Line::clean());
    scanner.plug()?;
    let receiver = Module::Ruuvi(ruuvi::Receiver::new());
    let mut sensors = Port::with(&site.readers().join("sensors"), receiver, Line::clean());
    sensors.plug()?;
    let capture = site.folder.join("capture.txt");
    let mut command = site.agent("run");
    command.arg("--accepted-log").arg(site.accepted_log()).arg("--capture").arg(&capture);
    command.env("HANGTAG_LOG", "trace");
    let mut agent = Process::start("hangtag-agent", &mut command, &site.folder.join("agent.log"))?;
    let scans = Told::ask(&site, &mut agent, "scans")?;
    let clock = Instant::now();
    for (line, kind, gtin) in [
        ("4006381333931\r".to_owned(), "product", Some("04006381333931")),
        (format!("LC-{SECRET}\r\n"), "loyalty", None),
        (format!("{SECRET}\n"), "unknown", None),
        ("https://id.example.com/01/09521141123454/21/1\r\n".to_owned(), "product", Some("09521141123454")),
    ] {
        let act = |now_ms| scanner.say(now_ms, line.clone().into_bytes());
        let scan =
            scans.until(clock, act, |scan| scan["kind"] == kind && scan["gtin"].as_str() == gtin).await?;
        assert_eq!(scan["reader"], "scan", "{scan}");
    }
    // What a receiver sends is recorded, so that the capture is seen to work.
    let recorded = || Ok(std::fs::read_to_string(&capture)?.contains("sensors ca10").then_some(()));
    wait_for("the receiver in the capture", PATIENCE, recorded)?;
    agent.stop(Duration::from_secs(10))?;
    let log = std::fs::read_to_string(site.folder.join("agent.log"))?;
    assert!(log.contains("TRACE"), "everything was logged: {log}");
    for needle in [SECRET.to_owned(), hex::encode(SECRET)] {
        assert_eq!(files_with(folder.path(), needle.as_bytes())?, Vec::<String>::new(), "{needle}");
    }
    // And the search finds what is there.
    assert!(!files_with(folder.path(), b"sensors ca10")?.is_empty());
    Ok(())
}

/// The files in a folder that hold these bytes.
fn files_with(folder: &Path, needle: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), needle)?);
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path())?;
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    Ok(found)
}
