//! Which readers listened in the days that were asked for. Enters: a report. Leaves: the table of all readers, those first
//! that listened least, and a sentence that names the gateways that were silent.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hangtag_protocol::id::{GatewayId, ReaderId};

use crate::report::Life;

use super::heard::LISTENED;
use super::lang::Lang;
use super::quality::POORLY;
use super::table::{Kind, Row, Table, Value, column, minor};
use super::tables::Source;

/// The most gateways that the sentence names.
const NAMED: usize = 5;
/// An hour, in milliseconds.
const HOUR_MS: f64 = 3_600_000.0;

/// A reader: its shop, what it did in the opening hours, and how long these were, in milliseconds.
struct Of<'a> {
    shop: usize,
    gateway: GatewayId,
    reader: ReaderId,
    life: &'a Life,
    hours_ms: i64,
}

fn all<'a>(source: &Source<'a>) -> Vec<Of<'a>> {
    let of_shop = |(shop, watched): (&usize, &'a crate::report::Watched)| {
        let (shop, hours_ms) = (*shop, watched.hours_ms);
        let of = move |(&(gateway, reader), life)| Of { shop, gateway, reader, life, hours_ms };
        watched.readers.iter().map(of)
    };
    source.report.watched.iter().flat_map(of_shop).collect()
}

/// Per reader, of the opening hours of the days that were asked for.
#[must_use]
pub(super) fn table(source: &Source<'_>) -> Table {
    let mut all = all(source);
    all.sort_by_key(|of| (of.life.listening_ms - of.hours_ms, of.shop, of.gateway, of.reader));
    let row = |of: Of<'_>| {
        let hours = |ms: i64| Value::Number((of.hours_ms > 0).then_some(ms as f64 / HOUR_MS));
        let Life { listening_ms, silent_ms, absent_ms, off_ms } = *of.life;
        let untold_ms = (of.hours_ms - listening_ms - silent_ms - absent_ms - off_ms).max(0);
        let share = (of.hours_ms > 0).then(|| listening_ms as f64 / of.hours_ms as f64);
        let cells = vec![
            Value::Text(of.reader.to_string()),
            Value::Text(of.gateway.to_string()),
            Value::Text(source.site.shops[of.shop].id.to_string()),
            Value::Number(share.map(|share| (share * 100.0).min(100.0))),
            hours(listening_ms),
            hours(silent_ms),
            hours(absent_ms),
            hours(off_ms),
            hours(untold_ms),
        ];
        Row { cells, ..Row::default() }
    };
    let columns = vec![
        column("reader", "col-reader", Kind::Text),
        column("gateway", "col-gateway-name", Kind::Text),
        minor("store", "col-store", Kind::Text),
        LISTENED,
        minor("listened_hours", "col-listened-hours", Kind::Number),
        minor("silent_hours", "col-silent-hours", Kind::Number),
        minor("absent_hours", "col-absent-hours", Kind::Number),
        minor("off_hours", "col-off-hours", Kind::Number),
        minor("untold_hours", "col-untold-hours", Kind::Number),
    ];
    Table { name: "readers", columns, rows: all.into_iter().map(row).collect() }
}

/// Which gateways listened to less than most of the opening hours.
#[must_use]
pub(super) fn finding(source: &Source<'_>, lang: Lang) -> String {
    let mut gateways: BTreeMap<(usize, GatewayId), (i64, i64)> = BTreeMap::new();
    for of in all(source).iter().filter(|of| of.hours_ms > 0) {
        let (listened, possible) = gateways.entry((of.shop, of.gateway)).or_default();
        *listened += of.life.listening_ms;
        *possible += of.hours_ms;
    }
    if gateways.is_empty() {
        let is_open = source.report.share_listened().is_some();
        return lang.text(if is_open { "finding-unmeasured" } else { "quality-unknown" });
    }
    let share = |(listened, possible): (i64, i64)| listened as f64 / possible as f64;
    let mut poor: Vec<_> = gateways.into_iter().filter(|(_, of)| share(*of) < POORLY).collect();
    if poor.is_empty() {
        return lang.text("finding-readers-all");
    }
    poor.sort_by_key(|(key, (listened, possible))| (Reverse(possible - listened), *key));
    let named = |((shop, gateway), of): &((usize, GatewayId), (i64, i64))| {
        format!("{gateway} ({}) {}", source.site.shops[*shop].name, lang.percent(share(*of)))
    };
    let mut names: Vec<String> = poor.iter().take(NAMED).map(named).collect();
    if poor.len() > NAMED {
        names.push("…".into());
    }
    let args = [("count", (poor.len() as u64).into()), ("names", names.join(", ").into())];
    lang.format("finding-readers-silent", &args)
}
