//! Listens to the broker. Enters: batches, health messages and what tills tell, from the broker. Leaves:
//! messages for the writer; and to the broker, acknowledgements of what the writer stored, and the
//! retained watermarks. It never acknowledges what is not on stable storage.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hangtag_protocol::batch::MAX_BYTES;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use hangtag_protocol::topic::{self, Channel};
use jiff::{SignedDuration, Timestamp};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Mqtt;
use crate::connection::{Ended, Heard, Target};
use crate::outbox::{Acks, MARK_EVERY, Marks};
use crate::store::{Delivery, Failing, Input, Message, Settled};

/// How long the broker keeps messages while central is away, in seconds: 7 days.
const SESSION_EXPIRY_S: u32 = 7 * 86_400;
/// Unacknowledged messages that the broker may send: among these, live ones overtake the backlog, and they wait with
/// the broker while more than these are before them.
const RECEIVE_MAXIMUM: u16 = 8_192;
/// Unacknowledged watermarks.
const INFLIGHT: u16 = 64;
/// Room for a packet's topic and properties beside the payload, in bytes.
const MARGIN: usize = 4_096;
/// Requests on their way to the event loop, and packets on their way from it. When the second is
/// full the broker is held back by TCP.
const REQUESTS: usize = 256;
const EVENTS: usize = 128;
/// The first and the longest pause between two connections.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A connection that held this long starts the pauses again from the first.
const STEADY: Duration = Duration::from_secs(30);
/// So long a member of a group may be unable to store before it leaves the events to the others.
const UNABLE: Duration = Duration::from_secs(5);
/// How long a stop may wait for the broker.
const DRAIN: Duration = Duration::from_secs(3);

/// Whether there is a connection to the broker.
#[derive(Clone, Debug)]
pub(crate) enum Broker {
    /// There is one.
    Connected,
    /// There is none.
    Connecting {
        /// Since when: the start, or the end of the last connection.
        since: Instant,
        /// What the last attempt came to.
        why: Option<String>,
    },
}

impl Broker {
    /// There is no connection yet.
    pub(crate) fn unknown() -> Self {
        Self::Connecting { since: Instant::now(), why: None }
    }

    /// Takes note of a connection that ended, or did not come to be.
    fn lost(&mut self, lost: &Lost) {
        let since = match self {
            Self::Connected => Instant::now(),
            Self::Connecting { since, .. } => *since,
        };
        *self = Self::Connecting { since, why: Some(lost.to_string()) };
    }
}

/// What ingest needs.
pub(crate) struct Ingest {
    target: Target,
    client_id: String,
    /// Whether it is a member of a group.
    shares: bool,
    filters: [String; 3],
    input: mpsc::Sender<Input>,
    output: mpsc::Receiver<Settled>,
    broker: watch::Sender<Broker>,
    /// Only of a member of a group: whether the writer can store.
    failing: Option<watch::Receiver<Option<Failing>>>,
    marks: Marks,
    /// Watermarks that were told, for monitors.
    told: Arc<AtomicU64>,
    deliveries: u64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Ended(#[from] Ended),
    #[error("events cannot be stored: left to the other members of the group")]
    Unable,
    #[error("the writer ended")]
    Writer,
}

/// One connection.
struct Link {
    client: AsyncClient,
    heard: Heard,
    acks: Acks<Publish>,
    connected: Option<Instant>,
}

impl Ingest {
    /// Prepares a connection; nothing is opened yet.
    pub(crate) fn new(
        mqtt: &Mqtt,
        target: Target,
        tenant: TenantId,
        input: mpsc::Sender<Input>,
        output: mpsc::Receiver<Settled>,
        broker: watch::Sender<Broker>,
        failing: watch::Receiver<Option<Failing>>,
    ) -> Self {
        let client_id = match mqtt.share {
            Some(_) => format!("{}-{:08x}", mqtt.client_id, rand::random::<u32>()),
            None => mqtt.client_id.clone(),
        };
        let [events, status] = [Channel::Events, Channel::Status].map(|c| topic::all_gateways(tenant, c));
        // A group is not handed out what the broker retained, so that health goes to all its members; and what a till
        // corrects must not overtake what it corrects, so that all of them store what tills tell, in its order.
        let events = mqtt.share.as_ref().map_or(events.clone(), |group| format!("$share/{group}/{events}"));
        let marks = if mqtt.share.is_some() { Marks::among_others() } else { Marks::default() };
        let filters = [events, status, topic::all_tills(tenant)];
        let shares = mqtt.share.is_some();
        let (failing, told) = (shares.then_some(failing), Arc::default());
        Self {
            target,
            client_id,
            shares,
            filters,
            input,
            output,
            broker,
            failing,
            marks,
            told,
            deliveries: 0,
        }
    }

