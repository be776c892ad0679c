//! Readers that are off outside the hours of the schedule, by a clock that a test sets, with the real agent. Being off
//! is neither silence nor absence, and a clock that nobody vouches for keeps no reader off.

use std::time::Duration;

use hangtag_protocol::epc::Epc;
use hangtag_tests::emulator::Module;
use hangtag_tests::emulator::line::Line;
use hangtag_tests::emulator::port::Port;
use hangtag_tests::harness::clock::Machine;
use hangtag_tests::harness::gateway::STOPS_WITHIN;
use hangtag_tests::harness::onlooker::readers;
use hangtag_tests::harness::process::Process;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, skip};
use hangtag_tests::shop::Sighting;
use hangtag_tests::shop::layout::Protocol;
use serde_json::Value;
use tokio::time::{Instant, interval};

const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(16);
const HOUR_MS: i64 = 3_600_000;

fn configure(site: &Site) -> anyhow::Result<()> {
    let port = free_port()?;
    // Open from six hours from now on, for six hours.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let hour = (now.as_secs() / 3_600 + 6) % 24;
    let head = format!(
        "tenant = \"demo\"\nstore = \"demo-shop\"\ngateway = \"gw-1\"\ndata = \"agent-data\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n\
         [schedule]\ntime_zone = \"UTC\"\nread = [\"daily {hour:02}:00-{:02}:00\"]\n\
         [[zone]]\nid = \"rail-1\"\nkind = \"rail\"\n",
        (hour + 6) % 24
    );
    let reader = |name: &str| {
        format!(
            "[[reader]]\nid = \"{name}\"\nport = \"readers/{name}\"\nprotocol = \"{name}\"\nregion = \"eu\"\n\
             power_dbm = 20.0\n[[reader.antenna]]\nport = 1\nzone = \"rail-1\"\n"
        )
    };
    site.write("agent.toml", &(head + &reader("r200") + &reader("thingmagic")))
}

/// Shows the readers a tag at every tick, until the agent says of both that they are in a state, and more holds.
async fn until(
    site: &Site,
    agent: &mut Process,
    ports: &[Port],
    clock: Instant,
    state: &str,
    more: impl Fn(&[Value]) -> bool,
) -> anyhow::Result<Vec<Value>> {
    let (end, mut tick) = (Instant::now() + PATIENCE, interval(TICK));
    let epc = Epc::from_hex("3074257bf7194e4000001a85")?;
    let mut told = Vec::new();
    while Instant::now() < end {
        tick.tick().await;
        agent.check()?;
        let at_ms = u64::try_from(clock.elapsed().as_millis())?;
        let (rssi_cdbm, phase_ddeg, channel_khz) = (-5_500, None, 865_700);
        let tag = Sighting { at_ms, reader: 0, antenna: 1, epc, rssi_cdbm, phase_ddeg, channel_khz };
        ports.iter().for_each(|port| port.feed(at_ms, vec![tag]));
        told = readers(site).unwrap_or_default();
        if !told.is_empty() && told.iter().all(|told| told["state"] == state) && more(&told) {
            return Ok(told);
        }
    }
    anyhow::bail!("waited in vain for {state}; the readers are {told:?}")
}

fn reads(told: &[Value]) -> Vec<u64> {
    told.iter().map(|told| told["reads"].as_u64().unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_stopped_outside_the_hours_and_their_rest_is_no_silence() -> anyhow::Result<()> {
    if let Some(why) = Machine::refusal() {
        return skip(why);
    }
    let folder = folder()?;
    let site = Site::for_test(folder.path(), 1)?;
    configure(&site)?;
    let machine = Machine::new(&folder.path().join("machine"))?;
    let mut ports = Vec::new();
    for (name, protocol) in [("r200", Protocol::R200), ("thingmagic", Protocol::ThingMagic)] {
        let mut port = Port::with(&site.readers().join(name), Module::new(protocol), Line::clean());
        port.plug()?;
        ports.push(port);
    }
    let mut run = site.agent("run");
    run.arg("--accepted-log").arg(site.accepted_log());
    let mut agent =
        Process::start("hangtag-agent", &mut machine.command(&run), &site.folder.join("agent.log"))?;
    let clock = Instant::now();
    // It is not time to read, but nobody vouches for that.
    until(&site, &mut agent, &ports, clock, "listening", |told| reads(told).iter().all(|reads| *reads > 20))
        .await?;
    machine.set_synchronised(true)?;
    let told = until(&site, &mut agent, &ports, clock, "off", |_| true).await?;
    assert!(ports.iter().all(|port| !port.is_reading()), "the modules were made to stop");
    assert!(told.iter().all(|told| told["fault"].is_null()), "{told:?}");
    let before = reads(&told);
    // Who is unplugged while it is off is not missed.
    ports[0].unplug().await?;
    ports[0].plug()?;
    machine.set_clock(8 * HOUR_MS)?;
    let more = |told: &[Value]| reads(told).iter().zip(&before).all(|(now, before)| *now > before + 20);
    until(&site, &mut agent, &ports, clock, "listening", more).await?;
    machine.set_clock(0)?;
    until(&site, &mut agent, &ports, clock, "off", |_| true).await?;
    machine.set_clock(8 * HOUR_MS)?;
    until(&site, &mut agent, &ports, clock, "listening", |_| true).await?;
    let accepted = std::fs::read_to_string(site.accepted_log())?;
    let covered = |name: &str| {
        let events = accepted.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_reader = events.filter(|event| event["reader"] == name);
        of_reader.filter_map(|event| Some(event["state"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    for name in ["r200", "thingmagic"] {
        let states = covered(name);
        let from = states.iter().position(|state| state == "off").unwrap_or(states.len());
        let after = &states[from..];
        assert!(after.iter().any(|state| state == "listening"), "{states:?}");
        assert!(after.iter().all(|state| state != "absent"), "being off is not being gone: {states:?}");
    }
    // Modules that an agent left reading are stopped by the next, though it is not time to read.
    agent.kill()?;
    assert!(ports.iter().all(Port::is_reading));
    machine.set_clock(0)?;
    agent = Process::start("hangtag-agent", &mut machine.command(&run), &site.folder.join("agent.log"))?;
    until(&site, &mut agent, &ports, clock, "off", |_| true).await?;
    assert!(ports.iter().all(|port| !port.is_reading()), "the modules were made to stop again");
    agent.stop(STOPS_WITHIN)?;
    Ok(())
}
