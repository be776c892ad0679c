//! The command line. Enters: arguments. Leaves: one of the commands, run.

mod ask;
mod bench;
mod check;
mod decode;
mod doctor;
mod enrol;
mod explain;
mod learned;
mod node;
pub(crate) mod out;
mod readers;
mod replay;
mod spool;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use hangtag_protocol::epc::Epc;

use crate::config::Config;
use crate::evaluate;
use crate::pipeline::{self, Extras};

/// Hangtag's agent: reads what readers see, concludes what shoppers do with garments, keeps it through
/// power cuts, and sends it to central.
#[derive(Parser)]
#[command(name = "hangtag-agent", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent until SIGINT or SIGTERM.
    Run {
        #[command(flatten)]
        config: ConfigArgument,
        /// Write one line of JSON per accepted event, once it is on stable storage.
        #[arg(long, value_name = "FILE")]
        accepted_log: Option<PathBuf>,
        /// Record everything that the readers send, for `replay`.
        #[arg(long, value_name = "FILE")]
        capture: Option<PathBuf>,
    },
    /// Check the configuration and this machine, and say everything that is wrong.
    #[command(after_help = check::CODES)]
    Check {
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// Make this computer a gateway that the broker lets in: a key and a certificate, and who it is, in the configuration.
    Enrol {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        enrol: enrol::Enrolment,
    },
    /// Look for what usually goes wrong on a gateway, from the ports to the broker, and say what to do about it.
    #[command(after_help = doctor::CODES)]
    Doctor {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON: a list of checks, each with its state, what was found and what to do.
        #[arg(long)]
        json: bool,
    },
    /// Find out which readers are plugged in, and propose their configuration.
    #[command(after_help = readers::HELP)]
    Readers {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The ports to probe; without any, all that this machine has.
        #[arg(value_name = "PORT")]
        ports: Vec<PathBuf>,
    },
    /// Look after reader nodes: who they are, how they are, and how they are to work.
    #[command(subcommand, after_help = node::HELP)]
    Node(node::Command),
    /// Show what the readers see right now.
    Watch {
        #[command(flatten)]
        config: ConfigArgument,
        /// End after so many seconds.
        #[arg(long = "for", value_name = "SECONDS")]
        seconds: Option<u64>,
    },
    /// Print batches as JSON: a header line, then a line per event.
    Decode {
        /// Files: one MQTT payload each, as bytes or in hexadecimal, or what `spool export` wrote; - for
        /// standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print how many bytes each column takes instead of the events.
        #[arg(long)]
        sizes: bool,
    },
    /// Conclude events from recorded bytes: the same every time.
    Replay {
        #[command(flatten)]
        config: ConfigArgument,
        /// A recording that `run --capture` made; - for standard input.
        capture: PathBuf,
        /// Also write the events as batches into this folder, as they would be published.
        #[arg(long, value_name = "FOLDER")]
        batches: Option<PathBuf>,
        /// How many events go into a batch.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=4_096))]
        batch_events: u16,
        /// As if the agent had been killed and started again every so many seconds.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        restart_every: Option<u64>,
    },
    /// Say how often the agent's rules are right on recordings of real tags with known labels: moved or still,
    /// stray or here, worn and walking, package moved.
    Evaluate {
        /// A folder with recordings of known layouts, in whatever folders.
        folder: PathBuf,
        /// Print one JSON object per task, rule and split.
        #[arg(long)]
        json: bool,
    },
    /// Say of each garment in a recording why each event was concluded.
    Explain {
        #[command(flatten)]
        config: ConfigArgument,
        /// A recording that `run --capture` made; - for standard input.
        capture: PathBuf,
        /// Only of this tag, in hexadecimal.
        #[arg(long, value_name = "HEX", value_parser = Epc::from_hex)]
        epc: Option<Epc>,
    },
    /// Show what the agent has learned of each zone: what rests there, and what is heard there from elsewhere.
    Learned {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The file `learned` of a data folder, or the folder; without it, the configured one.
        #[arg(value_name = "FILE|FOLDER")]
        path: Option<PathBuf>,
    },
    /// Show what waits in the spool.
    Spool {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        what: Option<SpoolCommand>,
    },
    /// Measure what this machine and its disk allow.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Write manual pages and shell completions into a folder, for a package.
    #[command(hide = true)]
    Pages {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum SpoolCommand {
    /// Write what waits to a file that `hangtag-central import` takes. The agent must not run.
    Export {
        /// The file; it must not exist.
        file: PathBuf,
        /// Also what central has settled.
        #[arg(long)]
        all: bool,
    },
}

#[derive(clap::Args)]
struct ConfigArgument {
    /// The configuration.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "/etc/hangtag/agent.toml")]
    config: PathBuf,
}

impl ConfigArgument {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.config)?)
    }
}

impl Arguments {
    /// Runs the command, and tells on standard error why it failed.
    pub(crate) fn run(self) -> ExitCode {
        match self.command.run() {
            Ok(code) => code,
            Err(why) if out::nobody_reads(&why) => ExitCode::SUCCESS,
            Err(why) => {
                out::complain(format_args!("{why:#}"));
                ExitCode::FAILURE
            }
        }
    }
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run { config, accepted_log, capture } => {
                let config = config.load()?;
                let runtime = runtime()?;
                let ended = runtime.block_on(pipeline::run(config, Extras { accepted_log, capture }));
                // A name server that does not answer must not hold the end up.
                runtime.shutdown_background();
                ended
            }
            Self::Check { config } => return check::run(&config.config),
            Self::Doctor { config, json } => return runtime()?.block_on(doctor::run(&config.config, json)),
            Self::Enrol { config, enrol } => runtime()?.block_on(enrol.run(&config.config)),
            Self::Node(command) => return runtime()?.block_on(node::run(command)),
            Self::Readers { json, ports } => return runtime()?.block_on(readers::run(ports, json)),
            Self::Watch { config, seconds } => runtime()?.block_on(watch::run(config.load()?, seconds)),
            Self::Decode { files, sizes } => decode::run(&files, sizes),
            Self::Replay { config, capture, batches, batch_events, restart_every } => replay::run(
                &config.load()?,
                &capture,
                batches.as_deref().map(|folder| (folder, batch_events)),
                restart_every,
            ),
            Self::Evaluate { folder, json } => {
                let mut out = std::io::BufWriter::new(out::out());
                evaluate::run(&folder, json, &mut out)?;
                Ok(std::io::Write::flush(&mut out)?)
            }
            Self::Explain { config, capture, epc } => explain::run(&config.load()?, &capture, epc),
            Self::Learned { config, json, path } => match path {
                Some(path) => learned::run(&path, json),
                None => learned::run(&config.load()?.data, json),
            },
            Self::Spool { config, json, what: None } => {
                runtime()?.block_on(spool::show(config.load()?, json))
            }
            Self::Spool { config, what: Some(SpoolCommand::Export { file, all }), .. } => {
                spool::export(&config.load()?, all, &file)
            }
            Self::Bench(bench) => bench.run(),
            Self::Pages { folder } => hangtag_service::pages(Arguments::command(), &folder)
                .with_context(|| format!("cannot write to {}", folder.display())),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Two threads: the work is in waiting, and the spool has its own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// The bytes of a file, or of standard input for `-`.
fn read_input(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
            .context("cannot read standard input")?;
    } else {
        bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
