//! Numbers as decisions. Enters: a number and the places of its chances. Leaves: decisions for a
//! [`Coder`], and the same number again.
//!
//! ```text
//! bit      one decision, with the chance at its place
//! plain    bits, the highest first, of which nothing is foreseen
//! tree     bits, the highest first; the one after n bits has the chance 2^n - 1 + the number they make
//! number   any 64-bit v. Let e be the place of the highest bit of v + 1 (64 if v + 1 is 2^64).
//!          e times yes, then no unless e is 64; the n-th from 0 has the chance min(n, 15)
//!          the e bits of v + 1 below its highest, none if e is 64: the first has the chance
//!          t = 16 + 3·min(e, 15), the second t + 1 + the first, the others are plain
//! sized    v below 2^64: the place of its highest bit (0 if v is 0) as a tree of 6 bits, then the bits
//!          below it plainly; at place 0 the bit itself, plainly
//! ```

use alloc::vec::Vec;

use super::coder::{Chance, Coder};
use super::prior::PRIOR;

/// How many chances a number has.
pub(super) const NUMBER: usize = 64;
const SIZES: usize = 16;

/// A coder and every chance, by its place.
pub(super) struct Model<C> {
    pub(super) coder: C,
    chances: Vec<Chance>,
}

impl<C: Coder> Model<C> {
    pub(super) fn new(coder: C) -> Self {
        Self { coder, chances: PRIOR.to_vec() }
    }

    #[inline]
    pub(super) fn bit(&mut self, place: usize, yes: bool) -> bool {
        self.coder.decide(&mut self.chances[place], yes)
    }

    pub(super) fn tree(&mut self, place: usize, width: u32, value: u64) -> u64 {
        let all = (0..width).rev().fold(1usize, |node, bit| {
            let yes = self.bit(place + node - 1, value >> bit & 1 == 1);
            node << 1 | usize::from(yes)
        });
        all as u64 - (1 << width)
    }

    pub(super) fn number(&mut self, place: usize, value: u64) -> u64 {
        let given = value.checked_add(1).map_or(64, u64::ilog2);
        let mut e = 0;
        while e < 64 && self.bit(place + (e as usize).min(SIZES - 1), given > e) {
            e += 1;
        }
        if e == 64 {
            return u64::MAX;
        }
        let lower = value.wrapping_add(1);
        let mut known = 1u64;
        let top = place + SIZES + 3 * (e as usize).min(SIZES - 1);
        for bit in (e.saturating_sub(2)..e).rev() {
            let at = if known == 1 { top } else { top + 1 + (known & 1) as usize };
            known = known << 1 | u64::from(self.bit(at, lower >> bit & 1 == 1));
        }
        let plain = e.saturating_sub(2);
        (known << plain | self.coder.plain(plain, lower)) - 1
    }

    /// Numbers of which the size may be foreseen, but nothing else. 63 chances.
    pub(super) fn sized(&mut self, place: usize, value: u64) -> u64 {
        let top = self.tree(place, 6, value.checked_ilog2().unwrap_or(0).into()) as u32;
        if top == 0 {
            return self.coder.plain(1, value);
        }
        1 << top | self.coder.plain(top, value)
    }
}
