//! When readers are to read. Enters: windows of a week, as people write them, and the minute of the week. Leaves:
//! whether it is in one of them. It knows no time zone: whose minute it is, the caller says.
//!
//! ```text
//! mon-sat 09:00-20:30     days, a range or several with commas; from, until; "daily" is every day
//! fri,sat 20:00-02:00     a window that ends at or before it begins ends on the next day
//! ```

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::str::FromStr;

/// Minutes of a week; it begins on Monday at midnight.
pub const WEEK: u16 = 7 * DAY;
const DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The windows in which readers read. Without any they never do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(Vec<Window>);

/// A stretch of some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Whether it begins on that day, from Monday on.
    days: [bool; 7],
    /// Minutes after midnight, 0 to 1439.
    from: u16,
    /// How long, 1 to 1440 minutes.
    minutes: u16,
}

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It has not two parts.
    #[error("a window is days and hours, as in \"mon-sat 09:00-20:30\"")]
    Parts,
    /// A day that there is not.
    #[error("\"{0}\" is no day; days are mon, tue, wed, thu, fri, sat, sun, daily")]
    Day(String),
    /// A time of day that there is not.
    #[error("\"{0}\" is no time of day; times are 00:00 to 24:00")]
    Time(String),
}

impl Schedule {
    /// A schedule of these windows.
    #[must_use]
    pub fn new(windows: Vec<Window>) -> Self {
        Self(windows)
    }

    /// Whether readers read in a minute of the week, 0 to [`WEEK`] - 1.
    #[must_use]
    pub fn reads_at(&self, minute: u16) -> bool {
        self.0.iter().any(|window| window.holds(minute))
    }
}

impl Window {
    fn holds(&self, minute: u16) -> bool {
        let begins = self.days.iter().zip(0u16..).filter(|(begins, _)| **begins);
        let starts = begins.map(|(_, day)| day * DAY + self.from);
        // How long ago it began last, over the end of the week too.
        starts.map(|start| (minute % WEEK + WEEK - start) % WEEK).any(|since| since < self.minutes)
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let (days, hours) = text.trim().split_once(' ').ok_or(WindowError::Parts)?;
        let (from, until) = hours.trim().split_once('-').ok_or(WindowError::Parts)?;
        let (from, until) = (time(from)?, time(until)?);
        let length = if until > from { until - from } else { until + DAY - from };
        let mut window = Self { days: [false; 7], from: from % DAY, minutes: length.min(DAY) };
        for part in days.split(',') {
            let (first, last) = match part {
                "daily" => (0, 6),
                part => match part.split_once('-') {
                    Some((first, last)) => (day(first)?, day(last)?),
                    None => (day(part)?, day(part)?),
                },
            };
            // Friday to Monday goes over the end of the week.
            let count = (last + 7 - first) % 7 + 1;
            (0..count).for_each(|n| window.days[(first + n) % 7] = true);
        }
        Ok(window)
    }
}

fn day(text: &str) -> Result<usize, WindowError> {
    DAYS.iter().position(|day| *day == text).ok_or_else(|| WindowError::Day(text.to_string()))
}

/// Minutes after midnight, 0 to 1440.
fn time(text: &str) -> Result<u16, WindowError> {
    let wrong = || WindowError::Time(text.to_string());
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return Err(wrong());
    }
    let (hours, minutes): (u16, u16) =
        (hours.parse().map_err(|_| wrong())?, minutes.parse().map_err(|_| wrong())?);
    let minute = hours * 60 + minutes;
    if minutes < 60 && minute <= DAY { Ok(minute) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn at(day: u16, hours: u16, minutes: u16) -> u16 {
        day * DAY + hours * 60 + minutes
    }

    #[test]
    fn windows_hold_their_minutes_and_no_other() {
        let windows = ["mon-sat 09:00-20:30", "sun 12:00-18:00"].map(|text| text.parse().unwrap());
        let schedule = Schedule::new(windows.to_vec());
        for (minute, reads) in [
            (at(0, 8, 59), false),
            (at(0, 9, 0), true),
            (at(5, 20, 29), true),
            (at(5, 20, 30), false),
            (at(6, 9, 0), false),
            (at(6, 12, 0), true),
            (at(6, 18, 0), false),
        ] {
            assert_eq!(schedule.reads_at(minute), reads, "{minute}");
        }
        let minutes = (0..WEEK).filter(|minute| schedule.reads_at(*minute)).count();
        assert_eq!(minutes, 6 * 690 + 360);
        assert!(!Schedule::default().reads_at(0));
    }

    #[test]
    fn a_window_may_go_over_midnight_and_the_end_of_the_week() {
        let schedule = Schedule::new(vec!["sat-sun 22:00-02:00".parse().unwrap()]);
        for (minute, reads) in [
            (at(6, 1, 59), true),
            (at(6, 23, 0), true),
            (at(0, 1, 59), true),
            (at(0, 2, 0), false),
            (at(1, 1, 0), false),
        ] {
            assert_eq!(schedule.reads_at(minute), reads, "{minute}");
        }
        for always in ["daily 00:00-24:00", "daily 06:00-06:00", "wed-tue 00:00-24:00"] {
            let schedule = Schedule::new(vec![always.parse().unwrap()]);
            assert!((0..WEEK).all(|minute| schedule.reads_at(minute)), "{always}");
        }
    }

    #[test]
    fn what_is_no_window_is_named() {
        let wrong = |text: &str| text.parse::<Window>().unwrap_err();
        assert_eq!(wrong("mon"), WindowError::Parts);
        assert_eq!(wrong("mon 09:00"), WindowError::Parts);
        assert_eq!(wrong("moon 09:00-10:00"), WindowError::Day("moon".into()));
        for time in ["9:00", "09:60", "24:01", "0900", "-1:00", "+1:00", "09:0x"] {
            let text = alloc::format!("mon {time}-10:00");
            assert!(matches!(wrong(&text), WindowError::Time(_) | WindowError::Parts), "{text}");
        }
    }
}
