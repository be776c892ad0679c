//! What the page says. Enters: rows of the database, the shop, the catalogue, the time. Leaves: texts
//! and numbers that the templates and the CSV tables write as they are; so both say the same.

use hangtag_central_core::tally::{Article, Counts, Tally};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::StoreId;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::shop::Shop;
use crate::store::{DayRead, Unopened};

use super::chart::Chart;
use super::coverage::{self, Strip};
use super::gateway::Gateway;
use super::{Site, text};

/// A page.
pub(crate) struct View {
    /// The shop,
    pub store: StoreId,
    /// its name,
    pub shop: String,
    /// and all of them: id and name.
    pub shops: Vec<(StoreId, String)>,
    /// The day,
    pub date: Date,
    /// in words,
    pub day: String,
    /// its first moment and the first after it, local with offset,
    pub from: String,
    /// see `from`,
    pub to: String,
    /// and its neighbours, where there is something to see.
    pub day_before: Option<Date>,
    /// See `day_before`.
    pub day_after: Option<Date>,
    /// When the shop is open.
    pub opening: String,
    /// When something was seen last.
    pub last: String,
    /// Sums of the day.
    pub total: Counts,
    /// Distinct visits to booths.
    pub visits: u64,
    /// Share of the garments picked up that were tried on: value, part of whole, interval.
    pub share: Option<(String, String, String)>,
    /// Per product, the most tried first.
    pub products: Vec<Row<Product>>,
    /// Per zone.
    pub zones: Vec<Row<Zone>>,
    /// Per hour, from opening to closing and whatever happened outside.
    pub hours: Vec<Row<Hour>>,
    /// The hours as bars,
    pub chart: Chart,
    /// and what they show, in a sentence.
    pub finding: String,
    /// What is not counted for want of a clock; empty when nothing is.
    pub unclocked: String,
    /// Events counted whose clock nobody vouched for.
    pub unvouched: u64,
    /// When the readers listened.
    pub strips: Vec<Strip>,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// What is missing.
    pub gaps: Vec<String>,
    /// How many ranges and how many events in them.
    pub gap_sum: (u64, u64),
    /// What could not be read.
    pub quarantine: Vec<Quarantine>,
    /// How many.
    pub quarantine_sum: u64,
    /// Loyalty codes that are not opened, in sentences.
    pub unopened: Vec<String>,
    /// Catalogue rows that were left out.
    pub catalogue: Vec<String>,
    /// Shops that send but are not in the stores file.
    pub strangers: Vec<String>,
}

/// A row of a table.
pub(crate) struct Row<K> {
    /// What it is about.
    pub key: K,
    /// How often.
    pub counts: Counts,
}

/// A product.
#[derive(Default)]
pub(crate) struct Product {
    pub style: String,
    pub colour: String,
    pub size: String,
    pub name: String,
    pub price: String,
    pub gtin: String,
}

/// A zone.
pub(crate) struct Zone {
    pub zone: String,
    pub visits: u64,
    pub median_ds: Option<u32>,
    pub median: String,
    pub loyalty_scans: u64,
    pub product_scans: u64,
}

/// An hour.
pub(crate) struct Hour {
    pub label: String,
    pub start: String,
}

/// A payload that could not be used.
pub(crate) struct Quarantine {
    pub id: i64,
    pub when: String,
    pub reason: String,
    pub times: u64,
}

impl View {
    /// Makes a page of one shop's day.
    pub(crate) fn new(site: &Site, shop: usize, date: Date, now: Timestamp, read: &DayRead) -> Self {
        let shop = &site.shops[shop];
        let hours = shop.hours(date);
        let starts = hours.iter().map(|hour| UnixMillis(hour.start.timestamp().as_millisecond()));
        let mut tally = Tally::new(starts.collect());
        read.handled.iter().for_each(|event| tally.add(event));
        read.scanned.iter().for_each(|scan| tally.add_scan(scan));

        let bounds = shop.bounds(date);
        let local = |at: &jiff::Zoned| at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        let (from, to) = bounds.as_ref().map(|(a, b)| (local(a), local(b))).unwrap_or_default();
        let today = shop.today(now);
        let rows = hour_rows(&hours, &tally);
        let bars: Vec<_> =
            rows.iter().map(|r| (r.key.label.clone(), [r.counts.picked_up, r.counts.tried_on])).collect();
        let strips = bounds.map(|(from, to)| {
            let at = |at: &jiff::Zoned| UnixMillis(at.timestamp().as_millisecond());
            let past = UnixMillis(now.as_millisecond()).clamp(at(&from), at(&to));
            coverage::strips(&read.coverage, &read.readers, at(&from), past, at(&to))
        });
        let known = |id: &&String| !site.shops.iter().any(|shop| shop.id.as_str() == id.as_str());
        Self {
            store: shop.id,
            shop: shop.name.clone(),
            shops: site.shops.iter().map(|shop| (shop.id, shop.name.clone())).collect(),
            date,
            day: date.strftime("%A, %-d %B %Y").to_string(),
            from,
            to,
            day_before: date.yesterday().ok(),
            day_after: date.tomorrow().ok().filter(|day| *day <= today),
            opening: shop.opening(date).map_or("closed".into(), |hours| format!("open {hours}")),
            last: read.last.map_or("No event yet".into(), |at| format!("Last event {}", text::ago(at, now))),
            total: tally.total,
            visits: tally.visits() as u64,
            share: tally.tried_of_picked().map(|share| {
                let of = format!("{} of {} garments", text::count(share.part), text::count(share.whole));
                (text::percent(share.value), of, text::interval(&share))
            }),
            products: product_rows(site, &tally),
            zones: zone_rows(&tally),
            chart: Chart::new(&bars),
            finding: finding(&rows),
            hours: rows,
            unclocked: unclocked(read),
            unvouched: read.unvouched,
            strips: strips.unwrap_or_default(),
            gateways: read.gateways.iter().map(|row| Gateway::new(row, now)).collect(),
            gaps: read
                .gaps
                .iter()
                .map(|gap| {
                    format!("{}: numbers {:?} of epoch {}: {}", gap.gateway, gap.range, gap.epoch, gap.why)
                })
                .collect(),
            gap_sum: read.gap_sum,
            quarantine: quarantine(shop, read),
            quarantine_sum: read.quarantine_sum,
            unopened: read.unopened.iter().map(unopened).collect(),
            catalogue: site.catalogue.problems.iter().map(ToString::to_string).collect(),
            strangers: read.stores_seen.iter().filter(known).cloned().collect(),
        }
    }

