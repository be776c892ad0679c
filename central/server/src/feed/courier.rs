//! Publishes the feed. Enters: word that something was stored. Leaves: documents for the broker, each at least once and
//! each feed in order; and for the database, up to where the broker has acknowledged them. What it never does: call
//! published what the broker did not acknowledge.
//!
//! Of several centrals on one database the one that holds the lease publishes. It lets go of it when it has no
//! connection, so that another one may try.

use std::collections::VecDeque;
use std::time::Duration;

use hangtag_central_core::feed::{Fed, Form, Line};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::topic;
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Scene;
use super::cloudevents::{self, CloudEvent};
use super::desk::{Desk, DeskError, now, stopped};
use super::documents;
use super::epcis::{self, ObjectEvent};
use super::hourly::{Hourly, Rounds};
use super::mqtt::{Connect, Heard, Letter, Link, Lost};
use super::window::Window;
use crate::connection;
use crate::store::{Page, Reader, StoreError};

/// How long a lease lasts, and after how long it is renewed: a central that is killed is replaced after the first.
const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);
/// How often the database is told what is acknowledged, and asked what other processes stored.
const TICK: Duration = Duration::from_millis(500);
/// How many events of a feed are read at once, and how many altogether.
const READ: (u32, usize) = (1_024, 2_048);
/// The first and the longest pause between two connections.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A connection that held this long starts the pauses again from the first.
const STEADY: Duration = Duration::from_secs(30);
/// How long a stop may wait for the broker.
const DRAIN: Duration = Duration::from_secs(3);

/// What publishing needs.
pub(crate) struct Courier {
    /// The database.
    pub desk: Desk,
    /// The same to read from.
    pub reader: Reader,
    /// What documents say beside the events.
    pub scene: Scene,
    /// What is published.
    pub forms: Vec<Form>,
    /// From where counts per hour are, if they are published.
    pub hourly: Option<Hourly>,
    /// The broker.
    pub connect: Connect,
    /// Changes with every commit.
    pub commits: watch::Receiver<u64>,
}

