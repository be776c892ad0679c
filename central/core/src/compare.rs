//! What visits compared: sizes of a style, and styles. Enters: the days of one shop and one week. Leaves: how often, told
//! so that nobody who visited can be found, however often one asks.
//!
//! Withholding small counts is no help when one can ask for any days and any goods: what two answers differ in tells of
//! the visits in which the questions differ, and which counts are withheld depends on what is counted, so that what is left
//! is larger than the truth. So there is one question only for each shop and week, Monday to Sunday, about all goods; and
//! each number of its answer is [rounded at random](crate::rounding) before anything is added up. The answer for several
//! weeks or shops is the sum of what is told of each. Whatever is subtracted from whatever, what is left is a multiple of
//! five, and on average it is the truth.
//!
//! Each number is rounded once, and what contains it is the sum of its parts: were the visits with a style rounded again
//! beside every other style, one could take the mean. Only the visits to a shop in a week are exact, which are no secret.
//!
//! A week is told of when it is over: while it grows, every visit could be seen to come.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::epc::Gtin;

use crate::day::{Day, Item};
use crate::handled::{Article, Map};
use crate::lost::Hunt;
use crate::measures::Share;
use crate::period::Place;
use crate::rate::{chance, stand};
use crate::rounding::{self, Rounding, share, variance};

/// Of a shop and week with fewer visits than these nothing is told.
pub const FEWEST: u64 = 5;
/// Pairs with fewer visits than these are not shown: of so few nothing can be said.
pub const SHOWN: u64 = 20;
/// Of the pairs that are said to be more or less than chance, this share may be chance.
const MISTAKEN: f64 = 0.05;

/// Visits by whether they compared sizes, and styles: one style in one size, one style in several sizes, several styles
/// in one size each, several styles and of one at least several sizes.
pub type Shapes<T> = [T; 4];

/// How often a style was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Visits in which it was tried,
    pub visits: u64,
    /// and those in which it was tried in two sizes or more.
    pub hunts: u64,
}

/// Of the visits that compared sizes of a style, what is known of the sizes beside those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Visits of which it is known,
    pub known: u64,
    /// and those of them that lost a size.
    pub lost: u64,
    /// By the size that they lost, where that is told.
    pub by_size: BTreeMap<u32, u64>,
}

/// What visits to one shop compared in one week.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Week {
    /// Visits in which something was tried on.
    visits: u64,
    shapes: Shapes<u64>,
    styles: Map<u64, Style>,
    /// Pairs of styles, the smaller number first, by the visits in which both were tried.
    pairs: Map<(u64, u64), u64>,
    lost: Map<u64, Lost>,
}

/// What may be told of a week, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// All visits of each week of a shop that something is told of.
    weeks: Vec<u64>,
    /// Visits by what they compared.
    pub shapes: Shapes<u64>,
    /// Per style.
    styles: BTreeMap<u64, Style>,
    /// Per style, the sizes that were looked for and not there.
    lost: BTreeMap<u64, Lost>,
    pairs: BTreeMap<(u64, u64), u64>,
    /// The visits with each style, by the position of their week.
    by_week: BTreeMap<u64, Vec<(usize, u64)>>,
}

/// How styles and sizes are called, whatever numbers they have: what is counted is to be known again after a change of the
/// catalogue.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The name of a style,
    pub style: &'a dyn Fn(u64) -> String,
    /// and of a size.
    pub size: &'a dyn Fn(u32) -> String,
}

/// Whether two styles have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bond {
    /// They are tried together more often than by chance,
    More,
    /// as often, as far as can be told,
    Even,
    /// or less often.
    Less,
}

/// Two styles that were tried in the same visits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The style after which one may look for the other,
    pub first: u64,
    /// and the other.
    pub second: u64,
    /// Visits in which both were tried.
    pub both: u64,
    /// Their share of all visits in which anything was tried.
    pub support: Share,
    /// Of the visits with the first, the share with the second.
    pub confidence: Share,
    /// How many times as often as if one had nothing to do with the other in the same shop and week.
    pub lift: f64,
    /// Whether that is more than chance, among all pairs.
    pub bond: Bond,
}

/// In how many visits a pair is to be expected by chance.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    visits: f64,
    /// How far what is told may be from it by chance and by rounding, as a variance.
    variance: f64,
}

