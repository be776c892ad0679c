//! The power fails while the spool is written, at random moments: what was accepted is there afterwards.
//!
//! The spool lies on ext4 over a loop device. The writer is stopped, the image is copied from under the
//! mounted file system, and what a fresh mount of the copy gives back is what a gateway would find at its
//! next start. What was accepted by then stands in the accepted log, on another file system.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hangtag_tests::harness::gateway::{Gateway, succeeded};
use hangtag_tests::harness::image::{Image, refusal, scratch};
use hangtag_tests::harness::judge::judge;
use hangtag_tests::harness::process::Process;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder_in, long, seed, skip, skip_long};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Rounds per set, in a normal and in a long run.
const GROWING: (u32, u32) = (20, 180);
const STEADY: (u32, u32) = (16, 140);
const CARRIED_ON: (u32, u32) = (20, 180);
/// How many of the last events a spool that settles what is older must still have.
const WINDOW: usize = 500;
const SETTLE_BEHIND: &str = "500";
/// The size of the images: what runs for some seconds fits well.
const MIB: u64 = 128;

/// A gateway whose power is cut again and again.
struct Bench {
    folder: tempfile::TempDir,
    site: Site,
    /// The gateway with power, and the same one as it is found after the cut.
    writing: Gateway,
    found: Gateway,
    /// Another program than the one that reads afterwards.
    writer: Option<PathBuf>,
    dice: ChaCha8Rng,
    rounds: u32,
    checked: u64,
    lost: u64,
}

/// How the writer writes.
struct Style {
    settles: bool,
    /// The longest run, in milliseconds; a third of the runs are far shorter if `soon`.
    longest_ms: u64,
    soon: bool,
}

impl Bench {
    fn new(spool: &str) -> anyhow::Result<Self> {
        let folder = folder_in(&scratch())?;
        // Nobody speaks to a broker here.
        let site = Site::for_test(folder.path(), 1)?;
        let gateway = |name: &str| {
            let data = folder.path().join(name).join("agent-data");
            Gateway::create(&site, name, &data, 1, spool)
        };
        let (writing, found) = (gateway("writing")?, gateway("found")?);
        let dice = ChaCha8Rng::seed_from_u64(seed());
        Ok(Self { site, writing, found, writer: None, dice, rounds: 0, checked: 0, lost: 0, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An empty image, and an empty log.
    fn begin(&self) -> anyhow::Result<Image> {
        std::fs::write(self.writing.accepted_log(), "")?;
        Image::create(&self.path("power.img"), MIB)
    }

    /// Lets the writer write, cuts its power, and returns what the device had by then.
    fn cut(&mut self, image: &Image, style: &Style) -> anyhow::Result<Image> {
        let mount = image.mount(&self.path("writing"))?;
        let per_commit = self.dice.random_range(1..=8).to_string();
        let every_ms = self.dice.random_range(0..=20).to_string();
        let seed = self.rounds.to_string();
        let mut fill = self.writing.command(&["bench", "fill", "--more", "--events", "0"]);
        if let Some(writer) = &self.writer {
            let arguments: Vec<_> = fill.get_args().map(ToOwned::to_owned).collect();
            fill = Command::new(writer);
            fill.args(arguments);
        }
        fill.args(["--per-commit", &per_commit, "--every-ms", &every_ms, "--seed", &seed]);
        fill.arg("--accepted-log").arg(self.writing.accepted_log());
        if style.settles {
            fill.args(["--settle-behind", SETTLE_BEHIND]);
        }
        let mut writer = Process::start("bench fill", &mut fill, &self.writing.log())?;
        let soon = style.soon && self.dice.random_bool(0.35);
        let run_ms = self.dice.random_range(if soon { 5..120 } else { 100..style.longest_ms });
        std::thread::sleep(Duration::from_millis(run_ms));
        writer.check()?;
        writer.pause()?;
        let cut = image.copy(&self.path("cut.img"))?;
        writer.kill()?;
        mount.unmount()?;
        self.rounds += 1;
        Ok(cut)
    }

    /// Opens what a cut left, and compares it with what was accepted by then.
    fn look(&mut self, cut: &Image, style: &Style) -> anyhow::Result<()> {
        let whole = std::fs::read_to_string(self.writing.accepted_log())?;
        let whole = whole.rfind('\n').map_or("", |end| &whole[..=end]);
        let mut accepted: Vec<&str> = whole.lines().collect();
        if style.settles {
            accepted.drain(..accepted.len().saturating_sub(WINDOW));
        }
        let log = self.path("accepted.jsonl");
        std::fs::write(&log, accepted.iter().flat_map(|line| [*line, "\n"]).collect::<String>())?;
        if accepted.is_empty() {
            return Ok(());
        }
        let mount = cut.mount(&self.path("found"))?;
        let export = self.path(&format!("export-{}.htgx", self.rounds));
        // The next start opens the database; an export alone would only look at its files.
        let started =
            self.found.command(&["bench", "fill", "--more", "--events", "1"]).output().map(succeeded);
        let exported = self.found.export(&export);
        mount.unmount()?;
        started??;
        exported.with_context(|| format!("round {}, {} accepted", self.rounds, accepted.len()))?;
        let database = import(&self.site, &export)?;
        std::fs::remove_file(&export)?;
        let verdict = judge(&log, &database)?;
        // Whoever had to rescue something began a new epoch.
        let lost = verdict.missing + verdict.lost + verdict.changed + verdict.epochs.saturating_sub(1);
        if lost > 0 {
            println!("round {}: {verdict:?}", self.rounds);
        }
        self.checked += verdict.accepted;
        self.lost += lost;
        Ok(())
    }

    fn report(&self, set: &str, begin: Instant) {
        let Self { rounds, checked, lost, .. } = self;
        println!("{set}: {rounds} cuts in {:.1?}, {checked} events checked, {lost} lost", begin.elapsed());
    }
}

/// Imports an export into a fresh database.
fn import(site: &Site, export: &Path) -> anyhow::Result<PathBuf> {
    let database = site.database();
    for end in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{end}", database.display()));
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    succeeded(site.central("import").arg(export).output()?)?;
    Ok(database)
}

fn rounds((normal, many): (u32, u32)) -> u32 {
    if long() { many } else { normal }
}

#[test]
fn a_growing_backlog_survives_every_cut() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let (mut bench, begin) = (Bench::new("")?, Instant::now());
    let style = Style { settles: false, longest_ms: 2_000, soon: false };
    for _ in 0..rounds(GROWING) {
        let image = bench.begin()?;
        let cut = bench.cut(&image, &style)?;
        bench.look(&cut, &style)?;
    }
    bench.report("growing", begin);
    ensure!(bench.lost == 0 && bench.checked > 0, "{} lost", bench.lost);
    Ok(())
}

#[test]
fn a_spool_that_settles_as_it_goes_survives_every_cut() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let (mut bench, begin) = (Bench::new("[spool]\nretention_h = 0\n")?, Instant::now());
    let style = Style { settles: true, longest_ms: 2_500, soon: false };
    for _ in 0..rounds(STEADY) {
        let image = bench.begin()?;
        let cut = bench.cut(&image, &style)?;
        bench.look(&cut, &style)?;
    }
    bench.report("steady", begin);
    ensure!(bench.lost == 0 && bench.checked > 0, "{} lost", bench.lost);
    Ok(())
}

#[test]
fn a_spool_carried_on_from_cut_to_cut_loses_nothing() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let (mut bench, begin) = (Bench::new("[spool]\nretention_h = 0\n")?, Instant::now());
    let style = Style { settles: true, longest_ms: 1_500, soon: true };
    let mut image = bench.begin()?;
    for _ in 0..rounds(CARRIED_ON) {
        let cut = bench.cut(&image, &style)?;
        // Looking opens the spool: the next round goes on from a copy that nobody has looked at.
        image = cut.copy(&bench.path("power.img"))?;
        bench.look(&cut, &style)?;
    }
    bench.report("carried on", begin);
    ensure!(bench.lost == 0 && bench.checked > 0, "{} lost", bench.lost);
    Ok(())
}

