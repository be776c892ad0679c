//! One column of numbers, written in the smallest of five ways. Enters: bytes. Leaves: numbers.
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

pub(super) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
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
    use alloc::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_column_decodes_or_is_refused(
            encoding in 0u8..6, bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0usize..5_000,
        ) {
            let mut column = vec![encoding];
            column.extend(bytes);
            if let Ok(values) = decode_column(&column, count) {
                prop_assert_eq!(values.len(), count);
            }
        }
    }

    #[test]
    fn each_encoding_is_read() {
        assert_eq!(decode_column(&[CONSTANT, 9], 3), Ok(vec![9; 3]));
        assert_eq!(decode_column(&[FIXED, 5, 3, 0b00_010_001], 2), Ok(vec![6, 7]));
        assert_eq!(decode_column(&[LEB128, 1, 0x80, 0x01], 2), Ok(vec![1, 128]));
        assert_eq!(decode_column(&[RUNS, 2, 0, 1, 7], 3), Ok(vec![0, 0, 7]));
        assert_eq!(decode_column(&[RICE, 10, 1, 0b0000_0011], 2), Ok(vec![14, 10]));
        assert_eq!([unzigzag(0), unzigzag(1), unzigzag(2)], [0, u64::MAX, 1]);
    }
}
