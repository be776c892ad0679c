//! A shop on this machine: a folder with configurations and data, and the agent and central that run in
//! it. Enters: a folder, a broker's port. Leaves: processes, and answers of central's page.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::binaries::Binaries;
use super::free_port;
use super::process::{Process, wait_for};
use crate::shop::layout::{Layout, agent_toml, stores_toml};
use crate::shop::stock::{catalogue_csv, products};

/// The tenant, store and gateway of the simulated shop, as topics name them.
pub const GATEWAY_TOPIC: &str = "hangtag/v1/demo/gw/demo-shop/gw-1";

/// A shop on this machine.
#[derive(Clone, Debug)]
pub struct Site {
    /// The folder everything is in.
    pub folder: PathBuf,
    /// The port of central's page.
    pub web_port: u16,
    binaries: Binaries,
}

impl Site {
    /// Writes the files of the simulated shop.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn create(
        folder: &Path,
        binaries: Binaries,
        broker_port: u16,
        web_port: u16,
    ) -> anyhow::Result<Self> {
        let site = Self { folder: folder.to_owned(), web_port, binaries };
        std::fs::create_dir_all(site.readers())?;
        site.write("stores.toml", &stores_toml())?;
        site.write("catalogue.csv", &catalogue_csv(&products()))?;
        let agent =
            agent_toml(&Layout::demo(), &site.readers(), broker_port, &site.folder.join("agent-data"));
        site.write("agent.toml", &agent)?;
        site.write(
            "central.toml",
            &format!(
                "tenant = \"demo\"\ndata = \"central.db\"\nstores = \"stores.toml\"\n\
                 catalogue = \"catalogue.csv\"\n[mqtt]\nhost = \"127.0.0.1\"\nport = {broker_port}\n\
                 [web]\nlisten = \"127.0.0.1:{web_port}\"\n"
            ),
        )?;
        Ok(site)
    }

    /// The same on free ports of its own, for a test.
    ///
    /// # Errors
    /// When there is no free port, or the files cannot be written.
    pub fn for_test(folder: &Path, broker_port: u16) -> anyhow::Result<Self> {
        Self::create(folder, Binaries::build()?, broker_port, free_port()?)
    }

    /// Writes a file in the site's folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The folder in which the readers' ports appear.
    #[must_use]
    pub fn readers(&self) -> PathBuf {
        self.folder.join("readers")
    }

    /// What the agent accepted, a line of JSON per event.
    #[must_use]
    pub fn accepted_log(&self) -> PathBuf {
        self.folder.join("accepted.jsonl")
    }

    /// Central's database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("central.db")
    }

    /// A command of the agent that needs no configuration.
    #[must_use]
    pub fn agent_without(&self, command: &str) -> Command {
        let mut program = Command::new(&self.binaries.agent);
        program.arg(command);
        program
    }

    /// A command of the agent with the site's configuration.
    #[must_use]
    pub fn agent(&self, command: &str) -> Command {
        let mut program = Command::new(&self.binaries.agent);
        program.arg(command).arg("--config").arg(self.folder.join("agent.toml"));
        program
    }

    /// A command of central with the site's configuration.
    #[must_use]
    pub fn central(&self, command: &str) -> Command {
        let mut program = Command::new(&self.binaries.central);
        program.arg(command).arg("--config").arg(self.folder.join("central.toml"));
        program
    }

    /// Starts the agent.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&self) -> anyhow::Result<Process> {
        let mut command = self.agent("run");
        command.arg("--accepted-log").arg(self.accepted_log());
        Process::start("hangtag-agent", &mut command, &self.folder.join("agent.log"))
    }

    /// Starts central.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_central(&self) -> anyhow::Result<Process> {
        Process::start("hangtag-central", &mut self.central("run"), &self.folder.join("central.log"))
    }

    /// Starts central and waits for its page.
    ///
    /// # Errors
    /// When it cannot be started, or ends.
    pub fn start_central(&self) -> anyhow::Result<Process> {
        let mut process = self.spawn_central()?;
        wait_for("central's page", Duration::from_secs(20), || {
            process.check()?;
            Ok(self.health().ok())
        })?;
        Ok(process)
    }

    /// The address of central's page, with a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.web_port)
    }

    /// Fetches a page.
    ///
    /// # Errors
    /// When central does not answer with success.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        let url = self.url(path);
        let mut answer = ureq::get(&url).call().with_context(|| format!("fetching {url}"))?;
        Ok(answer.body_mut().read_to_string()?)
    }

    /// Central's own count of what it has.
    ///
    /// # Errors
    /// When central does not answer.
    pub fn health(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get("/health")?)?)
    }
}
