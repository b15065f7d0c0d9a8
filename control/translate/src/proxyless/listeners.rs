//! What a client asks for first: the listener named as the target of its channel (`xds:///HOST:PORT`).

use std::collections::BTreeSet;

use meltemi_mesh::service::Service;
use meltemi_mesh::{Port, ProxyView, Snapshot};
use meltemi_proto::any;
use meltemi_proto::envoy::config::listener::v3::{ApiListener, Listener};
use meltemi_proto::envoy::extensions::filters::http::fault::v3::HttpFault;
use meltemi_proto::envoy::extensions::filters::http::router::v3::Router;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3;
use meltemi_proto::google::protobuf::Any;
use v3::http_connection_manager::RouteSpecifier;

use super::inbound;
use crate::{names, wire};

/// The listeners named, those that there are.
pub fn named(snapshot: &Snapshot, view: &ProxyView, names: &BTreeSet<String>) -> Vec<Listener> {
    let one = |name: &String| match name.strip_prefix(inbound::PREFIX) {
        Some(address) => inbound::listener(view, name, address),
        None => outbound(snapshot, view, name),
    };
    names.iter().filter_map(one).collect()
}

fn outbound(snapshot: &Snapshot, view: &ProxyView, name: &str) -> Option<Listener> {
    let (service, port) = target(snapshot, view, name)?;
    let manager = v3::HttpConnectionManager {
        http_filters: vec![filter("envoy.filters.http.fault", any::pack(&HttpFault::default())), router()],
        route_specifier: Some(RouteSpecifier::Rds(v3::Rds {
            config_source: Some(wire::ads()),
            route_config_name: names::outbound(port.number, "", &service.key.hostname),
        })),
        ..Default::default()
    };
    Some(Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(any::pack(&manager)) }),
        ..Default::default()
    })
}

/// The service that a channel's target means, by any of the names that DNS would find it by. Without a port it is the
/// service's only one.
fn target<'v>(snapshot: &Snapshot, view: &'v ProxyView, target: &str) -> Option<(&'v Service, &'v Port)> {
    let (host, number) = match target.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
        None => (target, None),
    };
    let service = service(snapshot, view, host)?;
    let mut ports = super::ports(service);
    let port = match number {
        Some(number) => ports.find(|port| port.number == number)?,
        None => ports.next().filter(|_| ports.next().is_none())?,
    };
    Some((service, port))
}

fn service<'v>(snapshot: &Snapshot, view: &'v ProxyView, host: &str) -> Option<&'v Service> {
    let domain = &snapshot.settings.domain;
    let namespace = &view.identity.namespace;
    let candidates = [
        host.to_owned(),
        format!("{host}.{domain}"),
        format!("{host}.svc.{domain}"),
        format!("{host}.{namespace}.svc.{domain}"),
    ];
    candidates.iter().find_map(|name| view.destination(name)).map(std::convert::AsRef::as_ref)
}

/// The filter that must be the last.
pub fn router() -> v3::HttpFilter {
    filter("envoy.filters.http.router", any::pack(&Router::default()))
}

fn filter(name: &str, config: Any) -> v3::HttpFilter {
    v3::HttpFilter {
        name: name.to_owned(),
        config_type: Some(v3::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
