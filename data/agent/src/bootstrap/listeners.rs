//! Static listeners: metrics for Prometheus and health for the kubelet.

use std::net::Ipv4Addr;

use meltemi_proto::any::pack;
use meltemi_proto::envoy::config::core::v3::TrafficDirection;
use meltemi_proto::envoy::config::listener::v3::filter::ConfigType;
use meltemi_proto::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use meltemi_proto::envoy::config::route::v3::route::Action;
use meltemi_proto::envoy::config::route::v3::route_action::ClusterSpecifier;
use meltemi_proto::envoy::config::route::v3::route_match::PathSpecifier;
use meltemi_proto::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use meltemi_proto::envoy::extensions::filters::http::router::v3::Router;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, RouteSpecifier,
};
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use meltemi_proto::ports;

use super::clusters;

pub(super) fn all() -> Vec<Listener> {
    vec![
        listener(ports::PROMETHEUS, "stats", "/stats/prometheus", clusters::PROMETHEUS),
        listener(ports::HEALTH, "agent", "/healthz/ready", clusters::AGENT),
    ]
}

/// One path on one port, passed to one cluster.
fn listener(port: u16, prefix: &str, path: &str, cluster: &str) -> Listener {
    let manager = HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: prefix.to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(routes(path, cluster))),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
            ..Default::default()
        }],
        ..Default::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(&manager))),
    };
    Listener {
        name: String::new(),
        address: Some(super::socket(Ipv4Addr::UNSPECIFIED, port)),
        traffic_direction: TrafficDirection::Inbound.into(),
        filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    }
}

fn routes(path: &str, cluster: &str) -> RouteConfiguration {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    let matches =
        RouteMatch { path_specifier: Some(PathSpecifier::Prefix(path.to_owned())), ..Default::default() };
    RouteConfiguration {
        virtual_hosts: vec![VirtualHost {
            name: "backend".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![Route {
                r#match: Some(matches),
                action: Some(Action::Route(action)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}
