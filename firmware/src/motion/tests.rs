//! A detector on invented movements, and on recordings of a sensor's maker.

extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const THRESHOLDS: Thresholds = Thresholds { motion_mg: 120, settle_ms: 400 };
const UP: [i16; 3] = [0, 0, 1_000];
const ON_ITS_SIDE: [i16; 3] = [1_000, 0, 0];

/// A detector that gets a sample each 20 ms.
struct Bench {
    detector: Detector,
    now: Uptime,
    told: Vec<Motion>,
}

fn bench() -> Bench {
    Bench { detector: Detector::new(1, THRESHOLDS), now: Uptime(5_000), told: Vec::new() }
}

impl Bench {
    fn sample(&mut self, mg: [i16; 3]) -> &mut Self {
        self.now = self.now + 20;
        self.told.extend(self.detector.handle_sample(Sample { at: self.now, mg }));
        self
    }

    /// Lies still for a while, with the noise of a sensor.
    fn lie(&mut self, mg: [i16; 3], ms: u64) -> &mut Self {
        for number in 0..ms / 20 {
            let [x, y, z] = mg;
            self.sample(if number % 2 == 0 { mg } else { [x + 1, y - 1, z] });
        }
        self
    }

    /// Is shaken for a while.
    fn shake(&mut self, ms: u64) -> &mut Self {
        for number in 0..ms / 20 {
            self.sample([if number % 2 == 0 { 400 } else { -400 }, 0, 1_000]);
        }
        self
    }
}

fn told(at: u64, how: Moved, peak_mg: u16) -> Motion {
    Motion { at: Uptime(at), sensor: 1, how, peak_mg }
}

#[test]
fn a_thing_is_picked_up_and_put_down_once_with_times_and_peaks() {
    let mut bench = bench();
    bench.lie(UP, 1_000).sample([200, 0, 1_000]).sample([0, 150, 1_000]);
    assert_eq!(bench.told, [told(6_020, Moved::PickedUp, 200)], "when the second changed");
    bench.sample([0, -900, 1_100]).shake(600).lie(UP, 400);
    assert_eq!(bench.told.len(), 1, "400 ms are from the first sample to the last");
    bench.lie(UP, 1_000);
    // From [0.5, -0.5, 1000], which is rounded up: [1, 0, 1000].
    assert_eq!(bench.told[1..], [told(6_680, Moved::PutDown, 905)]);
}

#[test]
fn one_sample_alone_is_no_movement() {
    let mut bench = bench();
    bench.lie(UP, 1_000).sample([-2_048, 0, 0]).lie(UP, 100).sample([0, 0, 0]).lie(UP, 1_000);
    assert_eq!(bench.told, []);
    bench.sample([0, 0, 0]).lie(UP, 80).sample([0, 0, 0]);
    assert_eq!(bench.told.len(), 1, "100 ms later is again");
}

#[test]
fn what_trembles_around_the_threshold_is_picked_up_once() {
    let mut bench = bench();
    bench.lie(UP, 1_000);
    for _ in 0..500 {
        bench.sample([119, 0, 1_000]).sample([123, 0, 1_000]).sample([40, 0, 1_000]);
    }
    let told: Vec<_> = bench.told.iter().map(|motion| motion.how).collect();
    assert_eq!(told, [Moved::PickedUp]);
    assert_eq!(bench.lie(UP, 1_000).told.len(), 2);
}

#[test]
fn nothing_is_told_before_it_first_rested_and_how_it_lies_does_not_matter() {
    let mut bench = bench();
    bench.shake(2_000).lie(ON_ITS_SIDE, 1_000);
    assert_eq!(bench.told, []);
    bench.lie([990, 60, 0], 1_000);
    assert_eq!(bench.told, [], "below the threshold");
    bench.lie([970, 240, 0], 1_000);
    let how: Vec<_> = bench.told.iter().map(|motion| motion.how).collect();
    assert_eq!(how, [Moved::PickedUp, Moved::PutDown], "a turn is a movement");
}

#[test]
fn a_slow_drift_is_no_movement_and_a_slow_turn_is_one() {
    let mut bench = bench();
    bench.lie(UP, 1_000);
    for drift in 0..150 {
        bench.lie([drift, 0, 1_000], 400);
    }
    assert_eq!(bench.told, [], "150 mg in a minute");
    let mut bench = self::bench();
    bench.lie(UP, 1_000);
    for turned in 0..75 {
        bench.lie([turned * 4, 0, 1_000], 40);
    }
    assert_eq!(bench.told.first().map(|motion| motion.how), Some(Moved::PickedUp), "6 degrees in a second");
}

