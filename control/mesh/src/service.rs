//! What a host name means: ports, addresses, how its endpoints are found, and who may see it.

use std::collections::BTreeMap;

use crate::export::ExportTo;
use crate::protocol::Protocol;

pub mod allocation;
pub mod entry;
pub mod kubernetes;

/// Names a service for good: its namespace and its host name. Ordered by host name first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The host name, such as `reviews.default.svc.cluster.local`.
    pub hostname: String,
    /// The namespace of the object that declared it.
    pub namespace: String,
}

/// Which kind of object declared a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Origin {
    Kubernetes,
    ServiceEntry,
}

/// How the proxy finds the endpoints of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// The control plane sends them (EDS).
    Endpoints,
    /// The connection goes where the application dialled (headless services, `resolution: NONE`).
    Passthrough,
    /// The proxy resolves names and uses all answers.
    Dns,
    /// The proxy resolves one name and uses the first answer for each new connection.
    DnsRoundRobin,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Name, unique in the service; may be empty when there is only one.
    pub name: String,
    /// The number clients use.
    pub number: u16,
    /// Where the workload listens.
    pub target: TargetPort,
    /// What it speaks.
    pub protocol: Protocol,
    /// The port on every node, when there is one.
    pub node_port: Option<u16>,
}

/// The port of the workload behind a service port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container's port.
    Name(String),
}

/// Which endpoints a service's clients prefer (`trafficDistribution`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Distribution {
    /// None.
    #[default]
    Any,
    /// Those of their zone, then those of their region.
    SameZone,
    /// Those of their node, then those of their zone, then those of their region.
    SameNode,
}

impl Distribution {
    /// The annotation that says the same on Services and ServiceEntries, and goes before the field.
    pub const ANNOTATION: &str = "networking.istio.io/traffic-distribution";

    /// Reads the value of the field or of the annotation; an unknown one prefers nothing.
    pub fn parse(text: &str) -> Distribution {
        match text {
            "PreferClose" | "PreferSameZone" => Distribution::SameZone,
            "PreferSameNode" => Distribution::SameNode,
            _ => Distribution::Any,
        }
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Host name and namespace.
    pub key: ServiceKey,
    /// The name of the object that declared it.
    pub name: String,
    /// The kind of that object.
    pub origin: Origin,
    /// Virtual IPs, or CIDR blocks of a ServiceEntry. Empty when clients see the endpoints themselves.
    pub addresses: Vec<String>,
    /// Virtual IPs for clients whose DNS look-ups are captured, where `addresses` has none.
    pub auto_addresses: Vec<String>,
    /// Ports by number.
    pub ports: Vec<Port>,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// True for `clusterIP: None`: the pods' own addresses are dialled.
    pub headless: bool,
    /// Outside the mesh: no mutual TLS, no identity.
    pub external: bool,
    /// The target of an ExternalName service.
    pub external_name: Option<String>,
    /// Who may see it.
    pub export_to: ExportTo,
    /// The object's labels.
    pub labels: BTreeMap<String, String>,
    /// Labels of the workloads behind it; empty for none.
    pub selector: BTreeMap<String, String>,
    /// Identities a ServiceEntry promises.
    pub subject_alt_names: Vec<String>,
    /// Addresses of load balancers in front of it.
    pub load_balancer_addresses: Vec<String>,
    /// Requests stay on the node of their client (`internalTrafficPolicy: Local`).
    pub node_local: bool,
    /// Whether near endpoints go first.
    pub distribution: Distribution,
    /// RFC 3339; empty sorts as oldest.
    pub created: String,
}

impl Service {
    /// The port of that number.
    pub fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Does the selector choose a workload with these labels? An empty selector chooses none.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty() && crate::labels::contains(labels, &self.selector)
    }

    /// Does it matter to its clients which node they are on?
    pub fn minds_nodes(&self) -> bool {
        self.node_local || self.distribution == Distribution::SameNode
    }

    /// True when the proxy resolves names.
    pub fn is_dns(&self) -> bool {
        matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
    }
}
