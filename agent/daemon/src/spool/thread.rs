//! The spool's thread. Enters: events, requests, signals, through channels. Leaves: what the spool makes of them,
//! in turn. It decides when what waits is written, and ends on time while the disk fails.

use std::thread;
use std::time::Duration;

use hangtag_service::Heart;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Accept, RETRY, Request, Spool};

/// How long the last events may take on shutdown while the disk fails.
const GIVE_UP: Duration = Duration::from_secs(3);

/// What the spool's thread is told, and tells, beside its channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// The agent ends.
    pub(crate) stopping: CancellationToken,
    /// The last event was accepted.
    pub(crate) finished: CancellationToken,
    /// A new epoch began.
    pub(crate) start_over: CancellationToken,
}

impl Spool {
    /// Starts the thread. When `accept` closes it makes the last events durable and cancels `finished`;
    /// it ends when `requests` has closed too. It cancels `start_over` when a new epoch began: then
    /// everything that numbers events must begin again with what the spool holds. Once `stopping` is
    /// cancelled nothing waits for long for a disk that fails.
    pub(crate) fn start(
        mut self,
        runtime: Handle,
        mut accept: mpsc::Receiver<Accept>,
        mut requests: mpsc::Receiver<Request>,
        Signals { stopping, finished, start_over }: Signals,
        mut heart: Heart,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("spool".into()).spawn(move || {
            let mut waiting: Vec<Accept> = Vec::new();
            let mut due: Option<Instant> = None;
            let most = self.settings.commit_events;
            let mut give_up: Option<Instant> = None;
            let (mut accepting, mut asked, mut closed) = (true, true, false);
            while accepting || asked {
                let count: usize = waiting.iter().map(|accept| accept.events.len()).sum();
                // Every branch is cancel-safe: receiving from a channel, and a timer.
                let next = runtime.block_on(async {
                    tokio::select! {
                        accepted = accept.recv(), if !closed && count < most => Next::Accept(accepted),
                        request = requests.recv(), if asked => Next::Request(request),
                        () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Next::Commit,
                        () = sleep_until(self.look_at.unwrap_or_else(Instant::now)), if self.look_at.is_some() => Next::Look,
                        () = heart.beat() => Next::Beat,
                        () = stopping.cancelled(), if self.fault.is_some() && give_up.is_none() => Next::GiveUp,
                    }
                });
                match next {
                    Next::Beat => continue,
                    Next::Accept(Some(_)) if self.over => continue,
                    Next::Accept(Some(accepted)) => {
                        let full = count + accepted.events.len() >= most || self.settings.commit.is_zero();
                        waiting.push(accepted);
                        if !full || self.fault.is_some() {
                            let soon = Instant::now() + self.settings.commit;
                            due = Some(due.map_or(soon, |due| due.min(soon)));
                            continue;
                        }
                        // At once: a timer would round up to the next millisecond.
                        self.accept(&mut waiting);
                        due = (!waiting.is_empty()).then(|| Instant::now() + RETRY);
                    }
                    Next::Request(Some(Request::Fork { epoch, from })) => {
                        // What waits belongs to the old numbers, and moves with them.
                        self.accept(&mut waiting);
                        self.fork(epoch, from);
                    }
                    Next::Request(Some(request)) => self.handle_request(request),
                    Next::Request(None) => asked = false,
                    Next::Accept(None) => {
                        closed = true;
                        give_up = give_up.or(Some(Instant::now() + GIVE_UP));
                    }
                    Next::Look => {
                        self.look_at = None;
                        self.tell();
                    }
                    Next::GiveUp => give_up = Some(Instant::now() + GIVE_UP),
                    Next::Commit => {
                        self.accept(&mut waiting);
                        due = (!waiting.is_empty()).then(|| Instant::now() + RETRY);
                    }
                }
                if self.over {
                    start_over.cancel();
                    (waiting, due) = (Vec::new(), None);
                }
                if let Some(end) = give_up.filter(|_| accepting) {
                    self.accept(&mut waiting);
                    let over = Instant::now() >= end;
                    if over && !waiting.is_empty() {
                        error!(why = self.fault, "the last events could not be kept: they were never accepted");
                    }
                    due = (!waiting.is_empty()).then(|| Instant::now() + RETRY);
                    if over || (closed && waiting.is_empty()) {
                        accept.close();
                        (accepting, closed, due) = (false, true, None);
                        waiting.clear();
                        finished.cancel();
                    }
                }
            }
            self.close();
            info!("the spool is closed");
        })
    }
}

enum Next {
    Accept(Option<Accept>),
    Request(Option<Request>),
    Commit,
    Look,
    GiveUp,
    Beat,
}
