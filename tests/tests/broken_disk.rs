//! A disk that is full, or that has become read-only, under an agent that runs. It stays alive, accepts
//! nothing while it can keep nothing, goes on sending what it has, ends when it is told to, and goes on by
//! itself when the disk is good again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::image::{Image, Mount, refusal, scratch};
use hangtag_tests::harness::judge::{Verdict, judge, wait_complete};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder_in, free_port, skip};

/// The disk: as small as a spool can be on.
const MIB: u64 = 32;
/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// An agent that has accepted nothing for so long has stopped: some forty events a second happen.
const STILL: Duration = Duration::from_secs(4);
const EVENTS: usize = 80;

/// A shop whose gateway has a small disk.
struct Shop {
    gateway: Gateway,
    site: Site,
    image: Image,
    carousel: Option<Carousel>,
    _broker: Mosquitto,
    folder: tempfile::TempDir,
}

impl Shop {
    fn open() -> anyhow::Result<(Self, Mount)> {
        let folder = folder_in(&scratch())?;
        let broker_port = free_port()?;
        let broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
        let site = Site::for_test(folder.path(), broker_port)?;
        let image = Image::create(&folder.path().join("disk.img"), MIB)?;
        let mount = image.mount(&folder.path().join("disk"))?;
        let data = mount.path().join("agent-data");
        let gateway = Gateway::create(&site, "agent", &data, broker_port, "")?;
        let carousel = Some(Carousel::start(&gateway.readers(), 1, 400)?);
        Ok((Self { gateway, site, image, carousel, _broker: broker, folder }, mount))
    }

    /// Waits until the agent accepts no more.
    fn wait_still(&self, agent: &mut Process, still: Duration) -> anyhow::Result<()> {
        let (mut count, mut since) = (self.gateway.accepted(), Instant::now());
        wait_for("the agent to stop accepting", PATIENCE, || {
            agent.check()?;
            let accepted = self.gateway.accepted();
            if accepted > count {
                (count, since) = (accepted, Instant::now());
            }
            Ok((since.elapsed() > still).then_some(()))
        })
    }

    fn accepts_more(&self, agent: &mut Process) -> anyhow::Result<()> {
        self.gateway.wait_accepted(agent, self.gateway.accepted() + EVENTS)
    }

    fn judge(&self) -> anyhow::Result<Verdict> {
        judge(&self.gateway.accepted_log(), &self.site.database())
    }

    /// Waits until central has all that was accepted so far.
    fn drained(&self, agent: &mut Process) -> anyhow::Result<()> {
        let verdict = wait_complete(PATIENCE, || {
            agent.check()?;
            self.judge()
        })?;
        anyhow::ensure!(verdict.missing == 0, "the agent does not send what it has: {verdict:?}");
        Ok(())
    }

    /// The disk is good: the agent goes on by itself, and in the end everything is where it should be.
    fn close(&mut self, mut agent: Process, central: Process) -> anyhow::Result<()> {
        self.accepts_more(&mut agent)?;
        self.carousel = None;
        agent.stop(STOPS_WITHIN)?;
        let mut agent = self.gateway.start()?;
        let verdict = wait_complete(PATIENCE, || {
            agent.check()?;
            judge(&self.gateway.accepted_log(), &self.site.database())
        })?;
        agent.stop(STOPS_WITHIN)?;
        println!("{verdict:?}");
        assert!(verdict.is_exact(), "{verdict:?}");
        assert_eq!(verdict.epochs, 1, "{verdict:?}");
        central.stop(STOPS_WITHIN)
    }
}

/// Takes all room that is left: also what the agent then gives up.
fn fill_up(mount: &Mount) -> anyhow::Result<std::path::PathBuf> {
    mount.fill_up(&mount.path().join("agent-data/ballast"), PATIENCE)
}

fn log_of(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.log()).unwrap_or_default()
}

#[test]
fn a_full_disk_stops_acceptance_and_nothing_else() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let (mut shop, mount) = Shop::open()?;
    // Central is away at first: events wait on the small disk.
    let mut agent = shop.gateway.start()?;
    shop.accepts_more(&mut agent)?;
    let filler = fill_up(&mount)?;
    shop.wait_still(&mut agent, STILL)?;
    let said = log_of(&shop.gateway);
    assert!(said.contains("ERROR"), "the operator is told:\n{said}");
    let central = shop.site.start_central()?;
    shop.drained(&mut agent)?;
    fs::remove_file(filler)?;
    let closed = shop.close(agent, central);
    mount.unmount()?;
    closed
}

#[test]
fn the_ballast_lets_an_agent_accept_for_a_while_on_a_full_disk() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let (mut shop, mount) = Shop::open()?;
    let ballast = mount.path().join("agent-data/ballast");
    let mut agent = shop.gateway.start()?;
    shop.accepts_more(&mut agent)?;
    assert!(ballast.exists());
    // Others leave the ballast's room alone once it is given up.
    agent.pause()?;
    let filler = mount.fill()?;
    agent.resume()?;
    shop.accepts_more(&mut agent)?;
    assert!(!ballast.exists(), "it made room");
    fs::remove_file(filler)?;
    wait_for("the ballast to be laid again", PATIENCE, || {
        agent.check()?;
        Ok(ballast.exists().then_some(()))
    })?;
    let central = shop.site.start_central()?;
    let closed = shop.close(agent, central);
    mount.unmount()?;
    closed
}

#[test]
fn an_agent_on_a_full_disk_ends_when_it_is_told_to() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let (mut shop, mount) = Shop::open()?;
    let central = shop.site.start_central()?;
    let mut agent = shop.gateway.start()?;
    shop.accepts_more(&mut agent)?;
    let filler = fill_up(&mount)?;
    // By then every channel within the agent is full, up to the readers.
    shop.wait_still(&mut agent, 6 * STILL)?;
    // It cannot keep what it has seen since: whether it calls that a success is its own affair.
    let begin = Instant::now();
    let ended = agent.stop(STOPS_WITHIN);
    println!("ended after {:.1?}: {ended:?}", begin.elapsed());
    assert!(begin.elapsed() < STOPS_WITHIN, "{ended:?}");
    // It does not start on a full disk, or starts and waits; either way it loses nothing.
    fs::remove_file(filler)?;
    let mut agent = shop.gateway.start()?;
    shop.accepts_more(&mut agent)?;
    let closed = shop.close(agent, central);
    mount.unmount()?;
    closed
}

#[test]
fn a_disk_that_became_read_only_stops_acceptance_and_nothing_else() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let (mut shop, mount) = Shop::open()?;
    let mut agent = shop.gateway.start()?;
    shop.accepts_more(&mut agent)?;
    // As after an error of the card: nothing more is written, files can still be read.
    mount.abort()?;
    shop.wait_still(&mut agent, STILL)?;
    let central = shop.site.start_central()?;
    let drained = shop.drained(&mut agent);
    // Somebody mends it. While nothing is mounted the agent must not look, as if the machine stood still.
    agent.pause()?;
    let at = mount.path().to_owned();
    drop(mount);
    let mended = mend(&shop.image, shop.folder.path(), &at)?;
    agent.resume()?;
    let closed = shop.close(agent, central);
    mended.unmount()?;
    closed.and(drained)
}

/// Mounts a copy of a file system that failed: the old one hangs on in the kernel while files are open.
fn mend(image: &Image, folder: &Path, at: &Path) -> anyhow::Result<Mount> {
    let mended = image.copy(&folder.join("mended.img"))?;
    mended.mount(at).context("mounting the mended file system")
}
