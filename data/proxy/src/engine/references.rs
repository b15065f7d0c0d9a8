//! Routes of the bootstrap's own listeners lead to clusters that are there, unless they say that they need not: what Envoy
//! calls `validate_clusters`, which is on where a route configuration is written into a listener.

use std::collections::BTreeSet;

use hcm::http_connection_manager::RouteSpecifier;
use meltemi_proto::any;
use meltemi_proto::envoy::config::listener::v3::{Listener, filter::ConfigType};
use meltemi_proto::envoy::config::route::v3::route_action::ClusterSpecifier;
use meltemi_proto::envoy::config::route::v3::{RouteConfiguration, route::Action};
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use crate::base::reject::{Compiled, Reject};

/// Refuses a listener whose routes name a cluster that is not `known`.
pub(super) fn check(listener: &Listener, known: &dyn Fn(&str) -> bool) -> Compiled<()> {
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    for filter in chains.flat_map(|chain| &chain.filters) {
        let Some(ConfigType::TypedConfig(config)) = &filter.config_type else { continue };
        // Whatever else it is has been compiled before, or refused.
        let Ok(manager) = any::unpack::<hcm::HttpConnectionManager>(config) else { continue };
        let Some(RouteSpecifier::RouteConfig(routes)) = &manager.route_specifier else { continue };
        if routes.validate_clusters.as_ref().is_some_and(|validate| !validate.value) {
            continue;
        }
        if let Some(unknown) = clusters(routes).into_iter().find(|name| !known(name)) {
            return Err(Reject::new("route_config", format!("route: unknown cluster '{unknown}'")));
        }
    }
    Ok(())
}

fn clusters(routes: &RouteConfiguration) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for route in routes.virtual_hosts.iter().flat_map(|host| &host.routes) {
        let Some(Action::Route(forward)) = &route.action else { continue };
        match &forward.cluster_specifier {
            Some(ClusterSpecifier::Cluster(name)) => names.extend([name.as_str()]),
            Some(ClusterSpecifier::WeightedClusters(weighted)) => {
                names.extend(weighted.clusters.iter().map(|cluster| cluster.name.as_str()));
            }
            _ => {}
        }
        let mirrors = forward.request_mirror_policies.iter().map(|policy| policy.cluster.as_str());
        names.extend(mirrors.filter(|name| !name.is_empty()));
    }
    names.remove("");
    names
}
