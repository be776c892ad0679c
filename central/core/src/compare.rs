//! What visits compared: sizes of a style, and styles. Enters: the days of one shop and one week. Leaves: how often, told
//! so that nothing can be learnt of fewer than [`FEWEST`] visits by asking twice.
//!
//! Counts that break visits down by what shoppers did are withheld when they are small. That alone is no help when one can
//! ask for any days and any goods: what two answers differ in tells of the visits in which the questions differ. So there
//! is one question only for each shop and week, Monday to Sunday, about all goods. What tells of few visits is left out
//! there, before anything is added up; the answer for several weeks or shops is the sum of what is told of each. Whatever
//! is subtracted from whatever, what is left is made of numbers that are told anyway.
//!
//! A week is told of when it is over: while it grows, every visit could be seen to come.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hangtag_protocol::epc::Gtin;

use crate::day::{Day, Item};
use crate::handled::{Article, Map};
use crate::lost::Hunt;
use crate::measures::Share;
use crate::period::Place;

/// Fewer visits than these are not told of, where visits are broken down by what shoppers did.
pub const FEWEST: u64 = 5;

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
    /// How many weeks of shops something is told of.
    pub weeks: u64,
    /// Visits by what they compared; `None` where no week can be told of.
    pub shapes: Shapes<Option<u64>>,
    /// Per style, where that can be told.
    pub styles: BTreeMap<u64, Style>,
    /// Per style, the sizes that were looked for and not there, where that can be told.
    pub lost: BTreeMap<u64, Lost>,
    pairs: BTreeMap<(u64, u64), Together>,
}

/// Of the weeks in which a pair is told of, the visits with both, with the first, with the second, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Together {
    both: u64,
    first: u64,
    second: u64,
    all: u64,
}

/// Two styles that were tried in the same visits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The style after which one may look for the other,
    pub first: u64,
    /// and the other.
    pub second: u64,
    /// Visits in which both were tried, in the weeks of which that is told.
    pub both: u64,
    /// Their share of all visits in which anything was tried.
    pub support: Share,
    /// Of the visits with the first, the share with the second.
    pub confidence: Share,
    /// How many times as often as if one had nothing to do with the other.
    pub lift: f64,
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
    pub fn told(&self) -> Told {
        if self.visits < FEWEST {
            return Told::default();
        }
        let visits = |style: u64| self.styles.get(&style).map_or(0, |style| style.visits);
        let together = |(&(a, b), &both): (&(u64, u64), &u64)| {
            ((a, b), Together { both, first: visits(a), second: visits(b), all: self.visits })
        };
        // Those with one style and without the other are a part of what is told as well.
        let pair_is_told =
            |of: &Together| of.both >= FEWEST && !few(of.first - of.both) && !few(of.second - of.both);
        let is_told = |of: &Style| !few(of.hunts) && !few(of.visits - of.hunts);
        Told {
            weeks: 1,
            shapes: withhold(self.shapes),
            styles: self
                .styles
                .iter()
                .filter(|(_, of)| is_told(of))
                .map(|(style, of)| (*style, *of))
                .collect(),
            lost: self.lost.iter().filter_map(|(style, of)| Some((*style, self.lost(*style, of)?))).collect(),
            pairs: self.pairs.iter().map(together).filter(|(_, of)| pair_is_told(of)).collect(),
        }
    }

    /// What may be told of the sizes of a style that were lost: neither those that lost one, nor the others, nor those of
    /// which it is not known may be few.
    fn lost(&self, style: u64, of: &Lost) -> Option<Lost> {
        let hunts = self.styles.get(&style)?.hunts;
        let is_told = |lost: u64| !few(lost) && !few(of.known - lost);
        let by_size =
            of.by_size.iter().filter(|(_, lost)| is_told(**lost)).map(|(size, lost)| (*size, *lost));
        (of.known >= FEWEST && is_told(of.lost) && !few(hunts - of.known))
            .then(|| Lost { by_size: by_size.collect(), ..*of })
    }
}

impl core::ops::AddAssign for Told {
    fn add_assign(&mut self, other: Self) {
        self.weeks += other.weeks;
        for (sum, of) in self.shapes.iter_mut().zip(other.shapes) {
            *sum = if sum.is_none() { of } else { sum.map(|sum| sum + of.unwrap_or(0)) };
        }
        for (style, of) in other.styles {
            let sum = self.styles.entry(style).or_default();
            (sum.visits, sum.hunts) = (sum.visits + of.visits, sum.hunts + of.hunts);
        }
        for (style, of) in other.lost {
            let sum = self.lost.entry(style).or_default();
            (sum.known, sum.lost) = (sum.known + of.known, sum.lost + of.lost);
            of.by_size.into_iter().for_each(|(size, lost)| *sum.by_size.entry(size).or_default() += lost);
        }
        for (pair, of) in other.pairs {
            let sum = self.pairs.entry(pair).or_default();
            sum.both += of.both;
            sum.first += of.first;
            sum.second += of.second;
            sum.all += of.all;
        }
    }
}

impl Told {
    /// Pairs of styles that were tried together, the strongest first. Each pair is there once, with the style of fewer
    /// visits first: its confidence is the larger one.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let pair = |(&(a, b), of): (&(u64, u64), &Together)| {
            let (first, second, visits) =
                if of.first <= of.second { (a, b, of.first) } else { (b, a, of.second) };
            let expected = of.first as f64 * of.second as f64 / of.all as f64;
            Some(Pair {
                first,
                second,
                both: of.both,
                support: Share::of(of.both, of.all)?,
                confidence: Share::of(of.both, visits)?,
                lift: of.both as f64 / expected,
            })
        };
        let mut pairs: Vec<Pair> = self.pairs.iter().filter_map(pair).collect();
        pairs.sort_by(|a, b| {
            b.lift
                .total_cmp(&a.lift)
                .then(b.both.cmp(&a.both))
                .then((a.first, a.second).cmp(&(b.first, b.second)))
        });
        pairs
    }
}

/// Whether a number tells of few visits.
fn few(n: u64) -> bool {
    (1..FEWEST).contains(&n)
}

/// Withholds numbers that tell of few, and if that is one, the smallest of the others that is not 0: all add up to a
/// number that is told.
fn withhold<const N: usize>(numbers: [u64; N]) -> [Option<u64>; N] {
    let mut told = numbers.map(|n| (!few(n)).then_some(n));
    if told.iter().filter(|n| n.is_none()).count() == 1
        && let Some(next) = told.iter_mut().filter(|n| n.is_some_and(|n| n > 0)).min_by_key(|n| **n)
    {
        *next = None;
    }
    told
}

#[cfg(test)]
mod tests;
