//! Configuration: what users wrote, what is in force, what proxies get.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use meltemi_proto::google::protobuf::Any;
use meltemi_proto::json::{Style, any_to_json_as};
use meltemi_proto::type_url;
use meltemi_xds::{Resource, ResourceSet, Subscription};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Debug;

pub async fn configz(State(debug): State<Debug>) -> Json<Value> {
    Json(debug.objects.list().iter().map(meltemi_config::AnyObject::to_value).collect())
}

pub async fn mesh(State(debug): State<Debug>) -> Json<Value> {
    Json(serde_json::to_value(debug.settings.mesh_config()).unwrap_or_default())
}

pub async fn inject(State(debug): State<Debug>) -> Json<Value> {
    Json(json!(debug.settings.injector_texts()))
}

#[derive(Deserialize)]
pub struct Which {
    #[serde(rename = "proxyID")]
    proxy_id: Option<String>,
}

/// Envoy's `/config_dump`, as the proxy would show it if it had taken everything that it asked for.
pub async fn dump(
    State(debug): State<Debug>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let current =
        debug.current().map_err(|not_yet| (StatusCode::SERVICE_UNAVAILABLE, not_yet.to_string()))?;
    let Some(proxy) = which.proxy_id else {
        return Err((StatusCode::BAD_REQUEST, "say which proxy: ?proxyID=POD.NAMESPACE\n".to_owned()));
    };
    let found = debug.hub.connections.find(&proxy);
    let Some((connection, view)) =
        found.and_then(|connection| Some((connection.clone(), connection.view()?)))
    else {
        let message = format!("no proxy {proxy} is connected to this istiod; see /debug/connections\n");
        return Err((StatusCode::NOT_FOUND, message));
    };
    let asked = |type_url| {
        let subscription = connection.subscription(type_url).unwrap_or(Subscription::Names(BTreeSet::new()));
        debug.cache.resources(type_url, &current, &view, &subscription)
    };
    let (clusters, listeners) = (asked(type_url::CLUSTER), asked(type_url::LISTENER));
    let (routes, endpoints) = (asked(type_url::ROUTE), asked(type_url::ENDPOINT));
    Ok(Json(json!({"configs": [
        section("ClustersConfigDump", &[("dynamic_active_clusters", "cluster")], &clusters),
        listener_section(&listeners),
        section("RoutesConfigDump", &[("dynamic_route_configs", "route_config")], &routes),
        section("EndpointsConfigDump", &[("dynamic_endpoint_configs", "endpoint_config")], &endpoints),
    ]})))
}

fn section(kind: &str, lists: &[(&str, &str)], set: &ResourceSet) -> Value {
    let mut section = json!({"@type": format!("type.googleapis.com/envoy.admin.v3.{kind}")});
    for (list, field) in lists {
        section[*list] =
            set.values().map(|r| json!({"version_info": &*r.version, *field: readable(r)})).collect();
    }
    section
}

fn listener_section(set: &ResourceSet) -> Value {
    let listeners: Vec<Value> = set
        .values()
        .map(|r| json!({"name": &*r.name, "active_state": {"version_info": &*r.version, "listener": readable(r)}}))
        .collect();
    json!({"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": listeners})
}

/// A resource as JSON. Private keys do not pass here: secrets are no part of the dump.
fn readable(resource: &Resource) -> Value {
    let any = Any { type_url: resource.type_url.to_owned(), value: resource.body.to_vec() };
    any_to_json_as(&any, Style { proto_names: true })
        .unwrap_or_else(|error| json!({"error": error.to_string()}))
}
