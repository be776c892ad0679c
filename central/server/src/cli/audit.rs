//! The command `audit`, and what commands themselves write down. Enters: a configuration. Leaves: lines, for people and
//! for programs.

use std::process::ExitCode;

use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;

use crate::config::Config;
use crate::store::{Access, Deed, Entry, Noted};

/// Prints what was written down.
///
/// # Errors
/// When the database fails.
pub(super) fn list(config: &Config, limit: u32, json: bool) -> anyhow::Result<ExitCode> {
    for noted in Access::new(config.address()?, config.tenant).audit(limit)? {
        if json {
            println!("{}", serde_json::to_string(&noted)?);
        } else {
            let Noted { at_ms, who, what, address, about } = noted;
            let who = if who.is_empty() { "nobody known".to_owned() } else { who };
            println!("{}  {what}  {who}  from {address}  {about}", moment(at_ms));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Who may come in, by this configuration.
///
/// # Errors
/// When it does not say where the database is, or that cannot be opened.
pub(super) fn access(config: &Config) -> anyhow::Result<Access> {
    let access = Access::new(config.address()?, config.tenant);
    access.prepare()?;
    Ok(access)
}

/// What a command does, by whoever has started it.
pub(super) fn entry(what: Deed, about: impl Into<String>) -> Entry {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let who = variable("SUDO_USER").or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
    Entry {
        at: UnixMillis(Timestamp::now().as_millisecond()),
        who: who.unwrap_or_else(|| "unknown".into()),
        what,
        address: "the command line".into(),
        about: about.into(),
    }
}

/// A moment, for people.
pub(super) fn moment(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).ok();
    at.map_or_else(|| at_ms.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
