//! `node`: reader nodes of our own. Enters: a configuration, names of readers or ports. Leaves: who the nodes are, how
//! they are, and what they answer when they are told how to work. What a running agent knows it is asked; a port is
//! opened only where nobody has it. What a node keeps stays there for the agent.

mod talk;
mod tell;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use hangtag_agent_core::intake::node::{self, FACTORY_BAUD};
use hangtag_protocol::id::ReaderId;
use hangtag_protocol::link::command::Configure;
use hangtag_protocol::link::message::Outcome;
use hangtag_protocol::status::{NodeHealth, ReaderHealth};
use serde::Serialize;

use super::ConfigArgument;
use super::ask::{answer, ask};
use super::out::out;
use crate::config::{Config, Reader, Setup};
use crate::intake::port::{Holder, holder};

/// What `node --help` says at the end.
pub(super) const HELP: &str = "\
While the agent runs it is asked; it tells its nodes how to work itself, whenever it meets them. Otherwise a node's \
port is opened, unless another program has it. What the node has read meanwhile stays on it for the agent.

Exit codes:
  0  every node answered, and those that are told how to work do so and keep it
  1  one did not, or the configuration file is refused, or it was changed since the running agent told the nodes
  2  the command line is wrong";

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Say who the nodes are, which firmware they run, why they started and how they are.
    Status {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Ports or readers of the configuration; without any, all its nodes. Ports alone need no configuration.
        #[arg(value_name = "PORT|READER")]
        which: Vec<String>,
    },
    /// Tell the nodes how to work, as the configuration says, and print what they answer.
    Configure {
        #[command(flatten)]
        config: ConfigArgument,
        /// Only say what they would be told.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Ports or readers of the configuration; without any, all its nodes.
        #[arg(value_name = "PORT|READER")]
        which: Vec<String>,
    },
}

/// A node that is asked for.
#[derive(Clone, Debug)]
struct Wanted {
    reader: Option<ReaderId>,
    port: PathBuf,
    baud: u32,
    /// What the configuration says of it.
    settings: Option<node::Settings>,
}

/// What became of one.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    reader: Option<ReaderId>,
    port: PathBuf,
    /// What it is told, or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<Configure>,
    #[serde(flatten)]
    result: Result,
}

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum Result {
    /// It answered.
    There {
        from: Source,
        /// What is wrong with it by the running agent.
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
        /// The running agent told it something else than what the file says.
        stale: bool,
        /// Reads of earlier runs that were lost with these since the agent started; only that knows.
        #[serde(skip_serializing_if = "Option::is_none")]
        lost_reads: Option<u64>,
        node: Box<NodeHealth>,
    },
    /// It was not asked.
    NotAsked,
    /// No node answers.
    Silent { why: String },
    /// Somebody uses the port.
    InUse { process: u32, name: String },
    /// The port cannot be used.
    Unusable { why: String },
}

/// Who said how a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Source {
    /// The running agent.
    Agent,
    /// The node itself.
    Port,
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let (config, json, which) = match &command {
        Command::Status { config, json, which } => {
            let ports = !which.is_empty() && which.iter().all(|name| is_path(name));
            let config = if ports && !config.config.exists() { None } else { Some(config.load()?) };
            (config, *json, which)
        }
        Command::Configure { config, json, which, .. } => (Some(config.load()?), *json, which),
    };
    let running = match &config {
        Some(config) => readers(config).await?,
        None => None,
    };
    let wanted = wanted(config.as_ref(), running.as_deref(), which)?;
    ensure!(
        !wanted.is_empty(),
        "the configuration has no reader node: no [[reader]] with protocol = \"node\""
    );
    let mut lines = Vec::new();
    for one in wanted {
        lines.push(look(one, running.as_deref(), &command).await);
    }
    let good = lines.iter().all(Line::is_good);
    let text = if json { format!("{}\n", serde_json::to_string_pretty(&lines)?) } else { tell::tell(&lines) };
    out().write_all(text.as_bytes())?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a running agent knows of its readers; nothing if none runs.
async fn readers(config: &Config) -> anyhow::Result<Option<Vec<ReaderHealth>>> {
    let Some(stream) = ask(config, "readers").await? else { return Ok(None) };
    let answer = answer(stream).await?;
    let readers = answer.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>();
    Ok(Some(readers.context("the running agent's answer is not understood: is it of another version?")?))
}