impl Week {
    /// Adds a day. `place` tells what an article is, `hunt` what is known of a visit that began in this hour of the day and
    /// tried these products of a style in two sizes or more.
    pub fn add(&mut self, day: &Day, place: &dyn Fn(Article) -> Place, hunt: &dyn Fn(u8, &[Gtin]) -> Hunt) {
        let places: Vec<Place> = day.articles.iter().map(|article| place(*article)).collect();
        for stay in &day.stays {
            let (first, items) = (stay.first as usize, stay.items as usize);
            let items = &day.items[first..first + items];
            for style in self.add_visit(items, &places) {
                let tried =
                    items.iter().filter(|item| item.tried && places[item.article as usize].style == style);
                let products = tried.filter_map(|item| match day.articles[item.article as usize] {
                    Article::Product(gtin) => Some(gtin),
                    Article::Unknown => None,
                });
                if let Hunt::Known(sizes) = hunt(stay.hour, &products.collect::<Vec<_>>()) {
                    let of = self.lost.entry(style).or_default();
                    of.known += 1;
                    of.lost += u64::from(!sizes.is_empty());
                    sizes.into_iter().for_each(|size| *of.by_size.entry(size).or_default() += 1);
                }
            }
        }
    }

    /// Adds a visit; the styles that it tried in two sizes or more.
    fn add_visit(&mut self, items: &[Item], places: &[Place]) -> Vec<u64> {
        let tried = items.iter().filter(|item| item.tried).map(|item| places[item.article as usize]);
        let mut tried: Vec<(u64, Option<u32>)> = tried.map(|place| (place.style, place.size)).collect();
        if tried.is_empty() {
            return Vec::new();
        }
        tried.sort_unstable();
        tried.dedup();
        let mut styles: Vec<(u64, usize)> = Vec::new();
        for (style, size) in tried {
            let known = usize::from(size.is_some());
            match styles.last_mut() {
                Some((last, sizes)) if *last == style => *sizes += known,
                _ => styles.push((style, known)),
            }
        }
        self.visits += 1;
        let hunts = styles.iter().any(|(_, sizes)| *sizes > 1);
        self.shapes[usize::from(styles.len() > 1) * 2 + usize::from(hunts)] += 1;
        for (at, (style, sizes)) in styles.iter().enumerate() {
            let of = self.styles.entry(*style).or_default();
            of.visits += 1;
            of.hunts += u64::from(*sizes > 1);
            for (other, _) in &styles[at + 1..] {
                *self.pairs.entry((*style, *other)).or_default() += 1;
            }
        }
        styles.into_iter().filter(|(_, sizes)| *sizes > 1).map(|(style, _)| style).collect()
    }

    /// What may be told of it.
    #[must_use]
    pub fn told(&self, rounding: &Rounding, names: Names<'_>) -> Told {
        if self.visits < FEWEST {
            return Told::default();
        }
        let name: BTreeMap<u64, String> =
            self.styles.keys().map(|style| (*style, (names.style)(*style))).collect();
        let mut told = Told { weeks: alloc::vec![self.visits], ..Told::default() };
        for ((sum, of), shape) in told.shapes.iter_mut().zip(self.shapes).zip(["1", "2", "3", "4"]) {
            *sum = rounding.round(of, &["shape", shape]);
        }
        for (style, of) in &self.styles {
            let hunts = rounding.round(of.hunts, &["hunts", &name[style]]);
            let visits = hunts + rounding.round(of.visits - of.hunts, &["one size", &name[style]]);
            if visits > 0 {
                told.styles.insert(*style, Style { visits, hunts });
                told.by_week.insert(*style, alloc::vec![(0, visits)]);
            }
        }
        for ((a, b), both) in &self.pairs {
            // Their numbers are in another order after a change of the catalogue.
            let (one, other) = ((&name[a]).min(&name[b]), (&name[a]).max(&name[b]));
            let both = rounding.round(*both, &["pair", one, other]);
            if both > 0 {
                told.pairs.insert((*a, *b), both);
            }
        }
        for (style, of) in &self.lost {
            let lost = rounding.round(of.lost, &["lost", &name[style]]);
            let known = lost + rounding.round(of.known - of.lost, &["not lost", &name[style]]);
            let size = |(size, visits): (&u32, &u64)| {
                (*size, rounding.round(*visits, &["size lost", &name[style], &(names.size)(*size)]))
            };
            let by_size: BTreeMap<u32, u64> =
                of.by_size.iter().map(size).filter(|(_, visits)| *visits > 0).collect();
            if known > 0 || !by_size.is_empty() {
                told.lost.insert(*style, Lost { known, lost, by_size });
            }
        }
        told
    }
}

impl core::ops::AddAssign for Told {
    fn add_assign(&mut self, other: Self) {
        let before = self.weeks.len();
        self.weeks.extend(other.weeks);
        for (sum, of) in self.shapes.iter_mut().zip(other.shapes) {
            *sum += of;
        }
        for (style, of) in other.styles {
            let sum = self.styles.entry(style).or_default();
            (sum.visits, sum.hunts) = (sum.visits + of.visits, sum.hunts + of.hunts);
        }
        for (style, of) in other.lost {
            *self.lost.entry(style).or_default() += of;
        }
        for (pair, both) in other.pairs {
            *self.pairs.entry(pair).or_default() += both;
        }
        for (style, of) in other.by_week {
            let weeks = of.into_iter().map(|(week, visits)| (before + week, visits));
            self.by_week.entry(style).or_default().extend(weeks);
        }
    }
}

