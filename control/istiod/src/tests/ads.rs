use meltemi_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use meltemi_proto::envoy::service::discovery::v3::DiscoveryRequest;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use meltemi_proto::type_url::{CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET};
use prost::Message;
use serde_json::json;

use super::proxy::{Plain, TestProxy, names, node};
use super::{Mesh, service, slice, soon, virtual_service};

const REVIEWS: &str = "outbound|9080||reviews.default.svc.cluster.local";

fn two_services() -> String {
    format!("{}\n---\n{}", service("reviews", "10.244.0.1"), service("ratings", "10.244.0.2"))
}

fn sidecar(mesh: &Mesh, delta: bool) -> TestProxy {
    let connect = Plain { address: mesh.plain, token: "default/reviews" };
    TestProxy::start(node("default", "reviews", "reviews"), delta, connect, None)
}

#[tokio::test]
async fn a_proxy_gets_clusters_endpoints_listeners_and_routes() {
    let mesh = Mesh::start(&two_services()).await;
    for delta in [true, false] {
        let first = sidecar(&mesh, delta).started().await;
        assert!(names(&first[CLUSTER]).iter().any(|name| &**name == REVIEWS), "{:?}", names(&first[CLUSTER]));
        assert!(names(&first[LISTENER]).iter().any(|name| &**name == "virtualInbound"));
        assert!(names(&first[ROUTE]).iter().any(|name| &**name == "9080"));
        let load = first[ENDPOINT].upserts.iter().find(|resource| &*resource.name == REVIEWS).unwrap();
        let load = ClusterLoadAssignment::decode(load.body.clone()).unwrap();
        assert!(format!("{load:?}").contains("10.244.0.1"), "{load:?}");
    }
}

#[tokio::test]
async fn an_endpoint_change_sends_that_clusters_endpoints_and_nothing_else() {
    let mesh = Mesh::start(&two_services()).await;
    let mut proxy = sidecar(&mesh, true);
    proxy.started().await;
    mesh.apply(&slice("reviews", &["10.244.0.1", "10.244.0.7"]));
    let update = proxy.next().await;
    assert_eq!((update.type_url, names(&update)), (ENDPOINT, vec![REVIEWS.into()]));
    // Whatever else had been pushed would come before what the next change brings.
    mesh.apply(&slice("ratings", &["10.244.0.3"]));
    let update = proxy.next().await;
    assert_eq!(update.type_url, ENDPOINT);
    assert_eq!(names(&update), ["outbound|9080||ratings.default.svc.cluster.local".into()]);
}

#[tokio::test]
async fn a_route_change_sends_routes_only() {
    let mesh = Mesh::start(&two_services()).await;
    let mut proxy = sidecar(&mesh, true);
    proxy.started().await;
    let route = json!({"hosts": ["ratings"], "http": [{"timeout": "3s", "route": [{"destination": {"host": "ratings"}}]}]});
    mesh.apply(&virtual_service("ratings", route));
    let update = proxy.next().await;
    assert_eq!((update.type_url, names(&update)), (ROUTE, vec!["9080".into()]));
}

#[tokio::test]
async fn a_deleted_service_takes_its_cluster_with_it() {
    let mesh = Mesh::start(&two_services()).await;
    let mut proxy = sidecar(&mesh, true);
    proxy.started().await;
    mesh.delete(&service("ratings", "10.244.0.2"));
    let update = proxy.next_of(CLUSTER).await;
    assert_eq!(update.removed, ["outbound|9080||ratings.default.svc.cluster.local".into()]);
}

