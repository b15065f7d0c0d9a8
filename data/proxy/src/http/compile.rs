//! `HttpConnectionManager` → [`Hcm`].

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use meltemi_proto::envoy::config::core::v3::{Http2ProtocolOptions, TrafficDirection};
use meltemi_proto::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager as Proto;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation, StripPortMode,
};

use super::hcm::{
    Codec, Hcm, Limits, RequestId, Routes, ServerHeader, StripPort, Timeouts, Trust, Underscores,
};
use super::path::{EscapedSlashes, PathOptions};
use super::xfcc::ForwardClientCert;
use crate::base::duration::{bool_or, optional, timeout, u32_or};
use crate::base::reject::{At, Compiled, Reject, each, required, unsupported};
use crate::base::slot::Slot;
use crate::filters::{self, Deps, Filter};
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::stats::tables::HttpStats;

const HOUR: Duration = Duration::from_secs(3600);
const STREAM_IDLE: Duration = Duration::from_secs(300);
const DRAIN: Duration = Duration::from_secs(5);
const BUFFER: u32 = 1 << 20;

/// Compiles a connection manager of a listener with that direction and buffer limit.
pub fn compile(
    proto: &Proto,
    deps: &Deps,
    direction: TrafficDirection,
    buffer: Option<u32>,
) -> Compiled<Hcm> {
    if proto.stat_prefix.is_empty() {
        return Err(Reject::new("stat_prefix", "is empty"));
    }
    reject_unsupported(proto)?;
    if proto.local_reply_config.as_ref().is_some_and(|c| !c.mappers.is_empty() || c.body_format.is_some()) {
        return Err(Reject::new("local_reply_config", "is not supported"));
    }
    let filters = filters::compile(&proto.http_filters, deps, direction)?;
    let suppress_envoy_headers =
        filters.iter().any(|f| matches!(f, Filter::Router(router) if router.suppress_envoy_headers));
    Ok(Hcm {
        stats: HttpStats::new(&deps.stats, &format!("http.{}.", proto.stat_prefix)),
        codec: match proto.codec_type() {
            CodecType::Auto => Codec::Auto,
            CodecType::Http1 => Codec::Http1,
            CodecType::Http2 => Codec::Http2,
            CodecType::Http3 => return Err(Reject::new("codec_type", "HTTP3 is not supported")),
        },
        filters,
        routes: routes(proto, deps)?,
        server: server(proto)?,
        via: if proto.via.is_empty() { None } else { Some(value("via", &proto.via)?) },
        trust: Trust {
            use_remote_address: bool_or(&proto.use_remote_address, false),
            hops: proto.xff_num_trusted_hops,
            skip_append: proto.skip_xff_append,
            internal: internal(proto)?,
        },
        request_id: RequestId {
            generate: bool_or(&proto.generate_request_id, true),
            preserve_external: proto.preserve_external_request_id,
            in_response: proto.always_set_request_id_in_response,
        },
        client_cert: ForwardClientCert::compile(proto),
        path: path(proto),
        strip_port: match (&proto.strip_port_mode, proto.strip_matching_host_port) {
            (Some(StripPortMode::StripAnyHostPort(true)), _) => StripPort::Any,
            (_, true) => StripPort::Matching,
            _ => StripPort::No,
        },
        strip_trailing_dot: proto.strip_trailing_host_dot,
        underscores: underscores(proto),
        http10_host: http10_host(proto),
        timeouts: timeouts(proto)?,
        limits: limits(proto, buffer)?,
        upgrades: proto
            .upgrade_configs
            .iter()
            .map(|u| (u.upgrade_type.clone(), bool_or(&u.enabled, true)))
            .collect(),
        access_logs: AccessLogs::compile(&proto.access_log, &deps.sinks)?,
        suppress_envoy_headers,
        inbound: direction == TrafficDirection::Inbound,
    })
}

/// What would say something else to upstreams, or believe clients less. Tracing only observes, and meshes set it everywhere.
fn reject_unsupported(proto: &Proto) -> Compiled<()> {
    let cert = proto.set_current_client_cert_details.as_ref();
    let port = proto.append_x_forwarded_port;
    unsupported(&[
        (!proto.original_ip_detection_extensions.is_empty(), "original_ip_detection_extensions"),
        (!proto.early_header_mutation_extensions.is_empty(), "early_header_mutation_extensions"),
        (proto.forward_client_cert_matcher.is_some(), "forward_client_cert_matcher"),
        (cert.is_some_and(|details| details.chain), "set_current_client_cert_details.chain"),
        (proto.scheme_header_transformation.is_some(), "scheme_header_transformation"),
        (bool_or(&proto.add_user_agent, false), "add_user_agent"),
        (proto.proxy_100_continue, "proxy_100_continue"),
        (port, "append_x_forwarded_port"),
    ])
}

fn routes(proto: &Proto, deps: &Deps) -> Compiled<Routes> {
    match required("route_specifier", &proto.route_specifier)? {
        RouteSpecifier::RouteConfig(config) => {
            let deps = crate::route::compile::Deps {
                clusters: &deps.clusters,
                per_filter: &filters::compile_per_route,
            };
            let table = crate::route::compile::compile(config, deps).at("route_config")?;
            Ok(Routes { table: Slot::filled(&config.name, Arc::new(table)), discovered: false })
        }
        RouteSpecifier::Rds(rds) if rds.route_config_name.is_empty() => {
            Err(Reject::new("rds.route_config_name", "is empty"))
        }
        RouteSpecifier::Rds(rds) => {
            Ok(Routes { table: deps.routes.slot(&rds.route_config_name), discovered: true })
        }
        RouteSpecifier::ScopedRoutes(_) => Err(Reject::new("scoped_routes", "are not supported; use rds")),
    }
}

