//! Sends events to central. Enters: what the spool holds, watermarks. Leaves: batches, the gateway's
//! status, and word to the spool of what may be deleted.
//!
//! ```text
//! spool ──state──▶ core ──asks──▶ desk ──▶ spool ──events──▶ payload ──▶ mqtt ══▶ broker
//!                   ▲  └──notes──▶ desk ──▶ spool                          │
//!                   └──────────── PUBACKs, watermarks ◀────────────────────┘
//! ```
//!
//! This file connects again and again; [`connection`] is one connection. Neither waits for the spool, which
//! is stuck while its disk fails.

mod connection;
mod desk;
mod mqtt;
mod payload;
#[cfg(test)]
mod tests;
mod told;
pub(crate) mod trial;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_agent_core::backoff::Backoff;
use hangtag_agent_core::uplink::{self, Note, SettledBy};
use hangtag_protocol::clock::BootId;
use hangtag_protocol::status::{self, Presence, Status};
use hangtag_protocol::topic::{Channel, Gateway};
use hangtag_service::Heart;
use hangtag_tls::{TlsError, Tunnel};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::config::Mqtt;
use crate::health::Health;
use crate::spool::recovery::random;
use crate::spool::{Request, State};
use connection::{Connection, DRAIN, End, view};
use desk::{Outbox, Question};
use mqtt::{Address, Cause, Lost};
use told::Told;

/// Publishes queued at once: the window, one status message and the subscription beside it.
const QUEUE: usize = uplink::WINDOW + 2;
/// Pauses between connections, in milliseconds, first and longest, halved at random, when another client took the session over: two that fight for one name must
/// not do so all the time.
const TAKEN_OVER_MS: (u64, u64) = (20_000, 60_000);
/// A connection that lasted so long and took batches starts the pauses again from the first.
const STEADY: Duration = Duration::from_secs(10);
/// One that lasted so long does in any case.
const LASTING: Duration = Duration::from_secs(60);
/// So many times in a row the broker may hang up without a word before another agent of the same name is
/// thought of: Mosquitto 2.0.11 does not tell the reason (0x8E).
const HANGUPS: u32 = 3;
/// When nobody took the session over for so long, there was but one fight.
const PEACE: Duration = Duration::from_secs(600);

/// How a connection went.
struct Course {
    end: End,
    /// The broker had accepted it.
    established: bool,
    /// Batches that the broker took.
    taken: u64,
}

/// What the uplink is told.
pub(crate) struct Settings {
    pub(crate) gateway: Gateway,
    pub(crate) boot: BootId,
    pub(crate) mqtt: Mqtt,
    pub(crate) settled_by: SettledBy,
}

/// What the uplink works with.
pub(crate) struct Uplink {
    gateway: Gateway,
    boot: BootId,
    mqtt: Mqtt,
    settled_by: SettledBy,
    core: uplink::Uplink,
    state: watch::Receiver<State>,
    outbox: Outbox,
    question: Question,
    health: Health,
    finish: CancellationToken,
    heart: Heart,
}

impl Uplink {
    /// Prepares; nothing is opened yet. `finish` is cancelled by the spool when the last event was accepted:
    /// what is left is sent, for a limited time.
    pub(crate) fn new(
        settings: Settings,
        state: watch::Receiver<State>,
        spool: mpsc::Sender<Request>,
        health: Health,
        finish: CancellationToken,
        heart: Heart,
    ) -> Self {
        let Settings { gateway, boot, mqtt, settled_by } = settings;
        let core_settings = uplink::Settings {
            backlog_percent: mqtt.backlog_share,
            bytes_per_s: mqtt.max_kib_per_s.map(|kib| u64::from(kib) << 10),
            settled_by,
        };
        let core = uplink::Uplink::new(core_settings, state.borrow().epochs.iter().map(view));
        let (outbox, question) = (Outbox::new(spool), Question::new());
        Self { gateway, boot, mqtt, settled_by, core, state, outbox, question, health, finish, heart }
    }

