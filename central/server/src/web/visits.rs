//! What visits compared. Enters: a report with its whole weeks. Leaves: the tables of pairs and of what was compared, and
//! their sentences. All of it is told of whole weeks and all goods, see [`hangtag_central_core::compare`]; a filter of goods
//! only chooses which of it is shown.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::compare::{FEWEST, Pair, Told};
use hangtag_central_core::measures::Share;

use crate::report::Report;

use super::lang::Lang;
use super::table::{Kind, Row, Table, Value, column, minor};
use super::tables::Source;

/// What is compared in a visit: one style in one size, one in several, several in one size each, several and of one
/// several sizes.
const SHAPES: [&str; 4] = ["one_style_one_size", "one_style_sizes", "styles_one_size", "styles_and_sizes"];

/// Of the visits in which a style was tried, the share in which two sizes or more of it were.
pub(super) fn hunts(report: &Report, style: u64) -> Value {
    let of = report.told.styles.get(&style);
    of.map_or(Value::Hidden, |of| Value::Share(Share::of(of.hunts, of.visits)))
}

/// Of the visits that compared sizes of a style, the share that found a neighbouring size sold out.
pub(super) fn lost(source: &Source<'_>, style: u64) -> Value {
    match source.report.told.lost.get(&style) {
        Some(of) => Value::Share(Share::of(of.lost, of.known)),
        // Where nobody counts, nothing is withheld.
        None if source.stock.is_empty() => Value::Share(None),
        None => Value::Hidden,
    }
}

/// Visits by the size that they found sold out, of styles that count.
pub(super) fn lost_sizes(source: &Source<'_>) -> BTreeMap<u32, u64> {
    let wanted = styles(source);
    let mut sizes = BTreeMap::new();
    for (_, of) in source.report.told.lost.iter().filter(|(style, _)| wanted.contains(style)) {
        of.by_size.iter().for_each(|(size, lost)| *sizes.entry(*size).or_default() += lost);
    }
    sizes
}

/// The styles of which anything is told under the filter.
fn styles(source: &Source<'_>) -> BTreeSet<u64> {
    source.report.period.articles.keys().map(|article| source.site.goods.place(*article).style).collect()
}

/// In how many of the visits that compared sizes one was sold out; empty where that is not known.
#[must_use]
pub(super) fn lost_finding(source: &Source<'_>, lang: Lang) -> String {
    let wanted = styles(source);
    let of = source.report.told.lost.iter().filter(|(style, _)| wanted.contains(style));
    let (lost, known) = of.fold((0, 0), |(lost, known), (_, of)| (lost + of.lost, known + of.known));
    if known == 0 {
        return String::new();
    }
    lang.format("finding-lost", &[("part", lost.into()), ("whole", known.into())])
}

impl Report {
    /// Visits, of all goods.
    pub(super) fn visits(&self, visits: u64) -> Value {
        if self.is_all { Value::Count(visits) } else { Value::Hidden }
    }

    /// How long visits lasted; of some goods only when those were not few.
    pub(super) fn stay(&self, visits: u64, stay: Option<u32>) -> Value {
        if self.is_all || visits >= FEWEST { Value::Duration(stay) } else { Value::Hidden }
    }
}

/// Pairs of styles that were tried in the same visits.
#[must_use]
pub(super) fn pairs(source: &Source<'_>) -> Table {
    let goods = &source.site.goods;
    let name = |style: u64| {
        let name = goods.style_name(style).map(str::to_owned).or_else(|| goods.style(style));
        Value::Text(name.unwrap_or_default())
    };
    let row = |pair: Pair| Row {
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
    let wanted = styles(source);
    let is_wanted =
        |pair: &Pair| source.report.is_all || wanted.contains(&pair.first) || wanted.contains(&pair.second);
    let pairs = source.report.told.pairs().into_iter();
    // Of tags that are no product there is nothing to say.
    let pairs = pairs.filter(|pair| pair.first.max(pair.second) < u64::MAX && is_wanted(pair));
    Table { name: "pairs", columns, rows: pairs.map(row).collect() }
}

/// How many visits compared sizes of one style, and styles.
#[must_use]
pub(super) fn shapes(source: &Source<'_>) -> Table {
    let told = if source.report.is_all { source.report.told.shapes } else { Default::default() };
    let row = |(name, count): (&'static str, Option<u64>)| Row {
        link: String::new(),
        cells: vec![Value::Word(name), count.map_or(Value::Hidden, Value::Count)],
    };
    let columns = vec![column("shape", "col-shape", Kind::Text), column("visits", "col-visits", Kind::Count)];
    Table { name: "shapes", columns, rows: SHAPES.into_iter().zip(told).map(row).collect() }
}

/// What is tried together.
#[must_use]
pub(super) fn pairs_finding(source: &Source<'_>, lang: Lang) -> String {
    let Told { weeks, .. } = source.report.told;
    if weeks == 0 {
        return lang.format("finding-no-weeks", &[("least", FEWEST.into())]);
    }
    let Table { rows, .. } = pairs(source);
    match rows.first().map(|row| &row.cells[..]) {
        Some([Value::Text(first), Value::Text(second), Value::Count(both), ..]) => {
            let args = [
                ("first", first.as_str().into()),
                ("second", second.as_str().into()),
                ("count", (*both).into()),
                ("weeks", weeks.into()),
            ];
            lang.format("finding-pair", &args)
        }
        Some(_) | None => {
            lang.format("finding-no-pair", &[("count", FEWEST.into()), ("weeks", weeks.into())])
        }
    }
}

/// What shoppers compare.
#[must_use]
pub(super) fn shapes_finding(source: &Source<'_>, lang: Lang) -> String {
    match source.report.told.weeks {
        _ if !source.report.is_all => lang.text("finding-shapes-all-goods"),
        0 => lang.format("finding-no-weeks", &[("least", FEWEST.into())]),
        weeks => lang.format("finding-shapes", &[("weeks", weeks.into()), ("least", FEWEST.into())]),
    }
}

#[cfg(test)]
mod tests;
