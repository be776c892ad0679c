//! Weeks that are written down, and somebody who asks twice.

use alloc::vec;

use hangtag_protocol::epc::Gtin;
use proptest::prelude::*;

use crate::day::{Outcome, Sold, Stay};

use super::*;

/// Two sizes of style 0, one of style 1, one of style 2.
const GTINS: [u64; 4] = [80_614_141_123_458, 4_006_381_333_931, 9_780_306_406_157, 36_000_291_452];

fn place(article: Article) -> Place {
    let Article::Product(gtin) = article else { return Place { style: 9, size: None } };
    let n = GTINS.iter().position(|number| *number == gtin.number()).unwrap();
    let (style, size) = [(0, Some(0)), (0, Some(1)), (1, Some(0)), (2, None)][n];
    Place { style, size }
}

/// A day with a visit for each list of articles that were tried in it.
fn day<'a>(visits: impl IntoIterator<Item = &'a [usize]>) -> Day {
    let product = |number: &u64| Article::Product(Gtin::from_number(*number).unwrap());
    let mut day = Day { articles: GTINS.iter().map(product).collect(), ..Day::default() };
    for tried in visits {
        let (first, items) = (day.items.len() as u32, tried.len() as u32);
        day.stays.push(Stay { hour: 12, zone: 0, first, items, dwell_ds: None });
        day.items.extend(tried.iter().map(|article| Item {
            article: *article as u32,
            tried: true,
            outcome: Outcome::Back,
            sold: Sold::No,
        }));
    }
    day
}

fn week(visits: &[&[usize]]) -> Week {
    let mut week = Week::default();
    week.add(&day(visits.iter().copied()), &place, &|_, _| Hunt::Unknown);
    week
}

fn times(n: usize, visit: &[usize]) -> Vec<&[usize]> {
    vec![visit; n]
}

#[test]
fn visits_are_told_apart_by_what_was_compared() {
    let mut visits = [times(5, &[0]), times(6, &[0, 1]), times(7, &[0, 2]), times(8, &[0, 1, 2])].concat();
    visits.extend([&[3][..], &[3, 3], &[]]);
    let told = week(&visits).told();
    assert_eq!(told.shapes, [Some(7), Some(6), Some(7), Some(8)], "one without a try-on is none");
    assert_eq!(told.styles[&0], Style { visits: 26, hunts: 14 });
    assert_eq!(told.styles.get(&2), None, "two visits");
    let mut sizes = week(&times(5, &[3, 3])).told();
    assert_eq!(sizes.styles[&2], Style { visits: 5, hunts: 0 }, "of unknown sizes nothing is said");
    sizes += told;
    assert_eq!((sizes.weeks, sizes.shapes[0]), (2, Some(12)));
}

#[test]
fn pairs_are_counted_by_visits_and_compared_with_chance() {
    // 20 visits: style 0 in 12, style 1 in 11, both in 6.
    let visits = [times(6, &[0, 2]), times(6, &[0]), times(5, &[2]), times(3, &[3])].concat();
    let pairs = week(&visits).told().pairs();
    let [pair] = pairs[..] else { panic!("{pairs:?}") };
    assert_eq!((pair.first, pair.second, pair.both), (1, 0, 6));
    assert_eq!((pair.support.part, pair.support.whole), (6, 20));
    assert_eq!((pair.confidence.part, pair.confidence.whole), (6, 11));
    assert!((pair.lift - 6.0 * 20.0 / (12.0 * 11.0)).abs() < 1e-12, "{pair:?}");
}

#[test]
fn what_tells_of_few_visits_is_withheld_and_cannot_be_computed() {
    assert_eq!(withhold([5, 6, 7, 0]), [Some(5), Some(6), Some(7), Some(0)]);
    assert_eq!(withhold([100, 3, 20, 0]), [Some(100), None, None, Some(0)]);
    assert_eq!(withhold([2, 3, 20, 0]), [None, None, Some(20), Some(0)]);
    assert_eq!(week(&times(4, &[0, 1])).told(), Told::default());
    let all_but_one = [times(9, &[0, 1]), times(1, &[0])].concat();
    assert!(week(&all_but_one).told().styles.is_empty(), "the one that did not would be known");
}

