//! Random rounding. Enters: how many visits did something in one shop and week. Leaves: a multiple of [`BASE`], one of the
//! two beside the count, the nearer one more often: on average it is the count.
//!
//! Which of the two is decided by a keyed hash of what is counted, so it is the same whenever and however it is asked for,
//! and asking again teaches nothing. Sums over weeks and shops are sums of such numbers, on average the true sums; what is
//! left when answers are subtracted is a multiple of [`BASE`] again. Large counts are rounded like small ones: where a
//! total is known, a large one told exactly would give away the small rest.
//!
//! The method is that of Statistics Canada, which rounds its census tables at random to base 5 (Nargundkar and Saveland
//! 1972, *Random-rounding to prevent statistical disclosures*); Stats NZ does so to base 3.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::measures::Share;
use crate::rate::Z95;

/// What is told is a multiple of this many visits.
pub const BASE: u64 = 5;

/// The most that rounding varies one number, as a variance, in visits²: 2 · 3.
pub const VARIANCE: u64 = 6;

/// What decides how numbers are rounded. Who knows it can undo the rounding of some of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// Of 128 random bits.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// What decides in one shop and week, each told apart by its name.
    #[must_use]
    pub fn of(self, store: &str, week: i32) -> Rounding {
        let mut hash = SipHasher24::new_with_key(&self.0);
        hash.write_i32(week);
        hash.write(store.as_bytes());
        Rounding(hash)
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(_)")
    }
}

/// Rounds what is counted in one shop and week.
#[derive(Clone, Copy)]
pub struct Rounding(SipHasher24);

impl Rounding {
    /// Rounds a count; `cell` tells what is counted, and is told apart from all else in that shop and week.
    #[must_use]
    pub fn round(&self, count: u64, cell: &[&str]) -> u64 {
        let rest = count % BASE;
        let mut hash = self.0;
        for part in cell {
            // No two lists are the same bytes.
            hash.write_u8(0xff);
            hash.write(part.as_bytes());
        }
        // Of 2⁶⁴ numbers each rest is as frequent as the others but for one in 10¹⁸.
        let goes_up = hash.finish() % BASE < rest;
        count - rest + if goes_up { BASE } else { 0 }
    }
}

/// How much rounding has at most varied a sum, as a variance, in visits²: of numbers in so many weeks of shops. Each has
/// varied by no more than [`VARIANCE`], nor by more than four times what it counts. What is rounded to 0 may be something,
/// so a small sum is taken to be larger.
#[must_use]
pub fn variance(sum: u64, weeks: u64) -> f64 {
    let by_count = (sum + BASE).saturating_mul(BASE - 1);
    by_count.min(weeks.saturating_mul(VARIANCE)) as f64
}

/// A share of two rounded sums, with an interval that is as wide as chance and rounding together make it. `None` when there
/// is nothing to share. A part that was rounded above its whole is the whole.
#[must_use]
pub fn share(part: u64, whole: u64, weeks: u64) -> Option<Share> {
    let exact = Share::of(part.min(whole), whole)?;
    let p = exact.value;
    let rounded = (variance(part, weeks) + p * p * variance(whole, weeks)) / (whole as f64 * whole as f64);
    let wider = |by: f64| libm::sqrt(by * by + Z95 * Z95 * rounded);
    Some(Share {
        low: (p - wider(p - exact.low)).max(0.0),
        high: (p + wider(exact.high - p)).min(1.0),
        ..exact
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use proptest::prelude::*;

    /// As many secrets as are asked for.
    fn secrets(n: u64) -> impl Iterator<Item = Secret> {
        (0..n).map(|n| {
            Secret::new(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes())
        })
    }

    #[test]
    fn the_mean_over_many_secrets_is_the_count() {
        for count in [0, 1, 2, 3, 4, 5, 6, 22, 44] {
            let told: Vec<u64> = secrets(20_000)
                .map(|secret| secret.of("paris-1", 2_400).round(count, &["pair", "S1", "S2"]))
                .collect();
            let mean = told.iter().sum::<u64>() as f64 / told.len() as f64;
            assert!((mean - count as f64).abs() < 0.08, "{count}: {mean}");
            let is_beside = |told: &u64| told.is_multiple_of(BASE) && told.abs_diff(count) < BASE;
            assert!(told.iter().all(is_beside), "{count}");
            if count.is_multiple_of(BASE) {
                assert!(told.iter().all(|told| *told == count), "{count} has nothing to round");
            }
        }
    }

    #[test]
    fn numbers_are_rounded_apart() {
        // Of any two that differ in one thing, one goes up and one down for about 12 of 25 secrets.
        let differ = |a: &dyn Fn(Secret) -> u64, b: &dyn Fn(Secret) -> u64| {
            secrets(2_000).filter(|secret| a(*secret) != b(*secret)).count()
        };
        let one = |secret: Secret| secret.of("paris-1", 2_400).round(2, &["pair", "S1", "S2"]);
        let others: [&dyn Fn(Secret) -> u64; 5] = [
            &|secret| secret.of("paris-2", 2_400).round(2, &["pair", "S1", "S2"]),
            &|secret| secret.of("paris-1", 2_401).round(2, &["pair", "S1", "S2"]),
            &|secret| secret.of("paris-1", 2_400).round(2, &["pair", "S1S", "2"]),
            &|secret| secret.of("paris-1", 2_400).round(2, &["pair", "S2", "S1"]),
            &|secret| secret.of("paris-1", 2_400).round(2, &["lost", "S1", "S2"]),
        ];
        for (n, other) in others.into_iter().enumerate() {
            let differ = differ(&one, other);
            assert!((840..1_080).contains(&differ), "{n}: {differ}");
        }
        assert_eq!(differ(&one, &one), 0, "it is the same whenever it is asked for");
    }

    #[test]
    fn intervals_hold_the_truth_behind_rounded_numbers() {
        // In 20 weeks 2 of 6 visits.
        let held = secrets(500).filter(|secret| {
            let sum = |count: u64, what: &str| -> u64 {
                (0..20).map(|week| secret.of("paris-1", week).round(count, &[what])).sum()
            };
            let part = sum(2, "hunts");
            let share = share(part, part + sum(4, "others"), 20).unwrap();
            share.low <= 1.0 / 3.0 && 1.0 / 3.0 <= share.high
        });
        assert!(held.count() >= 475, "of 500");
        assert_eq!(share(3, 0, 9), None);
    }

    proptest! {
        #[test]
        fn intervals_are_wider_than_without_rounding(part in 0u64..500, rest in 0u64..500, weeks in 1u64..99) {
            prop_assume!(part + rest > 0);
            let (plain, wide) = (Share::of(part, part + rest), share(part, part + rest, weeks));
            let (plain, wide) = (plain.unwrap(), wide.unwrap());
            prop_assert!(wide.low <= plain.low && plain.high <= wide.high);
            prop_assert!(0.0 <= wide.low && wide.high <= 1.0);
        }
    }
}
