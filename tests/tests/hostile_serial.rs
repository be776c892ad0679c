//! Serial lines that misbehave, on pseudo-terminals, with the real agent. What it makes of them is asked of its
//! socket; nothing here depends on how fast this machine is.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hangtag_protocol::epc::Epc;
use hangtag_tests::emulator::Module;
use hangtag_tests::emulator::line::{Faults, Line};
use hangtag_tests::emulator::port::Port;
use hangtag_tests::harness::free_port;
use hangtag_tests::harness::onlooker::readers;
use hangtag_tests::harness::process::Process;
use hangtag_tests::harness::site::Site;
use hangtag_tests::shop::Sighting;
use hangtag_tests::shop::layout::Protocol;
use rustix::termios::{Action, LocalModes, OptionalActions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, interval};

const PATIENCE: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_millis(16);

fn configure(site: &Site, ports: &[&str], protocol: &str) -> anyhow::Result<()> {
    let port = free_port()?;
    let mut text = format!(
        "tenant = \"demo\"\nstore = \"demo-shop\"\ngateway = \"gw-1\"\ndata = \"agent-data\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n[[zone]]\nid = \"rail-1\"\nkind = \"rail\"\n"
    );
    let keys = match protocol {
        "scanner" => "zone = \"rail-1\"\n",
        _ => "region = \"eu\"\npower_dbm = 20.0\n[[reader.antenna]]\nport = 1\nzone = \"rail-1\"\n",
    };
    for name in ports {
        text += &format!(
            "[[reader]]\nid = \"{name}\"\nport = \"readers/{name}\"\nprotocol = \"{protocol}\"\n{keys}"
        );
    }
    site.write("agent.toml", &text)
}

fn sighting(at_ms: u64, number: u64) -> Sighting {
    let epc = Epc::from_hex(&format!("3074257bf7194e40{number:08x}")).expect("an EPC");
    let (rssi_cdbm, phase_ddeg, channel_khz) = (-5_500, None, 865_700);
    Sighting { at_ms, reader: 0, antenna: 1, epc, rssi_cdbm, phase_ddeg, channel_khz }
}

/// An agent that has yet to be started, and a reader of one protocol at each of some ports.
struct Bench {
    site: Site,
    clock: Instant,
    _folder: TempDir,
}

impl Bench {
    fn new(ports: &[&str], protocol: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let site = Site::for_test(folder.path(), 1)?;
        configure(&site, ports, protocol)?;
        Ok(Self { site, clock: Instant::now(), _folder: folder })
    }

    /// A port with a module behind it.
    fn port(&self, name: &str, module: Module, line: Line) -> anyhow::Result<Port> {
        let mut port = Port::with(&self.site.readers().join(name), module, line);
        port.plug()?;
        Ok(port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.site.folder.join("agent.log")).unwrap_or_default()
    }

    /// Lets something happen at every tick, until the agent's readers are as they are to be.
    async fn until(
        &self,
        agent: &mut Process,
        mut act: impl FnMut(u64),
        is: impl Fn(&[Value]) -> bool,
    ) -> anyhow::Result<Vec<Value>> {
        let (end, mut tick) = (Instant::now() + PATIENCE, interval(TICK));
        let mut told = Vec::new();
        while Instant::now() < end {
            tick.tick().await;
            agent.check()?;
            act(u64::try_from(self.clock.elapsed().as_millis())?);
            // Its socket comes a little after it has started.
            told = readers(&self.site).unwrap_or_default();
            if !told.is_empty() && is(&told) {
                return Ok(told);
            }
        }
        bail!("waited in vain; the readers are {told:?}")
    }
}

/// Shows a module a tag at every tick.
fn show(port: &Port) -> impl FnMut(u64) {
    |now_ms| port.feed(now_ms, vec![sighting(now_ms, 1)])
}

fn is(state: &str) -> impl Fn(&[Value]) -> bool {
    move |told| told[0]["state"] == state
}

fn reads(reader: &Value) -> u64 {
    reader["reads"].as_u64().unwrap_or_default()
}

