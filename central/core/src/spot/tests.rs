//! Invented shops whose truth is known: weeks in which shoppers come to rails and take several garments each.

use alloc::vec;

use hangtag_protocol::epc::Gtin;

use crate::day::{Cell, Day, Shown};
use crate::handled::Map;
use crate::rail::{Hung, On};

use super::*;

/// Articles, each a category of its own.
const GTINS: [u64; 4] = [80_614_141_123_458, 4_006_381_333_931, 9_780_306_406_157, 36_000_291_452];
const RAILS: usize = 16;
const GARMENTS: u32 = 30;
const OPEN: core::ops::Range<usize> = 10..20;

/// A generator of numbers (SplitMix64), so that every run sees the same shops.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn share(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1u64 << 53) as f64
    }
}

fn article(n: usize) -> Article {
    Article::Product(Gtin::from_number(GTINS[n]).unwrap())
}

fn category(of: Article) -> u64 {
    let Article::Product(gtin) = of else { return 9 };
    GTINS.iter().position(|number| *number == gtin.number()).unwrap() as u64
}

fn zone(n: usize) -> ZoneId {
    ZoneId::new(&alloc::format!("rail-{n:02}")).unwrap()
}

/// A week of a shop. Rails `n` and `n + 4` show the same category; the afternoon and the third category draw more hands.
/// A shopper takes so many garments on average; `drawn` is how much more than others each rail draws, `heard` says when
/// it is listened to.
fn week(
    chance: &mut Chance,
    burst: f64,
    drawn: &[f64; RAILS],
    heard: &dyn Fn(usize, i32, usize) -> bool,
) -> Rails {
    let mut rails = Rails::new(true);
    for day in 0..7 {
        let mut cells: BTreeMap<(u8, u16), u16> = BTreeMap::new();
        let mut shown: Map<Shown, ()> = Map::default();
        for (rail, drawn) in drawn.iter().enumerate() {
            for hour in OPEN {
                let busy = if hour < 15 { 0.6 } else { 1.4 };
                let of_category = if rail % 4 == 2 { 2.0 } else { 1.0 };
                let each = 6.0 * drawn * busy * of_category / burst;
                // Shoppers come one by one: Poisson, as many small chances.
                let shoppers = (0..400).filter(|_| chance.share() < each / 400.0).count();
                for _ in 0..shoppers {
                    let mut takes = 1;
                    while chance.share() < 1.0 - 1.0 / burst {
                        takes += 1;
                    }
                    if !heard(rail, day, hour) {
                        continue;
                    }
                    *cells.entry((hour as u8, rail as u16)).or_default() += takes;
                    for _ in 0..takes {
                        let tag = rail as u32 * 1_000 + chance.below(GARMENTS.into()) as u32;
                        shown.insert(Shown { zone: rail as u16, article: rail as u32 % 4, tag }, ());
                    }
                }
            }
        }
        let cell = |((hour, zone), n): ((u8, u16), u16)| Cell {
            hour,
            zone,
            article: u32::from(zone) % 4,
            counts: [n, 0, 0, 0],
        };
        let day_of = Day {
            clock: (0..24).collect(),
            articles: (0..4).map(article).collect(),
            zones: (0..RAILS).map(zone).collect(),
            cells: cells.into_iter().map(cell).collect(),
            shown: shown.into_keys().collect(),
            ..Day::default()
        };
        let open: Vec<bool> = (0..24).map(|hour| OPEN.contains(&hour)).collect();
        rails.add(On { shop: 0, day, weekday: day as u8, open: &open }, &day_of, &|_| true, &|_, _| true);
    }
    rails
}

/// A reader of which it is said when it listened.
fn reader(heard: &dyn Fn(i32, usize) -> bool) -> Arc<Listened> {
    let mut listened = Listened::default();
    for day in 0..7 {
        for hour in OPEN {
            listened.add(day, day as u8, hour as u8, f64::from(u8::from(heard(day, hour))));
        }
    }
    Arc::new(listened)
}

fn always(_: u32, _: ZoneId) -> Watch {
    Watch { group: 0, readers: vec![reader(&|_, _| true)] }
}

const EVEN: [f64; RAILS] = [1.0; RAILS];

