//! MQTT topics, built and parsed. `{gw}` is `hangtag/v1/{tenant}/gw/{store}/{gateway}`.
//!
//! | topic | carries |
//! |---|---|
//! | `{gw}/events` | [batches](crate::batch) from the agent |
//! | `{gw}/ack` | the [watermark](crate::watermark) from central, retained |
//! | `{gw}/status` | the gateway's [health](crate::status), retained, and last will |
//! | `hangtag/v1/{tenant}/pos/{store}/{kind}` | what tills tell: `sale`, `return` or `stock`, JSON |
//! | `hangtag/v1/{tenant}/feed/{store}/{kind}` | one event of the kind for other systems, as CloudEvents JSON |
//! | `hangtag/v1/{tenant}/feed/{store}/epcis` | the same, of any kind, as EPCIS JSON-LD |
//! | `hangtag/v1/{tenant}/counts/{store}/{measure}` | how often something happened per hour, JSON, retained |
//! | `hangtag/v1/{tenant}/schema/{name}/{version}` | what describes them, retained |

use alloc::format;
use alloc::string::String;

use crate::event::Kind;
use crate::id::{GatewayId, NameError, StoreId, TenantId};

const ROOT: &str = "hangtag/v1";

/// Content type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/vnd.hangtag.batch+postcard";

/// One gateway, as topics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gateway {
    /// The chain.
    pub tenant: TenantId,
    /// The shop.
    pub store: StoreId,
    /// The gateway in the shop.
    pub gateway: GatewayId,
}

/// The channels of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Batches.
    Events,
    /// The watermark.
    Ack,
    /// Health.
    Status,
}

impl Channel {
    const ALL: [Self; 3] = [Self::Events, Self::Ack, Self::Status];

    fn level(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Ack => "ack",
            Self::Status => "status",
        }
    }
}

/// What tills of one shop tell on one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Till {
    /// The chain.
    pub tenant: TenantId,
    /// The shop.
    pub store: StoreId,
    /// What about.
    pub about: About,
}

/// What tills tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// Lines of receipts.
    Sale,
    /// Lines of receipts of goods that came back.
    Return,
    /// Counts of stock.
    Stock,
}

impl About {
    const ALL: [Self; 3] = [Self::Sale, Self::Return, Self::Stock];

    /// Its name, the last level of the topic.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Return => "return",
            Self::Stock => "stock",
        }
    }

    /// What has this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|about| about.name() == name)
    }
}

/// Why a topic is not one of a gateway's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The levels are not those of a gateway's channel.
    #[error("topic {0:?} is not hangtag/v1/TENANT/gw/STORE/GATEWAY/CHANNEL")]
    Shape(String),
    /// A level is not a name.
    #[error("topic {topic:?}: {level} {why}")]
    Name {
        /// The topic.
        topic: String,
        /// Which level.
        level: &'static str,
        /// What is wrong with it.
        why: NameError,
    },
}

impl Gateway {
    /// The topic of one of the gateway's channels.
    #[must_use]
    pub fn topic(&self, channel: Channel) -> String {
        let Self { tenant, store, gateway } = self;
        format!("{ROOT}/{tenant}/gw/{store}/{gateway}/{}", channel.level())
    }

    /// Takes a topic apart.
    ///
    /// # Errors
    /// When the topic is not a gateway's, or a level is not a name.
    pub fn parse(topic: &str) -> Result<(Self, Channel), TopicError> {
        let shape = || TopicError::Shape(topic.into());
        let levels = topic.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).ok_or_else(shape)?;
        let mut levels = levels.split('/');
        let (Some(tenant), Some("gw"), Some(store), Some(gateway), Some(channel), None) =
            (levels.next(), levels.next(), levels.next(), levels.next(), levels.next(), levels.next())
        else {
            return Err(shape());
        };
        let channel = Channel::ALL.into_iter().find(|c| c.level() == channel).ok_or_else(shape)?;
        let name = |level| move |why| TopicError::Name { topic: topic.into(), level, why };
        let gateway = Self {
            tenant: TenantId::new(tenant).map_err(name("tenant"))?,
            store: StoreId::new(store).map_err(name("store"))?,
            gateway: GatewayId::new(gateway).map_err(name("gateway"))?,
        };
        Ok((gateway, channel))
    }
}

impl Till {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> String {
        let Self { tenant, store, about } = self;
        format!("{ROOT}/{tenant}/pos/{store}/{}", about.name())
    }

    /// Takes a topic apart. `None` when it is not one of a till's.
    #[must_use]
    pub fn parse(topic: &str) -> Option<Self> {
        let mut levels = topic.strip_prefix(ROOT)?.strip_prefix('/')?.split('/');
        let (Some(tenant), Some("pos"), Some(store), Some(about), None) =
            (levels.next(), levels.next(), levels.next(), levels.next(), levels.next())
        else {
            return None;
        };
        Some(Self {
            tenant: TenantId::new(tenant).ok()?,
            store: StoreId::new(store).ok()?,
            about: About::named(about)?,
        })
    }
}

