//! MeshConfig, ProxyConfig and MeshNetworks: the settings of the whole mesh.
#![allow(missing_docs, reason = "fields are Istio's own and documented in Istio's reference")]

mod defaults;
pub mod extension_provider;
mod load;
pub mod networks;
pub mod proxy_config;

use std::collections::BTreeMap;

use crate::Duration;
use crate::istio::destination_rule::{
    ClientTlsSettings, H2UpgradePolicy, LocalityLbSetting, TcpKeepalive, TrafficPolicy, ZoneAwareLbSetting,
};
use crate::istio::sidecar::OutboundTrafficPolicy;
use crate::istio::virtual_service::HttpRetry;

pub use extension_provider::ExtensionProvider;
pub use load::{LoadError, Loaded};
pub use networks::MeshNetworks;
pub use proxy_config::ProxyConfig;

settings! {
    /// The key `mesh` of ConfigMap `istio`. `default()` is what Istio starts from.
    pub struct MeshConfig {
        pub proxy_listen_port: i32,
        pub proxy_inbound_listen_port: i32,
        pub proxy_http_port: i32,
        pub connect_timeout: Option<Duration>,
        pub hbone_idle_timeout: Option<Duration>,
        pub protocol_detection_timeout: Option<Duration>,
        pub tcp_keepalive: Option<TcpKeepalive>,
        pub ingress_class: String,
        pub ingress_service: String,
        pub ingress_controller_mode: IngressControllerMode,
        pub ingress_selector: String,
        pub enable_tracing: bool,
        /// Path of the access log; empty switches it off.
        pub access_log_file: String,
        pub access_log_format: String,
        pub access_log_encoding: AccessLogEncoding,
        pub enable_envoy_access_log_service: bool,
        pub disable_envoy_listener_log: bool,
        pub default_config: ProxyConfig,
        pub outbound_traffic_policy: OutboundTrafficPolicy,
        pub inbound_traffic_policy: InboundTrafficPolicy,
        pub config_sources: Vec<ConfigSource>,
        pub enable_auto_mtls: bool,
        pub trust_domain: String,
        pub trust_domain_aliases: Vec<String>,
        pub ca_certificates: Vec<CertificateData>,
        pub default_service_export_to: Vec<String>,
        pub default_virtual_service_export_to: Vec<String>,
        pub default_destination_rule_export_to: Vec<String>,
        pub root_namespace: String,
        pub locality_lb_setting: Option<LocalityLbSetting>,
        pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
        pub dns_refresh_rate: Option<Duration>,
        pub h2_upgrade_policy: H2UpgradePolicy,
        pub inbound_cluster_stat_name: String,
        pub outbound_cluster_stat_name: String,
        #[schemars(extend("x-deprecated" = "it has no effect in Istio"))]
        pub certificates: Vec<Certificate>,
        pub enable_prometheus_merge: bool,
        pub verify_certificate_at_client: Option<bool>,
        pub ca: Option<Ca>,
        pub extension_providers: Vec<ExtensionProvider>,
        pub default_providers: DefaultProviders,
        pub discovery_selectors: Vec<LabelSelector>,
        pub path_normalization: ProxyPathNormalization,
        pub default_http_retry_policy: Option<HttpRetry>,
        #[serde(rename = "meshMTLS")]
        pub mesh_mtls: Option<TlsConfig>,
        pub tls_defaults: Option<TlsConfig>,
        pub service_settings: Vec<ServiceSettings>,
        pub service_scope_configs: Vec<ServiceScopeConfig>,
        pub default_traffic_policy: Option<TrafficPolicy>,
        pub service_entry_visibility: Option<ServiceEntryVisibility>,
    }
}

