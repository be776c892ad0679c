//! When what is deleted that is too old. Enters: limits. Leaves: a database without that. It goes slowly: between two
//! transactions the writer has its turn.

use std::time::Duration;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{Address, Keeper, Limits};

/// How long after the start the first look is taken, and how long after each the next.
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
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        pause = EVERY;
        let (address, limits, stop) = (address.clone(), limits.clone(), stopping.clone());
        let pass = move || {
            let now = UnixMillis(Timestamp::now().as_millisecond());
            Keeper::open(&address, tenant, limits)?.pass(now, &mut || {
                std::thread::sleep(BETWEEN);
                !*stop.borrow()
            })
        };
        match tokio::task::spawn_blocking(pass).await {
            Ok(Ok(0)) => {}
            Ok(Ok(rows)) => tracing::info!(rows, "deleted what was too old"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot delete what is too old, will try again"),
            Err(error) => tracing::error!(%error, "deleting what is too old ended early, will try again"),
        }
    }
}
