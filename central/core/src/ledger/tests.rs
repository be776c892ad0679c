//! The ledger through its verbs: batches in any order come to the same record, and no number is forgotten.

use super::*;
use alloc::collections::BTreeMap;
use hangtag_protocol::lineage::Run;
use proptest::prelude::*;

fn numbers(ranges: &[SeqRange]) -> Vec<u64> {
    ranges.iter().flat_map(|r| r.first.0..=r.last.0).collect()
}

#[test]
fn a_batch_again_is_known_and_changes_nothing() {
    let mut ledger = Ledger::default();
    ledger.settle(&ledger.weigh(SeqRange::new(1, 10), &[]));
    let before = ledger.clone();
    let again = ledger.weigh(SeqRange::new(1, 10), &[]);
    assert_eq!(again, Verdict { known: [SeqRange::new(1, 10)].into(), ..Verdict::default() });
    ledger.settle(&again);
    assert_eq!(ledger, before);
}

#[test]
fn a_late_event_beats_its_gap() {
    let mut ledger = Ledger::default();
    let first = ledger.weigh(SeqRange::new(6, 6), &[SeqRange::new(1, 5)]);
    assert_eq!(first.opened, [SeqRange::new(1, 5)]);
    ledger.settle(&first);
    let late = ledger.weigh(SeqRange::new(3, 4), &[SeqRange::new(1, 5)]);
    assert_eq!((late.fresh.clone(), late.late.clone()), (late.late.clone(), [SeqRange::new(3, 4)].into()));
    assert_eq!(late.opened, []);
    ledger.settle(&late);
    assert_eq!(ledger.set(Fate::Lost).ranges(), [SeqRange::new(1, 2), SeqRange::new(5, 5)]);
    assert_eq!(ledger.mark(Epoch(1)).contiguous_to, Seq(6));
}

fn lineage(runs: &[(u64, u32)]) -> Lineage {
    Lineage::from(runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect::<Vec<_>>())
}

#[test]
fn a_copy_does_not_join_and_changes_nothing() {
    let mut ledger = Ledger::default();
    ledger.join(&lineage(&[(1, 7)]), Seq(0), &[], Seq(1)).unwrap();
    ledger.settle(&ledger.weigh(SeqRange::new(1, 9), &[]));
    ledger.join(&lineage(&[(1, 7), (10, 8)]), Seq(0), &[], Seq(1)).unwrap();
    ledger.settle(&ledger.weigh(SeqRange::new(10, 12), &[]));
    let before = ledger.clone();
    assert_eq!(ledger.join(&lineage(&[(1, 7), (11, 9)]), Seq(0), &[], Seq(5)), Err(Apart::Fork(Seq(11))));
    assert_eq!(ledger.join(&lineage(&[(11, 9)]), Seq(0), &[], Seq(5)), Err(Apart::Unknown));
    assert_eq!(ledger, before);
    let mark = ledger.mark(Epoch(1));
    assert_eq!((mark.highest, mark.lineage), (Seq(12), lineage(&[(1, 7), (10, 8)])));
}

#[test]
fn a_lost_number_was_handed_out_too() {
    let mut ledger = Ledger::default();
    ledger.join(&lineage(&[(1, 7)]), Seq(349), &[], Seq(1)).unwrap();
    ledger.settle(&ledger.weigh(SeqRange::new(1, 349), &[]));
    // An epoch that is rescued without its lineage declares its end lost.
    let (none, lost) = (SeqRange { first: Seq(501), last: Seq(500) }, [SeqRange::new(350, 500)]);
    ledger.join(&Lineage::default(), none.last, &lost, Seq(1)).unwrap();
    ledger.settle(&ledger.weigh(none, &lost));
    // Its spool of yesterday goes on from there.
    let rolled_back = lineage(&[(1, 7), (350, 8)]);
    assert_eq!(ledger.join(&rolled_back, Seq(600), &[], Seq(1)), Err(Apart::Fork(Seq(350))));
    let mark = ledger.mark(Epoch(1));
    assert_eq!((mark.contiguous_to, mark.highest), (Seq(500), Seq(500)));
    assert_eq!(rolled_back.fork(Seq(601), &mark.lineage, mark.highest), Some(Seq(350)), "the agent agrees");
}

