//! The bootstraps that both proxies get: one that holds one listener, route and cluster for each protocol and nothing else, and one
//! that names a control plane.

use std::net::SocketAddr;

use crate::load::Protocol;

/// Where the two listeners of a proxy are.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Of the listener in front of the HTTP/1.1 upstream.
    pub http1: u16,
    /// Of the listener in front of the HTTP/2 upstream.
    pub http2: u16,
}

impl Ports {
    /// The port that is asked with a protocol.
    pub fn of(self, protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Http1 => self.http1,
            Protocol::Http2 => self.http2,
        }
    }
}

/// The bootstrap. The breakers are wide open: at 256 connections Envoy's defaults would answer 503.
pub fn yaml(ports: Ports, upstream: SocketAddr) -> String {
    let listeners = [("http1", ports.http1), ("http2", ports.http2)].map(|(name, port)| listener(name, port));
    let clusters = [("http1", "http_protocol_options"), ("http2", "http2_protocol_options")]
        .map(|(name, protocol)| cluster(name, protocol, upstream));
    format!(
        "node: {{ id: bench, cluster: bench }}\nstatic_resources:\n  listeners:\n{}  clusters:\n{}",
        listeners.concat(),
        clusters.concat()
    )
}

/// The bootstrap of a proxy of the mesh. `cluster` tells the control plane whose program it is.
pub fn of_mesh(name: &str, cluster: &str, control: SocketAddr) -> String {
    let clusters =
        ["xds-grpc", "sds-grpc"].map(|name| self::cluster(name, "http2_protocol_options", control));
    let namespace = crate::mesh::NAMESPACE;
    format!(
        r#"node: {{ id: "router~127.0.0.1~{name}.{namespace}~{namespace}.svc.cluster.local", cluster: {cluster} }}
dynamic_resources:
  lds_config: {{ ads: {{}}, resource_api_version: V3 }}
  cds_config: {{ ads: {{}}, resource_api_version: V3 }}
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{{ envoy_grpc: {{ cluster_name: xds-grpc }} }}]
static_resources:
  clusters:
{}"#,
        clusters.concat()
    )
}

fn listener(name: &str, port: u16) -> String {
    format!(
        r#"  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          route_config:
            name: {name}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: {name} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#
    )
}

fn cluster(name: &str, protocol: &str, upstream: SocketAddr) -> String {
    let (address, port) = (upstream.ip(), upstream.port());
    format!(
        r#"  - name: {name}
    type: STATIC
    connect_timeout: 10s
    circuit_breakers:
      thresholds:
      - {{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {protocol}: {{}} }}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {address}, port_value: {port} }} }} }}
"#
    )
}
