//! Which of the proxy's own statistics are kept: few by default, more on request, as in Istio.

use std::collections::BTreeMap;

use meltemi_proto::envoy::config::metrics::v3::tag_specifier::TagValue;
use meltemi_proto::envoy::config::metrics::v3::{
    HistogramBucketSettings, StatsConfig, StatsMatcher, TagSpecifier, stats_matcher,
};
use meltemi_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use meltemi_proto::envoy::r#type::matcher::v3::{ListStringMatcher, RegexMatcher, StringMatcher};
use meltemi_proto::google::protobuf::BoolValue;

use crate::settings::Settings;

const PREFIXES: [&str; 8] = [
    "cluster_manager",
    "listener_manager",
    "server",
    "cluster.xds-grpc",
    "wasm",
    "reporter=",
    "component",
    "istio",
];
const SUFFIXES: [&str; 4] = ["rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied"];
/// Parts of names that Prometheus shows as labels: dashboards ask for `cluster_name`, not for Envoy's `envoy_cluster_name`. The
/// first group is cut out of the name, the second is the value. Addresses may end with a `;` that marks their end.
const TAGS: [(&str, &str); 9] = [
    ("cluster_name", r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)"),
    ("tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
    ("http_conn_manager_prefix", r"^http\.(((?:inbound_|outbound_)?[_.\[\]0-9a-fA-F]+;?|[^.;]+)\.)"),
    ("listener_address", r"^listener\.(([_.\[\]0-9a-fA-F]+;?|[^.;]+)\.)"),
    ("authz_enforce_result", r"rbac(\.(allowed|denied))"),
    ("authz_dry_run_action", r"(\.istio_dry_run_(allow|deny)_)"),
    ("authz_dry_run_result", r"(\.shadow_(allowed|denied))"),
];
/// Buckets of histograms by the beginning of their names, as JSON.
const BUCKETS: &str = "sidecar.istio.io/statsHistogramBuckets";
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
    let annotation = settings.metadata.annotations.get(BUCKETS).map(String::as_str).unwrap_or_default();
    StatsConfig {
        stats_tags: TAGS.map(|(name, regex)| tag(name, regex)).into(),
        use_all_default_tags: Some(BoolValue { value: false }),
        stats_matcher: Some(StatsMatcher { stats_matcher: Some(list) }),
        histogram_bucket_settings: buckets(annotation),
        ..Default::default()
    }
}

fn tag(name: &str, regex: &str) -> TagSpecifier {
    TagSpecifier { tag_name: name.to_owned(), tag_value: Some(TagValue::Regex(regex.to_owned())) }
}

/// Buckets from the annotation; what is not a map from prefixes to bounds is left out with a warning.
fn buckets(annotation: &str) -> Vec<HistogramBucketSettings> {
    if annotation.is_empty() {
        return Vec::new();
    }
    let by_prefix: BTreeMap<String, Vec<f64>> = serde_json::from_str(annotation).unwrap_or_else(|error| {
        tracing::warn!(annotation = BUCKETS, %error, "expected {{\"<prefix>\": [<bound>, …]}}");
        BTreeMap::new()
    });
    let setting = |(prefix, buckets): (String, Vec<f64>)| {
        let matcher = StringMatcher { match_pattern: Some(MatchPattern::Prefix(prefix)), ignore_case: false };
        HistogramBucketSettings { r#match: Some(matcher), buckets, ..Default::default() }
    };
    by_prefix.into_iter().map(setting).collect()
}

fn regex(text: String) -> MatchPattern {
    MatchPattern::SafeRegex(RegexMatcher { regex: text, ..Default::default() })
}
