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

/// A quantile, 0 to 1, of values whose order changes; between two values a weighted mean, rounded down (type 7 of Hyndman and Fan, 1996, of
/// which 0.5 is the usual median). `None` of none.
#[must_use]
pub fn quantile(values: &mut [u32], quantile: f64) -> Option<u32> {
    let last = values.len().checked_sub(1)?;
    let place = quantile.clamp(0.0, 1.0) * last as f64;
    // Not negative and at most the last place.
    let (below, part) = (place as usize, place - libm::floor(place));
    let (_, low, above) = values.select_nth_unstable(below);
    let low = *low;
    let high = above.iter().min().copied().unwrap_or(low);
    Some(low + (part * f64::from(high - low)) as u32)
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
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn quantiles_lie_between_the_values() {
        assert_eq!(quantile(&mut [9, 1, 5], 0.5), Some(5));
        assert_eq!(quantile(&mut [9, 1, 5, 6], 0.5), Some(5));
        assert_eq!(quantile(&mut [u32::MAX, u32::MAX], 0.9), Some(u32::MAX));
        // R: quantile(c(10, 20, 30, 40, 50, 60), .9, type = 7) is 55.
        assert_eq!(quantile(&mut [60, 10, 30, 20, 50, 40], 0.9), Some(55));
        assert_eq!((quantile(&mut [3, 4], 0.0), quantile(&mut [3, 4], 7.0)), (Some(3), Some(4)));
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