#[test]
fn what_was_expected_adds_up_and_follows_categories_and_hours() {
    let rails = week(&mut Chance(1), 1.0, &EVEN, &|_, _, _| true);
    let spots = rails.spots(&category, &always);
    let sum: f64 = spots.all.iter().filter_map(|spot| spot.ratio).map(|ratio| ratio.whole).sum();
    let picked_up: u64 = spots.all.iter().map(|spot| spot.picked_up).sum();
    assert!((sum - picked_up as f64).abs() < 1e-6, "{sum} of {picked_up}");
    for spot in &spots.all {
        assert!((spot.ratio.unwrap().value - 1.0).abs() < 0.25, "{spot:?}");
        // Not every garment is touched on the first day and on the last.
        assert!(spot.hours == 70.0 && (28..=30).contains(&spot.garments), "{spot:?}");
    }
    let [plain, popular] = [0, 2].map(|at: usize| spots.all[at].ratio.unwrap().whole);
    assert!(popular > 1.7 * plain, "the third category draws twice as many hands: {plain} {popular}");
}

/// A hundred weeks of an even shop in which shoppers take four garments each: seldom is a rail called hot or cold; often
/// it would be if bursts were taken for interest.
#[test]
fn an_even_shop_has_hardly_a_hot_or_a_cold_rail() {
    let mut chance = Chance(2);
    let (mut weeks, mut naive, mut outside) = (0, 0, 0);
    for _ in 0..100 {
        let spots = week(&mut chance, 4.0, &EVEN, &|_, _, _| true).spots(&category, &always);
        let dispersion = spots.dispersion.unwrap();
        assert!((3.0..12.0).contains(&dispersion), "{dispersion}");
        let called = |spot: &&Spot| matches!(spot.verdict, Verdict::Hot | Verdict::Cold);
        weeks += usize::from(spots.all.iter().any(|spot| called(&spot)));
        let far = |spot: &&Spot, dispersion: f64, z: f64| {
            rate::distance(spot.picked_up as f64, spot.ratio.unwrap().whole, dispersion).abs() > z
        };
        naive += usize::from(spots.all.iter().any(|spot| far(&spot, 1.0, rate::Z998)));
        outside += spots.all.iter().filter(|spot| far(spot, dispersion, rate::Z95)).count();
    }
    assert!(weeks <= 8, "{weeks} weeks of 100 have a false call");
    assert!(naive > 60, "{naive}: without the dispersion nearly every week would have one");
    // 1,600 rails, of which 80 may lie outside the limits of 95 %.
    assert!((10..120).contains(&outside), "{outside}");
}

#[test]
fn a_rail_that_draws_twice_or_half_the_hands_is_found() {
    let mut chance = Chance(3);
    let mut drawn = EVEN;
    (drawn[1], drawn[7]) = (2.0, 0.4);
    let (mut hot, mut cold, mut others) = (0, 0, 0);
    for _ in 0..30 {
        for (at, spot) in
            week(&mut chance, 3.0, &drawn, &|_, _, _| true).spots(&category, &always).all.iter().enumerate()
        {
            match (at, spot.verdict) {
                (1, Verdict::Hot) => hot += 1,
                (7, Verdict::Cold) => cold += 1,
                (_, Verdict::Hot | Verdict::Cold) => others += 1,
                (_, Verdict::Even | Verdict::Unknown) => {}
            }
        }
    }
    // What hangs on a cold rail is not known to be there before somebody touches it.
    assert!(hot >= 27 && cold >= 24, "{hot} {cold} of 30");
    assert!(others <= 12, "{others} of 420");
}

