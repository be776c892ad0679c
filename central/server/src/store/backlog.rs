//! What waits, and what takes room, for monitors. Enters: the forms in which the feed is published. Leaves: how many events
//! are not published yet and since when the oldest of them is there; what is in quarantine.

use hangtag_central_core::feed::Form;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::status::{Health, Presence, Status};
use serde::Serialize;

use super::StoreError;
use super::db::{Db, Mode, binds};
use super::read::{Reader, content};

/// What is not published yet in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// The form.
    pub form: Form,
    /// Events that have their places, of all shops.
    pub events: u64,
    /// When central got the oldest of them.
    pub oldest: Option<UnixMillis>,
}

/// What is in quarantine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct QuarantineSum {
    /// Payloads.
    pub payloads: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that are the only copies of events.
    pub only_copies: u64,
}

/// How many gateways there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GatewaySums {
    /// Connected to the broker, and keeping events.
    pub online: u64,
    /// Not connected to the broker.
    pub offline: u64,
    /// Connected, and unable to keep events.
    pub not_recording: u64,
}

impl Reader {
    /// What is not published yet, by form; and how many events wait for their clocks before they get a place.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn backlog(&self, forms: &[Form]) -> Result<(Vec<Backlog>, u64), StoreError> {
        let mut connection = self.reading()?;
        let db = connection.transaction(Mode::Read)?;
        let waiting = "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM feed_waiting";
        let waiting = db.only(waiting, &[], |row| row.get(0))?;
        Ok((forms.iter().map(|form| backlog(&db, *form)).collect::<Result<_, _>>()?, waiting))
    }

    /// Hours that changed and whose sheets were not made anew yet: the page reads their events meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn unrolled_hours(&self) -> Result<u64, StoreError> {
        let question = "SELECT count(*) FROM changed WHERE rolled IS NULL OR rolled <> mark";
        self.reading()?.only(question, &[], |row| row.get(0))
    }

    /// How the gateways of all shops are, by their last words.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn gateways(&self) -> Result<GatewaySums, StoreError> {
        let mut sums = GatewaySums::default();
        self.reading()?.each("SELECT body FROM status", &[], |row| {
            let body: &str = row.get(0)?;
            let status: Status = serde_json::from_str(body).map_err(|_| content(body, "a status"))?;
            let is_faulty = |health: &Health| health.spool_fault.is_some();
            *match (status.state, status.health) {
                (Presence::Offline, _) => &mut sums.offline,
                (Presence::Online, Some(health)) if is_faulty(&health) => &mut sums.not_recording,
                (Presence::Online, _) => &mut sums.online,
            } += 1;
            Ok(())
        })?;
        Ok(sums)
    }

    /// What is in quarantine.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn quarantine_sum(&self) -> Result<QuarantineSum, StoreError> {
        let question = "SELECT count(*), CAST(coalesce(sum(length(payload)), 0) AS BIGINT),
             count(CASE WHEN kind = 'settled' THEN 1 END) FROM quarantine";
        self.reading()?.only(question, &[], |row| {
            Ok(QuarantineSum { payloads: row.get(0)?, bytes: row.get(1)?, only_copies: row.get(2)? })
        })
    }
}

fn backlog(db: &Db, form: Form) -> Result<Backlog, StoreError> {
    let behind = "SELECT h.store, coalesce(s.sequence, 0), h.first, h.last FROM feed_head AS h
         LEFT JOIN feed_sent AS s ON s.store = h.store AND s.form = ?1
         WHERE h.last > coalesce(s.sequence, 0)";
    let behind: Vec<(String, i64, i64, i64)> =
        db.all(behind, binds![form.name()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let received = "SELECT e.received FROM feed AS f JOIN event AS e ON e.store = f.store AND e.gateway = f.gateway
           AND e.epoch = f.epoch AND e.seq = f.seq + (?2 - f.sequence)
         WHERE f.store = ?1 AND f.sequence = (SELECT max(sequence) FROM feed WHERE store = ?1 AND sequence <= ?2)";
    let (mut events, mut oldest) = (0, None);
    for (store, sent, first, last) in behind {
        // What was deleted before this form was published never is.
        let next = (sent + 1).max(first);
        events += (last + 1 - next).max(0).cast_unsigned();
        let at: Option<i64> = db.first(received, binds![store, next], |row| row.get(0))?;
        oldest = oldest.into_iter().chain(at).min();
    }
    Ok(Backlog { form, events, oldest: oldest.map(UnixMillis) })
}
