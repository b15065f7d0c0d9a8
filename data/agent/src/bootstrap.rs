//! The bootstrap: what a proxy must know before it can ask for the rest. Works for our engine and for Envoy.

mod clusters;
mod listeners;
mod stats;

use std::net::Ipv4Addr;

use meltemi_proto::envoy::config::bootstrap::v3::bootstrap::{DynamicResources, StaticResources};
use meltemi_proto::envoy::config::bootstrap::v3::{Admin, Bootstrap};
use meltemi_proto::envoy::config::core::v3::api_config_source::ApiType;
use meltemi_proto::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use meltemi_proto::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use meltemi_proto::envoy::config::core::v3::node::UserAgentVersionType;
use meltemi_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use meltemi_proto::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource, Extension, GrpcService, Node,
    SocketAddress, address,
};
use meltemi_proto::google::protobuf::Duration;
use meltemi_proto::{ports, version};

use crate::settings::Settings;

/// The bootstrap of the proxy, whose extensions are told to the control plane.
pub fn bootstrap(settings: &Settings, extensions: Vec<Extension>) -> Bootstrap {
    Bootstrap {
        node: Some(node(settings, extensions)),
        static_resources: Some(StaticResources {
            listeners: listeners::all(),
            clusters: clusters::all(settings),
            secrets: Vec::new(),
        }),
        dynamic_resources: Some(dynamic(settings)),
        admin: Some(Admin { address: Some(localhost(admin_port(settings))), ..Default::default() }),
        stats_config: Some(stats::config(settings)),
        ..Default::default()
    }
}

pub(crate) fn admin_port(settings: &Settings) -> u16 {
    settings.proxy_config.proxy_admin_port.filter(|port| *port > 0).unwrap_or(ports::ADMIN)
}

/// Who the proxy is.
pub fn node(settings: &Settings, extensions: Vec<Extension>) -> Node {
    Node {
        id: settings.node.to_string(),
        cluster: settings.service_cluster.clone(),
        metadata: Some(settings.metadata.to_struct()),
        user_agent_name: "meltemi".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(version::MELTEMI.to_owned())),
        extensions,
        ..Default::default()
    }
}

fn dynamic(settings: &Settings) -> DynamicResources {
    let api_type = if settings.delta { ApiType::DeltaGrpc } else { ApiType::Grpc };
    let envoy = EnvoyGrpc { cluster_name: clusters::XDS.to_owned(), ..Default::default() };
    DynamicResources {
        ads_config: Some(ApiConfigSource {
            api_type: api_type.into(),
            transport_api_version: ApiVersion::V3.into(),
            set_node_on_first_message_only: true,
            grpc_services: vec![GrpcService {
                target_specifier: Some(TargetSpecifier::EnvoyGrpc(envoy)),
                ..Default::default()
            }],
            ..Default::default()
        }),
        cds_config: Some(ads()),
        lds_config: Some(ads()),
        ..Default::default()
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        // Zero: wait for the first configuration for as long as it takes instead of starting without one.
        initial_fetch_timeout: Some(Duration { seconds: 0, nanos: 0 }),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

fn localhost(port: u16) -> Address {
    socket(Ipv4Addr::LOCALHOST, port)
}

fn socket(ip: Ipv4Addr, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: ip.to_string(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

#[cfg(test)]
mod tests;
