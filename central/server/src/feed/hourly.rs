//! How often things happened, hour by hour, for systems that want numbers and no events. Enters: shops, and their days.
//! Leaves: a document per shop and measure, of yesterday and today by the shop's clock, whenever it says something else
//! than before. The broker keeps it, so that whoever comes has it at once.
//!
//! Counts per product, zone and hour are not of persons; of stays and of what is handled together nothing is told.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use hangtag_central_core::handled::{Article, Counts};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{StoreId, TenantId, ZoneId};
use hangtag_protocol::topic;
use jiff::{Timestamp, Zoned};
use serde::Serialize;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::mqtt::Letter;
use super::rfc3339;
use crate::days::{Days, ShopDay};
use crate::feed::desk::DeskError;
use crate::shop::Shop;
use crate::store::StoreError;

/// How often it is looked whether a shop's counts changed.
const EVERY: Duration = Duration::from_secs(30);
/// The most products of an hour that are named, those that were counted most.
const MOST_PRODUCTS: usize = 500;
/// What the documents are.
const CONTENT_TYPE: &str = "application/json";

/// What is counted.
struct Measure {
    name: &'static str,
    of: fn(Counts) -> u64,
}

const MEASURES: [Measure; 4] = [
    Measure { name: "picked_up", of: |counts| counts.picked_up },
    Measure { name: "put_down", of: |counts| counts.put_down },
    Measure { name: "carried_in", of: |counts| counts.carried_in },
    Measure { name: "tried_on", of: |counts| counts.tried_on },
];

/// What of a shop is told. `docs/schema/counts-1.json` describes every field.
#[derive(Debug, Serialize)]
struct Document<'a> {
    store: StoreId,
    measure: &'static str,
    counted: String,
    hours: &'a [HourCount],
}

/// An hour of the shop's clock.
#[derive(Debug, Hash, Serialize)]
struct HourCount {
    from: String,
    to: String,
    /// `None` while nobody listened and nothing is known.
    count: Option<u64>,
    listened_percent: u8,
    zones: BTreeMap<ZoneId, u64>,
    products: BTreeMap<String, u64>,
    other_products: u64,
}

/// Where counts are from.
#[derive(Clone, Debug)]
pub(crate) struct Hourly {
    /// The chain.
    pub tenant: TenantId,
    /// Its shops.
    pub shops: Arc<[Shop]>,
    /// Their days.
    pub days: Days,
    /// Central's clock.
    pub now: fn() -> Timestamp,
}

impl Hourly {
    /// What there is to say of a shop: each measure with its hours.
    fn count(&self, shop: &Shop, now: Timestamp) -> Result<[Vec<HourCount>; 4], StoreError> {
        let today = shop.today(now);
        let yesterday = today.yesterday().unwrap_or(today);
        let days = self.days.of(shop, (yesterday, today), now, None)?;
        let readers: BTreeSet<_> = days
            .iter()
            .flat_map(|(_, day)| &day.coverage)
            .map(|stretch| (stretch.gateway, stretch.reader))
            .collect();
        let mut all = MEASURES.map(|_| Vec::new());
        for (date, day) in &days {
            let Some((_, end)) = shop.bounds(*date) else { continue };
            let starts: Vec<Zoned> = shop.hours(*date).into_iter().map(|hour| hour.start).collect();
            for (at, start) in starts.iter().enumerate().take_while(|(_, start)| start.timestamp() <= now) {
                let end = starts.get(at + 1).unwrap_or(&end);
                let stretch = (start.timestamp(), end.timestamp().min(now));
                let heard = Heard::of(day, stretch, readers.len());
                for (Measure { of, .. }, hours) in MEASURES.iter().zip(&mut all) {
                    hours.push(hour(day, at, *of, (start, end), heard));
                }
            }
        }
        Ok(all)
    }
}

/// One hour of a day.
fn hour(
    ShopDay { day, .. }: &ShopDay,
    at: usize,
    of: fn(Counts) -> u64,
    (start, end): (&Zoned, &Zoned),
    heard: Heard,
) -> HourCount {
    let (mut zones, mut products): (BTreeMap<_, u64>, BTreeMap<_, u64>) = Default::default();
    let (mut count, mut other_products) = (0, 0);
    let mut is_known = heard.is_any;
    for cell in day.cells.iter().filter(|cell| usize::from(cell.hour) == at) {
        is_known = true;
        let times = of(cell.sum());
        if times == 0 {
            continue;
        }
        count += times;
        *zones.entry(day.zones[usize::from(cell.zone)]).or_default() += times;
        match day.articles[cell.article as usize] {
            Article::Product(gtin) => *products.entry(gtin.to_string()).or_default() += times,
            Article::Unknown => other_products += times,
        }
    }
    if products.len() > MOST_PRODUCTS {
        let mut by_count: Vec<_> = products.into_iter().collect();
        // Those of the same count by their code, so that the same is said of the same.
        by_count.sort_by_key(|(_, times)| Reverse(*times));
        other_products += by_count.drain(MOST_PRODUCTS..).map(|(_, times)| times).sum::<u64>();
        products = by_count.into_iter().collect();
    }
    let (from, to) = (local(start), local(end));
    let count = is_known.then_some(count);
    HourCount { from, to, count, listened_percent: heard.percent, zones, products, other_products }
}

