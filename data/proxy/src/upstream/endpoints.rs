//! `ClusterLoadAssignment`: the endpoints of a cluster by locality and priority.

use std::sync::Arc;

use hashbrown::HashMap;
use meltemi_proto::envoy::config::core::v3::{HealthStatus, Metadata};
use meltemi_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use meltemi_proto::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use meltemi_proto::envoy::config::endpoint::v3::{LbEndpoint, LocalityLbEndpoints};
use meltemi_proto::google::protobuf::value::Kind;

use super::host::{Health, Host, Locality};
use super::transport::Transports;
use crate::base::address::{Address, Target};
use crate::base::duration::u32_or;
use crate::base::reject::{At, Compiled, Reject, each, required};
use crate::telemetry::istio::peer::Peer;

/// Largest number of endpoints of one cluster.
const MOST_ENDPOINTS: usize = 100_000;

/// One endpoint as assigned, before a name in it is resolved.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// The values its host gets; the address is filled in when it is known.
    host: HostValues,
}

#[derive(Debug, Clone)]
struct HostValues {
    hostname: Arc<str>,
    weight: u32,
    health: Health,
    locality: Arc<Locality>,
    priority: u32,
    metadata: Option<Arc<Metadata>>,
}

/// The compiled assignment.
#[derive(Debug, Clone, Default)]
pub struct Assignment {
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Weights of localities by priority.
    pub locality_weights: HashMap<(u32, Locality), u32>,
    /// `policy.overprovisioning_factor`.
    pub overprovisioning: Option<u32>,
}

impl Assignment {
    /// Compiles an assignment. Names are allowed where the cluster resolves them.
    pub fn compile(proto: &ClusterLoadAssignment, names_allowed: bool) -> Compiled<Self> {
        let count: usize = proto.endpoints.iter().map(|l| l.lb_endpoints.len()).sum();
        if count > MOST_ENDPOINTS {
            return Err(Reject::new("endpoints", format!("{count} are more than {MOST_ENDPOINTS}")));
        }
        let mut assignment = Self::default();
        for (index, locality) in proto.endpoints.iter().enumerate() {
            assignment.add(locality, names_allowed).at(format_args!("endpoints[{index}]"))?;
        }
        if let Some(policy) = &proto.policy {
            if !policy.drop_overloads.is_empty() {
                return Err(Reject::new("policy.drop_overloads", "is not supported"));
            }
            assignment.overprovisioning = policy.overprovisioning_factor.as_ref().map(|v| v.value);
        }
        Ok(assignment)
    }

    fn add(&mut self, proto: &LocalityLbEndpoints, names_allowed: bool) -> Compiled<()> {
        if proto.priority > 128 {
            return Err(Reject::new("priority", "must not be above 128"));
        }
        let locality = proto.locality.as_ref().map_or_else(Locality::default, |l| Locality {
            region: l.region.clone(),
            zone: l.zone.clone(),
            sub_zone: l.sub_zone.clone(),
        });
        if let Some(weight) = &proto.load_balancing_weight {
            self.locality_weights.insert((proto.priority, locality.clone()), weight.value);
        }
        let locality = Arc::new(locality);
        let endpoints = each("lb_endpoints", &proto.lb_endpoints, |endpoint| {
            Endpoint::compile(endpoint, &locality, proto.priority, names_allowed)
        })?;
        self.endpoints.extend(endpoints);
        Ok(())
    }

    /// The endpoints whose addresses are known, as hosts.
    pub fn hosts(&self, transports: &Transports) -> Vec<Host> {
        self.endpoints
            .iter()
            .filter_map(|endpoint| match &endpoint.target {
                Target::Resolved(address) => Some(endpoint.host(address.clone(), transports)),
                Target::Name(..) => None,
            })
            .collect()
    }

    /// The same assignment with the endpoint of each name replaced by its addresses.
    #[must_use]
    pub fn resolved(&self, addresses: impl Fn(&str) -> Vec<std::net::IpAddr>, first_only: bool) -> Self {
        let mut endpoints = Vec::new();
        for endpoint in &self.endpoints {
            let Target::Name(name, port) = &endpoint.target else {
                endpoints.push(endpoint.clone());
                continue;
            };
            let mut host = endpoint.host.clone();
            if host.hostname.is_empty() {
                host.hostname = name.clone();
            }
            let take = if first_only { 1 } else { usize::MAX };
            endpoints.extend(addresses(name).into_iter().take(take).map(|ip| Endpoint {
                target: Target::Resolved(Address::Ip((ip, *port).into())),
                host: host.clone(),
            }));
        }
        Self { endpoints, ..self.clone() }
    }

    /// The names that have to be resolved.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self
            .endpoints
            .iter()
            .filter_map(|endpoint| match &endpoint.target {
                Target::Name(name, _) => Some(name.clone()),
                Target::Resolved(_) => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Endpoint {
    fn compile(
        proto: &LbEndpoint,
        locality: &Arc<Locality>,
        priority: u32,
        names_allowed: bool,
    ) -> Compiled<Self> {
        let endpoint = match required("host_identifier", &proto.host_identifier)? {
            HostIdentifier::Endpoint(endpoint) => endpoint,
            HostIdentifier::EndpointName(_) => {
                return Err(Reject::new("endpoint_name", "LEDS is not supported"));
            }
        };
        let address = required("address", &endpoint.address).at("endpoint")?;
        let target = Target::compile(address).at("endpoint.address")?;
        if let (Target::Name(name, _), false) = (&target, names_allowed) {
            let reason = format!("{name:?} is not an IP address; only DNS clusters resolve names");
            return Err(Reject::new("endpoint.address.socket_address.address", reason));
        }
        let weight = u32_or(&proto.load_balancing_weight, 1);
        if weight == 0 {
            return Err(Reject::new("load_balancing_weight", "must be at least 1"));
        }
        let host = HostValues {
            hostname: endpoint.hostname.as_str().into(),
            weight,
            health: health(proto.health_status()),
            locality: locality.clone(),
            priority,
            metadata: proto.metadata.clone().map(Arc::new),
        };
        Ok(Self { target, host })
    }

    fn host(&self, address: Address, transports: &Transports) -> Host {
        let values = self.host.clone();
        Host {
            hostname: values.hostname,
            weight: values.weight,
            health: values.health,
            locality: values.locality,
            priority: values.priority,
            transport: transports.choose(values.metadata.as_deref()),
            peer: values.metadata.as_deref().and_then(peer),
            metadata: values.metadata,
            ..Host::new(address)
        }
    }
}

/// The workload behind an endpoint, from Istio's endpoint metadata.
fn peer(metadata: &Metadata) -> Option<Arc<Peer>> {
    match metadata.filter_metadata.get("istio")?.fields.get("workload")?.kind.as_ref()? {
        Kind::StringValue(text) => Some(Arc::new(Peer::of_endpoint(text))),
        _ => None,
    }
}

fn health(status: HealthStatus) -> Health {
    match status {
        HealthStatus::Unknown | HealthStatus::Healthy => Health::Healthy,
        HealthStatus::Degraded => Health::Degraded,
        HealthStatus::Unhealthy | HealthStatus::Timeout => Health::Unhealthy,
        HealthStatus::Draining => Health::Draining,
    }
}
