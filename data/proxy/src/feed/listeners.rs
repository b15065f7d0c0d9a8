//! Listeners: compiled, bound, warmed (routes and secrets there), then put into the table that the workers read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meltemi_proto::envoy::config::core::v3::TrafficDirection;
use meltemi_proto::envoy::config::listener::v3::Listener as Proto;
use meltemi_proto::type_url;
use parking_lot::Mutex;

use super::registry::Registry;
use crate::base::address::Address;
use crate::base::reject::{Compiled, Reject};
use crate::filters::Deps;
use crate::listener::Listener;
use crate::listener::chain::FilterChain;
use crate::listener::compile::{Previous, compile};
use crate::listener::table::{SharedTable, Table};
use crate::listener::worker::{Bound, Closed, Workers};
use crate::tcp::Terminal;
use crate::telemetry::stats::tables::ListenerManagerStats;

/// Names and addresses of the listeners in force, for the admin interface.
pub type ActiveListeners = Arc<Mutex<BTreeMap<Arc<str>, Vec<Address>>>>;

/// All listeners.
pub struct Listeners {
    workers: Workers,
    table: SharedTable,
    drain_time: Duration,
    entries: BTreeMap<Arc<str>, Entry>,
    active: ActiveListeners,
    stats: ListenerManagerStats,
}

struct Entry {
    body: Bytes,
    is_static: bool,
    active: Option<Live>,
    warming: Option<Live>,
}

struct Live {
    proto: Arc<Proto>,
    value: Arc<Listener>,
    /// Where it is reached: as configured, with ports the system chose.
    addresses: Vec<Address>,
    /// Sockets that are not served yet.
    bound: Vec<Bound>,
}

impl Listeners {
    pub(super) fn new(
        workers: Workers,
        table: SharedTable,
        drain_time: Duration,
        stats: ListenerManagerStats,
    ) -> Self {
        let active = ActiveListeners::default();
        stats.workers_started().set(1);
        Self { workers, table, drain_time, entries: BTreeMap::new(), active, stats }
    }

    /// The listeners in force.
    pub fn active(&self) -> ActiveListeners {
        self.active.clone()
    }

    pub(super) fn stats(&self) -> &ListenerManagerStats {
        &self.stats
    }

    /// How many wait for something.
    pub fn warming(&self) -> usize {
        self.entries.values().filter(|entry| entry.warming.is_some()).count()
    }

    /// The route configurations wanted.
    pub(super) fn route_names(&self) -> BTreeSet<Arc<str>> {
        let lives = self.entries.values().flat_map(|entry| entry.active.iter().chain(&entry.warming));
        let chains = lives.flat_map(|live| live.value.all_chains());
        chains
            .filter_map(|chain| match &chain.network.terminal {
                Terminal::Http(hcm) if hcm.routes.discovered => Some(hcm.routes.table.name().clone()),
                _ => None,
            })
            .collect()
    }

    /// Takes a listener in; false when nothing changed.
    pub(super) fn upsert(
        &mut self,
        proto: Proto,
        body: Bytes,
        is_static: bool,
        deps: &Deps,
    ) -> Compiled<bool> {
        let name: Arc<str> = proto.name.as_str().into();
        let before = self.entries.get(&name);
        if let Some(before) = before {
            if before.is_static && !is_static {
                return Err(Reject::new("name", "a listener of the bootstrap cannot be replaced"));
            }
            if before.body == body {
                return Ok(false);
            }
        }
        let known = before.and_then(|entry| entry.active.as_ref().or(entry.warming.as_ref()));
        let previous = known.map(|live| Previous { proto: &live.proto, value: &live.value });
        let value = compile(&proto, previous, deps)?;
        let name = if proto.name.is_empty() { value.name.clone() } else { name };
        let live = self.place(&name, Arc::new(proto), Arc::new(value))?;
        let changed = self.entries.contains_key(&name);
        let entry = self.entries.entry(name).or_insert_with(|| Entry {
            body: Bytes::new(),
            is_static,
            active: None,
            warming: None,
        });
        entry.body = body;
        entry.warming = Some(live);
        if changed {
            self.stats.listener_modified().inc()
        } else {
            self.stats.listener_added().inc()
        }
        Ok(true)
    }

    /// Binds the sockets of a listener, but those that its last version already has.
    fn place(&mut self, name: &Arc<str>, proto: Arc<Proto>, value: Arc<Listener>) -> Compiled<Live> {
        let entry = self.entries.get_mut(name);
        let alike = |live: &Live| live.value.bind == value.bind && live.value.options == value.options;
        let twin = |live: &Live| live.value.addresses == value.addresses && alike(live);
        if let Some(entry) = entry {
            // A version that never came into force hands its sockets over.
            if let Some(warming) = entry.warming.take_if(|live| twin(live)) {
                return Ok(Live { proto, value, ..warming });
            }
            if let Some(active) = entry.active.as_ref().filter(|live| twin(live)) {
                let addresses = active.addresses.clone();
                return Ok(Live { proto, value, addresses, bound: Vec::new() });
            }
        }
        self.check_free(name, &value)?;
        if !value.bind {
            let addresses = value.addresses.clone();
            return Ok(Live { proto, value, addresses, bound: Vec::new() });
        }
        let active = self.entries.get(name).and_then(|entry| entry.active.as_ref());
        let kept = |address: &Address| active.is_some_and(|l| alike(l) && l.addresses.contains(address));
        let (mut addresses, mut bound) = (Vec::new(), Vec::new());
        for address in &value.addresses {
            if kept(address) {
                addresses.push(address.clone());
                continue;
            }
            let sockets = self.workers.bind(address, value.options).map_err(|error| {
                self.stats.listener_create_failure().inc();
                Reject::new("address", format!("cannot listen on {address}: {error}"))
            })?;
            addresses.push(sockets.address.clone());
            bound.push(sockets);
        }
        self.stats.listener_create_success().add(bound.len() as u64);
        Ok(Live { proto, value, addresses, bound })
    }

