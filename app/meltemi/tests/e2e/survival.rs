//! What users lose when something ends, in good order or not: nothing, but what was in the hands of a process that was killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::{Cluster, eventually, meltemi, succeeded};
use crate::http;
use crate::kubectl::kubectl;

/// Clients at a time: so many requests can be in a process when it is killed.
const CLIENTS: usize = 8;
/// Each client asks so often: 100 requests a second in all, where the machine is fast enough.
const PERIOD: Duration = Duration::from_millis(80);
const DEPLOYMENTS: [&str; 6] =
    ["details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"];
const GATEWAYS: [&str; 2] = ["istio-ingressgateway", "istio-egressgateway"];

/// A page that is not whole, and why.
fn complaint(url: &str) -> Option<String> {
    match http::try_get(url) {
        Err(error) => Some(error),
        Ok(answer) if answer.status != 200 => Some(format!("{}: {}", answer.status, answer.body)),
        Ok(answer) if !answer.body.contains("<dt>ISBN") => Some("no details".into()),
        Ok(answer) if !answer.body.contains("<blockquote") => Some("no reviews".into()),
        Ok(_) => None,
    }
}

/// What faults cost, for people to read and for the verdict at the end.
struct Losses<'a> {
    cluster: &'a Cluster,
    rows: Vec<(String, usize, Vec<String>, usize)>,
}

impl Losses<'_> {
    /// Asks for the page all the while `fault` runs and for some more pages after it. `in_flight`: how many requests can have
    /// been in the process that was killed.
    fn under_load(&mut self, what: &str, in_flight: usize, fault: impl FnOnce()) {
        let url = self.cluster.url("productpage");
        let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        let client = |number: usize| {
            let mut complaints = Vec::new();
            let mut due = Instant::now() + PERIOD * u32::try_from(number).expect("small") / CLIENTS as u32;
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                due = Instant::now().max(due + PERIOD);
                complaints.extend(complaint(&url));
                asked.fetch_add(1, Ordering::Relaxed);
            }
            complaints
        };
        let pages = |count: usize| {
            let until = asked.load(Ordering::Relaxed) + count;
            while asked.load(Ordering::Relaxed) < until {
                std::thread::sleep(PERIOD);
            }
        };
        let complaints: Vec<String> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
            pages(10 * CLIENTS);
            fault();
            pages(15 * CLIENTS);
            done.store(true, Ordering::Relaxed);
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        self.rows.push((what.to_owned(), asked.into_inner(), complaints, in_flight));
    }

    /// Prints the table; nothing may have been lost but what was in flight in a killed process.
    fn judge(self) {
        println!("{:<46} {:>8} {:>6} {:>9}", "fault", "requests", "lost", "in flight");
        for (what, asked, lost, in_flight) in &self.rows {
            println!("{what:<46} {asked:>8} {:>6} {:>9}", lost.len(), format!("<= {in_flight}"));
        }
        for (what, _, lost, in_flight) in &self.rows {
            assert!(lost.len() <= *in_flight, "{what}: {lost:#?}");
        }
    }
}

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

/// All processes below one.
fn descendants(root: u32) -> BTreeSet<u32> {
    let parent = |entry: &std::fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    let all: Vec<(u32, u32)> =
        std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|e| parent(&e)).collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let more: Vec<u32> =
            all.iter().filter(|(pid, up)| found.contains(up) && !found.contains(pid)).map(|p| p.0).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Kills the process below `root` whose command line and environment hold these texts.
fn kill_below(root: u32, command: &str, environment: &str) {
    let holds = |pid: u32, file: &str, text: &str| {
        let bytes = std::fs::read(Path::new("/proc").join(pid.to_string()).join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ").contains(text)
    };
    let is_it = |pid: &u32| holds(*pid, "cmdline", command) && holds(*pid, "environ", environment);
    let found = descendants(root).into_iter().find(is_it);
    let pid = found.unwrap_or_else(|| panic!("no process {command} with {environment}"));
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("kill -9");
}

fn kill_in_pod(cluster: &Cluster, pod: &str, command: &str) {
    kill_below(cluster.pid(), command, &format!("HOSTNAME={pod}-"));
}

#[test]
fn faults_cost_no_more_than_what_was_in_flight() {
    let cluster = Cluster::start(&["--demo", "bookinfo"]);
    // One sidecar of another make, for the outage below.
    let envoy = r#"{"spec":{"template":{"metadata":{"annotations":{"meltemi.io/data-plane":"envoy"}}}}}"#;
    kubectl(&cluster, &format!("patch deploy ratings-v1 -p {envoy}"));
    rolled_out(&cluster, "default", "ratings-v1");
    let mut losses = Losses { cluster: &cluster, rows: Vec::new() };
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
        losses.under_load(what, CLIENTS, || kill_in_pod(&cluster, pod, process));
    }
    losses.under_load("the preStop hook of details, nothing stops", 0, || {
        let hook = "pilot-agent request --debug-port=15020 POST drain";
        kubectl(&cluster, &format!("exec deploy/details-v1 -c istio-proxy -- {hook}"));
    });
    outage(&mut losses);
    losses.judge();
}

