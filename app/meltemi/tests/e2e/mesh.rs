//! That it is really the mesh that carries the traffic, and that its policies hold.

use crate::cluster::{Cluster, eventually, shared};
use crate::http;
use crate::kubectl::{apply, command, kubectl};

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
spec:
  mtls:
    mode: STRICT
";

/// Asks for a URL from a pod outside the mesh; the exit code of curl and what it printed.
fn from_outside(cluster: &Cluster, url: &str) -> (i32, String) {
    let args = [
        "exec",
        "-n",
        "e2e-outside",
        "deploy/curl",
        "--",
        "curl",
        "-sS",
        "-m",
        "5",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        url,
    ];
    let output = command(cluster, &args).output().expect("kubectl exec");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn strict_refuses_plaintext_and_lets_the_mesh_through() {
    // A cluster of its own: STRICT in the default namespace would be in the other tests' way.
    let cluster = Cluster::start(&["--demo", "bookinfo"]);
    kubectl(&cluster, "create ns e2e-outside");
    apply(&cluster, "e2e-outside", include_str!("../../../../samples/curl/curl.yaml")).expect("curl");
    kubectl(&cluster, "-n e2e-outside rollout status deploy/curl --timeout=60s");
    let reviews = "http://reviews.default:9080/reviews/0";
    assert_eq!(from_outside(&cluster, reviews), (0, "200".into()), "permissive by default");
    apply(&cluster, "default", STRICT).expect("PeerAuthentication");
    eventually("plaintext is refused", || match from_outside(&cluster, reviews) {
        (0, code) => Err(format!("answered {code}")),
        (_, code) if code == "000" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for _ in 0..20 {
        assert_eq!(http::get(&cluster.url("productpage")).status, 200);
    }
    without_injection(&cluster);
}

/// Takes the sidecars away: the page works on, and nothing is counted any more.
fn without_injection(cluster: &Cluster) {
    kubectl(cluster, "delete peerauthentication default");
    kubectl(cluster, "label ns default istio-injection-");
    kubectl(cluster, "rollout restart deploy");
    for deployment in ["productpage-v1", "details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"]
    {
        kubectl(cluster, &format!("rollout status deploy/{deployment} --timeout=90s"));
    }
    let pods = eventually("one container a pod", || {
        let pods = kubectl(cluster, "get pods --no-headers");
        if pods.lines().all(|line| line.contains("1/1")) { Ok(pods) } else { Err(pods) }
    });
    assert_eq!(pods.lines().count(), 6, "{pods}");
    eventually("the page works on", || match http::try_get(&cluster.url("productpage")) {
        Ok(answer) if answer.status == 200 && answer.body.contains("Book Reviews") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn proxies_are_in_sync() {
    let cluster = shared();
    eventually("every proxy is in sync", || {
        let text = cluster.meltemi(&["proxy-status"]);
        let rows: Vec<&str> = text.lines().skip(1).filter(|line| line.contains(".default")).collect();
        let synced = rows.len() >= 6 && !text.contains("STALE") && !text.contains("NOT SENT");
        if synced { Ok(()) } else { Err(text) }
    });
}

#[test]
fn proxy_config_shows_what_the_proxy_has() {
    let cluster = shared();
    let pod = kubectl(cluster, "get pod -l app=productpage -o jsonpath={.items[0].metadata.name}");
    let show = |what: &str| cluster.meltemi(&["proxy-config", what, &format!("{pod}.default")]);
    assert!(show("cluster").contains("details.default.svc.cluster.local"), "{}", show("cluster"));
    assert!(show("listener").contains("15001"), "{}", show("listener"));
    assert!(show("route").contains("9080"), "{}", show("route"));
    assert!(
        show("endpoint").contains("outbound|9080||reviews.default.svc.cluster.local"),
        "{}",
        show("endpoint")
    );
    assert!(show("secret").contains("default"), "{}", show("secret"));
}