/// Which addresses are inside; none unless configured, for a client may well share a private network with us.
fn internal(proto: &Proto) -> Compiled<Vec<ipnet::IpNet>> {
    let ranges = proto.internal_address_config.as_ref().map_or(&[][..], |config| &config.cidr_ranges);
    each("cidr_ranges", ranges, crate::matcher::cidr::compile).at("internal_address_config")
}

fn value(field: &str, text: &str) -> Compiled<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Reject::new(field, "is not a header value"))
}

fn server(proto: &Proto) -> Compiled<ServerHeader> {
    let name = if proto.server_name.is_empty() { "envoy" } else { &proto.server_name };
    let name = value("server_name", name)?;
    Ok(match proto.server_header_transformation() {
        ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite(name),
        ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent(name),
        ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
    })
}

fn path(proto: &Proto) -> PathOptions {
    PathOptions {
        normalize: bool_or(&proto.normalize_path, false),
        merge_slashes: proto.merge_slashes,
        escaped: match proto.path_with_escaped_slashes_action() {
            PathWithEscapedSlashesAction::ImplementationSpecificDefault
            | PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
            PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
            PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::Redirect,
            PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::Forward,
        },
    }
}

fn underscores(proto: &Proto) -> Underscores {
    match proto.common_http_protocol_options.as_ref().map(|o| o.headers_with_underscores_action()) {
        Some(HeadersWithUnderscoresAction::RejectRequest) => Underscores::Reject,
        Some(HeadersWithUnderscoresAction::DropHeader) => Underscores::Drop,
        _ => Underscores::Allow,
    }
}

/// HTTP/1.0 has to be asked for, as with Envoy.
fn http10_host(proto: &Proto) -> Option<String> {
    let options = proto.http_protocol_options.as_ref().filter(|options| options.accept_http_10);
    options.map(|options| options.default_host_for_http_10.clone())
}

fn timeouts(proto: &Proto) -> Compiled<Timeouts> {
    let common = proto.common_http_protocol_options.as_ref();
    let field = |field| format!("common_http_protocol_options.{field}");
    Ok(Timeouts {
        stream_idle: timeout("stream_idle_timeout", &proto.stream_idle_timeout, Some(STREAM_IDLE))?,
        request: timeout("request_timeout", &proto.request_timeout, None)?,
        headers: timeout("request_headers_timeout", &proto.request_headers_timeout, None)?,
        idle: timeout(&field("idle_timeout"), &common.and_then(|c| c.idle_timeout), Some(HOUR))?,
        max_connection: timeout(
            &field("max_connection_duration"),
            &common.and_then(|c| c.max_connection_duration),
            None,
        )?,
        max_stream: timeout(
            &field("max_stream_duration"),
            &common.and_then(|c| c.max_stream_duration),
            None,
        )?,
        drain: optional("drain_timeout", &proto.drain_timeout)?.unwrap_or(DRAIN),
    })
}

/// Interval and time-out of PINGs.
fn keepalive(http2: Option<&Http2ProtocolOptions>) -> Compiled<Option<(Duration, Duration)>> {
    let Some(proto) = http2.and_then(|http2| http2.connection_keepalive.as_ref()) else { return Ok(None) };
    let (interval, wait) =
        (timeout("interval", &proto.interval, None)?, timeout("timeout", &proto.timeout, None)?);
    Ok(interval.zip(wait))
}

fn limits(proto: &Proto, buffer: Option<u32>) -> Compiled<Limits> {
    const LARGEST_WINDOW: u32 = (1 << 31) - 1;
    let common = proto.common_http_protocol_options.as_ref();
    let http2 = proto.http2_protocol_options.as_ref();
    let kilobytes = u32_or(&proto.max_request_headers_kb, 60);
    if !(1..=8192).contains(&kilobytes) {
        return Err(Reject::new("max_request_headers_kb", "must be 1 to 8192"));
    }
    let window = |value: Option<u32>, default| value.unwrap_or(default).clamp(65_535, LARGEST_WINDOW);
    Ok(Limits {
        head_bytes: kilobytes as usize * 1024,
        headers: common.map_or(100, |c| u32_or(&c.max_headers_count, 100)).clamp(1, 10_000) as usize,
        requests: common
            .and_then(|c| c.max_requests_per_connection.as_ref())
            .map(|v| v.value)
            .filter(|n| *n > 0),
        streams: http2.map_or(1024, |h| u32_or(&h.max_concurrent_streams, 1024)).max(1),
        windows: (
            window(http2.and_then(|h| h.initial_stream_window_size.as_ref()).map(|v| v.value), 1 << 20),
            window(http2.and_then(|h| h.initial_connection_window_size.as_ref()).map(|v| v.value), 16 << 20),
        ),
        buffer: buffer.unwrap_or(BUFFER) as usize,
        keepalive: keepalive(http2).at("http2_protocol_options.connection_keepalive")?,
    })
}
