//! One agent's files, for tests that run several agents, or one in unusual places. Enters: a site, a name,
//! where its data lies. Leaves: commands of the agent, and running agents.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::process::{Process, wait_for};
use super::site::Site;
use crate::emulator::carousel;
use crate::shop::layout::agent_toml;

/// How long an agent may take to end when it is asked to.
pub const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// One agent's files.
#[derive(Clone, Debug)]
pub struct Gateway {
    program: PathBuf,
    folder: PathBuf,
    name: String,
    data: PathBuf,
}

impl Gateway {
    /// Writes the configuration `NAME.toml` of a gateway with a [`carousel`] for a reader. `more` is added
    /// to the configuration: tables that it has not.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(
        site: &Site,
        name: &str,
        data: &Path,
        broker_port: u16,
        more: &str,
    ) -> anyhow::Result<Self> {
        let text = agent_toml(&carousel::layout(), &site.readers().join(name), broker_port, data);
        site.write(&format!("{name}.toml"), &format!("{text}\n{more}"))?;
        Ok(Self {
            program: site.agent("run").get_program().into(),
            folder: site.folder.clone(),
            name: name.to_owned(),
            data: data.to_owned(),
        })
    }

    /// The folder in which its reader's port appears.
    #[must_use]
    pub fn readers(&self) -> PathBuf {
        self.folder.join("readers").join(&self.name)
    }

    /// The folder with what it keeps.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it accepted, a line of JSON per event.
    #[must_use]
    pub fn accepted_log(&self) -> PathBuf {
        self.folder.join(format!("{}.jsonl", self.name))
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// A command of the agent with its configuration.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.folder.join(format!("{}.toml", self.name)));
        command
    }

    /// The command that runs it, which writes its accepted log.
    #[must_use]
    pub fn run(&self) -> Command {
        let mut command = self.command(&["run"]);
        command.arg("--accepted-log").arg(self.accepted_log());
        command
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> anyhow::Result<Process> {
        Process::start("hangtag-agent", &mut self.run(), &self.log())
    }

    /// What `spool --json` says.
    ///
    /// # Errors
    /// When the command fails.
    pub fn spool(&self) -> anyhow::Result<Value> {
        let output = self.command(&["spool", "--json"]).output()?;
        Ok(serde_json::from_slice(&succeeded(output)?.stdout)?)
    }

    /// Exports everything that the spool holds.
    ///
    /// # Errors
    /// When the command fails.
    pub fn export(&self, to: &Path) -> anyhow::Result<Output> {
        let mut command = self.command(&["spool"]);
        succeeded(command.args(["export", "--all"]).arg(to).output()?)
    }

    /// How many whole lines the accepted log has.
    #[must_use]
    pub fn accepted(&self) -> usize {
        let text = std::fs::read(self.accepted_log()).unwrap_or_default();
        text.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Waits until so many events are accepted.
    ///
    /// # Errors
    /// When it takes too long, or the agent ends.
    pub fn wait_accepted(&self, agent: &mut Process, least: usize) -> anyhow::Result<()> {
        let what = format!("{least} accepted events");
        wait_for(&what, Duration::from_secs(60), || {
            agent.check()?;
            Ok((self.accepted() >= least).then_some(()))
        })
        .with_context(|| format!("{} were accepted", self.accepted()))
    }
}

/// The output of a command that ended with success.
///
/// # Errors
/// With what it printed, when it did not.
pub fn succeeded(output: Output) -> anyhow::Result<Output> {
    ensure!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
