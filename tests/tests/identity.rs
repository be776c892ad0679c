//! Who is who: a gateway that was cloned, a spool that was rolled back, a central that was restored from a
//! backup, two agents under one name, a batch from the future. Nothing is lost, and nothing counted twice.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hangtag_protocol::batch::{Batch, CRC, FORMAT, Header};
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::event::{Event, What};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::topic::Gateway as GatewayTopic;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN, succeeded};
use hangtag_tests::harness::judge::{Verdict, judge_logs, wait_complete};
use hangtag_tests::harness::listener::Listener;
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::{GATEWAY_TOPIC, Site};
use hangtag_tests::harness::{folder, free_port};

/// How long agent and central may take to agree: longer than the longest pause before a connection.
const PATIENCE: Duration = Duration::from_secs(90);
/// Events of one stretch of an agent's life.
const EVENTS: usize = 60;

/// A shop in which agents come and go.
struct Shop {
    folder: tempfile::TempDir,
    broker: Mosquitto,
    broker_port: u16,
    site: Site,
}

impl Shop {
    fn open() -> anyhow::Result<Self> {
        let folder = folder()?;
        let broker_port = free_port()?;
        let broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
        let site = Site::for_test(folder.path(), broker_port)?;
        Ok(Self { folder, broker, broker_port, site })
    }

    /// An agent with files of its own, under the one name that all agents here have.
    fn gateway(&self, name: &str) -> anyhow::Result<Gateway> {
        let data = self.folder.path().join(format!("{name}-data"));
        Gateway::create(&self.site, name, &data, self.broker_port, "")
    }

    /// Runs an agent until it has accepted some more events; it is stopped when that is `done`.
    fn run(
        &self,
        gateway: &Gateway,
        seed: u64,
        done: impl FnOnce(&mut Process) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let carousel = Carousel::start(&gateway.readers(), seed, 100)?;
        let mut agent = gateway.start()?;
        let before = gateway.accepted();
        gateway.wait_accepted(&mut agent, before + EVENTS)?;
        drop(carousel);
        done(&mut agent)?;
        agent.stop(STOPS_WITHIN)
    }

    /// Waits until central has everything of these logs.
    fn complete(&self, agent: &mut Process, logs: &[&Path]) -> anyhow::Result<()> {
        let verdict = wait_complete(PATIENCE, || {
            agent.check()?;
            judge_logs(logs, &self.site.database())
        })?;
        anyhow::ensure!(verdict.missing == 0, "{verdict:?}");
        Ok(())
    }

    /// How many batches central refused because another run has used their numbers.
    fn forks(&self) -> anyhow::Result<usize> {
        let list = succeeded(self.site.central("quarantine").arg("list").output()?)?;
        Ok(String::from_utf8_lossy(&list.stdout).matches("fork:").count())
    }

    /// What the last agent could not send at its end the next start of it sends; then everything is judged.
    fn verdict(&self, gateways: &[&Gateway], logs: &[&Path]) -> anyhow::Result<Verdict> {
        let mut verdict = judge_logs(logs, &self.site.database())?;
        for gateway in gateways {
            if verdict.missing > 0 {
                let mut agent = gateway.start()?;
                verdict = wait_complete(PATIENCE / 2, || {
                    agent.check()?;
                    judge_logs(logs, &self.site.database())
                })?;
                agent.stop(STOPS_WITHIN)?;
            }
        }
        println!("{verdict:?}");
        Ok(verdict)
    }
}

fn nothing_more(_: &mut Process) -> anyhow::Result<()> {
    Ok(())
}

/// Copies the files of a stopped agent, as a card is cloned.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[test]
fn a_cloned_gateway_goes_on_under_an_epoch_of_its_own() -> anyhow::Result<()> {
    let mut shop = Shop::open()?;
    let central = shop.site.start_central()?;
    let (original, clone) = (shop.gateway("original")?, shop.gateway("clone")?);
    let (log, clone_log) = (original.accepted_log(), clone.accepted_log());
    shop.run(&original, 1, |agent| shop.complete(agent, &[&log]))?;
    // Some of what is cloned central has, and some it has not.
    shop.broker.kill()?;
    shop.run(&original, 2, nothing_more)?;
    copy_folder(original.data(), clone.data())?;
    // Both go on where the card was cloned: offline first, under the same numbers.
    shop.run(&original, 3, nothing_more)?;
    shop.run(&clone, 4, nothing_more)?;
    shop.broker.restart()?;
    shop.run(&original, 5, |agent| shop.complete(agent, &[&log]))?;
    shop.run(&clone, 6, |agent| shop.complete(agent, &[&clone_log]))?;
    // And online, in turn.
    for seed in 7..9 {
        shop.run(&original, seed, |agent| shop.complete(agent, &[&log]))?;
        shop.run(&clone, seed + 10, |agent| shop.complete(agent, &[&clone_log]))?;
    }
    let verdict = shop.verdict(&[&original, &clone], &[&log, &clone_log])?;
    assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
    assert_eq!(verdict.epochs, 2, "the clone's events are under an epoch of its own: {verdict:?}");
    central.stop(STOPS_WITHIN)
}

