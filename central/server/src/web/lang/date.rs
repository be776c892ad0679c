//! Days and spans of time in words. Enters: calendar days of the shop, durations. Leaves: texts as each language
//! orders them.

use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};

use super::{Arg, Lang};

/// Keys of the weekdays, Monday first: in full, and short.
const WEEKDAYS: [[&str; 2]; 7] = [
    ["weekday-monday", "weekday-short-monday"],
    ["weekday-tuesday", "weekday-short-tuesday"],
    ["weekday-wednesday", "weekday-short-wednesday"],
    ["weekday-thursday", "weekday-short-thursday"],
    ["weekday-friday", "weekday-short-friday"],
    ["weekday-saturday", "weekday-short-saturday"],
    ["weekday-sunday", "weekday-short-sunday"],
];

/// Keys of the months: in full, and short.
const MONTHS: [[&str; 2]; 12] = [
    ["month-1", "month-short-1"],
    ["month-2", "month-short-2"],
    ["month-3", "month-short-3"],
    ["month-4", "month-short-4"],
    ["month-5", "month-short-5"],
    ["month-6", "month-short-6"],
    ["month-7", "month-short-7"],
    ["month-8", "month-short-8"],
    ["month-9", "month-short-9"],
    ["month-10", "month-short-10"],
    ["month-11", "month-short-11"],
    ["month-12", "month-short-12"],
];

impl Lang {
    /// `Thursday`.
    #[must_use]
    pub(crate) fn weekday(self, day: Weekday) -> String {
        self.text(WEEKDAYS[weekday(day)][0])
    }

    /// `Thu`.
    #[must_use]
    pub(crate) fn weekday_short(self, day: Weekday) -> String {
        self.text(WEEKDAYS[weekday(day)][1])
    }

    /// `12 November 2026`.
    #[must_use]
    pub(crate) fn date(self, date: Date) -> String {
        self.format("date", &self.parts(date, 0))
    }

    /// `Thursday, 12 November 2026`.
    #[must_use]
    pub(crate) fn day(self, date: Date) -> String {
        let [weekday, date] = [self.weekday(date.weekday()), self.date(date)].map(Arg::from);
        self.format("day", &[("weekday", weekday), ("date", date)])
    }

    /// `12 Nov`, under a drawing.
    #[must_use]
    pub(crate) fn date_short(self, date: Date) -> String {
        self.format("date-short", &self.parts(date, 1)[..2])
    }

    /// The days from one to another, both included: `3–12 November 2026`.
    #[must_use]
    pub(crate) fn period(self, from: Date, to: Date) -> String {
        if from == to {
            return self.date(from);
        }
        let [day, month, year] = self.parts(to, 0);
        let [first_day, first_month, _] = self.parts(from, 0).map(|(_, value)| value);
        if from.year() != to.year() {
            let [from, to] = [self.date(from), self.date(to)].map(Arg::from);
            self.format("period", &[("from", from), ("to", to)])
        } else if from.month() != to.month() {
            let first = [("first-day", first_day), ("first-month", first_month)];
            let [a, b] = first;
            self.format("period-in-year", &[a, b, day, month, year])
        } else {
            self.format("period-in-month", &[("first-day", first_day), day, month, year])
        }
    }

    /// `1 min 12 s`.
    #[must_use]
    pub(crate) fn seconds(self, seconds: u64) -> String {
        match (seconds / 60, seconds % 60) {
            (0, s) => self.format("seconds", &[("s", s.into())]),
            (min, s) => self.format("minutes-seconds", &[("min", min.into()), ("s", s.into())]),
        }
    }

    /// `3 h 05 min`, of milliseconds; what is below 0 counts as 0.
    #[must_use]
    pub(crate) fn minutes(self, ms: i64) -> String {
        let minutes = ms.max(0).unsigned_abs() / 60_000;
        match (minutes / 60, minutes % 60) {
            (0, min) => self.format("minutes", &[("min", min.into())]),
            (h, min) => self.format("hours-minutes", &[("h", h.into()), ("min", format!("{min:02}").into())]),
        }
    }

