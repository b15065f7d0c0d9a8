//! That it is really the mesh that carries the traffic, and that its policies hold.

use crate::bookinfo::all_kinds_of_reviews;
use crate::cluster::{Cluster, Plane, eventually, on_both_planes, succeeded};
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

on_both_planes!(
    strict_refuses_plaintext_and_lets_the_mesh_through,
    proxies_are_in_sync,
    proxy_config_shows_what_the_proxy_has,
    no_push_is_rejected,
);

fn strict_refuses_plaintext_and_lets_the_mesh_through(plane: Plane) {
    // A cluster of its own: STRICT in the default namespace would be in the other tests' way.
    let cluster = Cluster::start(&plane.bookinfo());
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
    let reviews = kubectl(cluster, "get pod -l app=reviews,version=v1 -o jsonpath={.items[0].status.podIP}");
    let (exit, _) = from_outside(cluster, &format!("http://{reviews}:15090/stats/prometheus"));
    assert_ne!(exit, 0, "something still counts requests");
    eventually("the page works on", || match http::try_get(&cluster.url("productpage")) {
        Ok(answer) if answer.status == 200 && answer.body.contains("Book Reviews") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn proxies_are_in_sync(plane: Plane) {
    let cluster = plane.shared();
    eventually("every proxy is in sync", || {
        // It fails as long as any proxy is behind, and other tests change things.
        let text = String::from_utf8_lossy(&cluster.output(&["proxy-status"]).stdout).into_owned();
        let rows: Vec<&str> = text.lines().skip(1).filter(|line| line.contains(".default")).collect();
        let columns =
            |row: &&str| row.split_whitespace().skip(2).take(4).map(str::to_owned).collect::<Vec<_>>();
        let synced = rows.len() >= 6 && rows.iter().all(|row| columns(row) == ["SYNCED"; 4]);
        if synced { Ok(()) } else { Err(text) }
    });
}

fn proxy_config_shows_what_the_proxy_has(plane: Plane) {
    let cluster = plane.shared();
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

fn no_push_is_rejected(plane: Plane) {
    let cluster = plane.shared();
    all_kinds_of_reviews(cluster);
    assert_eq!(rejects(cluster), Vec::<String>::new());
}

/// istiod's counts of refused responses that are not zero.
fn rejects(cluster: &Cluster) -> Vec<String> {
    let metrics =
        kubectl(cluster, "-n istio-system exec deploy/istiod -- curl -sS http://localhost:15014/metrics");
    assert!(metrics.contains("pilot_xds_pushes{"), "{metrics}");
    let refused = metrics.lines().filter(|line| line.starts_with("pilot_total_xds_rejects"));
    refused.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

#[test]
fn both_planes_carry_one_mesh() {
    let cluster = Plane::Meltemi.shared();
    let namespace = "e2e-mixed";
    kubectl(cluster, &format!("create ns {namespace}"));
    kubectl(cluster, &format!("label ns {namespace} istio-injection=enabled"));
    let bookinfo = include_str!("../../../../samples/bookinfo/platform/kube/bookinfo.yaml");
    apply(cluster, namespace, bookinfo).expect("bookinfo");
    apply(cluster, namespace, STRICT).expect("PeerAuthentication");
    let annotation =
        r#"{"spec":{"template":{"metadata":{"annotations":{"meltemi.io/data-plane":"envoy"}}}}}"#;
    let on_envoy = ["productpage-v1", "reviews-v2", "ratings-v1"];
    for deployment in on_envoy {
        let patch = ["-n", namespace, "patch", "deploy", deployment, "-p", annotation];
        succeeded("kubectl patch", command(cluster, &patch).output().expect("kubectl"));
    }
    for deployment in on_envoy.iter().chain(&["details-v1", "reviews-v1", "reviews-v3"]) {
        kubectl(cluster, &format!("-n {namespace} rollout status deploy/{deployment} --timeout=120s"));
    }
    // Told by the proxies themselves, so that the annotation is known to have had its effect.
    let version = |deployment: &str| {
        let admin = "-c istio-proxy -- pilot-agent request GET server_info";
        kubectl(cluster, &format!("-n {namespace} exec deploy/{deployment} {admin}"))
    };
    // A pod of the rollout's past may still be there to answer, until it has ended.
    eventually("ratings run on Envoy", || match version("ratings-v1") {
        text if text.contains("BoringSSL") => Ok(()),
        text => Err(text),
    });
    assert!(!version("details-v1").contains("BoringSSL"), "{}", version("details-v1"));
    // From Envoy to ours (details, reviews-v1 and v3) and to Envoy; from ours (reviews-v3) to Envoy (ratings).
    let page = "exec deploy/ratings-v1 -c ratings -- curl -sS http://productpage:9080/productpage";
    let (mut black, mut red) = (0, 0);
    for _ in 0..30 {
        let body = kubectl(cluster, &format!("-n {namespace} {page}"));
        assert!(body.contains("Book Details") && body.contains("Book Reviews"), "{body}");
        black += usize::from(body.contains("text-black-500\">"));
        red += usize::from(body.contains("text-red-500\">"));
    }
    assert!(black > 0 && red > 0, "black {black}, red {red}");
    assert_eq!(rejects(cluster), Vec::<String>::new());
    kubectl(cluster, &format!("delete ns {namespace} --wait=false"));
}
