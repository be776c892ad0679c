//! The spool through its own verbs, on a real folder: restarts, damage, copies, a full spool.

use std::fs;
use std::path::Path;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::Evidence;
use hangtag_protocol::event::{Fitting, What};
use hangtag_protocol::id::{GatewayId, StoreId, TenantId, ZoneId};
use hangtag_protocol::topic::Gateway;
use proptest::prelude::*;

use hangtag_agent_core::spool::epoch::EpochRecord;
use hangtag_agent_core::spool::value::{self, VALUE_EVENTS, Value};
use hangtag_protocol::lineage::Run;

use super::mending::LARGE;
use super::*;
use cases::cases;

#[path = "../../../core/tests/cases/mod.rs"]
mod cases;

fn settings(data: &Path) -> Settings {
    Settings {
        data: data.to_owned(),
        cap_bytes: 64 << 20,
        commit: Duration::from_millis(20),
        commit_events: VALUE_EVENTS,
        when_full: WhenFull::DropOldest,
        retention: 60,
        boot: BootId(1),
        accepted_log: None,
    }
}

fn open(data: &Path) -> Spool {
    Spool::open(settings(data)).unwrap()
}

fn event(n: u64) -> Event {
    // No two alike, and too random to pack well.
    let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let fitting = Fitting {
        epc: Epc::new(&noise).unwrap(),
        zone: ZoneId::new("booth-1").unwrap(),
        visit: Seq(n),
        evidence: Evidence::default(),
    };
    Event { boot: BootId(1), at: Uptime(n), confidence: 1, what: What::CarriedIn(fitting) }
}

fn events(range: std::ops::Range<u64>) -> Vec<(Seq, Event)> {
    range.map(|n| (Seq(n), event(n))).collect()
}

fn accept(spool: &mut Spool, range: std::ops::Range<u64>, snapshot: &[u8]) {
    let mut waiting = vec![Accept { events: events(range), snapshot: snapshot.to_vec() }];
    spool.accept(&mut waiting);
    assert!(waiting.is_empty(), "{:?}", spool.fault);
}

fn epoch(spool: &Spool) -> Epoch {
    spool.state.borrow().current().epoch
}

fn settle(spool: &mut Spool, last: u64) {
    let settled = SeqSet::from(vec![SeqRange::new(1, last)]);
    spool.handle_request(Request::Settle { epoch: epoch(spool), settled });
}

/// Everything that can be read of an epoch.
fn all_of(spool: &mut Spool, epoch: Epoch) -> Vec<(Seq, Event)> {
    let mut found = Vec::new();
    let mut from = Seq(1);
    while let Ok(held) = spool.read(epoch, SeqRange { first: from, last: Seq(1 << 40) }) {
        let Some(first) = held.first else { break };
        let events = held.into_events();
        from = first.plus(events.len() as u64);
        found.extend((first.0..).map(Seq).zip(events));
    }
    found
}

fn all(spool: &mut Spool) -> Vec<(Seq, Event)> {
    let epoch = epoch(spool);
    all_of(spool, epoch)
}

fn lost(spool: &Spool, epoch: Epoch) -> Vec<SeqRange> {
    let index = &spool.opened.as_ref().unwrap().index;
    index.epoch(epoch).unwrap().record().lost.ranges().to_vec()
}

/// The files of sled's folder.
fn files(data: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(data.join("spool")).unwrap();
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let before = epoch(&spool);
    accept(&mut spool, 1..300, &vec![7; 20_000]);
    accept(&mut spool, 300..301, b"small");
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(epoch(&spool), before);
    assert_eq!(spool.inference(), (Seq(301), &b"small"[..]));
    assert_eq!(all(&mut spool), events(1..301));
    accept(&mut spool, 301..302, b"");
    let runs = spool.state.borrow().current().lineage.runs().len();
    assert_eq!(runs, 2, "each process that accepts something is in the lineage");
}

