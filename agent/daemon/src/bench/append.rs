//! `bench append` and `bench loop`: how fast events become durable. Enters: a folder on the disk to
//! measure. Leaves: events per second through the spool, beside a plain file that is appended to and
//! synced as often. The two take turns on the same disk, because a disk's mood changes within seconds.
//!
//! - *append*: a hundred events, then the barrier, and again. The plain file gets the same packed bytes,
//!   packed beforehand. The spool also keeps what inference remembers, and removes what is settled: it
//!   holds 20,000 events all the time.
//! - *loop*: as many events as go, and the barrier every 10 or 100 ms. Both sides pack.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::columns;
use hangtag_protocol::event::{Event, What};
use hangtag_protocol::id::Seq;
use rustix::time::{ClockId, clock_gettime};

use super::day::{Day, TAGS};
use super::keeper::{Bare, Keeper};
use super::report::{Aim, Report, Sample};
use crate::clock;
use crate::spool::Accept;

const ROUNDS: usize = 9;
const FLUSHES: usize = 400;
const FLUSH_EVENTS: usize = 100;
/// Events that wait all the time.
const WINDOW: u64 = 20_000;
/// A watermark comes after so many flushes.
const SETTLE_EVERY: usize = 10;

const LOOP_ROUNDS: usize = 7;
/// `commit_events`: the interval alone is to decide, within what memory allows.
const LOOP_EVENTS: usize = 65_536;
const LOOP_TAKES: Duration = Duration::from_millis(1_500);
/// Events that are handed over at once, and how many such chunks take turns.
const CHUNK: usize = 256;
const CHUNKS: usize = 64;

/// Measures durable append.
pub(super) fn run(folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut spool = Bare::in_folder(folder)?;
    let mut plain = plain_file(folder)?;
    let mut day = Day::new(TAGS, 1, clock::boot_id()?, Uptime(3_600_000), Seq::FIRST);
    let (mut ours, mut floor, mut ratio, mut flush_ms) = (vec![], vec![], vec![], vec![]);
    let (mut cpu, mut cpu_floor, mut pack_ns) = (vec![], vec![], vec![]);
    // The first round fills the window and warms everything up.
    for round in 0..=ROUNDS {
        let work: Vec<(Accept, Vec<u8>)> = (0..FLUSHES).map(|_| prepare(&mut day)).collect();
        let packing = cpu_us();
        work.iter().for_each(|(accept, _)| drop(black_box(pack(&accept.events))));
        pack_ns.push((cpu_us() - packing) * 1e3 / (FLUSHES * FLUSH_EVENTS) as f64);
        let mut through_spool = || {
            let (began, used) = (Instant::now(), cpu_us());
            for (n, (accept, _)) in work.iter().enumerate() {
                let flush = Instant::now();
                spool.accept(accept);
                flush_ms.push(flush.elapsed().as_secs_f64() * 1e3);
                let last = accept.events.last().map_or(0, |(seq, _)| seq.0);
                if n % SETTLE_EVERY == 0 && last > WINDOW {
                    spool.settle(Seq(last - WINDOW));
                }
            }
            cpu.push((cpu_us() - used) / FLUSHES as f64);
            per_second(FLUSHES * FLUSH_EVENTS, began)
        };
        let mut to_file = || -> std::io::Result<f64> {
            let (began, used) = (Instant::now(), cpu_us());
            for (_, packed) in &work {
                plain.write_all(packed)?;
                plain.sync_data()?;
            }
            cpu_floor.push((cpu_us() - used) / FLUSHES as f64);
            Ok(per_second(FLUSHES * FLUSH_EVENTS, began))
        };
        let (through, to) = if round % 2 == 0 {
            let to = to_file()?;
            (through_spool(), to)
        } else {
            (through_spool(), to_file()?)
        };
        if round > 0 {
            ours.push(through);
            floor.push(to);
            ratio.push(through / to);
        }
    }
    report.sample("durable_append_pack", &Sample::new(pack_ns), "ns/event");
    report.sample("durable_append_cpu", &Sample::new(cpu), "us/flush");
    report.sample("durable_append_floor_cpu", &Sample::new(cpu_floor), "us/flush");
    report.sample("durable_append", &Sample::new(ours), "events/s");
    report.sample("durable_append_floor", &Sample::new(floor), "events/s");
    report.sample("durable_append_flush", &Sample::new(flush_ms), "ms");
    report.aimed("durable_append_ratio", &Sample::new(ratio), "x", Aim::AtLeast(0.9));
    Ok(())
}

fn prepare(day: &mut Day) -> (Accept, Vec<u8>) {
    let events: Vec<(Seq, Event)> = day.by_ref().take(FLUSH_EVENTS).collect();
    let packed = pack(&events);
    (Accept { events, snapshot: day.snapshot() }, packed)
}

