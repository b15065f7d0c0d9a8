//! Which of the proxy's own statistics are kept: few by default, more on request, as in Istio.

use meltemi_proto::envoy::config::metrics::v3::{StatsConfig, StatsMatcher, stats_matcher};
use meltemi_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use meltemi_proto::envoy::r#type::matcher::v3::{ListStringMatcher, RegexMatcher, StringMatcher};
use meltemi_proto::google::protobuf::BoolValue;

use crate::settings::Settings;

const PREFIXES: [&str; 7] =
    ["cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm", "reporter=", "component"];
const SUFFIXES: [&str; 4] = ["rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied"];
/// Makes a pattern of a text.
type Pattern = fn(String) -> MatchPattern;
/// Annotations that keep more, by the kind of match.
const ANNOTATIONS: [(&str, Pattern); 3] = [
    ("sidecar.istio.io/statsInclusionPrefixes", MatchPattern::Prefix),
    ("sidecar.istio.io/statsInclusionSuffixes", MatchPattern::Suffix),
    ("sidecar.istio.io/statsInclusionRegexps", regex),
];

pub(super) fn config(settings: &Settings) -> StatsConfig {
    let mut patterns: Vec<MatchPattern> = Vec::new();
    patterns.extend(PREFIXES.map(|text| MatchPattern::Prefix(text.to_owned())));
    patterns.extend(SUFFIXES.map(|text| MatchPattern::Suffix(text.to_owned())));
    patterns.push(MatchPattern::Suffix("downstream_cx_active".to_owned()));
    patterns.push(regex("vhost\\..*\\.route\\..*".to_owned()));
    if let Some(more) = &settings.proxy_config.proxy_stats_matcher {
        patterns.extend(more.inclusion_prefixes.iter().cloned().map(MatchPattern::Prefix));
        patterns.extend(more.inclusion_suffixes.iter().cloned().map(MatchPattern::Suffix));
        patterns.extend(more.inclusion_regexps.iter().cloned().map(regex));
    }
    for (name, pattern) in ANNOTATIONS {
        let list = settings.metadata.annotations.get(name).map(String::as_str).unwrap_or_default();
        patterns.extend(list.split(',').filter(|part| !part.is_empty()).map(|part| pattern(part.to_owned())));
    }
    let patterns = patterns
        .into_iter()
        .map(|pattern| StringMatcher { match_pattern: Some(pattern), ignore_case: false })
        .collect();
    let list = stats_matcher::StatsMatcher::InclusionList(ListStringMatcher { patterns });
    StatsConfig {
        use_all_default_tags: Some(BoolValue { value: true }),
        stats_matcher: Some(StatsMatcher { stats_matcher: Some(list) }),
        ..Default::default()
    }
}

fn regex(text: String) -> MatchPattern {
    MatchPattern::SafeRegex(RegexMatcher { regex: text, ..Default::default() })
}
