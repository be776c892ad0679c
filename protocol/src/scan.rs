//! What a barcode scanner read. Made by the agent's intake, which seals what is a shopper's own at once:
//! nothing here holds a loyalty code that anybody but central could read.
//!
//! A sealed code is an anonymous X25519 sealed box (libsodium's `crypto_box_seal`: 32 bytes of a key that was
//! made for this one box, then XSalsa20-Poly1305) around the code, filled with zero bytes to the next whole
//! [`BLOCK`], so that its length tells little.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::epc::Gtin;
use crate::id::{Seq, ZoneId};
use crate::key::{KeyId, push_hex};

/// The longest loyalty code, in bytes.
pub const MAX_CODE: usize = 128;
/// What a code is filled up to a multiple of, in bytes.
pub const BLOCK: usize = 32;
/// By how many bytes a sealed box is longer than what is in it.
pub const SEAL_BYTES: usize = 48;
/// The longest sealed code, in bytes.
pub const MAX_SEALED: usize = MAX_CODE + SEAL_BYTES;

/// A code that was scanned in a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The booth or till that the scanner belongs to.
    pub zone: ZoneId,
    /// The visit that was open in the booth: the number of the event that opened it, in the same epoch.
    pub visit: Option<Seq>,
    /// The code.
    pub code: Code,
}

/// What was scanned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    /// A product's, as it is recognised.
    Product(#[serde(with = "number")] Gtin),
    /// A shopper's own, which only central can open.
    Loyalty(Sealed),
}

/// A loyalty code, sealed to a key of central's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Sealed {
    key: KeyId,
    bytes: Vec<u8>,
}

/// Bytes are too few or too many for a sealed code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes; a sealed code has {SEAL_BYTES} to {MAX_SEALED}")]
pub struct SealedError(pub usize);

#[derive(Deserialize)]
struct Unchecked {
    key: KeyId,
    bytes: Vec<u8>,
}

impl Sealed {
    /// Takes what was sealed to a key.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn new(key: KeyId, bytes: Vec<u8>) -> Result<Self, SealedError> {
        if (SEAL_BYTES..=MAX_SEALED).contains(&bytes.len()) {
            Ok(Self { key, bytes })
        } else {
            Err(SealedError(bytes.len()))
        }
    }

    /// The key that opens it.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The sealed box.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sealed box in hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(2 * self.bytes.len());
        push_hex(&mut text, &self.bytes);
        text
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes to key {})", self.bytes.len(), self.key)
    }
}

impl TryFrom<Unchecked> for Sealed {
    type Error = SealedError;

    fn try_from(Unchecked { key, bytes }: Unchecked) -> Result<Self, SealedError> {
        Self::new(key, bytes)
    }
}

/// A GTIN as the number that its digits make.
mod number {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::epc::Gtin;

    pub(super) fn serialize<S: Serializer>(gtin: &Gtin, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(gtin.number())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Gtin, D::Error> {
        Gtin::from_number(u64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Fitting, What};
    use alloc::{format, vec};

    #[test]
    fn a_sealed_code_has_a_length_that_can_be() {
        let key = KeyId(*b"key-id-8");
        for length in [0, SEAL_BYTES - 1, MAX_SEALED + 1] {
            assert_eq!(Sealed::new(key, vec![0; length]), Err(SealedError(length)));
            let bytes = postcard::to_allocvec(&(key, vec![0u8; length])).unwrap();
            assert!(postcard::from_bytes::<Sealed>(&bytes).is_err());
        }
        let sealed = Sealed::new(key, vec![7; MAX_SEALED]).unwrap();
        assert_eq!(postcard::from_bytes(&postcard::to_allocvec(&sealed).unwrap()), Ok(sealed.clone()));
        assert_eq!(format!("{sealed:?}"), "Sealed(176 bytes to key 6b65792d69642d38)");
        assert_eq!(sealed.to_hex().len(), 352);
    }

    #[test]
    fn scans_make_no_other_event_larger() {
        // Thousands wait in memory, of which few are scans.
        assert!(size_of::<What>() <= size_of::<Fitting>() + 8, "{} bytes", size_of::<What>());
    }
}
