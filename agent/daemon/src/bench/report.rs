//! What a measure says. Enters: values. Leaves: one line each, `name value unit`, as they come, and a
//! table of those that have an aim at the end.

use std::fmt::Write as _;

/// Repeated measurements of one thing.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<f64>);

impl Sample {
    pub(super) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    fn quantile(&self, share: f64) -> f64 {
        let Some(most) = self.0.len().checked_sub(1) else { return f64::NAN };
        let place = share * most as f64;
        let (low, high) = (self.0[place.floor() as usize], self.0[place.ceil() as usize]);
        low + (high - low) * place.fract()
    }
}

/// What a value should be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints values, and keeps those with an aim for the table.
#[derive(Debug, Default)]
pub(super) struct Report {
    table: String,
}

impl Report {
    /// One value.
    pub(super) fn value(&mut self, name: &str, value: f64, unit: &str) {
        println!("{name} {} {unit}", shown(value));
    }

    /// The median of a sample, and its spread: the tenth and the ninetieth of a hundred.
    pub(super) fn sample(&mut self, name: &str, sample: &Sample, unit: &str) {
        self.value(name, sample.median(), unit);
        println!("{name}_spread {} {unit}", spread(sample));
    }

    /// The same of a value that has an aim.
    pub(super) fn aimed(&mut self, name: &str, sample: &Sample, unit: &str, aim: Aim) {
        self.sample(name, sample, unit);
        let (met, aim) = match aim {
            Aim::AtLeast(least) => (sample.median() >= least, format!(">= {}", shown(least))),
            Aim::AtMost(most) => (sample.median() <= most, format!("<= {}", shown(most))),
        };
        let (value, spread) = (shown(sample.median()), spread(sample));
        let verdict = if met { "met" } else { "MISSED" };
        writeln!(self.table, "{name:34} {value:>10} {spread:>21} {unit:8} {aim:>10}  {verdict}")
            .expect("a string takes everything");
    }

    /// The table of everything that has an aim.
    pub(super) fn table(&self) -> String {
        let head = ["measure", "median", "p10..p90", "unit", "aim"];
        let [measure, median, spread, unit, aim] = head;
        format!("{measure:34} {median:>10} {spread:>21} {unit:8} {aim:>10}\n{}", self.table)
    }
}

fn spread(sample: &Sample) -> String {
    format!("{}..{}", shown(sample.quantile(0.1)), shown(sample.quantile(0.9)))
}

/// Three digits or so.
fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_values() {
        let sample = Sample::new(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((sample.median(), sample.quantile(0.1), sample.quantile(0.9)), (3.0, 1.4, 4.6));
        assert!(Sample::new(Vec::new()).median().is_nan());
    }

    #[test]
    fn a_missed_aim_is_called_so() {
        let mut report = Report::default();
        report.aimed("a", &Sample::new(vec![1.0]), "x", Aim::AtLeast(0.9));
        report.aimed("b", &Sample::new(vec![1.0]), "x", Aim::AtMost(0.9));
        let verdicts: Vec<bool> = report.table().lines().skip(1).map(|line| line.ends_with("met")).collect();
        assert_eq!(verdicts, [true, false]);
    }
}
