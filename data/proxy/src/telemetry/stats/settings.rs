//! The bootstrap's `stats_config`: tags, which statistics are kept, histogram buckets.

use std::sync::Arc;

use meltemi_proto::envoy::config::metrics::v3 as proto;

use super::histogram::DEFAULT_BUCKETS;
use super::tags::{self, Extracted, Tag};
use crate::base::reject::{At, Compiled, Reject, each};
use crate::matcher::string::StringMatcher;

/// Compiled `stats_config`.
#[derive(Clone, Debug)]
pub struct Settings {
    tags: Vec<Tag>,
    rule: Rule,
    buckets: Vec<(StringMatcher, Arc<[f64]>)>,
    default_buckets: Arc<[f64]>,
}

#[derive(Clone, Debug)]
enum Rule {
    All,
    None,
    Only(Vec<StringMatcher>),
    Except(Vec<StringMatcher>),
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
            Ok((StringMatcher::compile(matcher).at("match")?, Arc::from(setting.buckets.as_slice())))
        })?;
        Ok(Settings { tags, rule, buckets, default_buckets: DEFAULT_BUCKETS.into() })
    }

    /// Whether a statistic is kept at all.
    pub fn includes(&self, name: &str) -> bool {
        match &self.rule {
            Rule::All => true,
            Rule::None => false,
            Rule::Only(patterns) => patterns.iter().any(|p| p.is_match(name)),
            Rule::Except(patterns) => !patterns.iter().any(|p| p.is_match(name)),
        }
    }

    /// The bucket boundaries of a histogram.
    pub fn buckets(&self, name: &str) -> &Arc<[f64]> {
        self.buckets
            .iter()
            .find(|(p, _)| p.is_match(name))
            .map_or(&self.default_buckets, |(_, bounds)| bounds)
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
            Ok(Rule::Only(each("inclusion_list.patterns", &list.patterns, StringMatcher::compile)?))
        }
        Some(StatsMatcher::ExclusionList(list)) => {
            Ok(Rule::Except(each("exclusion_list.patterns", &list.patterns, StringMatcher::compile)?))
        }
    }
}
