//! A board and a gateway on a bench. Enters: how much there is to read. Leaves: both, running, what is waited for, and
//! what the gateway recorded of the line between them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::link::message::Health;
use tempfile::TempDir;

use super::folder;
use super::gateway::{Gateway, STOPS_WITHIN};
use super::node::{self, Taken, captured};
use super::process::{Process, wait_for};
use crate::emulator::board::{Board, Load, image};

/// How long something that happens within seconds may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// A reader with one antenna, as an R200 has.
pub const READER: &str = "loose-1";
/// A board, and a gateway that records what comes from it.
#[derive(Debug)]
pub struct Bench {
    /// The gateway.
    pub gateway: Gateway,
    /// The board.
    pub board: Board,
    /// How many reads its module tells.
    pub reads: u64,
    agent: Option<Process>,
    _folder: TempDir,
}

impl Bench {
    /// Starts a board with so much to read and a gateway without a broker.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(reads: u64, load: Load) -> anyhow::Result<Self> {
        let folder = folder()?;
        let gateway = node::gateway(folder.path(), &folder.path().join("agent-data"), "r200")?;
        Self::with(folder, gateway, READER, reads, load)
    }

    /// The same with a gateway that is there already; its port for the node has that name.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn with(
        folder: TempDir,
        gateway: Gateway,
        port: &str,
        reads: u64,
        load: Load,
    ) -> anyhow::Result<Self> {
        let board = Board::boot(&image()?, folder.path(), &gateway.readers().join(port), reads, load)?;
        let agent = Some(run(&gateway)?);
        Ok(Self { gateway, board, reads, agent, _folder: folder })
    }

    /// Tags that the module told.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.board.counts().told()
    }

    /// Fails when somebody has ended.
    ///
    /// # Errors
    /// With what it said.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.board.check()?;
        self.agent.iter_mut().try_for_each(Process::check)
    }

    /// Waits for something that shows in what is known of the board.
    ///
    /// # Errors
    /// When that takes too long, or somebody has ended.
    pub fn wait<T>(&mut self, what: &str, mut look: impl FnMut(&Board) -> Option<T>) -> anyhow::Result<T> {
        let found = wait_for(what, PATIENCE, || {
            self.check()?;
            Ok(look(&self.board))
        });
        found.with_context(|| format!("{:?}", self.board.counts()))
    }

    /// Waits until the module has told so many tags.
    ///
    /// # Errors
    /// When that takes too long, or somebody has ended.
    pub fn wait_told(&mut self, reads: u64) -> anyhow::Result<()> {
        self.wait("reads", |board| (board.counts().told() >= reads).then_some(()))
    }

    /// Waits until the node says something of a run and its health that is good, and asks it again and again.
    ///
    /// # Errors
    /// When that takes too long, or somebody has ended.
    pub fn wait_health(
        &mut self,
        what: &str,
        mut good: impl FnMut(u32, &Health) -> bool,
    ) -> anyhow::Result<(u32, Health)> {
        self.wait(what, |board| {
            let found = board.counts().run().filter(|(boot, health)| good(*boot, health));
            if found.is_none() {
                board.ask();
            }
            found
        })
    }

    /// Waits until the module has told all, and the node holds nothing of it any more.
    ///
    /// # Errors
    /// When that takes too long, or somebody has ended.
    pub fn wait_idle(&mut self) -> anyhow::Result<Health> {
        let reads = self.reads;
        self.wait_told(reads)?;
        let (_, health) = self.wait_health("everything that was read to be durable", |_, health| {
            health.reads == reads && health.waiting == 0
        })?;
        Ok(health)
    }

    /// Kills the agent and starts another.
    ///
    /// # Errors
    /// When that fails.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.agent.take().map_or(Ok(()), Process::kill)?;
        self.agent = Some(run(&self.gateway)?);
        Ok(())
    }

    /// Ends the agent in order.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.agent.take().map_or(Ok(()), |agent| agent.stop(STOPS_WITHIN))
    }

    /// What the gateway took of each run.
    ///
    /// # Errors
    /// When its recording is not good.
    pub fn taken(&self) -> anyhow::Result<Vec<Taken>> {
        captured(&self.gateway.data().with_extension("capture"), READER)
    }

    /// The same of the only run.
    ///
    /// # Errors
    /// When its recording is not good, or there was another run.
    pub fn taken_of_one(&self) -> anyhow::Result<Taken> {
        let mut runs = self.taken()?;
        ensure!(runs.len() == 1, "one run was to be told: {runs:?}");
        Ok(runs.remove(0))
    }
}

fn run(gateway: &Gateway) -> anyhow::Result<Process> {
    let mut command = gateway.run();
    command.arg("--capture").arg(gateway.data().with_extension("capture"));
    Process::start("hangtag-agent", &mut command, &gateway.log())
}
