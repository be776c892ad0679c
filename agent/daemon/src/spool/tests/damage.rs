//! Damaged files: what is lost, and that nothing else is.

use proptest::prelude::*;

use super::cases::cases;
use super::*;

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

/// The CRC-32C of `M`, 9, the length 4 and "body".
const FOREIGN: [u8; 4] = [0x53, 0xe6, 0xb1, 0x46];

#[test]
fn a_spool_of_another_version_stays_as_it_is() {
    // Where this version has its record, and where older ones had it.
    for tree in ["book", "__sled__default"] {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path().join("spool")).unwrap();
        // A whole record of version 9.
        let record = [&b"HTM\x09\x04\0"[..], &FOREIGN, b"body"].concat();
        db.open_tree(tree).unwrap().insert(b"m", record).unwrap();
        db.flush().unwrap();
        drop(db);
        let why = Spool::open(settings(dir.path())).err().map(|why| format!("{why:#}")).unwrap_or_default();
        assert!(why.contains("version 9"), "{tree}: {why}");
        let why = look::Look::at(dir.path(), true).err().map(|why| format!("{why:#}")).unwrap_or_default();
        assert!(why.contains("version 9"), "looking only, {tree}: {why}");
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with("spool.bad")));
    }
}

#[test]
fn a_lock_that_is_let_go_of_soon_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..50, b"");
    let before = epoch(&spool);
    drop(spool);
    // What a process that was forked off holds until it becomes another program.
    let held = fs::File::open(dir.path().join("spool/db")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(held);
    });
    let mut spool = open(dir.path());
    holder.join().unwrap();
    assert_eq!(epoch(&spool), before);
    assert_eq!(all(&mut spool), events(1..50));
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
fn events_beyond_what_the_record_knows_of_are_rescued_and_their_numbers_not_given_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..50, b"");
    let old = epoch(&spool);
    // The page of the record is that of an earlier day, and a power cut took the witness.
    let Opened { store, meta, .. } = spool.opened.as_mut().unwrap();
    let mut earlier = meta.clone();
    earlier.epochs[0].next = Seq(40);
    store.commit(Vec::new(), &earlier, None).unwrap();
    drop(spool);
    fs::remove_file(dir.path().join("witness")).unwrap();
    let mut spool = open(dir.path());
    let next = spool.inference().0.0;
    accept(&mut spool, next..next + 20, b"");
    assert_eq!(all_of(&mut spool, old), events(1..50));
    assert_ne!(epoch(&spool), old);
    assert_eq!(all(&mut spool), events(1..21));
}

#[test]
fn a_store_that_fails_while_nobody_waits_for_an_answer_is_opened_again() {
    let ask_ahead = |spool: &mut Spool| {
        let (reply, _answer) = oneshot::channel();
        let (epoch, range) = (epoch(spool), SeqRange::new(1, 100));
        spool.handle_request(Request::Read { epoch, range, ahead: true, reply });
    };
    let look: fn(&mut Spool) = Spool::tell;
    for (spoiled, act) in [(1, look), (101, ask_ahead)] {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        accept(&mut spool, 1..101, b"");
        accept(&mut spool, 101..201, b"");
        let Opened { store, index, meta, .. } = spool.opened.as_mut().unwrap();
        let (key, _) = index.current().value_at(Seq(spoiled)).unwrap();
        let mut bytes = store.record(key).unwrap().unwrap();
        bytes[60] ^= 1;
        commit(store, index, meta, vec![hangtag_agent_core::spool::Put { key, bytes }], None).unwrap();
        // That the value is lost cannot be written down: such a record is too large.
        let (boot, uptime, wall) = (BootId(u64::MAX), Uptime(1), hangtag_protocol::clock::UnixMillis(1));
        meta.anchors = vec![ClockAnchor { boot, uptime, wall, error_ms: 1 }; 10_000];
        spool.oldest = (None, None);
        act(&mut spool);
        let anchors = spool.opened.as_ref().map_or(0, |opened| opened.meta.anchors.len());
        assert_eq!(anchors, 0, "what was not written must be forgotten");
    }
}
