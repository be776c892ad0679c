//! What other systems receive. Enters: stored events with their places in the feed. Leaves: documents in the formats
//! that others read, and their names.
//!
//! | module | does |
//! |---|---|
//! | [`names`] | every URI and every name of the feed: decided there, and for ever |
//! | [`cloudevents`] | an event as CloudEvents 1.0 JSON |
//! | [`epcis`] | the same as a GS1 EPCIS 2.0 ObjectEvent |
//! | [`hourly`] | how often things happened, hour by hour |
//! | [`courier`] | publishes what is stored |
//! | [`window`] | what of it the broker has acknowledged |
//! | [`mqtt`] | one connection to the broker |
//! | [`documents`] | what describes all of it, for who reads it |
//! | [`desk`] | asks the database from tasks that must not wait |

use hangtag_central_core::feed::{Clock, Fed};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{StoreId, TenantId};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::shop::Shop;

pub(crate) mod cloudevents;
pub(crate) mod courier;
pub(crate) mod desk;
pub(crate) mod documents;
pub(crate) mod epcis;
pub(crate) mod hourly;
pub(crate) mod mqtt;
pub(crate) mod names;
mod window;

/// What a document says beside the event itself.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    tenant: TenantId,
    zones: Vec<(StoreId, TimeZone)>,
}

impl Scene {
    /// The chain and its shops.
    pub(crate) fn new(tenant: TenantId, shops: &[Shop]) -> Self {
        Self { tenant, zones: shops.iter().map(|shop| (shop.id, shop.time_zone.clone())).collect() }
    }

    /// The chain.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Hours and minutes by which the shop's clock differs from UTC at a moment, such as `+01:00`; none for a
    /// shop that the stores file does not have.
    fn offset(&self, store: StoreId, at: Timestamp) -> String {
        let zone = self.zones.iter().find(|(id, _)| *id == store);
        // Zones of long ago have seconds, which EPCIS does not.
        let minutes = zone.map_or(0, |(_, zone)| zone.to_offset(at).seconds() / 60);
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    }
}

/// Whether and how well a clock tells when something happened, as documents say it.
fn clock_name(clock: Clock) -> (&'static str, Option<u32>) {
    match clock {
        Clock::Vouched { error_ms, .. } => ("vouched", Some(error_ms)),
        Clock::Unvouched { .. } => ("unvouched", None),
        Clock::Absent => ("absent", None),
    }
}

/// A clock without the times that cannot be written with a year of four digits: whoever set it to one is no clock.
fn sane(clock: Clock) -> Clock {
    if clock.at().is_some_and(|at| timestamp(at).is_none()) { Clock::Absent } else { clock }
}

/// A moment of the years 1970 to 9999.
fn timestamp(at: UnixMillis) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.0).ok().filter(|_| at.0 >= 0)
}

/// When central got it. Its own clock is never outside the calendar.
fn received(event: &Fed) -> Timestamp {
    timestamp(event.received).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A moment as RFC 3339 has it, in UTC, with milliseconds.
fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
pub(crate) mod tests;
