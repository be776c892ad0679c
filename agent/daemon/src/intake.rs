//! Serial ports. Enters: bytes of a reader. Leaves: reads, and what the reader is doing. One task per
//! port; a port that fails or vanishes is opened again, for as long as it takes. Where the configuration
//! leaves it open which reader is there, the port is probed first, whenever it was opened. Reader nodes of our
//! own keep what they told until it is acknowledged (`node`). Readers that share a line have one task (`shared`).

mod node;
mod partner;
pub(crate) mod port;
pub(crate) mod probing;
mod scan;
mod seen;
mod shared;
mod told;

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use hangtag_agent_core::backoff::Backoff;
use hangtag_agent_core::intake::{Protocol, Session};
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::key::PublicKey;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::SerialStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};
use zeroize::{Zeroize as _, Zeroizing};

use crate::capture::Capture;
use crate::clock;
use crate::config::{Reader, Setup};
use crate::health::Health;
pub(crate) use node::Nodes;
use partner::{Partner, Reading};
pub(crate) use seen::Seen;
pub(crate) use shared::start;

/// A line that does not take a command within this time is stuck.
const STUCK: Duration = Duration::from_secs(1);
/// A port that was open for so long was really there.
const LIVED: Duration = Duration::from_secs(3);
/// Pauses before a port is opened again, in milliseconds: first and longest.
const REOPEN_MS: (u64, u64) = (100, 2_000);
/// The same before a port is probed again at which no reader was found or the one that was found fell silent.
const PROBE_MS: (u64, u64) = (500, 10_000);
/// How often it is looked meanwhile whether something was plugged in.
const LOOK: Duration = Duration::from_millis(100);
/// The speed at which a port is opened that is then probed, in baud.
const ANY_BAUD: u32 = 115_200;

/// What the task of a reader works with.
pub(crate) struct Intake {
    /// The reader's number in the layout.
    pub(crate) number: usize,
    pub(crate) reader: Reader,
    /// To which loyalty codes are sealed.
    pub(crate) key: Option<PublicKey>,
    pub(crate) out: mpsc::Sender<Seen>,
    pub(crate) health: Health,
    pub(crate) capture: Option<Capture>,
    pub(crate) nodes: Nodes,
    /// Whether it is time to read.
    pub(crate) hours: watch::Receiver<bool>,
    pub(crate) cancel: CancellationToken,
}

/// Why a port is given up.
enum Lost {
    /// The agent shuts down.
    Cancelled,
    /// The port is gone or failed.
    Failed(io::Error),
    /// The reader that was found fell silent: another may be there.
    Silent,
    /// No reader was found, or one that cannot be set up as the configuration is.
    Unknown(String),
    /// The reader was made to stop: it is not time to read.
    Off,
    /// Inference is gone, or full at the end.
    Closed,
}

/// What came of handing on.
enum Passed {
    /// Everything was taken.
    On,
    /// The same, and the reader fell silent.
    Silent,
    /// The same, and the reader was made to stop.
    Stopped,
    /// Inference is gone, or full at the end.
    Nowhere,
}

