//! The publishing side of the feed. Enters: who wants to publish, and what the broker has acknowledged. Leaves: whether
//! that one may, and how far everything is. Of several processes on one database one publishes at a time: whoever
//! holds the lease, until it lets go or does not renew it in time. Should their clocks differ, two may publish for a
//! while: the same events under the same ids, which is allowed.

use std::collections::BTreeMap;

use hangtag_central_core::feed::{Form, Line, Sequence};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{StoreId, TenantId};

use super::db::{Db, Mode, binds};
use super::feed::Feed;
use super::read::parse;
use super::{Address, StoreError, lease, open_to_write};

/// The name of the lease.
const LEASE: &str = "feed";
/// How many runs that waited are let go in one transaction.
const RELEASED: u32 = 256;

/// The publishing side of the database.
pub(crate) struct Feeder {
    db: Db,
}

impl Feeder {
    /// Opens the database.
    ///
    /// # Errors
    /// As for the writing side.
    pub(crate) fn open(address: &Address, tenant: TenantId) -> Result<Self, StoreError> {
        Ok(Self { db: open_to_write(address, tenant)? })
    }

    /// Takes or renews the lease, and notes what the broker has acknowledged. False when another one holds the lease;
    /// nothing is noted then.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn hold(
        &mut self,
        holder: &str,
        (now, until): (UnixMillis, UnixMillis),
        sent: &BTreeMap<Line, Sequence>,
    ) -> Result<bool, StoreError> {
        let note = "INSERT INTO feed_sent VALUES (?1, ?2, ?3)
            ON CONFLICT (store, form) DO UPDATE SET sequence = excluded.sequence
            WHERE feed_sent.sequence < excluded.sequence";
        let transaction = self.db.transaction(Mode::Write)?;
        if !lease::take(&transaction, LEASE, holder, (now, until))? {
            return Ok(false);
        }
        for (line, sequence) in sent {
            let row = binds![line.store.as_str(), line.form.name(), sequence.0.cast_signed()];
            transaction.execute(note, row)?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Lets go of the lease, so that another one need not wait.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn let_go(&mut self, holder: &str) -> Result<(), StoreError> {
        lease::let_go(&self.db, LEASE, holder)
    }

    /// How far the feeds of these forms are published, and where they end.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn lines(&self, forms: &[Form]) -> Result<Vec<(Line, [Sequence; 2])>, StoreError> {
        let question = "SELECT h.store, coalesce(s.sequence, 0), h.last FROM feed_head AS h
            LEFT JOIN feed_sent AS s ON s.store = h.store AND s.form = ?1 ORDER BY h.store";
        let mut lines = Vec::new();
        for form in forms {
            self.db.each(question, binds![form.name()], |row| {
                let store: StoreId = parse(row.get(0)?, "a store")?;
                let places = [Sequence(row.get(1)?), Sequence(row.get(2)?)];
                lines.push((Line { store, form: *form }, places));
                Ok(())
            })?;
        }
        Ok(lines)
    }

    /// Lets events go that have waited long enough for their clocks. Whether there were any; there may be more.
    ///
    /// # Errors
    /// When the database fails; nothing was let go then.
    pub(crate) fn release(&mut self, now: UnixMillis) -> Result<bool, StoreError> {
        // Most often there are none, and no transaction need be written.
        if !Feed::is_due(&self.db, now)? {
            return Ok(false);
        }
        let transaction = self.db.transaction(Mode::Write)?;
        let released = Feed::release(&transaction, now, RELEASED)?;
        transaction.commit()?;
        Ok(released > 0)
    }
}
