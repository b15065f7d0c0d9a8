//! Telemetry: metrics, access logs and traces of workloads.

use std::collections::BTreeMap;

use crate::Duration;
use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};

message! {
    /// Telemetry of the mesh, a namespace or selected workloads.
    #[schemars(extend("x-oneof" = [["selector", "targetRef", "targetRefs"]]))]
    pub struct Telemetry {
        pub selector: Option<WorkloadSelector>,
        #[schemars(extend("x-deprecated" = "use `targetRefs`"))]
        pub target_ref: Option<PolicyTargetReference>,
        pub target_refs: Vec<PolicyTargetReference>,
        pub tracing: Vec<Tracing>,
        pub metrics: Vec<Metrics>,
        pub access_logging: Vec<AccessLogging>,
    }

    /// Spans.
    pub struct Tracing {
        #[serde(rename = "match")]
        pub matches: Option<TracingSelector>,
        pub providers: Vec<ProviderRef>,
        pub random_sampling_percentage: Option<f64>,
        pub disable_span_reporting: Option<bool>,
        pub disable_context_propagation: Option<bool>,
        pub custom_tags: BTreeMap<String, CustomTag>,
        pub use_request_id_for_trace_sampling: Option<bool>,
        pub enable_istio_tags: Option<bool>,
    }

    /// Which side a rule is for.
    pub struct TracingSelector {
        pub mode: WorkloadMode,
    }

    /// A provider of MeshConfig.
    pub struct ProviderRef {
        pub name: String,
    }

    /// A tag of every span.
    #[schemars(extend("x-oneof" = [["literal", "environment", "header", "formatter"]]))]
    pub struct CustomTag {
        pub literal: Option<Literal>,
        pub environment: Option<Environment>,
        pub header: Option<RequestHeader>,
        pub formatter: Option<Formatter>,
    }

    /// A fixed value.
    pub struct Literal {
        pub value: String,
    }

    /// From an environment variable of the proxy.
    pub struct Environment {
        pub name: String,
        pub default_value: String,
    }

    /// From a request header.
    pub struct RequestHeader {
        pub name: String,
        pub default_value: String,
    }

    /// From Envoy's format string.
    pub struct Formatter {
        pub value: String,
    }

    /// Metrics.
    pub struct Metrics {
        pub providers: Vec<ProviderRef>,
        pub overrides: Vec<MetricsOverrides>,
        pub reporting_interval: Option<Duration>,
    }

    /// Changes of one metric.
    pub struct MetricsOverrides {
        #[serde(rename = "match")]
        pub matches: Option<MetricSelector>,
        pub disabled: Option<bool>,
        pub tag_overrides: BTreeMap<String, TagOverride>,
    }

    /// Which metric.
    #[schemars(extend("x-oneof" = [["metric", "customMetric"]]))]
    pub struct MetricSelector {
        pub metric: Option<IstioMetric>,
        pub custom_metric: Option<String>,
        pub mode: WorkloadMode,
    }

    /// Changes of one tag.
    pub struct TagOverride {
        pub operation: TagOperation,
        /// A CEL expression.
        pub value: String,
    }

    /// Access logs.
    pub struct AccessLogging {
        #[serde(rename = "match")]
        pub matches: Option<LogSelector>,
        pub providers: Vec<ProviderRef>,
        pub disabled: Option<bool>,
        pub filter: Option<Filter>,
    }

    /// Which side a rule is for.
    pub struct LogSelector {
        pub mode: WorkloadMode,
    }

    /// Which requests are logged.
    pub struct Filter {
        /// A CEL expression.
        pub expression: String,
    }
}

enumeration! {
    /// Which side of a request.
    pub enum WorkloadMode {
        #[default]
        ClientAndServer,
        Client,
        Server,
    }

    /// Istio's standard metrics.
    pub enum IstioMetric {
        #[default]
        AllMetrics,
        RequestCount,
        RequestDuration,
        RequestSize,
        ResponseSize,
        TcpOpenedConnections,
        TcpClosedConnections,
        TcpSentBytes,
        TcpReceivedBytes,
        GrpcRequestMessages,
        GrpcResponseMessages,
    }

    /// What happens to a tag.
    pub enum TagOperation {
        #[default]
        Upsert,
        Remove,
    }
}