/// The rails of one gateway fall silent for three days in the middle of the week.
#[test]
fn a_rail_that_was_not_listened_to_is_not_cold() {
    let heard = |rail: usize, day: i32, _: usize| rail < 8 || !(2..5).contains(&day);
    let mut chance = Chance(4);
    let (mut told, mut untold) = (0, 0);
    for _ in 0..20 {
        let rails = week(&mut chance, 3.0, &EVEN, &heard);
        let watch = |_: u32, zone: ZoneId| {
            let rail: usize = zone.as_str().trim_start_matches("rail-").parse().unwrap();
            Watch { group: (rail / 8) as u32, readers: vec![reader(&|day, hour| heard(rail, day, hour))] }
        };
        let called = |spots: Spots| spots.all.iter().filter(|s| s.verdict != Verdict::Even).count();
        told += called(rails.spots(&category, &watch));
        let blind = |shop: u32, zone: ZoneId| Watch { group: watch(shop, zone).group, ..always(shop, zone) };
        untold += called(rails.spots(&category, &blind));
    }
    assert!(told <= 4, "{told} of 320 are called hot or cold");
    assert!(untold > 40, "{untold}: if nobody knew that nobody listened, many would be");
    let deaf = |shop: u32, zone: ZoneId| Watch { readers: Vec::new(), ..always(shop, zone) };
    let spots = week(&mut chance, 3.0, &EVEN, &heard).spots(&category, &deaf);
    assert!(spots.all.iter().all(|spot| spot.verdict == Verdict::Unknown && spot.rate.is_none()));
}

/// One of two readers is dead all week, and with it its rails; which those are nobody knows.
#[test]
fn a_rail_whose_reader_may_be_the_dead_one_is_not_cold() {
    let mut drawn = EVEN;
    (drawn[0], drawn[1]) = (0.25, 4.0);
    let rails = week(&mut Chance(5), 2.0, &drawn, &|_, _, _| true);
    let doubtful =
        |_: u32, _: ZoneId| Watch { group: 0, readers: vec![reader(&|_, _| true), reader(&|_, _| false)] };
    let verdicts = |watch: &dyn Fn(u32, ZoneId) -> Watch| {
        let spots = rails.spots(&category, watch);
        [spots.all[0].verdict, spots.all[1].verdict]
    };
    assert_eq!(verdicts(&always), [Verdict::Cold, Verdict::Hot]);
    assert_eq!(verdicts(&doubtful)[0], Verdict::Even);
}

#[test]
fn few_rails_are_not_compared() {
    let mut rails = week(&mut Chance(6), 1.0, &EVEN, &|_, _, _| true);
    rails.all.retain(|(_, of), _| *of < zone(2));
    let spots = rails.spots(&category, &always);
    assert_eq!(spots.all.len(), 2);
    assert!(spots.all.iter().all(|spot| spot.verdict == Verdict::Unknown && spot.ratio.is_none()));
    let garments = rails.garment_hours(&|_, _, _| 1.0).into_values().sum::<f64>();
    let days = rails.garment_hours(&|_, first, last| f64::from(last - first + 1)).into_values().sum::<f64>();
    let hours = spots.all.iter().map(|spot| spot.rate.unwrap().whole).sum::<f64>();
    assert!(garments == 60.0 && hours == 10.0 * days && (395.0..=420.0).contains(&days), "{hours} {days}");
}

/// Four weeks in which every garment of each rail is picked up once in an hour; of the first rail eight are sold every
/// day, and others hung in their place.
#[test]
fn a_rail_that_sells_and_is_filled_again_is_not_cold() {
    let mut rails = Rails::new(true);
    let mut listened = Listened::default();
    for day in 0..28 {
        let of_day = |rail: u16| {
            let first = u32::from(rail) * 1_000 + if rail == 0 { 8 * day as u32 } else { 0 };
            first..first + 40
        };
        let shown = |rail: u16| of_day(rail).map(move |tag| Shown { zone: rail, article: 0, tag });
        let cells = OPEN.flat_map(|hour| {
            (0..6).map(move |zone| Cell { hour: hour as u8, zone, article: 0, counts: [40, 0, 0, 0] })
        });
        let of = Day {
            clock: (0..24).collect(),
            articles: vec![article(0)],
            zones: (0..6).map(zone).collect(),
            cells: cells.collect(),
            shown: (0..6).flat_map(shown).collect(),
            ..Day::default()
        };
        let open: Vec<bool> = (0..24).map(|hour| OPEN.contains(&hour)).collect();
        let weekday = (day % 7) as u8;
        rails.add(On { shop: 0, day, weekday, open: &open }, &of, &|_| true, &|_, _| true);
        OPEN.for_each(|hour| listened.add(day, weekday, hour as u8, 1.0));
    }
    let listened = Arc::new(listened);
    let spots = rails.spots(&category, &|_, _| Watch { group: 0, readers: vec![Arc::clone(&listened)] });
    for spot in &spots.all {
        assert_eq!((spot.garments, spot.verdict), (40, Verdict::Even), "{spot:?}");
        assert!(
            (spot.ratio.unwrap().value - 1.0).abs() < 1e-9 && spot.rate.unwrap().value == 1.0,
            "{spot:?}"
        );
    }
    let hours = |_, first, last| {
        let days = listened.by_day().filter(|(day, _)| (first..=last).contains(day));
        days.map(|(_, hours)| hours).sum()
    };
    assert_eq!(rails.garment_hours(&hours).into_values().sum::<f64>(), 6.0 * 40.0 * 280.0);
}

