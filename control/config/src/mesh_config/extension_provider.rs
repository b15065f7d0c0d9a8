//! Extension providers: authorizers, tracers, metrics and access logs that policies name.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Duration;

message! {
    /// One provider, of exactly one sort.
    #[schemars(extend("x-oneof" = [[
        "envoyExtAuthzHttp", "envoyExtAuthzGrpc", "zipkin", "lightstep", "datadog", "stackdriver", "opencensus",
        "skywalking", "opentelemetry", "prometheus", "envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls",
        "envoyOtelAls", "sds"
    ]]))]
    pub struct ExtensionProvider {
        pub name: String,
        pub envoy_ext_authz_http: Option<EnvoyExtAuthzHttp>,
        pub envoy_ext_authz_grpc: Option<EnvoyExtAuthzGrpc>,
        pub zipkin: Option<Zipkin>,
        #[schemars(extend("x-deprecated" = "use `opentelemetry`"))]
        pub lightstep: Option<Lightstep>,
        pub datadog: Option<Datadog>,
        pub stackdriver: Option<Stackdriver>,
        pub opencensus: Option<OpenCensus>,
        pub skywalking: Option<SkyWalking>,
        pub opentelemetry: Option<OpenTelemetry>,
        pub prometheus: Option<Prometheus>,
        pub envoy_file_access_log: Option<EnvoyFileAccessLog>,
        pub envoy_http_als: Option<EnvoyAls>,
        pub envoy_tcp_als: Option<EnvoyAls>,
        pub envoy_otel_als: Option<EnvoyOtelAls>,
        pub sds: Option<SdsProvider>,
    }

    /// An authorizer that speaks HTTP.
    pub struct EnvoyExtAuthzHttp {
        pub service: String,
        pub port: u32,
        pub timeout: Option<Duration>,
        pub path_prefix: String,
        pub fail_open: bool,
        pub clear_route_cache: bool,
        pub status_on_error: String,
        #[schemars(extend("x-deprecated" = "use `includeRequestHeadersInCheck`"))]
        pub include_headers_in_check: Vec<String>,
        pub include_request_headers_in_check: Vec<String>,
        pub include_additional_headers_in_check: BTreeMap<String, String>,
        pub include_request_body_in_check: Option<RequestBody>,
        pub headers_to_upstream_on_allow: Vec<String>,
        pub headers_to_downstream_on_deny: Vec<String>,
        pub headers_to_downstream_on_allow: Vec<String>,
    }

    /// How much of a body the authorizer sees.
    pub struct RequestBody {
        pub max_request_bytes: u32,
        pub allow_partial_message: bool,
        pub pack_as_bytes: bool,
    }

    /// An authorizer that speaks gRPC.
    pub struct EnvoyExtAuthzGrpc {
        pub service: String,
        pub port: u32,
        pub timeout: Option<Duration>,
        pub fail_open: bool,
        pub clear_route_cache: bool,
        pub status_on_error: String,
        pub include_request_body_in_check: Option<RequestBody>,
    }

    /// Zipkin's collector.
    pub struct Zipkin {
        pub service: String,
        pub port: u32,
        pub max_tag_length: u32,
        #[serde(rename = "enable64bitTraceId")]
        pub enable_64bit_trace_id: bool,
        pub path: String,
        pub timeout: Option<Duration>,
        pub headers: Vec<HttpHeader>,
        pub trace_context_option: TraceContextOption,
    }

    /// Lightstep's satellite.
    pub struct Lightstep {
        pub service: String,
        pub port: u32,
        pub access_token: String,
        pub max_tag_length: u32,
    }

    /// Datadog's agent.
    pub struct Datadog {
        pub service: String,
        pub port: u32,
        pub max_tag_length: u32,
    }

    /// Google's telemetry.
    pub struct Stackdriver {
        pub debug: bool,
        pub max_number_of_attributes: Option<i64>,
        pub max_number_of_annotations: Option<i64>,
        pub max_number_of_message_events: Option<i64>,
        pub max_tag_length: u32,
        pub logging: Option<StackdriverLogging>,
    }

    /// Labels of Google's access log.
    pub struct StackdriverLogging {
        pub labels: BTreeMap<String, String>,
    }

    /// OpenCensus' agent.
    pub struct OpenCensus {
        pub service: String,
        pub port: u32,
        pub context: Vec<String>,
        pub max_tag_length: u32,
    }

    /// SkyWalking's collector.
    pub struct SkyWalking {
        pub service: String,
        pub port: u32,
        pub access_token: String,
    }

    /// OpenTelemetry's collector.
    #[schemars(extend("x-oneof" = [["http", "grpc"]]))]
    pub struct OpenTelemetry {
        pub service: String,
        pub port: u32,
        pub max_tag_length: u32,
        pub http: Option<HttpExport>,
        pub grpc: Option<GrpcExport>,
        pub resource_detectors: Option<ResourceDetectors>,
        pub service_attribute_enrichment: ServiceAttributeEnrichment,
        pub dynatrace_sampler: Option<DynatraceSampler>,
    }

    /// OTLP over HTTP.
    pub struct HttpExport {
        pub path: String,
        pub timeout: Option<Duration>,
        pub headers: Vec<HttpHeader>,
    }

    /// OTLP over gRPC.
    pub struct GrpcExport {
        pub timeout: Option<Duration>,
        pub initial_metadata: Vec<HttpHeader>,
    }

    /// A header, by value or from an environment variable.
    #[schemars(extend("x-oneof" = [["value", "envName"]]))]
    pub struct HttpHeader {
        pub name: String,
        pub value: Option<String>,
        pub env_name: Option<String>,
    }

    /// Where attributes of the resource come from.
    pub struct ResourceDetectors {
        pub environment: Option<EnvironmentDetector>,
        pub dynatrace: Option<DynatraceDetector>,
    }

    /// From OTEL_RESOURCE_ATTRIBUTES.
    pub struct EnvironmentDetector {}

    /// From Dynatrace's files.
    pub struct DynatraceDetector {}

    /// Dynatrace's sampler.
    pub struct DynatraceSampler {
        pub tenant: String,
        pub cluster_id: i32,
        pub root_spans_per_minute: u32,
        pub http_service: Option<DynatraceApi>,
    }

    /// Dynatrace's API.
    pub struct DynatraceApi {
        pub service: String,
        pub port: u32,
        pub http: Option<HttpExport>,
    }

    /// Istio's metrics on the proxy's own port.
    pub struct Prometheus {}

    /// The proxy writes its access log to a file.
    pub struct EnvoyFileAccessLog {
        pub path: String,
        pub log_format: Option<FileLogFormat>,
        pub omit_empty_values: bool,
    }

    /// Text or JSON labels.
    #[schemars(extend("x-oneof" = [["text", "labels"]]))]
    pub struct FileLogFormat {
        pub text: Option<String>,
        pub labels: Option<Map<String, Value>>,
    }

    /// Envoy's access log service.
    pub struct EnvoyAls {
        pub service: String,
        pub port: u32,
        pub log_name: String,
        pub filter_state_objects_to_log: Vec<String>,
        pub additional_request_headers_to_log: Vec<String>,
        pub additional_response_headers_to_log: Vec<String>,
        pub additional_response_trailers_to_log: Vec<String>,
    }

    /// OpenTelemetry's access log.
    pub struct EnvoyOtelAls {
        pub service: String,
        pub port: u32,
        pub log_name: String,
        pub log_format: Option<OtelLogFormat>,
    }

    /// Body and attributes.
    pub struct OtelLogFormat {
        pub text: String,
        pub labels: Option<Map<String, Value>>,
    }

    /// A provider of secrets.
    pub struct SdsProvider {
        pub name: String,
        pub service: String,
        pub port: u32,
    }
}

enumeration! {
    /// Which headers carry the context of a trace.
    pub enum TraceContextOption {
        #[default]
        UseB3,
        UseB3WithW3cPropagation,
    }

    /// How OpenTelemetry's attributes of a service are found.
    pub enum ServiceAttributeEnrichment {
        #[default]
        IstioCanonical,
        OtelSemanticConventions,
    }
}
