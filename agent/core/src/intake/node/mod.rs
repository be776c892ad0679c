//! The gateway's side of a line to a reader node of our own. Enters: bytes of the line, time, word of what is
//! durable. Leaves: frames that were taken, with the reads in them, bytes to send, and notices.
//!
//! A frame is acknowledged for good only when the spool says that what came of it is durable. Frames that come
//! again are left out, also those that another process, or another opening of the line, has taken: the caller
//! remembers [`Marks`].
//!
//! A node's times are its own, and become the gateway's (`clock`). A read that comes more than [`LATE_MS`] after
//! it happened is taken and counted, but is no evidence: inference looks at the present, and would take a minute that comes at once for unrest.

mod clock;
mod ended;
mod marks;
mod single;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::command::{Configure, Level, Query};
use hangtag_protocol::link::message::{
    BoothState, Condensed, Configured, Dropped, Ended, Health, Hello, Motion, Moved, Occupancy, Outcome,
};
use hangtag_protocol::link::receiver::{Arrival, Known};
use hangtag_protocol::link::{Deframer, Frame, FrameError, Kind, Receiver};
use hangtag_protocol::read::Read;

use super::{Notice, Radio};
use clock::Clock;
use ended::farewell;
use single::expand;

pub use marks::{Mark, Marks, MarksError};

/// The speed of a node's line unless it is told otherwise, in baud.
pub const FACTORY_BAUD: u32 = 115_200;
/// The highest antenna port that the link can name; they count from 1.
pub const MOST_PORTS: u8 = 16;
/// Reads older than this on arrival are no evidence, in milliseconds: as much as inference calls recent.
pub const LATE_MS: u64 = 5_000;
/// A node from which no good frame came for so long is silent, in milliseconds.
const SILENCE_MS: u64 = 12_000;
/// A configuration is sent again until it is answered, in milliseconds.
const CONFIGURE_MS: u64 = 3_000;
/// Reads of a tag within so many milliseconds become one on the node.
const WINDOW_MS: u16 = 200;
/// A change of acceleration above this moves a sensor, in thousandths of g.
const MOTION_MG: u16 = 120;
/// A booth's sensor must hold its level for so long, in milliseconds.
const SETTLE_MS: u16 = 400;

/// A numbered frame that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How far its run has come with it.
    pub mark: Mark,
    /// The mark of an earlier run of the node, if it tells how that ended.
    pub before: Option<Mark>,
    /// How many reads it tells of.
    pub count: u64,
    /// Those that are evidence, as single ones.
    pub reads: Vec<Read>,
    /// Which of its sensors began to move, and when, unless that is too long ago.
    pub motions: Vec<(Uptime, u8)>,
    /// What it says of a booth, and since when, however late.
    pub occupancy: Vec<(Uptime, BoothState)>,
    /// The node's room for what is not durable is half taken: it should become so soon.
    pub hurry: bool,
}

/// A line to a node.
#[derive(Debug)]
pub struct Link {
    deframer: Deframer,
    receiver: Receiver,
    configure: Configure,
    configure_at: Option<Uptime>,
    run: Option<Run>,
    heard: Uptime,
    listening: bool,
    unknown: u64,
    writes: VecDeque<Vec<u8>>,
    taken: VecDeque<Taken>,
    notices: VecDeque<Notice>,
}

/// The run of the node that is there.
#[derive(Clone, Copy, Debug)]
struct Run {
    mark: Mark,
    durable: u32,
    /// Bytes that it can hold, and bytes that were taken and may not be durable.
    room: u32,
    taken_bytes: u32,
    clock: Clock,
}

