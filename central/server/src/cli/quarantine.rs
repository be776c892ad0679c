//! The command `quarantine`. Enters: numbers of payloads that could not be used. Leaves: what is known of them, in words or
//! as JSON; what became of those that were tried again; or nothing, of those that somebody drops and says why.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Subcommand;
use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::Config;
use crate::log;
use crate::problem;
use crate::store::{Dropped, Quarantined, Reader, Replayed, Store};

/// The most payloads that are listed.
const LISTED: u32 = 1_000;

/// What is done with payloads.
#[derive(Subcommand)]
pub(crate) enum QuarantineWhat {
    /// One line for each payload, the newest first.
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
        /// Those that were dropped, with the reasons that were given.
        #[arg(long)]
        dropped: bool,
    },
    /// One payload in hexadecimal.
    Show {
        /// The number that `list` tells.
        id: i64,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Stores payloads as if they came, as far as they can be used by now. The exit code is 1 when one stays.
    Replay {
        /// The numbers that `list` tells.
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
        ids: Vec<i64>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
    /// Takes a payload out for good. What was in it is missing then, and shown as a gap.
    Drop {
        /// The number that `list` tells.
        id: i64,
        /// Why, for whoever asks later.
        #[arg(long)]
        why: String,
    },
}

/// Does what was asked.
///
/// # Errors
/// When there is no such payload, or the database fails.
pub(super) fn quarantine(config: &Config, what: Option<QuarantineWhat>) -> anyhow::Result<ExitCode> {
    let reader = Reader::new(config.address()?);
    match what.unwrap_or(QuarantineWhat::List { json: false, dropped: false }) {
        QuarantineWhat::List { json, dropped: true } => list_dropped(&reader, json)?,
        QuarantineWhat::List { json, dropped: false } => list(&reader, json)?,
        QuarantineWhat::Show { id, json } => show(&reader, id, json)?,
        QuarantineWhat::Replay { ids, all } => {
            log::start()?;
            let ids = if all { reader.quarantine_ids()? } else { ids };
            return replay(&mut open(config)?, &ids);
        }
        QuarantineWhat::Drop { id, why } => {
            ensure!(!why.trim().is_empty(), "--why is empty: say why, for whoever asks later");
            let now = UnixMillis(Timestamp::now().as_millisecond());
            ensure!(open(config)?.drop_for_good(id, why.trim(), now)?, absent(id));
            println!("{id}: dropped");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(config: &Config) -> anyhow::Result<Store> {
    let options = config.store_options().map_err(|problems| anyhow::anyhow!(problem::lines(&problems)))?;
    Ok(Store::open(&config.address()?, options)?)
}

fn absent(id: i64) -> String {
    format!("there is no {id} in quarantine")
}

/// Every payload is tried, whatever becomes of the others.
fn replay(store: &mut Store, ids: &[i64]) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        match store.try_again(*id)? {
            Replayed::Stored { new, known } => {
                println!("{id}: taken out and stored: {}, {known} of them known before", events(new + known));
            }
            Replayed::Stays(why) => {
                println!("{id}: cannot be used yet and stays in quarantine: {}", printable(&why));
                code = ExitCode::FAILURE;
            }
            Replayed::Absent => {
                eprintln!("{}", absent(*id));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn list(reader: &Reader, as_json: bool) -> anyhow::Result<()> {
    let rows = reader.quarantine(LISTED)?;
    if as_json {
        println!("{}", Value::from(rows.iter().map(object).collect::<Vec<_>>()));
        return Ok(());
    }
    if rows.is_empty() {
        println!("nothing is in quarantine");
        return Ok(());
    }
    println!("{:>6}  {:20}  {:>5}  {:>6}  {:7}  TOPIC: REASON", "ID", "RECEIVED", "TIMES", "BYTES", "KIND");
    for row in &rows {
        let (received, topic, reason) = (utc(row.received), printable(&row.topic), printable(&row.reason));
        let Quarantined { id, times, size, kind, .. } = row;
        println!("{id:>6}  {received:20}  {times:>5}  {size:>6}  {kind:7}  {topic}: {reason}");
    }
    if let more @ 1.. = reader.quarantine_ids()?.len().saturating_sub(rows.len()) {
        println!("and {more} older ones");
    }
    let kinds = rows.iter().map(|row| row.kind.as_str()).collect::<BTreeSet<_>>();
    kinds.into_iter().filter_map(meaning).for_each(|meaning| println!("{meaning}"));
    Ok(())
}

/// What a kind means for whoever wonders whether something is lost.
fn meaning(kind: &str) -> Option<&'static str> {
    match kind {
        "refused" => Some(
            "refused: nobody lost anything by it: gateways keep such events, and of what tills told the good lines are stored",
        ),
        "fork" => Some(
            "fork: of a copied or rolled-back gateway; that gateway sends the events again under other numbers",
        ),
        "settled" => Some(
            "settled: this is the only copy; its gateway may have deleted the events. Replay it after an upgrade",
        ),
        _ => None,
    }
}

/// `1 event`, `7 events`.
fn events(count: u64) -> String {
    format!("{count} event{}", if count == 1 { "" } else { "s" })
}

fn list_dropped(reader: &Reader, as_json: bool) -> anyhow::Result<()> {
    let rows = reader.dropped(LISTED)?;
    if as_json {
        let object = |Dropped { id, topic, reason, at, why }: &Dropped| json!({ "id": id, "topic": topic, "reason": reason, "dropped": utc(*at), "why": why });
        println!("{}", Value::from(rows.iter().map(object).collect::<Vec<_>>()));
        return Ok(());
    }
    println!("{:>6}  {:20}  WHY  (TOPIC: REASON)", "ID", "DROPPED");
    for Dropped { id, topic, reason, at, why } in &rows {
        let (topic, reason, why) = (printable(topic), printable(reason), printable(why));
        println!("{id:>6}  {:20}  {why}  ({topic}: {reason})", utc(*at));
    }
    Ok(())
}

fn show(reader: &Reader, id: i64, as_json: bool) -> anyhow::Result<()> {
    let Some((row, payload)) = reader.quarantined(id)? else { bail!(absent(id)) };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    if as_json {
        let mut object = object(&row);
        object["payload"] = Value::from(hex(&payload).concat());
        println!("{object}");
        return Ok(());
    }
    let times = if row.times == 1 { "once".to_owned() } else { format!("{} times", row.times) };
    println!("topic     {}\nreceived  {}, {times}", printable(&row.topic), utc(row.received));
    println!("kind      {}", row.kind);
    if let Some((epoch, first, last)) = &row.numbers {
        println!("events    {first} to {last} of epoch {epoch}");
    }
    println!("reason    {}\nbytes     {}\n", printable(&row.reason), row.size);
    for (line, bytes) in payload.chunks(16).enumerate() {
        let printable = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = bytes.iter().map(printable).collect();
        println!("{:08x}  {:47}  {text}", line * 16, hex(bytes).join(" "));
    }
    Ok(())
}

/// A payload as JSON, without what is in it.
fn object(row: &Quarantined) -> Value {
    let Quarantined { id, received, times, kind, topic, store, gateway, numbers, reason, size } = row;
    let (epoch, first, last) = numbers
        .clone()
        .map_or((None, None, None), |(epoch, first, last)| (Some(epoch), Some(first), Some(last)));
    json!({
        "id": id, "received": utc(*received), "times": times, "kind": kind, "topic": topic, "store": store,
        "gateway": gateway, "epoch": epoch, "first": first, "last": last, "reason": reason, "bytes": size,
    })
}

fn utc(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.0.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Strangers choose topics and parts of reasons: their control characters must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
