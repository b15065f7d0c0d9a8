//! HTTP filters: one file each, one table of those we know.
//!
//! A filter sees the request's head on the way in and the response's head on the way out, both in place. It may answer itself or
//! wait for something; it never touches bodies here. `router` is always last and is what the exchange does itself.

pub mod alpn;
pub mod cors;
pub mod fault;
pub mod health_check;
pub mod peer_metadata;
pub mod stats;

use std::any::Any as StdAny;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderMap;
use meltemi_proto::any::message_name;
use meltemi_proto::envoy::config::core::v3::{Node, TrafficDirection};
use meltemi_proto::envoy::config::route::v3::FilterConfig;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use meltemi_proto::google::protobuf::Any;

use crate::base::body::Body;
use crate::base::head::RequestHead;
use crate::base::reject::{At, Compiled, Reject, each};
use crate::base::slot::Slots;
use crate::failure::Failure;
use crate::route::{Route, RouteTable};
use crate::telemetry::access_log::Sinks;
use crate::telemetry::istio::SeriesStore;
use crate::telemetry::istio::peer::OwnHeaders;
use crate::telemetry::stats::Registry;
use crate::telemetry::{LogContext, RequestInfo};
use crate::tls::secret::Secrets;
use crate::upstream::Cluster;

/// What compiling filters and listeners needs besides the proto.
#[derive(Clone)]
pub struct Deps {
    /// Clusters by name.
    pub clusters: Arc<Slots<Cluster>>,
    /// Route tables by name.
    pub routes: Arc<Slots<RouteTable>>,
    /// Secrets by name.
    pub secrets: Arc<Secrets>,
    /// Where statistics live.
    pub stats: Registry,
    /// Where access logs are written.
    pub sinks: Sinks,
    /// The standard Istio metrics.
    pub series: SeriesStore,
    /// This proxy.
    pub node: Arc<Node>,
    /// What this proxy says of itself to its peers.
    pub own: Option<Arc<OwnHeaders>>,
    /// `SO_MARK` on listening sockets, see [`crate::net::socket::BindOptions`].
    pub mark: Option<u32>,
}

/// One compiled filter.
pub enum Filter {
    /// `envoy.filters.http.router`
    Router(Router),
    /// `envoy.filters.http.cors`
    Cors,
    /// `envoy.filters.http.fault`
    Fault(fault::Fault),
    /// `envoy.filters.http.health_check`
    HealthCheck(health_check::HealthCheck),
    /// `istio.alpn`
    Alpn(Arc<alpn::AlpnOverrides>),
    /// `istio.stats`
    Stats(stats::Stats),
    /// `istio.peer_metadata`
    PeerMetadata(peer_metadata::PeerMetadata),
    /// Accepted, and nothing to do: `envoy.filters.http.grpc_stats`.
    Nothing,
}

/// The router's own settings.
#[derive(Debug, Default)]
pub struct Router {
    /// No `x-envoy-*` headers are added.
    pub suppress_envoy_headers: bool,
}

/// What a filter sees of an exchange.
pub struct Cx<'a> {
    /// The request's head.
    pub head: &'a mut RequestHead,
    /// The record of the request.
    pub info: &'a mut RequestInfo,
    /// The route, if one matched.
    pub route: Option<&'a Arc<Route>>,
    /// What filters leave for later steps.
    pub notes: &'a mut Notes,
}

/// What filters leave for later steps of the same exchange.
#[derive(Default)]
pub struct Notes {
    /// Protocols to offer in the upstream handshake.
    pub alpn: Option<Arc<alpn::AlpnOverrides>>,
    /// The CORS origin that was accepted.
    pub cors_origin: Option<http::HeaderValue>,
    /// The client told us about itself.
    pub peer_introduced: bool,
    /// What the request's headers say of us must not leave the mesh.
    pub only_inside: bool,
}

/// An answer made by a filter.
pub struct Reply {
    /// The response.
    pub response: http::Response<Body>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: &'static str,
}

/// What a filter decides about a request.
pub enum Verdict {
    /// Goes on.
    Continue,
    /// Is answered here.
    Reply(Box<Reply>),
    /// Fails.
    Fail(Failure),
    /// Goes on (or fails) when the future is done; it holds nothing of the exchange.
    Wait(Pin<Box<dyn Future<Output = Result<(), Failure>>>>),
}

impl Filter {
    /// Looks at a request before it is forwarded.
    pub fn on_request(&self, cx: &mut Cx<'_>) -> Verdict {
        match self {
            Self::Router(_) | Self::Stats(_) | Self::Nothing => Verdict::Continue,
            Self::Cors => cors::on_request(cx),
            Self::Fault(fault) => fault.on_request(cx),
            Self::HealthCheck(check) => check.on_request(cx),
            Self::Alpn(overrides) => {
                cx.notes.alpn = Some(overrides.clone());
                Verdict::Continue
            }
            Self::PeerMetadata(peer) => {
                peer.on_request(cx);
                Verdict::Continue
            }
        }
    }

    /// Looks at a response's head, whoever made it.
    pub fn on_response(&self, cx: &mut Cx<'_>, headers: &mut HeaderMap) {
        match self {
            Self::Cors => cors::on_response(cx, headers),
            Self::PeerMetadata(peer) => peer.on_response(cx, headers),
            _ => {}
        }
    }

