//! What the spool finds on a disk: records, and what inference and reader nodes left there. Enters: bytes of a disk.
//! Leaves: a panic if a record that was read is written otherwise, a sound one is not found among damaged ones, or
//! inference does not survive what it takes up.

use hangtag_agent_core::infer::{Inference, Layout, Zone, ZoneKind, renumber};
use hangtag_agent_core::intake::node::Marks;
use hangtag_agent_core::spool::record::{self, Kind};
use hangtag_agent_core::spool::value::{self, Value};
use hangtag_agent_core::spool::{Key, epoch};
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Coverage, Event, Evidence, Handling, ReaderState, What};
use hangtag_protocol::id::{Epoch, ReaderId, Seq, ZoneId};
use hangtag_protocol::lineage::Run;
use serde::Serialize;

const BOOT: BootId = BootId(7);

/// A disk with records; the first byte says whether the rest is the body of one.
///
/// # Panics
/// When a property does not hold.
pub fn spool(bytes: &[u8]) {
    let _ = Key::of(bytes);
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let kind = [Kind::Value, Kind::Chapter, Kind::Meta][usize::from(choice) % 3];
    let mut disk = match choice & 0x80 {
        0 => rest.to_vec(),
        _ => record::seal(kind, &rest[..rest.len().min(60_000)]),
    };
    let damaged = disk.len();
    let good = value::encode(Epoch(3), Run { first: Seq(9), id: 4 }, Seq(9), &events());
    disk.extend(&good);
    let (mut from, mut found) = (0, false);
    while let Some(at) = record::find(&disk, from) {
        assert!(at >= from && at < disk.len());
        from = at + 1;
        let Ok((kind, body)) = record::read(&disk[at..]) else { continue };
        assert!(at + record::BEFORE_BODY + body.len() <= disk.len());
        assert_eq!(record::seal(kind, body), disk[at..at + record::BEFORE_BODY + body.len()]);
        found |= at == damaged;
        read_value(&disk[at..]);
    }
    assert!(found, "a sound record behind a damaged one");
}

fn read_value(bytes: &[u8]) {
    let Ok(value) = Value::read(bytes) else { return };
    assert!(value.boots().count() <= bytes.len());
    let _ = (value.range(), value.cut(3));
    let (epoch, first) = (value.epoch, value.first);
    assert!(Value::read_as(bytes, epoch, first).is_ok());
    if let Ok(events) = value.events() {
        assert_eq!(events.len(), usize::from(value.count));
        if let (Some(last), false) = (first.0.checked_add(u64::from(value.count)), events.is_empty()) {
            assert!(last >= first.0);
            let run = Run { first: first.plus(value.inherited.into()), id: value.run };
            let again = value::encode(epoch, run, first, &events);
            let again = Value::read(&again).and_then(|value| value.events());
            assert_eq!(again.as_ref(), Ok(&events));
        }
    }
    let mut index = epoch::EpochIndex::new(epoch::EpochRecord::new(epoch, 0));
    let _ = (index.take_value(first, bytes), index.take_chapter(first, bytes));
}

/// A value, and bodies of all kinds.
#[must_use]
pub fn spool_seeds() -> Vec<Vec<u8>> {
    let good = value::encode(Epoch(3), Run { first: Seq(9), id: 4 }, Seq(9), &events());
    let body = &good[record::BEFORE_BODY..];
    let bodies = [0x80, 0x81, 0x82].map(|choice| [&[choice], body].concat());
    // Numbers that there are not.
    let mut past = [&[0x81], body].concat();
    past[9..17].fill(0xFF);
    [[&[0], &good[..]].concat(), past].into_iter().chain(bodies).collect()
}

