//! One column of numbers, written in the smallest of five ways. Enters: numbers. Leaves: bytes, and the
//! same numbers again.
//!
//! ```text
//! column   nothing at all when it has no values, else
//!          0, value                         all values are this one
//!          1, least, width, bits            each value - least, `width` bits, least significant first
//!          2, values                        each as LEB128
//!          3, (length, value)…              runs
//!          4, least, k, bits                each value - least in Rice code: quotient by 2^k in
//!                                           unary (ones, then a zero), then k bits of the rest
//! ```
//!
//! Numbers outside bit fields are LEB128, as postcard writes them. Unused bits at a column's end are zero.

use alloc::vec::Vec;

/// Why the bytes of a column do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// The way of writing is unknown.
    #[error("unknown encoding {0}")]
    Encoding(u8),
    /// The bytes end before the values do.
    #[error("ends early")]
    Short,
    /// The values end before the bytes do, or unused bits are not zero.
    #[error("has bytes after its end")]
    Long,
    /// A number does not fit 64 bits, or a width is above 64.
    #[error("holds a number that is too large")]
    Large,
}

const CONSTANT: u8 = 0;
const FIXED: u8 = 1;
const LEB128: u8 = 2;
const RUNS: u8 = 3;
const RICE: u8 = 4;

/// Writes a column in the way that takes the fewest bytes; of equals the one with the lowest number.
pub(super) fn column(values: &[u64]) -> Vec<u8> {
    let (Some(&least), Some(&most)) = (values.iter().min(), values.iter().max()) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    if least == most {
        out.push(CONSTANT);
        put(&mut out, least);
        return out;
    }
    let width = 64 - (most - least).leading_zeros();
    let fixed = 2 + length(least) + (values.len() * width as usize).div_ceil(8);
    let leb128 = 1 + values.iter().map(|v| length(*v)).sum::<usize>();
    let runs: Vec<(u64, u64)> =
        values.chunk_by(|a, b| a == b).map(|run| (run.len() as u64, run[0])).collect();
    let run_bytes = 1 + runs.iter().map(|(n, v)| length(*n) + length(*v)).sum::<usize>();
    let (rice_bits, k) = best_rice(values, least, width);
    let rice = usize::try_from(rice_bits.div_ceil(8)).map_or(usize::MAX, |bytes| 2 + length(least) + bytes);

    let best = [(fixed, FIXED), (leb128, LEB128), (run_bytes, RUNS), (rice, RICE)];
    let encoding = best.into_iter().min().expect("four ways").1;
    out.push(encoding);
    match encoding {
        FIXED => {
            put(&mut out, least);
            out.push(u8::try_from(width).expect("at most 64"));
            let mut bits = BitWriter::after(out);
            values.iter().for_each(|v| bits.put(v - least, width));
            out = bits.finish();
        }
        LEB128 => values.iter().for_each(|v| put(&mut out, *v)),
        RUNS => runs.iter().for_each(|(n, v)| {
            put(&mut out, *n);
            put(&mut out, *v);
        }),
        _ => {
            put(&mut out, least);
            out.push(u8::try_from(k).expect("below 64"));
            let mut bits = BitWriter::after(out);
            for v in values {
                bits.put_unary((v - least) >> k);
                bits.put((v - least) & ((1 << k) - 1), k);
            }
            out = bits.finish();
        }
    }
    out
}

/// The fewest bits in Rice code, and the least `k` that gives them.
fn best_rice(values: &[u64], least: u64, width: u32) -> (u128, u32) {
    let count = values.len() as u128;
    let sum: u128 = values.iter().map(|v| u128::from(v - least)).sum();
    let bits = |k: u32| {
        // In 64 bits wherever they suffice: four times as fast.
        let quotients = if u64::try_from(sum).is_ok() {
            values.iter().map(|v| (v - least) >> k).sum::<u64>().into()
        } else {
            values.iter().map(|v| u128::from((v - least) >> k)).sum::<u128>()
        };
        (quotients + count * u128::from(k + 1), k)
    };
    // Near the mean it is best or nearly so; elsewhere only what could be better is looked at: every
    // quotient that is rounded down loses less than one.
    let near = (sum / count).checked_ilog2().unwrap_or(0).min(width - 1);
    let found = bits(near);
    let could_be_better = |k: &u32| (sum >> *k) + count * u128::from(*k) <= found.0;
    (0..width).filter(could_be_better).map(bits).min().map_or(found, |best| best.min(found))
}

pub(super) fn decode_column(bytes: &[u8], count: usize) -> Result<Vec<u64>, ColumnError> {
    if count == 0 {
        return if bytes.is_empty() { Ok(Vec::new()) } else { Err(ColumnError::Long) };
    }
    let (&encoding, mut rest) = bytes.split_first().ok_or(ColumnError::Short)?;
    let mut values = Vec::with_capacity(count);
    match encoding {
        CONSTANT => values.resize(count, take(&mut rest)?),
        FIXED | RICE => {
            let least = take(&mut rest)?;
            let (&width, packed) = rest.split_first().ok_or(ColumnError::Short)?;
            if width > 64 || (encoding == RICE && width == 64) {
                return Err(ColumnError::Large);
            }
            let mut bits = BitReader { bytes: packed, at: 0 };
            for _ in 0..count {
                let mut quotient = 0;
                if encoding == RICE {
                    quotient = bits.take_unary()?;
                    if quotient.leading_zeros() < u32::from(width) {
                        return Err(ColumnError::Large);
                    }
                    quotient <<= width;
                }
                let above = quotient | bits.take(width.into())?;
                values.push(least.checked_add(above).ok_or(ColumnError::Large)?);
            }
            rest = bits.finish()?;
        }
        LEB128 => {
            for _ in 0..count {
                values.push(take(&mut rest)?);
            }
        }
        RUNS => {
            while values.len() < count {
                let (run, value) = (take(&mut rest)?, take(&mut rest)?);
                let room = count - values.len();
                let run = usize::try_from(run).ok().filter(|n| (1..=room).contains(n));
                values.resize(values.len() + run.ok_or(ColumnError::Large)?, value);
            }
        }
        other => return Err(ColumnError::Encoding(other)),
    }
    if rest.is_empty() { Ok(values) } else { Err(ColumnError::Long) }
}

