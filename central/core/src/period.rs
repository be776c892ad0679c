//! What days add up to under a filter. Enters: days of shops, and which goods count and what they are. Leaves: sums
//! per product, zone, shop and hour; the stays.
//!
//! Under a filter a stay counts when a garment that passes it was in the booth.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hangtag_protocol::id::ZoneId;

use crate::day::{Day, Item, Outcome, Sold, Stay};
use crate::handled::{Article, Counts, Map};
use crate::measures::{self, Share};

/// What an article is to the shop: which style, which size of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The style, numbered by the caller; a product that no catalogue knows is a style of its own.
    pub style: u64,
    /// The size, numbered by the caller; `None` when nobody knows it.
    pub size: Option<u32>,
}

/// What is added up, of everything or of one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How often each thing happened.
    pub counts: Counts,
    /// Distinct garments that were picked up, per day,
    pub picked: u64,
    /// and those of them that were then tried on.
    pub then_tried: u64,
    /// Pick-ups that were put back.
    pub put_back: u64,
    /// Try-ons whose outcome is known,
    pub known: u64,
    /// those after which the garment was seen on the floor again,
    pub back: u64,
    /// those after which this very garment was sold,
    pub sold_tag: u64,
    /// or one of the same product, that garment included,
    pub sold_product: u64,
    /// or one of the same style, both included.
    pub sold_style: u64,
    /// Try-ons after which the garment was neither sold nor seen again: left in the booth, or lost.
    pub left: u64,
    /// Pieces sold,
    pub sold: u64,
    /// and brought back.
    pub returned: u64,
}

/// One zone of one shop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// How often each thing happened.
    pub counts: Counts,
    /// Stays.
    pub visits: u64,
    /// How long they lasted, in tenths of a second, where that is known.
    pub dwells: Vec<u32>,
    /// Scans of loyalty codes.
    pub loyalty_scans: u64,
    /// Scans of products.
    pub product_scans: u64,
}

/// One hour of one day of one shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourOf {
    /// The day, numbered by the caller.
    pub day: i32,
    /// Which of the day's hours, from 0.
    pub hour: u8,
    /// The shop, numbered by the caller.
    pub shop: u32,
}

/// A sum over days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Of everything.
    pub total: Sums,
    /// Per product.
    pub articles: Map<Article, Sums>,
    /// Per shop and zone.
    pub zones: BTreeMap<(u32, ZoneId), Zone>,
    /// Per hour.
    pub hours: BTreeMap<HourOf, Counts>,
    /// Stays.
    pub visits: u64,
    /// Those in which something was tried on.
    pub trying: u64,
    /// How long stays lasted, in tenths of a second, where that is known.
    pub dwells: Vec<u32>,
    /// Tags that are no SGTIN, per day.
    pub unknown_tags: u64,
}

/// Which day of which shop is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of {
    /// The shop, numbered by the caller.
    pub shop: u32,
    /// The day, numbered by the caller.
    pub day: i32,
    /// Whether every article passes the filter, also those that are not there.
    pub is_all: bool,
    /// Whether a till of the shop tells what was sold.
    pub has_tills: bool,
}

impl Period {
    /// Adds a day of a shop. `goods` tells what an article is, and whether it passes the filter.
    pub fn add(&mut self, of: Of, day: &Day, goods: &dyn Fn(Article) -> (Place, bool)) {
        let Of { shop, day: date, is_all, has_tills } = of;
        let places: Vec<(Place, bool)> = day.articles.iter().map(|article| goods(*article)).collect();
        let mut of: Vec<Sums> = alloc::vec![Sums::default(); day.articles.len()];
        let mut zones: Vec<Zone> = alloc::vec![Zone::default(); day.zones.len()];
        let mut hours: Vec<Counts> = alloc::vec![Counts::default(); day.clock.len()];
        for cell in &day.cells {
            if !places[cell.article as usize].1 {
                continue;
            }
            let counts = cell.sum();
            of[cell.article as usize].counts += counts;
            zones[usize::from(cell.zone)].counts += counts;
            if let Some(hour) = hours.get_mut(usize::from(cell.hour)) {
                *hour += counts;
            }
        }
        for picked in &day.picked {
            let sums = &mut of[picked.article as usize];
            sums.picked += 1;
            sums.then_tried += u64::from(picked.then_tried);
            sums.put_back += u64::from(picked.put_back);
        }
        // Where no till tells, nobody knows what became of a garment that is not seen again.
        for item in day.items.iter().filter(|item| item.tried && has_tills) {
            of[item.article as usize].add_outcome(item);
        }
        for till in &day.tills {
            let sums = &mut of[till.article as usize];
            sums.sold += u64::from(till.sold);
            sums.returned += u64::from(till.returned);
        }
        for stay in &day.stays {
            self.add_stay(stay, day, &places, is_all, &mut zones[usize::from(stay.zone)]);
        }
        if is_all {
            for scans in &day.scans {
                let zone = &mut zones[usize::from(scans.zone)];
                zone.loyalty_scans += u64::from(scans.loyalty);
                zone.product_scans += u64::from(scans.product);
            }
            self.unknown_tags += u64::from(day.unknown_tags);
        }
        for ((article, sums), _) in
            day.articles.iter().zip(of).zip(&places).filter(|(_, (_, passes))| *passes)
        {
            self.total += sums;
            if sums != Sums::default() {
                *self.articles.entry(*article).or_default() += sums;
            }
        }
        for (zone, sums) in day.zones.iter().zip(zones).filter(|(_, sums)| *sums != Zone::default()) {
            self.zones.entry((shop, *zone)).or_default().merge(sums);
        }
        for (hour, counts) in (0..).zip(hours) {
            *self.hours.entry(HourOf { day: date, hour, shop }).or_default() += counts;
        }
    }

