//! A machine whose wall clock a test sets, and whose boots a test begins. Enters: a folder, commands.
//! Leaves: the same commands, seeing that clock, that boot id and that time service. Needs root and a C
//! compiler: the clock is a library that is preloaded, the rest is mounted where only the command sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::compile_preload;
use super::gateway::succeeded;

const SOURCE: &str = include_str!("clock.c");
/// Mounts over what a command may see of boot and time service, and becomes that command.
const SCRIPT: &str = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && \
    mkdir -p /run && mount --bind \"$1\" /run && shift && exec \"$@\"";

/// A machine.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// A machine whose clock is right, but that no time service has set.
    ///
    /// # Errors
    /// When the library cannot be compiled.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let machine = Self { folder: folder.to_owned() };
        fs::create_dir_all(machine.run().join("systemd/timesync"))?;
        compile_preload(SOURCE, &machine.library())?;
        machine.set_clock(0)?;
        machine.begin_boot(1)?;
        Ok(machine)
    }

    /// Why there can be no such machine here; `None` when there can.
    #[must_use]
    pub fn refusal() -> Option<String> {
        let attempt = || -> anyhow::Result<()> {
            let folder = super::folder()?;
            let machine = Self::new(folder.path())?;
            succeeded(machine.command(&Command::new("true")).output()?).map(drop)
        };
        attempt().err().map(|why| format!("no other clock and boot can be mounted: {why:#}"))
    }

    /// The same command on this machine.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "sh", "-c", SCRIPT]).arg(self.boot_file()).arg(self.run());
        inside.arg(command.get_program()).args(command.get_args());
        inside.env("LD_PRELOAD", self.library()).env("HANGTAG_CLOCK", self.clock_file());
        inside
    }

    /// Makes the wall clock wrong by so many milliseconds; 0 makes it right.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_clock(&self, offset_ms: i64) -> anyhow::Result<()> {
        // Renamed into place: nobody must read an empty file for a moment.
        let fresh = self.folder.join("clock.new");
        fs::write(&fresh, offset_ms.to_string())?;
        Ok(fs::rename(fresh, self.clock_file())?)
    }

    /// Makes the wall clock start in 1970, as where there is no battery.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_clock_to_1970(&self) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        self.set_clock(-i64::try_from(now)?)
    }

    /// Whether a time service says that the clock is right.
    ///
    /// # Errors
    /// When its file can be neither made nor removed.
    pub fn set_synchronised(&self, synchronised: bool) -> anyhow::Result<()> {
        let file = self.run().join("systemd/timesync/synchronized");
        if synchronised {
            fs::write(file, "")?;
        } else if file.exists() {
            fs::remove_file(file)?;
        }
        Ok(())
    }

    /// A time service sets the clock right, and says so.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn keep_time(&self) -> anyhow::Result<()> {
        self.set_clock(0)?;
        self.set_synchronised(true)
    }

    /// Commands that start from here on see this boot.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin_boot(&self, number: u64) -> anyhow::Result<()> {
        Ok(fs::write(self.boot_file(), format!("{number:08x}-0000-4000-8000-000000000000\n"))?)
    }

    /// That boot, as events name it.
    #[must_use]
    pub fn boot(number: u64) -> String {
        format!("{number:08x}00004000")
    }

    fn library(&self) -> PathBuf {
        self.folder.join("clock.so")
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.join("clock")
    }

    fn boot_file(&self) -> PathBuf {
        self.folder.join("boot_id")
    }

    fn run(&self) -> PathBuf {
        self.folder.join("run")
    }
}

/// What the right clock showed when the kernel started, in Unix milliseconds.
#[must_use]
pub fn kernel_started_ms() -> i64 {
    ms(ClockId::Realtime) - ms(ClockId::Boottime)
}

/// Milliseconds since the kernel started, which the agent calls uptime.
#[must_use]
pub fn uptime_ms() -> u64 {
    u64::try_from(ms(ClockId::Boottime)).unwrap_or(0)
}

fn ms(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}
