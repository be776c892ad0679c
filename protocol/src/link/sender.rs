//! The node's end of the link. Enters: what the node has to tell, the gateway's acks, time. Leaves: bytes for
//! the line. It keeps what it tells until the gateway has it for good; what finds no room it counts.
//!
//! ```text
//!              numbered when first sent
//! waiting ring ────────────────────────▶ sent ring ──durable──▶ forgotten
//!      │ no room: the oldest
//!      ▼
//!   dropped ────────(in the place of what is missing)──▶ sent ring
//! ```
//!
//! A frame that has a number is never dropped, because the gateway may have it already: so what the gateway
//! takes and what is counted as dropped together are exactly what was told. Where the sent ring is full of
//! frames that the gateway has not made durable, nothing is numbered.

use serde::Serialize;

use super::VERSION;
use super::command::Ack;
use super::frame::{Frame, Kind, MAX_PAYLOAD, Wire};
use super::message::{
    BootReason, Clock, Condensed, Configured, Dropped, Ended, Firmware, Hello, Motion, NodeId, Occupancy,
};
use super::ring::Ring;
use crate::clock::Uptime;

/// How long to wait for an ack before frames are sent again, in milliseconds: first and longest. Eight full
/// frames take 180 ms at 115,200 baud.
const RESEND_MS: (u64, u64) = (500, 8_000);
/// How long to wait for an answer to a hello, in milliseconds: first and longest.
const GREET_MS: (u64, u64) = (1_000, 8_000);
/// A gateway acknowledges at least every second: one that has not for so long is gone, in milliseconds.
const GONE_MS: u64 = 10_000;

/// Who a node is, for its hello.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its name.
    pub node: NodeId,
    /// Its firmware.
    pub firmware: Firmware,
    /// Why it started.
    pub reason: BootReason,
    /// This run: random, so that it differs from those before; not 0.
    pub boot: u32,
}

/// What a node tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A tag was read.
    Read(Condensed),
    /// A sensor was moved.
    Motion(Motion),
    /// A booth is in another state.
    Occupancy(Occupancy),
    /// A configuration was taken or refused.
    Configured(Configured),
}

/// The node's end, with room for so many bytes of frames that were sent and of messages that wait.
#[derive(Debug)]
pub struct Sender<const SENT: usize, const WAITING: usize> {
    identity: Identity,
    sent: Ring<SENT>,
    waiting: Ring<WAITING>,
    /// What there was no room for, and what no frame tells yet.
    dropped: Option<Dropped>,
    dropped_reads: u64,
    /// The number of the first frame in `sent`, and the one that the next gets.
    base: u32,
    next: u32,
    /// The next frame to send, and where in `sent` it is.
    cursor: u32,
    cursor_at: usize,
    /// The gateway has what is below this.
    received: u32,
    window: u8,
    resend: Pause,
    greet: Pause,
    greeted: bool,
    /// The gateway's question what the clock shows.
    asked: Option<Uptime>,
}

/// Something that is done again and again, at growing intervals, until it is not needed.
#[derive(Clone, Copy, Debug)]
struct Pause {
    due: Option<Uptime>,
    ms: u64,
}

impl<const SENT: usize, const WAITING: usize> Sender<SENT, WAITING> {
    /// A node that has just started: it introduces itself first.
    #[must_use]
    pub fn new(identity: Identity, now: Uptime) -> Self {
        Self {
            identity,
            sent: Ring::new(),
            waiting: Ring::new(),
            dropped: None,
            dropped_reads: 0,
            base: 1,
            next: 1,
            cursor: 1,
            cursor_at: 0,
            received: 1,
            window: 0,
            resend: Pause { due: None, ms: RESEND_MS.0 },
            greet: Pause { due: Some(now), ms: GREET_MS.0 },
            greeted: false,
            asked: None,
        }
    }

    /// Takes how a run before this one ended. It gets its number at once, so that it is never dropped; says whether
    /// there was room for it.
    #[must_use = "what has no room is not told"]
    pub fn handle_ended(&mut self, ended: &Ended<'_>) -> bool {
        let mut buffer = [0; MAX_PAYLOAD];
        let kept = self.sent.push(Kind::Ended.byte(), write(ended, &mut buffer));
        self.next += u32::from(kept);
        kept
    }

