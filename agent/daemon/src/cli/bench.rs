//! `bench`: measures, and a spool filled for tests. Enters: arguments. Leaves: one of the measures, run.

use clap::Subcommand;

use super::{ConfigArgument, runtime};
use crate::bench::fill::Fill;
use crate::bench::{self, Measure, Options};

/// What to measure.
#[derive(Subcommand)]
pub(super) enum Bench {
    /// Fill the spool of a configuration with invented events of a realistic day. Never on a shop's gateway:
    /// they reach central as if they were real.
    Fill {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        fill: Fill,
    },
    /// Durable appends, a barrier after every hundred events, beside a plain file.
    Append(Options),
    /// Events as fast as they go, a barrier every 10 and 100 ms, beside a plain file.
    Loop(Options),
    /// Bytes that reach the block device per event, beside a plain file; better as root.
    Device(Options),
    /// Bytes on the wire per event, beside the entropy of the events and JSON.
    Wire(Options),
    /// Disk and memory while five million events pass through.
    Size(Options),
    /// What a fresh agent takes in RAM, and how soon it answers.
    Memory(Options),
    /// How fast a backlog of a million events leaves, beside bare rumqttc.
    Drain(Options),
    /// All of these.
    All(Options),
    /// What `memory` starts.
    #[command(hide = true)]
    Hold {
        #[command(flatten)]
        config: ConfigArgument,
    },
}

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (measures, options) = match self {
            Self::Fill { config, fill } => {
                return runtime()?.block_on(bench::fill(&config.load()?, fill));
            }
            Self::Hold { config } => return runtime()?.block_on(bench::hold(&config.load()?)),
            Self::Append(options) => (&[Measure::Append][..], options),
            Self::Loop(options) => (&[Measure::Loop][..], options),
            Self::Device(options) => (&[Measure::Device][..], options),
            Self::Wire(options) => (&[Measure::Wire][..], options),
            Self::Size(options) => (&[Measure::Size][..], options),
            Self::Memory(options) => (&[Measure::Memory][..], options),
            Self::Drain(options) => (&[Measure::Drain][..], options),
            Self::All(options) => (&Measure::ALL[..], options),
        };
        runtime()?.block_on(bench::measure(measures, &options))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::super::Arguments::command().debug_assert();
    }
}
