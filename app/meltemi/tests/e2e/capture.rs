//! How connections and look-ups get to the sidecar, as it shows to the workloads: who their client is, and which hosts exist.

use serde_json::Value;

use crate::cluster::{Cluster, Plane, eventually, on_both_planes};
use crate::kubectl::{apply, command, kubectl};

const NAMESPACE: &str = "e2e-capture";

/// A deployment of httpbin with a service.
fn httpbin(name: &str, mode: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  ports: [{{name: http, port: 8000, targetPort: 8080}}]
  selector: {{app: {name}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{sidecar.istio.io/interceptionMode: {mode}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: httpbin, image: "docker.io/mccutchen/go-httpbin:v2.15.0", ports: [{{containerPort: 8080}}]}}]
---
"#
    )
}

/// A pod to call from, whose look-ups are captured.
const CURL: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: curl}
spec:
  selector: {matchLabels: {app: curl}}
  template:
    metadata:
      labels: {app: curl}
      annotations:
        proxy.istio.io/config: '{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}'
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: curl, image: "docker.io/curlimages/curl:8.16.0", command: ["/bin/sleep", "infinity"]}]
"#;

/// A host that no resolver knows, at a pod. Its port carries bytes, so only its address tells it from others.
fn entry(name: &str, endpoint: &str) -> String {
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.e2e.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 9000, name: tcp, protocol: TCP, targetPort: 8080}}]
  endpoints: [{{address: {endpoint}}}]
---
"#
    )
}

fn ip_of(cluster: &Cluster, app: &str) -> String {
    kubectl(cluster, &format!("-n {NAMESPACE} get pod -l app={app} -o jsonpath={{.items[0].status.podIP}}"))
}

/// Asks from inside of a pod: what was answered and by which address, or curl's exit code.
fn ask(cluster: &Cluster, from: &str, url: &str) -> Result<(String, Value), i32> {
    let deployment = format!("deploy/{from}");
    let container = if from == "curl" { "curl" } else { "httpbin" };
    let args = ["exec", "-n", NAMESPACE, &deployment, "-c", container, "--"];
    let curl = ["curl", "-sS", "-m", "20", "-w", "\n%{remote_ip}", url];
    let output = command(cluster, &[&args[..], &curl[..]].concat()).output().expect("kubectl exec");
    if !output.status.success() {
        return Err(output.status.code().unwrap_or(-1));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, address) = text.rsplit_once('\n').unwrap_or_default();
    Ok((address.to_owned(), serde_json::from_str(body).unwrap_or(Value::String(body.to_owned()))))
}

/// Asks until the answer's field has this value.
fn answers(cluster: &Cluster, from: &str, url: &str, field: &str, value: &str) -> String {
    eventually(&format!("{url} from {from}"), || match ask(cluster, from, url) {
        Ok((address, answer)) if answer[field] == value => Ok(address),
        other => Err(format!("{other:?} instead of {field}={value}")),
    })
}

on_both_planes!(clients_and_hosts_are_what_they_are_said_to_be);

fn clients_and_hosts_are_what_they_are_said_to_be(plane: Plane) {
    let cluster = plane.shared();
    kubectl(cluster, &format!("create ns {NAMESPACE}"));
    kubectl(cluster, &format!("label ns {NAMESPACE} istio-injection=enabled"));
    let pods = httpbin("redirected", "REDIRECT") + &httpbin("transparent", "TPROXY") + CURL;
    apply(cluster, NAMESPACE, &pods).expect("the pods");
    for deployment in ["redirected", "transparent", "curl"] {
        kubectl(cluster, &format!("-n {NAMESPACE} rollout status deploy/{deployment} --timeout=120s"));
    }
    clients(cluster);
    hosts(cluster);
    kubectl(cluster, &format!("delete ns {NAMESPACE} --wait=false"));
}

fn clients(cluster: &Cluster) {
    let caller = ip_of(cluster, "curl");
    answers(cluster, "curl", "http://redirected:8000/ip", "origin", "127.0.0.6");
    answers(cluster, "curl", "http://transparent:8000/ip", "origin", &caller);
    for _ in 0..5 {
        answers(cluster, "curl", "http://transparent:8000/ip", "origin", &caller);
    }
    // The transparent pod calls others, and itself by its service.
    answers(cluster, "transparent", "http://redirected:8000/ip", "origin", "127.0.0.6");
    let own = ip_of(cluster, "transparent");
    answers(cluster, "transparent", "http://transparent:8000/ip", "origin", &own);
}

fn hosts(cluster: &Cluster) {
    let (redirected, transparent) = (ip_of(cluster, "redirected"), ip_of(cluster, "transparent"));
    let name = |app: &str| {
        kubectl(
            cluster,
            &format!("-n {NAMESPACE} get pod -l app={app} -o jsonpath={{.items[0].metadata.name}}"),
        )
    };
    apply(cluster, NAMESPACE, &(entry("one", &redirected) + &entry("two", &transparent))).expect("entries");
    let url = |host: &str| format!("http://{host}.e2e.test:9000/hostname");
    let one = answers(cluster, "curl", &url("one"), "hostname", &name("redirected"));
    let two = answers(cluster, "curl", &url("two"), "hostname", &name("transparent"));
    assert!(one.starts_with("240.240.") && two.starts_with("240.240.") && one != two, "{one} {two}");
    eventually("the address stands in the status", || {
        let path = "jsonpath={.status.addresses[0].value}";
        let written = kubectl(cluster, &format!("-n {NAMESPACE} get serviceentry one -o {path}"));
        if written == one { Ok(()) } else { Err(written) }
    });
    // Names of the cluster, known to the mesh or not, and who has no captured look-ups.
    let service =
        answers(cluster, "curl", "http://redirected:8000/hostname", "hostname", &name("redirected"));
    assert!(service.starts_with("10.96."), "{service}");
    const CANNOT_RESOLVE: i32 = 6;
    let nobody = ask(cluster, "curl", &format!("http://nobody.{NAMESPACE}.svc.cluster.local/"));
    assert!(matches!(nobody, Err(CANNOT_RESOLVE)), "{nobody:?}");
    kubectl(cluster, &format!("-n {NAMESPACE} delete serviceentry one"));
    answers(cluster, "curl", &url("two"), "hostname", &name("transparent"));
}
