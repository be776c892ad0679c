//! Whether what is kept of hours says what their events say. Enters: a database. Leaves: a line for each hour that
//! differs, sums, and an exit code: 0 when something was compared and nothing differs, 1 when something differs, 2 when
//! nothing was compared.

use std::process::ExitCode;

use hangtag_protocol::id::TenantId;
use jiff::Timestamp;

use crate::store::{Address, Roller, Verified, verify as compare};

/// The exit code when nothing was compared.
const NOTHING: u8 = 2;
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
    let compared = right + wrong.len() as u64;
    println!("{} compared with their events: {right} say the same, {} do not", hours(compared), wrong.len());
    if waiting > 0 {
        println!(
            "{} not compared: nothing is kept of them yet, and they are read from their events",
            hours(waiting)
        );
    }
    if alone > 0 {
        println!(
            "{} not compared: their events were deleted because of their age, and what is kept of them can be read",
            hours(alone)
        );
    }
    if compared == 0 && gone.is_empty() {
        println!("nothing was checked");
        return Ok(ExitCode::from(NOTHING));
    }
    if mend && !wrong.is_empty() {
        let mut roller = Roller::open(address, tenant)?;
        wrong.iter().try_for_each(|(store, hour)| roller.forget(store, *hour))?;
        while roller.roll(16)? > 0 {}
        println!("{} rolled up anew", hours(wrong.len() as u64));
        return Ok(if gone.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    Ok(if wrong.is_empty() && gone.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `1 hour`, `7 hours`.
fn hours(count: u64) -> String {
    format!("{count} hour{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Bench, TAG, anchor, batch, picked, tenant};

    #[test]
    fn what_checked_nothing_is_no_success() {
        let mut bench = Bench::new();
        let verify = |bench: &Bench| verify(&bench.address, tenant(), false).unwrap();
        let code = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(format!("{:?}", verify(&bench)), code(NOTHING), "an empty database");
        let mut sent = batch(1, vec![picked(1, TAG)]);
        sent.anchors = vec![anchor(0, 1_700_000_000_000, 20)];
        bench.send(&sent);
        assert_eq!(format!("{:?}", verify(&bench)), code(NOTHING), "an hour that waits");
        Roller::open(&bench.address, tenant()).unwrap().roll(9).unwrap();
        assert_eq!(format!("{:?}", verify(&bench)), code(0));
        bench.batch("UPDATE event SET kind = 'put_down'");
        assert_eq!(format!("{:?}", verify(&bench)), code(1));
        assert_eq!([1, 2].map(hours), ["1 hour", "2 hours"]);
    }
}
