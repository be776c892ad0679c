//! Days of shops. Enters: shops and dates. Leaves: what each day adds up to, from memory where nothing of it has
//! changed since it was asked for last. Late events, retractions, sales and better clocks change the days that they
//! touch, and no others.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use hangtag_central_core::day::{AFTERWARDS_MS, AROUND_MS, Day, Outcome, Span, Start};
use hangtag_central_core::sale::{Place, StockCount};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::id::StoreId;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::goods::Goods;
use crate::shop::Shop;
use crate::store::{Coverage, Hours, Reader, StoreError};

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// How long after a day's end the coverage events of the day may end, in milliseconds: 1 day.
const COVERAGE_TAIL_MS: i64 = 86_400_000;
/// The most bytes of days that are kept, about; one more makes those go that were asked for longest ago.
const KEPT_BYTES: usize = 48 << 20;
/// A day that is cut off ends with a whole stretch of so many milliseconds, so that it need not be added up for every
/// question: 5 minutes.
const CUT_MS: i64 = 5 * 60_000;
/// How long a day is kept of which an outcome is open: then its time may have passed.
const OPEN_FOR_MS: i64 = 60_000;

/// A day with how it was watched.
#[derive(Debug, Default)]
pub(crate) struct ShopDay {
    /// What it adds up to.
    pub day: Day,
    /// Events about garments whose time of day nobody vouches for.
    pub unvouched: u64,
    /// Stretches of the readers' lives, cut to the day, by reader.
    pub coverage: Vec<Coverage>,
}

/// The days.
#[derive(Debug)]
pub(crate) struct Days {
    reader: Reader,
    goods: Arc<Goods>,
    kept: Mutex<Kept>,
}

/// Whose day, which, and until when of it, if not the whole.
type Key = (StoreId, Date, Option<i64>);

#[derive(Debug, Default)]
struct Kept {
    days: BTreeMap<Key, Entry>,
    bytes: usize,
    asked: u64,
}

#[derive(Debug)]
struct Entry {
    /// Of the marks of the hours of which it was made.
    digest: u64,
    /// When it has to be made again whatever the marks.
    until: Option<Timestamp>,
    asked: u64,
    bytes: usize,
    day: Arc<ShopDay>,
}

/// A day to be made.
struct Wanted {
    date: Date,
    hours: Vec<Start>,
    begin: i64,
    end: i64,
}

impl Days {
    /// Days of what this reads.
    #[must_use]
    pub(crate) fn new(reader: Reader, goods: Arc<Goods>) -> Self {
        Self { reader, goods, kept: Mutex::default() }
    }

