//! One connection, from connecting to its loss. Enters: what the spool holds, what the broker says, time.
//! Leaves: batches, the gateway's status, requests to the spool. It decides nothing about events: the core
//! does.

use std::time::Duration;

use hangtag_agent_core::uplink::{Answer, Limits, Purpose, Send, Sent, SettledBy, View};
use hangtag_protocol::batch::{FORMAT, MAX_BYTES};
use hangtag_protocol::status::Presence;
use hangtag_protocol::topic::{BATCH_CONTENT_TYPE, Channel};
use hangtag_protocol::watermark::Watermark;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::Uplink;
use super::mqtt::{Heard, Link, Lost, News, Terms, Wire};
use super::payload::{Misfit, Payload, encode};
use crate::clock;
use crate::spool::{EpochState, Held};

/// What a packet holds beside topic, content type and payload, at most, in bytes.
const PACKET_OVERHEAD: usize = 40;
/// How long the broker may take to answer the subscription.
const SUBSCRIBE: Duration = Duration::from_secs(5);
/// How long the retained watermark may take after subscribing before sending begins without it.
const FIRST_WATERMARK: Duration = Duration::from_millis(500);
/// How often the status is told when nothing changed.
const STATUS_EVERY: Duration = Duration::from_secs(15);
/// When the status could not be told it is tried again after this time.
const STATUS_AGAIN: Duration = Duration::from_secs(1);
/// How long the last events may take on shutdown.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// How long the goodbye may take after that.
const GOODBYE: Duration = Duration::from_secs(1);
/// What cannot be sent waits for the next event; this is for when none comes.
const AT_ONCE: Duration = Duration::from_millis(10);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// Everything was sent after `finish`, or the time for it is over.
    Finished,
    /// The spool's thread has ended.
    SpoolGone,
    Lost(Lost),
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// One connection.
pub(super) struct Connection<'a> {
    uplink: &'a mut Uplink,
    link: Link,
    /// Batches that the broker took.
    pub(super) taken: u64,
    limits: Option<Limits>,
    ready: bool,
    /// Until when the subscription must be answered.
    subscribed_by: Option<Instant>,
    /// When sending begins, whether or not a watermark has come.
    ready_at: Option<Instant>,
    status_due: Instant,
    finish_by: Option<Instant>,
    goodbye_by: Option<Instant>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(uplink: &'a mut Uplink, link: Link) -> Self {
        let status_due = Instant::now();
        Self {
            uplink,
            link,
            taken: 0,
            limits: None,
            ready: false,
            subscribed_by: None,
            ready_at: None,
            status_due,
            finish_by: None,
            goodbye_by: None,
        }
    }

    pub(super) async fn run(&mut self, mut wire: Wire) -> End {
        loop {
            let event = match self.wait(&mut wire).await {
                Ok(event) => event,
                Err(End::Lost(_)) if self.goodbye_by.is_some() => return End::Finished,
                Err(end) => {
                    for event in wire.rest() {
                        // The end itself is known already.
                        let _ = self.handle(event);
                    }
                    return end;
                }
            };
            if let Err(lost) = self.handle(event) {
                return End::Lost(lost);
            }
            // What came with it is handled before the next batch is looked for: PUBACKs come in groups.
            while let Some(event) = wire.ready() {
                if let Err(lost) = self.handle(event) {
                    return End::Lost(lost);
                }
            }
        }
    }

    /// Does what is due until the broker says something.
    async fn wait(&mut self, wire: &mut Wire) -> Result<News, End> {
        // The poll is kept until it is done; everything else in the select is cancel-safe.
        let poll = wire.next();
        tokio::pin!(poll);
        loop {
            self.do_what_is_due()?;
            if [self.goodbye_by, self.finish_by].iter().flatten().any(|by| *by <= Instant::now()) {
                return Err(End::Finished);
            }
            let due = self.due();
            let Uplink { state, finish, outbox, question, heart, .. } = &mut *self.uplink;
            tokio::select! {
                event = &mut poll => return Ok(event?),
                changed = state.changed() => {
                    changed.map_err(|_| End::SpoolGone)?;
                    self.look_at_spool();
                }
                handed = outbox.hand_over(), if !outbox.is_empty() => handed.map_err(|_| End::SpoolGone)?,
                answer = question.answer(), if question.is_open() => {
                    if let Some((send, held)) = answer {
                        self.send(&send, held)?;
                    }
                }
                () = finish.cancelled(), if self.finish_by.is_none() => {
                    self.finish_by = Some(Instant::now() + DRAIN);
                    // The spool's last word came before; the other branch may not have had its turn.
                    self.look_at_spool();
                    self.uplink.core.handle_finish();
                }
                () = heart.beat() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    fn do_what_is_due(&mut self) -> Result<(), Lost> {
        if self.subscribed_by.is_some_and(|by| by <= Instant::now()) {
            // It may answer pings all the same.
            return Err(Lost::broker("the broker does not answer the subscription to the watermark"));
        }
        self.ready |= self.ready_at.is_some_and(|at| at <= Instant::now());
        let (Some(limits), true, None) = (self.limits, self.ready, self.goodbye_by) else { return Ok(()) };
        let now = clock::uptime();
        if self.ready_at.take().is_some() {
            self.look_at_spool();
            self.uplink.core.handle_connected(limits, now);
            info!(broker = %self.uplink.mqtt.host, port = self.uplink.mqtt.port, "connected");
        }
        if self.status_due <= Instant::now() {
            let told = self.publish_status(Presence::Online);
            self.status_due = Instant::now() + if told { STATUS_EVERY } else { STATUS_AGAIN };
        }
        self.uplink.core.handle_timeout(now);
        while let Some(send) = self.uplink.core.poll_send(now) {
            let Uplink { question, outbox, .. } = &mut *self.uplink;
            if let Some(held) = question.take(&send) {
                self.send(&send, held)?;
                continue;
            }
            if !question.is_open() && question.not_before() <= Instant::now() {
                question.ask(send, outbox);
            }
            break;
        }
        let Uplink { question, outbox, .. } = &mut *self.uplink;
        question.ask_on(outbox);
        if self.finish_by.is_some() && self.is_drained() {
            // The queue is written out as the poll goes on; the broker then closes.
            self.publish_status(Presence::Offline);
            self.link.disconnect();
            self.goodbye_by = Some(Instant::now() + GOODBYE);
        }
        Ok(())
    }

    /// When something is due whether or not anything happens.
    fn due(&self) -> Instant {
        let soon = Instant::now() + AT_ONCE;
        // While the spool owes an answer nothing else can be sent, but what is overdue is looked for.
        let pace = if self.uplink.question.is_open() { STATUS_AGAIN } else { AT_ONCE };
        let again = Some(self.uplink.question.not_before()).filter(|at| *at > Instant::now());
        let core = self.uplink.core.poll_timeout().map(|(at, _)| {
            let wait = Duration::from_millis(at.since(clock::uptime()));
            Instant::now() + wait.max(pace)
        });
        let status = (self.ready && self.goodbye_by.is_none()).then_some(self.status_due.max(soon));
        let far = Instant::now() + STATUS_EVERY;
        [status, self.goodbye_by.or(self.finish_by), self.subscribed_by, self.ready_at, core, again]
            .into_iter()
            .flatten()
            .fold(far, Instant::min)
    }

    fn look_at_spool(&mut self) {
        let Uplink { core, state, .. } = &mut *self.uplink;
        let state = state.borrow_and_update();
        core.handle_spool(state.epochs.iter().map(view), clock::uptime());
    }

    fn handle(&mut self, news: News) -> Result<(), Lost> {
        match self.link.handle(news)? {
            Heard::Connected(terms) => self.handle_connected(terms)?,
            Heard::Subscribed => {
                self.subscribed_by = None;
                self.ready_at = Some(Instant::now() + FIRST_WATERMARK);
            }
            Heard::Message(payload) => {
                self.handle_message(&payload);
                // The retained one has come: what it settles need not be sent again.
                self.ready_at = self.ready_at.map(|_| Instant::now());
            }
            Heard::Batch(id, answer, words) => {
                self.uplink.core.handle_puback(id, answer, clock::uptime());
                self.uplink.take_notes();
                match answer {
                    Answer::Taken => self.taken += 1,
                    Answer::Unheard => debug!("nobody is subscribed"),
                    // Never at once again: the next connection waits longer each time.
                    Answer::Refused | Answer::Closed => {
                        return Err(Lost::broker(format!("the broker refuses a batch: {words}")));
                    }
                }
            }
            // Nobody tries anything on this connection.
            Heard::Trial(_) | Heard::Nothing => {}
        }
        Ok(())
    }

    /// Whether the broker has accepted it.
    pub(super) fn is_established(&self) -> bool {
        self.limits.is_some()
    }

    fn handle_connected(&mut self, terms: Terms) -> Result<(), Lost> {
        let topic = self.uplink.gateway.topic(Channel::Events);
        let beside = PACKET_OVERHEAD + topic.len() + BATCH_CONTENT_TYPE.len();
        let batch_bytes = terms.packet_bytes.map_or(MAX_BYTES, |bytes| bytes.saturating_sub(beside));
        // The status needs a place beside the batches.
        let window = terms.receive_maximum.saturating_sub(1).max(1);
        self.uplink.health.connected();
        self.limits = Some(Limits { window, batch_bytes: batch_bytes.min(MAX_BYTES) });
        match self.uplink.settled_by {
            SettledBy::Central => {
                self.subscribed_by = Some(Instant::now() + SUBSCRIBE);
                self.link.subscribe(self.uplink.gateway.topic(Channel::Ack))
            }
            SettledBy::Broker => {
                self.ready_at = Some(Instant::now());
                Ok(())
            }
        }
    }

    fn handle_message(&mut self, payload: &[u8]) {
        match serde_json::from_slice::<Watermark>(payload) {
            Ok(watermark) => {
                // What was accepted and not looked at yet must not seem to be somebody else's.
                self.look_at_spool();
                self.uplink.core.handle_watermark(&watermark, clock::uptime());
                self.uplink.take_notes();
            }
            Err(why) => warn!(%why, "a watermark does not decode; it is ignored"),
        }
    }

    /// The spool has answered.
    fn send(&mut self, send: &Send, held: Held) -> Result<(), Lost> {
        let now = clock::uptime();
        if self.goodbye_by.is_some() || !self.uplink.core.is_wanted(send) {
            return Ok(());
        }
        let empty = send.range.is_empty();
        if held.first.is_none() && !empty || send.purpose == Purpose::Losses && held.lost.is_empty() {
            // Evicted meanwhile, or lost.
            self.uplink.core.handle_absent(send, now);
            return Ok(());
        }
        let recorded = self.uplink.core.recorded(send.epoch);
        let payload = match encode(self.uplink.gateway, send, held, &recorded) {
            Ok(payload) => payload,
            Err(Misfit::Event { seq, bytes }) => {
                let why = format!("{bytes} bytes alone; the broker takes {}", send.limit);
                self.uplink.core.handle_too_large(send.epoch, seq, why);
                self.uplink.take_notes();
                return Ok(());
            }
            Err(Misfit::Broker { bytes }) => {
                let why =
                    format!("the broker takes {} bytes; a batch without events has {bytes}", send.limit);
                return Err(Lost::broker(why));
            }
        };
        let Payload { bytes, range, lost, crc } = payload;
        let sent = Sent { range, bytes: bytes.len(), crc, lost };
        debug!(
            epoch = %send.epoch, first = range.first.0, events = range.len(), bytes = sent.bytes,
            purpose = ?send.purpose, "sends a batch"
        );
        let topic = self.uplink.gateway.topic(Channel::Events);
        let core = &mut self.uplink.core;
        let number = || core.handle_sent(send, sent, now);
        if self.link.publish_batch(topic, BATCH_CONTENT_TYPE, FORMAT.to_string(), bytes, number) {
            Ok(())
        } else {
            Err(Lost::broker("there is no room for a batch among what is queued"))
        }
    }

    fn publish_status(&mut self, presence: Presence) -> bool {
        let Ok(payload) = self.uplink.status(presence) else { return false };
        self.link.publish_status(self.uplink.gateway.topic(Channel::Status), payload)
    }

    fn is_drained(&self) -> bool {
        self.link.is_idle() && !self.uplink.question.is_open() && self.uplink.core.is_all_sent()
    }
}

/// What the spool says of one epoch, as the core takes it.
pub(super) fn view(state: &EpochState) -> View<'_> {
    View {
        epoch: state.epoch,
        oldest_held: state.oldest_held,
        next: state.next,
        settled: &state.settled,
        lost: state.lost,
        lineage: &state.lineage,
    }
}
