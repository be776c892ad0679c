//! `bench fill`: a spool as the agent leaves it. Enters: a configuration. Leaves: its spool, with invented
//! events that the spool's own thread accepted. It never removes what it has not settled itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hangtag_protocol::clock::{BootId, ClockAnchor, UNKNOWN_ERROR, UnixMillis, Uptime};
use hangtag_protocol::id::Seq;
use tokio::time::{Instant, sleep_until};

use super::day::{self, Day};
use super::dice::Dice;
use super::keeper::Keeper;
use crate::cli::out::out;
use crate::clock;
use crate::config::Config;

/// A day without end began so long ago, in milliseconds.
const BEGAN_MS: u64 = 24 * 3_600_000;

/// What to fill in.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Fill {
    /// How many events; 0 for until it is killed.
    #[arg(long, value_name = "N")]
    pub(super) events: u64,
    /// How many events are made durable together.
    #[arg(long, value_name = "K", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) per_commit: u32,
    /// How often that happens, in milliseconds; 0 for as often as the disk allows.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) every_ms: u64,
    /// Settle what is more than so many events old, as central would.
    #[arg(long, value_name = "W")]
    pub(super) settle_behind: Option<u64>,
    /// Write one line of JSON per accepted event, once it is on stable storage.
    #[arg(long, value_name = "FILE")]
    pub(super) accepted_log: Option<PathBuf>,
    /// Fill a spool that has had events already. Never that of a shop's gateway.
    #[arg(long)]
    pub(super) more: bool,
    /// Chance begins here: the same seed and first number give the same events.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(super) seed: u64,
}

/// Fills the spool of a configuration.
pub(super) async fn run(config: &Config, fill: Fill) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot create data folder {}", config.data.display()))?;
    let keeper = Keeper::open(config, fill.accepted_log.clone())?;
    let first = keeper.next();
    if !fill.more && (first > Seq::FIRST || keeper.held() > 0) {
        keeper.close().await?;
        bail!(
            "the spool in {} has had events already: invented ones would reach central beside them as if they \
             were real. If that is meant: --more",
            config.data.display()
        );
    }
    // A boot of its own, tied to a wall clock that makes the last event one of right now.
    let boot = BootId(Dice::new(fill.seed ^ first.0.rotate_left(32)).any());
    let start = Uptime(3_600_000);
    let took_ms = if fill.events == 0 { BEGAN_MS } else { fill.events * day::EVENT_EVERY_MS };
    let began = UnixMillis(clock::wall().0 - i64::try_from(took_ms).unwrap_or(0));
    let anchor = ClockAnchor { boot, uptime: start, wall: began, error_ms: UNKNOWN_ERROR };
    keeper.anchor(anchor).await?;

    let mut day = Day::new(day::TAGS, fill.seed, boot, start, first);
    let mut left = if fill.events == 0 { u64::MAX } else { fill.events };
    let mut due = Instant::now();
    let mut filled = 0;
    while left > 0 {
        let now = u64::from(fill.per_commit).min(left);
        let events: Vec<_> = day.by_ref().take(usize::try_from(now)?).collect();
        let last = events.last().ok_or_else(|| anyhow!("the day is over"))?.0;
        if let Some(fault) = keeper.accept_unless_full(events, day.snapshot()).await? {
            keeper.close().await?;
            bail!("filled {filled} events, then: {fault}");
        }
        left -= now;
        filled += now;
        if let Some(behind) = fill.settle_behind
            && last.0 > behind
        {
            keeper.settle(Seq(last.0 - behind)).await?;
        }
        due += Duration::from_millis(fill.every_ms);
        sleep_until(due).await;
    }
    keeper.close().await?;
    Ok(writeln!(out(), "filled {filled} events")?)
}
