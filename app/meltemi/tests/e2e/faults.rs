//! What users lose when something ends, in good order or not: nothing, but what was in the hands of a process that was killed.

mod losses;
mod outage;

use crate::cluster::{Cluster, Plane, eventually, on_both_planes};
use crate::kubectl::kubectl;
use crate::survival::kill_below;
use losses::{CLIENTS, Losses};

const DEPLOYMENTS: [&str; 6] =
    ["details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"];
const GATEWAYS: [&str; 2] = ["istio-ingressgateway", "istio-egressgateway"];

fn rolled_out(cluster: &Cluster, namespace: &str, deployment: &str) {
    kubectl(cluster, &format!("-n {namespace} rollout status deploy {deployment} --timeout=120s"));
}

fn restart(cluster: &Cluster, namespace: &str, deployments: &[&str]) {
    kubectl(cluster, &format!("-n {namespace} rollout restart deploy {}", deployments.join(" ")));
    deployments.iter().for_each(|deployment| rolled_out(cluster, namespace, deployment));
}

/// Every proxy has what istiod would send it.
fn in_sync(cluster: &Cluster) -> Result<(), String> {
    let status = cluster.output(&["proxy-status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let rows = status.lines().skip(1);
    let synced = rows.filter(|row| row.contains("SYNCED") && !row.contains("STALE")).count();
    if synced == DEPLOYMENTS.len() + GATEWAYS.len() { Ok(()) } else { Err(status) }
}

/// How often the sidecar of the application's pod was started again, when all of the pod is ready.
fn ready_again(cluster: &Cluster, app: &str) -> Result<u64, String> {
    let text = kubectl(cluster, &format!("get pods -l app={app} -o json"));
    let pods: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let status = &pods["items"][0]["status"];
    let each = |list: &str| status[list].as_array().cloned().unwrap_or_default();
    let sidecars = each("initContainerStatuses");
    let sidecar = sidecars.iter().find(|c| c["name"] == "istio-proxy").ok_or("no sidecar")?;
    let all = each("containerStatuses").iter().chain([sidecar]).all(|c| c["ready"] == true);
    match sidecar["restartCount"].as_u64() {
        Some(count) if all && count > 0 => Ok(count),
        _ => Err(status.to_string()),
    }
}

fn kill_in_pod(cluster: &Cluster, pod: &str, command: &str) {
    kill_below(cluster.pid(), command, &format!("HOSTNAME={pod}-"));
}

on_both_planes!(faults_cost_no_more_than_what_was_in_flight);

fn faults_cost_no_more_than_what_was_in_flight(plane: Plane) {
    let cluster = Cluster::start(&plane.bookinfo());
    outage::prepare_ratings(&cluster, plane);
    let mut losses = Losses::new(&cluster);
    losses.under_load("rolling restart of Bookinfo", 0, || restart(&cluster, "default", &DEPLOYMENTS));
    losses.under_load("rolling restart of the gateways", 0, || restart(&cluster, "istio-system", &GATEWAYS));
    losses.under_load("reviews scaled 1, 5, 1", 0, || {
        kubectl(&cluster, "scale deploy reviews-v1 --replicas=5");
        rolled_out(&cluster, "default", "reviews-v1");
        kubectl(&cluster, "scale deploy reviews-v1 --replicas=1");
    });
    losses.under_load("istiod's pod deleted", 0, || {
        kubectl(&cluster, "-n istio-system delete pod -l app=istiod");
        rolled_out(&cluster, "istio-system", "istiod");
    });
    losses.under_load("kill -9 of istiod", 0, || kill_in_pod(&cluster, "istiod", "discovery"));
    eventually("every proxy is in sync with the new istiod", || in_sync(&cluster));
    for (pod, process, what) in [
        ("reviews-v1", "proxy sidecar", "kill -9 of a sidecar of reviews (3 pods)"),
        ("reviews-v1", "sample reviews", "kill -9 of an app of reviews (3 pods)"),
        ("details-v1", "proxy sidecar", "kill -9 of the sidecar of details (1 pod)"),
        ("details-v1", "sample details", "kill -9 of the app of details (1 pod)"),
    ] {
        // Envoy does not wait for the only host to come back, so that there is nothing to hold it to.
        if plane == Plane::Meltemi || pod != "details-v1" {
            losses.under_load(what, CLIENTS, || kill_in_pod(&cluster, pod, process));
        }
    }
    losses.under_load("the preStop hook of details, nothing stops", 0, || {
        let hook = "pilot-agent request --debug-port=15020 POST drain";
        kubectl(&cluster, &format!("exec deploy/details-v1 -c istio-proxy -- {hook}"));
    });
    outage::run(&mut losses, plane);
    losses.judge();
}
