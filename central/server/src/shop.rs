//! The shops. Enters: the stores file. Leaves: per shop its name, time zone and opening hours, and
//! where its days and hours begin, or every problem in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::StoreId;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::Deserialize;

use crate::problem::Problem;

/// One shop.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    /// Its id in topics.
    pub id: StoreId,
    /// Its name for people.
    pub name: String,
    /// Where it is, as far as clocks are concerned.
    pub time_zone: TimeZone,
    open: BTreeMap<Day, (Time, Time)>,
}

/// One hour of one local day.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hour {
    /// When it starts.
    pub start: Zoned,
    /// Whether the shop is open in a part of it.
    pub open: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    store: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: StoreId,
    name: String,
    time_zone: String,
    #[serde(default)]
    open: BTreeMap<Day, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// Its key.
    fn name(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }
}

/// Days that are compared in part end with a whole stretch of so many minutes, so that they need not be added up for
/// every question.
const SAME_MINUTES: i8 = 5;

/// Reads and checks the stores file.
///
/// # Errors
/// Every problem in it.
pub(crate) fn read(file: &Path) -> Result<Vec<Shop>, Vec<Problem>> {
    let text = std::fs::read_to_string(file).map_err(|why| vec![Problem::new(file, "", why)])?;
    let parsed: File = toml::from_str(&text).map_err(|why| vec![Problem::toml(file, &text, &why)])?;
    let mut problems = Vec::new();
    let mut shops: Vec<Shop> = Vec::new();
    for (number, entry) in parsed.store.into_iter().enumerate() {
        let number = number.to_string();
        let wrong = |keys: &[&str], name: &str, what: &dyn fmt::Display| {
            let path = [&["store", &number], keys].concat();
            Problem::value(file, &text, &path, format_args!("store {:?}: {name}", entry.id.as_str()), what)
        };
        if shops.iter().any(|shop| shop.id == entry.id) {
            problems.push(wrong(&["id"], "id", &"is given twice"));
        }
        let time_zone = TimeZone::get(&entry.time_zone).unwrap_or_else(|why| {
            let what = format!("{why}; it is an IANA name, like \"Europe/Paris\"");
            problems.push(wrong(&["time_zone"], "time_zone", &what));
            TimeZone::UTC
        });
        let mut open = BTreeMap::new();
        // Hours are often written once and copied from day to day: a mistake in them is one mistake.
        let mut mistakes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (day, text) in &entry.open {
            match hours(text) {
                Some(hours) => drop(open.insert(*day, hours)),
                None => mistakes.entry(text).or_default().push(day.name()),
            }
        }
        for (text, days) in mistakes {
            let what = format!("{text:?} is not opening hours like \"10:00-20:00\"");
            problems.push(wrong(&["open", days[0]], &format!("open.{}", days.join(", ")), &what));
        }
        shops.push(Shop { id: entry.id, name: entry.name, time_zone, open });
    }
    if shops.is_empty() {
        problems.push(Problem::new(file, "store", "there is no [[store]]"));
    }
    if problems.is_empty() { Ok(shops) } else { Err(problems) }
}

/// `10:00-20:00`. The day's end may be written 24:00.
fn hours(text: &str) -> Option<(Time, Time)> {
    let time = |text: &str| Time::strptime("%H:%M", text).ok();
    let (open, close) = text.split_once('-')?;
    let close = if close == "24:00" { Some(Time::MAX) } else { time(close) };
    let (open, close) = (time(open)?, close?);
    (open < close).then_some((open, close))
}

impl Shop {
    /// The day it is there.
    #[must_use]
    pub(crate) fn today(&self, now: Timestamp) -> Date {
        now.to_zoned(self.time_zone.clone()).date()
    }

    /// The first moment of a day and the first moment after it. `None` at the calendar's end.
    #[must_use]
    pub(crate) fn bounds(&self, day: Date) -> Option<(Zoned, Zoned)> {
        let start = day.to_zoned(self.time_zone.clone()).ok()?;
        let end = day.tomorrow().ok()?.to_zoned(self.time_zone.clone()).ok()?;
        Some((start, end))
    }

    /// The hours of a day by the shop's clock, which are 23 or 25 on the days on which it is put
    /// forward or back.
    #[must_use]
    pub(crate) fn hours(&self, day: Date) -> Vec<Hour> {
        let Some((start, end)) = self.bounds(day) else { return Vec::new() };
        let mut hours = Vec::new();
        let mut next = start;
        while next < end {
            let past = SignedDuration::from_secs(i64::from(next.minute()) * 60 + i64::from(next.second()));
            let after = next.checked_add(SignedDuration::from_hours(1) - past);
            let open = self.open.get(&weekday(day)).is_some_and(|(open, close)| {
                let from = next.time();
                *close > from && from.hour() >= open.hour()
            });
            hours.push(Hour { start: next, open });
            let Ok(after) = after else { break };
            next = after;
        }
        hours
    }

