//! Starting, stopping, and what is left afterwards: nothing.

use crate::cluster::{Cluster, eventually, meltemi, succeeded};
use crate::kubectl::kubectl;

/// Processes whose command line or name shows that they belong to a cluster in this directory, and mounts below it.
fn left_over(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(directory) && entry.file_name().to_string_lossy() != std::process::id().to_string() {
            found.push(line);
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    found.extend(mounts.lines().filter(|line| line.contains(directory)).map(str::to_owned));
    found
}

fn links() -> String {
    std::fs::read_to_string("/proc/net/dev")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn ctrl_c_leaves_nothing() {
    let before = links();
    let mut cluster = Cluster::start(&["--profile", "none"]);
    assert!(kubectl(&cluster, "get nodes").contains("Ready"));
    let directory = cluster.data_dir().display().to_string();
    assert_eq!(links(), before, "the host's network is never changed");
    cluster.interrupt();
    eventually("nothing is left", || {
        let left = left_over(&directory);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}

#[test]
fn detached_status_down_and_the_objects_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("text");
    let run = |args: &[&str]| {
        let output = meltemi().args(args).args(["--data-dir", path]).output().expect("meltemi");
        succeeded(&args.join(" "), output)
    };
    let up = ["up", "--detach", "--profile", "none", "-o", "json"];
    let summary: serde_json::Value = serde_json::from_str(&run(&up)).expect("JSON");
    let kubeconfig = summary["kubeconfig"].as_str().expect("a kubeconfig").to_owned();
    let kubectl = |line: &str| {
        let program = std::env::var("MELTEMI_KUBECTL").unwrap_or_else(|_| "kubectl".into());
        let mut command = std::process::Command::new(program);
        let output = command.env("KUBECONFIG", &kubeconfig).env("HOME", path).args(line.split(' ')).output();
        succeeded(line, output.expect("kubectl"))
    };
    kubectl("create configmap kept --from-literal=a=b");
    let status: serde_json::Value = serde_json::from_str(&run(&["status", "-o", "json"])).expect("JSON");
    assert_eq!(status["running"], true);
    assert!(run(&["down"]).contains("Stopped"));
    assert!(left_over(path).is_empty(), "{:?}", left_over(path));
    run(&up);
    assert_eq!(kubectl("get configmap kept -o jsonpath={.data.a}"), "b");
    assert!(run(&["down", "--purge"]).contains("Removed"));
    assert!(!dir.path().exists());
}

#[test]
fn the_daemon_dies_with_up() {
    let cluster = Cluster::start(&["--profile", "none"]);
    let directory = cluster.data_dir().display().to_string();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(cluster.pid()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill -9");
    eventually("nothing is left", || {
        let left = left_over(&directory);
        if left.iter().all(|line| line.trim().is_empty()) { Ok(()) } else { Err(left.join("\n")) }
    });
}
