//! The page's numbers as tables. Enters: a report. Leaves: tables of values, from which the page, the CSV files and
//! the JSON answers are written: so all three say the same.
//!
//! What visits compared is in [`super::visits`]. Under a filter of goods no visits are counted: from those with one style,
//! with another and with either one would know those with both.

use std::collections::BTreeMap;

use hangtag_central_core::handled::{Article, Counts};
use hangtag_central_core::period::{HourOf, Sums, Zone};
use hangtag_central_core::size;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::id::ZoneId;
use jiff::civil::Date;

use super::Site;
use super::filter::Filter;
use super::heard::{Clock, Heard, LISTENED};
use super::outcome::{OUTCOME, outcome, weight};
use super::readers;
use super::spots::{self, OnShow};
use super::table::{Column, Kind, Row, Table, Value, column, minor};
use super::visits;
use crate::days::Stock;
use crate::report::Report;

pub(super) const COUNTS: [Column; 4] = [
    column("picked_up", "col-picked-up", Kind::Count),
    minor("put_down", "col-put-down", Kind::Count),
    minor("carried_in", "col-carried-in", Kind::Count),
    column("tried_on", "col-tried-on", Kind::Count),
];

/// Counts; `None` where nothing is known.
pub(super) fn counts(of: Option<Counts>) -> [Value; 4] {
    let count = |of: Counts| [of.picked_up, of.put_down, of.carried_in, of.tried_on].map(Value::Count);
    of.map_or([const { Value::Unmeasured }; 4], count)
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

/// What stands for the name of tags that are no product's.
const NO_PRODUCT: Value = Value::Word("no_product");

/// The names of all tables.
pub(crate) const NAMES: [&str; 13] = [
    "summary", "days", "hours", "week", "styles", "products", "zones", "spots", "sizes", "pairs", "shapes",
    "stores", "readers",
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
            "pairs" => visits::pairs(self),
            "shapes" => visits::shapes(self),
            "stores" => self.stores(),
            "readers" => readers::table(self),
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
            minor("store", "col-store", Kind::Text),
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
            LISTENED,
            minor("reported_percent", "col-reported-percent", Kind::Number),
            minor("delay_p95", "col-delay-p95", Kind::Duration),
        ];
        let row = |(name, days, shops): (&'static str, (Date, Date), &[usize]), of: &Report| {
            let total = &of.period.total;
            let [picked, down, carried, tried] = counts(Some(total.counts).filter(|_| of.is_measured()));
            let store = match shops {
                [one] => self.site.shops[*one].id.to_string(),
                _ => String::new(),
            };
            let cells = vec![
                Value::Word(name),
                Value::Text(store),
                of.visits(of.period.visits),
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
                of.stay(of.period.visits, of.period.dwell(0.5)),
                of.stay(of.period.visits, of.period.dwell(0.9)),
                Value::Number(of.share_listened().map(|share| share * 100.0)),
                Value::Number(of.share_reported().map(|share| share * 100.0)),
                Value::Duration(of.delays.quantile(0.95)),
            ];
            Row { days: Some(days), cells, ..Row::default() }
        };
        let Filter { from, to, .. } = *self.filter;
        let mut rows = vec![row(("asked", (from, to), &self.filter.shops), self.report)];
        if let Some((of, days)) = self.compared.zip(self.filter.compared()) {
            rows.push(row(("compared", days, &self.filter.compared_shops(&self.site.shops)), of));
        }
        Table { name: "summary", columns, rows }
    }

    /// Per day, all shops together.
    #[must_use]
    pub(crate) fn days(&self) -> Table {
        let mut days: BTreeMap<i32, Heard> = BTreeMap::new();
        for (of, counts) in &self.report.period.hours {
            days.entry(of.day).or_default().add_counts(*counts);
        }
        for of in self.report.days.keys() {
            days.entry(of.1).or_default().add_day(self.report, *of);
        }
        let row = |(day, of): (i32, Heard)| {
            let date = Report::day(day);
            let only =
                Filter { period: super::filter::Period::Custom, from: date, to: date, ..self.filter.clone() };
            let cells = [text(date)].into_iter().chain(of.cells()).collect();
            Row { link: only.query(&self.site.shops), cells, ..Row::default() }
        };
        let columns =
            [column("day", "col-day", Kind::Text)].into_iter().chain(COUNTS).chain([LISTENED]).collect();
        Table { name: "days", columns, rows: days.into_iter().map(row).collect() }
    }

    /// Per shop and hour, from the first to the last hour of the day in which a shop is open or something happened.
    #[must_use]
    pub(crate) fn hours(&self) -> Table {
        let mut rows = Vec::new();
        let mut days: BTreeMap<(u32, i32), Vec<(HourOf, Counts)>> = BTreeMap::new();
        for (of, counts) in &self.report.period.hours {
            days.entry((of.shop, of.day)).or_default().push((*of, *counts));
        }
        for ((shop, _), of) in days {
            let shop = &self.site.shops[shop as usize];
            let mut clock = Clock::default();
            let mut keep = |(at, of): &(HourOf, Counts)| {
                *of != Counts::default() || clock.hour(self, at).is_some_and(|(hour, _)| hour.open)
            };
            let first = of.iter().position(&mut keep).unwrap_or(0);
            let last = of.iter().rposition(keep).unwrap_or(of.len().saturating_sub(1));
            for (at, of) in of.iter().take(last + 1).skip(first) {
                let Some((hour, passed)) = clock.hour(self, at) else { continue };
                let start = hour.start.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
                let mut heard = Heard::default();
                heard.add_hour(self.report, at, *of, passed);
                let cells = [text(shop.id), text(start)].into_iter().chain(heard.cells()).collect();
                rows.push(Row { cells, ..Row::default() });
            }
        }
        let columns = [column("store", "col-store", Kind::Text), column("hour", "col-hour", Kind::Text)]
            .into_iter()
            .chain(COUNTS)
            .chain([LISTENED])
            .collect();
        Table { name: "hours", columns, rows }
    }

    /// Per weekday and hour of the shops' clocks, all shops and days together.
    #[must_use]
    pub(crate) fn week(&self) -> Table {
        let mut week: BTreeMap<(i8, i8), Heard> = BTreeMap::new();
        let mut clock = Clock::default();
        for (of, counts) in &self.report.period.hours {
            let Some((hour, passed)) = clock.hour(self, of) else { continue };
            if hour.open || *counts != Counts::default() {
                let key = (Report::day(of.day).weekday().to_monday_one_offset(), hour.start.hour());
                week.entry(key).or_default().add_hour(self.report, of, *counts, passed);
            }
        }
        let row = |((weekday, hour), of): ((i8, i8), Heard)| {
            let cells =
                [text(weekday), text(format!("{hour:02}:00"))].into_iter().chain(of.cells()).collect();
            Row { cells, ..Row::default() }
        };
        let keys =
            [column("iso_weekday", "col-iso-weekday", Kind::Text), column("clock", "col-clock", Kind::Text)];
        let columns = keys.into_iter().chain(COUNTS).chain([LISTENED]).collect();
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
            let called = self.site.goods.style_name(style).or(name.as_deref());
            let keys = [called.map_or(NO_PRODUCT, text), text(name.unwrap_or_default())];
            let cells = keys
                .into_iter()
                .chain(outcome(self.report, &sums))
                .chain([visits::hunts(self.report, style), visits::lost(self, style)])
                .chain(OnShow::cells(shown.get(&style)))
                .collect();
            Row { link: link.unwrap_or_default(), cells, ..Row::default() }
        };
        let columns = [column("name", "col-name", Kind::Text), minor("style", "col-style", Kind::Text)]
            .into_iter()
            .chain(OUTCOME)
            .chain([
                minor("size_hunt", "col-size-hunt", Kind::Share),
                minor("lost_size", "col-lost-size", Kind::Share),
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
            let name = match article {
                Article::Product(_) => text(item.name),
                Article::Unknown => NO_PRODUCT,
            };
            let keys = [item.style, item.colour, item.size, item.price, gtin].map(text);
            let cells = [name].into_iter().chain(keys).chain(outcome(self.report, sums)).collect();
            Row { cells, ..Row::default() }
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
        let row = |(&(shop, name), zone): (&(u32, ZoneId), &Zone)| {
            let keys = [text(name), text(self.site.shops[shop as usize].id)];
            let stays = [
                self.report.visits(zone.visits),
                self.report.stay(zone.visits, zone.dwell(0.5)),
                self.report.stay(zone.visits, zone.dwell(0.9)),
            ];
            let scans = [zone.loyalty_scans, zone.product_scans].map(Value::Count);
            let cells = keys.into_iter().chain(counts(Some(zone.counts))).chain(stays);
            let cells = if has_scans { cells.chain(scans).collect() } else { cells.collect() };
            Row { cells, ..Row::default() }
        };
        // Nothing happened there, as far as anybody listened.
        let quiet = |((shop, name), is_listened): ((u32, ZoneId), bool)| {
            let keys = [text(name), text(self.site.shops[shop as usize].id)];
            let none = || if is_listened { Value::Count(0) } else { Value::Unmeasured };
            let stays = [none(), Value::Duration(None), Value::Duration(None)];
            let cells = keys.into_iter().chain(counts(is_listened.then(Counts::default))).chain(stays);
            let scans = [none(), none()].into_iter().filter(|_| has_scans);
            Row { cells: cells.chain(scans).collect(), ..Row::default() }
        };
        let rows = zones.into_iter().map(row).chain(self.quiet_zones().into_iter().map(quiet)).collect();
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
        Table { name: "zones", columns, rows }
    }

    /// The zones that the shops have and of which nothing was told, with whether anybody listened. With a filter of goods
    /// there are none: nobody knows where these hang.
    fn quiet_zones(&self) -> BTreeMap<(u32, ZoneId), bool> {
        let Report { period, listening, zones, .. } = self.report;
        let known = zones
            .iter()
            .filter(|_| self.report.is_all)
            .flat_map(|(shop, of)| of.iter().map(move |zone| (*shop, zone)));
        let mut quiet = BTreeMap::new();
        for (shop, zone) in known.filter(|(shop, zone)| !period.zones.contains_key(&(*shop, zone.zone))) {
            *quiet.entry((shop, zone.zone)).or_default() |= listening.contains(&(shop, zone.gateway));
        }
        quiet
    }

    /// Per size, in the order of sizes.
    #[must_use]
    pub(crate) fn sizes(&self) -> Table {
        let lost = visits::lost_sizes(self);
        let mut sizes = self.by_size();
        // Of what is sold out nothing need have been handled.
        for size in lost.keys() {
            sizes.entry(*size).or_default();
        }
        let mut sizes: Vec<(&str, u32, Sums)> =
            sizes.into_iter().map(|(size, sums)| (self.site.goods.size(size), size, sums)).collect();
        sizes.sort_by(|(a, ..), (b, ..)| size::compare(a, b));
        let row = |(name, size, sums): (&str, u32, Sums)| {
            let lost = match lost.get(&size) {
                Some(lost) => Value::Count(*lost),
                None if self.stock.is_empty() => Value::Number(None),
                None => Value::Hidden,
            };
            let cells = [text(name)].into_iter().chain(outcome(self.report, &sums)).chain([lost]).collect();
            Row { link: self.filter.query_of_size(&self.site.shops, name), cells, ..Row::default() }
        };
        let columns = [column("size", "col-size", Kind::Text)]
            .into_iter()
            .chain(OUTCOME)
            .chain([minor("lost", "col-lost-visits", Kind::Count)])
            .collect();
        Table { name: "sizes", columns, rows: sizes.into_iter().map(row).collect() }
    }

    /// Per shop.
    #[must_use]
    pub(crate) fn stores(&self) -> Table {
        let mut shops: BTreeMap<u32, Heard> = BTreeMap::new();
        for (of, counts) in &self.report.period.hours {
            shops.entry(of.shop).or_default().add_counts(*counts);
        }
        for of in self.report.days.keys() {
            shops.entry(of.0).or_default().add_day(self.report, *of);
        }
        let row = |(number, of): (u32, Heard)| {
            let shop = &self.site.shops[number as usize];
            let keys = [text(&shop.name), text(shop.id)];
            let cells = keys.into_iter().chain(of.cells()).collect();
            Row {
                link: self.filter.query_of_shop(&self.site.shops, number as usize),
                cells,
                ..Row::default()
            }
        };
        let columns = [column("name", "col-name", Kind::Text), minor("store", "col-store", Kind::Text)]
            .into_iter()
            .chain(COUNTS)
            .chain([LISTENED])
            .collect();
        Table { name: "stores", columns, rows: shops.into_iter().map(row).collect() }
    }
}
