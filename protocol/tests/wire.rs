//! The bytes of all batch formats, frozen. When a test in this file fails, fix the code, never the test:
//! gateways in the field hold such bytes for weeks, and central stores them in quarantine for longer.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use hangtag_protocol::batch::{Batch, BodyError, FORMAT, Header, HeaderError, MAX_BYTES};
use hangtag_protocol::clock::{BootId, ClockAnchor, UnixMillis, Uptime};
use hangtag_protocol::columns::{self, MAX_EVENTS};
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::{Coverage, Event, Evidence, Fitting, Handling, ReaderState, What};
use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, Seq, StoreId, TenantId, ZoneId};
use hangtag_protocol::key::KeyId;
use hangtag_protocol::line::EventLine;
use hangtag_protocol::lineage::{Lineage, Run};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::scan::{Code, MAX_SEALED, SEAL_BYTES, Scan, Sealed};
use hangtag_protocol::topic::Gateway;
use proptest::prelude::*;

const BATCH_1: &str = include_str!("wire/v01-batch.hex");
const BATCH_2: &str = include_str!("wire/v02-batch.hex");
const LINES: &str = include_str!("wire/v01-batch.jsonl");
const SCANS_2: &str = include_str!("wire/v02-scans.hex");
const SCAN_LINES: &str = include_str!("wire/v02-scans.jsonl");

fn header(first: u64, count: usize) -> Header {
    Header {
        format: FORMAT,
        replayed: true,
        gateway: Gateway {
            tenant: TenantId::new("acme").unwrap(),
            store: StoreId::new("paris-1").unwrap(),
            gateway: GatewayId::new("gw-1").unwrap(),
        },
        epoch: Epoch(0x0123_4567_89ab_cdef),
        first: Seq(first),
        count: u32::try_from(count).unwrap(),
    }
}

/// One event of every kind, EPCs that share a prefix and one that does not, two boots.
fn sample() -> Batch {
    let epc = |hex| Epc::from_hex(hex).unwrap();
    let zone = |name| ZoneId::new(name).unwrap();
    let evidence = Evidence { reads: 21, margin_db: 9, unrest: 64, dwell_ds: 413 };
    let handling = |hex, z| Handling { epc: epc(hex), zone: zone(z), evidence };
    let fitting = |visit| Fitting {
        epc: epc("3034007d00011c400000000b"),
        zone: zone("booth-1"),
        visit: Seq(visit),
        evidence,
    };
    let event = |boot, at, what| Event { boot: BootId(boot), at: Uptime(at), confidence: 85, what };
    let events = vec![
        event(7, 60_000, What::PickedUp(handling("3034007d00011c400000000b", "rail-a"))),
        event(7, 61_500, What::PickedUp(handling("3034007d00011c400000000c", "rail-a"))),
        event(7, 61_200, What::PutDown(handling("e28068900000500e88c6a4a7", "shelf-c"))),
        event(7, 80_000, What::CarriedIn(fitting(103))),
        event(7, 121_000, What::TriedOn(fitting(103))),
        event(7, 180_000, What::CarriedOut(fitting(103))),
        event(7, 181_000, What::Retracted { seq: Seq(104) }),
        event(
            8,
            30_000,
            What::Coverage(Coverage {
                reader: ReaderId::new("booths").unwrap(),
                state: ReaderState::Silent,
                from: Uptime(4_000),
            }),
        ),
    ];
    Batch {
        header: header(100, events.len()),
        oldest_held: Seq(90),
        lost: vec![SeqRange::new(40, 45)],
        anchors: vec![ClockAnchor {
            boot: BootId(7),
            uptime: Uptime(50_000),
            wall: UnixMillis(1_790_000_000_000),
            error_ms: 25,
        }],
        lineage: vec![Run { first: Seq(1), id: 0x1234_5678 }, Run { first: Seq(98), id: 7 }].into(),
        events,
    }
}