struct BitWriter {
    out: Vec<u8>,
    /// Bits that are not in `out` yet, fewer than eight between two calls.
    pending: u128,
    count: u32,
}

impl BitWriter {
    fn after(out: Vec<u8>) -> Self {
        Self { out, pending: 0, count: 0 }
    }

    /// The lowest `width` bits of a value that has no others.
    fn put(&mut self, value: u64, width: u32) {
        self.pending |= u128::from(value) << self.count;
        self.count += width;
        while self.count >= 8 {
            self.out.push((self.pending & 0xff) as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    fn put_unary(&mut self, mut ones: u64) {
        while ones >= 32 {
            self.put(u64::from(u32::MAX), 32);
            ones -= 32;
        }
        self.put((1 << ones) - 1, u32::try_from(ones).expect("below 32") + 1);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        self.out
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// The next bits, and how many of them there are: at least 64, except at the end.
    fn window(&self) -> (u128, usize) {
        let rest = self.bytes.get(self.at / 8..).unwrap_or(&[]);
        let window = rest.first_chunk::<16>().map_or_else(
            || {
                let mut last = [0; 16];
                last[..rest.len()].copy_from_slice(rest);
                u128::from_le_bytes(last)
            },
            |chunk| u128::from_le_bytes(*chunk),
        );
        let used = self.at % 8;
        (window >> used, (rest.len().min(16) * 8).saturating_sub(used))
    }

    /// The next bits as a number; at most 64.
    fn take(&mut self, width: usize) -> Result<u64, ColumnError> {
        let (window, there) = self.window();
        if width > there {
            return Err(ColumnError::Short);
        }
        self.at += width;
        Ok((window & ((1 << width) - 1)) as u64)
    }

    /// How many ones come before the next zero, which is taken too.
    fn take_unary(&mut self) -> Result<u64, ColumnError> {
        let mut all = 0;
        loop {
            let (window, there) = self.window();
            if there == 0 {
                return Err(ColumnError::Short);
            }
            let ones = (window.trailing_ones() as usize).min(there);
            all += ones as u64;
            self.at += ones;
            if ones < there {
                self.at += 1;
                return Ok(all);
            }
        }
    }

    /// What follows the byte of the last bit; the unused bits of that byte must be zero.
    fn finish(mut self) -> Result<&'a [u8], ColumnError> {
        while !self.at.is_multiple_of(8) {
            if self.take(1)? != 0 {
                return Err(ColumnError::Long);
            }
        }
        Ok(&self.bytes[self.at / 8..])
    }
}

pub(super) fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

pub(super) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// How many bytes a number takes as LEB128.
pub(super) fn length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("7 bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("7 bits"));
}

fn take(bytes: &mut &[u8]) -> Result<u64, ColumnError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(ColumnError::Short)?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && byte > 1 {
            return Err(ColumnError::Large);
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ColumnError::Large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_round_trip(values in prop::collection::vec(prop_oneof![
            any::<u64>(), 0u64..4, 1_000u64..1_200, Just(7)], 0..200)) {
            prop_assert_eq!(decode_column(&column(&values), values.len()), Ok(values));
        }

        #[test]
        fn the_best_rice_code_is_found_without_trying_all(values in prop::collection::vec(prop_oneof![
            any::<u64>(), 0u64..4, 1_000u64..1_200, 0u64..100_000], 1..200)) {
            let (least, most) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
            let width = (64 - (most - least).leading_zeros()).max(1);
            let tried = (0..width).map(|k| {
                let one = |v: &u64| u128::from((v - least) >> k) + 1 + u128::from(k);
                (values.iter().map(one).sum::<u128>(), k)
            });
            prop_assert_eq!(best_rice(&values, least, width), tried.min().unwrap());
        }

        #[test]
        fn a_column_is_never_larger_than_leb128(values in prop::collection::vec(0u64..100_000, 1..200)) {
            let leb128 = 1 + values.iter().map(|v| length(*v)).sum::<usize>();
            prop_assert!(column(&values).len() <= leb128);
        }

        #[test]
        fn any_column_decodes_or_is_refused(
            encoding in 0u8..6, bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0usize..5_000,
        ) {
            let mut column = alloc::vec![encoding];
            column.extend(bytes);
            if let Ok(values) = decode_column(&column, count) {
                prop_assert_eq!(values.len(), count);
            }
        }

        #[test]
        fn numbers_round_trip(value: u64) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), length(value));
            prop_assert_eq!(take(&mut out.as_slice()), Ok(value));
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn each_encoding_is_chosen_where_it_is_smallest() {
        let chosen = |values: &[u64]| column(values)[0];
        assert_eq!(chosen(&[9; 50]), CONSTANT);
        assert_eq!(chosen(&(0..64u64).map(|n| 1_000_000 + n * 37 % 64).collect::<Vec<_>>()), FIXED);
        assert_eq!(chosen(&[1, 1 << 40]), LEB128);
        assert_eq!(chosen(&[[0; 40].as_slice(), &[1 << 50; 40]].concat()), RUNS);
        assert_eq!(chosen(&(0..64u64).map(|n| 1 << (n * 7 % 11)).collect::<Vec<_>>()), RICE);
    }
}
