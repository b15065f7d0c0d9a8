//! What every golden case gives a proxy without Istio's own filters, put before Envoy itself: `envoy --mode validate`
//! takes it in a bootstrap that holds all of it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod mesh;

use std::path::Path;
use std::process::Command;

use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::{any, json, type_url};
use meltemi_translate::{Names, resources};
use mesh::cases;
use serde_json::{Value, json};

#[test]
fn envoy_takes_every_case() {
    let envoy = std::env::var("MELTEMI_ENVOY").unwrap_or_default();
    assert!(
        Path::new(&envoy).is_file(),
        "MELTEMI_ENVOY={envoy:?} names no Envoy: run `make envoy` and set it to .tools/envoy/envoy (`make test` does both)"
    );
    let dir = tempfile::tempdir().unwrap();
    let mut refused = Vec::new();
    for case in cases::all() {
        let snapshot = mesh::world(&case.input).snapshot();
        for (name, proxy) in &case.proxies {
            let view = ProxyView::of(&snapshot, &proxy.identity(&snapshot));
            let case = case.folder.file_name().unwrap().to_string_lossy();
            let file = dir.path().join(format!("{case}-{name}.json"));
            std::fs::write(&file, bootstrap(&snapshot, &view).to_string()).unwrap();
            refused.extend(validate(&envoy, &file).err().map(|error| format!("{case}/{name}: {error}")));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

fn validate(envoy: &str, file: &Path) -> Result<(), String> {
    let output =
        Command::new(envoy).args(["--mode", "validate", "-l", "warn", "-c"]).arg(file).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn all(snapshot: &Snapshot, view: &ProxyView, type_url: &str) -> Vec<Value> {
    let style = json::Style { proto_names: true };
    let list = resources(type_url, snapshot, view, &Names::All).into_values();
    list.map(|r| json::bytes_to_json(any::message_name(type_url), &r.body, style).unwrap()).collect()
}

/// Everything that the proxy gets, as static resources. Endpoints and routes are only found in other resources there:
/// each assignment is put into a cluster of its own, each route configuration into a listener.
fn bootstrap(snapshot: &Snapshot, view: &ProxyView) -> Value {
    let mut clusters = all(snapshot, view, type_url::CLUSTER);
    clusters.extend(all(snapshot, view, type_url::ENDPOINT).into_iter().map(cluster_of));
    clusters.extend(["xds-grpc", "sds-grpc"].map(grpc));
    let mut listeners = all(snapshot, view, type_url::LISTENER);
    let routes = all(snapshot, view, type_url::ROUTE).into_iter();
    listeners.extend(routes.enumerate().map(|(index, route)| listener_of(index, route)));
    json!({
        "node": {"id": "sidecar~10.0.0.1~a.b~b.svc.cluster.local", "cluster": "a"},
        "dynamic_resources": {"ads_config": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
        }},
        "static_resources": {
            "clusters": clusters,
            "listeners": listeners,
            "secrets": all(snapshot, view, type_url::SECRET),
        },
    })
}

fn cluster_of(assignment: Value) -> Value {
    let name = format!("endpoints of {}", assignment["cluster_name"].as_str().unwrap());
    json!({"name": name, "type": "STATIC", "load_assignment": assignment})
}

fn grpc(name: &str) -> Value {
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    json!({
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"pipe": {"path": format!("./{name}")}}}},
        ]}]},
    })
}

fn listener_of(index: usize, mut route: Value) -> Value {
    // Routes come later than clusters on the wire as well, but may name what is not there.
    route["validate_clusters"] = json!(false);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "routes",
        "route_config": route,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
    });
    json!({
        "name": format!("routes {index}"),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 20000 + index}},
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}],
    })
}
