//! What a tag says of itself. Enters: the EPC bytes a reader reports. Leaves: for the two SGTIN
//! schemes a GTIN-14 and a serial number, for everything else nothing: such a tag keeps its raw hex
//! and is never guessed at.
//!
//! Source: GS1 EPC Tag Data Standard 2.x, sections "SGTIN-96" and "SGTIN-198".
//!
//! ```text
//! SGTIN-96   header 0x30 8 | filter 3 | partition 3 | company 40..20 | item 4..24 | serial 38
//! SGTIN-198  header 0x36 8 | filter 3 | partition 3 | company 40..20 | item 4..24 | serial 140
//!                                                      (20 characters of 7 bits, zero-filled), 10 unused
//! ```

use alloc::string::String;
use core::fmt;

use arrayvec::ArrayVec;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest EPC that Gen2 air protocol can carry, in bytes (31 words).
pub const MAX_EPC: usize = 62;

/// The EPC of a tag, as the reader reported it: 1 to [`MAX_EPC`] bytes. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epc {
    // Unused bytes are zero. Order: by bytes, then by length.
    bytes: [u8; MAX_EPC],
    length: u8,
}

/// Why bytes or a text are not an EPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpcError {
    /// No bytes, or more than [`MAX_EPC`].
    #[error("has {0} bytes; an EPC has 1 to {MAX_EPC}")]
    Length(usize),
    /// Not pairs of hexadecimal digits.
    #[error("is not hexadecimal at position {0}")]
    Hex(usize),
}

impl Epc {
    /// Takes the bytes a reader reported.
    ///
    /// # Errors
    /// When there are none, or more than [`MAX_EPC`].
    pub fn new(reported: &[u8]) -> Result<Self, EpcError> {
        if reported.is_empty() || reported.len() > MAX_EPC {
            return Err(EpcError::Length(reported.len()));
        }
        let mut bytes = [0; MAX_EPC];
        bytes[..reported.len()].copy_from_slice(reported);
        Ok(Self { bytes, length: u8::try_from(reported.len()).expect("at most 62") })
    }

    /// Reads hexadecimal digits.
    ///
    /// # Errors
    /// When a character is not a hexadecimal digit, or the length does not fit.
    pub fn from_hex(text: &str) -> Result<Self, EpcError> {
        let mut bytes = ArrayVec::<u8, MAX_EPC>::new();
        let digits = text.as_bytes();
        for (at, pair) in digits.chunks(2).enumerate() {
            let digit = |n: usize| {
                let c = pair.get(n).copied().map(char::from);
                c.and_then(|c| c.to_digit(16)).ok_or(EpcError::Hex(at * 2 + n))
            };
            let byte = u8::try_from(digit(0)? * 16 + digit(1)?).expect("two hexadecimal digits");
            bytes.try_push(byte).map_err(|_| EpcError::Length(digits.len() / 2))?;
        }
        Self::new(&bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// What the tag identifies, when it is an SGTIN in which every field is in range.
    #[must_use]
    pub fn sgtin(&self) -> Option<Sgtin> {
        Sgtin::decode(self.as_bytes())
    }
}

impl fmt::Display for Epc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = self.as_bytes();
        let mut text = [0; 2 * MAX_EPC];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        f.write_str(core::str::from_utf8(&text[..2 * bytes.len()]).expect("digits and letters"))
    }
}

impl fmt::Debug for Epc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Epc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(self.as_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Epc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Epc;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an EPC of 1 to {MAX_EPC} bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Epc, E> {
                Epc::from_hex(text).map_err(|why| E::custom(format_args!("EPC {text:?} {why}")))
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Epc, E> {
                Epc::new(bytes).map_err(|why| E::custom(format_args!("EPC {why}")))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Text)
        } else {
            deserializer.deserialize_bytes(Text)
        }
    }
}

/// A 14-digit Global Trade Item Number with a right check digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtin(u64);

/// Why a text is not a GTIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GtinError {
    /// Not 8, 12, 13 or 14 digits.
    #[error("is not a GTIN of 8, 12, 13 or 14 digits")]
    Digits,
    /// The last digit is not the check digit of the others.
    #[error("ends in {found}; the check digit of the other digits is {right}")]
    CheckDigit {
        /// The last digit.
        found: u8,
        /// What it should be.
        right: u8,
    },
}

