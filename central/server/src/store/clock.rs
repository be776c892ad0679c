//! Time of day. Enters: clock anchors. Leaves: the time of day of events, before and after the
//! anchor came; it is the one that `hangtag_protocol::clock::time_of_day` gives for all anchors known
//! so far, whatever the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime};
use hangtag_protocol::topic::Gateway;

use super::StoreError;
use super::changed::{Changed, HOUR_MS, NO_HOUR};
use super::db::{Db, binds};

/// So far ahead anchors are read for the batches that follow: longer stretches have more of them.
const AHEAD_MS: u64 = 6 * 3_600_000;

/// What one transaction knows of clocks: batches that follow one another tell of the same, and the database is asked
/// once.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    learned: BTreeSet<(Gateway, BootId, Uptime, UnixMillis, u32)>,
    near: BTreeMap<(Gateway, BootId), Near>,
}

/// The anchors that can decide the time of an event between two uptimes.
#[derive(Debug)]
struct Near {
    between: (Uptime, Uptime),
    anchors: Vec<ClockAnchor>,
}

impl Clocks {
    /// See [`learn`].
    pub(super) fn learn(
        &mut self,
        db: &Db,
        of: &Gateway,
        anchor: &ClockAnchor,
        changes: &mut Changed,
    ) -> Result<usize, StoreError> {
        let ClockAnchor { boot, uptime, wall, error_ms } = *anchor;
        if !self.learned.insert((*of, boot, uptime, wall, error_ms)) {
            return Ok(0);
        }
        self.near.remove(&(*of, boot));
        learn(db, of, anchor, changes)
    }

    /// See [`anchors`].
    pub(super) fn anchors(
        &mut self,
        db: &Db,
        of: &Gateway,
        boot: BootId,
        between: (Uptime, Uptime),
    ) -> Result<&[ClockAnchor], StoreError> {
        let near = self.near.remove(&(*of, boot));
        let near = match near.filter(|near| near.between.0 <= between.0 && between.1 <= near.between.1) {
            Some(near) => near,
            None => {
                let between = (between.0, between.1 + AHEAD_MS);
                Near { between, anchors: anchors(db, of, boot, between)? }
            }
        };
        Ok(&self.near.entry((*of, boot)).or_insert(near).anchors)
    }
}

/// Keeps an anchor, and gives its time to the events of its boot for which it is the best one.
/// Returns how many those are.
fn learn(db: &Db, of: &Gateway, anchor: &ClockAnchor, changes: &mut Changed) -> Result<usize, StoreError> {
    let (store, gateway) = (of.store.as_str(), of.gateway.as_str());
    let boot = anchor.boot.to_string();
    let (uptime, wall, error) = (anchor.uptime.0.cast_signed(), anchor.wall.0, anchor.error_ms);
    let new = db.execute(
        "INSERT INTO anchor VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        binds![store, gateway, &boot, error, uptime, wall],
    )?;
    let best: u32 = db.only(
        "SELECT min(error_ms) FROM anchor WHERE store = ?1 AND gateway = ?2 AND boot = ?3",
        binds![store, gateway, &boot],
        |row| row.get(0),
    )?;
    if new == 0 || error > best {
        return Ok(0);
    }
    let is_wall_before = db.is_any(
        "SELECT 1 FROM anchor WHERE store = ?1 AND gateway = ?2 AND boot = ?3 AND error_ms = ?4
         AND uptime = ?5 AND wall_ms < ?6 LIMIT 1",
        binds![store, gateway, &boot, error, uptime, wall],
    )?;
    if is_wall_before {
        return Ok(0);
    }
    let (before, after): (Option<i64>, Option<i64>) = db.only(
        "SELECT (SELECT max(uptime) FROM anchor WHERE store = ?1 AND gateway = ?2 AND boot = ?3
                 AND error_ms = ?4 AND uptime < ?5),
                (SELECT min(uptime) FROM anchor WHERE store = ?1 AND gateway = ?2 AND boot = ?3
                 AND error_ms = ?4 AND uptime > ?5)",
        binds![store, gateway, &boot, error, uptime],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // The nearest anchor decides; half-way between two, the earlier one.
    let from = before.map_or(i64::MIN, |before| (before + uptime) / 2 + 1);
    let to = after.map_or(i64::MAX, |after| (uptime + after) / 2);
    let mut note_hours = || -> Result<(), StoreError> {
        db.each(
            "SELECT DISTINCT wall_ms / ?6 FROM event
             WHERE store = ?1 AND gateway = ?2 AND boot = ?3 AND uptime BETWEEN ?4 AND ?5",
            binds![store, gateway, &boot, from, to, HOUR_MS],
            |row| {
                changes.note_hour(of.store, row.get::<Option<i64>>(0)?.unwrap_or(NO_HOUR));
                Ok(())
            },
        )
    };
    // Events leave their hours and come to others.
    note_hours()?;
    let changed = db.execute(
        "UPDATE event SET wall_ms = ?4 + (uptime - ?5), clock_error = ?6
         WHERE store = ?1 AND gateway = ?2 AND boot = ?3 AND uptime BETWEEN ?7 AND ?8",
        binds![store, gateway, &boot, wall, uptime, error, from, to],
    )?;
    note_hours()?;
    Ok(changed)
}

/// The anchors of one boot that can decide the time of an event between two uptimes.
fn anchors(
    db: &Db,
    of: &Gateway,
    boot: BootId,
    between: (Uptime, Uptime),
) -> Result<Vec<ClockAnchor>, StoreError> {
    let (from, to) = (between.0.0.cast_signed(), between.1.0.cast_signed());
    let boot_text = boot.to_string();
    db.all(
        "WITH best AS MATERIALIZED (SELECT error_ms, uptime, wall_ms FROM anchor
             WHERE store = ?1 AND gateway = ?2 AND boot = ?3 AND error_ms =
                 (SELECT min(error_ms) FROM anchor WHERE store = ?1 AND gateway = ?2 AND boot = ?3))
         SELECT error_ms, uptime, wall_ms FROM best
         WHERE uptime >= coalesce((SELECT max(uptime) FROM best WHERE uptime <= ?4), 0)
           AND uptime <= coalesce((SELECT min(uptime) FROM best WHERE uptime >= ?5), ?6)
         ORDER BY uptime, wall_ms",
        binds![of.store.as_str(), of.gateway.as_str(), boot_text, from, to, i64::MAX],
        |row| {
            Ok(ClockAnchor {
                boot,
                uptime: Uptime(row.get::<i64>(1)?.cast_unsigned()),
                wall: UnixMillis(row.get(2)?),
                error_ms: row.get(0)?,
            })
        },
    )
}