#[test]
fn a_clone_that_sends_before_it_hears_of_the_original_is_refused_and_loses_nothing() -> anyhow::Result<()> {
    let shop = Shop::open()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let central = shop.site.start_central()?;
    let (original, clone) = (shop.gateway("original")?, shop.gateway("clone")?);
    let (log, clone_log) = (original.accepted_log(), clone.accepted_log());
    shop.run(&original, 1, |agent| shop.complete(agent, &[&log]))?;
    copy_folder(original.data(), clone.data())?;
    shop.run(&original, 2, |agent| shop.complete(agent, &[&log]))?;
    assert_eq!(shop.forks()?, 0, "there was nothing to refuse yet");
    // Nobody tells the clone what central has, before its batches wait for central.
    central.stop(STOPS_WITHIN)?;
    let listener = {
        let _inside = runtime.enter();
        Listener::start(shop.broker_port)
    };
    runtime.block_on(listener.forget_watermark())?;
    let mut central = None;
    shop.run(&clone, 3, |agent| {
        wait_for("batches of the clone", PATIENCE, || {
            agent.check()?;
            Ok((listener.heard().batches > 0).then_some(()))
        })?;
        central = Some(shop.site.start_central()?);
        shop.complete(agent, &[&clone_log])
    })?;
    assert!(shop.forks()? > 0, "central refused what the clone sent first");
    shop.run(&original, 4, |agent| shop.complete(agent, &[&log]))?;
    let verdict = shop.verdict(&[&original, &clone], &[&log, &clone_log])?;
    assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
    assert_eq!(verdict.epochs, 2, "{verdict:?}");
    central.expect("it was started again").stop(STOPS_WITHIN)
}

#[test]
fn a_clone_that_never_comes_back_is_imported_under_an_epoch_of_its_own() -> anyhow::Result<()> {
    let mut shop = Shop::open()?;
    let central = shop.site.start_central()?;
    let (original, clone) = (shop.gateway("original")?, shop.gateway("clone")?);
    let (log, clone_log) = (original.accepted_log(), clone.accepted_log());
    shop.run(&original, 1, |agent| shop.complete(agent, &[&log]))?;
    shop.broker.kill()?;
    shop.run(&original, 2, nothing_more)?;
    copy_folder(original.data(), clone.data())?;
    shop.run(&original, 3, nothing_more)?;
    // It is started anew once, so that there are several runs behind the fork.
    shop.run(&clone, 4, nothing_more)?;
    shop.run(&clone, 5, nothing_more)?;
    shop.broker.restart()?;
    shop.run(&original, 6, |agent| shop.complete(agent, &[&log]))?;
    let exported = shop.folder.path().join("clone.htgx");
    clone.export(&exported)?;
    let import = |more: &[&str]| -> anyhow::Result<(bool, String)> {
        let output = shop.site.central("import").args(more).arg(&exported).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };

    let before = judge_logs(&[&log, &clone_log], &shop.site.database())?;
    let (good, said) = import(&[])?;
    assert!(!good && said.contains("belong to a copy of this gateway"), "{said}");
    let after = judge_logs(&[&log, &clone_log], &shop.site.database())?;
    assert!(after.missing == before.missing && after.missing >= 2 * EVENTS as u64, "{before:?}, {after:?}");
    assert!(after.doubled == 0 && after.epochs == 1, "{after:?}");
    assert!(shop.forks()? > 0);

    let (good, said) = import(&["--fork-as-new-epoch"])?;
    assert!(good, "{said}");
    let verdict = judge_logs(&[&log, &clone_log], &shop.site.database())?;
    println!("{verdict:?}");
    assert!(verdict.is_exact() && verdict.unlogged == 0 && verdict.epochs == 2, "{verdict:?}");
    assert_eq!(shop.forks()?, 0, "nothing of it waits any more");
    let (good, said) = import(&["--fork-as-new-epoch"])?;
    assert!(good && said.starts_with("0 batches, 0 events new"), "{said}");
    assert_eq!(judge_logs(&[&log, &clone_log], &shop.site.database())?, verdict);
    // The original goes on as if nothing had happened.
    shop.run(&original, 7, |agent| shop.complete(agent, &[&log]))?;
    let verdict = shop.verdict(&[&original], &[&log, &clone_log])?;
    assert!(verdict.is_exact() && verdict.unlogged == 0 && verdict.epochs == 2, "{verdict:?}");
    central.stop(STOPS_WITHIN)
}

