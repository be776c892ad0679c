//! `watch`: what the readers see right now. Enters: reads, from the running agent's socket, or from the
//! ports themselves when no agent runs. Leaves: a table, drawn anew every second on a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use hangtag_agent_core::infer::Layout;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::ReaderId;
use hangtag_protocol::read::Read;
use hangtag_protocol::status::ReaderHealth;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ask::{answer, ask};
use super::out::out;
use crate::config::Config;
use crate::health::Health;
use crate::intake::{Intake, Nodes, Seen};
use crate::onlooker::ReadLine;
use crate::{clock, intake};

/// A tag unseen for so long leaves the table, in milliseconds.
const GONE_MS: u64 = 10_000;
/// A year: the end of a watch that has none.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// A tag at an antenna.
struct Row {
    read: Read,
    since_drawn: u32,
    per_second: u32,
}

/// Where everything comes from.
enum Source {
    Agent(Box<Config>),
    Ports(Health),
}

impl Source {
    /// What is known of the readers; nothing if the agent is ending.
    async fn readers(&self) -> Vec<ReaderHealth> {
        match self {
            Self::Ports(health) => health.readers(),
            Self::Agent(config) => match ask(config, "readers").await {
                Ok(Some(stream)) => {
                    let lines = answer(stream).await.unwrap_or_default();
                    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
                }
                Ok(None) | Err(_) => Vec::new(),
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent(_) => "the running agent",
            Self::Ports(_) => "the ports (no agent runs)",
        })
    }
}

type Rows = BTreeMap<(ReaderId, u8, Epc), Row>;

pub(super) async fn run(config: Config, seconds: Option<u64>) -> anyhow::Result<()> {
    let (reads_in, mut reads) = mpsc::channel::<ReadLine>(4_096);
    let cancel = CancellationToken::new();
    let layout = config.layout.clone();
    let source = match ask(&config, "reads").await? {
        Some(stream) => {
            tokio::spawn(from_agent(stream, reads_in));
            Source::Agent(Box::new(config))
        }
        None => {
            let health = Health::new(config.readers.iter().map(|reader| reader.id));
            tokio::spawn(from_ports(config, health.clone(), reads_in, cancel.clone()));
            Source::Ports(health)
        }
    };
    let end = Instant::now() + seconds.map_or(FOR_EVER, Duration::from_secs);
    let mut rows = Rows::new();
    let mut draw = interval(Duration::from_secs(1));
    loop {
        // Every branch is cancel-safe: a channel, timers and a signal.
        tokio::select! {
            line = reads.recv() => match line {
                Some(line) => take(&mut rows, line),
                None => anyhow::bail!("the agent has ended"),
            },
            _ = draw.tick() => show(&mut rows, &layout, &source, &source.readers().await)?,
            () = sleep_until(end) => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    cancel.cancel();
    Ok(())
}

async fn from_agent(stream: UnixStream, out: mpsc::Sender<ReadLine>) -> anyhow::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        out.send(serde_json::from_str(&line)?).await?;
    }
    Ok(())
}

async fn from_ports(config: Config, health: Health, out: mpsc::Sender<ReadLine>, cancel: CancellationToken) {
    let ids: Vec<ReaderId> = config.readers.iter().map(|reader| reader.id).collect();
    let (seen_in, mut seen) = mpsc::channel(4_096);
    let intakes = config.readers.into_iter().enumerate().map(|(number, reader)| {
        let (out, health, cancel, key) = (seen_in.clone(), health.clone(), cancel.clone(), config.key);
        // Who looks wants to see, whatever the schedule says.
        let (nodes, hours) = (Nodes::none(), watch::channel(true).1);
        Intake { number, reader, key, out, health, capture: None, nodes, hours, cancel }
    });
    let _tasks = intake::start(intakes);
    drop(seen_in);
    while let Some(seen) = seen.recv().await {
        let (reader, reads) = match seen {
            Seen::Read { reader, read } => (reader, vec![read]),
            Seen::Frame { reader, taken } => (reader, taken.reads),
            Seen::Motion { .. } | Seen::Scan { .. } | Seen::Reader { .. } => continue,
        };
        for read in reads {
            if out.send(ReadLine { reader: ids[reader], read }).await.is_err() {
                return;
            }
        }
    }
}

fn take(rows: &mut Rows, ReadLine { reader, read }: ReadLine) {
    let row = rows.entry((reader, read.antenna, read.epc));
    let row = row.or_insert(Row { read, since_drawn: 0, per_second: 0 });
    row.read = read;
    row.since_drawn += 1;
}

fn show(rows: &mut Rows, layout: &Layout, source: &Source, readers: &[ReaderHealth]) -> anyhow::Result<()> {
    let now = clock::uptime();
    rows.retain(|_, row| now.since(row.read.at) < GONE_MS);
    let mut text = String::new();
    if stdout().is_terminal() {
        // Home, and clear to the end of the screen.
        text.push_str("\x1b[H\x1b[J");
    }
    for reader in readers {
        writeln!(text, "{}", reader_line(reader))?;
    }
    writeln!(text, "{} tags seen in the last {} s, from {source}", rows.len(), GONE_MS / 1_000)?;
    writeln!(
        text,
        "{:<12} {:<12} {:<28} {:<15} {:>7} {:>5} {:>5}",
        "reader", "zone", "EPC", "GTIN", "dBm", "/s", "ago"
    )?;
    for ((reader, antenna, epc), row) in rows {
        row.per_second = std::mem::take(&mut row.since_drawn);
        writeln!(text, "{}", line(*reader, *antenna, epc, row, layout, now))?;
    }
    let mut out = out();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// What a reader is, and what it does.
fn reader_line(reader: &ReaderHealth) -> String {
    let mut line = format!("{:<12} {:<10}", reader.id.as_str(), format!("{:?}", reader.state).to_lowercase());
    for what in [&reader.protocol, &reader.module].into_iter().flatten() {
        line += &format!(" {what};");
    }
    if let Some(fault) = &reader.fault {
        line += &format!(" fault: {fault};");
    }
    line.trim_end_matches([';', ' ']).to_owned()
}

fn line(reader: ReaderId, antenna: u8, epc: &Epc, row: &Row, layout: &Layout, now: Uptime) -> String {
    let number = layout.readers().iter().position(|id| *id == reader);
    let zone = number.and_then(|number| layout.zone_at(number, antenna));
    let zone = zone.map_or_else(|| format!("(port {antenna})"), |zone| zone.id.to_string());
    let gtin = epc.sgtin().map_or_else(String::new, |sgtin| sgtin.gtin().to_string());
    let dbm = f32::from(row.read.rssi_cdbm) / 100.0;
    let ago = now.since(row.read.at) / 1_000;
    format!(
        "{:<12} {zone:<12} {:<28} {gtin:<15} {dbm:>7.1} {:>5} {ago:>4}s",
        reader.as_str(),
        epc.to_string(),
        row.per_second
    )
}
