//! Finding out which reader is at a port, on pseudo-terminals: `readers`, and `protocol = "auto"`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_protocol::epc::Epc;
use hangtag_tests::emulator::Module;
use hangtag_tests::emulator::carousel::READER;
use hangtag_tests::emulator::chafon::Chafon;
use hangtag_tests::emulator::line::{Faults, Line};
use hangtag_tests::emulator::node::{Node, Roomy, Settings};
use hangtag_tests::emulator::port::Port;
use hangtag_tests::emulator::ruuvi::Receiver;
use hangtag_tests::harness::free_port;
use hangtag_tests::harness::onlooker::{Told, readers};
use hangtag_tests::harness::site::Site;
use hangtag_tests::shop::Sighting;
use hangtag_tests::shop::layout::Protocol;
use serde_json::Value;
use tokio::time::{Instant, interval};

const TICK: Duration = Duration::from_millis(16);
const CODE: &str = "SECRET4711";

fn sighting(at_ms: u64) -> Sighting {
    let epc = Epc::from_hex("3074257bf7194e4000001a85").expect("an EPC");
    let (rssi_cdbm, phase_ddeg, channel_khz) = (-5_500, None, 865_700);
    Sighting { at_ms, reader: 0, antenna: 1, epc, rssi_cdbm, phase_ddeg, channel_khz }
}

