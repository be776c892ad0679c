//! Days that are written down, under filters.

use alloc::vec;

use hangtag_protocol::epc::Gtin;

use crate::day::Cell;

use super::*;

/// Two sizes of style 0, one of style 1, one of style 2.
const GTINS: [u64; 4] = [80_614_141_123_458, 4_006_381_333_931, 9_780_306_406_157, 36_000_291_452];

fn article(n: usize) -> Article {
    Article::Product(Gtin::from_number(GTINS[n]).unwrap())
}

fn place(article: Article) -> (Place, bool) {
    let Article::Product(gtin) = article else { return (Place { style: 9, size: None }, true) };
    let n = GTINS.iter().position(|number| *number == gtin.number()).unwrap();
    (
        [(0, Some(0)), (0, Some(1)), (1, Some(0)), (2, None)].map(|(style, size)| Place { style, size })[n],
        true,
    )
}

fn only(style: u64) -> impl Fn(Article) -> (Place, bool) {
    move |article| (place(article).0, place(article).0.style == style)
}

/// A day with one stay per list of articles that were tried in it.
fn day_of(stays: &[&[usize]]) -> Day {
    let mut day = Day {
        clock: (0..24).collect(),
        articles: (0..4).map(article).collect(),
        zones: vec![ZoneId::new("booth-1").unwrap(), ZoneId::new("rail-1").unwrap()],
        ..Day::default()
    };
    for tried in stays {
        let (first, items) = (day.items.len() as u32, tried.len() as u32);
        day.stays.push(Stay { hour: 12, zone: 0, first, items, dwell_ds: Some(600) });
        for n in *tried {
            let article = *n as u32;
            day.items.push(Item { article, tried: true, outcome: Outcome::Back, sold: Sold::No });
            day.cells.push(Cell { hour: 12, zone: 0, article, counts: [0, 0, 1, 1] });
        }
    }
    day.cells.push(Cell { hour: 9, zone: 1, article: 3, counts: [5, 2, 0, 0] });
    day
}

fn period(days: &[Day], place: &dyn Fn(Article) -> (Place, bool)) -> Period {
    let mut period = Period::default();
    let is_all = (0..4).all(|n| place(article(n)).1);
    for (date, day) in (0..).zip(days) {
        period.add(Of { shop: 0, day: date, is_all, has_tills: true }, day, place);
    }
    period
}

#[test]
fn every_table_adds_up_to_the_total() {
    let days = [day_of(&[&[0, 1], &[2]]), day_of(&[&[3, 0]])];
    for filter in [&place as &dyn Fn(Article) -> (Place, bool), &only(0), &only(2)] {
        let period = period(&days, filter);
        let sum = |of: &mut dyn Iterator<Item = Counts>| {
            of.fold(Counts::default(), |mut sum, counts| {
                sum += counts;
                sum
            })
        };
        assert_eq!(sum(&mut period.articles.values().map(|sums| sums.counts)), period.total.counts);
        assert_eq!(sum(&mut period.zones.values().map(|zone| zone.counts)), period.total.counts);
        assert_eq!(sum(&mut period.hours.values().copied()), period.total.counts);
    }
    assert_eq!(period(&days, &place).total.counts.picked_up, 10);
    assert_eq!(period(&days, &only(0)).total.counts.tried_on, 3);
    assert_eq!(
        period(&days, &only(2)).total.counts,
        Counts { picked_up: 10, put_down: 4, carried_in: 1, tried_on: 1 }
    );
}

#[test]
fn a_stay_counts_under_a_filter_when_something_in_it_passes() {
    let days = [day_of(&[&[0, 2], &[2], &[]])];
    let visits = |place: &dyn Fn(Article) -> (Place, bool)| {
        let period = period(&days, place);
        (period.visits, period.trying, period.dwells.len())
    };
    assert_eq!(visits(&place), (3, 2, 3), "a stay with nothing but a scan is a stay");
    assert_eq!(visits(&only(0)), (1, 1, 1));
    assert_eq!(visits(&only(2)), (0, 0, 0));
    assert_eq!(visits(&only(7)), (0, 0, 0), "nothing passes, and of a scan nothing does");
}

#[test]
fn outcomes_are_shares_of_what_is_known() {
    let mut day = day_of(&[&[0], &[0], &[0], &[0], &[0]]);
    let became = [
        (Outcome::Open, Sold::No),
        (Outcome::Back, Sold::No),
        (Outcome::NotSeen, Sold::Tag),
        (Outcome::NotSeen, Sold::Style),
        (Outcome::NotSeen, Sold::No),
    ];
    for (item, (outcome, sold)) in day.items.iter_mut().zip(became) {
        (item.outcome, item.sold) = (outcome, sold);
    }
    let mut untold = Period::default();
    untold.add(Of { shop: 0, day: 0, is_all: true, has_tills: false }, &day, &place);
    assert_eq!((untold.total.known, untold.total.left), (0, 0), "nobody knows without a till");
    let total = period(&[day], &place).total;
    assert_eq!((total.known, total.back, total.left), (4, 1, 2));
    assert_eq!((total.sold_tag, total.sold_product, total.sold_style), (1, 1, 2));
    assert_eq!(total.bought_style().map(|share| (share.part, share.whole)), Some((2, 4)));
}
