//! `RouteAction`: sending requests to a cluster.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::StatusCode;
use meltemi_proto::envoy::config::core::v3::RoutingPriority;
use meltemi_proto::envoy::config::route::v3 as proto;
use meltemi_proto::envoy::config::route::v3::route_action::hash_policy::PolicySpecifier;
use meltemi_proto::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HashPolicy as HashProto, RequestMirrorPolicy,
};
use meltemi_proto::envoy::config::route::v3::weighted_cluster::cluster_weight::HostRewriteSpecifier;

use super::{Deps, HostContext};
use crate::base::duration::{bool_or, optional, timeout, u32_or};
use crate::base::head::HeaderKey;
use crate::base::reject::{At, Compiled, Reject, each, required, unsupported};
use crate::matcher::fraction::Fraction;
use crate::matcher::regex::Substitution;
use crate::route::action::{Forward, HashOn, HashPolicy, Mirror, Target, Weighted, WeightedCluster};
use crate::route::headers::{Lists, Mutations};
use crate::route::retry::RetryPolicy;
use crate::route::rewrite::{HostRewrite, PathRewrite};
use crate::upstream::balance::schedule::Schedule;

/// Envoy's default for a route without `timeout`.
const TIMEOUT: Duration = Duration::from_secs(15);

#[allow(deprecated)] // `max_grpc_timeout` is still sent.
pub(super) fn compile(proto: &proto::RouteAction, host: &HostContext<'_>) -> Compiled<Forward> {
    reject_unsupported(proto)?;
    let regex = proto.regex_rewrite.as_ref().map(Substitution::compile).transpose().at("regex_rewrite")?;
    let retry = proto.retry_policy.as_ref().map(RetryPolicy::compile).transpose().at("retry_policy")?;
    let own_mirrors = mirrors(&proto.request_mirror_policies, host.deps)?;
    let stream = proto.max_stream_duration.as_ref();
    let max_grpc_timeout =
        match stream.and_then(|s| s.grpc_timeout_header_max.as_ref()).or(proto.max_grpc_timeout.as_ref()) {
            Some(max) => Some(timeout("max_grpc_timeout", &Some(*max), None)?),
            None => None,
        };
    Ok(Forward {
        target: target(proto, host.deps)?,
        not_found: match proto.cluster_not_found_response_code() {
            ClusterNotFoundResponseCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ClusterNotFoundResponseCode::NotFound => StatusCode::NOT_FOUND,
            ClusterNotFoundResponseCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        },
        path: PathRewrite::compile(&proto.prefix_rewrite, regex)?,
        host: HostRewrite::compile(proto)?,
        append_forwarded_host: proto.append_x_forwarded_host,
        timeout: timeout("timeout", &proto.timeout, Some(TIMEOUT))?,
        idle_timeout: optional("idle_timeout", &proto.idle_timeout)?
            .map(|idle| Some(idle).filter(|idle| !idle.is_zero())),
        max_grpc_timeout,
        max_stream_duration: match stream {
            Some(s) => timeout("max_stream_duration.max_stream_duration", &s.max_stream_duration, None)?,
            None => None,
        },
        retry: retry.or_else(|| host.retry.clone()),
        mirrors: if own_mirrors.is_empty() { copies(&host.mirrors) } else { own_mirrors },
        hash: each("hash_policy", &proto.hash_policy, hash_policy)?.into_iter().flatten().collect(),
        high_priority: proto.priority() == RoutingPriority::High,
        upgrades: proto
            .upgrade_configs
            .iter()
            .map(|u| (u.upgrade_type.clone(), bool_or(&u.enabled, true)))
            .collect(),
    })
}

fn reject_unsupported(proto: &proto::RouteAction) -> Compiled<()> {
    let terminates = proto.upgrade_configs.iter().any(|upgrade| upgrade.connect_config.is_some());
    unsupported(&[
        (proto.internal_redirect_policy.is_some(), "internal_redirect_policy"),
        (proto.metadata_match.is_some(), "metadata_match"),
        (proto.hedge_policy.is_some(), "hedge_policy"),
        (proto.retry_policy_typed_config.is_some(), "retry_policy_typed_config"),
        (proto.path_rewrite_policy.is_some(), "path_rewrite_policy"),
        (terminates, "upgrade_configs.connect_config"),
    ])
}