impl core::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        (self.known, self.lost) = (self.known + other.known, self.lost + other.lost);
        other.by_size.into_iter().for_each(|(size, lost)| *self.by_size.entry(size).or_default() += lost);
    }
}

impl Told {
    /// Of how many weeks of shops something is told.
    #[must_use]
    pub fn weeks(&self) -> u64 {
        self.weeks.len() as u64
    }

    /// Of the visits in which a style was tried, the share in which two sizes or more of it were; `None` where nothing is
    /// told of it.
    #[must_use]
    pub fn hunts(&self, style: u64) -> Option<Share> {
        let of = self.styles.get(&style)?;
        share(of.hunts, of.visits, self.weeks())
    }

    /// What these styles lost, added up: a visit that compared sizes of two of them is there twice.
    #[must_use]
    pub fn lost(&self, is_wanted: &dyn Fn(u64) -> bool) -> Lost {
        let mut sum = Lost::default();
        self.lost.iter().filter(|(style, _)| is_wanted(**style)).for_each(|(_, of)| sum += of.clone());
        sum
    }

    /// Of the visits that compared sizes of a style, the share that lost one; `None` where that is not known.
    #[must_use]
    pub fn lost_share(&self, style: u64) -> Option<Share> {
        let of = self.lost.get(&style)?;
        share(of.lost, of.known, self.weeks())
    }

    /// Pairs of styles that were tried together in [`SHOWN`] visits or more: those first that are tried together more
    /// often than by chance, the strongest of them before the others. Each pair is there once, with the style of fewer
    /// visits first: its confidence is the larger one.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let (all, weeks) = (self.weeks.iter().sum::<u64>(), self.weeks());
        let mut chances = Vec::new();
        let pair = |(&(a, b), &both): (&(u64, u64), &u64)| {
            let visits = |style: u64| self.styles.get(&style).map_or(0, |style| style.visits);
            let (first, second) = if visits(a) <= visits(b) { (a, b) } else { (b, a) };
            let expected = self.expected(a, b);
            let more = both as f64 - expected.visits;
            chances.push(chance(more / libm::sqrt(expected.variance + variance(both, weeks))));
            Some(Pair {
                first,
                second,
                both,
                support: share(both, all, weeks)?,
                confidence: share(both, visits(first), weeks)?,
                lift: both as f64 / expected.visits,
                bond: if more > 0.0 { Bond::More } else { Bond::Less },
            })
        };
        let shown = self.pairs.iter().filter(|((a, b), both)| {
            // Rounded to nothing, a style cannot be compared with anything.
            **both >= SHOWN && self.expected(*a, *b).visits > 0.0
        });
        let mut pairs: Vec<Pair> = shown.filter_map(pair).collect();
        for (pair, stands) in pairs.iter_mut().zip(stand(&chances, MISTAKEN)) {
            if !stands {
                pair.bond = Bond::Even;
            }
        }
        pairs.sort_by(|a, b| {
            a.bond
                .cmp(&b.bond)
                .then(b.lift.total_cmp(&a.lift))
                .then(b.both.cmp(&a.both))
                .then((a.first, a.second).cmp(&(b.first, b.second)))
        });
        pairs
    }

    /// In how many visits these styles are both to be expected if, in each shop and week, one has nothing to do with the
    /// other. Shops and weeks differ in what they have: styles that hang in the same shops are not related by that.
    fn expected(&self, a: u64, b: u64) -> Expected {
        let of = |style: u64| self.by_week.get(&style).map_or(&[][..], Vec::as_slice);
        let (mut ours, mut theirs) = (of(a).iter().peekable(), of(b).iter().peekable());
        let mut sum = Expected::default();
        while let (Some((week, a)), Some((other, b))) = (ours.peek(), theirs.peek()) {
            if week == other {
                let all = self.weeks[*week] as f64;
                let (a, b) = (*a as f64 / all, *b as f64 / all);
                sum.visits += a * b * all;
                sum.variance += a * b * (1.0 - a).max(0.0) * (1.0 - b).max(0.0) * all;
                // Each style's visits are two rounded numbers.
                sum.variance += 2.0 * rounding::VARIANCE as f64 * (a * a + b * b);
            }
            let (next, after) = (week <= other, other <= week);
            if next {
                ours.next();
            }
            if after {
                theirs.next();
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests;