/// Measures the closed loop.
pub(super) async fn closed_loop(folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    for every_ms in [10, 100] {
        let every = Duration::from_millis(every_ms);
        let folder = folder.join(format!("{every_ms}"));
        std::fs::create_dir_all(&folder)?;
        let keeper = Keeper::in_folder(&folder, every, LOOP_EVENTS)?;
        let mut plain = plain_file(&folder)?;
        let mut chunks = Chunks::new()?;
        let (mut ours, mut floor, mut ratio) = (vec![], vec![], vec![]);
        for round in 0..=LOOP_ROUNDS {
            let through = through_spool(&keeper, &mut chunks).await?;
            let to = to_file(&mut plain, every, &chunks)?;
            if round > 0 {
                ours.push(through);
                floor.push(to);
                ratio.push(through / to);
            }
        }
        keeper.close().await?;
        let name = format!("closed_loop_{every_ms}ms");
        report.sample(&name, &Sample::new(ours), "events/s");
        report.sample(&format!("{name}_floor"), &Sample::new(floor), "events/s");
        report.aimed(&format!("{name}_ratio"), &Sample::new(ratio), "x", Aim::AtLeast(0.5));
    }
    Ok(())
}

async fn through_spool(keeper: &Keeper, chunks: &mut Chunks) -> anyhow::Result<f64> {
    let began = Instant::now();
    let first = keeper.next();
    for n in 0.. {
        keeper.hand_over(chunks.next(), Vec::new()).await?;
        let durable = keeper.next().0;
        if n % 16 == 0 && durable > WINDOW {
            keeper.settle(Seq(durable - WINDOW)).await?;
        }
        if began.elapsed() >= LOOP_TAKES {
            break;
        }
    }
    let events = keeper.next().0 - first.0;
    let rate = per_second(usize::try_from(events)?, began);
    keeper.accept(chunks.next(), Vec::new()).await?;
    Ok(rate)
}

/// The same events, packed as the spool packs them, into a plain file.
fn to_file(plain: &mut File, every: Duration, chunks: &Chunks) -> anyhow::Result<f64> {
    let mut chunks = chunks.clone();
    let (began, mut synced) = (Instant::now(), Instant::now());
    let (mut events, mut durable) = (0, 0);
    while began.elapsed() < LOOP_TAKES {
        let chunk = chunks.next();
        plain.write_all(&pack(&chunk))?;
        events += chunk.len();
        if synced.elapsed() >= every {
            plain.sync_data()?;
            (synced, durable) = (Instant::now(), events);
        }
    }
    Ok(per_second(durable, began))
}

/// Events without end, of a day that repeats: to invent them takes longer than to keep them.
#[derive(Clone)]
struct Chunks {
    invented: Vec<Vec<(Seq, Event)>>,
    handed_out: usize,
}

impl Chunks {
    fn new() -> anyhow::Result<Self> {
        let mut day = Day::new(TAGS, 1, clock::boot_id()?, Uptime(3_600_000), Seq::FIRST);
        let invented = (0..CHUNKS).map(|_| day.by_ref().take(CHUNK).collect()).collect();
        Ok(Self { invented, handed_out: 0 })
    }

    /// The next events, numbered on.
    fn next(&mut self) -> Vec<(Seq, Event)> {
        let later = (self.handed_out / CHUNKS * CHUNKS * CHUNK) as u64;
        let mut events = self.invented[self.handed_out % CHUNKS].clone();
        self.handed_out += 1;
        for (seq, event) in &mut events {
            *seq = seq.plus(later);
            match &mut event.what {
                What::CarriedIn(fitting) | What::TriedOn(fitting) | What::CarriedOut(fitting) => {
                    fitting.visit = fitting.visit.plus(later);
                }
                What::Scanned(scan) => scan.visit = scan.visit.map(|visit| visit.plus(later)),
                What::PickedUp(_) | What::PutDown(_) | What::Retracted { .. } | What::Coverage(_) => {}
            }
        }
        events
    }
}

/// Packs numbered events as the spool does.
pub(super) fn pack(events: &[(Seq, Event)]) -> Vec<u8> {
    let first = events.first().map_or(Seq::FIRST, |(seq, _)| *seq);
    let events: Vec<Event> = events.iter().map(|(_, event)| event.clone()).collect();
    columns::pack(first, &events)
}

/// A file to append to.
pub(super) fn plain_file(folder: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(folder.join("plain"))
}

/// What this process has computed so far, all threads together, in microseconds: on a busy machine it
/// says more than the time that passed.
fn cpu_us() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 * 1e6 + used.tv_nsec as f64 / 1e3
}

fn per_second(events: usize, began: Instant) -> f64 {
    events as f64 / began.elapsed().as_secs_f64()
}
