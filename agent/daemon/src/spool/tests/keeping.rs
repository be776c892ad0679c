//! What a spool in good order keeps, reads back and lets go.

use hangtag_protocol::clock::UnixMillis;

use super::*;

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
    let last = (AHEAD as u64 + 10) * 100;
    for n in 0..last / 100 {
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
    let end = [(last - 199, last - 100), (last - 99, last)];
    assert_eq!(read(&mut spool, last - 199, u64::MAX), end);
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
fn others_that_fill_the_disk_cost_no_event() {
    assert_eq!(keep(10, 50, 100), 50, "it does not grow, and gives up nothing");
    assert_eq!(keep(10, 150, 100), 100, "what it is told is the limit");
    assert_eq!(keep(100, 50, 100), 100);
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
