//! A booth with an invented pin that bounces, sticks and fails.

extern crate std;

use super::*;
use core::convert::Infallible;
use embedded_hal::digital::{Error, ErrorKind, ErrorType};
use proptest::prelude::*;
use std::vec::Vec;

/// A pin that shows its level, except on the operations that fail.
struct Pin<F> {
    high: bool,
    operations: u32,
    fails: F,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

impl Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl<F> ErrorType for Pin<F> {
    type Error = Broken;
}

impl<F: Fn(u32) -> bool> InputPin for Pin<F> {
    fn is_high(&mut self) -> Result<bool, Broken> {
        self.operations += 1;
        if (self.fails)(self.operations) { Err(Broken) } else { Ok(self.high) }
    }

    fn is_low(&mut self) -> Result<bool, Broken> {
        self.is_high().map(|high| !high)
    }
}

const SETTINGS: Settings =
    Settings { occupied: PinState::High, settle_ms: 40, unsteady_ms: 1_000, stuck_ms: 60_000 };

struct Bench<F> {
    booth: Booth<Pin<F>>,
    now: Uptime,
    notices: Vec<Notice>,
    errors: u32,
}

fn bench<F: Fn(u32) -> bool>(fails: F) -> Bench<F> {
    let booth = Booth::new(Pin { high: false, operations: 0, fails }, SETTINGS);
    Bench { booth, now: Uptime(1_000), notices: Vec::new(), errors: 0 }
}

impl<F: Fn(u32) -> bool> Bench<F> {
    fn sample(&mut self) {
        match self.booth.handle_timeout(self.now) {
            Ok(notice) => self.notices.extend(notice),
            Err(PinError(Broken)) => self.errors += 1,
        }
    }

