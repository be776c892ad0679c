//! The public key of central, to which loyalty codes are sealed. Enters: the text that
//! `hangtag-central keys` prints. Leaves: a checked key, its id, and the same text again. Nothing here
//! encrypts.
//!
//! ```text
//! htpub-, then 72 hexadecimal digits: the 32 bytes of an X25519 public key (RFC 7748), and the CRC-32C of
//!         these, big-endian; the first 16 digits are the key's id
//! htkey-  begins the text of a private key, which is central's alone
//! ```

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::batch::CRC;

/// How many bytes a key has.
pub const KEY_BYTES: usize = 32;
/// What the text of a public key begins with.
pub const PUBLIC: &str = "htpub-";
/// What the text of a private key begins with.
pub const PRIVATE: &str = "htkey-";

const ID_BYTES: usize = 8;
const CHECK_BYTES: usize = 4;
const DIGITS: usize = 2 * (KEY_BYTES + CHECK_BYTES);

/// Which key something is sealed to: the first eight bytes of the public key. Shown as 16 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; ID_BYTES]);

/// The public key of a central.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Why a text is no key. It never shows the text, which may be a private one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is a private key, which must be known to central only.
    #[error(
        "is a private key, which must never leave central: make another one there, and take what begins with {PUBLIC}"
    )]
    Private,
    /// It begins otherwise.
    #[error("does not begin with {0}")]
    Prefix(&'static str),
    /// It is cut off, or something is added.
    #[error("has {0} characters behind {prefix}, not {DIGITS}: copy it whole", prefix = PUBLIC)]
    Length(usize),
    /// A character is no hexadecimal digit.
    #[error("has no hexadecimal digit at character {0}, counted from 1")]
    Digit(usize),
    /// The checksum does not match.
    #[error("is not what was printed: at least one of its digits is another")]
    Checksum,
}

impl PublicKey {
    /// Takes the bytes of a key.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What it is called beside what is sealed to it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(core::array::from_fn(|at| self.0[at]))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(PRIVATE) {
            return Err(KeyError::Private);
        }
        checked(PUBLIC, text).map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(PUBLIC, &self.0))
    }
}

/// Reads 32 bytes that [`written`] wrote with the same prefix.
///
/// # Errors
/// When the text is not what was written.
pub fn checked(prefix: &'static str, text: &str) -> Result<[u8; KEY_BYTES], KeyError> {
    let digits = text.strip_prefix(prefix).ok_or(KeyError::Prefix(prefix))?;
    let strange = digits.bytes().position(|byte| !byte.is_ascii_hexdigit());
    if let Some(at) = strange {
        return Err(KeyError::Digit(prefix.len() + at + 1));
    }
    if digits.len() != DIGITS {
        return Err(KeyError::Length(digits.len()));
    }
    let (key, check) = digits.split_at(2 * KEY_BYTES);
    let mut bytes = [0; KEY_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(key.as_bytes().chunks(2)) {
        *byte = pair.iter().fold(0, |known, digit| known << 4 | value(*digit));
    }
    let check = u32::from_str_radix(check, 16).map_err(|_| KeyError::Checksum)?;
    if CRC.checksum(&bytes) == check { Ok(bytes) } else { Err(KeyError::Checksum) }
}

/// Writes 32 bytes with their checksum.
#[must_use]
pub fn written(prefix: &str, bytes: &[u8; KEY_BYTES]) -> String {
    let check = CRC.checksum(bytes).to_be_bytes();
    let mut text = String::with_capacity(prefix.len() + DIGITS);
    text.push_str(prefix);
    push_hex(&mut text, bytes);
    push_hex(&mut text, &check);
    text
}

/// Appends two hexadecimal digits for each byte.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

fn value(digit: u8) -> u8 {
    char::from(digit).to_digit(16).map_or(0, |digit| digit as u8)
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_hexdigit()) {
            return Err(KeyError::Digit(at + 1));
        }
        let number = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 2 * ID_BYTES);
        number.map(|number| Self(number.to_be_bytes())).ok_or(KeyError::Length(text.len()))
    }
}

/// As hexadecimal digits for people, as bytes on the wire.
impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; ID_BYTES]>::deserialize(deserializer).map(Self);
        }
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|why| de::Error::custom(format_args!("key id {text:?} {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = PublicKey::new(core::array::from_fn(|at| at as u8 ^ 0xa5));
        let text = key.to_string();
        assert_eq!(text.len(), 6 + 72);
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().replace("HTPUB", "htpub").parse(), Ok(key));
        assert_eq!(text[6..22], key.id().to_string());
        assert_eq!(key.id().to_string().parse(), Ok(key.id()));
        assert_eq!("a5a4".parse::<KeyId>(), Err(KeyError::Length(4)));
    }

    #[test]
    fn what_is_not_the_key_that_was_printed_is_told_without_showing_it() {
        let key = PublicKey::new([7; 32]);
        let text = key.to_string();
        for at in 6..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'0' { b'1' } else { b'0' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(typo.parse::<PublicKey>(), Err(KeyError::Checksum), "{at}");
        }
        for (text, why) in [
            (&text[..70], KeyError::Length(64)),
            (&text[6..], KeyError::Prefix("htpub-")),
            ("", KeyError::Prefix("htpub-")),
            ("htpub-07z7", KeyError::Digit(9)),
            ("htpub-0\u{e9}", KeyError::Digit(8)),
            (written(PRIVATE, &[7; 32]).as_str(), KeyError::Private),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(why), "{text}");
            assert!(!why.to_string().contains("0707"));
        }
    }
}
