//! A serial line that damages what passes: seeded, thus the same damage every time. Enters: whole
//! frames. Leaves: what arrives of them.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The line's state.
#[derive(Clone, Debug)]
pub struct Line {
    rng: ChaCha8Rng,
    faults: Faults,
}

/// How often a frame is damaged: shares from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Bytes that nobody sent stand before the frame.
    pub garbage: f64,
    /// One byte of the frame is missing.
    pub loss: f64,
    /// The frame ends early.
    pub truncation: f64,
}

impl Line {
    /// A line without faults.
    #[must_use]
    pub fn clean() -> Self {
        Self::new(0, Faults::default())
    }

    /// A line with faults.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), faults }
    }

    /// What arrives of a frame.
    #[must_use]
    pub fn carry(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        if frame.is_empty() || self.faults == Faults::default() {
            return frame;
        }
        if self.rng.random_bool(self.faults.truncation) {
            frame.truncate(self.rng.random_range(0..frame.len()));
        }
        if !frame.is_empty() && self.rng.random_bool(self.faults.loss) {
            frame.remove(self.rng.random_range(0..frame.len()));
        }
        if self.rng.random_bool(self.faults.garbage) {
            let bytes = self.rng.random_range(1..20);
            let mut garbage: Vec<u8> = (0..bytes).map(|_| self.rng.random()).collect();
            garbage.append(&mut frame);
            return garbage;
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damages_the_asked_share_and_always_alike() {
        let faults = Faults { garbage: 0.1, loss: 0.1, truncation: 0.1 };
        let run = |faults| {
            let mut line = Line::new(5, faults);
            (0..1000).map(|n| line.carry(vec![n as u8; 20])).collect::<Vec<_>>()
        };
        let arrived = run(faults);
        assert_eq!(arrived, run(faults));
        let damaged = arrived.iter().enumerate().filter(|(n, frame)| **frame != vec![*n as u8; 20]).count();
        assert!((200..340).contains(&damaged), "{damaged} of 1000");
        assert!(run(Faults::default()).iter().all(|frame| frame.len() == 20));
    }
}
