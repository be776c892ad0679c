//! One MQTT connection that publishes. Enters: documents. Leaves: which of them the broker acknowledged.
//!
//! rumqttc tells nobody which publish a PUBACK is for; but publishes leave in the order in which they were queued, so
//! each packet id is taken down as it leaves. A connection that fails is dropped with all that was on its way: who
//! publishes goes on from what was acknowledged.

use std::collections::{BTreeMap, VecDeque};

use hangtag_central_core::feed::{Line, Sequence};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet, PubAckReason, PublishProperties};
use rumqttc::v5::{AsyncClient, Event};

use crate::connection::{self, Ended, Target};

/// Documents on their way at the same time; a broker that takes fewer says so, and rumqttc heeds it.
pub(super) const WINDOW: usize = 64;
/// Room for what is retained beside the window.
const REQUESTS: usize = 2 * WINDOW;
const EVENTS: usize = 2 * WINDOW;

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// Where it goes.
    pub topic: String,
    /// What it is.
    pub content_type: &'static str,
    /// The document.
    pub payload: String,
    /// Which event of which feed it tells; none if it is kept by the broker for whoever comes.
    pub of: Option<(Line, Sequence)>,
}

/// What the broker said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// There is a connection.
    Connected,
    /// It acknowledged this.
    Acknowledged(Option<(Line, Sequence)>),
    /// Something else.
    Nothing,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// Without a connection there is no telling what is acknowledged.
    #[error("{0}")]
    Ended(#[from] Ended),
    /// The broker takes no document, or not this one.
    #[error("the broker refuses what is published to {topic}: {reason:?}")]
    Refused {
        /// Where it was to go.
        topic: String,
        /// What the broker said.
        reason: PubAckReason,
    },
    /// It cannot acknowledge.
    #[error("the broker takes no message that is to be acknowledged (QoS 1)")]
    NoQos1,
    /// A mistake of this program or of rumqttc.
    #[error("documents left in another order than they were queued")]
    Order,
}

/// What is known of a document that is on its way.
type Sent = (String, Option<(Line, Sequence)>);

/// One connection.
pub(super) struct Link {
    client: AsyncClient,
    heard: connection::Heard,
    /// Queued and not yet on their way, in order; then by packet id until they are acknowledged.
    queued: VecDeque<Sent>,
    in_flight: BTreeMap<u16, Sent>,
}

/// Whom to connect to, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    /// The name of the connection, and of the holder of the lease: each central has its own.
    pub client_id: String,
    /// The broker.
    pub target: Target,
}

impl Link {
    /// Prepares a connection, and begins to open it.
    pub(super) fn open(connect: &Connect) -> Self {
        // Its session ends with it: what matters is in the database.
        let (client, heard) = connect.target.open(&connect.client_id, (REQUESTS, EVENTS), |options| {
            let window = u16::try_from(WINDOW).expect("a small number");
            options.set_clean_start(true).set_outgoing_inflight_upper_limit(window);
        });
        Self { client, heard, queued: VecDeque::new(), in_flight: BTreeMap::new() }
    }

    /// Whether there is room for another document.
    pub(super) fn has_room(&self) -> bool {
        self.queued.len() + self.in_flight.len() < WINDOW
    }

    /// Whether everything that was queued is acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// Queues a document. Whether there was room.
    pub(super) fn publish(&mut self, letter: Letter) -> bool {
        let Letter { topic, content_type, payload, of } = letter;
        let properties = PublishProperties {
            content_type: Some(content_type.to_owned()),
            payload_format_indicator: Some(1),
            ..PublishProperties::default()
        };
        let (name, retain) = (topic.clone(), of.is_none());
        let queued =
            self.client.try_publish_with_properties(topic, QoS::AtLeastOnce, retain, payload, properties);
        if queued.is_ok() {
            self.queued.push_back((name, of));
        }
        queued.is_ok()
    }

    /// What the broker says next. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub(super) async fn next(&mut self) -> Result<Heard, Lost> {
        match self.heard.next().await? {
            Event::Incoming(Packet::ConnAck(ack)) => connected(&ack),
            Event::Outgoing(Outgoing::Publish(id)) if id != 0 => {
                let sent = self.queued.pop_front().ok_or(Lost::Order)?;
                self.in_flight.insert(id, sent);
                Ok(Heard::Nothing)
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let Some((topic, of)) = self.in_flight.remove(&ack.pkid) else { return Ok(Heard::Nothing) };
                match ack.reason {
                    // Whoever is not there gets it from its session, or asks for it by HTTP.
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                        Ok(Heard::Acknowledged(of))
                    }
                    reason => Err(Lost::Refused { topic, reason }),
                }
            }
            Event::Incoming(_) | Event::Outgoing(_) => Ok(Heard::Nothing),
        }
    }

    /// Says goodbye, if there is room for it.
    pub(super) fn disconnect(&self) {
        let _ = self.client.try_disconnect();
    }
}

fn connected(ack: &ConnAck) -> Result<Heard, Lost> {
    match ack.properties.as_ref().and_then(|properties| properties.max_qos) {
        Some(0) => Err(Lost::NoQos1),
        _ => Ok(Heard::Connected),
    }
}