#[tokio::test]
async fn a_refusal_is_recorded_for_syncz() {
    let mesh = Mesh::start(&two_services()).await;
    let connect = Plain { address: mesh.plain, token: "default/reviews" };
    let mut proxy = TestProxy::start(node("default", "reviews", "reviews"), true, connect, Some(LISTENER));
    proxy.next_of(LISTENER).await;
    let connection = mesh.hub.connections.find("reviews.default").unwrap();
    let state = soon(async {
        loop {
            match connection.types().get(LISTENER) {
                Some(state) if !state.error.is_empty() => return state.clone(),
                _ => tokio::task::yield_now().await,
            }
        }
    });
    let state = state.await;
    assert!(state.error.contains("I do not like it"), "{state:?}");
    assert_eq!((&state.nacked, state.acked.as_str()), (&state.sent, ""));
}

#[tokio::test]
async fn a_proxy_that_connects_anew_is_sent_only_what_changed_meanwhile() {
    let mesh = Mesh::start(&two_services()).await;
    let mut proxy = sidecar(&mesh, true);
    proxy.started().await;
    let connection = mesh.hub.connections.find("reviews.default").unwrap();
    connection.close();
    mesh.apply(&service("details", "10.244.0.5"));
    let update = proxy.next_of(CLUSTER).await;
    assert_eq!(names(&update), ["outbound|9080||details.default.svc.cluster.local".into()]);
}

async fn refusal(mesh: &Mesh, token: &str, node_namespace: &str) -> tonic::Status {
    let mut client =
        AggregatedDiscoveryServiceClient::connect(format!("http://{}", mesh.plain)).await.unwrap();
    let first = DiscoveryRequest {
        node: Some(node(node_namespace, "reviews", "")),
        type_url: CLUSTER.to_owned(),
        ..Default::default()
    };
    let mut request = tonic::Request::new(tokio_stream::iter([first]));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let answer = client.stream_aggregated_resources(request).await;
    match answer {
        Err(status) => status,
        Ok(stream) => stream.into_inner().message().await.expect_err("it was served"),
    }
}

#[tokio::test]
async fn a_wrong_token_and_a_foreign_namespace_are_refused() {
    let mesh = Mesh::start(&two_services()).await;
    assert_eq!(refusal(&mesh, "nonsense", "default").await.code(), tonic::Code::Unauthenticated);
    let status = refusal(&mesh, "default/reviews", "kube-system").await;
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(status.message().contains("kube-system"), "{status}");
    assert!(mesh.hub.connections.list().is_empty());
}

const EDGE: &str = r#"
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: edge}, spec: {selector: {app: gw}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: cert}}]}}
---
{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: edge}, data: {tls.crt: YQ==, tls.key: Yg==}}
"#;

/// The secrets that a gateway gets, with that token or none.
async fn keys(mesh: &Mesh, token: Option<&str>) -> Result<usize, tonic::Status> {
    let mut client =
        AggregatedDiscoveryServiceClient::connect(format!("http://{}", mesh.plain)).await.unwrap();
    let mut node = node("edge", "gw", "");
    node.id = node.id.replace("sidecar", "router");
    let asked = vec!["kubernetes://cert".to_owned()];
    let first = DiscoveryRequest {
        node: Some(node),
        type_url: SECRET.to_owned(),
        resource_names: asked,
        ..Default::default()
    };
    let open = tokio_stream::StreamExt::chain(tokio_stream::iter([first]), tokio_stream::pending());
    let mut request = tonic::Request::new(open);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut answers = client.stream_aggregated_resources(request).await?.into_inner();
    Ok(soon(answers.message()).await?.expect("an answer").resources.len())
}

#[tokio::test]
async fn keys_are_for_gateways_that_may_read_secrets_and_prove_it() {
    let mesh = Mesh::start(EDGE).await;
    assert_eq!(keys(&mesh, Some("edge/gateway")).await.unwrap(), 1);
    assert_eq!(keys(&mesh, Some("edge/default")).await.unwrap(), 0, "an account without that right");
    assert_eq!(keys(&mesh, None).await.unwrap(), 0, "nobody");
    let unknown = keys(&mesh, Some("edge/nobody-knows")).await.expect_err("it must not lose the keys it has");
    assert_eq!(unknown.code(), tonic::Code::Unavailable);
}
