//! Copies of a spool: from which number on central has other events.

use super::*;

#[test]
fn a_copy_of_the_spool_is_told_from_where_its_events_are_its_own() {
    let lineage = runs(&[(1, 0xa), (501, 0xb), (790, 0xc)]);
    let mut gateway = Gateway::new(vec![Held { lineage, ..held(OLD, 800) }]);
    gateway.connect();
    gateway.drain();
    let original = runs(&[(1, 0xa), (501, 0xb), (820, 0xd)]);
    let theirs = EpochMark::of(OLD, &set(&[(1, 600), (700, 900)]), Seq(900), original);
    let notes = gateway.settle(vec![theirs.clone()]);
    let expected = [
        Note::Fork { epoch: OLD, from: Seq(790) },
        Note::Settle { epoch: OLD, settled: set(&[(1, 600), (700, 789)]) },
    ];
    assert_eq!(notes, expected, "nothing that is the copy's own is settled");
    gateway.accept(50);
    assert_eq!(gateway.settle(vec![theirs]), [], "told once");
    gateway.reconnect(Ended::Explained);
    gateway.wait(5_000);
    assert_eq!(gateway.ranges(), [SeqRange::new(601, 699)], "below the fork everything goes on");
    // The spool has acted: what was above is in a new epoch.
    gateway.held[0].next = 790;
    gateway.held.push(Held { lineage: runs(&[(1, 0xe)]), ..held(NEW, 61) });
    gateway.tell();
    assert_eq!(gateway.drain(), [(Purpose::Backlog, SeqRange::new(1, 60))]);
}

#[test]
fn a_gateway_that_was_rolled_back_begins_anew_and_deletes_nothing_of_its_own() {
    let mut gateway = Gateway::connected(11);
    let ahead = mark(OLD, &[(1, 500)]);
    let notes = gateway.settle(vec![ahead]);
    assert_eq!(notes[0], Note::Fork { epoch: OLD, from: Seq(11) });
    assert_eq!(notes[1], Note::Settle { epoch: OLD, settled: set(&[(1, 10)]) });
    gateway.accept(3);
    gateway.wait(250);
    assert_eq!(gateway.drain(), []);
}

#[test]
fn an_older_central_tells_of_a_fork_by_numbers_alone() {
    let mut gateway = Gateway::connected(11);
    let older = EpochMark::of(OLD, &set(&[(1, 500)]), Seq(0), Lineage::default());
    assert_eq!(gateway.settle(vec![older])[0], Note::Fork { epoch: OLD, from: Seq(11) });
}

#[test]
fn an_epoch_that_only_drains_has_no_future_to_fork() {
    let mut gateway = Gateway::new(vec![held(OLD, 11), held(NEW, 1)]);
    gateway.connect();
    let notes = gateway.settle(vec![mark(OLD, &[(1, 500)])]);
    assert_eq!(notes, [Note::Settle { epoch: OLD, settled: set(&[(1, 10)]) }]);
}

#[test]
fn what_central_recorded_of_the_runs_is_known() {
    let mut gateway = Gateway::connected(11);
    assert_eq!(gateway.uplink.recorded(OLD), Lineage::default());
    gateway.settle(vec![mark(OLD, &[(1, 5)])]);
    assert_eq!(gateway.uplink.recorded(OLD), runs(&[(1, 0xa)]));
}
