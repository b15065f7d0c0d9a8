use meltemi_proto::type_url::ROUTE;
use serde_json::json;

use super::proxy::{Plain, TestProxy, node};
use super::{Mesh, service, soon, virtual_service};
use crate::hub::News;
use crate::status;

fn with_timeout(timeout: &str) -> String {
    let route = json!({"hosts": ["reviews"], "http": [{"timeout": timeout, "route": [{"destination": {"host": "reviews"}}]}]});
    virtual_service("reviews", route)
}

#[tokio::test]
async fn a_malformed_object_is_reported_and_its_last_good_state_stays() {
    let mut mesh =
        Mesh::start(&format!("{}\n---\n{}", service("reviews", "10.244.0.1"), with_timeout("3s"))).await;
    let connect = Plain { address: mesh.plain, token: "default/reviews" };
    let mut proxy = TestProxy::start(node("default", "reviews", "reviews"), true, connect, None);
    proxy.started().await;
    mesh.apply(&with_timeout("soon"));
    let problem = soon(async {
        loop {
            if let Some(News::Problem(problem)) = mesh.news.recv().await {
                return problem;
            }
        }
    });
    let problem = problem.await;
    assert!(problem.refused);
    let findings = status::of_problem(&problem);
    assert!(findings[0].message.contains("spec.http[0].timeout"), "{findings:?}");
    let snapshot = mesh.hub.current().unwrap().snapshot;
    assert_eq!(snapshot.virtual_services.len(), 1);
    // The watch goes on, and the next good state takes effect.
    mesh.apply(&with_timeout("5s"));
    assert_eq!(proxy.next().await.type_url, ROUTE);
}

#[tokio::test]
async fn an_unknown_field_of_a_stored_object_is_left_out_with_a_warning() {
    let mut mesh = Mesh::start(&service("reviews", "10.244.0.1")).await;
    soon(mesh.hub.first()).await.unwrap();
    let route = json!({"hosts": ["reviews"], "novelty": true, "http": [{"route": [{"destination": {"host": "reviews"}}]}]});
    mesh.apply(&virtual_service("reviews", route));
    let problem = soon(async {
        loop {
            if let Some(News::Problem(problem)) = mesh.news.recv().await {
                return problem;
            }
        }
    });
    let problem = problem.await;
    assert!(
        !problem.refused && status::of_problem(&problem)[0].message.contains("spec.novelty"),
        "{problem:?}"
    );
    soon(async {
        while mesh.hub.current().unwrap().snapshot.virtual_services.len() != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_route_to_nowhere_is_a_finding_until_the_host_is_there() {
    let route = json!({"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews", "subset": "v9"}}]}]});
    let mesh = Mesh::start(&virtual_service("reviews", route)).await;
    let snapshot = soon(mesh.hub.first()).await.unwrap().snapshot;
    let findings = status::of_snapshot(&snapshot);
    assert_eq!(findings[0].1[0].reason, "HostNotFound");
    mesh.apply(&service("reviews", "10.244.0.1"));
    soon(async {
        while status::of_snapshot(&mesh.hub.current().unwrap().snapshot)[0].1[0].reason != "SubsetNotFound" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn rules_for_hosts_that_nobody_has_are_findings() {
    let mesh = Mesh::start(&service("reviews", "10.244.0.1")).await;
    let snapshot = soon(mesh.hub.first()).await.unwrap().snapshot;
    let rule = |host: &str| {
        let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "rule", "namespace": "default"}, "spec": {"host": host}});
        meltemi_config::parse(&object).unwrap()
    };
    let objects = ["reviews", "*.default.svc.cluster.local", "revews", "*.example.org"].map(rule);
    let found = status::of_objects(&objects, &snapshot);
    let messages: Vec<&str> = found.iter().map(|(_, findings)| findings[0].message.as_str()).collect();
    assert_eq!(found.len(), 2);
    assert!(
        messages[0].contains("revews.default.svc") && messages[1].contains("*.example.org"),
        "{messages:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_logged_to_or_resolved_is_a_finding() {
    let entry = json!({"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": {"name": "vm", "namespace": "default"},
        "spec": {"address": "vm.example.com", "labels": {"app": "vm"}}});
    let service = json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "vm", "namespace": "default"},
        "spec": {"hosts": ["vm.internal"], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "workloadSelector": {"labels": {"app": "vm"}}}});
    let mesh = Mesh::start(&format!("{entry}\n---\n{service}")).await;
    let snapshot = soon(mesh.hub.first()).await.unwrap().snapshot;
    let telemetry = json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": "logs", "namespace": "default"},
        "spec": {"accessLogging": [{"providers": [{"name": "envoy"}, {"name": "elsewhere"}]}]}});
    let objects = [entry, telemetry].map(|object| meltemi_config::parse(&object).unwrap());
    let found = status::of_objects(&objects, &snapshot);
    let reasons: Vec<Vec<&str>> =
        found.iter().map(|(_, findings)| findings.iter().map(|f| f.reason).collect()).collect();
    assert_eq!(reasons, [["AddressNotResolved"], ["ProviderNotFound"]]);
}
