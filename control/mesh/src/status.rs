//! What the control plane can say of an object besides that it is valid: what it names and nobody has.

use std::fmt;

use crate::destination_rule::Client;
use crate::labels::Labels;
use crate::snapshot::Snapshot;
use crate::virtual_service::{MESH_GATEWAY, VirtualService};

/// Something that an object names and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// No service has this host name, or it is not visible to the object's namespace.
    Host {
        /// Complete host name.
        hostname: String,
    },
    /// No DestinationRule of the host has this subset.
    Subset {
        /// Complete host name.
        hostname: String,
        /// Name of the subset.
        subset: String,
    },
    /// The service has no such port.
    Port {
        /// Complete host name.
        hostname: String,
        /// Number of the port.
        port: u32,
    },
    /// No such Gateway.
    Gateway {
        /// `namespace/name`.
        gateway: String,
    },
}

impl Missing {
    /// The reason of a status condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Missing::Host { .. } => "HostNotFound",
            Missing::Subset { .. } => "SubsetNotFound",
            Missing::Port { .. } => "PortNotFound",
            Missing::Gateway { .. } => "GatewayNotFound",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Host { hostname } => write!(
                f,
                "no service has the host {hostname}; requests routed there get 503. Create the Service or ServiceEntry, or correct the host"
            ),
            Missing::Subset { hostname, subset } => write!(
                f,
                "no DestinationRule for {hostname} has a subset {subset}; requests routed there get 503. Add the subset to a DestinationRule of that host"
            ),
            Missing::Port { hostname, port } => write!(
                f,
                "{hostname} has no port {port}; requests routed there get 503. Use one of the service's own ports"
            ),
            Missing::Gateway { gateway } => {
                write!(
                    f,
                    "no Gateway {gateway}; the routes for it are not used. Create it, or correct the name"
                )
            }
        }
    }
}

/// What a VirtualService names and nobody has, in a fixed order.
pub fn of_virtual_service(snapshot: &Snapshot, vs: &VirtualService) -> Vec<Missing> {
    let namespace = vs.namespace();
    let mut missing = Vec::new();
    let labels = Labels::new();
    let client = Client { namespace, labels: &labels, root_namespace: snapshot.settings.root_namespace() };
    for (hostname, destination) in vs.destinations(&snapshot.settings.domain) {
        let Some(service) = snapshot.service(&hostname, namespace) else {
            missing.push(Missing::Host { hostname });
            continue;
        };
        let port = destination.port.as_ref().map_or(0, |p| p.number);
        if port != 0 && !service.ports.iter().any(|p| u32::from(p.number) == port) {
            missing.push(Missing::Port { hostname: hostname.clone(), port });
        }
        let rule = snapshot.destination_rules.find(&client, &hostname, &service.key.namespace);
        if !destination.subset.is_empty() && rule.and_then(|r| r.subset(&destination.subset)).is_none() {
            missing.push(Missing::Subset { hostname, subset: destination.subset.clone() });
        }
    }
    for gateway in vs.gateways.iter().filter(|g| *g != MESH_GATEWAY) {
        let exists =
            gateway.split_once('/').is_some_and(|(ns, name)| snapshot.gateways.get(ns, name).is_some());
        if !exists {
            missing.push(Missing::Gateway { gateway: gateway.clone() });
        }
    }
    missing.sort();
    missing.dedup();
    missing
}
