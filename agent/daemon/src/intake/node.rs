//! A line to a reader node. Enters: its bytes, and word from the spool of what is durable. Leaves: frames that were
//! taken, and acks. It acknowledges nothing for good before the spool has said so.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hangtag_agent_core::intake::node::{Link, Marks, Settings, Taken};
use hangtag_protocol::status::{NodeHealth, ReaderHealth};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_serial::SerialStream;

use super::{Intake, Lost, Passed, Seen, probing};
use crate::clock;
use crate::config::Setup;

/// How far reader nodes have come: what this process has taken, and what is durable. Cheap to clone; all clones
/// are one, because a node may be plugged into another port.
#[derive(Clone)]
pub(crate) struct Nodes {
    taken: Arc<Mutex<Marks>>,
    durable: watch::Receiver<Marks>,
}

impl Nodes {
    /// Begins with what is durable.
    pub(crate) fn new(marks: Marks, durable: watch::Receiver<Marks>) -> Self {
        Self { taken: Arc::new(Mutex::new(marks)), durable }
    }

    /// No node was ever heard, and nothing will become durable: nodes keep what they tell.
    pub(crate) fn none() -> Self {
        Self::new(Marks::default(), watch::Sender::new(Marks::default()).subscribe())
    }

    /// Takes bytes in, and remembers what was taken before anybody else can ask.
    fn handle_bytes(&self, link: &mut Link, bytes: &[u8]) -> Vec<Taken> {
        // A panic of another task fails the process before this matters.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        link.handle_bytes(bytes, &taken, &self.durable.borrow(), clock::uptime());
        let frames: Vec<Taken> = std::iter::from_fn(|| link.poll_taken()).collect();
        frames.iter().for_each(|frame| taken.take(frame));
        frames
    }
}

impl Intake {
    /// Talks to a node until its port is lost. Who it was is known then, and how it is not any more.
    pub(super) async fn talk_to_node(&self, port: SerialStream, baud: u32, settings: &Settings) -> Lost {
        let lost = self.talk_over(port, baud, settings).await;
        self.health.update(self.number, |health| {
            health.node = health.node.map(|node| NodeHealth { health: None, ..node });
        });
        lost
    }

    async fn talk_over(&self, mut port: SerialStream, baud: u32, settings: &Settings) -> Lost {
        let mut link = Link::new(Some(settings), clock::uptime());
        let mut durable = self.nodes.durable.clone();
        let device = self.device();
        let before = self.health.readers().get(self.number).map_or((0, 0, 0), told);
        let mut buffer = [0; 4_096];
        self.health.update(self.number, |health| health.protocol = Some(format!("node, {baud} baud")));
        loop {
            link.handle_timeout(clock::uptime());
            while let Some(bytes) = link.poll_write() {
                if let Err(why) = self.send(&mut port, &bytes).await {
                    return Lost::Failed(why);
                }
            }
            let due = link.poll_timeout().map_or(1_000, |at| at.since(clock::uptime()));
            let mut frames = Vec::new();
            // Every branch is cancel-safe: a read or a wait that is dropped has taken nothing.
            tokio::select! {
                () = self.cancel.cancelled() => return Lost::Cancelled,
                // The spool's end ends the process; until then nothing becomes durable.
                Ok(()) = durable.changed() => {
                    link.handle_durable(&durable.borrow_and_update(), clock::uptime());
                }
                read = timeout(Duration::from_millis(due), port.read(&mut buffer)) => match read {
                    Ok(Ok(0)) => return Lost::Failed(probing::hung_up()),
                    Ok(Ok(count)) => {
                        let bytes = &buffer[..count];
                        if let Some(capture) = &self.capture {
                            capture.write(clock::uptime(), self.reader.id, bytes);
                        }
                        frames = self.nodes.handle_bytes(&mut link, bytes);
                    }
                    Ok(Err(why)) => return Lost::Failed(why),
                    Err(_) => {}
                },
            }
            let mut reads = 0;
            while let Some(notice) = link.poll_notice() {
                match self.handle_notice(notice).await {
                    Passed::On | Passed::Stopped => {}
                    // A node whose module is silent is still there, and its sensors work.
                    Passed::Silent
                        if matches!(self.reader.setup, Setup::Auto(_))
                            && link.node().is_none_or(|node| node.health.is_none()) =>
                    {
                        return Lost::Silent;
                    }
                    Passed::Silent if self.device() != device => {
                        let gone = "another device is there, or none";
                        return Lost::Failed(io::Error::new(ErrorKind::NotFound, gone));
                    }
                    Passed::Silent => {}
                    Passed::Nowhere => return Lost::Closed,
                }
            }
            for taken in frames {
                reads += taken.count;
                if !self.hand_over(Seen::Frame { reader: self.number, taken }).await {
                    return Lost::Closed;
                }
            }
            self.health.update(self.number, |health| {
                health.reads += reads;
                health.garbage = before.0 + link.garbage();
                health.bad_tags = before.1 + link.unknown();
                health.lost_reads = before.2 + link.lost();
                health.node = link.node().or(health.node);
            });
        }
    }
}

/// What was counted before the line was opened.
fn told(health: &ReaderHealth) -> (u64, u64, u64) {
    (health.garbage, health.bad_tags, health.lost_reads)
}
