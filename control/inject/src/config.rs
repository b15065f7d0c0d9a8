//! The injector's own settings: key `config` of the ConfigMap `istio-sidecar-injector`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A setting that cannot be read: which key, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("injector ConfigMap, key `{key}`: {message}")]
pub struct ConfigError {
    /// The key of the ConfigMap's `data`.
    pub key: &'static str,
    /// Path, line and what was expected.
    pub message: String,
}

/// What happens to a pod that says nothing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// Pods of selected namespaces are injected unless they opt out.
    #[default]
    Enabled,
    /// Only pods that ask for it are injected.
    Disabled,
}

/// The document under key `config`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InjectorConfig {
    /// What happens to a pod that says nothing itself.
    pub policy: Policy,
    /// Templates applied when a pod names none; `sidecar` when empty.
    pub default_templates: Vec<String>,
    /// Names that stand for lists of templates.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Pods matching any of these are injected even where the policy is `disabled`.
    pub always_inject_selector: Vec<LabelSelector>,
    /// Pods matching any of these are never injected by default.
    pub never_inject_selector: Vec<LabelSelector>,
    /// Annotations given to every injected pod.
    pub injected_annotations: BTreeMap<String, String>,
    /// Extra templates: YAML laid over the pod. The names `sidecar` and `gateway` are built in and win.
    pub templates: BTreeMap<String, String>,
}

impl Default for InjectorConfig {
    fn default() -> Self {
        Self {
            policy: Policy::Enabled,
            default_templates: vec!["sidecar".to_owned()],
            aliases: BTreeMap::new(),
            always_inject_selector: Vec::new(),
            never_inject_selector: Vec::new(),
            injected_annotations: BTreeMap::new(),
            templates: BTreeMap::new(),
        }
    }
}

impl InjectorConfig {
    /// Reads the text under key `config`. An unknown field or a wrong type is an error with its place.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        yaml_serde::from_str(text).map_err(|error| ConfigError { key: "config", message: error.to_string() })
    }
}

/// A Kubernetes label selector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions; all must hold.
    pub match_expressions: Vec<LabelRequirement>,
}

/// One condition of a [`LabelSelector`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: Operator,
    /// The values for `In` and `NotIn`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// How a [`LabelRequirement`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it asks for nothing; such a selector matches nothing here, so that a slip does not take in every pod.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether labels, looked up by `label`, satisfy every condition.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.is_empty()
            && self.match_labels.iter().all(|(key, value)| label(key) == Some(value.as_str()))
            && self.match_expressions.iter().all(|requirement| requirement.holds(label(&requirement.key)))
    }
}

impl LabelRequirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|wanted| wanted == value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}
