//! The command `keys`. Enters: the configuration's folder of keys. Leaves: public keys, for people; a new key pair.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;

use crate::config::Config;
use crate::keys::{self, Entry};
use crate::problem;

/// Prints the public keys.
///
/// # Errors
/// When the folder is not named or not in order.
pub(super) fn list(config: &Config) -> anyhow::Result<ExitCode> {
    match keys::read(folder(config)?) {
        Ok(ring) => {
            for (number, Entry { made, id, public }) in ring.entries.iter().enumerate() {
                let place = if number == 0 { "newest" } else { "older " };
                println!("{place}  {}  {id}\n  {public}", made.strftime("%Y-%m-%dT%H:%M:%SZ"));
            }
            println!("The newest goes into each gateway's agent.toml: [loyalty] key = \"htpub-…\"");
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            bail!("{}", problem::lines(&problems))
        }
    }
}

/// Makes a key pair, and prints the public key.
///
/// # Errors
/// When it cannot be kept.
pub(super) fn make(config: &Config) -> anyhow::Result<ExitCode> {
    let folder = folder(config)?;
    let Entry { id, public, .. } = keys::make(folder, Timestamp::now())?;
    println!("made key {id} in {}", folder.display());
    println!("  {public}\nPut it into each gateway's agent.toml: [loyalty] key = \"{public}\"");
    println!("Keep a copy of the folder in a safe place, and start central anew.");
    Ok(ExitCode::SUCCESS)
}

fn folder(config: &Config) -> anyhow::Result<&Path> {
    match &config.loyalty {
        Some(loyalty) => Ok(&loyalty.keys),
        None => {
            bail!("the configuration has no [loyalty] with keys = \"FOLDER\", where private keys are kept")
        }
    }
}
