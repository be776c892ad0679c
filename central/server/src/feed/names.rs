//! Every URI and every name that stands in the feed. Enters: ids, kinds. Leaves: text. What is here is what other
//! systems compare: it never changes, and a new meaning gets a new name.
//!
//! URIs are URNs of the namespace `hangtag`, because no domain is promised to stay anybody's. Those of places and
//! objects have the form that GS1's Core Business Vocabulary wants of private ones (`…:loc:…`, `…:obj:…`).
//!
//! | what | URI |
//! |---|---|
//! | a shop | `urn:hangtag:TENANT:loc:STORE` |
//! | a rail, shelf, booth, till | `urn:hangtag:TENANT:STORE:loc:ZONE` |
//! | a reader | `urn:hangtag:TENANT:STORE:GATEWAY:reader:READER` |
//! | an event | `urn:hangtag:TENANT:event:STORE:GATEWAY:EPOCH:SEQ` |
//! | a tag that is an SGTIN | `urn:epc:id:sgtin:COMPANY.ITEM.SERIAL`, the EPC's pure identity |
//! | any other tag | `urn:hangtag:obj:HEX` |
//! | a trade item | `https://id.gs1.org/01/GTIN`, its GS1 Digital Link |
//! | a business step | `urn:hangtag:bizstep:KIND` |
//! | a schema | `urn:hangtag:schema:KIND:VERSION`: the end of its topic and of its path |

use hangtag_central_core::feed::{Generation, Sequence};
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::{EventId, GatewayId, ReaderId, StoreId, TenantId, ZoneId};
use jiff::Timestamp;

use super::{rfc3339, timestamp};

/// The version of the types and of their schemas.
pub(crate) const VERSION: u32 = 1;

/// The type of an event in CloudEvents: `hangtag.tried_on.v1`.
pub(crate) fn type_of(kind: Kind) -> String {
    format!("hangtag.{}.v{VERSION}", kind.name())
}

/// The schema of an event's data.
pub(crate) fn schema(kind: Kind) -> String {
    format!("urn:hangtag:schema:{}:{VERSION}", kind.name())
}

/// A business step of our own.
pub(crate) fn step(kind: Kind) -> String {
    format!("urn:hangtag:bizstep:{}", kind.name())
}

/// A shop.
pub(crate) fn shop(tenant: TenantId, store: StoreId) -> String {
    format!("urn:hangtag:{tenant}:loc:{store}")
}

/// A place in a shop.
pub(crate) fn zone(tenant: TenantId, store: StoreId, zone: ZoneId) -> String {
    format!("urn:hangtag:{tenant}:{store}:loc:{zone}")
}

/// A reader.
pub(crate) fn reader(tenant: TenantId, store: StoreId, gateway: GatewayId, reader: ReaderId) -> String {
    format!("urn:hangtag:{tenant}:{store}:{gateway}:reader:{reader}")
}

/// An event.
pub(crate) fn event(tenant: TenantId, id: &EventId) -> String {
    format!("urn:hangtag:{tenant}:event:{id}")
}

/// A tag.
pub(crate) fn object(epc: Epc) -> String {
    epc.sgtin().map_or_else(|| format!("urn:hangtag:obj:{epc}"), |sgtin| sgtin.identity())
}

/// A trade item.
pub(crate) fn item(gtin: Gtin) -> String {
    format!("https://id.gs1.org/01/{gtin}")
}

/// A place in the feed, so long that texts sort as numbers do.
pub(crate) fn sequence(Sequence(number): Sequence) -> String {
    format!("{number:019}")
}

/// By which numbering that is a place: the moment at which it began. Texts sort as times do.
pub(crate) fn generation(Generation(began): Generation) -> String {
    rfc3339(timestamp(began).unwrap_or(Timestamp::UNIX_EPOCH))
}
