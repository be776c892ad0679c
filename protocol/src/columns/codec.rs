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
    let (rice_bits, k) = (0..width)
        .map(|k| {
            let bits = values.iter().map(|v| u128::from((v - least) >> k) + 1 + u128::from(k)).sum::<u128>();
            (bits, k)
        })
        .min()
        .expect("the width is at least 1");
    let rice = usize::try_from(rice_bits.div_ceil(8)).map_or(usize::MAX, |bytes| 2 + length(least) + bytes);

    let best = [(fixed, FIXED), (leb128, LEB128), (run_bytes, RUNS), (rice, RICE)];
    let encoding = best.into_iter().min().expect("four ways").1;
    out.push(encoding);
    match encoding {
        FIXED => {
            put(&mut out, least);
            out.push(u8::try_from(width).expect("at most 64"));
            let mut bits = BitWriter { out, used: 8 };
            values.iter().for_each(|v| bits.put(v - least, width));
            out = bits.out;
        }
        LEB128 => values.iter().for_each(|v| put(&mut out, *v)),
        RUNS => runs.iter().for_each(|(n, v)| {
            put(&mut out, *n);
            put(&mut out, *v);
        }),
        _ => {
            put(&mut out, least);
            out.push(u8::try_from(k).expect("below 64"));
            let mut bits = BitWriter { out, used: 8 };
            for v in values {
                let quotient = (v - least) >> k;
                (0..quotient).for_each(|_| bits.put(1, 1));
                bits.put(0, 1);
                bits.put((v - least) & ((1 << k) - 1), k);
            }
            out = bits.out;
        }
    }
    out
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
                let mut quotient = 0u64;
                if encoding == RICE {
                    while bits.take(1)? == 1 {
                        quotient += 1;
                    }
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
    // Bits used of the last byte; 8 when the next bit needs a new byte.
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u64, width: u32) {
        for bit in 0..width {
            if self.used == 8 {
                self.out.push(0);
                self.used = 0;
            }
            let last = self.out.last_mut().expect("a byte was pushed");
            *last |= u8::try_from(value >> bit & 1).expect("one bit") << self.used;
            self.used += 1;
        }
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    fn take(&mut self, width: u32) -> Result<u64, ColumnError> {
        let mut value = 0;
        for bit in 0..width {
            let byte = self.bytes.get(self.at / 8).ok_or(ColumnError::Short)?;
            value |= u64::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Ok(value)
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
