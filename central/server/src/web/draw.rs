//! The page's drawings. Enters: a report, a language. Leaves: for each a drawing and what it shows in a sentence. What
//! was closed or not watched is drawn as such, and never as nothing.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::handled::{Article, Counts};
use hangtag_central_core::measures::Share;
use hangtag_central_core::period::Sums;
use hangtag_central_core::size;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::id::ZoneId;
use jiff::civil::{Date, Weekday};

use crate::report::{Outcomes, Report};

use super::chart::bars::{Bars, Side, Slot};
use super::chart::funnel::{Funnel, Stage};
use super::chart::heat::{Heat, Row};
use super::chart::ladder::{Ladder, Size};
use super::chart::quadrant::{Point, Quadrant};
use super::chart::svg::{Caption, Svg};
use super::lang::Lang;
use super::tables::Source;

/// The most styles that are drawn.
const STYLES: usize = 60;

/// The days of the week.
const WEEK: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// A drawing, and what it shows in a sentence.
pub(crate) type Drawn = (Option<Svg>, String);

/// That nothing happened, or that nobody would know.
fn nothing(report: &Report, lang: Lang) -> String {
    said_of_nothing(report, "finding-nothing", lang)
}

/// The same of something in particular.
fn said_of_nothing(report: &Report, key: &str, lang: Lang) -> String {
    lang.text(if report.is_measured() { key } else { "finding-unmeasured" })
}

/// From picked up to sold.
pub(crate) fn funnel(report: &Report, lang: Lang) -> Drawn {
    let period = &report.period;
    let total = &period.total;
    let title = lang.text("section-funnel");
    let share = |share: Option<Share>, key: &str| {
        share.map_or_else(String::new, |share| {
            let args = [
                ("part", share.part.into()),
                ("whole", share.whole.into()),
                ("percent", lang.percent(share.value).into()),
                ("interval", lang.percents(share.low, share.high).into()),
            ];
            lang.format(key, &args)
        })
    };
    let counts = total.counts;
    let count = |count: u64| Some(count).filter(|_| report.is_measured());
    let bought = report.outcomes();
    let stages = [
        Stage { label: lang.text("stage-picked"), value: count(counts.picked_up), note: String::new() },
        Stage { label: lang.text("stage-carried"), value: count(counts.carried_in), note: String::new() },
        Stage {
            label: lang.text("stage-tried"),
            value: count(counts.tried_on),
            note: share(period.tried_of_picked(), "note-picked-tried"),
        },
        Stage {
            label: lang.text("stage-bought"),
            value: match bought {
                Outcomes::Known | Outcomes::Some => Some(total.sold_product),
                Outcomes::NoTill | Outcomes::Waiting => None,
            },
            note: match bought {
                Outcomes::Known | Outcomes::Some => share(total.bought_product(), "note-tried-bought"),
                Outcomes::NoTill => lang.text("no-tills"),
                Outcomes::Waiting => lang.text("tile-none-tried"),
            },
        },
    ];
    let finding = if counts == Counts::default() {
        nothing(report, lang)
    } else {
        let args = [
            ("picked", counts.picked_up.into()),
            ("tried", counts.tried_on.into()),
            ("bought", total.sold_product.into()),
            ("known", total.known.into()),
        ];
        match bought {
            Outcomes::Known => lang.format("finding-funnel", &args[..3]),
            Outcomes::Some => lang.format("finding-funnel-some", &args),
            Outcomes::NoTill => lang.format("finding-funnel-no-tills", &args[..2]),
            Outcomes::Waiting => lang.format("finding-funnel-waiting", &args[..2]),
        }
    };
    let caption = Caption { id: "funnel", title: &title, desc: &finding };
    let svg = Funnel { caption, stages: &stages, number: &|n| lang.count(n) }.draw();
    (Some(svg), finding)
}

