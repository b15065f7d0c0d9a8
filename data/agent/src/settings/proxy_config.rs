//! The part of Istio's `ProxyConfig` that the agent acts on; the whole of it goes into the node metadata.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::environment::Environment;

/// Annotation that overrides the mesh's settings for a pod.
const ANNOTATION: &str = "proxy.istio.io/config";
/// Where the control plane is unless told otherwise.
const DEFAULT_DISCOVERY: &str = "istiod.istio-system.svc:15012";

/// Effective `ProxyConfig` of this proxy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// The control plane.
    pub discovery_address: String,
    /// Worker threads; absent or 0 means one for each core of the limit.
    pub concurrency: Option<u32>,
    /// The time in which connections are closed at draining.
    pub drain_duration: Option<GoDuration>,
    /// How long to go on serving after SIGTERM.
    pub termination_drain_duration: Option<GoDuration>,
    /// Port of the agent.
    pub status_port: Option<u16>,
    /// Port of the proxy's admin interface.
    pub proxy_admin_port: Option<u16>,
    /// Directory of the generated bootstrap.
    pub config_path: Option<String>,
    /// Which statistics of Envoy to keep.
    pub proxy_stats_matcher: Option<StatsMatcher>,
    /// Variables for the proxy's container.
    pub proxy_metadata: BTreeMap<String, String>,
    /// All of it, as given.
    #[serde(skip)]
    pub raw: Value,
}

/// Statistics to keep beyond the default ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatsMatcher {
    /// Names that begin with one of these.
    pub inclusion_prefixes: Vec<String>,
    /// Names that end with one of these.
    pub inclusion_suffixes: Vec<String>,
    /// Names that match one of these.
    pub inclusion_regexps: Vec<String>,
}

/// Why a `ProxyConfig` was refused.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {reason}")]
pub struct ProxyConfigError {
    origin: &'static str,
    reason: String,
}

impl ProxyConfig {
    /// `PROXY_CONFIG` of the environment with the pod's annotation over it, both JSON or YAML.
    ///
    /// # Errors
    /// When one of them does not parse.
    pub fn effective(env: &Environment) -> Result<Self, ProxyConfigError> {
        let mut map = parse("environment variable PROXY_CONFIG", env.get("PROXY_CONFIG"))?;
        let own = parse(ANNOTATION, env.annotations.get(ANNOTATION).map(String::as_str))?;
        map.extend(own);
        let raw = Value::Object(map);
        let mut config: Self = serde_json::from_value(raw.clone())
            .map_err(|error| ProxyConfigError { origin: "ProxyConfig", reason: error.to_string() })?;
        if config.discovery_address.is_empty() {
            config.discovery_address = DEFAULT_DISCOVERY.to_owned();
        }
        config.raw = raw;
        Ok(config)
    }
}

fn parse(origin: &'static str, text: Option<&str>) -> Result<Map<String, Value>, ProxyConfigError> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(Map::new()) };
    let error = |reason: String| ProxyConfigError { origin, reason };
    // JSON is YAML.
    match yaml_serde::from_str(text).map_err(|problem| error(problem.to_string()))? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(error(format!("expected a map of settings, found {other}"))),
    }
}

/// A duration as Go and proto-JSON write it: `45s`, `1m30s`, `1.5h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

impl GoDuration {
    /// Reads a duration; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut total = 0.0;
        let mut rest = text;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let number: f64 = rest.get(..end)?.parse().ok()?;
            let unit = rest.get(end..)?;
            let length = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
            total += number * seconds(unit.get(..length)?)?;
            rest = unit.get(length..)?;
        }
        Duration::try_from_secs_f64(total).ok().map(Self)
    }
}

fn seconds(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-9),
        "us" | "µs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = String::deserialize(de)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?}: expected a duration such as 45s or 1m30s"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("45s", 45_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("100ms", 100), ("0s", 0)]
        {
            assert_eq!(GoDuration::parse(text).map(|value| value.0.as_millis()), Some(millis), "{text}");
        }
        for text in ["", "5", "s", "5x", "-1s", "1s5"] {
            assert_eq!(GoDuration::parse(text), None, "{text}");
        }
    }
}