/// istiod is away. Sidecars that are killed then start from what they kept on disk, ours and Envoy; others do not notice.
fn outage(losses: &mut Losses<'_>) {
    let cluster = losses.cluster;
    let before = ready_again(cluster, "details").expect("details is ready");
    losses.under_load("istiod away, kill -9 of the sidecar of details", CLIENTS, || {
        kubectl(cluster, "-n istio-system scale deploy istiod --replicas=0");
        kubectl(cluster, "-n istio-system wait pod -l app=istiod --for=delete --timeout=60s");
        kill_in_pod(cluster, "details-v1", "proxy sidecar");
        eventually("details is ready without istiod", || match ready_again(cluster, "details") {
            Ok(count) if count > before => Ok(()),
            other => Err(format!("{other:?}")),
        });
        kill_in_pod(cluster, "ratings-v1", "proxy sidecar");
        eventually("ratings is ready without istiod", || ready_again(cluster, "ratings"));
    });
    eventually("pages with stars", || {
        let page = http::get(&cluster.url("productpage")).body;
        if page.contains("glyphicon-star") { Ok(()) } else { Err(page) }
    });
    let stats = kubectl(
        cluster,
        "exec deploy/details-v1 -c istio-proxy -- pilot-agent request --debug-port=15020 GET stats/prometheus",
    );
    let inbound = |line: &&str| line.starts_with("istio_requests_total") && line.contains("mutual_tls");
    assert!(stats.lines().any(|line| inbound(&line)), "details was called without mutual TLS: {stats}");
    let mut since = Instant::now();
    losses.under_load("istiod is back", 0, || {
        kubectl(cluster, "-n istio-system scale deploy istiod --replicas=1");
        rolled_out(cluster, "istio-system", "istiod");
        since = Instant::now();
        eventually("every proxy is in sync with istiod", || in_sync(cluster));
    });
    println!("in sync {:.1} s after istiod was ready", since.elapsed().as_secs_f64());
}

/// So many clients write at a time.
const WRITERS: usize = 16;

/// Creates ConfigMaps until the API server is gone; the names that it acknowledged.
fn create(kubeconfig: &Path, acknowledged: &AtomicUsize) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
        let api: Api<ConfigMap> = Api::namespaced(client, "default");
        let writer = |number: usize| {
            let api = api.clone();
            async move {
                let mut names = Vec::new();
                for count in 0.. {
                    let name = format!("kept-{number}-{count}");
                    let object = serde_json::json!({"metadata": {"name": name}, "data": {"v": name}});
                    let object = serde_json::from_value(object).expect("a ConfigMap");
                    if api.create(&PostParams::default(), &object).await.is_err() {
                        break;
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    names.push(name);
                }
                names
            }
        };
        futures_util::future::join_all((0..WRITERS).map(writer)).await.into_iter().flatten().collect()
    })
}

#[test]
fn what_was_acknowledged_survives_a_kill_of_the_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("text");
    let run = |args: &[&str]| {
        let output = meltemi().args(args).args(["--data-dir", path]).output().expect("meltemi");
        serde_json::from_str::<serde_json::Value>(&succeeded(&args.join(" "), output)).expect("JSON")
    };
    let up = ["up", "--detach", "--profile", "none", "-o", "json"];
    let summary = run(&up);
    let kubeconfig = summary["kubeconfig"].as_str().expect("a kubeconfig");
    let outer = run(&["status", "-o", "json"])["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let acknowledged = AtomicUsize::new(0);
    let names: BTreeSet<String> = std::thread::scope(|scope| {
        let writers = scope.spawn(|| create(Path::new(kubeconfig), &acknowledged));
        let reached = |wanted: usize| {
            eventually("writes", || match acknowledged.load(Ordering::Relaxed) {
                count if count >= wanted => Ok((count, Instant::now())),
                count => Err(count.to_string()),
            })
        };
        let (first, last) = (reached(100), reached(900));
        let seconds = last.1.duration_since(first.1).as_secs_f64();
        println!("{:.0} acknowledged writes a second", (last.0 - first.0) as f64 / seconds);
        kill_below(outer.expect("a pid"), "__daemon", "");
        writers.join().expect("the writers")
    });
    eventually("the end", || {
        let output = meltemi().args(["status", "--data-dir", path]).output().expect("meltemi");
        if output.status.success() { Err("it runs") } else { Ok(()) }.map_err(str::to_owned)
    });
    run(&up);
    let program = std::env::var("MELTEMI_KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let list = ["--kubeconfig", kubeconfig, "get", "configmaps", "-o", "json"];
    let list = succeeded("get", Command::new(program).args(list).output().expect("kubectl"));
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let items = list["items"].as_array().expect("items").iter();
    let whole = items.filter(|item| item["data"]["v"] == item["metadata"]["name"]);
    let found: BTreeSet<String> =
        whole.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect();
    let lost: Vec<&String> = names.difference(&found).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), names.len());
    succeeded("down", meltemi().args(["down", "--data-dir", path]).output().expect("meltemi"));
}