#[test]
fn the_end_of_the_scale_is_a_movement_whatever_the_threshold() {
    let mut bench = bench();
    bench.detector.work_by(Thresholds { motion_mg: 8_000, settle_ms: 400 });
    bench.lie(UP, 1_000).sample([1_900, 1_900, 1_900]).sample([-1_900, 0, 0]);
    assert_eq!(bench.told, []);
    bench.sample([2_047, 0, 0]).sample([0, 0, -2_048]);
    assert_eq!(bench.told.len(), 1);
    assert!(bench.told[0].peak_mg >= 3_048, "at least: {:?}", bench.told);
    for _ in 0..10 {
        bench.sample([0, 0, 2_047]).sample([1, 0, 2_047]);
    }
    assert_eq!(bench.told.len(), 1, "it does not rest there");
}

#[test]
fn a_sensor_that_tells_the_same_is_stuck_and_tells_nothing() {
    let mut bench = bench();
    bench.lie(UP, 1_000);
    (0..251).for_each(|_| _ = bench.sample(UP));
    assert_eq!(bench.detector.wrong(), Some(Implausible::Stuck));
    // Nobody knows when it was turned.
    bench.lie(ON_ITS_SIDE, 300);
    assert_eq!(bench.detector.wrong(), Some(Implausible::Stuck));
    bench.lie(ON_ITS_SIDE, 200);
    assert_eq!((bench.detector.wrong(), bench.told.len()), (None, 0));
    // Nor does it rest when it sticks while it is moved.
    bench.shake(500);
    (0..600).for_each(|_| _ = bench.sample([30, 0, 990]));
    assert_eq!((bench.detector.wrong(), bench.told.len()), (Some(Implausible::Stuck), 1));
    bench.lie(UP, 1_000);
    assert_eq!((bench.detector.wrong(), bench.told.len()), (None, 2));
}

#[test]
fn a_sensor_whose_axis_is_dead_does_not_rest() {
    let mut bench = bench();
    for dead in [[0, 0, 300], [0; 3], [1_200, 0, 1_000]] {
        bench.lie(dead, 1_000);
        assert_eq!((bench.detector.wrong(), bench.told.len()), (Some(Implausible::NoGravity), 0), "{dead:?}");
        bench.lie(UP, 1_000);
        assert_eq!((bench.detector.wrong(), bench.told.len()), (None, 0));
        bench.now = bench.now + 2_000;
    }
    for _ in 0..200 {
        bench.sample([0, 0, 2_047]).sample([1, 0, 2_047]);
    }
    assert_eq!(bench.detector.wrong(), Some(Implausible::Stuck), "an axis at its end");
}

#[test]
fn time_without_samples_is_neither_rest_nor_movement() {
    let mut bench = bench();
    bench.lie(UP, 380);
    bench.now = bench.now + 101;
    bench.lie(UP, 380).shake(200);
    assert_eq!(bench.told, [], "it never rested");
    bench.lie(UP, 1_000);
    bench.now = bench.now + 900;
    bench.lie(ON_ITS_SIDE, 100);
    assert_eq!(bench.told, [told(bench.now.0 - 80, Moved::PickedUp, 1_414)], "within a second it was");
    bench.lie(ON_ITS_SIDE, 1_000);
    assert_eq!(bench.told.len(), 2);
    bench.now = bench.now + 1_001;
    bench.lie(UP, 1_000);
    assert_eq!(bench.told.len(), 2, "nobody knows when");
    // What was moved before a gap is put down after it.
    bench.shake(100).now = Uptime(60_000);
    bench.lie(UP, 1_000);
    assert_eq!(bench.told[3..], [told(60_020, Moved::PutDown, 400)]);
}

/// Accelerations in mg, 26 a second, as [`Sample`]s.
fn recording(text: &str, from: Uptime) -> Vec<Sample> {
    let rows = text.lines().skip(1).enumerate();
    let sample = |(number, row): (usize, &str)| {
        let mut along = row.split(',').map(|mg| mg.parse::<f32>().unwrap() as i16);
        let mut next = || along.next().unwrap();
        Sample { at: from + number as u64 * 1_000 / 26, mg: [next(), next(), next()] }
    };
    rows.map(sample).collect()
}

macro_rules! asset_tracking {
    ($file:literal) => {
        include_str!(concat!("../../../tests/recordings/st-mems/asset_tracking/", $file))
    };
}

