//! How fast central is on this machine. Enters: how many events, of how many shops. Leaves: one line per measure, `name
//! value unit`. It fills a database of its own with days of invented shops, as batches like those that agents send.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use hangtag_protocol::batch::{Batch, FORMAT, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime};
use hangtag_protocol::epc::{Epc, Serial, Sgtin};
use hangtag_protocol::event::{Coverage, Event, Evidence, Fitting, Handling, ReaderState, What};
use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, Seq, StoreId, TenantId, ZoneId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::topic::{Channel, Gateway};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::catalogue::Catalogue;
use crate::days::Days;
use crate::feed::Scene;
use crate::goods::Goods;
use crate::ingest::Broker;
use crate::shop::{self, Shop};
use crate::store::{Address, Message, Options, Reader, Roller, Store, floor};
use crate::web::{Site, Vitals, router};

/// Events of a shop on a day: `facts` of a busy shop.
const A_DAY: u64 = 20_000;
/// Events in a batch, as agents send them when there is much to send.
const BATCH: usize = 1_024;
/// Styles in the catalogue; each has five sizes and two colours.
const STYLES: u64 = 200;
/// Rails of a shop, and its booths.
const RAILS: u64 = 24;
const BOOTHS: u64 = 8;
/// How often a page is asked for that was asked for before.
const AGAIN: u32 = 20;
const DAY_MS: i64 = 86_400_000;

/// Measures, and keeps the database when a folder is named.
///
/// # Errors
/// When a file or the database fails.
pub(super) fn bench(events: u64, stores: u64, keep: Option<PathBuf>) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = keep.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let shops = write_files(&folder, stores)?;
    let address = Address::from(folder.join("central.db"));
    let tenant = TenantId::new("bench")?;
    let options = Options { tenant, quarantine_bytes: 1 << 20, keys: Arc::default() };
    let mut store = Store::open(&address, options.clone())?;

    let mut random = StdRng::seed_from_u64(1);
    let days = events.div_ceil(A_DAY * stores);
    let today = Timestamp::now().as_millisecond() / DAY_MS * DAY_MS;
    let start = today - i64::try_from(days.saturating_sub(1))? * DAY_MS;
    let (mut written, mut stored, mut bytes, mut seconds) = (0, 0, 0, 0.0);
    let mut first = vec![1; usize::try_from(stores)?];
    let mut sample = Vec::new();
    for day in 0..days {
        let since = i64::try_from(day)? * DAY_MS;
        for (number, first) in (0..stores).zip(&mut first) {
            let count = A_DAY.min(events - written);
            let messages = a_day(tenant, number, (start, since), count, first, &mut random)?;
            written += count;
            bytes += messages.iter().map(|message| message.payload.len()).sum::<usize>();
            let began = Instant::now();
            let mut rest = &messages[..];
            while !rest.is_empty() {
                let appended = store.append(rest)?;
                rest = &rest[appended.taken..];
                stored += appended.sums.new.events;
            }
            seconds += began.elapsed().as_secs_f64();
            if sample.len() < 200_000 / BATCH {
                sample.extend(messages);
            }
        }
    }
    anyhow::ensure!(stored == written, "of {written} events {stored} were stored");
    let batches: Vec<Batch> =
        sample.iter().map(|message| decode(&message.payload)).collect::<Result<_, _>>()?;
    let bare = floor(&folder.join("floor.db").into(), tenant, &batches)?;
    say("events", written as f64, "events");
    say("bytes_per_event_on_wire", bytes as f64 / written as f64, "bytes");
    say("append", written as f64 / seconds, "events/s");
    say("append_of_bare_engine", written as f64 / seconds / bare, "times the bare engine's rows/s");
    say("bare_engine", bare, "rows/s");

    let mut roller = Roller::open(&address, tenant)?;
    let began = Instant::now();
    let mut hours = 0;
    while let rolled @ 1.. = roller.roll(16)? {
        hours += rolled;
    }
    say("roll", written as f64 / began.elapsed().as_secs_f64(), "events/s");
    say("rolled", hours as f64, "hours");
    drop(store);
    drop(roller);
    let size = std::fs::metadata(folder.join("central.db"))?.len();
    say("bytes_per_event_on_disk", size as f64 / written as f64, "bytes");

    let runtime = tokio::runtime::Runtime::new()?;
    for (name, query) in [
        ("page", "/"),
        ("page_four_weeks", "/?period=28d"),
        ("page_one_store", "/?store=shop-0"),
        ("page_filtered", "/?category=category-1&colour=red"),
    ] {
        let site = site(&address, &folder, tenant, shops.clone());
        let (cold, size) = runtime.block_on(ask(&site, query))?;
        say(&format!("{name}_first"), cold * 1e3, "ms");
        let mut warm = 0.0;
        for _ in 0..AGAIN {
            warm += runtime.block_on(ask(&site, query))?.0;
        }
        say(&format!("{name}_again"), warm * 1e3 / f64::from(AGAIN), "ms");
        say(&format!("{name}_size"), size as f64, "bytes");
    }
    Ok(())
}

fn say(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.*} {unit}", usize::from(value < 100.0));
}

