//! Invented shops. Enters: how many, how many events. Leaves: their files, and their gateways' batches, as large as
//! those of agents that have much to send. The same numbers give the same events.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use hangtag_protocol::batch::{Batch, FORMAT, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime};
use hangtag_protocol::epc::{Epc, Serial, Sgtin};
use hangtag_protocol::event::{Coverage, Event, Evidence, Fitting, Handling, ReaderState, What};
use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, Seq, StoreId, TenantId, ZoneId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::topic::Gateway;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};

use crate::shop::{self, Shop};

/// Events of a shop on a day: `facts` of a busy shop.
pub(super) const A_DAY: u64 = 20_000;
/// The most events that agents put into a batch; and those of a batch that a busy shop fills while it is live.
const BATCH: usize = 256;
const LIVE_BATCH: usize = 8;
/// Styles in the catalogue; each has five sizes and two colours.
const STYLES: u64 = 200;
/// Rails of a shop, and its booths.
const RAILS: u64 = 24;
const BOOTHS: u64 = 8;
const DAY_MS: i64 = 86_400_000;
/// So long gateways have run.
const YEARS_MS: i64 = 3 * 365 * DAY_MS;

/// Writes the shops and the catalogue; returns the shops.
pub(super) fn write_files(folder: &Path, stores: u64) -> anyhow::Result<Vec<Shop>> {
    let mut text = String::new();
    let open =
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(|day| format!("{day} = \"09:00-21:00\""));
    for number in 0..stores {
        writeln!(text, "[[store]]\nid = \"shop-{number}\"\nname = \"Shop {number}\"\ntime_zone = \"UTC\"")?;
        writeln!(text, "open = {{ {} }}", open.join(", "))?;
    }
    let file = folder.join("stores.toml");
    std::fs::write(&file, text)?;
    let mut rows = String::from("gtin,style,colour,size,name,price,category\n");
    for style in 0..STYLES {
        for (at, size) in (0..).zip(["XS", "S", "M", "L", "XL"]) {
            for (shade, colour) in (0..).zip(["red", "blue"]) {
                let gtin = tag(style * 10 + at * 2 + shade, 0).sgtin().context("an SGTIN")?.gtin();
                let category = style % 8;
                writeln!(
                    rows,
                    "{gtin},style-{style},{colour},{size},Style {style},39.90,category-{category}"
                )?;
            }
        }
    }
    std::fs::write(folder.join("catalogue.csv"), rows)?;
    shop::read(&file).map_err(|problems| anyhow::anyhow!(crate::problem::lines(&problems)))
}

fn tag(item: u64, serial: u64) -> Epc {
    let sgtin =
        Sgtin { filter: 1, company: 614_141, company_digits: 7, item, serial: Serial::Number(serial) };
    sgtin.encode_96().expect("every field is in range")
}

/// An invented gateway: the only one of its shop, or the one beside it whose events are live.
pub(super) struct Invented {
    /// Which one.
    pub gateway: Gateway,
    /// The life of its spool, drawn at random: central may have known an earlier one.
    pub epoch: Epoch,
    boot: BootId,
    /// Events in a batch.
    batch: usize,
    next: u64,
    random: StdRng,
}

impl Invented {
    /// One whose events waited out an outage.
    pub(super) fn late(tenant: TenantId, shop: u64) -> anyhow::Result<Self> {
        Self::new(tenant, shop, "gw-1", BATCH)
    }

    /// One whose events are sent as they happen.
    pub(super) fn live(tenant: TenantId, shop: u64) -> anyhow::Result<Self> {
        Self::new(tenant, shop, "gw-live", LIVE_BATCH)
    }

    /// One that only tells whether central stores anything.
    pub(super) fn probe(tenant: TenantId) -> anyhow::Result<Self> {
        Self::new(tenant, 0, "gw-probe", LIVE_BATCH)
    }

    fn new(tenant: TenantId, shop: u64, name: &str, batch: usize) -> anyhow::Result<Self> {
        let gateway =
            Gateway { tenant, store: StoreId::new(&format!("shop-{shop}"))?, gateway: GatewayId::new(name)? };
        let (epoch, random) = (Epoch(rand::random()), StdRng::seed_from_u64(shop));
        Ok(Self { gateway, epoch, boot: BootId(shop + 1), batch, next: 1, random })
    }

