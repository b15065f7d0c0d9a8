//! The API through the `kube` client in this process: what controllers and istiod rely on.

#![allow(clippy::unwrap_used)]

mod support;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy, WatchEvent, WatchParams,
};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;
use support::{Cluster, config_map, pod};

fn manager(name: &str) -> PatchParams {
    PatchParams::apply(name)
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not an API error: {other}"),
    }
}

async fn gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + kube::Resource,
{
    while api.get_opt(name).await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn objects_are_created_read_updated_and_deleted() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    let made = api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    assert_eq!(code(api.create(&PostParams::default(), &config_map("a", "1")).await).0, 409);
    let mut newer = made.clone();
    newer.data = Some([("k".to_owned(), "2".to_owned())].into());
    let newer = api.replace("a", &PostParams::default(), &newer).await.unwrap();
    let stale = code(api.replace("a", &PostParams::default(), &made).await);
    assert_eq!(stale.0, 409);
    assert!(
        stale.1.contains("the object has been modified; please apply your changes to the latest version"),
        "{}",
        stale.1
    );
    let same = api.replace("a", &PostParams::default(), &newer).await.unwrap();
    assert_eq!(
        same.resource_version(),
        newer.resource_version(),
        "a write that changes nothing keeps the version"
    );
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(api.get("a").await), (404, "configmaps \"a\" not found".to_owned()));
}

#[tokio::test]
async fn generated_names_and_dry_runs() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    let mut map = config_map("", "1");
    map.metadata.name = None;
    map.metadata.generate_name = Some("x-".into());
    let made = api.create(&PostParams::default(), &map).await.unwrap();
    assert!(made.name_any().starts_with("x-") && made.name_any().len() == 7);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &config_map("dry", "1")).await.unwrap();
    assert!(api.get_opt("dry").await.unwrap().is_none());
}

#[tokio::test]
async fn lists_are_paged_and_selected() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    for i in 0..25 {
        let mut map = config_map(&format!("m{i:02}"), "1");
        map.metadata.labels = Some([("even".to_owned(), (i % 2 == 0).to_string())].into());
        api.create(&PostParams::default(), &map).await.unwrap();
    }
    let even = api.list(&ListParams::default().labels("even=true")).await.unwrap();
    assert_eq!(even.items.len(), 13);
    let one = api.list(&ListParams::default().fields("metadata.name=m07")).await.unwrap();
    assert_eq!(one.items.len(), 1);
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let mut params = ListParams::default().limit(10).labels("even");
        params.continue_token = token;
        let page = api.list(&params).await.unwrap();
        names.extend(page.items.iter().map(ResourceExt::name_any));
        token = page.metadata.continue_.filter(|t| !t.is_empty());
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), 25);
    assert!(names.is_sorted());
}

#[tokio::test]
async fn watches_follow_selectors_and_old_versions_are_gone() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    let version = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let stream = api.watch(&WatchParams::default().labels("on"), &version).await.unwrap();
    let mut stream = std::pin::pin!(stream);
    let label = |on: bool| Patch::Merge(json!({"metadata": {"labels": {"on": on.then_some("1")}}}));
    api.create(&PostParams::default(), &config_map("w", "1")).await.unwrap();
    api.patch("w", &PatchParams::default(), &label(true)).await.unwrap();
    api.patch("w", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await.unwrap();
    api.patch("w", &PatchParams::default(), &label(false)).await.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(match stream.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            _ => "other",
        });
    }
    assert_eq!(kinds, ["added", "modified", "deleted"]);
    if support::is_kubernetes() {
        return; // A young etcd has every version still.
    }
    let old = api.watch(&WatchParams::default(), "1").await;
    let error = match old {
        Err(kube::Error::Api(status)) => status.code,
        Ok(stream) => match Box::pin(stream).try_next().await.unwrap().unwrap() {
            WatchEvent::Error(status) => status.code,
            other => panic!("{other:?}"),
        },
        Err(other) => panic!("{other}"),
    };
    assert_eq!(error, 410);
}