#[test]
fn an_image_of_what_was_rescued_without_its_lineage_is_compared_and_not_refused() {
    let mut ledger = Ledger::default();
    // The whole epoch comes from a spool that lost its record of itself, and its end with it.
    let lost = [SeqRange::new(401, 500)];
    ledger.join(&Lineage::default(), Seq(400), &lost, Seq(1)).unwrap();
    ledger.settle(&ledger.weigh(SeqRange::new(1, 400), &lost));
    // Its image of yesterday was at 380, and went on there.
    let image = lineage(&[(1, 7), (350, 8), (380, 9)]);
    assert_eq!(ledger.join(&image, Seq(450), &[], Seq(1)), Ok(()));
    let verdict = ledger.weigh(SeqRange::new(350, 450), &[]);
    assert_eq!(verdict.known, [SeqRange::new(350, 400)], "to be compared: up to 379 they are the same");
    assert_eq!(verdict.late, [SeqRange::new(401, 450)], "these were lost");
    // From here on there is a lineage, and another image does not get past it.
    let other = lineage(&[(1, 7), (350, 8), (390, 10)]);
    assert_eq!(ledger.join(&other, Seq(450), &[], Seq(1)), Err(Apart::Fork(Seq(390))));
}

#[test]
fn an_original_that_lost_numbers_of_its_copy_does_not_join() {
    let mut ledger = Ledger::default();
    ledger.join(&lineage(&[(1, 7), (790, 9)]), Seq(800), &[], Seq(1)).unwrap();
    ledger.settle(&ledger.weigh(SeqRange::new(790, 800), &[]));
    let before = ledger.clone();
    let mut join = |lost| ledger.join(&lineage(&[(1, 7)]), Seq(700), &[lost], Seq(1));
    assert_eq!(join(SeqRange::new(701, 899)), Err(Apart::Fork(Seq(790))));
    assert_eq!(join(SeqRange::new(701, 789)), Ok(()));
    assert_eq!(ledger, before);
}

#[test]
fn only_the_latest_runs_are_recorded() {
    let mut ledger = Ledger::default();
    for n in 1..=100 {
        ledger.join(&lineage(&[(n, 0), (n + 1, 0)]), Seq(0), &[], Seq(1)).unwrap();
    }
    assert_eq!(ledger.lineage().runs().len(), MAX_RUNS);
    assert_eq!(ledger.lineage().last().map(|run| run.first), Some(Seq(101)));
}

#[test]
fn what_nobody_holds_is_unexplained_until_it_comes() {
    let mut ledger = Ledger::default();
    ledger.settle(&ledger.weigh(SeqRange::new(1, 10), &[SeqRange::new(21, 22)]));
    ledger.join(&Lineage::default(), Seq(0), &[], Seq(31)).unwrap();
    ledger.join(&Lineage::default(), Seq(0), &[], Seq(5)).unwrap();
    assert_eq!(ledger.unexplained(), [SeqRange::new(11, 20), SeqRange::new(23, 30)]);
    assert_eq!(ledger.mark(Epoch(1)).contiguous_to, Seq(10), "nobody is permitted to delete them");
    ledger.settle(&ledger.weigh(SeqRange::new(12, 20), &[]));
    assert_eq!(ledger.unexplained(), [SeqRange::new(11, 11), SeqRange::new(23, 30)]);
}

#[test]
fn unexplained_numbers_do_not_keep_a_watermark_from_moving() {
    let mut ledger = Ledger::default();
    for n in 0..20 {
        ledger.settle(&ledger.weigh(SeqRange::new(10 * n + 1, 10 * n + 9), &[]));
    }
    assert!(!ledger.mark(Epoch(1)).settled().contains(Seq(199)), "too many ranges");
    ledger.join(&Lineage::default(), Seq(0), &[], Seq(151)).unwrap();
    assert!(ledger.mark(Epoch(1)).settled().contains(Seq(199)));
    assert!(!ledger.mark(Epoch(1)).settled().contains(Seq(160)), "the agent may still hold it");
}

