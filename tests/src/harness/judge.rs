//! Was every accepted event stored, exactly once, as it was? Enters: the accepted log, which the agent
//! writes after its barrier, and central's database. Leaves: a verdict. The spool is never asked.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use hangtag_protocol::event::Kind;
use hangtag_protocol::line::EventLine;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

/// What became of the accepted events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Events that the agent accepted.
    pub accepted: u64,
    /// Events in central's database.
    pub in_central: u64,
    /// Accepted events that central does not have.
    pub missing: u64,
    /// Things that central has more than once: under two ids, or more rows than numbers.
    pub doubled: u64,
    /// Events that central has with another content than was accepted.
    pub changed: u64,
    /// Events that central has and the log has not. A kill between barrier and log leaves such; they
    /// are accepted nevertheless.
    pub unlogged: u64,
    /// Numbers between the first and the last that central has no event for.
    pub gaps: u64,
    /// Events in central by kind.
    pub by_kind: BTreeMap<String, u64>,
    /// Distinct garments per visit with a try-on that was not retracted.
    pub try_ons: u64,
}

impl Verdict {
    /// Whether every accepted event is there exactly once, as it was.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.changed == 0 && self.gaps == 0
    }
}

/// What makes two rows the same event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    boot: String,
    at: i64,
    kind: String,
    epc: Option<String>,
    zone: Option<String>,
    reader: Option<String>,
}

/// Compares the log with the database.
///
/// # Errors
/// When one of them cannot be read; a log line that does not decode is named.
pub fn judge(accepted_log: &Path, database: &Path) -> anyhow::Result<Verdict> {
    let mut accepted = accepted(accepted_log)?;
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("cannot open {}", database.display()))?;
    let mut verdict = Verdict { accepted: accepted.len() as u64, ..Verdict::default() };
    let mut contents: BTreeMap<Content, u64> = BTreeMap::new();
    let mut numbers: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    let mut rows = connection
        .prepare("SELECT epoch, seq, boot, uptime, kind, epc, zone, reader FROM event ORDER BY epoch, seq")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (epoch, seq): (String, i64) = (row.get(0)?, row.get(1)?);
        let content = Content {
            boot: row.get(2)?,
            at: row.get(3)?,
            kind: row.get(4)?,
            epc: row.get(5)?,
            zone: row.get(6)?,
            reader: row.get(7)?,
        };
        verdict.in_central += 1;
        *verdict.by_kind.entry(content.kind.clone()).or_default() += 1;
        let (first, last, count) = numbers.entry(epoch).or_insert((seq, seq, 0));
        (*first, *last, *count) = ((*first).min(seq), (*last).max(seq), *count + 1);
        match accepted.remove(&seq) {
            Some(logged) if logged == content => {}
            Some(_) => verdict.changed += 1,
            None => verdict.unlogged += 1,
        }
        *contents.entry(content).or_default() += 1;
    }
    verdict.missing = accepted.len() as u64;
    verdict.doubled = contents.values().map(|count| count - 1).sum();
    verdict.gaps =
        numbers.values().map(|(first, last, count)| (last - first + 1 - count).unsigned_abs()).sum();
    verdict.try_ons = try_ons(&connection)?;
    Ok(verdict)
}

/// What the log holds, by number. Tests run in one epoch.
fn accepted(path: &Path) -> anyhow::Result<BTreeMap<i64, Content>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut accepted = BTreeMap::new();
    // A killed agent leaves half a line at most; the event behind it counts as unlogged.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (number, line) in whole.lines().enumerate() {
        let line: EventLine = match serde_json::from_str(line) {
            Ok(line) => line,
            Err(why) => anyhow::bail!("{}: line {}: {why}", path.display(), number + 1),
        };
        let content = Content {
            boot: line.boot,
            at: i64::try_from(line.at.0)?,
            kind: line.kind.name().to_owned(),
            epc: line.epc.map(|epc| epc.to_string()),
            zone: line.zone.map(|zone| zone.to_string()),
            reader: line.reader.map(|reader| reader.to_string()),
        };
        let before = accepted.insert(i64::try_from(line.seq.0)?, content);
        anyhow::ensure!(before.is_none(), "{}: event {} was accepted twice", path.display(), line.seq);
    }
    Ok(accepted)
}

fn try_ons(connection: &Connection) -> anyhow::Result<u64> {
    let count: i64 = connection.query_row(
        "SELECT count(*) FROM (SELECT DISTINCT store, gateway, epoch, visit, epc FROM event e
         WHERE kind = ?1 AND NOT EXISTS (SELECT 1 FROM event r WHERE r.kind = ?2 AND r.store = e.store
           AND r.gateway = e.gateway AND r.epoch = e.epoch AND r.retracts = e.seq))",
        [Kind::TriedOn.name(), Kind::Retracted.name()],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(count)?)
}
