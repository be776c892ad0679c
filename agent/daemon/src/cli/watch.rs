//! `watch`: what the readers see right now. Enters: reads and scans, from the running agent's socket, or from the
//! ports themselves when no agent runs. Leaves: a table, drawn anew every second on a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use hangtag_agent_core::infer::Layout;
use hangtag_agent_core::intake::node::refusal;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::ReaderId;
use hangtag_protocol::read::Read;
use hangtag_protocol::status::ReaderHealth;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ask::{answer, ask};
use super::out::out;
use crate::config::Config;
use crate::health::{Health, SensorLine};
use crate::intake::{Intake, Nodes, Seen};
use crate::onlooker::{ReadLine, ScanKind, ScanLine};
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
            Self::Agent(config) => lines(config, "readers").await,
        }
    }

    /// The sensor tags around, whether the configuration knows them or not.
    async fn sensors(&self, layout: &Layout) -> Vec<SensorLine> {
        match self {
            Self::Ports(health) => health.sensors(layout, clock::uptime()),
            Self::Agent(config) => lines(config, "sensors").await,
        }
    }
}

/// What a running agent answers, line by line.
async fn lines<T: DeserializeOwned>(config: &Config, what: &str) -> Vec<T> {
    match ask(config, what).await {
        Ok(Some(stream)) => {
            let lines = answer(stream).await.unwrap_or_default();
            lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        }
        Ok(None) | Err(_) => Vec::new(),
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

/// What is seen.
enum Line {
    Read(ReadLine),
    Scan(ScanLine),
}

/// What is shown.
#[derive(Default)]
struct Shown {
    rows: BTreeMap<(ReaderId, u8, Epc), Row>,
    /// The last one of each scanner.
    scans: BTreeMap<ReaderId, ScanLine>,
}

pub(super) async fn run(config: Config, seconds: Option<u64>) -> anyhow::Result<()> {
    let (lines_in, mut lines) = mpsc::channel::<Line>(4_096);
    let cancel = CancellationToken::new();
    let layout = config.layout.clone();
    let source = match ask(&config, "reads").await? {
        Some(stream) => {
            if let Some(scans) = ask(&config, "scans").await? {
                tokio::spawn(from_agent(scans, lines_in.clone(), Line::Scan));
            }
            tokio::spawn(from_agent(stream, lines_in, Line::Read));
            Source::Agent(Box::new(config))
        }
        None => {
            let health = Health::new(config.readers.iter().map(|reader| reader.id));
            tokio::spawn(from_ports(config, health.clone(), lines_in, cancel.clone()));
            Source::Ports(health)
        }
    };
    let end = Instant::now() + seconds.map_or(FOR_EVER, Duration::from_secs);
    let mut shown = Shown::default();
    let mut draw = interval(Duration::from_secs(1));
    loop {
        // Every branch is cancel-safe: a channel, timers and a signal.
        tokio::select! {
            line = lines.recv() => match line {
                Some(Line::Read(line)) => take(&mut shown, line),
                Some(Line::Scan(scan)) => drop(shown.scans.insert(scan.reader, scan)),
                None => anyhow::bail!("the agent has ended"),
            },
            _ = draw.tick() => {
                let around = (source.readers().await, source.sensors(&layout).await);
                show(&mut shown, &layout, &source, &around)?;
            }
            () = sleep_until(end) => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    cancel.cancel();
    Ok(())
}

async fn from_agent<T: DeserializeOwned>(
    stream: UnixStream,
    out: mpsc::Sender<Line>,
    of: fn(T) -> Line,
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        out.send(of(serde_json::from_str(&line)?)).await?;
    }
    Ok(())
}

async fn from_ports(config: Config, health: Health, out: mpsc::Sender<Line>, cancel: CancellationToken) {
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
        let read = |reader: usize, read| Line::Read(ReadLine { reader: ids[reader], read });
        let lines = match seen {
            Seen::Read { reader, read: one } => vec![read(reader, one)],
            Seen::Frame { reader, taken } => taken.reads.into_iter().map(|one| read(reader, one)).collect(),
            Seen::Scan { reader, at, code } => {
                vec![Line::Scan(ScanLine::new(ids[reader], at, code.as_ref()))]
            }
            Seen::Motion { .. } | Seen::Reader { .. } => continue,
        };
        for line in lines {
            if out.send(line).await.is_err() {
                return;
            }
        }
    }
}

fn take(shown: &mut Shown, ReadLine { reader, read }: ReadLine) {
    let row = shown.rows.entry((reader, read.antenna, read.epc));
    let row = row.or_insert(Row { read, since_drawn: 0, per_second: 0 });
    row.read = read;
    row.since_drawn += 1;
}

fn show(
    Shown { rows, scans }: &mut Shown,
    layout: &Layout,
    source: &Source,
    (readers, sensors): &(Vec<ReaderHealth>, Vec<SensorLine>),
) -> anyhow::Result<()> {
    let now = clock::uptime();
    rows.retain(|_, row| now.since(row.read.at) < GONE_MS);
    let mut text = String::new();
    if stdout().is_terminal() {
        // Home, and clear to the end of the screen.
        text.push_str("\x1b[H\x1b[J");
    }
    for reader in readers {
        writeln!(text, "{}", reader_line(reader, scans.get(&reader.id), now))?;
    }
    for sensor in sensors {
        writeln!(text, "{}", sensor_line(sensor))?;
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
fn reader_line(reader: &ReaderHealth, scan: Option<&ScanLine>, now: Uptime) -> String {
    let mut line = format!("{:<12} {:<10}", reader.id.as_str(), format!("{:?}", reader.state).to_lowercase());
    for what in [&reader.protocol, &reader.module].into_iter().flatten() {
        line += &format!(" {what};");
    }
    if let Some(ScanLine { at, kind, gtin, .. }) = scan {
        let what = match kind {
            ScanKind::Loyalty => "a loyalty code",
            ScanKind::Product => "product",
            ScanKind::Unknown => "a code that is neither a product's nor described by a loyalty pattern",
        };
        let gtin = gtin.as_ref().map_or_else(String::new, |gtin| format!(" {gtin}"));
        line += &format!(" scanned {what}{gtin} {} s ago;", now.since(*at) / 1_000);
    }
    let refused = reader.node.and_then(|node| node.configured).and_then(refusal);
    if let Some(fault) = reader.fault.as_deref().or(refused) {
        line += &format!(" fault: {fault};");
    }
    line.trim_end_matches([';', ' ']).to_owned()
}

/// A sensor tag, and what it is on.
fn sensor_line(sensor: &SensorLine) -> String {
    let on = match (&sensor.epc, &sensor.zone) {
        (Some(epc), _) => format!("on garment {epc}"),
        (None, Some(zone)) => format!("on the rail or shelf of {zone}"),
        (None, None) => "not in the configuration: add a [[sensor]] with this address".to_owned(),
    };
    let (dbm, ago) = (f32::from(sensor.rssi_cdbm) / 100.0, clock::uptime().since(sensor.at) / 1_000);
    format!("sensor {} {dbm:>7.1} dBm, moved {} times, {ago} s ago; {on}", sensor.sensor, sensor.moves)
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

#[cfg(test)]
mod tests {
    use hangtag_protocol::epc::Gtin;
    use hangtag_protocol::key::KeyId;
    use hangtag_protocol::link::message::Outcome;
    use hangtag_protocol::scan::{Code, SEAL_BYTES, Sealed};

    use super::*;

    #[test]
    fn the_last_scan_stands_beside_its_scanner() {
        let id = ReaderId::new("scan-1").unwrap();
        let health = Health::new([id].into_iter()).readers().remove(0);
        let product = Code::Product(Gtin::new("4006381333931").unwrap());
        let sealed = Code::Loyalty(Sealed::new(KeyId([1; 8]), vec![2; SEAL_BYTES]).unwrap());
        for (code, said) in [
            (Some(product), "scan-1       absent     scanned product 04006381333931 3 s ago"),
            (Some(sealed), "scan-1       absent     scanned a loyalty code 3 s ago"),
            (
                None,
                "scan-1       absent     scanned a code that is neither a product's nor described by a loyalty pattern 3 s ago",
            ),
        ] {
            let line = serde_json::to_string(&ScanLine::new(id, Uptime(5_000), code.as_ref())).unwrap();
            let scan: ScanLine = serde_json::from_str(&line).unwrap();
            assert_eq!(reader_line(&health, Some(&scan), Uptime(8_900)), said);
        }
        assert_eq!(reader_line(&health, None, Uptime(0)), "scan-1       absent");
    }

    #[test]
    fn a_node_that_refuses_its_configuration_is_shown_so_as_long_as_it_does() {
        let node =
            r#"{"node":"000000000000002a","firmware":"1.2.3","reason":"pin","configured":"threshold"}"#;
        let mut health = Health::new([ReaderId::new("rail-a").unwrap()].into_iter()).readers().remove(0);
        health.node = Some(serde_json::from_str(node).unwrap());
        let line = reader_line(&health, None, Uptime(0));
        assert!(line.contains("fault: \"window_ms\", \"motion_mg\" or \"settle_ms\" was refused"), "{line}");
        health.node.as_mut().unwrap().configured = Some(Outcome::Taken);
        assert_eq!(reader_line(&health, None, Uptime(0)), "rail-a       absent");
    }
}
