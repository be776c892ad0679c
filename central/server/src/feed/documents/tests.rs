//! The documents say what the code does, no more and no less.

use std::collections::BTreeMap;

use hangtag_protocol::batch::{Batch, FORMAT, Header, MAX_BYTES};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime};
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::{Lineage, Run};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::BATCH_CONTENT_TYPE;
use jsonschema::{Registry, Validator};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::feed::cloudevents::CloudEvent;
use crate::feed::epcis::ObjectEvent;
use crate::feed::names;
use crate::feed::tests::{any_fed, complaints, every_kind, scene};
use crate::store::tests::{TAG, gateway, picked};

pub(in crate::feed) fn value(name: &str) -> Value {
    ALL.iter().find(|document| document.name == name).unwrap().value()
}

/// Also refuses what the schema does not name, so that nothing is told that is not described.
pub(in crate::feed) fn strict(mut schema: Value) -> Value {
    fn close(schema: &mut Value) {
        let Some(object) = schema.as_object_mut() else { return };
        if object.contains_key("properties") && object.get("type") == Some(&json!("object")) {
            object.entry("additionalProperties").or_insert(json!(false));
        }
        object.values_mut().for_each(close);
    }
    close(&mut schema);
    // What is in the data is described elsewhere.
    if let Some(data) = schema.pointer_mut("/properties/data") {
        *data = json!({ "type": "object" });
    }
    schema
}

/// The schema of events, to which those of their data belong; and that of EPCIS.
fn validators() -> [Validator; 2] {
    let mut registry = Registry::new();
    for kind in Kind::ALL {
        registry = registry.add(names::schema(kind), strict(value(kind.name()))).unwrap();
    }
    let registry = registry.prepare().unwrap();
    ["event", "epcis"].map(|name| {
        let options = jsonschema::options().should_validate_formats(true).with_registry(&registry);
        options.build(&strict(value(name))).unwrap()
    })
}

thread_local! { static VALIDATORS: [Validator; 2] = validators(); }

/// What is wrong with the documents of an event.
fn wrong(event: &hangtag_central_core::feed::Fed) -> Vec<String> {
    let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let documents = [
        parsed(CloudEvent::new(&scene(), event).to_json()),
        parsed(ObjectEvent::alone(&scene(), event).to_json()),
    ];
    VALIDATORS.with(|validators| {
        validators
            .iter()
            .zip(&documents)
            .flat_map(|(schema, document)| complaints(schema, document))
            .collect()
    })
}

#[test]
fn every_kind_of_event_is_as_its_schemas_say_and_what_is_broken_is_refused() {
    for event in every_kind() {
        assert_eq!(wrong(&event), [""; 0], "{event:?}");
    }
    let event = serde_json::to_value(CloudEvent::new(&scene(), &every_kind()[3])).unwrap();
    let breaks: [(&str, Value); 8] = [
        ("/id", json!("12")),
        ("/sequence", json!("42")),
        ("/type", json!("hangtag.picked_up.v1")),
        ("/dataschema", json!("urn:hangtag:schema:coverage:1")),
        ("/time", json!("2026-11-21T09:30:00+01:00")),
        ("/data/confidence", json!(101)),
        ("/data/clock", json!("absent")),
        ("/data/evidence/reads", json!(-1)),
    ];
    for (place, broken) in breaks {
        let mut event = event.clone();
        *event.pointer_mut(place).unwrap() = broken;
        let told = VALIDATORS.with(|[events, _]| complaints(events, &event));
        assert_ne!(told, [""; 0], "{place}");
    }
}

proptest! {
    #[test]
    fn whatever_can_happen_is_as_its_schemas_say(event in any_fed()) {
        prop_assert_eq!(wrong(&event), [""; 0]);
    }
}

#[test]
fn every_kind_has_a_schema_under_the_name_that_events_give() {
    for kind in Kind::ALL {
        let document = Document::find(kind.name(), names::VERSION).unwrap();
        assert_eq!(document.value()["$id"], names::schema(kind).as_str());
    }
    for Document { name, version, .. } in &ALL {
        assert_eq!(ALL.iter().filter(|other| (other.name, other.version) == (*name, *version)).count(), 1);
    }
    assert!(Document::find("tried_on", 2).is_none());
}

