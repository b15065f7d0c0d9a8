//! Which mutual TLS a workload demands.

use meltemi_config::Object;
use meltemi_config::istio::PeerAuthentication;
use meltemi_config::istio::peer_authentication::{MutualTls, MutualTlsMode};

use crate::labels::{self, Labels};
use crate::snapshot::Snapshot;

/// What a port accepts, after inheritance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MtlsMode {
    /// Plain text only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// The policies that apply to one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerPolicy {
    /// For ports that no other line names.
    pub default: MtlsMode,
    /// Ports of the workload (not of its services) with a mode of their own.
    pub ports: std::collections::BTreeMap<u16, MtlsMode>,
}

impl PeerPolicy {
    /// The mode of a port of the workload.
    pub fn mode(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.default)
    }
}

/// The mode that holds in a namespace for workloads that no policy selects; `None` when nobody set one.
pub fn namespace_mode(snapshot: &Snapshot, namespace: &str) -> Option<MtlsMode> {
    let root = snapshot.settings.root_namespace();
    let of = |namespace: &str| {
        let all = snapshot.peer_authentications.of(namespace);
        let whole = all.filter(|policy| selector(policy).is_none());
        let oldest = whole.min_by(|a, b| age(a).cmp(&age(b)));
        oldest.and_then(|policy| mode(policy.spec.mtls))
    };
    of(namespace).or_else(|| if namespace == root { None } else { of(root) })
}

/// The policy of a workload: its own, then its namespace's, then the mesh's, then PERMISSIVE.
pub fn effective(snapshot: &Snapshot, namespace: &str, workload: &Labels) -> PeerPolicy {
    let inherited = namespace_mode(snapshot, namespace).unwrap_or(MtlsMode::Permissive);
    let selecting = snapshot
        .peer_authentications
        .of(namespace)
        .filter(|policy| selector(policy).is_some_and(|selector| labels::contains(workload, selector)));
    let Some(own) = selecting.min_by(|a, b| age(a).cmp(&age(b))) else {
        return PeerPolicy { default: inherited, ports: Default::default() };
    };
    let default = mode(own.spec.mtls).unwrap_or(inherited);
    let ports = own.spec.port_level_mtls.iter();
    let ports = ports
        .filter_map(|(port, mtls)| Some((u16::try_from(*port).ok()?, mode(Some(*mtls)).unwrap_or(default))));
    PeerPolicy { default, ports: ports.collect() }
}

/// The labels a policy selects; `None` when it is for its whole namespace.
pub fn selector(policy: &Object<PeerAuthentication>) -> Option<&Labels> {
    policy.spec.selector.as_ref().map(|s| &s.match_labels).filter(|labels| !labels.is_empty())
}

fn mode(mtls: Option<MutualTls>) -> Option<MtlsMode> {
    match mtls?.mode {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Disable => Some(MtlsMode::Disable),
        MutualTlsMode::Permissive => Some(MtlsMode::Permissive),
        MutualTlsMode::Strict => Some(MtlsMode::Strict),
    }
}

fn age(policy: &Object<PeerAuthentication>) -> (&str, &str) {
    (&policy.meta.creation_timestamp, &policy.meta.name)
}
