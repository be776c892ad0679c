//! Weeks that are written down, and somebody who asks twice.

use alloc::format;
use alloc::vec;

use hangtag_protocol::epc::Gtin;
use proptest::prelude::*;

use crate::day::{Outcome, Sold, Stay};
use crate::rounding::{BASE, Secret};

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

/// What is told of a week by some secret.
fn by(secret: u64, week: &Week) -> Told {
    numbered(secret, 2_400, week)
}

fn numbered(secret: u64, number: i32, week: &Week) -> Told {
    let names = Names { style: &|style| format!("S{style}"), size: &|size| format!("{size}") };
    let secret =
        Secret::new(u128::from(secret).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes());
    week.told(&secret.of("paris-1", number), names)
}

#[test]
fn visits_are_told_apart_by_what_was_compared() {
    let mut visits = [times(5, &[0]), times(10, &[0, 1]), times(15, &[0, 2]), times(20, &[0, 1, 2])].concat();
    visits.extend([&[][..]; 3]);
    let told = by(1, &week(&visits));
    assert_eq!(told.shapes, [5, 10, 15, 20], "one without a try-on is none");
    assert_eq!(told.styles[&0], Style { visits: 50, hunts: 30 });
    let mut sizes = by(1, &week(&times(5, &[3, 3])));
    assert_eq!(sizes.styles[&2], Style { visits: 5, hunts: 0 }, "of unknown sizes nothing is said");
    sizes += told;
    assert_eq!((sizes.weeks(), sizes.shapes[0]), (2, 10));
    assert_eq!(sizes.hunts(0).map(|share| (share.part, share.whole)), Some((30, 50)));
    assert_eq!(sizes.hunts(7), None);
    assert_eq!(by(1, &week(&times(4, &[0, 1]))), Told::default(), "of so few visits nothing");
}

#[test]
fn pairs_are_counted_by_visits_and_compared_with_chance() {
    // 100 visits: style 0 in 60, style 1 in 50, both in 35.
    let visits = [times(35, &[0, 2]), times(25, &[0]), times(15, &[2]), times(25, &[3])].concat();
    let told = by(1, &week(&visits));
    let [pair] = told.pairs()[..] else { panic!("{told:?}") };
    assert_eq!((pair.first, pair.second, pair.both, pair.bond), (1, 0, 35, Bond::Even));
    assert_eq!((pair.support.part, pair.support.whole), (35, 100));
    assert_eq!((pair.confidence.part, pair.confidence.whole), (35, 50));
    assert!((pair.lift - 35.0 * 100.0 / (60.0 * 50.0)).abs() < 1e-12, "{pair:?}");
    // Another week, in which none of them is tried, tells nothing of whether they belong together.
    let mut sum = told.clone();
    sum += by(1, &week(&times(900, &[3])));
    let [with_others] = sum.pairs()[..] else { panic!("{sum:?}") };
    assert!((with_others.lift - pair.lift).abs() < 1e-12, "{with_others:?}");
    assert_eq!(with_others.support.whole, 1_000);
    let mut ten = Told::default();
    (0..10).for_each(|_| ten += told.clone());
    assert_eq!(ten.pairs()[0].bond, Bond::More, "ten times as many are no chance");
    let apart = [times(60, &[0]), times(60, &[2]), times(20, &[0, 2])].concat();
    let mut ten = Told::default();
    (0..10).for_each(|_| ten += by(1, &week(&apart)));
    assert_eq!(ten.pairs()[0].bond, Bond::Less);
    assert!(by(1, &week(&[times(15, &[0, 2]), times(20, &[3])].concat())).pairs().is_empty(), "few");
}

#[test]
fn sizes_that_were_lost_are_told_of_what_is_known() {
    let visits = [times(20, &[0, 1]), times(10, &[0, 1, 1]), times(5, &[0, 0, 1, 1])].concat();
    let mut week = Week::default();
    week.add(&day(visits), &place, &|hour, tried| match (hour, tried.len()) {
        (12, 2) => Hunt::Known([3].into()),
        (12, 3) => Hunt::Known([].into()),
        _ => Hunt::Unknown,
    });
    let told = by(1, &week);
    let lost = Lost { known: 30, lost: 20, by_size: [(3, 20)].into() };
    assert_eq!(told.lost(&|style| style == 0), lost);
    assert_eq!(told.lost(&|style| style == 1), Lost::default());
    assert_eq!(told.lost_share(0).map(|share| (share.part, share.whole)), Some((20, 30)));
}

