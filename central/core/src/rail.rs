//! What rails and shelves show, and how often hands go there. Enters: days of shops with the hours in which they were
//! open and listened to. Leaves: per rail its pick-ups by hour and by what was picked up, and the garments that were
//! handled there, with the days on which they were there.
//!
//! A garment is on a rail from the first day of the stretch on which it was handled there to the last: one that was sold
//! is not there any more, and the one that was hung in its place was not there before.
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
    /// Which of the day's hours the shop is open in, all through; those that are missing are closed. Of an hour that is
    /// open in part nothing counts: who tidies up after closing is no shopper.
    pub open: &'a [bool],
}

/// How long a reader listened, by day and hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listened(BTreeMap<i32, Box<(u8, [f64; 24])>>);

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
    pub(crate) garments: Map<u32, Hung>,
}

/// A garment on a rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hung {
    pub(crate) article: Article,
    /// The first day on which it was handled there,
    pub(crate) first: i32,
    /// and the last.
    pub(crate) last: i32,
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

    /// Adds a day. Of it counts what `passes`, and of the pick-ups those of hours of the day in which somebody listened to
    /// the zone, for a part at least.
    pub fn add(
        &mut self,
        on: On<'_>,
        day: &Day,
        passes: &dyn Fn(Article) -> bool,
        is_heard: &dyn Fn(ZoneId, u8) -> bool,
    ) {
        let wanted: Vec<bool> = day.articles.iter().map(|article| passes(*article)).collect();
        let mut rails: Vec<Option<Rail>> = day.zones.iter().map(|_| None).collect();
        for shown in day.shown.iter().filter(|shown| wanted[shown.article as usize]) {
            let rail = &mut rails[usize::from(shown.zone)];
            let rail = rail.get_or_insert_with(|| {
                self.all.remove(&(on.shop, day.zones[usize::from(shown.zone)])).unwrap_or_default()
            });
            let seen = Hung { article: day.articles[shown.article as usize], first: on.day, last: on.day };
            rail.garments.entry(shown.tag).and_modify(|hung| hung.join(&seen)).or_insert(seen);
        }
        let mut heard = (None, false);
        for cell in day.cells.iter().filter(|cell| cell.counts[0] > 0) {
            let hour = usize::from(cell.hour);
            let (true, Some(true), Some(clock)) =
                (wanted[cell.article as usize], on.open.get(hour), day.clock.get(hour))
            else {
                continue;
            };
            // Cells of an hour and a zone follow one another.
            if heard.0 != Some((cell.hour, cell.zone)) {
                let zone = day.zones[usize::from(cell.zone)];
                heard = (Some((cell.hour, cell.zone)), is_heard(zone, cell.hour));
            }
            if !heard.1 {
                continue;
            }
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

    /// Whether anything that counts was handled on a rail.
    #[must_use]
    pub fn has(&self, rail: &(u32, ZoneId)) -> bool {
        self.all.contains_key(rail)
    }

    /// Pick-ups per shop and article, while the shop was open and somebody listened.
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

    /// Garments by hours per shop and article: of each garment the hours in which somebody listened while it was there.
    /// `hours` tells how many that were in a shop from one day to another.
    #[must_use]
    pub fn garment_hours(&self, hours: &dyn Fn(u32, i32, i32) -> f64) -> BTreeMap<(u32, Article), f64> {
        // A garment that hung on two rails is one.
        let mut all: BTreeMap<u32, Map<(u32, Article), Hung>> = BTreeMap::new();
        for ((shop, _), rail) in &self.all {
            let of_shop = all.entry(*shop).or_default();
            for (tag, hung) in &rail.garments {
                let known = of_shop.entry((*tag, hung.article)).or_insert(*hung);
                known.join(hung);
            }
        }
        let mut sums = BTreeMap::new();
        // Many garments come and go on the same days.
        let mut known = BTreeMap::new();
        for (shop, garments) in all {
            for hung in garments.into_values() {
                let (first, last) = (hung.first, hung.last);
                let of = *known.entry((shop, first, last)).or_insert_with(|| hours(shop, first, last));
                *sums.entry((shop, hung.article)).or_insert(0.0) += of;
            }
        }
        sums
    }
}

impl Hung {
    /// Has been seen again, or elsewhere in the shop.
    fn join(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl Listened {
    /// Adds to a day, by its number and its day of the week (0 to 6, Monday first), what was listened of it in an hour by
    /// the shop's clock (0 to 23), in hours.
    pub fn add(&mut self, day: i32, weekday: u8, clock: u8, hours: f64) {
        let of = self.0.entry(day).or_insert_with(|| Box::new((weekday % 7, [0.0; 24])));
        of.1[usize::from(clock % 24)] += hours;
    }

    /// The days, and how long was listened on each, in hours.
    pub fn by_day(&self) -> impl Iterator<Item = (i32, f64)> {
        self.0.iter().map(|(day, of)| (*day, of.1.iter().sum()))
    }

    /// The days, with the hour of the week in which each begins and how long was listened in each of its hours.
    pub(crate) fn days(&self) -> impl Iterator<Item = (i32, usize, &[f64; 24])> {
        self.0.iter().map(|(day, of)| (*day, usize::from(of.0) * 24, &of.1))
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