    /// Holds a level for a while, sampling when asked to.
    fn hold(&mut self, high: bool, ms: u64) -> &mut Self {
        self.booth.pin.high = high;
        let end = self.now + ms;
        while self.now < end {
            self.sample();
            self.now = self.booth.poll_timeout();
        }
        self
    }
}

fn changed(to: Occupancy, at: u64) -> Notice {
    Notice::Changed { to, at: Uptime(at) }
}

#[test]
fn a_change_that_lasts_is_told_with_the_time_at_which_it_began() {
    let mut bench = bench(|_| false);
    bench.hold(false, 200).hold(true, 500).hold(false, 100);
    assert_eq!(
        bench.notices,
        [
            changed(Occupancy::Free, 1_000),
            changed(Occupancy::Occupied, 1_200),
            changed(Occupancy::Free, 1_700)
        ]
    );
}

#[test]
fn nothing_is_known_before_the_pin_held_a_level() {
    let mut bench = bench(|_| false);
    bench.hold(false, 40);
    assert_eq!(bench.booth.occupancy(), None);
    bench.hold(false, 10);
    assert_eq!(bench.booth.occupancy(), Some(Occupancy::Free));
}

#[test]
fn a_sensor_that_is_low_when_occupied_is_understood() {
    let settings = Settings { occupied: PinState::Low, ..SETTINGS };
    let mut booth = Booth::new(Pin { high: false, operations: 0, fails: |_| false }, settings);
    assert_eq!(booth.handle_timeout(Uptime(0)), Ok(None));
    assert_eq!(booth.handle_timeout(Uptime(40)), Ok(Some(changed(Occupancy::Occupied, 0))));
}

#[test]
fn a_glitch_is_not_a_change() {
    let mut bench = bench(|_| false);
    bench.hold(false, 200).hold(true, 30).hold(false, 300);
    assert_eq!(bench.notices, [changed(Occupancy::Free, 1_000)]);
}

#[test]
fn a_bouncing_pin_is_reported_once_and_the_state_is_kept() {
    let mut bench = bench(|_| false);
    bench.hold(false, 200);
    for _ in 0..100 {
        bench.hold(true, 20).hold(false, 10);
    }
    let before = changed(Occupancy::Free, 1_000);
    assert_eq!(bench.notices, [before, Notice::Unsteady { since: Uptime(1_200) }]);
    assert_eq!(bench.booth.occupancy(), Some(Occupancy::Free));
    bench.hold(false, 100);
    assert_eq!(bench.notices[2..], [Notice::Steady]);
    bench.hold(true, 100);
    assert_eq!(bench.notices[3..], [changed(Occupancy::Occupied, 4_300)]);
}

#[test]
fn what_was_reported_before_a_pause_is_not_reported_again_after_it() {
    let mut bench = bench(|_| false);
    bench.hold(false, 200);
    for _ in 0..100 {
        bench.hold(true, 20).hold(false, 10);
    }
    bench.now = Uptime(60_000);
    for _ in 0..100 {
        bench.hold(true, 20).hold(false, 10);
    }
    bench.hold(false, 100);
    assert_eq!(bench.notices[1..], [Notice::Unsteady { since: Uptime(1_200) }, Notice::Steady]);
}

#[test]
fn one_sample_alone_is_never_believed() {
    let settings = Settings { settle_ms: 0, ..SETTINGS };
    let mut booth = Booth::new(Pin { high: true, operations: 0, fails: |_| false }, settings);
    let mut told = Vec::new();
    for now in 0..=4 {
        assert_eq!(booth.poll_timeout(), Uptime(now), "samples do not stand still");
        told.extend(booth.handle_timeout(Uptime(now)).unwrap().map(|notice| (now, notice)));
    }
    assert_eq!(told, [(4, changed(Occupancy::Occupied, 0))]);
}

#[test]
fn a_pin_that_never_settles_is_reported_though_nothing_was_known() {
    let mut bench = bench(|_| false);
    for _ in 0..100 {
        bench.hold(true, 10).hold(false, 10);
    }
    assert_eq!(bench.notices, [Notice::Unsteady { since: Uptime(1_000) }]);
    assert_eq!(bench.booth.occupancy(), None);
}

#[test]
fn a_stuck_pin_is_reported_once_per_occupation() {
    let mut bench = bench(|_| false);
    bench.hold(true, 200_000).hold(false, 100).hold(true, 70_000);
    let stuck: Vec<_> = bench.notices.iter().filter(|n| matches!(n, Notice::Stuck { .. })).collect();
    assert_eq!(stuck, [&Notice::Stuck { since: Uptime(1_000) }, &Notice::Stuck { since: Uptime(201_100) }]);
}

#[test]
fn a_stuck_pin_stays_it_until_the_booth_is_free() {
    let stuck = Notice::Stuck { since: Uptime(1_000) };
    let mut bench = bench(|_| false);
    bench.hold(true, 70_000);
    assert_eq!(bench.notices, [changed(Occupancy::Occupied, 1_000), stuck]);
    bench.hold(false, 20).hold(true, 200);
    assert_eq!(bench.notices[2..], [], "a glitch");
    for _ in 0..100 {
        bench.hold(false, 20).hold(true, 10);
    }
    bench.hold(true, 100);
    assert_eq!(bench.notices[2..], [Notice::Unsteady { since: Uptime(71_220) }, stuck]);
    bench.booth.begin_anew(Settings { settle_ms: 80, ..SETTINGS });
    bench.hold(true, 70_000);
    assert_eq!(bench.notices[4..], [stuck], "it is understood as before");
    bench.booth.begin_anew(Settings { occupied: PinState::Low, ..SETTINGS });
    let now = bench.now.0;
    bench.hold(true, 100).hold(false, 100);
    assert_eq!(bench.notices[5..], [changed(Occupancy::Free, now), changed(Occupancy::Occupied, now + 100)]);
}

#[test]
fn an_empty_booth_is_never_stuck() {
    let mut bench = bench(|_| false);
    bench.hold(false, 200_000);
    assert_eq!(bench.notices, [changed(Occupancy::Free, 1_000)]);
}

#[test]
fn time_without_samples_is_not_time_in_which_a_level_held() {
    let mut bench = bench(|_| false);
    bench.hold(false, 200).hold(true, 10);
    bench.now = Uptime(9_000);
    bench.sample();
    assert_eq!(bench.booth.occupancy(), Some(Occupancy::Free));
    bench.hold(true, 100);
    assert_eq!(bench.notices[1..], [changed(Occupancy::Occupied, 9_000)]);
}

/// Whichever operation fails, the error comes out, and the same changes are told, a little later.
#[test]
fn any_single_failure_is_reported_and_changes_nothing_else() {
    for failing in 1..=60 {
        let mut bench = bench(move |operation| operation == failing);
        bench.hold(false, 200).hold(true, 200).hold(false, 200);
        assert_eq!(bench.errors, 1, "operation {failing}");
        let told: Vec<Occupancy> = bench
            .notices
            .iter()
            .map(|notice| match notice {
                Notice::Changed { to, .. } => *to,
                Notice::Unsteady { .. } | Notice::Steady | Notice::Stuck { .. } => {
                    panic!("operation {failing}: {notice:?}")
                }
            })
            .collect();
        assert_eq!(told, [Occupancy::Free, Occupancy::Occupied, Occupancy::Free], "operation {failing}");
    }
}

#[test]
fn a_pin_that_fails_for_good_keeps_the_state_and_stays_due() {
    let mut bench = bench(|operation| operation > 20);
    bench.hold(true, 200).hold(false, 500);
    assert_eq!(bench.errors, 50);
    assert_eq!(bench.booth.occupancy(), Some(Occupancy::Occupied));
    assert_eq!(bench.notices, [changed(Occupancy::Occupied, 1_000)]);
}

#[test]
fn a_level_does_not_hold_over_failures_that_last() {
    // Samples 2 to 6 fail: the level is seen again 60 ms later, and the hold starts there.
    let mut bench = bench(|operation| (2..=6).contains(&operation));
    bench.hold(true, 100);
    assert_eq!((bench.booth.occupancy(), bench.errors), (None, 5));
    bench.hold(true, 10);
    assert_eq!(bench.notices, [changed(Occupancy::Occupied, 1_060)]);
}

#[test]
fn time_without_samples_does_not_make_a_pin_stuck() {
    let mut bench = bench(|_| false);
    bench.hold(true, 100);
    bench.now = Uptime(90_000);
    bench.hold(true, 59_000);
    assert_eq!(bench.notices, [changed(Occupancy::Occupied, 1_000)]);
    bench.hold(true, 2_000);
    assert_eq!(bench.notices[1..], [Notice::Stuck { since: Uptime(90_000) }]);
}

/// A pin that cannot fail has nothing to report.
struct Wire;
impl ErrorType for Wire {
    type Error = Infallible;
}
impl InputPin for Wire {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }
    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(false)
    }
}

