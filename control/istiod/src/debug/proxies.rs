//! Connected proxies.

use axum::Json;
use axum::extract::State;
use meltemi_proto::{type_url, version};
use serde_json::{Map, Value, json};

use super::Debug;
use crate::connections::Connection;

/// Istio's names of the types in `syncz`.
const TYPES: [(&str, &str); 6] = [
    (type_url::CLUSTER, "cluster"),
    (type_url::LISTENER, "listener"),
    (type_url::ROUTE, "route"),
    (type_url::ENDPOINT, "endpoint"),
    (type_url::EXTENSION_CONFIG, "extensionconfig"),
    (type_url::SECRET, "secret"),
];

pub async fn syncz(State(debug): State<Debug>) -> Json<Value> {
    Json(
        debug
            .hub
            .connections
            .list()
            .iter()
            .map(|connection| sync_status(connection, &debug.cluster_id))
            .collect(),
    )
}

/// One proxy: for each type the nonce last sent and last accepted, and what it refused.
fn sync_status(connection: &Connection, cluster_id: &str) -> Value {
    let metadata = &connection.identity.metadata;
    let cluster = if metadata.cluster_id.is_empty() { cluster_id } else { &metadata.cluster_id };
    let mut status = json!({
        "cluster_id": cluster,
        "proxy": connection.proxy_name(),
        "proxy_type": connection.node_id.split('~').next(),
        "istio_version": metadata.istio_version,
        "istiod_version": version::ISTIO_COMPAT,
        "connected_at": connection.since.to_string(),
        "protocol": if connection.delta { "delta" } else { "sotw" },
    });
    let types = connection.types();
    let mut errors = Map::new();
    for (type_url, name) in TYPES {
        let Some(state) = types.get(type_url) else { continue };
        status[format!("{name}_sent")] = json!(state.sent);
        status[format!("{name}_acked")] = json!(state.acked);
        if !state.nacked.is_empty() {
            errors.insert(
                type_url::short(type_url).to_owned(),
                json!({"nonce": state.nacked, "error": state.error}),
            );
        }
    }
    if !errors.is_empty() {
        status["errors"] = Value::Object(errors);
    }
    status
}

pub async fn adsz(State(debug): State<Debug>) -> Json<Value> {
    let clients: Vec<Value> = debug
        .hub
        .connections
        .list()
        .iter()
        .map(|connection| {
            let watches: Map<String, Value> = connection
                .types()
                .into_iter()
                .map(|(type_url, state)| {
                    let watch = json!({
                        "sent": state.sent,
                        "acked": state.acked,
                        "nacked": state.nacked,
                        "error": state.error,
                        "sentAt": state.sent_at.map(|at| at.to_string()),
                        "resources": state.resources,
                        "bytes": state.bytes,
                    });
                    (type_url::short(&type_url).to_owned(), watch)
                })
                .collect();
            let mut client = summary(connection);
            client["watches"] = Value::Object(watches);
            client
        })
        .collect();
    Json(json!({"totalClients": clients.len(), "clients": clients}))
}

pub async fn connections(State(debug): State<Debug>) -> Json<Value> {
    let clients: Vec<Value> =
        debug.hub.connections.list().iter().map(|connection| summary(connection)).collect();
    Json(json!({"totalClients": clients.len(), "clients": clients}))
}

fn summary(connection: &Connection) -> Value {
    json!({
        "connectionId": format!("{}-{}", connection.node_id, connection.id),
        "connectedAt": connection.since.to_string(),
        "address": connection.remote.map(|remote| remote.to_string()),
        "principal": connection.principal,
        "labels": connection.identity.labels,
    })
}

pub async fn instances(State(debug): State<Debug>) -> Json<Value> {
    let proxies = debug.hub.connections.list();
    let entry = |connection: &Connection| {
        let view = connection.view();
        let targets = view.iter().flat_map(|view| &view.targets).map(|target| {
            json!({
                "service": target.service.key.hostname,
                "port": target.port.number,
                "workloadPort": target.workload_port,
            })
        });
        (connection.proxy_name(), targets.collect::<Value>())
    };
    Json(Value::Object(proxies.iter().map(|connection| entry(connection)).collect()))
}
