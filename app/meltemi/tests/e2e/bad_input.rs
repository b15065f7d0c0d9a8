//! What users get wrong: each gives an error that names the place, and nothing else breaks.

use crate::cluster::{eventually, meltemi, shared};
use crate::http;
use crate::kubectl::{apply, kubectl};

fn rejected(namespace: &str, yaml: &str) -> String {
    apply(shared(), namespace, yaml).expect_err("must be refused")
}

#[test]
fn wrong_objects_are_refused_with_the_place() {
    let service = |http: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: wrong\nspec:\n  hosts: [details]\n  http:\n{http}"
        )
    };
    let unknown = rejected("default", &service("  - rout:\n    - destination:\n        host: details\n"));
    assert!(unknown.contains("rout"), "{unknown}");
    let duration = rejected(
        "default",
        &service("  - timeout: soon\n    route:\n    - destination:\n        host: details\n"),
    );
    assert!(duration.contains("timeout"), "{duration}");
    let kind = rejected("default", &service("  - route:\n    - destination:\n        host: 7\n"));
    assert!(kind.contains("host"), "{kind}");
    assert_eq!(http::get(&shared().url("productpage")).status, 200);
}

#[test]
fn a_route_to_a_missing_subset_is_told_in_the_status_and_breaks_nothing_else() {
    let cluster = shared();
    kubectl(cluster, "create ns e2e-missing");
    let yaml = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: missing\nspec:\n  hosts: [nowhere]\n  http:\n  - route:\n    - destination:\n        host: nowhere\n        subset: v9\n";
    apply(cluster, "e2e-missing", yaml).expect("accepted: the service may come later");
    eventually("the status names what is missing", || {
        let status = kubectl(cluster, "get vs -n e2e-missing missing -o jsonpath={.status}");
        if status.contains("nowhere") { Ok(()) } else { Err(status) }
    });
    assert_eq!(http::get(&cluster.url("productpage")).status, 200);
    kubectl(cluster, "delete ns e2e-missing");
}

#[test]
fn an_unknown_image_names_the_cure() {
    let cluster = shared();
    kubectl(cluster, "create ns e2e-image");
    kubectl(cluster, "-n e2e-image run web --image=nginx:1.25");
    eventually("the pod says what to do", || {
        let text = kubectl(cluster, "-n e2e-image describe pod web");
        let named = text.contains("ErrImagePull") || text.contains("ImagePullBackOff");
        if named && text.contains("--image nginx=COMMAND") { Ok(()) } else { Err(text) }
    });
    kubectl(cluster, "delete ns e2e-image --wait=false");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let output = meltemi()
        .args(["up", "--profile", "none", "--api-port", &port, "--data-dir"])
        .arg(dir.path())
        .output()
        .expect("meltemi up");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&port) && text.contains("--api-port"), "{text}");
    assert_eq!(text.matches("Error").count(), 1, "said once: {text}");
}