#[test]
fn a_backlog_is_read_ahead_without_what_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for n in 0..30 {
        accept(&mut spool, 1 + n * 100..101 + n * 100, b"");
    }
    let epoch = epoch(&spool);
    let settled = SeqSet::from(vec![SeqRange::new(150, 420)]);
    spool.handle_request(Request::Settle { epoch, settled });
    let read = |spool: &mut Spool, first: u64, last: u64| {
        let (reply, mut answer) = oneshot::channel();
        spool.handle_request(Request::Read { epoch, range: SeqRange::new(first, last), ahead: true, reply });
        let ranges = |held: Held| {
            let (range, all) = ((held.first.unwrap().0, held.last().unwrap().0), held.into_events());
            assert!((range.0..).zip(&all).all(|(seq, found)| *found == event(seq)));
            range
        };
        answer.try_recv().unwrap().into_iter().map(ranges).collect::<Vec<_>>()
    };
    assert_eq!(read(&mut spool, 1, 256)[..4], [(1, 100), (101, 149), (421, 500), (501, 600)]);
    assert_eq!(read(&mut spool, 1, 256).len(), AHEAD);
    assert_eq!(read(&mut spool, 2_801, u64::MAX), [(2_801, 2_900), (2_901, 3_000)]);
}

#[test]
fn a_second_agent_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let why = Spool::open(settings(dir.path())).err().map(|why| format!("{why:#}")).unwrap_or_default();
    assert!(why.contains("another agent"), "{why}");
}

#[test]
fn settled_events_stay_for_a_while_and_go_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..600, b"");
    let settled = SeqSet::from(vec![SeqRange::new(1, 599)]);
    spool.handle_request(Request::Settle { epoch: Epoch(0), settled });
    assert_eq!(spool.state.borrow().waiting, 599, "of another epoch");
    settle(&mut spool, 599);
    assert_eq!(spool.state.borrow().waiting, 0);
    assert_eq!(all(&mut spool), events(1..600), "a central that forgot can be refilled");
    settle(&mut spool, 500);
    assert_eq!(spool.state.borrow().waiting, 99);
    settle(&mut spool, 599);
    spool.close();
    drop(spool);
    let mut spool = Spool::open(Settings { retention: 0, ..settings(dir.path()) }).unwrap();
    assert_eq!(spool.state.borrow().waiting, 0, "that was written down");
    accept(&mut spool, 600..601, b"");
    assert_eq!(all(&mut spool), events(600..601).split_off(0));
    drop(spool);
    assert_eq!(all(&mut open(dir.path())), events(600..601));
}

#[test]
fn a_store_that_is_opened_again_keeps_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..10, b"");
    spool.broken(&StoreError::Io(std::io::ErrorKind::Other.into()));
    accept(&mut spool, 5..12, b"");
    assert_eq!(all(&mut spool), events(1..12));
    assert!(!spool.over);
}

#[test]
fn what_was_accepted_can_be_read_while_the_store_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..300, b"");
    let epoch = epoch(&spool);
    spool.opened = None;
    let (reply, mut answer) = oneshot::channel();
    spool.handle_request(Request::Read { epoch, range: SeqRange::new(290, 295), ahead: false, reply });
    let held = answer.try_recv().unwrap().remove(0);
    let Events::Plain(found) = held.events else { panic!("part of a value") };
    assert_eq!((held.first, found), (Some(Seq(290)), (290..296).map(event).collect()));
    assert!(!held.lineage.is_empty());
    let (reply, mut answer) = oneshot::channel();
    spool.handle_request(Request::Read { epoch, range: SeqRange::new(300, 400), ahead: false, reply });
    assert!(answer.try_recv().is_err(), "there is no answer");
}

#[test]
fn a_full_spool_refuses_if_told_so_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(Settings {
        when_full: WhenFull::Refuse,
        cap_bytes: 20_000,
        retention: 0,
        ..settings(dir.path())
    })
    .unwrap();
    let mut next = 1;
    let mut waiting = Vec::new();
    while waiting.is_empty() {
        waiting.push(Accept { events: events(next..next + 100), snapshot: Vec::new() });
        spool.accept(&mut waiting);
        next += 100;
        assert!(next < 10_000);
    }
    let kept = next - 100;
    assert!(spool.state.borrow().fault.as_ref().unwrap().contains("refuse"), "{:?}", spool.fault);
    assert_eq!((spool.state.borrow().waiting, spool.state.borrow().lost), (kept - 1, 0));
    assert_eq!(spool.state.borrow().percent, 100);
    settle(&mut spool, kept - 1);
    spool.accept(&mut waiting);
    assert!(waiting.is_empty() && spool.state.borrow().fault.is_none());
    assert_eq!(spool.state.borrow().waiting, 100);
}

