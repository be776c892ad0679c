//! Sends events to central. Enters: what the spool holds, watermarks. Leaves: batches, the gateway's
//! status, and word to the spool of what may be deleted. The only file that names rumqttc.
//!
//! One task owns the event loop and is the only publisher, because rumqttc tells nobody which publish
//! a PUBACK is for: publishes leave in the order in which they were queued, so each packet id is taken
//! down as it leaves. After any error client and event loop are dropped: rumqttc 0.25 would resend
//! without the DUP flag, in another order, or not at all (bytebeamio/rumqtt#349, #1056).

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hangtag_agent_core::backoff::Backoff;
use hangtag_agent_core::uplink::{self, Send};
use hangtag_protocol::batch::{Batch, FORMAT, Header, MAX_BYTES};
use hangtag_protocol::clock::BootId;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::range::SeqSet;
use hangtag_protocol::status::{self, Presence, Status};
use hangtag_protocol::topic::{BATCH_CONTENT_TYPE, Channel, Gateway};
use hangtag_protocol::watermark::Watermark;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, LastWill, PubAckReason, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

use crate::clock;
use crate::config::Mqtt;
use crate::health::Health;
use crate::spool::recovery::random;
use crate::spool::{Held, Request, State};

/// Publishes queued at once: the window, and one status message beside it.
const QUEUE: usize = uplink::WINDOW + 2;
/// Incoming packets: watermarks. rumqttc would end the connection at 10 KB.
const INCOMING_BYTES: u32 = 65_536;
/// What topic and properties may add to a batch in a packet.
const PACKET_OVERHEAD: usize = 512;
/// How long the retained watermark may take after subscribing before sending begins without it.
const FIRST_WATERMARK: Duration = Duration::from_millis(500);
/// How often the status is told when nothing changed.
const STATUS_EVERY: Duration = Duration::from_secs(15);
/// How long the last events may take on shutdown.
const DRAIN: Duration = Duration::from_secs(3);
/// How long the goodbye may take after that.
const GOODBYE: Duration = Duration::from_secs(1);
/// Pauses between connections, in milliseconds: first and longest.
const RECONNECT_MS: (u64, u64) = (500, 30_000);
/// How long the spool may take to read events back.
const READ_BACK: Duration = Duration::from_secs(2);

/// What the uplink works with.
pub(crate) struct Uplink {
    pub(crate) gateway: Gateway,
    pub(crate) boot: BootId,
    pub(crate) mqtt: Mqtt,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) spool: mpsc::Sender<Request>,
    pub(crate) health: Health,
    /// Cancelled by the spool when the last event was accepted: what is left is sent, for a limited time.
    pub(crate) finish: CancellationToken,
}

/// One connection.
struct Connection<'a> {
    uplink: &'a mut Uplink,
    core: &'a mut uplink::Uplink,
    client: AsyncClient,
    /// Queued and not yet on their way, in order; then by packet id until they are acknowledged.
    queued: VecDeque<Sent>,
    in_flight: BTreeMap<u16, Sent>,
    /// The largest batch that the broker takes, in bytes.
    batch_bytes: usize,
    ready: bool,
    ready_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Batch,
    Status,
}

impl Uplink {
    /// Connects and sends until everything is sent after `finish`.
    pub(crate) async fn run(mut self) {
        let mut core = {
            let state = self.state.borrow();
            uplink::Uplink::new(state.current().oldest_held, state.current().next)
        };
        let mut backoff = Backoff::new(RECONNECT_MS.0, RECONNECT_MS.1);
        let mut told = String::new();
        loop {
            let connected = Instant::now();
            let ended = self.connect(&mut core).await;
            core.handle_disconnected();
            let why = match ended {
                Ok(()) => return,
                Err(why) => format!("{why:#}"),
            };
            if connected.elapsed() > Duration::from_secs(10) {
                backoff.reset();
            }
            let pause = Duration::from_millis(backoff.next_ms(random().unwrap_or(0)));
            if why == told {
                debug!(why, ?pause, "not connected");
            } else {
                warn!(broker = %self.mqtt.host, port = self.mqtt.port, why, "not connected; events wait");
                told = why;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.finish.cancelled() => {
                    info!("the broker is not there: what waits is sent after the next start");
                    return;
                }
            }
        }
    }

