//! ServiceEntry: a service that is not in Kubernetes.

use crate::istio::WorkloadEntry;
use crate::istio::selector::LabelsSelector;

message! {
    /// A service by hosts, with its endpoints.
    pub struct ServiceEntry {
        pub hosts: Vec<String>,
        pub addresses: Vec<String>,
        pub ports: Vec<ServicePort>,
        pub location: Location,
        pub resolution: Resolution,
        pub endpoints: Vec<WorkloadEntry>,
        pub workload_selector: Option<LabelsSelector>,
        pub export_to: Vec<String>,
        pub subject_alt_names: Vec<String>,
    }

    /// A port of the service.
    pub struct ServicePort {
        pub number: u32,
        pub protocol: String,
        pub name: String,
        /// 0 means the same as `number`.
        pub target_port: u32,
    }
}

enumeration! {
    /// Whether the service is inside the mesh, so that mutual TLS is used.
    pub enum Location {
        #[default]
        MeshExternal,
        MeshInternal,
    }

    /// How addresses are found.
    pub enum Resolution {
        #[default]
        None,
        Static,
        Dns,
        DnsRoundRobin,
        DynamicDns,
    }
}