    /// The batches of the next so many events, `A_DAY` a day, of which the last is today.
    pub(super) fn days(&mut self, events: u64) -> anyhow::Result<Vec<Batch>> {
        let days = events.div_ceil(A_DAY);
        let mut batches = Vec::new();
        for day in 0..days {
            batches.extend(self.day(i64::try_from(days - 1 - day)?, A_DAY.min(events - day * A_DAY))?);
        }
        Ok(batches)
    }

    /// The batches of one day, so many days ago: shoppers pick garments up, put most down, carry some into a booth, and
    /// try most of these on.
    pub(super) fn day(&mut self, ago: i64, count: u64) -> anyhow::Result<Vec<Batch>> {
        let (boot, random) = (self.boot, &mut self.random);
        let rail = |n: u64| ZoneId::new(&format!("rail-{n}"));
        let booth = |n: u64| ZoneId::new(&format!("booth-{n}"));
        let evidence = |dwell_ds| Evidence { reads: 12, margin_db: 9, unrest: 40, dwell_ds };
        let today = Timestamp::now().as_millisecond() / DAY_MS * DAY_MS;
        // The gateway has run for years; the shop is open from 9 to 21.
        let start = today - YEARS_MS;
        let since = YEARS_MS - ago * DAY_MS;
        let uptime = |second: u64| Uptime((since + 9 * 3_600_000).unsigned_abs() + second * 1_000);
        let mut events = Vec::new();
        let handled = |epc, zone, dwell| Handling { epc, zone, evidence: evidence(dwell) };
        while (events.len() as u64) < count {
            let second = events.len() as u64 * 12 * 3_600 / count;
            // Some styles are handled far more than others.
            let style = (STYLES as f64 * random.random::<f64>().powi(2)) as u64;
            let epc = tag(style * 10 + random.random_range(0..10), random.random_range(0..8));
            let at = uptime(second);
            let mut push = |at, what| events.push(Event { boot, at, confidence: 90, what });
            push(at, What::PickedUp(handled(epc, rail(style % RAILS)?, 600)));
            if random.random_bool(0.7) {
                push(Uptime(at.0 + 8_000), What::PutDown(handled(epc, rail(style % RAILS)?, 80)));
                continue;
            }
            let (visit, zone) =
                (Seq(self.next + events.len() as u64), booth(random.random_range(0..BOOTHS))?);
            let fitting = |epc, dwell| Fitting { epc, zone, visit, evidence: evidence(dwell) };
            let other =
                tag((style + 1) % STYLES * 10 + random.random_range(0..10), random.random_range(0..8));
            for (garment, epc) in (0..).zip([epc, other]) {
                let at = Uptime(at.0 + 60_000 + garment * 2_000);
                events.push(Event { boot, at, confidence: 95, what: What::CarriedIn(fitting(epc, 0)) });
                if random.random_bool(0.8) {
                    let at = Uptime(at.0 + 60_000);
                    events.push(Event { boot, at, confidence: 85, what: What::TriedOn(fitting(epc, 600)) });
                }
                let at = Uptime(at.0 + 240_000);
                events.push(Event { boot, at, confidence: 95, what: What::CarriedOut(fitting(epc, 2_400)) });
            }
        }
        events.truncate(usize::try_from(count)?);
        let coverage =
            Coverage { reader: ReaderId::new("reader-1")?, state: ReaderState::Listening, from: uptime(0) };
        if let Some(last) = events.last_mut() {
            *last = Event { boot, at: uptime(12 * 3_600), confidence: 100, what: What::Coverage(coverage) };
        }
        let anchor = ClockAnchor { boot, uptime: Uptime(0), wall: UnixMillis(start), error_ms: 10 };
        let mut batches = Vec::new();
        for events in events.chunks(self.batch) {
            let header = Header {
                format: FORMAT,
                replayed: self.batch > LIVE_BATCH,
                gateway: self.gateway,
                epoch: self.epoch,
                first: Seq(self.next),
                count: u32::try_from(events.len())?,
            };
            self.next += events.len() as u64;
            batches.push(Batch {
                header,
                oldest_held: Seq(1),
                lost: Vec::new(),
                anchors: vec![anchor],
                lineage: Lineage::default(),
                events: events.to_vec(),
            });
        }
        Ok(batches)
    }
}
