//! Names of DNS clusters: resolved on the control thread, again and again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Cluster;
use super::cluster::Discovery;

/// What a DNS cluster asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsTarget {
    /// Time between look-ups.
    pub rate: Duration,
    /// Which addresses are wanted.
    pub family: Family,
}

/// `dns_lookup_family`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// IPv6, unless there is none.
    Auto,
    /// IPv4, unless there is none.
    V4Preferred,
    /// Both.
    All,
}

impl Family {
    /// The addresses wanted, of those found.
    pub fn select(self, mut found: Vec<IpAddr>) -> Vec<IpAddr> {
        let any_v4 = found.iter().any(IpAddr::is_ipv4);
        let any_v6 = found.iter().any(IpAddr::is_ipv6);
        match self {
            Self::V4 => found.retain(IpAddr::is_ipv4),
            Self::V6 => found.retain(IpAddr::is_ipv6),
            Self::Auto if any_v6 => found.retain(IpAddr::is_ipv6),
            Self::V4Preferred if any_v4 => found.retain(IpAddr::is_ipv4),
            _ => {}
        }
        let mut seen = hashbrown::HashSet::new();
        found.retain(|ip| seen.insert(*ip));
        found
    }
}

/// Looks names up. The real one asks the system; tests bring a table.
#[async_trait::async_trait]
pub trait Lookup: Send + Sync + std::fmt::Debug {
    /// All addresses of a name.
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The system's resolver (`/etc/hosts`, `/etc/resolv.conf` with its search list).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

#[async_trait::async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|addr| addr.ip()).collect())
    }
}

/// Shortest time between look-ups while a name cannot be resolved.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps a cluster's hosts up to date until `stop`; calls `first` after the first round, whatever its outcome.
pub async fn watch(
    cluster: Arc<Cluster>,
    lookup: Arc<dyn Lookup>,
    stop: CancellationToken,
    first: impl FnOnce(),
) {
    let (target, first_only) = match &cluster.discovery {
        Discovery::StrictDns(target) => (target.clone(), false),
        Discovery::LogicalDns(target) => (target.clone(), true),
        _ => return first(),
    };
    let mut first = Some(first);
    let mut known: HashMap<Arc<str>, Vec<IpAddr>> = HashMap::new();
    loop {
        let complete = tokio::select! {
            () = stop.cancelled() => return,
            complete = refresh(&cluster, &target, first_only, lookup.as_ref(), &mut known) => complete,
        };
        if let Some(first) = first.take() {
            first();
        }
        let pause = if complete { target.rate } else { RETRY.min(target.rate) };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One round; a name that fails keeps the addresses it had. Returns whether every name was resolved.
async fn refresh(
    cluster: &Cluster,
    target: &DnsTarget,
    first_only: bool,
    lookup: &dyn Lookup,
    known: &mut HashMap<Arc<str>, Vec<IpAddr>>,
) -> bool {
    let (mut changed, mut complete) = (known.is_empty(), true);
    for name in cluster.inline.names() {
        cluster.stats.update_attempt().inc();
        match lookup.lookup(&name).await.map(|found| target.family.select(found)) {
            Ok(mut addresses) if !addresses.is_empty() => {
                cluster.stats.update_success().inc();
                if !first_only {
                    addresses.sort();
                }
                changed |= known.get(&name) != Some(&addresses);
                known.insert(name, addresses);
            }
            outcome => {
                cluster.stats.update_failure().inc();
                complete = false;
                debug!(cluster = %cluster.name, %name, ?outcome, "name is not resolved");
            }
        }
    }
    if changed {
        cluster.set_hosts(
            cluster.inline.resolved(|name| known.get(name).cloned().unwrap_or_default(), first_only),
        );
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_select_addresses() {
        let found: Vec<IpAddr> =
            ["::1", "127.0.0.1", "127.0.0.1"].iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(Family::V4.select(found.clone()).len(), 1);
        assert_eq!(Family::All.select(found.clone()).len(), 2);
        assert!(Family::Auto.select(found.clone())[0].is_ipv6());
        assert!(Family::V4Preferred.select(found)[0].is_ipv4());
    }
}
