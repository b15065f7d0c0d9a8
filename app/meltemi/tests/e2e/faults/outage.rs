//! istiod is away for a while.

use std::time::Instant;

use super::losses::{ANY, CLIENTS, Losses};
use super::{in_sync, kill_in_pod, ready_again, rolled_out};
use crate::cluster::{Cluster, Plane, eventually};
use crate::http;
use crate::kubectl::{apply, command, kubectl};

/// A host that only captured look-ups know: it stands for the service of details.
fn known_by_capture(address: &str) -> String {
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: kept}}
spec:
  hosts: [kept.e2e.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  endpoints: [{{address: {address}}}]
"#
    )
}

/// Asks for that host from the pod of ratings.
fn resolves(cluster: &Cluster) -> Result<(), String> {
    let ask = "exec deploy/ratings-v1 -c ratings -- curl -sS -m 10 http://kept.e2e.test:9080/details/0";
    let output = command(cluster, &ask.split(' ').collect::<Vec<_>>()).output().expect("kubectl exec");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if text.contains("Shakespeare") { Ok(()) } else { Err(text) }
}

/// For the outage below: the look-ups of ratings are captured, and its sidecar is of another make than the others.
pub fn prepare_ratings(cluster: &Cluster, plane: Plane) {
    let other = if plane == Plane::Envoy { "meltemi" } else { "envoy" };
    let annotations = serde_json::json!({
        "meltemi.io/data-plane": other,
        "proxy.istio.io/config": r#"{"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true"}}"#,
    });
    let patch = serde_json::json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    kubectl(cluster, &format!("patch deploy ratings-v1 -p {patch}"));
    rolled_out(cluster, "default", "ratings-v1");
    let address = kubectl(cluster, "get svc details -o jsonpath={.spec.clusterIP}");
    apply(cluster, "default", &known_by_capture(&address)).expect("a ServiceEntry");
    eventually("a host of the mesh alone", || resolves(cluster));
}

/// istiod is away. Sidecars that are killed then start from what they kept on disk, ours and Envoy; others do not notice.
pub fn run(losses: &mut Losses<'_>, plane: Plane) {
    let cluster = losses.cluster;
    // Envoy does not wait for the only host to come back.
    let in_flight = if plane == Plane::Envoy { ANY } else { CLIENTS };
    let before = ready_again(cluster, "details").unwrap_or_default();
    losses.under_load("istiod away, kill -9 of the sidecar of details", in_flight, || {
        kubectl(cluster, "-n istio-system scale deploy istiod --replicas=0");
        kubectl(cluster, "-n istio-system wait pod -l app=istiod --for=delete --timeout=60s");
        kill_in_pod(cluster, "details-v1", "proxy sidecar");
        eventually("details is ready without istiod", || match ready_again(cluster, "details") {
            Ok(count) if count > before => Ok(()),
            other => Err(format!("{other:?}")),
        });
        kill_in_pod(cluster, "ratings-v1", "proxy sidecar");
        eventually("ratings is ready without istiod", || ready_again(cluster, "ratings"));
        eventually("captured names are known without istiod", || resolves(cluster));
    });
    eventually("pages with stars", || {
        let page = http::get(&cluster.url("productpage")).body;
        if page.contains("glyphicon-star") { Ok(()) } else { Err(page) }
    });
    if plane == Plane::Meltemi {
        called_by_mutual_tls(cluster);
    }
    let mut since = Instant::now();
    losses.under_load("istiod is back", 0, || {
        kubectl(cluster, "-n istio-system scale deploy istiod --replicas=1");
        rolled_out(cluster, "istio-system", "istiod");
        since = Instant::now();
        eventually("every proxy is in sync with istiod", || in_sync(cluster));
    });
    println!("in sync {:.1} s after istiod was ready", since.elapsed().as_secs_f64());
}

fn called_by_mutual_tls(cluster: &Cluster) {
    let request = "pilot-agent request --debug-port=15020 GET stats/prometheus";
    let stats = kubectl(cluster, &format!("exec deploy/details-v1 -c istio-proxy -- {request}"));
    let inbound = |line: &&str| line.starts_with("istio_requests_total") && line.contains("mutual_tls");
    assert!(stats.lines().any(|line| inbound(&line)), "details was called without mutual TLS: {stats}");
}