    /// How many watermarks were told, from now on.
    pub(crate) fn told(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.told)
    }
}

/// Listens until told to stop, through any number of connections. Returns when the writer has ended
/// and what it settled was told.
pub(crate) async fn run(mut ingest: Ingest, mut stopping: watch::Receiver<bool>) {
    let mut pause = PAUSE.0;
    loop {
        let mut link = Link::open(&ingest.target, &ingest.client_id, ingest.shares);
        let lost = tokio::select! {
            lost = ingest.listen(&mut link) => lost,
            // Cancels `listen` between two steps: what it handed to the writer is in `acks`.
            () = stopped(&mut stopping) => return ingest.finish(link).await,
        };
        let connected = link.connected;
        drop(link);
        ingest.broker.send_modify(|broker| broker.lost(&lost));
        if matches!(lost, Lost::Writer) {
            return tracing::error!("the writer ended");
        }
        if matches!(lost, Lost::Unable) {
            tracing::warn!(why = %lost, "leaving the broker");
            tokio::select! {
                () = able(&mut ingest.failing) => {}
                () = stopped(&mut stopping) => return ingest.finish_offline().await,
            }
        }
        if connected.is_some_and(|since| since.elapsed() > STEADY) {
            pause = PAUSE.0;
        }
        let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
        let again_in_ms = jittered.as_millis();
        tracing::warn!(why = %lost, again_in_ms, "no connection to the broker");
        tokio::select! {
            () = sleep(jittered) => {}
            () = stopped(&mut stopping) => return ingest.finish_offline().await,
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

impl Ingest {
    async fn listen(&mut self, link: &mut Link) -> Lost {
        let input = self.input.clone();
        let mut held: Option<Input> = None;
        loop {
            let next = self.tell(link);
            tokio::select! {
                // All branches are cancel-safe: channels keep what was not received.
                permit = input.reserve(), if held.is_some() => match (permit, held.take()) {
                    (Ok(permit), Some(message)) => permit.send(message),
                    _ => return Lost::Writer,
                },
                event = link.heard.next(), if held.is_none() => match event {
                    Ok(event) => held = self.handle_event(link, event),
                    Err(ended) => return ended.into(),
                },
                settled = self.output.recv() => match settled {
                    Some(settled) => self.handle_settled(link, settled),
                    None => return Lost::Writer,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = unable(&mut self.failing) => return Lost::Unable,
            }
        }
    }

    fn handle_event(&mut self, link: &mut Link, event: Event) -> Option<Input> {
        match event {
            Event::Incoming(Packet::ConnAck(ack)) => {
                tracing::info!(session_present = ack.session_present, "connected to the broker");
                link.connected = Some(Instant::now());
                self.broker.send_replace(Broker::Connected);
                let filter = |path: &String| Filter::new(path.clone(), QoS::AtLeastOnce);
                let filters: Vec<Filter> = self.filters.iter().map(filter).collect();
                if link.client.try_subscribe_many(filters).is_err() {
                    // The connection was lost again already; its error comes next.
                    return None;
                }
                Some(Input::TellAll)
            }
            Event::Incoming(Packet::Publish(mut publish)) => {
                // What is acknowledged is its number: the payload is not kept twice.
                let payload = std::mem::take(&mut publish.payload);
                let message = Message {
                    topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                    payload: payload.into(),
                    received: UnixMillis(Timestamp::now().as_millisecond()),
                };
                self.deliveries += 1;
                let delivery = Delivery(self.deliveries);
                link.acks.came(delivery, publish);
                Some(Input::Store(delivery, message))
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                for (filter, code) in self.filters.iter().zip(&ack.return_codes) {
                    if granted(code) {
                        tracing::debug!(filter, "subscribed");
                    } else {
                        tracing::error!(
                            filter,
                            ?code,
                            "the broker refuses a subscription: nothing comes from there"
                        );
                    }
                }
                None
            }
            Event::Incoming(Packet::Disconnect(packet)) => {
                tracing::warn!(reason = ?packet.reason_code, "the broker ends the connection");
                None
            }
            Event::Incoming(_) | Event::Outgoing(_) => None,
        }
    }

    fn handle_settled(&mut self, link: &mut Link, settled: Settled) {
        settled.stored.into_iter().for_each(|delivery| link.acks.stored(delivery));
        settled.marks.into_iter().for_each(|(gateway, json)| self.marks.set(gateway, json));
        settled.checked.into_iter().for_each(|(gateway, json)| self.marks.checked(gateway, json));
    }

    /// Passes on what has room and is due. Returns when to try again.
    fn tell(&mut self, link: &mut Link) -> Option<Instant> {
        link.connected?;
        let now = Instant::now();
        while let Some(publish) = link.acks.due() {
            if link.client.try_ack(publish).is_err() {
                return Some(now + MARK_EVERY);
            }
            link.acks.acknowledged();
        }
        while let Some((gateway, json)) = self.marks.due(now) {
            let topic = gateway.topic(Channel::Ack);
            if link.client.try_publish(topic, QoS::AtLeastOnce, true, json.to_owned()).is_err() {
                return Some(now + MARK_EVERY);
            }
            self.marks.told(&gateway, now);
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        let doubtful = self.marks.doubtful(now);
        if !doubtful.is_empty()
            && let Err(TrySendError::Full(Input::Check(gateways))) =
                self.input.try_send(Input::Check(doubtful))
        {
            self.marks.check_at(&gateways, now + MARK_EVERY);
        }
        self.marks.next(now)
    }

    /// Takes nothing more, waits for the writer, tells what it settled, and says goodbye.
    async fn finish(mut self, mut link: Link) {
        self.close_input();
        while let Some(settled) = self.output.recv().await {
            self.handle_settled(&mut link, settled);
        }
        let goodbye = async {
            let mut said = false;
            while link.connected.is_some() {
                self.tell(&mut link);
                let told = link.acks.due().is_none() && self.marks.is_empty();
                said = said || (told && link.client.try_disconnect().is_ok());
                tokio::select! {
                    event = link.heard.next() => match event {
                        Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_) => return,
                        Ok(_) => {}
                    },
                    () = sleep(MARK_EVERY / 4), if !said => {}
                }
            }
        };
        if timeout(DRAIN, goodbye).await.is_err() {
            tracing::warn!("the broker did not take the last watermarks in time");
        }
    }

    async fn finish_offline(mut self) {
        self.close_input();
        while self.output.recv().await.is_some() {}
    }

    /// The writer ends when nobody can ask it any more.
    fn close_input(&mut self) {
        let (closed, _) = mpsc::channel(1);
        self.input = closed;
    }
}

impl Link {
    fn open(target: &Target, client_id: &str, shares: bool) -> Self {
        // A broker keeps for a dead member of a group what nobody else gets then. Without sessions it keeps nothing:
        // agents send again what no watermark settles.
        let session_expiry_s = if shares { 0 } else { SESSION_EXPIRY_S };
        let (client, heard) = target.open(client_id, (REQUESTS, EVENTS), move |options| {
            options
                .set_clean_start(shares)
                .set_session_expiry_interval(Some(session_expiry_s))
                .set_receive_maximum(Some(RECEIVE_MAXIMUM))
                .set_max_packet_size(Some(u32::try_from(MAX_BYTES + MARGIN).expect("70 kB")))
                .set_outgoing_inflight_upper_limit(INFLIGHT)
                .set_manual_acks(true);
        });
        Self { client, heard, acks: Acks::new(), connected: None }
    }
}

/// Waits until nothing could be stored for a while. A broker goes on to deal out to whoever does not acknowledge.
async fn unable(failing: &mut Option<watch::Receiver<Option<Failing>>>) {
    let Some(failing) = failing else { return pending().await };
    loop {
        let Ok(since) = failing.wait_for(Option::is_some).await.map(|now| now.as_ref().map(|now| now.since))
        else {
            return pending().await;
        };
        let for_now = since.map_or(SignedDuration::ZERO, |since| Timestamp::now().duration_since(since));
        let left = UNABLE.saturating_sub(for_now.unsigned_abs());
        if timeout(left, failing.wait_for(Option::is_none)).await.is_err() {
            return;
        }
    }
}

/// Waits until something could be stored.
async fn able(failing: &mut Option<watch::Receiver<Option<Failing>>>) {
    if let Some(failing) = failing {
        drop(failing.wait_for(Option::is_none).await);
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_when_the_connection_is_lost_and_not_with_every_attempt() {
        let begin = Instant::now() - Duration::from_secs(90);
        let mut broker = Broker::Connecting { since: begin, why: None };
        broker.lost(&Lost::Ended(Ended::Silent));
        assert!(
            matches!(&broker, Broker::Connecting { since, why: Some(why) } if *since == begin && why == "no answer for 60 s"),
            "{broker:?}"
        );
        let mut broker = Broker::Connected;
        broker.lost(&Lost::Ended(Ended::Silent));
        assert!(matches!(broker, Broker::Connecting { since, .. } if since > begin));
    }
}
