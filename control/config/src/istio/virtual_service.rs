//! VirtualService: how requests to hosts are routed.

mod string_match;

use std::collections::BTreeMap;

pub use self::string_match::{StringMatch, StringMatchFields};
use crate::Duration;

/// gRPC's status codes by name, each at the place of its number.
pub const GRPC_STATUS: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

message! {
    /// Routes for the hosts it names.
    pub struct VirtualService {
        pub hosts: Vec<String>,
        /// `namespace/name`, `name` in the own namespace, or `mesh` for all sidecars. Empty means `mesh`.
        pub gateways: Vec<String>,
        pub http: Vec<HttpRoute>,
        pub tls: Vec<TlsRoute>,
        pub tcp: Vec<TcpRoute>,
        /// `.` own namespace, `*` all, or a namespace.
        pub export_to: Vec<String>,
    }

    /// One rule for HTTP; the first that matches wins.
    pub struct HttpRoute {
        pub name: String,
        #[serde(rename = "match")]
        pub matches: Vec<HttpMatchRequest>,
        pub route: Vec<HttpRouteDestination>,
        pub redirect: Option<HttpRedirect>,
        pub direct_response: Option<HttpDirectResponse>,
        pub delegate: Option<Delegate>,
        pub rewrite: Option<HttpRewrite>,
        pub timeout: Option<Duration>,
        pub retries: Option<HttpRetry>,
        pub fault: Option<HttpFaultInjection>,
        pub mirror: Option<Destination>,
        pub mirrors: Vec<HttpMirrorPolicy>,
        #[schemars(extend("x-deprecated" = "use `mirrorPercentage`", "x-also" = ["mirror_percent"]))]
        pub mirror_percent: Option<u32>,
        pub mirror_percentage: Option<Percent>,
        pub cors_policy: Option<CorsPolicy>,
        pub headers: Option<Headers>,
    }

    /// All conditions of one match must hold.
    pub struct HttpMatchRequest {
        pub name: String,
        pub uri: Option<StringMatch>,
        pub scheme: Option<StringMatch>,
        pub method: Option<StringMatch>,
        pub authority: Option<StringMatch>,
        pub headers: BTreeMap<String, StringMatch>,
        pub without_headers: BTreeMap<String, StringMatch>,
        pub query_params: BTreeMap<String, StringMatch>,
        /// 0 means any.
        pub port: u32,
        pub source_labels: BTreeMap<String, String>,
        pub source_namespace: String,
        pub gateways: Vec<String>,
        pub ignore_uri_case: bool,
        pub stat_prefix: String,
    }

    /// A weighted destination of HTTP.
    pub struct HttpRouteDestination {
        pub destination: Destination,
        pub weight: i32,
        pub headers: Option<Headers>,
    }

    /// A service, perhaps narrowed to a subset and a port.
    pub struct Destination {
        pub host: String,
        pub subset: String,
        pub port: Option<PortSelector>,
    }

    /// A port by number.
    pub struct PortSelector {
        pub number: u32,
    }

    /// Changes to request and response headers.
    pub struct Headers {
        pub request: Option<HeaderOperations>,
        pub response: Option<HeaderOperations>,
    }

    /// Header changes, carried out in the order set, add, remove.
    pub struct HeaderOperations {
        pub set: BTreeMap<String, String>,
        pub add: BTreeMap<String, String>,
        pub remove: Vec<String>,
    }

    /// Answers with a redirect.
    #[schemars(extend("x-oneof" = [["port", "derivePort"], ["uri", "prefixRewrite"]]))]
    pub struct HttpRedirect {
        pub uri: String,
        pub prefix_rewrite: String,
        pub authority: String,
        pub port: Option<u32>,
        pub derive_port: Option<RedirectPortSelection>,
        pub scheme: String,
        /// 0 means 301.
        pub redirect_code: u32,
    }

    /// Answers without an upstream.
    pub struct HttpDirectResponse {
        pub status: u32,
        pub body: Option<HttpBody>,
    }

    /// A body as text or as base64.
    #[schemars(extend("x-oneof" = [["string", "bytes"]]))]
    pub struct HttpBody {
        pub string: Option<String>,
        /// Base64.
        pub bytes: Option<String>,
    }

    /// Another VirtualService that holds the routes.
    pub struct Delegate {
        pub name: String,
        pub namespace: String,
    }

    /// Rewrites path and authority before forwarding.
    pub struct HttpRewrite {
        pub uri: String,
        pub authority: String,
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// Replaces what a regular expression matches of the path.
    pub struct RegexRewrite {
        #[serde(rename = "match")]
        pub pattern: String,
        pub rewrite: String,
    }

    /// Retries of failed requests. `attempts: 0` switches retries off.
    pub struct HttpRetry {
        pub attempts: i32,
        pub per_try_timeout: Option<Duration>,
        pub retry_on: String,
        pub retry_remote_localities: Option<bool>,
        pub retry_ignore_previous_hosts: Option<bool>,
        pub backoff: Option<Duration>,
    }

    /// Faults for tests of resilience.
    pub struct HttpFaultInjection {
        pub delay: Option<HttpFaultDelay>,
        pub abort: Option<HttpFaultAbort>,
    }

    /// Delays requests.
    #[schemars(extend("x-oneof" = [["fixedDelay", "exponentialDelay"]]))]
    pub struct HttpFaultDelay {
        #[schemars(extend("x-deprecated" = "use `percentage`"))]
        pub percent: i32,
        pub fixed_delay: Option<Duration>,
        pub exponential_delay: Option<Duration>,
        pub percentage: Option<Percent>,
    }

    /// Ends requests with an error.
    #[schemars(extend("x-oneof" = [["httpStatus", "grpcStatus", "http2Error"]]))]
    pub struct HttpFaultAbort {
        pub http_status: Option<i32>,
        pub grpc_status: Option<String>,
        pub http2_error: Option<String>,
        pub percentage: Option<Percent>,
    }

    /// 0.0 to 100.0.
    #[derive(Copy)]
    pub struct Percent {
        pub value: f64,
    }

    /// Sends a copy of requests elsewhere.
    pub struct HttpMirrorPolicy {
        pub destination: Option<Destination>,
        pub percentage: Option<Percent>,
    }

    /// Cross-origin rules.
    pub struct CorsPolicy {
        #[schemars(extend("x-deprecated" = "use `allowOrigins`"))]
        pub allow_origin: Vec<String>,
        pub allow_origins: Vec<StringMatch>,
        pub allow_methods: Vec<String>,
        pub allow_headers: Vec<String>,
        pub expose_headers: Vec<String>,
        pub max_age: Option<Duration>,
        pub allow_credentials: Option<bool>,
        pub unmatched_preflights: UnmatchedPreflights,
    }

    /// One rule for TLS that is passed through, by SNI.
    pub struct TlsRoute {
        #[serde(rename = "match")]
        pub matches: Vec<TlsMatchAttributes>,
        pub route: Vec<RouteDestination>,
    }

    /// All conditions of one match must hold.
    pub struct TlsMatchAttributes {
        pub sni_hosts: Vec<String>,
        pub destination_subnets: Vec<String>,
        pub port: u32,
        pub source_labels: BTreeMap<String, String>,
        pub source_namespace: String,
        pub gateways: Vec<String>,
    }

    /// One rule for TCP.
    pub struct TcpRoute {
        #[serde(rename = "match")]
        pub matches: Vec<L4MatchAttributes>,
        pub route: Vec<RouteDestination>,
    }

    /// All conditions of one match must hold.
    pub struct L4MatchAttributes {
        pub destination_subnets: Vec<String>,
        pub port: u32,
        #[schemars(extend("x-deprecated" = "use `sourceLabels`"))]
        pub source_subnet: String,
        pub source_labels: BTreeMap<String, String>,
        pub source_namespace: String,
        pub gateways: Vec<String>,
    }

    /// A weighted destination of TLS or TCP.
    pub struct RouteDestination {
        pub destination: Destination,
        pub weight: i32,
    }
}

enumeration! {
    /// Which port a redirect names.
    pub enum RedirectPortSelection {
        #[default]
        FromProtocolDefault,
        FromRequestPort,
    }

    /// What happens to a preflight whose origin is not allowed.
    pub enum UnmatchedPreflights {
        #[default]
        Unspecified,
        Forward,
        Ignore,
    }
}
