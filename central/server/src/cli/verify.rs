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
    let Verified { right, waiting, alone, wrong, gone } = compare(address)?;
    let begin = |hour: &i64| {
        Timestamp::from_second(hour * HOUR_S).map_or_else(|_| hour.to_string(), |at| at.to_string())
    };
    for (store, hour) in &wrong {
        println!("store {store}, hour from {}: what is kept of it is not what its events say", begin(hour));
    }
    for (store, hour) in &gone {
        println!(
            "store {store}, hour from {}: what is kept of it cannot be read, and its events are deleted: restore a backup",
            begin(hour)
        );
    }
    println!("{right} hours as their events say, {} not, {waiting} not rolled up yet", wrong.len());
    if alone > 0 {
        println!("{alone} hours are kept without their events, which were deleted because of their age");
    }
    if mend && !wrong.is_empty() {
        let mut roller = Roller::open(address, tenant)?;
        wrong.iter().try_for_each(|(store, hour)| roller.forget(store, *hour))?;
        while roller.roll(16)? > 0 {}
        println!("{} hours were rolled up anew", wrong.len());
        return Ok(if gone.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    Ok(if wrong.is_empty() && gone.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