impl Intake {
    /// Reads until it is cancelled.
    pub(crate) async fn run(self) {
        let mut reopen = Backoff::new(REOPEN_MS.0, REOPEN_MS.1);
        let mut probe_again = Backoff::new(PROBE_MS.0, PROBE_MS.1);
        let mut partner = None;
        let (mut told, mut was_off) = (String::new(), false);
        let id = self.reader.id;
        loop {
            // Off hours the port is used once, to stop who an agent before this one may have left reading.
            if (*self.hours.borrow() || was_off) && !self.wait_for_hours().await {
                return;
            }
            let opened = Instant::now();
            let lost = match port::open(&self.reader.port, self.reader.baud().unwrap_or(ANY_BAUD)) {
                Ok(port) => {
                    if told.is_empty() {
                        info!(reader = %id, port = %self.reader.port.display(), "opened the port");
                    }
                    self.use_port(port, &mut partner).await
                }
                Err(why) => Lost::Failed(why),
            };
            // A port that opens and fails at once is as good as none.
            if opened.elapsed() > LIVED {
                reopen.reset();
                if matches!(lost, Lost::Failed(_) | Lost::Silent) {
                    told.clear();
                    probe_again.reset();
                }
            }
            // A node reads by itself, and keeps what nobody takes.
            let is_node =
                matches!(self.reader.setup, Setup::Node { .. }) || matches!(partner, Some(Partner::Node(..)));
            was_off = !is_node && !*self.hours.borrow();
            let (pause_ms, text) = match lost {
                Lost::Cancelled | Lost::Closed => return,
                Lost::Off => continue,
                // Nobody is missed.
                Lost::Failed(_) | Lost::Silent | Lost::Unknown(_) if was_off => continue,
                Lost::Silent => (probe_again.next_full_ms(), String::new()),
                Lost::Failed(why) => {
                    if !self.tell(ReaderState::Absent).await {
                        return;
                    }
                    (reopen.next_full_ms(), why.to_string())
                }
                Lost::Unknown(why) => {
                    self.health.update(self.number, |health| health.fault = Some(why.clone()));
                    if !self.tell(ReaderState::Silent).await {
                        return;
                    }
                    (probe_again.next_full_ms(), why)
                }
            };
            // The same reason again says nothing new.
            if !text.is_empty() && text != told {
                warn!(reader = %id, port = %self.reader.port.display(), why = %text, "the port cannot be used");
                told = text;
            }
            tokio::select! {
                () = self.pause(Duration::from_millis(pause_ms)) => {}
                () = self.cancel.cancelled() => return,
            }
        }
    }

    /// Waits for a while, or until something else is plugged in.
    async fn pause(&self, pause: Duration) {
        let (end, device) = (Instant::now() + pause, self.device());
        loop {
            let left = end.saturating_duration_since(Instant::now());
            sleep(left.min(LOOK)).await;
            let there = self.device();
            if left <= LOOK || there != device && there.is_some() {
                return;
            }
        }
    }

    /// Talks to the reader at a port that was just opened.
    async fn use_port(&self, mut port: SerialStream, partner: &mut Option<Partner>) -> Lost {
        if !self.tell(ReaderState::Silent).await {
            return Lost::Closed;
        }
        // It may hold a loyalty code.
        let mut heard = Zeroizing::new(Vec::new());
        match &self.reader.setup {
            Setup::Node { baud, settings, .. } => return self.talk_to_node(port, *baud, settings).await,
            Setup::Stated { baud, settings } => {
                self.meet(settings.clone(), *baud, partner);
            }
            Setup::Auto(wishes) => {
                // Cancel-safe: the port is given up.
                let found = tokio::select! {
                    found = self.find_out(&mut port, wishes, partner) => found,
                    () = self.cancel.cancelled() => return Lost::Cancelled,
                };
                match found {
                    Ok(bytes) => heard = bytes,
                    Err(lost) => return lost,
                }
            }
        }
        match partner {
            Some(Partner::Reader(reading)) => self.talk(port, reading, &heard).await,
            Some(Partner::Node(baud, settings)) => self.talk_to_node(port, *baud, settings).await,
            None => Lost::Unknown("no reader".into()),
        }
    }

