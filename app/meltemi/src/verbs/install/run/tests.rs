//! The installation against an API server, with a stand-in for the node: Deployments are complete at once.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use meltemi_apiserver::{ApiServer, Options};
use meltemi_config::{Kind, yaml};
use serde_json::json;

use super::super::operator::Request;
use super::*;

struct Cluster {
    client: Client,
    server: ApiServer,
    _directory: tempfile::TempDir,
}

async fn cluster() -> Cluster {
    let directory = tempfile::tempdir().expect("a directory");
    let server = ApiServer::open(Options::new(directory.path())).await.expect("an API server");
    let client = Client::new(server.local_service(), "default");
    Cluster { client, server, _directory: directory }
}

fn operator(sets: &[&str]) -> Operator {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    Operator::load(&Request { sets, ..Request::default() }).expect("an operator")
}

/// Says of every Deployment that its pods are ready.
async fn node(client: Client) {
    let deployments: Api<Deployment> = Api::all(client.clone());
    loop {
        let list = deployments.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        for deployment in list {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = json!({"status": {
                "observedGeneration": deployment.metadata.generation, "replicas": replicas,
                "updatedReplicas": replicas, "availableReplicas": replicas, "readyReplicas": replicas,
            }});
            let api: Api<Deployment> =
                Api::namespaced(client.clone(), &deployment.namespace().unwrap_or_default());
            let _ = api
                .patch_status(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(status))
                .await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Installs, and gives the lines that stay on the screen.
async fn installed(client: &Client, sets: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut progress = |step: Step| {
        if step.is_lasting() {
            lines.push(step.to_string());
        }
    };
    let operator = operator(sets);
    let installing = install(client, &operator, READINESS_TIMEOUT, &mut progress);
    tokio::select! {
        done = installing => done.expect("installed"),
        () = node(client.clone()) => {}
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installs_again_prunes_and_uninstalls() {
    let cluster = cluster().await;
    let client = &cluster.client;
    let all = [
        "✔ Istio core installed ⛵️",
        "✔ Istiod installed 🧠",
        "✔ Egress gateways installed 🛫",
        "✔ Ingress gateways installed 🛬",
        "✔ Installation complete",
    ];
    assert_eq!(installed(client, &["profile=demo"]).await, all);
    assert_eq!(installed(client, &["profile=demo"]).await, all, "the second time changes nothing");
    assert_eq!(cluster::running_version(client, "istio-system", "").await.as_deref(), Some("1.30.0"));

    let lines = installed(client, &["profile=minimal"]).await;
    assert!(
        lines.contains(&"  Removed Deployment:istio-system:istio-egressgateway.".to_owned()),
        "{lines:#?}"
    );
    assert!(lines.contains(&"  Removed Service:istio-system:istio-ingressgateway.".to_owned()), "{lines:#?}");

    let left = cluster::installed(client, "operator.istio.io/component").await.expect("a list");
    assert_eq!(left.iter().filter(|object| object.is_crd()).count(), 15);
    for object in &left {
        cluster::delete(client, object).await.expect("deleted");
    }
    let left = cluster::installed(client, "operator.istio.io/component").await.expect("a list");
    assert!(left.is_empty(), "{left:?}");
    cluster.server.shutdown();
}

/// The CRDs take whatever the types take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crds_take_every_sample() {
    let cluster = cluster().await;
    for crd in meltemi_config::crd::all() {
        cluster::apply(&cluster.client, &crd).await.expect("a CRD");
        let name = crd["metadata"]["name"].as_str().expect("a name");
        cluster::established(&cluster.client, name).await.expect("established");
    }
    let sample = include_str!("../../../../../../control/config/tests/every-kind.yaml");
    for document in yaml::read("every-kind.yaml", sample).expect("YAML").documents {
        let object: DynamicObject = serde_json::from_value(document.value.clone()).expect("an object");
        let types = object.types.clone().expect("types");
        let kind = Kind::of(&types.api_version, &types.kind).expect("a kind");
        let gvk = GroupVersionKind::try_from(&types).expect("a version");
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.info().plural);
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "default", &resource);
        let parameters = PostParams::default();
        let created =
            api.create(&parameters, &object).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(created.data["spec"], document.value["spec"], "{kind}: nothing is pruned");
    }
    cluster.server.shutdown();
}
