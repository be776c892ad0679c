//! Batches whose numbers another run has used, and that are stored under an epoch of their own.

use super::lineage::told;
use super::*;
use crate::store::Forks;

const A: (u64, u32) = (1, 0xa);
const B: (u64, u32) = (11, 0xb);
const C: (u64, u32) = (11, 0xc);

/// Events of another machine than those of `told`.
fn copied(first: u64, count: u64, runs: &[(u64, u32)]) -> Batch {
    let mut batch = told(first, count, runs);
    for event in batch.events.iter_mut().filter(|event| event.at >= Uptime(11_000)) {
        event.boot = BootId(8);
    }
    batch
}

fn adopt(bench: &mut Bench, batch: &Batch) -> Appended {
    let topic = gateway().topic(Channel::Events);
    let message = Message { topic, payload: batch.encode().unwrap(), received: UnixMillis(6) };
    bench.store.append_with(&[message], Forks::Adopt).unwrap()
}

/// How many events each epoch has, the given one first.
fn events(bench: &Bench) -> Vec<i64> {
    let db = bench.db();
    let question = "SELECT count(*) FROM event GROUP BY epoch ORDER BY epoch <> '0000000000000abc', epoch";
    db.all(question, &[], |row| row.get(0)).unwrap()
}

fn contents(bench: &Bench) -> i64 {
    bench.ask("SELECT count(DISTINCT boot || ' ' || uptime) FROM event")
}

#[test]
fn a_fork_is_stored_once_under_an_epoch_of_its_own() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 5, &[A, B]));
    let copy = copied(9, 6, &[A, C]);
    bench.send(&copy);
    assert_eq!(bench.ask::<String>("SELECT kind FROM quarantine"), "fork");
    let sums = adopt(&mut bench, &copy).sums;
    assert_eq!((sums.new.events, sums.known.events, sums.adopted.events, sums.forked.events), (4, 2, 4, 0));
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 0, "it is stored after all");
    assert_eq!((events(&bench), contents(&bench)), (vec![15, 4], 19));
    let again = adopt(&mut bench, &copy).sums;
    assert_eq!((again.new.events, again.known.events), (0, 6));
    // A later export of the same spool tells more; the original goes on meanwhile.
    bench.send(&told(16, 5, &[A, B]));
    adopt(&mut bench, &copied(13, 9, &[A, C, (18, 0xd)]));
    assert_eq!((events(&bench), contents(&bench)), (vec![20, 11], 31));
    assert_eq!(bench.settled_to_of(0xabc), 20, "the original is as it was");
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM gap"), 0, "numbers before the fork are not missing");
}

#[test]
fn the_original_whose_copy_was_first_is_stored_too() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 5, &[A, B]));
    let original = copied(9, 9, &[A]);
    adopt(&mut bench, &original);
    adopt(&mut bench, &original);
    assert_eq!((events(&bench), contents(&bench)), (vec![15, 7], 22));
}

#[test]
fn an_export_that_tells_too_little_is_stored_without_what_is_known() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    let old = told(8, 13, &[(15, 0xe), (19, 0xf)]);
    assert_eq!(bench.send(&old).sums.untold.events, 13);
    let sums = adopt(&mut bench, &old).sums;
    assert_eq!((sums.new.events, sums.known.events), (10, 3));
    // Exported again after the agent forgot its oldest run.
    let later = told(8, 20, &[(19, 0xf), (25, 0x10)]);
    let sums = adopt(&mut bench, &later).sums;
    assert_eq!((sums.new.events, sums.known.events), (7, 13));
    assert_eq!((events(&bench), contents(&bench)), (vec![10, 17], 27));
}

#[test]
fn what_was_sent_under_new_numbers_is_not_stored_again() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 5, &[A, B]));
    // The copy reached the broker, and gave what it had from the fork on numbers from 1 on.
    let copy = copied(11, 6, &[A, C]);
    let mut renumbered = copy.clone();
    (renumbered.header.epoch, renumbered.header.first) = (Epoch(0xdef), Seq(1));
    renumbered.lineage = lineage::lineage(&[(1, 0xc)]);
    bench.send(&renumbered);
    let sums = adopt(&mut bench, &copy).sums;
    assert_eq!((sums.new.events, sums.known.events), (0, 6));
    assert_eq!(contents(&bench), 21);
}

#[test]
fn losses_of_a_fork_are_gaps_of_its_epoch() {
    let mut bench = Bench::new();
    bench.send(&told(1, 10, &[A]));
    bench.send(&told(11, 5, &[A, B]));
    let copy = Batch { lost: vec![SeqRange::new(12, 13)], ..copied(14, 3, &[A, C]) };
    let appended = adopt(&mut bench, &copy);
    let [(key, lost)] = &appended.lost.into_iter().collect::<Vec<_>>()[..] else { panic!("one epoch") };
    assert_eq!(lost.ranges(), [SeqRange::new(12, 13)]);
    assert_ne!(key.1, Epoch(0xabc));
    assert_eq!(bench.settled_to_of(0xabc), 15);
}