/// The proof that these tests can fail: without the barrier they do.
#[test]
fn without_the_barrier_events_are_lost() -> anyhow::Result<()> {
    const ROUNDS: u32 = 18;
    if !long() {
        return skip_long("builds another agent");
    }
    if let Some(why) = refusal() {
        return skip(why);
    }
    let source = folder_in(&std::env::temp_dir())?;
    let (mut bench, begin) = (Bench::new("")?, Instant::now());
    bench.writer = Some(agent_without_barrier(source.path())?);
    let style = Style { settles: false, longest_ms: 4_000, soon: false };
    while bench.rounds < ROUNDS && bench.lost == 0 {
        let image = bench.begin()?;
        let cut = bench.cut(&image, &style)?;
        if let Err(why) = bench.look(&cut, &style) {
            // Nothing can be read at all.
            println!("{why:#}");
            bench.lost += 1;
        }
    }
    bench.report("without the barrier", begin);
    ensure!(bench.lost > 0, "{ROUNDS} cuts without the barrier lost nothing: the test proves nothing");
    Ok(())
}

/// Builds an agent whose barrier does not sync.
fn agent_without_barrier(source: &Path) -> anyhow::Result<PathBuf> {
    const SYNC: &str = "self.file.sync_data().map_err(StoreError::Sync)?;";
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    copy_sources(&workspace, source)?;
    let store = source.join("agent/daemon/src/spool/store.rs");
    let text = std::fs::read_to_string(&store)?;
    let barrier = text.find("fn barrier").context("store.rs has no barrier")?;
    let sync = barrier + text[barrier..].find(SYNC).context("the barrier does not sync")?;
    std::fs::write(&store, format!("{}{}", &text[..sync], &text[sync + SYNC.len()..]))?;
    // A folder of its own: the other tests must not find this agent in theirs.
    let target = std::env::current_exe()?.with_file_name("without-barrier");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "-p", "hangtag-agent", "--target-dir"]).arg(&target);
    succeeded(build.current_dir(source).output()?)?;
    Ok(target.join("debug/hangtag-agent"))
}

fn copy_sources(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_file() {
            std::fs::copy(entry.path(), to.join(&name))?;
        } else if kind.is_dir() && name != "target" && name != ".git" {
            std::fs::create_dir_all(to.join(&name))?;
            copy_sources(&entry.path(), &to.join(&name))?;
        }
    }
    Ok(())
}