    /// One connection, from connecting to its loss; `Ok` when everything was sent after `finish`.
    async fn connect(&mut self, core: &mut uplink::Uplink) -> anyhow::Result<()> {
        let options = self.options()?;
        let (client, mut events) = AsyncClient::new(options, QUEUE);
        let silence = 2 * Duration::from_secs(self.mqtt.keep_alive_s.into());
        Connection {
            uplink: self,
            core,
            client,
            queued: VecDeque::new(),
            in_flight: BTreeMap::new(),
            batch_bytes: MAX_BYTES,
            ready: false,
            ready_at: None,
        }
        .run(&mut events, silence)
        .await
    }

    fn options(&self) -> anyhow::Result<MqttOptions> {
        let Mqtt { host, port, user, password_file, keep_alive_s } = &self.mqtt;
        let Gateway { tenant, store, gateway } = self.gateway;
        // Names hold no dot: no two gateways have the same client id.
        let id = format!("hangtag.{tenant}.{store}.{gateway}");
        let mut options = MqttOptions::new(id, host, *port);
        options.set_keep_alive(Duration::from_secs((*keep_alive_s).into()));
        // Nothing of an old session is wanted: what matters is in the spool.
        options.set_clean_start(true);
        options.set_connection_timeout(5);
        options.set_max_packet_size(Some(INCOMING_BYTES));
        // rumqttc allocates a slot per packet id: 14 MB without this.
        options.set_outgoing_inflight_upper_limit(u16::try_from(QUEUE).expect("a small queue"));
        let will = self.status(Presence::Offline, None)?;
        let topic = self.gateway.topic(Channel::Status);
        options.set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, true, None));
        if let Some(user) = user {
            let password = match password_file {
                Some(path) => fs::read_to_string(path)
                    .with_context(|| format!("cannot read mqtt.password_file {}", path.display()))?,
                None => String::new(),
            };
            options.set_credentials(user, password.trim_end_matches(['\r', '\n']));
        }
        Ok(options)
    }

    fn status(&self, state: Presence, health: Option<status::Health>) -> anyhow::Result<Vec<u8>> {
        let agent = env!("CARGO_PKG_VERSION").to_owned();
        Ok(serde_json::to_vec(&Status { v: status::VERSION, state, agent, health })?)
    }

    fn health(&self) -> status::Health {
        let state = self.state.borrow();
        status::Health {
            boot: self.boot,
            uptime_ms: clock::uptime().0,
            epoch: state.current().epoch,
            next: state.current().next,
            waiting: state.waiting,
            oldest_ms: state.oldest_at.map_or(0, |at| clock::uptime().since(at)),
            lost: state.lost,
            spool_percent: state.percent,
            spool_fault: state.fault.clone(),
            readers: self.health.readers(),
        }
    }
}

