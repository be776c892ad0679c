//! What a filter asks for. Enters: a filter. Leaves: the sums of the shops and days that it names, and of those that
//! they are compared with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;

use hangtag_central_core::compare::{Names, Told, Week};
use hangtag_central_core::delay::Delays;
use hangtag_central_core::handled::Map;
use hangtag_central_core::lost::{self, Shelf};
use hangtag_central_core::measures::Share;
use hangtag_central_core::period::{HourOf, Of, Period};
use hangtag_central_core::sale::StockCount;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{GatewayId, ReaderId};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::days::{Days, ShopDay};
use crate::goods::{Goods, Wanted};
use crate::rails::Floor;
use crate::shop::Shop;
use crate::store::{Coverage, StoreError, Zone};

/// Sums over shops and days.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Of everything; shops by their position in the list of all shops, days by [`Report::day`].
    pub period: Period,
    /// How the shops were watched, by position.
    pub watched: BTreeMap<usize, Watched>,
    /// What visits compared, in the whole weeks that ended in these days; nothing for a comparison.
    pub told: Told,
    /// How late the events about garments came.
    pub delays: Delays,
    /// Whether all goods count.
    pub is_all: bool,
    /// The hours of which something is known, because a reader of the shop listened in a part of them or something was
    /// told of them: how long readers listened, in milliseconds, added up over the readers. Of all others nobody knows
    /// whether nothing happened.
    pub known: BTreeMap<HourOf, i64>,
    /// How the shops were watched day by day, by their positions and the days' numbers.
    pub days: BTreeMap<(u32, i32), WatchedDay>,
    /// Until when time has passed, in Unix milliseconds.
    pub until_ms: i64,
    /// How the last shop was watched on the last day, by reader.
    pub last_coverage: Vec<Coverage>,
    /// The rails, and who watched them; of what something is compared with there are none.
    pub floor: Option<Floor>,
    /// The zones that the shops have, by their positions, whether anything happened there or not; of what something is
    /// compared with there are none.
    pub zones: BTreeMap<u32, Vec<Zone>>,
    /// The gateways of which a reader listened at any hour.
    pub listening: BTreeSet<(u32, GatewayId)>,
    /// Whether a till of any of the shops told of anything: if none did, what was bought is not known.
    pub has_tills: bool,
}

/// How shops were watched in their opening hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// How long readers listened while their shop was open, in milliseconds, added up over the readers.
    pub listened_ms: i64,
    /// Opening hours that have passed, in milliseconds.
    pub hours_ms: i64,
    /// What each reader did in them.
    pub readers: BTreeMap<(GatewayId, ReaderId), Life>,
    /// How long gateways told of their readers, whatever those did, in milliseconds, added up over the gateways.
    pub reported_ms: i64,
    /// Events about garments whose time of day nobody vouches for.
    pub unvouched: u64,
}

/// How long a reader was in each state, in milliseconds; in the rest of the time it told of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// It listened.
    pub listening_ms: i64,
    /// Its port was open, and it did not answer.
    pub silent_ms: i64,
    /// There was no port.
    pub absent_ms: i64,
    /// It was not to read, by its schedule.
    pub off_ms: i64,
}

/// How a shop was watched on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchedDay {
    /// How long readers listened while the shop was open, in milliseconds, added up over the readers.
    pub listened_ms: i64,
    /// Opening hours that have passed, in milliseconds.
    pub hours_ms: i64,
    /// Whether anything is known of the day.
    pub is_known: bool,
}

/// What is known of what became of try-ons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcomes {
    /// All of it,
    Known,
    /// of some of them: of the others it is too early, or their shop has no till,
    Some,
    /// nothing yet,
    Waiting,
    /// nothing at all: no till told of anything.
    NoTill,
}

/// Of how many days anything is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Days of shops of which something is known,
    pub known: u64,
    /// and those on which the shops were open, these included.
    pub all: u64,
}

/// Which shops and days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Positions in the list of shops.
    pub shops: Vec<usize>,
    /// The first day,
    pub from: Date,
    /// and the last.
    pub to: Date,
    /// For a comparison with a stretch that ends on this day: in a shop where that is today, the last day counts only
    /// as far as today has come.
    pub beside: Option<Date>,
}

impl Range {
    /// When the last day is cut off in a shop.
    fn cut_of(&self, shop: &Shop, now: Timestamp) -> Option<UnixMillis> {
        let beside = self.beside.filter(|beside| *beside == shop.today(now) && self.to < *beside)?;
        shop.same_time(beside, self.to, now)
    }
}

