//! What is deleted, what stays, and who is asked.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams, PropagationPolicy};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use support::{Cluster, config_map};

async fn gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    while api.get_opt(name).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn owned(name: &str, owners: &[&ConfigMap]) -> ConfigMap {
    let reference = |owner: &&ConfigMap| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid,
            "blockOwnerDeletion": true})
    };
    let references: Vec<Value> = owners.iter().map(reference).collect();
    serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": references}})).unwrap()
}

#[tokio::test]
async fn another_owner_that_stays_keeps_a_dependent() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = cluster.api();
    let create = async |map: ConfigMap| maps.create(&PostParams::default(), &map).await.unwrap();
    let (goes, stays) = (create(config_map("goes", "")).await, create(config_map("stays", "")).await);
    create(owned("both", &[&goes, &stays])).await;
    create(owned("only", &[&goes])).await;
    let foreground =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    maps.delete("goes", &foreground).await.unwrap();
    gone(&maps, "goes").await;
    assert!(maps.get_opt("only").await.unwrap().is_none(), "before its owner");
    let left = maps.get("both").await.unwrap();
    let owners: Vec<String> = left.metadata.owner_references.unwrap().into_iter().map(|o| o.name).collect();
    assert_eq!((owners, left.metadata.deletion_timestamp), (vec!["stays".to_owned()], None));
}

#[tokio::test]
async fn a_collection_is_deleted_namespace_by_namespace() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = cluster.api();
    maps.create(&PostParams::default(), &config_map("a", "")).await.unwrap();
    let everywhere: Api<ConfigMap> = Api::all(cluster.client.clone());
    let refused = everywhere.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 405));
    assert!(maps.get_opt("a").await.unwrap().is_some());
    maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    gone(&maps, "a").await;
}

#[tokio::test]
async fn objects_go_with_their_namespace_though_their_stored_version_is_not_served() {
    let cluster = Cluster::start().await;
    let version = |name: &str, served: bool| {
        let schema =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({"name": name, "served": served, "storage": !served, "schema": schema})
    };
    let definition = json!({"metadata": {"name": "things.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [version("v1", true), version("v2", false)]}});
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    crds.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let kind = GroupVersionKind::gvk("example.com", "v1", "Thing");
    let resource = ApiResource::from_gvk_with_plural(&kind, "things");
    let things: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "n", &resource);
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}});
    things.create(&PostParams::default(), &serde_json::from_value(thing).unwrap()).await.unwrap();
    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    gone(&namespaces, "n").await;
    assert!(things.get_opt("t").await.unwrap().is_none());
}
