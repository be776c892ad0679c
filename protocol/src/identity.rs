//! Who may speak to the broker: what stands as common name in a certificate, and is the user name that the broker's rules
//! go by. Enters: that name. Leaves: who it is.
//!
//! | name | who |
//! |---|---|
//! | `gw/STORE/GATEWAY` | a gateway; it is also the part of its topics that is its own, so that one rule fits all gateways |
//! | `central` | central |
//! | `consumer/NAME` | another system that reads the feed |
//! | `till/STORE` | what tells the sales of a shop |
//! | `broker` | the broker itself, to those who connect to it |

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{ConsumerId, GatewayId, NameError, StoreId};

/// The longest name that a certificate has room for (`ub-common-name` of RFC 5280), in characters.
pub const MAX_COMMON_NAME: usize = 64;
const GATEWAY: &str = "gw/";
const CENTRAL: &str = "central";
const CONSUMER: &str = "consumer/";
const TILL: &str = "till/";
const BROKER: &str = "broker";

/// Who somebody is to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A gateway.
    Gateway(StoreId, GatewayId),
    /// Central.
    Central,
    /// Another system.
    Consumer(ConsumerId),
    /// The tills of a shop.
    Till(StoreId),
    /// The broker.
    Broker,
}

/// Why a text names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It has none of the forms.
    #[error("{0:?} is not gw/STORE/GATEWAY, central, consumer/NAME, till/STORE or broker")]
    Shape(String),
    /// A part of it is no name.
    #[error("{text:?}: {part} {why}")]
    Name {
        /// The whole text.
        text: String,
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        why: NameError,
    },
    /// A certificate has no room for it.
    #[error(
        "{0:?} has {length} characters, and a name in a certificate at most {MAX_COMMON_NAME}: store and gateway \
         together may have {most}",
        length = .0.len(), most = MAX_COMMON_NAME - GATEWAY.len() - 1
    )]
    TooLong(String),
}

impl Identity {
    /// A gateway.
    ///
    /// # Errors
    /// When both names together are too long for a certificate.
    pub fn gateway(store: StoreId, gateway: GatewayId) -> Result<Self, IdentityError> {
        let identity = Self::Gateway(store, gateway);
        let text = identity.to_string();
        if text.len() > MAX_COMMON_NAME { Err(IdentityError::TooLong(text)) } else { Ok(identity) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Gateway(store, gateway) => format!("{GATEWAY}{store}/{gateway}"),
            Self::Central => CENTRAL.into(),
            Self::Consumer(name) => format!("{CONSUMER}{name}"),
            Self::Till(store) => format!("{TILL}{store}"),
            Self::Broker => BROKER.into(),
        };
        f.pad(&text)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let shape = || IdentityError::Shape(text.into());
        let name = |part| move |why| IdentityError::Name { text: text.into(), part, why };
        if let Some(rest) = text.strip_prefix(GATEWAY) {
            let (store, gateway) = rest.split_once('/').ok_or_else(shape)?;
            let store = StoreId::new(store).map_err(name("the store"))?;
            return Self::gateway(store, GatewayId::new(gateway).map_err(name("the gateway"))?);
        }
        if let Some(rest) = text.strip_prefix(CONSUMER) {
            return ConsumerId::new(rest).map(Self::Consumer).map_err(name("the consumer"));
        }
        if let Some(rest) = text.strip_prefix(TILL) {
            return StoreId::new(rest).map(Self::Till).map_err(name("the store"));
        }
        match text {
            CENTRAL => Ok(Self::Central),
            BROKER => Ok(Self::Broker),
            _ => Err(shape()),
        }
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TenantId;
    use crate::topic::{Channel, Gateway};

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["gw/paris-1/gw-1", "central", "consumer/bi", "till/paris-1", "broker"] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
        for text in
            ["", "Central", "gw/paris-1", "gw/a/b/c", "gw/+/b", "consumer/", "till/a/b", "gw/a/#", "a/b"]
        {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
        let long = "a".repeat(31);
        let said = format!("gw/{long}/{long}").parse::<Identity>().unwrap_err().to_string();
        assert!(said.ends_with("has 66 characters, and a name in a certificate at most 64: store and gateway together may have 60"), "{said}");
        assert!(format!("gw/{}/{}", &long[1..], &long[1..]).parse::<Identity>().is_ok());
    }

    #[test]
    fn a_gateways_name_is_the_part_of_its_topics_that_is_its_own() {
        let (store, gateway) = (StoreId::new("paris-1").unwrap(), GatewayId::new("gw-1").unwrap());
        let topics = Gateway { tenant: TenantId::new("acme").unwrap(), store, gateway };
        let identity = Identity::gateway(store, gateway).unwrap();
        assert_eq!(topics.topic(Channel::Events), format!("hangtag/v1/acme/{identity}/events"));
    }
}