/// Scans of every sort among other events: in and outside of visits, to two keys, a product.
fn scans() -> Batch {
    let scan = |at, zone, visit: Option<u64>, code| Event {
        boot: BootId(7),
        at: Uptime(at),
        confidence: 100,
        what: What::Scanned(Scan { zone: ZoneId::new(zone).unwrap(), visit: visit.map(Seq), code }),
    };
    let sealed = |key: &[u8; 8], length: usize| {
        let bytes = (0..length).map(|at| (at * 7 + 1) as u8).collect();
        Code::Loyalty(Sealed::new(KeyId(*key), bytes).unwrap())
    };
    let product = Code::Product(Gtin::new("4006381333931").unwrap());
    let mut events = sample().events;
    let carried_out = events.remove(5);
    events.truncate(5);
    events.extend([
        scan(130_123, "booth-1", Some(103), sealed(b"key-id-1", SEAL_BYTES + 32)),
        scan(130_123, "booth-1", Some(103), product.clone()),
        scan(131_001, "till", None, sealed(b"key-id-1", MAX_SEALED)),
        carried_out,
        scan(180_250, "booth-2", Some(90), sealed(b"key-id-2", SEAL_BYTES)),
        scan(2, "till", None, product),
    ]);
    Batch { header: header(100, events.len()), events, ..sample() }
}

#[test]
fn scans_are_written_and_read_as_they_always_were() {
    assert_eq!(hex::encode(scans().encode().unwrap()), SCANS_2.trim());
    let bytes = hex::decode(SCANS_2.trim()).unwrap();
    let (header, body) = Batch::decode_header(&bytes).unwrap();
    let batch = Batch::decode_body(header, body).unwrap();
    assert_eq!(batch, scans());
    let line = |(seq, event)| serde_json::to_string(&EventLine::new(Seq(seq), event)).unwrap();
    let lines: Vec<String> = (header.first.0..).zip(&batch.events).map(line).collect();
    assert_eq!(lines[5..].join("\n"), SCAN_LINES.trim());
}

#[test]
fn format_2_is_written_as_it_always_was() {
    assert_eq!(hex::encode(sample().encode().unwrap()), BATCH_2.trim());
}

#[test]
fn format_2_is_read_as_it_always_was() {
    let bytes = hex::decode(BATCH_2.trim()).unwrap();
    let (header, body) = Batch::decode_header(&bytes).unwrap();
    assert_eq!(Batch::decode_body(header, body), Ok(sample()));
}

