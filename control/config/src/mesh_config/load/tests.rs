use super::*;
use crate::Duration;
use crate::istio::sidecar::OutboundTrafficPolicyMode;

#[test]
fn an_empty_text_is_istios_default() {
    let loaded = MeshConfig::load("").expect("valid");
    assert_eq!(loaded.config, MeshConfig::default());
    assert_eq!(loaded.config.trust_domain, "cluster.local");
    assert!(loaded.config.enable_auto_mtls);
}

#[test]
fn what_a_text_says_replaces_only_that() {
    let text = "
accessLogFile: /dev/stdout
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
enableTracing: false
defaultConfig:
  concurrency: 2
  proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}
  tracing: {sampling: 100, zipkin: {address: 'zipkin:9411'}}
meshMTLS: {minProtocolVersion: TLSV1_3}
extensionProviders:
- name: envoy
  envoyFileAccessLog: {path: /tmp/log}
- name: otel
  envoyOtelAls: {service: otel.default.svc.cluster.local, port: 4317}
";
    let Loaded { config, warnings } = MeshConfig::load(text).expect("valid");
    assert_eq!(warnings, []);
    assert_eq!(config.access_log_file, "/dev/stdout");
    assert_eq!(config.outbound_traffic_policy.mode, OutboundTrafficPolicyMode::RegistryOnly);
    assert!(!config.enable_tracing);
    assert_eq!(config.default_config.concurrency, Some(2));
    assert_eq!(config.default_config.drain_duration, Some(Duration::from_secs(45)), "the default stays");
    let names: Vec<&str> = config.extension_providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(names, ["envoy", "otel", "prometheus", "stackdriver"]);
}

#[test]
fn proto_json_is_taken_leniently() {
    let text = "access_log_file: /x\nproxyListenPort: '15101'\naccess_log_encoding: 1\ndefault_config: {status_port: 15020}\n";
    let Loaded { config, warnings } = MeshConfig::load(text).expect("valid");
    assert_eq!(warnings, []);
    assert_eq!((config.access_log_file.as_str(), config.proxy_listen_port), ("/x", 15101));
    assert_eq!(config.access_log_encoding, super::super::AccessLogEncoding::Json);
}

#[test]
fn oddities_are_told() {
    let loaded =
        MeshConfig::load("accesLogFile: /x\ndefaultConfig: {zipkinAddress: 'z:1'}\n").expect("valid");
    let told: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "accesLogFile: unknown field; did you mean \"accessLogFile\"?");
    assert!(told[1].starts_with("defaultConfig.zipkinAddress: this field is deprecated"));
    let error = MeshConfig::load("connectTimeout: 10\nenableAutoMtls: maybe\n").expect_err("wrong types");
    assert!(error.to_string().contains("connectTimeout: expected a duration"), "{error}");
    assert!(error.to_string().contains("enableAutoMtls: expected true or false"), "{error}");
    assert!(matches!(MeshConfig::load("a: 1\na: 2"), Err(LoadError::Yaml(_))));
}

#[test]
fn proxy_config_is_laid_over_the_meshs() {
    let base = ProxyConfig::default();
    let over = base.overlay("concurrency: 4\nholdApplicationUntilProxyStarts: true\n").expect("valid").config;
    assert_eq!(over.concurrency, Some(4));
    assert_eq!(over.hold_application_until_proxy_starts, Some(true));
    assert_eq!(over.discovery_address, base.discovery_address);
}

#[test]
fn networks_are_read() {
    let text =
        "networks: {n1: {endpoints: [{fromRegistry: k}], gateways: [{address: 1.2.3.4, port: 15443}]}}";
    let networks = MeshNetworks::load(text).expect("valid").config;
    assert_eq!(networks.networks["n1"].gateways[0].port, 15443);
}
