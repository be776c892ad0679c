//! How far reader nodes have come: kept in one step with the events, and told when it is durable.

use hangtag_agent_core::intake::node::Mark;
use hangtag_protocol::link::message::NodeId;

use super::*;

fn marks(below: u32) -> Marks {
    let mut marks = Marks::default();
    marks.put(Mark { node: NodeId(4), boot: 5, below, reads: u64::from(below) * 3, dropped: 0 });
    marks
}

/// What the next start takes up.
fn kept(spool: &Spool) -> (Marks, Vec<u8>) {
    let (marks, snapshot) = Marks::split(spool.inference().1).unwrap();
    (marks, snapshot.to_vec())
}

#[test]
fn marks_are_durable_with_the_events_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let told = spool.watch_marks();
    accept(&mut spool, 1..3, &marks(7).with(b"state".to_vec()));
    assert_eq!(*told.borrow(), marks(7));
    accept(&mut spool, 3..3, &marks(9).with(b"state".to_vec()));
    assert_eq!(*told.borrow(), marks(9));
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(kept(&spool), (marks(9), b"state".to_vec()));
    assert_eq!((*spool.watch_marks().borrow()).clone(), marks(9));
    assert_eq!(spool.inference().0, Seq(3), "no event came of the second");
}

#[test]
fn nothing_is_told_while_nothing_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let full = Settings { cap_bytes: 20_000, when_full: WhenFull::Refuse, ..settings(dir.path()) };
    let mut spool = Spool::open(full).unwrap();
    let told = spool.watch_marks();
    let mut next = 1;
    while spool.fault.is_none() {
        let mut waiting = vec![Accept { events: events(next..next + 100), snapshot: Vec::new() }];
        spool.accept(&mut waiting);
        next += 100;
    }
    let mut waiting = vec![Accept { events: Vec::new(), snapshot: marks(7).with(Vec::new()) }];
    spool.accept(&mut waiting);
    assert_eq!((waiting.len(), told.borrow().all().len()), (1, 0), "a full spool acknowledges no node");
    settle(&mut spool, next);
    let before = spool.minutes_before;
    spool.minutes_before = before + 120;
    spool.accept(&mut waiting);
    assert_eq!((waiting.len(), told.borrow().clone()), (0, marks(7)));
}

#[test]
fn a_fork_forgets_no_node() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    accept(&mut spool, 1..50, &marks(7).with(Vec::new()));
    let old = epoch(&spool);
    spool.handle_request(Request::Fork { epoch: old, from: Seq(20) });
    drop(spool);
    assert_eq!(kept(&open(dir.path())).0, marks(7));
}
