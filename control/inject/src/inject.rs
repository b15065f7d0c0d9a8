//! Injection: pod in, patched pod out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::annotations::{self, AnnotationError, flag, names};
use crate::config::{ConfigError, InjectorConfig};
use crate::decide::{Decision, Reason};
use crate::overlay::overlay;
use crate::pod::{INIT_CONTAINER, PROXY_CONTAINER, PodRef, Workload, array, name, object};
use crate::proxy_config::{MeshSettings, ProxyConfig};
use crate::template::{self, Frame};
use crate::values::Values;
use crate::{probes, prometheus};

/// The settings of one revision, ready to inject pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Injector {
    /// Key `config` of the injector's ConfigMap.
    pub config: InjectorConfig,
    /// Key `values` of the injector's ConfigMap.
    pub values: Values,
    /// What is needed of the MeshConfig.
    pub mesh: MeshSettings,
    /// Whether the proxy is a native sidecar (an init container that keeps running) where the pod does not say.
    pub native_sidecars: bool,
}

impl Default for Injector {
    fn default() -> Self {
        Self {
            config: InjectorConfig::default(),
            values: Values::default(),
            mesh: MeshSettings::default(),
            native_sidecars: true,
        }
    }
}

/// Where a pod is to live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The pod's namespace.
    pub namespace: String,
    /// The namespace's labels, where they are to be weighed (see [`Injector::decide`]).
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// Cluster name given in the webhook's URL (`/inject/cluster/NAME`).
    pub cluster: Option<String>,
    /// Network name given in the webhook's URL (`/inject/net/NAME`).
    pub network: Option<String>,
}

impl Context {
    /// A pod of `namespace`, its labels not weighed.
    pub fn of_namespace(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }
}

/// An injected pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injected {
    /// The whole pod.
    pub pod: Value,
    /// The JSON patch that makes it from the pod that came in.
    pub patch: json_patch::Patch,
    /// What of the pod's wishes has no effect.
    pub warnings: Vec<String>,
}

/// The result for one pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The pod has a proxy now.
    Injected(Box<Injected>),
    /// It stays as it was, and why.
    Skipped(Reason),
}

