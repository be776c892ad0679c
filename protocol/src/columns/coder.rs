//! The arithmetic coder: decisions become bytes, and bytes the same decisions. Enters: yes or no, and how
//! likely a yes is. Leaves: bytes. It knows nothing of events.
//!
//! ```text
//! interval   low = 0, high = 2^32 - 1, both included
//! decision   middle = low + (high - low) * p / 2^16, rounded down; yes keeps low..=middle, no the rest
//! byte       while low and high begin with the same byte, that is written and shifted out of both;
//!            zeros come into low, ones into high
//! end        nothing if low is 0, else one byte: the first byte of low, plus one
//! chance     p22 in 2^22ths, and how many decisions it has seen, n; p = p22 / 2^6, rounded down, but at
//!            least 16 and at most 65,520. Every decision that it foresees moves it:
//!            w = 2^17 / (2·min(n, 30) + 3), rounded down;
//!            yes: p22 += (2^22 - 1 - p22)·w / 2^16; no: p22 -= p22·w / 2^16, both rounded down; n += 1
//! plain      bits of which nothing is foreseen have p = 32,768, always
//! ```
//!
//! A reader takes zeros for what comes after the end. The same decisions have one way to be written;
//! anything after it is refused.

use alloc::vec::Vec;

/// How likely a yes is, learned from decision to decision: in 2^22ths, above how many decisions that
/// rests on (10 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chance(u32);

/// From so many decisions on, a chance forgets as fast as it learns.
const MOST_SEEN: u32 = 30;
/// What a certain yes would be.
pub(super) const CERTAIN: u32 = 1 << 22;
/// The least probability that is coded with, in 2^16ths.
const LEAST: u32 = 16;

impl Chance {
    /// Nothing is known.
    pub(super) const EVEN: Self = Self::new(CERTAIN / 2, 0);

    /// So likely, in 2^22ths, as if after so many decisions.
    pub(super) const fn new(yes: u32, seen: u32) -> Self {
        Self(yes << 10 | seen)
    }

    /// The probability of a yes, in 2^16ths: never none, never all.
    #[inline]
    fn coded(self) -> u32 {
        (self.0 >> 16).clamp(LEAST, (1 << 16) - LEAST)
    }

    /// Moves towards what happened, by one part in `seen` + 1.5.
    #[inline]
    fn learn(&mut self, yes: bool) {
        let (chance, seen) = (self.0 >> 10, self.0 & 0x3ff);
        let weight = u64::from(WEIGHTS[seen.min(MOST_SEEN) as usize]);
        // How far off it was, in either direction: a branch here is one that no processor foresees.
        let side = u32::from(yes).wrapping_neg() & (CERTAIN - 1);
        let distance = chance ^ side;
        let distance = distance - ((u64::from(distance) * weight) >> 16) as u32;
        self.0 = (distance ^ side) << 10 | (seen + 1).min(MOST_SEEN);
    }
}

/// 2^16 / (`seen` + 1.5), rounded down.
const WEIGHTS: [u32; MOST_SEEN as usize + 1] = {
    let mut weights = [0; MOST_SEEN as usize + 1];
    let mut seen = 0;
    while seen < weights.len() {
        weights[seen] = (2 << 16) / (2 * seen as u32 + 3);
        seen += 1;
    }
    weights
};

/// Writes decisions, reads them, or weighs them. A writer gets each decision and returns it; a reader
/// ignores what it gets and returns what was written.
pub(super) trait Coder {
    /// A decision that was foreseen with a chance, which learns from it.
    fn decide(&mut self, chance: &mut Chance, yes: bool) -> bool;

    /// The lowest `width` bits of a number, the highest first, of which nothing is foreseen.
    fn plain(&mut self, width: u32, value: u64) -> u64 {
        (0..width).rev().fold(0, |known, bit| {
            let mut even = Chance::EVEN;
            let yes = self.decide(&mut even, value >> bit & 1 == 1);
            known << 1 | u64::from(yes)
        })
    }

    /// What follows belongs to this column.
    fn column(&mut self, _name: &'static str) {}
}

/// Writes.
pub(super) struct Encoder {
    low: u32,
    high: u32,
    out: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(capacity: usize) -> Self {
        Self { low: 0, high: u32::MAX, out: Vec::with_capacity(capacity) }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.out.extend(last_byte(self.low));
        self.out
    }

