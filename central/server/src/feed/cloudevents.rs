//! An event as CloudEvents 1.0 JSON, structured. Enters: an event of the feed. Leaves: a document.
//!
//! ```json
//! {"specversion":"1.0","id":"paris-1:gw-1:0000000000000abc:12","source":"urn:hangtag:acme:loc:paris-1",
//!  "type":"hangtag.tried_on.v1","subject":"3074257bf7194e4000001a85","time":"2026-11-21T09:30:00.000Z",
//!  "datacontenttype":"application/json","dataschema":"urn:hangtag:schema:tried_on:1",
//!  "sequence":"0000000000000000042","generation":"2026-11-01T08:00:00.000Z",
//!  "data":{"gateway":"gw-1","received":"2026-11-21T09:30:31.120Z",
//!   "clock":"vouched","clock_error_ms":20,"confidence":90,"epc":"3074257bf7194e4000001a85",
//!   "epc_uri":"urn:epc:id:sgtin:0614141.812345.6789","gtin":"80614141123458","serial":"6789","zone":"booth-1",
//!   "visit":"paris-1:gw-1:0000000000000abc:9",
//!   "evidence":{"reads":40,"margin_db":9,"unrest":55,"dwell_ds":412}}}
//! ```
//!
//! Ids are unique whatever the source; `sequence` is that of the extension of this name, per source and `generation`, an
//! extension of our own. `time` is absent
//! where no clock told it. The gateway stands in the data because a source is a shop: its feed is one.

use hangtag_central_core::feed::{Fed, Told};
use hangtag_protocol::event::{Evidence, ReaderState};
use serde::Serialize;

use super::{Scene, clock_name, names, received, rfc3339, sane, timestamp};

/// The content type of one.
pub(crate) const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The content type of an array of them.
pub(crate) const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// A document.
#[derive(Debug, Serialize)]
pub(crate) struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    dataschema: String,
    sequence: String,
    generation: String,
    data: Data,
}

/// What all kinds say, and what each says.
#[derive(Debug, Serialize)]
struct Data {
    gateway: String,
    received: String,
    clock: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_error_ms: Option<u32>,
    confidence: u8,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Garment {
        epc: String,
        epc_uri: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        gtin: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
        zone: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        visit: Option<String>,
        evidence: Evidence,
    },
    Retracted {
        retracts: String,
    },
    Coverage {
        reader: String,
        state: ReaderState,
        lasted_ms: u64,
    },
    Scanned {
        zone: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        visit: Option<String>,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        gtin: Option<String>,
    },
}

impl CloudEvent {
    /// The document of an event.
    pub(crate) fn new(scene: &Scene, event: &Fed) -> Self {
        let (kind, clock) = (event.kind(), sane(event.clock));
        let (clock_name, clock_error_ms) = clock_name(clock);
        Self {
            specversion: "1.0",
            id: event.id.to_string(),
            source: names::shop(scene.tenant, event.id.store),
            r#type: names::type_of(kind),
            subject: subject(event),
            time: clock.at().and_then(timestamp).map(rfc3339),
            datacontenttype: "application/json",
            dataschema: names::schema(kind),
            sequence: names::sequence(event.sequence),
            generation: names::generation(event.generation),
            data: Data {
                gateway: event.id.gateway.to_string(),
                received: rfc3339(received(event)),
                clock: clock_name,
                clock_error_ms,
                confidence: event.confidence,
                what: what(event),
            },
        }
    }

    /// The document as text.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always encode")
    }
}

/// What an event is about.
fn subject(event: &Fed) -> String {
    match &event.what {
        Told::Garment(garment) => garment.epc.to_string(),
        Told::Retracted { mistaken, .. } => mistaken.to_string(),
        Told::Coverage { reader, .. } => reader.to_string(),
        Told::Scanned { zone, .. } => zone.to_string(),
    }
}

fn what(event: &Fed) -> What {
    let id_of = |visit| event.beside(visit).to_string();
    match &event.what {
        Told::Garment(garment) => {
            let sgtin = garment.epc.sgtin();
            What::Garment {
                epc: garment.epc.to_string(),
                epc_uri: names::object(garment.epc),
                gtin: sgtin.as_ref().map(|sgtin| sgtin.gtin().to_string()),
                serial: sgtin.as_ref().map(|sgtin| sgtin.serial.to_text()),
                zone: garment.zone.to_string(),
                visit: garment.visit.map(id_of),
                evidence: garment.evidence,
            }
        }
        Told::Retracted { mistaken, .. } => What::Retracted { retracts: mistaken.to_string() },
        Told::Coverage { reader, state, lasted_ms } => {
            What::Coverage { reader: reader.to_string(), state: *state, lasted_ms: *lasted_ms }
        }
        Told::Scanned { zone, visit, product } => What::Scanned {
            zone: zone.to_string(),
            visit: visit.map(id_of),
            code: if product.is_some() { "product" } else { "loyalty" },
            gtin: product.map(|gtin| gtin.to_string()),
        },
    }
}
