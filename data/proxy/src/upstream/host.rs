//! Hosts of a cluster and the set of them that is current.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use meltemi_proto::envoy::config::core::v3 as core;

use super::balance::Picker;
use crate::base::address::Address;
use crate::telemetry::istio::peer::Peer;

/// Health as the control plane states it (EDS `health_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Takes traffic.
    #[default]
    Healthy,
    /// Takes traffic when there are not enough healthy ones.
    Degraded,
    /// Takes traffic in a panic only.
    Unhealthy,
    /// Leaving: no new requests, those running may finish.
    Draining,
}

/// Region, zone and sub-zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Sub-zone.
    pub sub_zone: String,
}

/// What is counted of a host; it survives updates of the host set.
#[derive(Debug, Default)]
pub struct HostState {
    /// Requests in flight, over all workers.
    pub active_requests: AtomicU32,
    /// Connections open.
    pub active_connections: AtomicU32,
    /// Connections ever opened.
    pub connections: AtomicU64,
    /// Connections that failed.
    pub connect_failures: AtomicU64,
    /// Requests ever sent.
    pub requests: AtomicU64,
    /// Requests answered without a 5xx.
    pub successes: AtomicU64,
    /// Requests answered with a 5xx or not at all.
    pub errors: AtomicU64,
    /// The host has left its cluster: idle connections to it are closed.
    pub retired: AtomicBool,
}

/// One address of a cluster.
#[derive(Debug)]
pub struct Host {
    /// Unique in the process and kept over updates.
    pub id: u64,
    /// Where it is.
    pub address: Address,
    /// The name it was given (DNS clusters, `auto_host_rewrite`).
    pub hostname: Arc<str>,
    /// Weight within its locality, at least 1.
    pub weight: u32,
    /// As the control plane states it.
    pub health: Health,
    /// Where it runs.
    pub locality: Arc<Locality>,
    /// 0 is used first.
    pub priority: u32,
    /// Endpoint metadata, as sent.
    pub metadata: Option<Arc<core::Metadata>>,
    /// The workload behind it, from Istio's endpoint metadata.
    pub peer: Option<Arc<Peer>>,
    /// Index of the transport socket its metadata matched, see [`super::transport::Transports`].
    pub transport: usize,
    /// Counts.
    pub state: Arc<HostState>,
}

impl Host {
    /// A host at `address`, healthy and of weight 1.
    pub fn new(address: Address) -> Self {
        Self {
            id: next_id(),
            address,
            hostname: "".into(),
            weight: 1,
            health: Health::Healthy,
            locality: Arc::default(),
            priority: 0,
            metadata: None,
            peer: None,
            transport: 0,
            state: Arc::default(),
        }
    }

    /// Whether nothing that routing depends on differs.
    fn is_like(&self, other: &Self) -> bool {
        self.address == other.address
            && self.hostname == other.hostname
            && self.weight == other.weight
            && self.health == other.health
            && self.locality == other.locality
            && self.priority == other.priority
            && self.transport == other.transport
            && self.metadata == other.metadata
    }

    /// Requests in flight.
    pub fn active(&self) -> u32 {
        self.state.active_requests.load(Ordering::Relaxed)
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Counts a request in flight until dropped.
#[derive(Debug)]
pub struct ActiveRequest(Arc<Host>);

impl ActiveRequest {
    /// Begins a request to `host`.
    pub fn begin(host: Arc<Host>) -> Self {
        host.state.active_requests.fetch_add(1, Ordering::Relaxed);
        host.state.requests.fetch_add(1, Ordering::Relaxed);
        Self(host)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.state.active_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The hosts of a cluster at one moment, with everything a pick needs prebuilt.
#[derive(Debug, Default)]
pub struct HostSet {
    /// All hosts, in the order they were sent.
    pub hosts: Vec<Arc<Host>>,
    /// How one of them is chosen.
    pub picker: Picker,
}

/// Carries ids and counts of hosts that stay from the old set over to the new list.
pub fn carry_over(old: &[Arc<Host>], new: Vec<Host>) -> Vec<Arc<Host>> {
    let by_address: hashbrown::HashMap<&Address, &Arc<Host>> = old.iter().map(|h| (&h.address, h)).collect();
    let carried: Vec<Arc<Host>> = new
        .into_iter()
        .map(|mut host| match by_address.get(&host.address) {
            Some(before) if before.is_like(&host) => Arc::clone(before),
            Some(before) => {
                host.state = before.state.clone();
                // Another transport socket must not reuse connections of the former one.
                if before.transport == host.transport {
                    host.id = before.id;
                }
                Arc::new(host)
            }
            None => Arc::new(host),
        })
        .collect();
    retire_leavers(old, &carried);
    carried
}

fn retire_leavers(old: &[Arc<Host>], new: &[Arc<Host>]) {
    let kept: hashbrown::HashSet<&Address> = new.iter().map(|h| &h.address).collect();
    for host in old.iter().filter(|host| !kept.contains(&host.address)) {
        host.state.retired.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Host {
        Host::new(Address::Ip(([10, 0, 0, 1], port).into()))
    }

    #[test]
    fn counts_survive_an_update_and_leavers_are_retired() {
        let old = carry_over(&[], vec![at(1), at(2)]);
        old[0].state.requests.store(5, Ordering::Relaxed);
        let new = carry_over(&old, vec![Host { weight: 3, ..at(1) }]);
        assert_eq!(new[0].state.requests.load(Ordering::Relaxed), 5);
        assert_eq!(new[0].id, old[0].id);
        assert!(old[1].state.retired.load(Ordering::Relaxed));
        let same = carry_over(&new, vec![Host { weight: 3, ..at(1) }]);
        assert!(Arc::ptr_eq(&same[0], &new[0]));
    }
}