#[test]
fn a_spool_that_was_rolled_back_goes_on_under_a_new_epoch() -> anyhow::Result<()> {
    let shop = Shop::open()?;
    let central = shop.site.start_central()?;
    let gateway = shop.gateway("agent")?;
    let (log, first_log) = (gateway.accepted_log(), shop.folder.path().join("first.jsonl"));
    shop.run(&gateway, 1, |agent| shop.complete(agent, &[&log]))?;
    let old = shop.folder.path().join("old-data");
    copy_folder(gateway.data(), &old)?;
    shop.run(&gateway, 2, |agent| shop.complete(agent, &[&log]))?;
    // The old card is back.
    fs::remove_dir_all(gateway.data())?;
    copy_folder(&old, gateway.data())?;
    fs::rename(&log, &first_log)?;
    shop.run(&gateway, 3, |agent| shop.complete(agent, &[&log]))?;
    shop.run(&gateway, 4, |agent| shop.complete(agent, &[&log]))?;
    let verdict = shop.verdict(&[&gateway], &[&first_log, &log])?;
    assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
    assert_eq!(verdict.epochs, 2, "{verdict:?}");
    central.stop(STOPS_WITHIN)
}

#[test]
fn a_central_restored_from_a_backup_is_refilled() -> anyhow::Result<()> {
    let shop = Shop::open()?;
    let gateway = shop.gateway("agent")?;
    let log = gateway.accepted_log();
    let (database, backup) = (shop.site.database(), shop.folder.path().join("backup.db"));
    let central = shop.site.start_central()?;
    shop.run(&gateway, 1, |agent| shop.complete(agent, &[&log]))?;
    central.stop(STOPS_WITHIN)?;
    // Its last connection has folded the write-ahead log into it.
    fs::copy(&database, &backup)?;
    let central = shop.site.start_central()?;
    shop.run(&gateway, 2, |agent| shop.complete(agent, &[&log]))?;
    // The agent lives through it, and is started anew in between.
    let carousel = Carousel::start(&gateway.readers(), 3, 100)?;
    let mut agent = gateway.start()?;
    let before = gateway.accepted();
    gateway.wait_accepted(&mut agent, before + EVENTS)?;
    central.stop(STOPS_WITHIN)?;
    for end in ["-wal", "-shm"] {
        let file = format!("{}{end}", database.display());
        if Path::new(&file).exists() {
            fs::remove_file(file)?;
        }
    }
    fs::copy(&backup, &database)?;
    let central = shop.site.start_central()?;
    let before = gateway.accepted();
    gateway.wait_accepted(&mut agent, before + EVENTS)?;
    drop(carousel);
    shop.complete(&mut agent, &[&log])?;
    agent.stop(STOPS_WITHIN)?;
    let verdict = shop.verdict(&[&gateway], &[&log])?;
    assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
    assert_eq!(verdict.epochs, 1, "nobody else used its numbers: {verdict:?}");
    central.stop(STOPS_WITHIN)
}

