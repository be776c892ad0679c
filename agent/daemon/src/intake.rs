//! Serial ports. Enters: bytes of a reader. Leaves: reads, and what the reader is doing. One task per
//! reader; a port that fails or vanishes is opened again, for as long as it takes.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use hangtag_agent_core::backoff::Backoff;
use hangtag_agent_core::intake::{Code, Motion, Notice, Protocol, Session};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::read::Read;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialPortBuilderExt as _, SerialStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

use crate::capture::Capture;
use crate::clock;
use crate::config::Reader;
use crate::health::Health;

/// A line that does not take a command within this time is stuck.
const STUCK: Duration = Duration::from_secs(1);
/// A port that was open for so long was really there.
const LIVED: Duration = Duration::from_secs(3);
/// Pauses before a port is opened again, in milliseconds: first and longest.
const REOPEN_MS: (u64, u64) = (100, 2_000);

/// What a reader's task tells inference.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A tag was read.
    Read { reader: usize, read: Read },
    /// A sensor tag said how it moved.
    Motion { reader: usize, motion: Motion },
    /// A code was scanned.
    Scan { reader: usize, at: Uptime, scan: Scan },
    /// The reader does something else from now on.
    Reader { reader: usize, state: ReaderState, at: Uptime },
}

/// What a scanner read. The code of a shopper stays behind: nothing outside the scanner's task ever holds it
/// unsealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    Loyalty,
    Product(Gtin),
    Unknown,
}

/// What the task of a reader works with.
pub(crate) struct Intake {
    /// The reader's number in the layout.
    pub(crate) number: usize,
    pub(crate) reader: Reader,
    pub(crate) out: mpsc::Sender<Seen>,
    pub(crate) health: Health,
    pub(crate) capture: Option<Capture>,
    pub(crate) cancel: CancellationToken,
}

/// Why a port is given up.
enum Lost {
    /// The agent shuts down.
    Cancelled,
    /// The port is gone or failed.
    Failed(io::Error),
    /// Inference is gone, or full at the end.
    Closed,
}

/// What came of handing on.
enum Passed {
    /// Everything was taken.
    On,
    /// The same, and the reader fell silent.
    Silent,
    /// Inference is gone, or full at the end.
    Nowhere,
}

