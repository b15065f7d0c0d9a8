//! All groups of a process: made by name, found again by name, read together.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::group::{Def, Group, Kind, Labels, Names, OwnedCounter, OwnedGauge, OwnedHistogram, Spec, Value};
pub use super::settings::Settings;
use super::tags::Extracted;

/// The statistics of one engine. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: usize,
    settings: Settings,
    groups: Mutex<Groups>,
}

#[derive(Debug, Default)]
struct Groups {
    by_key: HashMap<Key, Weak<Group>>,
    sweep_at: usize,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    prefix: Arc<str>,
    table: &'static str,
    labels: Labels,
}

/// One statistic as a reader sees it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The full name with Envoy's dots.
    pub name: String,
    /// The value.
    pub value: Value,
    /// The name without its tags, and the tags.
    pub extracted: Extracted,
    /// Whether the series belongs to Istio's own names, which Prometheus shows without `envoy_`.
    pub custom: bool,
    /// Whether anything was ever counted.
    pub used: bool,
}

impl Registry {
    /// Statistics for `workers` worker threads.
    pub fn new(workers: usize, settings: Settings) -> Self {
        Registry(Arc::new(Inner { slots: workers + 1, settings, groups: Mutex::default() }))
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The group of a table under `prefix` (which ends with a dot): the living one, or a new one.
    pub fn group(&self, prefix: &str, table_name: &'static str, table: &'static [Def]) -> Arc<Group> {
        self.find(prefix, table_name, Names::Table(table), Labels::new())
    }

    /// Counters `<prefix>100` to `<prefix>599`; only those that counted something are shown.
    pub fn codes(&self, prefix: &str) -> Arc<Group> {
        self.find(prefix, "codes", Names::Codes, Labels::new())
    }

    /// A counter by its full name.
    pub fn counter(&self, name: &str) -> OwnedCounter {
        OwnedCounter(self.find(name, "counter", Names::One(Kind::Counter), Labels::new()))
    }

    /// A gauge by its full name.
    pub fn gauge(&self, name: &str) -> OwnedGauge {
        OwnedGauge(self.find(name, "gauge", Names::One(Kind::Gauge), Labels::new()))
    }

    /// A histogram by its full name.
    pub fn histogram(&self, name: &str) -> OwnedHistogram {
        OwnedHistogram(self.find(name, "histogram", Names::One(Kind::Histogram), Labels::new()))
    }

    /// A series with labels under a name of Istio's; `labels` must not be empty.
    pub(crate) fn series(&self, name: &str, kind: Kind, labels: Labels) -> Arc<Group> {
        self.find(name, "series", Names::One(kind), labels)
    }

    /// How many groups are alive.
    #[cfg(test)]
    fn living(&self) -> usize {
        self.0.groups.lock().by_key.values().filter(|group| group.strong_count() > 0).count()
    }

    fn find(&self, prefix: &str, table: &'static str, names: Names, labels: Labels) -> Arc<Group> {
        let key = Key { prefix: prefix.into(), table, labels };
        let mut groups = self.0.groups.lock();
        if let Some(living) = groups.by_key.get(&key).and_then(Weak::upgrade) {
            return living;
        }
        let spec = Spec { prefix: key.prefix.clone(), names, labels: key.labels.clone() };
        let group = Arc::new(Group::new(self.0.slots, spec, &self.0.settings));
        groups.by_key.insert(key, Arc::downgrade(&group));
        groups.sweep();
        group
    }

    fn living_groups(&self) -> Vec<Arc<Group>> {
        self.0.groups.lock().by_key.values().filter_map(Weak::upgrade).collect()
    }

    /// Every included statistic, ordered by name.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for group in self.living_groups() {
            let custom = !group.labels().is_empty();
            let used = group.used();
            group.visit(|name, index, value| {
                let extracted = if custom {
                    Extracted { name: name.clone(), tags: group.labels().clone() }
                } else {
                    group.extracted(&self.0.settings).get(index).cloned().unwrap_or_default()
                };
                let name = if custom { labelled_name(&name, group.labels()) } else { name };
                samples.push(Sample { name, value, extracted, custom, used });
            });
        }
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        samples
    }

    /// Zeroes all counters, as `POST /reset_counters` does.
    pub fn reset_counters(&self) {
        self.living_groups().iter().for_each(|group| group.reset_counters());
    }
}

impl Groups {
    /// Forgets dead groups whenever their number may have doubled, so that forgetting is paid for by making.
    fn sweep(&mut self) {
        if self.by_key.len() >= self.sweep_at.max(1024) {
            self.by_key.retain(|_, group| group.strong_count() > 0);
            self.sweep_at = self.by_key.len() * 2;
        }
    }
}

/// Istio's series in plain `/stats`: the name with all labels in a row.
fn labelled_name(name: &str, labels: &Labels) -> String {
    let mut full = format!("istiocustom.{name}");
    for (label, value) in labels {
        full.push('.');
        full.push_str(label);
        full.push('.');
        full.push_str(value);
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(registry: &Registry) -> Vec<String> {
        registry.samples().into_iter().map(|sample| sample.name).collect()
    }

    #[test]
    fn a_name_is_one_statistic_while_somebody_holds_it() {
        let registry = Registry::new(1, Settings::default());
        let first = registry.counter("server.watchdog_miss");
        first.get().inc();
        let second = registry.counter("server.watchdog_miss");
        second.get().inc();
        assert_eq!(first.get().value(), 2);
        assert_eq!(names(&registry), ["server.watchdog_miss"]);
        drop((first, second));
        assert!(names(&registry).is_empty());
    }

    #[test]
    fn only_codes_that_happened_are_shown() {
        let registry = Registry::new(1, Settings::default());
        let codes = registry.codes("cluster.a.upstream_rq_");
        codes.counter(503 - 100).inc();
        assert_eq!(names(&registry), ["cluster.a.upstream_rq_503"]);
    }

    #[test]
    fn dead_groups_are_forgotten() {
        let registry = Registry::new(1, Settings::default());
        for i in 0..5000 {
            registry.counter(&format!("c{i}"));
        }
        assert!(registry.0.groups.lock().by_key.len() <= 1024);
        assert_eq!(registry.living(), 0);
    }
}
