//! The database's publishing side, from tasks that must not wait. Enters: questions. Leaves: answers, from a thread
//! that may wait. The database is opened when it is first asked, and anew after it failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use crate::store::{Address, Feeder, StoreError};

/// How often is looked whether events waited long enough for their clocks.
const RELEASE_EVERY: Duration = Duration::from_secs(30);

/// The publishing side of the database.
#[derive(Clone)]
pub(crate) struct Desk {
    address: Address,
    tenant: TenantId,
    feeder: Arc<Mutex<Option<Feeder>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// The database failed.
    #[error("{0}")]
    Database(#[from] StoreError),
    /// The program ends, or has a mistake.
    #[error("the question to the database was dropped: {0}")]
    Task(#[from] JoinError),
}

impl Desk {
    /// Knows where the database is.
    pub(crate) fn new(address: Address, tenant: TenantId) -> Self {
        Self { address, tenant, feeder: Arc::default() }
    }

    /// Asks.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Feeder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, DeskError> {
        let desk = self.clone();
        let ask = move || {
            let mut feeder = desk.feeder.lock().unwrap_or_else(PoisonError::into_inner);
            // Not there after an error, or after a question that panicked.
            let mut open = feeder.take().map_or_else(|| Feeder::open(&desk.address, desk.tenant), Ok)?;
            let answer = question(&mut open)?;
            *feeder = Some(open);
            Ok(answer)
        };
        spawn_blocking(ask).await?.map_err(DeskError::Database)
    }
}

/// Lets events go that have waited long enough for their clocks, until told to stop: whether the feed is published or
/// not, it can be read.
pub(crate) async fn release(desk: Desk, mut stopping: watch::Receiver<bool>) {
    loop {
        let released = desk.ask(|feeder| feeder.release(now())).await;
        let is_done = !released.unwrap_or_else(|why| {
            tracing::warn!(%why, "cannot look for events that wait for their clock");
            false
        });
        tokio::select! {
            () = sleep(RELEASE_EVERY), if is_done => {}
            () = std::future::ready(()), if !is_done => {}
            () = stopped(&mut stopping) => return,
        }
        if *stopping.borrow() {
            return;
        }
    }
}

/// Central's clock.
pub(super) fn now() -> UnixMillis {
    UnixMillis(Timestamp::now().as_millisecond())
}

/// Waits until the program stops.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}
