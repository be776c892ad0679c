//! A reader node before the real agent: whatever happens to either or to the line between them, every read is
//! durable on the gateway once, or counted by the node as dropped.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::Sender;
use hangtag_protocol::link::message::{Condensed, Motion, Moved};
use hangtag_protocol::link::sender::Told;
use hangtag_protocol::read::Read;
use hangtag_tests::emulator::carousel::READER;
use hangtag_tests::emulator::line::Faults;
use hangtag_tests::emulator::node::{Narrow, Node, Roomy, Settings};
use hangtag_tests::harness::clock::uptime_ms;
use hangtag_tests::harness::faults;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::image::{Image, refusal, scratch};
use hangtag_tests::harness::node::durable;
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::{self, folder, folder_in, seed, skip};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn gateway(folder: &Path, data: &Path) -> anyhow::Result<Gateway> {
    // One reader is one of four antennas; the others are never plugged in.
    harness::node::gateway(folder, data, "thingmagic")
}

fn wait_idle(node: &Node, agent: &mut Process, reads: u64) -> anyhow::Result<()> {
    let counts = node.counts();
    wait_for("everything that was told to be durable", PATIENCE, || {
        agent.check()?;
        let told = counts.all_reads.load(Ordering::Relaxed) >= reads;
        Ok((told && counts.idle.load(Ordering::Acquire)).then_some(()))
    })
    .with_context(|| format!("{counts:?}"))
}

#[test]
fn however_often_the_agent_is_killed_every_read_is_taken_once() -> anyhow::Result<()> {
    let folder = folder()?;
    let seed = seed();
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let gateway = gateway(folder.path(), &folder.path().join("agent-data"))?;
    let node = Node::start(&gateway.readers(), Settings { seed, ..Settings::quiet() }, Roomy::new)?;
    let mut agent = gateway.start()?;
    let mut kills = 0;
    while node.counts().all_reads.load(Ordering::Relaxed) < Settings::quiet().reads {
        // Now and then so soon that the agent has hardly started.
        let run_ms = if dice.random_bool(0.2) { 0..100 } else { 300..2_500 };
        std::thread::sleep(Duration::from_millis(dice.random_range(run_ms)));
        agent.check()?;
        agent.kill()?;
        kills += 1;
        agent = gateway.start()?;
    }
    wait_idle(&node, &mut agent, Settings::quiet().reads)?;
    let accepted = gateway.accepted();
    agent.kill()?;
    let found = durable(&gateway)?;
    println!("{kills} kills; {found:?}; {accepted} events; {:?}", node.counts());
    let dropped = node.counts().dropped.load(Ordering::Relaxed);
    assert_eq!(found, (Settings::quiet().reads - dropped, dropped), "{kills} kills");
    assert!(kills >= 5);
    assert!(node.counts().configured.load(Ordering::Relaxed) > 0, "it was told how to work");
    Ok(())
}

#[test]
fn what_a_node_has_no_room_for_while_the_agent_is_away_is_counted() -> anyhow::Result<()> {
    let folder = folder()?;
    let gateway = gateway(folder.path(), &folder.path().join("agent-data"))?;
    let few = Settings { garments: 60, reads: 4_000, ..Settings::quiet() };
    let node = Node::start(&gateway.readers(), few, Narrow::new)?;
    let reads = || node.counts().all_reads.load(Ordering::Relaxed);
    for until in [500, 2_000] {
        let mut agent = gateway.start()?;
        wait_for("reads", PATIENCE, || Ok((reads() >= until).then_some(())))?;
        agent.check()?;
        agent.stop(STOPS_WITHIN)?;
        wait_for("reads without a gateway", PATIENCE, || Ok((reads() >= until + 1_000).then_some(())))?;
    }
    let mut agent = gateway.start()?;
    wait_idle(&node, &mut agent, few.reads)?;
    agent.stop(STOPS_WITHIN)?;
    let dropped = node.counts().dropped.load(Ordering::Relaxed);
    let found = durable(&gateway)?;
    println!("{found:?}");
    assert_eq!(found, (few.reads - dropped, dropped));
    assert!(dropped > 200 && found.0 > 1_500, "{found:?}");
    Ok(())
}