/// All numbers about visits that an answer has, in an order that is the same for every answer.
fn numbers(told: &Told) -> BTreeMap<(u8, u64, u64), i128> {
    let mut all = BTreeMap::new();
    for (at, of) in (0..).zip(told.shapes) {
        all.insert((0, at, 0), i128::from(of));
    }
    for (style, of) in &told.styles {
        all.insert((1, *style, 0), i128::from(of.visits));
        all.insert((1, *style, 1), i128::from(of.hunts));
    }
    for (style, of) in &told.lost {
        all.insert((2, *style, 0), i128::from(of.known));
        all.insert((2, *style, 1), i128::from(of.lost));
        all.extend(of.by_size.iter().map(|(size, lost)| ((3, *style, (*size).into()), (*lost).into())));
    }
    for ((a, b), both) in &told.pairs {
        all.insert((4, *a, *b), i128::from(*both));
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

/// Whether somebody who sees all that is told of a week, and knows how many visits there were, cannot tell two weeks apart:
/// some secret makes the one what some secret makes the other.
fn may_be_either(one: &Week, other: &Week) -> bool {
    assert_eq!(one.visits, other.visits);
    let told = |week: &Week| -> Vec<Told> { (0..600).map(|secret| by(secret, week)).collect() };
    let others = told(other);
    told(one).iter().any(|one| others.contains(one))
}

#[test]
fn the_rest_of_a_known_total_is_not_known() {
    let shapes = |n: [usize; 3]| {
        let [one, hunts, many] = n;
        week(&[times(one, &[0]), times(hunts, &[0, 1]), times(many, &[0, 2])].concat())
    };
    // Told exactly, the large one would leave two visits for the others.
    assert!(may_be_either(&shapes([1, 1, 20]), &shapes([2, 2, 18])));
    assert!(may_be_either(&shapes([1, 1, 21]), &shapes([0, 0, 23])), "whether there are any");
    // Of ten visits that lost a size, six lost this one: how many lost another?
    let lost = |of_one: usize| {
        let mut week = Week::default();
        let visits = [times(of_one, &[0, 1]), times(10 - of_one, &[0, 1, 1])].concat();
        week.add(&day(visits), &place, &|_, tried| Hunt::Known([tried.len() as u32].into()));
        week
    };
    assert!(may_be_either(&lost(6), &lost(8)) && may_be_either(&lost(6), &lost(9)));
    // Visits with neither of a pair.
    let neither = |n: usize| week(&[times(20 - n, &[0, 2]), times(n, &[3])].concat());
    assert!(may_be_either(&neither(1), &neither(3)));
}

#[test]
fn styles_that_have_nothing_to_do_with_each_other_are_tried_together_as_often_as_by_chance() {
    // Six styles, each tried in a quarter of 30 visits a week: of a pair two visits, which are rounded to 0 or 5. A seventh
    // is tried in all, so that all count.
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 4
    };
    let place = |index: u32| Place { style: index.into(), size: None };
    let (mut lifts, mut called) = (Vec::new(), 0);
    for shop in 0..40 {
        let mut sum = Told::default();
        for number in 0..60 {
            let mut week = Week::default();
            for _ in 0..30 {
                let tried = (0..7_u32).filter(|style| *style == 6 || random() == 0);
                let items: Vec<Item> = tried
                    .map(|article| Item { article, tried: true, outcome: Outcome::Back, sold: Sold::No })
                    .collect();
                week.add_visit(&items, &(0..7).map(place).collect::<Vec<_>>());
            }
            sum += numbered(shop, number, &week);
        }
        let pairs = sum.pairs();
        assert_eq!(pairs.len(), 21, "all of them are shown");
        called += u32::from(pairs.iter().any(|pair| pair.bond != Bond::Even));
        lifts.extend(pairs.iter().map(|pair| pair.lift));
    }
    let mean = lifts.iter().sum::<f64>() / lifts.len() as f64;
    assert!((mean - 1.0).abs() < 0.05, "{mean}");
    assert!(called <= 5, "more than chance is said of pairs of {called} in 40 shops");
}

proptest! {
    /// Whoever asks for these weeks and those of shops, and subtracts, within a week and between them, gets nothing but
    /// multiples of five.
    #[test]
    fn no_questions_about_weeks_tell_of_few_visits(
        secret in any::<u64>(),
        weeks in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(0usize..4, 0..4), 0..40), 1..6),
        asked in prop::collection::vec(any::<bool>(), 6),
    ) {
        let told = |(number, visits): (i32, &Vec<Vec<usize>>)| {
            let mut week = Week::default();
            week.add(&day(visits.iter().map(Vec::as_slice)), &place, &odd);
            numbered(secret, number, &week)
        };
        let told: Vec<Told> = (0..).zip(&weeks).map(told).collect();
        let sum = |all: &dyn Fn(usize) -> bool| {
            let mut sum = Told::default();
            (0..told.len()).filter(|at| all(*at)).for_each(|at| sum += told[at].clone());
            sum
        };
        let (every, some) = (sum(&|_| true), sum(&|at| asked[at]));
        for left in difference(&every, &some).into_iter().chain(difference(&every, &Told::default())) {
            prop_assert_eq!(left % i128::from(BASE), 0, "{} visits", left);
        }
    }
}
