//! Series of the standard metrics: one set a combination of labels, found by each worker in a table of its own.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use parking_lot::Mutex;

use super::peer::Peer;
use crate::telemetry::info::ClusterTags;
use crate::telemetry::stats::group::{Kind, Labels};
use crate::telemetry::stats::{Group, Registry};

/// A standard metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Metric {
    Requests,
    Duration,
    RequestBytes,
    ResponseBytes,
    RequestMessages,
    ResponseMessages,
    TcpSent,
    TcpReceived,
    TcpOpened,
    TcpClosed,
}

/// Every standard metric: its name in overrides, its full name and what it is.
pub(super) const METRICS: [(Metric, &str, &str, Kind); 10] = [
    (Metric::Requests, "requests_total", "istio_requests_total", Kind::Counter),
    (
        Metric::Duration,
        "request_duration_milliseconds",
        "istio_request_duration_milliseconds",
        Kind::Histogram,
    ),
    (Metric::RequestBytes, "request_bytes", "istio_request_bytes", Kind::Histogram),
    (Metric::ResponseBytes, "response_bytes", "istio_response_bytes", Kind::Histogram),
    (Metric::RequestMessages, "request_messages_total", "istio_request_messages_total", Kind::Counter),
    (Metric::ResponseMessages, "response_messages_total", "istio_response_messages_total", Kind::Counter),
    (Metric::TcpSent, "tcp_sent_bytes_total", "istio_tcp_sent_bytes_total", Kind::Counter),
    (Metric::TcpReceived, "tcp_received_bytes_total", "istio_tcp_received_bytes_total", Kind::Counter),
    (Metric::TcpOpened, "tcp_connections_opened_total", "istio_tcp_connections_opened_total", Kind::Counter),
    (Metric::TcpClosed, "tcp_connections_closed_total", "istio_tcp_connections_closed_total", Kind::Counter),
];

/// The series of one combination of labels; a dropped metric has none.
#[derive(Debug, Default)]
pub(super) struct Series {
    groups: [Option<Arc<Group>>; METRICS.len()],
}

impl Series {
    pub(super) fn count(&self, metric: Metric, amount: u64) {
        if let Some(group) = self.group(metric) {
            group.counter(0).add(amount);
        }
    }

    pub(super) fn record(&self, metric: Metric, value: u64) {
        if let Some(group) = self.group(metric) {
            group.histogram(0).record(value);
        }
    }

    pub(super) fn set(&mut self, metric: Metric, group: Arc<Group>) {
        if let Some(slot) = self.groups.get_mut(metric as usize) {
            *slot = Some(group);
        }
    }

    fn group(&self, metric: Metric) -> Option<&Group> {
        self.groups.get(metric as usize)?.as_deref()
    }
}

/// All series of a process. They outlive the listeners that counted them, so that a counter never goes backwards when
/// configuration changes; their number is bounded instead.
#[derive(Clone, Debug)]
pub struct SeriesStore(Arc<Store>);

#[derive(Debug)]
struct Store {
    registry: Registry,
    limit: usize,
    all: Mutex<HashMap<(Metric, Labels), Arc<Group>>>,
    fixed: Mutex<Vec<Arc<Group>>>,
}

impl SeriesStore {
    /// At most this many series by default, over all metrics.
    pub const LIMIT: usize = 20_000;

    /// A store whose series `registry` shows.
    pub fn new(registry: Registry, limit: usize) -> Self {
        SeriesStore(Arc::new(Store { registry, limit, all: Mutex::default(), fixed: Mutex::default() }))
    }

    /// The series with these labels. When there are too many, labels that clients can make up become `other`.
    pub(super) fn get(&self, metric: Metric, labels: Vec<(String, String)>) -> Option<Arc<Group>> {
        let (_, _, name, kind) = METRICS.iter().find(|(known, ..)| *known == metric)?;
        let labels: Labels = labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut all = self.0.all.lock();
        let key = (metric, labels);
        if let Some(group) = all.get(&key) {
            return Some(group.clone());
        }
        let key = if all.len() < self.0.limit { key } else { (metric, overflow(key.1)) };
        let make = || self.0.registry.series(name, *kind, key.1.clone());
        Some(all.entry(key.clone()).or_insert_with(make).clone())
    }

