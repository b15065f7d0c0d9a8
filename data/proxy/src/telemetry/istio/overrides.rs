//! `metrics` of `stats.PluginConfig`: which standard metrics and labels to drop, change or add.

use meltemi_proto::istio::stats as proto;

use super::expression::Expression;
use super::labels::LABELS;
use super::series::{METRICS, Metric};

/// What is different from the standard, by metric.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    /// One list a metric, in the order of [`METRICS`]; empty when nothing is overridden.
    changes: Vec<Vec<(String, Change)>>,
    dropped: Vec<Metric>,
    /// All expressions; labels refer to them by index.
    pub(super) expressions: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq)]
enum Change {
    Remove,
    Set(usize),
    Unknown,
}

impl Overrides {
    /// Compiles the overrides. What cannot be applied is left at the standard and said in the second value.
    pub(super) fn compile(config: &proto::PluginConfig) -> (Self, Vec<String>) {
        let mut overrides = Overrides::default();
        let mut reports = Vec::new();
        if !config.metrics.is_empty() {
            overrides.changes = vec![Vec::new(); METRICS.len()];
        }
        for metric in &config.metrics {
            overrides.metric(metric, &mut reports);
        }
        for definition in &config.definitions {
            reports.push(format!(
                "metric {:?}: new metrics are not supported, only the standard ones",
                definition.name
            ));
        }
        (overrides, reports)
    }

    fn metric(&mut self, config: &proto::MetricConfig, reports: &mut Vec<String>) {
        let named: Vec<usize> = match config.name.as_str() {
            "" => (0..METRICS.len()).collect(),
            name => METRICS.iter().position(|(_, short, ..)| *short == name).into_iter().collect(),
        };
        if named.is_empty() {
            reports.push(format!("metric {:?} is not one of the standard metrics", config.name));
        }
        if config.drop {
            self.dropped
                .extend(named.iter().filter_map(|index| METRICS.get(*index)).map(|(metric, ..)| *metric));
            return;
        }
        if !config.r#match.is_empty() {
            reports.push(format!("metric {:?}: `match` is not supported and ignored", config.name));
        }
        for tag in &config.tags_to_remove {
            if !LABELS.contains(&tag.as_str()) {
                reports.push(format!("label {tag:?} is not one of the standard labels"));
            }
            self.change(&named, tag, Change::Remove);
        }
        let mut dimensions: Vec<_> = config.dimensions.iter().collect();
        dimensions.sort();
        for (label, text) in dimensions {
            let change = match Expression::compile(text) {
                Ok(expression) => {
                    self.expressions.push(expression);
                    Change::Set(self.expressions.len() - 1)
                }
                Err(reason) => {
                    reports.push(format!("label {label:?} is set to \"unknown\": {reason}"));
                    Change::Unknown
                }
            };
            self.change(&named, label, change);
        }
    }

    fn change(&mut self, metrics: &[usize], label: &str, change: Change) {
        for index in metrics {
            let Some(changes) = self.changes.get_mut(*index) else { continue };
            changes.retain(|(known, _)| known != label);
            changes.push((label.to_owned(), change.clone()));
        }
    }

    /// Whether a metric is not wanted.
    pub(super) fn drops(&self, metric: Metric) -> bool {
        self.dropped.contains(&metric)
    }

    /// Applies the changes to a metric's labels; `values` are the values of all expressions.
    pub(super) fn apply(
        &self,
        metric: Metric,
        labels: &mut Vec<(&'static str, String)>,
        values: &[String],
    ) -> Vec<(String, String)> {
        let index = METRICS.iter().position(|(known, ..)| *known == metric);
        let changes = index.and_then(|index| self.changes.get(index)).map_or(&[][..], Vec::as_slice);
        let mut all: Vec<(String, String)> =
            labels.drain(..).map(|(name, value)| (name.to_owned(), value)).collect();
        for (label, change) in changes {
            let value = match change {
                Change::Remove => {
                    all.retain(|(known, _)| known != label);
                    continue;
                }
                Change::Set(expression) => values.get(*expression).cloned().unwrap_or_default(),
                Change::Unknown => "unknown".to_owned(),
            };
            match all.iter_mut().find(|(known, _)| known == label) {
                Some(slot) => slot.1 = value,
                None => all.push((label.clone(), value)),
            }
        }
        all
    }
}
