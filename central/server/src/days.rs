//! Days of shops. Enters: shops and dates. Leaves: what each day adds up to, from memory where nothing of it has
//! changed since it was asked for last. Late events, retractions, sales and better clocks change the days that they
//! touch, and no others.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use hangtag_central_core::day::{AFTERWARDS_MS, AROUND_MS, Day, Outcome, Span, Start};
use hangtag_central_core::delay::Delays;
use hangtag_central_core::lost;
use hangtag_central_core::rounding::Secret;
use hangtag_central_core::sale::{Place, StockCount};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::id::{GatewayId, ReaderId, StoreId, ZoneId};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::goods::Goods;
use crate::shop::Shop;
use crate::store::{Coverage, Hours, Reader, StoreError, Zone};

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// The most bytes of days that are kept, about: two weeks of 25 busy shops. One more makes those go that were asked
/// for longest ago.
const KEPT_BYTES: usize = 256 << 20;
/// Two stretches of one state that lie no further apart than this are one, in milliseconds: a second.
const JOINED_MS: i64 = 1_000;
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
    /// Which gateways told of garments in which zones: each pair once, in order.
    pub watching: Vec<(ZoneId, GatewayId)>,
    /// How late its events came.
    pub delays: Delays,
}

/// How many pieces of a product were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stock {
    /// Everywhere, however long ago,
    pub all: u64,
    /// everywhere, no longer ago than a count is good ([`lost::HOLDS_MS`]),
    pub held: Option<u64>,
    /// and on the floor, where that was counted apart, no longer ago and not before all of it was counted.
    pub floor: Option<u64>,
}

/// The days. Clones remember the same.
#[derive(Clone, Debug)]
pub(crate) struct Days {
    reader: Reader,
    goods: Arc<Goods>,
    kept: Arc<Mutex<Kept>>,
}

