//! The HTTP options of a cluster, in their typed and their older form.

use meltemi_proto::envoy::config::cluster::v3::Cluster as Proto;
use meltemi_proto::envoy::config::core::v3::{
    Http2ProtocolOptions, HttpProtocolOptions as CommonOptions, KeepaliveSettings,
    UpstreamHttpProtocolOptions,
};
use meltemi_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use meltemi_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use meltemi_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
};

use super::positive;
use crate::base::duration::{timeout, u32_or};
use crate::base::reject::{At, Compiled, Reject, required, unpack};
use crate::upstream::cluster::{HttpOptions, UpstreamProtocol};

const TYPED: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Compiles whichever form is there.
#[allow(deprecated)] // The older form is still what bootstraps hold.
pub(super) fn compile(proto: &Proto) -> Compiled<HttpOptions> {
    let mut options = HttpOptions::default();
    if let Some(max) = &proto.max_requests_per_connection {
        options.max_requests_per_connection = Some(max.value).filter(|n| *n > 0);
    }
    if let Some(common) = &proto.common_http_protocol_options {
        self::common(&mut options, common).at("common_http_protocol_options")?;
    }
    if let Some(upstream) = &proto.upstream_http_protocol_options {
        server_names(&mut options, upstream).at("upstream_http_protocol_options")?;
    }
    if let Some(h2) = &proto.http2_protocol_options {
        options.protocol = UpstreamProtocol::Http2;
        http2(&mut options, h2).at("http2_protocol_options")?;
    }
    if let Some(any) = proto.typed_extension_protocol_options.get(TYPED) {
        let field = format!("typed_extension_protocol_options[{TYPED}]");
        typed(&mut options, &unpack::<HttpProtocolOptions>(&field, any)?).at(field)?;
    }
    Ok(options)
}

fn typed(options: &mut HttpOptions, proto: &HttpProtocolOptions) -> Compiled<()> {
    if let Some(common) = &proto.common_http_protocol_options {
        self::common(options, common).at("common_http_protocol_options")?;
    }
    if let Some(upstream) = &proto.upstream_http_protocol_options {
        server_names(options, upstream).at("upstream_http_protocol_options")?;
    }
    if !proto.http_filters.is_empty() {
        let only_codec = proto.http_filters.iter().all(|f| f.name == "envoy.filters.http.upstream_codec");
        if !only_codec {
            return Err(Reject::new("http_filters", "upstream HTTP filters are not supported"));
        }
    }
    match required("upstream_protocol_options", &proto.upstream_protocol_options)? {
        UpstreamProtocolOptions::ExplicitHttpConfig(explicit) => self::explicit(options, explicit),
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(config) => downstream(options, config),
        UpstreamProtocolOptions::AutoConfig(config) => auto(options, config),
    }
}

/// Which name handshakes ask for and certificates must have.
fn server_names(options: &mut HttpOptions, proto: &UpstreamHttpProtocolOptions) -> Compiled<()> {
    if !proto.override_auto_sni_header.is_empty() {
        return Err(Reject::new("override_auto_sni_header", "is not supported"));
    }
    if proto.auto_san_validation && !proto.auto_sni {
        return Err(Reject::new("auto_san_validation", "needs auto_sni"));
    }
    options.auto_sni = proto.auto_sni;
    options.auto_san_validation = proto.auto_san_validation;
    Ok(())
}

fn explicit(options: &mut HttpOptions, proto: &ExplicitHttpConfig) -> Compiled<()> {
    match required("explicit_http_config.protocol_config", &proto.protocol_config)? {
        ProtocolConfig::HttpProtocolOptions(_) => options.protocol = UpstreamProtocol::Http1,
        ProtocolConfig::Http2ProtocolOptions(h2) => {
            options.protocol = UpstreamProtocol::Http2;
            http2(options, h2).at("explicit_http_config.http2_protocol_options")?;
        }
        ProtocolConfig::Http3ProtocolOptions(_) => {
            return Err(Reject::new(
                "explicit_http_config.http3_protocol_options",
                "HTTP/3 is not supported",
            ));
        }
    }
    Ok(())
}

fn downstream(options: &mut HttpOptions, proto: &UseDownstreamHttpConfig) -> Compiled<()> {
    options.protocol = UpstreamProtocol::Downstream;
    proto.http2_protocol_options.as_ref().map_or(Ok(()), |h2| http2(options, h2))
}

fn auto(options: &mut HttpOptions, proto: &AutoHttpConfig) -> Compiled<()> {
    options.protocol = UpstreamProtocol::Auto;
    proto.http2_protocol_options.as_ref().map_or(Ok(()), |h2| http2(options, h2))
}

fn common(options: &mut HttpOptions, proto: &CommonOptions) -> Compiled<()> {
    options.idle_timeout = timeout("idle_timeout", &proto.idle_timeout, options.idle_timeout)?;
    options.max_connection_duration =
        timeout("max_connection_duration", &proto.max_connection_duration, None)?;
    options.max_stream_duration = timeout("max_stream_duration", &proto.max_stream_duration, None)?;
    options.max_headers = u32_or(&proto.max_headers_count, 100).clamp(1, 10_000) as usize;
    if let Some(max) = &proto.max_requests_per_connection {
        options.max_requests_per_connection = Some(max.value).filter(|n| *n > 0);
    }
    Ok(())
}

fn http2(options: &mut HttpOptions, proto: &Http2ProtocolOptions) -> Compiled<()> {
    const LARGEST: u32 = (1 << 31) - 1;
    let streams = u32_or(&proto.max_concurrent_streams, options.max_concurrent_streams);
    if !(1..=LARGEST).contains(&streams) {
        return Err(Reject::new("max_concurrent_streams", "must be 1 to 2147483647"));
    }
    options.max_concurrent_streams = streams;
    options.windows.0 = u32_or(&proto.initial_stream_window_size, options.windows.0).clamp(65_535, LARGEST);
    options.windows.1 =
        u32_or(&proto.initial_connection_window_size, options.windows.1).clamp(65_535, LARGEST);
    if let Some(KeepaliveSettings { interval: Some(interval), timeout: Some(timeout), .. }) =
        &proto.connection_keepalive
    {
        let interval = positive("connection_keepalive.interval", interval)?;
        options.keepalive = Some((interval, positive("connection_keepalive.timeout", timeout)?));
    }
    Ok(())
}
