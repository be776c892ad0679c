//! The firmware's image in an emulated microcontroller, with an emulated R200 on one UART and the real agent on the
//! other: whatever happens to the agent or the line, every tag that the module told is durable on the gateway, once.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_protocol::link::message::Outcome;
use hangtag_tests::emulator::board::{Board, image, refusal};
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::node::{self, durable};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::{folder, seed, skip};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// A reader with one antenna, as an R200 has.
const READER: &str = "loose-1";

fn gateway(folder: &Path) -> anyhow::Result<Gateway> {
    node::gateway(folder, &folder.join("agent-data"), "r200")
}

fn told(board: &Board) -> u64 {
    board.counts().told.load(Ordering::Relaxed)
}

/// Waits until the node holds nothing any more of all that its module told.
fn wait_idle(board: &mut Board, agent: &mut Process, reads: u64) -> anyhow::Result<()> {
    let waited = wait_for("everything that was read to be durable", PATIENCE, || {
        agent.check()?;
        board.check()?;
        let health = board.counts().health();
        Ok((told(board) == reads && health.is_some_and(|now| now.reads == reads && now.waiting == 0))
            .then_some(()))
    });
    waited.with_context(|| format!("{:?}", board.counts()))
}

#[test]
fn ten_thousand_reads_come_to_the_agent_once_each() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let folder = folder()?;
    let gateway = gateway(folder.path())?;
    // They are read 360 times a second.
    let (reads, garments) = (10_000, 100);
    let mut board = Board::boot(&image()?, folder.path(), &gateway.readers().join(READER), reads, garments)?;
    let mut agent = gateway.start()?;
    wait_idle(&mut board, &mut agent, reads)?;
    agent.stop(STOPS_WITHIN)?;
    let health = board.counts().health().context("it never said how it is")?;
    println!("{health:?}; {} events", gateway.accepted());
    assert_eq!(durable(&gateway)?, (reads, 0));
    assert_eq!((health.dropped, health.garbage, health.reader_garbage), (0, 0, 0));
    assert!(health.reader_listens);
    let outcomes: Vec<_> = board.counts().configured().iter().map(|answer| answer.outcome).collect();
    assert!(outcomes.contains(&Outcome::Taken) && !outcomes.contains(&Outcome::NotKept), "{outcomes:?}");
    Ok(())
}

#[test]
fn killed_agents_a_cut_line_and_noise_cost_no_read_that_is_not_counted() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let folder = folder()?;
    let gateway = gateway(folder.path())?;
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    // They are read 140 times a second.
    let (reads, garments) = (4_000, 40);
    let mut board = Board::boot(&image()?, folder.path(), &gateway.readers().join(READER), reads, garments)?;
    let mut agent = gateway.start()?;
    let (mut kills, mut cuts) = (0, 0);
    wait_for("the module's first tag", PATIENCE, || Ok((told(&board) > 0).then_some(())))?;
    while told(&board) < reads {
        board.check()?;
        agent.check()?;
        let noise: Vec<u8> = (0..dice.random_range(0..500)).map(|_| dice.random()).collect();
        board.noise(&noise);
        std::thread::sleep(Duration::from_millis(dice.random_range(300..2_500)));
        if dice.random() {
            agent.kill()?;
            agent = gateway.start()?;
            kills += 1;
        } else {
            board.cut(true);
            std::thread::sleep(Duration::from_millis(dice.random_range(100..3_000)));
            board.cut(false);
            cuts += 1;
        }
    }
    wait_idle(&mut board, &mut agent, reads)?;
    agent.stop(STOPS_WITHIN)?;
    let health = board.counts().health().context("it never said how it is")?;
    println!("{kills} kills, {cuts} cuts; {health:?}");
    assert_eq!(durable(&gateway)?, (reads - health.dropped, health.dropped));
    assert!(kills > 0 && cuts > 0 && health.garbage > 0 && health.reader_garbage > 0, "{health:?}");
    Ok(())
}

#[test]
fn a_node_that_is_reset_reads_on_by_its_configuration_without_a_gateway() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let folder = folder()?;
    let gateway = gateway(folder.path())?;
    let (reads, garments) = (3_000, 40);
    let mut board = Board::boot(&image()?, folder.path(), &gateway.readers().join(READER), reads, garments)?;
    let mut agent = gateway.start()?;
    wait_for("reads", PATIENCE, || Ok((told(&board) >= 500).then_some(())))?;
    let boot = |board: &Board| board.counts().boot.load(Ordering::Acquire);
    let first = wait_for("the node's health", PATIENCE, || Ok(Some(boot(&board)).filter(|boot| *boot != 0)))?;
    board.cut(true);
    board.reset()?;
    // Another run, whose reader listens though no gateway said how.
    let begun = wait_for("the new run to read", PATIENCE, || {
        board.check()?;
        if boot(&board) == first {
            return Ok(None);
        }
        Ok(board.counts().health().filter(|health| health.reads > 0 && health.reader_listens))
    })?;
    board.cut(false);
    let mut before = begun;
    let last = wait_for("everything that was read to be durable", PATIENCE, || {
        agent.check()?;
        board.check()?;
        let Some(health) = board.counts().health().filter(|health| health.uptime > before.uptime) else {
            return Ok(None);
        };
        let still = told(&board) == reads && health.waiting == 0 && health.reads == before.reads;
        before = health;
        Ok(still.then_some(health))
    })?;
    agent.stop(STOPS_WITHIN)?;
    println!("{begun:?}; {last:?}");
    assert_eq!(durable(&gateway)?, (last.reads - last.dropped, last.dropped));
    assert!((1..reads - 400).contains(&last.reads), "{last:?}");
    let said = std::fs::read_to_string(gateway.log())?;
    let mut boots: Vec<_> = said.split(" boot ").skip(1).filter_map(|said| said.get(..8)).collect();
    boots.dedup();
    assert_eq!(boots.len(), 2, "two runs: {boots:?}");
    Ok(())
}
