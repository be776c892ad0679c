//! The program `hangtag-central`: gateways' batches come in by MQTT, each event is stored exactly
//! once, and merchandisers read the sums on a page. Enters: the command line. Leaves: an exit code,
//! 0 when all went well and 1 when something is wrong.

use std::process::ExitCode;

use clap::Parser;

mod access;
mod catalogue;
mod cli;
mod config;
mod connection;
mod days;
mod enrol;
mod feed;
mod goods;
mod import;
mod ingest;
mod keys;
mod log;
mod metrics;
mod neighbours;
mod outbox;
mod pipeline;
mod pki;
mod pos;
mod problem;
mod rails;
mod report;
mod retention;
mod rollups;
mod shop;
mod store;
mod table;
mod web;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hangtag-central: {error:#}");
            ExitCode::FAILURE
        }
    }
}
