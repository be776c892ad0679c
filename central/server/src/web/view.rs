//! What the page says. Enters: a report and what it is compared with, the tables, how good the data are, a language.
//! Leaves: texts and drawings that the template writes as they are.

use hangtag_central_core::measures::Share;
use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;

use crate::report::Report;
use crate::store::{Quality, Unopened};

use super::chart::share;
use super::chart::svg::{Caption, Svg};
use super::coverage::{self, Strip};
use super::draw;
use super::filter::{Compare, Period};
use super::gateway::Gateway;
use super::lang::Lang;
use super::tables::{Kind, Source, Table, Value};

/// The most rows of a table that stand on the page; all are in its CSV file.
const SHOWN: usize = 40;
/// A share of the opening hours in which readers listened below which a count is no measure of interest.
const POORLY: f64 = 0.9;

/// A page.
pub(crate) struct View {
    /// The other languages: name and query string.
    pub others: Vec<(Lang, String)>,
    /// The filter bar.
    pub form: Form,
    /// Which shops,
    pub title: String,
    /// which days, and of one day in one shop when that is open,
    pub stretch: String,
    /// and what they are compared with.
    pub against: String,
    /// The way from the chain to what is shown: name and query string, the last one without.
    pub crumbs: Vec<(String, Option<String>)>,
    /// When something was seen last.
    pub last: String,
    /// What to know before reading numbers.
    pub notes: Vec<String>,
    /// Sums.
    pub tiles: Vec<Tile>,
    /// Drawings and tables.
    pub sections: Vec<Section>,
    /// How good the data are.
    pub quality: QualityView,
    /// The query string of the same page.
    pub query: String,
}