#[tokio::test]
async fn kubes_watcher_works_by_lists_and_by_streaming_lists() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let cluster = Cluster::start().await;
        let api: Api<ConfigMap> = cluster.api();
        api.create(&PostParams::default(), &config_map("first", "1")).await.unwrap();
        let mut events = watcher(api.clone(), config).boxed();
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            match event.unwrap() {
                watcher::Event::InitApply(map) => seen.push(map.name_any()),
                watcher::Event::InitDone => {
                    api.create(&PostParams::default(), &config_map("second", "1")).await.unwrap();
                }
                watcher::Event::Apply(map) => {
                    seen.push(map.name_any());
                    break;
                }
                _ => {}
            }
        }
        seen.sort();
        assert_eq!(seen, ["first", "kube-root-ca.crt", "second"]);
    }
}

#[tokio::test]
async fn server_side_apply_merges_and_refuses_conflicts() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    let apply = |data: serde_json::Value| {
        Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data}),
        )
    };
    api.patch("s", &manager("one"), &apply(json!({"a": "1", "b": "1"}))).await.unwrap();
    api.patch("s", &manager("two"), &apply(json!({"c": "1"}))).await.unwrap();
    let refused = code(api.patch("s", &manager("two"), &apply(json!({"a": "2"}))).await);
    assert_eq!(refused, (409, "Apply failed with 1 conflict: conflict with \"one\": .data.a".to_owned()));
    let forced = api.patch("s", &manager("two").force(), &apply(json!({"a": "2"}))).await.unwrap();
    // `c` is no longer applied by two; `b` still is by one.
    let data = forced.data.unwrap();
    assert_eq!(data.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["a=2", "b=1"]);
}

#[tokio::test]
async fn status_and_spec_are_written_apart_and_generations_count() {
    let cluster = Cluster::start().await;
    let api: Api<Deployment> = cluster.api();
    let deployment = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}}}}));
    let made = api.create(&PostParams::default(), &deployment.unwrap()).await.unwrap();
    assert_eq!((made.metadata.generation, made.spec.as_ref().unwrap().replicas), (Some(1), Some(1)));
    let status =
        Patch::Merge(json!({"spec": {"replicas": 5}, "status": {"replicas": 1, "readyReplicas": 1}}));
    let after = api.patch_status("web", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(after.spec.as_ref().unwrap().replicas, Some(1));
    assert_eq!(after.status.as_ref().unwrap().ready_replicas, Some(1));
    assert_eq!(after.metadata.generation, Some(1));
    let scale = api
        .patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}})))
        .await
        .unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let after = api.get("web").await.unwrap();
    assert_eq!((after.metadata.generation, after.status.unwrap().ready_replicas), (Some(2), Some(1)));
    let changed = Patch::Merge(json!({"spec": {"selector": {"matchLabels": {"app": "x"}}}}));
    let (status, text) = code(api.patch("web", &PatchParams::default(), &changed).await);
    assert_eq!(status, 422);
    assert!(text.contains("field is immutable"), "{text}");
}

#[tokio::test]
async fn services_get_addresses_and_node_ports_once() {
    let cluster = Cluster::start().await;
    let api: Api<Service> = cluster.api();
    let service = |name: &str, spec: serde_json::Value| -> Service {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let first = service("a", json!({"type": "NodePort", "selector": {"x": "y"}, "ports": [{"port": 80}]}));
    let made = api.create(&PostParams::default(), &first).await.unwrap().spec.unwrap();
    let ip = made.cluster_ip.unwrap();
    assert!(ip.starts_with("10.96."), "{ip}");
    let port = made.ports.unwrap()[0].node_port.unwrap();
    assert!((30000..=32767).contains(&port));
    let twin = service("b", json!({"clusterIP": ip, "ports": [{"port": 80}]}));
    let (status, text) = code(api.create(&PostParams::default(), &twin).await);
    assert_eq!(status, 422);
    assert!(text.contains("provided IP is already allocated"), "{text}");
    let twin = service("c", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}));
    assert!(
        code(api.create(&PostParams::default(), &twin).await)
            .1
            .contains("provided port is already allocated")
    );
    let none = service("d", json!({"selector": {"x": "y"}}));
    assert_eq!(
        code(api.create(&PostParams::default(), &none).await).1,
        "Service \"d\" is invalid: spec.ports: Required value"
    );
    let headless = service("e", json!({"clusterIP": "None", "ports": [{"port": 80}]}));
    let made = api.create(&PostParams::default(), &headless).await.unwrap();
    assert_eq!(made.spec.unwrap().cluster_ip.as_deref(), Some("None"));
}

