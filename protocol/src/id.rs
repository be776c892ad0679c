//! Names and numbers that identify things. Enters: text from a configuration, a topic or a batch.
//! Leaves: checked ids. An id that exists is valid: it matches `[a-z0-9-]{1,32}`, which is safe as
//! an MQTT topic level, a file name and a database key.

use core::fmt;
use core::num::ParseIntError;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 32;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("is empty; a name has 1 to {MAX_NAME} of the characters a-z, 0-9 and -")]
    Empty,
    /// The text is longer than [`MAX_NAME`].
    #[error("has {length} bytes; a name has at most {MAX_NAME}")]
    TooLong {
        /// How many bytes the text has.
        length: usize,
    },
    /// The text has a character that is not allowed.
    #[error("has {found:?} at position {at}; a name has only the characters a-z, 0-9 and -")]
    Character {
        /// Byte offset of the character.
        at: usize,
        /// The character.
        found: char,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    // Unused bytes are zero, so that the derived order is that of the text.
    bytes: [u8; MAX_NAME],
    length: u8,
}

impl Name {
    fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong { length: text.len() });
        }
        if let Some((at, found)) =
            text.char_indices().find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
        {
            return Err(NameError::Character { at, found });
        }
        let mut bytes = [0; MAX_NAME];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: u8::try_from(text.len()).expect("at most 32") })
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("names are ASCII")
    }
}

macro_rules! name {
    ($(#[$doc:meta] $id:ident)*) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(Name);

        impl $id {
            /// Checks a text.
            ///
            /// # Errors
            /// When the text does not match `[a-z0-9-]{1,32}`.
            pub fn new(text: &str) -> Result<Self, NameError> {
                Name::new(text).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $id {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $id;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a name of 1 to {MAX_NAME} of the characters a-z, 0-9 and -")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$id, E> {
                        $id::new(text).map_err(|why| E::custom(format_args!("{text:?} {why}")))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

name! {
    /// A tenant: the chain whose shops share one central.
    TenantId
    /// A shop.
    StoreId
    /// A small computer in a shop, on which one agent runs.
    GatewayId
    /// One reader on one serial line, named in the agent's configuration.
    ReaderId
    /// A place in a shop that garments can be in: a rail, a shelf, a fitting booth, a till.
    ZoneId
    /// Another system that reads the feed.
    ConsumerId
}

/// The life of one spool: random, drawn when the spool is created. Sequence numbers are unique
/// within it. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = ParseIntError;
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// As 16 hexadecimal digits for people (JSON has no exact 64-bit number), as a number on the wire.
impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom(format_args!("{text:?} is not a hexadecimal epoch")))
    }
}

/// The place of an event in its epoch. The first event has number 1 and there are no gaps; the default,
/// 0, is no event's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The first event of an epoch.
    pub const FIRST: Self = Self(1);

    /// The number `count` further on.
    ///
    /// # Panics
    /// After 2^64 events.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.checked_add(count).expect("fewer than 2^64 events"))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One event, everywhere and for ever: `store:gateway:epoch:seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The shop.
    pub store: StoreId,
    /// The gateway in the shop.
    pub gateway: GatewayId,
    /// The spool's life.
    pub epoch: Epoch,
    /// The event's number in it.
    pub seq: Seq,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.store, self.gateway, self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_say_what_is_wrong_with_them() {
        assert_eq!(StoreId::new(""), Err(NameError::Empty));
        assert_eq!(StoreId::new(&"a".repeat(33)), Err(NameError::TooLong { length: 33 }));
        assert_eq!(StoreId::new("shop/1"), Err(NameError::Character { at: 4, found: '/' }));
        assert_eq!(StoreId::new("Shop").unwrap_err().to_string().find("'S'"), Some(4));
        assert_eq!(StoreId::new(&"z".repeat(32)).unwrap().as_str(), "z".repeat(32));
    }

    #[test]
    fn names_sort_as_their_text_does() {
        let mut names = ["b", "a-1", "a", "ab", "a-"].map(|n| ZoneId::new(n).unwrap());
        names.sort();
        assert_eq!(names.map(|n| n.to_string()), ["a", "a-", "a-1", "ab", "b"]);
    }

    #[test]
    fn an_epoch_is_hexadecimal_for_people_and_a_number_on_the_wire() {
        let epoch = Epoch(0xabc);
        assert_eq!(serde_json::to_string(&epoch).unwrap(), "\"0000000000000abc\"");
        assert_eq!(serde_json::from_str::<Epoch>("\"0000000000000abc\"").unwrap(), epoch);
        assert!(serde_json::from_str::<Epoch>("\"wrong\"").is_err());
        assert_eq!(postcard::to_allocvec(&Epoch(5)).unwrap(), [5]);
    }
}
