//! The commands `backup`, `restore` and `restored`. Enters: a configuration, and a file. Leaves: a copy of the database, or
//! a database made of a copy, and a line that says so.

use std::path::Path;
use std::process::ExitCode;

use super::audit;
use crate::config::Config;
use crate::store::{self, Access, Copied, Deed};

/// Copies the database.
///
/// # Errors
/// When it cannot be copied.
pub(super) fn back_up(config: &Config, to: &Path) -> anyhow::Result<ExitCode> {
    let address = config.address()?;
    let copied = store::back_up(&address, config.tenant, to)?;
    let about = format!("a backup: {}", to.display());
    // One of an older version has no place for it, and is not made a newer one in passing.
    let access = Access::new(address, config.tenant);
    if let Err(why) = access.is_ready().and_then(|()| access.note(&audit::entry(Deed::Exported, about))) {
        tracing::warn!(%why, "the copy is whole; that it was made is not written down");
    }
    println!("{}: {}", to.display(), told(&copied));
    if let Some(loyalty) = &config.loyalty {
        println!(
            "not in it: the folder of keys {}: without it no shopper is known again",
            loyalty.keys.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the database of a copy.
///
/// # Errors
/// When the copy cannot be used, or would take the place of something.
pub(super) fn restore(config: &Config, from: &Path, replace: bool) -> anyhow::Result<ExitCode> {
    let address = config.address()?;
    let copied = store::restore(&address, config.tenant, from, replace)?;
    if let Some(before) = &copied.before {
        println!("{}: the database that was at {address} before", before.display());
    }
    println!("{address}: {}", told(&copied));
    println!("start central: gateways send again what they still hold, and the feed tells a new generation");
    Ok(ExitCode::SUCCESS)
}

/// Notes that the database was restored in another way.
///
/// # Errors
/// When the database fails.
pub(super) fn restored(config: &Config) -> anyhow::Result<ExitCode> {
    let address = config.address()?;
    store::restored(&address, config.tenant)?;
    println!("{address}: a new generation of the feed begins");
    Ok(ExitCode::SUCCESS)
}

/// `1 event, 0.3 MiB, schema 9`.
fn told(copied: &Copied) -> String {
    let Copied { events, bytes, version, before: _ } = copied;
    let plural = if *events == 1 { "" } else { "s" };
    format!("{events} event{plural}, {}, schema {version}", size(*bytes))
}

fn size(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20)
}
