//! What only one of several processes on a database may do at a time. Enters: a name for it, who wants to, and until when.
//! Leaves: whether that one may. Drawn in `feed.rs`. Whoever dies holds its lease until the time that it named.

use hangtag_protocol::clock::UnixMillis;

use super::StoreError;
use super::db::{Db, binds};

/// Takes or renews a lease. False when another one holds it. Within a transaction nobody else takes it before the commit.
///
/// # Errors
/// When the database fails.
pub(super) fn take(
    db: &Db,
    name: &str,
    holder: &str,
    (now, until): (UnixMillis, UnixMillis),
) -> Result<bool, StoreError> {
    let take = "INSERT INTO lease VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE
        SET holder = excluded.holder, until = excluded.until
        WHERE lease.holder = excluded.holder OR lease.until <= ?4";
    Ok(db.execute(take, binds![name, holder, until.0, now.0])? > 0)
}

/// Lets go of a lease, so that another one need not wait.
///
/// # Errors
/// When the database fails.
pub(super) fn let_go(db: &Db, name: &str, holder: &str) -> Result<(), StoreError> {
    db.execute("DELETE FROM lease WHERE name = ?1 AND holder = ?2", binds![name, holder]).map(drop)
}
