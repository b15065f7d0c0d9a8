//! The values of Istio's standard labels for one request or session.

use std::sync::Arc;

use super::Reporter;
use super::peer::Peer;
use crate::telemetry::info::{LogContext, RequestInfo};

/// Every standard label, in the order in which it is written.
pub(super) const LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

const UNKNOWN: &str = "unknown";

/// What a value is when nothing is known.
fn or<'a>(value: &'a str, default: &'a str) -> &'a str {
    if value.is_empty() { default } else { value }
}

/// The names of a destination service.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Destination<'a> {
    pub(super) host: &'a str,
    pub(super) name: &'a str,
}

/// The service a request was for: by the route's or cluster's name where these have a meaning of their own, by the cluster's
/// metadata, else (where allowed) by the authority that the client asked for.
pub(super) fn destination<'a>(context: &LogContext<'a>, host_fallback: bool) -> Destination<'a> {
    let info = context.info;
    let host = context.request.filter(|_| host_fallback).map_or("", |head| head.authority.as_str());
    let special = match (info.route.as_deref(), info.upstream.cluster.as_deref()) {
        (Some("block_all"), _) => Some("BlackHoleCluster"),
        (Some("allow_any"), _) => Some("PassthroughCluster"),
        (_, Some(cluster)) => match &*cluster.name {
            "BlackHoleCluster" | "PassthroughCluster" => Some(&*cluster.name),
            name if name.starts_with("InboundPassthroughCluster") => Some(name),
            _ => None,
        },
        _ => None,
    };
    if let Some(name) = special {
        return Destination { host, name };
    }
    match info.upstream.cluster.as_ref().and_then(|cluster| cluster.service.as_ref()) {
        Some(service) if !service.name.is_empty() => Destination { host: &service.host, name: &service.name },
        Some(service) => {
            let short = service.host.split('.').next().unwrap_or_default();
            Destination { host: &service.host, name: short }
        }
        None => Destination { host, name: host },
    }
}

/// The first URI SANs of both sides' certificates: the peer's, ours.
pub(super) fn principals(reporter: Reporter, info: &RequestInfo) -> (Option<&Arc<str>>, Option<&Arc<str>>) {
    let tls = match reporter {
        Reporter::Source => info.upstream.tls.as_ref(),
        Reporter::Destination | Reporter::Waypoint => info.connection.tls.as_ref(),
    };
    let peer = tls.and_then(|tls| tls.peer.as_ref()).and_then(|certificate| certificate.uri_sans.first());
    let local = tls.and_then(|tls| tls.local.as_ref()).and_then(|certificate| certificate.uri_sans.first());
    (peer, local)
}

/// `mutual_tls` or `none` where traffic arrives; a source cannot know what the other side demands.
pub(super) fn security_policy(
    reporter: Reporter,
    principals: (Option<&Arc<str>>, Option<&Arc<str>>),
) -> &'static str {
    match (reporter, principals) {
        (Reporter::Source, _) => UNKNOWN,
        (_, (Some(_), Some(_))) => "mutual_tls",
        _ => "none",
    }
}

/// All labels but those of the single response.
pub(super) fn common(
    reporter: Reporter,
    local: &Peer,
    context: &LogContext<'_>,
    host_fallback: bool,
) -> Vec<(&'static str, String)> {
    let info = context.info;
    let (peer_principal, local_principal) = principals(reporter, info);
    let service = destination(context, host_fallback);
    let empty = Peer::default();
    let other = match reporter {
        Reporter::Source => info.upstream.peer.as_deref(),
        _ => info.source_peer().map(AsRef::as_ref),
    };
    let other = other.unwrap_or(&empty);
    // A certificate is better evidence of the namespace than what the peer says of itself.
    let certified = peer_principal.and_then(|principal| namespace_of(principal));
    let peer_namespace = certified.unwrap_or(&other.namespace);
    let endpoint = info.upstream.peer.as_deref().unwrap_or(&empty);
    let (source, destination) = match reporter {
        Reporter::Source => (local, other),
        Reporter::Destination => (other, local),
        Reporter::Waypoint => (other, endpoint),
    };
    let (source_namespace, destination_namespace) = match reporter {
        Reporter::Source => (&*local.namespace, peer_namespace),
        Reporter::Destination => (peer_namespace, &*local.namespace),
        Reporter::Waypoint => (peer_namespace, &*endpoint.namespace),
    };
    let (source_principal, destination_principal) = match reporter {
        Reporter::Source => (local_principal, peer_principal),
        _ => (peer_principal, local_principal),
    };
    let principal = |value: Option<&Arc<str>>| value.map_or(UNKNOWN, |v| v).to_owned();
    let fallback =
        if reporter == Reporter::Source { UNKNOWN } else { or(&destination.canonical_name, UNKNOWN) };
    let service_namespace =
        if reporter == Reporter::Source { destination_namespace } else { &*local.namespace };
    let service_cluster = if reporter == Reporter::Source { &destination.cluster } else { &local.cluster };
    let text = |value: &str| or(value, UNKNOWN).to_owned();
    vec![
        ("reporter", reporter.as_str().to_owned()),
        ("source_workload", text(&source.workload)),
        ("source_canonical_service", text(&source.canonical_name)),
        ("source_canonical_revision", or(&source.canonical_revision, "latest").to_owned()),
        ("source_workload_namespace", text(source_namespace)),
        ("source_principal", principal(source_principal)),
        ("source_app", text(&source.app)),
        ("source_version", text(&source.version)),
        ("source_cluster", text(&source.cluster)),
        ("destination_workload", text(&destination.workload)),
        ("destination_workload_namespace", text(destination_namespace)),
        ("destination_principal", principal(destination_principal)),
        ("destination_app", text(&destination.app)),
        ("destination_version", text(&destination.version)),
        ("destination_service", or(service.host, fallback).to_owned()),
        ("destination_canonical_service", text(&destination.canonical_name)),
        ("destination_canonical_revision", or(&destination.canonical_revision, "latest").to_owned()),
        ("destination_service_name", or(service.name, fallback).to_owned()),
        ("destination_service_namespace", text(service_namespace)),
        ("destination_cluster", text(service_cluster)),
    ]
}

/// The namespace in `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
fn namespace_of(principal: &str) -> Option<&str> {
    let rest = principal.split_once("/ns/")?.1;
    rest.split('/').next().filter(|namespace| !namespace.is_empty())
}