#[test]
fn garbage_on_the_line_costs_no_read() -> anyhow::Result<()> {
    let folder = folder()?;
    let seed = seed();
    let gateway = gateway(folder.path(), &folder.path().join("agent-data"))?;
    let faults = Faults { garbage: 0.02, loss: 0.02, truncation: 0.02 };
    let noisy = Settings { seed, faults, garments: 100, reads: 4_000 };
    let node = Node::start(&gateway.readers(), noisy, Roomy::new)?;
    let mut agent = gateway.start()?;
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    wait_for("all reads", PATIENCE, || {
        let noise: Vec<u8> = (0..dice.random_range(0..2_000)).map(|_| dice.random()).collect();
        node.noise(&noise);
        std::thread::sleep(Duration::from_millis(dice.random_range(0..500)));
        agent.check()?;
        Ok((node.counts().all_reads.load(Ordering::Relaxed) >= noisy.reads).then_some(()))
    })?;
    wait_idle(&node, &mut agent, noisy.reads)?;
    agent.stop(STOPS_WITHIN)?;
    let dropped = node.counts().dropped.load(Ordering::Relaxed);
    let found = durable(&gateway)?;
    println!("{found:?}");
    assert_eq!(found, (noisy.reads - dropped, dropped));
    Ok(())
}

#[test]
fn a_node_that_starts_again_is_another_run() -> anyhow::Result<()> {
    let folder = folder()?;
    let gateway = gateway(folder.path(), &folder.path().join("agent-data"))?;
    let node = Node::start(&gateway.readers(), Settings::quiet(), Narrow::new)?;
    let mut agent = gateway.start()?;
    let counts = node.counts();
    for reads in [1_000, 3_000, 5_000] {
        wait_for("reads", PATIENCE, || {
            agent.check()?;
            Ok((counts.all_reads.load(Ordering::Relaxed) >= reads).then_some(()))
        })?;
        node.reset();
    }
    wait_idle(&node, &mut agent, Settings::quiet().reads)?;
    agent.stop(STOPS_WITHIN)?;
    let own = counts.reads.load(Ordering::Relaxed);
    assert!((1..Settings::quiet().reads - 4_000).contains(&own), "{counts:?}");
    let dropped = counts.dropped.load(Ordering::Relaxed);
    assert_eq!(durable(&gateway)?, (own - dropped, dropped));
    let said = std::fs::read_to_string(gateway.log())?;
    assert!(said.contains("started by Pin"), "the technician sees why:\n{said}");
    Ok(())
}

#[test]
fn a_full_disk_stops_acknowledgement_and_nothing_is_lost() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let folder = folder_in(&scratch())?;
    let image = Image::create(&folder.path().join("disk.img"), 32)?;
    let mount = image.mount(&folder.path().join("disk"))?;
    let gateway = gateway(folder.path(), &mount.path().join("agent-data"))?;
    let node = Node::start(&gateway.readers(), Settings::quiet(), Roomy::new)?;
    let mut agent = gateway.start()?;
    let counts = node.counts();
    let acks = || counts.acks.load(Ordering::Relaxed);
    wait_for("acks", PATIENCE, || Ok((acks() > 2).then_some(())))?;
    let filler = mount.fill_up(&gateway.data().join("ballast"), PATIENCE)?;
    // Reads go on; at last none of them becomes durable.
    let (mut last, mut since) = (acks(), Instant::now());
    wait_for("the acks to stop", PATIENCE, || {
        agent.check()?;
        if acks() > last {
            (last, since) = (acks(), Instant::now());
        }
        let waiting = counts.waiting.load(Ordering::Relaxed);
        Ok((since.elapsed() > Duration::from_secs(12) && waiting > 20_000).then_some(()))
    })
    .with_context(|| format!("{counts:?}"))?;
    std::fs::remove_file(filler)?;
    wait_idle(&node, &mut agent, Settings::quiet().reads)?;
    agent.stop(STOPS_WITHIN)?;
    let dropped = counts.dropped.load(Ordering::Relaxed);
    let found = durable(&gateway)?;
    println!("{found:?}; {} events", gateway.accepted());
    assert_eq!(found, (Settings::quiet().reads - dropped, dropped));
    drop(node);
    mount.unmount()
}

