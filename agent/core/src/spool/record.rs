//! What the spool writes: records that carry their own checksum and can be found in a file by
//! themselves, so that what a damaged database still holds can be rescued without it.
//!
//! ```text
//! 0  2  "HT"
//! 2  1  kind: 'V' value, 'C' chapter, 'M' what the spool knows of itself
//! 3  1  version: 4; 5 of what the spool knows of itself, since values may hold scans, and readers that are off
//! 4  2  length of the body, little-endian
//! 6  4  CRC-32C over the bytes 2 to 5 and the body, little-endian
//! 10    body
//! ```
//!
//! All versions begin like this, so that each knows what another one wrote.

use alloc::vec::Vec;

use hangtag_protocol::batch::CRC;

const MAGIC: [u8; 2] = *b"HT";
const VERSION: u8 = 4;
/// The newest version that is read.
const NEWEST: u8 = 5;
/// Bytes before the body.
pub const BEFORE_BODY: usize = 10;
/// The most bytes that a record takes.
pub const MAX_RECORD: usize = BEFORE_BODY + u16::MAX as usize;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Events.
    Value,
    /// Which values there are.
    Chapter,
    /// What the spool knows of itself.
    Meta,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Value => b'V',
            Self::Chapter => b'C',
            Self::Meta => b'M',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Value, Self::Chapter, Self::Meta].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They do not begin like a record of a known kind, or end within it.
    #[error("no record begins here, or it is cut short")]
    Header,
    /// They are a whole record that another version of the program wrote.
    #[error("a record of version {0}, where {VERSION} to {NEWEST} are known")]
    Version(u8),
    /// They are a record of another kind.
    #[error("a {found:?} record where a {wanted:?} record should be")]
    Kind {
        /// What it should be.
        wanted: Kind,
        /// What it is.
        found: Kind,
    },
    /// The checksum does not match.
    #[error("CRC-32C is {found:08x}, the record says {expected:08x}")]
    Checksum {
        /// What the record says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
}

/// Writes a record.
///
/// # Panics
/// When the body has more than 65,535 bytes.
#[must_use]
pub fn seal(kind: Kind, body: &[u8]) -> Vec<u8> {
    seal_as(VERSION, kind, body)
}

/// Writes a record that programs of before refuse, and the whole spool with it.
///
/// # Panics
/// When the body has more than 65,535 bytes.
#[must_use]
pub fn seal_newest(kind: Kind, body: &[u8]) -> Vec<u8> {
    seal_as(NEWEST, kind, body)
}

fn seal_as(version: u8, kind: Kind, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("bodies are far smaller").to_le_bytes();
    let checked = [kind.byte(), version, length[0], length[1]];
    let mut record = Vec::with_capacity(BEFORE_BODY + body.len());
    record.extend(MAGIC);
    record.extend(checked);
    record.extend(checksum(checked, body).to_le_bytes());
    record.extend(body);
    record
}

/// Reads the record at the beginning of some bytes: its kind and its body.
///
/// # Errors
/// When there is none.
pub fn read(bytes: &[u8]) -> Result<(Kind, &[u8]), RecordError> {
    let Some((&[m0, m1, kind, version, l0, l1, s0, s1, s2, s3], rest)) =
        bytes.split_first_chunk::<BEFORE_BODY>()
    else {
        return Err(RecordError::Header);
    };
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    let (Some(found_kind), Some(body)) = (Kind::of(kind), rest.get(..length)) else {
        return Err(RecordError::Header);
    };
    if [m0, m1] != MAGIC {
        return Err(RecordError::Header);
    }
    let expected = u32::from_le_bytes([s0, s1, s2, s3]);
    let found = checksum([kind, version, l0, l1], body);
    if expected != found {
        return Err(RecordError::Checksum { expected, found });
    }
    if !(VERSION..=NEWEST).contains(&version) {
        return Err(RecordError::Version(version));
    }
    Ok((found_kind, body))
}

/// Reads a record that should be of one kind.
///
/// # Errors
/// When it is not.
pub fn open(wanted: Kind, bytes: &[u8]) -> Result<&[u8], RecordError> {
    let (found, body) = read(bytes)?;
    if found == wanted { Ok(body) } else { Err(RecordError::Kind { wanted, found }) }
}

/// Where in some bytes, from an offset on, a record may begin.
#[must_use]
pub fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(3).position(|w| w[..2] == MAGIC && Kind::of(w[2]).is_some()).map(|at| from + at)
}

fn checksum(header: [u8; 4], body: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&header);
    digest.update(body);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_record_never_change() {
        // Gateways hold such records through upgrades: fix the code, never these bytes.
        assert_eq!(hex::encode(seal(Kind::Value, b"body")), "4854560404001e7876d8626f6479");
        let newest = seal_newest(Kind::Meta, b"body");
        assert_eq!(hex::encode(&newest), "48544d050400d1de7cad626f6479");
        for known in [newest, seal(Kind::Meta, b"body")] {
            assert_eq!(open(Kind::Meta, &known), Ok(&b"body"[..]));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let record = seal(Kind::Meta, b"what the spool knows");
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..record.len() {
            assert!(read(&record[..length]).is_err(), "{length} bytes");
        }
        let wrong = RecordError::Kind { wanted: Kind::Value, found: Kind::Meta };
        assert_eq!(open(Kind::Value, &record), Err(wrong));
    }

    #[test]
    fn a_record_of_another_version_is_known_by_its_checksum() {
        let mut record = seal(Kind::Meta, b"from elsewhere");
        record[3] = 9;
        assert!(matches!(read(&record), Err(RecordError::Checksum { .. })));
        let checked = [record[2], record[3], record[4], record[5]];
        record[6..10].copy_from_slice(&checksum(checked, b"from elsewhere").to_le_bytes());
        assert_eq!(read(&record), Err(RecordError::Version(9)));
    }

    #[test]
    fn records_are_found_among_garbage() {
        let mut bytes = b"HT HTX garbage".to_vec();
        let at = bytes.len();
        bytes.extend(seal(Kind::Chapter, b"c"));
        assert_eq!(find(&bytes, 0), Some(at));
        assert_eq!(find(&bytes, at + 1), None);
        assert_eq!(read(&bytes[at..]), Ok((Kind::Chapter, &b"c"[..])));
    }
}
