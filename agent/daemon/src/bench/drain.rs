//! `bench drain`: how fast a backlog leaves. Enters: a folder, a broker. Leaves: events per second of an
//! agent that drains a million waiting events, beside bare rumqttc that publishes the same payloads, with
//! the same window and at QoS 1 too. The two take turns.
//!
//! Both are timed where they arrive: from the first batch to the last, at a subscriber that stands for
//! central. It answers with watermarks, as central does, but stores nothing. This file names rumqttc,
//! because it is the bare side.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hangtag_agent_core::uplink::WINDOW;
use hangtag_protocol::batch::{Batch, FORMAT};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::SeqSet;
use hangtag_protocol::topic::{BATCH_CONTENT_TYPE, Channel, Gateway};
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};
use tokio::time::{Instant, sleep_until, timeout};

use super::child::{agent, configuration, mosquitto};
use super::memory::wait;
use super::report::{Aim, Report, Sample};
use super::wire::gateway;

const REPEATS: usize = 5;
const EVENTS: u64 = 1_000_000;
/// How often the subscriber tells how far it is.
const WATERMARK_EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures.
pub(super) async fn run(folder: &Path, broker: Option<&str>, report: &mut Report) -> anyhow::Result<()> {
    let own = if broker.is_none() { Some(mosquitto(folder).await?) } else { None };
    let (host, port) = match (broker, &own) {
        (Some(broker), _) => {
            let (host, port) = broker.rsplit_once(':').context("--broker is HOST:PORT")?;
            (host.to_owned(), port.parse().context("--broker is HOST:PORT")?)
        }
        (None, own) => ("127.0.0.1".to_owned(), own.as_ref().map_or(1_883, |(_, port)| *port)),
    };
    let config = configuration(folder, &host, port)?;
    let (data, full) = (folder.join("data"), folder.join("full"));
    wait(&config, EVENTS).await?;
    std::fs::rename(&data, &full)?;

    let mut central = Central::connect(&host, port).await?;
    let (mut ours, mut floor, mut ratio, mut bytes) = (vec![], vec![], vec![], 0.0);
    // The first round warms everything up, and gives the payloads.
    let mut payloads = Vec::new();
    for round in 0..=REPEATS {
        copy(&full, &data)?;
        central.forget().await?;
        let (running, _) = agent(&config).await?;
        let through = central.receive(true, (round == 0).then_some(&mut payloads)).await?;
        drop(running);
        central.forget().await?;
        let bare = tokio::spawn(publish(host.clone(), port, payloads.clone()));
        let plain = central.receive(false, None).await?;
        bare.await??;
        if round > 0 {
            ours.push(through);
            floor.push(plain);
            ratio.push(through / plain);
        }
        bytes = payloads.iter().map(Vec::len).sum::<usize>() as f64;
    }
    report.value("drain_batches", payloads.len() as f64, "batches");
    report.value("drain_payload", bytes / EVENTS as f64, "B/event");
    report.sample("drain", &Sample::new(ours), "events/s");
    report.sample("drain_floor", &Sample::new(floor), "events/s");
    report.aimed("drain_ratio", &Sample::new(ratio), "x", Aim::AtLeast(0.9));
    Ok(())
}

/// A subscriber that stands for central.
struct Central {
    client: AsyncClient,
    events: EventLoop,
    gateway: Gateway,
    epoch: Epoch,
}

impl Central {
    async fn connect(host: &str, port: u16) -> anyhow::Result<Self> {
        let (client, events) = AsyncClient::new(options("hangtag-bench-central", host, port), 64);
        let gateway = gateway()?;
        client.subscribe(gateway.topic(Channel::Events), QoS::AtLeastOnce).await?;
        let mut central = Self { client, events, gateway, epoch: Epoch(0) };
        central.until(|event| matches!(event, Incoming::SubAck(_))).await?;
        Ok(central)
    }

    /// Takes the watermark back, and whatever is still on its way.
    async fn forget(&mut self) -> anyhow::Result<()> {
        self.client.publish(self.gateway.topic(Channel::Ack), QoS::AtLeastOnce, true, Vec::new()).await?;
        self.until(|event| matches!(event, Incoming::PubAck(_))).await
    }

