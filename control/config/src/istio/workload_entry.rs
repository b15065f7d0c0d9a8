//! WorkloadEntry: one address outside Kubernetes that belongs to the mesh.

use std::collections::BTreeMap;

message! {
    /// An endpoint: IP, host name or `unix://` path.
    pub struct WorkloadEntry {
        pub address: String,
        pub ports: BTreeMap<String, u32>,
        pub labels: BTreeMap<String, String>,
        pub network: String,
        pub locality: String,
        pub weight: u32,
        pub service_account: String,
    }
}
