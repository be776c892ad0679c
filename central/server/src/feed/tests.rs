//! Documents of every kind of event, against the schemas that describe them.

use std::io::Write as _;

use hangtag_central_core::feed::{Clock, Deed, Fed, Garment, Generation, Retraction, Sequence, Told};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::{Evidence, ReaderState};
use hangtag_protocol::id::{Epoch, EventId, GatewayId, ReaderId, Seq, StoreId, TenantId, ZoneId};
use jiff::Timestamp;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Scene;
use super::cloudevents::CloudEvent;
use super::epcis::{self, ObjectEvent};
use crate::shop::tests::paris;

const TAG: &str = "3074257bf7194e4000001a85";

pub(crate) fn scene() -> Scene {
    Scene::new(TenantId::new("acme").unwrap(), &[paris()])
}

fn id(seq: u64) -> EventId {
    EventId {
        store: StoreId::new("paris-1").unwrap(),
        gateway: GatewayId::new("gw-1").unwrap(),
        epoch: Epoch(0xabc),
        seq: Seq(seq),
    }
}

fn fed(what: Told) -> Fed {
    Fed {
        id: id(12),
        sequence: Sequence(42),
        generation: Generation(UnixMillis(1_793_520_000_000)),
        // A Saturday in winter, 10:30 in Paris.
        clock: Clock::Vouched { at: UnixMillis(1_795_253_400_000), error_ms: 20 },
        received: UnixMillis(1_795_253_431_120),
        confidence: 90,
        what,
        retracted: None,
    }
}

fn tried_on() -> Fed {
    fed(Told::Garment(Garment {
        deed: Deed::TriedOn,
        epc: Epc::from_hex(TAG).unwrap(),
        zone: ZoneId::new("booth-1").unwrap(),
        visit: Some(Seq(9)),
        evidence: Evidence { reads: 40, margin_db: 9, unrest: 55, dwell_ds: 412 },
    }))
}

fn retracting(said: Option<Fed>) -> Fed {
    let what = Told::Retracted { mistaken: id(12), said: said.map(Box::new) };
    Fed { id: id(13), sequence: Sequence(43), ..fed(what) }
}

fn cloud(event: &Fed) -> Value {
    serde_json::from_str(&CloudEvent::new(&scene(), event).to_json()).unwrap()
}

fn object(event: &Fed) -> Value {
    serde_json::from_str(&ObjectEvent::alone(&scene(), event).to_json()).unwrap()
}

/// Checks formats too, such as dates and URIs.
fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

