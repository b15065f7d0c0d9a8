//! Access-log filters: which requests are worth a line.

use meltemi_proto::envoy::config::accesslog::v3 as proto;
use proto::access_log_filter::FilterSpecifier;
use proto::comparison_filter::Op;

use crate::base::head::RequestHead;
use crate::base::reject::{At, Compiled, Reject, each, required};
use crate::matcher::fraction::Fraction;
use crate::matcher::header::HeaderMatcher;
use crate::telemetry::flags::Flags;
use crate::telemetry::info::LogContext;

/// A compiled filter.
#[derive(Debug)]
pub(super) enum Filter {
    StatusCode(Comparison),
    Duration(Comparison),
    NotHealthCheck,
    Always,
    Sampled(Fraction),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Header(Box<HeaderMatcher>),
    /// One of these flags, or any flag at all.
    Flags(Option<Flags>),
    GrpcStatus {
        statuses: Vec<u32>,
        exclude: bool,
    },
    HasMetadata {
        filter: String,
        path: Vec<String>,
        expected: Option<serde_json::Value>,
        when_absent: bool,
    },
}

/// A number compared with a fixed one.
#[derive(Debug)]
pub(super) struct Comparison {
    op: Op,
    value: u64,
}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// Names the field that is missing or not supported.
    pub(super) fn compile(filter: &proto::AccessLogFilter) -> Compiled<Self> {
        use FilterSpecifier as F;
        Ok(match required("filter_specifier", &filter.filter_specifier)? {
            F::StatusCodeFilter(f) => Filter::StatusCode(comparison(&f.comparison).at("status_code_filter")?),
            F::DurationFilter(f) => Filter::Duration(comparison(&f.comparison).at("duration_filter")?),
            F::NotHealthCheckFilter(_) => Filter::NotHealthCheck,
            // Every request may be traced here, and every log here is written when the request ends.
            F::TraceableFilter(_) | F::LogTypeFilter(_) => Filter::Always,
            F::RuntimeFilter(f) => {
                Filter::Sampled(f.percent_sampled.as_ref().map_or(Fraction::ALL, Fraction::compile))
            }
            F::AndFilter(f) => Filter::All(each("and_filter.filters", &f.filters, Filter::compile)?),
            F::OrFilter(f) => Filter::Any(each("or_filter.filters", &f.filters, Filter::compile)?),
            F::HeaderFilter(f) => {
                let matcher =
                    HeaderMatcher::compile(required("header", &f.header)?).at("header_filter.header")?;
                Filter::Header(Box::new(matcher))
            }
            F::ResponseFlagFilter(f) => Filter::Flags(flags(&f.flags).at("response_flag_filter.flags")?),
            F::GrpcStatusFilter(f) => {
                let statuses = f.statuses.iter().filter_map(|status| u32::try_from(*status).ok()).collect();
                Filter::GrpcStatus { statuses, exclude: f.exclude }
            }
            F::MetadataFilter(f) => metadata(f).at("metadata_filter")?,
            F::ExtensionFilter(f) => {
                return Err(Reject::new("extension_filter", format!("{:?} is not supported", f.name)));
            }
        })
    }

    /// Whether the request passes.
    pub(super) fn passes(&self, context: &LogContext<'_>) -> bool {
        let info = context.info;
        match self {
            Filter::StatusCode(comparison) => comparison.holds(info.response_code.unwrap_or(0).into()),
            Filter::Duration(comparison) => {
                comparison.holds(u64::try_from(info.duration().as_millis()).unwrap_or(u64::MAX))
            }
            Filter::NotHealthCheck => !info.health_check,
            Filter::Always => true,
            Filter::Sampled(fraction) => fraction.draw(),
            Filter::All(filters) => filters.iter().all(|filter| filter.passes(context)),
            Filter::Any(filters) => filters.iter().any(|filter| filter.passes(context)),
            Filter::Header(matcher) => match context.request {
                Some(head) => matcher.is_match(head),
                None => matcher.is_match(&RequestHead::default()),
            },
            Filter::Flags(None) => !info.flags.is_empty(),
            Filter::Flags(Some(flags)) => info.flags.intersects(*flags),
            Filter::GrpcStatus { statuses, exclude } => {
                statuses.contains(&context.grpc_status().unwrap_or(2)) != *exclude
            }
            Filter::HasMetadata { filter, path, expected, when_absent } => {
                match find(context, filter, path) {
                    Some(value) => expected.as_ref().is_none_or(|expected| value == expected),
                    None => *when_absent,
                }
            }
        }
    }
}

fn find<'a>(context: &LogContext<'a>, filter: &str, path: &[String]) -> Option<&'a serde_json::Value> {
    let (first, rest) = path.split_first()?;
    let value = context.info.metadata.as_ref()?.get(filter)?.get(first)?;
    rest.iter().try_fold(value, |value, key| value.get(key))
}

fn comparison(filter: &Option<proto::ComparisonFilter>) -> Compiled<Comparison> {
    let filter = required("comparison", filter)?;
    let value = required("comparison.value", &filter.value)?.default_value;
    let op = Op::try_from(filter.op).map_err(|_| Reject::new("comparison.op", "is not EQ, GE, LE or NE"))?;
    Ok(Comparison { op, value: value.into() })
}

impl Comparison {
    fn holds(&self, value: u64) -> bool {
        match self.op {
            Op::Eq => value == self.value,
            Op::Ge => value >= self.value,
            Op::Le => value <= self.value,
            Op::Ne => value != self.value,
        }
    }
}

fn flags(names: &[String]) -> Compiled<Option<Flags>> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut all = Flags::NONE;
    for name in names {
        all.set(
            Flags::parse(name).ok_or_else(|| Reject::new("", format!("{name:?} is not a response flag")))?,
        );
    }
    Ok(Some(all))
}

fn metadata(filter: &proto::MetadataFilter) -> Compiled<Filter> {
    use meltemi_proto::envoy::r#type::matcher::v3::metadata_matcher::path_segment::Segment;
    use meltemi_proto::envoy::r#type::matcher::v3::value_matcher::MatchPattern;
    let matcher = required("matcher", &filter.matcher)?;
    let segment = |part: &meltemi_proto::envoy::r#type::matcher::v3::metadata_matcher::PathSegment| {
        let Segment::Key(key) = required("segment", &part.segment)?;
        Ok(key.clone())
    };
    let expected = match matcher.value.as_ref().and_then(|value| value.match_pattern.as_ref()) {
        None | Some(MatchPattern::PresentMatch(true)) => None,
        Some(MatchPattern::BoolMatch(value)) => Some((*value).into()),
        Some(MatchPattern::StringMatch(value)) => match &value.match_pattern {
            Some(meltemi_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern::Exact(text)) => {
                Some(text.as_str().into())
            }
            _ => return Err(Reject::new("matcher.value", "only exact strings are supported")),
        },
        Some(_) => return Err(Reject::new("matcher.value", "only exact strings and booleans are supported")),
    };
    Ok(Filter::HasMetadata {
        filter: matcher.filter.clone(),
        path: each("matcher.path", &matcher.path, segment)?,
        expected,
        when_absent: filter.match_if_key_not_found.is_none_or(|value| value.value),
    })
}
