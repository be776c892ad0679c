//! What a filter asks for. Enters: a filter. Leaves: the sums of the shops and days that it names, and of those that
//! they are compared with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;

use hangtag_central_core::handled::Map;
use hangtag_central_core::measures::Share;
use hangtag_central_core::period::Period;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{GatewayId, ReaderId};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::days::{Days, ShopDay};
use crate::goods::{Goods, Wanted};
use crate::shop::Shop;
use crate::store::{Coverage, StoreError};

/// Sums over shops and days.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Of everything; shops by their position in the list of all shops, days by [`Report::day`].
    pub period: Period,
    /// How the shops were watched, by position.
    pub watched: BTreeMap<usize, Watched>,
    /// The days, as numbers, on which a reader of any shop listened.
    pub listened_on: BTreeSet<i32>,
    /// How the last shop was watched on the last day, by reader.
    pub last_coverage: Vec<Coverage>,
    /// Whether a till of any of the shops told of anything: if none did, what was bought is not known.
    pub has_tills: bool,
    /// The latest counts of stock, all shops together: pieces per product.
    pub stock: BTreeMap<Gtin, u64>,
}

/// How shops were watched in their opening hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// How long readers listened while their shop was open, in milliseconds, added up over the readers.
    pub listened_ms: i64,
    /// Opening hours that have passed, in milliseconds.
    pub hours_ms: i64,
    /// Events about garments whose time of day nobody vouches for.
    pub unvouched: u64,
    readers: BTreeSet<(GatewayId, ReaderId)>,
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
    /// The last day counts only as far as today has come in the shop: for a comparison with a stretch that ends today.
    pub cut: bool,
}

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
        let read = |part: &[usize]| -> Result<Vec<(usize, Date, Arc<ShopDay>)>, StoreError> {
            let mut all = Vec::new();
            for shop in part {
                let of = days.of(&shops[*shop], (range.from, range.to), now, range.cut)?;
                all.extend(of.into_iter().map(|(date, day)| (*shop, date, day)));
            }
            Ok(all)
        };
        let parts: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                range.shops.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        let mut report = Self::default();
        // The same goods are there day after day.
        let places = RefCell::new(Map::default());
        let place =
            |article| *places.borrow_mut().entry(article).or_insert_with(|| goods.wanted(article, wanted));
        for part in parts {
            let part = part.map_err(|_| StoreError::Panicked("while days were added up".into()))?;
            for (shop, date, day) in part? {
                let number = u32::try_from(shop).unwrap_or(u32::MAX);
                report.period.add(number, Self::number(date), &day.day, &place);
                report.last_coverage.clone_from(&day.coverage);
                if day.coverage.iter().any(|stretch| stretch.state == ReaderState::Listening) {
                    report.listened_on.insert(Self::number(date));
                }
                report.has_tills |= !day.day.tills.is_empty();
                report.watched.entry(shop).or_default().add(&shops[shop], date, &day, now);
            }
        }
        for shop in &range.shops {
            for (gtin, quantity) in days.stock(&shops[*shop], range.to)? {
                *report.stock.entry(gtin).or_default() += quantity;
            }
        }
        Ok(report)
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

    /// The share of the opening hours in which the readers of all shops listened, 0 to 1; `None` while no shop has
    /// been open.
    #[must_use]
    pub(crate) fn listened(&self) -> Option<f64> {
        let sum = |of: fn(&Watched) -> i64| self.watched.values().map(of).sum::<i64>();
        let possible = sum(Watched::possible_ms);
        (possible > 0).then(|| sum(|watched| watched.listened_ms) as f64 / possible as f64)
    }
}

impl Watched {
    /// The share of the opening hours in which the readers listened, 0 to 1; `None` while the shop has not been open.
    #[must_use]
    pub(crate) fn share(&self) -> Option<f64> {
        (self.hours_ms > 0).then(|| self.listened_ms as f64 / self.possible_ms() as f64)
    }

    /// How long the readers could have listened. One that told of itself on any of the days could have on all; where
    /// none did, one is missing.
    fn possible_ms(&self) -> i64 {
        self.hours_ms * i64::try_from(self.readers.len().max(1)).unwrap_or(1)
    }

    fn add(&mut self, shop: &Shop, date: Date, day: &ShopDay, now: Timestamp) {
        self.unvouched += day.unvouched;
        let Some((open, close)) = shop.open(date) else { return };
        let close = close.min(UnixMillis(now.as_millisecond()));
        if close <= open {
            return;
        }
        self.hours_ms += close.0 - open.0;
        for stretch in &day.coverage {
            self.readers.insert((stretch.gateway, stretch.reader));
            self.listened_ms += match stretch.state {
                ReaderState::Listening => (stretch.to.min(close).0 - stretch.from.max(open).0).max(0),
                ReaderState::Silent | ReaderState::Absent | ReaderState::Off => 0,
            };
        }
    }
}
