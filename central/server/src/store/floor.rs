//! What the engine alone can do: the floor for measurements. Enters: batches. Leaves: rows per second when nothing but
//! the rows of their events is written, in transactions as large as the writer's.

use std::time::Instant;

use hangtag_protocol::batch::Batch;
use hangtag_protocol::id::TenantId;

use super::append::EVENTS_PER_GROUP;
use super::db::Mode;
use super::{Address, StoreError, event, open_to_write};

/// Writes the rows into a new database.
///
/// # Errors
/// When the database fails.
pub(crate) fn floor(address: &Address, tenant: TenantId, batches: &[Batch]) -> Result<f64, StoreError> {
    let mut db = open_to_write(address, tenant)?;
    let per_transaction = usize::try_from(EVENTS_PER_GROUP).unwrap_or(usize::MAX);
    let (mut rows, mut seconds) = (0, 0.0);
    let mut rest = batches;
    while !rest.is_empty() {
        let mut events = 0;
        let taken = rest.iter().take_while(|batch| {
            let is_room = events < per_transaction;
            events += batch.events.len();
            is_room
        });
        let (group, after) = rest.split_at(taken.count());
        rest = after;
        let epochs: Vec<String> = group.iter().map(|batch| batch.header.epoch.to_string()).collect();
        let all: Vec<_> =
            group.iter().zip(&epochs).flat_map(|(batch, epoch)| event::rows(batch, epoch)).collect();
        rows += all.len();
        let began = Instant::now();
        let transaction = db.transaction(Mode::Write)?;
        transaction.insert_rows("event", all.into_iter())?;
        transaction.commit()?;
        seconds += began.elapsed().as_secs_f64();
    }
    Ok(rows as f64 / seconds)
}