pub(crate) fn complaints(validator: &Validator, document: &Value) -> Vec<String> {
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn a_try_on_reads_as_its_documents_say() {
    assert_eq!(
        cloud(&tried_on()),
        json!({
            "specversion": "1.0",
            "id": "paris-1:gw-1:0000000000000abc:12",
            "source": "urn:hangtag:acme:loc:paris-1",
            "type": "hangtag.tried_on.v1",
            "subject": TAG,
            "time": "2026-11-21T09:30:00.000Z",
            "datacontenttype": "application/json",
            "dataschema": "urn:hangtag:schema:tried_on:1",
            "sequence": "0000000000000000042",
            "generation": "2026-11-01T08:00:00.000Z",
            "data": {
                "gateway": "gw-1",
                "received": "2026-11-21T09:30:31.120Z",
                "clock": "vouched",
                "clock_error_ms": 20,
                "confidence": 90,
                "epc": TAG,
                "epc_uri": "urn:epc:id:sgtin:0614141.812345.6789",
                "gtin": "80614141123458",
                "serial": "6789",
                "zone": "booth-1",
                "visit": "paris-1:gw-1:0000000000000abc:9",
                "evidence": { "reads": 40, "margin_db": 9, "unrest": 55, "dwell_ds": 412 },
            },
        })
    );
    assert_eq!(
        object(&tried_on()),
        json!({
            "@context": [
                "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
                { "hangtag": "urn:hangtag:" },
            ],
            "type": "ObjectEvent",
            "eventID": "urn:hangtag:acme:event:paris-1:gw-1:0000000000000abc:12",
            "eventTime": "2026-11-21T09:30:00.000Z",
            "eventTimeZoneOffset": "+01:00",
            "recordTime": "2026-11-21T09:30:31.120Z",
            "action": "OBSERVE",
            "bizStep": "urn:hangtag:bizstep:tried_on",
            "disposition": "sellable_not_accessible",
            "epcList": ["urn:epc:id:sgtin:0614141.812345.6789"],
            "readPoint": { "id": "urn:hangtag:acme:paris-1:loc:booth-1" },
            "bizLocation": { "id": "urn:hangtag:acme:loc:paris-1" },
            "hangtag:id": "paris-1:gw-1:0000000000000abc:12",
            "hangtag:sequence": "0000000000000000042",
            "hangtag:generation": "2026-11-01T08:00:00.000Z",
            "hangtag:clock": "vouched",
            "hangtag:clock_error_ms": 20,
            "hangtag:confidence": 90,
            "hangtag:visit": "paris-1:gw-1:0000000000000abc:9",
            "hangtag:evidence": { "reads": 40, "margin_db": 9, "unrest": 55, "dwell_ds": 412 },
        })
    );
}

#[test]
fn a_retraction_is_the_mistaken_event_with_an_error_declared() {
    let document = object(&retracting(Some(tried_on())));
    let mut expected = object(&tried_on());
    expected["hangtag:id"] = json!("paris-1:gw-1:0000000000000abc:13");
    expected["hangtag:sequence"] = json!("0000000000000000043");
    expected["errorDeclaration"] = json!({
        "declarationTime": "2026-11-21T09:30:00.000Z",
        "reason": "did_not_occur",
        "hangtag:retraction": "urn:hangtag:acme:event:paris-1:gw-1:0000000000000abc:13",
    });
    assert_eq!(document, expected);
    assert_eq!(cloud(&retracting(None))["data"]["retracts"], "paris-1:gw-1:0000000000000abc:12");
}

#[test]
fn an_error_of_an_event_that_comes_later_is_declared_before_it_and_with_it() {
    let before = object(&retracting(None));
    assert_eq!(before["eventID"], object(&tried_on())["eventID"]);
    assert_eq!(
        (&before["epcList"], &before["errorDeclaration"]["reason"]),
        (&json!([]), &json!("did_not_occur"))
    );
    let Fed { id, clock, received, .. } = retracting(None);
    let late = Fed { retracted: Some(Retraction { id, clock, received }), ..tried_on() };
    assert_eq!(object(&late)["errorDeclaration"], before["errorDeclaration"]);
}

#[test]
fn what_no_clock_told_has_no_time_and_says_so() {
    // No clock, and two that cannot be one.
    for clock in [
        Clock::Absent,
        Clock::Unvouched { at: UnixMillis(i64::MAX) },
        Clock::Unvouched { at: UnixMillis(-1) },
    ] {
        let event = Fed { clock, ..tried_on() };
        let (cloud, object) = (cloud(&event), object(&event));
        assert_eq!((&cloud["time"], &cloud["data"]["clock"]), (&Value::Null, &json!("absent")));
        assert_eq!(
            (&object["eventTime"], &object["hangtag:clock"]),
            (&object["recordTime"], &json!("absent"))
        );
    }
    let event = Fed { clock: Clock::Unvouched { at: UnixMillis(1_782_000_000_000) }, ..tried_on() };
    assert_eq!(
        (&cloud(&event)["time"], &cloud(&event)["data"]["clock"]),
        (&json!("2026-06-21T00:00:00.000Z"), &json!("unvouched"))
    );
    assert_eq!(object(&event)["eventTimeZoneOffset"], "+02:00");
}

#[test]
fn of_a_loyalty_code_nothing_is_told_but_that_there_was_one() {
    let scan = |product| Told::Scanned { zone: ZoneId::new("till").unwrap(), visit: None, product };
    let data = &cloud(&fed(scan(None)))["data"];
    assert_eq!((&data["code"], data.as_object().unwrap().len()), (&json!("loyalty"), 7), "{data}");
    let report = &object(&fed(scan(None)))["sensorElementList"];
    assert_eq!(
        report,
        &json!([{ "sensorReport": [{ "type": "hangtag:loyalty_code", "booleanValue": true }] }])
    );
    let product = Gtin::new("4006381333931").unwrap();
    assert_eq!(
        object(&fed(scan(Some(product))))["quantityList"],
        json!([{ "epcClass": "https://id.gs1.org/01/04006381333931", "quantity": 1 }])
    );
}

#[test]
fn a_shop_that_nobody_knows_has_utc() {
    let event = Fed { id: EventId { store: StoreId::new("other").unwrap(), ..id(1) }, ..tried_on() };
    assert_eq!(object(&event)["eventTimeZoneOffset"], "+00:00");
}

/// GS1's schema, where the variable names it: its licence does not let it be shipped.
fn gs1() -> Option<Validator> {
    let Some(path) = std::env::var_os("HANGTAG_EPCIS_SCHEMA") else {
        let all = std::env::var("HANGTAG_ALL").is_ok_and(|value| value == "1");
        assert!(!all, "cannot be run here: HANGTAG_EPCIS_SCHEMA names no file");
        // Not with `eprintln`: what that writes is shown of failed tests only.
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test");
        let line = format!("skipped: {name}: HANGTAG_EPCIS_SCHEMA names no file\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    Some(validator(&serde_json::from_str(&text).unwrap()))
}

fn any_name() -> impl Strategy<Value = String> {
    "[a-z0-9-]{1,32}"
}

fn any_clock() -> impl Strategy<Value = Clock> {
    let at = prop_oneof![any::<i64>(), 0..4_102_444_800_000_i64].prop_map(UnixMillis);
    prop_oneof![
        Just(Clock::Absent),
        at.clone().prop_map(|at| Clock::Unvouched { at }),
        (at, any::<u32>()).prop_map(|(at, error_ms)| Clock::Vouched { at, error_ms }),
    ]
}

fn any_epc() -> impl Strategy<Value = Epc> {
    let sgtin_96 = any::<[u8; 11]>().prop_map(|bytes| {
        let mut all = vec![0x30];
        all.extend(bytes);
        Epc::new(&all).unwrap()
    });
    let sgtin_198 = "[!%-?A-Z_a-z\"]{1,20}".prop_map(|serial| {
        let mut bits = "00110110".to_owned() + "011101" + &format!("{:024b}{:020b}", 614_141, 712_345);
        serial.bytes().for_each(|byte| bits += &format!("{byte:07b}"));
        let bits = format!("{bits:0<208}");
        let byte = |at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
        Epc::new(&(0..26).map(|n| byte(n * 8)).collect::<Vec<_>>()).unwrap()
    });
    let other = prop::collection::vec(any::<u8>(), 1..=62).prop_map(|bytes| Epc::new(&bytes).unwrap());
    prop_oneof![sgtin_96, sgtin_198, other, Just(Epc::from_hex(TAG).unwrap())]
}

fn any_told() -> impl Strategy<Value = Told> {
    let zone = || any_name().prop_map(|name| ZoneId::new(&name).unwrap());
    let visit = || prop::option::of(any::<u64>().prop_map(Seq));
    let deed = prop::sample::select(
        &[Deed::PickedUp, Deed::PutDown, Deed::CarriedIn, Deed::TriedOn, Deed::CarriedOut][..],
    );
    let evidence = any::<(u16, u8, u8, u16)>().prop_map(|(reads, margin_db, unrest, dwell_ds)| Evidence {
        reads,
        margin_db,
        unrest,
        dwell_ds,
    });
    let garment =
        (deed, any_epc(), zone(), any::<u64>(), evidence).prop_map(|(deed, epc, zone, visit, evidence)| {
            let visit = (!matches!(deed, Deed::PickedUp | Deed::PutDown)).then_some(Seq(visit));
            Told::Garment(Garment { deed, epc, zone, visit, evidence })
        });
    let state = prop::sample::select(
        &[ReaderState::Listening, ReaderState::Silent, ReaderState::Absent, ReaderState::Off][..],
    );
    let coverage = (any_name(), state, any::<u64>()).prop_map(|(reader, state, lasted_ms)| Told::Coverage {
        reader: ReaderId::new(&reader).unwrap(),
        state,
        lasted_ms,
    });
    let product = prop::option::of(Just(Gtin::new("4006381333931").unwrap()));
    let scan =
        (zone(), visit(), product).prop_map(|(zone, visit, product)| Told::Scanned { zone, visit, product });
    prop_oneof![4 => garment, 1 => coverage, 1 => scan]
}

pub(crate) fn any_fed() -> impl Strategy<Value = Fed> {
    let ids = (any_name(), any_name(), any::<(u64, u64)>(), 0..=i64::MAX.cast_unsigned());
    let plain = (any_told(), ids, any_clock(), 0..4_102_444_800_000_i64, 0..=100_u8).prop_map(
        |(what, (store, gateway, (epoch, seq), sequence), clock, received, confidence)| Fed {
            id: EventId {
                store: StoreId::new(&store).unwrap(),
                gateway: GatewayId::new(&gateway).unwrap(),
                epoch: Epoch(epoch),
                seq: Seq(seq),
            },
            sequence: Sequence(sequence),
            generation: Generation(UnixMillis(received)),
            clock,
            received: UnixMillis(received),
            confidence,
            what,
            retracted: None,
        },
    );
    (plain, any_clock(), 0..4_u8).prop_map(|(said, clock, turn)| {
        let by = Retraction { id: id(13), clock, received: said.received };
        match turn {
            0 => Fed { retracted: Some(by), ..said },
            1 => Fed { what: Told::Retracted { mistaken: said.id, said: None }, ..said },
            2 => {
                let mistaken = said.id;
                let retraction = Fed { id: EventId { seq: Seq(13), ..mistaken }, clock, ..said.clone() };
                Fed { what: Told::Retracted { mistaken, said: Some(Box::new(said)) }, ..retraction }
            }
            _ => said,
        }
    })
}

/// One document of every kind, and of every turn that a kind can take.
pub(crate) fn every_kind() -> Vec<Fed> {
    let zone = ZoneId::new("till").unwrap();
    let Told::Garment(garment) = tried_on().what else { panic!() };
    let on_the_floor = Garment { zone: ZoneId::new("rail-1").unwrap(), visit: None, ..garment };
    let mut all: Vec<Fed> = [Deed::PickedUp, Deed::PutDown]
        .map(|deed| Garment { deed, ..on_the_floor })
        .into_iter()
        .chain([Deed::CarriedIn, Deed::TriedOn, Deed::CarriedOut].map(|deed| Garment { deed, ..garment }))
        .map(|garment| fed(Told::Garment(garment)))
        .collect();
    let reader = ReaderId::new("rail-a").unwrap();
    all.push(fed(Told::Coverage { reader, state: ReaderState::Silent, lasted_ms: 60_000 }));
    for product in [None, Some(Gtin::new("4006381333931").unwrap())] {
        all.push(fed(Told::Scanned { zone, visit: Some(Seq(9)), product }));
    }
    all.extend([retracting(None), retracting(Some(tried_on()))]);
    all
}

#[test]
fn gs1s_schema_accepts_every_kind_and_refuses_what_is_broken() {
    let Some(gs1) = gs1() else { return };
    for event in every_kind() {
        let document = object(&event);
        assert_eq!(complaints(&gs1, &document), [""; 0], "{document:#}");
    }
    let list: Vec<_> = every_kind().iter().map(|event| ObjectEvent::within(&scene(), event)).collect();
    let document = serde_json::from_str(&epcis::document(&list, Timestamp::UNIX_EPOCH)).unwrap();
    assert_eq!(complaints(&gs1, &document), [""; 0]);
    let breaks: [fn(&mut Value); 6] = [
        |document| document["action"] = json!("LOOK"),
        |document| document["eventTimeZoneOffset"] = json!("+1"),
        |document| document["bizStep"] = json!("https://ns.gs1.org/cbv/BizStep-tried_on"),
        |document| document["eventTime"] = json!("yesterday"),
        |document| drop(document.as_object_mut().unwrap().remove("epcList")),
        |document| document["ours"] = json!(1),
    ];
    for (number, broken) in breaks.iter().enumerate() {
        let mut document = object(&tried_on());
        broken(&mut document);
        assert_ne!(complaints(&gs1, &document), [""; 0], "{number}: {document:#}");
    }
}

proptest! {
    #[test]
    fn gs1s_schema_accepts_whatever_can_happen(event in any_fed()) {
        thread_local! { static GS1: Option<Validator> = gs1(); }
        let document = object(&event);
        let told = GS1.with(|gs1| gs1.as_ref().map(|gs1| complaints(gs1, &document)));
        prop_assert_eq!(told.unwrap_or_default(), [""; 0], "{:#}", document);
    }
}
