//! What rails and shelves show, and how often hands go there. Enters: days of shops with the hours in which they were
//! open. Leaves: per rail its pick-ups by hour and by what was picked up, and the distinct garments that were handled
//! there.
//!
//! Garments are told apart by 32 bits of a hash of their tags: of 2,000 garments on a rail one in 2,000 rails has two
//! that are taken for one.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hangtag_protocol::id::ZoneId;

use crate::day::Day;
use crate::handled::{Article, Map};

/// Hours of a week.
pub const WEEK: usize = 168;

/// A number for each hour of the week by the shop's clock, from Monday 0:00.
pub type Week<T> = [T; WEEK];

/// A day that is added.
#[derive(Clone, Copy, Debug)]
pub struct On<'a> {
    /// The shop, numbered by the caller.
    pub shop: u32,
    /// The day, numbered by the caller.
    pub day: i32,
    /// Its day of the week, 0 to 6, Monday first.
    pub weekday: u8,
    /// Which of the day's hours the shop is open in, for a part at least; those that are missing are closed.
    pub open: &'a [bool],
}

/// Pick-ups of one hour, or where hours are not told apart of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) day: i32,
    pub(crate) hour: u8,
    pub(crate) picked_up: u32,
}

/// A rail or a shelf.
#[derive(Clone, Debug)]
pub(crate) struct Rail {
    /// Pick-ups by the hour of the week, while the shop was open,
    pub(crate) by_hour: Box<Week<u32>>,
    /// in order of time,
    pub(crate) slots: Vec<Slot>,
    /// and by what was picked up.
    pub(crate) by_article: Map<Article, u32>,
    /// The garments that were handled there, at any hour.
    pub(crate) garments: Map<u32, Article>,
}

/// Rails and shelves of shops.
#[derive(Clone, Debug)]
pub struct Rails {
    pub(crate) all: BTreeMap<(u32, ZoneId), Rail>,
    has_hours: bool,
}

impl Rails {
    /// None yet. With `has_hours`, hours are told apart as well as days; for long stretches that would be much.
    #[must_use]
    pub fn new(has_hours: bool) -> Self {
        Self { all: BTreeMap::new(), has_hours }
    }

    /// Adds a day. Of it counts what `passes`.
    pub fn add(&mut self, on: On<'_>, day: &Day, passes: &dyn Fn(Article) -> bool) {
        let wanted: Vec<bool> = day.articles.iter().map(|article| passes(*article)).collect();
        let mut rails: Vec<Option<Rail>> = day.zones.iter().map(|_| None).collect();
        for shown in day.shown.iter().filter(|shown| wanted[shown.article as usize]) {
            let rail = &mut rails[usize::from(shown.zone)];
            let rail = rail.get_or_insert_with(|| {
                self.all.remove(&(on.shop, day.zones[usize::from(shown.zone)])).unwrap_or_default()
            });
            rail.garments.insert(shown.tag, day.articles[shown.article as usize]);
        }
        for cell in day.cells.iter().filter(|cell| cell.counts[0] > 0) {
            let hour = usize::from(cell.hour);
            let (true, Some(true), Some(clock)) =
                (wanted[cell.article as usize], on.open.get(hour), day.clock.get(hour))
            else {
                continue;
            };
            // Whatever is picked up is shown.
            let Some(rail) = &mut rails[usize::from(cell.zone)] else { continue };
            let picked_up = u32::from(cell.counts[0]);
            rail.by_hour[usize::from(on.weekday % 7) * 24 + usize::from(clock % 24)] += picked_up;
            *rail.by_article.entry(day.articles[cell.article as usize]).or_default() += picked_up;
            let hour = if self.has_hours { cell.hour } else { 0 };
            match rail.slots.last_mut() {
                Some(slot) if (slot.day, slot.hour) == (on.day, hour) => slot.picked_up += picked_up,
                _ => rail.slots.push(Slot { day: on.day, hour, picked_up }),
            }
        }
        for (zone, rail) in day.zones.iter().zip(rails) {
            self.all.extend(rail.map(|rail| ((on.shop, *zone), rail)));
        }
    }

    /// Pick-ups per shop and article, while the shop was open.
    #[must_use]
    pub fn picked_up(&self) -> BTreeMap<(u32, Article), u64> {
        let mut sums = BTreeMap::new();
        for ((shop, _), rail) in &self.all {
            for (article, picked_up) in &rail.by_article {
                *sums.entry((*shop, *article)).or_default() += u64::from(*picked_up);
            }
        }
        sums
    }

    /// Distinct garments per shop and article.
    #[must_use]
    pub fn garments(&self) -> BTreeMap<(u32, Article), u64> {
        let mut sums = BTreeMap::new();
        // A garment that hung on two rails is one.
        let mut of_shop: Map<(u32, Article), ()> = Map::default();
        let mut last = None;
        for ((shop, _), rail) in &self.all {
            if last.replace(*shop) != Some(*shop) {
                of_shop.clear();
            }
            for (tag, article) in &rail.garments {
                if of_shop.insert((*tag, *article), ()).is_none() {
                    *sums.entry((*shop, *article)).or_default() += 1;
                }
            }
        }
        sums
    }
}

impl Default for Rail {
    fn default() -> Self {
        Self {
            by_hour: Box::new([0; WEEK]),
            slots: Vec::new(),
            by_article: Map::default(),
            garments: Map::default(),
        }
    }
}