    fn add_stay(&mut self, stay: &Stay, day: &Day, places: &[(Place, bool)], is_all: bool, zone: &mut Zone) {
        let (first, items) = (stay.first as usize, stay.items as usize);
        let items = &day.items[first..first + items];
        let passes = |item: &Item| places[item.article as usize].1;
        // Of a stay without garments nothing can pass a filter.
        if !(is_all || items.iter().any(passes)) {
            return;
        }
        self.visits += 1;
        zone.visits += 1;
        self.dwells.extend(stay.dwell_ds);
        zone.dwells.extend(stay.dwell_ds);
        self.trying += u64::from(items.iter().any(|item| item.tried && passes(item)));
    }

    /// Of the distinct garments picked up, the share that was tried on later the same day.
    #[must_use]
    pub fn tried_of_picked(&self) -> Option<Share> {
        Share::of(self.total.then_tried, self.total.picked)
    }

    /// A quantile of the stays, in tenths of a second: 0.5 is the median.
    #[must_use]
    pub fn dwell(&self, quantile: f64) -> Option<u32> {
        measures::quantile(&mut self.dwells.clone(), quantile)
    }
}

impl Zone {
    /// A quantile of the stays, in tenths of a second.
    #[must_use]
    pub fn dwell(&self, quantile: f64) -> Option<u32> {
        measures::quantile(&mut self.dwells.clone(), quantile)
    }

    fn merge(&mut self, other: Self) {
        self.counts += other.counts;
        self.visits += other.visits;
        self.dwells.extend(other.dwells);
        self.loyalty_scans += other.loyalty_scans;
        self.product_scans += other.product_scans;
    }
}

impl Sums {
    /// Of the try-ons whose outcome is known, the share after which this very garment was sold.
    #[must_use]
    pub fn bought_tag(&self) -> Option<Share> {
        Share::of(self.sold_tag, self.known)
    }

    /// The same with any garment of the product.
    #[must_use]
    pub fn bought_product(&self) -> Option<Share> {
        Share::of(self.sold_product, self.known)
    }

    /// The same with any garment of the style.
    #[must_use]
    pub fn bought_style(&self) -> Option<Share> {
        Share::of(self.sold_style, self.known)
    }

    /// Of the pick-ups, the share that was put back.
    #[must_use]
    pub fn put_back(&self) -> Option<Share> {
        Share::of(self.put_back, self.counts.picked_up)
    }

    /// Of the try-ons whose outcome is known, the share after which the garment was neither sold nor seen again.
    #[must_use]
    pub fn left(&self) -> Option<Share> {
        Share::of(self.left, self.known)
    }

    fn add_outcome(&mut self, item: &Item) {
        if item.outcome == Outcome::Open {
            return;
        }
        self.known += 1;
        self.back += u64::from(item.outcome == Outcome::Back);
        self.sold_tag += u64::from(item.sold >= Sold::Tag);
        self.sold_product += u64::from(item.sold >= Sold::Product);
        self.sold_style += u64::from(item.sold >= Sold::Style);
        self.left += u64::from(item.outcome == Outcome::NotSeen && item.sold < Sold::Product);
    }
}

impl core::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        let Self {
            counts,
            picked,
            then_tried,
            put_back,
            known,
            back,
            sold_tag,
            sold_product,
            sold_style,
            ..
        } = other;
        self.counts += counts;
        self.picked += picked;
        self.then_tried += then_tried;
        self.put_back += put_back;
        self.known += known;
        self.back += back;
        self.sold_tag += sold_tag;
        self.sold_product += sold_product;
        self.sold_style += sold_style;
        self.left += other.left;
        self.sold += other.sold;
        self.returned += other.returned;
    }
}

#[cfg(test)]
mod tests;
