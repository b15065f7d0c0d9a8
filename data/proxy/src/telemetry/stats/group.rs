//! The statistics of one thing, and the handles that count them.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::cells::Cells;
use super::histogram::{Distribution, bucket};
use super::tags::Extracted;

/// What a statistic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution; durations in milliseconds, sizes in bytes.
    Histogram,
}

/// One row of a table of statistics; histograms come last in a table.
#[derive(Clone, Copy, Debug)]
pub struct Def {
    /// The name below the group's prefix.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// Label names and values of a series, in order.
pub type Labels = Vec<(Arc<str>, Arc<str>)>;

/// Where a group's names come from.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    /// A table known at compile time.
    Table(&'static [Def]),
    /// One statistic whose name is the prefix itself.
    One(Kind),
    /// `100` to `599` after the prefix.
    Codes,
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        match self {
            Names::Table(table) => table.len(),
            Names::One(_) => 1,
            Names::Codes => 500,
        }
    }

    fn get(&self, index: usize) -> (Cow<'static, str>, Kind) {
        match self {
            Names::Table(table) => {
                table.get(index).map_or(("".into(), Kind::Counter), |d| (d.name.into(), d.kind))
            }
            Names::One(kind) => ("".into(), *kind),
            Names::Codes => ((index + 100).to_string().into(), Kind::Counter),
        }
    }
}

/// The value of one statistic at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A counter's.
    Counter(u64),
    /// A gauge's.
    Gauge(i64),
    /// A histogram's.
    Histogram(Distribution),
}

/// The statistics of one thing. Made by a [`Registry`](super::Registry), which reads it as long as it lives.
#[derive(Debug)]
pub struct Group {
    prefix: Arc<str>,
    names: Names,
    labels: Labels,
    cells: Cells,
    histograms: Box<[(usize, Arc<[f64]>)]>,
    included: Box<[bool]>,
    extracted: OnceLock<Vec<Extracted>>,
}

impl Group {
    pub(crate) fn new(slots: usize, spec: Spec, settings: &super::Settings) -> Self {
        let Spec { prefix, names, labels } = spec;
        let included: Box<[bool]> = (0..names.len())
            .map(|i| !labels.is_empty() || settings.includes(&join(&prefix, &names.get(i).0)))
            .collect();
        let mut width = names.len();
        let mut histograms = Vec::new();
        for index in 0..names.len() {
            let (name, kind) = names.get(index);
            if kind == Kind::Histogram {
                // Users name Istio's histograms by their namespace.
                let custom = if labels.is_empty() { "" } else { "istiocustom." };
                let bounds = settings.buckets(&format!("{custom}{prefix}{name}"));
                histograms.push((width, bounds.clone()));
                width += bounds.len() + 2;
            }
        }
        let width = if included.contains(&true) { width } else { 0 };
        let cells = Cells::new(slots, width);
        Group {
            prefix,
            names,
            labels,
            cells,
            histograms: histograms.into(),
            included,
            extracted: OnceLock::new(),
        }
    }

    /// The counter at `index` of this group's table.
    pub fn counter(&self, index: usize) -> Counter<'_> {
        Counter { cells: &self.cells, index }
    }

    /// The gauge at `index` of this group's table.
    pub fn gauge(&self, index: usize) -> Gauge<'_> {
        Gauge { cells: &self.cells, index }
    }

    /// The `index`th histogram of this group's table.
    pub fn histogram(&self, index: usize) -> Histogram<'_> {
        Histogram { cells: &self.cells, layout: self.histograms.get(index) }
    }

    /// The label names and values given when the group was made.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(crate) fn used(&self) -> bool {
        self.cells.used()
    }

    /// Calls `visit` with the full name, the index and the value of every included statistic.
    pub(crate) fn visit(&self, mut visit: impl FnMut(String, usize, Value)) {
        let mut histograms = self.histograms.iter();
        let codes = matches!(self.names, Names::Codes);
        for index in 0..self.names.len() {
            let (name, kind) = self.names.get(index);
            let layout = if kind == Kind::Histogram { histograms.next() } else { None };
            if !self.included.get(index).copied().unwrap_or(false) || (codes && self.cells.sum(index) == 0) {
                continue;
            }
            let value = match (kind, layout) {
                (Kind::Counter, _) => Value::Counter(self.cells.sum(index)),
                (Kind::Gauge, _) => Value::Gauge(self.cells.sum(index) as i64),
                (Kind::Histogram, Some(layout)) => Value::Histogram(self.distribution(layout)),
                (Kind::Histogram, None) => continue,
            };
            visit(join(&self.prefix, &name), index, value);
        }
    }

    /// Zeroes all counters.
    pub(crate) fn reset_counters(&self) {
        for index in (0..self.names.len()).filter(|i| self.names.get(*i).1 == Kind::Counter) {
            self.cells.reset(index);
        }
    }

    /// Names without tags, and the tags, by index; computed once.
    pub(crate) fn extracted(&self, settings: &super::Settings) -> &[Extracted] {
        self.extracted.get_or_init(|| {
            (0..self.names.len())
                .map(|i| settings.extract(&join(&self.prefix, &self.names.get(i).0)))
                .collect()
        })
    }

    fn distribution(&self, (offset, bounds): &(usize, Arc<[f64]>)) -> Distribution {
        let counts = (0..=bounds.len()).map(|i| self.cells.sum(offset + 1 + i)).collect();
        Distribution { bounds: bounds.clone(), counts, sum: self.cells.sum(*offset) }
    }
}

