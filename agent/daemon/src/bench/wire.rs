//! `bench wire`: bytes on the wire per event, batches of a hundred. Enters: nothing. Leaves: payload and
//! packet per event, beside the entropy of the events ([`floor`](super::floor)) and beside JSON.
//!
//! The packet is the MQTT PUBLISH as the uplink sends it, with topic and properties; TCP and TLS come on
//! top and depend on how packets fall together.

use std::collections::BTreeMap;

use hangtag_protocol::batch::{Batch, FORMAT, Header};
use hangtag_protocol::clock::{BootId, ClockAnchor, UNKNOWN_ERROR, UnixMillis, Uptime};
use hangtag_protocol::columns;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, GatewayId, Seq, StoreId, TenantId};
use hangtag_protocol::line::EventLine;
use hangtag_protocol::lineage::Run;
use hangtag_protocol::topic::{BATCH_CONTENT_TYPE, Channel, Gateway};

use super::day::{Day, TAGS};
use super::floor::Floor;
use super::report::{Aim, Report, Sample};

const BATCH_EVENTS: usize = 100;
const BATCHES: usize = 2_000;
const DAYS: u64 = 5;
const BOOT: BootId = BootId(0x1d2c_3b4a_5968_7786);
const START: Uptime = Uptime(86_400_000);

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let (mut alone, mut given_kind) = (Floor::new(false), Floor::new(true));
    let (mut payloads, mut packets, mut json) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=DAYS {
        let mut day = Day::new(TAGS, seed, BOOT, START, Seq(1_000_000 * seed));
        let (mut payload, mut packet, mut text) = (0, 0, 0);
        for _ in 0..BATCHES {
            let events: Vec<(Seq, Event)> = day.by_ref().take(BATCH_EVENTS).collect();
            alone.count(&events);
            given_kind.count(&events);
            let bytes = encode(&events)?.len();
            payload += bytes;
            packet += bytes + around(bytes);
            for (seq, event) in &events {
                text += serde_json::to_string(&EventLine::new(*seq, event))?.len() + 1;
            }
        }
        let per_event = |bytes: usize| bytes as f64 / (BATCHES * BATCH_EVENTS) as f64;
        payloads.push(per_event(payload));
        packets.push(per_event(packet));
        json.push(per_event(text));
    }
    let floor = alone.bytes();
    for (column, bits) in alone.columns() {
        report.value(&format!("wire_floor_{}", column.replace(' ', "_")), bits, "bits/event");
    }
    report.value("wire_floor", floor, "B/event");
    report.value("wire_floor_given_kind", given_kind.bytes(), "B/event");
    report.sample("wire_json", &Sample::new(json), "B/event");
    let over = |bytes: &[f64], floor: f64| Sample::new(bytes.iter().map(|bytes| bytes / floor).collect());
    report.sample("wire_packet", &Sample::new(packets.clone()), "B/event");
    report.sample("wire_packet_over_floor", &over(&packets, floor), "x");
    report.sample("wire", &Sample::new(payloads.clone()), "B/event");
    report.sample("wire_over_floor_given_kind", &over(&payloads, given_kind.bytes()), "x");
    report.aimed("wire_over_floor", &over(&payloads, floor), "x", Aim::AtMost(1.35));
    columns_of(report);
    Ok(())
}

/// Where the bytes go: a day's columns, as they are packed.
fn columns_of(report: &mut Report) {
    let mut sum: BTreeMap<&'static str, f64> = BTreeMap::new();
    let mut day = Day::new(TAGS, 1, BOOT, START, Seq(1_000_000));
    for _ in 0..BATCHES {
        let events: Vec<(Seq, Event)> = day.by_ref().take(BATCH_EVENTS).collect();
        let first = events[0].0;
        let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
        for (column, bits) in columns::sizes(first, &events) {
            *sum.entry(column).or_default() += bits;
        }
    }
    for (column, bits) in sum {
        let bits = bits / (BATCHES * BATCH_EVENTS) as f64;
        report.value(&format!("wire_packed_{column}"), bits, "bits/event");
    }
}

/// The invented shop's gateway.
pub(super) fn gateway() -> anyhow::Result<Gateway> {
    Ok(Gateway {
        tenant: TenantId::new("acme")?,
        store: StoreId::new("paris-1")?,
        gateway: GatewayId::new("gw-1")?,
    })
}

fn encode(events: &[(Seq, Event)]) -> anyhow::Result<Vec<u8>> {
    let first = events.first().map_or(Seq::FIRST, |(seq, _)| *seq);
    let wall = UnixMillis(1_790_000_000_000);
    let batch = Batch {
        header: Header {
            format: FORMAT,
            replayed: false,
            gateway: gateway()?,
            epoch: Epoch(0x8f3a_91c2_5b7d_e604),
            first,
            count: u32::try_from(events.len())?,
        },
        oldest_held: first,
        lost: Vec::new(),
        anchors: vec![ClockAnchor { boot: BOOT, uptime: START, wall, error_ms: UNKNOWN_ERROR }],
        lineage: vec![Run { first: Seq::FIRST, id: 0x5bd1_e995 }].into(),
        events: events.iter().map(|(_, event)| event.clone()).collect(),
    };
    Ok(batch.encode()?)
}

/// What an MQTT 5 PUBLISH adds to a payload: fixed header, topic, packet id, properties.
fn around(payload: usize) -> usize {
    let topic = gateway().map_or(0, |gateway| gateway.topic(Channel::Events).len());
    let content_type = 1 + 2 + BATCH_CONTENT_TYPE.len();
    let schema = 1 + 2 + "schema".len() + 2 + FORMAT.to_string().len();
    let variable = 2 + topic + 2 + 1 + content_type + schema;
    let remaining = if payload + variable < 16_384 { 2 } else { 3 };
    1 + remaining + variable
}
