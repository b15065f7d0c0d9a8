//! The bootstrap's `stats_config`: tags, which statistics are kept, histogram buckets.

use std::sync::Arc;

use meltemi_proto::envoy::config::metrics::v3 as proto;
use meltemi_proto::envoy::r#type::matcher::v3 as matcher;
use regex_automata::meta::Regex;

use super::histogram::DEFAULT_BUCKETS;
use super::tags::{self, Extracted, Tag};
use crate::base::reject::{At, Compiled, Reject, each};

/// Compiled `stats_config`.
#[derive(Clone, Debug)]
pub struct Settings {
    tags: Vec<Tag>,
    rule: Rule,
    buckets: Vec<(Pattern, Arc<[f64]>)>,
    default_buckets: Arc<[f64]>,
}

#[derive(Clone, Debug)]
enum Rule {
    All,
    None,
    Only(Vec<Pattern>),
    Except(Vec<Pattern>),
}

#[derive(Clone, Debug)]
struct Pattern {
    test: Test,
    ignore_case: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            tags: tags::defaults(),
            rule: Rule::All,
            buckets: Vec::new(),
            default_buckets: DEFAULT_BUCKETS.into(),
        }
    }
}

impl Settings {
    /// Compiles the bootstrap's `stats_config`.
    ///
    /// # Errors
    /// Names the field that cannot be compiled.
    pub fn compile(config: &proto::StatsConfig) -> Compiled<Self> {
        let defaults = config.use_all_default_tags.is_none_or(|wanted| wanted.value);
        let mut tags = if defaults { tags::defaults() } else { Vec::new() };
        tags.extend(each("stats_tags", &config.stats_tags, tag)?);
        let rule = config.stats_matcher.as_ref().map_or(Ok(Rule::All), rule).at("stats_matcher")?;
        let buckets = each("histogram_bucket_settings", &config.histogram_bucket_settings, |setting| {
            let matcher = setting.r#match.as_ref().ok_or_else(|| Reject::new("match", "is required"))?;
            Ok((pattern(matcher).at("match")?, Arc::from(setting.buckets.as_slice())))
        })?;
        Ok(Settings { tags, rule, buckets, default_buckets: DEFAULT_BUCKETS.into() })
    }

    /// Whether a statistic is kept at all.
    pub fn includes(&self, name: &str) -> bool {
        match &self.rule {
            Rule::All => true,
            Rule::None => false,
            Rule::Only(patterns) => patterns.iter().any(|p| p.matches(name)),
            Rule::Except(patterns) => !patterns.iter().any(|p| p.matches(name)),
        }
    }

    /// The bucket boundaries of a histogram.
    pub fn buckets(&self, name: &str) -> &Arc<[f64]> {
        self.buckets.iter().find(|(p, _)| p.matches(name)).map_or(&self.default_buckets, |(_, bounds)| bounds)
    }

    /// Splits a name into what remains and its tags.
    pub fn extract(&self, name: &str) -> Extracted {
        tags::extract(&self.tags, name)
    }
}

fn tag(specifier: &proto::TagSpecifier) -> Compiled<Tag> {
    use proto::tag_specifier::TagValue;
    let label: Arc<str> = specifier.tag_name.as_str().into();
    match &specifier.tag_value {
        Some(TagValue::FixedValue(value)) => Ok(Tag::Fixed(label, value.as_str().into())),
        Some(TagValue::Regex(regex)) if !regex.is_empty() => tags::pattern(regex)
            .map(|regex| Tag::Pattern(label, regex))
            .map_err(|reason| Reject::new("regex", format!("tag {:?}: {reason}", specifier.tag_name))),
        // Without a pattern the name is that of one of Envoy's defaults.
        _ => tags::defaults()
            .into_iter()
            .find(|tag| matches!(tag, Tag::Pattern(known, _) if *known == label))
            .ok_or_else(|| {
                Reject::new(
                    "tag_name",
                    format!("{:?} is no default tag and has no regex", specifier.tag_name),
                )
            }),
    }
}

fn rule(config: &proto::StatsMatcher) -> Compiled<Rule> {
    use proto::stats_matcher::StatsMatcher;
    match &config.stats_matcher {
        None | Some(StatsMatcher::RejectAll(false)) => Ok(Rule::All),
        Some(StatsMatcher::RejectAll(true)) => Ok(Rule::None),
        Some(StatsMatcher::InclusionList(list)) => {
            Ok(Rule::Only(each("inclusion_list.patterns", &list.patterns, pattern)?))
        }
        Some(StatsMatcher::ExclusionList(list)) => {
            Ok(Rule::Except(each("exclusion_list.patterns", &list.patterns, pattern)?))
        }
    }
}

fn pattern(config: &matcher::StringMatcher) -> Compiled<Pattern> {
    use matcher::string_matcher::MatchPattern;
    let case = |text: &str| if config.ignore_case { text.to_lowercase() } else { text.to_owned() };
    let test = match &config.match_pattern {
        Some(MatchPattern::Exact(text)) => Test::Exact(case(text)),
        Some(MatchPattern::Prefix(text)) => Test::Prefix(case(text)),
        Some(MatchPattern::Suffix(text)) => Test::Suffix(case(text)),
        Some(MatchPattern::Contains(text)) => Test::Contains(case(text)),
        Some(MatchPattern::SafeRegex(regex)) => {
            let anchored = format!("^(?:{})$", regex.regex);
            Test::Regex(Regex::new(&anchored).map_err(|e| Reject::new("safe_regex.regex", e.to_string()))?)
        }
        Some(MatchPattern::Custom(_)) => {
            return Err(Reject::new("custom", "custom matchers are not supported here"));
        }
        None => {
            return Err(Reject::new("", "one of exact, prefix, suffix, contains, safe_regex is required"));
        }
    };
    Ok(Pattern { test, ignore_case: config.ignore_case })
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        if self.ignore_case { self.test.matches(&name.to_lowercase()) } else { self.test.matches(name) }
    }
}

impl Test {
    fn matches(&self, name: &str) -> bool {
        match self {
            Test::Exact(text) => name == text,
            Test::Prefix(text) => name.starts_with(text.as_str()),
            Test::Suffix(text) => name.ends_with(text.as_str()),
            Test::Contains(text) => name.contains(text.as_str()),
            Test::Regex(regex) => regex.is_match(name),
        }
    }
}
