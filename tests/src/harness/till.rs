//! A till beside the others on the broker. Enters: messages. Leaves: the same on the topics of the simulated shop, and
//! how many lines the broker took.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use hangtag_protocol::id::{StoreId, TenantId};
use hangtag_protocol::topic::{About, Till as Topic};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tokio::task::JoinHandle;

/// How often a change is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// A client that publishes.
#[derive(Debug)]
pub struct Till {
    client: AsyncClient,
    told: u64,
    taken: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Till {
    /// Connects, and again for as long as it lives. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(port: u16) -> Self {
        let mut options = MqttOptions::new("hangtag-till", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(5));
        let (client, mut events) = AsyncClient::new(options, 64);
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::PubAck(_))) => drop(counter.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
        Self { client, told: 0, taken, task }
    }

    /// Publishes one message about the simulated shop.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn tell(&mut self, about: About, message: &Value) -> anyhow::Result<()> {
        let topic = Topic {
            tenant: TenantId::new("demo").expect("a name"),
            store: StoreId::new("demo-shop").expect("a name"),
            about,
        };
        self.told += 1;
        let payload = message.to_string();
        self.client.publish(topic.topic(), QoS::AtLeastOnce, false, payload).await.context("publishing")
    }

    /// Waits until the broker has taken all messages, for at most so long.
    ///
    /// # Errors
    /// When it has not.
    pub async fn settled(&self, patience: Duration) -> anyhow::Result<()> {
        let all = async {
            while self.taken.load(Ordering::Relaxed) < self.told {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(patience, all).await.context("the broker does not take what the till tells")
    }
}

impl Drop for Till {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How many lines of receipts, and how many counts of stock, central has.
///
/// # Errors
/// When its database cannot be read.
pub fn in_central(database: &Path) -> anyhow::Result<(u64, u64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database, flags)?;
    db.busy_timeout(Duration::from_secs(5))?;
    let question = "SELECT (SELECT count(*) FROM sale), (SELECT count(*) FROM stock)";
    let (lines, counts): (i64, i64) = db.query_row(question, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((lines.cast_unsigned(), counts.cast_unsigned()))
}
