//! DestinationRule: what happens to traffic once its service is chosen.

use std::collections::BTreeMap;

use crate::Duration;
use crate::istio::selector::WorkloadSelector;
use crate::istio::virtual_service::PortSelector;

message! {
    /// Policies and subsets of one host.
    pub struct DestinationRule {
        pub host: String,
        pub traffic_policy: Option<TrafficPolicy>,
        pub subsets: Vec<Subset>,
        pub export_to: Vec<String>,
        pub workload_selector: Option<WorkloadSelector>,
    }

    /// A named part of a service's endpoints.
    pub struct Subset {
        pub name: String,
        pub labels: BTreeMap<String, String>,
        pub traffic_policy: Option<TrafficPolicy>,
    }

    /// Load balancing, pools, outlier detection and TLS towards a host.
    pub struct TrafficPolicy {
        pub load_balancer: Option<LoadBalancerSettings>,
        pub connection_pool: Option<ConnectionPoolSettings>,
        pub outlier_detection: Option<OutlierDetection>,
        pub tls: Option<ClientTlsSettings>,
        pub port_level_settings: Vec<PortTrafficPolicy>,
        pub tunnel: Option<TunnelSettings>,
        pub proxy_protocol: Option<ProxyProtocol>,
        pub retry_budget: Option<RetryBudget>,
    }

    /// The policy of one port; it replaces the whole policy of the level above.
    pub struct PortTrafficPolicy {
        pub port: Option<PortSelector>,
        pub load_balancer: Option<LoadBalancerSettings>,
        pub connection_pool: Option<ConnectionPoolSettings>,
        pub outlier_detection: Option<OutlierDetection>,
        pub tls: Option<ClientTlsSettings>,
    }

    /// How an endpoint is picked.
    #[schemars(extend("x-oneof" = [["simple", "consistentHash", "backendUtilization"]]))]
    pub struct LoadBalancerSettings {
        pub simple: SimpleLb,
        pub consistent_hash: Option<ConsistentHashLb>,
        pub backend_utilization: Option<BackendUtilizationLb>,
        pub locality_lb_setting: Option<LocalityLbSetting>,
        pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
        #[schemars(extend("x-deprecated" = "use `warmup`"))]
        pub warmup_duration_secs: Option<Duration>,
        pub warmup: Option<WarmupConfiguration>,
    }

    /// Requests with equal keys reach the same endpoint.
    #[schemars(extend("x-oneof" = [
        ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"],
        ["ringHash", "maglev"]
    ]))]
    pub struct ConsistentHashLb {
        pub http_header_name: Option<String>,
        pub http_cookie: Option<HttpCookie>,
        pub use_source_ip: Option<bool>,
        pub http_query_parameter_name: Option<String>,
        pub ring_hash: Option<RingHash>,
        pub maglev: Option<Maglev>,
        #[schemars(extend("x-deprecated" = "use `ringHash.minimumRingSize`"))]
        pub minimum_ring_size: u64,
    }

    /// A cookie that carries the key; made if absent when `ttl` is set.
    pub struct HttpCookie {
        pub name: String,
        pub path: String,
        pub ttl: Option<Duration>,
        pub attributes: Vec<CookieAttribute>,
    }

    /// A further attribute of a cookie, such as SameSite.
    pub struct CookieAttribute {
        pub name: String,
        pub value: String,
    }

    /// Ring hash.
    pub struct RingHash {
        pub minimum_ring_size: u64,
    }

    /// Maglev.
    pub struct Maglev {
        pub table_size: u64,
    }

    /// Weights from the load that endpoints report (ORCA).
    pub struct BackendUtilizationLb {
        pub enable_oob_load_report: Option<bool>,
        pub oob_reporting_period: Option<Duration>,
        pub blackout_period: Option<Duration>,
        pub weight_expiration_period: Option<Duration>,
        pub weight_update_period: Option<Duration>,
        pub error_utilization_penalty: Option<f64>,
        pub metric_names_for_computing_utilization: Vec<String>,
    }

    /// Prefer endpoints that are near.
    #[schemars(extend("x-oneof" = [["distribute", "failover"]]))]
    pub struct LocalityLbSetting {
        pub distribute: Vec<Distribute>,
        pub failover: Vec<Failover>,
        pub failover_priority: Vec<String>,
        pub enabled: Option<bool>,
    }

    /// Zone-aware balancing inside the own region.
    pub struct ZoneAwareLbSetting {
        pub enabled: Option<bool>,
        pub min_cluster_size: Option<u64>,
        pub failover: Vec<Failover>,
        pub failover_priority: Vec<String>,
    }

    /// Shares of traffic by locality; a group's shares sum to 100.
    pub struct Distribute {
        pub from: String,
        pub to: BTreeMap<String, u32>,
    }

    /// Where traffic of a region goes when the region is unhealthy.
    pub struct Failover {
        pub from: String,
        pub to: String,
    }

    /// Gives new endpoints traffic step by step.
    pub struct WarmupConfiguration {
        pub duration: Option<Duration>,
        pub minimum_percent: Option<f64>,
        pub aggression: Option<f64>,
    }

    /// Limits of connections and requests.
    pub struct ConnectionPoolSettings {
        pub tcp: Option<TcpSettings>,
        pub http: Option<HttpSettings>,
    }

    /// For TCP and HTTP upstream connections.
    pub struct TcpSettings {
        pub max_connections: i32,
        pub connect_timeout: Option<Duration>,
        pub tcp_keepalive: Option<TcpKeepalive>,
        pub max_connection_duration: Option<Duration>,
        pub idle_timeout: Option<Duration>,
    }

    /// SO_KEEPALIVE of upstream connections.
    pub struct TcpKeepalive {
        pub probes: u32,
        pub time: Option<Duration>,
        pub interval: Option<Duration>,
    }

    /// For HTTP/1.1, HTTP/2 and gRPC.
    pub struct HttpSettings {
        pub http1_max_pending_requests: i32,
        pub http2_max_requests: i32,
        pub max_requests_per_connection: i32,
        pub max_retries: i32,
        pub idle_timeout: Option<Duration>,
        pub h2_upgrade_policy: H2UpgradePolicy,
        pub use_client_protocol: bool,
        pub max_concurrent_streams: i32,
        pub http2_keep_alive: Option<Http2KeepAlive>,
    }

    /// HTTP/2 pings on idle connections.
    pub struct Http2KeepAlive {
        pub interval: Option<Duration>,
        pub timeout: Option<Duration>,
    }

    /// When an endpoint is taken out for a while.
    pub struct OutlierDetection {
        #[schemars(extend("x-deprecated" = "use `consecutive5xxErrors` or `consecutiveGatewayErrors`"))]
        pub consecutive_errors: i32,
        pub split_external_local_origin_errors: bool,
        pub consecutive_local_origin_failures: Option<u32>,
        pub consecutive_gateway_errors: Option<u32>,
        pub consecutive_5xx_errors: Option<u32>,
        pub interval: Option<Duration>,
        pub base_ejection_time: Option<Duration>,
        pub max_ejection_percent: i32,
        pub min_health_percent: i32,
        pub outlier_detection_http_error_codes: Vec<u32>,
    }

    /// TLS towards the upstream.
    pub struct ClientTlsSettings {
        pub mode: ClientTlsMode,
        pub client_certificate: String,
        pub private_key: String,
        pub ca_certificates: String,
        pub credential_name: String,
        pub subject_alt_names: Vec<String>,
        pub sni: String,
        pub insecure_skip_verify: Option<bool>,
        pub ca_crl: String,
    }

    /// Tunnels TCP through an HTTP CONNECT or POST proxy.
    pub struct TunnelSettings {
        pub protocol: String,
        pub target_host: String,
        pub target_port: u32,
    }

    /// PROXY protocol towards the upstream.
    pub struct ProxyProtocol {
        pub version: ProxyProtocolVersion,
    }

    /// Retries as a share of active requests.
    pub struct RetryBudget {
        pub percent: Option<f64>,
        pub min_retry_concurrency: Option<u32>,
        pub budget_interval: Option<Duration>,
    }
}

enumeration! {
    /// Load balancing without keys.
    pub enum SimpleLb {
        #[default]
        Unspecified,
        LeastConn,
        Random,
        Passthrough,
        RoundRobin,
        LeastRequest,
    }

    /// Whether HTTP/1.1 is carried by HTTP/2 inside the mesh.
    pub enum H2UpgradePolicy {
        #[default]
        Default,
        DoNotUpgrade,
        Upgrade,
    }

    /// TLS towards the upstream.
    pub enum ClientTlsMode {
        #[default]
        Disable,
        Simple,
        Mutual,
        IstioMutual,
    }

    /// Version of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        #[default]
        V1,
        V2,
    }
}
