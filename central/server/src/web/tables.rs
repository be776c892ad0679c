//! The page's numbers as tables. Enters: a report. Leaves: tables of values, from which the page, the CSV files and
//! the JSON answers are written: so all three say the same.
//!
//! What could tell of single shoppers, pairs of styles and how visits compared sizes, is not told of fewer than
//! [`FEWEST`] visits; where one number of several that add up is withheld, a second one is, or it could be computed.

use std::collections::BTreeMap;

use hangtag_central_core::handled::{Article, Counts};
use hangtag_central_core::measures::Share;
use hangtag_central_core::period::{Sums, Zone};
use hangtag_central_core::{period, size};
use hangtag_protocol::epc::Gtin;

use super::Site;
use super::filter::Filter;
use super::spots::{self, OnShow};
use super::table::{Column, Kind, Row, Table, Value, column, minor};
use crate::days::Stock;
use crate::report::Report;

/// Fewer visits than these are not told of, where visits are broken down by what shoppers did.
pub(crate) const FEWEST: u64 = 5;

const COUNTS: [Column; 4] = [
    column("picked_up", "col-picked-up", Kind::Count),
    minor("put_down", "col-put-down", Kind::Count),
    minor("carried_in", "col-carried-in", Kind::Count),
    column("tried_on", "col-tried-on", Kind::Count),
];

fn counts(of: Counts) -> [Value; 4] {
    [of.picked_up, of.put_down, of.carried_in, of.tried_on].map(Value::Count)
}

#[expect(clippy::needless_pass_by_value, reason = "callers hand over what they have just made")]
fn text(of: impl ToString) -> Value {
    Value::Text(of.to_string())
}

/// Of what the tables are made.
pub(crate) struct Source<'a> {
    /// The shops and the goods.
    pub site: &'a Site,
    /// What was asked.
    pub filter: &'a Filter,
    /// What it adds up to.
    pub report: &'a Report,
    /// What it is compared with.
    pub compared: Option<&'a Report>,
    /// The latest counts of stock, by shop.
    pub stock: &'a BTreeMap<(u32, Gtin), Stock>,
}

/// The names of all tables.
pub(crate) const NAMES: [&str; 12] = [
    "summary", "days", "hours", "week", "styles", "products", "zones", "spots", "sizes", "pairs", "shapes",
    "stores",
];

