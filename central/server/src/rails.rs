//! Who watched which rail, and when. Enters: days of shops with the readers' lives. Leaves: per rail the hours in which
//! each reader that may have watched it listened while the shop was open, and what the rails show beside it. Hours in
//! which the shop opens or closes count neither for what was picked up nor for what was listened to.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hangtag_central_core::handled::{Article, Map};
use hangtag_central_core::rail::{Listened, On, Rails};
use hangtag_central_core::spot::{Spots, Watch};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{GatewayId, ReaderId, ZoneId};
use jiff::civil::Date;

use crate::days::ShopDay;
use crate::goods::Goods;
use crate::shop::Shop;

/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;
/// The longest stretch in which hours are told apart from one another, in days.
const DAYS_WITH_HOURS: i32 = 31;

/// Rails and shelves, and who watched them.
#[derive(Debug)]
pub(crate) struct Floor {
    /// What they show, and how often hands went there.
    pub rails: Rails,
    /// How long each reader listened while its shop was open.
    readers: BTreeMap<(u32, GatewayId, ReaderId), Arc<Listened>>,
    /// Who told of garments on which rail.
    gateways: BTreeMap<(u32, ZoneId), BTreeSet<GatewayId>>,
    /// The same of rails that the shop is known to have, whether anything was told of them or not.
    known: BTreeMap<(u32, ZoneId), BTreeSet<GatewayId>>,
    /// What came of comparing the rails, once somebody asked.
    spots: OnceCell<Spots>,
}

impl Floor {
    /// Of a stretch of so many days, nothing yet.
    #[must_use]
    pub(crate) fn new(days: i32) -> Self {
        let rails = Rails::new(days <= DAYS_WITH_HOURS);
        let (readers, gateways, known) = Default::default();
        Self { rails, readers, gateways, known, spots: OnceCell::new() }
    }

    /// Takes note of a rail that a shop has, and of a gateway that watches it.
    pub(crate) fn know(&mut self, shop: u32, zone: ZoneId, gateway: GatewayId) {
        self.known.entry((shop, zone)).or_default().insert(gateway);
    }

    /// The rails of which nothing was told, with how long their readers listened while the shop was open, in hours: the
    /// mean of the readers, 0 where none did.
    pub(crate) fn untouched(&self) -> impl Iterator<Item = ((u32, ZoneId), f64)> {
        let untouched = self.known.iter().filter(|(rail, _)| !self.rails.has(rail));
        untouched.map(|((shop, zone), gateways)| {
            let readers =
                self.readers.iter().filter(|((of, gateway, _), _)| of == shop && gateways.contains(gateway));
            let (mut count, mut sum) = (0.0, 0.0);
            for (_, listened) in readers {
                count += 1.0;
                sum += listened.by_day().map(|(_, hours)| hours).sum::<f64>();
            }
            ((*shop, *zone), if count > 0.0 { sum / count } else { 0.0 })
        })
    }

    /// Adds a day of a shop, numbered by the caller like the shop, as far as it has come. Of it counts what `passes`.
    pub(crate) fn add(
        &mut self,
        (number, shop): (u32, &Shop),
        (day, date): (i32, Date),
        of: &ShopDay,
        until: UnixMillis,
        passes: &dyn Fn(Article) -> bool,
    ) {
        let hours = shop.hours(date);
        let weekday = u8::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
        let starts: Vec<i64> = hours.iter().map(|hour| hour.start.timestamp().as_millisecond()).collect();
        let bounds = shop.bounds(date);
        let end_of_day = bounds.map_or(i64::MAX, |(_, end)| end.timestamp().as_millisecond());
        let end = |at: usize| starts.get(at + 1).copied().unwrap_or(end_of_day);
        let opening = shop.open(date);
        // A shop that is open until midnight closes a millisecond before.
        let is_open =
            |at: usize| opening.is_some_and(|(from, to)| from.0 <= starts[at] && end(at) <= to.0 + 1);
        let open: Vec<bool> = (0..starts.len()).map(is_open).collect();
        // By whom each hour was listened to.
        let mut heard: BTreeSet<(GatewayId, u8)> = BTreeSet::new();
        for stretch in &of.coverage {
            // One that told of itself could have listened, whatever it did.
            let listened = self.readers.entry((number, stretch.gateway, stretch.reader)).or_default();
            let (from, to) = (stretch.from.0, stretch.to.min(until).0);
            if stretch.state != ReaderState::Listening || from >= to {
                continue;
            }
            let first = starts.partition_point(|start| *start <= from).saturating_sub(1);
            let after = starts.partition_point(|start| *start < to);
            for at in (first..after).filter(|at| open[*at]) {
                let ms = to.min(end(at)) - from.max(starts[at]);
                let clock = u8::try_from(hours[at].start.hour()).unwrap_or(0);
                Arc::make_mut(listened).add(day, weekday, clock, ms as f64 / HOUR_MS);
                heard.extend(u8::try_from(at).ok().map(|at| (stretch.gateway, at)));
            }
        }
        let is_heard = |zone: ZoneId, hour: u8| {
            let mut watching = of.watching.iter().filter(|(of, _)| *of == zone);
            watching.any(|(_, gateway)| heard.contains(&(*gateway, hour)))
        };
        self.rails.add(On { shop: number, day, weekday, open: &open }, &of.day, passes, &is_heard);
        for (zone, gateway) in &of.watching {
            self.gateways.entry((number, *zone)).or_default().insert(*gateway);
        }
    }

