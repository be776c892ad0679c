//! `spool`: what waits on this gateway, and the same as a file for central. Enters: a running agent's
//! answer, or else the files of its spool, which are only read. Leaves: a few lines for people, or JSON; or
//! an export.

use std::path::Path;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::config::Config;
use crate::onlooker::SpoolLine;
use crate::spool::export;

pub(super) async fn show(config: Config, json: bool) -> anyhow::Result<()> {
    let (line, running) = match UnixStream::connect(config.socket()).await {
        Ok(stream) => (ask(stream).await?, true),
        Err(_) => (look(&config)?, false),
    };
    if json {
        println!("{}", serde_json::to_string(&line)?);
        return Ok(());
    }
    println!("agent      {}", if running { "running" } else { "not running" });
    println!("epoch      {}, next event {}", line.epoch, line.next);
    for epoch in &line.earlier {
        println!("           {epoch} from before is not sent whole yet");
    }
    match (line.waiting, line.oldest_s) {
        (0, _) => println!("waiting    nothing"),
        (waiting, Some(age)) => println!("waiting    {waiting} events, the oldest is {age} s old"),
        (waiting, None) => println!("waiting    {waiting} events"),
    }
    let settled = line.held.saturating_sub(line.waiting);
    println!("held       {} events, {settled} of them settled by central", line.held);
    let percent = line.percent.map(|percent| format!(", {percent} % full")).unwrap_or_default();
    println!(
        "size       {} bytes packed, {} on disk, cap {} MiB{percent}",
        line.live_bytes, line.disk_bytes, config.spool.cap_mib
    );
    if line.lost > 0 {
        println!("lost       {} events that central does not know to be lost yet", line.lost);
    }
    if let Some(fault) = &line.fault {
        println!("fault      {fault}");
    }
    Ok(())
}

async fn ask(mut stream: UnixStream) -> anyhow::Result<SpoolLine> {
    stream.write_all(b"spool\n").await.context("asking the agent")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("asking the agent")?;
    serde_json::from_str(&answer).with_context(|| format!("the agent answers {answer:?}"))
}

/// What the files of an agent that does not run say.
fn look(config: &Config) -> anyhow::Result<SpoolLine> {
    let (carved, epochs) = export::look(&config.data, true)?;
    let Some(current) = epochs.last().map(|epoch| &epoch.record) else {
        bail!("the spool in {} holds nothing that can be read", config.data.display());
    };
    let mut line = SpoolLine {
        epoch: current.epoch,
        next: current.next.0,
        waiting: 0,
        oldest_s: None,
        held: 0,
        live_bytes: 0,
        disk_bytes: carved.disk_bytes(),
        percent: None,
        lost: 0,
        fault: None,
        earlier: epochs
            .iter()
            .map(|epoch| epoch.record.epoch)
            .filter(|epoch| *epoch != current.epoch)
            .collect(),
    };
    for epoch in &epochs {
        line.lost += epoch.record.lost.len();
        for (range, bytes) in carved.values(epoch) {
            line.held += range.len();
            line.live_bytes += bytes;
            let open = epoch.record.settled.missing_in(range);
            line.waiting += open.iter().map(|range| range.len()).sum::<u64>();
        }
    }
    Ok(line)
}

pub(super) fn export(config: &Config, all: bool, to: &Path) -> anyhow::Result<()> {
    let exported = export::export(&config.data, config.gateway, all, to)?;
    println!(
        "{}: {} events in {} batches, {} declared lost",
        to.display(),
        exported.events,
        exported.batches,
        exported.lost
    );
    Ok(())
}