fn decode(payload: &[u8]) -> anyhow::Result<Batch> {
    let (header, body) = Batch::decode_header(payload)?;
    Ok(Batch::decode_body(header, body)?)
}

/// Writes a configuration, so that a kept database can be looked at; returns the shops.
fn write_files(folder: &std::path::Path, stores: u64) -> anyhow::Result<Vec<Shop>> {
    let mut text = String::new();
    for number in 0..stores {
        text +=
            &format!("[[store]]\nid = \"shop-{number}\"\nname = \"Shop {number}\"\ntime_zone = \"UTC\"\n");
        let open =
            ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(|day| format!("{day} = \"09:00-21:00\""));
        text += &format!("open = {{ {} }}\n", open.join(", "));
    }
    let file = folder.join("stores.toml");
    std::fs::write(&file, text)?;
    let mut rows = String::from("gtin,style,colour,size,name,price,category\n");
    for style in 0..STYLES {
        for (at, size) in (0..).zip(["XS", "S", "M", "L", "XL"]) {
            for (shade, colour) in (0..).zip(["red", "blue"]) {
                let gtin = tag(style * 10 + at * 2 + shade, 0).sgtin().context("an SGTIN")?.gtin();
                rows += &format!(
                    "{gtin},style-{style},{colour},{size},Style {style},39.90,category-{}\n",
                    style % 8
                );
            }
        }
    }
    std::fs::write(folder.join("catalogue.csv"), rows)?;
    std::fs::write(
        folder.join("central.toml"),
        "tenant = \"bench\"\ndata = \"central.db\"\nstores = \"stores.toml\"\ncatalogue = \"catalogue.csv\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = 1883\n[web]\nlisten = \"127.0.0.1:8080\"\n",
    )?;
    shop::read(&file).map_err(|problems| anyhow::anyhow!(crate::problem::lines(&problems)))
}

fn tag(item: u64, serial: u64) -> Epc {
    let sgtin =
        Sgtin { filter: 1, company: 614_141, company_digits: 7, item, serial: Serial::Number(serial) };
    sgtin.encode_96().expect("every field is in range")
}

/// The batches of one shop's day: shoppers pick garments up, put most down, carry some into a booth, and try most of
/// these on.
fn a_day(
    tenant: TenantId,
    shop: u64,
    (start, since): (i64, i64),
    count: u64,
    first: &mut u64,
    random: &mut StdRng,
) -> anyhow::Result<Vec<Message>> {
    let gateway =
        Gateway { tenant, store: StoreId::new(&format!("shop-{shop}"))?, gateway: GatewayId::new("gw-1")? };
    let boot = BootId(shop + 1);
    let rail = |n: u64| ZoneId::new(&format!("rail-{n}"));
    let booth = |n: u64| ZoneId::new(&format!("booth-{n}"));
    let evidence = |dwell_ds| Evidence { reads: 12, margin_db: 9, unrest: 40, dwell_ds };
    // The gateway has run since the first day; the shop is open from 9 to 21.
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
        let (visit, zone) = (Seq(*first + events.len() as u64), booth(random.random_range(0..BOOTHS))?);
        let fitting = |epc, dwell| Fitting { epc, zone, visit, evidence: evidence(dwell) };
        let other = tag((style + 1) % STYLES * 10 + random.random_range(0..10), random.random_range(0..8));
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
    let mut messages = Vec::new();
    for events in events.chunks(BATCH) {
        let header = Header {
            format: FORMAT,
            replayed: false,
            gateway,
            epoch: Epoch(shop + 1),
            first: Seq(*first),
            count: u32::try_from(events.len())?,
        };
        *first += events.len() as u64;
        let batch = Batch {
            header,
            oldest_held: Seq(1),
            lost: Vec::new(),
            anchors: vec![anchor],
            lineage: Lineage::default(),
            events: events.to_vec(),
        };
        let (topic, received) = (gateway.topic(Channel::Events), UnixMillis(start + since));
        messages.push(Message { topic, payload: batch.encode()?, received });
    }
    Ok(messages)
}

/// The page of the database, as a process that has just started has it.
fn site(address: &Address, folder: &std::path::Path, tenant: TenantId, shops: Vec<Shop>) -> Arc<Site> {
    let goods = Arc::new(Goods::new(Catalogue::read(&folder.join("catalogue.csv"))));
    let reader = Reader::new(address.clone());
    Arc::new(Site {
        days: Days::new(reader.clone(), goods.clone()),
        reader,
        scene: Scene::new(tenant, &shops),
        shops,
        goods,
        commits: watch::channel(0).1,
        vitals: Vitals { broker: watch::channel(Broker::Connected).1, failing: watch::channel(None).1 },
        stopping: watch::channel(false).1,
        now: Timestamp::now,
    })
}

/// Asks for a page: seconds, and its bytes.
async fn ask(site: &Arc<Site>, query: &str) -> anyhow::Result<(f64, usize)> {
    let began = Instant::now();
    let answer = router(site.clone()).oneshot(Request::get(query).body(Body::empty())?).await?;
    anyhow::ensure!(answer.status().is_success(), "{query}: {}", answer.status());
    let bytes = to_bytes(answer.into_body(), usize::MAX).await?.len();
    Ok((began.elapsed().as_secs_f64(), bytes))
}