impl Link {
    /// A line that was just opened. Its node is told which level of a booth's sensor says that somebody is there, if
    /// it has one.
    #[must_use]
    pub fn new(radio: &Radio, occupied: Option<Level>, now: Uptime) -> Self {
        let antennas = radio.antennas.iter().filter(|port| (1..=MOST_PORTS).contains(*port));
        let mut configure = Configure {
            id: 0,
            zone: None,
            region: radio.region,
            power_cdbm: radio.power_cdbm,
            antennas: antennas.fold(0, |bits, port| bits | 1 << (port - 1)),
            window_ms: WINDOW_MS,
            motion_mg: MOTION_MG,
            settle_ms: SETTLE_MS,
            occupied,
        };
        let bytes = postcard::to_allocvec(&configure).expect("numbers always encode");
        configure.id = hangtag_protocol::batch::CRC.checksum(&bytes);
        Self {
            deframer: Deframer::new(),
            receiver: Receiver::new(now),
            configure,
            configure_at: None,
            run: None,
            heard: now,
            listening: false,
            unknown: 0,
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

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        if self.listening && now.since(self.heard) >= SILENCE_MS {
            self.silent("nothing comes from it");
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
        [self.receiver.poll_timeout(), silent, self.configure_at].into_iter().flatten().min()
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
            // What a gateway says comes back where a line echoes.
            Some(Kind::Ack | Kind::Time | Kind::Configure | Kind::Query) => {}
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
            });
            let module = format!(
                "node {node} firmware {} boot {boot:08x} started by {:?}; had {} reads and {} dropped below frame {below}",
                hello.firmware, hello.reason, mark.reads, mark.dropped
            );
            self.notices.push_back(Notice::Module(module));
            if greeting.missed > 0 {
                let missed = greeting.missed;
                let fault =
                    format!("{missed} of its frames were taken by a gateway that nobody here remembers");
                self.notices.push_back(Notice::Fault(fault));
            }
            self.configure_at = Some(now);
            self.listen();
        } else if let Some(run) = &mut self.run {
            run.clock.learn(hello.uptime, now);
        }
    }

    fn handle_health(&mut self, boot: u32, health: &Health, now: Uptime) {
        let Some(run) = self.run.as_mut().filter(|run| run.mark.boot == boot) else { return };
        run.clock.learn(health.uptime, now);
        self.heard = now;
        if health.reader_listens {
            self.listen();
        } else {
            self.silent("its reader does not answer");
        }
    }

    /// Takes a frame that is the next of its run.
    fn take(&mut self, frame: &Frame<'_>, marks: &mut Marks, now: Uptime) {
        self.heard = now;
        let Some(run) = &mut self.run else { return };
        let reads_before = run.mark.reads;
        let mut before = None;
        run.mark.below = frame.number + 1;
        let (mut reads, mut motions, mut occupancy) = (Vec::new(), Vec::new(), Vec::new());
        match Kind::of(frame.kind) {
            Some(Kind::Reads) => {
                for read in frame.messages::<Condensed>() {
                    let Ok(read) = read else {
                        self.unknown += 1;
                        continue;
                    };
                    run.mark.reads = run.mark.reads.saturating_add(read.count.into());
                    run.clock.learn(read.last, now);
                    let last = run.clock.here(read.last, now);
                    if now.since(last) <= LATE_MS {
                        expand(&read, last, &mut reads);
                    }
                }
            }
            Some(Kind::Dropped) => match frame.message::<Dropped>() {
                Ok(dropped) => {
                    run.mark.dropped = run.mark.dropped.saturating_add(dropped.reads);
                    let Dropped { reads, others, first, last } = dropped;
                    let seconds = last.since(first) / 1_000;
                    let fault = format!(
                        "it had no room for {reads} reads and {others} other messages in {seconds} s"
                    );
                    self.notices.push_back(Notice::Fault(fault));
                }
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Configured) => match frame.message::<Configured>() {
                Ok(configured) if configured.id == self.configure.id => {
                    self.configure_at = None;
                    if let Some(why) = refusal(configured.outcome) {
                        self.notices.push_back(Notice::Fault(why.into()));
                    }
                }
                // The answer to an earlier one.
                Ok(_) => {}
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Ended) => match frame.message::<Ended<'_>>() {
                Ok(ended) if ended.boot != run.mark.boot => {
                    let node = run.mark.node;
                    let nothing = Mark { node, boot: ended.boot, below: 1, reads: 0, dropped: 0 };
                    let (mark, lost) = marks.of(node, ended.boot).unwrap_or(nothing).ended(&ended);
                    before = Some(mark);
                    self.notices.extend(farewell(&ended, lost));
                }
                Ok(_) | Err(_) => self.unknown += 1,
            },
            Some(Kind::Occupancy) => match frame.message::<Occupancy>() {
                Ok(Occupancy { at, state }) => {
                    run.clock.learn(at, now);
                    occupancy.push((run.clock.here(at, now), state));
                }
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Motion) => match frame.message::<Motion>() {
                Ok(Motion { at, sensor, how, .. }) => {
                    run.clock.learn(at, now);
                    let at = run.clock.here(at, now);
                    if how == Moved::PickedUp && now.since(at) <= LATE_MS {
                        motions.push((at, sensor));
                    }
                }
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Hello | Kind::Health | Kind::Ack | Kind::Time | Kind::Configure | Kind::Query)
            | None => self.unknown += 1,
        }
        // Two bytes are what the node keeps beside each payload.
        let bytes = 2 + u32::try_from(frame.payload.len()).expect("at most 240");
        run.taken_bytes = run.taken_bytes.saturating_add(bytes);
        // How a run ended is told again after every reset until it is durable.
        let hurry = run.taken_bytes >= run.room / 2 || before.is_some();
        if hurry {
            run.taken_bytes = 0;
        }
        let count = run.mark.reads - reads_before;
        let taken = Taken { mark: run.mark, before, count, reads, motions, occupancy, hurry };
        marks.take(&taken);
        self.taken.push_back(taken);
    }

    fn listen(&mut self) {
        if !self.listening {
            self.listening = true;
            self.notices.push_back(Notice::Listening);
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
            let bytes = Frame::of(Kind::Configure, run.mark.boot, 0, &self.configure).to_vec();
            self.writes.push_back(bytes);
        }
    }
}

fn refusal(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Taken => None,
        Outcome::NotKept => Some("it works by its configuration, but will not after a restart"),
        Outcome::Region => Some("\"region\" was refused: its reader has no such region"),
        Outcome::Power => Some("\"power\" was refused: its reader cannot send with it"),
        Outcome::Antennas => Some("\"antennas\" was refused: its reader has no such port"),
        Outcome::Threshold => Some("a threshold was refused: it is out of range"),
        Outcome::Reader => Some("its reader did not take the configuration"),
    }
}

#[cfg(test)]
mod tests;