    /// Shows `istio_build{component="proxy",tag=…} 1`.
    pub(super) fn build_info(&self, tag: &str) {
        let labels = vec![("component".into(), "proxy".into()), ("tag".into(), tag.into())];
        let group = self.0.registry.series("istio_build", Kind::Gauge, labels);
        group.gauge(0).set(1);
        let mut fixed = self.0.fixed.lock();
        if !fixed.iter().any(|known| Arc::ptr_eq(known, &group)) {
            fixed.push(group);
        }
    }
}

fn overflow(labels: Labels) -> Labels {
    // None that a client can make up.
    const KEPT: [&str; 4] = ["reporter", "request_protocol", "response_code", "connection_security_policy"];
    let other: Arc<str> = "other".into();
    let keep = |name: &Arc<str>| KEPT.contains(&name.as_ref());
    labels
        .into_iter()
        .map(|(name, value)| if keep(&name) { (name, value) } else { (name, other.clone()) })
        .collect()
}

/// What decides which series a request belongs to, without making a label of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe<'a> {
    pub(super) stats: u64,
    pub(super) cluster: Option<&'a Arc<ClusterTags>>,
    pub(super) host: &'a str,
    pub(super) service: &'a str,
    pub(super) downstream: Option<&'a Arc<Peer>>,
    pub(super) upstream: Option<&'a Arc<Peer>>,
    pub(super) principals: (Option<&'a Arc<str>>, Option<&'a Arc<str>>),
    pub(super) outcome: Outcome,
    pub(super) values: &'a [String],
}

/// The part of the key that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outcome {
    pub(super) code: u16,
    pub(super) flags: u32,
    pub(super) grpc: Option<Option<u32>>,
    pub(super) tcp: bool,
}

/// A [`Probe`] that was answered before. It keeps what it compares by address alive, so no address is ever reused under it.
#[derive(Debug)]
struct Known {
    stats: u64,
    cluster: Option<Arc<ClusterTags>>,
    host: Box<str>,
    service: Box<str>,
    downstream: Option<Arc<Peer>>,
    upstream: Option<Arc<Peer>>,
    principals: (Option<Arc<str>>, Option<Arc<str>>),
    outcome: Outcome,
    values: Box<[String]>,
    hash: u64,
    series: Arc<Series>,
}

/// How many combinations a worker remembers before it starts afresh.
const REMEMBERED: usize = 4096;

thread_local! {
    static KNOWN: RefCell<HashTable<Known>> = const { RefCell::new(HashTable::new()) };
}

impl Probe<'_> {
    /// Gives `act` the series, from this worker's table or made by `make`.
    pub(super) fn with<R>(&self, make: impl FnOnce() -> Series, act: impl FnOnce(&Arc<Series>) -> R) -> R {
        let hash = self.hash();
        KNOWN.with_borrow_mut(|table| {
            if let Some(known) = table.find(hash, |known| self.is(known)) {
                return act(&known.series);
            }
            if table.len() >= REMEMBERED {
                table.clear();
            }
            let series = Arc::new(make());
            table.insert_unique(hash, self.remember(hash, series.clone()), |known| known.hash);
            act(&series)
        })
    }

    fn hash(&self) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        self.stats.hash(&mut hasher);
        self.outcome.hash(&mut hasher);
        address(self.cluster).hash(&mut hasher);
        address(self.downstream).hash(&mut hasher);
        address(self.upstream).hash(&mut hasher);
        self.host.hash(&mut hasher);
        self.principals.hash(&mut hasher);
        self.values.hash(&mut hasher);
        hasher.finish()
    }

    fn is(&self, known: &Known) -> bool {
        self.stats == known.stats
            && self.outcome == known.outcome
            && address(self.cluster) == address(known.cluster.as_ref())
            && address(self.downstream) == address(known.downstream.as_ref())
            && address(self.upstream) == address(known.upstream.as_ref())
            && self.host == &*known.host
            && self.service == &*known.service
            && self.principals.0 == known.principals.0.as_ref()
            && self.principals.1 == known.principals.1.as_ref()
            && *self.values == *known.values
    }

    fn remember(&self, hash: u64, series: Arc<Series>) -> Known {
        Known {
            stats: self.stats,
            cluster: self.cluster.cloned(),
            host: self.host.into(),
            service: self.service.into(),
            downstream: self.downstream.cloned(),
            upstream: self.upstream.cloned(),
            principals: (self.principals.0.cloned(), self.principals.1.cloned()),
            outcome: self.outcome,
            values: self.values.into(),
            hash,
            series,
        }
    }
}

fn address<T>(value: Option<&Arc<T>>) -> usize {
    value.map_or(0, |value| Arc::as_ptr(value).addr())
}
