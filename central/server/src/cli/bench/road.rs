//! The whole way: from what gateways publish to what central has committed, rolled up, and published in turn. Enters: a
//! broker, and where databases can be made. Leaves: one line per measure. Central is a process of its own; gateways
//! are invented here.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use hangtag_central_core::feed::Form;
use hangtag_protocol::batch::Batch;
use hangtag_protocol::id::TenantId;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event};
use tokio::time::{Instant, sleep, timeout};

use super::central::Central;
use super::invent::{Invented, write_files};
use super::uplink::{Pace, Parcel, Uplink};
use super::{Bench, Broker, say};
use crate::connection::Heard;
use crate::store::{Scratch, floor};

/// How live batches follow each other in a busy shop.
const LIVE: Pace = Pace::Every(Duration::from_millis(250));
/// Live events without a backlog, to compare with; and beside one, more than will be sent.
const LIVE_ALONE: u64 = 400;
const LIVE_LONG: u64 = 40_000;
/// So many events the bare engine writes at most.
const BARE: usize = 1_000_000;
/// What is published, and how long at most.
const FORM: Form = Form::CloudEvents;
const FEED: Duration = Duration::from_secs(10);
/// How often the database is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long central may take to start, or to roll up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the broker says nothing when it has nothing more to say.
const QUIET: Duration = Duration::from_secs(1);

/// What is measured with.
pub(super) struct Road<'b> {
    pub bench: &'b Bench,
    pub broker: Broker,
    pub folder: &'b Path,
    pub tenant: TenantId,
    /// The name of central's session.
    pub client: String,
}

