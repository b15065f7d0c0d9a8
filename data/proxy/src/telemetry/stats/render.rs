//! Statistics as text: Envoy's plain list, its JSON, and Prometheus' exposition format.

use std::fmt::Write;

use regex_automata::meta::Regex;
use serde_json::{Value as Json, json};

use super::group::{Labels, Value};
use super::histogram::Distribution;
use super::registry::{Registry, Sample};

/// The quantiles that Envoy shows of a histogram.
const QUANTILES: [(&str, f64); 10] = [
    ("P0", 0.0),
    ("P25", 0.25),
    ("P50", 0.5),
    ("P75", 0.75),
    ("P90", 0.9),
    ("P95", 0.95),
    ("P99", 0.99),
    ("P99.5", 0.995),
    ("P99.9", 0.999),
    ("P100", 1.0),
];

/// Which statistics to show.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only names in which this is found.
    pub filter: Option<Regex>,
    /// Only statistics that were ever written.
    pub used_only: bool,
    /// Only this type: `Counters`, `Gauges` or `Histograms`.
    pub kind: Option<Shown>,
}

/// A type of statistics, as `?type=` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// `Counters`
    Counters,
    /// `Gauges`
    Gauges,
    /// `Histograms`
    Histograms,
}

impl Selection {
    /// The statistics that are shown.
    pub fn of(&self, registry: &Registry) -> Vec<Sample> {
        let mut samples = registry.samples();
        samples.retain(|sample| self.shows(sample));
        samples
    }

    fn shows(&self, sample: &Sample) -> bool {
        let (kind, used) = match &sample.value {
            Value::Counter(value) => (Shown::Counters, *value != 0),
            Value::Gauge(value) => (Shown::Gauges, *value != 0),
            Value::Histogram(distribution) => (Shown::Histograms, distribution.count() != 0),
        };
        (!self.used_only || used || (sample.used && kind == Shown::Gauges))
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.filter.as_ref().is_none_or(|filter| filter.is_match(&sample.name))
    }
}

/// `name: value` lines: counters and gauges first, then histograms, as Envoy lists them.
pub fn text(samples: &[Sample]) -> String {
    let mut out = String::new();
    let mut histograms = String::new();
    for sample in samples {
        // Writing to memory does not fail.
        let _ = match &sample.value {
            Value::Counter(value) => writeln!(out, "{}: {value}", sample.name),
            Value::Gauge(value) => writeln!(out, "{}: {value}", sample.name),
            Value::Histogram(distribution) => {
                writeln!(histograms, "{}: {}", sample.name, quantiles(distribution))
            }
        };
    }
    out + &histograms
}

