//! Clocks that drift and jump, and lines that delay, all invented.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Asks at a moment of ours; the node's clock shows `theirs` so many milliseconds later, and the answer takes so many
/// more.
fn exchange(clock: &mut Clock, asked: u64, theirs: u64, there: u64, back: u64) -> Option<i64> {
    clock.handle_answer(Uptime(asked), Uptime(theirs), Uptime(asked + there + back))
}

fn at(clock: &mut Clock, theirs: u64, now: u64) -> Option<u64> {
    clock.date(Uptime(theirs), Uptime(now)).map(|dated| dated.at.0)
}

#[test]
fn of_a_node_that_does_not_answer_the_shortest_way_decides_and_drift_is_followed() {
    let mut clock = Clock::new(Uptime(1_000), Uptime(5_300));
    clock.hear(Uptime(2_000), Uptime(6_010));
    clock.hear(Uptime(2_500), Uptime(9_000));
    assert_eq!(at(&mut clock, 2_000, 9_000), Some(6_011));
    assert_eq!(at(&mut clock, 8_000, 9_000), Some(9_000), "nothing happens later than now");
    // The node is slow by 50 ppm for a day; each message comes within 20 ms.
    for second in 1..86_400_u64 {
        let now = Uptime(6_010 + second * 1_000 + second % 20);
        clock.hear(Uptime(2_000 + second * 1_000 - second / 20), now);
    }
    let off = at(&mut clock, 2_000 + 86_400_000 - 4_320, u64::MAX).unwrap().abs_diff(6_010 + 86_400_000);
    assert!(off <= 20, "{off} ms");
    for (theirs, now) in [(u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        clock.hear(Uptime(theirs), Uptime(now));
        clock.handle_answer(Uptime(now), Uptime(theirs), Uptime(now));
        assert!(clock.date(Uptime(theirs), Uptime(now)).is_none_or(|dated| dated.at <= Uptime(now)));
    }
}

#[test]
fn a_word_that_waited_on_the_line_is_outdone_by_an_answer() {
    let mut clock = Clock::new(Uptime(1_000), Uptime(60_000));
    assert_eq!((at(&mut clock, 1_000, 60_000), clock.off_ms()), (Some(60_000), None));
    assert_eq!(exchange(&mut clock, 60_000, 50_010, 10, 10), None);
    assert_eq!((at(&mut clock, 1_000, 60_020), clock.off_ms()), (Some(11_000), Some(13)));
    // One that took long tells little, and harms nothing.
    assert_eq!(exchange(&mut clock, 62_000, 52_010, 10, 40_000), None);
    assert_eq!((at(&mut clock, 1_000, 102_010), clock.off_ms()), (Some(11_000), Some(13)));
    assert_eq!(at(&mut clock, 150_000, 102_010), None, "it has not happened yet");
}

#[test]
fn a_clock_that_was_put_back_is_noticed_and_its_backlog_is_not_dated() {
    let mut clock = Clock::new(Uptime(1_000), Uptime(11_000));
    exchange(&mut clock, 11_000, 1_005, 5, 5);
    assert_eq!(at(&mut clock, 500_000, 520_000), Some(510_000));
    // At 520,000 it is put back by 100 s; what it told just before waits for a while.
    assert_eq!(exchange(&mut clock, 520_100, 410_105, 5, 5), Some(-100_000));
    for held in [500_000, 509_000, 510_000] {
        assert_eq!(at(&mut clock, held, 640_000), None, "of the old clock, or of 100 s later");
    }
    assert_eq!(at(&mut clock, 411_000, 640_000), Some(521_000));
    assert_eq!(at(&mut clock, 530_000, 640_000), Some(640_000));
}

#[test]
fn a_crystal_that_is_worse_than_any_is_followed() {
    let mut clock = Clock::new(Uptime(0), Uptime(10_000));
    for ms in (0..600_000).step_by(2_000) {
        // One percent.
        assert_eq!(exchange(&mut clock, 10_000 + ms, ms - ms / 100, 5, 5), None);
        let now = 10_000 + ms + 1_000;
        let off = at(&mut clock, (ms + 1_000) - (ms + 1_000) / 100, now).unwrap().abs_diff(now);
        assert!(off <= 50, "{off} ms after {ms}");
    }
}

/// What happens to a node and its line.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Time passes.
    Pass(u64),
    /// The node dates something, and keeps it until it is fetched.
    Tell,
    /// What the node keeps is fetched.
    Fetch,
    /// It is asked; the question and the answer take so many milliseconds.
    Ask(u64, u64),
    /// It says something of itself, which takes so many milliseconds.
    Hear(u64),
    /// Its clock jumps by so many milliseconds.
    Jump(i64),
}