#[test]
fn a_full_spool_drops_the_oldest_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(Settings { cap_bytes: 20_000, ..settings(dir.path()) }).unwrap();
    for n in 0..30 {
        accept(&mut spool, 1 + n * 100..101 + n * 100, b"");
    }
    let held = all(&mut spool);
    assert_eq!(held.last().unwrap().0, Seq(3_000));
    let epoch = epoch(&spool);
    assert_eq!(lost(&spool, epoch), [SeqRange::new(1, held[0].0.0 - 1)]);
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(
        (all(&mut spool), lost(&spool, epoch)),
        (held.clone(), vec![SeqRange::new(1, held[0].0.0 - 1)])
    );
}

#[test]
fn a_value_that_spoils_is_lost_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..257, b"");
    accept(&mut spool, 257..513, b"");
    let Opened { store, index, meta, .. } = spool.opened.as_mut().unwrap();
    let (key, first) = index.current().value_at(Seq(1)).unwrap();
    let mut bytes = store.record(key).unwrap().unwrap();
    bytes[60] ^= 1;
    let end = Value::read(&store.record(key).unwrap().unwrap()).unwrap().range().last;
    commit(store, index, meta, vec![hangtag_agent_core::spool::Put { key, bytes }], None).unwrap();
    assert_eq!(first, Seq(1));
    assert_eq!(all(&mut spool), events(end.0 + 1..513), "the value is taken out");
    let epoch = epoch(&spool);
    assert_eq!(lost(&spool, epoch), [SeqRange { first: Seq(1), last: end }]);
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(lost(&spool, epoch), [SeqRange { first: Seq(1), last: end }], "on record");
}

/// After damage: each accepted event is there as it was, or within what is said to be lost, and never both.
fn check_after_damage(data: &Path, before: Epoch, accepted: u64, settled: u64) -> (u64, bool) {
    let mut spool = open(data);
    let is_held = spool.opened.as_ref().unwrap().index.epoch(before).is_some();
    let found = if is_held { all_of(&mut spool, before) } else { Vec::new() };
    let lost = if is_held { lost(&spool, before) } else { Vec::new() };
    let lost = SeqSet::from(lost);
    for (seq, found) in &found {
        assert_eq!(*found, event(seq.0), "event {seq} is as it was");
        assert!(!lost.contains(*seq), "event {seq} is there and said to be lost");
    }
    let found =
        SeqSet::from(found.iter().map(|(seq, _)| SeqRange { first: *seq, last: *seq }).collect::<Vec<_>>());
    for n in settled + 1..=accepted {
        assert!(
            found.contains(Seq(n)) || lost.contains(Seq(n)),
            "event {n} is neither there nor said to be lost"
        );
    }
    // The agent goes on.
    let (next, _) = spool.inference();
    let is_new = epoch(&spool) != before;
    assert!(is_new && next == Seq(1) || next == Seq(accepted + 1), "no number is given out twice");
    accept(&mut spool, next.0..next.0 + 3, b"");
    let newest = all(&mut spool);
    assert!(newest.ends_with(&events(next.0..next.0 + 3)));
    (lost.len(), is_new)
}

