//! A day in a shop, as its gateway would send it. Enters: a broker's port. Leaves: batches on the broker, of events
//! that end at this moment.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use hangtag_protocol::batch::{Batch, FORMAT, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Coverage, Event, Evidence, Fitting, Handling, ReaderState, What};
use hangtag_protocol::id::{Epoch, ReaderId, Seq, ZoneId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::topic::Gateway;
use hangtag_tests::harness::listener::Listener;
use hangtag_tests::harness::site::GATEWAY_TOPIC;
use hangtag_tests::shop::stock::products;

/// The gateway was started so long ago, in milliseconds.
const SINCE: u64 = 100 * MINUTE;
const MINUTE: u64 = 60_000;
const BOOT: BootId = BootId(7);

/// A gateway that is not there.
pub(crate) struct Day {
    listener: Listener,
    gateway: Gateway,
    begin: UnixMillis,
    next: u64,
}

impl Day {
    /// Connects to the broker. Must be called within a tokio runtime.
    pub(crate) fn begin(broker_port: u16) -> anyhow::Result<Self> {
        let topic = format!("{GATEWAY_TOPIC}/events");
        let (gateway, _) = Gateway::parse(&topic).map_err(|why| anyhow!("{topic}: {why}"))?;
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let begin = UnixMillis(i64::try_from(now - SINCE)?);
        Ok(Self { listener: Listener::start(broker_port), gateway, begin, next: 1 })
    }

    /// What people did with every product: the n-th is picked up 1 to 5 times and tried on now and then, the first
    /// of a style more often. Returns how often anything was picked up and tried on.
    pub(crate) async fn shoppers(&mut self) -> anyhow::Result<[u64; 2]> {
        let (mut events, mut counts) = (Vec::new(), [0, 0]);
        let reader = ReaderId::new("booths").map_err(|why| anyhow!("{why}"))?;
        events.push((0, What::Coverage(Coverage { reader, state: ReaderState::Listening, from: Uptime(0) })));
        for (n, product) in (0u64..).zip(products()) {
            let rail = ["rail-a", "rail-b", "shelf-c"][product.home];
            for serial in 0..=n % 5 {
                let (epc, at) = (product.epc(serial), (5 + (n * 7 + serial * 13) % 80) * MINUTE);
                events.push((at, What::PickedUp(handling(epc, rail)?)));
                counts[0] += 1;
                if serial % 2 == n % 2 {
                    events.push((at + MINUTE, What::CarriedIn(fitting(epc, 0)?)));
                    events.push((at + 3 * MINUTE, What::TriedOn(fitting(epc, 900)?)));
                    events.push((at + 5 * MINUTE, What::CarriedOut(fitting(epc, 2_400)?)));
                    counts[1] += 1;
                } else {
                    events.push((at + MINUTE / 2, What::PutDown(handling(epc, rail)?)));
                }
            }
        }
        self.send(events).await?;
        Ok(counts)
    }

    /// One more try-on, a moment ago.
    pub(crate) async fn one_more_try_on(&mut self) -> anyhow::Result<()> {
        let epc = products().first().context("the shop sells nothing")?.epc(99);
        let at = SINCE - MINUTE;
        self.send(vec![
            (at, What::CarriedIn(fitting(epc, 0)?)),
            (at + 40_000, What::TriedOn(fitting(epc, 400)?)),
        ])
        .await
    }

    async fn send(&mut self, mut happened: Vec<(u64, What)>) -> anyhow::Result<()> {
        happened.sort_by_key(|(at, _)| *at);
        let first = self.next;
        // A visit is named by the event that opened it: here by the garment's being carried in.
        let mut visits = BTreeMap::new();
        let events: Vec<Event> = (first..)
            .zip(happened)
            .map(|(seq, (at, mut what))| {
                if let What::CarriedIn(of) | What::TriedOn(of) | What::CarriedOut(of) = &mut what {
                    of.visit = *visits.entry(of.epc).or_insert(Seq(seq));
                }
                Event { boot: BOOT, at: Uptime(at), confidence: 90, what }
            })
            .collect();
        let count = u32::try_from(events.len())?;
        self.next += u64::from(count);
        let header = Header {
            format: FORMAT,
            replayed: false,
            gateway: self.gateway,
            epoch: Epoch(0xabc),
            first: Seq(first),
            count,
        };
        let anchor = ClockAnchor { boot: BOOT, uptime: Uptime(0), wall: self.begin, error_ms: 20 };
        let batch = Batch {
            header,
            oldest_held: Seq(1),
            lost: Vec::new(),
            anchors: vec![anchor],
            lineage: Lineage::default(),
            events,
        };
        self.listener.publish(batch.encode().map_err(|why| anyhow!("{why}"))?).await
    }
}

fn handling(epc: Epc, zone: &str) -> anyhow::Result<Handling> {
    Ok(Handling { epc, zone: named(zone)?, evidence: Evidence::default() })
}

fn fitting(epc: Epc, dwell_ds: u16) -> anyhow::Result<Fitting> {
    let evidence = Evidence { dwell_ds, ..Evidence::default() };
    Ok(Fitting { epc, zone: named("booth-1")?, visit: Seq(1), evidence })
}

fn named(zone: &str) -> anyhow::Result<ZoneId> {
    ZoneId::new(zone).map_err(|why| anyhow!("{zone}: {why}"))
}
