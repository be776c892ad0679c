//! Records in a fixed number of bytes, first in, first out: what a node keeps until its gateway has it.
//! It never allocates and never drops anything by itself.
//!
//! ```text
//! record   0  1  kind
//!          1  1  length of the payload, 0 to 240
//!          2  n  payload
//! ```
//!
//! Records lie one behind the other, and go on at the start of the bytes when they meet the end.

use arrayvec::ArrayVec;

use super::frame::MAX_PAYLOAD;

const HEADER: usize = 2;

/// The payload of a record.
pub type Payload = ArrayVec<u8, MAX_PAYLOAD>;

/// Records in `BYTES` bytes.
#[derive(Clone, Debug)]
pub struct Ring<const BYTES: usize> {
    bytes: [u8; BYTES],
    head: usize,
    used: usize,
}

impl<const BYTES: usize> Default for Ring<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize> Ring<BYTES> {
    /// An empty ring. Fails to compile when not even one record of any length fits.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(BYTES >= HEADER + MAX_PAYLOAD, "a ring needs room for one record") };
        Self { bytes: [0; BYTES], head: 0, used: 0 }
    }

    /// How many bytes its records take.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether a record with a payload of this length fits.
    #[must_use]
    pub fn has_room(&self, length: usize) -> bool {
        self.used + HEADER + length <= BYTES
    }

    /// Adds a record, if it fits; says whether it did. Payloads have at most [`MAX_PAYLOAD`] bytes.
    #[must_use = "what does not fit is not kept"]
    pub fn push(&mut self, kind: u8, payload: &[u8]) -> bool {
        let Some(length) = u8::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD) else {
            return false;
        };
        if !self.has_room(payload.len()) {
            return false;
        }
        for byte in [kind, length].iter().chain(payload) {
            let at = (self.head + self.used) % BYTES;
            self.bytes[at] = *byte;
            self.used += 1;
        }
        true
    }

    /// The kind and payload of the record that begins so many bytes behind the first, and where the next one
    /// begins. `None` at the end.
    #[must_use]
    pub fn record(&self, at: usize) -> Option<(u8, Payload, usize)> {
        if at >= self.used {
            return None;
        }
        let byte = |n: usize| self.bytes[(self.head + at + n) % BYTES];
        let length = usize::from(byte(1));
        Some((byte(0), (HEADER..HEADER + length).map(byte).collect(), at + HEADER + length))
    }

    /// Removes the first record; returns how many bytes it took, 0 when there is none.
    pub fn pop(&mut self) -> usize {
        if self.is_empty() {
            return 0;
        }
        let length = HEADER + usize::from(self.bytes[(self.head + 1) % BYTES]);
        self.head = (self.head + length) % BYTES;
        self.used -= length;
        length
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    proptest! {
        /// Whatever is pushed and popped, the ring holds what a queue would, and refuses only what has no room.
        #[test]
        fn a_ring_is_a_queue(
            steps in prop::collection::vec((any::<bool>(), any::<u8>(), 0usize..=MAX_PAYLOAD), 0..300),
        ) {
            let mut ring = Ring::<600>::new();
            let mut plain: VecDeque<(u8, Vec<u8>)> = VecDeque::new();
            for (push, byte, length) in steps {
                if push {
                    let payload = std::vec![byte; length];
                    let taken: usize = plain.iter().map(|record| record.1.len() + 2).sum();
                    prop_assert_eq!(ring.used(), taken);
                    prop_assert_eq!(ring.push(byte, &payload), taken + length + 2 <= 600);
                    if taken + length + 2 <= 600 { plain.push_back((byte, payload)); }
                } else {
                    let gone = plain.pop_front().map_or(0, |record| record.1.len() + 2);
                    prop_assert_eq!(ring.pop(), gone);
                }
                let mut at = 0;
                let mut held = Vec::new();
                while let Some((kind, payload, next)) = ring.record(at) {
                    held.push((kind, payload.to_vec()));
                    at = next;
                }
                prop_assert_eq!(&held, &Vec::from(plain.clone()));
            }
        }
    }
}
