//! One program that was started. Enters: a command. Leaves: its log, its memory, its end.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// How often the end of a process, or a condition, is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// A program that was started. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose output goes to a file, after what is there already. It gets a process
    /// group of its own, so that Ctrl-C on a terminal reaches only who started it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let file = open().with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { name: name.into(), child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its file of output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With its exit code and the end of its log.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.last_lines()),
        }
    }

    /// Stops it in its tracks with SIGSTOP, and waits until all its threads stand still: on a busy machine they go on
    /// for a while.
    ///
    /// # Errors
    /// When the signal cannot be sent, or a thread does not stop for ten seconds.
    pub fn pause(&self) -> io::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP)?;
        let end = Instant::now() + Duration::from_secs(10);
        while waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG)?.is_none() {
            if Instant::now() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} does not stop", self.name)));
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end with SIGTERM, and waits.
    ///
    /// # Errors
    /// When it does not end in time, or not with success.
    pub fn stop(mut self, within: Duration) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop {}", self.name))?;
        let end = Instant::now() + within;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                bail!("{} did not end within {within:?}\n{}", self.name, self.last_lines());
            }
            sleep(LOOK);
        };
        // One that has only just started has not yet asked to be told of the signal.
        if !status.success() && status.signal() != Some(Signal::TERM.as_raw()) {
            bail!("{} ended with {status}\n{}", self.name, self.last_lines());
        }
        Ok(())
    }

    /// Its memory now and at most so far, in KiB: `VmRSS` and `VmHWM` of `/proc`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory_kib(&self) -> anyhow::Result<(u64, u64)> {
        memory_kib(self.id())
    }

    fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The memory of a process now and at most so far, in KiB.
///
/// # Errors
/// When there is no such process.
pub fn memory_kib(id: u32) -> anyhow::Result<(u64, u64)> {
    let path = format!("/proc/{id}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("{path} has no {name}"))
    };
    Ok((field("VmRSS")?, field("VmHWM")?))
}

/// Looks for something until it is there.
///
/// # Errors
/// When it is not there in time, or looking fails.
pub fn wait_for<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {within:?} in vain for {what}");
        }
        sleep(LOOK);
    }
}
