//! How late events come. Enters: for each event how long after it happened it was received. Leaves: quantiles. Kept are
//! counts of delays that are at most a second, and then at most 2^¼ times as long and so on, 19 % longer each: small enough to
//! be kept for every hour.

use alloc::collections::BTreeMap;

/// Steps in which a delay doubles.
const STEPS: f64 = 4.0;
/// The last step: 166 days or more.
const LAST: u8 = 95;

/// Delays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delays(BTreeMap<u8, u64>);

impl Delays {
    /// Takes note of a delay in milliseconds; one below 0 is none: clocks are not better than that.
    pub fn note(&mut self, ms: i64) {
        let doublings = libm::log2((ms.max(0) as f64 / 1_000.0).max(1.0));
        // Not negative and at most 95.
        let step = libm::ceil(doublings * STEPS).min(f64::from(LAST)) as u8;
        *self.0.entry(step).or_default() += 1;
    }

    /// So many events came with a delay of a step.
    pub fn add(&mut self, step: u8, count: u64) {
        *self.0.entry(step.min(LAST)).or_default() += count;
    }

    /// The steps that there are, with the number of events.
    pub fn steps(&self) -> impl Iterator<Item = (u8, u64)> {
        self.0.iter().map(|(step, count)| (*step, *count))
    }

    /// Within which time this share of the events came, 0 to 1, in tenths of a second; rather 19 % too much than too
    /// little. `None` of no events.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u32> {
        let all: u64 = self.0.values().sum();
        let needed = (libm::ceil(all as f64 * share.clamp(0.0, 1.0)) as u64).max(1);
        let mut sum = 0;
        let step = self.0.iter().find_map(|(step, count)| {
            sum += count;
            (sum >= needed).then_some(*step)
        })?;
        Some(libm::round(10.0 * libm::exp2(f64::from(step) / STEPS)) as u32)
    }
}

impl core::ops::AddAssign<&Delays> for Delays {
    fn add_assign(&mut self, other: &Self) {
        other.steps().for_each(|(step, count)| self.add(step, count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nineteen_of_twenty_came_in_time() {
        let mut delays = Delays::default();
        assert_eq!(delays.quantile(0.95), None);
        (0..95).for_each(|_| delays.note(400));
        (0..5).for_each(|_| delays.note(3_600_000));
        assert_eq!(delays.quantile(0.95), Some(10), "a second");
        delays.note(-7);
        delays.note(3_600_000);
        delays.note(3_600_000);
        let hour = delays.quantile(0.95).unwrap();
        assert!((36_000..43_000).contains(&hour), "{hour}");
    }

    proptest! {
        #[test]
        fn a_delay_is_never_told_too_short(ms in 0i64..10_000_000_000) {
            let mut delays = Delays::default();
            delays.note(ms);
            let told = f64::from(delays.quantile(0.95).unwrap()) * 100.0;
            prop_assert!(told >= ms as f64 * 0.98 && told <= (ms as f64 * 1.2).max(1_000.0), "{ms}: {told}");
        }
    }
}