    /// Takes something to tell. When there is no room for it, the oldest that was never sent is dropped and
    /// counted.
    pub fn handle_told(&mut self, told: &Told, now: Uptime) {
        let mut buffer = [0; MAX_PAYLOAD];
        let (kind, payload) = match told {
            Told::Read(read) => (Kind::Reads, write(read, &mut buffer)),
            Told::Motion(motion) => (Kind::Motion, write(motion, &mut buffer)),
            Told::Occupancy(occupancy) => (Kind::Occupancy, write(occupancy, &mut buffer)),
            Told::Configured(configured) => (Kind::Configured, write(configured, &mut buffer)),
        };
        while !self.waiting.has_room(payload.len()) {
            self.drop_oldest(now);
        }
        let kept = self.waiting.push(kind.byte(), payload);
        debug_assert!(kept, "room was made");
    }

    /// Takes what the gateway acknowledged; what is not about this run, or cannot be, is ignored.
    pub fn handle_ack(&mut self, boot: u32, ack: Ack, now: Uptime) {
        let Ack { durable, received, window, gap } = ack;
        if boot != self.identity.boot || !(durable..=self.next).contains(&received) || durable < self.base {
            return;
        }
        self.greeted = true;
        self.greet = Pause { due: Some(now + GONE_MS), ms: GREET_MS.0 };
        self.window = window;
        while self.base < durable {
            let gone = self.sent.pop();
            self.base += 1;
            self.cursor_at = self.cursor_at.saturating_sub(gone);
        }
        if self.cursor < self.base {
            (self.cursor, self.cursor_at) = (self.base, 0);
        }
        // A gateway that lost its memory goes back; one that got more than was counted on goes ahead.
        if gap || received < self.received || received > self.cursor {
            self.seek(received);
        }
        if received != self.received {
            self.received = received;
            self.resend = Pause { due: None, ms: RESEND_MS.0 };
            if self.cursor > received {
                self.resend.due = Some(now + RESEND_MS.0);
            }
        }
    }

    /// The gateway asks who this is.
    pub fn handle_query_hello(&mut self, now: Uptime) {
        self.greet.due = Some(now);
    }

    /// The gateway asks what the clock shows; `asked` is what it said that its own did.
    pub fn handle_query_clock(&mut self, asked: Uptime) {
        self.asked = Some(asked);
    }

    /// The next bytes for the line, if any are due. Call it until it returns `None`, and only when the line has
    /// taken what it returned before: a clock that is told late is known less well.
    #[must_use = "what is not sent now is sent late"]
    pub fn poll_transmit(&mut self, now: Uptime) -> Option<Wire> {
        if let Some(asked) = self.asked.take() {
            return Some(Frame::of(Kind::Clock, self.identity.boot, 0, &Clock { asked, uptime: now }));
        }
        if self.greet.is_due(now) {
            if self.greeted && self.greet.ms == GREET_MS.0 && self.cursor > self.received {
                // The gateway was gone: it may have lost what was on its way.
                self.seek(self.received);
            }
            self.greet.again(now, GREET_MS.1);
            return Some(self.hello(now));
        }
        if !self.greeted {
            return None;
        }
        if self.resend.is_due(now) {
            self.seek(self.received);
            self.resend.again(now, RESEND_MS.1);
        }
        let limit = self.received.saturating_add(self.window.into());
        if self.cursor >= limit {
            return None;
        }
        if self.cursor == self.next {
            self.number_next(now);
        }
        let (kind, payload, behind) = self.sent.record(self.cursor_at)?;
        let frame = Frame { kind, boot: self.identity.boot, number: self.cursor, payload: &payload };
        (self.cursor, self.cursor_at) = (self.cursor + 1, behind);
        if self.resend.due.is_none() {
            self.resend.due = Some(now + self.resend.ms);
        }
        Some(frame.encode())
    }

