//! ProxyConfig: `defaultConfig` of MeshConfig and annotation `proxy.istio.io/config`.

use std::collections::BTreeMap;

use crate::Duration;
use crate::istio::destination_rule::{ClientTlsSettings, TcpKeepalive};
use crate::istio::proxy_config::ProxyImage;
use crate::istio::telemetry::CustomTag;
use crate::istio::workload_group::ReadinessProbe;

settings! {
    /// How a proxy starts.
    #[schemars(extend("x-oneof" = [["serviceCluster", "tracingServiceName"]]))]
    pub struct ProxyConfig {
        pub config_path: String,
        pub binary_path: String,
        pub service_cluster: String,
        pub tracing_service_name: TracingServiceName,
        pub drain_duration: Option<Duration>,
        pub termination_drain_duration: Option<Duration>,
        pub discovery_address: String,
        #[schemars(extend("x-deprecated" = "use `tracing.zipkin.address`"))]
        pub zipkin_address: String,
        #[schemars(extend("x-deprecated" = "it has no effect"))]
        pub discovery_refresh_delay: Option<Duration>,
        #[schemars(extend("x-deprecated" = "use `envoyMetricsService`"))]
        pub envoy_metrics_service_address: String,
        pub statsd_udp_address: String,
        pub proxy_admin_port: i32,
        pub control_plane_auth_policy: AuthenticationPolicy,
        pub custom_config_file: String,
        pub stat_name_length: i32,
        /// Worker threads; unset takes the CPU limit, 0 all cores.
        pub concurrency: Option<i32>,
        pub proxy_bootstrap_template_path: String,
        pub interception_mode: InboundInterceptionMode,
        pub tracing: Option<Tracing>,
        #[schemars(extend("x-deprecated" = "it has no effect"))]
        pub sds: Option<Sds>,
        pub envoy_access_log_service: Option<RemoteService>,
        pub envoy_metrics_service: Option<RemoteService>,
        pub proxy_metadata: BTreeMap<String, String>,
        pub runtime_values: BTreeMap<String, String>,
        pub status_port: i32,
        pub extra_stat_tags: Vec<String>,
        pub gateway_topology: Option<Topology>,
        pub proxy_stats_matcher: Option<ProxyStatsMatcher>,
        pub readiness_probe: Option<ReadinessProbe>,
        pub hold_application_until_proxy_starts: Option<bool>,
        pub ca_certificates_pem: Vec<String>,
        pub image: Option<ProxyImage>,
        pub private_key_provider: Option<PrivateKeyProvider>,
        pub proxy_headers: Option<ProxyHeaders>,
        pub file_flush_interval: Option<Duration>,
        pub file_flush_min_size_kb: Option<u32>,
        pub stats_compression: Option<bool>,
        pub mesh_id: String,
        pub connection_settings: Option<ConnectionSettings>,
        #[schemars(extend("x-deprecated" = "it has no effect"))]
        pub availability_zone: String,
    }
}

