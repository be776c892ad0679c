//! Entry. Enters: the command line. Leaves: an exit code. Everything else is in [`pipeline`] and
//! [`cli`].

mod bench;
mod capture;
mod cli;
mod clock;
mod config;
mod enrol;
mod evaluate;
mod health;
mod hours;
mod infer;
mod intake;
mod learned;
mod log;
mod metrics;
mod onlooker;
mod pipeline;
mod spool;
mod uplink;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    log::start();
    arguments.run()
}
