//! Services and endpoints.

use axum::Json;
use axum::extract::State;
use meltemi_mesh::{Endpoint, Service, ServiceEndpoints};
use serde_json::{Map, Value, json};

use super::{Debug, NotYet};

type Answer = Result<Json<Value>, NotYet>;

pub async fn services(State(debug): State<Debug>) -> Answer {
    let snapshot = debug.current()?.snapshot;
    Ok(Json(snapshot.services.iter().map(|service| describe(service)).collect()))
}

fn describe(service: &Service) -> Value {
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "port": port.number, "protocol": format!("{:?}", port.protocol)}))
        .collect();
    json!({
        "Attributes": {
            "ServiceRegistry": format!("{:?}", service.origin),
            "Name": service.name,
            "Namespace": service.key.namespace,
            "Labels": service.labels,
            "LabelSelectors": service.selector,
        },
        "hostname": service.key.hostname,
        "clusterVIPs": service.addresses,
        "ports": ports,
        "Resolution": format!("{:?}", service.resolution),
        "MeshExternal": service.external,
        "creationTime": service.created,
    })
}

pub async fn endpoints(State(debug): State<Debug>) -> Answer {
    let snapshot = debug.current()?.snapshot;
    let mut all: Vec<(String, Value)> = Vec::new();
    for (key, endpoints) in snapshot.endpoints.iter() {
        for (port, list) in &endpoints.by_port {
            let service = snapshot.services.iter().find(|service| service.key == *key);
            let name =
                service.and_then(|service| Some(service.port(*port)?.name.clone())).unwrap_or_default();
            let list: Vec<Value> = list.iter().map(|endpoint| describe_endpoint(endpoint)).collect();
            let title = format!("{}:{}", key.hostname, if name.is_empty() { port.to_string() } else { name });
            all.push((title.clone(), json!({"svc": title, "ep": list})));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Json(all.into_iter().map(|(_, entry)| entry).collect()))
}

pub async fn shards(State(debug): State<Debug>) -> Answer {
    let snapshot = debug.current()?.snapshot;
    let mut services: Map<String, Value> = Map::new();
    for (key, endpoints) in snapshot.endpoints.iter() {
        let shard = format!("Kubernetes/{}", debug.cluster_id);
        let accounts: Vec<String> =
            endpoints.identities.iter().map(|(ns, sa)| format!("{ns}/{sa}")).collect();
        let entry = json!({"Shards": {shard: flat(endpoints)}, "ServiceAccounts": accounts});
        let namespaces = services.entry(key.hostname.clone()).or_insert_with(|| json!({}));
        namespaces[key.namespace.as_str()] = entry;
    }
    services.sort_keys();
    Ok(Json(Value::Object(services)))
}

fn flat(endpoints: &ServiceEndpoints) -> Vec<Value> {
    endpoints.by_port.values().flatten().map(|endpoint| describe_endpoint(endpoint)).collect()
}

fn describe_endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "Addresses": [endpoint.address],
        "EndpointPort": endpoint.port,
        "HealthStatus": format!("{:?}", endpoint.health),
        "Labels": *endpoint.labels,
        "Namespace": endpoint.namespace,
        "ServiceAccount": endpoint.service_account,
        "WorkloadName": endpoint.workload_name,
        "TLSMode": if endpoint.mesh_tls { "istio" } else { "disabled" },
        "NodeName": endpoint.node,
        "Locality": {
            "Region": endpoint.locality.region,
            "Zone": endpoint.locality.zone,
            "SubZone": endpoint.locality.sub_zone,
        },
    })
}
