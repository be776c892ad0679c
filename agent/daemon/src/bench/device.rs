//! `bench device`: how much wears the disk. Enters: a folder, a rate. Leaves: bytes that reach the block
//! device per event, through the spool and into a plain file that is synced as often.
//!
//! As root each side gets a file system of its own (ext4 on a loop device), and what the loop device
//! was told to write is counted: the file system's journal is then in it. Otherwise `write_bytes` of
//! `/proc/self/io` is counted, which leaves the journal out on both sides.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::Seq;
use tokio::time::{MissedTickBehavior, interval};

use super::append::{pack, plain_file};
use super::day::{Day, TAGS};
use super::keeper::{COMMIT_EVENTS, Keeper};
use super::report::{Aim, Report, Sample};
use crate::clock;

const WINDOWS: usize = 6;
const COMMIT: Duration = Duration::from_millis(250);
const FEED: Duration = Duration::from_millis(10);
/// Events that wait all the time.
const BEHIND: u64 = 10_000;
const IMAGE_BYTES: u64 = 512 << 20;

/// Measures.
pub(super) async fn run(folder: &Path, rate: u64, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let window = Duration::from_secs(seconds);
    let mounted = Mounted::new(folder, "ours").and_then(|ours| Ok((ours, Mounted::new(folder, "plain")?)));
    let (ours, plain) = match mounted {
        Ok((ours, plain)) => {
            // Their counters know nothing of each other: both at once.
            let counts = tokio::join!(
                through_spool(&ours.folder, rate, window, Counter::Device(ours.stat.clone())),
                to_file(&plain.folder, rate, window, Counter::Device(plain.stat.clone())),
            );
            (counts.0?, counts.1?)
        }
        Err(why) => {
            eprintln!("no file system of its own ({why:#}): counting without the journal");
            (
                through_spool(folder, rate, window, Counter::Process).await?,
                to_file(folder, rate, window, Counter::Process).await?,
            )
        }
    };
    let ratio = ours.iter().zip(&plain).map(|(ours, plain)| ours / plain).collect();
    report.sample("device", &Sample::new(ours), "B/event");
    report.sample("device_floor", &Sample::new(plain), "B/event");
    report.aimed("device_ratio", &Sample::new(ratio), "x", Aim::AtMost(1.5));
    Ok(())
}

async fn through_spool(
    folder: &Path,
    rate: u64,
    window: Duration,
    counter: Counter,
) -> anyhow::Result<Vec<f64>> {
    let keeper = Keeper::in_folder(folder, COMMIT, COMMIT_EVENTS)?;
    let mut day = Day::new(TAGS, 1, clock::boot_id()?, Uptime(3_600_000), Seq::FIRST);
    let mut meter = Meter::new(folder, rate, window, counter)?;
    while let Some(events) = meter.next_feed(FEED).await? {
        if events == 0 {
            continue;
        }
        let events: Vec<_> = day.by_ref().take(events).collect();
        let last = events.last().map_or(0, |(seq, _)| seq.0);
        keeper.hand_over(events, day.snapshot()).await?;
        if last > BEHIND && meter.is_full_second() {
            keeper.settle(Seq(last - BEHIND)).await?;
        }
    }
    keeper.close().await?;
    Ok(meter.bytes)
}

async fn to_file(folder: &Path, rate: u64, window: Duration, counter: Counter) -> anyhow::Result<Vec<f64>> {
    let mut plain = plain_file(folder)?;
    let mut day = Day::new(TAGS, 1, clock::boot_id()?, Uptime(3_600_000), Seq::FIRST);
    let mut meter = Meter::new(folder, rate, window, counter)?;
    while let Some(events) = meter.next_feed(COMMIT).await? {
        let events: Vec<_> = day.by_ref().take(events).collect();
        let packed = pack(&events);
        plain = tokio::task::spawn_blocking(move || {
            plain.write_all(&packed)?;
            plain.sync_data()?;
            Ok::<_, std::io::Error>(plain)
        })
        .await??;
    }
    Ok(meter.bytes)
}