/// What is known of how a stretch was listened to.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// Whether any reader listened in a part of it.
    is_any: bool,
    /// The share in which the readers listened, in percent, rounded down.
    percent: u8,
}

impl Heard {
    fn of(day: &ShopDay, (from, to): (Timestamp, Timestamp), readers: usize) -> Self {
        let heard = listened_ms(day, from, to);
        let ms = to.as_millisecond() - from.as_millisecond();
        let possible = ms.saturating_mul(i64::try_from(readers).unwrap_or(i64::MAX));
        // Stretches of one reader may overlap where its gateway's clock was bettered.
        let percent = (heard * 100).checked_div(possible).map_or(0, |percent| percent.min(100));
        Self { is_any: heard > 0, percent: u8::try_from(percent).unwrap_or(100) }
    }
}

/// How long readers are known to have listened from one moment to another, in milliseconds, added up over the readers.
fn listened_ms(day: &ShopDay, from: Timestamp, to: Timestamp) -> i64 {
    let (from, to) = (UnixMillis(from.as_millisecond()), UnixMillis(to.as_millisecond()));
    day.coverage
        .iter()
        .filter(|stretch| stretch.state == ReaderState::Listening)
        .map(|stretch| (stretch.to.min(to).0 - stretch.from.max(from).0).max(0))
        .sum()
}

/// A moment by the shop's clock, as RFC 3339 has it.
fn local(at: &Zoned) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The documents of a shop, each with a digest of what it says of the hours.
type Counted = Vec<(u64, Letter)>;

/// The shops in turn, and what the broker was given of each through one connection.
pub(super) struct Rounds {
    hourly: Option<Hourly>,
    told: BTreeMap<(StoreId, &'static str), u64>,
    next: usize,
    begun: Instant,
    asking: Option<JoinHandle<Result<Counted, StoreError>>>,
}

impl Rounds {
    /// Rounds that begin at once; none without anything to count.
    pub(super) fn new(hourly: Option<Hourly>) -> Self {
        Self { hourly, told: BTreeMap::new(), next: 0, begun: Instant::now(), asking: None }
    }

    /// What there is to publish next. Cancel-safe: what was begun goes on, and is told the next time.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn next(&mut self) -> Result<Vec<Letter>, DeskError> {
        let Some(hourly) = self.hourly.clone() else { return std::future::pending().await };
        loop {
            if let Some(asking) = &mut self.asking {
                let counted = asking.await;
                self.asking = None;
                let shop = hourly.shops[self.next].id;
                self.next += 1;
                let mut letters = Vec::new();
                for (Measure { name, .. }, (digest, letter)) in MEASURES.iter().zip(counted??) {
                    if self.told.insert((shop, *name), digest) != Some(digest) {
                        letters.push(letter);
                    }
                }
                if !letters.is_empty() {
                    return Ok(letters);
                }
            }
            if self.next >= hourly.shops.len() {
                sleep_until(self.begun + EVERY).await;
                self.next = 0;
            }
            if self.next == 0 {
                self.begun = Instant::now();
            }
            let (hourly, next) = (hourly.clone(), self.next);
            self.asking =
                hourly.shops.get(next).cloned().map(|shop| spawn_blocking(move || letters(&hourly, &shop)));
        }
    }
}

/// Counts a shop.
fn letters(hourly: &Hourly, shop: &Shop) -> Result<Counted, StoreError> {
    let now = (hourly.now)();
    let letter = |(measure, hours): (&Measure, Vec<HourCount>)| {
        let document =
            Document { store: shop.id, measure: measure.name, counted: rfc3339(now), hours: &hours };
        // Of an hour that is not over the readers tell later how much they listened: for that alone nothing is said again.
        let (last, over) = hours.split_last().map_or((None, &[][..]), |(last, over)| (Some(last), over));
        let last =
            last.map(|hour| (&hour.from, hour.count, &hour.zones, &hour.products, hour.other_products));
        let digest = BuildHasherDefault::<DefaultHasher>::default().hash_one((over, last));
        let letter = Letter {
            topic: topic::counts(hourly.tenant, shop.id, measure.name),
            content_type: CONTENT_TYPE,
            payload: serde_json::to_string(&document).expect("names and numbers"),
            of: None,
        };
        (digest, letter)
    };
    Ok(MEASURES.iter().zip(hourly.count(shop, now)?).map(letter).collect())
}

#[cfg(test)]
mod tests;
