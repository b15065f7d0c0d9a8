//! Services and their endpoints, reduced to what the proxy needs. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};

use crate::net::{API_IP, DNS_IP};

/// A transport protocol that services can have here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// From Kubernetes' name; SCTP is not supported.
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }
}

/// How a client keeps its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// Not at all.
    None,
    /// By its address.
    ClientIp,
}

/// One port of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// `namespace/service:port`, for people.
    pub name: String,
    /// The service's cluster IP.
    pub address: Ipv4Addr,
    /// The protocol.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
    /// The node port, if it has one.
    pub node_port: Option<u16>,
    /// Whether clients stay.
    pub affinity: Affinity,
    /// Where connections go; none means they are refused.
    pub endpoints: Vec<(Ipv4Addr, u16)>,
}

/// All service ports, in a stable order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The ports.
    pub ports: Vec<Port>,
}

/// Builds the table. Services whose address the daemon itself holds (API server, DNS) are left out.
pub fn build<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Table {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let name = slice.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"));
        if let (Some(namespace), Some(name)) = (slice.metadata.namespace.as_deref(), name) {
            by_service.entry((namespace, name)).or_default().push(slice);
        }
    }
    let mut ports = Vec::new();
    for service in services {
        let key = (
            service.metadata.namespace.as_deref().unwrap_or_default(),
            service.metadata.name.as_deref().unwrap_or_default(),
        );
        let slices = by_service.get(&key).map(Vec::as_slice).unwrap_or_default();
        ports.extend(service_ports(service, key, slices));
    }
    ports.sort_by_key(|p| (p.address, p.protocol, p.port));
    Table { ports }
}

/// The cluster IP of a service, if it is one that the proxy serves.
pub fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let address: Ipv4Addr = spec.cluster_ip.as_deref()?.parse().ok()?;
    (address != API_IP && address != DNS_IP).then_some(address)
}

fn service_ports(service: &Service, key: (&str, &str), slices: &[&EndpointSlice]) -> Vec<Port> {
    let (Some(address), Some(spec)) = (cluster_ip(service), service.spec.as_ref()) else { return Vec::new() };
    let affinity = if spec.session_affinity.as_deref() == Some("ClientIP") {
        Affinity::ClientIp
    } else {
        Affinity::None
    };
    let mut ports = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Some(protocol) = Protocol::parse(port.protocol.as_deref()) else { continue };
        let suffix = port.name.as_ref().map(|n| format!(":{n}")).unwrap_or_default();
        ports.push(Port {
            name: format!("{}/{}{suffix}", key.0, key.1),
            address,
            protocol,
            port: number(port.port),
            node_port: port.node_port.map(number).filter(|n| *n != 0),
            affinity,
            endpoints: endpoints(port, slices),
        });
    }
    ports
}

fn number(port: i32) -> u16 {
    u16::try_from(port).unwrap_or(0)
}

/// Ready endpoints; when there is none, those that still serve while they terminate, so that the last connections of a
/// rolling update find somebody.
fn endpoints(port: &ServicePort, slices: &[&EndpointSlice]) -> Vec<(Ipv4Addr, u16)> {
    let (mut ready, mut serving) = (Vec::new(), Vec::new());
    for slice in slices {
        let Some(target) = slice.ports.iter().flatten().find(|p| same_name(p, port)).and_then(|p| p.port)
        else {
            continue;
        };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.as_ref();
            let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let serves = conditions.and_then(|c| c.serving).unwrap_or(is_ready);
            for address in endpoint.addresses.iter().filter_map(|a| a.parse().ok()) {
                if is_ready {
                    ready.push((address, number(target)));
                } else if serves {
                    serving.push((address, number(target)));
                }
            }
        }
    }
    let mut chosen = if ready.is_empty() { serving } else { ready };
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

fn same_name(slice: &EndpointPort, service: &ServicePort) -> bool {
    slice.name.as_deref().unwrap_or_default() == service.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec}))
            .unwrap()
    }

    fn slice(endpoints: serde_json::Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints
        }))
        .unwrap()
    }

    #[test]
    fn ready_endpoints_come_first_and_terminating_ones_are_the_last_resort() {
        let web = service(
            json!({"clusterIP": "10.96.1.1", "ports": [{"name": "http", "port": 80, "nodePort": 30001}]}),
        );
        let both = slice(json!([
            {"addresses": ["10.244.0.3"], "conditions": {"ready": true}},
            {"addresses": ["10.244.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}}
        ]));
        let table = build([&web], [&both]);
        assert_eq!(table.ports[0].endpoints, vec![("10.244.0.3".parse().unwrap(), 8080)]);
        assert_eq!((table.ports[0].port, table.ports[0].node_port), (80, Some(30001)));
        let last = slice(
            json!([{"addresses": ["10.244.0.2"], "conditions": {"ready": false, "serving": true}},
                                {"addresses": ["10.244.0.9"], "conditions": {"ready": false, "serving": false}}]),
        );
        assert_eq!(build([&web], [&last]).ports[0].endpoints, vec![("10.244.0.2".parse().unwrap(), 8080)]);
    }

    #[test]
    fn headless_external_and_local_services_are_not_proxied() {
        for spec in [
            json!({"clusterIP": "None", "ports": [{"port": 80}]}),
            json!({"type": "ExternalName", "externalName": "example.org"}),
            json!({"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}),
            json!({"clusterIP": "10.96.0.10", "ports": [{"port": 53, "protocol": "UDP"}]}),
        ] {
            assert_eq!(build([&service(spec)], []), Table::default());
        }
    }

    #[test]
    fn a_port_without_endpoints_is_kept_to_be_refused() {
        let web = service(json!({"clusterIP": "10.96.1.1", "ports": [{"name": "other", "port": 80}]}));
        let table = build([&web], [&slice(json!([{"addresses": ["10.244.0.3"]}]))]);
        assert_eq!(table.ports[0].endpoints, vec![]);
    }
}
