//! What an agent's uplink does, as far as central's speed is concerned. Enters: a gateway's batches. Leaves: when each
//! was sent, and when central said that it is settled. No more is on its way than central settles in a quarter of a
//! second, as with agents.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::batch::FORMAT;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::topic::{BATCH_CONTENT_TYPE, Channel, Gateway};
use hangtag_protocol::watermark::Watermark;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, PublishProperties};
use rumqttc::v5::{AsyncClient, Event};
use tokio::time::{Instant, sleep_until, timeout};

use super::Broker;
use crate::connection::Heard;

/// Batches that the broker has not acknowledged.
const INFLIGHT: u16 = 64;
/// Room for requests to the client.
const REQUESTS: usize = 128;
/// Bytes that may be sent and unsettled: at least, at first and at most.
const UNSETTLED: (usize, usize, usize) = (32 << 10, 128 << 10, 960 << 10);
/// A batch that was settled later than this was one of too many; sooner, there is room for more.
const SLOW: Duration = Duration::from_millis(400);
const QUICK: Duration = Duration::from_millis(250);
/// How long nothing may be settled.
const PATIENCE: Duration = Duration::from_secs(60);

/// A batch as it is sent, and its last number.
pub(super) type Parcel = (Seq, Vec<u8>);

/// When batches are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As fast as central settles them.
    Full,
    /// One after the other, so far apart.
    Every(Duration),
}

/// What became of the batches.
#[derive(Debug)]
pub(super) struct Sent {
    /// When the first was sent.
    pub first: Instant,
    /// When the last was known to be settled.
    pub settled: Instant,
}

/// A connection of a gateway.
pub(super) struct Uplink {
    gateway: Gateway,
    epoch: Epoch,
    client: AsyncClient,
    heard: Heard,
    window: Window,
    delays: Vec<Duration>,
}

/// What was sent and is not settled.
#[derive(Debug)]
struct Window {
    /// Last number, bytes, and when.
    batches: VecDeque<(Seq, usize, Instant)>,
    bytes: usize,
    limit: usize,
    /// What was sent before does not know of the latest halving.
    halved: Instant,
    inflight: u16,
}

impl Uplink {
    /// Connects, and listens to watermarks.
    pub(super) async fn open(broker: &Broker, gateway: Gateway, epoch: Epoch) -> anyhow::Result<Self> {
        let mut options = broker.options(&format!("hangtag-bench-{:08x}", rand::random::<u32>()));
        options.set_clean_start(true).set_outgoing_inflight_upper_limit(INFLIGHT);
        let (client, event_loop) = AsyncClient::new(options, REQUESTS);
        let window = Window::new(Instant::now());
        let mut uplink = Self {
            gateway,
            epoch,
            client,
            heard: Heard::from(event_loop, REQUESTS),
            window,
            delays: Vec::new(),
        };
        uplink.client.try_subscribe(gateway.topic(Channel::Ack), QoS::AtLeastOnce)?;
        let subscribed = async {
            while !matches!(uplink.heard.next().await?, Event::Incoming(Packet::SubAck(_))) {}
            anyhow::Ok(())
        };
        timeout(PATIENCE, subscribed).await.context("the broker does not answer")??;
        Ok(uplink)
    }

    /// Sends batches, and waits until all are settled. When it is dropped before, what was sent still counts.
    pub(super) async fn send(&mut self, parcels: Vec<Parcel>, pace: Pace) -> anyhow::Result<Sent> {
        let mut due = Instant::now();
        let mut sent = Sent { first: due, settled: due };
        let mut rest = parcels.into_iter().peekable();
        let mut patience = due + PATIENCE;
        while rest.peek().is_some() || !self.window.batches.is_empty() {
            while let Some(parcel) = rest.next_if(|_| self.window.has_room() && due <= Instant::now()) {
                self.publish(parcel)?;
                if let Pace::Every(pause) = pace {
                    due += pause;
                    patience = patience.max(due + PATIENCE);
                }
            }
            tokio::select! {
                event = self.heard.next() => {
                    let now = Instant::now();
                    let settled = self.handle_event(event?, now)?;
                    if !settled.is_empty() {
                        (sent.settled, patience) = (now, now + PATIENCE);
                        self.delays.extend(settled);
                    }
                }
                () = sleep_until(due), if rest.peek().is_some() && self.window.has_room() => {}
                () = sleep_until(patience) => anyhow::bail!("central settles nothing of {}", self.gateway.topic(Channel::Events)),
            }
        }
        Ok(sent)
    }

    /// How long each batch took from being sent to being known as settled, since this was last asked.
    pub(super) fn delays(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.delays)
    }

    fn publish(&mut self, (last, payload): Parcel) -> anyhow::Result<()> {
        let properties = PublishProperties {
            content_type: Some(BATCH_CONTENT_TYPE.to_owned()),
            user_properties: vec![("schema".into(), FORMAT.to_string())],
            ..PublishProperties::default()
        };
        self.window.sent(last, payload.len(), Instant::now());
        let topic = self.gateway.topic(Channel::Events);
        self.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties)?;
        Ok(())
    }

    /// How long what is settled by it took.
    fn handle_event(&mut self, event: Event, now: Instant) -> anyhow::Result<Vec<Duration>> {
        match event {
            Event::Incoming(Packet::PubAck(ack)) => {
                let is_taken =
                    matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                ensure!(is_taken, "the broker refuses a batch: {:?}", ack.reason);
                self.window.inflight = self.window.inflight.saturating_sub(1);
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let mark: Watermark = serde_json::from_slice(&publish.payload).context("a watermark")?;
                let own = mark.epochs.iter().find(|mark| mark.epoch == self.epoch);
                return Ok(self.window.settle(own.map_or(Seq(0), |mark| mark.contiguous_to), now));
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
        Ok(Vec::new())
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, limit: UNSETTLED.1, halved: now, inflight: 0 }
    }

    fn has_room(&self) -> bool {
        self.bytes < self.limit && self.inflight < INFLIGHT
    }

    fn sent(&mut self, last: Seq, bytes: usize, now: Instant) {
        self.batches.push_back((last, bytes, now));
        self.bytes += bytes;
        self.inflight += 1;
    }

    fn settle(&mut self, to: Seq, now: Instant) -> Vec<Duration> {
        let settled = self.batches.partition_point(|(last, ..)| *last <= to);
        let before = self.bytes;
        let taken: Vec<_> = self.batches.drain(..settled).collect();
        self.bytes -= taken.iter().map(|(_, bytes, _)| bytes).sum::<usize>();
        if let Some((_, _, sent)) = taken.first() {
            let took = now - *sent;
            if took > SLOW && *sent >= self.halved {
                (self.limit, self.halved) = ((self.limit / 2).max(UNSETTLED.0), now);
            } else if took < QUICK && before >= self.limit / 2 {
                self.limit = (self.limit * 2).min(UNSETTLED.2);
            }
        }
        taken.into_iter().map(|(_, _, sent)| now - sent).collect()
    }
}