/// Whose day, which, and whether it is cut off.
type Key = (StoreId, Date, bool);

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
        Self { reader, goods, kept: Arc::default() }
    }

    /// The days of a shop from one date to another, both included, oldest first. With `cut`, the last one only until
    /// this moment.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn of(
        &self,
        shop: &Shop,
        (from, to): (Date, Date),
        now: Timestamp,
        cut: Option<UnixMillis>,
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
        let until = |day: &Wanted| cut.filter(|_| day.date == to).map(|cut| cut.0);
        for day in &wanted {
            match self.kept().find(
                (shop.id, day.date, until(day).is_some()),
                day.digest(&marks, until(day)),
                now,
            ) {
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
                let (made, is_whole) = self.make(shop, day, &hours, until.unwrap_or(now.as_millisecond()))?;
                let made = Arc::new(made);
                // Before it is over, or while something is told of what is to come, time alone changes a day.
                let expires = until.is_none() && (!is_whole || has_open(&made.day));
                let key = (shop.id, day.date, until.is_some());
                self.kept().keep(key, day.digest(&marks, until), expires.then_some(now), &made);
                days.insert(day.date, made);
            }
        }
        Ok(days.into_iter().collect())
    }

    /// What decides how numbers of visits are rounded.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn rounding(&self) -> Result<Secret, StoreError> {
        self.reader.rounding()
    }

    /// The readers of a shop that said anything from a month before a date until the end of another.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn readers(
        &self,
        shop: &Shop,
        (from, to): (Date, Date),
    ) -> Result<Vec<(GatewayId, ReaderId)>, StoreError> {
        let (Some((begin, _)), Some((_, end))) = (shop.bounds(from), shop.bounds(to)) else {
            return Ok(Vec::new());
        };
        let [begin, end] = [begin, end].map(|zoned| UnixMillis(zoned.timestamp().as_millisecond()));
        self.reader.readers(shop.id, begin, end)
    }

    /// The zones that a shop has from one date to another, by zone and gateway.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn zones(&self, shop: &Shop, (from, to): (Date, Date)) -> Result<Vec<Zone>, StoreError> {
        let (Some((begin, _)), Some((_, end))) = (shop.bounds(from), shop.bounds(to)) else {
            return Ok(Vec::new());
        };
        let [begin, end] = [begin, end].map(|zoned| UnixMillis(zoned.timestamp().as_millisecond()));
        self.reader.zones(shop.id, begin, end)
    }

    /// Whether a till of a shop told of anything from one date to another, or on the day after.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn has_tills(&self, shop: &Shop, from: Date, to: Date) -> Result<bool, StoreError> {
        let (Some((begin, _)), Some((_, end))) = (shop.bounds(from), shop.bounds(to)) else {
            return Ok(false);
        };
        let at = |zoned: jiff::Zoned| UnixMillis(zoned.timestamp().as_millisecond());
        self.reader.has_sales(shop.id, at(begin), UnixMillis(at(end).0 + AROUND_MS))
    }

    /// The latest counts of a shop's stock at the end of a day: pieces per product. Counts of its parts go before a
    /// count of all of it when both are newer.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn stock(&self, shop: &Shop, date: Date) -> Result<BTreeMap<Gtin, Stock>, StoreError> {
        let Some((_, end)) = shop.bounds(date) else { return Ok(BTreeMap::new()) };
        let end = UnixMillis(end.timestamp().as_millisecond());
        let counts = self.reader.stock(shop.id, end)?;
        let sum = |(gtin, counts): (Gtin, Vec<StockCount>)| {
            let all = lost::pieces(&counts).unwrap_or(0);
            let held: Vec<StockCount> =
                counts.into_iter().filter(|count| count.at.0 + lost::HOLDS_MS >= end.0).collect();
            let at = |place| held.iter().find(|count| count.place == place);
            let is_newer = |floor: &&StockCount| at(Place::All).is_none_or(|all| floor.at >= all.at);
            let floor = at(Place::Floor).filter(is_newer).map(|count| count.quantity.into());
            // Of a part alone it is not known how much there is.
            let has_all = held.len() > 1 || at(Place::All).is_some();
            (gtin, Stock { all, held: lost::pieces(&held).filter(|_| has_all), floor })
        };
        Ok(by_product(counts).into_iter().map(sum).collect())
    }

    /// All counts of a shop's stock that are good in some part of these days, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn counts(
        &self,
        shop: &Shop,
        (from, to): (Date, Date),
    ) -> Result<BTreeMap<Gtin, Vec<StockCount>>, StoreError> {
        let (Some((begin, _)), Some((_, end))) = (shop.bounds(from), shop.bounds(to)) else {
            return Ok(BTreeMap::new());
        };
        let [begin, end] = [begin, end].map(|zoned| zoned.timestamp().as_millisecond());
        let counts = self.reader.counts(shop.id, UnixMillis(begin - lost::HOLDS_MS), UnixMillis(end))?;
        Ok(by_product(counts))
    }

    /// Adds up what happened before a moment, and says whether nothing of the day was left out.
    fn make(
        &self,
        shop: &Shop,
        wanted: &Wanted,
        hours: &Hours,
        until: i64,
    ) -> Result<(ShopDay, bool), StoreError> {
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
        let coverage: Vec<Coverage> = pieces()
            .flat_map(|piece| &piece.coverage)
            .map(|stretch| Coverage { from: stretch.from.max(from), to: stretch.to.min(end), ..*stretch })
            .filter(|stretch| stretch.from < stretch.to)
            .collect();
        let coverage = joined(coverage);
        let inside = wanted.begin / HOUR_MS..(wanted.end + HOUR_MS - 1) / HOUR_MS;
        let unvouched = hours.range(inside.clone()).map(|(_, piece)| piece.unvouched).sum();
        let mut watching: Vec<_> = pieces().flat_map(|piece| piece.watching.iter().copied()).collect();
        watching.sort_unstable();
        watching.dedup();
        let mut delays = Delays::default();
        hours.range(inside.clone()).for_each(|(_, piece)| delays += &piece.delays);
        let is_whole = near().flat_map(|piece| &piece.handled).all(|event| event.at.0 < until);
        Ok((ShopDay { day, unvouched, coverage, watching, delays }, is_whole && to.0 <= until))
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
        ((self.begin - AROUND_MS) / HOUR_MS, (self.end + AROUND_MS) / HOUR_MS)
    }

    fn digest(&self, marks: &BTreeMap<i64, i64>, until: Option<i64>) -> u64 {
        let (from, to) = self.around();
        let of: Vec<_> = marks.range(from..=to).collect();
        BuildHasherDefault::<DefaultHasher>::default().hash_one((of, until))
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

    fn keep(&mut self, key: Key, digest: u64, expires: Option<Timestamp>, day: &Arc<ShopDay>) {
        // A day without anything is made in no time.
        if day.day.articles.is_empty() && day.coverage.is_empty() {
            return;
        }
        let until = expires.map(|now| {
            Timestamp::from_millisecond(now.as_millisecond() + OPEN_FOR_MS).unwrap_or(Timestamp::MAX)
        });
        self.asked += 1;
        let entry = Entry { digest, until, asked: self.asked, bytes: size(day), day: Arc::clone(day) };
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

fn by_product(counts: Vec<StockCount>) -> BTreeMap<Gtin, Vec<StockCount>> {
    let mut of: BTreeMap<Gtin, Vec<StockCount>> = BTreeMap::new();
    counts.into_iter().for_each(|count| of.entry(count.gtin).or_default().push(count));
    of
}

/// Whether what became of a try-on is not known yet.
fn has_open(day: &Day) -> bool {
    day.items.iter().any(|item| item.tried && item.outcome == Outcome::Open)
}

/// How many bytes a day takes, about.
fn size(ShopDay { day, coverage, watching, .. }: &ShopDay) -> usize {
    512 + size_of_val(&day.articles[..])
        + size_of_val(&day.zones[..])
        + size_of_val(&day.cells[..])
        + size_of_val(&day.stays[..])
        + size_of_val(&day.items[..])
        + size_of_val(&day.picked[..])
        + size_of_val(&day.shown[..])
        + size_of_val(&day.scans[..])
        + size_of_val(&day.tills[..])
        + size_of_val(&coverage[..])
        + size_of_val(&watching[..])
}

/// Puts stretches together that follow one another in the same state.
fn joined(mut coverage: Vec<Coverage>) -> Vec<Coverage> {
    coverage.sort_by_key(|stretch| (stretch.gateway, stretch.reader, stretch.from));
    coverage.dedup_by(|next, last| {
        let follows = (next.gateway, next.reader, next.state) == (last.gateway, last.reader, last.state)
            && next.from.0 <= last.to.0 + JOINED_MS;
        if follows {
            last.to = last.to.max(next.to);
        }
        follows
    });
    coverage
}
