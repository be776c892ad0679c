//! When what is deleted that is too old. Enters: limits. Leaves: a database without that. It goes slowly: between two
//! transactions the writer has its turn.

use std::time::Duration;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{Address, Keeper, Limits};

/// How long after the start, or after a failure, a look is taken; and how long after each the next.
const FIRST: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(3_600);
/// How long others have the database for themselves between two transactions.
const BETWEEN: Duration = Duration::from_millis(20);

/// Deletes what is too old until told to stop.
pub(crate) async fn run(
    address: Address,
    tenant: TenantId,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    if limits.are_none() {
        return;
    }
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let (address, limits, stop) = (address.clone(), limits.clone(), stopping.clone());
        let pass = move || {
            let now = UnixMillis(Timestamp::now().as_millisecond());
            Keeper::open(&address, tenant, limits)?.pass(now, &mut || {
                std::thread::sleep(BETWEEN);
                !*stop.borrow()
            })
        };
        pause = match tokio::task::spawn_blocking(pass).await {
            Ok(Ok(rows)) => {
                if rows > 0 {
                    tracing::info!(rows, "deleted what was too old");
                }
                EVERY
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot delete what is too old, will try again");
                FIRST
            }
            Err(error) => {
                tracing::error!(%error, "deleting what is too old ended early, will try again");
                FIRST
            }
        };
    }
}
