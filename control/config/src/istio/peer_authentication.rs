//! PeerAuthentication: which mutual TLS a workload demands.

use std::collections::BTreeMap;

use crate::istio::selector::WorkloadSelector;

message! {
    /// Mutual TLS of the mesh (root namespace), a namespace or selected workloads.
    pub struct PeerAuthentication {
        pub selector: Option<WorkloadSelector>,
        pub mtls: Option<MutualTls>,
        pub port_level_mtls: BTreeMap<u32, MutualTls>,
    }

    /// A mode; unset inherits from the level above.
    #[derive(Copy)]
    pub struct MutualTls {
        pub mode: MutualTlsMode,
    }
}

enumeration! {
    /// Mutual TLS on inbound connections.
    pub enum MutualTlsMode {
        #[default]
        Unset,
        Disable,
        Permissive,
        Strict,
    }
}
