//! `readers`: which readers are plugged in. Enters: the serial ports of this machine, or those that are named.
//! Leaves: who is at each, and what the configuration would say of him. A port that somebody has is not opened.

mod ports;
mod proposal;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use hangtag_agent_core::intake::probe::Outcome;
use hangtag_agent_core::intake::{Found, Known};
use serde::Serialize;

use super::out::out;
use crate::intake::port::{Holder, holder, open};
use crate::intake::probing::probe;
use ports::Port;
use proposal::propose;

/// What `readers --help` says at the end.
pub(super) const HELP: &str = "\
Every free port is listened to for 3 s, then modules are asked what they are, at factory speeds first: at most \
12 s, all ports at the same time. Nothing that is set up in a reader is changed. A module that is found reading is \
stopped, as the agent does when it starts. A barcode scanner is only known when it scans: scan any code meanwhile; \
it is not shown. Ports that an agent or another program uses are named with the user, and left alone; only root is \
told of every user.

Exit codes:
  0  at least one reader was found
  1  none was found, or the ports cannot be listed
  2  the command line is wrong";

/// The speed at which a port is opened, in baud.
const ANY_BAUD: u32 = 115_200;

/// What was found at a port.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    port: Port,
    #[serde(flatten)]
    result: Result,
}

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum Result {
    /// A reader.
    Found {
        protocol: String,
        baud: u32,
        /// What it says it is, with its firmware.
        #[serde(skip_serializing_if = "Option::is_none")]
        module: Option<String>,
        /// It spoke before it was asked; a module of a reader was stopped.
        was_reading: bool,
        /// What the configuration would say.
        proposal: String,
    },
    /// None that is known.
    Nothing { why: String },
    /// Somebody uses the port.
    InUse { process: u32, name: String },
    /// The port cannot be used.
    Unusable { why: String },
}

pub(super) async fn run(paths: Vec<PathBuf>, json: bool) -> anyhow::Result<ExitCode> {
    let ports = if paths.is_empty() { ports::all()? } else { paths.into_iter().map(Port::named).collect() };
    if !json {
        let text = match ports.len() {
            0 => "no serial port is there: nothing is plugged in, or its driver is missing\n".to_owned(),
            count => {
                format!("probing {count} ports, 12 s at most; scan a code with each barcode scanner now\n")
            }
        };
        // Whoever reads standard output by a program wants none of this there.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    let tasks: Vec<_> = ports.into_iter().map(|port| tokio::spawn(look(port))).collect();
    let mut lines = Vec::new();
    for task in tasks {
        lines.push(task.await?);
    }
    number(&mut lines);
    let found = lines.iter().any(|line| matches!(line.result, Result::Found { .. }));
    let text = if json { format!("{}\n", serde_json::to_string_pretty(&lines)?) } else { tell(&lines) };
    out().write_all(text.as_bytes())?;
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(port: Port) -> Line {
    let result = if let Some(why) = port.unusable() {
        Result::Unusable { why }
    } else if let Some(Holder { process, name }) = holder(&port.port) {
        Result::InUse { process, name }
    } else {
        let probed = match open(&port.port, ANY_BAUD) {
            Ok(mut line) => probe(&mut line, &Known::default()).await,
            Err(why) => Err(why),
        };
        match probed {
            Ok((Outcome::Found(Found { who, baud, module, was_reading }), _)) => {
                let proposal = propose(&port.port, who, baud, 1);
                let protocol = who.to_string();
                Result::Found { protocol, baud, module, was_reading, proposal }
            }
            Ok((Outcome::Nothing { why }, _)) => Result::Nothing { why },
            Err(why) => Result::Unusable { why: why.to_string() },
        }
    };
    Line { port, result }
}

/// Gives every proposed reader a name of its own.
fn number(lines: &mut [Line]) {
    let mut number = 0;
    for line in lines {
        if let Result::Found { proposal, .. } = &mut line.result {
            number += 1;
            *proposal = proposal.replacen("\"reader-1\"", &format!("\"reader-{number}\""), 1);
        }
    }
}

/// For people.
fn tell(lines: &[Line]) -> String {
    let (mut text, mut proposals) = (String::new(), String::new());
    for Line { port, result } in lines {
        text += &format!("{}\n", port.port.display());
        for name in &port.names {
            text += &format!("  also      {}\n", name.display());
        }
        text += &match result {
            Result::Found { protocol, baud, module, was_reading, proposal } => {
                proposals += &format!("\n{proposal}");
                let module = module.as_ref().map_or_else(String::new, |module| format!(": {module}"));
                let stopped = *was_reading && !matches!(&protocol[..], "scanner" | "ruuvi" | "node");
                let stopped = if stopped { " (it was reading, and was stopped)" } else { "" };
                format!("  reader    {protocol}, {baud} baud{module}{stopped}\n")
            }
            Result::Nothing { why } => format!("  nothing   {why}\n"),
            Result::InUse { process, name } => format!("  in use    by process {process} ({name})\n"),
            Result::Unusable { why } => format!("  unusable  {why}\n"),
        };
    }
    if !proposals.is_empty() {
        text += &format!("\nFor agent.toml, with what only you know still to be filled in:\n{proposals}");
    }
    text
}
