//! Whether what is kept of hours says what their events say. Enters: a database. Leaves: a line for each hour that
//! differs, and sums.

use std::process::ExitCode;

use hangtag_protocol::id::TenantId;
use jiff::Timestamp;

use crate::store::{Address, Roller, Verified, verify as compare};

/// An hour, in seconds.
const HOUR_S: i64 = 3_600;

/// Compares, and with `mend` makes anew what differs.
///
/// # Errors
/// When the database fails.
pub(super) fn verify(address: &Address, tenant: TenantId, mend: bool) -> anyhow::Result<ExitCode> {
    let Verified { right, waiting, wrong } = compare(address)?;
    for (store, hour) in &wrong {
        let begin =
            Timestamp::from_second(hour * HOUR_S).map_or_else(|_| hour.to_string(), |at| at.to_string());
        println!("store {store}, hour from {begin}: what is kept of it is not what its events say");
    }
    println!("{right} hours as their events say, {} not, {waiting} not rolled up yet", wrong.len());
    if mend && !wrong.is_empty() {
        let mut roller = Roller::open(address, tenant)?;
        wrong.iter().try_for_each(|(store, hour)| roller.forget(store, *hour))?;
        while roller.roll(16)? > 0 {}
        println!("{} hours were rolled up anew", wrong.len());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