    /// `12 s ago`; what lies in the future is `just now`.
    #[must_use]
    pub(crate) fn ago(self, at: UnixMillis, now: Timestamp) -> String {
        let seconds = now.as_millisecond().saturating_sub(at.0).max(0).unsigned_abs() / 1_000;
        match seconds {
            ..2 => self.text("just-now"),
            2..60 => self.format("seconds-ago", &[("n", seconds.into())]),
            60..3_600 => self.format("minutes-ago", &[("n", (seconds / 60).into())]),
            3_600..172_800 => self.format("hours-ago", &[("n", (seconds / 3_600).into())]),
            _ => self.format("days-ago", &[("n", (seconds / 86_400).into())]),
        }
    }

    /// Day, month and year of a date; the month in full (0) or short (1). As texts: a year has no separator.
    fn parts(self, date: Date, short: usize) -> [(&'static str, Arg<'static>); 3] {
        // A month is from 1 to 12.
        let month = usize::from(date.month().unsigned_abs().clamp(1, 12) - 1);
        let month = self.text(MONTHS[month][short]);
        [
            ("day", date.day().to_string().into()),
            ("month", month.into()),
            ("year", date.year().to_string().into()),
        ]
    }
}

fn weekday(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn days_are_said_as_each_language_orders_them() {
        let (en, zh) = (Lang::En, Lang::ZhCn);
        let day = date(2026, 11, 12);
        assert_eq!([en.date(day), zh.date(day)], ["12 November 2026", "2026年11月12日"]);
        assert_eq!([en.day(day), zh.day(day)], ["Thursday, 12 November 2026", "2026年11月12日 星期四"]);
        assert_eq!([en.date_short(day), zh.date_short(day)], ["12 Nov", "11月12日"]);
        let sunday = Weekday::Sunday;
        assert_eq!([en.weekday_short(sunday), zh.weekday_short(sunday)], ["Sun", "周日"]);
    }

    #[test]
    fn periods_repeat_nothing() {
        let to = date(2026, 11, 12);
        let of = |lang: Lang, year, month, day| lang.period(date(year, month, day), to);
        assert_eq!(of(Lang::En, 2026, 11, 12), "12 November 2026");
        assert_eq!(of(Lang::En, 2026, 11, 3), "3–12 November 2026");
        assert_eq!(of(Lang::En, 2026, 9, 30), "30 September – 12 November 2026");
        assert_eq!(of(Lang::En, 2025, 11, 12), "12 November 2025 – 12 November 2026");
        assert_eq!(of(Lang::ZhCn, 2026, 11, 3), "2026年11月3日至12日");
        assert_eq!(of(Lang::ZhCn, 2026, 9, 30), "2026年9月30日至11月12日");
        assert_eq!(of(Lang::ZhCn, 2025, 11, 12), "2025年11月12日至2026年11月12日");
    }

    #[test]
    fn spans_read_well() {
        let (en, zh) = (Lang::En, Lang::ZhCn);
        assert_eq!([5, 72].map(|s| en.seconds(s)), ["5 s", "1 min 12 s"]);
        assert_eq!([5, 72].map(|s| zh.seconds(s)), ["5秒", "1分12秒"]);
        assert_eq!([-1, 300_000, 11_100_000].map(|ms| en.minutes(ms)), ["0 min", "5 min", "3 h 05 min"]);
        assert_eq!(zh.minutes(11_100_000), "3小时05分");
        let now = Timestamp::from_second(1_000_000).unwrap();
        let before = |lang: Lang, s: i64| lang.ago(UnixMillis((1_000_000 - s) * 1_000), now);
        assert_eq!(
            [-9, 12, 300, 7_300, 400_000].map(|s| before(en, s)),
            ["just now", "12 s ago", "5 min ago", "2 h ago", "4 days ago"]
        );
        assert_eq!([12, 400_000].map(|s| before(zh, s)), ["12秒前", "4天前"]);
    }
}