message! {
    /// Inbound traffic to ports that no Service names.
    #[derive(Copy)]
    pub struct InboundTrafficPolicy {
        pub mode: InboundTrafficPolicyMode,
    }

    /// A source of configuration other than Kubernetes.
    pub struct ConfigSource {
        pub address: String,
        pub tls_settings: Option<ClientTlsSettings>,
        pub subscribed_resources: Vec<String>,
    }

    /// A further root that the mesh trusts.
    #[schemars(extend("x-oneof" = [["pem", "spiffeBundleUrl"]]))]
    pub struct CertificateData {
        pub pem: Option<String>,
        pub spiffe_bundle_url: Option<String>,
        pub cert_signers: Vec<String>,
        pub trust_domains: Vec<String>,
    }

    /// A certificate that istiod once provisioned.
    pub struct Certificate {
        pub secret_name: String,
        pub dns_names: Vec<String>,
    }

    /// An external CA.
    pub struct Ca {
        pub address: String,
        pub tls_settings: Option<ClientTlsSettings>,
        pub request_timeout: Option<Duration>,
        pub istiod_side: bool,
    }

    /// Providers used where no Telemetry names others.
    pub struct DefaultProviders {
        pub tracing: Vec<String>,
        pub metrics: Vec<String>,
        pub access_logging: Vec<String>,
    }

    /// Kubernetes' label selector.
    pub struct LabelSelector {
        pub match_labels: BTreeMap<String, String>,
        pub match_expressions: Vec<LabelSelectorRequirement>,
    }

    /// One expression of a label selector.
    pub struct LabelSelectorRequirement {
        pub key: String,
        /// In, NotIn, Exists or DoesNotExist.
        pub operator: String,
        pub values: Vec<String>,
    }

    /// How request paths are made canonical.
    #[derive(Copy)]
    pub struct ProxyPathNormalization {
        pub normalization: NormalizationType,
    }

    /// Bounds of TLS.
    pub struct TlsConfig {
        pub min_protocol_version: MeshTlsProtocol,
        pub ecdh_curves: Vec<String>,
        pub cipher_suites: Vec<String>,
    }

    /// Settings of hosts.
    pub struct ServiceSettings {
        pub settings: Option<ServiceSettingsValues>,
        pub hosts: Vec<String>,
    }

    /// What is set.
    pub struct ServiceSettingsValues {
        pub cluster_local: bool,
    }

    /// Which services are seen by other clusters.
    pub struct ServiceScopeConfig {
        pub namespace_selector: Option<LabelSelector>,
        pub services_selector: Option<LabelSelector>,
        pub scope: Scope,
    }

    /// Who may see ServiceEntries.
    pub struct ServiceEntryVisibility {
        pub default_visibility: Visibility,
        pub apply_to_sidecars: bool,
        pub policies: Vec<VisibilityPolicy>,
    }

    /// Visibility of ServiceEntries of some namespaces.
    pub struct VisibilityPolicy {
        pub visibility: Visibility,
        pub matching_rules: Vec<VisibilityMatchRule>,
    }

    /// Which namespaces.
    pub struct VisibilityMatchRule {
        pub namespace_selector: Option<LabelSelector>,
    }
}

enumeration! {
    /// Which Ingress resources are read.
    pub enum IngressControllerMode {
        #[serde(rename = "UNSPECIFIED")]
        Unspecified,
        Off,
        Default,
        #[default]
        Strict,
    }

    /// Form of the access log.
    pub enum AccessLogEncoding {
        #[default]
        Text,
        Json,
    }

    /// Inbound traffic to ports that no Service names.
    pub enum InboundTrafficPolicyMode {
        #[default]
        Passthrough,
        Localhost,
    }

    /// How request paths are made canonical.
    pub enum NormalizationType {
        #[default]
        Default,
        None,
        Base,
        MergeSlashes,
        DecodeAndMergeSlashes,
    }

    /// Version of TLS.
    pub enum MeshTlsProtocol {
        #[default]
        TlsAuto,
        #[serde(rename = "TLSV1_2")]
        Tlsv1_2,
        #[serde(rename = "TLSV1_3")]
        Tlsv1_3,
    }

    /// Who may see.
    pub enum Visibility {
        #[default]
        #[serde(rename = "VISIBILITY_UNSPECIFIED")]
        Unspecified,
        None,
        Namespace,
        Public,
    }

    /// Reach of a service in a mesh of several clusters.
    pub enum Scope {
        #[default]
        Local,
        Global,
    }
}
