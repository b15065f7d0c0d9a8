//! What users lose when something ends, in good order or not: nothing, but what was in the hands of a process that was killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::{Cluster, eventually, meltemi, succeeded};
use crate::http;
use crate::kubectl::kubectl;

/// Clients at a time: so many requests can be in a process when it is killed.
const CLIENTS: usize = 4;
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(80);
const DEPLOYMENTS: [&str; 6] =
    ["details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"];

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

/// Asks for the page all the while `fault` runs and for some more pages after it. Returns the complaints.
fn under_load(cluster: &Cluster, fault: impl FnOnce()) -> Vec<String> {
    let url = cluster.url("productpage");
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = || {
        let mut complaints = Vec::new();
        while !done.load(Ordering::Relaxed) {
            complaints.extend(complaint(&url));
            asked.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
        complaints
    };
    let pages = |count: usize| {
        let until = asked.load(Ordering::Relaxed) + count;
        while asked.load(Ordering::Relaxed) < until {
            std::thread::sleep(PAUSE);
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        pages(10 * CLIENTS);
        fault();
        pages(10 * CLIENTS);
        done.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}

fn rolled_out(cluster: &Cluster, namespace: &str, deployment: &str) {
    kubectl(cluster, &format!("-n {namespace} rollout status deploy {deployment} --timeout=120s"));
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
    let rollout = under_load(&cluster, || {
        kubectl(&cluster, &format!("rollout restart deploy {}", DEPLOYMENTS.join(" ")));
        DEPLOYMENTS.iter().for_each(|deployment| rolled_out(&cluster, "default", deployment));
    });
    assert_eq!(rollout, [""; 0], "rolling restart of Bookinfo");
    let scale = under_load(&cluster, || {
        kubectl(&cluster, "scale deploy reviews-v1 --replicas=5");
        rolled_out(&cluster, "default", "reviews-v1");
        kubectl(&cluster, "scale deploy reviews-v1 --replicas=1");
    });
    assert_eq!(scale, [""; 0], "scaling up and down");
    let istiod = under_load(&cluster, || {
        kubectl(&cluster, "-n istio-system delete pod -l app=istiod");
        rolled_out(&cluster, "istio-system", "istiod");
        kill_in_pod(&cluster, "istiod", "discovery");
    });
    assert_eq!(istiod, [""; 0], "istiod deleted, and killed");
    eventually("every proxy is in sync with the new istiod", || {
        let status = cluster.meltemi(&["proxy-status"]);
        let rows = status.lines().skip(1);
        let synced = rows.filter(|row| row.contains("SYNCED") && !row.contains("STALE")).count();
        if synced == DEPLOYMENTS.len() + 2 { Ok(()) } else { Err(status) }
    });
    for what in ["proxy sidecar", "sample reviews"] {
        let killed = under_load(&cluster, || kill_in_pod(&cluster, "reviews-v1", what));
        assert!(killed.len() <= CLIENTS, "kill -9 of {what}: {killed:#?}");
    }
}

/// Feeds ConfigMaps to `kubectl create`; the names it says are created.
fn create(kubeconfig: &str, writer: usize, acknowledged: &AtomicUsize) -> Vec<String> {
    let program = std::env::var("MELTEMI_KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let mut child = Command::new(program)
        .args(["--kubeconfig", kubeconfig, "create", "--validate=false", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl");
    let mut input = child.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || {
        for number in 0..150 {
            let name = format!("kept-{writer}-{number}");
            let text = format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ v: {name} }}\n"
            );
            if input.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    });
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let names = lines.filter_map(|line| {
        let name = line.strip_prefix("configmap/")?.strip_suffix(" created")?.to_owned();
        acknowledged.fetch_add(1, Ordering::Relaxed);
        Some(name)
    });
    let names = names.collect();
    let _ = child.wait();
    let _ = feeder.join();
    names
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
        let count = &acknowledged;
        let writer = |number| scope.spawn(move || create(kubeconfig, number, count));
        let writers: Vec<_> = (0..4).map(writer).collect();
        eventually("writes", || match acknowledged.load(Ordering::Relaxed) {
            count if count >= 100 => Ok(()),
            count => Err(count.to_string()),
        });
        kill_below(outer.expect("a pid"), "__daemon", "");
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
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