impl Source<'_> {
    /// A table by its name.
    #[must_use]
    pub(crate) fn table(&self, name: &str) -> Option<Table> {
        Some(match name {
            "summary" => self.summary(),
            "days" => self.days(),
            "hours" => self.hours(),
            "week" => self.week(),
            "styles" => self.styles(),
            "products" => self.products(),
            "zones" => self.zones(),
            "spots" => spots::table(self),
            "sizes" => self.sizes(),
            "pairs" => self.pairs(),
            "shapes" => self.shapes(),
            "stores" => self.stores(),
            _ => return None,
        })
    }

    /// The sums per style.
    #[must_use]
    pub(super) fn by_style(&self) -> BTreeMap<u64, Sums> {
        let mut styles: BTreeMap<u64, Sums> = BTreeMap::new();
        for (article, sums) in &self.report.period.articles {
            *styles.entry(self.site.goods.place(*article).style).or_default() += *sums;
        }
        styles
    }

    /// The sums per size, where it is known.
    #[must_use]
    pub(super) fn by_size(&self) -> BTreeMap<u32, Sums> {
        let mut sizes: BTreeMap<u32, Sums> = BTreeMap::new();
        for (article, sums) in &self.report.period.articles {
            if let Some(size) = self.site.goods.place(*article).size {
                *sizes.entry(size).or_default() += *sums;
            }
        }
        sizes
    }

    /// Everything in a row, and what it is compared with in another.
    #[must_use]
    pub(crate) fn summary(&self) -> Table {
        let columns = vec![
            column("stretch", "col-stretch", Kind::Text),
            column("visits", "col-visits", Kind::Count),
            COUNTS[0],
            COUNTS[1],
            COUNTS[2],
            COUNTS[3],
            column("put_back", "col-put-back", Kind::Share),
            column("pick_to_try", "col-pick-to-try", Kind::Share),
            column("try_to_buy", "col-try-to-buy", Kind::Share),
            column("try_to_buy_style", "col-try-to-buy-style", Kind::Share),
            column("left_in_booth", "col-left-in-booth", Kind::Share),
            column("sold", "col-sold", Kind::Count),
            column("returned", "col-returned", Kind::Count),
            column("stay_median", "col-stay-median", Kind::Duration),
            column("stay_p90", "col-stay-p90", Kind::Duration),
            column("listened_percent", "col-listened-percent", Kind::Number),
        ];
        let row = |name: &'static str, of: &Report| {
            let total = &of.period.total;
            let [picked, down, carried, tried] = counts(total.counts);
            let cells = vec![
                Value::Word(name),
                Value::Count(of.period.visits),
                picked,
                down,
                carried,
                tried,
                Value::Share(total.put_back()),
                Value::Share(of.period.tried_of_picked()),
                Value::Share(of.bought(total.bought_product())),
                Value::Share(of.bought(total.bought_style())),
                Value::Share(of.bought(total.left())),
                of.passed(total.sold),
                of.passed(total.returned),
                Value::Duration(of.period.dwell(0.5)),
                Value::Duration(of.period.dwell(0.9)),
                Value::Number(of.share_listened().map(|share| share * 100.0)),
            ];
            Row { link: String::new(), cells }
        };
        let rows = [Some(row("asked", self.report)), self.compared.map(|of| row("compared", of))];
        Table { name: "summary", columns, rows: rows.into_iter().flatten().collect() }
    }

    /// Per day, all shops together.
    #[must_use]
    pub(crate) fn days(&self) -> Table {
        let mut days: BTreeMap<i32, Counts> = BTreeMap::new();
        for (of, counts) in &self.report.period.hours {
            *days.entry(of.day).or_default() += *counts;
        }
        let row = |(day, of): (i32, Counts)| {
            let date = Report::day(day);
            let only =
                Filter { period: super::filter::Period::Custom, from: date, to: date, ..self.filter.clone() };
            let cells = [text(date)].into_iter().chain(counts(of)).collect();
            Row { link: only.query(&self.site.shops), cells }
        };
        let columns = [column("day", "col-day", Kind::Text)].into_iter().chain(COUNTS).collect();
        Table { name: "days", columns, rows: days.into_iter().map(row).collect() }
    }

    /// Per shop and hour, from the first to the last hour of the day in which a shop is open or something happened.
    #[must_use]
    pub(crate) fn hours(&self) -> Table {
        let mut rows = Vec::new();
        let mut days: BTreeMap<(u32, i32), Vec<Counts>> = BTreeMap::new();
        for (of, counts) in &self.report.period.hours {
            days.entry((of.shop, of.day)).or_default().push(*counts);
        }
        for ((shop, day), of) in days {
            let shop = &self.site.shops[shop as usize];
            let hours = shop.hours(Report::day(day));
            let keep = |(hour, of): (&crate::shop::Hour, &Counts)| hour.open || *of != Counts::default();
            let all = || hours.iter().zip(&of);
            let first = all().position(keep).unwrap_or(0);
            let last = all().rposition(keep).unwrap_or(hours.len().saturating_sub(1));
            for (hour, of) in all().take(last + 1).skip(first) {
                let start = hour.start.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
                let cells = [text(shop.id), text(start)].into_iter().chain(counts(*of)).collect();
                rows.push(Row { link: String::new(), cells });
            }
        }
        let columns = [column("store", "col-store", Kind::Text), column("hour", "col-hour", Kind::Text)]
            .into_iter()
            .chain(COUNTS)
            .collect();
        Table { name: "hours", columns, rows }
    }

    /// Per weekday and hour of the shops' clocks, all shops and days together.
    #[must_use]
    pub(crate) fn week(&self) -> Table {
        let mut week: BTreeMap<(i8, i8), Counts> = BTreeMap::new();
        let mut days: BTreeMap<(u32, i32), Vec<crate::shop::Hour>> = BTreeMap::new();
        for (of, counts) in &self.report.period.hours {
            let date = Report::day(of.day);
            let hours = days
                .entry((of.shop, of.day))
                .or_insert_with(|| self.site.shops[of.shop as usize].hours(date));
            let Some(hour) = hours.get(usize::from(of.hour)) else { continue };
            if hour.open || *counts != Counts::default() {
                let key = (date.weekday().to_monday_one_offset(), hour.start.hour());
                *week.entry(key).or_default() += *counts;
            }
        }
        let row = |((weekday, hour), of): ((i8, i8), Counts)| {
            let cells =
                [text(weekday), text(format!("{hour:02}:00"))].into_iter().chain(counts(of)).collect();
            Row { link: String::new(), cells }
        };
        let keys =
            [column("iso_weekday", "col-iso-weekday", Kind::Text), column("clock", "col-clock", Kind::Text)];
        let columns = keys.into_iter().chain(COUNTS).collect();
        Table { name: "week", columns, rows: week.into_iter().map(row).collect() }
    }

    /// Per style, the most tried first.
    #[must_use]
    pub(crate) fn styles(&self) -> Table {
        let mut styles: Vec<(u64, Sums)> = self.by_style().into_iter().collect();
        styles.sort_by_key(|(style, sums)| (*style == u64::MAX, std::cmp::Reverse(weight(sums)), *style));
        let shown = spots::styles(self);
        let row = |(style, sums): (u64, Sums)| {
            let name = self.site.goods.style(style);
            let link = name.as_ref().map(|name| self.filter.query_of_style(&self.site.shops, name));
            let hunts = self.report.period.styles.get(&style).copied().unwrap_or_default();
            let keys = [
                text(self.site.goods.style_name(style).or(name.as_deref()).unwrap_or_default()),
                text(name.unwrap_or_default()),
            ];
            let cells = keys
                .into_iter()
                .chain(outcome(self.report, &sums))
                .chain([told(Share::of(hunts.hunts, hunts.visits))])
                .chain(OnShow::cells(shown.get(&style)))
                .collect();
            Row { link: link.unwrap_or_default(), cells }
        };
        let columns = [column("name", "col-name", Kind::Text), minor("style", "col-style", Kind::Text)]
            .into_iter()
            .chain(OUTCOME)
            .chain([minor("size_hunt", "col-size-hunt", Kind::Share)])
            .chain([
                minor("on_show", "col-on-show", Kind::Count),
                minor("on_show_known", "col-on-show-known", Kind::Text),
                minor("pick_up_rate", "col-pick-up-rate", Kind::Rate),
            ])
            .collect();
        Table { name: "styles", columns, rows: styles.into_iter().map(row).collect() }
    }

    /// Per product, the most tried first.
    #[must_use]
    pub(crate) fn products(&self) -> Table {
        let mut products: Vec<(&Article, &Sums)> = self.report.period.articles.iter().collect();
        products.sort_by_key(|(article, sums)| {
            (**article == Article::Unknown, std::cmp::Reverse(weight(sums)), **article)
        });
        let row = |(article, sums): (&Article, &Sums)| {
            let (item, gtin) = match article {
                Article::Product(gtin) => {
                    (self.site.goods.catalogue().item(*gtin).cloned().unwrap_or_default(), gtin.to_string())
                }
                Article::Unknown => Default::default(),
            };
            let keys = [item.name, item.style, item.colour, item.size, item.price, gtin].map(text);
            Row { link: String::new(), cells: keys.into_iter().chain(outcome(self.report, sums)).collect() }
        };
        let keys = [
            column("name", "col-name", Kind::Text),
            minor("style", "col-style", Kind::Text),
            column("colour", "col-colour", Kind::Text),
            column("size", "col-size", Kind::Text),
            minor("price", "col-price", Kind::Text),
            minor("gtin", "col-gtin", Kind::Text),
        ];
        let columns = keys.into_iter().chain(OUTCOME).collect();
        Table { name: "products", columns, rows: products.into_iter().map(row).collect() }
    }

    /// Per shop and zone, those where most happened first.
    #[must_use]
    pub(crate) fn zones(&self) -> Table {
        let mut zones: Vec<_> = self.report.period.zones.iter().collect();
        zones.sort_by_key(|(key, zone)| {
            (std::cmp::Reverse(zone.counts.picked_up + zone.counts.tried_on), **key)
        });
        let has_scans = zones.iter().any(|(_, zone)| zone.loyalty_scans + zone.product_scans > 0);
        let row = |(&(shop, name), zone): (&(u32, hangtag_protocol::id::ZoneId), &Zone)| {
            let keys = [text(name), text(self.site.shops[shop as usize].id)];
            let stays = [
                Value::Count(zone.visits),
                Value::Duration(zone.dwell(0.5)),
                Value::Duration(zone.dwell(0.9)),
            ];
            let scans = [zone.loyalty_scans, zone.product_scans].map(Value::Count);
            let cells = keys.into_iter().chain(counts(zone.counts)).chain(stays);
            let cells = if has_scans { cells.chain(scans).collect() } else { cells.collect() };
            Row { link: String::new(), cells }
        };
        let keys = [column("zone", "col-zone", Kind::Text), minor("store", "col-store", Kind::Text)];
        let stays = [
            column("visits", "col-visits", Kind::Count),
            column("stay_median", "col-stay-median", Kind::Duration),
            minor("stay_p90", "col-stay-p90", Kind::Duration),
        ];
        let columns = keys.into_iter().chain(COUNTS).chain(stays);
        let scans = [
            minor("loyalty_scans", "col-loyalty-scans", Kind::Count),
            minor("product_scans", "col-product-scans", Kind::Count),
        ];
        let columns = if has_scans { columns.chain(scans).collect() } else { columns.collect() };
        Table { name: "zones", columns, rows: zones.into_iter().map(row).collect() }
    }

    /// Per size, in the order of sizes.
    #[must_use]
    pub(crate) fn sizes(&self) -> Table {
        let sizes = self.by_size();
        let mut sizes: Vec<(&str, Sums)> =
            sizes.into_iter().map(|(size, sums)| (self.site.goods.size(size), sums)).collect();
        sizes.sort_by(|(a, _), (b, _)| size::compare(a, b));
        let row = |(name, sums): (&str, Sums)| {
            let cells = [text(name)].into_iter().chain(outcome(self.report, &sums)).collect();
            Row { link: self.filter.query_of_size(&self.site.shops, name), cells }
        };
        let columns = [column("size", "col-size", Kind::Text)].into_iter().chain(OUTCOME).collect();
        Table { name: "sizes", columns, rows: sizes.into_iter().map(row).collect() }
    }

    /// Pairs of styles that were tried in the same visits.
    #[must_use]
    pub(crate) fn pairs(&self) -> Table {
        let name = |style: u64| {
            let goods = &self.site.goods;
            text(
                goods.style_name(style).map(str::to_owned).or_else(|| goods.style(style)).unwrap_or_default(),
            )
        };
        let row = |pair: period::Pair| Row {
            link: String::new(),
            cells: vec![
                name(pair.first),
                name(pair.second),
                Value::Count(pair.both),
                Value::Share(Some(pair.support)),
                Value::Share(Some(pair.confidence)),
                Value::Number(Some(pair.lift)),
            ],
        };
        let columns = vec![
            column("first", "col-first", Kind::Text),
            column("second", "col-second", Kind::Text),
            column("visits", "col-visits", Kind::Count),
            minor("support", "col-support", Kind::Share),
            column("confidence", "col-confidence", Kind::Share),
            column("lift", "col-lift", Kind::Number),
        ];
        // Of tags that are no product there is nothing to say.
        let pairs = self
            .report
            .period
            .pairs(FEWEST)
            .into_iter()
            .filter(|pair| pair.first.max(pair.second) < u64::MAX);
        Table { name: "pairs", columns, rows: pairs.map(row).collect() }
    }

    /// Per shop.
    #[must_use]
    pub(crate) fn stores(&self) -> Table {
        let mut shops: BTreeMap<u32, Counts> = BTreeMap::new();
        for (of, counts) in &self.report.period.hours {
            *shops.entry(of.shop).or_default() += *counts;
        }
        let row = |(number, of): (u32, Counts)| {
            let shop = &self.site.shops[number as usize];
            let watched = self.report.watched.get(&(number as usize));
            let keys = [text(&shop.name), text(shop.id)];
            let listened = watched.and_then(|watched| watched.share()).map(|share| share * 100.0);
            let cells = keys.into_iter().chain(counts(of)).chain([Value::Number(listened)]).collect();
            Row { link: self.filter.query_of_shop(&self.site.shops, number as usize), cells }
        };
        let columns = [column("name", "col-name", Kind::Text), minor("store", "col-store", Kind::Text)]
            .into_iter()
            .chain(COUNTS)
            .chain([column("listened_percent", "col-listened-percent", Kind::Number)])
            .collect();
        Table { name: "stores", columns, rows: shops.into_iter().map(row).collect() }
    }

    /// How many visits compared sizes of one style, and styles.
    #[must_use]
    pub(crate) fn shapes(&self) -> Table {
        let period::Shapes { one_one, one_many, many_one, many_many } = self.report.period.shapes;
        let told = withhold([one_one, one_many, many_one, many_many]);
        let row = |(name, count): (&'static str, Option<u64>)| Row {
            link: String::new(),
            cells: vec![Value::Word(name), count.map_or(Value::Hidden, Value::Count)],
        };
        let columns =
            vec![column("shape", "col-shape", Kind::Text), column("visits", "col-visits", Kind::Count)];
        Table { name: "shapes", columns, rows: SHAPES.into_iter().zip(told).map(row).collect() }
    }
}

