//! Discovery: `/api`, `/apis` and below, in the classic and the aggregated form.

use super::Answer;
use crate::registry::{Registry, Resource};
use crate::server::Core;
use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers the path if it is a discovery document.
pub fn handle(core: &Core, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let registry = core.registry.load();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let aggregated = wants_aggregated(headers);
    let value = match parts.as_slice() {
        [""] => root_paths(&registry),
        ["api"] if aggregated => return Some(aggregated_answer(&registry, true)),
        ["apis"] if aggregated => return Some(aggregated_answer(&registry, false)),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}),
        ["apis"] => {
            let groups: Vec<Value> = named_groups(&registry).map(|(g, v)| group(g, v)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", "v1"] => resources(&registry, "", "v1")?,
        ["apis", name] => {
            let (name, versions) = named_groups(&registry).find(|(g, _)| g == name)?;
            let mut value = group(name, versions);
            value["kind"] = json!("APIGroup");
            value["apiVersion"] = json!("v1");
            value
        }
        ["apis", group, version] => resources(&registry, group, version)?,
        _ => return None,
    };
    Some(Answer::ok(&value).into_response())
}

fn named_groups(registry: &Registry) -> impl Iterator<Item = (&str, &[String])> {
    registry.groups().iter().filter(|g| !g.name.is_empty()).map(|g| (g.name.as_str(), g.versions.as_slice()))
}

fn group(name: &str, versions: &[String]) -> Value {
    let entry = |v: &String| json!({"groupVersion": format!("{name}/{v}"), "version": v});
    let all: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "preferredVersion": all.first(), "versions": all})
}

fn root_paths(registry: &Registry) -> Value {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).to_vec();
    for (name, versions) in named_groups(registry) {
        paths.push(format!("/apis/{name}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{name}/{v}")));
    }
    paths.extend(
        ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    json!({ "paths": paths })
}

/// One sub-resource: name, the kind it takes, its group and version, its verbs.
pub type SubResource = (&'static str, &'static str, (&'static str, &'static str), &'static [&'static str]);

/// The sub-resources of a resource. An empty kind stands for the resource's own.
pub fn subresources(resource: &Resource) -> Vec<SubResource> {
    let mut out: Vec<SubResource> = Vec::new();
    if resource.is("", "pods") {
        out.push(("attach", "PodAttachOptions", ("", "v1"), &["create", "get"]));
        out.push(("binding", "Binding", ("", "v1"), &["create"]));
        out.push(("eviction", "Eviction", ("policy", "v1"), &["create"]));
        out.push(("exec", "PodExecOptions", ("", "v1"), &["create", "get"]));
        out.push(("log", "", ("", ""), &["get"]));
        out.push(("portforward", "PodPortForwardOptions", ("", "v1"), &["create", "get"]));
    }
    if resource.is("", "namespaces") {
        out.push(("finalize", "", ("", ""), &["update"]));
    }
    if resource.is("", "serviceaccounts") {
        out.push(("token", "TokenRequest", ("authentication.k8s.io", "v1"), &["create"]));
    }
    if resource.scale.is_some() {
        out.push(("scale", "Scale", ("autoscaling", "v1"), &["get", "patch", "update"]));
    }
    if resource.has_status {
        out.push(("status", "", ("", ""), &["get", "patch", "update"]));
    }
    out
}

fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = Vec::new();
    for resource in registry.in_version(group, version) {
        list.push(entry(resource));
        for (name, kind, (kind_group, kind_version), verbs) in subresources(resource) {
            let own = kind.is_empty();
            let mut entry = json!({"name": format!("{}/{name}", resource.plural), "singularName": "",
                "namespaced": resource.namespaced});
            if !own && (kind_group, kind_version) != (group, version) {
                entry["group"] = json!(kind_group);
                entry["version"] = json!(kind_version);
            }
            entry["kind"] = json!(if own { &resource.kind } else { kind });
            entry["verbs"] = json!(verbs);
            list.push(entry);
        }
    }
    (!list.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
    })
}

fn entry(resource: &Resource) -> Value {
    let mut entry = json!({"name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs()});
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    entry
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // The first range that can be produced wins; clients that want aggregation name it first.
    let first =
        accept.split(',').find(|r| r.contains("application/json") || r.contains("*/*")).unwrap_or_default();
    first.contains("as=APIGroupDiscoveryList") && first.contains("v=v2") && !first.contains("v=v2beta1")
}

fn aggregated_answer(registry: &Registry, core: bool) -> Response<Body> {
    let items: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|g| g.name.is_empty() == core)
        .map(|g| {
            let versions: Vec<Value> =
                g.versions.iter().map(|v| aggregated_version(registry, &g.name, v)).collect();
            let metadata = if core {
                json!({ "creationTimestamp": null })
            } else {
                json!({ "name": g.name, "creationTimestamp": null })
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    let mut response = Answer::ok(&list).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response
}

fn aggregated_version(registry: &Registry, group: &str, version: &str) -> Value {
    let resources: Vec<Value> = registry.in_version(group, version).map(|r| aggregated_resource(r)).collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let subs: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, sub_kind, (group, version), verbs)| {
            let response = if sub_kind.is_empty() {
                kind(&resource.group, &resource.version, &resource.kind)
            } else {
                kind(group, version, sub_kind)
            };
            json!({"subresource": name, "responseKind": response, "verbs": verbs})
        })
        .collect();
    let mut out = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs(),
    });
    if !resource.short_names.is_empty() {
        out["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        out["categories"] = json!(resource.categories);
    }
    if !subs.is_empty() {
        out["subresources"] = json!(subs);
    }
    out
}
