//! Which rails draw more hands than others, and which fewer. Enters: what rails show and how often hands went there, and
//! when the readers listened that may have watched each. Leaves: per rail the pick-ups that were to be expected, how far
//! from that it is, and whether it is hot or cold.
//!
//! **Expected** are the pick-ups that a rail would have if each garment on it drew as many hands as garments of its
//! category do in the whole shop at that hour of the week, while its reader listened (indirect standardisation; Breslow
//! and Day 1987, *Statistical Methods in Cancer Research* II, chapter 2; Spiegelhalter 2005, *Funnel plots for comparing
//! institutional performance*):
//!
//! ```text
//! shown(rail, category, hour) = Σ days garments(rail, category, day) × listened(rail, day, hour)
//! expected(rail) = Σ categories rate(category) × Σ hours of the week shown(rail, category, hour) × busy(hour)
//! busy(hour)     = pick-ups of the shop in the hour / Σ rails, categories shown(rail, category, hour)
//! rate(category) = pick-ups of the category / Σ rails, hours shown(rail, category, hour) × busy(hour)
//! ```
//!
//! scaled so that the rails of a shop together expect what they have. A garment is on a rail from the first day of the
//! stretch on which it was handled there to the last, so that a rail that sells and is filled again does not seem to hold
//! more than it ever did. Shops are not compared with one another. A category that hangs on fewer than [`FEWEST_RAILS`]
//! rails of a shop that were listened to could only be compared with itself: such categories share one rate.
//!
//! A rail that differs from the others would make those of its categories differ too, the other way: the farthest one that
//! is called hot or cold is left out of `busy` and `rate`, and then the next farthest, as long as two rails are left of
//! its categories (but for what hangs astray there, a tenth of its garments at most) and at most a third of a shop's rails
//! are left out.
//!
//! Garments that nobody touched are not known to be there, so that a cold rail is somewhat colder than it is said to be.
//!
//! Which reader watches a rail central does not know, only which gateway. Expected is the mean over the gateway's readers;
//! but a rail is called cold only if it were so with the reader that listened least, and hot only if it were so with the
//! one that listened most.
//!
//! **Hot and cold** are those whose distance is more than chance when of all rails that are called so one in twenty may
//! be (Benjamini and Hochberg 1995). Hands come in bursts, so that counts vary more than Poisson's; how much more is taken
//! from how the counts of one gateway's rails vary from hour to hour and from day to day beyond what all of them share
//! (Pearson's χ² of rails × hours and of rails × days over its degrees of freedom; the larger one, at least 1). From fewer
//! than [`FEWEST_DEGREES`] nothing is concluded.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use hangtag_protocol::id::ZoneId;

use crate::handled::Article;
use crate::rail::{Listened, Rail, Rails, WEEK, Week};
use crate::rate::{self, Rate};

/// In shops of fewer rails nothing is compared, and a category on fewer rails has no rate of its own.
pub const FEWEST_RAILS: usize = 3;
/// With fewer degrees of freedom it is not known how much counts vary.
pub const FEWEST_DEGREES: u64 = 10;
/// Rails that draw less than so many times what was expected, or more than that by it, are not worth a sentence: of many
/// counts little is more than chance.
pub const LEAST: f64 = 1.2;
/// The share of a rail's garments that may hang there astray.
const ASTRAY: f64 = 0.1;
/// Of the rails that are called hot or cold, so many may be so by chance.
const BY_CHANCE: f64 = 0.05;

/// Who may have watched a rail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Rails of the same number had the same readers.
    pub group: u32,
    /// The readers that may have: how long each listened while the shop was open.
    pub readers: Vec<Arc<Listened>>,
}

/// What is concluded of a rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hands go there more often than to others,
    Hot,
    /// or less often.
    Cold,
    /// No more of either than chance.
    Even,
    /// Nobody listened, or there is nothing to compare with.
    Unknown,
}

/// A rail beside the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Spot {
    /// The shop, numbered by the caller.
    pub shop: u32,
    /// The rail or shelf.
    pub zone: ZoneId,
    /// How many garments hung there at a time, at least: the mean of the hours that were listened to, else of the days.
    pub garments: u64,
    /// How long was listened while the shop was open, in hours: the mean of the readers.
    pub hours: f64,
    /// Pick-ups in hours of the week that were listened to; others are not compared.
    pub picked_up: u64,
    /// Pick-ups by the hours that garments hung there, at most: there may be garments that nobody touched.
    pub rate: Option<Rate>,
    /// Pick-ups by those that were expected.
    pub ratio: Option<Rate>,
    /// Standard deviations from what was expected.
    pub distance: f64,
    /// What is concluded.
    pub verdict: Verdict,
}

