//! Bookinfo through the gateway: what the tutorials look for on the page.

use crate::cluster::{Cluster, Plane, eventually, on_both_planes, shared};
use crate::http;
use crate::kubectl::{apply, kubectl};

on_both_planes!(
    the_page_shows_all_three_kinds_of_reviews,
    the_gateway_answers_404_to_what_no_route_takes,
    subsets_and_headers_route_inside_the_mesh,
);

fn the_page_shows_all_three_kinds_of_reviews(plane: Plane) {
    all_kinds_of_reviews(plane.shared());
}

/// Asks until every version of reviews has been seen, and more.
pub fn all_kinds_of_reviews(cluster: &Cluster) {
    let url = cluster.url("productpage");
    let (mut plain, mut black, mut red) = (0, 0, 0);
    for _ in 0..60 {
        let answer = http::get(&url);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.contains("<title>Simple Bookstore App</title>"));
        assert!(answer.body.contains("Book Details") && answer.body.contains("Book Reviews"));
        match (answer.body.contains("text-black-500\">"), answer.body.contains("text-red-500\">")) {
            (true, false) => black += 1,
            (false, true) => red += 1,
            (false, false) => plain += 1,
            (true, true) => panic!("stars of two colours on one page"),
        }
    }
    assert!(plain > 0 && black > 0 && red > 0, "without stars {plain}, black {black}, red {red}");
}

fn the_gateway_answers_404_to_what_no_route_takes(plane: Plane) {
    let url = plane.shared().url("productpage").replace("/productpage", "/nothing-here");
    let answer = http::get(&url);
    assert_eq!(answer.status, 404);
    assert!(answer.head.to_ascii_lowercase().contains("server: istio-envoy"), "{}", answer.head);
}

// Envoy itself has none of Istio's metrics.
#[test]
fn requests_are_counted_by_both_ends_with_mutual_tls() {
    let cluster = shared();
    http::get(&cluster.url("productpage"));
    let stats = |deployment: &str| {
        kubectl(
            cluster,
            &format!("exec deploy/{deployment} -c istio-proxy -- pilot-agent request GET stats/prometheus"),
        )
    };
    eventually("the source's series", || {
        series(
            &stats("productpage-v1"),
            &[
                "reporter=\"source\"",
                "source_workload=\"productpage-v1\"",
                "destination_service=\"details.default.svc.cluster.local\"",
                "response_code=\"200\"",
            ],
        )
    });
    let line = eventually("the destination's series", || {
        series(
            &stats("details-v1"),
            &[
                "reporter=\"destination\"",
                "connection_security_policy=\"mutual_tls\"",
                "source_workload=\"productpage-v1\"",
                "response_code=\"200\"",
            ],
        )
    });
    for principal in [
        "source_principal=\"spiffe://cluster.local/ns/default/sa/bookinfo-productpage\"",
        "destination_principal=\"spiffe://cluster.local/ns/default/sa/bookinfo-details\"",
    ] {
        assert!(line.contains(principal), "{principal} in {line}");
    }
}

/// The `istio_requests_total` line that holds all these labels.
fn series(text: &str, labels: &[&str]) -> Result<String, String> {
    let mut lines = text.lines().filter(|line| line.starts_with("istio_requests_total{"));
    let found = lines.find(|line| labels.iter().all(|label| line.contains(label)));
    found.map(str::to_owned).ok_or_else(|| {
        let all: Vec<&str> = text.lines().filter(|line| line.starts_with("istio_requests_total{")).collect();
        format!("no series with {labels:?} among\n{}", all.join("\n"))
    })
}

fn subsets_and_headers_route_inside_the_mesh(plane: Plane) {
    let cluster = plane.shared();
    let namespace = "e2e-routing";
    kubectl(cluster, &format!("create ns {namespace}"));
    kubectl(cluster, &format!("label ns {namespace} istio-injection=enabled"));
    apply(cluster, namespace, include_str!("../../../../samples/bookinfo/platform/kube/bookinfo.yaml"))
        .expect("bookinfo");
    kubectl(cluster, &format!("-n {namespace} wait --for=condition=Ready pod --all --timeout=120s"));
    apply(
        cluster,
        namespace,
        include_str!("../../../../samples/bookinfo/networking/destination-rule-all.yaml"),
    )
    .expect("rules");
    apply(
        cluster,
        namespace,
        include_str!("../../../../samples/bookinfo/networking/virtual-service-reviews-test-v2.yaml"),
    )
    .expect("routes");
    let ask = |header: &str| {
        let line = format!(
            "-n {namespace} exec deploy/ratings-v1 -c ratings -- curl -sS {header} http://reviews:9080/reviews/0"
        );
        kubectl(cluster, &line)
    };
    eventually("everyone sees v1", || {
        let all: Vec<String> = (0..10).map(|_| ask("-H x-none:1")).collect();
        if all.iter().all(|answer| answer.contains("reviews-v1-")) { Ok(()) } else { Err(all.join("\n")) }
    });
    eventually("jason sees v2", || {
        let all: Vec<String> = (0..10).map(|_| ask("-H end-user:jason")).collect();
        if all.iter().all(|answer| answer.contains("reviews-v2-")) { Ok(()) } else { Err(all.join("\n")) }
    });
    kubectl(cluster, &format!("delete ns {namespace}"));
}