    async fn talk(&self, mut port: SerialStream, partner: &mut Reading, heard: &[u8]) -> Lost {
        let device = self.device();
        let recorded = may_be_recorded(partner.settings.protocol());
        let session = &mut partner.session;
        let mut buffer = [0; 4_096];
        let (mut hours, mut stops) = (self.hours.clone(), false);
        session.handle_bytes(heard, clock::uptime());
        loop {
            match self.pass_on(session).await {
                Passed::On => {}
                Passed::Stopped => return Lost::Off,
                // It is being made to stop, and must have the time to.
                Passed::Silent if stops => {}
                Passed::Silent if matches!(self.reader.setup, Setup::Auto(_)) => return Lost::Silent,
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
            while let Some(bytes) = session.poll_write() {
                if let Err(why) = self.send(&mut port, &bytes).await {
                    return Lost::Failed(why);
                }
            }
            let due = session.poll_timeout().map_or(1_000, |(at, _)| at.since(clock::uptime()));
            // All branches are cancel-safe: a read or a wait that is dropped has taken nothing.
            tokio::select! {
                () = self.cancel.cancelled() => return Lost::Cancelled,
                Ok(_) = hours.wait_for(|reads| !reads), if !stops => {
                    stops = true;
                    session.handle_stop(clock::uptime());
                }
                read = timeout(Duration::from_millis(due), port.read(&mut buffer)) => match read {
                    Ok(Ok(0)) => return Lost::Failed(probing::hung_up()),
                    Ok(Ok(count)) => {
                        let now = clock::uptime();
                        let bytes = &buffer[..count];
                        if let Some(capture) = self.capture.as_ref().filter(|_| recorded) {
                            capture.write(now, self.reader.id, bytes);
                        }
                        session.handle_bytes(bytes, now);
                        if !recorded {
                            buffer[..count].zeroize();
                        }
                    }
                    Ok(Err(why)) => return Lost::Failed(why),
                    Err(_) => {}
                },
            }
            // Also when bytes never stop coming: those of a wrong speed must not pass for a sign of life.
            let now = clock::uptime();
            if session.poll_timeout().is_some_and(|(at, _)| now >= at) {
                session.handle_timeout(now);
            }
        }
    }

    async fn send(&self, port: &mut SerialStream, bytes: &[u8]) -> io::Result<()> {
        trace!(reader = %self.reader.id, bytes = %hex::encode(bytes), "sent");
        probing::write(port, bytes).await
    }

    /// What the port's name leads to at this moment.
    fn device(&self) -> Option<u64> {
        std::fs::metadata(&self.reader.port).ok().map(|metadata| metadata.rdev())
    }

    /// Hands everything on that a session has.
    async fn pass_on(&self, session: &mut Session) -> Passed {
        let mut passed = Passed::On;
        while let Some(notice) = session.poll_notice() {
            match self.handle_notice(notice).await {
                Passed::On => {}
                Passed::Silent => passed = Passed::Silent,
                Passed::Stopped => passed = Passed::Stopped,
                Passed::Nowhere => return Passed::Nowhere,
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
            self.health.heard(&motion);
            if !self.hand_over(Seen::Motion { reader: self.number, motion }).await {
                return Passed::Nowhere;
            }
        }
        while let Some(scanned) = session.poll_scan() {
            reads += 1;
            let code = scan::close(scanned.code, self.key.as_ref(), self.reader.id);
            if !self.hand_over(Seen::Scan { reader: self.number, at: scanned.at, code }).await {
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

/// What a scanner sends may be a loyalty code, which must never reach the disk.
fn may_be_recorded(protocol: Protocol) -> bool {
    protocol != Protocol::Scanner
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_agent_core::intake::{Radio, Region, Settings};
    use hangtag_protocol::clock::Uptime;
    use hangtag_protocol::id::ReaderId;

    #[tokio::test]
    async fn a_shutdown_is_not_held_up_by_a_full_channel() {
        let (out, seen) = mpsc::channel(1);
        out.try_send(Seen::Reader { reader: 0, state: ReaderState::Silent, at: Uptime(0) }).unwrap();
        let id = ReaderId::new("rail-a").unwrap();
        let settings = Settings::R200(Radio { region: Region::Eu, power_cdbm: 2_000, antennas: vec![1] });
        let setup = Setup::Stated { baud: 115_200, settings };
        let reader = Reader { id, port: "/nonexistent/port".into(), setup };
        let cancel = CancellationToken::new();
        let health = Health::new([id].into_iter());
        let intake = Intake {
            number: 0,
            reader,
            key: None,
            out,
            health,
            capture: None,
            nodes: Nodes::none(),
            hours: watch::channel(true).1,
            cancel: cancel.clone(),
        };
        // The port is absent, and there is no room to say so.
        let task = tokio::spawn(intake.run());
        tokio::task::yield_now().await;
        cancel.cancel();
        task.await.unwrap();
        assert_eq!(seen.len(), 1);
    }
}