/// What inference left, behind the marks of reader nodes.
///
/// # Panics
/// When a property does not hold.
pub fn snapshot(bytes: &[u8]) {
    let snapshot = match Marks::split(bytes) {
        // No marks are not written.
        Ok((marks, snapshot)) if marks.all().is_empty() => snapshot,
        Ok((marks, snapshot)) => {
            let kept = marks.with(snapshot.to_vec());
            assert_eq!(Marks::split(&kept), Ok((marks, snapshot)));
            snapshot
        }
        Err(_) => bytes,
    };
    let _ = renumber(snapshot, |seq| seq.0.is_multiple_of(2).then_some(Seq(seq.0 / 2)));
    let now = Uptime(10_000_000);
    let mut inference = Inference::new(layout(), BOOT, Seq(1_000), now);
    if inference.restore(snapshot, now).is_err() {
        assert_eq!(inference.tags(), 0, "what cannot be read changes nothing");
        return;
    }
    let taken_up = inference.snapshot();
    let mut other = Inference::new(layout(), BOOT, Seq(1_000), now);
    other.restore(&taken_up, now).expect("a snapshot that was just made");
    assert_eq!(other.snapshot(), taken_up);
    inference.handle_reader(0, ReaderState::Listening, now);
    inference.handle_timeout(now + 90_000);
    let mut next = Seq(1_000);
    while let Some((seq, _)) = inference.poll_event() {
        assert_eq!(seq, next);
        next = next.plus(1);
    }
}

/// Snapshots with garments in hand and in a booth.
#[must_use]
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let zone = |name| ZoneId::new(name).expect("a name");
    let epc = |last| Epc::new(&[0x30, 0x74, 0x25, 0x7B, 0, 0, 0, 0, 0, 0, 0, last]).expect("an EPC");
    let since = Uptime(9_999_000);
    let garments = vec![
        Garment::Hand { epc: epc(1), since, from: Some(zone("rail")) },
        Garment::Hand { epc: epc(2), since, from: None },
        Garment::Booth { epc: epc(3), zone: zone("booth"), visit: Seq(12), since, tried: false },
        Garment::Booth { epc: epc(4), zone: zone("booth"), visit: Seq(12), since, tried: true },
    ];
    let snapshot = Snapshot { boot: BOOT, visits: vec![(zone("booth"), Seq(12))], garments };
    let bare = postcard::to_extend(&snapshot, vec![1]).expect("it encodes");
    let empty = Inference::new(layout(), BOOT, Seq(1), Uptime(0)).snapshot();
    let with_marks = [&[0xA0, 1, 5, 6, 7, 8, 9], &bare[..]].concat();
    vec![bare, empty, with_marks]
}

/// As `infer` writes it.
#[derive(Serialize)]
struct Snapshot {
    boot: BootId,
    visits: Vec<(ZoneId, Seq)>,
    garments: Vec<Garment>,
}

#[derive(Serialize)]
enum Garment {
    Hand { epc: Epc, since: Uptime, from: Option<ZoneId> },
    Booth { epc: Epc, zone: ZoneId, visit: Seq, since: Uptime, tried: bool },
}

fn layout() -> Layout {
    let zone = |name, kind| Zone { id: ZoneId::new(name).expect("a name"), kind };
    let mut layout = Layout::new(vec![zone("rail", ZoneKind::Rail), zone("booth", ZoneKind::Booth)]);
    let antennas = [(1, ZoneId::new("rail").expect("a name")), (2, ZoneId::new("booth").expect("a name"))];
    layout.add_reader(ReaderId::new("reader").expect("a name"), &antennas).expect("its zones are there");
    layout
}

fn events() -> Vec<Event> {
    let reader = ReaderId::new("reader").expect("a name");
    let zone = ZoneId::new("rail").expect("a name");
    let epc = Epc::new(&[0x30, 0x74, 0x25, 0x7B]).expect("an EPC");
    let whats = [
        What::Coverage(Coverage { reader, state: ReaderState::Listening, from: Uptime(3) }),
        What::PickedUp(Handling { epc, zone, evidence: Evidence::default() }),
        What::Retracted { seq: Seq(10) },
    ];
    whats.map(|what| Event { boot: BOOT, at: Uptime(60_003), confidence: 90, what }).to_vec()
}
