//! One MQTT connection. Enters: messages to publish. Leaves: what the broker says. The only file of the agent
//! that names rumqttc.
//!
//! rumqttc tells nobody which publish a PUBACK is for; but publishes leave in the order in which they were
//! queued, so each packet id is taken down as it leaves. For that one task owns the event loop and is the only
//! publisher, and it never awaits a publish: only the poll would make room for it. After any error client and
//! event loop are dropped: rumqttc 0.25 would resend without the DUP flag, in another order, or not at all
//! (bytebeamio/rumqtt#349, #1056).

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use hangtag_agent_core::uplink::{Answer, BatchId, Ended};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, DisconnectReasonCode, LastWill, PubAck, PubAckReason, PublishProperties,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, StateError};
use rumqttc::{NetworkOptions, Outgoing, Transport};
use tokio::time::timeout;
use tracing::{debug, trace};

use super::QUEUE;

/// Incoming packets: watermarks. rumqttc would end the connection at 10 KB.
const INCOMING_BYTES: u32 = 65_536;
/// Packet ids. rumqttc allocates a slot for each: 14 MB without a limit. It hands them out in a circle; the
/// wider it is, the longer a broker may take to acknowledge one message while it acknowledges others.
const PACKET_IDS: u16 = 64;
/// How long connecting may take.
const CONNECT_S: u64 = 5;

/// Whom to connect to, and as whom.
pub(super) struct Address<'a> {
    pub(super) client_id: String,
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// The local socket behind which it is, if it does not speak MQTT in the clear.
    pub(super) socket: Option<&'a Path>,
    pub(super) login: Option<(String, String)>,
    pub(super) keep_alive: Duration,
    /// Topic and payload of the last will, retained.
    pub(super) will: Option<(String, Vec<u8>)>,
}

/// What the broker allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Messages that it takes at the same time.
    pub(super) receive_maximum: usize,
    /// The largest packet that it takes, if it says so.
    pub(super) packet_bytes: Option<usize>,
}

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    Connected(Terms),
    Subscribed,
    Message(Vec<u8>),
    /// The answer to a batch, and in words.
    Batch(BatchId, Answer, String),
    /// Whether the broker lets the trial message pass, or why not.
    Trial(Result<(), String>),
    Nothing,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) cause: Cause,
    pub(super) why: String,
}

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Another client came with the same id.
    TakenOver,
    /// The broker or the network, whatever was sent.
    Broker,
    /// Nobody knows: perhaps what was on its way.
    Unknown,
}

impl Lost {
    pub(super) fn broker(why: impl Into<String>) -> Self {
        Self { cause: Cause::Broker, why: why.into() }
    }

    /// What it means for the batches that were on their way.
    pub(super) fn ended(&self) -> Ended {
        match self.cause {
            Cause::TakenOver | Cause::Broker => Ended::Explained,
            Cause::Unknown => Ended::Unexplained,
        }
    }
}

/// What the event loop tells; to be handed to [`Link::handle`].
pub(super) type News = Event;

/// The half of a connection that publishes and keeps account.
pub(super) struct Link {
    client: AsyncClient,
    /// Queued and not yet on their way, in order; then by packet id until they are acknowledged.
    queued: VecDeque<Sent>,
    in_flight: BTreeMap<u16, Sent>,
}

/// The half of a connection that is polled.
pub(super) struct Wire {
    events: EventLoop,
    keep_alive: Duration,
    /// After so long without a sign from the broker it is gone.
    silence: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Batch(BatchId),
    Status,
    Trial,
}

/// Prepares a connection; polling opens it.
pub(super) fn open(address: Address<'_>) -> (Link, Wire) {
    let Address { client_id, host, port, socket, login, keep_alive, will } = address;
    let mut options = match socket {
        Some(socket) => {
            let mut options = MqttOptions::new(client_id, socket.to_string_lossy(), port);
            options.set_transport(Transport::unix());
            options
        }
        None => MqttOptions::new(client_id, host, port),
    };
    options.set_keep_alive(keep_alive);
    // Nothing of an old session is wanted: what matters is in the spool. With a session rumqttc would also
    // send again what it kept, and without one it forgets what is queued.
    options.set_clean_start(true);
    options.set_connection_timeout(CONNECT_S);
    options.set_max_packet_size(Some(INCOMING_BYTES));
    options.set_outgoing_inflight_upper_limit(PACKET_IDS);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if let Some((topic, payload)) = will {
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, true, None));
    }
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    let (client, events) = AsyncClient::new(options, QUEUE);
    let link = Link { client, queued: VecDeque::new(), in_flight: BTreeMap::new() };
    (link, Wire { events, keep_alive, silence: 2 * keep_alive })
}