    fn check_free(&self, name: &Arc<str>, value: &Listener) -> Compiled<()> {
        for (other, entry) in self.entries.iter().filter(|(other, _)| *other != name) {
            let lives = entry.active.iter().chain(&entry.warming);
            let mut taken = lives.flat_map(|live| &live.addresses);
            if let Some(address) = taken.find(|a| value.addresses.contains(a) && !a.is_any_port()) {
                return Err(Reject::new("address", format!("{address} belongs to listener {other:?}")));
            }
        }
        Ok(())
    }

    /// Removes a listener of LDS: its sockets close, its connections drain.
    pub(super) fn remove(&mut self, name: &str) {
        if self.entries.get(name).is_none_or(|entry| entry.is_static) {
            return;
        }
        if let Some(entry) = self.entries.remove(name) {
            self.stats.listener_removed().inc();
            if let Some(live) = entry.active {
                self.unbind(&live);
                self.publish();
                self.drain(live.value.all_chains().cloned().collect());
            }
        }
    }

    /// Puts every listener that is ready into force. `patient` waits for secrets as well; without it a filter chain whose
    /// secret is missing refuses its own clients only.
    pub(super) fn activate(&mut self, registry: &Registry, patient: bool) {
        let ready: Vec<Arc<str>> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.warming.as_ref().is_some_and(|live| live.value.is_ready(patient)))
            .map(|(name, _)| name.clone())
            .collect();
        let mut replaced = Vec::new();
        let mut bound = Vec::new();
        for name in &ready {
            let Some(entry) = self.entries.get_mut(name) else { continue };
            let Some(mut live) = entry.warming.take() else { continue };
            bound.append(&mut live.bound);
            replaced.extend(entry.active.replace(live));
            registry.activate(type_url::LISTENER, name);
        }
        if !ready.is_empty() {
            self.publish();
        }
        // The table knows the addresses before the first connection can come.
        for sockets in bound {
            self.workers.serve(sockets);
        }
        self.retire(replaced);
        let warming = self.warming();
        self.stats.total_listeners_warming().set(warming as u64);
        self.stats.total_listeners_active().set((self.entries.len() - warming) as u64);
    }

    /// Closes what the new versions do not use any more.
    fn retire(&self, replaced: Vec<Live>) {
        for old in replaced {
            let current = self.entries.get(&old.value.name).and_then(|entry| entry.active.as_ref());
            let kept = |address: &Address| current.is_some_and(|live| live.addresses.contains(address));
            if old.value.bind {
                for address in old.addresses.iter().filter(|address| !kept(address)) {
                    self.workers.unbind(address);
                }
            }
            let in_use = |chain: &Arc<FilterChain>| {
                current.is_some_and(|live| live.value.all_chains().any(|c| Arc::ptr_eq(c, chain)))
            };
            self.drain(old.value.all_chains().filter(|chain| !in_use(chain)).cloned().collect());
        }
    }

    fn unbind(&self, live: &Live) -> Closed {
        let mut closed = Closed::default();
        if live.value.bind {
            for address in &live.addresses {
                closed.and(self.workers.unbind(address));
            }
        }
        closed
    }

    /// Lets connections finish, then ends those that did not.
    fn drain(&self, chains: Vec<Arc<FilterChain>>) {
        for chain in &chains {
            chain.drain.start();
        }
        let time = self.drain_time;
        tokio::task::spawn_local(async move {
            tokio::time::sleep(time).await;
            for chain in chains {
                chain.drain.close();
            }
        });
    }

    fn publish(&self) {
        let lives = || self.entries.iter().filter_map(|(name, entry)| Some((name, entry.active.as_ref()?)));
        let entries =
            lives().flat_map(|(_, live)| live.addresses.iter().map(|a| (a.clone(), live.value.clone())));
        self.table.store(Arc::new(Table::new(entries)));
        *self.active.lock() = lives().map(|(name, live)| (name.clone(), live.addresses.clone())).collect();
    }

    /// All filter chains in force, of one direction or of all.
    pub fn chains(&self, inbound_only: bool) -> Vec<Arc<FilterChain>> {
        let lives = self.entries.values().filter_map(|entry| entry.active.as_ref());
        let wanted = lives.filter(|l| !inbound_only || l.value.direction == TrafficDirection::Inbound);
        wanted.flat_map(|live| live.value.all_chains().cloned()).collect()
    }

    /// Closes listening sockets, of one direction or of all.
    pub fn stop_accepting(&mut self, inbound_only: bool) -> Closed {
        let mut closed = Closed::default();
        for entry in self.entries.values() {
            if let Some(live) = &entry.active
                && (!inbound_only || live.value.direction == TrafficDirection::Inbound)
            {
                closed.and(self.unbind(live));
                self.stats.listener_stopped().inc();
            }
        }
        closed
    }
}
