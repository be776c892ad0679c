//! What the page says. Enters: a report and what it is compared with, the tables, how good the data are, a language.
//! Leaves: texts and drawings that the template writes as they are.

use jiff::Timestamp;

use crate::report::Report;
use crate::store::Quality;

use super::bar::{self, Form};
use super::chart::svg::Svg;
use super::draw;
use super::lang::Lang;
use super::quality::{self, QualityView};
use super::readers;
use super::rows::TableView;
use super::spots;
use super::table::Table;
use super::tables::Source;
use super::tile::{self, Tile};
use super::visits;

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
    /// How good the data are,
    pub quality: QualityView,
    /// how late they came, and of how much of the time anything was told.
    pub freshness: String,
    /// The query string of the same page.
    pub query: String,
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

impl View {
    /// Makes a page. `qualities` are those of the shops of the filter, in its order.
    pub(crate) fn new(source: &Source<'_>, qualities: &[Quality], lang: Lang, now: Timestamp) -> Self {
        let Source { site, filter, report, compared, .. } = *source;
        let shops = &site.shops;
        let others = Lang::ALL.into_iter().filter(|other| *other != lang);
        let last = qualities.iter().filter_map(|quality| quality.last).max();
        Self {
            others: others.map(|other| (other, filter.query_in(shops, other.tag()))).collect(),
            form: bar::form(source, lang),
            title: bar::title(source, lang),
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
            against: bar::against(source, lang),
            crumbs: bar::crumbs(source, lang),
            last: last.map_or(lang.text("last-none"), |at| {
                lang.format("last", &[("ago", lang.ago(at, now).into())])
            }),
            notes: [unknown(source, lang), notes(report, qualities, lang)].concat(),
            tiles: tile::tiles(report, compared, lang),
            sections: sections(source, lang),
            quality: quality::quality(source, qualities, lang, now),
            freshness: freshness(report, lang),
            query: filter.query(shops),
        }
    }
}

fn freshness(report: &Report, lang: Lang) -> String {
    let (Some(delay), Some(reported)) = (report.delays.quantile(0.95), report.share_reported()) else {
        return String::new();
    };
    let args =
        [("delay", lang.seconds(u64::from(delay) / 10).into()), ("percent", lang.percent(reported).into())];
    lang.format("freshness", &args)
}

/// What the filter names and nothing has.
fn unknown(source: &Source<'_>, lang: Lang) -> Vec<String> {
    let asked = source.filter.lang.as_ref().filter(|asked| Lang::parse(asked).is_none());
    let unspoken = asked.map(|asked| lang.format("note-unspoken", &[("lang", asked.into())]));
    let goods = source.site.goods.unknown(&source.filter.wanted);
    let named = |(name, value): &(&'static str, String)| {
        let name = lang.text(match *name {
            "category" => "filter-category",
            "colour" => "filter-colour",
            "size" => "filter-size",
            _ => "col-style",
        });
        lang.format("note-unknown", &[("name", name.into()), ("value", value.into())])
    };
    unspoken.into_iter().chain(goods.iter().map(named)).collect()
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
    let (svg, finding) = draw::ladder(source, lang);
    let finding = [finding, visits::lost_finding(source, lang)].join(" ");
    all.push(section(
        "sizes",
        lang.text("section-sizes"),
        (svg, finding.trim_end().to_owned()),
        Some(source.sizes()),
        false,
    ));
    let finding = (None, draw::zones_finding(source, lang));
    all.push(section("zones", lang.text("section-zones"), finding, Some(source.zones()), true));
    all.push(section(
        "spots",
        lang.text("section-spots"),
        spots::draw(source, lang),
        Some(spots::table(source)),
        false,
    ));
    let finding = (None, visits::pairs_finding(source, lang));
    all.push(section("pairs", lang.text("section-pairs"), finding, Some(visits::pairs(source)), true));
    let finding = (None, visits::shapes_finding(source, lang));
    all.push(section("shapes", lang.text("section-shapes"), finding, Some(visits::shapes(source)), true));
    let finding = (None, lang.text("finding-products"));
    // Whoever looks at one style wants its sizes and colours.
    let is_open = !filter.wanted.styles.is_empty() || site.goods.catalogue().len() == 0;
    all.push(section("products", lang.text("section-products"), finding, Some(source.products()), is_open));
    let finding = (None, readers::finding(source, lang));
    all.push(section("readers", lang.text("section-readers"), finding, Some(readers::table(source)), false));
    all
}
