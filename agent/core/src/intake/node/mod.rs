//! The gateway's side of a line to a reader node of our own. Enters: bytes of the line, time, word of what is
//! durable. Leaves: frames that were taken, with the reads in them, bytes to send, and notices.
//!
//! A frame is acknowledged for good only when the spool says that what came of it is durable. Frames that come
//! again are left out, also those that another process, or another opening of the line, has taken: the caller
//! remembers [`Marks`].
//!
//! A node's times are its own, and become the gateway's (`clock`), for which it is asked what its clock shows. A read
//! that comes more than [`LATE_MS`] after it happened is taken and counted, but is no evidence: inference looks at the
//! present, and would take a minute that comes at once for unrest. Neither is one of which it cannot be said when it
//! happened.

mod clock;
mod ended;
mod marks;
mod settings;
mod single;
mod taken;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::command::{Configure, Query};
use hangtag_protocol::link::message::{self, Health, Hello};
use hangtag_protocol::link::receiver::{Arrival, Known};
use hangtag_protocol::link::{Deframer, Frame, FrameError, Kind, Receiver};
use hangtag_protocol::status::NodeHealth;

use super::Notice;
use clock::Clock;

pub use marks::{Mark, Marks, MarksError};
pub use settings::{Settings, Thresholds, refusal};
pub use taken::{LATE_MS, Taken};

/// The speed of a node's line unless it is told otherwise, in baud.
pub const FACTORY_BAUD: u32 = 115_200;
/// The highest antenna port that the link can name; they count from 1.
pub const MOST_PORTS: u8 = 16;
/// A node from which no good frame came for so long is silent, in milliseconds.
const SILENCE_MS: u64 = 12_000;
/// A configuration is sent again until it is answered, in milliseconds.
const CONFIGURE_MS: u64 = 3_000;
/// A node is asked what its clock shows so often, in milliseconds: usually, and where that is in doubt.
const CLOCK_MS: u64 = 2_000;
const DOUBT_MS: u64 = 100;

/// A line to a node.
#[derive(Debug)]
pub struct Link {
    deframer: Deframer,
    receiver: Receiver,
    /// What it is told of how to work, if it is.
    configure: Option<Configure>,
    configure_at: Option<Uptime>,
    /// Its last answer was that it does not work so.
    refused: bool,
    opened: Uptime,
    clock_at: Uptime,
    /// What a run answered before it introduced itself: what its clock showed, when it was asked, when that came.
    early: Option<(u32, message::Clock, Uptime)>,
    run: Option<Run>,
    heard: Uptime,
    listening: bool,
    unknown: u64,
    lost: u64,
    writes: VecDeque<Vec<u8>>,
    taken: VecDeque<Taken>,
    notices: VecDeque<Notice>,
}

/// The run of the node that is there.
#[derive(Debug)]
struct Run {
    mark: Mark,
    durable: u32,
    /// Bytes that it can hold, and bytes that were taken and may not be durable.
    room: u32,
    taken_bytes: u32,
    clock: Clock,
    hello: Hello,
    health: Option<Health>,
    configured: Option<message::Outcome>,
}