fn quantiles(distribution: &Distribution) -> String {
    if distribution.count() == 0 {
        return "No recorded values".to_owned();
    }
    let shown = QUANTILES.iter().map(|(name, q)| {
        let value = distribution.quantile(*q).unwrap_or_default();
        // Envoy shows the last interval's value first; no intervals are kept here.
        format!("{name}(nan,{})", round(value))
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Envoy's `?format=json`.
pub fn json(samples: &[Sample]) -> Json {
    let mut stats = Vec::new();
    let mut computed = Vec::new();
    for sample in samples {
        match &sample.value {
            Value::Counter(value) => stats.push(json!({"name": sample.name, "value": value})),
            Value::Gauge(value) => stats.push(json!({"name": sample.name, "value": value})),
            Value::Histogram(distribution) => {
                let value = |q: f64| distribution.quantile(q).map(round);
                let values: Vec<Json> = QUANTILES
                    .iter()
                    .map(|(_, q)| json!({"interval": null, "cumulative": value(*q)}))
                    .collect();
                computed.push(json!({"name": sample.name, "values": values}));
            }
        }
    }
    if !computed.is_empty() {
        let supported: Vec<f64> = QUANTILES.iter().map(|(_, q)| q * 100.0).collect();
        stats.push(json!({"histograms": {"supported_quantiles": supported, "computed_quantiles": computed}}));
    }
    json!({ "stats": stats })
}

/// Prometheus' exposition format: `envoy_` names with tags as labels, Istio's names as they are.
pub fn prometheus(mut samples: Vec<Sample>) -> String {
    samples
        .sort_by(|a, b| (&a.extracted.name, &a.extracted.tags).cmp(&(&b.extracted.name, &b.extracted.tags)));
    let mut out = String::new();
    let mut last = String::new();
    for sample in &samples {
        let name = metric_name(sample);
        if name != last {
            let kind = match sample.value {
                Value::Counter(_) => "counter",
                Value::Gauge(_) => "gauge",
                Value::Histogram(_) => "histogram",
            };
            let _ = writeln!(out, "# TYPE {name} {kind}");
            last.clone_from(&name);
        }
        series(&mut out, &name, sample);
    }
    out
}

fn metric_name(sample: &Sample) -> String {
    if sample.custom {
        sanitized(&sample.extracted.name)
    } else {
        format!("envoy_{}", sanitized(&sample.extracted.name))
    }
}

fn series(out: &mut String, name: &str, sample: &Sample) {
    let labels = label_text(&sample.extracted.tags);
    let braces = |text: &str| if text.is_empty() { String::new() } else { format!("{{{text}}}") };
    let _ = match &sample.value {
        Value::Counter(value) => writeln!(out, "{name}{} {value}", braces(&labels)),
        Value::Gauge(value) => writeln!(out, "{name}{} {value}", braces(&labels)),
        Value::Histogram(distribution) => {
            let comma = if labels.is_empty() { "" } else { "," };
            for (bound, count) in distribution.cumulative() {
                let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
                let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{name}_sum{} {}", braces(&labels), distribution.sum);
            writeln!(out, "{name}_count{} {}", braces(&labels), distribution.count())
        }
    };
}

fn label_text(tags: &Labels) -> String {
    let mut out = String::new();
    for (name, value) in tags {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&sanitized(name));
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    out
}

/// A name that Prometheus accepts.
fn sanitized(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 1);
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::stats::group::Kind;
    use crate::telemetry::stats::tables::{ClusterStats, cluster_prefix};
    use crate::telemetry::stats::{OwnedHistogram, Settings};
    use serde_json::json;

    fn istio_settings() -> Settings {
        let config = json!({
            "use_all_default_tags": false,
            "stats_tags": [
                {"tag_name": "cluster_name", "regex": "^cluster\\.((.+?(\\..+?\\.svc\\.cluster\\.local)?)\\.)"},
                {"tag_name": "response_code", "regex": "_rq(_(\\d{3}))$"},
            ],
            "stats_matcher": {"inclusion_list": {"patterns": [
                {"prefix": "cluster.xds-grpc"}, {"prefix": "server"},
                {"safe_regex": {"google_re2": {}, "regex": "vhost\\..*\\.route\\..*"}},
            ]}},
            "histogram_bucket_settings": [{"match": {"prefix": "server"}, "buckets": [1.0, 10.0]}],
        });
        Settings::compile(&meltemi_proto::json::from_json(&config).unwrap()).unwrap()
    }

    fn filled() -> (Registry, ClusterStats, ClusterStats, OwnedHistogram) {
        let registry = Registry::new(1, istio_settings());
        let kept = ClusterStats::new(&registry, &cluster_prefix("xds-grpc"));
        kept.upstream_cx_active().inc();
        let dropped = ClusterStats::new(&registry, &cluster_prefix("outbound|80||a.b.svc.cluster.local"));
        dropped.upstream_cx_active().inc();
        let histogram = registry.histogram("server.initialization_time_ms");
        histogram.get().record(7);
        (registry, kept, dropped, histogram)
    }

    #[test]
    fn prometheus_shows_tags_as_labels_and_only_what_is_included() {
        let (registry, ..) = &filled();
        let _series = registry.series(
            "istio_requests_total",
            Kind::Counter,
            vec![("reporter".into(), "source".into()), ("odd".into(), "a\"\\b".into())],
        );
        let shown = prometheus(Selection { used_only: true, ..Selection::default() }.of(registry));
        let expected = "\
# TYPE envoy_cluster_upstream_cx_active gauge
envoy_cluster_upstream_cx_active{cluster_name=\"xds-grpc\"} 1
# TYPE envoy_server_initialization_time_ms histogram
envoy_server_initialization_time_ms_bucket{le=\"1\"} 0
envoy_server_initialization_time_ms_bucket{le=\"10\"} 1
envoy_server_initialization_time_ms_bucket{le=\"+Inf\"} 1
envoy_server_initialization_time_ms_sum 7
envoy_server_initialization_time_ms_count 1
";
        let used: String =
            shown.lines().filter(|line| !line.contains("xds-grpc\"} 0")).map(|l| format!("{l}\n")).collect();
        assert!(used.contains(expected.lines().nth(1).unwrap()), "{used}");
        for line in expected.lines().skip(2) {
            assert!(used.contains(line), "{line} is missing in\n{used}");
        }
        assert!(!shown.contains("outbound"));
        let all = prometheus(Selection::default().of(registry));
        assert!(all.contains("istio_requests_total{reporter=\"source\",odd=\"a\\\"\\\\b\"} 0"), "{all}");
    }

    #[test]
    fn plain_text_lists_histograms_last() {
        let (registry, ..) = &filled();
        let selection = Selection { filter: Regex::new("cx_active|time_ms").ok(), ..Selection::default() };
        let shown = text(&selection.of(registry));
        assert!(shown.starts_with("cluster.xds-grpc.upstream_cx_active: 1\n"), "{shown}");
        assert!(shown.contains("server.initialization_time_ms: P0(nan,1) P25(nan,3.25)"), "{shown}");
    }

    #[test]
    fn json_has_quantiles() {
        let (registry, ..) = &filled();
        let selection = Selection { kind: Some(Shown::Histograms), used_only: true, ..Selection::default() };
        let shown = json(&selection.of(registry));
        assert_eq!(
            shown["stats"][0]["histograms"]["computed_quantiles"][0]["name"],
            "server.initialization_time_ms"
        );
    }

    #[test]
    fn settings_say_which_field_is_wrong() {
        let config =
            json!({"stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": "("}}]}}});
        let error = Settings::compile(&meltemi_proto::json::from_json(&config).unwrap()).unwrap_err();
        assert!(
            error.to_string().starts_with("stats_matcher.inclusion_list.patterns[0].safe_regex.regex"),
            "{error}"
        );
    }
}
