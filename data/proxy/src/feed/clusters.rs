//! Clusters: compiled, warmed (endpoints assigned, names resolved once), then put into their cells.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use meltemi_proto::envoy::config::cluster::v3::Cluster as Proto;
use meltemi_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use meltemi_proto::type_url;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::registry::Registry;
use super::{SharedFeed, settle};
use crate::base::reject::{Compiled, Reject};
use crate::base::slot::{Slot, Slots};
use crate::telemetry::stats::tables::ClusterManagerStats;
use crate::upstream::Cluster;
use crate::upstream::cluster::Discovery;
use crate::upstream::compile::{self, Deps};
use crate::upstream::endpoints::Assignment;
use crate::upstream::resolve::{Lookup, watch};

/// The clusters in force, for the admin interface.
pub type ActiveClusters = Arc<Mutex<BTreeMap<Arc<str>, Arc<Cluster>>>>;

/// All clusters.
pub struct Clusters {
    deps: Deps,
    cells: Arc<Slots<Cluster>>,
    lookup: Arc<dyn Lookup>,
    entries: BTreeMap<Arc<str>, Entry>,
    /// The last assignment of each EDS name: a changed cluster starts with it.
    assignments: BTreeMap<Arc<str>, Assignment>,
    active: ActiveClusters,
    stats: ClusterManagerStats,
}

struct Entry {
    slot: Arc<Slot<Cluster>>,
    body: Bytes,
    is_static: bool,
    active: Option<Live>,
    warming: Option<Live>,
}

/// A cluster with what keeps it up to date.
struct Live {
    cluster: Arc<Cluster>,
    ready: Rc<Cell<bool>>,
    _resolving: Option<DropGuard>,
}

impl Clusters {
    pub(super) fn new(
        deps: Deps,
        cells: Arc<Slots<Cluster>>,
        lookup: Arc<dyn Lookup>,
        stats: ClusterManagerStats,
    ) -> Self {
        Self {
            deps,
            cells,
            lookup,
            entries: BTreeMap::new(),
            assignments: BTreeMap::new(),
            active: ActiveClusters::default(),
            stats,
        }
    }

    /// The clusters in force.
    pub fn active(&self) -> ActiveClusters {
        self.active.clone()
    }

    pub(super) fn stats(&self) -> &ClusterManagerStats {
        &self.stats
    }

    /// How many wait for their hosts.
    pub fn warming(&self) -> usize {
        self.entries.values().filter(|entry| entry.warming.is_some()).count()
    }

    /// The EDS names wanted.
    pub(super) fn endpoint_names(&self) -> BTreeSet<Arc<str>> {
        let lives = self.entries.values().flat_map(|entry| entry.active.iter().chain(&entry.warming));
        lives
            .filter_map(|live| match &live.cluster.discovery {
                Discovery::Eds { service } => Some(service.clone()),
                _ => None,
            })
            .collect()
    }

    /// Takes a cluster in; false when nothing changed.
    pub(super) fn upsert(
        &mut self,
        proto: &Proto,
        body: Bytes,
        is_static: bool,
        feed: &SharedFeed,
    ) -> Compiled<bool> {
        let before = self.entries.get(proto.name.as_str());
        if let Some(before) = before {
            if before.is_static && !is_static {
                return Err(Reject::new("name", "a cluster of the bootstrap cannot be replaced"));
            }
            if before.body == body {
                return Ok(false);
            }
        }
        let cluster = Arc::new(compile::compile(proto, !is_static, &self.deps)?);
        let live = self.bring_up(cluster, feed);
        let changed = before.is_some();
        let entry = self.entries.entry(live.cluster.name.clone()).or_insert_with(|| Entry {
            slot: self.cells.slot(&proto.name),
            body: Bytes::new(),
            is_static,
            active: None,
            warming: None,
        });
        entry.body = body;
        entry.warming = Some(live);
        if changed {
            self.stats.cluster_modified().inc()
        } else {
            self.stats.cluster_added().inc()
        }
        Ok(true)
    }

    fn bring_up(&self, cluster: Arc<Cluster>, feed: &SharedFeed) -> Live {
        let ready = Rc::new(Cell::new(false));
        let mut resolving = None;
        match &cluster.discovery {
            Discovery::Static | Discovery::OriginalDst { .. } => ready.set(true),
            Discovery::Eds { service } => {
                if let Some(assignment) = self.assignments.get(service) {
                    cluster.set_hosts(assignment.clone());
                    ready.set(true);
                }
            }
            Discovery::StrictDns(_) | Discovery::LogicalDns(_) => {
                let stop = CancellationToken::new();
                resolving = Some(stop.clone().drop_guard());
                let (ready, feed) = (ready.clone(), feed.clone());
                let first = move || {
                    ready.set(true);
                    settle(&feed);
                };
                tokio::task::spawn_local(watch(cluster.clone(), self.lookup.clone(), stop, first));
            }
        }
        Live { cluster, ready, _resolving: resolving }
    }

    /// Removes a cluster of CDS.
    pub(super) fn remove(&mut self, name: &str) {
        if self.entries.get(name).is_none_or(|entry| entry.is_static) {
            return;
        }
        if let Some(entry) = self.entries.remove(name) {
            entry.slot.set(None);
            entry.active.iter().for_each(retire);
            self.active.lock().remove(name);
            self.stats.cluster_removed().inc();
        }
    }

    /// Takes the endpoints of an EDS name in.
    pub(super) fn assign(&mut self, proto: &ClusterLoadAssignment) -> Compiled<()> {
        let assignment = Assignment::compile(proto, false)?;
        let name: Arc<str> = proto.cluster_name.as_str().into();
        for entry in self.entries.values() {
            for live in entry.active.iter().chain(&entry.warming) {
                if matches!(&live.cluster.discovery, Discovery::Eds { service } if *service == name) {
                    live.cluster.stats.update_attempt().inc();
                    live.cluster.stats.update_success().inc();
                    live.cluster.set_hosts(assignment.clone());
                    live.ready.set(true);
                }
            }
        }
        self.assignments.insert(name, assignment);
        Ok(())
    }

    /// There are no endpoints of that name: who waits for them has none, who has some keeps them.
    pub(super) fn not_there(&mut self, name: &str) {
        for live in self.entries.values().filter_map(|entry| entry.warming.as_ref()) {
            if matches!(&live.cluster.discovery, Discovery::Eds { service } if &**service == name) {
                live.ready.set(true);
            }
        }
    }

    /// Puts every cluster that is ready into force. `patient` waits for secrets as well.
    pub(super) fn activate(&mut self, registry: &Registry, patient: bool) {
        for (name, entry) in &mut self.entries {
            let ready = |live: &Live| live.ready.get() && (!patient || live.cluster.has_secrets());
            if !entry.warming.as_ref().is_some_and(ready) {
                continue;
            }
            let Some(live) = entry.warming.take() else { continue };
            entry.slot.set(Some(live.cluster.clone()));
            self.active.lock().insert(name.clone(), live.cluster.clone());
            if let Some(old) = entry.active.replace(live) {
                retire(&old);
                self.stats.cluster_updated().inc();
            }
            registry.activate(type_url::CLUSTER, name);
        }
        let warming = self.warming();
        self.stats.warming_clusters().set(warming as u64);
        self.stats.active_clusters().set((self.entries.len() - warming) as u64);
        let wanted = self.endpoint_names();
        self.assignments.retain(|name, _| wanted.contains(name));
    }
}

fn retire(live: &Live) {
    live.cluster.retired.store(true, Ordering::Relaxed);
}
