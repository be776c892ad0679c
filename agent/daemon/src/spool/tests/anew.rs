//! Spools that are built anew: forks, and what was large.

use super::super::mending::LARGE;
use super::*;

#[test]
fn a_fork_moves_what_is_held_from_there_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..400, b"");
    let old = epoch(&spool);
    settle(&mut spool, 100);
    spool.handle_request(Request::Fork { epoch: old, from: Seq(301) });
    assert!(spool.over, "inference must begin again");
    drop(spool);
    let mut spool = open(dir.path());
    let new = epoch(&spool);
    assert_ne!(new, old);
    assert_eq!(all_of(&mut spool, old), events(1..301));
    let moved = all_of(&mut spool, new);
    assert_eq!(moved.len(), 99);
    for (seq, event) in moved {
        let What::CarriedIn(fitting) = event.what else { panic!("{event:?}") };
        assert_eq!((event.at, fitting.visit), (Uptime(seq.0 + 300), seq), "the visit moves along");
    }
    assert_eq!(spool.inference().0, Seq(100));
    assert_eq!((lost(&spool, old), lost(&spool, new)), (vec![], vec![]));
    accept(&mut spool, 100..101, b"");
    drop(spool);
    assert_eq!(open(dir.path()).state.borrow().waiting, 200 + 100);
}

#[test]
fn a_fork_takes_its_losses_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(Settings { cap_bytes: 20_000, ..settings(dir.path()) }).unwrap();
    for n in 0..30 {
        accept(&mut spool, 1 + n * 100..101 + n * 100, b"");
    }
    let old = epoch(&spool);
    let oldest = all(&mut spool)[0].0.0;
    assert!(oldest > 200 && lost(&spool, old) == [SeqRange::new(1, oldest - 1)]);
    spool.handle_request(Request::Fork { epoch: old, from: Seq(101) });
    drop(spool);
    let mut spool = open(dir.path());
    let new = epoch(&spool);
    assert_eq!(lost(&spool, old), [SeqRange::new(1, 100)]);
    assert_eq!(lost(&spool, new), [SeqRange::new(1, oldest - 101)], "one to one");
    for (seq, event) in all_of(&mut spool, new) {
        let What::CarriedIn(fitting) = event.what else { panic!("{event:?}") };
        assert_eq!((event.at, fitting.visit), (Uptime(seq.0 + 100), seq));
    }
    assert_eq!(spool.inference().0, Seq(2_901));
}

#[test]
fn a_fork_that_cannot_be_done_at_once_is_done_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..50, b"");
    let old = epoch(&spool);
    let opened = spool.opened.take();
    spool.handle_request(Request::Fork { epoch: old, from: Seq(20) });
    spool.opened = opened;
    let (_, _, at) = spool.forked.expect("it is not forgotten");
    spool.forked = Some((old, Seq(20), at - RETRY));
    spool.accept(&mut vec![Accept { events: events(50..51), snapshot: Vec::new() }]);
    assert!(spool.over && spool.forked.is_none());
}

#[test]
fn a_value_that_spoiled_before_the_spool_is_built_anew_is_lost_and_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for n in 0..4 {
        accept(&mut spool, 1 + n * 100..101 + n * 100, b"");
    }
    let Opened { store, index, meta, .. } = spool.opened.as_mut().unwrap();
    let (key, first) = index.current().value_at(Seq(150)).unwrap();
    let mut bytes = store.record(key).unwrap().unwrap();
    bytes[60] ^= 1;
    commit(store, index, meta, vec![hangtag_agent_core::spool::Put { key, bytes }], None).unwrap();
    spool.rebuild(None).unwrap();
    let epoch = epoch(&spool);
    let gone = lost(&spool, epoch);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].first, first);
    assert_eq!(spool.opened.as_ref().unwrap().index.waiting(), 400 - gone[0].len());
}

#[test]
fn what_the_disk_did_not_keep_is_written_anew_before_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..300, b"state");
    let file = |spool: &Spool| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(spool.folder.spool().join("db")).unwrap().ino()
    };
    let before = file(&spool);
    spool.broken(&StoreError::Sync(std::io::ErrorKind::Other.into()));
    assert_ne!(file(&spool), before, "another file, synced as a whole");
    assert!(!spool.distrust && !spool.over);
    assert_eq!(all(&mut spool), events(1..300));
    accept(&mut spool, 300..301, b"");
}

#[test]
fn a_rolled_back_spool_with_nothing_of_its_own_just_begins_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..50, b"");
    let old = epoch(&spool);
    spool.handle_request(Request::Fork { epoch: old, from: Seq(50) });
    assert!(spool.over);
    drop(spool);
    let mut spool = open(dir.path());
    assert_ne!(epoch(&spool), old);
    assert_eq!(all_of(&mut spool, old), events(1..50));
    // Told once more: the old epoch ends below, and nothing happens.
    let new = epoch(&spool);
    spool.handle_request(Request::Fork { epoch: old, from: Seq(50) });
    assert!(!spool.over && epoch(&spool) == new);
}

#[test]
fn a_spool_that_was_large_is_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(Settings { retention: 0, ..settings(dir.path()) }).unwrap();
    let before = epoch(&spool);
    let mut next = 1;
    while spool.state.borrow().disk_bytes < LARGE {
        accept(&mut spool, next..next + 5_000, b"");
        next += 5_000;
    }
    settle(&mut spool, next - 500);
    accept(&mut spool, next..next + 1, b"state");
    assert!(spool.state.borrow().disk_bytes < LARGE / 8, "{}", spool.state.borrow().disk_bytes);
    assert!(!spool.over && epoch(&spool) == before);
    accept(&mut spool, next + 1..next + 2, b"later");
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(spool.inference(), (Seq(next + 2), &b"later"[..]));
    let held = all(&mut spool);
    let numbers: Vec<u64> = held.iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(numbers, (numbers[0]..next + 2).collect::<Vec<u64>>());
    assert!(numbers[0] <= next - 499 && held.ends_with(&events(next - 499..next + 2)));
}
