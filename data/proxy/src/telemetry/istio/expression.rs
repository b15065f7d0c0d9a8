//! The expressions of metric overrides: string literals and attributes of a request, and a choice between two.
//!
//! Istio evaluates CEL here. What users write is nearly always an attribute, a header or a literal, sometimes guarded by
//! `has(…) ? … : …`; those are understood, others are reported.

use http::HeaderName;

use crate::telemetry::info::LogContext;

/// A compiled expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Literal(String),
    Attribute(Attribute),
    /// `has(a) ? b : c`
    Choice(Attribute, Box<Expression>, Box<Expression>),
}

/// Something a request has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attribute {
    Method,
    Host,
    Path,
    UrlPath,
    Scheme,
    Protocol,
    RequestHeader(HeaderName),
    ResponseHeader(HeaderName),
    ResponseCode,
    ResponseFlags,
    SourceAddress,
    DestinationAddress,
    DestinationPort,
    UpstreamAddress,
    RequestedServerName,
    RouteName,
    ClusterName,
}

impl Expression {
    /// Compiles an expression; the error says what was not understood.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some((condition, rest)) = text.split_once('?') {
            let tested = condition.trim().strip_prefix("has(").and_then(|inner| inner.strip_suffix(')'));
            let tested =
                tested.ok_or_else(|| format!("{condition:?}: only has(…) is understood before '?'"))?;
            let (yes, no) = rest.split_once(':').ok_or_else(|| format!("{text:?}: ':' is missing"))?;
            let choice = (Box::new(Self::compile(yes)?), Box::new(Self::compile(no)?));
            return Ok(Expression::Choice(attribute(tested.trim())?, choice.0, choice.1));
        }
        for quote in ['"', '\''] {
            if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                return Ok(Expression::Literal(inner.to_owned()));
            }
        }
        attribute(text).map(Expression::Attribute)
    }

    /// The value; `None` when the attribute is absent.
    pub(super) fn evaluate(&self, context: &LogContext<'_>) -> Option<String> {
        match self {
            Expression::Literal(text) => Some(text.clone()),
            Expression::Attribute(attribute) => attribute.evaluate(context),
            Expression::Choice(tested, yes, no) => {
                if tested.evaluate(context).is_some() {
                    yes.evaluate(context)
                } else {
                    no.evaluate(context)
                }
            }
        }
    }
}

fn attribute(text: &str) -> Result<Attribute, String> {
    use Attribute as A;
    let header = |prefix: &str| {
        let inner = text.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?.trim();
        HeaderName::try_from(inner.trim_matches(['"', '\''])).ok()
    };
    Ok(match text {
        "request.method" => A::Method,
        "request.host" => A::Host,
        "request.path" => A::Path,
        "request.url_path" => A::UrlPath,
        "request.scheme" => A::Scheme,
        "request.protocol" => A::Protocol,
        "response.code" => A::ResponseCode,
        "response.flags" => A::ResponseFlags,
        "source.address" => A::SourceAddress,
        "destination.address" => A::DestinationAddress,
        "destination.port" => A::DestinationPort,
        "upstream.address" => A::UpstreamAddress,
        "connection.requested_server_name" => A::RequestedServerName,
        "xds.route_name" | "route_name" => A::RouteName,
        "xds.cluster_name" | "cluster_name" => A::ClusterName,
        "request.useragent" => A::RequestHeader(http::header::USER_AGENT),
        "request.referer" => A::RequestHeader(http::header::REFERER),
        "request.id" => A::RequestHeader(HeaderName::from_static("x-request-id")),
        _ => match (header("request.headers"), header("response.headers")) {
            (Some(name), _) => A::RequestHeader(name),
            (_, Some(name)) => A::ResponseHeader(name),
            _ => return Err(format!("{text:?} is not an attribute that is understood here")),
        },
    })
}

impl Attribute {
    fn evaluate(&self, context: &LogContext<'_>) -> Option<String> {
        let (info, head) = (context.info, context.request);
        let connection = &info.connection;
        let owned = |text: &str| Some(text.to_owned());
        match self {
            Attribute::Method => owned(head?.method.as_str()),
            Attribute::Host => owned(&head?.authority),
            Attribute::Path => owned(&head?.path),
            Attribute::UrlPath => owned(head?.path_only()),
            Attribute::Scheme => owned(head?.scheme),
            Attribute::Protocol => owned(info.protocol?.as_str()),
            Attribute::RequestHeader(name) => owned(head?.text(name)?),
            Attribute::ResponseHeader(name) => owned(context.response?.get(name)?.to_str().ok()?),
            Attribute::ResponseCode => Some(info.response_code?.to_string()),
            Attribute::ResponseFlags => Some(info.flags.bits().to_string()),
            Attribute::SourceAddress => Some(connection.remote.to_string()),
            Attribute::DestinationAddress => Some(connection.local.to_string()),
            Attribute::DestinationPort => Some(connection.local.ip()?.port().to_string()),
            Attribute::UpstreamAddress => Some(info.upstream.host.as_ref()?.to_string()),
            Attribute::RequestedServerName => owned(connection.requested_server_name.as_deref()?),
            Attribute::RouteName => owned(info.route.as_deref()?),
            Attribute::ClusterName => owned(&info.upstream.cluster.as_ref()?.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write() {
        let compile = |text| Expression::compile(text).unwrap();
        assert_eq!(compile("\"v1\""), Expression::Literal("v1".to_owned()));
        assert_eq!(compile("request.host"), Expression::Attribute(Attribute::Host));
        let header = Attribute::RequestHeader(HeaderName::from_static("x-user"));
        assert_eq!(
            compile("has(request.headers['x-user']) ? request.headers['x-user'] : 'none'"),
            Expression::Choice(
                header.clone(),
                Box::new(Expression::Attribute(header)),
                Box::new(Expression::Literal("none".to_owned()))
            )
        );
        assert!(
            Expression::compile("size(request.path) > 3").unwrap_err().contains("size(request.path) > 3")
        );
    }
}
