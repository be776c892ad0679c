//! What the agent and central send one another. Enters: payloads. Leaves: a panic if one that was read is written
//! otherwise than it was understood, or has more events than it says.

use hangtag_protocol::batch::{Batch, CRC, FORMAT, Header};
use hangtag_protocol::clock::BootId;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{Epoch, ReaderId, Seq};
use hangtag_protocol::lineage::{Lineage, MAX_RUNS};
use hangtag_protocol::link::message::{self, BootReason, Firmware, NodeId, Outcome};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::status::{
    CertificateHealth, Health, NodeHealth, Presence, ReaderHealth, Status, VERSION,
};
use hangtag_protocol::watermark::Watermark;

/// Batches of both formats, as they are frozen.
const FROZEN: [&str; 2] = [
    include_str!("../../protocol/tests/wire/v01-batch.hex"),
    include_str!("../../protocol/tests/wire/v02-batch.hex"),
];

/// A batch; the first byte says whether its checksum is made good, without which hardly anything gets past it.
///
/// # Panics
/// When a property does not hold.
pub fn batch(bytes: &[u8]) {
    let Some((&choice, payload)) = bytes.split_first() else { return };
    let mut payload = payload.to_vec();
    if choice % 4 > 0 {
        seal(&mut payload);
    }
    let Ok((header, body)) = Batch::decode_header(&payload) else { return };
    assert!(body.len() <= payload.len());
    let range = header.range();
    assert_eq!((range.first, range.len()), (header.first, header.count.into()));
    let Ok(batch) = Batch::decode_body(header, body) else { return };
    assert_eq!(batch.events.len() as u64, u64::from(header.count));
    // Whatever format it came in, it is written in the current one.
    let batch = Batch { header: Header { format: FORMAT, ..header }, ..batch };
    if let Ok(again) = batch.encode() {
        let (header, body) = Batch::decode_header(&again).expect("a batch that was written");
        assert_eq!(Batch::decode_body(header, body).as_ref(), Ok(&batch));
    }
}

/// The frozen batches, with good checksums and whatever they have.
#[must_use]
pub fn batch_seeds() -> Vec<Vec<u8>> {
    let payloads =
        FROZEN.iter().flat_map(|text| text.lines()).filter_map(|line| hex::decode(line.trim()).ok());
    payloads.flat_map(|payload| [0, 1].map(|choice| [&[choice], &payload[..]].concat())).collect()
}

/// A watermark, and what an agent asks of it.
///
/// # Panics
/// When a property does not hold.
pub fn watermark(bytes: &[u8]) {
    let Ok(watermark) = serde_json::from_slice::<Watermark>(bytes) else { return };
    let text = serde_json::to_vec(&watermark).expect("it is JSON");
    assert_eq!(serde_json::from_slice::<Watermark>(&text).ok().as_ref(), Some(&watermark));
    let mut before: Option<&Lineage> = None;
    for mark in &watermark.epochs {
        let settled = mark.settled();
        let all = SeqRange::new(1, u64::MAX);
        let missing: u64 =
            settled.missing_in(all).iter().fold(0, |sum, range| sum.saturating_add(range.len()));
        assert!(settled.len().saturating_add(missing) >= u64::MAX - 1, "{settled:?} misses {missing}");
        let lineage = &mark.lineage;
        if let Some(before) = before {
            if let Ok(joined) = before.join(lineage, mark.highest) {
                assert!(joined.runs().len() <= before.runs().len() + lineage.runs().len());
            }
            assert!(lineage.since(before).runs().len() <= lineage.runs().len());
            let _ = (before.overrun(lineage, mark.highest), before.fork(mark.highest, lineage, Seq(7)));
        }
        before = Some(lineage);
    }
}

/// Watermarks as central writes them.
#[must_use]
pub fn watermark_seeds() -> Vec<Vec<u8>> {
    let runs: Vec<String> = (1..=MAX_RUNS).map(|run| format!("[{},{run}]", run * 10)).collect();
    let texts = [
        r#"{"v":1,"epochs":[]}"#.to_owned(),
        r#"{"v":1,"epochs":[{"epoch":"00000000000000ff","contiguous_to":41,"ranges":[[44,50],[60,60]],"highest":60}],"unreadable":[7]}"#.to_owned(),
        format!(
            r#"{{"v":1,"epochs":[{{"epoch":"0000000000000001","contiguous_to":5,"highest":99,"lineage":[{0}]}},{{"epoch":"0000000000000002","contiguous_to":0,"lineage":[[1,4],{0}]}}]}}"#,
            runs.join(",")
        ),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// What a gateway tells of itself.
///
/// # Panics
/// When a property does not hold.
pub fn status(bytes: &[u8]) {
    let Ok(status) = serde_json::from_slice::<Status>(bytes) else { return };
    let text = serde_json::to_vec(&status).expect("it is JSON");
    assert_eq!(serde_json::from_slice::<Status>(&text).ok(), Some(status));
}

/// Statuses as agents write them.
///
/// # Panics
/// Never: all names are good.
#[must_use]
pub fn status_seeds() -> Vec<Vec<u8>> {
    let node = NodeHealth {
        node: NodeId(0x2a),
        firmware: Firmware { major: 1, minor: 2, patch: 3 },
        reason: BootReason::Panic,
        configured: Some(Outcome::Taken),
        told: Some(7),
        clock_off_ms: Some(4),
        health: Some(message::Health { temperature_dc: Some(-55), ..message::Health::default() }),
    };
    let reader = ReaderHealth {
        id: ReaderId::new("rail-1").expect("a name"),
        state: ReaderState::Listening,
        protocol: Some("node, 115200 baud".into()),
        module: Some("M100".into()),
        reads: 5,
        garbage: 0,
        bad_tags: 1,
        lost_reads: 2,
        fault: Some("hot".into()),
        temperature_c: Some(-3),
        node: Some(node),
    };
    let health = Health {
        boot: BootId(0x0123_4567_89ab_cdef),
        uptime_ms: 5,
        epoch: Epoch(0xff),
        next: Seq(9),
        waiting: 3,
        oldest_ms: 0,
        lost: 0,
        spool_percent: 4,
        spool_fault: Some("full".into()),
        certificate: Some(CertificateHealth { days_left: -1, fault: Some("silent".into()) }),
        readers: vec![reader],
    };
    let of = |state, health| Status { v: VERSION, state, agent: "0.1.0".into(), health };
    let statuses = [of(Presence::Offline, None), of(Presence::Online, Some(health))];
    statuses.iter().map(|status| serde_json::to_vec(status).expect("it is JSON")).collect()
}

/// Makes the checksum of a batch good, where it has one.
fn seal(payload: &mut [u8]) {
    let mut at = 26;
    for _ in 0..3 {
        let Some(&length) = payload.get(at) else { return };
        at += 1 + usize::from(length);
    }
    if payload.len() < at + 4 {
        return;
    }
    let mut digest = CRC.digest();
    digest.update(&payload[..at]);
    digest.update(&payload[at + 4..]);
    payload[at..at + 4].copy_from_slice(&digest.finalize().to_le_bytes());
}