    /// The request is over.
    pub fn on_end(&self, context: &LogContext<'_>) {
        if let Self::Stats(stats) = self {
            stats.record(context);
        }
    }
}

type Compile = fn(&Any, &Deps, TrafficDirection) -> Compiled<Filter>;

/// The known filters by the type of their configuration.
const KNOWN: &[(&str, Compile)] = &[
    ("envoy.extensions.filters.http.router.v3.Router", router),
    ("envoy.extensions.filters.http.cors.v3.Cors", |_, _, _| Ok(Filter::Cors)),
    ("envoy.extensions.filters.http.fault.v3.HTTPFault", |any, _, _| fault::compile(any).map(Filter::Fault)),
    ("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", |_, _, _| Ok(Filter::Nothing)),
    ("envoy.extensions.filters.http.health_check.v3.HealthCheck", |any, _, _| {
        health_check::compile(any).map(Filter::HealthCheck)
    }),
    ("istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", |any, _, _| {
        alpn::compile(any).map(|overrides| Filter::Alpn(Arc::new(overrides)))
    }),
    ("stats.PluginConfig", |any, deps, direction| stats::compile(any, deps, direction).map(Filter::Stats)),
    ("io.istio.http.peer_metadata.Config", |any, deps, _| {
        peer_metadata::compile(any, deps).map(Filter::PeerMetadata)
    }),
];

/// Names of the extensions the engine has, for `Node.extensions`.
pub fn known_types() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

fn router(any: &Any, _: &Deps, _: TrafficDirection) -> Compiled<Filter> {
    use meltemi_proto::envoy::extensions::filters::http::router::v3::Router as Proto;
    let proto = crate::base::reject::unpack::<Proto>("", any)?;
    Ok(Filter::Router(Router { suppress_envoy_headers: proto.suppress_envoy_headers }))
}

/// Compiles a chain of filters; the router must be its last.
pub fn compile(protos: &[HttpFilter], deps: &Deps, direction: TrafficDirection) -> Compiled<Vec<Filter>> {
    let compiled = each("http_filters", protos, |proto| {
        one(proto, deps, direction).at(format_args!("({})", proto.name))
    })?;
    let chain: Vec<Filter> = compiled.into_iter().flatten().collect();
    match chain.iter().position(|f| matches!(f, Filter::Router(_))) {
        Some(at) if at + 1 == chain.len() => Ok(chain),
        _ => Err(Reject::new("http_filters", "must end with envoy.filters.http.router")),
    }
}

fn one(proto: &HttpFilter, deps: &Deps, direction: TrafficDirection) -> Compiled<Option<Filter>> {
    if proto.disabled {
        return Ok(None);
    }
    let any = match &proto.config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(Reject::new("config_discovery", "extension config discovery is not supported"));
        }
        None => return Err(Reject::new("typed_config", "is required")),
    };
    let name = message_name(&any.type_url);
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, compile)) => compile(any, deps, direction).map(Some).at("typed_config"),
        None if proto.is_optional => Ok(None),
        None => Err(Reject::new("typed_config", format!("HTTP filter {name} is not supported"))),
    }
}

/// Compiles a filter's settings for one route, by the type of the message.
pub fn compile_per_route(name: &str, any: &Any) -> Compiled<Option<Arc<dyn StdAny + Send + Sync>>> {
    Ok(match message_name(&any.type_url) {
        "envoy.config.route.v3.FilterConfig" => return wrapped(name, any),
        "envoy.extensions.filters.http.cors.v3.CorsPolicy" => Some(Arc::new(cors::compile(any)?)),
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => Some(Arc::new(fault::compile(any)?)),
        other => {
            return Err(Reject::new("", format!("settings of a route of type {other} are not supported")));
        }
    })
}

/// Settings that say more than themselves.
fn wrapped(name: &str, any: &Any) -> Compiled<Option<Arc<dyn StdAny + Send + Sync>>> {
    let proto = crate::base::reject::unpack::<FilterConfig>("", any)?;
    if proto.disabled {
        return Err(Reject::new("disabled", "a filter cannot be switched off for a route"));
    }
    match &proto.config {
        None => Ok(None),
        Some(config) => match compile_per_route(name, config) {
            Err(_) if proto.is_optional => Ok(None),
            compiled => compiled.at("config"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_proto::any::pack;

    #[test]
    fn what_a_route_asks_of_a_filter_is_done_or_refused() {
        let cors = pack(&meltemi_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy::default());
        assert!(compile_per_route("cors", &cors).unwrap().is_some());
        let wrap = |config, disabled, is_optional| pack(&FilterConfig { config, disabled, is_optional });
        assert!(compile_per_route("cors", &wrap(Some(cors), false, false)).unwrap().is_some());
        assert_eq!(compile_per_route("cors", &wrap(None, true, false)).unwrap_err().field(), "disabled");
        let unknown = pack(&FilterConfig::default());
        let unknown = Any { type_url: "type.googleapis.com/some.Filter".into(), ..unknown };
        assert!(compile_per_route("some", &unknown).is_err());
        assert!(compile_per_route("some", &wrap(Some(unknown), false, true)).unwrap().is_none());
    }
}
