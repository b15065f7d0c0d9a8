//! Defaults of pod specs.

use crate::object::{as_map, default, items_mut, list, map, str_of};
use serde_json::{Map, Value, json};

/// Fills in a pod spec (of a pod or of a template).
pub fn pod_spec(spec: &mut Map<String, Value>) {
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items_mut(spec, field) {
            self::container(as_map(container));
        }
    }
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
    let accounts = [str_of(spec, "serviceAccountName"), str_of(spec, "serviceAccount")];
    let account = accounts.into_iter().find(|a| !a.is_empty()).map(str::to_owned);
    if let Some(account) = account {
        default(spec, "serviceAccountName", account.clone());
        default(spec, "serviceAccount", account);
    }
    items_mut(spec, "volumes").for_each(|v| volume(as_map(v)));
    if spec.get("hostNetwork") == Some(&json!(true)) {
        for container in items_mut(spec, "containers") {
            for port in items_mut(as_map(container), "ports") {
                if let Some(number) = port.get("containerPort").cloned() {
                    default(as_map(port), "hostPort", number);
                }
            }
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = str_of(container, "image").to_owned();
    if !image.is_empty() {
        default(container, "imagePullPolicy", pull_policy(&image));
    }
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    limits_to_requests(container);
    items_mut(container, "ports").for_each(|p| default(as_map(p), "protocol", "TCP"));
    for env in items_mut(container, "env") {
        if let Some(reference) = env.pointer_mut("/valueFrom/fieldRef") {
            default(as_map(reference), "apiVersion", "v1");
        }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = container.get_mut(field).filter(|p| p.is_object()) {
            probe(as_map(p));
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) = container.get_mut("lifecycle").and_then(|l| l.get_mut(hook)?.get_mut("httpGet")) {
            http_get(as_map(get));
        }
    }
}

/// Requests that are not set equal the limits.
fn limits_to_requests(container: &mut Map<String, Value>) {
    let Some(resources) = container.get_mut("resources") else { return };
    let limits = map(resources, "/limits").cloned().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let requests = crate::object::child(resources, "requests");
    for (name, quantity) in limits {
        default(requests, &name, quantity);
    }
}

/// `latest` (or no tag) is pulled always, a tag or digest once.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn probe(probe: &mut Map<String, Value>) {
    default(probe, "timeoutSeconds", 1);
    default(probe, "periodSeconds", 10);
    default(probe, "successThreshold", 1);
    default(probe, "failureThreshold", 3);
    if let Some(get) = probe.get_mut("httpGet").filter(|g| g.is_object()) {
        http_get(as_map(get));
    }
    if let Some(grpc) = probe.get_mut("grpc").filter(|g| g.is_object()) {
        default(as_map(grpc), "service", "");
    }
}

fn http_get(get: &mut Map<String, Value>) {
    default(get, "path", "/");
    default(get, "scheme", "HTTP");
}

fn volume(volume: &mut Map<String, Value>) {
    const SOURCES: [&str; 3] = ["configMap", "secret", "downwardAPI"];
    for source in SOURCES {
        if let Some(s) = volume.get_mut(source).filter(|s| s.is_object()) {
            default(as_map(s), "defaultMode", 420);
            field_refs(s);
        }
    }
    if let Some(projected) = volume.get_mut("projected").filter(|p| p.is_object()) {
        default(as_map(projected), "defaultMode", 420);
        for source in items_mut(as_map(projected), "sources") {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                default(as_map(token), "expirationSeconds", 3600);
            }
            if let Some(downward) = source.get_mut("downwardAPI") {
                field_refs(downward);
            }
        }
    }
    if let Some(path) = volume.get_mut("hostPath") {
        default(as_map(path), "type", "");
    }
    // A volume without a source is an empty directory.
    if volume.len() == 1 && volume.contains_key("name") {
        volume.insert("emptyDir".into(), json!({}));
    }
}

fn field_refs(source: &mut Value) {
    for item in items_mut(as_map(source), "items") {
        if let Some(reference) = item.get_mut("fieldRef") {
            default(as_map(reference), "apiVersion", "v1");
        }
    }
}

/// The pod's quality-of-service class.
pub fn qos(pod: &Value) -> &'static str {
    let all = ["/spec/containers", "/spec/initContainers"].iter().flat_map(|p| list(pod, p));
    let (mut any, mut guaranteed) = (false, true);
    for container in all {
        let of = |kind: &str, what: &str| container.pointer(&format!("/resources/{kind}/{what}")).cloned();
        for what in ["cpu", "memory"] {
            let (request, limit) = (of("requests", what), of("limits", what));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
