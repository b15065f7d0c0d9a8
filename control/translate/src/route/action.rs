//! What is done with a request that a rule is for.

use meltemi_config::istio::destination_rule::ConsistentHashLb;
use meltemi_config::istio::virtual_service::{
    Destination, HeaderOperations, Headers, HttpDirectResponse, HttpRedirect, HttpRoute,
    HttpRouteDestination, Percent, RedirectPortSelection,
};
use meltemi_mesh::{ProxyView, Snapshot, host};
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::config::route::v3;
use meltemi_proto::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use meltemi_proto::google::protobuf as wkt;
use v3::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use v3::route_action::hash_policy::{self, PolicySpecifier};
use v3::route_action::{
    ClusterSpecifier, HashPolicy, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy,
};
use v3::weighted_cluster::{ClusterWeight, cluster_weight};

use super::retry;
use crate::destination::{self, From};
use crate::wire;

/// Request headers that are the request's host.
const HOST_HEADERS: [&str; 3] = ["host", ":authority", "authority"];

/// Forwarding to the destinations of a rule.
pub fn forward(snapshot: &Snapshot, view: &ProxyView, rule: &HttpRoute, from: From<'_>) -> v3::RouteAction {
    let mut action = v3::RouteAction {
        cluster_specifier: Some(clusters(snapshot, view, &rule.route, from)),
        retry_policy: retry::policy(snapshot, rule.retries.as_ref()),
        request_mirror_policies: mirrors(snapshot, view, rule, from),
        hash_policy: hash_policies(snapshot, view, &rule.route, from),
        ..Default::default()
    };
    timeout(&mut action, rule.timeout.map(|d| wire::duration(d.to_std())));
    if let Some(rewrite) = &rule.rewrite {
        action.prefix_rewrite.clone_from(&rewrite.uri);
        action.regex_rewrite = rewrite.uri_regex_rewrite.as_ref().map(|regex| RegexMatchAndSubstitute {
            pattern: Some(wire::safe_regex(&regex.pattern)),
            substitution: regex.rewrite.clone(),
        });
    }
    let rewritten = rule.rewrite.as_ref().map(|r| r.authority.as_str()).filter(|a| !a.is_empty());
    let single = if let [only] = rule.route.as_slice() { host_header(only.headers.as_ref()) } else { None };
    let authority = host_header(rule.headers.as_ref()).or(single).or(rewritten);
    action.host_rewrite_specifier = authority.map(|a| HostRewriteSpecifier::HostRewriteLiteral(a.to_owned()));
    action
}

/// Forwarding to one cluster without any rule.
pub fn forward_plain(snapshot: &Snapshot, cluster: String, hash: Vec<HashPolicy>) -> v3::RouteAction {
    let mut action = v3::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        retry_policy: retry::policy(snapshot, None),
        hash_policy: hash,
        ..Default::default()
    };
    timeout(&mut action, None);
    action
}

/// Zero switches Envoy's own limit of 15 s off.
pub fn timeout(action: &mut v3::RouteAction, limit: Option<wkt::Duration>) {
    let limit = limit.unwrap_or_default();
    action.timeout = Some(limit);
    action.max_stream_duration = Some(MaxStreamDuration {
        max_stream_duration: Some(wkt::Duration::default()),
        grpc_timeout_header_max: Some(limit),
        ..Default::default()
    });
}

