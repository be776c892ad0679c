//! `spool`: what waits on this gateway, and the same as a file for central. Enters: a running agent's
//! answer, or else the files of its spool, which are only read. Leaves: a few lines for people, or JSON; or
//! an export.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use hangtag_agent_core::spool::DISK_FACTOR;

use super::ask::{answer, ask};
use super::out::{complain, out};
use crate::clock;
use crate::config::Config;
use crate::onlooker::SpoolLine;
use crate::spool::Fill;
use crate::spool::disk::{Folder, RESERVE};
use crate::spool::export::{self, Exported};
use crate::spool::look::{Look, free, room};

pub(super) async fn show(config: Config, json: bool) -> anyhow::Result<()> {
    let (line, running) = line(&config).await?;
    let mut out = out();
    if json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        return Ok(());
    }
    writeln!(out, "agent      {}", if running { "running" } else { "not running" })?;
    writeln!(out, "epoch      {}, next event {}", line.epoch, line.next)?;
    for epoch in &line.earlier {
        writeln!(out, "           {epoch} from before is not sent whole yet")?;
    }
    match (line.waiting, line.oldest_s) {
        (0, _) => writeln!(out, "waiting    nothing")?,
        (waiting, Some(age)) => {
            writeln!(out, "waiting    {waiting} events, the oldest is {} old", duration(age))?;
        }
        (waiting, None) => writeln!(out, "waiting    {waiting} events, the oldest is of an earlier boot")?,
    }
    let settled = line.held.saturating_sub(line.waiting);
    writeln!(out, "held       {} events, {settled} of them settled by central", line.held)?;
    let (packed, disk) = (mib(line.live_bytes), mib(line.disk_bytes));
    let ballast = match Folder::new(&config.data).ballast_bytes() {
        Ok(0) => "; no ballast beside it, which the disk had no room for".into(),
        Ok(bytes) => format!("; {} of ballast beside it", mib(bytes)),
        // Only the running agent's own user may look.
        Err(_) => String::new(),
    };
    writeln!(out, "size       {packed} packed, {disk} on disk{ballast}")?;
    full(&config, &line, &mut out)?;
    if line.lost > 0 {
        writeln!(out, "lost       {} events that central does not know to be lost yet", line.lost)?;
    }
    if let Some(damage) = &line.damage {
        writeln!(out, "damaged    {damage}")?;
        writeln!(
            out,
            "           what is found is rescued at the agent's next start, and `spool export` takes it"
        )?;
    }
    if let Some(fault) = &line.fault {
        writeln!(out, "fault      {fault}")?;
    }
    Ok(())
}

/// What waits, and whether an agent runs.
pub(super) async fn line(config: &Config) -> anyhow::Result<(SpoolLine, bool)> {
    let Some(stream) = ask(config, "spool").await? else { return Ok((look(config)?, false)) };
    let answer = answer(stream).await?;
    let line = serde_json::from_str(&answer);
    Ok((line.with_context(|| format!("the agent answers {answer:?}"))?, true))
}

/// How full the spool is, and its disk.
fn full(config: &Config, line: &SpoolLine, out: &mut impl Write) -> anyhow::Result<()> {
    let (Some(percent), Ok(room)) = (line.percent, room(&config.data, config.cap(), line.disk_bytes)) else {
        return Ok(());
    };
    let of = if room < config.cap() {
        format!("{}, a third of what the disk has for it (cap_mib = {})", mib(room), config.spool.cap_mib)
    } else {
        format!("cap_mib = {}", config.spool.cap_mib)
    };
    writeln!(
        out,
        "full       {percent} % of {of}; {DISK_FACTOR} bytes on disk are counted for each packed one"
    )?;
    if let Some(kept) = line.kept_percent.filter(|kept| *kept > 0) {
        writeln!(out, "           and {kept} % kept for a restored central, which goes first")?;
    }
    if let Ok(free) = free(&config.data)
        && free < RESERVE
    {
        writeln!(
            out,
            "disk       full: {} free. Nothing is accepted below {}, whatever when_full says: make room",
            mib(free),
            mib(RESERVE)
        )?;
    }
    Ok(())
}

/// What the files of an agent that does not run say.
fn look(config: &Config) -> anyhow::Result<SpoolLine> {
    let look = Look::at(&config.data, true)?;
    let current = look.epochs.last().context("a spool has an epoch")?;
    let disk_bytes = look.carved.disk_bytes();
    let oldest_ms = look.oldest_ms(clock::boot_id()?, clock::uptime(), clock::wall());
    let mut line = SpoolLine {
        epoch: current.record.epoch,
        next: current.record.next.0,
        waiting: 0,
        oldest_s: oldest_ms.map(|ms| ms / 1_000),
        held: 0,
        live_bytes: 0,
        disk_bytes,
        percent: None,
        kept_percent: None,
        lost: 0,
        fault: look.fault(config.cap(), config.spool.when_full),
        damage: look.damage.map(|damage| damage.to_string()),
        earlier: look.unsent(),
    };
    for epoch in &look.epochs {
        let (held, waiting) = look.amounts(epoch);
        line.held += held.events;
        line.live_bytes += held.bytes;
        line.waiting += waiting.events;
        let lost = epoch.record.lost.ranges().iter();
        let untold = lost.flat_map(|range| epoch.record.settled.missing_in(*range));
        line.lost += untold.map(|range| range.len()).sum::<u64>();
    }
    if let Ok(room) = room(&config.data, config.cap(), disk_bytes) {
        let Fill { waiting, kept } =
            Fill::of(line.waiting, line.held, line.live_bytes.saturating_mul(DISK_FACTOR), room);
        (line.percent, line.kept_percent) = (Some(waiting), Some(kept));
    }
    Ok(line)
}

/// A size for people.
fn mib(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes < MIB / 10 { format!("{bytes} bytes") } else { format!("{:.1} MiB", bytes as f64 / MIB as f64) }
}

/// A time for people, in its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

pub(super) fn export(config: &Config, all: bool, to: &Path) -> anyhow::Result<()> {
    let exported = export::export(&config.data, config.gateway, all, to)?;
    let (mut out, Exported { events, known, batches, lost, damage }) = (out(), exported);
    if let Some(damage) = damage {
        complain(format_args!("the spool in {} is damaged: {damage}", config.data.display()));
    }
    let mut what = format!("{events} events in {batches} batches, {lost} declared lost");
    if batches == 0 && !all {
        what += "; nothing waits here (--all takes what central has, too)";
    }
    writeln!(out, "{}: {what}", to.display())?;
    if known > 0 {
        let why = if all { "" } else { ": they share values with those that wait" };
        writeln!(out, "{} of them wait; {known} more are known to central{why}", events - known)?;
    }
    if batches > 0 {
        writeln!(out, "next: hangtag-central import {}", to.display())?;
    }
    Ok(())
}
