//! The same as an EPCIS 2.0 ObjectEvent in JSON-LD. Enters: an event of the feed. Leaves: a document that GS1's
//! published schema accepts.
//!
//! | kind | ObjectEvent |
//! |---|---|
//! | what is done with a garment | its EPC; an own business step |
//! | `retracted` | the mistaken event once more, with its own id, and an `errorDeclaration`: `did_not_occur` |
//! | `coverage` | no object: `sensor_reporting` of a reader, its state as a sensor's report from when until when |
//! | `scanned`, a product's code | its GTIN, one piece; an own business step |
//! | `scanned`, a loyalty code | no object: that one was scanned as a sensor's report, and nothing of it |
//!
//! Every event of the feed has a document, so that `hangtag:sequence` has no gaps. A retraction whose mistaken event
//! is not there declares an error of an event without objects; when that comes after all, it carries the declaration
//! itself. What has no time of day has the time at which central got it, and says `"hangtag:clock": "absent"`.

use hangtag_central_core::feed::{Clock, Deed, Fed, Garment, Retraction, Told};
use hangtag_protocol::event::{Evidence, Kind, ReaderState};
use hangtag_protocol::id::{EventId, ReaderId, Seq, ZoneId};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Scene, clock_name, names, received, rfc3339, sane, timestamp};

/// The content type.
pub(crate) const CONTENT_TYPE: &str = "application/ld+json";

/// An ObjectEvent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectEvent {
    /// What its words mean; an event in a document shares the document's.
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    context: Option<Value>,
    r#type: &'static str,
    #[serde(rename = "eventID")]
    event_id: String,
    event_time: String,
    event_time_zone_offset: String,
    record_time: String,
    action: &'static str,
    biz_step: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    disposition: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epc_list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity_list: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensor_element_list: Option<Value>,
    read_point: Place,
    biz_location: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_declaration: Option<ErrorDeclaration>,
    #[serde(rename = "hangtag:id")]
    id: String,
    #[serde(rename = "hangtag:sequence")]
    sequence: String,
    #[serde(rename = "hangtag:generation")]
    generation: String,
    #[serde(rename = "hangtag:clock")]
    clock: &'static str,
    #[serde(rename = "hangtag:clock_error_ms", skip_serializing_if = "Option::is_none")]
    clock_error_ms: Option<u32>,
    #[serde(rename = "hangtag:confidence", skip_serializing_if = "Option::is_none")]
    confidence: Option<u8>,
    #[serde(rename = "hangtag:visit", skip_serializing_if = "Option::is_none")]
    visit: Option<String>,
    #[serde(rename = "hangtag:evidence", skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
}

#[derive(Debug, Serialize)]
struct Place {
    id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorDeclaration {
    declaration_time: String,
    reason: &'static str,
    /// The event that says so.
    #[serde(rename = "hangtag:retraction")]
    retraction: String,
}

/// What our own words stand for beside GS1's.
fn context() -> Value {
    json!(["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld", { "hangtag": "urn:hangtag:" }])
}

/// Events as one document, such as EPCIS repositories capture.
pub(crate) fn document(events: &[ObjectEvent], now: Timestamp) -> String {
    let document = json!({
        "@context": context(),
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": rfc3339(now),
        "epcisBody": { "eventList": events },
    });
    document.to_string()
}

impl ObjectEvent {
    /// The document of an event, to stand alone.
    pub(crate) fn alone(scene: &Scene, event: &Fed) -> Self {
        Self { context: Some(context()), ..Self::within(scene, event) }
    }

    /// The same, to stand in a list.
    pub(crate) fn within(scene: &Scene, event: &Fed) -> Self {
        match &event.what {
            Told::Garment(garment) => Self::of_garment(scene, event, garment),
            Told::Retracted { mistaken, said } => {
                let retraction = Retraction { id: event.id, clock: event.clock, received: event.received };
                let stands = match said {
                    Some(said) => Self::within(scene, said),
                    None => Self::unknown(scene, event, *mistaken),
                };
                let declaration = Some(ErrorDeclaration::new(scene, &retraction));
                let (id, sequence) = (event.id.to_string(), names::sequence(event.sequence));
                Self { error_declaration: declaration, id, sequence, ..stands }
            }
            Told::Coverage { reader, state, lasted_ms } => {
                Self::of_coverage(scene, event, *reader, *state, *lasted_ms)
            }
            Told::Scanned { zone, visit, product } => {
                let bare = Self::new(scene, event, Kind::Scanned, Some(*zone), *visit);
                match product {
                    Some(gtin) => {
                        let items = json!([{ "epcClass": names::item(*gtin), "quantity": 1 }]);
                        Self { quantity_list: Some(items), ..bare }
                    }
                    None => {
                        let report = json!({ "type": "hangtag:loyalty_code", "booleanValue": true });
                        Self { sensor_element_list: Some(json!([{ "sensorReport": [report] }])), ..bare }
                    }
                }
            }
        }
    }