fn clusters(
    snapshot: &Snapshot,
    view: &ProxyView,
    route: &[HttpRouteDestination],
    from: From<'_>,
) -> ClusterSpecifier {
    if let [only] = route {
        return ClusterSpecifier::Cluster(destination::cluster(snapshot, view, &only.destination, from));
    }
    let weights = destination::weights(route.iter().map(|r| r.weight));
    let weighted = route.iter().zip(weights).filter(|(_, weight)| *weight > 0).map(|(r, weight)| {
        let (request, response) = operations(r.headers.as_ref());
        ClusterWeight {
            name: destination::cluster(snapshot, view, &r.destination, from),
            weight: wire::u32(weight),
            request_headers_to_add: request.add,
            request_headers_to_remove: request.remove,
            response_headers_to_add: response.add,
            response_headers_to_remove: response.remove,
            host_rewrite_specifier: host_header(r.headers.as_ref())
                .map(|h| cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(h.to_owned())),
            ..Default::default()
        }
    });
    ClusterSpecifier::WeightedClusters(v3::WeightedCluster {
        clusters: weighted.collect(),
        ..Default::default()
    })
}

fn mirrors(
    snapshot: &Snapshot,
    view: &ProxyView,
    rule: &HttpRoute,
    from: From<'_>,
) -> Vec<RequestMirrorPolicy> {
    let old = rule.mirror_percent.map(|p| Percent { value: f64::from(p) });
    let share = rule.mirror_percentage.or(old);
    let first = rule.mirror.iter().map(|d| (d, share));
    let more = rule.mirrors.iter().filter_map(|m| Some((m.destination.as_ref()?, m.percentage)));
    let policy = |(destination, share): (&Destination, Option<Percent>)| {
        let share = share.map_or(100.0, |p| p.value);
        (share > 0.0).then(|| RequestMirrorPolicy {
            cluster: destination::cluster(snapshot, view, destination, from),
            runtime_fraction: Some(core::RuntimeFractionalPercent {
                default_value: Some(wire::percent(share)),
                ..Default::default()
            }),
            trace_sampled: wire::bool(false),
            ..Default::default()
        })
    };
    first.chain(more).filter_map(policy).collect()
}

/// Hashing is a property of the destination; the first that asks for it decides for the route.
fn hash_policies(
    snapshot: &Snapshot,
    view: &ProxyView,
    route: &[HttpRouteDestination],
    from: From<'_>,
) -> Vec<HashPolicy> {
    for destination in route.iter().map(|r| &r.destination) {
        let hostname = host::resolve(&destination.host, from.namespace, &snapshot.settings.domain);
        let port = destination.port.as_ref().and_then(|p| u16::try_from(p.number).ok()).filter(|p| *p != 0);
        let subset = (!destination.subset.is_empty()).then_some(destination.subset.as_str());
        let policies = hash_of(snapshot, view, &hostname, subset, port.unwrap_or(from.port));
        if !policies.is_empty() {
            return policies;
        }
    }
    Vec::new()
}

/// The hash policies of a service.
pub fn hash_of(
    snapshot: &Snapshot,
    view: &ProxyView,
    hostname: &str,
    subset: Option<&str>,
    port: u16,
) -> Vec<HashPolicy> {
    let Some(service) = view.destination(hostname) else { return Vec::new() };
    let Some(rule) = view.destination_rule(snapshot, service) else { return Vec::new() };
    let policy = rule.policy(subset, port);
    policy.load_balancer.and_then(|lb| lb.consistent_hash).and_then(|hash| key(&hash)).into_iter().collect()
}

fn key(hash: &ConsistentHashLb) -> Option<HashPolicy> {
    let specifier = if let Some(name) = &hash.http_header_name {
        PolicySpecifier::Header(hash_policy::Header { header_name: name.clone(), ..Default::default() })
    } else if let Some(cookie) = &hash.http_cookie {
        let attribute = |a: &meltemi_config::istio::destination_rule::CookieAttribute| {
            hash_policy::CookieAttribute { name: a.name.clone(), value: a.value.clone() }
        };
        PolicySpecifier::Cookie(hash_policy::Cookie {
            name: cookie.name.clone(),
            ttl: cookie.ttl.map(|d| wire::duration(d.to_std())),
            path: cookie.path.clone(),
            attributes: cookie.attributes.iter().map(attribute).collect(),
        })
    } else if let Some(name) = &hash.http_query_parameter_name {
        PolicySpecifier::QueryParameter(hash_policy::QueryParameter { name: name.clone() })
    } else if hash.use_source_ip == Some(true) {
        PolicySpecifier::ConnectionProperties(hash_policy::ConnectionProperties { source_ip: true })
    } else {
        return None;
    };
    Some(HashPolicy { policy_specifier: Some(specifier), terminal: false })
}

