//! Telemetry.

use crate::istio::Telemetry;
use crate::istio::telemetry::{Metrics, ProviderRef, TagOperation, Tracing};
use crate::path::Path;

use super::names;
use super::report::Report;

pub(super) fn check(spec: &Telemetry, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        names::labels(&selector.match_labels, &path.key("selector").key("matchLabels"), report);
    }
    for (position, tracing) in spec.tracing.iter().enumerate() {
        self::tracing(tracing, &path.key("tracing").index(position), report);
    }
    for (position, metrics) in spec.metrics.iter().enumerate() {
        self::metrics(metrics, &path.key("metrics").index(position), report);
    }
    for (position, logging) in spec.access_logging.iter().enumerate() {
        let path = path.key("accessLogging").index(position);
        providers(&logging.providers, &path.key("providers"), report);
        if let Some(filter) = &logging.filter {
            report.required(&path.key("filter").key("expression"), &filter.expression, "the expression");
        }
    }
}

fn providers(providers: &[ProviderRef], path: &Path, report: &mut Report) {
    for (position, provider) in providers.iter().enumerate() {
        report.required(&path.index(position).key("name"), &provider.name, "the provider's name");
    }
}

fn tracing(tracing: &Tracing, path: &Path, report: &mut Report) {
    providers(&tracing.providers, &path.key("providers"), report);
    if tracing.providers.len() > 1 {
        report.warning(&path.key("providers"), "spans go to the first provider only", "name one");
    }
    if let Some(percent) = tracing.random_sampling_percentage {
        report.percent(&path.key("randomSamplingPercentage"), percent);
    }
    for (name, tag) in &tracing.custom_tags {
        let path = path.key("customTags").key(name);
        if let Some(literal) = &tag.literal {
            report.required(&path.key("literal").key("value"), &literal.value, "the value");
        } else if let Some(environment) = &tag.environment {
            report.required(&path.key("environment").key("name"), &environment.name, "the variable's name");
        } else if let Some(header) = &tag.header {
            report.required(&path.key("header").key("name"), &header.name, "the header's name");
        } else if tag.formatter.is_none() {
            report.error(
                &path,
                "the tag has no value",
                "add `literal`, `environment`, `header` or `formatter`",
            );
        }
    }
}

fn metrics(metrics: &Metrics, path: &Path, report: &mut Report) {
    providers(&metrics.providers, &path.key("providers"), report);
    report.duration(&path.key("reportingInterval"), metrics.reporting_interval);
    for (position, change) in metrics.overrides.iter().enumerate() {
        let path = path.key("overrides").index(position);
        if change.matches.as_ref().and_then(|matches| matches.custom_metric.as_deref()) == Some("") {
            report.error(&path.key("match").key("customMetric"), "the metric's name is missing", "");
        }
        for (name, tag) in &change.tag_overrides {
            let path = path.key("tagOverrides").key(name);
            match tag.operation {
                TagOperation::Upsert if tag.value.is_empty() => {
                    report.error(
                        &path.key("value"),
                        "the value is missing",
                        "write a CEL expression, or `operation: REMOVE`",
                    );
                }
                TagOperation::Remove if !tag.value.is_empty() => {
                    report.error(&path.key("value"), "REMOVE has no value", "remove it");
                }
                _ => {}
            }
        }
    }
}
