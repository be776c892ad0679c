//! What came in at a port since its speed was set. Enters: bytes. Leaves: what no single frame tells. It may hold a
//! loyalty code: it has no form in which it can be shown, and is wiped.

use alloc::vec::Vec;

use zeroize::{Zeroize as _, Zeroizing};

use super::super::{Scan, r200};

/// What is kept of what came in at one speed, in bytes.
const KEPT: usize = 16_384;
/// A line of fewer characters may be noise.
const SHORTEST_CODE: usize = 4;

pub(super) struct Heard {
    // Never grows: what it held would be left behind.
    bytes: Zeroizing<Vec<u8>>,
    count: u64,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(KEPT)), count: 0 }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Another speed was set: what came in before means nothing at it.
    pub(super) fn begin_anew(&mut self) {
        self.bytes.zeroize();
    }

    /// Bytes that came in at all speeds.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn take_bytes(&mut self) -> Zeroizing<Vec<u8>> {
        core::mem::take(&mut self.bytes)
    }

    /// How an R200 that was heard frames what it says.
    pub(super) fn flavour(&self) -> r200::Flavour {
        let is_frame = |start: &usize| matches!(r200::scan(&self.bytes[*start..]), Scan::Frame(_));
        match (0..self.bytes.len()).find(is_frame).map(|start| self.bytes[start]) {
            Some(0xAA) => r200::Flavour::Rare,
            Some(_) | None => r200::Flavour::Usual,
        }
    }

    /// Whether a line came in that may be a code. Lines of satellite receivers and of consoles are none.
    pub(super) fn has_code(&self) -> bool {
        // In the frames of readers a line may stand by accident.
        if !self.bytes.is_ascii() {
            return false;
        }
        let mut lines = self.bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
        // What follows the last end is no line yet.
        lines.next_back();
        lines.any(|line| {
            let code = line.trim_ascii();
            let text = code.iter().filter(|byte| byte.is_ascii_graphic()).count();
            text >= SHORTEST_CODE
                && code.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_control())
                && !code.starts_with(b"$")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_stays_in_one_place_that_is_wiped() {
        let mut heard = Heard::new();
        let place = heard.bytes.as_ptr();
        for _ in 0..3 {
            for _ in 0..KEPT / 100 + 2 {
                heard.take(&[b'7'; 100]);
            }
            assert_eq!((heard.bytes.len(), heard.bytes.as_ptr()), (KEPT, place));
            heard.begin_anew();
            assert!(heard.bytes.is_empty());
        }
        heard.take(b"4711");
        let bytes: Zeroizing<Vec<u8>> = heard.take_bytes();
        assert_eq!((bytes.as_slice(), bytes.as_ptr()), (b"4711".as_slice(), place));
    }
}