/// The filter bar.
pub(crate) struct Form {
    /// Lists of which several can be chosen.
    pub lists: Vec<List>,
    /// Periods: value, name, whether chosen.
    pub periods: Vec<(String, String, bool)>,
    /// Comparisons: the same.
    pub compares: Vec<(String, String, bool)>,
    /// The first day,
    pub from: String,
    /// and the last.
    pub to: String,
    /// Values that the form carries on without showing them.
    pub hidden: Vec<(&'static str, String)>,
}

/// A list of which several can be chosen.
pub(crate) struct List {
    /// The parameter.
    pub name: &'static str,
    /// Its name for people,
    pub label: String,
    /// what is chosen,
    pub chosen: String,
    /// and what can be: value, name, whether chosen.
    pub options: Vec<(String, String, bool)>,
}

/// A sum.
pub(crate) struct Tile {
    /// What it is.
    pub label: String,
    /// The number.
    pub value: String,
    /// How it differs from what it is compared with; `None` without a comparison.
    pub change: Option<Change>,
    /// Numerator, denominator and interval, or what else belongs to it.
    pub notes: Vec<String>,
}

/// A difference.
pub(crate) struct Change {
    /// In words, with its sign.
    pub text: String,
    /// Its class: `up`, `down` or `same`.
    pub class: &'static str,
}

/// A drawing with its table.
pub(crate) struct Section {
    /// Its anchor, and the name of its CSV file.
    pub id: &'static str,
    /// Its title.
    pub title: String,
    /// What it shows, in a sentence.
    pub finding: String,
    /// The drawing.
    pub svg: Option<Svg>,
    /// The numbers.
    pub table: Option<TableView>,
    /// Whether the table stands there without being opened.
    pub is_open: bool,
}

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

/// How good the data are.
pub(crate) struct QualityView {
    /// In a sentence.
    pub finding: String,
    /// Whether the readers listened too little for counts to be believed.
    pub is_poor: bool,
    /// When the readers listened on the last day, of one shop,
    pub strips: Vec<Strip>,
    /// and which day that is.
    pub strips_day: String,
    /// The gateways, with the names of their shops.
    pub gateways: Vec<(String, Gateway)>,
    /// What is missing.
    pub gaps: Vec<String>,
    /// How many ranges and how many events in them.
    pub gap_sum: (u64, u64),
    /// What could not be read.
    pub quarantine: Vec<String>,
    /// How many.
    pub quarantine_sum: u64,
    /// Loyalty codes that are not opened, in sentences.
    pub unopened: Vec<String>,
    /// Catalogue rows that were left out.
    pub catalogue: Vec<String>,
    /// Shops that send but are not in the stores file.
    pub strangers: Vec<String>,
}

impl View {
    /// Makes a page. `qualities` are those of the shops of the filter, in its order.
    pub(crate) fn new(source: &Source<'_>, qualities: &[Quality], lang: Lang, now: Timestamp) -> Self {
        let Source { site, filter, report, compared } = *source;
        let shops = &site.shops;
        let others = Lang::ALL.into_iter().filter(|other| *other != lang);
        let last = qualities.iter().filter_map(|quality| quality.last).max();
        Self {
            others: others.map(|other| (other, filter.query_in(shops, other.tag()))).collect(),
            form: form(source, lang),
            title: title(source, lang),
            stretch: match filter.shops[..] {
                [shop] if filter.from == filter.to => {
                    let day = lang.day(filter.from);
                    match shops[shop].opening(filter.from) {
                        Some(hours) => {
                            lang.format("day-open", &[("day", day.into()), ("hours", hours.into())])
                        }
                        None => lang.format("day-closed", &[("day", day.into())]),
                    }
                }
                _ => lang.period(filter.from, filter.to),
            },
            against: against(source, lang),
            crumbs: crumbs(source, lang),
            last: last.map_or(lang.text("last-none"), |at| {
                lang.format("last", &[("ago", lang.ago(at, now).into())])
            }),
            notes: notes(report, qualities, lang),
            tiles: tiles(report, compared, lang),
            sections: sections(source, lang),
            quality: quality(source, qualities, lang, now),
            query: filter.query(shops),
        }
    }
}

fn form(source: &Source<'_>, lang: Lang) -> Form {
    let Source { site, filter, .. } = *source;
    let [categories, colours, mut sizes] = site.goods.choices();
    sizes.sort_by(|a, b| hangtag_central_core::size::compare(a, b));
    let all = |count: usize| if count == 0 { lang.text("all") } else { lang.count(count as u64) };
    let goods = |name: &'static str,
                 label: String,
                 options: Vec<String>,
                 chosen: &std::collections::BTreeSet<String>| List {
        name,
        label,
        chosen: if chosen.len() == 1 {
            chosen.first().cloned().unwrap_or_default()
        } else {
            all(chosen.len())
        },
        options: options
            .into_iter()
            .map(|value| (value.clone(), value.clone(), chosen.contains(&value)))
            .collect(),
    };
    let stores = List {
        name: "store",
        label: lang.text("filter-store"),
        chosen: match &filter.shops[..] {
            _ if !filter.names_shops => all(0),
            [one] => site.shops[*one].name.clone(),
            several => all(several.len()),
        },
        options: (0..)
            .zip(&site.shops)
            .map(|(at, shop)| {
                (shop.id.to_string(), shop.name.clone(), filter.names_shops && filter.shops.contains(&at))
            })
            .collect(),
    };
    let wanted = &filter.wanted;
    let lists = [
        stores,
        goods("category", lang.text("filter-category"), categories, &wanted.categories),
        goods("colour", lang.text("filter-colour"), colours, &wanted.colours),
        goods("size", lang.text("filter-size"), sizes, &wanted.sizes),
    ];
    let period = |period: Period| {
        let key = match period {
            Period::Today => "period-today",
            Period::Yesterday => "period-yesterday",
            Period::Week => "period-week",
            Period::FourWeeks => "period-four-weeks",
            Period::Custom => "period-custom",
        };
        (period.name().into(), lang.text(key), period == filter.period)
    };
    let mut compares: Vec<(String, String, bool)> = [
        (Compare::Previous, lang.text("compare-previous")),
        (Compare::Year, lang.text("compare-year")),
        (Compare::Nothing, lang.text("compare-none")),
    ]
    .into_iter()
    .map(|(compare, label)| (compare.name(), label, compare == filter.compare))
    .collect();
    if site.shops.len() > 1 {
        compares.extend(site.shops.iter().map(|shop| {
            let compare = Compare::Store(shop.id);
            let name = lang.format("compare-store", &[("store", shop.name.as_str().into())]);
            (compare.name(), name, compare == filter.compare)
        }));
    }
    let styles = wanted.styles.iter().map(|style| ("style", style.clone()));
    Form {
        lists: lists.into_iter().filter(|list| !list.options.is_empty()).collect(),
        periods: Period::ALL.into_iter().map(period).collect(),
        compares,
        from: filter.from.to_string(),
        to: filter.to.to_string(),
        hidden: styles.chain(filter.lang.iter().map(|lang| ("lang", lang.clone()))).collect(),
    }
}

fn title(source: &Source<'_>, lang: Lang) -> String {
    match &source.filter.shops[..] {
        [one] => source.site.shops[*one].name.clone(),
        all if all.len() == source.site.shops.len() => lang.text("all-stores"),
        some => lang.format("some-stores", &[("count", (some.len() as u64).into())]),
    }
}

fn against(source: &Source<'_>, lang: Lang) -> String {
    let Some((from, to)) = source.filter.compared() else { return String::new() };
    let stretch = lang.period(from, to);
    match source.filter.compare {
        Compare::Store(id) => {
            let name = source.site.shops.iter().find(|shop| shop.id == id).map_or("", |shop| &shop.name);
            lang.format("against-store", &[("store", name.into())])
        }
        Compare::Previous | Compare::Year | Compare::Nothing => {
            lang.format("against", &[("stretch", stretch.as_str().into())])
        }
    }
}

/// From the chain to the store, the style and the size.
fn crumbs(source: &Source<'_>, lang: Lang) -> Vec<(String, Option<String>)> {
    let Source { site, filter, .. } = *source;
    let mut all = filter.clone();
    (all.names_shops, all.shops) = (false, (0..site.shops.len()).collect());
    (all.wanted.styles, all.wanted.sizes) = Default::default();
    let mut crumbs = vec![(lang.text("all-stores"), all.clone())];
    if let [one] = filter.shops[..]
        && site.shops.len() > 1
    {
        (all.names_shops, all.shops) = (true, vec![one]);
        crumbs.push((site.shops[one].name.clone(), all.clone()));
    } else if filter.names_shops {
        (all.names_shops, all.shops) = (true, filter.shops.clone());
        crumbs.push((title(source, lang), all.clone()));
    }
    if let Some(style) = filter.wanted.styles.first() {
        all.wanted.styles.clone_from(&filter.wanted.styles);
        let named =
            site.goods.catalogue().items().find(|(_, item)| item.style == *style && !item.name.is_empty());
        crumbs.push((named.map_or_else(|| style.clone(), |(_, item)| item.name.clone()), all.clone()));
    }
    if let Some(size) = filter.wanted.sizes.first() {
        all.wanted.sizes.clone_from(&filter.wanted.sizes);
        crumbs.push((lang.format("crumb-size", &[("size", size.as_str().into())]), all));
    }
    let last = crumbs.len() - 1;
    (0..)
        .zip(crumbs)
        .map(|(at, (name, filter))| (name, (at < last).then(|| filter.query(&site.shops))))
        .collect()
}

fn notes(report: &Report, qualities: &[Quality], lang: Lang) -> Vec<String> {
    let mut notes = Vec::new();
    let unclocked: u64 = qualities.iter().flat_map(|quality| quality.unclocked.values()).sum();
    if unclocked > 0 {
        notes.push(lang.format("note-unclocked", &[("count", unclocked.into())]));
    }
    let unvouched: u64 = report.watched.values().map(|watched| watched.unvouched).sum();
    if unvouched > 0 {
        notes.push(lang.format("note-unvouched", &[("count", unvouched.into())]));
    }
    notes
}

fn tiles(report: &Report, compared: Option<&Report>, lang: Lang) -> Vec<Tile> {
    let count = |label: String, of: fn(&Report) -> u64, notes: Vec<String>| {
        let value = of(report);
        let change = compared.map(|before| change_of_count(value, of(before), lang));
        Tile { label, value: lang.count(value), change, notes }
    };
    let share = |label: String, none: String, of: fn(&Report) -> Option<Share>| {
        let value = of(report);
        let change = compared.and_then(|before| Some(change_of_share(&value?, &of(before)?, lang)));
        let notes =
            value.map_or_else(|| vec![none], |share| vec![of_whole(&share, lang), interval(&share, lang)]);
        let value = value.map_or("–".into(), |share| lang.percent(share.value));
        Tile { label, value, change, notes }
    };
    let visits = lang.format("tile-tried-on-visits", &[("count", report.period.visits.into())]);
    let dwell = |of: &Report| of.period.dwell(0.5).map(|ds| u64::from(ds) / 10);
    let p90 = report.period.dwell(0.9).map(|ds| lang.seconds(u64::from(ds) / 10));
    let none_picked = || lang.text("tile-none-picked");
    vec![
        count(lang.text("tile-tried-on"), |of| of.period.total.counts.tried_on, vec![visits]),
        count(lang.text("tile-picked-up"), |of| of.period.total.counts.picked_up, Vec::new()),
        share(lang.text("tile-pick-to-try"), none_picked(), |of| of.period.tried_of_picked()),
        share(
            lang.text("tile-try-to-buy"),
            if report.has_tills { lang.text("tile-none-tried") } else { lang.text("no-tills") },
            |of| of.bought(of.period.total.bought_product()),
        ),
        share(lang.text("tile-put-back"), none_picked(), |of| of.period.total.put_back()),
        Tile {
            label: lang.text("tile-stay"),
            value: dwell(report).map_or("–".into(), |seconds| lang.seconds(seconds)),
            change: compared.and_then(|before| Some(change_of_count(dwell(report)?, dwell(before)?, lang))),
            notes: p90.map(|p90| lang.format("tile-stay-p90", &[("time", p90.into())])).into_iter().collect(),
        },
    ]
}

/// `38 of 120`.
fn of_whole(share: &Share, lang: Lang) -> String {
    lang.format(
        "of-whole",
        &[("part", lang.count(share.part).into()), ("whole", lang.count(share.whole).into())],
    )
}

fn interval(share: &Share, lang: Lang) -> String {
    lang.format("interval", &[("percents", lang.percents(share.low, share.high).into())])
}

fn change_of_count(value: u64, before: u64, lang: Lang) -> Change {
    let before_text = lang.count(before);
    if before == 0 {
        return Change { text: lang.format("change-from", &[("before", before_text.into())]), class: "same" };
    }
    let part = value as f64 / before as f64 - 1.0;
    // What rounds to nothing is no change.
    let (class, key) = if part.abs() < 0.005 {
        ("same", "change-same")
    } else if part > 0.0 {
        ("up", "change-up")
    } else {
        ("down", "change-down")
    };
    // A share above 100 % is a rise of more than that.
    let percent = ((part.abs() * 100.0).round() as u64).max(1);
    Change { text: lang.format(key, &[("percent", percent.into()), ("before", before_text.into())]), class }
}

/// Two shares differ when the interval of their difference does not hold 0 (Newcombe 1998, method 10).
fn change_of_share(share: &Share, before: &Share, lang: Lang) -> Change {
    let points = (share.value - before.value) * 100.0;
    let square = |a: f64| a * a;
    let low = share.value
        - before.value
        - (square(share.value - share.low) + square(before.high - before.value)).sqrt();
    let high = share.value - before.value
        + (square(share.high - share.value) + square(before.value - before.low)).sqrt();
    let (class, key) = if low > 0.0 {
        ("up", "change-share-up")
    } else if high < 0.0 {
        ("down", "change-share-down")
    } else {
        ("same", "change-share-same")
    };
    let args = [("points", format!("{points:+.1}").into()), ("before", lang.percent(before.value).into())];
    Change { text: lang.format(key, &args), class }
}

fn sections(source: &Source<'_>, lang: Lang) -> Vec<Section> {
    let Source { filter, site, .. } = *source;
    let section = |id, title: String, (svg, finding), table: Option<Table>, is_open| Section {
        id,
        title,
        finding,
        svg,
        table: table.map(|table| TableView::new(&table, lang)),
        is_open,
    };
    let mut all = Vec::new();
    all.push(section(
        "summary",
        lang.text("section-funnel"),
        draw::funnel(source.report, lang),
        Some(source.summary()),
        false,
    ));
    if filter.shops.len() > 1 {
        let finding = (None, draw::stores_finding(source, lang));
        all.push(section("stores", lang.text("section-stores"), finding, Some(source.stores()), true));
    }
    all.push(if filter.from == filter.to {
        section(
            "hours",
            lang.text("section-hours"),
            draw::bars(source, true, lang),
            Some(source.hours()),
            false,
        )
    } else {
        section(
            "days",
            lang.text("section-days"),
            draw::bars(source, false, lang),
            Some(source.days()),
            false,
        )
    });
    all.push(section(
        "week",
        lang.text("section-week"),
        draw::week(source, lang),
        Some(source.week()),
        false,
    ));
    let styles = Some(source.styles());
    all.push(section("styles", lang.text("section-styles"), draw::quadrant(source, lang), styles, true));
    all.push(section(
        "sizes",
        lang.text("section-sizes"),
        draw::ladder(source, lang),
        Some(source.sizes()),
        false,
    ));
    let finding = (None, draw::zones_finding(source, lang));
    all.push(section("zones", lang.text("section-zones"), finding, Some(source.zones()), true));
    let finding = (None, draw::pairs_finding(source, lang));
    all.push(section("pairs", lang.text("section-pairs"), finding, Some(source.pairs()), true));
    let finding = (None, lang.text("finding-shapes"));
    all.push(section("shapes", lang.text("section-shapes"), finding, Some(source.shapes()), true));
    let finding = (None, lang.text("finding-products"));
    // Whoever looks at one style wants its sizes and colours.
    let is_open = !filter.wanted.styles.is_empty() || site.goods.catalogue().len() == 0;
    all.push(section("products", lang.text("section-products"), finding, Some(source.products()), is_open));
    all
}

impl TableView {
    fn new(table: &Table, lang: Lang) -> Self {
        let class = |at: usize| match (table.columns[at].kind, table.columns[at].minor) {
            (Kind::Text, false) => "text",
            (Kind::Text, true) => "text minor",
            (Kind::Count | Kind::Share | Kind::Duration | Kind::Number, false) => "",
            (Kind::Count | Kind::Share | Kind::Duration | Kind::Number, true) => "minor",
        };
        let heads = table.columns.iter().enumerate();
        // Shares that a phone shows as well are drawn, all of a column on the same scale.
        let drawn = table.columns.iter().position(|column| column.kind == Kind::Share && !column.minor);
        let drawn = drawn.filter(|_| table.rows.len() > 2);
        let top = drawn.map_or(1.0, |at| {
            let ends = table.rows.iter().take(SHOWN).filter_map(|row| match &row.cells[at] {
                Value::Share(share) => share.map(|share| share.high),
                Value::Text(_) | Value::Count(_) | Value::Duration(_) | Value::Number(_) | Value::Hidden => {
                    None
                }
            });
            ends.fold(0.1, f64::max)
        });
        let draw = |row: usize, at: usize, value: &Value| match value {
            Value::Share(Some(share)) if drawn == Some(at) => {
                let id = format!("{}-{row}", table.name);
                let title = format!("{}, {}", of_whole(share, lang), interval(share, lang));
                let caption = Caption { id: &id, title: &title, desc: "" };
                let &Share { value, low, high, .. } = share;
                Some(share::Share { caption, value, low, high, top, mark: None }.draw())
            }
            Value::Share(_)
            | Value::Text(_)
            | Value::Count(_)
            | Value::Duration(_)
            | Value::Number(_)
            | Value::Hidden => None,
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
        Value::Text(text) => {
            let named = match text.as_str() {
                "asked" => lang.text("stretch-asked"),
                "compared" => lang.text("stretch-compared"),
                "one_style_one_size" => lang.text("shape-one-one"),
                "one_style_sizes" => lang.text("shape-one-many"),
                "styles_one_size" => lang.text("shape-many-one"),
                "styles_and_sizes" => lang.text("shape-many-many"),
                _ => text.clone(),
            };
            (named, String::new())
        }
        Value::Count(count) => (lang.count(*count), String::new()),
        Value::Share(Some(share)) => {
            let below = format!("{}, {}", of_whole(share, lang), interval(share, lang));
            (lang.percent(share.value), below)
        }
        Value::Duration(Some(ds)) => (lang.seconds(u64::from(*ds) / 10), String::new()),
        Value::Number(Some(number)) => (format!("{number:.1}"), String::new()),
        Value::Share(None) | Value::Duration(None) | Value::Number(None) => none(),
        Value::Hidden => (lang.text("hidden"), String::new()),
    }
}

fn quality(source: &Source<'_>, qualities: &[Quality], lang: Lang, now: Timestamp) -> QualityView {
    let Source { site, filter, report, .. } = *source;
    let listened = report.listened();
    let gateways: Vec<(String, Gateway)> = filter
        .shops
        .iter()
        .zip(qualities)
        .flat_map(|(shop, quality)| {
            let name = &site.shops[*shop].name;
            quality.gateways.iter().map(move |row| (name.clone(), Gateway::new(row, lang, now)))
        })
        .collect();
    let silent = gateways.iter().filter(|(_, gateway)| !gateway.online).count() as u64;
    let percent = listened.map_or_else(String::new, |share| lang.percent(share));
    let finding = match listened {
        None => lang.text("quality-unknown"),
        Some(_) if silent > 0 => {
            lang.format("quality-silent", &[("percent", percent.into()), ("count", silent.into())])
        }
        Some(_) => lang.format("quality-listened", &[("percent", percent.into())]),
    };
    let known = |id: &&String| !site.shops.iter().any(|shop| shop.id.as_str() == id.as_str());
    let (mut strips, mut strips_day) = (Vec::new(), String::new());
    if let ([shop], [quality]) = (&filter.shops[..], qualities)
        && let Some((from, to)) = site.shops[*shop].bounds(filter.to)
    {
        let at = |at: &jiff::Zoned| UnixMillis(at.timestamp().as_millisecond());
        let past = UnixMillis(now.as_millisecond()).clamp(at(&from), at(&to));
        strips = coverage::strips(&report.last_coverage, &quality.readers, (at(&from), past, at(&to)), lang);
        strips_day = lang.date(filter.to);
    }
    let first = qualities.first();
    QualityView {
        finding,
        is_poor: listened.is_some_and(|share| share < POORLY),
        strips,
        strips_day,
        gaps: qualities
            .iter()
            .flat_map(|quality| &quality.gaps)
            .map(|gap| format!("{}: {:?} of epoch {}: {}", gap.gateway, gap.range, gap.epoch, gap.why))
            .collect(),
        gap_sum: qualities
            .iter()
            .fold((0, 0), |sum, quality| (sum.0 + quality.gap_sum.0, sum.1 + quality.gap_sum.1)),
        quarantine: first.map_or_else(Vec::new, |_| quarantine(source, qualities)),
        quarantine_sum: qualities.iter().map(|quality| quality.quarantine_sum).max().unwrap_or(0),
        unopened: qualities
            .iter()
            .flat_map(|quality| &quality.unopened)
            .map(|row| unopened(row, lang))
            .collect(),
        catalogue: site.goods.catalogue().problems.iter().map(ToString::to_string).collect(),
        strangers: first
            .map_or_else(Vec::new, |quality| quality.stores_seen.iter().filter(known).cloned().collect()),
        gateways,
    }
}

fn quarantine(source: &Source<'_>, qualities: &[Quality]) -> Vec<String> {
    let mut lines = Vec::new();
    for (shop, quality) in source.filter.shops.iter().zip(qualities) {
        for row in &quality.quarantine {
            let when = source.site.shops[*shop].local(row.received);
            let when = when.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M").to_string());
            let times = if row.times > 1 { format!(" ×{}", row.times) } else { String::new() };
            lines.push(format!("{} · {when}{times}: {}", row.id, row.reason));
        }
    }
    // What is of no known shop is told of by each.
    lines.sort();
    lines.dedup();
    lines
}

fn unopened(row: &Unopened, lang: Lang) -> String {
    let key = if row.state == "sealed" { "unopened-sealed" } else { "unopened-broken" };
    lang.format(key, &[("count", row.scans.into()), ("key", row.key.as_str().into())])
}

impl QualityView {
    /// Whether nothing is missing and nothing is in the way of what is to come.
    pub(crate) fn is_complete(&self) -> bool {
        self.gap_sum.0 == 0
            && self.quarantine_sum == 0
            && self.unopened.is_empty()
            && self.catalogue.is_empty()
            && self.strangers.is_empty()
            && self.gateways.iter().all(|(_, gateway)| gateway.fault.is_none())
    }
}
