//! Counts beside what they are measured by. Enters: how often something happened, and how often it was to be expected,
//! or in how many garments and hours it could have. Leaves: rates with their intervals, how far a count is from what was
//! expected, and which of many such distances are more than chance.
//!
//! Hands come in bursts: one shopper takes several garments from a rail. Counts of such events vary more than Poisson's,
//! by a factor, the *dispersion*, by which everything here can be widened: a count is then so much information as a
//! Poisson count that many times smaller (quasi-likelihood; Spiegelhalter 2005, *Funnel plots for comparing institutional
//! performance*, Statistics in Medicine 24, section 3.3).

use alloc::vec::Vec;

/// Two-sided 95 % quantile of the normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;
/// Two-sided 99.8 % quantile.
pub const Z998: f64 = 3.090_232_306_167_813;

/// A count by what it is measured by, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How often.
    pub part: u64,
    /// By what it is measured, above 0.
    pub whole: f64,
    /// One by the other.
    pub value: f64,
    /// Both ends of Byar's interval, the lower one not negative; `None` where it is not known how much counts vary.
    pub interval: Option<[f64; 2]>,
}

impl Rate {
    /// A count by what it is measured by, of counts that vary so many times as much as Poisson's, at least once; where that
    /// is not known it has no interval. `None` when there is nothing to measure by.
    ///
    /// The interval is Byar's approximation of the exact one (Breslow and Day 1987, *Statistical Methods in Cancer
    /// Research* II, equation 2.13).
    #[must_use]
    pub fn of(part: u64, whole: f64, dispersion: Option<f64>) -> Option<Self> {
        if !(whole > 0.0 && whole.is_finite()) {
            return None;
        }
        let interval = dispersion.map(|dispersion| {
            let scale = dispersion.max(1.0);
            let (o, above) = (part as f64 / scale, part as f64 / scale + 1.0);
            let cube = |x: f64| x * x * x;
            let low = if part == 0 {
                0.0
            } else {
                o * cube((1.0 - 1.0 / (9.0 * o) - Z95 / (3.0 * libm::sqrt(o))).max(0.0))
            };
            let high = above * cube(1.0 - 1.0 / (9.0 * above) + Z95 / (3.0 * libm::sqrt(above)));
            [low, high].map(|end| end * scale / whole)
        });
        Some(Self { part, whole, value: part as f64 / whole, interval })
    }

    /// The same measured by something that is so many times as large.
    #[must_use]
    pub fn per(self, times: f64) -> Self {
        let interval = self.interval.map(|ends| ends.map(|end| end * times));
        Self { value: self.value * times, interval, ..self }
    }
}

/// How far a count is from what was expected, in standard deviations, by the approximation that is behind Byar's
/// interval; 0 where nothing was expected.
#[must_use]
pub fn distance(observed: f64, expected: f64, dispersion: f64) -> f64 {
    let scale = dispersion.max(1.0);
    let (o, e) = (observed.max(0.0) / scale, expected / scale);
    if !(e > 0.0 && e.is_finite()) {
        return 0.0;
    }
    let z = |o: f64| 3.0 * libm::sqrt(o) * (1.0 - 1.0 / (9.0 * o) - libm::cbrt(e / o));
    // A whole count is at least as far as what lies between it and the next one: near the middle there is no distance.
    let (above, below) = (if o > 0.0 { z(o) } else { f64::NEG_INFINITY }, z(o + 1.0));
    if above > 0.0 { above } else { below.min(0.0) }
}

/// The two counts, as shares of what was expected, that are so many standard deviations from it: what lies between them
/// is no more than chance. Lower, then upper.
#[must_use]
pub fn limits(expected: f64, dispersion: f64, z: f64) -> [f64; 2] {
    if !(expected > 0.0 && expected.is_finite()) {
        return [0.0, f64::INFINITY];
    }
    let is_within = |share: f64| distance(share * expected, expected, dispersion).abs() < z;
    let edge = |mut inside: f64, mut outside: f64| {
        for _ in 0..36 {
            let middle = f64::midpoint(inside, outside);
            *if is_within(middle) { &mut inside } else { &mut outside } = middle;
        }
        inside
    };
    let low = if is_within(0.0) { 0.0 } else { edge(1.0, 0.0) };
    let mut outside = 2.0;
    while is_within(outside) {
        outside *= 2.0;
    }
    [low, edge(1.0, outside)]
}