/// The filter that subscribes to all that tills of a tenant tell.
#[must_use]
pub fn all_tills(tenant: TenantId) -> String {
    format!("{ROOT}/{tenant}/pos/+/+")
}

/// The filter that subscribes to one channel of all gateways of a tenant.
#[must_use]
pub fn all_gateways(tenant: TenantId, channel: Channel) -> String {
    format!("{ROOT}/{tenant}/gw/+/+/{}", channel.level())
}

/// Where events of one kind are told to other systems.
#[must_use]
pub fn feed(tenant: TenantId, store: StoreId, kind: Kind) -> String {
    format!("{ROOT}/{tenant}/feed/{store}/{}", kind.name())
}

/// Where events of all kinds are told as EPCIS. No kind has this name.
#[must_use]
pub fn feed_epcis(tenant: TenantId, store: StoreId) -> String {
    format!("{ROOT}/{tenant}/feed/{store}/epcis")
}

/// Where is kept how often something happened in the latest hours. The measure's name is the caller's, and one level.
#[must_use]
pub fn counts(tenant: TenantId, store: StoreId, measure: &str) -> String {
    format!("{ROOT}/{tenant}/counts/{store}/{measure}")
}

/// Where a version of a description is kept. The name is the caller's, and one level.
#[must_use]
pub fn schema(tenant: TenantId, name: &str, version: u32) -> String {
    format!("{ROOT}/{tenant}/schema/{name}/{version}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn topics_are_parsed_as_they_are_built() {
        let gateway = Gateway {
            tenant: TenantId::new("acme").unwrap(),
            store: StoreId::new("paris-1").unwrap(),
            gateway: GatewayId::new("gw-2").unwrap(),
        };
        assert_eq!(gateway.topic(Channel::Events), "hangtag/v1/acme/gw/paris-1/gw-2/events");
        for channel in Channel::ALL {
            assert_eq!(Gateway::parse(&gateway.topic(channel)), Ok((gateway, channel)));
        }
        assert_eq!(all_gateways(gateway.tenant, Channel::Status), "hangtag/v1/acme/gw/+/+/status");
    }

    #[test]
    fn tills_topics_are_parsed_as_they_are_built() {
        for about in About::ALL {
            let till = Till {
                tenant: TenantId::new("acme").unwrap(),
                store: StoreId::new("paris-1").unwrap(),
                about,
            };
            assert_eq!(Till::parse(&till.topic()), Some(till));
        }
        for topic in [
            "",
            "hangtag/v1/acme/pos/paris-1",
            "hangtag/v1/acme/pos/paris-1/other",
            "hangtag/v1/acme/pos/Paris/sale",
            "hangtag/v1/acme/pos/paris-1/sale/1",
            "hangtag/v1/acme/gw/paris-1/sale",
            "hangtag/v2/acme/pos/paris-1/sale",
        ] {
            assert_eq!(Till::parse(topic), None, "{topic}");
        }
    }

    #[test]
    fn what_others_are_told_is_on_topics_of_its_own() {
        let (tenant, store) = (TenantId::new("acme").unwrap(), StoreId::new("paris-1").unwrap());
        let mut topics: Vec<String> = Kind::ALL.into_iter().map(|kind| feed(tenant, store, kind)).collect();
        assert_eq!(topics[3], "hangtag/v1/acme/feed/paris-1/tried_on");
        topics.extend([feed_epcis(tenant, store), schema(tenant, "tried_on", 1)]);
        assert_eq!(&topics[8..], ["hangtag/v1/acme/feed/paris-1/epcis", "hangtag/v1/acme/schema/tried_on/1"]);
        for topic in &topics {
            assert!(!topic.contains(['+', '#']) && topic.split('/').count() <= 7, "{topic}");
            assert!(Gateway::parse(topic).is_err(), "{topic}");
            assert_eq!(topics.iter().filter(|other| *other == topic).count(), 1, "{topic}");
        }
    }

    #[test]
    fn foreign_topics_are_refused() {
        for topic in [
            "",
            "hangtag/v1",
            "hangtag/v2/a/gw/b/c/events",
            "hangtag/v1/a/gw/b/c/other",
            "hangtag/v1/a/gw/b/c/events/d",
            "hangtag/v1/a/pos/b/c/events",
            "hangtag/v1x/a/gw/b/c/ack",
        ] {
            assert!(matches!(Gateway::parse(topic), Err(TopicError::Shape(_))), "{topic}");
        }
        assert!(matches!(
            Gateway::parse("hangtag/v1/a/gw/Big/c/events"),
            Err(TopicError::Name { level: "store", .. })
        ));
    }
}