impl Intake {
    /// Reads until it is cancelled.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(REOPEN_MS.0, REOPEN_MS.1);
        let mut session: Option<Session> = None;
        let mut told = String::new();
        let id = self.reader.id;
        loop {
            let why = match self.open() {
                Ok(port) => {
                    if told.is_empty() {
                        info!(reader = %id, port = %self.reader.port.display(), "opened the port");
                    }
                    let opened = Instant::now();
                    let now = clock::uptime();
                    let session = match &mut session {
                        Some(session) => {
                            session.handle_reopened(now);
                            session
                        }
                        None => session.insert(Session::new(&self.reader.settings, now)),
                    };
                    let lost = self.talk(port, session).await;
                    // A port that opens and fails at once is as good as none.
                    if opened.elapsed() > LIVED {
                        backoff.reset();
                        told.clear();
                    }
                    match lost {
                        Lost::Cancelled | Lost::Closed => return,
                        Lost::Failed(why) => why,
                    }
                }
                Err(why) => why,
            };
            if !self.tell(ReaderState::Absent).await {
                return;
            }
            // The same reason again says nothing new.
            let text = why.to_string();
            if text != told {
                warn!(reader = %id, port = %self.reader.port.display(), why = %text, "the port cannot be used");
                told = text;
            }
            let pause = Duration::from_millis(backoff.next_full_ms());
            tokio::select! {
                () = sleep(pause) => {}
                () = self.cancel.cancelled() => return,
            }
        }
    }

    fn open(&self) -> io::Result<SerialStream> {
        let path = self.reader.port.to_string_lossy();
        let port = tokio_serial::new(path, self.reader.baud).open_native_async()?;
        // What came in while nobody listened is of the past.
        port.clear(ClearBuffer::Input)?;
        Ok(port)
    }

    async fn talk(&self, mut port: SerialStream, session: &mut Session) -> Lost {
        let device = self.device();
        let mut buffer = [0; 4_096];
        if !self.tell(ReaderState::Silent).await {
            return Lost::Closed;
        }
        loop {
            while let Some(bytes) = session.poll_write() {
                trace!(reader = %self.reader.id, bytes = %hex::encode(&bytes), "sent");
                match timeout(STUCK, port.write_all(&bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => return Lost::Failed(why),
                    Err(_) => {
                        return Lost::Failed(io::Error::new(ErrorKind::TimedOut, "the line takes no bytes"));
                    }
                }
            }
            let due = session.poll_timeout().map_or(1_000, |(at, _)| at.since(clock::uptime()));
            // Both branches are cancel-safe: a read that is dropped has taken nothing.
            tokio::select! {
                () = self.cancel.cancelled() => return Lost::Cancelled,
                read = timeout(Duration::from_millis(due), port.read(&mut buffer)) => match read {
                    // A line that hung up gives 0 bytes for ever.
                    Ok(Ok(0)) => return Lost::Failed(io::Error::new(ErrorKind::UnexpectedEof, "the line hung up")),
                    Ok(Ok(count)) => {
                        let now = clock::uptime();
                        let bytes = &buffer[..count];
                        if let Some(capture) = self.capture.as_ref().filter(|_| self.may_be_recorded()) {
                            capture.write(now, self.reader.id, bytes);
                        }
                        session.handle_bytes(bytes, now);
                    }
                    Ok(Err(why)) => return Lost::Failed(why),
                    Err(_) => session.handle_timeout(clock::uptime()),
                },
            }
            match self.pass_on(session).await {
                Passed::On => {}
                // Some adapters vanish without hanging up the line that is open to them.
                Passed::Silent if self.device() != device => {
                    return Lost::Failed(io::Error::new(
                        ErrorKind::NotFound,
                        "another device is there, or none",
                    ));
                }
                Passed::Silent => {}
                Passed::Nowhere => return Lost::Closed,
            }
        }
    }

    /// What a scanner sends may be a loyalty code, which must never reach the disk.
    fn may_be_recorded(&self) -> bool {
        self.reader.settings.protocol() != Protocol::Scanner
    }

    /// What the port's name leads to at this moment.
    fn device(&self) -> Option<u64> {
        std::fs::metadata(&self.reader.port).ok().map(|metadata| metadata.rdev())
    }

    /// Hands everything on that a session has.
    async fn pass_on(&self, session: &mut Session) -> Passed {
        let mut passed = Passed::On;
        while let Some(notice) = session.poll_notice() {
            let id = self.reader.id;
            match notice {
                Notice::Listening => {
                    info!(reader = %id, "the reader listens");
                    self.health.update(self.number, |health| health.fault = None);
                    if !self.tell(ReaderState::Listening).await {
                        return Passed::Nowhere;
                    }
                }
                Notice::Silent { why } => {
                    warn!(reader = %id, why, "the reader is silent");
                    if !self.tell(ReaderState::Silent).await {
                        return Passed::Nowhere;
                    }
                    passed = Passed::Silent;
                }
                Notice::Module(module) => {
                    info!(reader = %id, module, "the reader said what it is");
                    self.health.update(self.number, |health| health.module = Some(module));
                }
                Notice::Recovered => {
                    info!(reader = %id, "the reader reports no fault any more");
                    self.health.update(self.number, |health| health.fault = None);
                }
                Notice::Temperature(degrees) => {
                    debug!(reader = %id, degrees, "how warm the reader is");
                    self.health.update(self.number, |health| health.temperature_c = Some(degrees));
                }
                Notice::Fault(fault) => {
                    self.health.update(self.number, |health| {
                        // Some faults come with every cycle.
                        if health.fault.as_ref() != Some(&fault) {
                            warn!(reader = %id, fault, "the reader reports a fault");
                        }
                        health.fault = Some(fault);
                    });
                }
            }
        }
        let mut reads = 0;
        while let Some(read) = session.poll_read() {
            reads += 1;
            if !self.hand_over(Seen::Read { reader: self.number, read }).await {
                return Passed::Nowhere;
            }
        }
        while let Some(motion) = session.poll_motion() {
            reads += 1;
            if !self.hand_over(Seen::Motion { reader: self.number, motion }).await {
                return Passed::Nowhere;
            }
        }
        while let Some(scanned) = session.poll_scan() {
            reads += 1;
            let scan = match scanned.code {
                // Here it is sealed once central has a key to seal it to; until then it goes no further.
                Code::Loyalty(code) => code.seal(|_code| Scan::Loyalty),
                Code::Product(gtin) => Scan::Product(gtin),
                Code::Unknown => Scan::Unknown,
            };
            if !self.hand_over(Seen::Scan { reader: self.number, at: scanned.at, scan }).await {
                return Passed::Nowhere;
            }
        }
        self.health.update(self.number, |health| {
            health.reads += reads;
            health.garbage = session.garbage();
            health.bad_tags = session.bad_tags();
        });
        passed
    }

    async fn tell(&self, state: ReaderState) -> bool {
        debug!(reader = %self.reader.id, ?state, "reader");
        self.health.update(self.number, |health| health.state = state);
        self.hand_over(Seen::Reader { reader: self.number, state, at: clock::uptime() }).await
    }

    /// Hands one thing on, unless the agent shuts down while there is no room: inference may be held up by a
    /// disk that fails, for as long as that takes.
    async fn hand_over(&self, seen: Seen) -> bool {
        // Both branches are cancel-safe. What there is room for is handed on even at the end.
        tokio::select! {
            biased;
            sent = self.out.send(seen) => sent.is_ok(),
            () = self.cancel.cancelled() => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_agent_core::intake::{Radio, Region, Settings};
    use hangtag_protocol::id::ReaderId;

    #[tokio::test]
    async fn a_shutdown_is_not_held_up_by_a_full_channel() {
        let (out, seen) = mpsc::channel(1);
        out.try_send(Seen::Reader { reader: 0, state: ReaderState::Silent, at: Uptime(0) }).unwrap();
        let id = ReaderId::new("rail-a").unwrap();
        let settings = Settings::R200(Radio { region: Region::Eu, power_cdbm: 2_000, antennas: vec![1] });
        let reader = Reader { id, port: "/nonexistent/port".into(), baud: 115_200, settings };
        let cancel = CancellationToken::new();
        let health = Health::new([id].into_iter());
        let intake = Intake { number: 0, reader, out, health, capture: None, cancel: cancel.clone() };
        // The port is absent, and there is no room to say so.
        let task = tokio::spawn(intake.run());
        tokio::task::yield_now().await;
        cancel.cancel();
        task.await.unwrap();
        assert_eq!(seen.len(), 1);
    }
}
