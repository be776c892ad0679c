//! Measures of the agent, taken by the agent: `hangtag-agent bench`. Enters: a folder on the disk to
//! measure. Leaves: lines `name value unit`, each beside the floor that it is held against, and a table
//! of what has an aim.
//!
//! | file | says |
//! |---|---|
//! | [`append`] | how fast events become durable |
//! | [`device`] | how much wears the disk |
//! | [`wire`] | how many bytes an event takes, and could take ([`floor`]) |
//! | [`size`] | whether the spool stays small |
//! | [`memory`] | what an agent takes in RAM, and how soon it answers |
//! | [`drain`] | how fast a backlog leaves |
//!
//! All of them use the same invented [`day`], which [`mod@fill`] also writes into a real spool.

mod append;
mod child;
mod day;
mod device;
mod dice;
mod drain;
pub(crate) mod fill;
mod floor;
mod keeper;
mod memory;
mod report;
mod scratch;
mod size;
mod stock;
mod wire;

use std::path::PathBuf;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use fill::Fill;
use report::Report;
use scratch::Scratch;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Append,
    Loop,
    Device,
    Wire,
    Size,
    Memory,
    Drain,
}

impl Measure {
    /// All, those first that look at this process's memory.
    pub(crate) const ALL: [Self; 7] =
        [Self::Size, Self::Memory, Self::Append, Self::Loop, Self::Drain, Self::Device, Self::Wire];
}

/// How to measure.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// A folder on the disk to measure; everything made in it is removed again.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// `device`: events per second.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// `device`: seconds per repeat.
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// `memory`: with ten million waiting too.
    #[arg(long)]
    ten: bool,
    /// `drain`: the broker; without it a Mosquitto is started.
    #[arg(long, value_name = "HOST:PORT")]
    broker: Option<String>,
}

/// Fills the spool of a configuration with invented events.
///
/// # Errors
/// When the spool does not open.
pub(crate) async fn fill(config: &Config, fill: Fill) -> anyhow::Result<()> {
    fill::run(config, fill).await
}

/// Opens the spool of a configuration, follows many garments, and stays until its input ends.
///
/// # Errors
/// When the spool does not open.
pub(crate) async fn hold(config: &Config) -> anyhow::Result<()> {
    memory::hold(config).await
}

/// Takes measures, one after the other, and prints the table of those that have an aim.
///
/// # Errors
/// When the folder cannot be used, or what a measure needs is not there.
pub(crate) async fn measure(measures: &[Measure], options: &Options) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        println!("# built without --release: the figures mean nothing");
    }
    let scratch = Scratch::new(&options.dir)?;
    let mut report = Report::default();
    let mut terminate = signal(SignalKind::terminate())?;
    // However it ends, children are stopped and the scratch folder is removed.
    tokio::select! {
        taken = take(measures, options, &scratch, &mut report) => taken?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
    println!("\n{}", report.table());
    Ok(())
}

async fn take(
    measures: &[Measure],
    options: &Options,
    scratch: &Scratch,
    report: &mut Report,
) -> anyhow::Result<()> {
    for measure in measures {
        match measure {
            Measure::Append => append::run(&scratch.folder("append")?, report)?,
            Measure::Loop => append::closed_loop(&scratch.folder("loop")?, report).await?,
            Measure::Device => {
                let Options { rate, seconds, .. } = *options;
                device::run(&scratch.folder("device")?, rate, seconds, report).await?;
            }
            Measure::Wire => wire::run(report)?,
            Measure::Size => size::run(&scratch.folder("size")?, report).await?,
            Measure::Memory => memory::run(&scratch.folder("memory")?, options.ten, report).await?,
            Measure::Drain => {
                drain::run(&scratch.folder("drain")?, options.broker.as_deref(), report).await?;
            }
        }
    }
    Ok(())
}