/// A spool whose first half is settled and gone.
fn prepared(data: &Path) -> Epoch {
    let mut spool = Spool::open(Settings { retention: 0, ..settings(data) }).unwrap();
    for n in 0..20 {
        accept(&mut spool, 1 + n * 100..101 + n * 100, b"snapshot");
    }
    settle(&mut spool, 1_000);
    accept(&mut spool, 2_001..2_050, b"");
    epoch(&spool)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn every_file_may_be_missing_cut_short_or_foreign() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let before = prepared(&whole);
    let names: Vec<_> = files(&whole).into_iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in &names {
        for how in ["missing", "empty", "half", "foreign", "zeroes"] {
            let data = dir.path().join(format!("{}-{how}", name.to_string_lossy()));
            copy(&whole, &data);
            let path = data.join("spool").join(name);
            let length = fs::metadata(&path).unwrap().len();
            match how {
                "missing" => fs::remove_file(&path).unwrap(),
                "empty" => fs::write(&path, b"").unwrap(),
                "half" => fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap(),
                "foreign" => fs::write(&path, vec![0x55; usize::try_from(length).unwrap()]).unwrap(),
                _ => fs::write(&path, vec![0; usize::try_from(length).unwrap()]).unwrap(),
            }
            let (lost, is_new) = check_after_damage(&data, before, 2_049, 1_000);
            println!("{name:?} {how}: {lost} lost, new epoch: {is_new}");
            fs::remove_dir_all(&data).unwrap();
        }
    }
    // The whole folder is gone, or empty.
    fs::remove_dir_all(whole.join("spool")).unwrap();
    let (lost, is_new) = check_after_damage(&whole, before, 2_049, 1_000);
    assert!(is_new && lost == 1_049, "{lost}");
}

#[test]
fn a_spool_of_another_version_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let db = sled::open(dir.path().join("spool")).unwrap();
    db.insert(b"m", b"HTM\x09 from the future").unwrap();
    db.flush().unwrap();
    drop(db);
    let why = Spool::open(settings(dir.path())).err().map(|why| format!("{why:#}")).unwrap_or_default();
    assert!(why.contains("version 9"), "{why}");
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with("spool.bad")));
}

#[test]
fn a_leftover_of_an_interrupted_opening_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let before = prepared(dir.path());
    fs::write(dir.path().join("spool/snap.0000000000000000.generating"), b"half").unwrap();
    fs::create_dir(dir.path().join("spool.tmp")).unwrap();
    assert_eq!(check_after_damage(dir.path(), before, 2_049, 1_000), (0, false));
}

#[test]
fn a_damaged_database_is_rescued_set_aside_and_a_new_epoch_begins() {
    let dir = tempfile::tempdir().unwrap();
    let before = prepared(dir.path());
    fs::write(dir.path().join("spool/conf"), b"not a sled configuration").unwrap();
    let (lost, is_new) = check_after_damage(dir.path(), before, 2_049, 1_000);
    assert_eq!((lost, is_new), (0, true), "all values were readable");
    let bad = |name: &fs::DirEntry| name.file_name().to_string_lossy().starts_with("spool.bad-");
    assert_eq!(fs::read_dir(dir.path()).unwrap().filter(|entry| bad(entry.as_ref().unwrap())).count(), 1);
    // The rescued epoch drains, and is then forgotten.
    let mut spool = Spool::open(Settings { retention: 0, ..settings(dir.path()) }).unwrap();
    assert_eq!(spool.state.borrow().epochs.len(), 2);
    let settled = SeqSet::from(vec![SeqRange::new(1, 2_049)]);
    spool.handle_request(Request::Settle { epoch: before, settled });
    accept(&mut spool, 4..5, b"");
    assert_eq!(spool.state.borrow().epochs.len(), 1);
}

/// sled overwrites what follows a damaged place; a value holds 256 events, and little else may go with it.
#[test]
fn one_damaged_page_costs_its_events_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut worst = 0;
    for part in 1..8 {
        let data = dir.path().join(part.to_string());
        fs::create_dir(&data).unwrap();
        let before = prepared(&data);
        let path = data.join("spool/db");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() * part / 8;
        bytes[at..at + 16].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let (lost, _) = check_after_damage(&data, before, 2_049, 1_000);
        worst = worst.max(lost);
        assert!(!data.join("before.db").exists());
    }
    assert!(worst <= 2 * VALUE_EVENTS as u64, "{worst}");
}