    #[inline]
    fn narrow(&mut self, middle: u32, yes: bool) {
        (self.low, self.high) = if yes { (self.low, middle) } else { (middle + 1, self.high) };
        while (self.low ^ self.high) >> 24 == 0 {
            self.out.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
    }
}

impl Coder for Encoder {
    #[inline]
    fn decide(&mut self, chance: &mut Chance, yes: bool) -> bool {
        self.narrow(middle(self.low, self.high, *chance), yes);
        chance.learn(yes);
        yes
    }

    fn plain(&mut self, width: u32, value: u64) -> u64 {
        for bit in (0..width).rev() {
            self.narrow(half(self.low, self.high), value >> bit & 1 == 1);
        }
        value & lowest(width)
    }
}

/// Reads.
pub(super) struct Decoder<'a> {
    low: u32,
    high: u32,
    bytes: &'a [u8],
    /// Bytes that were shifted out.
    done: usize,
    /// The four bytes after those.
    window: u32,
}

/// Why bytes are not what an encoder wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// They end before the decisions do.
    Short,
    /// So many are left over, or the last one is not the one that is written.
    Rest(usize),
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let window = (0..4).fold(0, |window, at| window << 8 | byte(bytes, at));
        Self { low: 0, high: u32::MAX, bytes, done: 0, window }
    }

    /// Checks that the bytes end where the decisions do.
    pub(super) fn finish(self) -> Result<(), End> {
        let rest = self.bytes.get(self.done..).ok_or(End::Short)?;
        match (last_byte(self.low), rest) {
            (None, []) => Ok(()),
            (Some(_), []) => Err(End::Short),
            (Some(last), [byte]) if last == *byte => Ok(()),
            (_, rest) => Err(End::Rest(rest.len())),
        }
    }

    #[inline]
    fn narrow(&mut self, middle: u32) -> bool {
        let yes = self.window <= middle;
        (self.low, self.high) = if yes { (self.low, middle) } else { (middle + 1, self.high) };
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.window = self.window << 8 | byte(self.bytes, self.done + 4);
            self.done += 1;
        }
        yes
    }
}

impl Coder for Decoder<'_> {
    #[inline]
    fn decide(&mut self, chance: &mut Chance, _: bool) -> bool {
        let yes = self.narrow(middle(self.low, self.high, *chance));
        chance.learn(yes);
        yes
    }

    fn plain(&mut self, width: u32, _: u64) -> u64 {
        (0..width).fold(0, |known, _| {
            let middle = half(self.low, self.high);
            known << 1 | u64::from(self.narrow(middle))
        })
    }
}

#[inline]
fn middle(low: u32, high: u32, chance: Chance) -> u32 {
    low + ((u64::from(high - low) * u64::from(chance.coded())) >> 16) as u32
}

/// The middle where nothing is foreseen.
#[inline]
fn half(low: u32, high: u32) -> u32 {
    low + (high - low) / 2
}

/// That many ones.
fn lowest(width: u32) -> u64 {
    1u64.checked_shl(width).map_or(u64::MAX, |above| above - 1)
}

fn last_byte(low: u32) -> Option<u8> {
    // Low and high differ in their first byte: one more than low's is at most high's.
    (low > 0).then(|| (low >> 24) as u8 + 1)
}

fn byte(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at).copied().unwrap_or(0).into()
}

/// Weighs: how many bits each column takes.
#[derive(Default)]
pub(super) struct Scale {
    columns: Vec<(&'static str, u64)>,
    current: usize,
}

/// A bit, as a scale counts them.
pub(super) const BIT: u64 = 1 << 16;

impl Scale {
    /// Each column, in the order of first use, and its 2^16ths of a bit.
    pub(super) fn finish(self) -> Vec<(&'static str, u64)> {
        self.columns
    }
}

impl Coder for Scale {
    fn decide(&mut self, chance: &mut Chance, yes: bool) -> bool {
        let coded = chance.coded();
        let likely = if yes { coded } else { (1 << 16) - coded };
        self.columns[self.current].1 += 16 * BIT - log2(likely);
        chance.learn(yes);
        yes
    }

