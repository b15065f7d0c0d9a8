//! ProxyConfig: settings of proxies that take effect when a pod starts.

use std::collections::BTreeMap;

use crate::istio::selector::WorkloadSelector;

message! {
    /// Settings of the mesh, a namespace or selected workloads.
    pub struct ProxyConfig {
        pub selector: Option<WorkloadSelector>,
        pub concurrency: Option<i32>,
        pub environment_variables: BTreeMap<String, String>,
        pub image: Option<ProxyImage>,
    }

    /// Which image of the proxy: `default`, `debug` or `distroless`.
    pub struct ProxyImage {
        pub image_type: String,
    }
}
