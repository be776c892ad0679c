//! When rollups are made. Enters: word of commits. Leaves: a sheet for every hour that changed, soon after. Nobody waits
//! for it: where a sheet is missing or old, events are read instead.

use std::time::Duration;

use hangtag_protocol::id::TenantId;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{Address, Roller, StoreError};

/// How long after a commit its hours are rolled up: what is committed in between is rolled up with them.
const AFTER: Duration = Duration::from_secs(1);
/// Hours in one transaction: the writer waits for no more.
const HOURS: u32 = 16;
/// How long after it failed it is tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// Makes sheets until told to stop.
pub(crate) async fn run(
    address: Address,
    tenant: TenantId,
    mut commits: watch::Receiver<u64>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut roller = None;
    // What changed before the program started is rolled up first.
    commits.mark_changed();
    loop {
        tokio::select! {
            changed = commits.changed() => if changed.is_err() { return },
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let mut pause = AFTER;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            let (address, had) = (address.clone(), roller.take());
            match tokio::task::spawn_blocking(move || roll(had, &address, tenant)).await {
                Ok(Ok((opened, rolled))) => {
                    roller = Some(opened);
                    if rolled == 0 {
                        break;
                    }
                    // The writer's turn: SQLite's lock is not fair.
                    pause = Duration::from_millis(5);
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot roll hours up, will try again");
                    pause = PAUSE;
                }
                Err(error) => {
                    tracing::error!(%error, "rolling hours up ended early, will try again");
                    pause = PAUSE;
                }
            }
        }
    }
}

fn roll(had: Option<Roller>, address: &Address, tenant: TenantId) -> Result<(Roller, usize), StoreError> {
    let mut roller = match had {
        Some(roller) => roller,
        None => Roller::open(address, tenant)?,
    };
    let rolled = roller.roll(HOURS)?;
    Ok((roller, rolled))
}