    /// Connects and sends until everything is sent after `finish`. Ends early only when the spool has.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::to_broker();
        let mut fight = Backoff::new(TAKEN_OVER_MS.0, TAKEN_OVER_MS.1);
        let mut fought = Instant::now();
        let mut told = Told::default();
        let mut hangups = 0;
        loop {
            let connected = Instant::now();
            let Course { end, established, taken } = self.connect().await;
            self.health.disconnected();
            let mut lost = match end {
                End::Finished => return,
                End::SpoolGone => return error!("the spool has ended"),
                End::Lost(lost) => lost,
            };
            let hung_up = established && lost.cause == Cause::Unknown && connected.elapsed() < LASTING;
            let nearer = self.core.handle_disconnected(lost.ended());
            hangups = if hung_up && !nearer { hangups + 1 } else { 0 };
            self.take_notes();
            self.question.outlive();
            let lasted = connected.elapsed() > LASTING;
            if nearer || lasted || (connected.elapsed() > STEADY && taken > 0) {
                backoff.reset();
                told = Told::default();
            }
            if hangups >= HANGUPS {
                lost.cause = Cause::TakenOver;
            }
            let random = random().unwrap_or(0);
            let pause = if lost.cause == Cause::TakenOver {
                if fought.elapsed() > PEACE {
                    fight.reset();
                }
                fought = Instant::now();
                fight.next_ms(random)
            } else if lasted {
                // The broker may have been started anew, and thousands may have lost theirs.
                backoff.scattered_ms(random)
            } else {
                backoff.next_ms(random)
            };
            let pause = Duration::from_millis(pause);
            self.tell_loss(&lost, pause, &mut told);
            match self.pause(pause).await {
                Ok(true) => {}
                Ok(false) => {
                    return info!("the broker is not there: what waits is sent after the next start");
                }
                Err(desk::Gone) => return error!("the spool has ended"),
            }
        }
    }

    /// One connection.
    async fn connect(&mut self) -> Course {
        let unmade = |end| Course { end, established: false, taken: 0 };
        let tunnel = match self.tunnel().await {
            Ok(tunnel) => tunnel,
            Err(end) => return unmade(end),
        };
        let (link, wire) = match self.address(tunnel.as_ref().map(Tunnel::socket)) {
            Ok(address) => mqtt::open(address),
            Err(why) => return unmade(End::Lost(Lost::broker(format!("{why:#}")))),
        };
        let mut connection = Connection::new(self, link);
        let mut end = connection.run(wire).await;
        let (established, taken) = (connection.is_established(), connection.taken);
        if let (End::Lost(lost), Some(tunnel)) = (&mut end, tunnel)
            && lost.cause == Cause::Unknown
            && let Some(why) = tunnel.why().await
        {
            match why {
                TlsError::Ended(why) => lost.why = why.to_string(),
                why => *lost = Lost::broker(why.to_string()),
            }
        }
        Course { end, established, taken }
    }

    /// Makes the way to a broker that wants TLS; none to one that does not.
    async fn tunnel(&mut self) -> Result<Option<Tunnel>, End> {
        let Some(files) = self.mqtt.tls.clone() else { return Ok(None) };
        let (host, finish) = (self.mqtt.host.clone(), self.finish.clone());
        let open = Tunnel::open(&host, self.mqtt.port, &files);
        let last_moment = async {
            finish.cancelled().await;
            sleep(DRAIN).await;
        };
        tokio::pin!(open, last_moment);
        loop {
            // What is not kept over the turns is cancel-safe.
            tokio::select! {
                opened = &mut open => {
                    return opened.map(Some).map_err(|why| End::Lost(Lost::broker(why.to_string())));
                }
                () = &mut last_moment => return Err(End::Finished),
                () = self.heart.beat() => {}
                handed = self.outbox.hand_over(), if !self.outbox.is_empty() => {
                    handed.map_err(|_| End::SpoolGone)?;
                }
            }
        }
    }

    /// Waits, and gives the spool what it is still owed. Whether to go on.
    async fn pause(&mut self, pause: Duration) -> Result<bool, desk::Gone> {
        let until = Instant::now() + pause;
        loop {
            // Every branch is cancel-safe.
            tokio::select! {
                () = sleep_until(until) => return Ok(true),
                () = self.finish.cancelled() => return Ok(false),
                () = self.heart.beat() => {}
                handed = self.outbox.hand_over(), if !self.outbox.is_empty() => handed?,
            }
        }
    }

    /// Hands on what the core has for the spool.
    fn take_notes(&mut self) {
        while let Some(note) = self.core.poll_note() {
            match &note {
                Note::Settle { epoch, settled } => debug!(%epoch, ?settled, "settled"),
                Note::Fork { epoch, from } => warn!(
                    %epoch, from = from.0,
                    "central has other events under these numbers: this disk or another is a copy. A new epoch begins"
                ),
                Note::SetAside { epoch, range, why } => {
                    error!(%epoch, ?range, why, "events cannot be sent; they are set aside");
                }
            }
            self.outbox.push(note);
        }
    }

    fn tell_loss(&self, lost: &Lost, pause: Duration, told: &mut Told) {
        let (host, port, why) = (&self.mqtt.host, self.mqtt.port, &lost.why);
        if lost.cause == Cause::TakenOver {
            let Gateway { store, gateway, .. } = self.gateway;
            warn!(
                broker = %host, port, why, ?pause,
                "another agent with the id {} seems to be connected: two gateways under the name {store}/{gateway}?",
                client_id(self.gateway)
            );
            return;
        }
        match told.takes(why, Instant::now()) {
            Some(1) => warn!(broker = %host, port, why, next_in = ?pause, "not connected; events wait"),
            Some(attempts) => {
                info!(broker = %host, port, why, attempts, next_in = ?pause, "still not connected");
            }
            None => debug!(why, next_in = ?pause, "not connected"),
        }
    }

    fn address<'a>(&'a self, socket: Option<&'a Path>) -> anyhow::Result<Address<'a>> {
        let Mqtt { host, port, keep_alive_s, .. } = &self.mqtt;
        Ok(Address {
            client_id: client_id(self.gateway),
            host,
            port: *port,
            socket,
            login: login(&self.mqtt)?,
            keep_alive: Duration::from_secs((*keep_alive_s).into()),
            will: Some((self.gateway.topic(Channel::Status), self.status(Presence::Offline)?)),
        })
    }

    fn status(&self, state: Presence) -> anyhow::Result<Vec<u8>> {
        let agent = env!("CARGO_PKG_VERSION").to_owned();
        let health = (state == Presence::Online).then(|| self.health());
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
            certificate: self.health.certificate(),
            readers: self.health.readers(),
        }
    }
}

fn client_id(gateway: Gateway) -> String {
    // Names hold no dot: no two gateways have the same client id.
    let Gateway { tenant, store, gateway } = gateway;
    format!("hangtag.{tenant}.{store}.{gateway}")
}

/// User and password, for a broker that asks.
fn login(mqtt: &Mqtt) -> anyhow::Result<Option<(String, String)>> {
    let password = match &mqtt.password_file {
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read mqtt.password_file {}", path.display()))?,
        None => String::new(),
    };
    let password = password.trim_end_matches(['\r', '\n']);
    Ok(mqtt.user.as_ref().map(|user| (user.clone(), password.to_owned())))
}