impl Gtin {
    /// Reads a GTIN-8, -12, -13 or -14; shorter ones are filled with zeros on the left, as GS1
    /// General Specifications section 3 has them.
    ///
    /// # Errors
    /// When the text has another number of digits, or a wrong check digit.
    pub fn new(text: &str) -> Result<Self, GtinError> {
        if !matches!(text.len(), 8 | 12 | 13 | 14) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(GtinError::Digits);
        }
        Self::from_number(text.parse().map_err(|_| GtinError::Digits)?)
    }

    /// Takes the number that the digits make.
    ///
    /// # Errors
    /// When it has more than 14 digits, or a wrong check digit.
    pub fn from_number(number: u64) -> Result<Self, GtinError> {
        if number >= 10u64.pow(14) {
            return Err(GtinError::Digits);
        }
        let found = u8::try_from(number % 10).expect("one digit");
        let right = check_digit(number / 10);
        if found == right { Ok(Self(number)) } else { Err(GtinError::CheckDigit { found, right }) }
    }

    /// The number that the digits make.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Gtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014}", self.0)
    }
}

/// The GS1 check digit of 13 digits: weights 3 and 1 in turn, from the right.
fn check_digit(mut digits: u64) -> u8 {
    let (mut sum, mut weight) = (0, 3);
    while digits > 0 {
        sum += digits % 10 * weight;
        weight = 4 - weight;
        digits /= 10;
    }
    u8::try_from((10 - sum % 10) % 10).expect("one digit")
}

/// The serial number of a serialised trade item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Serial {
    /// SGTIN-96: 0 to 2^38 - 1.
    Number(u64),
    /// SGTIN-198: 1 to 20 characters of GS1's AI 82 set.
    Text([u8; 20]),
}

/// A serialised GTIN, decoded from a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sgtin {
    /// What kind of unit the tag is on: 0 other, 1 point of sale, 2 case, 3 reserved, 4 inner pack, …
    pub filter: u8,
    /// The company prefix as a number; see [`company_digits`](Self::company_digits).
    pub company: u64,
    /// How many digits the company prefix has: 6 to 12.
    pub company_digits: u8,
    /// Indicator digit and item reference together, as a number of 13 - `company_digits` digits.
    pub item: u64,
    /// The serial number.
    pub serial: Serial,
}

/// Bits of the company prefix by partition (TDS table "SGTIN Partition Table"); the item has 44 less.
const COMPANY_BITS: [u32; 7] = [40, 37, 34, 30, 27, 24, 20];
const SERIAL_96_BITS: u32 = 38;

impl Sgtin {
    fn decode(epc: &[u8]) -> Option<Self> {
        let header = *epc.first()?;
        let long = match (header, epc.len()) {
            (0x30, 12) => false,
            // 198 bits fill 25 bytes; readers report whole 16-bit words.
            (0x36, 26) => true,
            _ => return None,
        };
        let mut bits = Bits { bytes: epc, at: 8 };
        let filter = u8::try_from(bits.take(3)).expect("3 bits");
        let partition = usize::try_from(bits.take(3)).expect("3 bits");
        let company_bits = *COMPANY_BITS.get(partition)?;
        let company_digits = 12 - u8::try_from(partition).expect("below 7");
        let company = bits.take(company_bits);
        let item = bits.take(44 - company_bits);
        if company >= 10u64.pow(company_digits.into()) || item >= 10u64.pow((13 - company_digits).into()) {
            return None;
        }
        let serial = if long { serial_text(&mut bits)? } else { Serial::Number(bits.take(SERIAL_96_BITS)) };
        Some(Self { filter, company, company_digits, item, serial })
    }