fn target(proto: &proto::RouteAction, deps: Deps<'_>) -> Compiled<Target> {
    match required("cluster_specifier", &proto.cluster_specifier)? {
        ClusterSpecifier::Cluster(name) if name.is_empty() => Err(Reject::new("cluster", "is empty")),
        ClusterSpecifier::Cluster(name) => Ok(Target::Cluster(deps.clusters.slot(name))),
        ClusterSpecifier::ClusterHeader(name) => {
            Ok(Target::Header(HeaderKey::compile("cluster_header", name)?, deps.clusters.clone()))
        }
        ClusterSpecifier::WeightedClusters(weighted) => {
            self::weighted(weighted, deps).map(Target::Weighted).at("weighted_clusters")
        }
        _ => Err(Reject::new("cluster_specifier", "cluster specifier plugins are not supported")),
    }
}

fn weighted(proto: &proto::WeightedCluster, deps: Deps<'_>) -> Compiled<Weighted> {
    let weights: Vec<u32> = proto.clusters.iter().map(|c| u32_or(&c.weight, 0)).collect();
    if weights.iter().map(|w| u64::from(*w)).sum::<u64>() == 0 {
        return Err(Reject::new("clusters", "the weights must not all be 0"));
    }
    let choices = each("clusters", &proto.clusters, |cluster| {
        if cluster.name.is_empty() {
            return Err(Reject::new("name", "is empty"));
        }
        let mutations = Mutations::compile(Lists {
            request_add: &cluster.request_headers_to_add,
            request_remove: &cluster.request_headers_to_remove,
            response_add: &cluster.response_headers_to_add,
            response_remove: &cluster.response_headers_to_remove,
        })?;
        let host = cluster
            .host_rewrite_specifier
            .as_ref()
            .map(|HostRewriteSpecifier::HostRewriteLiteral(h)| h.clone());
        unsupported(&[
            (cluster.metadata_match.is_some(), "metadata_match"),
            (!cluster.typed_per_filter_config.is_empty(), "typed_per_filter_config"),
        ])?;
        Ok(WeightedCluster { cluster: deps.clusters.slot(&cluster.name), mutations, host })
    })?;
    let turns = Schedule::build(&weights);
    let next = AtomicUsize::new(fastrand::usize(..turns.len().max(1)));
    Ok(Weighted { choices, turns, next })
}

pub(super) fn mirrors(protos: &[RequestMirrorPolicy], deps: Deps<'_>) -> Compiled<Vec<Mirror>> {
    each("request_mirror_policies", protos, |policy| {
        if policy.cluster.is_empty() {
            return Err(Reject::new("cluster", "is empty; mirroring by header is not supported"));
        }
        Ok(Mirror {
            cluster: deps.clusters.slot(&policy.cluster),
            fraction: policy.runtime_fraction.as_ref().map_or(Fraction::ALL, Fraction::runtime),
            suffix: !policy.disable_shadow_host_suffix_append,
        })
    })
}

fn copies(mirrors: &[Mirror]) -> Vec<Mirror> {
    let copy =
        |m: &Mirror| Mirror { cluster: Arc::clone(&m.cluster), fraction: m.fraction, suffix: m.suffix };
    mirrors.iter().map(copy).collect()
}

fn hash_policy(proto: &HashProto) -> Compiled<Option<HashPolicy>> {
    let on = match required("policy_specifier", &proto.policy_specifier)? {
        PolicySpecifier::Header(header) => {
            HashOn::Header(HeaderKey::compile("header.header_name", &header.header_name)?)
        }
        PolicySpecifier::Cookie(cookie) => HashOn::Cookie(cookie.name.clone()),
        PolicySpecifier::ConnectionProperties(properties) if properties.source_ip => HashOn::SourceIp,
        PolicySpecifier::ConnectionProperties(_) => return Ok(None),
        PolicySpecifier::QueryParameter(query) => HashOn::Query(query.name.clone()),
        PolicySpecifier::FilterState(_) => return Err(Reject::new("filter_state", "is not supported")),
    };
    Ok(Some(HashPolicy { on, terminal: proto.terminal }))
}
