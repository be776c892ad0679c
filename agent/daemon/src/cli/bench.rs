//! `bench`: measures, and a spool filled for tests. Enters: arguments. Leaves: one of the measures, run.

use clap::Subcommand;

use super::{ConfigArgument, runtime};
use crate::bench;
use crate::bench::fill::Fill;

/// What to measure.
#[derive(Subcommand)]
pub(super) enum Bench {
    /// Fill the spool of a configuration with invented events of a realistic day.
    Fill {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        fill: Fill,
    },
}

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Fill { config, fill } => runtime()?.block_on(bench::fill(&config.load()?, fill)),
        }
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