    /// Whether nothing is missing and nothing is in the way of what is to come.
    pub(crate) fn is_complete(&self) -> bool {
        self.gap_sum.0 == 0
            && self.quarantine_sum == 0
            && self.unopened.is_empty()
            && self.catalogue.is_empty()
            && self.strangers.is_empty()
            && self.gateways.iter().all(|gateway| gateway.fault.is_none())
    }

    /// Whether anything was scanned: shops without scanners see no columns for it.
    pub(crate) fn has_scans(&self) -> bool {
        self.zones.iter().any(|row| row.key.loyalty_scans + row.key.product_scans > 0)
    }

    /// The filter, for links.
    pub(crate) fn query(&self) -> String {
        format!("store={}&date={}", self.store, self.date)
    }
}

fn product_rows(site: &Site, tally: &Tally) -> Vec<Row<Product>> {
    let product = |article: &Article| match article {
        Article::Product(gtin) => {
            let item = site.catalogue.item(*gtin).cloned().unwrap_or_default();
            let gtin = gtin.to_string();
            Product {
                style: item.style,
                colour: item.colour,
                size: item.size,
                name: item.name,
                price: item.price,
                gtin,
            }
        }
        Article::Unknown => {
            let name = format!("Unknown tags ({})", tally.unknown_tags.len());
            Product { name, ..Product::default() }
        }
    };
    let mut rows: Vec<_> = tally.products.iter().collect();
    rows.sort_by_key(|(article, c)| {
        (**article == Article::Unknown, std::cmp::Reverse((c.tried_on, c.picked_up, c.carried_in)))
    });
    rows.into_iter().map(|(article, counts)| Row { key: product(article), counts: *counts }).collect()
}

fn zone_rows(tally: &Tally) -> Vec<Row<Zone>> {
    let row = |(zone, of): (&hangtag_protocol::id::ZoneId, &hangtag_central_core::tally::Zone)| {
        let median_ds = of.median_dwell_ds();
        let median = median_ds.map_or("–".into(), |ds| text::seconds(u64::from(ds) / 10));
        let key = Zone {
            zone: zone.to_string(),
            visits: of.visits() as u64,
            median_ds,
            median,
            loyalty_scans: of.loyalty_scans,
            product_scans: of.product_scans,
        };
        Row { key, counts: of.counts }
    };
    tally.zones.iter().map(row).collect()
}

/// From the first to the last hour that is open or in which something happened; of a day without
/// either, every hour.
fn hour_rows(hours: &[crate::shop::Hour], tally: &Tally) -> Vec<Row<Hour>> {
    let differ = hours.windows(2).any(|pair| pair[0].start.offset() != pair[1].start.offset());
    let rows = hours.iter().zip(&tally.hours);
    let keep = |(hour, counts): (&crate::shop::Hour, &Counts)| hour.open || *counts != Counts::default();
    let first = rows.clone().position(keep).unwrap_or(0);
    let last = rows.clone().rposition(keep).unwrap_or(hours.len().saturating_sub(1));
    rows.skip(first)
        .take(last + 1 - first)
        .map(|(hour, counts)| {
            let start = hour.start.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
            Row { key: Hour { label: hour.label(differ), start }, counts: *counts }
        })
        .collect()
}

fn finding(rows: &[Row<Hour>]) -> String {
    let busiest = |of: fn(&Counts) -> u64| rows.iter().rev().max_by_key(|row| of(&row.counts));
    let said = |of: fn(&Counts) -> u64, what: &str| {
        let row = busiest(of).filter(|row| of(&row.counts) > 0)?;
        Some(format!("Most garments were {what} in the hour from {}", row.key.label))
    };
    match (said(|c| c.tried_on, "tried on"), said(|c| c.picked_up, "picked up")) {
        (Some(tried), _) => format!("{tried}."),
        (None, Some(picked)) => format!("{picked}; none was tried on."),
        (None, None) => "Nothing was picked up or tried on.".into(),
    }
}

fn unclocked(read: &DayRead) -> String {
    let parts: Vec<String> = read
        .unclocked
        .iter()
        .map(|(kind, n)| format!("{} {}", text::count(*n), kind.name().replace('_', " ")))
        .collect();
    parts.join(", ")
}

fn unopened(row: &Unopened) -> String {
    let (scans, key) = (text::count(row.scans), &row.key);
    if row.state == "sealed" {
        format!(
            "Loyalty codes that wait for key {key}: {scans}. They are opened when central starts with it."
        )
    } else {
        format!("Loyalty codes that their key {key} does not open: {scans}.")
    }
}

fn quarantine(shop: &Shop, read: &DayRead) -> Vec<Quarantine> {
    let row = |row: &crate::store::Quarantined| Quarantine {
        id: row.id,
        when: shop
            .local(row.received)
            .map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M").to_string()),
        reason: row.reason.clone(),
        times: row.times,
    };
    read.quarantine.iter().map(row).collect()
}