    /// When the shop opens and closes on a day; `None` when it does not.
    #[must_use]
    pub(crate) fn open(&self, day: Date) -> Option<(UnixMillis, UnixMillis)> {
        let (open, close) = self.open.get(&weekday(day))?;
        let at = |time: Time| Some(day.to_datetime(time).to_zoned(self.time_zone.clone()).ok()?.timestamp());
        Some((UnixMillis(at(*open)?.as_millisecond()), UnixMillis(at(*close)?.as_millisecond())))
    }

    /// The moment of another day at which the shop's clock shows what it shows today, to five minutes. `None` when
    /// `today` is not today.
    #[must_use]
    pub(crate) fn same_time(&self, today: Date, other: Date, now: Timestamp) -> Option<UnixMillis> {
        let local = now.to_zoned(self.time_zone.clone());
        if local.date() != today {
            return None;
        }
        let (hour, minute) = (local.hour(), local.minute() / SAME_MINUTES * SAME_MINUTES);
        let at = other.at(hour, minute, 0, 0).to_zoned(self.time_zone.clone()).ok()?;
        Some(UnixMillis(at.timestamp().as_millisecond()))
    }

    /// Opening hours of a day as text, such as `10:00–20:00`; `None` when the shop is closed.
    #[must_use]
    pub(crate) fn opening(&self, day: Date) -> Option<String> {
        let (open, close) = self.open.get(&weekday(day))?;
        let close = if *close == Time::MAX { "24:00".into() } else { close.strftime("%H:%M").to_string() };
        Some(format!("{}–{close}", open.strftime("%H:%M")))
    }

    /// A moment by the shop's clock; `None` when it is outside the calendar.
    #[must_use]
    pub(crate) fn local(&self, at: UnixMillis) -> Option<Zoned> {
        Some(Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.time_zone.clone()))
    }
}

fn weekday(day: Date) -> Day {
    match day.weekday() {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use jiff::civil::date;

    pub(crate) fn paris() -> Shop {
        let open = [Day::Mon, Day::Sat].map(|day| (day, hours("10:00-19:30").unwrap()));
        Shop {
            id: StoreId::new("paris-1").unwrap(),
            name: "Paris <Rivoli>".into(),
            time_zone: TimeZone::get("Europe/Paris").unwrap(),
            open: open.into(),
        }
    }

    #[test]
    fn days_on_which_clocks_change_have_23_and_25_hours() {
        let labels = |day| {
            let hours = paris().hours(day);
            (
                hours.len(),
                hours.iter().map(|h| h.start.strftime("%H:%M (%:z)").to_string()).collect::<Vec<_>>(),
            )
        };
        let (count, spring) = labels(date(2026, 3, 29));
        assert_eq!((count, spring[2].as_str()), (23, "03:00 (+02:00)"));
        let (count, autumn) = labels(date(2026, 10, 25));
        assert_eq!((count, &autumn[2..4]), (25, &["02:00 (+02:00)".into(), "02:00 (+01:00)".into()][..]));
        assert_eq!(labels(date(2026, 6, 1)).0, 24);
    }

    #[test]
    fn hours_start_where_the_local_clock_says() {
        let nepal = Shop { time_zone: TimeZone::get("Asia/Kathmandu").unwrap(), ..paris() };
        let hours = nepal.hours(date(2026, 6, 1));
        assert_eq!(hours.len(), 24);
        assert!(hours.iter().all(|h| h.start.minute() == 0));
    }

    #[test]
    fn opening_hours_mark_the_hours_they_touch() {
        let open: Vec<i8> =
            paris().hours(date(2026, 6, 1)).iter().filter(|h| h.open).map(|h| h.start.hour()).collect();
        assert_eq!(open, (10..=19).collect::<Vec<_>>());
        assert_eq!(paris().opening(date(2026, 6, 2)), None);
    }

    #[test]
    fn every_problem_of_the_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stores.toml");
        let text = "[[store]]\nid='a'\nname='A'\ntime_zone='Mars/Base'\n\
                    open={mon='20:00-10:00', tue='20:00-10:00', wed='9-17'}\n\
                    [[store]]\nid='a'\nname='B'\ntime_zone='UTC'\n";
        std::fs::write(&file, text).unwrap();
        let told: Vec<String> = read(&file).unwrap_err().iter().map(Problem::to_string).collect();
        let wanted = [
            ["line 4: store \"a\": time_zone: ", "like \"Europe/Paris\""],
            ["line 5: store \"a\": open.mon, tue: ", "20:00-10:00"],
            ["line 5: store \"a\": open.wed: ", "9-17"],
            ["line 7: store \"a\": id: ", "twice"],
        ];
        assert_eq!(told.len(), wanted.len(), "{told:?}");
        for (said, told) in wanted.as_flattened().iter().zip(told.iter().flat_map(|told| [told, told])) {
            assert!(told.contains(said), "{said} in {told}");
        }
        std::fs::write(&file, text.replace("mon=", "monday=")).unwrap();
        assert!(read(&file).unwrap_err()[0].to_string().contains("monday"));
    }
}
