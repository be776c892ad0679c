//! What is read from the files themselves, by a rescue or an export.

use hangtag_agent_core::spool::epoch::EpochRecord;
use hangtag_agent_core::spool::value;
use hangtag_protocol::id::{GatewayId, StoreId, TenantId};
use hangtag_protocol::lineage::Run;
use hangtag_protocol::topic::Gateway;

use super::*;

/// A process died in the middle of a write that never counted; the next one gave the same numbers to others.
#[test]
fn a_rescue_takes_what_was_accepted_last_and_not_what_is_longest() {
    let foreign = |range: std::ops::Range<u64>| range.map(|n| event(n + 1_000_000)).collect::<Vec<_>>();
    // Which run wrote the copy that never counted: the one before, or one that accepted nothing.
    for dead in [None, Some(0xdead)] {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        accept(&mut spool, 1..51, b"");
        let (before, run) = (epoch(&spool), spool.run);
        drop(spool);
        let mut spool = open(dir.path());
        accept(&mut spool, 51..61, b"");
        let first = if dead.is_some() { 51 } else { 1 };
        let dead = Run { first: Seq(first), id: dead.unwrap_or(run) };
        drop(spool);
        let longer: Vec<Event> = (1..51).map(event).chain(foreign(51..101)).collect();
        fs::write(dir.path().join("spool/torn"), value::encode(before, dead, Seq(1), &longer)).unwrap();
        fs::write(dir.path().join("spool/conf"), b"not a sled configuration").unwrap();
        let mut spool = open(dir.path());
        assert_ne!(epoch(&spool), before);
        assert_eq!(all_of(&mut spool, before), events(1..61));
        assert_eq!(lost(&spool, before), []);
    }
}

#[test]
fn what_is_left_of_a_copy_that_never_counted_counts_as_far_as_it_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..51, b"");
    let (epoch, run) = (epoch(&spool), spool.run);
    let meta = spool.opened.as_ref().unwrap().meta.clone();
    drop(spool);
    let look = |copies: &[(u32, u64, u64)], next: u64, runs: &[(u64, u32)]| {
        let lineage: Vec<Run> = runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect();
        let record = EpochRecord { next: Seq(next), lineage: lineage.into(), ..EpochRecord::new(epoch, 0) };
        let meta = store::Meta { epochs: vec![record], ..meta.clone() };
        let mut bytes = meta.encode();
        for (id, first, last) in copies {
            let run = Run { first: Seq(*first), id: *id };
            let events: Vec<Event> = (1..=*last).map(event).collect();
            bytes.extend(value::encode(epoch, run, Seq(1), &events));
        }
        let file = dir.path().join("file");
        fs::write(&file, bytes).unwrap();
        let carved = carve::Carved::look(&[file]).unwrap();
        let bytes = carved.value(epoch, Seq(1)).unwrap_or_default();
        let found = Value::read(&bytes).map_or(0, |value| value.count);
        let lost = carved.epochs(None, true)[0].record.lost.len();
        (found, lost)
    };
    let known = [(1, run), (51, 7)];
    assert_eq!(look(&[(run, 1, 100)], 61, &known), (50, 10), "up to where the next run began");
    assert_eq!(look(&[(9, 41, 100)], 61, &known), (40, 20), "what it had found there");
    assert_eq!(look(&[(9, 61, 100)], 61, &known), (100, 0), "the record is older");
    assert_eq!(look(&[(9, 1, 100), (7, 51, 60)], 61, &known), (60, 0));
    assert_eq!(look(&[(9, 1, 100)], 111, &[(81, 7)]), (80, 30), "runs before that one are forgotten");
    assert_eq!(look(&[(9, 1, 100), (8, 51, 60)], 61, &[]), (60, 0), "whoever found more came later");
}

#[test]
fn an_export_holds_what_waits_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    prepared(dir.path());
    let sums = || files(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let before = sums();
    let gateway = Gateway {
        tenant: TenantId::new("t").unwrap(),
        store: StoreId::new("s").unwrap(),
        gateway: GatewayId::new("g").unwrap(),
    };
    let file = dir.path().join("export");
    let exported = export::export(dir.path(), gateway, false, &file).unwrap();
    assert!((1_049..1_049 + 256).contains(&exported.events), "whole values: {exported:?}");
    assert!(export::export(dir.path(), gateway, false, &file).is_err(), "an existing file is kept");
    assert_eq!(before, sums());
    let bytes = fs::read(&file).unwrap();
    let mut rest = bytes.strip_prefix(b"HTGX\x01").unwrap();
    let mut found = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (payload, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        let (header, body) = hangtag_protocol::batch::Batch::decode_header(payload).unwrap();
        let batch = hangtag_protocol::batch::Batch::decode_body(header, body).unwrap();
        found.extend((header.first.0..).map(Seq).zip(batch.events));
        rest = after;
    }
    assert!(found.ends_with(&events(1_001..2_050)));
    let agent = open(dir.path());
    assert!(look::Look::at(dir.path(), false).is_err(), "the agent runs");
    drop(agent);
    // Cut off in the middle of a replacement.
    fs::rename(dir.path().join("spool"), dir.path().join("spool.new")).unwrap();
    let epochs = look::Look::at(dir.path(), false).unwrap().epochs;
    assert!(epochs[0].record.lost.is_empty() && !epochs[0].values.is_empty());
    fs::remove_dir_all(dir.path().join("spool.new")).unwrap();
    assert!(look::Look::at(dir.path(), false).is_err(), "nothing is declared lost where nothing is found");
}
