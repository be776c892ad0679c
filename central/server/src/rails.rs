//! Who watched which rail, and when. Enters: days of shops with the readers' lives. Leaves: per rail the hours of the week
//! in which each reader that may have watched it listened while the shop was open, and what the rails show beside it.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::handled::{Article, Map};
use hangtag_central_core::rail::{On, Rails, WEEK, Week};
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
    /// How long each reader listened while its shop was open, in hours.
    readers: BTreeMap<(u32, GatewayId, ReaderId), Box<Week<f64>>>,
    /// Who told of garments on which rail.
    gateways: BTreeMap<(u32, ZoneId), BTreeSet<GatewayId>>,
    /// What came of comparing the rails, once somebody asked.
    spots: OnceCell<Spots>,
}

impl Floor {
    /// Of a stretch of so many days, nothing yet.
    #[must_use]
    pub(crate) fn new(days: i32) -> Self {
        let rails = Rails::new(days <= DAYS_WITH_HOURS);
        Self { rails, readers: BTreeMap::new(), gateways: BTreeMap::new(), spots: OnceCell::new() }
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
        let open: Vec<bool> = hours.iter().map(|hour| hour.open).collect();
        self.rails.add(On { shop: number, day, weekday, open: &open }, &of.day, passes);
        for (zone, gateway) in &of.watching {
            self.gateways.entry((number, *zone)).or_default().insert(*gateway);
        }
        let Some((from, to)) = shop.open(date) else { return };
        let to = to.min(until);
        let starts: Vec<i64> = hours.iter().map(|hour| hour.start.timestamp().as_millisecond()).collect();
        for stretch in &of.coverage {
            // One that told of itself could have listened, whatever it did.
            let listened = self
                .readers
                .entry((number, stretch.gateway, stretch.reader))
                .or_insert_with(|| Box::new([0.0; WEEK]));
            let (from, to) = (stretch.from.max(from).0, stretch.to.min(to).0);
            if stretch.state != ReaderState::Listening || from >= to {
                continue;
            }
            let first = starts.partition_point(|start| *start <= from).saturating_sub(1);
            let after = starts.partition_point(|start| *start < to);
            for at in first..after {
                let end = starts.get(at + 1).copied().unwrap_or(i64::MAX);
                let clock = usize::try_from(hours[at].start.hour()).unwrap_or(0);
                listened[usize::from(weekday) * 24 + clock] +=
                    (to.min(end) - from.max(starts[at])) as f64 / HOUR_MS;
            }
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

    /// How long the readers of a shop listened while it was open, in hours: their mean.
    #[must_use]
    pub(crate) fn listened(&self, shop: u32) -> f64 {
        let of: Vec<f64> = self
            .readers
            .iter()
            .filter(|((of, ..), _)| *of == shop)
            .map(|(_, hours)| hours.iter().sum())
            .collect();
        of.iter().sum::<f64>() / of.len().max(1) as f64
    }
}