/// Picked up and tried on by hour of a day, or by day.
pub(crate) fn bars(source: &Source<'_>, by_hour: bool, lang: Lang) -> Drawn {
    let Source { report, filter, .. } = *source;
    let (id, title) =
        if by_hour { ("hours", lang.text("section-hours")) } else { ("days", lang.text("section-days")) };
    let mut slots: BTreeMap<i32, Counts> = BTreeMap::new();
    for (of, counts) in &report.period.hours {
        *slots.entry(if by_hour { clock(source, of) } else { of.day }).or_default() += *counts;
    }
    if by_hour {
        // The hours in which no shop is open and nothing happens are left out at both ends.
        let open = open_hours(source, filter.to);
        let keep = |hour: &i32, counts: &Counts| *counts != Counts::default() || open.contains(hour);
        let kept: Vec<i32> =
            slots.iter().filter(|(hour, of)| keep(hour, of)).map(|(hour, _)| *hour).collect();
        if let (Some(first), Some(last)) = (kept.first(), kept.last()) {
            slots.retain(|hour, _| (first..=last).contains(&hour));
        }
    }
    let name = |at: i32| if by_hour { format!("{at:02}:00") } else { lang.date(Report::day(at)) };
    let label = |at: i32| if by_hour { format!("{at:02}") } else { lang.date_short(Report::day(at)) };
    let busiest =
        slots.iter().rev().max_by_key(|(_, of)| (of.tried_on, of.picked_up)).map(|(at, of)| (*at, *of));
    let finding = match busiest {
        Some((at, of)) if of.tried_on > 0 => {
            let args = [("when", name(at).into()), ("count", of.tried_on.into())];
            lang.format(if by_hour { "finding-hours-tried" } else { "finding-days-tried" }, &args)
        }
        Some((at, of)) if of.picked_up > 0 => {
            let args = [("when", name(at).into()), ("count", of.picked_up.into())];
            lang.format(if by_hour { "finding-hours-picked" } else { "finding-days-picked" }, &args)
        }
        Some(_) | None => nothing(report, lang),
    };
    let listened: BTreeSet<i32> =
        report.known.keys().map(|of| if by_hour { clock(source, of) } else { of.day }).collect();
    let slots: Vec<Slot> = slots
        .into_iter()
        .map(|(at, of)| {
            // Nobody listened and nothing is known: that is no nothing.
            let is_known = of != Counts::default() || listened.contains(&at);
            let values = if is_known { vec![of.picked_up, of.tried_on] } else { Vec::new() };
            Slot { label: label(at), name: name(at), values }
        })
        .collect();
    let series = [lang.text("col-picked-up"), lang.text("col-tried-on")];
    let series = [series[0].as_str(), series[1].as_str()];
    let unmeasured = lang.text("unmeasured");
    let caption = Caption { id, title: &title, desc: &finding };
    // Of days the latest ones are looked at first.
    let axis = if by_hour { Side::Left } else { Side::Right };
    let bars = Bars {
        caption,
        series: &series,
        slots: &slots,
        axis,
        unmeasured: &unmeasured,
        number: &|n| lang.count(n),
    };
    (Some(bars.draw()), finding)
}

/// Try-ons, or where there are none pick-ups, by day of the week and hour.
pub(crate) fn week(source: &Source<'_>, lang: Lang) -> Drawn {
    let Source { report, .. } = *source;
    let tried = report.period.total.counts.tried_on > 0;
    let mut week = [[0u64; 24]; 7];
    let mut open = [[false; 24]; 7];
    let mut days: BTreeMap<(u32, i32), (Date, Vec<crate::shop::Hour>)> = BTreeMap::new();
    for (of, counts) in &report.period.hours {
        let (date, hours) = days.entry((of.shop, of.day)).or_insert_with(|| {
            let date = Report::day(of.day);
            (date, source.site.shops[of.shop as usize].hours(date))
        });
        let row = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
        let Some(hour) = hours.get(usize::from(of.hour)) else { continue };
        let column = usize::try_from(hour.start.hour()).unwrap_or(0);
        week[row][column] += if tried { counts.tried_on } else { counts.picked_up };
        open[row][column] |= hour.open && report.known.contains_key(of);
    }
    let used = |hour: usize| (0..7).any(|day| open[day][hour] || week[day][hour] > 0);
    let hours: Vec<usize> = (0..24).filter(|hour| used(*hour)).collect();
    let (Some(first), Some(last)) = (hours.first(), hours.last()) else {
        return (None, nothing(report, lang));
    };
    let rows: Vec<Row> = (0..7)
        .map(|day| Row {
            label: lang.weekday_short(WEEK[day]),
            values: (*first..=*last)
                .map(|hour| (open[day][hour] || week[day][hour] > 0).then_some(week[day][hour]))
                .collect(),
        })
        .collect();
    let columns: Vec<String> = (*first..=*last).map(|hour| format!("{hour:02}")).collect();
    let best = (0..7)
        .flat_map(|day| (0..24).map(move |hour| (day, hour)))
        .max_by_key(|(day, hour)| week[*day][*hour]);
    let finding = match best.filter(|(day, hour)| week[*day][*hour] > 0) {
        Some((day, hour)) => {
            let key = if tried { "finding-week-tried" } else { "finding-week-picked" };
            let args = [("day", lang.weekday(WEEK[day]).into()), ("hour", format!("{hour:02}:00").into())];
            lang.format(key, &args)
        }
        None => nothing(report, lang),
    };
    let (title, unmeasured) = (lang.text("section-week"), lang.text("closed"));
    let caption = Caption { id: "week", title: &title, desc: &finding };
    let heat =
        Heat { caption, columns: &columns, rows: &rows, unmeasured: &unmeasured, number: &|n| lang.count(n) };
    (Some(heat.draw()), finding)
}

