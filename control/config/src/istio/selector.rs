//! How a policy names the workloads it is for.

use std::collections::BTreeMap;

message! {
    /// By labels, as security, telemetry and extension kinds write it.
    pub struct WorkloadSelector {
        pub match_labels: BTreeMap<String, String>,
    }

    /// By labels, as Sidecar, ServiceEntry and EnvoyFilter write it.
    pub struct LabelsSelector {
        pub labels: BTreeMap<String, String>,
    }

    /// A Gateway, Service, ServiceEntry or GatewayClass that a policy is attached to.
    pub struct PolicyTargetReference {
        pub group: String,
        pub kind: String,
        pub name: String,
        pub namespace: String,
    }
}
