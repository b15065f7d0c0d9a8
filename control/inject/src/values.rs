//! The installation's values that injection depends on: key `values` of the ConfigMap `istio-sidecar-injector`.

use std::collections::BTreeMap;

use meltemi_proto::version::ISTIO_COMPAT;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{ConfigError, LabelSelector};

/// Helm values as far as they concern injection; the rest of the document is kept as it is.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Values {
    /// `global.*`.
    pub global: Global,
    /// `sidecarInjectorWebhook.*`.
    pub sidecar_injector_webhook: WebhookValues,
    /// The revision; empty means `default`.
    pub revision: String,
    /// Everything else of the values file.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// `global.*`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Global {
    /// Image registry and path.
    pub hub: String,
    /// Image tag.
    pub tag: String,
    /// Image variant appended to the tag (`distroless`, `debug`).
    pub variant: String,
    /// `Always`, `IfNotPresent` or `Never`; empty leaves it to Kubernetes.
    pub image_pull_policy: String,
    /// Names of pull secrets given to injected pods.
    pub image_pull_secrets: Vec<String>,
    /// Where istiod runs.
    pub istio_namespace: String,
    /// The mesh id; the trust domain when empty.
    #[serde(rename = "meshID")]
    pub mesh_id: String,
    /// The network this cluster's pods are on.
    pub network: String,
    /// Address of the CA; istiod's when empty.
    pub ca_address: String,
    /// JSON log lines instead of text.
    pub log_as_json: bool,
    /// `global.logging`.
    pub logging: Logging,
    /// `global.multiCluster`.
    pub multi_cluster: MultiCluster,
    /// `global.proxy`.
    pub proxy: Proxy,
    /// `global.proxy_init`.
    #[serde(rename = "proxy_init")]
    pub proxy_init: ProxyInit,
    /// Who signs workload certificates.
    pub pilot_cert_provider: String,
    /// `global.sds`.
    pub sds: Sds,
    /// Everything else under `global`.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            hub: "docker.io/istio".to_owned(),
            tag: ISTIO_COMPAT.to_owned(),
            variant: String::new(),
            image_pull_policy: String::new(),
            image_pull_secrets: Vec::new(),
            istio_namespace: "istio-system".to_owned(),
            mesh_id: String::new(),
            network: String::new(),
            ca_address: String::new(),
            log_as_json: false,
            logging: Logging::default(),
            multi_cluster: MultiCluster::default(),
            proxy: Proxy::default(),
            proxy_init: ProxyInit::default(),
            pilot_cert_provider: "istiod".to_owned(),
            sds: Sds::default(),
            other: BTreeMap::new(),
        }
    }
}

/// `global.logging`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Logging {
    /// Log levels, `scope:level` joined by commas.
    pub level: String,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: "default:info".to_owned() }
    }
}

/// `global.multiCluster`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MultiCluster {
    /// The cluster's name; `Kubernetes` when empty.
    pub cluster_name: String,
    /// Everything else under `multiCluster`.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// `global.sds`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sds {
    /// The token that proxies show to istiod.
    pub token: Token,
}

/// `global.sds.token`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Token {
    /// The audience of the token.
    pub aud: String,
}

impl Default for Token {
    fn default() -> Self {
        Self { aud: "istio-ca".to_owned() }
    }
}

/// `global.proxy_init`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProxyInit {
    /// Image name of the init container; the proxy's when empty.
    pub image: String,
    /// Resources of the init container; the proxy's when null.
    pub resources: Value,
    /// Whether iptables rules are written even when they are already there.
    pub force_apply_iptables: bool,
}

