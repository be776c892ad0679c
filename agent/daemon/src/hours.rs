//! Whether it is time to read. Enters: a schedule, whose clock it goes by, what the clock shows. Leaves: yes or no.
//!
//! A clock that nobody vouches for may show any hour: as long as it does, readers read. What a shop opens for is
//! worth more than what is saved at night.

use hangtag_agent_core::intake::Schedule;
use hangtag_protocol::clock::{ClockAnchor, UNKNOWN_ERROR};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// When readers read.
#[derive(Clone, Debug)]
pub(crate) struct Hours {
    pub(crate) schedule: Schedule,
    pub(crate) zone: TimeZone,
    /// For people: the windows and the zone, as they were written.
    pub(crate) text: String,
}

impl Hours {
    /// Whether readers read at a moment; `None` is a clock that was never set.
    pub(crate) fn reads(&self, now: Option<&ClockAnchor>) -> bool {
        let known = now.filter(|now| now.error_ms != UNKNOWN_ERROR);
        let Some(now) = known.and_then(|now| Timestamp::from_millisecond(now.wall.0).ok()) else {
            return true;
        };
        let local = now.to_zoned(self.zone.clone());
        let number = |number: i8| u16::from(number.unsigned_abs());
        let day = number(local.weekday().to_monday_zero_offset());
        self.schedule.reads_at((day * 24 + number(local.hour())) * 60 + number(local.minute()))
    }
}

#[cfg(test)]
mod tests {
    use hangtag_protocol::clock::{BootId, UnixMillis, Uptime};

    use super::*;

    fn hours(windows: &[&str]) -> Hours {
        let windows = windows.iter().map(|text| text.parse().unwrap()).collect();
        let zone = TimeZone::get("Europe/Paris").unwrap();
        Hours { schedule: Schedule::new(windows), zone, text: String::new() }
    }

    fn at(text: &str, error_ms: u32) -> ClockAnchor {
        let wall = UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond());
        ClockAnchor { boot: BootId(1), uptime: Uptime(5), wall, error_ms }
    }

    #[test]
    fn the_hours_are_those_of_the_shop_in_summer_and_in_winter() {
        let hours = hours(&["mon-sat 09:00-20:00"]);
        for (moment, reads) in [
            // Fridays: Paris is two hours ahead of UTC in July, one in November.
            ("2026-07-17T06:59:00Z", false),
            ("2026-07-17T07:00:00Z", true),
            ("2026-11-20T07:59:00Z", false),
            ("2026-11-20T08:00:00Z", true),
            ("2026-11-20T19:00:00Z", false),
            // A Saturday evening in UTC is a Sunday in Paris.
            ("2026-07-18T22:30:00Z", false),
            ("2026-11-22T12:00:00Z", false),
        ] {
            assert_eq!(hours.reads(Some(&at(moment, 1_000))), reads, "{moment}");
        }
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_keeps_no_reader_off() {
        let hours = hours(&["mon 09:00-09:01"]);
        assert!(!hours.reads(Some(&at("2026-11-20T12:00:00Z", 1_000))));
        assert!(hours.reads(Some(&at("2026-11-20T12:00:00Z", UNKNOWN_ERROR))));
        assert!(hours.reads(None));
    }
}