    async fn until(&mut self, is_it: impl Fn(&Incoming) -> bool) -> anyhow::Result<()> {
        loop {
            let event = timeout(PATIENCE, self.events.poll()).await.context("the broker is silent")??;
            if let Event::Incoming(incoming) = event
                && is_it(&incoming)
            {
                return Ok(());
            }
        }
    }

    /// Takes a million events, and returns how many came per second.
    async fn receive(&mut self, tell: bool, mut keep: Option<&mut Vec<Vec<u8>>>) -> anyhow::Result<f64> {
        let mut held = SeqSet::default();
        let (mut began, mut counted) = (None, 0);
        let mut due: Option<Instant> = None;
        loop {
            let publish = {
                // A poll that is dropped may lose half a packet: it is kept until it is done.
                let poll = timeout(PATIENCE, self.events.poll());
                tokio::pin!(poll);
                loop {
                    tokio::select! {
                        event = &mut poll => break event,
                        () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                            due = None;
                            self.client.try_publish(
                                self.gateway.topic(Channel::Ack),
                                QoS::AtLeastOnce,
                                true,
                                watermark(self.epoch, &held),
                            )?;
                        }
                    }
                }
            };
            let event = publish.context("no batch comes")??;
            let Event::Incoming(Incoming::Publish(publish)) = event else { continue };
            let (header, _) = Batch::decode_header(&publish.payload)?;
            if held.covers(header.range()) {
                continue;
            }
            held.insert(header.range());
            self.epoch = header.epoch;
            if let Some(keep) = keep.as_mut() {
                keep.push(publish.payload.to_vec());
            }
            let began = *began.get_or_insert_with(|| {
                counted = header.count.into();
                Instant::now()
            });
            if held.len() >= EVENTS {
                // What was in the first batch had arrived when the clock was started.
                return Ok((held.len() - counted) as f64 / began.elapsed().as_secs_f64());
            }
            if tell {
                due = due.or(Some(Instant::now() + WATERMARK_EVERY));
            }
        }
    }
}

fn watermark(epoch: Epoch, held: &SeqSet) -> String {
    let to = held.ranges().first().filter(|range| range.first == Seq::FIRST).map_or(0, |range| range.last.0);
    format!(r#"{{"v":1,"epochs":[{{"epoch":"{epoch}","contiguous_to":{to}}}]}}"#)
}

/// The bare side: as many on their way as the agent has.
async fn publish(host: String, port: u16, payloads: Vec<Vec<u8>>) -> anyhow::Result<()> {
    let mut options = options("hangtag-bench-bare", &host, port);
    options.set_outgoing_inflight_upper_limit(u16::try_from(WINDOW + 2)?);
    let (client, mut events) = AsyncClient::new(options, WINDOW + 2);
    let topic = gateway()?.topic(Channel::Events);
    let (mut payloads, mut on_their_way, mut left) = (payloads.into_iter(), 0, 0);
    left += payloads.len();
    let mut connected = false;
    while left > 0 {
        while connected && on_their_way < WINDOW {
            let Some(payload) = payloads.next() else { break };
            let properties = PublishProperties {
                content_type: Some(BATCH_CONTENT_TYPE.into()),
                user_properties: vec![("schema".into(), FORMAT.to_string())],
                ..PublishProperties::default()
            };
            client.try_publish_with_properties(&topic, QoS::AtLeastOnce, false, payload, properties)?;
            on_their_way += 1;
        }
        match timeout(PATIENCE, events.poll()).await.context("the broker is silent")?? {
            Event::Incoming(Incoming::ConnAck(_)) => connected = true,
            Event::Incoming(Incoming::PubAck(_)) => (on_their_way, left) = (on_their_way - 1, left - 1),
            Event::Incoming(Incoming::Disconnect(why)) => bail!("the broker ends it: {:?}", why.reason_code),
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
    Ok(())
}

fn options(id: &str, host: &str, port: u16) -> MqttOptions {
    let mut options = MqttOptions::new(id, host, port);
    options.set_keep_alive(Duration::from_secs(30));
    options.set_clean_start(true);
    options.set_max_packet_size(Some(131_072));
    // As the agent and central have it. Otherwise a watermark waits up to 40 ms in the kernel.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