/// The seconds that a process has computed so far.
fn computed_s(process: &Process) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    let (_, fields) = stat.rsplit_once(')').context("a name")?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (ticks.next().context("user")??, ticks.next().context("system")??);
    Ok((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The host's side of a port, opened beside the agent, to do things to the terminal itself. Before the agent opens
/// it: later it is the agent's alone.
fn terminal(link: &Path) -> anyhow::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    Ok(File::options().read(true).write(true).custom_flags(flags).open(link)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_of_a_wrong_speed_is_no_sign_of_life() -> anyhow::Result<()> {
    let bench = Bench::new(&["noisy", "good"], "r200")?;
    // It understands no command, and says much.
    let noisy = bench.port("noisy", Module::Scanner, Line::clean())?;
    let good = bench.port("good", Module::new(Protocol::R200), Line::clean())?;
    let mut agent = bench.site.start_agent()?;
    let mut state = 7u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let act = |now_ms| {
        noisy.say(now_ms, (0..1_400).map(|_| byte()).collect());
        good.feed(now_ms, vec![sighting(now_ms, 1)]);
    };
    let told = bench
        .until(&mut agent, act, |told| told[0]["garbage"].as_u64() > Some(200_000) && reads(&told[1]) > 50);
    let told = told.await?;
    assert_eq!((&told[0]["state"], reads(&told[0])), (&"silent".into(), 0), "{told:?}");
    assert_eq!(told[1]["state"], "listening", "{told:?}");
    agent.stop(Duration::from_secs(10))?;
    assert!(bench.log().contains("no answer to"), "{}", bench.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_frames_cost_only_themselves() -> anyhow::Result<()> {
    const TAGS: u64 = 600;
    let bench = Bench::new(&["rail"], "thingmagic")?;
    let faults = Faults { truncation: 0.3, ..Faults::default() };
    let port = bench.port("rail", Module::new(Protocol::ThingMagic), Line::new(3, faults))?;
    let mut agent = bench.site.start_agent()?;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    bench.until(&mut agent, |now_ms| port.feed(now_ms, Vec::new()), is("listening")).await?;
    let shown = Cell::new(0);
    let act = |now_ms| {
        let tags = if shown.get() < TAGS { 3 } else { 0 };
        shown.set(shown.get() + tags);
        port.feed(now_ms, (0..tags).map(|tag| sighting(now_ms, tag)).collect());
    };
    // Every tag that came through whole is read, however many halves stood before it.
    let whole = || count(&port.counts().whole);
    let all = |told: &[Value]| shown.get() >= TAGS && whole() > TAGS / 2 && reads(&told[0]) == whole();
    let told = bench.until(&mut agent, act, all).await?;
    assert!(told[0]["garbage"].as_u64() > Some(100), "{told:?}");
    assert_eq!((count(&port.counts().dropped), count(&port.counts().skipped)), (0, 0));
    agent.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_takes_no_bytes_is_given_up_and_used_again_when_it_does() -> anyhow::Result<()> {
    let bench = Bench::new(&["rail"], "r200")?;
    let port = bench.port("rail", Module::new(Protocol::R200), Line::clean())?;
    let line = terminal(port.link())?;
    rustix::termios::tcflow(&line, Action::OOff)?;
    let mut agent = bench.site.start_agent()?;
    bench.until(&mut agent, |_| (), |_| bench.log().contains("the line takes no bytes")).await?;
    rustix::termios::tcflow(&line, Action::OOn)?;
    drop(line);
    bench.until(&mut agent, show(&port), |told| reads(&told[0]) > 0).await?;
    agent.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_vanishes_while_it_is_written_to_is_missed_and_found_again() -> anyhow::Result<()> {
    let bench = Bench::new(&["rail"], "r200")?;
    let mut port = bench.port("rail", Module::new(Protocol::R200), Line::clean())?;
    // The agent's first command waits in the line when that is pulled out.
    let line = terminal(port.link())?;
    rustix::termios::tcflow(&line, Action::OOff)?;
    let mut agent = bench.site.start_agent()?;
    bench.until(&mut agent, |_| (), is("silent")).await?;
    port.unplug().await?;
    drop(line);
    bench.until(&mut agent, |_| (), is("absent")).await?;
    port.plug()?;
    bench.until(&mut agent, show(&port), |told| reads(&told[0]) > 0).await?;
    agent.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_reads_nothing_for_ever_takes_no_time_of_the_processor() -> anyhow::Result<()> {
    // A scanner is sent nothing: only reading can tell that its line is gone.
    let bench = Bench::new(&["rail"], "scanner")?;
    let mut port = bench.port("rail", Module::Scanner, Line::clean())?;
    let line = terminal(port.link())?;
    let mut agent = bench.site.start_agent()?;
    bench.until(&mut agent, |_| (), |_| true).await?;
    // The end of a file, again and again: each is read as 0 bytes by a terminal that takes lines.
    let end_of_file = || -> anyhow::Result<()> {
        let mut modes = rustix::termios::tcgetattr(&line)?;
        if !modes.local_modes.contains(LocalModes::ICANON) {
            modes.local_modes |= LocalModes::ICANON;
            modes.special_codes[rustix::termios::SpecialCodeIndex::VEOF] = 4;
            rustix::termios::tcsetattr(&line, OptionalActions::Now, &modes)?;
        }
        Ok(())
    };
    let mut wrong = None;
    let mut act = |now_ms| {
        wrong = wrong.take().or(end_of_file().err());
        port.say(now_ms, vec![4; 64]);
    };
    share_while(&bench, &mut agent, &mut act).await?;
    bench.until(&mut agent, &mut act, |_| bench.log().contains("the line hung up")).await?;
    if let Some(why) = wrong {
        return Err(why);
    }
    // A line that is gone is read as 0 bytes by whoever still has it open, at once and always.
    bench.until(&mut agent, |now_ms| port.feed(now_ms, Vec::new()), is("listening")).await?;
    port.unplug().await?;
    share_while(&bench, &mut agent, &mut |_| ()).await?;
    agent.stop(Duration::from_secs(10))
}

/// Fails if the agent computes much while something happens. What it computes is set against the time that passes:
/// a busy machine makes it less.
async fn share_while(bench: &Bench, agent: &mut Process, act: &mut impl FnMut(u64)) -> anyhow::Result<()> {
    let (from, before) = (Instant::now(), computed_s(agent)?);
    bench.until(agent, act, |_| from.elapsed() > Duration::from_secs(4)).await?;
    let share = (computed_s(agent)? - before) / from.elapsed().as_secs_f64();
    anyhow::ensure!(share < 0.3, "the agent takes {:.0} % of a processor", share * 100.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_at_a_port_says_who_has_it_and_the_first_goes_on() -> anyhow::Result<()> {
    let bench = Bench::new(&["rail"], "r200")?;
    let second = Bench::new(&["rail"], "r200")?;
    std::fs::remove_dir(second.site.readers())?;
    std::os::unix::fs::symlink(bench.site.readers(), second.site.readers())?;
    let port = bench.port("rail", Module::new(Protocol::R200), Line::clean())?;
    let mut agent = bench.site.start_agent()?;
    bench.until(&mut agent, show(&port), is("listening")).await?;
    let mut late = second.site.start_agent()?;
    let who = format!("process {} (hangtag-agent) uses it", agent.id());
    let refused = |told: &[Value]| told[0]["state"] == "absent" && second.log().contains(&who);
    // Time passes at the port by the first one's clock.
    let act = |_| show(&port)(u64::try_from(bench.clock.elapsed().as_millis()).unwrap_or(u64::MAX));
    second.until(&mut late, act, refused).await?;
    let before = reads(&readers(&bench.site)?[0]);
    bench.until(&mut agent, show(&port), |told| reads(&told[0]) > before + 20).await?;
    // When the first ends, the second takes over.
    agent.stop(Duration::from_secs(10))?;
    second.until(&mut late, act, |told| reads(&told[0]) > 0).await?;
    late.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_of_thirty_two_ports_arrives() -> anyhow::Result<()> {
    const MOMENTS: u64 = 40;
    const TAGS: u64 = 10;
    let names: Vec<String> = (0..32).map(|number| format!("r{number}")).collect();
    let bench = Bench::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), "thingmagic")?;
    let port = |name: &String| bench.port(name, Module::new(Protocol::ThingMagic), Line::clean());
    let ports = names.iter().map(port).collect::<anyhow::Result<Vec<Port>>>()?;
    let mut agent = bench.site.start_agent()?;
    let idle = |now_ms| ports.iter().for_each(|port| port.feed(now_ms, Vec::new()));
    bench.until(&mut agent, idle, |told| told.iter().all(|told| told["state"] == "listening")).await?;
    let mut moment = 0;
    let act = |now_ms| {
        moment += 1;
        for (port, number) in ports.iter().zip(0..) {
            let tags = if moment <= MOMENTS { 0..TAGS } else { 0..0 };
            port.feed(now_ms, tags.map(|tag| sighting(now_ms, number * TAGS + tag)).collect());
        }
    };
    let arrived = |told: &[Value]| told.iter().map(reads).sum::<u64>() >= 32 * MOMENTS * TAGS;
    let told = bench.until(&mut agent, act, arrived).await?;
    assert!(told.iter().all(|told| reads(told) == MOMENTS * TAGS && told["garbage"] == 0), "{told:?}");
    agent.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_pulled_out_at_any_moment_is_used_again() -> anyhow::Result<()> {
    let bench = Bench::new(&["rail"], "thingmagic")?;
    let mut port = bench.port("rail", Module::new(Protocol::ThingMagic), Line::clean())?;
    let mut agent = bench.site.start_agent()?;
    // Before it was opened, at every step of setting it up, and while it reads.
    for ticks in 0..14 {
        port.plug()?;
        let mut tick = interval(TICK);
        for _ in 0..ticks {
            tick.tick().await;
            show(&port)(u64::try_from(bench.clock.elapsed().as_millis())?);
        }
        port.unplug().await?;
        port.plug()?;
        let before = readers(&bench.site).map_or(0, |told| reads(&told[0]));
        bench.until(&mut agent, show(&port), |told| reads(&told[0]) > before + 3).await?;
        port.unplug().await?;
        bench.until(&mut agent, |_| (), is("absent")).await?;
    }
    agent.stop(Duration::from_secs(10))
}
