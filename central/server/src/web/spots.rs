//! Hot and cold rails, and how often garments are picked up. Enters: a report with its rails, counts of stock. Leaves: the
//! table of rails beside what was expected of them, its drawing and sentence, and the pick-up rate of styles.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::handled::Article;
use hangtag_central_core::rate::{self, Rate, Z95, Z998};
use hangtag_central_core::spot::{Spot, Spots, Verdict};

use crate::goods::Goods;
use crate::rails::{Elapsed, Floor};

use super::chart::spread::{Point, Spread, Stand};
use super::chart::svg::Caption;
use super::draw::Drawn;
use super::lang::Lang;
use super::table::{Kind, Row, Table, Value, column, minor};
use super::tables::Source;

/// Rates are told for so many garments on show, in an hour.
const GARMENTS: f64 = 100.0;

/// The rails beside each other; none without a report of them.
fn spots(source: &Source<'_>) -> Spots {
    let floor = source.report.floor.as_ref();
    floor.map(|floor| floor.spots(&source.site.goods).clone()).unwrap_or_default()
}

/// What tables say of a rail that was listened to and that nobody touched: what hangs there nobody knows.
const UNTOUCHED: &str = "untouched";

/// How a verdict is written in tables.
fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Hot => "hot",
        Verdict::Cold => "cold",
        Verdict::Even => "even",
        Verdict::Unknown => "unknown",
    }
}

/// Per rail, those first that are farthest from what was expected.
#[must_use]
pub(super) fn table(source: &Source<'_>) -> Table {
    let mut all = spots(source).all;
    all.sort_by(|a, b| {
        b.distance.abs().total_cmp(&a.distance.abs()).then((a.shop, a.zone).cmp(&(b.shop, b.zone)))
    });
    // Whether a rail that nobody touched has goods of a filter nobody knows.
    let floor = source.report.floor.as_ref().filter(|_| source.report.is_all);
    let untouched = floor.into_iter().flat_map(Floor::untouched).map(|((shop, zone), hours)| {
        let listened = hours > 0.0;
        let cells = vec![
            Value::Text(zone.to_string()),
            Value::Text(source.site.shops[shop as usize].id.to_string()),
            Value::Word(if listened { UNTOUCHED } else { name(Verdict::Unknown) }),
            Value::Ratio(None),
            if listened { Value::Count(0) } else { Value::Unmeasured },
            Value::Rate(None),
            Value::Number(None),
            Value::Number(Some(hours)),
        ];
        Row { cells, ..Row::default() }
    });
    let row = |spot: Spot| {
        let cells = vec![
            Value::Text(spot.zone.to_string()),
            Value::Text(source.site.shops[spot.shop as usize].id.to_string()),
            Value::Word(name(spot.verdict)),
            Value::Ratio(spot.ratio),
            if spot.hours > 0.0 { Value::Count(spot.picked_up) } else { Value::Unmeasured },
            Value::Rate(spot.rate.map(|rate| rate.per(GARMENTS))),
            Value::Count(spot.garments),
            Value::Number(Some(spot.hours)),
        ];
        Row { cells, ..Row::default() }
    };
    let columns = vec![
        column("zone", "col-zone", Kind::Text),
        minor("store", "col-store", Kind::Text),
        column("verdict", "col-verdict", Kind::Text),
        column("of_expected", "col-of-expected", Kind::Ratio),
        minor("picked_up", "col-picked-up", Kind::Count),
        column("pick_up_rate", "col-pick-up-rate", Kind::Rate),
        minor("garments", "col-garments", Kind::Count),
        minor("listened_hours", "col-listened-hours", Kind::Number),
    ];
    Table { name: "spots", columns, rows: all.into_iter().map(row).chain(untouched).collect() }
}

