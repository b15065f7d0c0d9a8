//! Metrics under exact names.
//!
//! OpenMetrics wants `_total` at the end of every counter; the names that Istio's dashboards use do not all have
//! it. So counters here are written under the name given, no more and no less, in Prometheus' text format.

mod own;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, text};
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric, gauge};
use prometheus_client::registry;

/// Content type of [`Registry::encode`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels of one series.
pub type Labels = Vec<(&'static str, String)>;

/// A gauge of floating point.
pub type Gauge = gauge::Gauge<f64, AtomicU64>;

/// A counter written under its exact name.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Counts `n`.
    pub fn inc_by(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl EncodeMetric for Counter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        // The library's own counter would add a suffix; a gauge's line is the bare name.
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Counter {
    const TYPE: MetricType = MetricType::Counter;
}

/// All metrics of a process.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<registry::Registry>>);

impl Registry {
    /// Without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter without labels.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.add(name, help, Counter::default())
    }

    /// Counters by labels.
    pub fn counters(&self, name: &str, help: &str) -> Family<Labels, Counter> {
        self.add(name, help, Family::default())
    }

    /// A gauge without labels.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    /// Gauges by labels.
    pub fn gauges(&self, name: &str, help: &str) -> Family<Labels, Gauge> {
        self.add(name, help, Family::default())
    }

    /// A histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.add(name, help, Histogram::new(bounds.iter().copied()))
    }

    /// Any other metric of the library.
    pub fn add<M>(&self, name: &str, help: &str, metric: M) -> M
    where
        M: registry::Metric + Clone,
    {
        // The library ends help texts with a period itself.
        self.0.lock().register(name, help.trim_end_matches('.'), metric.clone());
        metric
    }

    /// All series in Prometheus' text format, this process's own (`process_*`) included.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.0.lock());
        if let Some(end) = text.strip_suffix("# EOF\n").map(str::len) {
            text.truncate(end);
        }
        own::append(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        let registry = Registry::new();
        registry.counter("pilot_xds_pushes", "Pushes.").inc_by(3);
        let requests = registry.counters("istio_requests_total", "Requests");
        requests.get_or_create(&vec![("reporter", "source".to_owned()), ("code", "a\"b".to_owned())]).inc();
        registry.gauge("cert_expiry_seconds", "Left").set(1.5);
        registry.histogram("pilot_time", "T", &[0.1, 1.0]).observe(0.5);
        let text = registry.encode();
        for line in [
            "# TYPE pilot_xds_pushes counter",
            "pilot_xds_pushes 3",
            "istio_requests_total{reporter=\"source\",code=\"a\\\"b\"} 1",
            "cert_expiry_seconds 1.5",
            "pilot_time_bucket{le=\"0.1\"} 0",
            "pilot_time_bucket{le=\"+Inf\"} 1",
            "pilot_time_count 1",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} not in:\n{text}");
        }
        assert!(!text.contains("EOF") && text.contains("process_resident_memory_bytes "));
    }
}