#[test]
fn sizes_that_were_lost_are_told_of_what_is_known() {
    let hunts = |known: usize, lost: usize, unknown: usize| {
        let visits =
            [times(lost, &[0, 1]), times(known - lost, &[0, 1, 1]), times(unknown, &[0, 0, 1, 1])].concat();
        let mut week = Week::default();
        week.add(&day(visits), &place, &|hour, tried| match (hour, tried.len()) {
            (12, 2) => Hunt::Known([3].into()),
            (12, 3) => Hunt::Known([].into()),
            _ => Hunt::Unknown,
        });
        week.told().lost.get(&0).map(|lost| (lost.known, lost.lost, lost.by_size.get(&3).copied()))
    };
    assert_eq!(hunts(15, 6, 5), Some((15, 6, Some(6))));
    assert_eq!(hunts(15, 0, 0), Some((15, 0, None)));
    for (known, lost, unknown) in [(15, 4, 5), (15, 11, 5), (15, 6, 1), (4, 0, 10)] {
        assert_eq!(hunts(known, lost, unknown), None, "{known} {lost} {unknown}");
    }
}

/// All numbers about visits that an answer has, in an order that is the same for every answer.
fn numbers(told: &Told) -> BTreeMap<(u8, u64, u64), i128> {
    let mut all = BTreeMap::new();
    for (at, of) in (0..).zip(told.shapes) {
        all.insert((0, at, 0), i128::from(of.unwrap_or(0)));
    }
    for (style, of) in &told.styles {
        all.insert((1, *style, 0), i128::from(of.visits));
        all.insert((1, *style, 1), i128::from(of.hunts));
    }
    for (style, of) in &told.lost {
        let by_size = of.by_size.get(&7).copied().unwrap_or(0);
        for (at, of) in [of.known, of.lost, of.known - of.lost, by_size].into_iter().enumerate() {
            all.insert((6 + at as u8, *style, 0), i128::from(of));
        }
    }
    for ((a, b), of) in &told.pairs {
        for (at, of) in [of.both, of.first - of.both, of.second - of.both].into_iter().enumerate() {
            all.insert((2 + at as u8, *a, *b), i128::from(of));
        }
    }
    all
}

/// What two answers differ in.
fn difference(a: &Told, b: &Told) -> Vec<i128> {
    let (a, b) = (numbers(a), numbers(b));
    let keys: alloc::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    keys.into_iter().map(|key| a.get(key).unwrap_or(&0) - b.get(key).unwrap_or(&0)).collect()
}

/// Every visit that hunted with another garment lost size 7; of those with three garments it is not known.
fn odd(_: u8, tried: &[Gtin]) -> Hunt {
    match tried.len() {
        3 => Hunt::Unknown,
        n => Hunt::Known((n == 4).then_some(7).into_iter().collect()),
    }
}

/// What would be told of any days if only small numbers were withheld.
fn of_any_days(days: &[Vec<Vec<usize>>]) -> Told {
    let mut week = Week::default();
    days.iter().for_each(|visits| week.add(&day(visits.iter().map(Vec::as_slice)), &place, &odd));
    week.told()
}

#[test]
fn of_any_days_two_questions_would_tell_of_one_visit() {
    let many: Vec<Vec<usize>> = vec![vec![0, 1]; 20];
    let (with, without) = (of_any_days(&[many.clone(), vec![vec![0, 1]]]), of_any_days(&[many]));
    assert!(difference(&with, &without).contains(&1), "which is why there are weeks");
}

proptest! {
    /// Whoever asks for these weeks and those of shops, and subtracts, never gets at fewer than five visits.
    #[test]
    fn no_two_questions_about_weeks_tell_of_few_visits(
        weeks in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(0usize..4, 0..4), 0..40), 1..6),
        asked in prop::collection::vec(any::<bool>(), 6),
    ) {
        let told: Vec<Told> = weeks.iter().map(|visits| of_any_days(core::slice::from_ref(visits))).collect();
        let sum = |all: &dyn Fn(usize) -> bool| {
            let mut sum = Told::default();
            (0..told.len()).filter(|at| all(*at)).for_each(|at| sum += told[at].clone());
            sum
        };
        let (every, some) = (sum(&|_| true), sum(&|at| asked[at]));
        for left in difference(&every, &some) {
            prop_assert!(left == 0 || left >= i128::from(FEWEST), "{left} visits");
        }
    }
}
