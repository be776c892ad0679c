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

/// What the thread is told.
enum Word {
    Begins,
    Ends,
    /// No more calls come.
    Over,
}

/// The thread that watches the calls. It ends when this goes, which waits for its flushes.
pub(super) struct Rouser {
    calls: Sender<Word>,
    thread: Option<JoinHandle<()>>,
}

impl Rouser {
    pub(super) fn start(db: sled::Db) -> io::Result<Self> {
        let (calls, told) = channel();
        let thread = thread::Builder::new().name("spool-rouser".into()).spawn(move || run(&db, &told))?;
        Ok(Self { calls, thread: Some(thread) })
    }

    /// Makes a call that may wait; it may panic.
    pub(super) fn watch<T>(&self, call: impl FnOnce() -> T) -> T {
        let _watch = self.begin();
        call()
    }

    /// Watches everything until the end of what is returned.
    pub(super) fn begin(&self) -> Watch {
        // A thread that is gone cannot help; the call goes on without it.
        let _ = self.calls.send(Word::Begins);
        Watch(self.calls.clone())
    }
}

/// Calls are watched as long as there is one.
pub(super) struct Watch(Sender<Word>);

impl Drop for Watch {
    fn drop(&mut self) {
        // Nor is it missed when it is over.
        let _ = self.0.send(Word::Ends);
    }
}

impl Drop for Rouser {
    fn drop(&mut self) {
        // Watches may outlast the store.
        let _ = self.calls.send(Word::Over);
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            warn!("the thread that wakes the store panicked");
        }
    }
}

fn run(db: &sled::Db, told: &Receiver<Word>) {
    let mut flushes = Vec::new();
    let mut watches = 0usize;
    let mut patience = PATIENCE.0;
    loop {
        let news = if watches == 0 {
            told.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            told.recv_timeout(patience)
        };
        match news {
            Ok(Word::Over) => break,
            Ok(word) => {
                watches = if matches!(word, Word::Begins) { watches + 1 } else { watches.saturating_sub(1) };
                patience = PATIENCE.0;
                flushes.retain(|flush: &JoinHandle<()>| !flush.is_finished());
            }
            Err(RecvTimeoutError::Timeout) => {
                warn!("the store has not answered for {patience:?}: the disk is slow, or fails");
                let db = db.clone();
                // Its outcome is that of the call.
                flushes.extend(thread::Builder::new().spawn(move || drop(db.flush())));
                patience = (patience * 2).min(PATIENCE.1);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for flush in flushes {
        // sled may have panicked there as anywhere.
        let _ = flush.join();
    }
}
