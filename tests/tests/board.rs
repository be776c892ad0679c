//! The firmware's image in an emulated microcontroller, with an emulated R200 on one UART and the real agent on the
//! other: whatever happens to the agent or the line, every tag that the module told is durable on the gateway, once,
//! or counted as dropped.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hangtag_protocol::link::message::{Health, Outcome};
use hangtag_tests::emulator::board::{Load, refusal};
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::board::{Bench, PATIENCE, READER};
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::STOPS_WITHIN;
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::node::{self, Taken, durable};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, seed, skip};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The node's port where another has its name.
const APART: &str = "node";
/// A line that is cut for so long.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn ten_thousand_reads_come_to_the_agent_once_each() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    // More than are condensed at a time, as fast as the module's line carries it.
    let mut bench = Bench::start(10_000, Load::Rail(200))?;
    let health = bench.wait_idle()?;
    bench.end()?;
    let counts = bench.board.counts();
    println!("{health:?}; {} events", bench.gateway.accepted());
    let span = counts.span().context("nothing was taken")?;
    let [to_line, to_agent] = counts.delays().context("nothing was taken")?;
    println!(
        "{:.0} reads/s; to the line {to_line:?}, to the agent {to_agent:?}",
        10_000.0 / span.as_secs_f64()
    );
    assert_eq!(durable(&bench.gateway)?, (10_000, 0));
    assert_eq!((health.dropped, health.garbage, health.reader_garbage), (0, 0, 0));
    assert!(health.reader_listens);
    let taken = bench.taken_of_one()?;
    assert_eq!(taken.by_tag, counts.by_tag());
    assert_eq!((taken.missing, taken.dropped), (0, 0));
    let outcomes: Vec<_> = counts.configured().iter().map(|answer| answer.outcome).collect();
    assert!(outcomes.contains(&Outcome::Taken) && !outcomes.contains(&Outcome::NotKept), "{outcomes:?}");
    Ok(())
}

/// Cuts the line for so long, and until so many reads have come, while garments at rest are read, and says what became
/// of all.
fn cut(time: Duration, garments: u16, least: u64, reads: u64) -> anyhow::Result<(Health, Taken)> {
    let mut bench = Bench::start(reads, Load::Rail(garments))?;
    // Some must come before, and the node must be told how to work.
    bench.wait_told(1_000)?;
    bench.wait("an answer", |board| (!board.counts().configured().is_empty()).then_some(()))?;
    let (before, begin) = (bench.told(), Instant::now());
    bench.board.unplug(true);
    // It is the time itself that is waited for.
    while begin.elapsed() < time {
        bench.check()?;
        std::thread::sleep(time.saturating_sub(begin.elapsed()).min(Duration::from_secs(1)));
    }
    bench.wait_told(before + least)?;
    let during = bench.told() - before;
    bench.board.unplug(false);
    let health = bench.wait_idle()?;
    let taken = bench.taken_of_one()?;
    bench.end()?;
    println!("{during} reads while it was cut; {health:?}");
    assert_eq!(durable(&bench.gateway)?, (reads - health.dropped, health.dropped));
    assert_eq!((taken.reads(), taken.dropped, taken.missing), (reads - health.dropped, health.dropped, 0));
    if health.dropped == 0 {
        assert_eq!(taken.by_tag, bench.board.counts().by_tag());
    }
    Ok((health, taken))
}

#[test]
fn a_line_that_is_cut_for_a_minute_loses_nothing_of_garments_at_rest() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    // Each is read 150 times a second and told five times.
    let (health, taken) = cut(MINUTE, 3, 1_000, 32_000)?;
    assert_eq!(health.dropped, 0);
    assert!(taken.messages * 3 < taken.reads(), "they are condensed: {} messages", taken.messages);
    Ok(())
}

#[test]
fn what_a_node_has_no_room_for_is_counted_exactly() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    // Its room is full after a few seconds.
    let (health, _) = cut(MINUTE / 4, 100, 6_000, 12_000)?;
    assert!(health.dropped > 3_000, "{health:?}");
    Ok(())
}

#[test]
fn killed_agents_a_cut_line_and_noise_cost_no_read_that_is_not_counted() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    // They are read 140 times a second.
    let mut bench = Bench::start(4_000, Load::Carousel(40))?;
    let (mut kills, mut cuts) = (0, 0);
    bench.wait_told(1)?;
    while bench.told() < bench.reads {
        bench.check()?;
        let noise: Vec<u8> = (0..dice.random_range(0..500)).map(|_| dice.random()).collect();
        bench.board.noise(&noise);
        let next = bench.told() + dice.random_range(40..350);
        let next = next.min(bench.reads);
        bench.wait_told(next)?;
        // At least one of each.
        if kills == 0 || (cuts > 0 && dice.random()) {
            bench.kill()?;
            kills += 1;
        } else {
            bench.board.unplug(true);
            let next = (bench.told() + dice.random_range(10..400)).min(bench.reads);
            bench.wait_told(next)?;
            bench.board.unplug(false);
            cuts += 1;
        }
    }
    let health = bench.wait_idle()?;
    bench.end()?;
    println!("{kills} kills, {cuts} cuts; {health:?}");
    assert_eq!(durable(&bench.gateway)?, (bench.reads - health.dropped, health.dropped));
    assert!(kills > 0 && cuts > 0 && health.garbage > 0 && health.reader_garbage > 0, "{health:?}");
    Ok(())
}

#[test]
fn agents_that_are_killed_leave_no_gap_and_nothing_twice_in_central() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let folder = folder()?;
    let broker_port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let gateway = node::gateway_at(&site, &folder.path().join("agent-data"), broker_port, "r200")?;
    // Beside it a reader with garments that make events; what it plugs in for the node's name is nobody's.
    let file = folder.path().join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replacen(&format!("/{READER}\""), &format!("/{APART}\""), 1))?;
    let carousel = Carousel::start(&gateway.readers(), 1, 100)?;
    let mut central = site.start_central()?;
    let mut bench = Bench::with(folder, gateway, APART, 12_000, Load::Carousel(100))?;
    let kills = 6;
    for kill in 1..=kills {
        // With frames of every age in the agent's memory, and events among them.
        bench.wait_told(1_800 * kill)?;
        bench.kill()?;
    }
    let health = bench.wait_idle()?;
    drop(carousel);
    bench.end()?;
    let found = durable(&bench.gateway)?;
    // What the last one could not send before it ended, this one does.
    let mut agent = bench.gateway.start()?;
    let verdict = wait_complete(PATIENCE, || {
        agent.check()?;
        central.check()?;
        judge(&bench.gateway.accepted_log(), &site.database())
    })?;
    agent.stop(STOPS_WITHIN)?;
    central.stop(STOPS_WITHIN)?;
    println!("{kills} kills; {health:?}; {verdict:?}");
    assert_eq!(found, (bench.reads - health.dropped, health.dropped));
    assert!(verdict.is_exact() && verdict.epochs == 1, "{verdict:?}");
    assert!(verdict.by_kind.contains_key("carried_in"), "{verdict:?}");
    Ok(())
}
