//! A sheet of metrics. Enters: names, help, numbers with their labels. Leaves: OpenMetrics text, which Prometheus reads. Names
//! follow Prometheus' conventions: base units at their end, and `_total` after what is only counted up, which is added here.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What the answer's `Content-Type` says.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Metrics at one moment.
#[derive(Debug)]
pub struct Sheet(Registry);

impl Sheet {
    /// An empty one; all its names begin with `prefix` and an underscore.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self(Registry::with_prefix(prefix))
    }

    /// What goes up and down. The help is a sentence; its full stop is added.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    /// The same, a number for each row of labels. Without rows it is left out.
    pub fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        rows: impl IntoIterator<Item = ([String; N], f64)>,
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (values, number) in rows {
            family.get_or_create(&labels.into_iter().zip(values).collect()).set(number);
        }
        self.0.register(name, help, family);
    }

    /// What is only counted up; `_total` is added to its name.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    /// The same, a number for each row of labels. Without rows it is left out.
    pub fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        rows: impl IntoIterator<Item = ([String; N], u64)>,
    ) {
        let family = Family::<Labels, Counter<u64>>::default();
        for (values, number) in rows {
            family.get_or_create(&labels.into_iter().zip(values).collect()).inc_by(number);
        }
        self.0.register(name, help, family);
    }

    /// How often something had which size.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.0.register(name, help, histogram.clone());
    }

    /// The sheet as text.
    ///
    /// # Panics
    /// Never: a text takes whatever is written to it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a text takes whatever is written to it");
        text
    }
}

/// 1 for what is so, 0 for what is not.
#[must_use]
pub fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// A whole number as metrics hold it: exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "nobody reads the last digit of more than 2^53 of anything")]
pub fn whole(number: u64) -> f64 {
    number as f64
}

/// Milliseconds in seconds, which is what metrics are in.
#[must_use]
pub fn seconds(ms: u64) -> f64 {
    whole(ms) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_written_as_prometheus_reads_it() {
        let mut sheet = Sheet::new("shop");
        sheet.gauge("lamp_on", "1 while the lamp is on", flag(true));
        sheet.counters("visits", "Visits", ["door"], [(["a \"b\"".into()], 3), (["c".into()], 0)]);
        sheet.gauges("heat_celsius", "Heat", ["door"], Vec::<([String; 1], f64)>::new());
        let text = sheet.text();
        assert!(text.contains(
            "# HELP shop_lamp_on 1 while the lamp is on.\n# TYPE shop_lamp_on gauge\nshop_lamp_on 1"
        ));
        assert!(text.contains("shop_visits_total{door=\"a \\\"b\\\"\"} 3\n"), "{text}");
        assert!(text.contains("shop_visits_total{door=\"c\"} 0\n") && text.ends_with("# EOF\n"), "{text}");
        assert!(!text.contains("heat"), "{text}");
        assert!((seconds(1_500) - 1.5).abs() < f64::EPSILON);
    }
}
