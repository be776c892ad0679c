//! `bench size`: whether the spool stays small. Enters: a folder. Leaves: what it takes on disk and in
//! memory while five million events pass through it, of which 10,000 wait.

use std::path::Path;
use std::time::Duration;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::Seq;

use super::day::{Day, TAGS};
use super::keeper::{COMMIT_EVENTS, Keeper};
use super::report::{Aim, Report, Sample};
use super::scratch::{bytes_in, resident_mib};
use crate::clock;

const EVENTS: u64 = 5_000_000;
const LOOK_EVERY: u64 = 500_000;
const WAITING: u64 = 10_000;

/// Measures.
pub(super) async fn run(folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    let keeper = Keeper::in_folder(folder, Duration::ZERO, COMMIT_EVENTS)?;
    let mut day = Day::new(TAGS, 1, clock::boot_id()?, Uptime(3_600_000), Seq::FIRST);
    let (mut disk, mut memory) = (Vec::new(), Vec::new());
    let mut look_at = LOOK_EVERY;
    while look_at <= EVENTS {
        let events: Vec<_> = day.by_ref().take(COMMIT_EVENTS).collect();
        let last = events.last().map_or(0, |(seq, _)| seq.0);
        keeper.accept(events, day.snapshot()).await?;
        if last > WAITING {
            keeper.settle(Seq(last - WAITING)).await?;
        }
        if last >= look_at {
            let mib = bytes_in(folder)? as f64 / f64::from(1 << 20);
            let (resident, _) = resident_mib(std::process::id())?;
            let million = look_at as f64 / 1e6;
            report.value(&format!("size_disk_{million:.1}M"), mib, "MiB");
            report.value(&format!("size_memory_{million:.1}M"), resident, "MiB");
            disk.push(mib);
            memory.push(resident);
            look_at += LOOK_EVERY;
        }
    }
    keeper.close().await?;
    let half = |values: &[f64]| {
        let (early, late) = values.split_at(values.len() / 2);
        Sample::new(late.to_vec()).median() / Sample::new(early.to_vec()).median()
    };
    report.value("size_disk_growth", half(&disk), "x");
    report.value("size_memory_growth", half(&memory), "x");
    report.sample("size_memory", &Sample::new(memory), "MiB");
    report.aimed("size_disk", &Sample::new(disk), "MiB", Aim::AtMost(32e6 / f64::from(1 << 20)));
    Ok(())
}