message! {
    /// Where spans go and what they hold.
    #[schemars(extend("x-oneof" = [
        ["zipkin", "lightstep", "datadog", "stackdriver", "openCensusAgent"]
    ]))]
    pub struct Tracing {
        pub zipkin: Option<Zipkin>,
        pub lightstep: Option<Lightstep>,
        pub datadog: Option<Datadog>,
        pub stackdriver: Option<StackdriverTracing>,
        pub open_census_agent: Option<OpenCensusAgent>,
        pub custom_tags: BTreeMap<String, CustomTag>,
        pub max_path_tag_length: u32,
        /// Percent of requests, 0.0 to 100.0.
        pub sampling: f64,
        pub tls_settings: Option<ClientTlsSettings>,
        pub enable_istio_tags: Option<bool>,
    }

    /// Zipkin's collector.
    pub struct Zipkin {
        pub address: String,
    }

    /// Lightstep's satellite.
    pub struct Lightstep {
        pub address: String,
        pub access_token: String,
    }

    /// Datadog's agent.
    pub struct Datadog {
        pub address: String,
    }

    /// Google's tracing.
    pub struct StackdriverTracing {
        pub debug: bool,
        pub max_number_of_attributes: Option<i64>,
        pub max_number_of_annotations: Option<i64>,
        pub max_number_of_message_events: Option<i64>,
    }

    /// OpenCensus' agent.
    pub struct OpenCensusAgent {
        pub address: String,
        pub context: Vec<String>,
    }

    /// What SDS once needed.
    pub struct Sds {
        pub enabled: bool,
        pub k8s_sa_jwt_path: String,
    }

    /// A service that proxies call themselves.
    pub struct RemoteService {
        pub address: String,
        pub tls_settings: Option<ClientTlsSettings>,
        pub tcp_keepalive: Option<TcpKeepalive>,
    }

    /// What stands before a gateway.
    pub struct Topology {
        pub num_trusted_proxies: u32,
        pub forward_client_cert_details: ForwardClientCertDetails,
        pub proxy_protocol: Option<ProxyProtocolConfiguration>,
    }

    /// The gateway reads the PROXY protocol.
    pub struct ProxyProtocolConfiguration {}

    /// Which of Envoy's own statistics are kept.
    pub struct ProxyStatsMatcher {
        pub inclusion_prefixes: Vec<String>,
        pub inclusion_suffixes: Vec<String>,
        pub inclusion_regexps: Vec<String>,
    }

    /// Hardware for private keys.
    #[schemars(extend("x-oneof" = [["cryptomb", "qat"]]))]
    pub struct PrivateKeyProvider {
        pub cryptomb: Option<CryptoMb>,
        pub qat: Option<Qat>,
    }

    /// Intel's multi-buffer instructions.
    pub struct CryptoMb {
        pub poll_delay: Option<Duration>,
        pub fallback: Option<bool>,
    }

    /// Intel's QuickAssist.
    pub struct Qat {
        pub poll_delay: Option<Duration>,
        pub fallback: Option<bool>,
    }

    /// Headers that the proxy adds.
    pub struct ProxyHeaders {
        pub forwarded_client_cert: ForwardClientCertDetails,
        pub set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
        pub request_id: Option<SwitchableHeader>,
        pub server: Option<ServerHeader>,
        pub attempt_count: Option<SwitchableHeader>,
        pub envoy_debug_headers: Option<SwitchableHeader>,
        pub metadata_exchange_headers: Option<MetadataExchangeHeaders>,
        pub preserve_http1_header_case: Option<bool>,
        pub x_forwarded_host: Option<SwitchableHeader>,
        pub x_forwarded_port: Option<SwitchableHeader>,
    }

    /// Parts of X-Forwarded-Client-Cert.
    pub struct SetCurrentClientCertDetails {
        pub subject: Option<bool>,
        pub cert: Option<bool>,
        pub chain: Option<bool>,
        pub dns: Option<bool>,
        pub uri: Option<bool>,
    }

    /// A header that can be switched off.
    pub struct SwitchableHeader {
        pub disabled: Option<bool>,
        pub enabled: Option<bool>,
    }

    /// Header `server`.
    pub struct ServerHeader {
        pub disabled: Option<bool>,
        pub value: String,
    }

    /// Headers `x-envoy-peer-metadata`.
    pub struct MetadataExchangeHeaders {
        pub mode: MetadataExchangeMode,
    }

    /// Limits of connections through the proxy.
    pub struct ConnectionSettings {
        pub profile: ConnectionProfile,
        pub listener_per_connection_buffer_limit_bytes: Option<i32>,
        pub cluster_per_connection_buffer_limit_bytes: Option<i32>,
        pub http_idle_timeout: Option<Duration>,
        pub http_max_connection_duration: Option<Duration>,
        pub http_drain_timeout: Option<Duration>,
        pub http_request_timeout: Option<Duration>,
        pub http_request_headers_timeout: Option<Duration>,
        pub http_stream_idle_timeout: Option<Duration>,
        pub http_max_stream_duration: Option<Duration>,
        pub http_max_concurrent_streams: Option<i32>,
        pub http2_initial_stream_window_size: Option<i32>,
        pub http2_initial_connection_window_size: Option<i32>,
        pub http_headers_with_underscores_action: HeadersWithUnderscoresAction,
        pub http_merge_slashes: Option<bool>,
        pub http_path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
        pub listener_connection_limit: Option<i32>,
        pub global_downstream_connection_limit: Option<i32>,
    }
}

enumeration! {
    /// What a workload is called in traces.
    pub enum TracingServiceName {
        #[default]
        AppLabelAndNamespace,
        CanonicalNameOnly,
        CanonicalNameAndNamespace,
    }

    /// How the proxy proves itself to istiod.
    pub enum AuthenticationPolicy {
        None,
        #[default]
        MutualTls,
        Inherit,
    }

    /// How inbound traffic is captured.
    pub enum InboundInterceptionMode {
        #[default]
        Redirect,
        Tproxy,
        None,
    }

    /// What happens to X-Forwarded-Client-Cert.
    pub enum ForwardClientCertDetails {
        #[default]
        Undefined,
        Sanitize,
        ForwardOnly,
        AppendForward,
        SanitizeSet,
        AlwaysForwardOnly,
    }

    /// Whose traffic the limits are made for.
    pub enum ConnectionProfile {
        #[default]
        Sidecar,
        Edge,
    }

    /// What happens to headers with underscores.
    pub enum HeadersWithUnderscoresAction {
        #[default]
        #[serde(rename = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED")]
        Unspecified,
        #[serde(rename = "HEADERS_WITH_UNDERSCORES_ALLOW")]
        Allow,
        #[serde(rename = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST")]
        RejectRequest,
        #[serde(rename = "HEADERS_WITH_UNDERSCORES_DROP_HEADER")]
        DropHeader,
    }

    /// What happens to `%2F` and `%5C` in paths.
    pub enum PathWithEscapedSlashesAction {
        #[default]
        #[serde(rename = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED")]
        Unspecified,
        KeepUnchanged,
        RejectRequest,
        UnescapeAndRedirect,
        UnescapeAndForward,
    }

    /// Where metadata headers are sent.
    pub enum MetadataExchangeMode {
        #[default]
        Undefined,
        InMesh,
    }
}