/// The rails by what was expected of them.
#[must_use]
pub(super) fn draw(source: &Source<'_>, lang: Lang) -> Drawn {
    let spots = spots(source);
    let title = lang.text("section-spots");
    let finding = finding(source, &spots, lang);
    let points: Vec<Point> = spots
        .all
        .iter()
        .filter(|spot| spot.verdict != Verdict::Unknown)
        .filter_map(|spot| Some((spot, spot.ratio?)))
        .map(|(spot, ratio)| Point {
            label: label(source, spot),
            expected: ratio.whole,
            times: ratio.value,
            stand: match spot.verdict {
                Verdict::Hot => Stand::Up,
                Verdict::Cold => Stand::Down,
                Verdict::Even | Verdict::Unknown => Stand::Among,
            },
            tip: format!("{} · {}", label(source, spot), of_expected(&ratio, lang)),
        })
        .collect();
    let Some(dispersion) = spots.dispersion.filter(|_| !points.is_empty()) else { return (None, finding) };
    let [across, up, wide, narrow] =
        ["axis-expected", "axis-of-expected", "funnel-wide", "funnel-narrow"].map(|key| lang.text(key));
    let spread = Spread {
        caption: Caption { id: "spots", title: &title, desc: &finding },
        axes: [&across, &up],
        funnels: [&wide, &narrow],
        points: &points,
        limits: &|expected| [Z998, Z95].map(|z| rate::limits(expected, dispersion, z)),
        number: &|n| lang.count(n),
    };
    (Some(spread.draw()), finding)
}

fn finding(source: &Source<'_>, spots: &Spots, lang: Lang) -> String {
    let said = said(source, spots, lang);
    let floor = source.report.floor.as_ref().filter(|_| source.report.is_all);
    let untouched = floor.map_or(0, |floor| floor.untouched().filter(|(_, hours)| *hours > 0.0).count());
    if untouched == 0 {
        return said;
    }
    format!("{said} {}", lang.format("finding-spots-untouched", &[("count", (untouched as u64).into())]))
}

/// What is said of those that were compared.
fn said(source: &Source<'_>, spots: &Spots, lang: Lang) -> String {
    let of = |verdict| {
        let spot = spots.most(verdict)?;
        Some((label(source, spot), format!("{:.2}", spot.ratio?.value)))
    };
    match (of(Verdict::Hot), of(Verdict::Cold)) {
        (Some((hot, many)), Some((cold, few))) => {
            let args =
                [("hot", hot.into()), ("many", many.into()), ("cold", cold.into()), ("few", few.into())];
            lang.format("finding-spots", &args)
        }
        (Some((hot, many)), None) => {
            lang.format("finding-spots-hot", &[("hot", hot.into()), ("many", many.into())])
        }
        (None, Some((cold, few))) => {
            lang.format("finding-spots-cold", &[("cold", cold.into()), ("few", few.into())])
        }
        (None, None) if spots.shops() > 0 => lang.text("finding-spots-even"),
        (None, None) if spots.all.iter().any(|spot| spot.ratio.is_some()) => lang.text("finding-spots-few"),
        (None, None) => lang.text("finding-spots-unknown"),
    }
}

/// Two shops may have a rail of the same name.
fn label(source: &Source<'_>, spot: &Spot) -> String {
    match source.filter.shops.len() {
        1 => spot.zone.to_string(),
        _ => format!("{} ({})", spot.zone, source.site.shops[spot.shop as usize].name),
    }
}

/// `412 picked up, 290 expected`.
#[must_use]
pub(super) fn of_expected(ratio: &Rate, lang: Lang) -> String {
    // Not negative, and far below what a float counts exactly.
    let args = [("count", ratio.part.into()), ("expected", (ratio.whole.round() as u64).into())];
    lang.format("ratio-of", &args)
}

/// From what it is known how many garments were on show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// Counted on the floor.
    Floor,
    /// Counted, the back room included.
    Stock,
    /// So many were handled: at least so many were there.
    Seen,
}

/// How often a style was picked up, by the garments on show and the hours in which was listened.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnShow {
    garments: f64,
    known: Known,
    picked_up: u64,
    garment_hours: f64,
    dispersion: Option<f64>,
}