/// What a group is made of.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) prefix: Arc<str>,
    pub(crate) names: Names,
    pub(crate) labels: Labels,
}

fn join(prefix: &str, name: &str) -> String {
    [prefix, name].concat()
}

/// A counter of a group.
#[derive(Clone, Copy, Debug)]
pub struct Counter<'a> {
    cells: &'a Cells,
    index: usize,
}

impl Counter<'_> {
    /// Adds one.
    pub fn inc(self) {
        self.cells.add(self.index, 1);
    }

    /// Adds `amount`.
    pub fn add(self, amount: u64) {
        self.cells.add(self.index, amount);
    }

    /// The sum over all workers.
    pub fn value(self) -> u64 {
        self.cells.sum(self.index)
    }
}

/// A gauge of a group.
#[derive(Clone, Copy, Debug)]
pub struct Gauge<'a> {
    cells: &'a Cells,
    index: usize,
}

impl Gauge<'_> {
    /// Adds one.
    pub fn inc(self) {
        self.cells.add(self.index, 1);
    }

    /// Takes one away; not necessarily on the thread that added it.
    pub fn dec(self) {
        self.cells.add(self.index, u64::MAX);
    }

    /// Adds `amount`, which may be negative.
    pub fn add(self, amount: i64) {
        self.cells.add(self.index, amount as u64);
    }

    /// Sets the gauge; only for gauges that no other thread touches.
    pub fn set(self, value: u64) {
        self.cells.set(self.index, value);
    }

    /// The sum over all workers.
    pub fn value(self) -> i64 {
        self.cells.sum(self.index) as i64
    }
}

/// A histogram of a group.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    cells: &'a Cells,
    layout: Option<&'a (usize, Arc<[f64]>)>,
}

impl Histogram<'_> {
    /// Records a value: milliseconds for durations, bytes for sizes.
    pub fn record(self, value: u64) {
        if let Some((offset, bounds)) = self.layout {
            self.cells.add(*offset, value);
            self.cells.add(offset + 1 + bucket(bounds, value), 1);
        }
    }

    /// Records a duration in milliseconds.
    pub fn record_duration(self, duration: std::time::Duration) {
        self.record(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    /// What was recorded by all workers.
    pub fn value(self) -> Option<Distribution> {
        let (offset, bounds) = self.layout?;
        let counts = (0..=bounds.len()).map(|i| self.cells.sum(offset + 1 + i)).collect();
        Some(Distribution { bounds: bounds.clone(), counts, sum: self.cells.sum(*offset) })
    }
}

macro_rules! owned {
    ($doc:literal $owned:ident $borrowed:ident $method:ident) => {
        #[doc = $doc]
        #[derive(Clone, Debug)]
        pub struct $owned(pub(crate) Arc<Group>);

        impl $owned {
            /// The handle to count with.
            pub fn get(&self) -> $borrowed<'_> {
                self.0.$method(0)
            }
        }
    };
}

owned!("A counter with a name of its own; it disappears with its last clone." OwnedCounter Counter counter);
owned!("A gauge with a name of its own; it disappears with its last clone." OwnedGauge Gauge gauge);
owned!("A histogram with a name of its own; it disappears with its last clone." OwnedHistogram Histogram histogram);
