//! What is left when the daemon is killed: all that it acknowledged.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::{eventually, meltemi, succeeded};

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
pub fn kill_below(root: u32, command: &str, environment: &str) {
    let holds = |pid: u32, file: &str, text: &str| {
        let bytes = std::fs::read(Path::new("/proc").join(pid.to_string()).join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ").contains(text)
    };
    let is_it = |pid: &u32| holds(*pid, "cmdline", command) && holds(*pid, "environ", environment);
    let found = descendants(root).into_iter().find(is_it);
    let pid = found.unwrap_or_else(|| panic!("no process {command} with {environment}"));
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("kill -9");
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