/// Rails beside each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spots {
    /// The rails, by shop and zone.
    pub all: Vec<Spot>,
    /// How many times as much as Poisson's the counts vary, at least 1; `None` when that is not known.
    pub dispersion: Option<f64>,
}

/// A rail that is being compared.
struct Case<'a> {
    key: (u32, ZoneId),
    rail: &'a Rail,
    watch: Watch,
    /// Hours listened, the mean of the readers.
    hours: f64,
    /// By category, garments by the hours in which they hung there, by hour of the week: the mean of the readers;
    shown: BTreeMap<u64, Box<Week<f64>>>,
    /// of all categories,
    shown_at: Box<Week<f64>>,
    /// and for each reader.
    by_reader: Vec<Week<f64>>,
    picked_up: u64,
    /// Whether others are not compared with it.
    is_aside: bool,
    /// Expected, and the least and the most of it.
    expected: [f64; 3],
}

impl Rails {
    /// Compares the rails of each shop. `category` tells the category of an article, `watch` who watched a rail.
    #[must_use]
    pub fn spots(&self, category: &dyn Fn(Article) -> u64, watch: &dyn Fn(u32, ZoneId) -> Watch) -> Spots {
        let mut cases: Vec<Case<'_>> =
            self.all.iter().map(|(key, rail)| Case::new(*key, rail, watch(key.0, key.1), category)).collect();
        let dispersion = chance::dispersion(&cases);
        for shop in cases.chunk_by_mut(|a, b| a.key.0 == b.key.0) {
            expect(shop, category);
        }
        let mut all = judge(&cases, dispersion);
        while set_aside(&mut cases, &all) {
            for shop in cases.chunk_by_mut(|a, b| a.key.0 == b.key.0) {
                expect(shop, category);
            }
            all = judge(&cases, dispersion);
        }
        Spots { all, dispersion }
    }
}

