//! Probe rewriting: the kubelet has no mesh certificate, so its probes go to the agent, which asks the application.

use serde_json::{Map, Value, json};

use crate::annotations::{flag, names};
use crate::pod::{INIT_CONTAINER, PROXY_CONTAINER, PodRef, array, name};

const PROBES: [(&str, &str); 3] =
    [("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz")];
const HOOKS: [(&str, &str); 2] = [("postStart", "poststartz"), ("preStop", "prestopz")];

/// Rewrites the probes of every application container (restartable init containers too) and tells the agent the
/// originals in `ISTIO_KUBE_APP_PROBERS`.
pub(crate) fn rewrite(pod: &mut Value, original: PodRef<'_>, default: bool, status_port: u16) {
    if !original.annotation(names::REWRITE_PROBES).and_then(flag).unwrap_or(default) {
        return;
    }
    let mut probers = Map::new();
    for list in ["initContainers", "containers"] {
        let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut(list)?.as_array_mut());
        for container in containers.into_iter().flatten() {
            if !matches!(name(container), PROXY_CONTAINER | INIT_CONTAINER) {
                rewrite_container(container, status_port, &mut probers);
            }
        }
    }
    if !probers.is_empty()
        && let Some(proxy) = super::inject::proxy_container(pod)
    {
        let text = Value::Object(probers).to_string();
        array(proxy, "env").push(json!({"name": "ISTIO_KUBE_APP_PROBERS", "value": text}));
    }
}

fn rewrite_container(container: &mut Value, status_port: u16, probers: &mut Map<String, Value>) {
    let container_name = name(container).to_owned();
    let ports = container.get("ports").cloned().unwrap_or(Value::Null);
    for (field, path) in PROBES {
        if let Some(probe) = container.get_mut(field) {
            let path = format!("/app-health/{container_name}/{path}");
            if let Some(prober) = rewrite_handler(probe, &ports, &path, status_port) {
                probers.insert(path, with_timeout(prober, probe));
            }
        }
    }
    for (field, path) in HOOKS {
        let hook = container.get_mut("lifecycle").and_then(|lifecycle| lifecycle.get_mut(field));
        // Only HTTP hooks come from outside the pod's containers.
        if let Some(hook) = hook.filter(|hook| hook.get("httpGet").is_some()) {
            let path = format!("/app-lifecycle/{container_name}/{path}");
            if let Some(prober) = rewrite_handler(hook, &ports, &path, status_port) {
                probers.insert(path, prober);
            }
        }
    }
}

/// Replaces the handler by a plain GET to the agent; gives the original. Exec probes run in the container and stay.
fn rewrite_handler(probe: &mut Value, ports: &Value, path: &str, status_port: u16) -> Option<Value> {
    let probe = probe.as_object_mut()?;
    let kind = ["httpGet", "tcpSocket", "grpc"].into_iter().find(|kind| probe.contains_key(*kind))?;
    let mut handler = probe.get(kind)?.clone();
    let port = number(handler.get("port")?, ports)?;
    if port == u64::from(status_port) {
        return None;
    }
    handler["port"] = json!(port);
    let mut get = json!({"path": path, "port": status_port});
    if kind == "httpGet" {
        // The agent answers in plain text, whatever the application speaks.
        get["scheme"] = json!("HTTP");
        if handler.get("scheme").is_none() {
            handler["scheme"] = json!("HTTP");
        }
        if let Some(headers) = handler.get("httpHeaders") {
            get["httpHeaders"] = headers.clone();
        }
    }
    probe.shift_remove(kind);
    probe.insert("httpGet".to_owned(), get);
    Some(json!({kind: handler}))
}

fn with_timeout(mut prober: Value, probe: &Value) -> Value {
    if let Some(timeout) = probe.get("timeoutSeconds") {
        prober["timeoutSeconds"] = timeout.clone();
    }
    prober
}

/// A port by number, or by the name a container port has.
fn number(port: &Value, ports: &Value) -> Option<u64> {
    if let Some(number) = port.as_u64() {
        return Some(number);
    }
    let wanted = port.as_str()?;
    if let Ok(number) = wanted.parse() {
        return Some(number);
    }
    ports.as_array()?.iter().find(|port| name(port) == wanted)?.get("containerPort")?.as_u64()
}
