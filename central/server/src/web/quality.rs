//! How good the numbers are, in words. Enters: what the store tells of shops, and how they were watched. Leaves: a
//! sentence, the readers' strips, the gateways, and everything that is missing or could not be used.

use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;

use crate::store::{Quality, Unopened};

use super::coverage::{self, Strip};
use super::gateway::Gateway;
use super::lang::Lang;
use super::tables::Source;

/// A share of the opening hours in which readers listened below which a count is no measure of interest.
pub(super) const POORLY: f64 = 0.9;

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

pub(super) fn quality(source: &Source<'_>, qualities: &[Quality], lang: Lang, now: Timestamp) -> QualityView {
    let Source { site, filter, report, .. } = *source;
    let listened = report.share_listened();
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