/// A disk that hangs while a garment with a sensor is taken from its rail; the line loses frames, so that the node
/// sends again.
#[test]
fn what_moved_while_the_disk_hung_is_told_once_and_when_it_was() -> anyhow::Result<()> {
    const GARMENT: &str = "3074257bf7194e4000001a85";
    let folder = folder()?;
    let gateway = gateway(folder.path(), &folder.path().join("agent-data"))?;
    let file = folder.path().join("agent.toml");
    let sensor = format!("[[sensor]]\nreader = \"{READER}\"\nnumber = 1\nepc = \"{GARMENT}\"\n");
    std::fs::write(&file, std::fs::read_to_string(&file)? + &sensor)?;
    let disk = faults::Faults::new(gateway.data(), folder.path())?;
    let hangs = folder.path().join("hangs");
    let lossy = Faults { garbage: 0.0, loss: 0.05, truncation: 0.0 };
    // Room for all that it tells meanwhile, so that nothing of it is dropped.
    let settings = Settings { garments: 80, reads: u64::MAX, faults: lossy, ..Settings::quiet() };
    let node = Node::start(&gateway.readers(), settings, Sender::<131_072, 65_536>::new)?;
    let mut command = gateway.run();
    let mut agent = Process::start("hangtag-agent", disk.stall(&mut command, &hangs), &gateway.log())?;
    gateway.wait_accepted(&mut agent, 1)?;
    let epc = Epc::from_hex(GARMENT)?;
    let hangs_still_until = |done: &dyn Fn(Duration) -> bool| -> anyhow::Result<()> {
        let read = move |at| {
            Condensed::single(&Read {
                at,
                epc,
                antenna: 1,
                rssi_cdbm: -5_500,
                phase_ddeg: Some(900),
                channel_khz: Some(866_300),
            })
        };
        let begun = Instant::now();
        while !done(begun.elapsed()) {
            ensure!(begun.elapsed() < PATIENCE, "it hangs there in vain");
            node.tell(move |at| Told::Read(read(at)));
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    };
    // A garment that was just put down swings for ten seconds, which count from when it is known to rest.
    hangs_still_until(&|hung| hung >= Duration::from_secs(20))?;
    let off = || -> anyhow::Result<u64> {
        let said = gateway.command(&["node", "status", READER, "--json"]).output()?.stdout;
        let said: serde_json::Value = serde_json::from_slice(&said)?;
        said[0]["node"]["clock_off_ms"].as_u64().with_context(|| said.to_string())
    };
    let off_ms = off()?;
    let complaints = || {
        let said = std::fs::read_to_string(gateway.log()).unwrap_or_default();
        said.matches("the store has not answered for").count()
    };
    let complained = complaints();
    std::fs::write(&hangs, "")?;
    let stalled = gateway.accepted();
    hangs_still_until(&|hung| hung >= Duration::from_secs(3))?;
    let before = uptime_ms();
    node.tell(|at| Told::Motion(Motion { at, sensor: 1, how: Moved::PickedUp, peak_mg: 400 }));
    let after = uptime_ms();
    hangs_still_until(&|_| complaints() > complained)?;
    let meanwhile = gateway.accepted() - stalled;
    std::fs::remove_file(&hangs)?;
    let picked_up = || -> anyhow::Result<Vec<u64>> {
        let text = std::fs::read_to_string(gateway.accepted_log())?;
        let whole = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let of_it = whole.filter(|event| event["kind"] == "picked_up" && event["epc"] == GARMENT);
        Ok(of_it.filter_map(|event| event["at"].as_u64()).collect())
    };
    wait_for("the pick-up", PATIENCE, || {
        agent.check()?;
        Ok((!picked_up()?.is_empty()).then_some(()))
    })?;
    agent.stop(STOPS_WITHIN)?;
    let at = picked_up()?;
    println!("{at:?} of {before} to {after}, known to {off_ms} ms; {meanwhile} events while the disk hung");
    assert!(matches!(at[..], [at] if (before - off_ms - 5..=after + off_ms + 5).contains(&at)), "{at:?}");
    Ok(())
}
