//! A central of the measurement's own: this program, as it runs everywhere. Enters: a configuration. Leaves: what the
//! process has used.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

/// In which Linux tells programs how long they ran, whatever the kernel counts in.
const TICKS_PER_S: f64 = 100.0;

/// A central that runs. Dropping it kills it.
pub(super) struct Central {
    process: Child,
    log: PathBuf,
}

/// What a process has used.
pub(super) struct Used {
    /// Of all cores, in seconds.
    pub cpu_s: f64,
    /// The most memory at any time, in MiB.
    pub peak_mib: f64,
}

impl Central {
    /// Starts it with the configuration in a folder.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join("central.log");
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let process = Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(folder.join("central.toml"))
            .env("HANGTAG_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start central")?;
        Ok(Self { process, log })
    }

    /// Fails when it ended, with its last words.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        let ended = self.process.try_wait()?;
        ensure!(ended.is_none(), "central ended: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
        Ok(())
    }

    /// What it has used so far.
    pub(super) fn used(&self) -> anyhow::Result<Used> {
        let of = |file: &str| {
            let path = format!("/proc/{}/{file}", self.process.id());
            std::fs::read_to_string(&path).context(path)
        };
        let (stat, status) = (of("stat")?, of("status")?);
        // The name, in brackets, may hold anything. Of what follows it the 12th and 13th are user's and system's time.
        let fields =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11)).context("stat")?;
        let ticks: Vec<f64> = fields.take(2).map(str::parse).collect::<Result<_, _>>()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let kib: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        Ok(Used { cpu_s: ticks.iter().sum::<f64>() / TICKS_PER_S, peak_mib: kib / 1_024.0 })
    }
}

impl Drop for Central {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