impl Wire {
    /// What comes next. Not cancel-safe: a poll that is dropped may lose half a packet. After an error only
    /// [`rest`](Self::rest) may be called.
    pub(super) async fn next(&mut self) -> Result<News, Lost> {
        // A peer that stalls with a full socket makes rumqttc's flush hang for ever, and its keep alive does
        // not run meanwhile: hence the time-out.
        let event = match timeout(self.silence, self.events.poll()).await {
            Ok(event) => event.map_err(explain)?,
            Err(_) => {
                let why = "the broker says nothing any more".into();
                return Err(Lost { cause: Cause::Unknown, why });
            }
        };
        self.heed(&event);
        Ok(event)
    }

    /// What came together with what [`next`](Self::next) told, without waiting.
    pub(super) fn ready(&mut self) -> Option<News> {
        let event = self.events.state.events.pop_front()?;
        self.heed(&event);
        Some(event)
    }

    /// rumqttc takes over the broker's keep alive, which may be none or an hour.
    fn heed(&mut self, event: &News) {
        let Event::Incoming(Incoming::ConnAck(ack)) = event else { return };
        let theirs = ack.properties.as_ref().and_then(|properties| properties.server_keep_alive);
        let theirs = theirs.map(|seconds| Duration::from_secs(seconds.into()));
        if theirs.is_some_and(|theirs| theirs.is_zero() || theirs > self.keep_alive) {
            self.events.options.set_keep_alive(self.keep_alive);
        }
        // The first ping is due after the broker's time all the same.
        self.silence = 2 * theirs.unwrap_or_default().max(self.keep_alive);
    }

    /// What had come before the connection ended: rumqttc tells the error first.
    pub(super) fn rest(&mut self) -> Vec<News> {
        self.events.state.events.drain(..).collect()
    }
}

impl Link {
    /// Queues a batch that the core numbers. Whether there was room.
    pub(super) fn publish_batch(
        &mut self,
        topic: String,
        content_type: &str,
        schema: String,
        payload: Vec<u8>,
        sent: impl FnOnce() -> BatchId,
    ) -> bool {
        // No expiry: an event is worth sending however late.
        let properties = PublishProperties {
            content_type: Some(content_type.to_owned()),
            user_properties: vec![("schema".into(), schema)],
            ..PublishProperties::default()
        };
        let queued =
            self.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties);
        if queued.is_ok() {
            self.queued.push_back(Sent::Batch(sent()));
        }
        queued.is_ok()
    }

    /// Queues the status, retained, unless an earlier one is still on its way. Whether it was.
    pub(super) fn publish_status(&mut self, topic: String, payload: Vec<u8>) -> bool {
        let on_its_way = self.queued.iter().chain(self.in_flight.values()).any(|sent| *sent == Sent::Status);
        let queued = !on_its_way && self.client.try_publish(topic, QoS::AtLeastOnce, true, payload).is_ok();
        if queued {
            self.queued.push_back(Sent::Status);
        }
        queued
    }

    /// Queues a message that is only to show whether it may be sent. Whether there was room.
    pub(super) fn publish_trial(&mut self, topic: String, payload: Vec<u8>) -> bool {
        let queued = self.client.try_publish(topic, QoS::AtLeastOnce, false, payload).is_ok();
        if queued {
            self.queued.push_back(Sent::Trial);
        }
        queued
    }

    pub(super) fn subscribe(&self, topic: String) -> Result<(), Lost> {
        let queued = self.client.try_subscribe(topic, QoS::AtLeastOnce);
        queued.map_err(|_| Lost::broker("there is no room for a subscription"))
    }

    /// Says goodbye after everything that is queued.
    pub(super) fn disconnect(&self) {
        // Without room the connection just ends.
        let _ = self.client.try_disconnect();
    }

    /// Whether everything that was published is acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// Keeps account of what the event loop tells.
    pub(super) fn handle(&mut self, event: News) -> Result<Heard, Lost> {
        trace!(?event, "mqtt");
        match event {
            Event::Incoming(Incoming::ConnAck(ack)) => terms(&ack).map(Heard::Connected),
            Event::Incoming(Incoming::SubAck(ack)) => {
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                match ack.return_codes.iter().find(|code| !granted(code)) {
                    None => Ok(Heard::Subscribed),
                    // Without watermarks nothing would ever be settled.
                    Some(code) => Err(Lost::broker(format!(
                        "the broker refuses the subscription to the watermark: {code:?}"
                    ))),
                }
            }
            Event::Incoming(Incoming::Publish(publish)) => Ok(Heard::Message(publish.payload.to_vec())),
            Event::Outgoing(Outgoing::Publish(id)) if id != 0 => {
                let sent = self.queued.pop_front();
                let sent = sent.ok_or_else(|| Lost::broker("rumqttc sent a publish nobody queued"))?;
                self.in_flight.insert(id, sent);
                Ok(Heard::Nothing)
            }
            Event::Incoming(Incoming::PubAck(ack)) => Ok(self.handle_puback(&ack)),
            // With AwaitAck rumqttc holds a publish back until its packet id is free, and all after it: the
            // order stays.
            Event::Incoming(_) | Event::Outgoing(_) => Ok(Heard::Nothing),
        }
    }

    fn handle_puback(&mut self, ack: &PubAck) -> Heard {
        let answer = match ack.reason {
            PubAckReason::Success => Answer::Taken,
            // Central is not connected; the broker drops what it takes.
            PubAckReason::NoMatchingSubscribers => Answer::Unheard,
            // rumqttc frees the slot as if these were acknowledgements.
            PubAckReason::UnspecifiedError
            | PubAckReason::ImplementationSpecificError
            | PubAckReason::PayloadFormatInvalid => Answer::Refused,
            PubAckReason::NotAuthorized
            | PubAckReason::TopicNameInvalid
            | PubAckReason::PacketIdentifierInUse
            | PubAckReason::QuotaExceeded => Answer::Closed,
        };
        match self.in_flight.remove(&ack.pkid) {
            Some(Sent::Batch(id)) => Heard::Batch(id, answer, format!("{:?}", ack.reason)),
            Some(Sent::Trial) => Heard::Trial(match answer {
                Answer::Taken | Answer::Unheard => Ok(()),
                Answer::Refused | Answer::Closed => Err(format!("{:?}", ack.reason)),
            }),
            Some(Sent::Status) | None => {
                debug!(reason = ?ack.reason, "the status is acknowledged");
                Heard::Nothing
            }
        }
    }
}