    /// The days of a shop from one date to another, both included, oldest first. With `cut`, the last one only as far
    /// as today has come in the shop, to five minutes.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn of(
        &self,
        shop: &Shop,
        (from, to): (Date, Date),
        now: Timestamp,
        cut: bool,
    ) -> Result<Vec<(Date, Arc<ShopDay>)>, StoreError> {
        let wanted: Vec<Wanted> = from
            .series(jiff::Span::new().days(1))
            .take_while(|date| *date <= to)
            .filter_map(|date| Wanted::new(shop, date))
            .collect();
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(Vec::new()) };
        let around = (first.around().0, last.around().1);
        let marks = self.reader.marks(shop.id, around)?;
        let mut days: BTreeMap<Date, Arc<ShopDay>> = BTreeMap::new();
        let mut missing = Vec::new();
        let until = |day: &Wanted| {
            let elapsed = i64::try_from(shop.elapsed_today(now).as_millis()).unwrap_or(0);
            (cut && day.date == to).then(|| day.begin + elapsed / CUT_MS * CUT_MS)
        };
        for day in &wanted {
            match self.kept().find((shop.id, day.date, until(day)), day.digest(&marks), now) {
                Some(known) => drop(days.insert(day.date, known)),
                None => missing.push(day),
            }
        }
        // One read for all that is missing; hours that only known days need are not unpacked.
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            let needed = |hour| missing.iter().any(|day| (day.around().0..=day.around().1).contains(&hour));
            let between = (first.around().0, last.around().1);
            let (marks, hours) = self.reader.hours(shop.id, between, needed)?;
            for day in missing {
                let until = until(day);
                let known_to = until.unwrap_or(now.as_millisecond());
                let made = Arc::new(self.make(shop, day, &hours, known_to)?);
                self.kept().keep((shop.id, day.date, until), day.digest(&marks), now, &made);
                days.insert(day.date, made);
            }
        }
        Ok(days.into_iter().collect())
    }

    /// The latest counts of a shop's stock at the end of a day: pieces per product. A count of all of it goes before
    /// those of its parts that are older.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn stock(&self, shop: &Shop, date: Date) -> Result<BTreeMap<Gtin, u64>, StoreError> {
        let Some((_, end)) = shop.bounds(date) else { return Ok(BTreeMap::new()) };
        let counts = self.reader.stock(shop.id, UnixMillis(end.timestamp().as_millisecond()))?;
        let mut parts: BTreeMap<Gtin, Vec<StockCount>> = BTreeMap::new();
        counts.into_iter().for_each(|count| parts.entry(count.gtin).or_default().push(count));
        let sum = |(gtin, counts): (Gtin, Vec<StockCount>)| {
            let whole = counts.iter().find(|count| count.place == Place::All);
            let since = whole.map_or(i64::MIN, |whole| whole.at.0);
            let parts: Vec<_> =
                counts.iter().filter(|count| count.place != Place::All && count.at.0 > since).collect();
            let sum: u64 = match (whole, parts.is_empty()) {
                (Some(whole), true) => whole.quantity.into(),
                (_, _) => parts.iter().map(|count| u64::from(count.quantity)).sum(),
            };
            (gtin, sum)
        };
        Ok(parts.into_iter().map(sum).collect())
    }

    /// Adds up what happened before a moment.
    fn make(&self, shop: &Shop, wanted: &Wanted, hours: &Hours, until: i64) -> Result<ShopDay, StoreError> {
        let (from, to) = wanted.around();
        let pieces = || hours.range(from..=to).map(|(_, piece)| piece);
        let near = (wanted.begin - AROUND_MS) / HOUR_MS..=(wanted.end + AROUND_MS) / HOUR_MS;
        let near = || hours.range(near.clone()).map(|(_, piece)| piece);
        let handled = near().flat_map(|piece| &piece.handled).filter(|event| event.at.0 < until);
        let scanned = near().flat_map(|piece| &piece.scanned).filter(|scan| scan.at.0 < until);
        let (from, to) = (UnixMillis(wanted.begin), UnixMillis(wanted.end));
        let paid_to = UnixMillis((to.0 + AROUND_MS + AFTERWARDS_MS).min(until));
        let lines = self.reader.sales(shop.id, from, paid_to)?;
        let span = Span { hours: &wanted.hours, end: to, known_to: UnixMillis(until) };
        let day = Day::new(span, handled, scanned, &lines, &|gtin| self.goods.product(gtin).style);
        let end = UnixMillis(to.0.min(until));
        let mut coverage: Vec<Coverage> = pieces()
            .flat_map(|piece| &piece.coverage)
            .map(|stretch| Coverage { from: stretch.from.max(from), to: stretch.to.min(end), ..*stretch })
            .filter(|stretch| stretch.from < stretch.to)
            .collect();
        coverage.sort_by_key(|stretch| (stretch.gateway, stretch.reader, stretch.from));
        let inside = wanted.begin / HOUR_MS..(wanted.end + HOUR_MS - 1) / HOUR_MS;
        let unvouched = hours.range(inside).map(|(_, piece)| piece.unvouched).sum();
        Ok(ShopDay { day, unvouched, coverage })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    fn new(shop: &Shop, date: Date) -> Option<Self> {
        let (begin, end) = shop.bounds(date)?;
        let start = |hour: &crate::shop::Hour| Start {
            at: UnixMillis(hour.start.timestamp().as_millisecond()),
            clock: u8::try_from(hour.start.hour()).unwrap_or(0),
        };
        Some(Self {
            date,
            hours: shop.hours(date).iter().map(start).collect(),
            begin: begin.timestamp().as_millisecond(),
            end: end.timestamp().as_millisecond(),
        })
    }

    /// The first and the last hour of which something may belong to the day.
    fn around(&self) -> (i64, i64) {
        ((self.begin - AROUND_MS) / HOUR_MS, (self.end + COVERAGE_TAIL_MS.max(AROUND_MS)) / HOUR_MS)
    }

    fn digest(&self, marks: &BTreeMap<i64, i64>) -> u64 {
        let (from, to) = self.around();
        let of: Vec<_> = marks.range(from..=to).collect();
        BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
    }
}

impl Kept {
    fn find(&mut self, key: Key, digest: u64, now: Timestamp) -> Option<Arc<ShopDay>> {
        self.asked += 1;
        let entry = self.days.get_mut(&key)?;
        if entry.digest != digest || entry.until.is_some_and(|until| until <= now) {
            return None;
        }
        entry.asked = self.asked;
        Some(Arc::clone(&entry.day))
    }

    fn keep(&mut self, key: Key, digest: u64, now: Timestamp, day: &Arc<ShopDay>) {
        let is_open = day.day.items.iter().any(|item| item.tried && item.outcome == Outcome::Open);
        let until = is_open.then(|| {
            Timestamp::from_millisecond(now.as_millisecond() + OPEN_FOR_MS).unwrap_or(Timestamp::MAX)
        });
        self.asked += 1;
        let entry = Entry { digest, until, asked: self.asked, bytes: size(&day.day), day: Arc::clone(day) };
        self.bytes += entry.bytes;
        if let Some(old) = self.days.insert(key, entry) {
            self.bytes -= old.bytes;
        }
        while self.bytes > KEPT_BYTES && self.days.len() > 1 {
            let oldest = self.days.iter().min_by_key(|(_, entry)| entry.asked).map(|(key, _)| *key);
            let Some(old) = oldest.and_then(|key| self.days.remove(&key)) else { break };
            self.bytes -= old.bytes;
        }
    }
}

/// How many bytes a day takes, about.
fn size(day: &Day) -> usize {
    512 + size_of_val(&day.articles[..])
        + size_of_val(&day.zones[..])
        + size_of_val(&day.cells[..])
        + size_of_val(&day.stays[..])
        + size_of_val(&day.items[..])
        + size_of_val(&day.picked[..])
}