    /// Encodes as SGTIN-96. `None` when the serial is a text or a field is out of range: what is
    /// encoded always decodes to the same.
    #[must_use]
    pub fn encode_96(&self) -> Option<Epc> {
        let Serial::Number(serial) = self.serial else { return None };
        let partition = 12u8.checked_sub(self.company_digits)?;
        let company_bits = *COMPANY_BITS.get(usize::from(partition))?;
        if self.filter > 7 || serial >> SERIAL_96_BITS != 0 {
            return None;
        }
        if self.company >> company_bits != 0 || self.item >> (44 - company_bits) != 0 {
            return None;
        }
        let mut bits = 0x30_u128;
        for (value, width) in [
            (u64::from(self.filter), 3),
            (u64::from(partition), 3),
            (self.company, company_bits),
            (self.item, 44 - company_bits),
            (serial, SERIAL_96_BITS),
        ] {
            bits = bits << width | u128::from(value);
        }
        let epc = Epc::new(&bits.to_be_bytes()[4..]).ok()?;
        (epc.sgtin() == Some(*self)).then_some(epc)
    }

    /// The EPC Pure Identity URI, `urn:epc:id:sgtin:…`: the item, however its tag is encoded.
    #[must_use]
    pub fn identity(&self) -> String {
        alloc::format!("{}", Identity(self))
    }

    /// Company prefix, item reference and serial number as URIs have them.
    fn fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (company_digits, item_digits) =
            (usize::from(self.company_digits), usize::from(13 - self.company_digits));
        write!(f, "{:0company_digits$}.{:0item_digits$}.", self.company, self.item)?;
        match &self.serial {
            Serial::Number(number) => write!(f, "{number}"),
            Serial::Text(text) => text.iter().take_while(|c| **c != 0).try_for_each(|&c| {
                if matches!(c, b'"' | b'%' | b'&' | b'/' | b'<' | b'>' | b'?') {
                    write!(f, "%{c:02X}")
                } else {
                    write!(f, "{}", char::from(c))
                }
            }),
        }
    }

    /// The GTIN-14: indicator, company prefix, item reference, check digit.
    #[must_use]
    pub fn gtin(&self) -> Gtin {
        let reference_digits = u32::from(12 - self.company_digits);
        let indicator = self.item / 10u64.pow(reference_digits);
        let reference = self.item % 10u64.pow(reference_digits);
        let digits = (indicator * 10u64.pow(self.company_digits.into()) + self.company)
            * 10u64.pow(reference_digits)
            + reference;
        Gtin(digits * 10 + u64::from(check_digit(digits)))
    }
}

/// The EPC Tag URI, `urn:epc:tag:sgtin-96:…`; characters outside the URI's set are percent-encoded.
impl fmt::Display for Sgtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.serial {
            Serial::Number(_) => "sgtin-96",
            Serial::Text(_) => "sgtin-198",
        };
        write!(f, "urn:epc:tag:{scheme}:{}.", self.filter)?;
        self.fields(f)
    }
}

/// See [`Sgtin::identity`].
struct Identity<'a>(&'a Sgtin);

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("urn:epc:id:sgtin:")?;
        self.0.fields(f)
    }
}

impl Serial {
    /// The serial as text, as AI 21 has it.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Number(number) => alloc::format!("{number}"),
            Self::Text(text) => text.iter().take_while(|c| **c != 0).map(|&c| char::from(c)).collect(),
        }
    }
}

/// 20 characters of 7 bits, ended by zeros; nothing but zeros may follow the end.
fn serial_text(bits: &mut Bits<'_>) -> Option<Serial> {
    let mut text = [0; 20];
    let mut ended = false;
    for slot in &mut text {
        let c = u8::try_from(bits.take(7)).expect("7 bits");
        ended |= c == 0;
        if (ended && c != 0) || (!ended && !is_ai82(c)) {
            return None;
        }
        *slot = c;
    }
    (text[0] != 0 && bits.take(10) == 0).then_some(Serial::Text(text))
}

/// GS1 AI encodable character set 82 (General Specifications, figure 7.11-1).
fn is_ai82(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!\"%&'()*+,-./_:;<=>?".contains(&c)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: u32,
}

