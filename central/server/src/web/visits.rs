//! What visits compared. Enters: a report with its whole weeks. Leaves: the tables of pairs and of what was compared, and
//! their sentences. All of it is told of whole weeks and all goods, see [`hangtag_central_core::compare`]; a filter of goods
//! only chooses which of it is shown.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::compare::{Bond, FEWEST, Pair, SHOWN};
use hangtag_central_core::rounding::BASE;

use crate::report::Report;

use super::lang::Lang;
use super::table::{Kind, Row, Table, Value, column, minor};
use super::tables::Source;

/// What is compared in a visit: one style in one size, one in several, several in one size each, several and of one
/// several sizes.
const SHAPES: [&str; 4] = ["one_style_one_size", "one_style_sizes", "styles_one_size", "styles_and_sizes"];

/// Of the visits in which a style was tried, the share in which two sizes or more of it were.
pub(super) fn hunts(report: &Report, style: u64) -> Value {
    report.told.hunts(style).map_or(Value::Hidden, |share| Value::Share(Some(share)))
}

/// Of the visits that compared sizes of a style, the share that found a neighbouring size sold out.
pub(super) fn lost(source: &Source<'_>, style: u64) -> Value {
    match source.report.told.lost_share(style) {
        Some(share) => Value::Share(Some(share)),
        // Where nobody counts, nothing is withheld.
        None if source.stock.is_empty() => Value::Share(None),
        None => Value::Hidden,
    }
}

/// Visits by the size that they found sold out, of styles that count.
pub(super) fn lost_sizes(source: &Source<'_>) -> BTreeMap<u32, u64> {
    let wanted = styles(source);
    source.report.told.lost(&|style| wanted.contains(&style)).by_size
}

/// The styles of which anything is told under the filter.
fn styles(source: &Source<'_>) -> BTreeSet<u64> {
    source.report.period.articles.keys().map(|article| source.site.goods.place(*article).style).collect()
}

/// In how many comparisons of sizes of a style one was sold out, of which a visit may make several; empty where that is not known.
#[must_use]
pub(super) fn lost_finding(source: &Source<'_>, lang: Lang) -> String {
    let wanted = styles(source);
    let of = source.report.told.lost(&|style| wanted.contains(&style));
    if of.known == 0 {
        return String::new();
    }
    lang.format("finding-lost", &[("part", of.lost.into()), ("whole", of.known.into())])
}

impl Report {
    /// Visits, of all goods.
    pub(super) fn visits(&self, visits: u64) -> Value {
        match self.is_all {
            false => Value::Hidden,
            true if visits == 0 && !self.is_measured() => Value::Unmeasured,
            true => Value::Count(visits),
        }
    }

    /// How long visits lasted; of some goods only when those were not few.
    pub(super) fn stay(&self, visits: u64, stay: Option<u32>) -> Value {
        if self.is_all || visits >= FEWEST { Value::Duration(stay) } else { Value::Hidden }
    }
}

/// How it is written in tables whether two styles have to do with each other.
fn bond(bond: Bond) -> &'static str {
    match bond {
        Bond::More => "more",
        Bond::Even => "no",
        Bond::Less => "less",
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
        cells: vec![
            name(pair.first),
            name(pair.second),
            Value::Count(pair.both),
            Value::Share(Some(pair.support)),
            Value::Share(Some(pair.confidence)),
            Value::Number(Some(pair.lift)),
            Value::Word(bond(pair.bond)),
        ],
        ..Row::default()
    };
    let columns = vec![
        column("first", "col-first", Kind::Text),
        column("second", "col-second", Kind::Text),
        column("visits", "col-visits", Kind::Count),
        minor("support", "col-support", Kind::Share),
        column("confidence", "col-confidence", Kind::Share),
        column("lift", "col-lift", Kind::Number),
        column("beyond_chance", "col-beyond-chance", Kind::Text),
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
    let is_told = source.report.is_all && source.report.told.weeks() > 0;
    let row = |(name, count): (&'static str, u64)| Row {
        cells: vec![Value::Word(name), if is_told { Value::Count(count) } else { Value::Hidden }],
        ..Row::default()
    };
    let columns = vec![column("shape", "col-shape", Kind::Text), column("visits", "col-visits", Kind::Count)];
    Table {
        name: "shapes",
        columns,
        rows: SHAPES.into_iter().zip(source.report.told.shapes).map(row).collect(),
    }
}

/// What is tried together.
#[must_use]
pub(super) fn pairs_finding(source: &Source<'_>, lang: Lang) -> String {
    let weeks = source.report.told.weeks();
    if weeks == 0 {
        return lang.format("finding-no-weeks", &[("least", FEWEST.into())]);
    }
    let Table { rows, .. } = pairs(source);
    let rounded = lang.format("visits-rounded", &[("base", BASE.into())]);
    let said = match rows.first().map(|row| &row.cells[..]) {
        Some([Value::Text(first), Value::Text(second), Value::Count(both), .., Value::Word("more")]) => {
            let args = [
                ("first", first.as_str().into()),
                ("second", second.as_str().into()),
                ("count", (*both).into()),
                ("weeks", weeks.into()),
            ];
            lang.format("finding-pair", &args)
        }
        Some(_) => lang.format("finding-pairs-by-chance", &[("weeks", weeks.into())]),
        None => {
            let name = if source.report.is_all { "finding-no-pair" } else { "finding-no-pair-of-these" };
            lang.format(name, &[("count", SHOWN.into()), ("weeks", weeks.into())])
        }
    };
    format!("{said} {rounded}")
}

/// What shoppers compare.
#[must_use]
pub(super) fn shapes_finding(source: &Source<'_>, lang: Lang) -> String {
    match source.report.told.weeks() {
        _ if !source.report.is_all => lang.text("finding-shapes-all-goods"),
        0 => lang.format("finding-no-weeks", &[("least", FEWEST.into())]),
        weeks => lang.format("finding-shapes", &[("weeks", weeks.into()), ("base", BASE.into())]),
    }
}

#[cfg(test)]
mod tests;