#[test]
fn a_batch_without_events_only_opens_gaps() {
    let empty = SeqRange { first: Seq(9), last: Seq(8) };
    let verdict = Ledger::default().weigh(empty, &[SeqRange::new(1, 8)]);
    assert_eq!((verdict.fresh, verdict.known), (Vec::new(), Vec::new()));
    assert_eq!(verdict.opened, [SeqRange::new(1, 8)]);
}

#[derive(Clone, Debug)]
enum Step {
    Batch { first: u64, count: u64, lost: Vec<(u64, u64)> },
    Unreadable { first: u64, count: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let lost = prop::collection::vec((1u64..60, 0u64..8), 0..3);
    prop_oneof![
        3 => (1u64..60, 0u64..12, lost).prop_map(|(first, count, lost)| Step::Batch { first, count, lost }),
        1 => (1u64..60, 1u64..12).prop_map(|(first, count)| Step::Unreadable { first, count }),
    ]
}

proptest! {
    /// Batches in any order, again, overlapping, late, with losses and unreadable ones: every
    /// number has the fate that a plain map gives it.
    #[test]
    fn equals_a_plain_map(steps in prop::collection::vec(step(), 0..40)) {
        let mut ledger = Ledger::default();
        let mut plain = BTreeMap::<u64, Fate>::new();
        let mut stored = 0;
        for step in steps {
            match step {
                Step::Batch { first, count, lost } => {
                    let events = SeqRange { first: Seq(first), last: Seq(first + count - 1) };
                    let lost: Vec<_> = lost.into_iter().map(|(a, n)| SeqRange::new(a, a + n)).collect();
                    let verdict = ledger.weigh(events, &lost);
                    let is = |n: &u64, fates: &[Fate]| plain.get(n).is_some_and(|f| fates.contains(f));
                    let batch: Vec<u64> = (first..first + count).collect();
                    let pick = |keep: &dyn Fn(&u64) -> bool| -> Vec<u64> {
                        batch.iter().copied().filter(|n| keep(n)).collect()
                    };
                    prop_assert_eq!(numbers(&verdict.known), pick(&|n| is(n, &[Fate::Stored])));
                    prop_assert_eq!(numbers(&verdict.fresh), pick(&|n| !is(n, &[Fate::Stored])));
                    let late = pick(&|n| is(n, &[Fate::Lost, Fate::Quarantined]));
                    prop_assert_eq!(numbers(&verdict.late), late);
                    stored += numbers(&verdict.fresh).len();
                    ledger.settle(&verdict);
                    for n in batch { plain.insert(n, Fate::Stored); }
                    for n in numbers(&lost) { plain.entry(n).or_insert(Fate::Lost); }
                }
                Step::Unreadable { first, count } => {
                    ledger.quarantine(SeqRange::new(first, first + count - 1));
                    for n in first..first + count {
                        let fate = plain.entry(n).or_insert(Fate::Quarantined);
                        if *fate == Fate::Lost { *fate = Fate::Quarantined; }
                    }
                }
            }
            for fate in Fate::ALL {
                let wanted: Vec<u64> =
                    plain.iter().filter(|(_, f)| **f == fate).map(|(n, _)| *n).collect();
                prop_assert_eq!(numbers(ledger.set(fate).ranges()), wanted);
            }
            let mark = ledger.mark(Epoch(1));
            let contiguous = (1..).take_while(|n| plain.contains_key(n)).last().unwrap_or(0);
            prop_assert_eq!(mark.contiguous_to, Seq(contiguous));
            prop_assert!(mark.settled().ranges().iter().flat_map(|r| r.first.0..=r.last.0).all(|n| plain.contains_key(&n)));
        }
        prop_assert_eq!(ledger.set(Fate::Stored).len(), stored as u64, "each event is stored once");
    }
}
