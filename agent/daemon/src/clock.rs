//! The gateway's two clocks. Enters: nothing but what the kernel says. Leaves: uptime, the boot's id,
//! and anchors that tie uptime to the time of day.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use hangtag_protocol::clock::{BootId, ClockAnchor, UNKNOWN_ERROR, UnixMillis, Uptime};
use rustix::time::{ClockId, clock_gettime};

/// A wall clock before 2026-01-01 was never set: this program did not exist then.
const PLAUSIBLE_MS: i64 = 1_767_225_600_000;
/// What is assumed of a wall clock that a time service keeps, in milliseconds.
const KEPT_ERROR_MS: u32 = 1_000;
/// systemd-timesyncd creates this file when it has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Milliseconds since the kernel started, sleep included.
pub(crate) fn uptime() -> Uptime {
    let now = clock_gettime(ClockId::Boottime);
    let ms = now.tv_sec * 1_000 + now.tv_nsec / 1_000_000;
    Uptime(u64::try_from(ms).expect("uptime is not negative"))
}

/// The kernel's id of this boot.
pub(crate) fn boot_id() -> anyhow::Result<BootId> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    let id = u64::from_str_radix(&digits, 16).with_context(|| format!("{path} holds {text:?}"))?;
    Ok(BootId(id))
}

/// What the wall clock shows, however wrong.
pub(crate) fn wall() -> UnixMillis {
    // A clock before 1970 shows 1970: neither is believed.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Whether the wall clock was ever set.
pub(crate) fn is_plausible() -> bool {
    wall().0 >= PLAUSIBLE_MS
}

/// Whether systemd-timesyncd has set it.
pub(crate) fn is_synchronised() -> bool {
    Path::new(SYNCHRONISED).exists()
}

/// What the wall clock shows now, unless it was obviously never set. `kept`: the operator vouches for it.
pub(crate) fn anchor(boot: BootId, kept: bool) -> Option<ClockAnchor> {
    let (uptime, wall) = (uptime(), wall());
    let kept = kept || is_synchronised();
    let error_ms = if kept { KEPT_ERROR_MS } else { UNKNOWN_ERROR };
    (wall.0 >= PLAUSIBLE_MS).then_some(ClockAnchor { boot, uptime, wall, error_ms })
}

/// Whether an anchor tells something that another of the same boot does not: the clock was stepped by
/// more than a second, or is vouched for at last.
pub(crate) fn differs(new: &ClockAnchor, old: &ClockAnchor) -> bool {
    let offset = |anchor: &ClockAnchor| i128::from(anchor.wall.0) - i128::from(anchor.uptime.0);
    new.boot != old.boot || (offset(new) - offset(old)).abs() > 1_000 || new.error_ms < old.error_ms
}