    /// The rails of each shop beside each other.
    #[must_use]
    pub(crate) fn spots(&self, goods: &Goods) -> &Spots {
        self.spots.get_or_init(|| self.compare(goods))
    }

    fn compare(&self, goods: &Goods) -> Spots {
        let gateways: Vec<(u32, GatewayId)> =
            self.readers.keys().map(|(shop, gateway, _)| (*shop, *gateway)).collect();
        // Many garments are of one article.
        let known = RefCell::new(Map::default());
        let category =
            |article| *known.borrow_mut().entry(article).or_insert_with(|| goods.category(article));
        self.rails.spots(&category, &|shop, zone| {
            let told = self.gateways.get(&(shop, zone));
            let first = told.and_then(BTreeSet::first);
            let group = first.and_then(|first| gateways.iter().position(|known| *known == (shop, *first)));
            let of_zone = |(of, gateway, _): &(u32, GatewayId, ReaderId)| {
                *of == shop && told.is_some_and(|told| told.contains(gateway))
            };
            Watch {
                group: group.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX),
                readers: self
                    .readers
                    .iter()
                    .filter(|(of, _)| of_zone(of))
                    .map(|(_, hours)| hours.clone())
                    .collect(),
            }
        })
    }

    /// How long the readers of a shop that may have watched its rails listened while it was open: their mean.
    #[must_use]
    pub(crate) fn listened(&self, shop: u32) -> Elapsed {
        let rails = self.gateways.iter().filter(|((of, _), _)| *of == shop);
        let watching: BTreeSet<GatewayId> = rails.flat_map(|(_, gateways)| gateways).copied().collect();
        let readers =
            self.readers.iter().filter(|((of, gateway, _), _)| *of == shop && watching.contains(gateway));
        let readers: Vec<&Listened> = readers.map(|(_, listened)| &**listened).collect();
        let mut days: BTreeMap<i32, f64> = BTreeMap::new();
        for (day, hours) in readers.iter().flat_map(|reader| reader.by_day()) {
            *days.entry(day).or_default() += hours / readers.len() as f64;
        }
        let mut sum = 0.0;
        let days = days.into_iter().map(|(day, hours)| {
            sum += hours;
            (day, sum)
        });
        Elapsed(days.collect())
    }
}

/// Days with the hours that were listened until their end.
#[derive(Debug)]
pub(crate) struct Elapsed(Vec<(i32, f64)>);

impl Elapsed {
    /// From one day to another, both included, in hours.
    #[must_use]
    pub(crate) fn between(&self, first: i32, last: i32) -> f64 {
        let before =
            |day: i32| self.0.partition_point(|(of, _)| *of < day).checked_sub(1).map(|at| self.0[at].1);
        before(last.saturating_add(1)).unwrap_or(0.0) - before(first).unwrap_or(0.0)
    }

    /// On all days, in hours.
    #[must_use]
    pub(crate) fn all(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, sum)| *sum)
    }
}
