//! A mean of late in two bytes: there are several for each of very many garments. Enters: values. Leaves: their mean.

/// How much of the mean one step is.
const STEPS: f32 = 1_024.0;

/// A mean that follows its values: -32 to 32, to a thousandth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mean(i16);

impl Mean {
    /// The mean is this; what is beyond its range counts as its end.
    pub(super) fn of(value: f32) -> Self {
        // A float cast saturates.
        Self(libm::roundf(value * STEPS) as i16)
    }

    pub(super) fn get(self) -> f32 {
        f32::from(self.0) / STEPS
    }

    /// Follows a value, which weighs 0 to 1.
    pub(super) fn follow(&mut self, value: f32, weight: f32) {
        *self = Self::of(self.get() + (value - self.get()) * weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_comes_near_its_values_and_stays_in_its_range() {
        for (value, weight) in [(0.18, 1.0 / 16.0), (-1.5, 0.25), (0.85, 1.0 / 60.0), (31.9, 0.25)] {
            let mut mean = Mean::default();
            (0..1_000).for_each(|_| mean.follow(value, weight));
            let off = (mean.get() - value).abs();
            assert!(off <= 0.5 / STEPS / weight + 0.001, "{value}: {off}");
        }
        assert_eq!((Mean::of(1_000.0).get() as i32, Mean::of(-1_000.0).get() as i32), (31, -32));
        assert_eq!(size_of::<Mean>(), 2);
    }
}
