//! Arithmetic of what the page shows. Enters: counts. Leaves: shares with their intervals, medians.
//! It never divides by nothing: where there is no measure it says so.

/// A share of a count, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// How many of them.
    pub part: u64,
    /// Of how many, at least 1.
    pub whole: u64,
    /// The share, 0 to 1.
    pub value: f64,
    /// Lower end of Wilson's score interval, 0 to 1.
    pub low: f64,
    /// Upper end, 0 to 1.
    pub high: f64,
}

impl Share {
    /// The share of `part` in `whole`. `None` when there is nothing to have a share of, or the part
    /// is larger than the whole.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        if whole == 0 || part > whole {
            return None;
        }
        let (p, n) = (part as f64 / whole as f64, whole as f64);
        let z2 = Z95 * Z95;
        let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z95 / (1.0 + z2 / n) * libm::sqrt(p * (1.0 - p) / n + z2 / (4.0 * n * n));
        Some(Self {
            part,
            whole,
            value: p,
            low: (middle - half).clamp(0.0, 1.0),
            high: (middle + half).clamp(0.0, 1.0),
        })
    }
}

/// Two-sided 95 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// The median; of an even number of values the mean of the middle two, rounded down. `None` of none.
#[must_use]
pub fn median(values: &mut [u32]) -> Option<u32> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(values[values.len() / 2 - 1].midpoint(upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wilsons_interval_matches_published_values() {
        // Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (part, whole, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let share = Share::of(part, whole).unwrap();
            assert!((share.low - low).abs() < 5e-5 && (share.high - high).abs() < 5e-5, "{share:?}");
        }
    }

    #[test]
    fn nothing_has_no_share_and_no_median() {
        assert_eq!(Share::of(0, 0), None);
        assert_eq!(Share::of(2, 1), None);
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [9, 1, 5]), Some(5));
        assert_eq!(median(&mut [9, 1, 5, 6]), Some(5));
        assert_eq!(median(&mut [u32::MAX, u32::MAX]), Some(u32::MAX));
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_share(part in 0u64..2_000, more in 0u64..2_000) {
            prop_assume!(part + more > 0);
            let share = Share::of(part, part + more).unwrap();
            let eps = 1e-12;
            prop_assert!(0.0 <= share.low && share.low <= share.value + eps);
            prop_assert!(share.value <= share.high + eps && share.high <= 1.0);
        }
    }
}
