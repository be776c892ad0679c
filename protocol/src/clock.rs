//! Two clocks, two types. [`Uptime`] never jumps and orders what happens on one gateway between two
//! boots; [`UnixMillis`] is the time of day, which may be wrong, may step, and may be absent. An
//! event stores only the first. A [`ClockAnchor`] says what the second showed at one moment of the
//! first, and whoever reads an event derives its time of day from the anchors known by then.

use core::fmt;
use core::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Milliseconds since the gateway's kernel started, sleep included (Linux `CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uptime(pub u64);

impl Uptime {
    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// `Uptime + milliseconds`.
impl Add<u64> for Uptime {
    type Output = Self;
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// `Uptime - milliseconds`, not below zero.
impl Sub<u64> for Uptime {
    type Output = Self;
    fn sub(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

/// One run of the gateway's kernel: random. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub u64);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the wall clock showed at one moment of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockAnchor {
    /// The boot it belongs to.
    pub boot: BootId,
    /// The moment.
    pub uptime: Uptime,
    /// What the wall clock showed.
    pub wall: UnixMillis,
    /// How far off the wall clock may have been, in milliseconds; [`UNKNOWN_ERROR`] when nothing
    /// vouched for it.
    pub error_ms: u32,
}

/// The error of an anchor whose wall clock was set, but by nothing that vouches for it.
pub const UNKNOWN_ERROR: u32 = u32::MAX;

/// The time of day of an event, and how far off it may be (milliseconds, or [`UNKNOWN_ERROR`]).
///
/// The anchor with the smallest error decides, and of equals the one nearest in uptime. `None` when
/// no anchor is of that boot.
#[must_use]
pub fn time_of_day(anchors: &[ClockAnchor], boot: BootId, at: Uptime) -> Option<(UnixMillis, u32)> {
    let anchor = anchors
        .iter()
        .filter(|anchor| anchor.boot == boot)
        .min_by_key(|anchor| (anchor.error_ms, anchor.uptime.0.abs_diff(at.0)))?;
    // Anchors come off the wire: the sum saturates instead of overflowing.
    let ahead = i64::try_from(i128::from(at.0) - i128::from(anchor.uptime.0)).unwrap_or(i64::MAX);
    Some((UnixMillis(anchor.wall.0.saturating_add(ahead)), anchor.error_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(boot: u64, uptime: u64, wall: i64, error_ms: u32) -> ClockAnchor {
        ClockAnchor { boot: BootId(boot), uptime: Uptime(uptime), wall: UnixMillis(wall), error_ms }
    }

    #[test]
    fn time_of_day_comes_from_the_best_anchor_of_the_same_boot() {
        let anchors = [anchor(1, 100, 1_000_000, UNKNOWN_ERROR), anchor(1, 5_000, 9_000_000, 20)];
        assert_eq!(time_of_day(&anchors, BootId(1), Uptime(4_000)), Some((UnixMillis(8_999_000), 20)));
        assert_eq!(time_of_day(&anchors, BootId(2), Uptime(4_000)), None);
    }

    #[test]
    fn hostile_anchors_do_not_overflow() {
        let anchors = [anchor(1, 0, i64::MAX, 0)];
        assert_eq!(time_of_day(&anchors, BootId(1), Uptime(u64::MAX)).unwrap().0, UnixMillis(i64::MAX));
    }
}
