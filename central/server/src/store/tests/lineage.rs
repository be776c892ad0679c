//! Who wrote an epoch, and what a database that was restored from a backup makes of it.

use hangtag_protocol::lineage::Run;

use super::*;

const A: (u64, u32) = (1, 0xa);
const B: (u64, u32) = (11, 0xb);
const C: (u64, u32) = (21, 0xc);

pub(super) fn lineage(runs: &[(u64, u32)]) -> Lineage {
    Lineage::from(runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect::<Vec<_>>())
}

pub(super) fn told(first: u64, count: u64, runs: &[(u64, u32)]) -> Batch {
    Batch { lineage: lineage(runs), ..plain(first, count) }
}

#[test]
fn a_copy_of_a_gateway_is_refused_and_learns_what_is_recorded() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 5, &[A, B]));
    let copy = told(9, 5, &[A, (11, 0xd)]);
    bench.send(&copy);
    let appended = bench.send(&copy);
    assert_eq!((appended.sums.forked.batches, appended.sums.forked.events), (1, 5));
    let mark = &appended.marks[&gateway()].epochs[0];
    assert_eq!((&mark.lineage, mark.highest, mark.contiguous_to), (&lineage(&[A, B]), Seq(15), Seq(15)));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 15);
    let reason: String = bench.ask("SELECT kind || ' ' || times || ' ' || reason FROM quarantine");
    assert!(reason.starts_with("fork 2 fork: events from number 11 on"), "{reason}");
    // What lies below the fork is the same in both, and is taken from either.
    bench.send(&told(9, 2, &[A]));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 1);
}

#[test]
fn a_copy_above_what_is_stored_settles_nothing() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 1, &[A, B]));
    bench.send(&told(12, 9, &[A, (11, 0xd)]));
    assert_eq!(bench.settled_to(), 11);
}

#[test]
fn the_original_that_goes_on_after_its_copy_was_first_settles_nothing() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 5, &[A, B]));
    bench.send(&told(9, 9, &[A]));
    assert_eq!(bench.settled_to(), 15);
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM event"), 15);
    assert_eq!(bench.ask::<String>("SELECT kind FROM quarantine"), "fork");
}

#[test]
fn a_lineage_that_tells_too_little_is_asked_for_more() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    let appended = bench.send(&told(21, 3, &[C]));
    assert_eq!((appended.sums.untold.events, bench.settled_to()), (3, 10));
    assert_eq!(appended.marks[&gateway()].epochs[0].lineage, lineage(&[A]));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 0);
    bench.send(&told(21, 3, &[A, B, C]));
    assert_eq!(bench.mark().highest, Seq(23));
}

#[test]
fn an_agent_that_tells_no_lineage_is_stored_as_before() {
    let mut bench = Bench::new();
    bench.send(&plain(1, 3));
    bench.send(&told(4, 3, &[(4, 0xa)]));
    bench.send(&plain(7, 3));
    assert_eq!((bench.settled_to(), bench.mark().lineage), (9, lineage(&[(4, 0xa)])));
}

#[test]
fn a_central_restored_from_yesterdays_backup_is_refilled() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 3, &[A, B]));
    let backup = engines::back_up(&bench);
    bench.send(&told(14, 7, &[B]));
    bench.send(&told(21, 5, &[B, C]));
    assert_eq!((bench.settled_to(), bench.mark().lineage), (25, lineage(&[A, B, C])));

    // The database of yesterday takes the place of today's.
    (bench.store, bench.address) = (Store::open(&backup, options()).unwrap(), backup);
    assert_eq!((bench.settled_to(), bench.mark().highest), (13, Seq(13)), "the watermark went back");
    assert_eq!(bench.mark().lineage, lineage(&[A, B]));
    // An agent that knows central's record up to C does not tell of B.
    bench.send(&told(26, 1, &[C]));
    assert_eq!((bench.settled_to(), bench.mark().highest), (13, Seq(13)));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 0, "it is no copy of another");
    // Then it does, and sends again what it still holds: from 16 on.
    let again = |first, count| Batch { oldest_held: Seq(16), ..told(first, count, &[B, C]) };
    bench.send(&again(26, 1));
    assert_eq!(gaps(&bench), [(14, 15, "unexplained".into())], "the others may come");
    bench.send(&again(16, 10));
    assert_eq!(bench.mark().ranges, [SeqRange::new(16, 26)]);
    assert_eq!(bench.settled_to(), 13, "who holds 14 and 15 after all shall send them");
    let totals = Reader::new(bench.address.clone()).totals().unwrap();
    assert_eq!((totals.gaps, totals.lost, totals.unexplained), (1, 0, 2));
    // A late event beats its gap.
    bench.send(&told(15, 1, &[B]));
    assert_eq!(gaps(&bench), [(14, 14, "unexplained".into())]);
    bench.send(&told(14, 1, &[B]));
    assert_eq!((gaps(&bench), bench.settled_to()), (Vec::new(), 26));
}

fn gaps(bench: &Bench) -> Vec<(u64, u64, String)> {
    let db = bench.db();
    let question = "SELECT first, last, why FROM gap ORDER BY first";
    db.all(question, &[], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

#[test]
fn gaps_are_what_was_lost_and_what_nobody_explains() {
    let mut bench = Bench::new();
    bench.send(&Batch { oldest_held: Seq(20), lost: vec![SeqRange::new(5, 6)], ..plain(20, 1) });
    bench.send_bytes(Channel::Events, newer(&plain(9, 2)));
    let unexplained = |first, last| (first, last, "unexplained".to_owned());
    assert_eq!(
        gaps(&bench),
        [unexplained(1, 4), (5, 6, "lost".into()), unexplained(7, 8), unexplained(11, 19)]
    );
    let mut other = plain(1, 1);
    other.header.epoch = Epoch(0xdef);
    bench.send(&other);
    assert_eq!(gaps(&bench).len(), 4, "of an epoch that holds everything there is none");
    bench.store = Store::open(&bench.address, options()).unwrap();
    bench.send(&Batch { oldest_held: Seq(3), ..plain(21, 1) });
    assert_eq!(gaps(&bench).len(), 4, "a batch that comes late takes nothing back");
}