impl OnShow {
    /// How many garments, how that is known, and the rate.
    #[must_use]
    pub(super) fn cells(of: Option<&Self>) -> [Value; 3] {
        let Some(of) = of else { return [Value::Number(None), Value::Word(""), Value::Rate(None)] };
        let known = match of.known {
            Known::Floor => "floor",
            Known::Stock => "stock",
            Known::Seen => "seen",
        };
        let rate = Rate::of(of.picked_up, of.garment_hours, of.dispersion).map(|rate| rate.per(GARMENTS));
        // Neither negative nor too many to be counted.
        [Value::Count(of.garments.round() as u64), Value::Word(known), Value::Rate(rate)]
    }
}

/// A product in a shop.
#[derive(Default)]
struct InShop {
    /// Garments by the hours in which they were seen to be there.
    garment_hours: f64,
    picked_up: u64,
}

/// The styles that were on show where readers listened.
#[must_use]
pub(super) fn styles(source: &Source<'_>) -> BTreeMap<u64, OnShow> {
    let mut all = BTreeMap::new();
    let Some(floor) = &source.report.floor else { return all };
    let goods: &Goods = &source.site.goods;
    let dispersion = spots(source).dispersion;
    let of_shop = |shop: &usize| u32::try_from(*shop).ok().map(|shop| (shop, floor.listened(shop)));
    let listened: BTreeMap<u32, Elapsed> = source.filter.shops.iter().filter_map(of_shop).collect();
    let hours = |shop, first, last| listened.get(&shop).map_or(0.0, |of: &Elapsed| of.between(first, last));
    let mut of: BTreeMap<(u32, Article), InShop> = BTreeMap::new();
    for (at, garment_hours) in floor.rails.garment_hours(&hours) {
        of.entry(at).or_default().garment_hours = garment_hours;
    }
    for (at, picked_up) in floor.rails.picked_up() {
        of.entry(at).or_default().picked_up = picked_up;
    }
    // What nobody touched of a style that was seen was on show as well, where it was counted.
    let seen: BTreeSet<(u32, u64)> =
        of.keys().map(|(shop, article)| (*shop, goods.place(*article).style)).collect();
    for (shop, gtin) in source.stock.keys() {
        let article = Article::Product(*gtin);
        let (place, is_wanted) = goods.wanted(article, &source.filter.wanted);
        if is_wanted && seen.contains(&(*shop, place.style)) {
            of.entry((*shop, article)).or_default();
        }
    }
    let is_one_day = source.filter.from == source.filter.to;
    for ((shop, article), InShop { garment_hours, picked_up }) in of {
        let hours = listened.get(&shop).map_or(0.0, Elapsed::all);
        if hours <= 0.0 {
            continue;
        }
        let seen = garment_hours / hours;
        let stock = match article {
            Article::Product(gtin) => source.stock.get(&(shop, gtin)),
            Article::Unknown => None,
        };
        let on_floor = stock.and_then(|stock| stock.floor).map(|n| (n, Known::Floor));
        let counted = on_floor.or(stock.and_then(|stock| stock.held).map(|n| (n, Known::Stock)));
        // A count of nothing is not one of what was seen. Of what was counted too low on a day more were there; over
        // several days what is sold and hung anew looks like more than ever were there.
        let is_good = |(n, _): &(u64, Known)| {
            let n = *n as f64;
            seen <= n || (n > 0.0 && !is_one_day)
        };
        let (garments, known) = match counted.filter(is_good) {
            Some((counted, known)) => (counted as f64, known),
            None => (seen, Known::Seen),
        };
        if garments <= 0.0 && picked_up == 0 {
            continue;
        }
        let style = goods.place(article).style;
        let first = OnShow { garments: 0.0, known, picked_up: 0, garment_hours: 0.0, dispersion };
        let sum: &mut OnShow = all.entry(style).or_insert(first);
        sum.garments += garments;
        sum.known = sum.known.max(known);
        sum.picked_up += picked_up;
        sum.garment_hours += garments * hours;
    }
    all.retain(|_, of| of.garment_hours > 0.0);
    all
}

#[cfg(test)]
mod tests;