/// The nodes that are asked for.
fn wanted(
    config: Option<&Config>,
    running: Option<&[ReaderHealth]>,
    which: &[String],
) -> anyhow::Result<Vec<Wanted>> {
    let readers = config.map_or(&[][..], |config| &config.readers);
    let found = |reader: &Reader| health(running, reader.id).is_some_and(|health| health.node.is_some());
    if which.is_empty() {
        let nodes =
            readers.iter().filter(|reader| matches!(reader.setup, Setup::Node { .. }) || found(reader));
        return Ok(nodes.filter_map(Wanted::of).collect());
    }
    let one = |name: &String| {
        let path = Path::new(name);
        let same = |reader: &&Reader| {
            reader.id.as_str() == name
                || is_path(name) && (reader.port == path || real(&reader.port) == real(path))
        };
        match readers.iter().find(same) {
            Some(reader) => match Wanted::of(reader) {
                Some(wanted) => Ok(wanted),
                None => bail!("reader \"{}\" is no node by the configuration", reader.id),
            },
            None if is_path(name) => {
                Ok(Wanted { reader: None, port: path.to_owned(), baud: FACTORY_BAUD, settings: None })
            }
            None => bail!("{name:?} is neither a reader of the configuration nor a path"),
        }
    };
    which.iter().map(one).collect()
}

impl Wanted {
    /// A reader of the configuration that is a node, or may be one.
    fn of(reader: &Reader) -> Option<Self> {
        let settings = match &reader.setup {
            Setup::Node { settings, .. } => Some(settings.clone()),
            Setup::Auto(wishes) => wishes.node().ok(),
            Setup::Stated { .. } => return None,
        };
        let (reader, port, baud) = (reader.id, reader.port.clone(), reader.baud().unwrap_or(FACTORY_BAUD));
        Some(Self { reader: Some(reader), port, baud, settings })
    }
}

async fn look(wanted: Wanted, running: Option<&[ReaderHealth]>, command: &Command) -> Line {
    let Wanted { reader, port, baud, settings } = wanted;
    let told = match command {
        Command::Status { .. } => None,
        Command::Configure { .. } => settings.as_ref(),
    };
    let result = match command {
        Command::Configure { .. } if told.is_none() => {
            Result::Unusable { why: "the configuration has no reader at this port that may be a node".into() }
        }
        Command::Configure { dry_run: true, .. } => Result::NotAsked,
        Command::Status { .. } | Command::Configure { .. } => {
            match reader.and_then(|reader| health(running, reader)) {
                Some(health) => by_agent(health, settings.as_ref()),
                None => match holder(&port) {
                    Some(Holder { process, name }) => Result::InUse { process, name },
                    None => talk::talk(&port, baud, told).await,
                },
            }
        }
    };
    Line { reader, port, told: told.map(node::Settings::command), result }
}

/// What a running agent says of a node, and whether that is told what the file says.
fn by_agent(health: &ReaderHealth, file: Option<&node::Settings>) -> Result {
    let fault = health.fault.clone();
    match health.node {
        Some(node) if node.health.is_some() => {
            // An older agent does not say what it told.
            let differs = |(told, file): (u32, &node::Settings)| told != file.command().id;
            let stale = node.told.zip(file).is_some_and(differs);
            let lost_reads = Some(health.lost_reads);
            Result::There { from: Source::Agent, fault, stale, lost_reads, node: Box::new(node) }
        }
        other => {
            let state = format!("{:?}", health.state).to_lowercase();
            let fault = fault.map_or_else(String::new, |fault| format!(": {fault}"));
            let was = other.map_or_else(String::new, |node| {
                format!("; it was node {}, firmware {}", node.node, node.firmware)
            });
            let why = format!("the running agent hears no node there, the reader is {state}{fault}{was}");
            Result::Silent { why }
        }
    }
}

impl Line {
    fn is_good(&self) -> bool {
        match &self.result {
            Result::There { stale, node, .. } => {
                self.told.is_none() || !stale && node.configured == Some(Outcome::Taken)
            }
            Result::NotAsked => true,
            Result::Silent { .. } | Result::InUse { .. } | Result::Unusable { .. } => false,
        }
    }
}

fn health(running: Option<&[ReaderHealth]>, reader: ReaderId) -> Option<&ReaderHealth> {
    running.and_then(|readers| readers.iter().find(|health| health.id == reader))
}

/// Names of readers have no slash.
fn is_path(name: &str) -> bool {
    name.contains('/')
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