#[test]
fn format_1_is_read_as_it_always_was() {
    let bytes = hex::decode(BATCH_1.trim()).unwrap();
    let (header, body) = Batch::decode_header(&bytes).unwrap();
    let batch = Batch::decode_body(header, body).unwrap();
    let header = Header { format: 1, ..sample().header };
    assert_eq!(batch, Batch { header, lineage: Lineage::default(), ..sample() });
    let lines: Vec<String> = (header.first.0..)
        .zip(&batch.events)
        .map(|(seq, event)| serde_json::to_string(&EventLine::new(Seq(seq), event)).unwrap())
        .collect();
    assert_eq!(lines.join("\n"), LINES.trim());
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = sample().encode().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Batch::decode_header(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_found() {
    let bytes = sample().encode().unwrap();
    for length in 0..bytes.len() {
        assert!(Batch::decode_header(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let bytes = sample().encode().unwrap();
    let said = |payload: &[u8]| Batch::decode_header(payload).unwrap_err().to_string();
    assert_eq!(said(b"hello, world"), r#"begins with "hell" and not with "HTAG""#);
    assert_eq!(said(&[0; 12]), r#"begins with "\x00\x00\x00\x00" and not with "HTAG""#);
    assert!(matches!(Batch::decode_header(&vec![0; MAX_BYTES + 1]), Err(HeaderError::TooLarge(_))));
    let (header, body) = Batch::decode_header(&bytes).unwrap();
    let newer = Header { format: FORMAT + 1, ..header };
    assert_eq!(Batch::decode_body(newer, body), Err(BodyError::Format(FORMAT + 1)));
    let more = Header { count: header.count + 1, ..header };
    assert!(matches!(Batch::decode_body(more, body), Err(BodyError::Events(_))));
}

#[test]
fn a_batch_that_grows_too_large_is_refused_when_written() {
    let mut batch = sample();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    batch.events = (0..MAX_EVENTS)
        .map(|_| {
            let mut bytes = [0; 62];
            for byte in &mut bytes {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = random.to_le_bytes()[6];
            }
            let What::PickedUp(mut handling) = batch.events[0].what else { unreachable!() };
            handling.epc = Epc::new(&bytes).unwrap();
            Event { what: What::PickedUp(handling), ..batch.events[0].clone() }
        })
        .collect();
    batch.header.count = u32::try_from(batch.events.len()).unwrap();
    assert!(batch.encode().unwrap_err().0 > MAX_BYTES);
}

const STATES: [ReaderState; 4] =
    [ReaderState::Listening, ReaderState::Silent, ReaderState::Absent, ReaderState::Off];

fn any_event() -> impl Strategy<Value = Event> {
    let epc = prop::collection::vec(any::<u8>(), 1..62).prop_map(|bytes| Epc::new(&bytes).unwrap());
    let epc = prop_oneof![epc, (0u8..20).prop_map(|n| Epc::new(&[0x30, 1, 2, 3, n]).unwrap())];
    let zone = "[a-z0-9-]{1,32}".prop_map(|name| ZoneId::new(&name).unwrap());
    let zone = prop_oneof![zone, Just(ZoneId::new("rail-a").unwrap())];
    let evidence = any::<(u16, u8, u8, u16)>().prop_map(|(reads, margin_db, unrest, dwell_ds)| Evidence {
        reads,
        margin_db,
        unrest,
        dwell_ds,
    });
    let reader = "[a-z]{1,3}".prop_map(|name| ReaderId::new(&name).unwrap());
    let sealed = (any::<[bool; 2]>(), prop::collection::vec(any::<u8>(), SEAL_BYTES..=MAX_SEALED));
    let sealed = sealed.prop_map(|(key, bytes)| {
        Code::Loyalty(
            Sealed::new(KeyId([u8::from(key[0]), 2, 3, 4, 5, 6, 7, u8::from(key[1])]), bytes).unwrap(),
        )
    });
    let product = (0u64..10_000_000_000_000).prop_map(|number| {
        let gtin = (0..10).find_map(|check| Gtin::from_number(number * 10 + check).ok());
        Code::Product(gtin.unwrap())
    });
    let code = prop_oneof![sealed, product];
    let zone = (zone, code);
    (0u8..8, epc, zone, evidence, reader, any::<(u64, u8, u64, u64)>(), 0u64..4).prop_map(
        |(kind, epc, (zone, code), evidence, reader, (at, confidence, number, from), boot)| {
            let handling = Handling { epc, zone, evidence };
            let fitting = Fitting { epc, zone, visit: Seq(number), evidence };
            let what = match kind {
                0 => What::PickedUp(handling),
                1 => What::PutDown(handling),
                2 => What::CarriedIn(fitting),
                3 => What::TriedOn(fitting),
                4 => What::CarriedOut(fitting),
                5 => What::Retracted { seq: Seq(number) },
                6 => What::Coverage(Coverage {
                    reader,
                    state: STATES[usize::from(from as u8 % 4)],
                    from: Uptime(from),
                }),
                _ => What::Scanned(Scan { zone, visit: (from % 3 > 0).then_some(Seq(number)), code }),
            };
            Event { boot: BootId(boot), at: Uptime(at), confidence, what }
        },
    )
}

/// Few tags, zones and readers, and times and evidence that follow from one another, mostly.
fn likely_events() -> impl Strategy<Value = Vec<Event>> {
    let step = (0usize..7, 0u8..6, 0usize..4, 0u64..9, 0u16..9, prop::bool::weighted(0.9));
    prop::collection::vec(step, 0..120).prop_map(|steps| {
        let (mut now, mut since) = (10_000_000, [9_000_000; 6]);
        let event = |(kind, tag, place, ticks, odd, as_usual): (usize, u8, usize, u64, u16, bool)| {
            now += 500 * ticks;
            let at = if as_usual { now } else { now - u64::from(odd) * 77 };
            let dwell_ds = u16::try_from((at - since[usize::from(tag)]) / 100).unwrap() + odd / 8;
            let evidence = Evidence { reads: 10 + odd, margin_db: odd as u8, unrest: 0, dwell_ds };
            let epc = Epc::new(&[0x30, 0x74, 0x25, 0x7b, 0xf7, 0x19, 0x4e, 0x40, 0, 0, tag, 9]).unwrap();
            let zone = ["rail-1", "rail-2", "booth-1", "shelf"][place];
            let handling = Handling { epc, zone: ZoneId::new(zone).unwrap(), evidence };
            let visit = Seq(u64::from(odd));
            let fitting = Fitting { epc, zone: handling.zone, visit, evidence };
            let what = match kind {
                0 => What::PickedUp(handling),
                1 => What::PutDown(handling),
                2 => What::CarriedIn(fitting),
                3 => What::TriedOn(fitting),
                4 => What::CarriedOut(fitting),
                5 => What::Retracted { seq: visit },
                _ => What::Coverage(Coverage {
                    reader: ReaderId::new(["floor", "booths"][place % 2]).unwrap(),
                    state: [ReaderState::Listening, ReaderState::Silent][usize::from(!as_usual)],
                    from: Uptime(at - 60_000),
                }),
            };
            since[usize::from(tag)] = at.min(now - 700);
            Event { boot: BootId(7), at: Uptime(at), confidence: 70 + odd as u8, what }
        };
        steps.into_iter().map(event).collect()
    })
}

proptest! {
    #[test]
    fn likely_events_round_trip(events in likely_events(), first in 1u64..1_000) {
        let packed = columns::pack(Seq(first), &events);
        prop_assert_eq!(columns::unpack(Seq(first), events.len(), &packed), Ok(events.clone()));
        let bits: f64 = columns::sizes(Seq(first), &events).iter().map(|(_, bits)| bits).sum();
        prop_assert!((bits / 8.0 - packed.len() as f64).abs() < 4.0, "{bits} bits in {} bytes", packed.len());
        let rest = [&packed[..], &[0]].concat();
        prop_assert!(columns::unpack(Seq(first), events.len(), &rest).is_err());
    }

    #[test]
    fn any_events_round_trip(events in prop::collection::vec(any_event(), 0..80), first in 1u64..1_000_000) {
        let packed = columns::pack(Seq(first), &events);
        prop_assert_eq!(columns::unpack(Seq(first), events.len(), &packed), Ok(events.clone()));
        let batch = Batch { header: header(first, events.len()), events, ..sample() };
        let bytes = batch.encode().unwrap();
        let (header, body) = Batch::decode_header(&bytes).unwrap();
        prop_assert_eq!(Batch::decode_body(header, body), Ok(batch));
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..9_000) {
        let _ = columns::unpack(Seq(1), count, &bytes);
        prop_assert!(Batch::decode_header(&bytes).is_err());
    }

    #[test]
    fn damaged_bodies_decode_or_are_refused(at in 0usize..10_000, value: u8, count in 0u32..70_000) {
        let bytes = sample().encode().unwrap();
        let (header, body) = Batch::decode_header(&bytes).unwrap();
        let mut body = body.to_vec();
        let at = at % body.len();
        body[at] = value;
        let _ = Batch::decode_body(header, &body);
        let _ = Batch::decode_body(Header { count, ..header }, &body);
    }
}
