//! Was every accepted event stored, exactly once, as it was? Enters: accepted logs, which agents write
//! after their barrier, and central's database. Leaves: a verdict. The spool is never asked.
//!
//! Events are compared number by number. Where a gateway began a new epoch because somebody else used its
//! numbers, the same event may stand in the log under one number and in central under another: then they
//! are compared by content, and what they point to, the opening of their visit or the event that they
//! retract, by its content. Two agents of one machine can conclude the same in the same millisecond: what
//! was accepted twice central must have twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hangtag_protocol::event::Kind;
use hangtag_protocol::line::EventLine;
use rusqlite::{Connection, OpenFlags, Row};
use serde::{Deserialize, Serialize};

/// How a line of an accepted log begins.
pub const BEGIN: &str = "{\"epoch\":";
/// How long to wait at least before judging again.
const LOOK: Duration = Duration::from_millis(50);

/// What became of the accepted events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Events that the agent accepted.
    pub accepted: u64,
    /// Events in central's database.
    pub in_central: u64,
    /// Epochs that they are of.
    pub epochs: u64,
    /// Accepted events that central neither has nor knows to be lost.
    pub missing: u64,
    /// Accepted events that the agent declared lost, and that central does not have.
    pub lost: u64,
    /// Things that central has more than once: under two ids, or more rows than numbers.
    pub doubled: u64,
    /// Events that central has with another content than was accepted.
    pub changed: u64,
    /// Events that point to one that is stored under another epoch, because their numbers were given anew and
    /// that one's were not: in central they point to none.
    pub unlinked: u64,
    /// Events that central both has and counts as lost.
    pub contradicted: u64,
    /// Events that central has and the log has not. A kill between barrier and log leaves such; they
    /// are accepted nevertheless.
    pub unlogged: u64,
    /// The stretches of neighbouring numbers that these make, first and last, where numbers are compared.
    #[serde(skip)]
    pub unlogged_ranges: Vec<(i64, i64)>,
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
        self.is_honest() && self.lost == 0 && self.gaps == 0
    }

    /// Whether every accepted event is there exactly once, as it was, or is known to be lost.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.changed == 0 && self.contradicted == 0
    }
}

/// What makes two rows the same event, whatever its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    boot: String,
    at: i64,
    kind: String,
    confidence: i64,
    epc: Option<String>,
    zone: Option<String>,
    /// Reads, margin, unrest, dwell.
    evidence: [Option<i64>; 4],
    reader: Option<String>,
    state: Option<String>,
    from: Option<i64>,
}

/// An event as it stands in a log or in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbered {
    epoch: String,
    seq: i64,
    content: Content,
    /// Its visit, or the event it retracts: a number of the same epoch.
    of: Option<i64>,
}

/// Events by epoch and number.
type Numbers<'a> = BTreeMap<(&'a str, i64), &'a Content>;

fn by_id(events: &[Numbered]) -> Numbers<'_> {
    events.iter().map(|event| ((&*event.epoch, event.seq), &event.content)).collect()
}

impl Numbered {
    /// The event it points to.
    fn target(&self) -> Option<(&str, i64)> {
        Some((&*self.epoch, self.of?))
    }
}

/// A line of an accepted log.
#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    epoch: String,
    #[serde(flatten)]
    event: EventLine,
}

/// Compares the log with the database: by number, or by content if central has events of several epochs.
///
/// # Errors
/// When one of them cannot be read; a log line that does not decode is named.
pub fn judge(accepted_log: &Path, database: &Path) -> anyhow::Result<Verdict> {
    let stored = Stored::read(database)?;
    match stored.epochs().as_slice() {
        [_, _, ..] => stored.by_content(&[accepted_log]),
        epochs => stored.by_number(accepted_log, epochs.first().map_or("", |epoch| epoch)),
    }
}

/// Compares the log with what the database has of one epoch; all others are ignored.
///
/// # Errors
/// When one of them cannot be read; a log line that does not decode is named.
pub fn judge_epoch(accepted_log: &Path, database: &Path, epoch: &str) -> anyhow::Result<Verdict> {
    let mut stored = Stored::read(database)?;
    stored.events.retain(|event| event.epoch == epoch);
    stored.by_number(accepted_log, epoch)
}

/// Compares several logs with the database, by content.
///
/// # Errors
/// When one of them cannot be read; a log line that does not decode is named.
pub fn judge_logs(accepted_logs: &[&Path], database: &Path) -> anyhow::Result<Verdict> {
    Stored::read(database)?.by_content(accepted_logs)
}

