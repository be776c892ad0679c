//! Logging. Enters: nothing but the environment. Leaves: a subscriber for `tracing`: for people on
//! standard error, or structured for journald under systemd.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

/// The variable that sets levels, as in `hangtag_agent=debug`.
const VARIABLE: &str = "HANGTAG_LOG";
/// rumqttc and sled tell of their inner life at info.
const DEFAULT: &str = "info,rumqttc=warn,sled=warn";

/// Starts logging.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    // systemd sets JOURNAL_STREAM when standard error goes to the journal.
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journald) = tracing_journald::layer()
    {
        registry.with(journald).init();
        return;
    }
    let colours = std::io::stderr().is_terminal();
    registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colours)).init();
}