proptest! {
    #![proptest_config(cases(40, None))]
    #[test]
    fn one_flipped_bit_anywhere_is_survived(at in any::<prop::sample::Index>(), bit in 0u8..8, file in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        let before = prepared(dir.path());
        let files = files(dir.path());
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).unwrap();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            fs::write(path, bytes).unwrap();
        }
        check_after_damage(dir.path(), before, 2_049, 1_000);
    }
}

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
fn others_that_fill_the_disk_cost_no_event() {
    assert_eq!(keep(10, 50, 100), 50, "it does not grow, and gives up nothing");
    assert_eq!(keep(10, 150, 100), 100, "what it is told is the limit");
    assert_eq!(keep(100, 50, 100), 100);
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

#[test]
fn what_cannot_be_sent_is_set_aside_and_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..10, b"");
    let epoch = epoch(&spool);
    let why = "too large".to_owned();
    spool.handle_request(Request::SetAside { epoch, range: SeqRange::new(4, 5), why });
    assert_eq!(lost(&spool, epoch), [SeqRange::new(4, 5)]);
    assert_eq!(spool.state.borrow().waiting, 7);
    let held = spool.read(epoch, SeqRange::new(1, 9)).unwrap();
    assert_eq!((held.first, held.count()), (Some(Seq(1)), 3));
    assert_eq!(held.lost, [SeqRange::new(4, 5)]);
    for first in 4..=6 {
        let held = spool.read(epoch, SeqRange::new(first, 9)).unwrap();
        assert_eq!((held.first, held.into_events()), (Some(Seq(6)), (6..10).map(event).collect()));
    }
    assert_eq!(spool.read(epoch, SeqRange::new(4, 5)).unwrap().first, None, "there is no more in the range");
    let text = fs::read_to_string(dir.path().join("set-aside.jsonl")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("too large")).count(), 2);
}

#[test]
fn what_is_set_aside_may_begin_in_one_value_and_end_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..101, b"");
    accept(&mut spool, 101..201, b"");
    let epoch = epoch(&spool);
    let aside = |spool: &mut Spool, first, last| {
        let (range, why) = (SeqRange::new(first, last), "no broker takes it".to_owned());
        spool.handle_request(Request::SetAside { epoch, range, why });
    };
    aside(&mut spool, 90, 110);
    let lines = || fs::read_to_string(dir.path().join("set-aside.jsonl")).unwrap().lines().count();
    assert_eq!((lines(), spool.state.borrow().waiting), (21, 179));
    let held = spool.read(epoch, SeqRange::new(95, 200)).unwrap();
    assert_eq!((held.first, held.count()), (Some(Seq(111)), 90), "it goes on in the next value");
    let opened = spool.opened.take();
    aside(&mut spool, 120, 125);
    spool.opened = opened;
    assert_eq!((lines(), spool.read(epoch, SeqRange::new(120, 120)).unwrap().first), (21, Some(Seq(120))));
}

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
    assert!(export::look(dir.path(), false).is_err(), "the agent runs");
    drop(agent);
    // Cut off in the middle of a replacement.
    fs::rename(dir.path().join("spool"), dir.path().join("spool.new")).unwrap();
    let (_, epochs) = export::look(dir.path(), false).unwrap();
    assert!(epochs[0].record.lost.is_empty() && !epochs[0].values.is_empty());
    fs::remove_dir_all(dir.path().join("spool.new")).unwrap();
    assert!(export::look(dir.path(), false).is_err(), "nothing is declared lost where nothing is found");
}

#[test]
fn anchors_are_bounded_and_the_first_stays() {
    let mut anchors = Vec::new();
    for n in 0..50 {
        let anchor = ClockAnchor { boot: BootId(n % 2), uptime: Uptime(n), wall: UnixMillis(0), error_ms: 0 };
        add_anchor(&mut anchors, anchor);
    }
    assert_eq!(anchors.len(), 2 * ANCHORS_PER_BOOT);
    assert!(anchors.iter().any(|anchor| anchor.uptime == Uptime(0)));
    assert!(anchors.iter().any(|anchor| anchor.uptime == Uptime(49)));
    for n in 100..200 {
        let anchor = ClockAnchor { boot: BootId(n), uptime: Uptime(n), wall: UnixMillis(0), error_ms: 0 };
        add_anchor(&mut anchors, anchor);
    }
    assert!(anchors.len() <= BOOTS * ANCHORS_PER_BOOT, "{}", anchors.len());
}
