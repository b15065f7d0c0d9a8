//! The `http` rules of a VirtualService as routes.

use std::collections::BTreeMap;

use meltemi_config::istio::virtual_service::{HttpMatchRequest, HttpRoute};
use meltemi_mesh::{ProxyView, Snapshot, VirtualService, virtual_service};
use meltemi_proto::envoy::config::route::v3;
use v3::route::Action;
use v3::route_action::ClusterSpecifier;
use v3::route_match::PathSpecifier;

use super::{action, filters, matching};
use crate::cluster_config_path;
use crate::destination::From;
use crate::source::{self, Condition};
use crate::{names, wire};

/// Where the routes are used.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// In a sidecar, for this port.
    Mesh {
        /// Port that the client dials.
        port: u16,
    },
    /// In a gateway.
    Gateway {
        /// `namespace/name` of the Gateway.
        gateway: &'a str,
        /// Port that the Gateway names.
        number: u16,
    },
}

impl At<'_> {
    fn port(self) -> u16 {
        match self {
            At::Mesh { port } | At::Gateway { number: port, .. } => port,
        }
    }

    fn holds(self, view: &ProxyView, condition: &HttpMatchRequest, namespace: &str) -> bool {
        match self {
            At::Mesh { port } => source::holds(view, condition, port),
            At::Gateway { gateway, number } => {
                source::holds_at(view, &condition.parts(), number, gateway, namespace)
            }
        }
    }
}

/// The routes of a VirtualService, up to the first that matches everything.
pub fn routes(snapshot: &Snapshot, view: &ProxyView, vs: &VirtualService, at: At<'_>) -> Vec<v3::Route> {
    let mut routes = Vec::new();
    for rule in virtual_service::expanded_http(vs, snapshot) {
        if rule.route.is_empty() && rule.redirect.is_none() && rule.direct_response.is_none() {
            // Nothing to do with the request; Envoy would refuse the whole configuration.
            continue;
        }
        let conditions = rule.matches.iter().filter(|m| at.holds(view, m, vs.namespace()));
        let conditions = conditions.filter(|m| matching::can_be_compiled(m));
        let mut alternatives: Vec<(v3::RouteMatch, Option<&HttpMatchRequest>)> =
            conditions.map(|m| (matching::request(m), Some(m))).collect();
        if rule.matches.is_empty() {
            alternatives.push((matching::any_request(), None));
        }
        for (matches, condition) in alternatives {
            let last = matching::is_catch_all(&matches);
            routes.push(route(snapshot, view, vs, &rule, at, (matches, condition)));
            if last {
                return routes;
            }
        }
    }
    routes
}

fn route(
    snapshot: &Snapshot,
    view: &ProxyView,
    vs: &VirtualService,
    rule: &HttpRoute,
    at: At<'_>,
    (matches, condition): (v3::RouteMatch, Option<&HttpMatchRequest>),
) -> v3::Route {
    let from = From { namespace: vs.namespace(), port: at.port() };
    let (request, response) = action::operations(rule.headers.as_ref());
    let mut route = v3::Route {
        name: name(rule, condition),
        typed_per_filter_config: filters::of_rule(rule),
        metadata: Some(metadata(vs)),
        request_headers_to_add: request.add,
        request_headers_to_remove: request.remove,
        response_headers_to_add: response.add,
        response_headers_to_remove: response.remove,
        stat_prefix: condition.map(|c| c.stat_prefix.clone()).unwrap_or_default(),
        ..Default::default()
    };
    route.action = Some(match (&rule.redirect, &rule.direct_response) {
        (Some(redirect), _) => Action::Redirect(action::redirect(redirect, at.port())),
        (None, Some(response)) => Action::DirectResponse(action::direct(response)),
        (None, None) => {
            let forward = action::forward(snapshot, view, rule, from);
            if let ([only], ClusterSpecifierRef::One(_)) = (rule.route.as_slice(), cluster_of(&forward)) {
                // Of several destinations each has its own changes; of a single one they belong to the route.
                let (request, response) = action::operations(only.headers.as_ref());
                route.request_headers_to_add.extend(request.add);
                route.request_headers_to_remove.extend(request.remove);
                route.response_headers_to_add.extend(response.add);
                route.response_headers_to_remove.extend(response.remove);
            }
            route.decorator = Some(decorator(vs, &forward, &matches, at.port()));
            Action::Route(forward)
        }
    });
    route.r#match = Some(matches);
    route
}

fn name(rule: &HttpRoute, condition: Option<&HttpMatchRequest>) -> String {
    match condition.map(|c| c.name.as_str()).unwrap_or_default() {
        "" => rule.name.clone(),
        own => format!("{}.{own}", rule.name),
    }
}

enum ClusterSpecifierRef<'a> {
    One(&'a str),
    Several,
}

fn cluster_of(action: &v3::RouteAction) -> ClusterSpecifierRef<'_> {
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => ClusterSpecifierRef::One(name),
        _ => ClusterSpecifierRef::Several,
    }
}

/// The name of the operation in traces: the host if there is only one, else the VirtualService.
fn decorator(
    vs: &VirtualService,
    action: &v3::RouteAction,
    matches: &v3::RouteMatch,
    port: u16,
) -> v3::Decorator {
    let path = match &matches.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => format!("{prefix}*"),
        Some(PathSpecifier::Path(path)) => path.clone(),
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex.clone(),
        _ => "/*".to_owned(),
    };
    let one = match cluster_of(action) {
        ClusterSpecifierRef::One(name) => names::parse_outbound(name),
        ClusterSpecifierRef::Several => None,
    };
    let operation = match one {
        Some(cluster) => format!("{}:{}{path}", cluster.hostname, cluster.port),
        None => format!("{}:{port}{path}", vs.object.meta.name),
    };
    v3::Decorator { operation, ..Default::default() }
}

fn metadata(vs: &VirtualService) -> meltemi_proto::envoy::config::core::v3::Metadata {
    let path = cluster_config_path("virtual-service", vs.namespace(), &vs.object.meta.name);
    wire::metadata(BTreeMap::from([(wire::ISTIO, wire::fields([("config", wire::string(path))]))]))
}