/// What is concluded of rails of which it is known what was expected.
fn judge(cases: &[Case<'_>], dispersion: Option<f64>) -> Vec<Spot> {
    let mut all: Vec<Spot> = cases.iter().map(|case| case.spot(dispersion)).collect();
    let judged: Vec<usize> = (0..all.len()).filter(|at| all[*at].verdict == Verdict::Even).collect();
    let chances: Vec<f64> = judged.iter().map(|at| cases[*at].chance(dispersion.unwrap_or(1.0))).collect();
    for (at, stands) in judged.iter().zip(rate::stand(&chances, BY_CHANCE)) {
        if stands {
            all[*at].verdict = if all[*at].distance > 0.0 { Verdict::Hot } else { Verdict::Cold };
        }
    }
    all
}

/// Sets the farthest rail of each shop aside that is called hot or cold and may be. Whether there was one.
fn set_aside(cases: &mut [Case<'_>], spots: &[Spot]) -> bool {
    let mut was_any = false;
    let mut begin = 0;
    for shop in cases.chunk_by_mut(|a, b| a.key.0 == b.key.0) {
        let spots = &spots[begin..begin + shop.len()];
        begin += shop.len();
        if (shop.iter().filter(|case| case.is_aside).count() + 1) * 3 > shop.len() {
            continue;
        }
        let own = own_rate(shop);
        let of = |case: &Case<'_>| case.by_rate(&own);
        let shares: Vec<_> = shop.iter().map(of).collect();
        let others = |at: usize, of: &Option<u64>| {
            let others = (0..).zip(&*shop).filter(|(other, case)| *other != at && !case.is_aside);
            others.filter(|(other, _): &(usize, _)| shares[*other].contains_key(of)).count()
        };
        let is_replaced = |at: usize| {
            let alone = shares[at].iter().filter(|(of, _)| others(at, of) < 2);
            alone.map(|(_, shown)| shown).sum::<f64>() <= ASTRAY * shares[at].values().sum::<f64>()
        };
        let farthest = (0..shop.len())
            .filter(|at| matches!(spots[*at].verdict, Verdict::Hot | Verdict::Cold) && !shop[*at].is_aside)
            .filter(|at| is_replaced(*at))
            .max_by(|a, b| spots[*a].distance.abs().total_cmp(&spots[*b].distance.abs()));
        if let Some(at) = farthest {
            (shop[at].is_aside, was_any) = (true, true);
        }
    }
    was_any
}

/// The categories of a shop that have a rate of their own: on enough rails that were listened to, of which two can be
/// compared with.
fn own_rate(rails: &[Case<'_>]) -> BTreeSet<u64> {
    let mut on_rails: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for case in rails {
        for (of, _) in case.shown.iter().filter(|(_, shown)| sum(shown) > 0.0) {
            let (all, compared) = on_rails.entry(*of).or_default();
            *all += 1;
            *compared += usize::from(!case.is_aside);
        }
    }
    let has_own = |(_, (all, compared)): &(u64, (usize, usize))| *all >= FEWEST_RAILS && *compared >= 2;
    on_rails.into_iter().filter(has_own).map(|(of, _)| of).collect()
}

fn sum(week: &Week<f64>) -> f64 {
    week.iter().sum()
}

impl<'a> Case<'a> {
    fn new(key: (u32, ZoneId), rail: &'a Rail, watch: Watch, category: &dyn Fn(Article) -> u64) -> Self {
        let days: BTreeSet<i32> =
            watch.readers.iter().flat_map(|reader| reader.days()).map(|(day, ..)| day).collect();
        let days: Vec<i32> = days.into_iter().collect();
        // How many garments more than on the day before there are on each day, and from that how many there are.
        let mut garments: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for hung in rail.garments.values() {
            let of =
                garments.entry(category(hung.article)).or_insert_with(|| alloc::vec![0.0; days.len() + 1]);
            of[days.partition_point(|day| *day < hung.first)] += 1.0;
            of[days.partition_point(|day| *day <= hung.last)] -= 1.0;
        }
        for of in garments.values_mut() {
            let mut hanging = 0.0;
            for more in of {
                hanging += *more;
                *more = hanging;
            }
        }
        let readers = watch.readers.len().max(1) as f64;
        let mut shown: BTreeMap<u64, Box<Week<f64>>> =
            garments.keys().map(|of| (*of, Box::new([0.0; WEEK]))).collect();
        let mut by_reader: Vec<Week<f64>> = Vec::new();
        let mut shown_at = Box::new([0.0; WEEK]);
        for reader in &watch.readers {
            let mut own = [0.0; WEEK];
            for (day, at, hours) in reader.days() {
                let day = days.partition_point(|known| *known < day);
                for ((_, garments), shown) in garments.iter().zip(shown.values_mut()) {
                    for (clock, hours) in hours.iter().enumerate() {
                        shown[at + clock] += garments[day] * hours / readers;
                        shown_at[at + clock] += garments[day] * hours / readers;
                        own[at + clock] += garments[day] * hours;
                    }
                }
            }
            by_reader.push(own);
        }
        let hours =
            watch.readers.iter().flat_map(|reader| reader.by_day()).map(|(_, hours)| hours).sum::<f64>()
                / readers;
        let picked_up = if hours > 0.0 { rail.by_hour.iter().map(|n| u64::from(*n)).sum() } else { 0 };
        let (is_aside, expected) = (false, [0.0; 3]);
        Self { key, rail, watch, hours, shown, shown_at, by_reader, picked_up, is_aside, expected }
    }

    /// How much was shown of what has a rate of its own, and of all else.
    fn by_rate(&self, own: &BTreeSet<u64>) -> BTreeMap<Option<u64>, f64> {
        let mut sums = BTreeMap::new();
        for (of, shown) in self.shown.iter().map(|(of, shown)| (of, sum(shown))).filter(|(_, n)| *n > 0.0) {
            *sums.entry(Some(*of).filter(|of| own.contains(of))).or_insert(0.0) += shown;
        }
        sums
    }

    /// How many garments hung there at a time.
    fn garments(&self) -> f64 {
        if self.hours > 0.0 {
            return sum(&self.shown_at) / self.hours;
        }
        let hung = || self.rail.garments.values();
        let first = hung().map(|hung| hung.first).min().unwrap_or(0);
        let last = hung().map(|hung| hung.last).max().unwrap_or(0);
        let days = |first: i32, last: i32| f64::from(last - first) + 1.0;
        hung().map(|hung| days(hung.first, hung.last)).sum::<f64>() / days(first, last)
    }

    fn spot(&self, dispersion: Option<f64>) -> Spot {
        let wide = dispersion.unwrap_or(1.0);
        let [expected, ..] = self.expected;
        let is_known = dispersion.is_some() && expected > 0.0;
        Spot {
            shop: self.key.0,
            zone: self.key.1,
            // Neither negative nor too many to be counted.
            garments: libm::round(self.garments()) as u64,
            hours: self.hours,
            picked_up: self.picked_up,
            rate: Rate::of(self.picked_up, sum(&self.shown_at), dispersion),
            ratio: Rate::of(self.picked_up, expected, dispersion),
            distance: rate::distance(self.picked_up as f64, expected, wide),
            verdict: if is_known { Verdict::Even } else { Verdict::Unknown },
        }
    }

    /// How likely chance alone goes so far, whichever of the readers watched the rail.
    fn chance(&self, dispersion: f64) -> f64 {
        let observed = self.picked_up as f64;
        let [expected, least, most] = self.expected;
        let z = if observed > expected {
            rate::distance(observed, most, dispersion).max(0.0)
        } else {
            rate::distance(observed, least, dispersion).min(0.0)
        };
        rate::chance(z)
    }
}

/// Writes down what the rails of a shop were to expect.
fn expect(rails: &mut [Case<'_>], category: &dyn Fn(Article) -> u64) {
    if rails.iter().filter(|case| case.hours > 0.0).count() < FEWEST_RAILS {
        return;
    }
    let own = own_rate(rails);
    let own = |of: u64| Some(of).filter(|of| own.contains(of));
    let mut busy = [0.0; WEEK];
    for (hour, busy) in busy.iter_mut().enumerate() {
        let compared = rails.iter().filter(|case| !case.is_aside && case.shown_at[hour] > 0.0);
        let (count, by) = compared.fold((0.0, 0.0), |(count, by), case| {
            (count + f64::from(case.rail.by_hour[hour]), by + case.shown_at[hour])
        });
        *busy = if by > 0.0 { count / by } else { 0.0 };
    }
    let exposure = |shown: &Week<f64>| -> f64 { shown.iter().zip(&busy).map(|(s, b)| s * b).sum() };
    // Of each category its pick-ups, and by what they are measured.
    let mut rates: BTreeMap<Option<u64>, (f64, f64)> = BTreeMap::new();
    for case in rails.iter().filter(|case| !case.is_aside && case.hours > 0.0) {
        for (article, picked_up) in &case.rail.by_article {
            rates.entry(own(category(*article))).or_default().0 += f64::from(*picked_up);
        }
        for (of, shown) in &case.shown {
            rates.entry(own(*of)).or_default().1 += exposure(shown);
        }
    }
    // What hangs on no rail that can be compared with draws as many hands as garments on average do.
    let rate = |of: u64| match rates.get(&own(of)) {
        Some((count, by)) if *by > 0.0 => count / by,
        _ => 1.0,
    };
    for case in &mut *rails {
        let drawn: f64 = case.shown.iter().map(|(of, shown)| exposure(shown) * rate(*of)).sum();
        let all = exposure(&case.shown_at);
        let each = case.by_reader.iter().map(|own| if all > 0.0 { drawn * exposure(own) / all } else { 0.0 });
        let (least, most) = each.fold((f64::INFINITY, 0.0), |(least, most), e| (e.min(least), e.max(most)));
        case.expected = [drawn, least.min(most), most];
    }
    let sum_of =
        |of: &dyn Fn(&Case<'_>) -> f64| rails.iter().filter(|case| !case.is_aside).map(of).sum::<f64>();
    let (observed, expected) = (sum_of(&|case| case.picked_up as f64), sum_of(&|case| case.expected[0]));
    let scale = if expected > 0.0 { observed / expected } else { 0.0 };
    rails.iter_mut().flat_map(|case| &mut case.expected).for_each(|expected| *expected *= scale);
}

impl Spots {
    /// Of those that are hot or cold the one that is farthest from what was expected, of those that matter: which draw
    /// [`LEAST`] times that or more, or go so many times below it.
    #[must_use]
    pub fn most(&self, verdict: Verdict) -> Option<&Spot> {
        let matters = |ratio: &Rate| ratio.value >= LEAST || ratio.value * LEAST <= 1.0;
        let of = self
            .all
            .iter()
            .filter(|spot| spot.verdict == verdict && spot.ratio.as_ref().is_some_and(matters));
        of.max_by(|a, b| a.distance.abs().total_cmp(&b.distance.abs()))
    }

    /// In how many shops a rail was compared.
    #[must_use]
    pub fn shops(&self) -> usize {
        let compared = self.all.iter().filter(|spot| spot.verdict != Verdict::Unknown);
        compared.map(|spot| spot.shop).collect::<BTreeSet<_>>().len()
    }
}

mod chance;
#[cfg(test)]
mod tests;