/// Why publishing came to an end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the program stops")]
    Stopped,
    #[error("another central publishes")]
    Replaced,
    #[error("{0}")]
    Lost(#[from] Lost),
    #[error("{0}")]
    Database(#[from] DeskError),
}

/// What was read, and whether there may be more.
type Read = (VecDeque<Letter>, bool);

/// Publishes until told to stop, through any number of connections.
pub(crate) async fn run(mut courier: Courier, mut stopping: watch::Receiver<bool>) {
    let (mut pause, mut is_idle) = (PAUSE.0, false);
    while !*stopping.borrow() {
        let begun = Instant::now();
        let ended = courier.publish(&mut stopping).await;
        let wait = match ended {
            Ended::Stopped => return,
            Ended::Replaced => {
                if !is_idle {
                    tracing::info!("another central publishes the feed");
                }
                RENEW
            }
            Ended::Lost(_) | Ended::Database(_) => {
                if begun.elapsed() > STEADY {
                    pause = PAUSE.0;
                }
                let wait = pause.mul_f64(rand::rng().random_range(0.5..1.0));
                tracing::warn!(why = %ended, again_in_ms = wait.as_millis(), "the feed is not published");
                pause = (pause * 2).min(PAUSE.1);
                wait
            }
        };
        is_idle = matches!(ended, Ended::Replaced);
        tokio::select! {
            () = sleep(wait) => {}
            () = stopped(&mut stopping) => return,
        }
    }
}

impl Courier {
    /// Publishes through one connection, if nobody else does.
    async fn publish(&mut self, stopping: &mut watch::Receiver<bool>) -> Ended {
        let mut window = Window::default();
        match self.save(&mut window).await {
            Ok(()) => {}
            Err(ended) => return ended,
        }
        let mut link = Link::open(&self.connect);
        let mut ended = match self.deliver(&mut link, &mut window, stopping).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        if matches!(ended, Ended::Stopped) {
            drain(&mut link, &mut window).await;
        }
        drop(link);
        // What was acknowledged need not be published again; nor does anybody need to wait for the lease to end.
        if !matches!(ended, Ended::Replaced) {
            if let Err(why) = self.save(&mut window).await
                && matches!(ended, Ended::Stopped)
            {
                tracing::warn!(%why, "what the broker acknowledged last will be published again");
            }
            let holder = self.connect.client_id.clone();
            if let Err(why) = self.desk.ask(move |feeder| feeder.let_go(&holder)).await
                && !matches!(ended, Ended::Stopped)
            {
                ended = why.into();
            }
        }
        ended
    }

    /// Publishes until that comes to an end.
    async fn deliver(
        &mut self,
        link: &mut Link,
        window: &mut Window,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<std::convert::Infallible, Ended> {
        let (mut letters, mut more) = (VecDeque::new(), true);
        let (mut connected, mut turn, mut commits_end) = (false, None, false);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut renewed, mut rounds) = (Instant::now(), Rounds::new(self.hourly.clone()));
        loop {
            while connected
                && link.has_room()
                && let Some(letter) = letters.pop_front()
            {
                if !link.publish(letter) {
                    return Err(Lost::from(connection::Ended::Task).into());
                }
            }
            if connected && letters.is_empty() && more {
                (letters, more) = self.read(window, &mut turn).await?;
                if !letters.is_empty() && link.has_room() {
                    continue;
                }
            }
            tokio::select! {
                // All branches are cancel-safe: channels keep what was not received.
                heard = link.next() => match heard? {
                    Heard::Connected => {
                        tracing::info!(forms = ?self.forms, "publishes the feed");
                        connected = true;
                        letters.extend(documents::letters(self.scene.tenant()));
                    }
                    Heard::Acknowledged(Some((line, sequence))) => window.acknowledged(line, sequence),
                    Heard::Acknowledged(None) | Heard::Nothing => {}
                },
                counted = rounds.next(), if connected && letters.len() < READ.1 => letters.extend(counted?),
                changed = self.commits.changed(), if !commits_end => {
                    commits_end = changed.is_err();
                    more = true;
                }
                _ = tick.tick() => {
                    more = true;
                    if renewed.elapsed() > RENEW || !window.news().is_empty() {
                        self.save(window).await?;
                        renewed = Instant::now();
                    }
                }
                () = stopped(stopping) => return Err(Ended::Stopped),
            }
        }
    }

    /// Takes or renews the lease, and tells the database what is acknowledged.
    async fn save(&self, window: &mut Window) -> Result<(), Ended> {
        let (holder, news, now) = (self.connect.client_id.clone(), window.news(), now());
        let until = UnixMillis(now.0 + i64::try_from(LEASE.as_millis()).expect("seconds"));
        let told = news.clone();
        if !self.desk.ask(move |feeder| feeder.hold(&holder, (now, until), &told)).await? {
            return Err(Ended::Replaced);
        }
        window.saved(&news);
        Ok(())
    }

    /// Reads what comes next, feed after feed.
    async fn read(&self, window: &mut Window, turn: &mut Option<Line>) -> Result<Read, Ended> {
        let forms = self.forms.clone();
        let mut lines = self.desk.ask(move |feeder| feeder.lines(&forms)).await?;
        lines.sort_by_key(|(line, _)| *line);
        // A long feed must not hold up the others: the one after the last that was read goes first.
        let first = lines.partition_point(|(line, _)| Some(*line) <= *turn);
        lines.rotate_left(first);
        let mut due = Vec::new();
        for (line, [saved, last]) in lines {
            window.know(line, saved);
            if window.given(line) < last {
                due.push((line, window.given(line)));
            }
        }
        let (reader, scene) = (self.reader.clone(), self.scene.clone());
        let read = move || {
            let (mut letters, mut read) = (VecDeque::new(), Vec::new());
            for (line, after) in due {
                if letters.len() >= READ.1 {
                    break;
                }
                let page = reader.feed(line.store, after, READ.0)?;
                letters.extend(page.events.iter().map(|event| letter(&scene, line, event)));
                read.push((line, page));
            }
            Ok::<_, StoreError>((letters, read))
        };
        let (letters, read) =
            spawn_blocking(read).await.map_err(DeskError::Task)?.map_err(DeskError::Database)?;
        for (line, Page { events, to, .. }) in &read {
            window.gave(*line, events.iter().map(|event| event.sequence), *to);
            *turn = Some(*line);
        }
        Ok((letters, !read.is_empty()))
    }
}

/// Waits for what the broker has not acknowledged yet.
async fn drain(link: &mut Link, window: &mut Window) {
    let acknowledged = async {
        while !link.is_idle() {
            match link.next().await {
                Ok(Heard::Acknowledged(Some((line, sequence)))) => window.acknowledged(line, sequence),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    };
    if timeout(DRAIN, acknowledged).await.is_err() {
        tracing::warn!("the broker did not acknowledge the last events in time");
    }
    link.disconnect();
}

/// The document of an event.
fn letter(scene: &Scene, line: Line, event: &Fed) -> Letter {
    let tenant = scene.tenant();
    let (topic, content_type, payload) = match line.form {
        Form::CloudEvents => {
            let topic = topic::feed(tenant, line.store, event.kind());
            (topic, cloudevents::CONTENT_TYPE, CloudEvent::new(scene, event).to_json())
        }
        Form::Epcis => {
            let topic = topic::feed_epcis(tenant, line.store);
            (topic, epcis::CONTENT_TYPE, ObjectEvent::alone(scene, event).to_json())
        }
    };
    Letter { topic, content_type, payload, of: Some((line, event.sequence)) }
}