/// Styles by try-ons and sales.
pub(crate) fn quadrant(source: &Source<'_>, lang: Lang) -> Drawn {
    let Source { report, filter, site, .. } = *source;
    let styles = source.by_style();
    let known =
        styles.into_iter().filter(|(style, sums)| *style < u64::MAX && sums.counts.tried_on + sums.sold > 0);
    let mut styles: Vec<(u64, Sums)> = known.collect();
    styles.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.counts.tried_on + sums.sold));
    styles.truncate(STYLES);
    let label = |style: u64| {
        site.goods
            .style_name(style)
            .map(str::to_owned)
            .or_else(|| site.goods.style(style))
            .unwrap_or_default()
    };
    if !report.has_tills && !styles.is_empty() {
        return (None, lang.text("finding-no-sales"));
    }
    if styles.len() < 2 {
        let finding = if styles.is_empty() { nothing(report, lang) } else { lang.text("finding-one-style") };
        return (None, finding);
    }
    let point = |(style, sums): &(u64, Sums)| Point {
        label: label(*style),
        x: sums.counts.tried_on,
        y: sums.sold,
        href: site
            .goods
            .style(*style)
            .map_or_else(String::new, |name| format!("/?{}", filter.query_of_style(&site.shops, &name))),
        note: sums.bought_style().map_or_else(String::new, |share| {
            let args = [("part", share.part.into()), ("whole", share.whole.into())];
            lang.format("point-bought", &args)
        }),
    };
    let points: Vec<Point> = styles.iter().map(point).collect();
    // What stands out is tried often and seldom bought: the whole interval lies below the share of all.
    let all = report.period.total.bought_style();
    let seldom = styles
        .iter()
        .filter_map(|(style, sums)| Some((*style, sums.bought_style()?)))
        .filter_map(|(style, share)| {
            let all = all.filter(|all| share.high < all.value)?;
            // So many more would have been bought if it were like the others.
            Some((style, share, all.value * share.whole as f64 - share.part as f64))
        })
        .max_by(|a, b| a.2.total_cmp(&b.2));
    let finding = match seldom {
        Some((style, share, _)) => {
            let args = [
                ("style", label(style).into()),
                ("tried", share.whole.into()),
                ("bought", share.part.into()),
            ];
            lang.format("finding-seldom-bought", &args)
        }
        None => lang.text("finding-no-style-stands-out"),
    };
    let [title, x, y] = ["section-styles", "axis-tried", "axis-sold"].map(|key| lang.text(key));
    let corners = ["corner-few-few", "corner-many-few", "corner-few-many", "corner-many-many"]
        .map(|key| lang.text(key));
    let corners = [corners[0].as_str(), corners[1].as_str(), corners[2].as_str(), corners[3].as_str()];
    let caption = Caption { id: "styles", title: &title, desc: &finding };
    let quadrant = Quadrant { caption, axes: [&x, &y], corners, points: &points, number: &|n| lang.count(n) };
    (Some(quadrant.draw()), finding)
}

