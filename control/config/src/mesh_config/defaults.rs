//! What Istio starts from where the user says nothing.

use crate::Duration;
use crate::istio::destination_rule::LocalityLbSetting;
use crate::istio::sidecar::{OutboundTrafficPolicy, OutboundTrafficPolicyMode};
use crate::mesh_config::extension_provider::{EnvoyFileAccessLog, Prometheus, Stackdriver};
use crate::mesh_config::proxy_config::AuthenticationPolicy;
use crate::mesh_config::{
    AccessLogEncoding, DefaultProviders, ExtensionProvider, InboundTrafficPolicy, IngressControllerMode,
    MeshConfig, ProxyConfig, ProxyPathNormalization,
};

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            proxy_http_port: 0,
            connect_timeout: Some(Duration::from_secs(10)),
            hbone_idle_timeout: None,
            protocol_detection_timeout: Some(Duration::ZERO),
            tcp_keepalive: None,
            ingress_class: "istio".to_owned(),
            ingress_service: "istio-ingressgateway".to_owned(),
            ingress_controller_mode: IngressControllerMode::Strict,
            ingress_selector: "ingressgateway".to_owned(),
            enable_tracing: true,
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            enable_envoy_access_log_service: false,
            disable_envoy_listener_log: false,
            default_config: ProxyConfig::default(),
            outbound_traffic_policy: OutboundTrafficPolicy {
                mode: OutboundTrafficPolicyMode::AllowAny,
                egress_proxy: None,
            },
            inbound_traffic_policy: InboundTrafficPolicy::default(),
            config_sources: Vec::new(),
            enable_auto_mtls: true,
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            ca_certificates: Vec::new(),
            default_service_export_to: vec!["*".to_owned()],
            default_virtual_service_export_to: vec!["*".to_owned()],
            default_destination_rule_export_to: vec!["*".to_owned()],
            root_namespace: "istio-system".to_owned(),
            locality_lb_setting: Some(LocalityLbSetting {
                enabled: Some(true),
                ..LocalityLbSetting::default()
            }),
            zone_aware_lb_setting: None,
            dns_refresh_rate: Some(Duration::from_secs(60)),
            h2_upgrade_policy: Default::default(),
            inbound_cluster_stat_name: String::new(),
            outbound_cluster_stat_name: String::new(),
            certificates: Vec::new(),
            enable_prometheus_merge: true,
            verify_certificate_at_client: None,
            ca: None,
            extension_providers: default_providers(),
            default_providers: DefaultProviders::default(),
            discovery_selectors: Vec::new(),
            path_normalization: ProxyPathNormalization::default(),
            default_http_retry_policy: None,
            mesh_mtls: None,
            tls_defaults: None,
            service_settings: Vec::new(),
            service_scope_configs: Vec::new(),
            default_traffic_policy: None,
            service_entry_visibility: None,
        }
    }
}

/// The providers that exist without being declared.
pub(super) fn default_providers() -> Vec<ExtensionProvider> {
    vec![
        ExtensionProvider {
            name: "prometheus".to_owned(),
            prometheus: Some(Prometheus::default()),
            ..ExtensionProvider::default()
        },
        ExtensionProvider {
            name: "stackdriver".to_owned(),
            stackdriver: Some(Stackdriver::default()),
            ..ExtensionProvider::default()
        },
        ExtensionProvider {
            name: "envoy".to_owned(),
            envoy_file_access_log: Some(EnvoyFileAccessLog {
                path: "/dev/stdout".to_owned(),
                ..EnvoyFileAccessLog::default()
            }),
            ..ExtensionProvider::default()
        },
    ]
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            config_path: "./etc/istio/proxy".to_owned(),
            binary_path: "/usr/local/bin/envoy".to_owned(),
            service_cluster: "istio-proxy".to_owned(),
            tracing_service_name: Default::default(),
            drain_duration: Some(Duration::from_secs(45)),
            termination_drain_duration: Some(Duration::from_secs(5)),
            discovery_address: "istiod.istio-system.svc:15012".to_owned(),
            zipkin_address: String::new(),
            discovery_refresh_delay: None,
            envoy_metrics_service_address: String::new(),
            statsd_udp_address: String::new(),
            proxy_admin_port: 15000,
            control_plane_auth_policy: AuthenticationPolicy::MutualTls,
            custom_config_file: String::new(),
            stat_name_length: 189,
            concurrency: None,
            proxy_bootstrap_template_path: String::new(),
            interception_mode: Default::default(),
            tracing: None,
            sds: None,
            envoy_access_log_service: None,
            envoy_metrics_service: None,
            proxy_metadata: Default::default(),
            runtime_values: Default::default(),
            status_port: 15020,
            extra_stat_tags: Vec::new(),
            gateway_topology: None,
            proxy_stats_matcher: None,
            readiness_probe: None,
            hold_application_until_proxy_starts: None,
            ca_certificates_pem: Vec::new(),
            image: None,
            private_key_provider: None,
            proxy_headers: None,
            file_flush_interval: None,
            file_flush_min_size_kb: None,
            stats_compression: None,
            mesh_id: String::new(),
            connection_settings: None,
            availability_zone: String::new(),
        }
    }
}
