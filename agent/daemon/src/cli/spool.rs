//! `spool`: what waits on this gateway. Enters: a running agent's answer, or else the spool on disk.
//! Leaves: a few lines for people, or JSON.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::clock;
use crate::config::Config;
use crate::onlooker::SpoolLine;
use crate::spool::{Settings, Spool};

pub(super) async fn run(config: Config, json: bool) -> anyhow::Result<()> {
    let (line, running) = match UnixStream::connect(config.socket()).await {
        Ok(stream) => (ask(stream).await?, true),
        Err(_) => (look(&config)?, false),
    };
    if json {
        println!("{}", serde_json::to_string(&line)?);
        return Ok(());
    }
    let SpoolLine { epoch, next, held, oldest, oldest_s, live_bytes, disk_bytes, lost } = line;
    println!("agent      {}", if running { "running" } else { "not running" });
    println!("epoch      {epoch}, next event {next}");
    match (held, oldest_s) {
        (0, _) => println!("waiting    nothing"),
        (_, Some(age)) => println!("waiting    {held} events, the oldest is {oldest}, {age} s old"),
        (_, None) => println!("waiting    {held} events, the oldest is {oldest}, from before this boot"),
    }
    println!("size       {live_bytes} bytes packed, {disk_bytes} on disk, cap {} MiB", config.spool.cap_mib);
    if lost > 0 {
        println!("lost       {lost} events that central does not know to be lost yet");
    }
    Ok(())
}

async fn ask(mut stream: UnixStream) -> anyhow::Result<SpoolLine> {
    stream.write_all(b"spool\n").await.context("asking the agent")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("asking the agent")?;
    serde_json::from_str(&answer).with_context(|| format!("the agent answers {answer:?}"))
}

/// Opens the spool of an agent that does not run.
fn look(config: &Config) -> anyhow::Result<SpoolLine> {
    let dir = config.spool_dir();
    if !dir.join("db").exists() {
        bail!("there is no spool in {}: the agent has not run here", dir.display());
    }
    let spool = Spool::open(Settings {
        dir,
        cap_bytes: u64::from(config.spool.cap_mib) << 20,
        commit: std::time::Duration::from_millis(config.spool.commit_ms.into()),
        boot: clock::boot_id()?,
        accepted_log: None,
    })?;
    let state = spool.watch();
    let line = SpoolLine::new(&state.borrow());
    Ok(line)
}