#[test]
fn asyncapi_holds_the_same_schemas_and_names_the_topics() {
    let asyncapi = value("asyncapi");
    for (name, held) in asyncapi["components"]["schemas"].as_object().unwrap() {
        let mut schema = value(name);
        let left_out: &[&str] =
            if name == "event" { &["$id", "$schema", "oneOf"] } else { &["$id", "$schema"] };
        left_out.iter().for_each(|key| drop(schema.as_object_mut().unwrap().remove(*key)));
        assert_eq!(held, &schema, "{name}");
    }
    let gateway = gateway();
    let addresses: BTreeMap<String, &str> = asyncapi["channels"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, channel)| {
            let address = channel["address"].as_str().unwrap();
            (address.replace("{tenant}", "demo").replace("{store}", "paris-1"), name.as_str())
        })
        .collect();
    for kind in Kind::ALL {
        assert_eq!(addresses[&topic::feed(gateway.tenant, gateway.store, kind)], kind.name());
        let message = &asyncapi["components"]["messages"][kind.name()];
        assert_eq!(
            message["payload"]["allOf"][1]["properties"]["type"]["const"],
            names::type_of(kind).as_str()
        );
    }
    assert_eq!(addresses[&topic::feed_epcis(gateway.tenant, gateway.store)], "epcis");
    assert_eq!(addresses["hangtag/v1/demo/schema/{name}/{version}"], "document");
    assert_eq!(addresses[&*topic::counts(gateway.tenant, gateway.store, "{measure}")], "counts");
    assert_eq!(addresses.len(), Kind::ALL.len() + 3);
    let listed = &asyncapi["channels"]["document"]["parameters"]["name"]["enum"];
    assert_eq!(listed, &json!(ALL.map(|document| document.name)));
}

/// Reads fields as the table says.
fn field(row: &Value, bytes: &mut &[u8]) -> Value {
    let mut varint = || {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = bytes.split_off_first().unwrap();
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    };
    match row["type"].as_str().unwrap() {
        "bytes" => {
            let length = usize::try_from(row["length"].as_u64().unwrap()).unwrap();
            json!(std::str::from_utf8(bytes.split_off(..length).unwrap()).unwrap())
        }
        "u8" => json!(bytes.split_off_first().unwrap()),
        "u32le" => json!(u32::from_le_bytes(bytes.split_off(..4).unwrap().try_into().unwrap())),
        "u64le" => json!(u64::from_le_bytes(bytes.split_off(..8).unwrap().try_into().unwrap())),
        "name" => {
            let length = usize::from(*bytes.split_off_first().unwrap());
            json!(std::str::from_utf8(bytes.split_off(..length).unwrap()).unwrap())
        }
        "varint" => json!(varint()),
        "zigzag" => {
            let number = varint();
            json!((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
        }
        "list" => {
            let count = varint();
            json!((0..count).map(|_| fields(&row["of"], bytes)).collect::<Vec<_>>())
        }
        "rest" => {
            let length = usize::try_from(varint()).unwrap();
            json!(bytes.split_off(..length).unwrap())
        }
        other => panic!("{other}"),
    }
}

fn fields(rows: &Value, bytes: &mut &[u8]) -> Value {
    let mut read = serde_json::Map::new();
    for row in rows.as_array().unwrap() {
        let found = field(row, bytes);
        assert!(row.get("value").is_none_or(|value| *value == found), "{row}: {found}");
        read.insert(row["field"].as_str().unwrap().into(), found);
    }
    read.into()
}

#[test]
fn a_batch_is_read_field_by_field_as_the_table_says() {
    let table = value("batch");
    assert_eq!((&table["version"], &table["content_type"]), (&json!(FORMAT), &json!(BATCH_CONTENT_TYPE)));
    assert_eq!(table["max_bytes"], MAX_BYTES);
    let events = vec![picked(1_000, TAG), picked(2_000, TAG)];
    let batch = Batch {
        header: Header {
            format: FORMAT,
            replayed: true,
            gateway: gateway(),
            epoch: Epoch(0xfeed_0000_0000_0001),
            first: Seq(70_000),
            count: 2,
        },
        oldest_held: Seq(300),
        lost: vec![SeqRange::new(5, 900), SeqRange::new(1_000, 1_000)],
        anchors: vec![ClockAnchor {
            boot: BootId(u64::MAX),
            uptime: Uptime(128),
            wall: UnixMillis(-3),
            error_ms: u32::MAX,
        }],
        lineage: Lineage::from(vec![Run { first: Seq(1), id: 7 }]),
        events,
    };
    let payload = batch.encode().unwrap();
    let mut rest = &payload[..];
    let header = fields(&table["header"], &mut rest);
    for (field, wanted) in [
        ("flags", json!(1)),
        ("epoch", json!(0xfeed_0000_0000_0001_u64)),
        ("first", json!(70_000)),
        ("count", json!(2)),
        ("tenant", json!("demo")),
        ("store", json!("paris-1")),
        ("gateway", json!("gw-1")),
    ] {
        assert_eq!(header[field], wanted, "{field}");
    }
    assert_eq!(rest, Batch::decode_header(&payload).unwrap().1, "the body begins there");
    let body = fields(&table["body"], &mut rest);
    assert!(rest.is_empty(), "nothing is left");
    assert_eq!(body["oldest_held"], 300);
    assert_eq!(body["lost"], json!([{ "first": 5, "last": 900 }, { "first": 1_000, "last": 1_000 }]));
    let anchor = json!({ "boot": u64::MAX, "uptime": 128, "wall": -3, "error_ms": u32::MAX });
    assert_eq!(body["anchors"], json!([anchor]));
    assert_eq!(body["lineage"], json!([{ "first": 1, "id": 7 }]));
}