impl Bits<'_> {
    /// The next `width` bits, most significant first; zeros past the end.
    fn take(&mut self, width: u32) -> u64 {
        let mut value = 0;
        for at in self.at..self.at + width {
            let byte = self.bytes.get(usize::try_from(at / 8).expect("a small offset")).copied().unwrap_or(0);
            value = value << 1 | u64::from(byte >> (7 - at % 8) & 1);
        }
        self.at += width;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn decodes_the_published_examples() {
        for (hex, uri, gtin) in [
            ("3074257bf7194e4000001a85", "urn:epc:tag:sgtin-96:3.0614141.812345.6789", "80614141123458"),
            ("30204ed9496334000000006e", "urn:epc:tag:sgtin-96:1.084663228621.0.110", "00846632286210"),
            ("3034007d00011c400000000b", "urn:epc:tag:sgtin-96:1.0008000.001137.11", "00008000011378"),
            ("301800004000004000000001", "urn:epc:tag:sgtin-96:0.000001.0000001.1", "00000010000014"),
            (
                "3674257bf6b7a659b2c2bf100000000000000000000000000000",
                "urn:epc:tag:sgtin-198:3.0614141.712345.32a%2Fb",
                "70614141123451",
            ),
        ] {
            let sgtin = Epc::from_hex(hex).unwrap().sgtin().unwrap_or_else(|| panic!("{hex} is an SGTIN"));
            assert_eq!((sgtin.to_string().as_str(), sgtin.gtin().to_string().as_str()), (uri, gtin));
            let identity = sgtin.identity();
            let (scheme, fields) = uri.split_once('.').unwrap();
            assert!(scheme.starts_with("urn:epc:tag:sgtin-"));
            assert_eq!(identity.strip_prefix("urn:epc:id:sgtin:"), Some(fields));
            if let Serial::Number(_) = sgtin.serial {
                assert_eq!(sgtin.encode_96().unwrap().to_string(), hex);
            } else {
                assert_eq!(sgtin.serial.to_text(), "32a/b");
            }
        }
    }

    #[test]
    fn never_guesses() {
        for hex in [
            "e28068900000500e88c6a4a7",                             // an uncommissioned tag
            "f73795211411234538566cb0afc4", // SGTIN+, which this version does not decode
            "307c257bf7194e4000001a85",     // partition 7
            "3074257bf7194e4000001a",       // too short
            "3074257bf7194e4000001a8500",   // too long
            "3063ffffffffffffffffffff",     // a company prefix of more digits than its partition has
            "3674257bf6b7a659b2c2bf100000000000000000000000000001", // bits after the end
            "3674257bf6b78000000000000000000000000000000000000000", // no serial
        ] {
            assert_eq!(Epc::from_hex(hex).unwrap().sgtin(), None, "{hex}");
        }
    }

    #[test]
    fn gtins_are_checked() {
        assert_eq!(Gtin::new("80614141123458").unwrap().number(), 80_614_141_123_458);
        assert_eq!(Gtin::new("4006381333931").unwrap().to_string(), "04006381333931");
        assert_eq!(Gtin::new("80614141123457"), Err(GtinError::CheckDigit { found: 7, right: 8 }));
        assert_eq!(Gtin::new("8061414112345x"), Err(GtinError::Digits));
        assert_eq!(Gtin::new("123"), Err(GtinError::Digits));
    }

    #[test]
    fn hex_says_where_it_is_wrong() {
        assert_eq!(Epc::from_hex("30zz"), Err(EpcError::Hex(2)));
        assert_eq!(Epc::from_hex("303"), Err(EpcError::Hex(3)));
        assert_eq!(Epc::from_hex("30é"), Err(EpcError::Hex(2)));
        assert_eq!(Epc::from_hex(""), Err(EpcError::Length(0)));
        assert_eq!(Epc::from_hex(&"00".repeat(63)), Err(EpcError::Length(63)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            if let Ok(epc) = Epc::new(&bytes) {
                prop_assert_eq!(Epc::from_hex(&epc.to_string()), Ok(epc));
                if let Some(sgtin) = epc.sgtin() {
                    prop_assert!(Gtin::from_number(sgtin.gtin().number()).is_ok());
                }
            }
        }

        #[test]
        fn sgtin_96_round_trips(filter in 0u8..8, digits in 6u8..=12, company: u64, item: u64, serial: u64) {
            let sgtin = Sgtin {
                filter,
                company: company % 10u64.pow(digits.into()),
                company_digits: digits,
                item: item % 10u64.pow((13 - digits).into()),
                serial: Serial::Number(serial >> 26),
            };
            prop_assert_eq!(sgtin.encode_96().unwrap().sgtin(), Some(sgtin));
        }
    }
}
