//! What the agent knows of its own health, gathered from all stages. Enters: what stages notice.
//! Leaves: the status message, and the answers of the local socket. It decides nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::ReaderId;
use hangtag_protocol::status::ReaderHealth;

/// The health of the readers. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Health(Arc<Mutex<Vec<ReaderHealth>>>);

impl Health {
    /// Starts with readers of which nothing is known.
    pub(crate) fn new(readers: impl Iterator<Item = ReaderId>) -> Self {
        let unknown = |id| ReaderHealth {
            id,
            state: ReaderState::Absent,
            protocol: None,
            module: None,
            reads: 0,
            garbage: 0,
            bad_tags: 0,
            fault: None,
            temperature_c: None,
        };
        Self(Arc::new(Mutex::new(readers.map(unknown).collect())))
    }

    /// Changes what is known of one reader.
    pub(crate) fn update(&self, reader: usize, change: impl FnOnce(&mut ReaderHealth)) {
        if let Some(health) = self.lock().get_mut(reader) {
            change(health);
        }
    }

    /// What is known of all readers.
    pub(crate) fn readers(&self) -> Vec<ReaderHealth> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ReaderHealth>> {
        // Plain counters and texts: a panic of another stage leaves nothing half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
