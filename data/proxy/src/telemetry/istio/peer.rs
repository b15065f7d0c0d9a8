//! What one workload tells another of itself.

use std::sync::Arc;

/// The workload at the other end, as Istio's metric labels name it. Empty fields are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The workload, e.g. `productpage-v1`.
    pub workload: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The cluster id, e.g. `Kubernetes`.
    pub cluster: Arc<str>,
    /// `service.istio.io/canonical-name`.
    pub canonical_name: Arc<str>,
    /// `service.istio.io/canonical-revision`.
    pub canonical_revision: Arc<str>,
    /// The `app` label.
    pub app: Arc<str>,
    /// The `version` label.
    pub version: Arc<str>,
}
