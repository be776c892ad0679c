//! How much of what a row counts was listened to, as a column. Enters: a report. Leaves: for counts of hours and days the
//! share of their time in which readers listened, and counts that are told as not measured where nothing is known.

use std::collections::BTreeMap;

use hangtag_central_core::handled::Counts;
use hangtag_central_core::period::HourOf;

use super::table::{Column, Kind, Value, column};
use super::tables::{Source, counts};
use crate::report::Report;
use crate::shop::Hour;

/// The share in percent.
pub(super) const LISTENED: Column = column("listened_percent", "col-listened-percent", Kind::Number);

/// Counts, with what is known of the time in which they were counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    counts: Counts,
    is_known: bool,
    listened_ms: i64,
    possible_ms: i64,
}

impl Heard {
    /// Adds an hour, of which so much has passed, in milliseconds.
    pub(super) fn add_hour(&mut self, report: &Report, of: &HourOf, counts: Counts, passed_ms: i64) {
        let known = report.known.get(of);
        self.counts += counts;
        self.is_known |= known.is_some() || counts != Counts::default();
        self.listened_ms += known.copied().unwrap_or(0);
        self.possible_ms += report.possible_ms(of.shop, passed_ms);
    }

    /// Adds counts of an hour; what was listened to is told by [`Self::add_day`].
    pub(super) fn add_counts(&mut self, counts: Counts) {
        self.counts += counts;
        self.is_known |= counts != Counts::default();
    }

    /// Adds how a shop was watched in the opening hours of a day.
    pub(super) fn add_day(&mut self, report: &Report, of: (u32, i32)) {
        let Some(day) = report.days.get(&of) else { return };
        self.is_known |= day.is_known;
        self.listened_ms += day.listened_ms;
        self.possible_ms += report.possible_ms(of.0, day.hours_ms);
    }

    /// The counts, and the share.
    pub(super) fn cells(&self) -> impl Iterator<Item = Value> + use<> {
        let share = (self.possible_ms > 0).then(|| self.listened_ms as f64 / self.possible_ms as f64);
        // Stretches of one reader may overlap where its gateway's clock was bettered.
        let percent = Value::Number(share.map(|share| (share * 100.0).min(100.0)));
        counts(Some(self.counts).filter(|_| self.is_known)).into_iter().chain([percent])
    }
}

/// The hours of days of shops, which are asked for hour by hour.
#[derive(Default)]
pub(super) struct Clock(BTreeMap<(u32, i32), Vec<(Hour, i64)>>);

impl Clock {
    /// An hour, and how much of it has passed, in milliseconds. `None` when the day has no such hour.
    pub(super) fn hour(&mut self, source: &Source<'_>, of: &HourOf) -> Option<(&Hour, i64)> {
        let hours = self.0.entry((of.shop, of.day)).or_insert_with(|| {
            let (shop, date) = (&source.site.shops[of.shop as usize], Report::day(of.day));
            let hours = shop.hours(date);
            let end = shop.bounds(date).map_or(0, |(_, end)| end.timestamp().as_millisecond());
            let starts: Vec<i64> = hours.iter().map(|hour| hour.start.timestamp().as_millisecond()).collect();
            let ends = starts.iter().skip(1).copied().chain([end]);
            let passed =
                starts.iter().zip(ends).map(|(start, end)| (end.min(source.report.until_ms) - start).max(0));
            let passed: Vec<i64> = passed.collect();
            hours.into_iter().zip(passed).collect()
        });
        hours.get(usize::from(of.hour)).map(|(hour, passed)| (hour, *passed))
    }
}