/// Answering with another place.
pub fn redirect(redirect: &HttpRedirect, default_port: u16) -> v3::RedirectAction {
    let code = match redirect.redirect_code {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let path = match (redirect.uri.is_empty(), redirect.prefix_rewrite.is_empty()) {
        (false, _) => Some(PathRewriteSpecifier::PathRedirect(redirect.uri.clone())),
        (true, false) => Some(PathRewriteSpecifier::PrefixRewrite(redirect.prefix_rewrite.clone())),
        (true, true) => None,
    };
    let port = match (redirect.port, redirect.derive_port) {
        (Some(port), _) => port,
        (None, Some(RedirectPortSelection::FromRequestPort)) => default_port.into(),
        (None, Some(RedirectPortSelection::FromProtocolDefault)) => match redirect.scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => 0,
        },
        (None, None) => 0,
    };
    v3::RedirectAction {
        host_redirect: redirect.authority.clone(),
        port_redirect: port,
        response_code: code as i32,
        scheme_rewrite_specifier: (!redirect.scheme.is_empty())
            .then(|| SchemeRewriteSpecifier::SchemeRedirect(redirect.scheme.clone())),
        path_rewrite_specifier: path,
        ..Default::default()
    }
}

/// Answering without an upstream.
pub fn direct(response: &HttpDirectResponse) -> v3::DirectResponseAction {
    use core::data_source::Specifier;
    let body = response.body.as_ref().and_then(|body| match (&body.string, &body.bytes) {
        (Some(text), _) => Some(Specifier::InlineString(text.clone())),
        (None, Some(base64)) => Some(Specifier::InlineBytes(bytes_of(base64))),
        (None, None) => None,
    });
    v3::DirectResponseAction {
        status: response.status,
        body: body.map(|specifier| core::DataSource { specifier: Some(specifier), ..Default::default() }),
        ..Default::default()
    }
}

/// Validation has already refused what is no base64.
fn bytes_of(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// Header changes in Envoy's form.
#[derive(Default)]
pub struct HeaderChanges {
    /// Headers to set or add.
    pub add: Vec<core::HeaderValueOption>,
    /// Headers to remove.
    pub remove: Vec<String>,
}

/// Changes of requests and of responses.
pub fn operations(headers: Option<&Headers>) -> (HeaderChanges, HeaderChanges) {
    let changes = |operations: Option<&HeaderOperations>| operations.map(of_operations).unwrap_or_default();
    (changes(headers.and_then(|h| h.request.as_ref())), changes(headers.and_then(|h| h.response.as_ref())))
}

fn of_operations(operations: &HeaderOperations) -> HeaderChanges {
    let set = operations.set.iter().filter(|(name, _)| may_change(name));
    let set = set.map(|(name, value)| wire::header(name, value, false));
    let add = operations.add.iter().filter(|(name, _)| may_change(name));
    let add = add.map(|(name, value)| wire::header(name, value, true));
    let remove = operations.remove.iter().filter(|name| may_change(name));
    HeaderChanges { add: set.chain(add).collect(), remove: remove.cloned().collect() }
}

/// Parts of the request line are no headers to change: one such change makes Envoy refuse all routes of the port.
fn may_change(name: &str) -> bool {
    !name.starts_with(':') && !is_host(name)
}

fn is_host(name: &str) -> bool {
    HOST_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

/// Setting the host header means rewriting the request's authority.
fn host_header(headers: Option<&Headers>) -> Option<&str> {
    let set = &headers?.request.as_ref()?.set;
    set.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.as_str())
}
