//! What the writer has done since the program started, for monitors. Enters: what each transaction came to, and how long it
//! took. Leaves: sums of batches, and how the times are spread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hangtag_metrics::sheet::Histogram;

use super::sums::Sums;

/// Upper bounds of the times, in seconds: from what a fast disk takes to what a broken one does.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What the writer has done. All clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    sums: Arc<Mutex<Sums>>,
    times: Histogram,
}

impl Work {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { sums: Arc::default(), times: Histogram::new(BOUNDS) }
    }

    /// A group of messages is on stable storage.
    pub(super) fn committed(&self, sums: &Sums, took: Duration) {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner) += *sums;
        self.times.observe(took.as_secs_f64());
    }

    /// What became of batches.
    pub(crate) fn sums(&self) -> Sums {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long transactions took, in seconds.
    pub(crate) fn times(&self) -> &Histogram {
        &self.times
    }
}