fn terms(ack: &ConnAck) -> Result<Terms, Lost> {
    let properties = ack.properties.as_ref();
    let receive_maximum = properties.and_then(|p| p.receive_max).map_or(usize::MAX, usize::from);
    if receive_maximum == 0 || properties.and_then(|p| p.max_qos) == Some(0) {
        return Err(Lost::broker("the broker takes no message that is to be acknowledged (QoS 1)"));
    }
    let packet_bytes = properties.and_then(|p| p.max_packet_size).map(|bytes| bytes as usize);
    Ok(Terms { receive_maximum, packet_bytes })
}

fn explain(why: ConnectionError) -> Lost {
    match why {
        ConnectionError::ConnectionRefused(code) => Lost::broker(match code {
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                format!("the broker does not know this user and password ({code:?})")
            }
            code => format!("the broker refuses the connection: {code:?}"),
        }),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let words = reason_string.map(|words| format!(" ({words})")).unwrap_or_default();
            Lost {
                cause: cause(reason_code),
                why: format!("the broker ends the connection: {reason_code:?}{words}"),
            }
        }
        ConnectionError::Timeout(_) => Lost::broker("the broker does not answer"),
        ConnectionError::NotConnAck(_) => Lost::broker("what answers is not an MQTT 5 broker"),
        why @ (ConnectionError::MqttState(_) | ConnectionError::Io(_) | ConnectionError::RequestsDone) => {
            Lost { cause: Cause::Unknown, why: why.to_string() }
        }
    }
}

fn cause(reason: DisconnectReasonCode) -> Cause {
    match reason {
        DisconnectReasonCode::SessionTakenOver => Cause::TakenOver,
        DisconnectReasonCode::UnspecifiedError
        | DisconnectReasonCode::MalformedPacket
        | DisconnectReasonCode::ProtocolError
        | DisconnectReasonCode::ImplementationSpecificError
        | DisconnectReasonCode::PacketTooLarge
        | DisconnectReasonCode::PayloadFormatInvalid => Cause::Unknown,
        _ => Cause::Broker,
    }
}