/// Sizes, tried against sold.
pub(crate) fn ladder(source: &Source<'_>, lang: Lang) -> Drawn {
    let Source { report, site, .. } = *source;
    let mut stock: BTreeMap<Gtin, u64> = BTreeMap::new();
    for ((_, gtin), of) in source.stock {
        *stock.entry(*gtin).or_default() += of.all;
    }
    let mut sizes: BTreeMap<u32, (Sums, Option<u64>)> =
        source.by_size().into_iter().map(|(size, sums)| (size, (sums, None))).collect();
    for (gtin, quantity) in &stock {
        let (place, is_wanted) = site.goods.wanted(Article::Product(*gtin), &source.filter.wanted);
        if let Some(size) = place.size.filter(|_| is_wanted) {
            *sizes.entry(size).or_default().1.get_or_insert(0) += quantity;
        }
    }
    // Of a product that was tried on and that nobody counted it is not known whether any is left.
    for (article, sums) in &report.period.articles {
        let uncounted = matches!(article, Article::Product(gtin) if !stock.contains_key(gtin));
        if let Some(size) = site.goods.place(*article).size.filter(|_| uncounted && sums.counts.tried_on > 0)
        {
            sizes.entry(size).or_default().1 = None;
        }
    }
    let mut sizes: Vec<Size> = sizes
        .into_iter()
        .map(|(size, (sums, stock))| Size {
            label: site.goods.size(size).to_owned(),
            tried: sums.counts.tried_on,
            sold: report.has_tills.then_some(sums.sold),
            stock,
        })
        .collect();
    sizes.sort_by(|a, b| size::compare(&a.label, &b.label));
    let most = sizes.iter().max_by_key(|size| size.tried).filter(|size| size.tried > 0);
    let Some(most) = most else { return (None, said_of_nothing(report, "finding-nothing-tried", lang)) };
    let missing =
        sizes.iter().filter(|size| size.stock == Some(0) && size.tried > 0).max_by_key(|size| size.tried);
    let finding = match missing {
        Some(size) => lang.format("finding-size-missing", &[("size", size.label.as_str().into())]),
        None => {
            let args = [("size", most.label.as_str().into()), ("count", most.tried.into())];
            lang.format("finding-size", &args)
        }
    };
    let [title, tried, sold, stock] =
        ["section-sizes", "col-tried-on", "col-sold", "col-stock"].map(|key| lang.text(key));
    let caption = Caption { id: "sizes", title: &title, desc: &finding };
    let ladder =
        Ladder { caption, heads: [&tried, &sold, &stock], sizes: &sizes, number: &|n| lang.count(n) };
    (Some(ladder.draw()), finding)
}

/// Which rails draw hands.
pub(crate) fn zones_finding(source: &Source<'_>, lang: Lang) -> String {
    let rails: Vec<_> = source
        .report
        .period
        .zones
        .iter()
        .filter(|(_, zone)| zone.visits == 0 && zone.counts.picked_up > 0)
        .collect();
    let most = rails.iter().max_by_key(|(_, zone)| zone.counts.picked_up);
    let least = rails.iter().min_by_key(|(_, zone)| zone.counts.picked_up);
    // Two shops may have a rail of the same name.
    let name = |(shop, zone): &(u32, ZoneId)| match source.filter.shops.len() {
        1 => zone.to_string(),
        _ => format!("{zone} ({})", source.site.shops[*shop as usize].name),
    };
    match (most, least) {
        (Some((hot, many)), Some((cold, few))) if hot != cold => {
            let args = [
                ("hot", name(hot).into()),
                ("many", many.counts.picked_up.into()),
                ("cold", name(cold).into()),
                ("few", few.counts.picked_up.into()),
            ];
            lang.format("finding-zones", &args)
        }
        (Some((hot, many)), _) => {
            let args = [("hot", name(hot).into()), ("many", many.counts.picked_up.into())];
            lang.format("finding-one-zone", &args)
        }
        (None, _) => said_of_nothing(source.report, "finding-nothing-picked", lang),
    }
}

/// Which shop tries most.
pub(crate) fn stores_finding(source: &Source<'_>, lang: Lang) -> String {
    let mut shops: BTreeMap<u32, u64> = BTreeMap::new();
    for (of, counts) in &source.report.period.hours {
        *shops.entry(of.shop).or_default() += counts.tried_on;
    }
    match shops.into_iter().max_by_key(|(_, tried)| *tried).filter(|(_, tried)| *tried > 0) {
        Some((shop, tried)) => {
            let name = source.site.shops[shop as usize].name.as_str();
            lang.format("finding-stores", &[("store", name.into()), ("count", tried.into())])
        }
        None => said_of_nothing(source.report, "finding-nothing-tried", lang),
    }
}

/// What the shop's clock shows in an hour.
fn clock(source: &Source<'_>, of: &hangtag_central_core::period::HourOf) -> i32 {
    let hours = source.site.shops[of.shop as usize].hours(Report::day(of.day));
    hours.get(usize::from(of.hour)).map_or(0, |hour| i32::from(hour.start.hour()))
}

/// The hours of a day in which a shop is open.
fn open_hours(source: &Source<'_>, date: Date) -> Vec<i32> {
    let shops = source.filter.shops.iter().map(|shop| &source.site.shops[*shop]);
    shops
        .flat_map(|shop| shop.hours(date))
        .filter(|hour| hour.open)
        .map(|hour| i32::from(hour.start.hour()))
        .collect()
}