impl Link {
    /// A line that was just opened, and how the node at it is to work; if that is not said it is left as it is.
    #[must_use]
    pub fn new(settings: Option<&Settings>, now: Uptime) -> Self {
        Self {
            deframer: Deframer::new(),
            receiver: Receiver::new(now),
            configure: settings.map(Settings::command),
            configure_at: None,
            refused: false,
            opened: now,
            clock_at: now,
            early: None,
            run: None,
            heard: now,
            listening: false,
            unknown: 0,
            lost: 0,
            writes: VecDeque::new(),
            taken: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// Takes what came in. `taken` is what this process has taken of each run, on any line, and at the start
    /// what is durable; `durable` what is durable.
    pub fn handle_bytes(&mut self, bytes: &[u8], taken: &Marks, durable: &Marks, now: Uptime) {
        let mut deframer = core::mem::take(&mut self.deframer);
        // Frames that come together build on one another.
        let mut taken = taken.clone();
        deframer.handle_bytes(bytes, |frame| match frame {
            Ok(frame) => self.handle_frame(&frame, &mut taken, durable, now),
            Err(FrameError::Version(version)) => {
                let fault = format!("it speaks version {version} of the link, and this program another");
                self.notices.push_back(Notice::Fault(fault));
            }
            Err(FrameError::Long | FrameError::Cobs(_) | FrameError::Checksum { .. }) => {}
        });
        self.deframer = deframer;
        self.drive(now);
    }

    /// Takes what is durable by now.
    pub fn handle_durable(&mut self, durable: &Marks, now: Uptime) {
        if let Some(run) = &mut self.run
            && let Some(mark) = durable.of(run.mark.node, run.mark.boot)
        {
            if mark.below > run.durable {
                run.durable = mark.below;
                // What was taken since is counted anew: a little too little, which the time limit makes good.
                run.taken_bytes = 0;
            }
            self.receiver.handle_durable(mark.node, mark.boot, mark.below, now);
        }
        self.drive(now);
    }

    /// How far the run of the node that is there has come.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.run.as_ref().map(|run| run.mark)
    }

    /// Frames of a boot below a number that have not come never will, because the line is a recording.
    pub fn handle_missing(&mut self, boot: u32, below: u32) {
        if let Some(run) = self.run.as_mut().filter(|run| run.mark.boot == boot) {
            run.mark.below = run.mark.below.max(below);
            self.receiver.handle_missing(boot, below);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        if self.listening && now.since(self.heard) >= SILENCE_MS {
            self.silent("nothing comes from it");
            if let Some(run) = &mut self.run {
                run.health = None;
            }
        }
        self.drive(now);
    }

    /// The next bytes to send.
    pub fn poll_write(&mut self) -> Option<Vec<u8>> {
        self.writes.pop_front()
    }

    /// The next frame that was taken.
    pub fn poll_taken(&mut self) -> Option<Taken> {
        self.taken.pop_front()
    }

    /// The next notice.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let silent = self.listening.then(|| self.heard + SILENCE_MS);
        [self.receiver.poll_timeout(), silent, self.configure_at, Some(self.clock_at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is known of the node that is there.
    #[must_use]
    pub fn node(&self) -> Option<NodeHealth> {
        let Run { hello, health, configured, clock, .. } = self.run.as_ref()?;
        Some(NodeHealth {
            node: hello.node,
            firmware: hello.firmware,
            reason: hello.reason,
            configured: *configured,
            told: self.configure.map(|told| told.id),
            clock_off_ms: clock.off_ms(),
            health: *health,
        })
    }

    /// Bytes that belonged to no good frame, so far.
    #[must_use]
    pub fn garbage(&self) -> u64 {
        self.deframer.garbage()
    }

    /// Messages that this version does not understand, so far. They are taken, or the node would send them
    /// for ever.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Reads that earlier runs had taken in and that were lost as these ended, by what was told so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, taken: &mut Marks, durable: &Marks, now: Uptime) {
        match Kind::of(frame.kind) {
            Some(Kind::Hello) => match frame.message::<Hello>() {
                Ok(hello) => self.handle_hello(frame.boot, &hello, taken, durable, now),
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Health) => match frame.message::<Health>() {
                Ok(health) => self.handle_health(frame.boot, &health, now),
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Clock) => match frame.message() {
                Ok(clock) => self.handle_clock(frame.boot, clock, now),
                Err(_) => self.unknown += 1,
            },
            // What a gateway says comes back where a line echoes.
            Some(Kind::Ack | Kind::Configure | Kind::Query) => {}
            Some(
                Kind::Reads | Kind::Motion | Kind::Occupancy | Kind::Dropped | Kind::Configured | Kind::Ended,
            )
            | None => {
                if frame.number > 0
                    && self.receiver.handle_number(frame.boot, frame.number, now) == Arrival::Taken
                {
                    self.take(frame, taken, now);
                }
            }
        }
    }

    fn handle_hello(&mut self, boot: u32, hello: &Hello, taken: &Marks, durable: &Marks, now: Uptime) {
        let node = hello.node;
        let mark = taken.of(node, boot);
        let safe = durable.of(node, boot).map_or(0, |mark| mark.below);
        let known = mark.map(|mark| Known { received: mark.below, durable: safe });
        let greeting = self.receiver.handle_hello(boot, hello, known, now);
        self.heard = now;
        if greeting.begins {
            let fresh = Mark { node, boot, below: hello.oldest, reads: 0, dropped: 0 };
            let mark = mark.filter(|mark| mark.below <= hello.next).unwrap_or(fresh);
            let below = mark.below.max(hello.oldest);
            self.run = Some(Run {
                mark: Mark { below, ..mark },
                durable: safe,
                room: hello.room,
                taken_bytes: 0,
                clock: Clock::new(hello.uptime, now),
                hello: *hello,
                health: None,
                configured: None,
            });
            if let Some((of, clock, at)) = self.early.take()
                && of == boot
            {
                self.handle_clock(boot, clock, at);
            }
            let query = Frame::of(Kind::Query, boot, 0, &Query::Health);
            self.writes.push_back(query.to_vec());
            let module = format!(
                "node {node} firmware {} boot {boot:08x} started by {:?}; had {} reads and {} dropped below frame {below}",
                hello.firmware, hello.reason, mark.reads, mark.dropped
            );
            self.notices.push_back(Notice::Module(module));
            if greeting.missed > 0 {
                let missed = greeting.missed;
                let lost =
                    format!("{missed} of its frames were taken by a gateway that nobody here remembers");
                self.notices.push_back(Notice::Happened(lost));
            }
            self.configure_at = self.configure.map(|_| now);
            self.listen(now);
        } else if let Some(run) = &mut self.run {
            run.clock.hear(hello.uptime, now);
            run.hello = *hello;
        }
    }

    fn handle_clock(&mut self, boot: u32, clock: message::Clock, now: Uptime) {
        let message::Clock { asked, uptime } = clock;
        // What was asked before this line was opened may have been asked by another gateway.
        if !(self.opened..=now).contains(&asked) {
            return;
        }
        let Some(run) = self.run.as_mut().filter(|run| run.mark.boot == boot) else {
            self.early = Some((boot, clock, now));
            return;
        };
        self.heard = self.heard.max(now);
        if let Some(ms) = run.clock.handle_answer(asked, uptime, now) {
            let way = if ms > 0 { "forward" } else { "back" };
            let jump = format!(
                "its clock jumped {way} by {} ms: what it kept from before is counted, but it is not known when it was",
                ms.unsigned_abs()
            );
            self.notices.push_back(Notice::Happened(jump));
        }
    }

    fn handle_health(&mut self, boot: u32, health: &Health, now: Uptime) {
        let Some(run) = self.run.as_mut().filter(|run| run.mark.boot == boot) else { return };
        run.clock.hear(health.uptime, now);
        run.health = Some(*health);
        self.heard = now;
        if health.reader_listens {
            self.listen(now);
        } else {
            self.silent("its reader does not answer");
        }
    }

    fn listen(&mut self, now: Uptime) {
        if self.listening {
            return;
        }
        self.listening = true;
        self.notices.push_back(Notice::Listening);
        // Whoever was told that it is silent may have forgotten how its booth is. It says so with its answer; one that
        // refused would stop its reader to try once more.
        let is_asked = self.configure.is_some_and(|told| told.occupied.is_some());
        let took = self.run.as_ref().is_some_and(|run| run.configured == Some(message::Outcome::Taken));
        if is_asked && took {
            self.configure_at = Some(now);
        }
    }

    fn silent(&mut self, why: &str) {
        if self.listening {
            self.listening = false;
            self.notices.push_back(Notice::Silent { why: String::from(why) });
        }
    }

    /// Says what is due.
    fn drive(&mut self, now: Uptime) {
        if self.clock_at <= now {
            self.clock_at = now + CLOCK_MS;
            let boot = self.run.as_ref().map_or(0, |run| run.mark.boot);
            self.writes.push_back(Frame::of(Kind::Query, boot, 0, &Query::Clock { asked: now }).to_vec());
        }
        if self.receiver.poll_ask(now) {
            self.writes.push_back(Frame::of(Kind::Query, 0, 0, &Query::Hello).to_vec());
        }
        if let Some((boot, ack)) = self.receiver.poll_ack(now) {
            self.writes.push_back(Frame::of(Kind::Ack, boot, 0, &ack).to_vec());
        }
        if let Some(run) = &self.run
            && self.configure_at.is_some_and(|at| at <= now)
        {
            self.configure_at = Some(now + CONFIGURE_MS);
            let configure = self.configure.iter();
            let frames = configure.map(|told| Frame::of(Kind::Configure, run.mark.boot, 0, told).to_vec());
            self.writes.extend(frames);
        }
    }
}

#[cfg(test)]
mod tests;
