//! What the engine alone can do: the floor for measurements. Enters: batches. Leaves: rows per second when nothing but
//! the rows of their events is written, in transactions as large as the writer's; and when each transaction also adds
//! up how many there were per hour, product, place and kind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hangtag_protocol::batch::Batch;
use hangtag_protocol::id::TenantId;

use super::append::EVENTS_PER_GROUP;
use super::changed::HOUR_MS;
use super::db::{IntoBind, Mode};
use super::{Address, StoreError, event, open_to_write};

/// How fast the engine alone is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bare {
    /// Rows per second.
    pub rows: f64,
    /// Rows per second that are added up, too.
    pub rolled: f64,
}

const SUMS: &str = "CREATE TABLE bare_sum (
    store TEXT NOT NULL, hour BIGINT NOT NULL, product TEXT NOT NULL, zone TEXT NOT NULL, kind TEXT NOT NULL,
    count BIGINT NOT NULL, PRIMARY KEY (store, hour, product, zone, kind)
)";
const ADD: &str = "(store, hour, product, zone, kind) DO UPDATE SET count = bare_sum.count + excluded.count";

/// Writes the rows into a new database.
///
/// # Errors
/// When the database fails.
pub(crate) fn floor(address: &Address, tenant: TenantId, batches: &[Batch]) -> Result<Bare, StoreError> {
    let mut db = open_to_write(address, tenant)?;
    db.execute(SUMS, &[])?;
    let per_transaction = usize::try_from(EVENTS_PER_GROUP).unwrap_or(usize::MAX);
    let (mut written, mut all, mut rolling) = (0, Duration::ZERO, Duration::ZERO);
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
        let names = |batch: &Batch| {
            let boot = batch.events.first().map(|event| event.boot.to_string());
            (batch.header.epoch.to_string(), boot.unwrap_or_default())
        };
        let names: Vec<(String, String)> = group.iter().map(names).collect();
        let rows =
            group.iter().zip(&names).flat_map(|(batch, (epoch, boot))| event::rows(batch, (epoch, boot)));
        let rows: Vec<_> = rows.collect();
        let sums = sums(group);
        written += rows.len();
        let began = Instant::now();
        let transaction = db.transaction(Mode::Write)?;
        transaction.insert_rows("event", rows.into_iter())?;
        // A server is sent the rows before the next statement.
        transaction.is_any("SELECT 1", &[])?;
        let begun = Instant::now();
        let sums = sums.iter().map(|((store, hour, product, zone, kind), count)| {
            let [store, product, zone, kind] = [*store, product, zone, *kind].map(IntoBind::into_bind);
            [store, (*hour).into_bind(), product, zone, kind, (*count).into_bind()]
        });
        transaction.merge_rows("bare_sum", sums, ADD)?;
        rolling += begun.elapsed();
        transaction.commit()?;
        all += began.elapsed();
    }
    let per_second = |took: Duration| written as f64 / took.as_secs_f64();
    Ok(Bare { rows: per_second(all - rolling), rolled: per_second(all) })
}

/// Shop, hour, product, zone and kind.
type Of<'b> = (&'b str, i64, String, String, &'static str);

fn sums(batches: &[Batch]) -> BTreeMap<Of<'_>, i64> {
    let mut sums = BTreeMap::new();
    for batch in batches {
        for event in &batch.events {
            let garment = event.garment();
            let product = garment.and_then(|(epc, ..)| Some(epc.sgtin()?.gtin().to_string()));
            let zone = garment.map(|(_, zone, ..)| zone.to_string());
            let (product, zone) = (product.unwrap_or_default(), zone.unwrap_or_default());
            let hour = event.at.0.cast_signed() / HOUR_MS;
            let of = (batch.header.gateway.store.as_str(), hour, product, zone, event.kind().name());
            *sums.entry(of).or_insert(0) += 1;
        }
    }
    sums
}