fn step(slowest: u64, jumps: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u64..20_000).prop_map(Step::Pass),
        Just(Step::Tell),
        Just(Step::Fetch),
        (0..20u64, 0..slowest).prop_map(|(there, back)| Step::Ask(there, back)),
        (0..10_000u64).prop_map(Step::Hear),
        (prop_oneof![-5_000_000i64..-500, 500i64..5_000_000])
            .prop_map(move |ms| { if jumps { Step::Jump(ms) } else { Step::Tell } }),
    ]
}

/// A node by the truth.
struct Truth {
    now: u64,
    ppm: i64,
    jumped: i64,
}

impl Truth {
    /// What the node's clock shows at a moment.
    fn theirs(&self, at: u64) -> u64 {
        let at = i64::try_from(at).unwrap();
        u64::try_from(at + at * self.ppm / 1_000_000 + self.jumped).unwrap()
    }
}

/// Runs steps; hands on what was dated: the truth, when the node was last asked, and what was made of it.
fn play(ppm: i64, steps: &[Step], mut check: impl FnMut(u64, Dated)) {
    // Enough behind it that no jump leads to before its start.
    let mut truth = Truth { now: 1_000_000_000, ppm, jumped: 0 };
    let mut clock = Clock::new(Uptime(truth.theirs(truth.now)), Uptime(truth.now));
    let mut kept = VecDeque::new();
    // Whether it was asked since its clock jumped.
    let mut asked = false;
    for step in steps {
        match *step {
            Step::Pass(ms) => truth.now += ms,
            Step::Tell => kept.push_back((truth.now, truth.theirs(truth.now))),
            // What was fetched before it was asked is dated as well as anybody can.
            Step::Fetch => {
                let all: Vec<_> = kept.drain(..).collect();
                for (at, theirs) in all.into_iter().filter(|_| asked) {
                    if let Some(dated) = clock.date(Uptime(theirs), Uptime(truth.now)) {
                        check(at, dated);
                    }
                }
            }
            Step::Ask(there, back) => {
                let (theirs, now) = (truth.theirs(truth.now + there), truth.now + there + back);
                exchange(&mut clock, truth.now, theirs, there, back);
                (truth.now, asked) = (now, true);
            }
            Step::Hear(late) => {
                let theirs = truth.theirs(truth.now);
                truth.now += late;
                clock.hear(Uptime(theirs), Uptime(truth.now));
            }
            // Nobody knows of two jumps at once.
            Step::Jump(_) if !asked => {}
            Step::Jump(by) => (truth.jumped, asked) = (truth.jumped + by, false),
        }
    }
}

#[test]
fn what_was_kept_through_many_jumps_is_not_dated_by_a_later_clock() {
    use Step::{Ask, Fetch, Jump, Pass, Tell};
    // Together the jumps lead near to where the first began.
    let jumps = [-1_094_392, -4_468_430, -502, 2_790_865, 2_772_510];
    let mut steps = alloc::vec![Tell, Ask(0, 0)];
    jumps.into_iter().for_each(|by| steps.extend([Jump(by), Ask(15, 0)]));
    steps.extend([Fetch, Pass(80_000), Tell, Fetch, Jump(4_000_000), Ask(0, 0), Tell, Fetch]);
    let mut dated = Vec::new();
    play(0, &steps, |at, seen| dated.push(seen.at.0.abs_diff(at)));
    assert!(matches!(dated[..], [..=50, ..=50]), "{dated:?}");
}

proptest! {
    /// However long answers take, what is dated is off by no more than is said.
    #[test]
    fn what_is_dated_is_as_right_as_it_says(
        ppm in -99i64..100,
        steps in prop::collection::vec(step(60_000, false), 1..120),
    ) {
        play(ppm, &steps, |at, dated| {
            let off = dated.at.0.abs_diff(at);
            assert!(off <= dated.off_ms.unwrap(), "{off} ms: {dated:?}");
        });
    }

    /// Where an exchange takes 40 ms, nothing is off by more than 50 ms and a ten-thousandth of the time that passed,
    /// whatever the node's clock did: what cannot be dated is not.
    #[test]
    fn a_clock_that_jumps_dates_nothing_wrong(
        ppm in -99i64..100,
        steps in prop::collection::vec(step(20, true), 1..120),
    ) {
        let all: u64 = steps.iter().map(|step| if let Step::Pass(ms) = step { *ms } else { 0 }).sum();
        play(ppm, &steps, |at, dated| {
            let off = dated.at.0.abs_diff(at);
            assert!(off <= 50 + all / 10_000, "{off} ms: {dated:?}");
        });
    }
}
