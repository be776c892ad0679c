//! Wakes a store that waits for ever. When a write fails that sled 0.34.7 left to one of its own threads, it
//! notes the error and wakes nobody (`exit_reservation` in its pagecache/logger.rs); who waits for that write
//! goes on waiting. Any other flush meets the error and wakes all. Enters: a call that may wait. Leaves: its
//! result.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::warn;

/// A call that takes longer than this may have been forgotten. Each further flush waits twice as long, up to
/// the second figure: while the disk is only slow, they wait as the call does.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Whether a call has just begun.
type Begun = bool;

/// The thread that watches the calls. It ends when this goes, which waits for its flushes.
pub(super) struct Rouser {
    calls: Option<Sender<Begun>>,
    thread: Option<JoinHandle<()>>,
}

impl Rouser {
    pub(super) fn start(db: sled::Db) -> io::Result<Self> {
        let (calls, told) = channel();
        let thread = thread::Builder::new().name("spool-rouser".into()).spawn(move || run(&db, &told))?;
        Ok(Self { calls: Some(calls), thread: Some(thread) })
    }

    /// Makes a call that may wait; it may panic.
    pub(super) fn watch<T>(&self, call: impl FnOnce() -> T) -> T {
        struct Ends<'a>(&'a Rouser);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.tell(false);
            }
        }
        self.tell(true);
        let _ends = Ends(self);
        call()
    }

    fn tell(&self, begun: Begun) {
        // A thread that is gone cannot help; the call goes on without it.
        let _ = self.calls.as_ref().map(|calls| calls.send(begun));
    }
}

impl Drop for Rouser {
    fn drop(&mut self) {
        self.calls = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            warn!("the thread that wakes the store panicked");
        }
    }
}

fn run(db: &sled::Db, told: &Receiver<Begun>) {
    let mut flushes = Vec::new();
    while told.recv().is_ok() {
        let mut patience = PATIENCE.0;
        while let Err(RecvTimeoutError::Timeout) = told.recv_timeout(patience) {
            warn!("the store has not answered for {patience:?}: the disk is slow, or fails");
            let db = db.clone();
            // Its outcome is that of the call.
            flushes.extend(thread::Builder::new().spawn(move || drop(db.flush())));
            patience = (patience * 2).min(PATIENCE.1);
        }
        flushes.retain(|flush: &JoinHandle<()>| !flush.is_finished());
    }
    for flush in flushes {
        // sled may have panicked there as anywhere.
        let _ = flush.join();
    }
}
