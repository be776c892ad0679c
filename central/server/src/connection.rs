//! What all MQTT connections have in common. Enters: whom to connect to, and as whom. Leaves: what the broker says, in
//! its order, and at last why that ended.
//!
//! With TLS there is a tunnel before each connection, which reads the files with certificates anew.
//!
//! Each connection has its own client and event loop, because rumqttc carries stale requests over when one is used
//! again. A task does nothing but poll the event loop; everything else only uses `try_` calls, which cannot wait for
//! the poll that would make room for them.

use std::time::Duration;

use hangtag_tls::{Files, TlsError, Tunnel};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A broker that says nothing for so long is gone.
const SILENT: Duration = KEEP_ALIVE.saturating_mul(2);

/// User and password.
pub(crate) type Login = (String, String);

/// The broker, and who this program is there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password.
    pub login: Option<Login>,
    /// The files for TLS; without them the broker is spoken to in the clear.
    pub tls: Option<Files>,
}

impl Target {
    /// Begins to connect. `dress` says what is special about this connection; so many requests may wait for it, and so
    /// many events until they are asked for.
    pub(crate) fn open(
        &self,
        client_id: &str,
        (requests, room): (usize, usize),
        dress: impl Fn(&mut MqttOptions) + Send + 'static,
    ) -> (AsyncClient, Heard) {
        let mut direct = options(client_id, &self.host, self.port, self.login.clone());
        dress(&mut direct);
        let (client, mut event_loop) = AsyncClient::new(direct, requests);
        let Some(files) = self.tls.clone() else { return (client, Heard::from(event_loop, room)) };
        let (sender, events) = mpsc::channel(room);
        let (target, client_id) = (self.clone(), client_id.to_owned());
        let task = tokio::spawn(async move {
            let tunnel = match Tunnel::open(&target.host, target.port, &files).await {
                Ok(tunnel) => tunnel,
                // Whoever listens no more need not know.
                Err(why) => return drop(sender.send(Err(Ended::Tls(why))).await),
            };
            let socket = tunnel.socket().to_string_lossy().into_owned();
            let mut through = options(&client_id, &socket, target.port, target.login);
            dress(&mut through);
            through.set_transport(Transport::unix());
            event_loop.options = through;
            let Some(ended) = poll(event_loop, &sender).await else { return };
            let why = match ended {
                Ended::Broken(_) => tunnel.why().await,
                Ended::Tls(_) | Ended::Silent | Ended::Task => None,
            };
            drop(sender.send(Err(why.map_or(ended, Ended::Tls))).await);
        });
        (client, Heard { events, task })
    }
}

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
    /// There is no TLS, or no more; the text says who does not trust whom.
    #[error("{0}")]
    Tls(TlsError),
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
        let task = tokio::spawn(async move {
            if let Some(ended) = poll(event_loop, &sender).await {
                // Whoever listens no more need not know.
                drop(sender.send(Err(ended)).await);
            }
        });
        Self { events, task }
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

/// Polls until something is wrong, and returns that; nothing when nobody listens any more. The time-out is ours because
/// the event loop has none while it waits for a full socket.
async fn poll(mut event_loop: EventLoop, events: &mpsc::Sender<Result<Event, Ended>>) -> Option<Ended> {
    loop {
        let event = match timeout(SILENT, event_loop.poll()).await {
            Ok(Ok(event)) => event,
            Ok(Err(why)) => return Some(Ended::Broken(Box::new(why))),
            Err(_) => return Some(Ended::Silent),
        };
        events.send(Ok(event)).await.ok()?;
    }
}