#[test]
fn two_agents_under_one_name_back_off_and_say_why() -> anyhow::Result<()> {
    /// Each may connect so often while it backs off: half a second at first, then ever longer.
    const CONNECTIONS: usize = 12;
    let shop = Shop::open()?;
    let central = shop.site.start_central()?;
    let gateways = [shop.gateway("one")?, shop.gateway("two")?];
    let carousels =
        [Carousel::start(&gateways[0].readers(), 1, 100)?, Carousel::start(&gateways[1].readers(), 2, 100)?];
    let mut agents = [gateways[0].start()?, gateways[1].start()?];
    let said = |gateway: &Gateway| fs::read_to_string(gateway.log()).unwrap_or_default();
    for (gateway, agent) in gateways.iter().zip(&mut agents) {
        gateway.wait_accepted(agent, 4 * EVENTS)?;
        wait_for("the agent to say that another has its name", PATIENCE, || {
            agent.check()?;
            // Some brokers give the reason; Mosquitto 2.0.11 only hangs up.
            let text = said(gateway).to_lowercase();
            let names = ["taken over", "takenover", "another agent", "another client"];
            Ok(names.iter().any(|name| text.contains(name)).then_some(()))
        })?;
        let connections = said(gateway).matches(" connected").count();
        println!("{connections} connections");
        assert!(connections <= CONNECTIONS, "they fight: {connections} connections\n{}", said(gateway));
    }
    drop(carousels);
    let logs = gateways.each_ref().map(Gateway::accepted_log);
    let [mut one, two] = agents;
    two.stop(STOPS_WITHIN)?;
    shop.complete(&mut one, &[&logs[0]])?;
    one.stop(STOPS_WITHIN)?;
    let mut two = gateways[1].start()?;
    shop.complete(&mut two, &[&logs[1]])?;
    two.stop(STOPS_WITHIN)?;
    let verdict = shop.verdict(&[&gateways[0], &gateways[1]], &[&logs[0], &logs[1]])?;
    assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
    assert_eq!(verdict.epochs, 2, "{verdict:?}");
    central.stop(STOPS_WITHIN)
}

#[test]
fn a_batch_of_a_newer_agent_is_set_aside_whole_and_settled() -> anyhow::Result<()> {
    const EPOCH: Epoch = Epoch(0x1234_5678_9abc_def0);
    let shop = Shop::open()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let central = shop.site.start_central()?;
    let gateway = shop.gateway("agent")?;
    let log = gateway.accepted_log();
    let listener = {
        let _inside = runtime.enter();
        Listener::start(shop.broker_port)
    };
    shop.run(&gateway, 1, |agent| {
        shop.complete(agent, &[&log])?;
        runtime.block_on(listener.publish(from_the_future(EPOCH)?))?;
        wait_for("the numbers of the newer agent to be settled", PATIENCE, || {
            agent.check()?;
            let heard = listener.heard();
            let marks = heard.watermark.iter().flat_map(|watermark| &watermark.epochs);
            let mark = marks.into_iter().find(|mark| mark.epoch == EPOCH);
            Ok(mark.filter(|mark| mark.contiguous_to == Seq(10)).map(drop))
        })
    })?;
    // The agent goes on.
    shop.run(&gateway, 2, |agent| shop.complete(agent, &[&log]))?;
    let list = succeeded(shop.site.central("quarantine").arg("list").output()?)?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("255"), "the reason names the format: {list}");
    let verdict = shop.verdict(&[&gateway], &[&log])?;
    assert!(verdict.is_exact() && verdict.unlogged == 0 && verdict.epochs == 1, "{verdict:?}");
    central.stop(STOPS_WITHIN)
}

/// Ten events in a format that does not exist, behind a good header.
fn from_the_future(epoch: Epoch) -> anyhow::Result<Vec<u8>> {
    let topic = format!("{GATEWAY_TOPIC}/events");
    let (gateway, _) = GatewayTopic::parse(&topic).map_err(|why| anyhow::anyhow!("{topic}: {why}"))?;
    let event =
        |n| Event { boot: BootId(1), at: Uptime(n), confidence: 1, what: What::Retracted { seq: Seq(1) } };
    let events: Vec<Event> = (1..=10).map(event).collect();
    let header = Header { format: FORMAT, replayed: false, gateway, epoch, first: Seq(1), count: 10 };
    let (lost, anchors, lineage) = (Vec::new(), Vec::new(), Lineage::default());
    let batch = Batch { header, oldest_held: Seq(1), lost, anchors, lineage, events };
    let mut payload = batch.encode().map_err(|why| anyhow::anyhow!("{why}"))?;
    payload[4] = 255;
    let names = [gateway.tenant.as_str(), gateway.store.as_str(), gateway.gateway.as_str()];
    let crc_at = 26 + names.iter().map(|name| 1 + name.len()).sum::<usize>();
    let mut digest = CRC.digest();
    digest.update(&payload[..crc_at]);
    digest.update(&payload[crc_at + 4..]);
    let crc = digest.finalize().to_le_bytes();
    payload[crc_at..crc_at + 4].copy_from_slice(&crc);
    Ok(payload)
}
