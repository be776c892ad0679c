//! Where the log goes: to journald with its fields when systemd started the program, else as text to
//! the terminal. `HANGTAG_LOG` filters it, by default from `info` on.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging, once per process.
///
/// # Errors
/// When `HANGTAG_LOG` is not a filter.
pub(crate) fn start() -> anyhow::Result<()> {
    let filter = match std::env::var("HANGTAG_LOG") {
        Ok(text) => EnvFilter::try_new(&text).with_context(|| format!("HANGTAG_LOG={text:?}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let journald = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journald {
        Some(journald) => registry.with(journald).init(),
        None => {
            let colours = std::io::stderr().is_terminal();
            registry.with(fmt::layer().with_ansi(colours).with_writer(std::io::stderr)).init();
        }
    }
    Ok(())
}
