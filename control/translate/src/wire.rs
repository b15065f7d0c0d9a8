//! Small makers of Envoy's messages, so that the translation reads like the configuration it makes.

use std::collections::BTreeMap;
use std::time::Duration;

use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::r#type::matcher::v3 as matcher;
use meltemi_proto::envoy::r#type::v3 as kind;
use meltemi_proto::google::protobuf as wkt;
use wkt::value::Kind;

/// `google.protobuf.Duration`.
pub fn duration(value: Duration) -> wkt::Duration {
    wkt::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

/// `google.protobuf.BoolValue`.
pub fn bool(value: bool) -> Option<wkt::BoolValue> {
    Some(wkt::BoolValue { value })
}

/// `google.protobuf.UInt32Value`.
pub fn u32(value: u32) -> Option<wkt::UInt32Value> {
    Some(wkt::UInt32Value { value })
}

/// A socket address.
pub fn address(ip: &str, port: u16) -> core::Address {
    let socket = core::SocketAddress {
        address: ip.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

/// The address of a Unix socket.
pub fn pipe(path: &str) -> core::Address {
    let pipe = core::Pipe { path: path.to_owned(), mode: 0 };
    core::Address { address: Some(core::address::Address::Pipe(pipe)) }
}

/// An IP with a prefix length.
pub fn cidr(net: ipnet::IpNet) -> core::CidrRange {
    core::CidrRange { address_prefix: net.network().to_string(), prefix_len: u32(net.prefix_len().into()) }
}

/// Reads `10.0.0.0/8` or a single address.
pub fn parse_cidr(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into()))
}

/// A string in a `Struct`.
pub fn string(value: impl Into<String>) -> wkt::Value {
    wkt::Value { kind: Some(Kind::StringValue(value.into())) }
}

/// A list in a `Struct`.
pub fn list(values: Vec<wkt::Value>) -> wkt::Value {
    wkt::Value { kind: Some(Kind::ListValue(wkt::ListValue { values })) }
}

/// A `Struct` from pairs.
pub fn fields<const N: usize>(pairs: [(&str, wkt::Value); N]) -> wkt::Struct {
    wkt::Struct { fields: pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}

/// A `Struct` as a value.
pub fn object(value: wkt::Struct) -> wkt::Value {
    wkt::Value { kind: Some(Kind::StructValue(value)) }
}

/// `Metadata` with filter metadata only.
pub fn metadata(filters: BTreeMap<&str, wkt::Struct>) -> core::Metadata {
    core::Metadata {
        filter_metadata: filters.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Default::default()
    }
}

/// A filter's name under which Istio leaves its own metadata.
pub const ISTIO: &str = "istio";

/// Percent → Envoy's fraction, with a millionth as the finest step.
pub fn percent(value: f64) -> kind::FractionalPercent {
    kind::FractionalPercent {
        numerator: (value.clamp(0.0, 100.0) * 10_000.0).round() as u32,
        denominator: kind::fractional_percent::DenominatorType::Million as i32,
    }
}

/// A string that must be equal.
pub fn exact(value: &str) -> matcher::StringMatcher {
    pattern(matcher::string_matcher::MatchPattern::Exact(value.to_owned()))
}

/// A string that must begin so.
pub fn prefix(value: &str) -> matcher::StringMatcher {
    pattern(matcher::string_matcher::MatchPattern::Prefix(value.to_owned()))
}

/// A string that must match whole.
pub fn regex(value: &str) -> matcher::StringMatcher {
    pattern(matcher::string_matcher::MatchPattern::SafeRegex(safe_regex(value)))
}

fn pattern(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher { match_pattern: Some(pattern), ignore_case: false }
}

/// RE2, as Envoy reads it.
pub fn safe_regex(value: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: value.to_owned(), ..Default::default() }
}

/// Configuration over the aggregated stream that the bootstrap sets up.
pub fn ads() -> core::ConfigSource {
    core::ConfigSource {
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource::default(),
        )),
        initial_fetch_timeout: Some(wkt::Duration::default()),
        resource_api_version: core::ApiVersion::V3 as i32,
        ..Default::default()
    }
}

/// A header that replaces those of the same name.
pub fn header(name: &str, value: &str, append: bool) -> core::HeaderValueOption {
    use core::header_value_option::HeaderAppendAction as Action;
    let action = if append { Action::AppendIfExistsOrAdd } else { Action::OverwriteIfExistsOrAdd };
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        append_action: action as i32,
        ..Default::default()
    }
}
