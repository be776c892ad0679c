//! The page's tables as CSV (RFC 4180): the same rows, times in the shop's time with their offset.
//! A text never reaches a spreadsheet as a formula.

use csv::{Terminator, WriterBuilder};

use super::view::{Row, View};

/// Per product.
///
/// # Errors
/// Never on memory; the type is the library's.
pub(crate) fn products(view: &View) -> Result<Vec<u8>, csv::Error> {
    let columns = ["style", "colour", "size", "name", "price", "gtin"];
    table(view, &columns, &[], &view.products, |p| {
        (vec![&p.style, &p.colour, &p.size, &p.name, &p.price, &p.gtin], Vec::new())
    })
}

/// Per zone.
///
/// # Errors
/// Never on memory; the type is the library's.
pub(crate) fn zones(view: &View) -> Result<Vec<u8>, csv::Error> {
    let more = ["visits", "median_fitting_s", "loyalty_scans", "product_scans"];
    table(view, &["zone"], &more, &view.zones, |z| {
        let median = z.median_ds.map(|ds| format!("{}.{}", ds / 10, ds % 10)).unwrap_or_default();
        let scans = [z.loyalty_scans, z.product_scans].map(|n| n.to_string());
        (vec![&z.zone], [z.visits.to_string(), median].into_iter().chain(scans).collect())
    })
}

/// Per hour.
///
/// # Errors
/// Never on memory; the type is the library's.
pub(crate) fn hours(view: &View) -> Result<Vec<u8>, csv::Error> {
    table(view, &["hour"], &[], &view.hours, |h| (vec![&h.start], Vec::new()))
}

fn table<'v, K>(
    view: &'v View,
    keys: &[&str],
    more: &[&str],
    rows: &'v [Row<K>],
    cells: impl Fn(&'v K) -> (Vec<&'v String>, Vec<String>),
) -> Result<Vec<u8>, csv::Error> {
    let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let counts = ["picked_up", "put_down", "carried_in", "tried_on"];
    out.write_record(["store", "from", "to"].iter().chain(keys).chain(&counts).chain(more))?;
    for row in rows {
        let (keys, more) = cells(&row.key);
        let c = row.counts;
        let day = [view.store.to_string(), view.from.clone(), view.to.clone()];
        let keys = keys.into_iter().map(|text| harmless(text));
        let counts = [c.picked_up, c.put_down, c.carried_in, c.tried_on].map(|n| n.to_string());
        out.write_record(day.into_iter().chain(keys).chain(counts).chain(more))?;
    }
    out.into_inner().map_err(|why| csv::Error::from(why.into_error()))
}

/// Puts an apostrophe before what a spreadsheet would compute.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}") } else { text.into() }
}