/// What is compared in a visit: one style in one size, one in several, several in one size each, several and of one
/// several sizes.
const SHAPES: [&str; 4] = ["one_style_one_size", "one_style_sizes", "styles_one_size", "styles_and_sizes"];

/// Withholds numbers of 1 to [`FEWEST`] - 1, and if that is one, the smallest of the others that is not 0: all add up to
/// a number that is told.
fn withhold<const N: usize>(numbers: [u64; N]) -> [Option<u64>; N] {
    let few = |n: u64| (1..FEWEST).contains(&n);
    let mut told = numbers.map(|n| (!few(n)).then_some(n));
    if told.iter().filter(|n| n.is_none()).count() == 1
        && let Some(next) = told.iter_mut().filter(|n| n.is_some_and(|n| n > 0)).min_by_key(|n| **n)
    {
        *next = None;
    }
    told
}

/// A share of visits, withheld when it or what is left tells of few.
fn told(share: Option<Share>) -> Value {
    let few = |n: u64| (1..FEWEST).contains(&n);
    match share {
        Some(share) if few(share.part) || few(share.whole - share.part) => Value::Hidden,
        share => Value::Share(share),
    }
}

/// What became of goods.
const OUTCOME: [Column; 10] = [
    COUNTS[0],
    COUNTS[1],
    COUNTS[2],
    COUNTS[3],
    minor("pick_to_try", "col-pick-to-try", Kind::Share),
    column("try_to_buy", "col-try-to-buy", Kind::Share),
    minor("put_back", "col-put-back", Kind::Share),
    minor("left_in_booth", "col-left-in-booth", Kind::Share),
    column("sold", "col-sold", Kind::Count),
    minor("returned", "col-returned", Kind::Count),
];