#[tokio::test]
async fn pods_stop_gracefully() {
    let cluster = Cluster::start().await;
    let api: Api<Pod> = cluster.api();
    let made = api.create(&PostParams::default(), &pod("p", Some("node"))).await.unwrap();
    let spec = made.spec.unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert!(spec.volumes.unwrap()[0].name.starts_with("kube-api-access-"));
    let deleted = api.delete("p", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(deleted.metadata.deletion_timestamp.is_some());
    assert_eq!(deleted.metadata.deletion_grace_period_seconds, Some(30));
    assert!(
        api.get_opt("p").await.unwrap().is_some(),
        "the pod stays until its kubelet says that it has stopped"
    );
    api.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(api.get_opt("p").await.unwrap().is_none());
    api.create(&PostParams::default(), &pod("unscheduled", None)).await.unwrap();
    api.delete("unscheduled", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("unscheduled").await.unwrap().is_none());
}

async fn owner_and_dependent(client: &Client) -> (Api<ReplicaSet>, Api<ConfigMap>) {
    let owners: Api<ReplicaSet> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let set = serde_json::from_value(json!({"metadata": {"name": "owner"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}}}}));
    let owner = owners.create(&PostParams::default(), &set.unwrap()).await.unwrap();
    let mut map = config_map("dependent", "1");
    let reference = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "owner", "uid": owner.uid().unwrap(),
        "controller": true, "blockOwnerDeletion": true}]);
    map.metadata.owner_references = serde_json::from_value(reference).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    (owners, maps)
}

#[tokio::test]
async fn dependents_go_with_their_owner_unless_orphaned() {
    for policy in [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan] {
        let cluster = Cluster::start().await;
        let (owners, maps) = owner_and_dependent(&cluster.client).await;
        let orphans = matches!(policy, PropagationPolicy::Orphan);
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        owners.delete("owner", &params).await.unwrap();
        gone(&owners, "owner").await;
        if orphans {
            assert!(maps.get("dependent").await.unwrap().metadata.owner_references.is_none());
        } else {
            gone(&maps, "dependent").await;
        }
    }
}

#[tokio::test]
async fn namespaces_are_furnished_and_emptied() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "t"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "t");
    while maps.get_opt("kube-root-ca.crt").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let mut held = config_map("held", "1");
    held.metadata.finalizers = Some(vec!["example.com/wait".into()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    namespaces.delete("t", &DeleteParams::default()).await.unwrap();
    let (status, text) = code(maps.create(&PostParams::default(), &config_map("late", "1")).await);
    assert_eq!(status, 403);
    assert!(text.contains("because it is being terminated"), "{text}");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    while maps.get("held").await.unwrap().metadata.deletion_timestamp.is_none() {
        tokio::task::yield_now().await;
    }
    maps.patch("held", &PatchParams::default(), &release).await.unwrap();
    gone(&namespaces, "t").await;
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("x", "1")).await).0, 404);
}

#[tokio::test]
async fn acknowledged_objects_are_there_after_a_restart() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    api.create(&PostParams::default(), &config_map("kept", "1")).await.unwrap();
    let before = api.get("kept").await.unwrap();
    drop(api);
    let cluster = cluster.restart().await;
    let api: Api<ConfigMap> = cluster.api();
    assert_eq!(api.get("kept").await.unwrap(), before);
}