/// Judges again and again until nothing is missing or the time is over, and returns the last verdict.
///
/// # Errors
/// When judging fails.
pub fn wait_complete(
    within: Duration,
    mut judge: impl FnMut() -> anyhow::Result<Verdict>,
) -> anyhow::Result<Verdict> {
    let end = Instant::now() + within;
    loop {
        let begin = Instant::now();
        let verdict = judge()?;
        if verdict.missing == 0 || begin > end {
            return Ok(verdict);
        }
        // Judging much takes long, and takes its time from those who are judged.
        std::thread::sleep(begin.elapsed().max(LOOK));
    }
}

/// What central has.
struct Stored {
    events: Vec<Numbered>,
    /// Declared lost: epoch, first, last. A gap that nobody explains is none.
    gaps: Vec<(String, i64, i64)>,
    try_ons: u64,
}

impl Stored {
    fn read(database: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("cannot open {}", database.display()))?;
        connection.busy_timeout(Duration::from_secs(5))?;
        // One moment of the database, although central goes on writing.
        let connection = connection.unchecked_transaction()?;
        let mut events = connection.prepare(
            "SELECT epoch, seq, boot, uptime, kind, confidence, epc, zone, reads, margin, unrest, dwell,
                    reader, state, since, visit, retracts
             FROM event ORDER BY epoch, seq",
        )?;
        let events = events.query_map([], of_row)?.collect::<Result<_, _>>()?;
        let mut gaps = connection.prepare("SELECT epoch, first, last FROM gap WHERE why = 'lost'")?;
        let gaps = gaps.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let gaps = gaps.collect::<Result<_, _>>()?;
        Ok(Self { events, gaps, try_ons: try_ons(&connection)? })
    }

    fn epochs(&self) -> Vec<String> {
        self.events.iter().map(|event| event.epoch.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn by_number(&self, accepted_log: &Path, epoch: &str) -> anyhow::Result<Verdict> {
        let mut accepted: BTreeMap<i64, Numbered> = BTreeMap::new();
        for event in read_log(accepted_log)? {
            let seq = event.seq;
            let before = accepted.insert(seq, event);
            anyhow::ensure!(before.is_none(), "{}: event {seq} was accepted twice", accepted_log.display());
        }
        let mut verdict = self.verdict(accepted.len());
        for event in &self.events {
            match accepted.remove(&event.seq) {
                Some(logged) if (&logged.content, logged.of) == (&event.content, event.of) => {}
                Some(_) => verdict.changed += 1,
                None => {
                    verdict.unlogged += 1;
                    match verdict.unlogged_ranges.last_mut() {
                        Some((_, last)) if *last + 1 == event.seq => *last = event.seq,
                        Some(_) | None => verdict.unlogged_ranges.push((event.seq, event.seq)),
                    }
                }
            }
        }
        let is_lost = |seq: &&i64| self.is_lost(epoch, **seq);
        verdict.lost = accepted.keys().filter(is_lost).count() as u64;
        verdict.missing = accepted.len() as u64 - verdict.lost;
        Ok(verdict)
    }

    fn by_content(&self, accepted_logs: &[&Path]) -> anyhow::Result<Verdict> {
        let logs = accepted_logs.iter().map(|log| read_log(log)).collect::<anyhow::Result<Vec<_>>>()?;
        let numbers: Vec<Numbers<'_>> = logs.iter().map(|log| by_id(log)).collect();
        // Whoever cloned a gateway has cloned its log as well: what stands in two logs was accepted once.
        let accepted: BTreeSet<(&Content, &str, i64)> =
            logs.iter().flatten().map(|event| (&event.content, &*event.epoch, event.seq)).collect();
        let mut times: BTreeMap<&Content, u64> = BTreeMap::new();
        accepted.iter().for_each(|(content, ..)| *times.entry(content).or_default() += 1);
        let mut verdict = self.verdict(accepted.len());
        let stored: BTreeMap<&Content, &Numbered> = self.events.iter().map(|e| (&e.content, e)).collect();
        let stored_numbers = by_id(&self.events);
        for (log, own) in logs.iter().zip(&numbers) {
            for event in log {
                let Some(found) = stored.get(&event.content) else { continue };
                // What a clone began before it was one, only the original's log has.
                let others = || numbers.iter().find_map(|other| other.get(&event.target()?));
                let Some(target) = event.target().and_then(|of| own.get(&of)).or_else(others) else {
                    continue;
                };
                let linked = found.target().and_then(|of| stored_numbers.get(&of));
                let apart = stored.get(target).is_none_or(|opening| opening.epoch != found.epoch);
                match linked {
                    Some(linked) if linked == target => {}
                    None if apart => verdict.unlinked += 1,
                    Some(_) | None => verdict.changed += 1,
                }
            }
        }
        let contents = self.contents();
        let stored_times = |content: &Content| contents.get(content).copied().unwrap_or(0);
        verdict.missing =
            times.iter().map(|(content, times)| times.saturating_sub(stored_times(content))).sum();
        verdict.unlogged = contents.keys().filter(|content| !times.contains_key(*content)).count() as u64;
        let accepted_times = |content: &Content| times.get(content).map_or(1, |times| *times);
        verdict.doubled =
            contents.iter().map(|(content, count)| count.saturating_sub(accepted_times(content))).sum();
        Ok(verdict)
    }

    /// How often each content is stored.
    fn contents(&self) -> BTreeMap<&Content, u64> {
        let mut contents = BTreeMap::new();
        self.events.iter().for_each(|event| *contents.entry(&event.content).or_default() += 1);
        contents
    }

    /// What the database says by itself.
    fn verdict(&self, accepted: usize) -> Verdict {
        let mut verdict = Verdict { accepted: accepted as u64, try_ons: self.try_ons, ..Verdict::default() };
        let mut numbers: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
        for Numbered { epoch, seq, content, .. } in &self.events {
            verdict.in_central += 1;
            verdict.contradicted += u64::from(self.is_lost(epoch, *seq));
            *verdict.by_kind.entry(content.kind.clone()).or_default() += 1;
            let (first, last, count) = numbers.entry(epoch).or_insert((*seq, *seq, 0));
            (*first, *last, *count) = ((*first).min(*seq), (*last).max(*seq), *count + 1);
        }
        verdict.epochs = numbers.len() as u64;
        verdict.doubled = self.contents().values().map(|count| count - 1).sum();
        verdict.gaps =
            numbers.values().map(|(first, last, count)| (last - first + 1 - count).unsigned_abs()).sum();
        verdict
    }

    fn is_lost(&self, epoch: &str, seq: i64) -> bool {
        self.gaps.iter().any(|(of, first, last)| of == epoch && (*first..=*last).contains(&seq))
    }
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let content = Content {
        boot: row.get(2)?,
        at: row.get(3)?,
        kind: row.get(4)?,
        confidence: row.get(5)?,
        epc: row.get(6)?,
        zone: row.get(7)?,
        evidence: [row.get(8)?, row.get(9)?, row.get(10)?, row.get(11)?],
        reader: row.get(12)?,
        state: row.get(13)?,
        from: row.get(14)?,
    };
    let (visit, retracts): (Option<i64>, Option<i64>) = (row.get(15)?, row.get(16)?);
    Ok(Numbered { epoch: row.get(0)?, seq: row.get(1)?, content, of: visit.or(retracts) })
}

/// What a log holds, in its order.
fn read_log(path: &Path) -> anyhow::Result<Vec<Numbered>> {
    let text = match std::fs::read_to_string(path) {
        // An agent that was killed before it could accept anything.
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    // A killed agent leaves half a line at most; the event behind it counts as unlogged. The next agent
    // writes on behind that half.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut events = Vec::new();
    for (number, line) in whole.lines().enumerate() {
        let rest = line.rfind(BEGIN).map_or(line, |start| &line[start..]);
        let line: LogLine = match serde_json::from_str(line).or_else(|_| serde_json::from_str(rest)) {
            Ok(line) => line,
            Err(why) => anyhow::bail!("{}: line {}: {why}", path.display(), number + 1),
        };
        events.push(of_line(line)?);
    }
    Ok(events)
}

fn of_line(LogLine { epoch, event: line }: LogLine) -> anyhow::Result<Numbered> {
    let evidence = line.evidence.map_or([None; 4], |evidence| {
        [evidence.reads, evidence.margin_db.into(), evidence.unrest.into(), evidence.dwell_ds]
            .map(|number| Some(i64::from(number)))
    });
    let state = line.state.map(serde_json::to_value).transpose()?;
    let content = Content {
        boot: line.boot,
        at: i64::try_from(line.at.0)?,
        kind: line.kind.name().to_owned(),
        confidence: line.confidence.into(),
        epc: line.epc.map(|epc| epc.to_string()),
        zone: line.zone.map(|zone| zone.to_string()),
        evidence,
        reader: line.reader.map(|reader| reader.to_string()),
        state: state.and_then(|state| state.as_str().map(str::to_owned)),
        from: line.from.map(|from| i64::try_from(from.0)).transpose()?,
    };
    let of = line.visit.or(line.retracts).map(|seq| seq.0.cast_signed());
    Ok(Numbered { epoch, seq: i64::try_from(line.seq.0)?, content, of })
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

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str =
        "CREATE TABLE event (store, gateway, epoch, seq, boot, uptime, kind, confidence, epc, zone, reads, margin,
             unrest, dwell, reader, state, since, visit, retracts);
         CREATE TABLE gap (epoch, first, last, why);";

    /// A line of a log: a retraction that is number `seq` of epoch e.
    fn line(seq: u64, retracts: u64) -> String {
        format!(
            r#"{{"epoch":"e","seq":{seq},"boot":"00000000000000aa","at":{seq},"kind":"retracted","confidence":80,"retracts":{retracts}}}"#
        ) + "\n"
    }

    /// The same as a row: what was number `seq` of epoch e.
    fn row(seq: u64, epoch: &str, number: u64, retracts: u64) -> String {
        format!(
            "INSERT INTO event (epoch, seq, boot, uptime, kind, confidence, retracts)
             VALUES ('{epoch}', {number}, '00000000000000aa', {seq}, 'retracted', 80, {retracts});"
        )
    }

    fn judged(log: &str, rows: &str) -> anyhow::Result<Verdict> {
        let folder = tempfile::tempdir()?;
        let (path, database) = (folder.path().join("accepted.jsonl"), folder.path().join("central.db"));
        std::fs::write(&path, log)?;
        Connection::open(&database)?.execute_batch(&format!("{TABLES}{rows}"))?;
        judge(&path, &database)
    }

    #[test]
    fn only_what_was_declared_lost_counts_as_lost() -> anyhow::Result<()> {
        let log: String = (2..=6).map(|seq| line(seq, 1)).collect();
        let gaps = "INSERT INTO gap VALUES ('e', 2, 3, 'lost'), ('e', 4, 6, 'unexplained');";
        let verdict = judged(&log, &(row(1, "e", 1, 1) + gaps))?;
        assert_eq!((verdict.lost, verdict.missing, verdict.is_honest()), (2, 3, false));
        Ok(())
    }

    #[test]
    fn half_a_line_and_what_is_missing_behind_it_are_told() -> anyhow::Result<()> {
        let log = [line(1, 1), line(2, 1)[..20].into(), line(5, 1), line(6, 1)].concat();
        let rows: String = (1..=8).map(|seq| row(seq, "e", seq, 1)).collect();
        let verdict = judged(&log, &rows)?;
        assert_eq!((verdict.accepted, verdict.unlogged, verdict.is_exact()), (3, 5, true));
        assert_eq!(verdict.unlogged_ranges, [(2, 4), (7, 8)]);
        Ok(())
    }

    #[test]
    fn what_events_point_to_is_compared_across_epochs() -> anyhow::Result<()> {
        let log: String = [(1, 1), (2, 1), (3, 1), (4, 3)].map(|(seq, of)| line(seq, of)).concat();
        // From 3 on they got new numbers.
        let before = row(1, "e", 1, 1) + &row(2, "e", 2, 1);
        let moved = |third, fourth| {
            judged(&log, &(before.clone() + &row(3, "f", 1, third) + &row(4, "f", 2, fourth)))
        };
        let good = moved(0, 1)?;
        assert!(good.is_exact() && good.unlinked == 1, "{good:?}");
        assert_eq!(moved(0, 2)?.changed, 1, "it points to another one");
        assert_eq!(moved(0, 0)?.changed, 1, "it points to none although the other one has moved with it");
        assert_eq!(moved(1, 1)?.changed, 1, "it points to itself");
        Ok(())
    }

    #[test]
    fn what_two_agents_accepted_at_one_time_central_has_twice() -> anyhow::Result<()> {
        let own = line(1, 1);
        let others = own.replace(r#""epoch":"e""#, r#""epoch":"f""#);
        let first = row(1, "e", 1, 1);
        let judged = |second: &str| judged(&(own.clone() + &others), &(first.clone() + second));
        let one = judged(&row(9, "f", 9, 9))?;
        let both = judged(&row(1, "f", 1, 1))?;
        let three = judged(&(row(1, "f", 1, 1) + &row(1, "f", 2, 1)))?;
        assert_eq!((both.accepted, both.is_exact()), (2, true), "{both:?}");
        assert_eq!((one.missing, three.doubled), (1, 1), "{one:?} {three:?}");
        Ok(())
    }
}