impl Road<'_> {
    /// Measures everything.
    pub(super) async fn measure(&self) -> anyhow::Result<()> {
        write_files(self.folder, self.bench.stores)?;
        let measured = async {
            self.rate().await?;
            self.late().await
        };
        let measured = measured.await;
        self.tidy().await.context("cannot take from the broker what was retained")?;
        measured
    }

    /// How fast events come from gateways into the database; and, of those, from there to other systems.
    async fn rate(&self) -> anyhow::Result<()> {
        let scratch = self.scratch("rate")?;
        let central = self.start(&scratch, "off").await?;
        let before = central.used()?;
        let (mut lines, mut sample) = (Vec::new(), Vec::new());
        for shop in 0..self.bench.stores {
            let mut invented = Invented::late(self.tenant, shop)?;
            let batches = invented.days(share(self.bench.events, self.bench.stores, shop))?;
            lines.push((self.open(&invented).await?, parcels(&batches)?));
            if sample.iter().map(|batch: &Batch| batch.events.len()).sum::<usize>() < BARE {
                sample.extend(batches);
            }
        }
        let sent = lines.iter_mut().map(|(uplink, parcels)| uplink.send(std::mem::take(parcels), Pace::Full));
        let sent = try_join_all(sent).await?;
        let first = sent.iter().map(|sent| sent.first).min().context("no gateway")?;
        let committed = sent.iter().map(|sent| sent.settled).max().context("no gateway")?;
        let at_commit = central.used()?;
        until("rollups are not made", || Ok(scratch.waiting()? == 0)).await?;
        let (rolled, used) = (Instant::now(), central.used()?);
        let stored = scratch.stored()?;
        // One more told that central had started.
        let events = self.bench.events;
        ensure!(stored == events + 1, "of {events} events {} were stored", stored.saturating_sub(1));

        let (rate, millions) = (events as f64 / (committed - first).as_secs_f64(), events as f64 / 1e6);
        say("events", events as f64, "events");
        say("mqtt_to_committed", rate, "events/s");
        say("mqtt_to_rolled_up", events as f64 / (rolled - first).as_secs_f64(), "events/s");
        say("rolled_up_after_last_commit", (rolled - committed).as_secs_f64(), "s");
        say("central_cpu_to_committed", (at_commit.cpu_s - before.cpu_s) / millions, "s per million events");
        say("central_cpu_to_rolled_up", (used.cpu_s - before.cpu_s) / millions, "s per million events");
        say("central_memory_peak", used.peak_mib, "MiB");
        drop(central);

        let bare = self.scratch("bare")?;
        let bare = floor(bare.address(), self.tenant, &sample)?;
        say("bare_engine", bare.rows, "rows/s");
        say("bare_engine_with_rollups", bare.rolled, "rows/s");
        say("mqtt_to_committed_of_bare_engine", rate / bare.rolled, "times bare_engine_with_rollups");

        let central = self.start(&scratch, FORM.name()).await?;
        let (before, begun, [from, _]) = (central.used()?, Instant::now(), scratch.published(FORM)?);
        let to = loop {
            sleep(LOOK).await;
            let [to, all] = scratch.published(FORM)?;
            if to == all || begun.elapsed() > FEED {
                break to;
            }
        };
        let (after, published) = (central.used()?, (to - from) as f64);
        say("feed_published", published / begun.elapsed().as_secs_f64(), "events/s");
        say("feed_cpu", (after.cpu_s - before.cpu_s) / published * 1e6, "s per million events");
        Ok(())
    }

    /// How long live events take while a backlog streams in.
    async fn late(&self) -> anyhow::Result<()> {
        let scratch = self.scratch("late")?;
        let central = self.start(&scratch, "off").await?;
        let mut live = Invented::live(self.tenant, 0)?;
        let mut uplink = self.open(&live).await?;
        uplink.send(parcels(&live.days(LIVE_ALONE)?)?, LIVE).await?;
        say_delays("live_delay_alone", uplink.delays());

        let lives = uplink.send(parcels(&live.days(LIVE_LONG)?)?, LIVE);
        let mut lines = Vec::new();
        for shop in 0..self.bench.stores {
            let mut invented = Invented::late(self.tenant, shop)?;
            let batches = invented.days(share(self.bench.late, self.bench.stores, shop))?;
            lines.push((self.open(&invented).await?, parcels(&batches)?));
        }
        let backlog =
            lines.iter_mut().map(|(uplink, parcels)| uplink.send(std::mem::take(parcels), Pace::Full));
        let begun = Instant::now();
        let backlog = tokio::select! {
            backlog = try_join_all(backlog) => backlog?,
            ended = lives => {
                ended?;
                bail!("the backlog took longer than {LIVE_LONG} live events");
            }
        };
        let last = backlog.iter().map(|sent| sent.settled).max().context("no gateway")?;
        say("late_events", self.bench.late as f64, "events");
        say("late_to_committed", self.bench.late as f64 / (last - begun).as_secs_f64(), "events/s");
        say_delays("live_delay_beside_late", uplink.delays());
        say("central_memory_peak_beside_late", central.used()?.peak_mib, "MiB");
        Ok(())
    }

    fn scratch(&self, name: &str) -> anyhow::Result<Scratch> {
        self.bench.scratch(self.folder, name)
    }

    /// Starts a central, and waits until it stores what comes.
    async fn start(&self, scratch: &Scratch, publish: &str) -> anyhow::Result<Central> {
        let (tenant, client, database, broker) =
            (self.tenant.as_str(), &self.client, scratch.config(), &self.broker.text);
        let text = format!(
            "tenant = {tenant:?}\nstores = \"stores.toml\"\ncatalogue = \"catalogue.csv\"\n{database}\n\
             [mqtt]\n{broker}client_id = {client:?}\n[web]\nlisten = \"127.0.0.1:0\"\n\
             [feed]\npublish = {publish:?}\n"
        );
        std::fs::write(self.folder.join("central.toml"), text)?;
        let mut central = Central::start(self.folder)?;
        let mut probe = Invented::probe(self.tenant)?;
        let batches = probe.days(1)?;
        let mut uplink = self.open(&probe).await?;
        let stored = timeout(PATIENCE, async {
            loop {
                // The broker keeps nothing for a session that central has not opened yet.
                match timeout(QUIET, uplink.send(parcels(&batches)?, Pace::Full)).await {
                    Ok(sent) => return sent.map(drop),
                    Err(_) => central.look()?,
                }
            }
        });
        stored.await.context("central does not start")??;
        Ok(central)
    }

    async fn open(&self, invented: &Invented) -> anyhow::Result<Uplink> {
        Uplink::open(&self.broker, invented.gateway, invented.epoch).await
    }

    /// Takes back what this left with the broker: what is retained, and central's session.
    async fn tidy(&self) -> anyhow::Result<()> {
        let mut options = self.broker.options(&self.client);
        // As large as the documents that central retains.
        options.set_clean_start(true).set_max_packet_size(Some(1 << 20));
        let (client, event_loop) = AsyncClient::new(options, 1_024);
        let mut heard = Heard::from(event_loop, 1_024);
        client.try_subscribe(format!("hangtag/v1/{}/#", self.tenant.as_str()), QoS::AtLeastOnce)?;
        while let Ok(event) = timeout(QUIET, heard.next()).await {
            if let Event::Incoming(Packet::Publish(publish)) = event?
                && publish.retain
                && !publish.payload.is_empty()
            {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                client.publish(topic, QoS::AtLeastOnce, true, Vec::new()).await?;
            }
        }
        client.disconnect().await?;
        while heard.next().await.is_ok() {}
        Ok(())
    }
}

/// The part of one of so many shops.
fn share(events: u64, shops: u64, shop: u64) -> u64 {
    events / shops + u64::from(shop < events % shops)
}

fn parcels(batches: &[Batch]) -> anyhow::Result<Vec<Parcel>> {
    batches.iter().map(|batch| Ok((batch.header.range().last, batch.encode()?))).collect()
}

/// Waits until something is so.
async fn until(
    otherwise: &'static str,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let last = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < last, otherwise);
        sleep(LOOK).await;
    }
    Ok(())
}

fn say_delays(name: &str, delays: Vec<Duration>) {
    let mut delays: Vec<f64> = delays.into_iter().map(|delay| delay.as_secs_f64() * 1e3).collect();
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
    if !delays.is_empty() {
        say(&format!("{name}_p50"), at(0.5), "ms");
        say(&format!("{name}_p95"), at(0.95), "ms");
        say(&format!("{name}_max"), at(1.0), "ms");
    }
}