/// Feeds at a rate, and reads the counter at the end of each window.
struct Meter {
    folder: fs::File,
    counter: Counter,
    rate: u64,
    window: Duration,
    ticks: Option<tokio::time::Interval>,
    began: tokio::time::Instant,
    fed: u64,
    second: u64,
    windows: usize,
    at_start: (u64, u64),
    bytes: Vec<f64>,
}

impl Meter {
    fn new(folder: &Path, rate: u64, window: Duration, counter: Counter) -> anyhow::Result<Self> {
        let at_start = (counter.bytes()?, 0);
        let folder = fs::File::open(folder)?;
        let began = tokio::time::Instant::now();
        Ok(Self {
            folder,
            counter,
            rate,
            window,
            ticks: None,
            began,
            fed: 0,
            second: 0,
            windows: 0,
            at_start,
            bytes: Vec::new(),
        })
    }

    /// How many events are due; `None` at the end.
    async fn next_feed(&mut self, every: Duration) -> anyhow::Result<Option<usize>> {
        let ticks = self.ticks.get_or_insert_with(|| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        ticks.tick().await;
        if self.began.elapsed() >= self.window * u32::try_from(self.windows + 1)? {
            // What was written and not synced belongs to this window too.
            rustix::fs::syncfs(self.folder.as_fd())?;
            let (bytes, fed) = (self.counter.bytes()?, self.fed);
            // In the first window everything is made, and the backlog grows.
            if self.windows > 0 {
                self.bytes.push((bytes - self.at_start.0) as f64 / (fed - self.at_start.1) as f64);
            }
            self.at_start = (bytes, fed);
            self.windows += 1;
            if self.windows == WINDOWS {
                return Ok(None);
            }
        }
        let due = u64::try_from(self.began.elapsed().as_millis())? * self.rate / 1_000;
        let events = due.saturating_sub(self.fed);
        self.fed = due;
        Ok(Some(usize::try_from(events)?))
    }

    /// Whether another second began since it was asked last.
    fn is_full_second(&mut self) -> bool {
        let second = self.began.elapsed().as_secs();
        std::mem::replace(&mut self.second, second) != second
    }
}

/// What counts bytes.
enum Counter {
    /// `stat` of a block device, whose seventh number counts sectors of 512 bytes.
    Device(PathBuf),
    Process,
}

impl Counter {
    fn bytes(&self) -> anyhow::Result<u64> {
        let (path, found, unit) = match self {
            Self::Device(stat) => {
                let text = fs::read_to_string(stat)?;
                (stat.clone(), text.split_whitespace().nth(6).map(str::to_owned), 512)
            }
            Self::Process => {
                let path = PathBuf::from("/proc/self/io");
                let text = fs::read_to_string(&path)?;
                let found = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
                (path, found.map(str::to_owned), 1)
            }
        };
        let number: u64 = found
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("no count in {}", path.display()))?;
        Ok(number * unit)
    }
}

/// A file system of its own, gone when it is dropped.
struct Mounted {
    folder: PathBuf,
    stat: PathBuf,
}

impl Mounted {
    fn new(within: &Path, name: &str) -> anyhow::Result<Self> {
        let (image, folder) = (within.join(format!("{name}.img")), within.join(name));
        fs::create_dir_all(&folder)?;
        fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
        // Made completely: nothing is left for the kernel to initialise while it is counted.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run_command(Command::new("mkfs.ext4").args(["-q", "-F", "-E", lazy]).arg(&image))?;
        run_command(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder))?;
        let mounts = fs::read_to_string("/proc/mounts")?;
        let device = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let device = words.next()?.strip_prefix("/dev/")?;
            (Path::new(words.next()?) == folder).then(|| device.to_owned())
        });
        let device = device.with_context(|| format!("{} is not mounted", folder.display()))?;
        Ok(Self { folder, stat: format!("/sys/block/{device}/stat").into() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(why) = run_command(Command::new("umount").arg(&self.folder)) {
            eprintln!("{why:#}");
        }
    }
}

fn run_command(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