#[test]
fn recordings_of_a_package_are_judged_as_they_were_made() {
    let still = recording(asset_tracking!("stationary_not_upright.csv"), Uptime(0));
    let end = still.last().unwrap().at;
    let judge = |samples: &[Sample]| {
        let mut detector = Detector::new(1, THRESHOLDS);
        let told: Vec<_> = samples.iter().filter_map(|sample| detector.handle_sample(*sample)).collect();
        assert_eq!(detector.wrong(), None);
        told
    };
    assert_eq!(judge(&still), []);

    // It rests at the beginning and at the end, and for moments in between.
    let carried = judge(&recording(asset_tracking!("motion.csv"), Uptime(0)));
    let moved_ms: u64 = carried.chunks(2).map(|pair| pair[1].at.since(pair[0].at)).sum();
    let (first, last) = (carried[0], carried[carried.len() - 1]);
    assert!((300..700).contains(&first.at.0) && (99_000..102_000).contains(&last.at.0), "{carried:?}");
    assert!(carried.len() <= 18 && moved_ms > 90_000, "{moved_ms} {carried:?}");

    let shaken = [still, recording(asset_tracking!("shake.csv"), end + 38)].concat();
    let told = judge(&shaken);
    assert!(matches!(told[..], [Motion { at, how: Moved::PickedUp, .. }] if at == end + 38), "{told:?}");
}

proptest! {
    /// Whatever is measured whenever: what is picked up is put down before it is picked up again, later things are
    /// dated later, nothing is dated after it is told, and a peak is above its threshold.
    #[test]
    fn movements_begin_and_end_in_turn(
        motion_mg in 16u16..400,
        settle_ms in 4u16..300,
        steps in prop::collection::vec(
            (prop::sample::select(std::vec![UP, ON_ITS_SIDE, [600, 600, 500], [0; 3], [-2_048, 5, 9]]),
             0i16..400, 1u64..60, 0u64..1_500, 1i16..60),
            1..20),
    ) {
        let mut detector = Detector::new(7, Thresholds { motion_mg, settle_ms });
        let (mut now, mut before) = (Uptime(10), None::<Motion>);
        for (lies, noise, period, gap, count) in steps {
            now = now + gap;
            for number in 0..count {
                now = now + period;
                let along = |axis: usize| lies[axis].saturating_add(noise * (number * 7 % 5 - 2) / 3);
                let Some(motion) = detector.handle_sample(Sample { at: now, mg: [along(0), along(1), along(2)] })
                else { continue };
                let expected = if before.is_some_and(|b| b.how == Moved::PickedUp) { Moved::PutDown } else { Moved::PickedUp };
                prop_assert_eq!((motion.how, motion.sensor), (expected, 7));
                prop_assert!(motion.at <= now && before.is_none_or(|before| before.at < motion.at));
                prop_assert!(motion.peak_mg > motion_mg || lies[0] < -2_000);
                if let (Moved::PutDown, Some(before)) = (motion.how, before) {
                    prop_assert!(motion.peak_mg >= before.peak_mg);
                }
                before = Some(motion);
            }
        }
    }

    /// A movement of any length and shape between two rests is told with its first sample, the first after it,
    /// and its greatest change.
    #[test]
    fn lengths_and_peaks_are_exact(
        motion_mg in 16u16..1_000,
        settle_ms in 40u16..500,
        there in prop::sample::select(std::vec![UP, ON_ITS_SIDE, [-600, 550, 590]]),
        movement in prop::collection::vec(0i16..900, 2..200),
        periods in prop::collection::vec(15u64..25, 200),
    ) {
        let mut detector = Detector::new(1, Thresholds { motion_mg, settle_ms });
        let mut told = Vec::new();
        let mut now = Uptime(0);
        let mut periods = periods.into_iter().cycle();
        let mut give = |mg, told: &mut Vec<Motion>| {
            now = now + periods.next().unwrap();
            told.extend(detector.handle_sample(Sample { at: now, mg }));
            now
        };
        let wobble = |[x, y, z]: [i16; 3], number: i16| [x, y + number % 2, z];
        let rest: Vec<_> = (0..60).map(|number| give(wobble(UP, number), &mut told)).collect();
        prop_assert!(rest[59].0 > 800 && told.is_empty());
        let mut peak = 0;
        let mut begun = None;
        let least = i16::try_from(motion_mg).unwrap() + 2;
        for (number, more) in movement.iter().enumerate() {
            // From one side to the other, so that it is never still.
            let x = (least + more).min(2_046) * if number % 2 == 0 { 1 } else { -1 };
            peak = peak.max(x.unsigned_abs());
            let at = give([x, 0, 1_000], &mut told);
            begun.get_or_insert(at);
        }
        prop_assert_eq!(told.iter().map(|m| (m.at, m.how)).collect::<Vec<_>>(), [(begun.unwrap(), Moved::PickedUp)]);
        let down: Vec<_> = (0..60).map(|number| give(wobble(there, number), &mut told)).collect();
        let lies: f64 = there.iter().zip(UP).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
        let most = f64::from(peak).max(lies);
        prop_assert_eq!(told.len(), 2);
        prop_assert_eq!((told[1].at, told[1].how), (down[0], Moved::PutDown));
        prop_assert!((f64::from(told[1].peak_mg) - most).abs() <= 1.5, "{} {}", told[1].peak_mg, most);
    }
}