/// Why a pod that should be injected cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The object is not a pod.
    #[error("expected a Pod with `metadata` and `spec.containers`, got {found}")]
    NotAPod {
        /// What came instead.
        found: String,
    },
    /// Annotations with values that cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Annotations(Vec<AnnotationError>),
    /// The annotation `proxy.istio.io/config`.
    #[error("annotation `proxy.istio.io/config`: {message}")]
    ProxyConfig {
        /// What is wrong with it.
        message: String,
    },
    /// A template that cannot be applied.
    #[error("injection template `{template}`: {message}")]
    Template {
        /// Its name.
        template: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Injector {
    /// Reads the data of the ConfigMap `istio-sidecar-injector` (keys `config` and `values`, both may be absent) and
    /// the text of key `mesh` of the ConfigMap `istio`.
    pub fn from_config_maps(
        injector: &BTreeMap<String, String>,
        mesh: Option<&str>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            config: injector
                .get("config")
                .map_or_else(|| Ok(InjectorConfig::default()), |t| InjectorConfig::parse(t))?,
            values: injector.get("values").map_or_else(|| Ok(Values::default()), |t| Values::parse(t))?,
            mesh: mesh.map_or_else(|| Ok(MeshSettings::default()), MeshSettings::parse)?,
            native_sidecars: true,
        })
    }

    /// The revision injected pods belong to.
    pub fn revision(&self) -> &str {
        if self.values.revision.is_empty() { "default" } else { &self.values.revision }
    }

    /// What the names of this revision's objects end in: nothing for the default revision, else `-REVISION`.
    pub(crate) fn revision_suffix(&self) -> String {
        match self.revision() {
            "default" => String::new(),
            revision => format!("-{revision}"),
        }
    }

    /// Gives `pod` a proxy if it is to have one.
    pub fn inject(&self, pod: &Value, context: &Context) -> Result<Outcome, InjectError> {
        check_shape(pod)?;
        if let Decision::Skip(reason) = self.decide(pod, context) {
            return Ok(Outcome::Skipped(reason));
        }
        let (injected, warnings) = self.apply(pod, context)?;
        let patch = json_patch::diff(pod, &injected);
        Ok(Outcome::Injected(Box::new(Injected { pod: injected, patch, warnings })))
    }

    fn apply(&self, pod: &Value, context: &Context) -> Result<(Value, Vec<String>), InjectError> {
        let original = PodRef(pod);
        annotations::check(original).map_err(InjectError::Annotations)?;
        let templates = self.templates(original);
        let native = self.native(original, &templates);
        let config = ProxyConfig::of(original, &self.mesh)?;
        let workload = Workload::of(original);
        let frame = Frame { pod: original, injector: self, context, config, workload, native };
        let addition = template::render(&frame, &templates)?;
        let proxyless = templates.iter().any(|name| name == template::GRPC_AGENT);
        let mut result = merge(pod, &addition, native);
        // Without a proxy the application waits for what the agent brings it, and is probed directly.
        arrange(&mut result, native, frame.hold_application() || proxyless);
        let status_port = frame.status_port();
        if !proxyless {
            let rewrite = self.values.sidecar_injector_webhook.rewrite_app_http_probe;
            probes::rewrite(&mut result, original, rewrite, status_port);
        }
        prometheus::merge(&mut result, original, &self.mesh, status_port);
        self.write_status(&mut result, &addition);
        Ok((result, frame.config.warnings))
    }

    /// The templates of a pod: its annotation's, else the configured ones, aliases resolved.
    fn templates(&self, pod: PodRef<'_>) -> Vec<String> {
        let own = pod.annotation(names::TEMPLATES).map(|list| {
            list.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let mut wanted = own.unwrap_or_else(|| self.config.default_templates.clone());
        if wanted.is_empty() {
            wanted.push("sidecar".to_owned());
        }
        wanted
            .into_iter()
            .flat_map(|name| self.config.aliases.get(&name).cloned().unwrap_or_else(|| vec![name]))
            .collect()
    }

    /// A gateway is the pod's main container; so is a proxy that the user has put among the containers.
    fn native(&self, pod: PodRef<'_>, templates: &[String]) -> bool {
        let wanted = pod.annotation(names::NATIVE_SIDECAR).and_then(flag).unwrap_or(self.native_sidecars);
        let among_containers = pod.containers("containers").iter().any(|c| name(c) == PROXY_CONTAINER);
        wanted && !among_containers && templates.iter().any(|template| template == "sidecar")
    }

    /// `sidecar.istio.io/status`: what was added, for people and for the next injection.
    fn write_status(&self, pod: &mut Value, addition: &Value) {
        let added = |list: &str| {
            let items = addition.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
            match items {
                Some(items) if !items.is_empty() => items.iter().map(|item| json!(name(item))).collect(),
                _ => Value::Null,
            }
        };
        let status = json!({
            "initContainers": added("initContainers"),
            "containers": added("containers"),
            "volumes": added("volumes"),
            "imagePullSecrets": added("imagePullSecrets"),
            "revision": self.revision(),
        });
        object(&mut pod["metadata"], "annotations")
            .insert(names::STATUS.to_owned(), json!(status.to_string()));
        let labels = object(&mut pod["metadata"], "labels");
        if !labels.contains_key(names::REVISION) {
            labels.insert(names::REVISION.to_owned(), json!(self.revision()));
        }
    }
}

fn check_shape(pod: &Value) -> Result<(), InjectError> {
    let kind = pod.get("kind").and_then(Value::as_str).unwrap_or("Pod");
    let containers = pod.pointer("/spec/containers").is_some_and(Value::is_array);
    if kind == "Pod" && containers {
        return Ok(());
    }
    let found = if kind == "Pod" { "one without spec.containers" } else { kind };
    Err(InjectError::NotAPod { found: found.to_owned() })
}

/// Lays the template's addition over the pod, then what the user wrote for the proxy over that: the user wins, but
/// `image: auto` asks for ours.
fn merge(pod: &Value, addition: &Value, native: bool) -> Value {
    let mut result = pod.clone();
    overlay(&mut result, addition);
    let list = if native { "initContainers" } else { "containers" };
    let own = PodRef(pod).find_container(PROXY_CONTAINER).cloned();
    if let (Some(mut own), Some(target)) = (own, proxy_in(&mut result, list)) {
        if own.get("image").and_then(Value::as_str) == Some("auto")
            && let Some(own) = own.as_object_mut()
        {
            own.shift_remove("image");
        }
        overlay(target, &own);
    }
    if let Some(own) = pod.pointer("/spec/securityContext") {
        overlay(&mut result["spec"]["securityContext"], own);
    }
    result
}

fn proxy_in<'a>(pod: &'a mut Value, list: &str) -> Option<&'a mut Value> {
    pod.get_mut("spec")?.get_mut(list)?.as_array_mut()?.iter_mut().find(|c| name(c) == PROXY_CONTAINER)
}

/// The proxy container of an injected pod.
pub(crate) fn proxy_container(pod: &mut Value) -> Option<&mut Value> {
    let native = PodRef(pod).containers("initContainers").iter().any(|c| name(c) == PROXY_CONTAINER);
    proxy_in(pod, if native { "initContainers" } else { "containers" })
}

/// Puts the containers in the order that start-up needs. With a native sidecar: the redirection, then the proxy, then
/// what uses them. Without one nothing answers at the proxy's ports while init containers run, so the redirection comes
/// after those of the user; the proxy comes first among the containers only if the application waits for it.
fn arrange(pod: &mut Value, native: bool, proxy_first: bool) {
    let rank = |container: &Value| match (name(container), native) {
        (INIT_CONTAINER, true) => 0,
        (PROXY_CONTAINER, true) => 1,
        (INIT_CONTAINER, false) => 3,
        _ => 2,
    };
    let spec = &mut pod["spec"];
    if spec.get("initContainers").is_some() {
        let init = array(spec, "initContainers");
        init.sort_by_key(rank);
        if init.is_empty()
            && let Some(spec) = spec.as_object_mut()
        {
            spec.shift_remove("initContainers");
        }
    }
    array(&mut pod["spec"], "containers").sort_by_key(|container| {
        let proxy = name(container) == PROXY_CONTAINER;
        if proxy_first { !proxy } else { proxy }
    });
}
