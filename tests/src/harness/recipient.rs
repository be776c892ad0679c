//! A system that receives the feed, and a gateway without an agent that fills it. Enters: a broker's port. Leaves: the
//! documents that came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use hangtag_protocol::batch::{Batch, FORMAT, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Event, Evidence, Fitting, Handling, What};
use hangtag_protocol::id::{Epoch, Seq, ZoneId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::topic::Gateway;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, Event as Mqtt, Incoming, MqttOptions};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::site::{GATEWAY_TOPIC, Site};

/// Events of one batch.
pub const BATCH: u64 = 40;
/// The life of the invented spool.
const EPOCH: Epoch = Epoch(0xfeed);
/// How often is looked, and how long is waited until a batch is sent again, and altogether.
const LOOK: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(90);

/// One document that came.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Where it came.
    pub topic: String,
    /// What it is said to be.
    pub content_type: Option<String>,
    /// The document.
    pub body: Value,
}

/// A client that publishes batches as a gateway does, and listens to the feed in a session that the broker keeps.
#[derive(Debug)]
pub struct Recipient {
    client: AsyncClient,
    came: Arc<Mutex<Vec<Letter>>>,
    task: JoinHandle<()>,
}

impl Recipient {
    /// Starts listening; it connects again for as long as it lives. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(port: u16) -> Self {
        Self::of(port, "recipient", "hangtag/v1/demo/feed/#")
    }

    /// The same of other topics, under another name.
    #[must_use]
    pub fn of(port: u16, name: &str, topics: &'static str) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(5));
        options.set_max_packet_size(Some(256 * 1_024));
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(86_400));
        let (client, mut events) = AsyncClient::new(options, 64);
        let came = Arc::new(Mutex::new(Vec::new()));
        let (subscriber, comes) = (client.clone(), Arc::clone(&came));
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Mqtt::Incoming(Incoming::ConnAck(_))) => {
                        let _ = subscriber.try_subscribe(topics, QoS::AtLeastOnce);
                    }
                    Ok(Mqtt::Incoming(Incoming::Publish(publish))) => {
                        let letter = Letter {
                            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                            content_type: publish.properties.and_then(|properties| properties.content_type),
                            body: serde_json::from_slice(&publish.payload).unwrap_or_default(),
                        };
                        comes.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(10 * LOOK).await,
                }
            }
        });
        Self { client, came, task }
    }

    /// What came so far.
    #[must_use]
    pub fn came(&self) -> Vec<Letter> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes a batch again and again until central has it: the broker may lose it.
    ///
    /// # Errors
    /// When central does not have it in time.
    pub async fn send(&self, site: &Site, batch: u64) -> anyhow::Result<()> {
        let payload = batch_of(batch)?.encode()?;
        let end = Instant::now() + PATIENCE;
        loop {
            let topic = format!("{GATEWAY_TOPIC}/events");
            self.client.publish(topic, QoS::AtLeastOnce, false, payload.clone()).await?;
            let again = Instant::now() + AGAIN;
            while Instant::now() < again {
                let stored = site.health().ok().and_then(|health| health["events"].as_u64());
                if stored >= Some((batch + 1) * BATCH) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
            ensure!(Instant::now() < end, "central did not store batch {batch}");
        }
    }
}

impl Drop for Recipient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The id of an event, by its number.
#[must_use]
pub fn id(seq: u64) -> String {
    format!("demo-shop:gw-1:{EPOCH}:{seq}")
}

/// The events of a batch, from 0 on: picked up, carried in, tried on, retracted, and again.
///
/// # Errors
/// When the clock of this machine is of no use.
pub fn batch_of(batch: u64) -> anyhow::Result<Batch> {
    let (gateway, _) = Gateway::parse(&format!("{GATEWAY_TOPIC}/events"))?;
    let first = batch * BATCH + 1;
    let events = (first..first + BATCH).map(event).collect::<anyhow::Result<Vec<_>>>()?;
    let wall = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let anchor = ClockAnchor { boot: BootId(1), uptime: Uptime(0), wall: UnixMillis(wall), error_ms: 20 };
    Ok(Batch {
        header: Header {
            format: FORMAT,
            replayed: false,
            gateway,
            epoch: EPOCH,
            first: Seq(first),
            count: u32::try_from(BATCH)?,
        },
        oldest_held: Seq(1),
        lost: Vec::new(),
        anchors: if batch == 0 { vec![anchor] } else { Vec::new() },
        lineage: Lineage::default(),
        events,
    })
}

fn event(seq: u64) -> anyhow::Result<Event> {
    let epc = Epc::from_hex("3074257bf7194e4000001a85")?;
    let evidence = Evidence::default();
    let fitting =
        Fitting { epc, zone: ZoneId::new("booth-1")?, visit: Seq(seq - (seq - 1) % 4 + 1), evidence };
    let what = match (seq - 1) % 4 {
        0 => What::PickedUp(Handling { epc, zone: ZoneId::new("rail-1")?, evidence }),
        1 => What::CarriedIn(fitting),
        2 => What::TriedOn(fitting),
        _ => What::Retracted { seq: Seq(seq - 1) },
    };
    Ok(Event { boot: BootId(1), at: Uptime(seq * 10), confidence: 90, what })
}

/// Which id stands at which place of the feed, by the documents of one form.
///
/// # Errors
/// When a place has two ids, or a document none.
pub fn places(letters: &[Letter], of_epcis: bool) -> anyhow::Result<BTreeMap<u64, String>> {
    let [sequence, id] = if of_epcis { ["hangtag:sequence", "hangtag:id"] } else { ["sequence", "id"] };
    let mut places = BTreeMap::new();
    for letter in letters.iter().filter(|letter| letter.topic.ends_with("/epcis") == of_epcis) {
        let field = |name: &str| letter.body[name].as_str().with_context(|| format!("no {name}: {letter:?}"));
        let (place, id) = (field(sequence)?.parse::<u64>()?, field(id)?.to_owned());
        let before = places.insert(place, id.clone());
        ensure!(before.is_none() || before == Some(id), "place {place} has two events: {letter:?}");
    }
    Ok(places)
}

/// The ids of the events of the first batches.
#[must_use]
pub fn all(batches: u64) -> BTreeSet<String> {
    (1..=batches * BATCH).map(id).collect()
}