    fn column(&mut self, name: &'static str) {
        let known = self.columns.iter().position(|(column, _)| *column == name);
        self.current = known.unwrap_or_else(|| {
            self.columns.push((name, 0));
            self.columns.len() - 1
        });
    }
}

/// The binary logarithm of a number above 0, in 2^16ths: squaring gives bit by bit.
fn log2(number: u32) -> u64 {
    let whole = number.ilog2();
    let mut rest = (u64::from(number) << 31) >> whole;
    (1..=16).rev().fold(u64::from(whole) << 16, |log, bit| {
        rest = (rest * rest) >> 31;
        let more = rest >> 32;
        rest >>= more;
        log + (more << (bit - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(decisions: &[(usize, bool)]) -> Vec<u8> {
        let (mut encoder, mut chances) = (Encoder::new(0), [Chance::EVEN; 4]);
        for (chance, yes) in decisions {
            encoder.decide(&mut chances[*chance], *yes);
        }
        encoder.finish()
    }

    proptest! {
        #[test]
        fn decisions_are_read_back(decisions in prop::collection::vec((0usize..4, any::<bool>()), 0..400)) {
            let bytes = write(&decisions);
            let (mut decoder, mut chances) = (Decoder::new(&bytes), [Chance::EVEN; 4]);
            for (chance, yes) in &decisions {
                prop_assert_eq!(decoder.decide(&mut chances[*chance], false), *yes);
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn the_same_decisions_are_written_one_way(
            decisions in prop::collection::vec((0usize..4, any::<bool>()), 1..100), more: u8,
        ) {
            let bytes = write(&decisions);
            let is_read = |bytes: &[u8]| {
                let (mut decoder, mut chances) = (Decoder::new(bytes), [Chance::EVEN; 4]);
                let mut alike = true;
                for (chance, yes) in &decisions {
                    alike &= decoder.decide(&mut chances[*chance], false) == *yes;
                }
                alike && decoder.finish().is_ok()
            };
            prop_assert!(is_read(&bytes));
            let longer = [&bytes[..], &[more]].concat();
            prop_assert!(!is_read(&longer));
            let shorter = &bytes[..bytes.len().saturating_sub(1)];
            prop_assert!(bytes.is_empty() || !is_read(shorter));
        }
    }

    proptest! {
        #[test]
        fn plain_bits_are_even_decisions(
            numbers in prop::collection::vec((0u32..=64, any::<u64>()), 0..40), between: u32,
        ) {
            let learned = Chance::new(between % CERTAIN, 3);
            let (mut encoder, mut even, mut chances) = (Encoder::new(0), Encoder::new(0), [learned; 2]);
            for (width, number) in &numbers {
                let written = encoder.plain(*width, *number);
                prop_assert_eq!(written, number & lowest(*width));
                (0..*width).rev().for_each(|bit| {
                    let _ = even.decide(&mut Chance::EVEN.clone(), number >> bit & 1 == 1);
                });
                encoder.decide(&mut chances[0], number & 1 == 1);
                even.decide(&mut chances[1], number & 1 == 1);
            }
            let bytes = encoder.finish();
            prop_assert_eq!(&bytes, &even.finish());
            let (mut decoder, mut chance) = (Decoder::new(&bytes), learned);
            for (width, number) in &numbers {
                prop_assert_eq!(decoder.plain(*width, 0), number & lowest(*width));
                prop_assert_eq!(decoder.decide(&mut chance, false), number & 1 == 1);
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn what_is_foreseen_costs_little_and_a_coin_a_bit() {
        let sure = write(&[(0, true); 1_000]);
        assert!(sure.len() < 10, "{} bytes", sure.len());
        let mut encoder = Encoder::new(0);
        encoder.plain(64, 0x0123_4567_89ab_cdef);
        assert_eq!(encoder.finish().len(), 8);
    }

    #[test]
    fn a_scale_knows_logarithms() {
        assert_eq!((log2(1), log2(2), log2(65_536)), (0, BIT, 16 * BIT));
        assert!((log2(3) as f64 / BIT as f64 - 1.584_963).abs() < 1e-3);
        let mut scale = Scale::default();
        scale.column("coins");
        scale.plain(10, 0);
        assert_eq!(scale.finish(), [("coins", 10 * BIT)]);
    }
}
