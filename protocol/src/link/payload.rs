//! A payload to its message, whichever version wrote it. Enters: a payload. Leaves: a message.
//!
//! ```text
//! payload    the first version's fields │ fields that were appended, in their order │ …
//!            all of them, or it is none   as many as the writer knew; the rest takes    skipped: of a later version
//!                                         its default
//! ```
//!
//! A field that is appended to a message has `#[serde(default)]`, which counts here as it does in JSON. Its default
//! must mean that nothing was said: `None`, or a count of 0. A field never goes away, and none is put before another.
//! What a field is made of cannot grow: where it ends nobody would know.

use postcard::Error;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// What a payload says: a structure, whose fields may be fewer or more than its writer's, or a variant.
///
/// # Errors
/// When a field of the first version is missing, or one cannot be read: it is cut off, or a variant that is not known.
pub fn read<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, Error> {
    T::deserialize(Payload(payload))
}

struct Payload<'de>(&'de [u8]);

impl<'de> Deserializer<'de> for Payload<'de> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Fields(self.0))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        postcard::Deserializer::from_bytes(self.0).deserialize_enum(name, variants, visitor)
    }

    /// Postcard does not say what there is.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::WontImplement)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// Fields one after the other, to the end: what is missing there is said to be, where postcard would see a cut.
struct Fields<'de>(&'de [u8]);

impl<'de> SeqAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut field = postcard::Deserializer::from_bytes(self.0);
        let value = seed.deserialize(&mut field)?;
        self.0 = field.finalize()?;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct First<'w> {
        number: u32,
        words: &'w str,
        level: Option<u8>,
    }

    /// The same after two later versions.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Third<'w> {
        number: u32,
        words: &'w str,
        level: Option<u8>,
        #[serde(default)]
        errors: u32,
        #[serde(default)]
        how: Option<(u8, u16)>,
    }

    const FIRST: [u8; 7] = [0xac, 0x02, 2, b'h', b'o', 1, 9];
    const SECOND: [u8; 9] = [0xac, 0x02, 2, b'h', b'o', 1, 9, 0x81, 0x01];
    const THIRD: [u8; 13] = [0xac, 0x02, 2, b'h', b'o', 1, 9, 0x81, 0x01, 1, 7, 0x80, 0x01];

    #[test]
    fn each_version_reads_every_other() {
        let first = First { number: 300, words: "ho", level: Some(9) };
        for payload in [&FIRST[..], &SECOND, &THIRD, &[&FIRST[..], &[0xFF; 9]].concat()] {
            assert_eq!(read::<First<'_>>(payload).as_ref(), Ok(&first), "{payload:?}");
        }
        let third = |errors, how| Third { number: 300, words: "ho", level: Some(9), errors, how };
        assert_eq!(read(&FIRST), Ok(third(0, None)));
        assert_eq!(read(&SECOND), Ok(third(129, None)));
        assert_eq!(read(&THIRD), Ok(third(129, Some((7, 128)))));
        assert_eq!(read(&[&THIRD[..], &[1]].concat()), Ok(third(129, Some((7, 128)))));
        let written = postcard::to_allocvec(&third(129, Some((7, 128)))).unwrap();
        assert_eq!(written, THIRD);
    }

    #[test]
    fn what_is_cut_off_within_a_field_or_before_the_first_versions_end_is_not_read() {
        for end in 0..THIRD.len() {
            let cut = &THIRD[..end];
            let whole = [FIRST.len(), SECOND.len()].contains(&end);
            assert_eq!(read::<Third<'_>>(cut).is_ok(), whole, "{end} bytes");
            assert_eq!(read::<First<'_>>(cut).is_ok(), end >= FIRST.len(), "{end} bytes");
        }
    }
}