fn outcome(report: &Report, sums: &Sums) -> impl Iterator<Item = Value> {
    counts(sums.counts).into_iter().chain([
        Value::Share(Share::of(sums.then_tried, sums.picked)),
        Value::Share(report.bought(sums.bought_product())),
        Value::Share(sums.put_back()),
        Value::Share(report.bought(sums.left())),
        report.passed(sums.sold),
        report.passed(sums.returned),
    ])
}

impl Report {
    /// Pieces that passed the till, where there is one.
    fn passed(&self, pieces: u64) -> Value {
        if self.has_tills { Value::Count(pieces) } else { Value::Number(None) }
    }
}

/// By what goods are put in order.
fn weight(sums: &Sums) -> (u64, u64, u64, u64) {
    (sums.counts.tried_on, sums.counts.picked_up, sums.counts.carried_in, sums.sold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_few_visits_is_withheld_and_cannot_be_computed() {
        assert_eq!(withhold([5, 6, 7, 0]), [Some(5), Some(6), Some(7), Some(0)]);
        assert_eq!(withhold([100, 3, 20, 0]), [Some(100), None, None, Some(0)]);
        assert_eq!(withhold([2, 3, 20, 0]), [None, None, Some(20), Some(0)]);
        assert_eq!(withhold([4, 0, 0, 0]), [None, Some(0), Some(0), Some(0)]);
    }
}
