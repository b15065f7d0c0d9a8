//! `kube-inject`: the same injection over manifests.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::inject::{Context, InjectError, Injector, Outcome};
use crate::pod::object;

/// A manifest that cannot be injected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeInjectError {
    /// The text is not YAML.
    #[error("document {document}: {message}")]
    Yaml {
        /// Which document, counted from 1.
        document: usize,
        /// Place and cause.
        message: String,
    },
    /// A pod in it cannot be injected.
    #[error("{kind} {name}: {source}")]
    Inject {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// The cause.
        source: InjectError,
    },
}

/// Injects every workload of a multi-document manifest (Deployment, DaemonSet, StatefulSet, ReplicaSet,
/// ReplicationController, Job, CronJob, Pod, and Lists of them). Other objects pass unchanged.
pub fn kube_inject(
    injector: &Injector,
    default_namespace: &str,
    manifest: &str,
) -> Result<String, KubeInjectError> {
    let mut texts = Vec::new();
    for (index, document) in yaml_serde::Deserializer::from_str(manifest).enumerate() {
        let fault = |error: yaml_serde::Error| KubeInjectError::Yaml {
            document: index + 1,
            message: error.to_string(),
        };
        let mut object = Value::deserialize(document).map_err(fault)?;
        if object.is_null() {
            continue;
        }
        inject_object(injector, default_namespace, &mut object)?;
        texts.push(yaml_serde::to_string(&object).map_err(fault)?);
    }
    Ok(texts.join("---\n"))
}

fn inject_object(
    injector: &Injector,
    default_namespace: &str,
    value: &mut Value,
) -> Result<(), KubeInjectError> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "List" {
        let items = value.get_mut("items").and_then(Value::as_array_mut);
        return items
            .into_iter()
            .flatten()
            .try_for_each(|item| inject_object(injector, default_namespace, item));
    }
    let Some(path) = template_path(&kind) else { return Ok(()) };
    let namespace =
        value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or(default_namespace).to_owned();
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or("v1").to_owned();
    let Some(template) = value.pointer_mut(path).filter(|template| template.is_object()) else {
        return Ok(());
    };
    let pod = as_pod(template, &api_version, &kind, &name);
    let outcome = injector
        .inject(&pod, &Context::of_namespace(namespace))
        .map_err(|source| KubeInjectError::Inject { kind: kind.clone(), name: name.clone(), source })?;
    if let Outcome::Injected(injected) = outcome {
        *template = as_template(injected.pod, &kind);
    }
    Ok(())
}

/// Where a kind keeps its pod; the empty path is the object itself.
fn template_path(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            Some("/spec/template")
        }
        _ => None,
    }
}

/// A pod as its controller would make it, so that workload names come out the same as at admission.
fn as_pod(template: &Value, api_version: &str, kind: &str, name: &str) -> Value {
    let mut pod = template.clone();
    if kind != "Pod" {
        let owner = json!([{"apiVersion": api_version, "kind": kind, "name": name, "controller": true}]);
        object(&mut pod, "metadata").insert("ownerReferences".to_owned(), owner);
    }
    pod
}

fn as_template(mut pod: Value, kind: &str) -> Value {
    if kind != "Pod" {
        object(&mut pod, "metadata").shift_remove("ownerReferences");
    }
    pod
}
