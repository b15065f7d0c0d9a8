//! An unmodified kubectl, and what tutorials do with it.

use std::io::Read as _;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, eventually, shared, succeeded};

/// The kubectl under test: `MELTEMI_KUBECTL` (set by `make test`), or the one on the path.
pub fn command(cluster: &Cluster, args: &[&str]) -> Command {
    let program = std::env::var("MELTEMI_KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let mut command = Command::new(program);
    // A home of its own, so that no discovery cache of another cluster is used.
    command.env("KUBECONFIG", cluster.kubeconfig()).env("HOME", cluster.data_dir()).args(args);
    command
}

/// Runs kubectl; it must succeed. Returns its standard output.
pub fn kubectl(cluster: &Cluster, line: &str) -> String {
    let args: Vec<&str> = line.split_whitespace().collect();
    let output =
        command(cluster, &args).output().expect("kubectl is installed (`make test` brings Debian's)");
    succeeded(&format!("kubectl {line}"), output)
}

/// Runs kubectl; it must fail. Returns its standard error.
pub fn refused(cluster: &Cluster, line: &str) -> String {
    let args: Vec<&str> = line.split_whitespace().collect();
    let output = command(cluster, &args).output().expect("kubectl");
    assert!(
        !output.status.success(),
        "`kubectl {line}` should fail: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Feeds YAML to `kubectl apply -f -` and returns what it printed, good or bad.
pub fn apply(cluster: &Cluster, namespace: &str, yaml: &str) -> Result<String, String> {
    use std::io::Write as _;
    let mut command = command(cluster, &["apply", "-n", namespace, "-f", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl");
    child.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("kubectl reads");
    let output = child.wait_with_output().expect("kubectl");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// The header of a table and its rows, split into columns.
fn table(text: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().split_whitespace().collect();
    (header, lines.map(|line| line.split_whitespace().collect()).collect())
}

#[test]
fn tables_have_the_columns_that_users_know() {
    let cluster = shared();
    for (what, columns) in [
        ("get pods", "NAME READY STATUS RESTARTS AGE"),
        ("get svc", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE"),
        ("get deploy", "NAME READY UP-TO-DATE AVAILABLE AGE"),
        ("get rs", "NAME DESIRED CURRENT READY AGE"),
        ("get endpoints", "NAME ENDPOINTS AGE"),
        ("get ns", "NAME STATUS AGE"),
        ("get nodes", "NAME STATUS ROLES AGE VERSION"),
        ("get ns -L istio-injection", "NAME STATUS AGE ISTIO-INJECTION"),
        ("get vs", "NAME GATEWAYS HOSTS AGE"),
        ("get pods -A", "NAMESPACE NAME READY STATUS RESTARTS AGE"),
    ] {
        let text = kubectl(cluster, what);
        let (header, rows) = table(&text);
        assert_eq!(header.join(" "), columns, "{what}");
        assert!(!rows.is_empty(), "{what}: {text}");
    }
    let text = kubectl(cluster, "get pods -l app=reviews -o wide");
    let (header, rows) = table(&text);
    assert!(header.starts_with(&["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]), "{text}");
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows.iter().all(|row| row[1] == "2/2" && row[2] == "Running"), "{text}");
}

#[test]
fn all_and_structured_output() {
    let cluster = shared();
    let all = kubectl(cluster, "get all -n istio-system");
    for part in
        ["pod/istiod-", "service/istio-ingressgateway", "deployment.apps/istiod", "replicaset.apps/istiod-"]
    {
        assert!(all.contains(part), "{part} in\n{all}");
    }
    let pod: serde_json::Value =
        serde_json::from_str(&kubectl(cluster, "get pods -l app=details -o json")).expect("JSON");
    assert_eq!(pod["items"][0]["status"]["phase"], "Running");
    assert!(kubectl(cluster, "get deploy details-v1 -o yaml").contains("kind: Deployment"));
    let port = kubectl(cluster, "get svc productpage -o jsonpath={.spec.ports[?(@.name==\"http\")].port}");
    assert_eq!(port, "9080");
}

#[test]
fn describe_shows_the_injected_containers_and_events() {
    let text = kubectl(shared(), "describe pod -l app=productpage");
    for part in [
        "istio-init",
        "istio-proxy",
        "istio-iptables",
        "15090,15021,15020",
        "docker.io/istio/proxyv2:",
        "Scheduled",
        "Started",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn exec_logs_and_run() {
    let cluster = shared();
    let page = kubectl(cluster, "exec deploy/ratings-v1 -c ratings -- curl -sS productpage:9080/productpage");
    assert!(page.contains("<title>Simple Bookstore App</title>"), "{page}");
    let log = kubectl(cluster, "logs deploy/productpage-v1 -c productpage");
    assert!(log.contains("GET /productpage 200"), "{log}");
    let access = kubectl(cluster, "logs deploy/productpage-v1 -c istio-proxy");
    assert!(access.contains("\"GET /productpage HTTP/1.1\" 200"), "{access}");
    kubectl(cluster, "create ns e2e-run");
    let output = command(
        cluster,
        &[
            "run",
            "-n",
            "e2e-run",
            "-i",
            "--rm",
            "--restart=Never",
            "dummy",
            "--image=curlimages/curl",
            "--command",
            "--",
            "sh",
            "-c",
            "curl -s http://details.default:9080/details/0",
        ],
    )
    .output()
    .expect("kubectl run");
    let text = succeeded("kubectl run", output);
    assert!(text.contains("\"author\":\"William Shakespeare\""), "{text}");
    kubectl(cluster, "delete ns e2e-run");
}

#[test]
fn a_failed_command_gives_its_exit_code() {
    let output =
        command(shared(), &["exec", "deploy/details-v1", "-c", "details", "--", "sh", "-c", "exit 7"])
            .output();
    let output = output.expect("kubectl exec");
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn port_forward() {
    let cluster = shared();
    let mut child = command(cluster, &["port-forward", "svc/productpage", ":9080"])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("kubectl port-forward");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with('\n') && stdout.read(&mut byte).expect("output") == 1 {
        text.push(char::from(byte[0]));
    }
    let address =
        text.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    assert!(address.starts_with("127.0.0.1:"), "{text}");
    let answer = crate::http::get(&format!("http://{address}/productpage"));
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(answer.status, 200);
}

#[test]
fn rollout_restart_and_status() {
    let cluster = shared();
    kubectl(cluster, "create ns e2e-rollout");
    let yaml = include_str!("../../../../samples/httpbin/httpbin.yaml");
    apply(cluster, "e2e-rollout", yaml).expect("httpbin");
    let done = "deployment \"httpbin\" successfully rolled out";
    assert!(kubectl(cluster, "-n e2e-rollout rollout status deploy/httpbin --timeout=60s").contains(done));
    let pods =
        || kubectl(cluster, "-n e2e-rollout get pods -l app=httpbin -o jsonpath={.items[*].metadata.name}");
    let before = pods();
    kubectl(cluster, "-n e2e-rollout rollout restart deploy/httpbin");
    assert!(kubectl(cluster, "-n e2e-rollout rollout status deploy/httpbin --timeout=60s").contains(done));
    eventually("the old pod goes", || {
        let after = pods();
        if after.contains(&before) || after.is_empty() { Err(after) } else { Ok(()) }
    });
    kubectl(cluster, "delete ns e2e-rollout");
}

#[test]
fn node_port_by_patch() {
    let cluster = shared();
    kubectl(cluster, "create ns e2e-nodeport");
    apply(cluster, "e2e-nodeport", include_str!("../../../../samples/httpbin/httpbin.yaml"))
        .expect("httpbin");
    let patch = ["-n", "e2e-nodeport", "patch", "svc", "httpbin", "-p", r#"{"spec": {"type": "NodePort"}}"#];
    succeeded("kubectl patch", command(cluster, &patch).output().expect("kubectl"));
    let port = kubectl(cluster, "-n e2e-nodeport get svc httpbin -o jsonpath={.spec.ports[0].nodePort}");
    eventually("the node port answers", || {
        match crate::http::try_get(&format!("http://127.0.0.1:{port}/status/200")) {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(error) => Err(error),
        }
    });
    kubectl(cluster, "delete ns e2e-nodeport");
}

#[test]
fn watch_shows_changes() {
    let cluster = shared();
    let mut child = command(cluster, &["get", "ns", "-w", "--no-headers"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    kubectl(cluster, "create ns e2e-watch");
    let mut line = String::new();
    while !line.contains("e2e-watch") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stdout, &mut line).expect("output") > 0, "the watch ended");
    }
    let _ = child.kill();
    let _ = child.wait();
    kubectl(cluster, "delete ns e2e-watch");
}

#[test]
fn unknown_kinds_are_refused_clearly() {
    let error = refused(shared(), "get frobnicators");
    assert!(error.contains("the server doesn't have a resource type \"frobnicators\""), "{error}");
}
