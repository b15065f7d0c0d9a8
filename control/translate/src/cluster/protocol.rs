//! Which HTTP version a cluster speaks.

use meltemi_config::istio::destination_rule::{H2UpgradePolicy, HttpSettings};
use meltemi_mesh::{Protocol, Snapshot};
use meltemi_proto::any;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use meltemi_proto::envoy::extensions::upstreams::http::v3::http_protocol_options as options;
use options::UpstreamProtocolOptions;
use options::explicit_http_config::ProtocolConfig;

use crate::wire;

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Streams on one HTTP/2 connection: in effect no limit.
const MAX_STREAMS: u32 = 2_147_483_647;

/// The version of the request goes on upstream.
pub fn follow_client(cluster: &mut Cluster) {
    set(cluster, HttpProtocolOptions { upstream_protocol_options: Some(follow(None)), ..Default::default() });
}

/// What is known of an upstream's HTTP.
pub struct Upstream<'a> {
    /// What the port speaks.
    pub protocol: Protocol,
    /// Settings of the DestinationRule.
    pub settings: Option<&'a HttpSettings>,
    /// The server's name in the certificate follows the request's host.
    pub sni_from_host: bool,
    /// With that, the names in the certificate must be the request's host: no others are asked for.
    pub names_from_host: bool,
}

/// Sets the options of an outbound cluster.
pub fn apply(cluster: &mut Cluster, snapshot: &Snapshot, upstream: &Upstream<'_>) {
    let settings = upstream.settings;
    let common = settings.and_then(common_options);
    let sni = upstream.sni_from_host.then(|| core::UpstreamHttpProtocolOptions {
        auto_sni: true,
        auto_san_validation: upstream.names_from_host,
        ..Default::default()
    });
    let version = version(snapshot, upstream);
    if version.is_none() && common.is_none() && sni.is_none() {
        return;
    }
    set(
        cluster,
        HttpProtocolOptions {
            common_http_protocol_options: common,
            upstream_http_protocol_options: sni,
            upstream_protocol_options: Some(version.unwrap_or_else(http1)),
            ..Default::default()
        },
    );
}

/// `None` means plain HTTP/1.1, which is the default.
fn version(snapshot: &Snapshot, upstream: &Upstream<'_>) -> Option<UpstreamProtocolOptions> {
    let streams = upstream.settings.map(|s| s.max_concurrent_streams).and_then(|n| u32::try_from(n).ok());
    let streams = streams.filter(|n| *n > 0);
    if upstream.settings.is_some_and(|s| s.use_client_protocol) {
        return Some(follow(streams));
    }
    match upstream.protocol {
        _ if is_http2(snapshot, upstream) => Some(http2(streams)),
        Protocol::Auto => Some(follow(streams)),
        _ => None,
    }
}

/// Does every request go as HTTP/2: because the port speaks it, or by an upgrade?
pub fn is_http2(snapshot: &Snapshot, upstream: &Upstream<'_>) -> bool {
    let own = upstream.settings.map(|s| s.h2_upgrade_policy).unwrap_or_default();
    let policy = match own {
        H2UpgradePolicy::Default => snapshot.settings.mesh.h2_upgrade_policy,
        own => own,
    };
    let upgraded = upstream.protocol == Protocol::Http && policy == H2UpgradePolicy::Upgrade;
    let follows = upstream.settings.is_some_and(|s| s.use_client_protocol);
    !follows && (upgraded || upstream.protocol.is_http2())
}

fn http1() -> UpstreamProtocolOptions {
    explicit(ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default()))
}

fn http2(streams: Option<u32>) -> UpstreamProtocolOptions {
    explicit(ProtocolConfig::Http2ProtocolOptions(http2_options(streams)))
}

fn explicit(config: ProtocolConfig) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::ExplicitHttpConfig(options::ExplicitHttpConfig { protocol_config: Some(config) })
}

fn follow(streams: Option<u32>) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::UseDownstreamProtocolConfig(options::UseDownstreamHttpConfig {
        http_protocol_options: Some(core::Http1ProtocolOptions::default()),
        http2_protocol_options: Some(http2_options(streams)),
        ..Default::default()
    })
}

fn http2_options(streams: Option<u32>) -> core::Http2ProtocolOptions {
    core::Http2ProtocolOptions {
        max_concurrent_streams: wire::u32(streams.unwrap_or(MAX_STREAMS)),
        ..Default::default()
    }
}

fn common_options(settings: &HttpSettings) -> Option<core::HttpProtocolOptions> {
    let requests = u32::try_from(settings.max_requests_per_connection).ok().filter(|n| *n > 0);
    let common = core::HttpProtocolOptions {
        idle_timeout: settings.idle_timeout.map(|d| wire::duration(d.to_std())),
        max_requests_per_connection: requests.and_then(wire::u32),
        ..Default::default()
    };
    (common != core::HttpProtocolOptions::default()).then_some(common)
}

fn set(cluster: &mut Cluster, options: HttpProtocolOptions) {
    cluster.typed_extension_protocol_options.insert(OPTIONS.to_owned(), any::pack(&options));
}
