//! One line with several readers, which are asked in turn. Enters: bytes of the line. Leaves: what each reader read,
//! and what it is doing: a reader that does not answer is silent, and the others go on.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hangtag_agent_core::backoff::Backoff;
use hangtag_agent_core::intake::{Settings, Shared};
use hangtag_protocol::event::ReaderState;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_serial::SerialStream;
use tracing::{info, warn};

use super::{ANY_BAUD, Intake, LIVED, Lost, Passed, REOPEN_MS, port, probing};
use crate::clock;
use crate::config::Setup;

/// Starts a task for each line of some readers.
pub(crate) fn start(intakes: impl IntoIterator<Item = Intake>) -> JoinSet<()> {
    let mut lines: BTreeMap<PathBuf, Vec<Intake>> = BTreeMap::new();
    for intake in intakes {
        lines.entry(intake.reader.port.clone()).or_default().push(intake);
    }
    let mut tasks = JoinSet::new();
    for mut line in lines.into_values() {
        match line.pop() {
            Some(alone) if line.is_empty() => tasks.spawn(alone.run()),
            last => tasks.spawn(SharedLine(line.into_iter().chain(last).collect()).run()),
        };
    }
    tasks
}

/// The readers of one line, whose ports, speeds and protocols are the same.
struct SharedLine(Vec<Intake>);

impl SharedLine {
    /// Reads until it is cancelled.
    async fn run(self) {
        let Some(first) = self.0.first() else { return };
        let (path, baud) = (&first.reader.port, first.reader.baud().unwrap_or(ANY_BAUD));
        let mut reopen = Backoff::new(REOPEN_MS.0, REOPEN_MS.1);
        let (mut shared, mut told) = (None, String::new());
        loop {
            if !self.wait_for_hours().await {
                return;
            }
            let opened = Instant::now();
            let lost = match port::open(path, baud) {
                Ok(port) => {
                    info!(port = %path.display(), readers = self.0.len(), "opened the port of several readers");
                    self.talk(port, &mut shared).await
                }
                Err(why) => Lost::Failed(why),
            };
            if opened.elapsed() > LIVED {
                reopen.reset();
                told.clear();
            }
            let why = match lost {
                Lost::Cancelled | Lost::Closed => return,
                Lost::Off => continue,
                Lost::Failed(why) => why.to_string(),
                Lost::Unknown(why) => why,
                Lost::Silent => String::new(),
            };
            if !self.tell(ReaderState::Absent).await {
                return;
            }
            // The same reason again says nothing new.
            if why != told {
                warn!(port = %path.display(), why, "the port cannot be used");
                told = why;
            }
            tokio::select! {
                () = first.pause(Duration::from_millis(reopen.next_full_ms())) => {}
                () = first.cancel.cancelled() => return,
            }
        }
    }

    async fn talk(&self, mut port: SerialStream, before: &mut Option<Shared>) -> Lost {
        let Some(first) = self.0.first() else { return Lost::Closed };
        if !self.tell(ReaderState::Silent).await {
            return Lost::Closed;
        }
        let now = clock::uptime();
        let shared = match before {
            Some(shared) => {
                shared.handle_reopened(now);
                shared
            }
            None => before.insert(Shared::new(&self.settings(), now)),
        };
        for intake in &self.0 {
            let protocol =
                intake.reader.setup.address().map(|(baud, at)| format!("chafon, {baud} baud, address {at}"));
            intake.health.update(intake.number, |health| health.protocol = protocol);
        }
        let device = first.device();
        let (mut buffer, mut hours) = ([0; 4_096], first.hours.clone());
        loop {
            let mut any_silent = false;
            for (number, intake) in self.0.iter().enumerate() {
                match intake.pass_on(shared.session(number)).await {
                    Passed::On | Passed::Stopped => {}
                    Passed::Silent => any_silent = true,
                    Passed::Nowhere => return Lost::Closed,
                }
            }
            // Some adapters vanish without hanging up the line that is open to them.
            if any_silent && first.device() != device {
                return Lost::Failed(io::Error::new(
                    io::ErrorKind::NotFound,
                    "another device is there, or none",
                ));
            }
            while let Some(bytes) = shared.poll_write(clock::uptime()) {
                if let Err(why) = first.send(&mut port, &bytes).await {
                    return Lost::Failed(why);
                }
            }
            let due = shared.poll_timeout().map_or(1_000, |at| at.since(clock::uptime()));
            // All branches are cancel-safe: a read or a wait that is dropped has taken nothing.
            tokio::select! {
                () = first.cancel.cancelled() => return Lost::Cancelled,
                // Who is not asked stops when the inventory that runs is over.
                Ok(_) = hours.wait_for(|reads| !reads) => return Lost::Off,
                read = timeout(Duration::from_millis(due), port.read(&mut buffer)) => match read {
                    Ok(Ok(0)) => return Lost::Failed(probing::hung_up()),
                    Ok(Ok(count)) => {
                        let (now, bytes) = (clock::uptime(), &buffer[..count]);
                        for intake in &self.0 {
                            // Each leaves out what others said, in a replay too.
                            if let Some(capture) = &intake.capture {
                                capture.write(now, intake.reader.id, bytes);
                            }
                        }
                        shared.handle_bytes(bytes, now);
                    }
                    Ok(Err(why)) => return Lost::Failed(why),
                    Err(_) => {}
                },
            }
            shared.handle_timeout(clock::uptime());
        }
    }

    fn settings(&self) -> Vec<Settings> {
        let stated = |intake: &Intake| match &intake.reader.setup {
            Setup::Stated { settings, .. } => Some(settings.clone()),
            Setup::Node { .. } | Setup::Auto(_) => None,
        };
        // Only readers with stated addresses share a line.
        self.0.iter().filter_map(stated).collect()
    }

    /// Waits until it is time to read; false when the agent ends before.
    async fn wait_for_hours(&self) -> bool {
        let Some(first) = self.0.first() else { return false };
        if !*first.hours.borrow() && !self.tell(ReaderState::Off).await {
            return false;
        }
        first.wait_for_hours().await
    }

    async fn tell(&self, state: ReaderState) -> bool {
        for intake in &self.0 {
            if !intake.tell(state).await {
                return false;
            }
        }
        true
    }
}
