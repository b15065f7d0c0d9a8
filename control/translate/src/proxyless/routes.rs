//! Routes: the same rules as a sidecar's, for one service, without what gRPC would refuse.

use std::collections::BTreeSet;

use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::route::v3;
use meltemi_proto::google::protobuf::Any;
use v3::route::Action;

use crate::route;

/// The only filter of a client's listener that takes settings from routes.
const FAULT: &str = "envoy.filters.http.fault";

/// The route configurations named. One whose service is not there is left out: the client keeps what it has.
pub fn named(snapshot: &Snapshot, view: &ProxyView, names: &BTreeSet<String>) -> Vec<v3::RouteConfiguration> {
    let one = |name: &String| {
        let (service, port) = super::outbound(view, name)?;
        let mut virtual_hosts = route::of_service(snapshot, view, service, port);
        virtual_hosts.iter_mut().flat_map(|host| &mut host.routes).for_each(understood);
        Some(v3::RouteConfiguration { name: name.clone(), virtual_hosts, ..Default::default() })
    };
    names.iter().filter_map(one).collect()
}

/// A filter's settings in a route are refused if the client does not have the filter.
fn understood(route: &mut v3::Route) {
    let known = |name: &String, _: &mut Any| name == FAULT;
    route.typed_per_filter_config.retain(known);
    let Some(Action::Route(forward)) = &mut route.action else { return };
    if let Some(v3::route_action::ClusterSpecifier::WeightedClusters(weighted)) =
        &mut forward.cluster_specifier
    {
        for cluster in &mut weighted.clusters {
            cluster.typed_per_filter_config.retain(known);
        }
    }
}
