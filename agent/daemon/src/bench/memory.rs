//! `bench memory`: what a fresh agent takes in RAM, and how soon it answers. Enters: a folder. Leaves:
//! memory of a child process: an agent with nothing to do; one with a million events waiting; and one that
//! also follows 50,000 garments. And the time from its start until it answers, with the spool's file not
//! in the page cache.
//!
//! Reads for 50,000 garments come from no serial port here: that child ([`hold`]) opens the same spool
//! with the same thread and feeds inference by itself.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_agent_core::infer::Inference;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::Seq;
use hangtag_protocol::read::Read;
use rustix::fs::Advice;
use tokio::time::sleep;

use super::child::{agent, configuration, this_program};
use super::day::{Day, FLOOR, READERS, TAGS};
use super::dice::Dice;
use super::keeper::Keeper;
use super::report::{Aim, Report, Sample};
use super::scratch::resident_mib;
use super::stock::Stock;
use crate::clock;
use crate::config::Config;

const REPEATS: usize = 5;
/// What starting up took is given back by then.
const SETTLED: Duration = Duration::from_secs(3);
const GARMENTS: usize = 50_000;
const MILLION: u64 = 1_000_000;
/// Many at once: how they are kept does not depend on it.
const COMMIT_EVENTS: usize = 4_096;
/// 15 MB.
const START_MIB: f64 = 15e6 / 1_048_576.0;

/// Measures.
pub(super) async fn run(folder: &Path, ten: bool, report: &mut Report) -> anyhow::Result<()> {
    // Nobody listens there: what waits goes on waiting.
    let config = configuration(folder, "127.0.0.1", 1)?;
    let (idle, _) = start(&config, report, "idle").await?;
    report.aimed("memory_idle", &idle, "MiB", Aim::AtMost(10.0));

    wait(&config, MILLION).await?;
    let (waiting, ready) = start(&config, report, "1M_waiting").await?;
    report.aimed("memory_1M_waiting", &waiting, "MiB", Aim::AtMost(START_MIB));
    report.aimed("startup_1M_waiting", &ready, "s", Aim::AtMost(1.0));

    let mut garments = Vec::new();
    for _ in 0..REPEATS {
        let mut child = this_program(&["bench", "hold"], &config)?;
        child.line().context("holding garments")?;
        sleep(SETTLED).await;
        garments.push(resident_mib(child.id())?.0);
    }
    let name = "memory_1M_waiting_50k_garments";
    report.aimed(name, &Sample::new(garments), "MiB", Aim::AtMost(32.0));

    if ten {
        wait(&config, 10 * MILLION).await?;
        let (waiting, ready) = start(&config, report, "10M_waiting").await?;
        report.aimed("memory_10M_waiting", &waiting, "MiB", Aim::AtMost(START_MIB));
        report.aimed("startup_10M_waiting", &ready, "s", Aim::AtMost(1.0));
    }
    Ok(())
}

/// Starts agents one after the other: their memory, and when they answered.
async fn start(config: &Path, report: &mut Report, name: &str) -> anyhow::Result<(Sample, Sample)> {
    let (mut memory, mut peaks, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        forget(config)?;
        let (running, took) = agent(config).await?;
        ready.push(took.as_secs_f64());
        sleep(SETTLED).await;
        let (resident, peak) = resident_mib(running.id())?;
        memory.push(resident);
        peaks.push(peak);
    }
    report.sample(&format!("memory_{name}_peak"), &Sample::new(peaks), "MiB");
    Ok((Sample::new(memory), Sample::new(ready)))
}

/// Lets the kernel forget the spool's file, as after a reboot.
fn forget(config: &Path) -> anyhow::Result<()> {
    if let Ok(file) = File::open(config.with_file_name("data").join("spool").join("db")) {
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Lets the spool of a configuration hold so many events.
pub(super) async fn wait(config: &Path, events: u64) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    std::fs::create_dir_all(&config.data)?;
    let keeper = Keeper::open(&config, None)?;
    let first = keeper.next();
    let mut day = Day::new(TAGS, first.0, clock::boot_id()?, Uptime(3_600_000), first);
    while keeper.next().0 <= events {
        let left = usize::try_from(events + 1 - keeper.next().0)?;
        let events = day.by_ref().take(left.min(COMMIT_EVENTS)).collect();
        keeper.accept(events, day.snapshot()).await?;
    }
    keeper.close().await
}

/// Opens the spool of a configuration, follows many garments, says `ready`, and stays until its input ends.
pub(super) async fn hold(config: &Config) -> anyhow::Result<()> {
    let keeper = Keeper::open(config, None)?;
    let start = clock::uptime();
    let mut inference = Inference::new(config.layout.clone(), clock::boot_id()?, Seq::FIRST, start);
    let mut dice = Dice::new(1);
    let stock = Stock::new(GARMENTS, FLOOR.len(), start, &mut dice);
    (0..READERS.len()).for_each(|reader| inference.handle_reader(reader, ReaderState::Listening, start));
    // Every garment is heard a few times at its own antenna, and one in four at another one too.
    for round in 0..6u64 {
        let at = start + 500 * round;
        inference.handle_timeout(at);
        for (garment, own) in stock.garments.iter().zip(0u64..) {
            let mut hear = |place: u64, rssi_cdbm: i16| {
                let (reader, antenna) = (place % READERS.len() as u64, place / READERS.len() as u64 % 2 + 1);
                let read = Read {
                    at,
                    epc: garment.epc,
                    antenna: antenna as u8,
                    rssi_cdbm,
                    phase_ddeg: Some((own * 37 % 1_800) as u16),
                    channel_khz: Some(866_300),
                };
                inference.handle_read(reader as usize, &read);
            };
            hear(own, -5_000);
            if own % 4 == 0 {
                hear(own + 1, -6_500);
            }
        }
        while inference.poll_event().is_some() {}
    }
    // The agent has no list of all garments.
    drop(stock);
    println!("ready: {} garments, next event {}", inference.tags(), keeper.next());
    // Until whoever started this is done; it never writes.
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await??;
    drop(inference);
    keeper.close().await
}
