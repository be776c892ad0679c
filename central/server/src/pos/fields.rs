//! The fields of a line or a count, whatever they were written in. Enters: values by name. Leaves: a checked line or
//! count, or the first field that is wrong, with its value.

use std::borrow::Cow;

use hangtag_central_core::sale::{
    self, Currency, Goods, Kind, Line, MAX_QUANTITY, Place, Price, Receipt, SaleError, StockCount,
};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::id::StoreId;
use hangtag_protocol::topic::About;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Door;

/// The names of a line's fields.
pub(super) const OF_LINE: [&str; 10] =
    ["store", "receipt", "line", "kind", "time", "gtin", "epc", "quantity", "amount", "currency"];
/// The names of a count's fields.
pub(super) const OF_COUNT: [&str; 5] = ["store", "gtin", "place", "time", "quantity"];

/// Values by name. An empty value is none.
pub(super) trait Fields {
    /// A text.
    ///
    /// # Errors
    /// When the value is something else.
    fn text(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, String>;

    /// A whole number, or a decimal one, as digits.
    ///
    /// # Errors
    /// When the value is something else.
    fn number(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, String>;
}

/// Reads a line.
pub(super) fn line(fields: &dyn Fields, door: Door<'_>) -> Result<(StoreId, Line), String> {
    let (store, zone) = shop(fields, door)?;
    let receipt = required(fields, "receipt")?;
    let receipt = Receipt::new(&receipt).map_err(wrong("receipt", &receipt))?;
    let number = whole(fields, "line", 0, u32::MAX)?;
    let kind = kind(fields, door.about)?;
    let at = time(fields, zone)?;
    let epc = fields.text("epc")?;
    let epc =
        epc.map(|text| Epc::from_hex(&text).map_err(|why| format!("epc: {text:?} {why}"))).transpose()?;
    let goods = Goods::new(gtin(fields)?, epc).map_err(|why| match why {
        SaleError::OtherProduct { .. } => format!("epc: {why}"),
        why => why.to_string(),
    })?;
    let quantity = whole(fields, "quantity", 1, MAX_QUANTITY)?;
    let quantity = goods.pieces(quantity).map_err(|why| format!("quantity: {why}"))?;
    Ok((store, Line { receipt, line: number, at, kind, goods, quantity, price: price(fields)? }))
}

/// Reads a count.
pub(super) fn count(fields: &dyn Fields, door: Door<'_>) -> Result<(StoreId, StockCount), String> {
    let (store, zone) = shop(fields, door)?;
    let gtin = gtin(fields)?.ok_or("gtin: is missing")?;
    let at = time(fields, zone)?;
    let place = match fields.text("place")? {
        None => Place::All,
        Some(text) => Place::ALL
            .into_iter()
            .find(|place| place.name() == text)
            .ok_or_else(|| format!("place: {text:?} is not floor, back_room or all"))?,
    };
    let quantity = whole(fields, "quantity", 0, MAX_QUANTITY)?;
    Ok((store, StockCount { gtin, place, at, quantity }))
}

fn shop<'d>(fields: &dyn Fields, door: Door<'d>) -> Result<(StoreId, Option<&'d TimeZone>), String> {
    let named = fields.text("store")?;
    let named =
        named.map(|text| StoreId::new(&text).map_err(|why| format!("store: {text:?} {why}"))).transpose()?;
    let store = match (named, door.store) {
        (Some(named), Some(store)) if named != store => {
            return Err(format!("store: is {named}, and not {store}, for which this is"));
        }
        (Some(store), _) | (None, Some(store)) => store,
        (None, None) => return Err("store: is missing".into()),
    };
    let Some(shops) = door.shops else { return Ok((store, None)) };
    let shop = shops.iter().find(|shop| shop.id == store);
    shop.map(|shop| (store, Some(&shop.time_zone))).ok_or_else(|| format!("store: there is no store {store}"))
}

fn kind(fields: &dyn Fields, about: About) -> Result<Kind, String> {
    let told = if about == About::Return { Kind::Return } else { Kind::Sale };
    let Some(text) = fields.text("kind")? else { return Ok(told) };
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    match kind {
        Some(Kind::Sale) if told == Kind::Return => Err("kind: is a sale among returns".into()),
        Some(kind) => Ok(kind),
        None => Err(format!("kind: {text:?} is not sale or return")),
    }
}

fn gtin(fields: &dyn Fields) -> Result<Option<Gtin>, String> {
    let text = fields.text("gtin")?;
    text.map(|text| Gtin::new(&text).map_err(|why| format!("gtin: {text:?} {why}"))).transpose()
}

fn time(fields: &dyn Fields, zone: Option<&TimeZone>) -> Result<UnixMillis, String> {
    let text = required(fields, "time")?;
    let none = || format!("time: {text:?} is not a time like 2026-11-22T14:03:11+01:00");
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            // A date alone is no time, though it could be read as one.
            let local =
                text.contains(':').then(|| text.parse::<DateTime>().ok()).flatten().ok_or_else(none)?;
            let zone = zone.ok_or_else(|| {
                format!("time: {text:?} does not tell its offset from UTC, as 2026-11-22T14:03:11+01:00 does")
            })?;
            // Of an hour that comes twice, the first.
            local.to_zoned(zone.clone()).map_err(|_| none())?.timestamp()
        }
    };
    sale::time(UnixMillis(at.as_millisecond())).map_err(|why| format!("time: {text:?} {why}"))
}

fn price(fields: &dyn Fields) -> Result<Option<Price>, String> {
    let currency = fields.text("currency")?;
    let currency = currency.map(|text| Currency::new(&text).map_err(wrong("currency", &text))).transpose()?;
    let Some(amount) = fields.number("amount")? else { return Ok(None) };
    let currency = currency.ok_or_else(|| format!("currency: is missing beside the amount {amount}"))?;
    Ok(Some(Price::parse(&amount, currency).map_err(wrong("amount", &amount))?))
}

fn required<'f>(fields: &'f dyn Fields, name: &'static str) -> Result<Cow<'f, str>, String> {
    fields.text(name)?.ok_or_else(|| format!("{name}: is missing"))
}

fn whole(fields: &dyn Fields, name: &'static str, least: u32, most: u32) -> Result<u32, String> {
    let text = fields.number(name)?.ok_or_else(|| format!("{name}: is missing"))?;
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{name}: {text:?} is not a whole number from {least} to {most}"))
}

fn wrong(name: &'static str, text: &str) -> impl Fn(SaleError) -> String {
    move |why| format!("{name}: {text:?} {why}")
}
