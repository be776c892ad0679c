//! Very many events wait from an outage, and customers go on: what happens now goes out first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use hangtag_protocol::line::EventLine;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN, succeeded};
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::listener::{Heard, Listener};
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, long};
use rusqlite::Connection;
use rustix::fs::inotify;

/// How many events wait, in a normal and in a long run.
const WAITING: (u64, u64) = (200_000, 1_000_000);
/// A drain of a million may take so long on a busy machine.
const DRAIN: Duration = Duration::from_secs(600);
/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is asked for is a second, and is printed; a busy machine gets more.
const LATE_MS: i64 = 5_000;

#[test]
fn live_events_overtake_a_backlog() -> anyhow::Result<()> {
    let folder = folder()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let _inside = runtime.enter();
    let broker_port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), broker_port, "")?;
    let waiting = if long() { WAITING.1 } else { WAITING.0 };
    let begin = Instant::now();
    let mut fill = gateway.command(&["bench", "fill", "--events", &waiting.to_string()]);
    succeeded(fill.output()?)?;
    println!("filled in {:.1?}", begin.elapsed());

    let mut central = site.start_central()?;
    let listener = Listener::start(broker_port);
    let watch = Watch::begin(&gateway.accepted_log())?;
    let watcher = std::thread::spawn(move || watch.run());
    let begin = Instant::now();
    let mut agent = gateway.start()?;
    wait_for("the drain to begin", PATIENCE, || {
        agent.check()?;
        Ok((stored(&site.database(), waiting)? > 0).then_some(()))
    })?;
    // What was accepted before the agent was connected has waited too.
    let carousel = Carousel::start(&gateway.readers(), 1, 200)?;
    wait_for("the backlog to be in central", DRAIN, || {
        agent.check()?;
        central.check()?;
        Ok((stored(&site.database(), waiting)? >= waiting).then_some(()))
    })?;
    let drained = begin.elapsed();
    drop(carousel);
    agent.stop(STOPS_WITHIN)?;
    let seen = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
    let verdict =
        wait_complete(Duration::from_secs(20), || judge(&gateway.accepted_log(), &site.database()))?;
    central.stop(STOPS_WITHIN)?;

    let rate = waiting as f64 / drained.as_secs_f64();
    println!("{waiting} events drained in {drained:.1?} ({rate:.0}/s)");
    let mut late = lateness(&site.database(), waiting, &seen)?;
    late.sort_unstable();
    let at = |share: usize| late.get(late.len() * share / 100).copied().unwrap_or(0);
    println!("{} live events meanwhile, in central after: p50 {} ms, p99 {} ms", late.len(), at(50), at(99));
    assert!(late.len() >= 20, "too few live events to say anything: {}", late.len());
    assert!(at(99) < LATE_MS, "live events wait for the backlog: p99 {} ms", at(99));

    assert!(verdict.missing == 0 && verdict.changed == 0 && verdict.gaps == 0, "{verdict:?}");
    assert_eq!(verdict.unlogged, waiting, "the backlog, and nothing else, is not in this log");
    check_order(&listener.heard(), waiting);
    Ok(())
}

/// Notes when lines of a log are there.
struct Watch {
    log: File,
    inotify: OwnedFd,
}

impl Watch {
    /// Begins with the log that an agent will write.
    fn begin(log: &Path) -> anyhow::Result<Self> {
        File::create(log)?;
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, log, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CLOSE_WRITE)?;
        Ok(Self { log: File::open(log)?, inotify })
    }

    /// When each line was there, until whoever writes them closes the log: number, and Unix milliseconds.
    fn run(mut self) -> anyhow::Result<BTreeMap<u64, i64>> {
        let (mut seen, mut rest) = (BTreeMap::new(), Vec::new());
        let mut buffer = [MaybeUninit::uninit(); 4_096];
        let mut changes = inotify::Reader::new(self.inotify, &mut buffer);
        loop {
            let is_closed = changes.next()?.events().contains(inotify::ReadFlags::CLOSE_WRITE);
            self.log.read_to_end(&mut rest)?;
            let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line: EventLine = serde_json::from_slice(&line).context("a line of the log")?;
                seen.insert(line.seq.0, now);
            }
            if is_closed {
                return Ok(seen);
            }
        }
    }
}

/// How long after it was accepted central got each event that was accepted while the backlog drained.
fn lateness(database: &PathBuf, waiting: u64, seen: &BTreeMap<u64, i64>) -> anyhow::Result<Vec<i64>> {
    let database = Connection::open(database)?;
    let sql = format!("SELECT max(received) FROM event WHERE seq <= {waiting}");
    let drained: i64 = database.query_row(&sql, [], |row| row.get(0))?;
    let mut rows = database.prepare(&format!("SELECT seq, received FROM event WHERE seq > {waiting}"))?;
    let mut rows = rows.query([])?;
    let mut late = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, received): (i64, i64) = (row.get(0)?, row.get(1)?);
        if let Some(accepted) = seen.get(&seq.cast_unsigned())
            && *accepted < drained
        {
            late.push(received - accepted);
        }
    }
    Ok(late)
}

/// What waited is marked and comes in order; what happened since is neither held up nor marked, unless it
/// is sent again.
fn check_order(heard: &Heard, waiting: u64) {
    let (mut highest, mut highest_live) = (0, waiting);
    let (mut batches, mut live) = (0, 0);
    for batch in &heard.order {
        let (first, last) = (batch.range.first.0, batch.range.last.0);
        if first <= waiting {
            assert!(last <= waiting, "{batch:?} mixes what waited and what is live");
            assert!(batch.replayed, "{batch:?} waited and is not marked");
            assert!(first <= highest + 1, "{batch:?} comes before {}", highest + 1);
            (highest, batches) = (highest.max(last), batches + 1);
        } else if last > highest_live {
            assert!(!batch.replayed, "{batch:?} is live and marked as if it had waited");
            (highest_live, live) = (last, live + 1);
        }
    }
    println!("{batches} batches of the backlog, {live} live ones");
    assert_eq!(highest, waiting);
}

/// How many of the first `waiting` numbers central has stored.
fn stored(database: &Path, waiting: u64) -> anyhow::Result<u64> {
    let database = Connection::open(database)?;
    database.busy_timeout(Duration::from_secs(5))?;
    // A few ranges: counting a million rows would take its time from central.
    let sql = "SELECT COALESCE(sum(min(last, ?1) - first + 1), 0) FROM settled
               WHERE fate = 'stored' AND first <= ?1";
    let stored: i64 = database.query_row(sql, [waiting.cast_signed()], |row| row.get(0))?;
    Ok(u64::try_from(stored)?)
}