/// How likely chance alone goes so far, in either direction, 0 to 1.
#[must_use]
pub fn chance(z: f64) -> f64 {
    libm::erfc(z.abs() / core::f64::consts::SQRT_2)
}

/// Which of many findings stand when of those that do, only this share may be chance: by how likely chance alone goes as
/// far as each (Benjamini and Hochberg 1995).
#[must_use]
pub fn stand(chances: &[f64], share: f64) -> Vec<bool> {
    let mut sorted: Vec<f64> = chances.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let of = sorted.len() as f64;
    let last = (1..).zip(&sorted).filter(|(rank, p)| **p <= share * f64::from(*rank) / of).last();
    let most = last.map(|(_, p): (u32, &f64)| *p);
    chances.iter().map(|p| most.is_some_and(|most| *p <= most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn byars_interval_is_close_to_the_exact_one() {
        // Exact limits of a Poisson mean, as tabled by Ulm (1990) and in Breslow and Day, table 2.10.
        for (part, low, high) in
            [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (20, 12.217, 30.888)]
        {
            let [l, h] = Rate::of(part, 1.0, Some(1.0)).unwrap().interval.unwrap();
            assert!((l - low).abs() < 0.02 && (h - high).abs() < 0.03, "{l} {h}");
        }
        assert_eq!(Rate::of(3, 0.0, Some(1.0)), None);
        let wide = Rate::of(400, 200.0, Some(4.0)).unwrap().interval.unwrap();
        let narrow = Rate::of(100, 50.0, Some(1.0)).unwrap().interval.unwrap();
        assert!(wide.iter().zip(narrow).all(|(wide, narrow)| (wide - narrow).abs() < 1e-9), "{wide:?}");
        let unknown = Rate::of(400, 200.0, None).unwrap().per(100.0);
        assert_eq!((unknown.value, unknown.interval), (200.0, None));
    }

    #[test]
    fn distances_are_those_of_the_exact_tails() {
        // P(X >= 18 | 10) = 0.01428 and P(X <= 3 | 10) = 0.01034, from tables of Poisson's distribution.
        assert!((chance(distance(18.0, 10.0, 1.0)) / 2.0 - 0.014_28).abs() < 3e-4);
        assert!((chance(distance(3.0, 10.0, 1.0)) / 2.0 - 0.010_34).abs() < 3e-4);
        assert_eq!(distance(10.0, 10.0, 1.0), 0.0);
        assert_eq!(distance(7.0, 0.0, 1.0), 0.0);
        assert!((chance(Z95) - 0.05).abs() < 1e-9 && (chance(Z998) - 0.002).abs() < 1e-9);
    }

    #[test]
    fn few_of_many_findings_stand() {
        // Benjamini and Hochberg's own example: of 15 the first four stand.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0,
        ];
        assert_eq!(stand(&p, 0.05).iter().filter(|stands| **stands).count(), 4);
        assert_eq!(stand(&[], 0.05), [false; 0]);
    }

    proptest! {
        #[test]
        fn what_is_on_a_limit_is_so_far_away(expected in 0.2f64..5_000.0, dispersion in 1f64..9.0) {
            let [low, high] = limits(expected, dispersion, Z95);
            prop_assert!(low < 1.0 && 1.0 < high);
            prop_assert!((distance(high * expected, expected, dispersion) - Z95).abs() < 1e-6);
            if low > 0.0 {
                prop_assert!((distance(low * expected, expected, dispersion) + Z95).abs() < 1e-6);
            }
        }

        #[test]
        fn the_interval_holds_the_rate(part in 0u64..5_000, whole in 0.01f64..9_999.0, dispersion in 0f64..9.0) {
            let rate = Rate::of(part, whole, Some(dispersion)).unwrap();
            let [low, high] = rate.interval.unwrap();
            prop_assert!(0.0 <= low && low <= rate.value + 1e-12 && rate.value < high);
        }
    }
}