    /// The document as text.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always encode")
    }

    fn of_garment(scene: &Scene, event: &Fed, garment: &Garment) -> Self {
        let on_show = match garment.deed {
            Deed::PutDown => Some("sellable_accessible"),
            // In somebody's hands it is for sale, and nobody else can take it.
            Deed::PickedUp | Deed::CarriedIn | Deed::TriedOn | Deed::CarriedOut => {
                Some("sellable_not_accessible")
            }
        };
        Self {
            epc_list: Some(vec![names::object(garment.epc)]),
            disposition: on_show,
            evidence: Some(garment.evidence),
            ..Self::new(scene, event, event.kind(), Some(garment.zone), garment.visit)
        }
    }

    fn of_coverage(scene: &Scene, event: &Fed, reader: ReaderId, state: ReaderState, lasted_ms: u64) -> Self {
        let EventId { store, gateway, .. } = event.id;
        let device = names::reader(scene.tenant(), store, gateway, reader);
        let (to, _) = event_time(event);
        let lasted = SignedDuration::from_millis(i64::try_from(lasted_ms).unwrap_or(i64::MAX));
        let from = to.checked_sub(lasted).ok().and_then(timestamp_of);
        let mut metadata = json!({ "deviceID": device, "endTime": rfc3339(to) });
        if let Some(from) = from {
            metadata["startTime"] = rfc3339(from).into();
        }
        let report = json!({ "type": "hangtag:reader_state", "stringValue": state });
        let list = json!([{ "sensorMetadata": metadata, "sensorReport": [report] }]);
        Self {
            biz_step: "sensor_reporting".into(),
            sensor_element_list: Some(list),
            read_point: Place { id: device },
            ..Self::new(scene, event, Kind::Coverage, None, None)
        }
    }

    /// An event that is retracted and not there.
    fn unknown(scene: &Scene, event: &Fed, mistaken: EventId) -> Self {
        Self {
            event_id: names::event(scene.tenant(), &mistaken),
            epc_list: Some(Vec::new()),
            confidence: None,
            ..Self::new(scene, event, Kind::Retracted, None, None)
        }
    }

    fn new(scene: &Scene, event: &Fed, kind: Kind, zone: Option<ZoneId>, visit: Option<Seq>) -> Self {
        let (tenant, store) = (scene.tenant(), event.id.store);
        let (at, clock) = event_time(event);
        let (clock, clock_error_ms) = clock_name(clock);
        let shop = names::shop(tenant, store);
        Self {
            context: None,
            r#type: "ObjectEvent",
            event_id: names::event(tenant, &event.id),
            event_time: rfc3339(at),
            event_time_zone_offset: scene.offset(store, at),
            record_time: rfc3339(received(event)),
            action: "OBSERVE",
            biz_step: names::step(kind),
            disposition: None,
            epc_list: None,
            quantity_list: None,
            sensor_element_list: None,
            read_point: Place {
                id: zone.map_or_else(|| shop.clone(), |zone| names::zone(tenant, store, zone)),
            },
            biz_location: Place { id: shop },
            error_declaration: event.retracted.as_ref().map(|by| ErrorDeclaration::new(scene, by)),
            id: event.id.to_string(),
            sequence: names::sequence(event.sequence),
            generation: names::generation(event.generation),
            clock,
            clock_error_ms,
            confidence: Some(event.confidence),
            visit: visit.map(|visit| event.beside(visit).to_string()),
            evidence: None,
        }
    }
}

impl ErrorDeclaration {
    fn new(scene: &Scene, by: &Retraction) -> Self {
        let said = sane(by.clock).at().and_then(timestamp);
        let at = said.or_else(|| timestamp(by.received)).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            declaration_time: rfc3339(at),
            reason: "did_not_occur",
            retraction: names::event(scene.tenant(), &by.id),
        }
    }
}

/// When it happened; if nobody knows, when central got it.
fn event_time(event: &Fed) -> (Timestamp, Clock) {
    let clock = sane(event.clock);
    (clock.at().and_then(timestamp).unwrap_or_else(|| received(event)), clock)
}

/// A moment that can be written with a year of four digits, or none.
fn timestamp_of(at: Timestamp) -> Option<Timestamp> {
    (at >= Timestamp::UNIX_EPOCH).then_some(at)
}
