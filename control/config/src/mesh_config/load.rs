//! Reads MeshConfig, ProxyConfig and MeshNetworks from YAML, each laid over what was there before.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{MeshConfig, MeshNetworks, ProxyConfig};
use crate::check::{Checker, Dialect};
use crate::diagnostic::FieldError;
use crate::path::Path;
use crate::shape::Shape;
use crate::yaml::{self, YamlError};

/// How findings call the annotation's text.
const PROXY_CONFIG: &str = "proxy.istio.io/config";

/// Settings, and what was odd about the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    /// The settings.
    pub config: T,
    /// Unknown and deprecated fields. Unknown ones are left out, as Istio does.
    pub warnings: Vec<FieldError>,
}

/// Why a text is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The text is not YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// Fields of a wrong type or without a meaning.
    #[error("{}", list(.0))]
    Fields(Vec<FieldError>),
}

fn list(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl MeshConfig {
    /// Reads the key `mesh` of ConfigMap `istio`; what it does not say is Istio's default.
    ///
    /// # Errors
    /// When it is not YAML or a field has a wrong type.
    pub fn load(text: &str) -> Result<Loaded<MeshConfig>, LoadError> {
        MeshConfig::default().overlay(text)
    }

    /// Lays a text over these settings.
    ///
    /// # Errors
    /// As `load`.
    pub fn overlay(&self, text: &str) -> Result<Loaded<MeshConfig>, LoadError> {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        let mut loaded = overlay(self, SHAPE.get_or_init(Shape::of::<MeshConfig>), "mesh", text)?;
        // Providers are told apart by name: a text adds some, and replaces those of the same name.
        for provider in &self.extension_providers {
            if loaded.config.extension_providers.iter().all(|other| other.name != provider.name) {
                loaded.config.extension_providers.push(provider.clone());
            }
        }
        Ok(loaded)
    }
}

impl ProxyConfig {
    /// What a text itself says, its fields under their proper names; unknown ones are left out with a warning.
    ///
    /// # Errors
    /// As `overlay`.
    pub fn fields(text: &str) -> Result<Loaded<Map<String, Value>>, LoadError> {
        // Values are checked by reading the whole.
        ProxyConfig::default().overlay(text)?;
        let (checked, warnings) = checked(ProxyConfig::shape(), PROXY_CONFIG, text)?;
        let config = checked.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        Ok(Loaded { config, warnings })
    }

    fn shape() -> &'static Shape {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        SHAPE.get_or_init(Shape::of::<ProxyConfig>)
    }

    /// Lays a text, such as annotation `proxy.istio.io/config`, over these settings.
    ///
    /// # Errors
    /// When it is not YAML or a field has a wrong type.
    pub fn overlay(&self, text: &str) -> Result<Loaded<ProxyConfig>, LoadError> {
        overlay(self, ProxyConfig::shape(), PROXY_CONFIG, text)
    }
}

impl MeshNetworks {
    /// Reads the key `meshNetworks` of ConfigMap `istio`.
    ///
    /// # Errors
    /// When it is not YAML or a field has a wrong type.
    pub fn load(text: &str) -> Result<Loaded<MeshNetworks>, LoadError> {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        overlay(&MeshNetworks::default(), SHAPE.get_or_init(Shape::of::<MeshNetworks>), "meshNetworks", text)
    }
}

fn overlay<T>(base: &T, shape: &Shape, name: &str, text: &str) -> Result<Loaded<T>, LoadError>
where
    T: Serialize + DeserializeOwned + JsonSchema + Clone,
{
    let (checked, warnings) = checked(shape, name, text)?;
    let Some(checked) = checked else { return Ok(Loaded { config: base.clone(), warnings }) };
    let wrong =
        |error: serde_json::Error| LoadError::Fields(vec![FieldError::new(Path::root(), error.to_string())]);
    let mut merged = serde_json::to_value(base).map_err(wrong)?;
    merge(&mut merged, checked);
    let config = serde_json::from_value(merged).map_err(wrong)?;
    Ok(Loaded { config, warnings })
}

/// The first document of a text with all names in their canonical form, and what was odd about it.
fn checked(shape: &Shape, name: &str, text: &str) -> Result<(Option<Value>, Vec<FieldError>), LoadError> {
    let documents = yaml::read(name, text)?.documents;
    let Some(document) = documents.first() else { return Ok((None, Vec::new())) };
    let mut checker = Checker::new(Dialect::Proto, Path::root());
    let checked = checker.check(shape, &document.value).unwrap_or_else(|| Value::Object(Map::new()));
    let findings = checker.findings;
    if !findings.errors.is_empty() {
        return Err(LoadError::Fields(findings.errors));
    }
    Ok((Some(checked), findings.unknown.into_iter().chain(findings.deprecated).collect()))
}

/// Proto's merge of messages: objects are merged, everything else is replaced.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests;
