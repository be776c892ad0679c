//! A node's clock by the gateway's. Enters: what the node dated, as it comes. Leaves: the gateway's times.
//!
//! The shortest way that anything took from the node to here decides, because what waited in the node or on the
//! line only makes a way longer. It may grow slowly, as two crystals drift apart.

use hangtag_protocol::clock::Uptime;

/// Two clocks drift apart by at most one part in so many: 100 ppm.
const DRIFT: u64 = 10_000;

/// How far the gateway's clock is ahead of a node's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    ahead: i64,
    at: Uptime,
}

impl Clock {
    /// Something that the node dated came just now.
    pub(super) fn new(theirs: Uptime, now: Uptime) -> Self {
        Self { ahead: ahead(now, theirs), at: now }
    }

    /// Something more came.
    pub(super) fn learn(&mut self, theirs: Uptime, now: Uptime) {
        let grown = i64::try_from(now.since(self.at) / DRIFT).unwrap_or(i64::MAX);
        let seen = ahead(now, theirs);
        if seen <= self.ahead || grown > 0 {
            self.ahead = seen.min(self.ahead.saturating_add(grown));
            self.at = now;
        }
    }

    /// A time of the node's clock by ours; never later than now.
    pub(super) fn here(&self, theirs: Uptime, now: Uptime) -> Uptime {
        let here = i128::from(theirs.0) + i128::from(self.ahead);
        Uptime(u64::try_from(here.max(0)).unwrap_or(u64::MAX)).min(now)
    }
}

fn ahead(now: Uptime, theirs: Uptime) -> i64 {
    i64::try_from(i128::from(now.0) - i128::from(theirs.0)).unwrap_or(i64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_way_decides_and_drift_is_followed() {
        let mut clock = Clock::new(Uptime(1_000), Uptime(5_300));
        clock.learn(Uptime(2_000), Uptime(6_010));
        clock.learn(Uptime(2_500), Uptime(9_000));
        assert_eq!(clock.here(Uptime(2_000), Uptime(9_000)), Uptime(6_010));
        assert_eq!(clock.here(Uptime(8_000), Uptime(9_000)), Uptime(9_000), "nothing happens later than now");
        // The node is slow by 50 ppm for a day; each message comes within 20 ms.
        for second in 1..86_400_u64 {
            let now = Uptime(6_010 + second * 1_000 + second % 20);
            clock.learn(Uptime(2_000 + second * 1_000 - second / 20), now);
        }
        let off =
            clock.here(Uptime(2_000 + 86_400_000 - 4_320), Uptime(u64::MAX)).0.abs_diff(6_010 + 86_400_000);
        assert!(off <= 20, "{off} ms");
        for (theirs, now) in [(u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            clock.learn(Uptime(theirs), Uptime(now));
            assert!(clock.here(Uptime(theirs), Uptime(now)) <= Uptime(now));
        }
    }
}
