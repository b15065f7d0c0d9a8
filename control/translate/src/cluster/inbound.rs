//! Clusters that lead to the workload beside the proxy.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meltemi_config::istio::destination_rule::{H2UpgradePolicy, HttpSettings};
use meltemi_mesh::view::Target;
use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::cluster::v3::cluster::{DiscoveryType, LbConfig, OriginalDstLbConfig};
use meltemi_proto::envoy::config::core::v3::{BindConfig, SocketAddress, socket_address};

use super::{policy, protocol};
use crate::{names, wire};

/// One cluster a port of the workload, and one for ports that no service names.
pub(super) fn clusters(snapshot: &Snapshot, view: &ProxyView) -> Vec<Cluster> {
    let mut by_port: BTreeMap<u16, Vec<&Target>> = BTreeMap::new();
    for target in view.targets.iter().filter(|t| t.port.protocol != meltemi_mesh::Protocol::Udp) {
        by_port.entry(target.workload_port).or_default().push(target);
    }
    let mut clusters: Vec<Cluster> =
        by_port.iter().map(|(port, targets)| cluster(snapshot, view, *port, targets)).collect();
    clusters.push(passthrough(snapshot, view));
    clusters
}

fn cluster(snapshot: &Snapshot, view: &ProxyView, port: u16, targets: &[&Target]) -> Cluster {
    let mut cluster = base(snapshot, view, names::inbound(port));
    cluster.lb_config = Some(LbConfig::OriginalDstLbConfig(OriginalDstLbConfig {
        upstream_port_override: wire::u32(port.into()),
        ..Default::default()
    }));
    if let Some(first) = targets.first() {
        // An upgrade is between proxies; the application gets what its port speaks.
        let as_named =
            HttpSettings { h2_upgrade_policy: H2UpgradePolicy::DoNotUpgrade, ..Default::default() };
        let upstream = protocol::Upstream {
            protocol: first.port.protocol,
            settings: Some(&as_named),
            sni_from_host: false,
            names_from_host: false,
        };
        if first.port.protocol == meltemi_mesh::Protocol::Auto {
            protocol::follow_client(&mut cluster);
        } else {
            protocol::apply(&mut cluster, snapshot, &upstream);
        }
    }
    let services = targets.iter().map(|target| {
        wire::object(wire::fields([
            ("host", wire::string(&target.service.key.hostname)),
            ("name", wire::string(super::outbound::service_name(&target.service))),
            ("namespace", wire::string(&target.service.key.namespace)),
        ]))
    });
    let istio = wire::fields([("services", wire::list(services.collect()))]);
    cluster.metadata = Some(wire::metadata(BTreeMap::from([(wire::ISTIO, istio)])));
    cluster
}

fn passthrough(snapshot: &Snapshot, view: &ProxyView) -> Cluster {
    let mut cluster = base(snapshot, view, names::INBOUND_PASSTHROUGH.to_owned());
    protocol::follow_client(&mut cluster);
    cluster
}

/// Goes to the address that the client dialled, from a source address that is not captured again.
fn base(snapshot: &Snapshot, view: &ProxyView, name: String) -> Cluster {
    let mut cluster = super::base(snapshot, name, DiscoveryType::OriginalDst);
    cluster.circuit_breakers = Some(policy::no_limits());
    let source = match view.identity.ips.first() {
        Some(IpAddr::V6(_)) => names::INBOUND_SOURCE_V6,
        _ => names::INBOUND_SOURCE_V4,
    };
    cluster.upstream_bind_config = Some(BindConfig {
        source_address: Some(SocketAddress {
            address: source.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(0)),
            ..Default::default()
        }),
        ..Default::default()
    });
    cluster
}
