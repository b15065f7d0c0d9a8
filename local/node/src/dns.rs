//! The cluster's DNS: names of services and pods are answered from the API's state, all others by the host's resolvers.

pub mod server;
pub mod upstream;
pub mod zone;

/// The cluster's domain.
pub const DOMAIN: &str = "cluster.local";

/// A pod's resolv.conf, as kubelets write it.
pub fn resolv_conf(namespace: &str) -> String {
    format!(
        "search {namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\nnameserver {}\noptions ndots:5\n",
        crate::net::DNS_IP
    )
}