/// A garment of another category hangs astray on a rail that draws eight times the hands of others.
#[test]
fn a_stray_garment_does_not_keep_a_hot_rail_among_those_that_others_are_measured_by() {
    let mut drawn = EVEN;
    drawn[1] = 8.0;
    for other in [4, 0] {
        let mut rails = week(&mut Chance(7), 2.0, &drawn, &|_, _, _| true);
        // Of a category of its own, or of one that four other rails show.
        let of = if other == 4 { Article::Unknown } else { article(other) };
        let hung = Hung { article: of, first: 0, last: 6 };
        rails.all.get_mut(&(0, zone(1))).unwrap().garments.insert(77_777, hung);
        let spots = rails.spots(&category, &always);
        assert_eq!(spots.all[1].verdict, Verdict::Hot);
        for same in [5, 9, 13] {
            let spot = &spots.all[same];
            assert!(spot.ratio.unwrap().value > 0.75 && spot.verdict == Verdict::Even, "{spot:?}");
        }
    }
}

/// Nobody listened to two rails of the third category.
#[test]
fn what_was_picked_up_while_nobody_listened_is_no_measure_for_others() {
    let rails = week(&mut Chance(8), 1.0, &EVEN, &|_, _, _| true);
    let deaf = [zone(10), zone(14)];
    let watch = |shop: u32, zone: ZoneId| {
        if deaf.contains(&zone) { Watch { group: 1, readers: Vec::new() } } else { always(shop, zone) }
    };
    let spots = rails.spots(&category, &watch);
    for spot in spots.all.iter().filter(|spot| !deaf.contains(&spot.zone)) {
        assert!((spot.ratio.unwrap().value - 1.0).abs() < 0.3, "{spot:?}");
    }
    let mut rails = Rails::new(true);
    let cell = |hour, zone| Cell { hour, zone, article: 0, counts: [5, 0, 0, 0] };
    let of = Day {
        clock: (0..24).collect(),
        articles: vec![article(0)],
        zones: (0..2).map(zone).collect(),
        cells: vec![cell(10, 0), cell(10, 1), cell(11, 0), cell(12, 0)],
        shown: (0..2).map(|zone| Shown { zone, article: 0, tag: 1 }).collect(),
        ..Day::default()
    };
    // The shop is open from ten to twelve; of the second rail the first hour was not listened to.
    let open: Vec<bool> = (0..24).map(|hour| (10..12).contains(&hour)).collect();
    let is_heard = |of: ZoneId, hour: u8| of == zone(0) || hour > 10;
    rails.add(On { shop: 0, day: 0, weekday: 0, open: &open }, &of, &|_| true, &is_heard);
    assert_eq!(rails.picked_up().into_values().sum::<u64>(), 10);
}

#[test]
fn a_rail_that_differs_little_is_not_named() {
    let spot = |zone_number: usize, picked_up: u64| Spot {
        shop: 0,
        zone: zone(zone_number),
        garments: 1,
        hours: 1.0,
        picked_up,
        rate: None,
        ratio: Rate::of(picked_up, 1_000.0, Some(1.0)),
        distance: (picked_up as f64 - 1_000.0) / 30.0,
        verdict: if picked_up > 1_000 { Verdict::Hot } else { Verdict::Cold },
    };
    let named = |all: Vec<Spot>| {
        let spots = Spots { all, dispersion: Some(1.0) };
        [Verdict::Hot, Verdict::Cold].map(|verdict| spots.most(verdict).map(|spot| spot.picked_up))
    };
    assert_eq!(named(vec![spot(0, 1_190), spot(1, 840)]), [None, None]);
    assert_eq!(named(vec![spot(0, 1_210), spot(1, 820), spot(2, 830)]), [Some(1_210), Some(820)]);
}