/// The Sunday of a day's week.
fn week_end(date: Date) -> Date {
    date.saturating_add(jiff::Span::new().days(6 - date.weekday().to_monday_zero_offset()))
}

/// Counts of two stretches are compared when of one at least so large a part is known as of the other.
const ALIKE: f64 = 0.9;
/// The first day that has a number.
const FIRST_DAY: Date = Date::constant(2000, 1, 1);

impl Report {
    /// Adds up.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn new(
        days: &Days,
        shops: &[Shop],
        goods: &Goods,
        range: &Range,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let threads =
            std::thread::available_parallelism().map_or(1, NonZero::get).min(range.shops.len()).max(1);
        let share = range.shops.len().div_ceil(threads).max(1);
        let days_asked = Self::number(range.to) - Self::number(range.from) + 1;
        let floor = range.beside.is_none().then(|| Floor::new(days_asked));
        let until = UnixMillis(now.as_millisecond());
        let mut report = Self { floor, is_all: wanted.is_all(), until_ms: until.0, ..Self::default() };
        // The same goods are there day after day.
        let places = RefCell::new(Map::default());
        let place =
            |article| *places.borrow_mut().entry(article).or_insert_with(|| goods.wanted(article, wanted));
        let mut tills = BTreeSet::new();
        for shop in &range.shops {
            if days.has_tills(&shops[*shop], range.from, range.to)? {
                tills.insert(*shop);
            }
            // One that is dead all the time must not vanish from what could have been listened to.
            let readers = days.readers(&shops[*shop], (range.from, range.to))?;
            let readers = readers.into_iter().map(|reader| (reader, Life::default())).collect();
            report.watched.insert(*shop, Watched { readers, ..Watched::default() });
            if let (Some(floor), Ok(number)) = (&mut report.floor, u32::try_from(*shop)) {
                let zones = days.zones(&shops[*shop], (range.from, range.to))?;
                for zone in zones.iter().filter(|zone| !zone.is_booth) {
                    floor.know(number, zone.zone, zone.gateway);
                }
                report.zones.insert(number, zones);
            }
        }
        report.has_tills = !tills.is_empty();
        let mut weeks: BTreeMap<usize, Week> = BTreeMap::new();
        let mut counted: BTreeMap<usize, BTreeMap<Gtin, Vec<StockCount>>> = BTreeMap::new();
        let first_week = range.beside.is_none().then(|| week_end(range.from)).filter(|end| *end <= range.to);
        // Week by week, so that what is in memory at a time is bounded, whatever is asked.
        let mut begin = first_week.map_or(range.from, |end| end.saturating_sub(jiff::Span::new().days(6)));
        for shop in range.shops.iter().filter(|_| first_week.is_some()) {
            counted.insert(*shop, days.counts(&shops[*shop], (begin, range.to))?);
        }
        let style = |style| goods.style(style).unwrap_or_default();
        let size = |size| goods.size(size).to_owned();
        let names = Names { style: &style, size: &size };
        let secret = first_week.map(|_| days.rounding()).transpose()?;
        while begin <= range.to {
            let end = begin.saturating_add(jiff::Span::new().days(6)).min(range.to);
            let read = |part: &[usize]| -> Result<Vec<(usize, Date, Arc<ShopDay>)>, StoreError> {
                let mut all = Vec::new();
                for shop in part {
                    let cut = range.cut_of(&shops[*shop], now).filter(|_| end == range.to);
                    let of = days.of(&shops[*shop], (begin, end), now, cut)?;
                    all.extend(of.into_iter().map(|(date, day)| (*shop, date, day)));
                }
                Ok(all)
            };
            let parts: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    range.shops.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
                threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
            });
            for part in parts {
                let part = part.map_err(|_| StoreError::Panicked("while days were added up".into()))?;
                for (shop, date, day) in part? {
                    let end = week_end(date);
                    // While a week grows, every visit in it could be seen to come.
                    if let Some(secret) = secret
                        && end <= range.to
                        && end < shops[shop].today(now)
                    {
                        let week = weeks.entry(shop).or_default();
                        let hours = shops[shop].hours(date);
                        let hunt = |hour: u8, tried: &[Gtin]| {
                            let at = hours.get(usize::from(hour)).map(|hour| hour.start.timestamp());
                            let at = UnixMillis(at.map_or(0, Timestamp::as_millisecond));
                            let counts = |gtin| counted.get(&shop)?.get(&gtin);
                            let stock = |gtin| lost::pieces_at(counts(gtin)?, at);
                            let size = |gtin| goods.product(gtin).size;
                            lost::hunt(
                                tried,
                                Shelf { size: &size, beside: &|gtin| goods.beside(gtin), stock: &stock },
                            )
                        };
                        week.add(&day.day, &|article| place(article).0, &hunt);
                        if date == end {
                            let rounding = secret.of(shops[shop].id.as_str(), Self::number(end));
                            report.told += std::mem::take(week).told(&rounding, names);
                        }
                    }
                    if date < range.from {
                        continue;
                    }
                    let (is_all, has_tills) = (wanted.is_all(), tills.contains(&shop));
                    let number = u32::try_from(shop).unwrap_or(u32::MAX);
                    let of = Of { shop: number, day: Self::number(date), is_all, has_tills };
                    report.period.add(of, &day.day, &place);
                    let until = range.cut_of(&shops[shop], now).unwrap_or(until);
                    report.watch(of, &shops[shop], (date, &day), until);
                    if let Some(floor) = &mut report.floor {
                        let passes = |article| place(article).1;
                        floor.add((number, &shops[shop]), (of.day, date), &day, until, &passes);
                    }
                }
            }
            if end == range.to {
                break;
            }
            begin = end.saturating_add(jiff::Span::new().days(1));
        }
        Ok(report)
    }

    /// Takes note of how a day was watched.
    fn watch(&mut self, of: Of, shop: &Shop, (date, day): (Date, &ShopDay), until: UnixMillis) {
        self.last_coverage.clone_from(&day.coverage);
        self.delays += &day.delays;
        let hours = shop.hours(date);
        let starts: Vec<i64> = hours.iter().map(|hour| hour.start.timestamp().as_millisecond()).collect();
        let end = |at: usize| starts.get(at + 1).copied().unwrap_or(i64::MAX);
        let hour = |at: usize| {
            let hour = u8::try_from(at).unwrap_or(u8::MAX);
            HourOf { day: of.day, hour, shop: of.shop }
        };
        let mut known: BTreeMap<HourOf, i64> =
            day.day.cells.iter().map(|cell| (hour(usize::from(cell.hour)), 0)).collect();
        for stretch in day.coverage.iter().filter(|stretch| stretch.state == ReaderState::Listening) {
            self.listening.insert((of.shop, stretch.gateway));
            let (from, to) = (stretch.from.0, stretch.to.min(until).0);
            let first = starts.partition_point(|start| *start <= from).saturating_sub(1);
            let after = starts.partition_point(|start| *start < to);
            for (at, start) in starts.iter().enumerate().take(after).skip(first) {
                *known.entry(hour(at)).or_default() += (to.min(end(at)) - from.max(*start)).max(0);
            }
        }
        let is_known = !known.is_empty();
        self.known.extend(known);
        let (listened_ms, hours_ms) =
            self.watched.entry(of.shop as usize).or_default().add(shop, date, day, until);
        self.days.insert((of.shop, of.day), WatchedDay { listened_ms, hours_ms, is_known });
    }

    /// Whether anything is known of any hour: if not, that nothing was counted means nothing.
    #[must_use]
    pub(crate) fn is_measured(&self) -> bool {
        !self.known.is_empty()
    }

    /// Of how many days anything is known.
    #[must_use]
    pub(crate) fn extent(&self) -> Extent {
        let count = |is: fn(&WatchedDay) -> bool| self.days.values().filter(|day| is(day)).count() as u64;
        Extent { known: count(|day| day.is_known), all: count(|day| day.is_known || day.hours_ms > 0) }
    }

    /// How long the readers of a shop could have listened in so many milliseconds.
    #[must_use]
    pub(crate) fn possible_ms(&self, shop: u32, ms: i64) -> i64 {
        ms * self.watched.get(&(shop as usize)).map_or(1, Watched::readers)
    }

    /// What is known of what became of try-ons.
    #[must_use]
    pub(crate) fn outcomes(&self) -> Outcomes {
        let total = &self.period.total;
        match (total.known, total.counts.tried_on) {
            _ if !self.has_tills => Outcomes::NoTill,
            (0, 1..) => Outcomes::Waiting,
            (known, tried) if known < tried => Outcomes::Some,
            (_, 0) if !self.is_measured() => Outcomes::Waiting,
            _ => Outcomes::Known,
        }
    }

    /// A share of what was bought, where tills tell.
    #[must_use]
    pub(crate) fn bought(&self, share: Option<Share>) -> Option<Share> {
        share.filter(|_| self.has_tills)
    }

    /// The day of a number.
    #[must_use]
    pub(crate) fn day(number: i32) -> Date {
        FIRST_DAY.saturating_add(jiff::Span::new().days(number))
    }

    fn number(date: Date) -> i32 {
        FIRST_DAY.until(date).map_or(0, |span| span.get_days())
    }

    /// The share of the opening hours of which the gateways of all shops told what their readers did, 0 to 1; `None` while
    /// no shop has been open.
    #[must_use]
    pub(crate) fn share_reported(&self) -> Option<f64> {
        let sum = |of: fn(&Watched) -> i64| self.watched.values().map(of).sum::<i64>();
        let possible = sum(Watched::reportable_ms);
        (possible > 0).then(|| sum(|watched| watched.reported_ms) as f64 / possible as f64)
    }

    /// The share of the opening hours in which the readers of all shops listened, 0 to 1; `None` while no shop has
    /// been open.
    #[must_use]
    pub(crate) fn share_listened(&self) -> Option<f64> {
        let sum = |of: fn(&Watched) -> i64| self.watched.values().map(of).sum::<i64>();
        let possible = sum(Watched::possible_ms);
        (possible > 0).then(|| sum(|watched| watched.listened_ms) as f64 / possible as f64)
    }
}