/// Runs a command while time passes at the ports; scanners scan all the time.
async fn run(mut command: Command, ports: &[&Port], scanner: &Port) -> anyhow::Result<Output> {
    let mut ends = tokio::task::spawn_blocking(move || command.output());
    let (clock, mut tick) = (Instant::now(), interval(TICK));
    loop {
        tokio::select! {
            output = &mut ends => return Ok(output??),
            _ = tick.tick() => {
                let now_ms = u64::try_from(clock.elapsed().as_millis())?;
                ports.iter().for_each(|port| port.feed(now_ms, vec![sighting(now_ms)]));
                scanner.say(now_ms, format!("{CODE}\r\n").into_bytes());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_is_told_with_its_configuration_and_left_in_peace() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    let link = |name: &str| site.readers().join(name);
    let port = |name: &str, module| Port::with(&link(name), module, Line::clean());
    let mut all = vec![
        port("thingmagic", Module::new(Protocol::ThingMagic)),
        port("r200", Module::new(Protocol::R200)),
        // Left reading by an agent that was killed.
        Port::speaking(&link("streaming"), Module::reading(Protocol::ThingMagic), Line::clean()),
        Port::speaking(&link("rounds"), Module::reading(Protocol::R200), Line::clean()),
        port("chafon", Module::Chafon(Chafon::new(3))),
        port("ruuvi", Module::Ruuvi(Receiver::new())),
    ];
    let mut scanner = port("scanner", Module::Scanner);
    scanner.plug()?;
    for port in &mut all {
        port.plug()?;
    }
    let names = ["thingmagic", "r200", "streaming", "rounds", "chafon", "ruuvi", "scanner", "absent"];
    let mut command = site.agent_without("readers");
    command.arg("--json").args(names.map(link));
    let output = run(command, &all.iter().collect::<Vec<_>>(), &scanner).await?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    assert!(!text.contains(CODE), "what was scanned is not shown: {text}");
    let lines: Vec<Value> = serde_json::from_str(&text)?;
    for (line, (name, protocol, module, was_reading)) in lines.iter().zip([
        ("thingmagic", "thingmagic", "ThingMagic hardware", false),
        ("r200", "r200", "M100 26dBm V1.0, firmware V2.3.5", false),
        ("streaming", "thingmagic", "ThingMagic hardware", true),
        ("rounds", "r200", "M100 26dBm V1.0, firmware V2.3.5", true),
        ("chafon", "chafon", "Chafon UHFReader288 type 0c firmware 0.22", false),
        ("ruuvi", "ruuvi", "Ruuvi receiver 2c0ccce151217de8", false),
        ("scanner", "scanner", "", true),
    ]) {
        assert_eq!(line["port"], link(name).to_string_lossy().as_ref(), "{line}");
        assert_eq!((&line["state"], &line["protocol"]), (&"found".into(), &protocol.into()), "{line}");
        assert_eq!(line["was_reading"], was_reading, "{line}");
        let told = line["module"].as_str().unwrap_or_default();
        assert!(told.starts_with(module), "{line}");
        let proposal: toml::Table = line["proposal"].as_str().context("a proposal")?.parse()?;
        assert_eq!(proposal["reader"][0]["protocol"].as_str(), Some(protocol));
        assert!(!line["proposal"].as_str().unwrap_or_default().contains("\nregion"), "{line}");
    }
    assert_eq!((&lines[7]["state"], &lines[7]["why"]), (&"unusable".into(), &"is not there".into()));
    assert!(all.iter().all(|port| !port.is_reading()), "whoever was reading was stopped");
    Ok(())
}

/// A node that tells what it reads at once.
fn node(folder: &Path) -> anyhow::Result<Node> {
    let settings = Settings { seed: 4, garments: 20, reads: 1_000_000, faults: Faults::default() };
    Ok(Node::start(folder, settings, Roomy::new)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_node_is_told_with_its_firmware_and_used() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    let link = site.readers().join(READER);
    let plugged = node(&site.readers())?;
    let mut command = site.agent_without("readers");
    command.arg("--json").arg(&link);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let lines: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&lines[0]["protocol"], &lines[0]["baud"]), (&"node".into(), &115_200.into()), "{lines:?}");
    assert!(
        lines[0]["module"].as_str().is_some_and(|module| module.ends_with("firmware 0.1.0")),
        "{lines:?}"
    );
    let proposal: toml::Table = lines[0]["proposal"].as_str().context("a proposal")?.parse()?;
    assert_eq!(proposal["reader"][0]["protocol"].as_str(), Some("node"));
    // `auto` uses it, and whoever is there after it.
    configure_auto(&site, READER, "window_ms = 300\n")?;
    let mut agent = site.start_agent()?;
    let reads = Told::ask(&site, &mut agent, "reads")?;
    let clock = Instant::now();
    reads.until(clock, |_| (), |_| true).await?;
    let told = readers(&site)?;
    assert_eq!(told[0]["protocol"], "node, 115200 baud", "{told:?}");
    let configure = loop {
        match plugged.configure() {
            Some(configure) => break configure,
            None => tokio::time::sleep(TICK).await,
        }
        agent.check()?;
    };
    assert_eq!((configure.window_ms, configure.motion_mg), (300, 120));
    // Whose module falls silent is still there, and needs not be found out and configured anew.
    let configured = plugged.counts().configured.load(Ordering::Relaxed);
    for (mute, state) in [(true, "silent"), (false, "listening")] {
        plugged.mute_module(mute);
        while readers(&site)?[0]["state"] != state {
            agent.check()?;
            tokio::time::sleep(TICK).await;
        }
    }
    assert_eq!(plugged.counts().configured.load(Ordering::Relaxed), configured);
    drop(plugged);
    let mut port = Port::new(&link, Protocol::R200, Line::clean());
    port.plug()?;
    let epc = "3074257bf7194e4000001a85";
    reads.until(clock, |now_ms| port.feed(now_ms, vec![sighting(now_ms)]), |read| read["epc"] == epc).await?;
    assert_eq!(readers(&site)?[0]["protocol"], "r200, 115200 baud");
    agent.stop(Duration::from_secs(10))?;
    let log = std::fs::read_to_string(site.folder.join("agent.log"))?;
    assert_eq!(log.matches("settle_ms are of use only with a node").count(), 1, "{log}");
    Ok(())
}

/// One reader, of which only the port is known; `more` are keys of its own.
fn configure_auto(site: &Site, link: &str, more: &str) -> anyhow::Result<()> {
    let port = free_port()?;
    site.write(
        "agent.toml",
        &format!(
            "tenant = \"demo\"\nstore = \"demo-shop\"\ngateway = \"gw-1\"\ndata = \"agent-data\"\n\
             [mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n[[zone]]\nid = \"rail-1\"\nkind = \"rail\"\n\
             [[reader]]\nid = \"any\"\nport = \"readers/{link}\"\nprotocol = \"auto\"\nregion = \"eu\"\n\
             power_dbm = 20.0\n{more}[[reader.antenna]]\nport = 1\nzone = \"rail-1\"\n"
        ),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_finds_out_who_is_there_and_again_when_another_is_plugged_in() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    configure_auto(&site, "any", "")?;
    let link: PathBuf = site.readers().join("any");
    let mut agent = site.start_agent()?;
    let reads = Told::ask(&site, &mut agent, "reads")?;
    let clock = Instant::now();
    for (module, protocol) in [
        (Module::new(Protocol::R200), "r200, 115200 baud"),
        (Module::new(Protocol::R200), "r200, 115200 baud"),
        (Module::reading(Protocol::ThingMagic), "thingmagic, 115200 baud"),
        (Module::Chafon(Chafon::new(0)), "chafon, "),
    ] {
        let mut port = Port::with(&link, module, Line::clean());
        port.plug()?;
        reads
            .until(clock, |now_ms| port.feed(now_ms, vec![sighting(now_ms)]), |_| true)
            .await
            .context(protocol)?;
        let told = readers(&site)?;
        assert!(told[0]["protocol"].as_str().is_some_and(|told| told.starts_with(protocol)), "{told:?}");
        assert!(told[0]["module"].is_string(), "{told:?}");
        // While the agent uses the port, it is left alone, and its user is named.
        let mut command = site.agent_without("readers");
        let output = command.arg("--json").arg(&link).output()?;
        let lines: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        assert_eq!((&lines[0]["state"], &lines[0]["process"]), (&"in-use".into(), &agent.id().into()));
        assert_eq!(output.status.code(), Some(1));
        port.unplug().await?;
        // What was on its way is not taken for the next one's.
        while readers(&site)?[0]["state"] != "absent" {
            agent.check()?;
            tokio::time::sleep(TICK).await;
        }
        while reads.now().is_some() {}
    }
    // A scanner is found, and cannot be used without a zone.
    let mut scanner = Port::with(&link, Module::Scanner, Line::clean());
    scanner.plug()?;
    let said = |told: &[Value]| told[0]["fault"].as_str().is_some_and(|fault| fault.contains("needs a zone"));
    while !said(&readers(&site)?) {
        agent.check()?;
        scanner.say(0, format!("{CODE}\r\n").into_bytes());
        tokio::time::sleep(TICK).await;
    }
    agent.stop(Duration::from_secs(10))?;
    let log = std::fs::read_to_string(site.folder.join("agent.log"))?;
    assert_eq!(log.matches("found out which reader is there").count(), 4, "{log}");
    assert!(!log.contains(CODE), "{log}");
    Ok(())
}
