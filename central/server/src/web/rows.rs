//! Tables in words. Enters: a table of values. Leaves: its heads and cells as the page writes them, the most telling
//! share of each row drawn.

use hangtag_central_core::measures::Share;
use hangtag_central_core::rate::Rate;

use super::chart::share;
use super::chart::svg::{Caption, Svg};
use super::lang::Lang;
use super::spots::of_expected;
use super::table::{Kind, Table, Value};

/// The most rows of a table that stand on the page; all are in its CSV file.
const SHOWN: usize = 40;

/// A table, in words.
pub(crate) struct TableView {
    /// The heads: text and class.
    pub heads: Vec<(String, &'static str)>,
    /// The rows.
    pub rows: Vec<RowView>,
    /// What is not shown.
    pub more: String,
}

/// A row, in words.
pub(crate) struct RowView {
    /// Query string of what it leads to; empty for nothing.
    pub link: String,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// A cell, in words.
#[derive(Default)]
pub(crate) struct Cell {
    /// What it says,
    pub text: String,
    /// what stands below that,
    pub below: String,
    /// and what is drawn.
    pub svg: Option<Svg>,
    /// Its class.
    pub class: &'static str,
}

impl TableView {
    pub(super) fn new(table: &Table, lang: Lang) -> Self {
        let class = |at: usize| match (table.columns[at].kind, table.columns[at].minor) {
            (Kind::Text, false) => "text",
            (Kind::Text, true) => "text minor",
            (Kind::Count | Kind::Share | Kind::Rate | Kind::Ratio | Kind::Duration | Kind::Number, false) => {
                ""
            }
            (Kind::Count | Kind::Share | Kind::Rate | Kind::Ratio | Kind::Duration | Kind::Number, true) => {
                "minor"
            }
        };
        let heads = table.columns.iter().enumerate();
        // Shares that a phone shows as well are drawn, all of a column on the same scale.
        let drawn = table.columns.iter().position(|column| column.kind == Kind::Share && !column.minor);
        let drawn = drawn.filter(|_| table.rows.len() > 2);
        let top = drawn.map_or(1.0, |at| {
            let ends = table.rows.iter().take(SHOWN).filter_map(|row| {
                let Value::Share(share) = &row.cells[at] else { return None };
                share.map(|share| share.high)
            });
            ends.fold(0.1, f64::max)
        });
        let draw = |row: usize, at: usize, value: &Value| {
            let Value::Share(Some(share)) = value else { return None };
            if drawn != Some(at) {
                return None;
            }
            let id = format!("{}-{row}", table.name);
            let title = format!("{}, {}", of_whole(share, lang), interval(share, lang));
            let caption = Caption { id: &id, title: &title, desc: "" };
            let &Share { value, low, high, .. } = share;
            Some(share::Share { caption, value, low, high, top, mark: None }.draw())
        };
        let rows = table.rows.iter().take(SHOWN).enumerate().map(|(number, row)| RowView {
            link: row.link.clone(),
            cells: row
                .cells
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    let (text, below) = words(value, lang);
                    Cell { text, below, svg: draw(number, at, value), class: class(at) }
                })
                .collect(),
        });
        let hidden = table.rows.len().saturating_sub(SHOWN) as u64;
        Self {
            heads: heads.map(|(at, column)| (lang.text(column.key), class(at))).collect(),
            rows: rows.collect(),
            more: if hidden > 0 {
                lang.format("rows-more", &[("count", hidden.into())])
            } else {
                String::new()
            },
        }
    }
}

/// A value, and what stands below it.
fn words(value: &Value, lang: Lang) -> (String, String) {
    let none = || ("–".to_owned(), String::new());
    match value {
        Value::Text(text) => (text.clone(), String::new()),
        Value::Word(word) => (said(word, lang), String::new()),
        Value::Count(count) => (lang.count(*count), String::new()),
        Value::Share(Some(share)) => {
            let below = format!("{}, {}", of_whole(share, lang), interval(share, lang));
            (lang.percent(share.value), below)
        }
        Value::Rate(Some(rate)) => {
            let args = [("count", rate.part.into()), ("hours", (rate.whole.round() as u64).into())];
            (format!("{:.1}", rate.value), lang.format("rate-of", &args) + &ends(rate, lang))
        }
        Value::Ratio(Some(ratio)) => {
            (format!("× {:.2}", ratio.value), of_expected(ratio, lang) + &ends(ratio, lang))
        }
        Value::Duration(Some(ds)) => (lang.seconds(u64::from(*ds) / 10), String::new()),
        Value::Number(Some(number)) => (format!("{number:.1}"), String::new()),
        Value::Share(None)
        | Value::Rate(None)
        | Value::Ratio(None)
        | Value::Duration(None)
        | Value::Number(None) => none(),
        Value::Hidden => (lang.text("hidden"), String::new()),
        Value::Unmeasured => (lang.text("unmeasured"), String::new()),
    }
}

/// A word of a table, in the reader's language.
fn said(word: &str, lang: Lang) -> String {
    match word {
        "asked" => lang.text("stretch-asked"),
        "compared" => lang.text("stretch-compared"),
        "one_style_one_size" => lang.text("shape-one-one"),
        "one_style_sizes" => lang.text("shape-one-many"),
        "styles_one_size" => lang.text("shape-many-one"),
        "styles_and_sizes" => lang.text("shape-many-many"),
        "hot" => lang.text("verdict-hot"),
        "cold" => lang.text("verdict-cold"),
        "even" => lang.text("verdict-even"),
        "unknown" => lang.text("verdict-unknown"),
        "untouched" => lang.text("verdict-untouched"),
        "no_product" => lang.text("no-product"),
        "more" => lang.text("beyond-more"),
        "less" => lang.text("beyond-less"),
        "no" => lang.text("beyond-no"),
        "floor" => lang.text("known-floor"),
        "stock" => lang.text("known-stock"),
        "seen" => lang.text("known-seen"),
        _ => word.into(),
    }
}

/// `38 of 120`.
pub(super) fn of_whole(share: &Share, lang: Lang) -> String {
    lang.format(
        "of-whole",
        &[("part", lang.count(share.part).into()), ("whole", lang.count(share.whole).into())],
    )
}

pub(super) fn interval(share: &Share, lang: Lang) -> String {
    lang.format("interval", &[("percents", lang.percents(share.low, share.high).into())])
}

/// The two ends of a rate's interval, as far as it has one.
fn ends(rate: &Rate, lang: Lang) -> String {
    let Some(ends) = rate.interval else { return String::new() };
    let [low, high] = ends.map(|end| format!("{end:.1}"));
    format!(", {}", lang.format("interval", &[("percents", format!("{low}–{high}").into())]))
}