impl Watched {
    /// How long the gateways could have told of their readers.
    fn reportable_ms(&self) -> i64 {
        let gateways: BTreeSet<GatewayId> = self.readers.keys().map(|(gateway, _)| *gateway).collect();
        self.hours_ms * i64::try_from(gateways.len().max(1)).unwrap_or(1)
    }

    /// How long the readers could have listened. One that told of itself on any of the days, or in the month before,
    /// could have on all; where none did, one is missing.
    fn possible_ms(&self) -> i64 {
        self.hours_ms * self.readers()
    }

    /// How many readers could have listened, at least one.
    fn readers(&self) -> i64 {
        i64::try_from(self.readers.len().max(1)).unwrap_or(1)
    }

    /// Adds a day. How long readers listened on it while the shop was open, and how long that was, in milliseconds.
    fn add(&mut self, shop: &Shop, date: Date, day: &ShopDay, until: UnixMillis) -> (i64, i64) {
        self.unvouched += day.unvouched;
        let Some((open, close)) = shop.open(date) else { return (0, 0) };
        let close = close.min(until);
        if close <= open {
            return (0, 0);
        }
        let hours_ms = close.0 - open.0;
        self.hours_ms += hours_ms;
        self.reported_ms += reported_ms(&day.coverage, open, close);
        let mut listened_ms = 0;
        for stretch in &day.coverage {
            let life = self.readers.entry((stretch.gateway, stretch.reader)).or_default();
            let ms = (stretch.to.min(close).0 - stretch.from.max(open).0).max(0);
            match stretch.state {
                ReaderState::Listening => {
                    life.listening_ms += ms;
                    listened_ms += ms;
                }
                ReaderState::Silent => life.silent_ms += ms,
                ReaderState::Absent => life.absent_ms += ms,
                ReaderState::Off => life.off_ms += ms,
            }
        }
        self.listened_ms += listened_ms;
        (listened_ms, hours_ms)
    }
}

impl Extent {
    /// The share of the days of which something is known, 0 to 1; 0 of none.
    #[must_use]
    pub(crate) fn share(&self) -> f64 {
        if self.all == 0 { 0.0 } else { self.known as f64 / self.all as f64 }
    }

    /// Whether as large a part is known of both, so that their counts can be compared.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let (a, b) = (self.share(), other.share());
        a > 0.0 && b > 0.0 && a.min(b) >= ALIKE * a.max(b)
    }
}

/// How long each gateway told of any of its readers from one moment to another, in milliseconds.
fn reported_ms(coverage: &[Coverage], from: UnixMillis, to: UnixMillis) -> i64 {
    let mut stretches: Vec<_> =
        coverage.iter().map(|of| (of.gateway, of.from.max(from), of.to.min(to))).collect();
    stretches.sort_unstable();
    let mut last: Option<(GatewayId, UnixMillis)> = None;
    let mut sum = 0;
    for (gateway, from, to) in stretches {
        // What another reader's stretch has covered is not counted again.
        let known = last.filter(|(of, _)| *of == gateway).map_or(from, |(_, end)| end.max(from));
        sum += (to.0 - known.0).max(0);
        last = Some((gateway, known.max(to)));
    }
    sum
}
