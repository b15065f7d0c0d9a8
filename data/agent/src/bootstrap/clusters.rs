//! Static clusters: the agent's two sockets, its HTTP port and the proxy's own admin port.

use std::collections::HashMap;
use std::path::Path;

use meltemi_proto::any::pack;
use meltemi_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use meltemi_proto::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use meltemi_proto::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use meltemi_proto::envoy::config::core::v3::{Address, Http2ProtocolOptions, Pipe, RoutingPriority, address};
use meltemi_proto::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use meltemi_proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use meltemi_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use meltemi_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use meltemi_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use meltemi_proto::google::protobuf::{Any, Duration, UInt32Value};

use crate::settings::Settings;

/// Cluster of the ADS socket.
pub(super) const XDS: &str = "xds-grpc";
/// Cluster of the secrets socket; resources refer to it by this name.
pub(super) const SDS: &str = "sds-grpc";
/// Cluster of the proxy's own admin interface.
pub(super) const PROMETHEUS: &str = "prometheus_stats";
/// Cluster of the agent's HTTP server.
pub(super) const AGENT: &str = "agent";

pub(super) fn all(settings: &Settings) -> Vec<Cluster> {
    let seconds = |seconds, nanos| Some(Duration { seconds, nanos });
    let mut xds = http2(cluster(XDS, pipe(&settings.paths.xds)));
    xds.connect_timeout = seconds(1, 0);
    xds.circuit_breakers = Some(unlimited());
    let mut sds = http2(cluster(SDS, pipe(&settings.paths.sds)));
    sds.connect_timeout = seconds(1, 0);
    let mut prometheus = cluster(PROMETHEUS, super::localhost(super::admin_port(settings)));
    prometheus.connect_timeout = seconds(0, 250_000_000);
    let mut agent = cluster(AGENT, super::localhost(settings.status_port));
    agent.connect_timeout = seconds(0, 250_000_000);
    vec![prometheus, agent, sds, xds]
}

fn cluster(name: &str, address: Address) -> Cluster {
    let endpoint = Endpoint { address: Some(address), ..Default::default() };
    let endpoint =
        LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() };
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..Default::default() }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn pipe(path: &Path) -> Address {
    let path = path.to_string_lossy().into_owned();
    Address { address: Some(address::Address::Pipe(Pipe { path, mode: 0 })) }
}

fn http2(mut cluster: Cluster) -> Cluster {
    let config = ExplicitHttpConfig {
        protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())),
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)),
        ..Default::default()
    };
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    cluster.typed_extension_protocol_options = HashMap::<String, Any>::from([(key, pack(&options))]);
    cluster
}

/// The control plane must be reachable under any load.
fn unlimited() -> CircuitBreakers {
    const MANY: Option<UInt32Value> = Some(UInt32Value { value: 100_000 });
    let thresholds = |priority: RoutingPriority| Thresholds {
        priority: priority.into(),
        max_connections: MANY,
        max_pending_requests: MANY,
        max_requests: MANY,
        ..Default::default()
    };
    CircuitBreakers {
        thresholds: vec![thresholds(RoutingPriority::Default), thresholds(RoutingPriority::High)],
        ..Default::default()
    }
}
