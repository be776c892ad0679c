//! What all MQTT connections have in common. Enters: whom to connect to, and as whom. Leaves: what the broker says, in
//! its order, and at last why that ended.
//!
//! Each connection has its own client and event loop, because rumqttc carries stale requests over when one is used
//! again. A task does nothing but poll the event loop; everything else only uses `try_` calls, which cannot wait for
//! the poll that would make room for them.

use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::{ConnectionError, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A broker that says nothing for so long is gone.
const SILENT: Duration = KEEP_ALIVE.saturating_mul(2);

/// User and password.
pub(crate) type Login = (String, String);

/// Whom to connect to, and as whom.
pub(crate) fn options(client_id: &str, host: &str, port: u16, login: Option<Login>) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, host, port);
    options.set_keep_alive(KEEP_ALIVE);
    // What is published follows acknowledgements that the broker does not answer: the kernel would hold it back until
    // its delayed acknowledgement, 40 ms later.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    options
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// It broke, or was refused.
    #[error("{0}")]
    Broken(Box<ConnectionError>),
    /// Nothing came.
    #[error("no answer for {} s", SILENT.as_secs())]
    Silent,
    /// A mistake of this program or of rumqttc.
    #[error("the connection's task ended")]
    Task,
}

/// What the broker says. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Heard {
    events: mpsc::Receiver<Result<Event, Ended>>,
    task: JoinHandle<()>,
}

impl Heard {
    /// Begins to connect. So many events wait until they are asked for; then the broker is held back by TCP.
    pub(crate) fn from(event_loop: EventLoop, room: usize) -> Self {
        let (sender, events) = mpsc::channel(room);
        Self { events, task: tokio::spawn(poll(event_loop, sender)) }
    }

    /// What comes next. Cancel-safe.
    ///
    /// # Errors
    /// When the connection ended.
    pub(crate) async fn next(&mut self) -> Result<Event, Ended> {
        self.events.recv().await.unwrap_or(Err(Ended::Task))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Polls until something is wrong. The time-out is ours because the event loop has none while it waits for a full
/// socket.
async fn poll(mut event_loop: EventLoop, events: mpsc::Sender<Result<Event, Ended>>) {
    loop {
        let event = match timeout(SILENT, event_loop.poll()).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(why)) => Err(Ended::Broken(Box::new(why))),
            Err(_) => Err(Ended::Silent),
        };
        let over = event.is_err();
        if events.send(event).await.is_err() || over {
            return;
        }
    }
}