    /// When [`poll_transmit`](Self::poll_transmit) has something at the latest, if nothing comes in before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let resend = self.resend.due.filter(|_| self.greeted);
        self.greet.due.into_iter().chain(resend).min()
    }

    /// The lowest number that it still holds, and the one that its next frame gets.
    #[must_use]
    pub fn numbers(&self) -> (u32, u32) {
        (self.base, self.next)
    }

    /// How many bytes wait for the gateway to have them for good.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sent.used() + self.waiting.used()
    }

    /// Reads that there was no room for, so far.
    #[must_use]
    pub fn dropped_reads(&self) -> u64 {
        self.dropped_reads
    }

    /// Whether the gateway has everything for good.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.dropped.is_none()
    }

    /// Whether its numbers are used up, after 2^32 - 2 frames: the node must begin a new run. Until then
    /// everything counts as dropped once its room is full.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.next == u32::MAX
    }

    fn hello(&self, now: Uptime) -> Wire {
        let Identity { node, firmware, reason, boot } = self.identity;
        let hello = Hello {
            node,
            firmware,
            reason,
            uptime: now,
            versions: (VERSION, VERSION),
            oldest: self.base,
            next: self.next,
            room: u32::try_from(SENT).unwrap_or(u32::MAX),
        };
        Frame::of(Kind::Hello, boot, 0, &hello)
    }

    /// Gives the next frame its number: what was dropped first, then what waits. Reads share a frame.
    fn number_next(&mut self, now: Uptime) {
        if !self.sent.has_room(MAX_PAYLOAD) || self.is_spent() {
            return;
        }
        let mut frame = [0; MAX_PAYLOAD];
        let (kind, length) = if let Some(dropped) = self.dropped.take() {
            (Kind::Dropped.byte(), write(&dropped, &mut frame).len())
        } else {
            let Some((kind, first, _)) = self.waiting.record(0) else { return };
            let mut length = 0;
            let mut record = first;
            loop {
                frame[length..length + record.len()].copy_from_slice(&record);
                length += record.len();
                self.waiting.pop();
                match self.waiting.record(0) {
                    Some((next, more, _))
                        if kind == Kind::Reads.byte()
                            && next == kind
                            && length + more.len() <= MAX_PAYLOAD =>
                    {
                        record = more;
                    }
                    Some(_) | None => break,
                }
            }
            (kind, length)
        };
        let kept = self.sent.push(kind, &frame[..length]);
        debug_assert!(kept, "there was room");
        self.next += 1;
        if self.resend.due.is_none() {
            self.resend.due = Some(now + self.resend.ms);
        }
    }

    fn drop_oldest(&mut self, now: Uptime) {
        let Some((kind, payload, _)) = self.waiting.record(0) else { return };
        let frame = Frame { kind, boot: 0, number: 0, payload: &payload };
        let (mut reads, mut first, mut last) = (0, now, now);
        match Kind::of(kind) {
            Some(Kind::Reads) => {
                if let Ok(read) = frame.message::<Condensed>() {
                    reads = u64::from(read.count);
                    (first, last) = (read.last - u64::from(read.span_ms), read.last);
                }
            }
            Some(Kind::Motion) => {
                let at = frame.message::<Motion>().map_or(now, |motion| motion.at);
                (first, last) = (at, at);
            }
            Some(Kind::Occupancy) => {
                let at = frame.message::<Occupancy>().map_or(now, |occupancy| occupancy.at);
                (first, last) = (at, at);
            }
            Some(
                Kind::Hello
                | Kind::Health
                | Kind::Dropped
                | Kind::Configured
                | Kind::Clock
                | Kind::Ended
                | Kind::Ack
                | Kind::Configure
                | Kind::Query,
            )
            | None => {}
        }
        let others = u32::from(kind != Kind::Reads.byte());
        let so_far = self.dropped.unwrap_or(Dropped { reads: 0, others: 0, first, last });
        self.dropped = Some(Dropped {
            reads: so_far.reads + reads,
            others: so_far.others.saturating_add(others),
            first: so_far.first.min(first),
            last: so_far.last.max(last),
        });
        self.dropped_reads += reads;
        self.waiting.pop();
    }

    /// Goes on sending from a number that is between `base` and `next`.
    fn seek(&mut self, number: u32) {
        (self.cursor, self.cursor_at) = (self.base, 0);
        while self.cursor < number.min(self.next)
            && let Some((_, _, behind)) = self.sent.record(self.cursor_at)
        {
            (self.cursor, self.cursor_at) = (self.cursor + 1, behind);
        }
    }
}

impl Pause {
    fn is_due(&self, now: Uptime) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    fn again(&mut self, now: Uptime, longest: u64) {
        self.due = Some(now + self.ms);
        self.ms = (self.ms * 2).min(longest);
    }
}

fn write<'b, T: Serialize>(message: &T, buffer: &'b mut [u8; MAX_PAYLOAD]) -> &'b [u8] {
    postcard::to_slice(message, buffer).expect("messages are short")
}
