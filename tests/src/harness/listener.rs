//! A client beside the others on the broker. Enters: a broker's port. Leaves: how many bytes the batches
//! took; and it publishes what should not be there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use hangtag_protocol::batch::Batch;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::watermark::Watermark;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
use tokio::task::JoinHandle;

use super::site::GATEWAY_TOPIC;

/// How often a change is looked for, and for how long.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// What was heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Batches.
    pub batches: u64,
    /// Payload bytes of all batches, repeats included.
    pub bytes: u64,
    /// Distinct events in them.
    pub events: u64,
    /// What each batch held, in the order in which they came.
    pub order: Vec<HeardBatch>,
    /// The last watermark.
    pub watermark: Option<Watermark>,
    /// The batches themselves, if they were asked for.
    pub kept: Option<Vec<Vec<u8>>>,
    numbers: BTreeSet<(u64, u64)>,
}

/// What one batch held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardBatch {
    /// The epoch.
    pub epoch: Epoch,
    /// The numbers.
    pub range: SeqRange,
    /// Whether it was marked as sent again, or after an outage.
    pub replayed: bool,
}

/// A client that listens to the gateway's batches.
#[derive(Debug)]
pub struct Listener {
    client: AsyncClient,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Starts listening; it connects again for as long as it lives. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(port: u16) -> Self {
        let mut options = MqttOptions::new("hangtag-listener", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(5));
        options.set_max_packet_size(Some(256 * 1_024));
        let (client, mut events) = AsyncClient::new(options, 8);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (subscriber, hears) = (client.clone(), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        // The queue is empty after connecting.
                        for channel in ["events", "ack"] {
                            let topic = format!("{GATEWAY_TOPIC}/{channel}");
                            let _ = subscriber.try_subscribe(topic, QoS::AtLeastOnce);
                        }
                    }
                    Ok(Event::Incoming(Incoming::Publish(publish))) if publish.topic.ends_with(b"/ack") => {
                        let watermark = serde_json::from_slice(&publish.payload).ok();
                        hears.lock().unwrap_or_else(PoisonError::into_inner).watermark = watermark;
                    }
                    Ok(Event::Incoming(Incoming::Publish(publish))) => note(&hears, &publish.payload),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
        Self { client, heard, task }
    }

    /// The same, and keeps every batch that is heard from now on.
    #[must_use]
    pub fn keeping(port: u16) -> Self {
        let listener = Self::start(port);
        listener.heard.lock().unwrap_or_else(PoisonError::into_inner).kept = Some(Vec::new());
        listener
    }

    /// What was heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The highest number of any epoch that was heard so far.
    #[must_use]
    pub fn highest(&self) -> u64 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.order.iter().map(|batch| batch.range.last.0).max().unwrap_or(0)
    }

    /// Publishes bytes on the topic of the gateway's batches.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn publish(&self, payload: Vec<u8>) -> anyhow::Result<()> {
        let topic = format!("{GATEWAY_TOPIC}/events");
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.context("publishing")
    }

    /// Takes the watermark from the broker, and waits until it is gone: who connects then hears of none.
    ///
    /// # Errors
    /// When the client has ended, or there is no watermark to take.
    pub async fn forget_watermark(&self) -> anyhow::Result<()> {
        let told = || async {
            while self.heard().watermark.is_none() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, told()).await.context("no watermark was told")?;
        let topic = format!("{GATEWAY_TOPIC}/ack");
        self.client.publish(topic, QoS::AtLeastOnce, true, Vec::new()).await.context("publishing")?;
        let gone = || async {
            while self.heard().watermark.is_some() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone()).await.context("the watermark stayed")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(heard: &Mutex<Heard>, payload: &[u8]) {
    let Ok((header, _)) = Batch::decode_header(payload) else { return };
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    heard.kept.iter_mut().for_each(|kept| kept.push(payload.to_vec()));
    heard.batches += 1;
    heard.bytes += payload.len() as u64;
    let range = header.range();
    heard.order.push(HeardBatch { epoch: header.epoch, range, replayed: header.replayed });
    heard.numbers.extend((range.first.0..=range.last.0).map(|seq| (header.epoch.0, seq)));
    heard.events = heard.numbers.len() as u64;
}
