//! What the service manager is told, on its socket: that a program is ready, that it lives, that it ends; and nothing of
//! life while a stage hangs, though the process is there and its other stages go on.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::faults::Faults;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::process::Process;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port};

/// How often a program must tell of its life.
const WATCHDOG: Duration = Duration::from_secs(4);
/// How long what should happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service manager's end.
struct Manager(UnixDatagram);

impl Manager {
    /// Makes a command tell it everything.
    fn watch(socket: &Path, command: &mut Command) -> anyhow::Result<Self> {
        let end = UnixDatagram::bind(socket)?;
        command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Ok(Self(end))
    }

    /// What it is told within that time, if anything.
    fn hear(&self, within: Duration) -> anyhow::Result<Option<String>> {
        self.0.set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
        let mut word = [0; 256];
        match self.0.recv(&mut word) {
            Ok(count) => Ok(Some(String::from_utf8_lossy(&word[..count]).trim().to_owned())),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    fn wait_for(&self, word: &str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.hear(left)? {
                Some(heard) if heard == word => return Ok(()),
                heard => others.extend(heard),
            }
        }
        anyhow::bail!("{word} was not told, but {others:?}")
    }

    /// Waits until it is told of no life for so long that systemd would kill.
    fn wait_for_silence(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.hear(WATCHDOG)?.is_some() {
            ensure!(Instant::now() < end, "a stage hangs, and the program tells that it lives");
        }
        Ok(())
    }
}

#[test]
fn an_agent_tells_that_it_lives_until_its_disk_hangs_and_again_when_that_goes_on() -> anyhow::Result<()> {
    let folder = folder()?;
    let port = free_port()?;
    let broker = Mosquitto::start(&folder.path().join("mosquitto"), port)?;
    let site = Site::for_test(folder.path(), port)?;
    let data = folder.path().join("data");
    let gateway = Gateway::create(&site, "agent", &data, port, "")?;
    let _carousel = Carousel::start(&gateway.readers(), 1, 400)?;
    let faults = Faults::new(&data, folder.path())?;
    let hangs = folder.path().join("hangs");
    let mut command = gateway.run();
    faults.stall(&mut command, &hangs);
    let manager = Manager::watch(&folder.path().join("notify"), &mut command)?;
    let mut agent = Process::start("hangtag-agent", &mut command, &gateway.log())?;
    manager.wait_for("READY=1")?;
    gateway.wait_accepted(&mut agent, 40)?;
    manager.wait_for("WATCHDOG=1")?;

    // Without a broker it lives as well.
    drop(broker);
    for _ in 0..6 {
        manager.wait_for("WATCHDOG=1")?;
    }
    fs::write(&hangs, "")?;
    manager.wait_for_silence()?;
    agent.check()?;
    let log = fs::read_to_string(gateway.log())?;
    ensure!(log.contains("a stage hangs") && log.contains("spool"), "{log}");

    fs::remove_file(&hangs)?;
    manager.wait_for("WATCHDOG=1")?;
    agent.stop(STOPS_WITHIN)?;
    manager.wait_for("STOPPING=1")
}

#[test]
fn central_tells_that_it_lives_until_its_database_hangs_and_again_when_that_goes_on() -> anyhow::Result<()> {
    let folder = folder()?;
    let port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), port)?;
    let site = Site::for_test(folder.path(), port)?;
    let faults = Faults::new(&site.database(), folder.path())?;
    let hangs = folder.path().join("hangs");
    let mut command = site.central("run");
    faults.stall(&mut command, &hangs);
    let manager = Manager::watch(&folder.path().join("notify"), &mut command)?;
    let mut central = Process::start("hangtag-central", &mut command, &folder.path().join("central.log"))?;
    manager.wait_for("READY=1")?;
    // While nothing happens it lives as well.
    for _ in 0..4 {
        manager.wait_for("WATCHDOG=1")?;
    }
    let gateway = Gateway::create(&site, "agent", &folder.path().join("data"), port, "")?;
    let _carousel = Carousel::start(&gateway.readers(), 1, 400)?;
    let mut agent = gateway.start()?;
    gateway.wait_accepted(&mut agent, 40)?;
    fs::write(&hangs, "")?;
    manager.wait_for_silence()?;
    central.check()?;
    fs::remove_file(&hangs)?;
    manager.wait_for("WATCHDOG=1")?;
    agent.stop(STOPS_WITHIN)?;
    central.stop(STOPS_WITHIN)?;
    manager.wait_for("STOPPING=1")
}