#[test]
fn a_clock_near_its_end_does_not_overflow() {
    let mut booth = Booth::new(Wire, SETTINGS);
    for now in [u64::MAX - 40, u64::MAX - 20, u64::MAX] {
        let Ok(notice) = booth.handle_timeout(Uptime(now));
        assert_eq!(notice.is_some(), now == u64::MAX);
    }
    assert_eq!(booth.poll_timeout(), Uptime(u64::MAX));
}

proptest! {
    /// Every change rests on samples of one level, close together, over the whole settling time;
    /// changes alternate; and a level that is held long enough is always found.
    #[test]
    fn changes_are_exactly_the_levels_that_held(
        steps in prop::collection::vec((any::<bool>(), 1u64..60, prop::bool::weighted(0.1)), 1..200),
    ) {
        let mut booth = Booth::new(Pin { high: false, operations: 0, fails: |_| false }, SETTINGS);
        let (mut now, mut known) = (Uptime(0), None);
        // The start of the hold as the last samples show it, and the last sample.
        let mut hold: Option<(bool, Uptime, Uptime)> = None;
        for (high, pause, fast) in steps {
            now = now + if fast { 1 } else { pause };
            booth.pin.high = high;
            hold = match hold {
                Some((level, from, last)) if level == high && now.since(last) <= 40 => Some((level, from, now)),
                Some(_) | None => Some((high, now, now)),
            };
            let notice = booth.handle_timeout(now).expect("this pin never fails");
            let to = if high { Occupancy::Occupied } else { Occupancy::Free };
            if let Some(Notice::Changed { to: told, at }) = notice {
                let (_, from, _) = hold.expect("there was a sample");
                prop_assert_eq!(told, to);
                prop_assert!(known != Some(told), "told twice");
                prop_assert!(at >= from && now.since(at) >= 40, "at {:?}, held from {:?}", at, from);
                known = Some(told);
            }
            prop_assert_eq!(booth.occupancy(), known);
            if hold.is_some_and(|(_, from, _)| now.since(from) >= 40) {
                prop_assert_eq!(known, Some(to));
            }
        }
    }
}