/// `global.proxy`. Unknown fields are refused: a typo here would silently change every pod.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Proxy {
    /// Image name, or a whole image when it holds a `/`.
    pub image: String,
    /// `enabled` or `disabled`.
    pub auto_inject: String,
    /// The DNS suffix of the cluster.
    pub cluster_domain: String,
    /// Envoy's log level.
    pub log_level: String,
    /// Envoy's log level by component.
    pub component_log_level: String,
    /// Whether the proxy runs privileged.
    pub privileged: bool,
    /// Whether core dumps are enabled (accepted, without effect).
    pub enable_core_dump: bool,
    /// Container resources.
    pub resources: Value,
    /// Container lifecycle, replacing the one of the template.
    pub lifecycle: Value,
    /// Outbound addresses to capture.
    #[serde(rename = "includeIPRanges")]
    pub include_ip_ranges: String,
    /// Outbound addresses not to capture.
    #[serde(rename = "excludeIPRanges")]
    pub exclude_ip_ranges: String,
    /// Inbound ports to capture.
    pub include_inbound_ports: String,
    /// Inbound ports not to capture.
    pub exclude_inbound_ports: String,
    /// Outbound ports to capture whatever the address.
    pub include_outbound_ports: String,
    /// Outbound ports not to capture.
    pub exclude_outbound_ports: String,
    /// The agent's HTTP port.
    pub status_port: u16,
    /// Seconds before the first readiness probe.
    pub readiness_initial_delay_seconds: u32,
    /// Seconds between readiness probes.
    pub readiness_period_seconds: u32,
    /// Failed probes until the proxy counts as not ready.
    pub readiness_failure_threshold: u32,
    /// The startup probe.
    pub startup_probe: StartupProbe,
    /// Start the application only after the proxy is ready.
    pub hold_application_until_proxy_starts: bool,
    /// Tracer name (accepted, without effect on injection).
    pub tracer: String,
    /// Where outlier events are logged.
    pub outlier_log_path: String,
    /// File mode for core dumps of old charts (accepted, without effect).
    pub seccomp_profile: Value,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            image: "proxyv2".to_owned(),
            auto_inject: "enabled".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            log_level: "warning".to_owned(),
            component_log_level: "misc:error".to_owned(),
            privileged: false,
            enable_core_dump: false,
            resources: json!({
                "limits": {"cpu": "2000m", "memory": "1024Mi"},
                "requests": {"cpu": "100m", "memory": "128Mi"},
            }),
            lifecycle: Value::Null,
            include_ip_ranges: "*".to_owned(),
            exclude_ip_ranges: String::new(),
            include_inbound_ports: "*".to_owned(),
            exclude_inbound_ports: String::new(),
            include_outbound_ports: String::new(),
            exclude_outbound_ports: String::new(),
            status_port: 15020,
            readiness_initial_delay_seconds: 0,
            readiness_period_seconds: 15,
            readiness_failure_threshold: 4,
            startup_probe: StartupProbe::default(),
            hold_application_until_proxy_starts: false,
            tracer: "none".to_owned(),
            outlier_log_path: String::new(),
            seccomp_profile: Value::Null,
        }
    }
}

/// `global.proxy.startupProbe`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StartupProbe {
    /// Whether there is one.
    pub enabled: bool,
    /// Seconds the proxy has to start.
    pub failure_threshold: u32,
}

impl Default for StartupProbe {
    fn default() -> Self {
        Self { enabled: true, failure_threshold: 600 }
    }
}

/// `sidecarInjectorWebhook.*`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookValues {
    /// Whether kubelet probes go through the agent.
    #[serde(rename = "rewriteAppHTTPProbe")]
    pub rewrite_app_http_probe: bool,
    /// Whether namespaces without a label are injected.
    pub enable_namespaces_by_default: bool,
    /// As in [`crate::InjectorConfig`].
    pub never_inject_selector: Vec<LabelSelector>,
    /// As in [`crate::InjectorConfig`].
    pub always_inject_selector: Vec<LabelSelector>,
    /// As in [`crate::InjectorConfig`].
    pub injected_annotations: BTreeMap<String, String>,
    /// Everything else under `sidecarInjectorWebhook`.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Default for WebhookValues {
    fn default() -> Self {
        Self {
            rewrite_app_http_probe: true,
            enable_namespaces_by_default: false,
            never_inject_selector: Vec::new(),
            always_inject_selector: Vec::new(),
            injected_annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }
}

impl Values {
    /// Reads the text (JSON or YAML) under key `values`. A wrong type is an error with its place.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        yaml_serde::from_str(text).map_err(|error| ConfigError { key: "values", message: error.to_string() })
    }
}
