//! Settings of the whole mesh without effect.

use serde_json::Value;

use super::finding;
use crate::diagnostic::Diagnostic;
use crate::istio::sidecar::OutboundTrafficPolicyMode;
use crate::mesh_config::{ExtensionProvider, MeshConfig, MeshNetworks};
use crate::path::Path;

/// Fields of MeshConfig that change nothing yet.
pub(super) const FIELDS: &[&str] = &[
    "proxyHttpPort",
    "hboneIdleTimeout",
    "ingressClass",
    "ingressService",
    "ingressControllerMode",
    "ingressSelector",
    "enableTracing",
    "outboundTrafficPolicy.egressProxy",
    "enableEnvoyAccessLogService",
    "disableEnvoyListenerLog",
    "inboundTrafficPolicy",
    "configSources",
    "caCertificates",
    "zoneAwareLbSetting",
    "inboundClusterStatName",
    "outboundClusterStatName",
    "certificates",
    "verifyCertificateAtClient",
    "ca",
    "discoverySelectors",
    "meshMTLS",
    "tlsDefaults",
    "serviceSettings",
    "serviceScopeConfigs",
    "serviceEntryVisibility",
    "defaultConfig.binaryPath",
    "defaultConfig.serviceCluster",
    "defaultConfig.sds",
    "defaultConfig.meshId",
    "defaultConfig.availabilityZone",
    "defaultConfig.tracingServiceName",
    "defaultConfig.zipkinAddress",
    "defaultConfig.discoveryRefreshDelay",
    "defaultConfig.envoyMetricsServiceAddress",
    "defaultConfig.statsdUdpAddress",
    "defaultConfig.controlPlaneAuthPolicy",
    "defaultConfig.customConfigFile",
    "defaultConfig.statNameLength",
    "defaultConfig.proxyBootstrapTemplatePath",
    "defaultConfig.tracing",
    "defaultConfig.envoyAccessLogService",
    "defaultConfig.envoyMetricsService",
    "defaultConfig.runtimeValues",
    "defaultConfig.extraStatTags",
    "defaultConfig.caCertificatesPem",
    "defaultConfig.privateKeyProvider",
    "defaultConfig.proxyHeaders",
    "defaultConfig.fileFlushInterval",
    "defaultConfig.fileFlushMinSizeKb",
    "defaultConfig.statsCompression",
    "defaultConfig.connectionSettings",
    "defaultConfig.gatewayTopology.proxyProtocol",
    "tcpKeepalive",
    "localityLbSetting.distribute",
    "localityLbSetting.failoverPriority",
    "defaultProviders.tracing",
    "defaultProviders.metrics",
];

/// The settings that are set otherwise than by default and have no effect yet.
pub fn mesh(config: &MeshConfig) -> Vec<Diagnostic> {
    let set = serde_json::to_value(config).unwrap_or_default();
    let default = MeshConfig::default();
    let plain = serde_json::to_value(&default).unwrap_or_default();
    let differs = |field: &&&str| at(&set, field) != at(&plain, field);
    let message = "this setting has no effect in this version";
    let mut found: Vec<Diagnostic> =
        FIELDS.iter().filter(differs).map(|field| finding(Path::parse(field), message.to_owned())).collect();
    if config.outbound_traffic_policy.mode == OutboundTrafficPolicyMode::AllowAnyDynamicDns {
        let message = "ALLOW_ANY_DYNAMIC_DNS is taken as ALLOW_ANY: hosts are not resolved by the proxy";
        found.push(finding(Path::parse("outboundTrafficPolicy.mode"), message.to_owned()));
    }
    for (position, provider) in config.extension_providers.iter().enumerate() {
        if !default.extension_providers.contains(provider) && !takes_effect(provider) {
            let path = Path::root().key("extensionProviders").index(position);
            let message = format!(
                "provider {:?} has no effect in this version: only `envoyFileAccessLog` is used",
                provider.name
            );
            found.push(finding(path, message));
        }
    }
    found
}

/// The networks that are declared: endpoints of all of them are reached directly.
pub fn networks(config: &MeshNetworks) -> Vec<Diagnostic> {
    let message = "networks have no effect in this version: every endpoint is reached at its own address";
    let path = |name: &String| Path::root().key("networks").key(name);
    config.networks.keys().map(|name| finding(path(name), message.to_owned())).collect()
}

/// Metrics are there in any case, so that a provider `prometheus` has what it asks for.
fn takes_effect(provider: &ExtensionProvider) -> bool {
    provider.envoy_file_access_log.is_some() || provider.prometheus.is_some()
}

fn at<'a>(settings: &'a Value, field: &str) -> Option<&'a Value> {
    settings.pointer(&format!("/{}", field.replace('.', "/")))
}