impl Connection<'_> {
    async fn run(mut self, events: &mut EventLoop, silence: Duration) -> anyhow::Result<()> {
        let mut status_due = Instant::now();
        let mut finish_by: Option<Instant> = None;
        let mut goodbye_by: Option<Instant> = None;
        loop {
            // A poll of rumqttc that is dropped may lose half a packet: it is kept until it is done.
            // Everything else in the select is cancel-safe. A stalled peer makes it hang for ever,
            // keep alive or not: hence the time-out.
            let poll = timeout(silence, events.poll());
            tokio::pin!(poll);
            let event = loop {
                self.ready |= self.ready_at.is_some_and(|at| at <= Instant::now());
                if self.ready && goodbye_by.is_none() {
                    if self.ready_at.take().is_some() {
                        self.core.handle_connected(clock::uptime());
                        info!(broker = %self.uplink.mqtt.host, port = self.uplink.mqtt.port, "connected");
                    }
                    if status_due <= Instant::now() && self.publish_status(Presence::Online) {
                        status_due = Instant::now() + STATUS_EVERY;
                    }
                    self.send_what_is_due().await?;
                    if finish_by.is_some() && self.is_drained() {
                        // The queue is written out as the poll goes on; the broker then closes.
                        self.publish_status(Presence::Offline);
                        let _ = self.client.try_disconnect();
                        goodbye_by = Some(Instant::now() + GOODBYE);
                    }
                }
                let over = |by: Option<Instant>| by.is_some_and(|by| by <= Instant::now());
                if over(goodbye_by) || over(finish_by) {
                    return Ok(());
                }
                let due = self.due(status_due, goodbye_by.or(finish_by));
                let Self { uplink, .. } = &mut self;
                tokio::select! {
                    event = &mut poll => break event,
                    changed = uplink.state.changed() => {
                        changed.map_err(|_| anyhow!("the spool is gone"))?;
                        self.look_at_spool();
                    }
                    () = uplink.finish.cancelled(), if finish_by.is_none() => {
                        finish_by = Some(Instant::now() + DRAIN);
                        // The spool's last word came before; the other branch may not have had its turn.
                        self.look_at_spool();
                    }
                    () = sleep_until(due) => {}
                }
            };
            let event = match event {
                Ok(Ok(event)) => event,
                Ok(Err(_)) | Err(_) if goodbye_by.is_some() => return Ok(()),
                Ok(Err(why)) => return Err(explain(why)),
                Err(_) => bail!("the broker says nothing any more"),
            };
            self.handle_event(event).await?;
        }
    }

    fn look_at_spool(&mut self) {
        let (oldest_held, next) = {
            let state = self.uplink.state.borrow_and_update();
            (state.current().oldest_held, state.current().next)
        };
        self.core.handle_spool(oldest_held, next, clock::uptime());
    }

    /// When something is due whether or not anything happens.
    fn due(&self, status_due: Instant, finish_by: Option<Instant>) -> Instant {
        let core = self.core.poll_timeout().map(|(at, _)| {
            // Never at once: what cannot be sent now waits for the next event.
            Instant::now() + Duration::from_millis(at.since(clock::uptime()).max(10))
        });
        [Some(status_due.max(Instant::now() + Duration::from_millis(10))), finish_by, self.ready_at, core]
            .into_iter()
            .flatten()
            .min()
            .expect("the status is always due some time")
    }

    async fn handle_event(&mut self, event: Event) -> anyhow::Result<()> {
        trace!(?event, "mqtt");
        match event {
            Event::Incoming(Incoming::ConnAck(ack)) => {
                if ack.code != ConnectReturnCode::Success {
                    bail!("the broker refuses the connection: {:?}", ack.code);
                }
                let limit = ack.properties.and_then(|properties| properties.max_packet_size);
                let limit = limit.map_or(MAX_BYTES, |bytes| bytes as usize);
                self.batch_bytes = limit.saturating_sub(PACKET_OVERHEAD).min(MAX_BYTES);
                let topic = self.uplink.gateway.topic(Channel::Ack);
                self.client.try_subscribe(topic, QoS::AtLeastOnce).context("subscribing")?;
            }
            Event::Incoming(Incoming::SubAck(ack)) => {
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                if let Some(code) = ack.return_codes.iter().find(|code| !granted(code)) {
                    // Without watermarks nothing would ever be settled.
                    bail!("the broker refuses the subscription to the watermark: {code:?}");
                }
                self.ready_at = Some(Instant::now() + FIRST_WATERMARK);
            }
            Event::Incoming(Incoming::Publish(publish)) => {
                let settled = self.settled(&publish.payload);
                if let Some((epoch, settled)) = settled {
                    let settled = self.core.handle_watermark(&settled, clock::uptime());
                    let request = Request::Settle { epoch, settled };
                    self.uplink.spool.send(request).await.context("the spool is gone")?;
                }
                // The retained one has come: what it settles need not be sent again.
                self.ready_at = self.ready_at.map(|_| Instant::now());
            }
            Event::Outgoing(Outgoing::Publish(id)) if id != 0 => {
                let sent = self.queued.pop_front().context("rumqttc sent a publish nobody queued")?;
                self.in_flight.insert(id, sent);
            }
            Event::Outgoing(Outgoing::AwaitAck(id)) => bail!("packet id {id} is in use twice"),
            Event::Incoming(Incoming::PubAck(ack)) => {
                let sent = self.in_flight.remove(&ack.pkid);
                match ack.reason {
                    PubAckReason::Success => {}
                    // Central is not connected; the broker drops what it takes.
                    PubAckReason::NoMatchingSubscribers => debug!("nobody is subscribed"),
                    reason => bail!("the broker refuses a message: {reason:?}"),
                }
                if sent == Some(Sent::Batch) {
                    self.core.handle_puback();
                }
            }
            Event::Incoming(Incoming::Disconnect(disconnect)) => {
                bail!("the broker ends the connection: {:?}", disconnect.reason_code)
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
        Ok(())
    }

    /// What a watermark says of our epoch; `None` when it does not decode.
    fn settled(&self, payload: &[u8]) -> Option<(Epoch, SeqSet)> {
        let watermark: Watermark = match serde_json::from_slice(payload) {
            Ok(watermark) => watermark,
            Err(why) => {
                warn!(%why, "a watermark does not decode; it is ignored");
                return None;
            }
        };
        let (epoch, next) = {
            let state = self.uplink.state.borrow();
            (state.current().epoch, state.current().next)
        };
        let settled = watermark.epochs.iter().find(|mark| mark.epoch == epoch)?.settled();
        if settled.ranges().last().is_some_and(|range| range.last >= next) {
            warn!(
                %epoch, next = next.0, ?settled,
                "central has settled events that this gateway never had: is its disk a copy of another's? \
                 Nothing is deleted"
            );
        }
        Some((epoch, settled))
    }

    async fn send_what_is_due(&mut self) -> anyhow::Result<()> {
        self.core.handle_timeout(clock::uptime());
        while let Some(send) = self.core.poll_send(clock::uptime()) {
            let held = self.read(send).await?;
            let Some(first) = held.first else {
                // Evicted meanwhile; the spool's next word brings both sides together.
                return Ok(());
            };
            let Send { replayed, .. } = send;
            let mut events = held.events;
            let (header, payload) = loop {
                let header = Header {
                    format: FORMAT,
                    replayed,
                    gateway: self.uplink.gateway,
                    epoch: held.epoch,
                    first,
                    count: u32::try_from(events.len()).expect("at most one value"),
                };
                let batch = Batch {
                    header,
                    oldest_held: held.oldest_held,
                    lost: held.lost.clone(),
                    anchors: held.anchors.clone(),
                    lineage: held.lineage.clone(),
                    events,
                };
                match batch.encode() {
                    Ok(payload) if payload.len() <= self.batch_bytes => break (header, payload),
                    Ok(_) | Err(_) if batch.events.len() > 1 => {
                        events = batch.events;
                        events.truncate(events.len() / 2);
                    }
                    Ok(_) | Err(_) => bail!("event {first} alone is larger than the broker takes"),
                }
            };
            let properties = PublishProperties {
                content_type: Some(BATCH_CONTENT_TYPE.into()),
                user_properties: vec![("schema".into(), FORMAT.to_string())],
                ..PublishProperties::default()
            };
            let topic = self.uplink.gateway.topic(Channel::Events);
            let bytes = payload.len();
            let queued =
                self.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties);
            if queued.is_err() {
                // The queue is full: the next event makes room.
                return Ok(());
            }
            self.queued.push_back(Sent::Batch);
            self.core.handle_sent(header.range(), bytes, clock::uptime());
            debug!(first = first.0, events = header.count, bytes, replayed, "sent a batch");
        }
        Ok(())
    }

    async fn read(&self, send: Send) -> anyhow::Result<Held> {
        let (reply, held) = oneshot::channel();
        let epoch = self.uplink.state.borrow().current().epoch;
        let request = Request::Read { epoch, range: send.range, reply };
        self.uplink.spool.send(request).await.context("the spool is gone")?;
        timeout(READ_BACK, held).await.context("the spool does not answer")?.context("the spool is gone")
    }

    fn publish_status(&mut self, presence: Presence) -> bool {
        let health = (presence == Presence::Online).then(|| self.uplink.health());
        let Ok(payload) = self.uplink.status(presence, health) else { return false };
        let topic = self.uplink.gateway.topic(Channel::Status);
        let queued = self.client.try_publish(topic, QoS::AtLeastOnce, true, payload).is_ok();
        if queued {
            self.queued.push_back(Sent::Status);
        }
        queued
    }

    fn is_drained(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty() && self.core.is_all_sent()
    }
}

fn explain(why: ConnectionError) -> anyhow::Error {
    match why {
        ConnectionError::ConnectionRefused(reason) => {
            anyhow!("the broker refuses the connection: {reason:?}")
        }
        why => anyhow!(why),
    }
}
