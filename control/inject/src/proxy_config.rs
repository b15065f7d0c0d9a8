//! The mesh's settings as far as injection needs them, and the proxy configuration of one pod.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::annotations::names;
use crate::config::ConfigError;
use crate::inject::InjectError;
use crate::pod::PodRef;

/// What injection reads of the MeshConfig (key `mesh` of the ConfigMap `istio`).
#[derive(Debug, Clone, PartialEq)]
pub struct MeshSettings {
    /// `defaultConfig`: the ProxyConfig every pod starts from.
    pub default_config: Map<String, Value>,
    /// `trustDomain`.
    pub trust_domain: String,
    /// `enablePrometheusMerge`.
    pub enable_prometheus_merge: bool,
    /// `proxyListenPort`.
    pub outbound_port: u16,
    /// `proxyInboundListenPort`.
    pub inbound_port: u16,
    /// `inboundTrafficPolicy.mode` is `LOCALHOST`: the proxy calls the application on 127.0.0.1.
    pub inbound_localhost: bool,
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self::from_json(&Value::Null)
    }
}

impl MeshSettings {
    /// Reads YAML text under key `mesh`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let value: Value = yaml_serde::from_str(text)
            .map_err(|error| ConfigError { key: "mesh", message: error.to_string() })?;
        if !(value.is_object() || value.is_null()) {
            return Err(ConfigError {
                key: "mesh",
                message: "expected a mapping of MeshConfig fields".to_owned(),
            });
        }
        Ok(Self::from_json(&value))
    }

    /// Reads a MeshConfig in its JSON form; what is absent has Istio's default.
    pub fn from_json(mesh: &Value) -> Self {
        let port = |field: &str, default| {
            let port = mesh.get(field).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
            port.filter(|port| *port != 0).unwrap_or(default)
        };
        let mode = mesh.pointer("/inboundTrafficPolicy/mode").and_then(Value::as_str);
        Self {
            default_config: mesh.get("defaultConfig").and_then(Value::as_object).cloned().unwrap_or_default(),
            trust_domain: text(mesh, "trustDomain").unwrap_or_else(|| "cluster.local".to_owned()),
            enable_prometheus_merge: mesh
                .get("enablePrometheusMerge")
                .and_then(Value::as_bool)
                .unwrap_or(true),
            outbound_port: port("proxyListenPort", meltemi_proto::ports::OUTBOUND),
            inbound_port: port("proxyInboundListenPort", meltemi_proto::ports::INBOUND),
            inbound_localhost: mode == Some("LOCALHOST"),
        }
    }
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The ProxyConfig of one pod: the mesh's default with the annotation `proxy.istio.io/config` laid over it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProxyConfig {
    fields: Map<String, Value>,
    /// What was odd about the annotation: such fields are left out.
    pub(crate) warnings: Vec<String>,
}

impl ProxyConfig {
    pub(crate) fn of(pod: PodRef<'_>, mesh: &MeshSettings) -> Result<Self, InjectError> {
        let mut merged = mesh.default_config.clone();
        let mut warnings = Vec::new();
        if let Some(annotation) = pod.annotation(names::PROXY_CONFIG) {
            let own = meltemi_config::mesh_config::ProxyConfig::fields(annotation)
                .map_err(|error| InjectError::ProxyConfig { message: error.to_string() })?;
            merge(&mut merged, own.config);
            let name = names::PROXY_CONFIG;
            warnings.extend(own.warnings.iter().map(|warning| format!("annotation {name}: {warning}")));
        }
        if let Some(address) = pod.annotation(names::DISCOVERY_ADDRESS) {
            merged.insert("discoveryAddress".to_owned(), json!(address));
        }
        Ok(Self { fields: merged, warnings })
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(crate) fn flag(&self, field: &str) -> Option<bool> {
        self.fields.get(field).and_then(Value::as_bool)
    }

    pub(crate) fn interception_mode<'a>(&'a self, pod: PodRef<'a>) -> &'a str {
        pod.annotation(names::INTERCEPTION_MODE)
            .or_else(|| self.text("interceptionMode"))
            .unwrap_or("REDIRECT")
    }

    pub(crate) fn status_port(&self, pod: PodRef<'_>, default: u16) -> u16 {
        let own =
            self.fields.get("statusPort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        pod.annotation(names::STATUS_PORT)
            .and_then(|port| port.parse().ok())
            .or(own)
            .filter(|port| *port != 0)
            .unwrap_or(default)
    }

    /// `status.sidecar.istio.io/port: "0"` asks that nobody probe the proxy.
    pub(crate) fn is_probed(pod: PodRef<'_>) -> bool {
        pod.annotation(names::STATUS_PORT).is_none_or(|port| port.parse() != Ok(0u16))
    }

    pub(crate) fn image_type(&self) -> Option<&str> {
        self.fields.get("image")?.get("imageType")?.as_str().filter(|kind| !matches!(*kind, "" | "default"))
    }

    /// `proxyMetadata`: environment variables of the proxy, sorted.
    pub(crate) fn metadata(&self) -> BTreeMap<&str, String> {
        let entries = self.fields.get("proxyMetadata").and_then(Value::as_object);
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        entries.into_iter().flatten().map(|(name, value)| (name.as_str(), plain(value))).collect()
    }

    /// The text of the variable `PROXY_CONFIG`.
    pub(crate) fn to_text(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }
}

/// Fields replace fields, except that metadata is added to metadata.
fn merge(base: &mut Map<String, Value>, own: Map<String, Value>) {
    for (field, value) in own {
        match (base.get_mut(&field), value) {
            (Some(Value::Object(base)), Value::Object(own)) if field == "proxyMetadata" => base.extend(own),
            (_, value) => {
                base.insert(field, value);
            }
        }
    }
}
