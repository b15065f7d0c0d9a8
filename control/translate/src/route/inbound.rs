//! The route of an inbound chain: everything goes to the workload.

use meltemi_mesh::view::Target;
use meltemi_proto::envoy::config::route::v3;

use super::{action, matching};
use crate::{names, wire};

/// The route configuration of a chain that leads to `cluster`; `target` is the service port that the chain serves.
pub fn inbound_route(cluster: &str, target: Option<&Target>) -> v3::RouteConfiguration {
    let mut forward = v3::RouteAction {
        cluster_specifier: Some(v3::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    action::timeout(&mut forward, None);
    let operation = match target {
        Some(target) => format!("{}:{}/*", target.service.key.hostname, target.port.number),
        None => ":0/*".to_owned(),
    };
    let route = v3::Route {
        name: "default".to_owned(),
        r#match: Some(matching::any_request()),
        decorator: Some(v3::Decorator { operation, ..Default::default() }),
        action: Some(v3::route::Action::Route(forward)),
        ..Default::default()
    };
    let port = target.map_or(0, |t| t.port.number);
    v3::RouteConfiguration {
        name: if target.is_some() { cluster.to_owned() } else { names::INBOUND_PASSTHROUGH.to_owned() },
        virtual_hosts: vec![v3::VirtualHost {
            name: format!("inbound|http|{port}"),
            domains: vec!["*".to_owned()],
            routes: vec![route],
            ..Default::default()
        }],
        validate_clusters: wire::bool(false),
        ..Default::default()
    }
}
