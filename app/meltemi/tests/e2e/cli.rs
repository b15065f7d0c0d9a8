//! Verbs that need no cluster, as users type them.

use std::process::Command;

use crate::cluster::{meltemi, succeeded};

fn run(args: &[&str]) -> String {
    succeeded(&args.join(" "), meltemi().args(args).output().expect("meltemi"))
}

#[test]
fn profiles() {
    let list = run(&["profile", "list"]);
    for profile in ["default", "demo", "minimal", "empty"] {
        assert!(list.contains(profile), "{list}");
    }
    let gateways = run(&["profile", "dump", "--config-path", "components.ingressGateways"]);
    assert!(gateways.contains("- enabled: true\n  name: istio-ingressgateway"), "{gateways}");
    let demo = run(&["profile", "dump", "demo"]);
    assert!(demo.contains("profile: demo") && demo.contains("egressGateways"), "{demo}");
}

#[test]
fn versions() {
    let own = run(&["version", "--remote=false"]);
    assert!(own.trim().split('.').count() >= 3, "{own}");
}

#[test]
fn kube_inject_works_on_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bookinfo.yaml");
    std::fs::write(&file, include_str!("../../../../samples/bookinfo/platform/kube/bookinfo.yaml"))
        .expect("a file");
    let text = run(&["kube-inject", "-f", file.to_str().expect("text"), "--profile", "demo"]);
    assert_eq!(text.matches("name: istio-proxy").count(), 6, "{text}");
    assert!(text.contains("kind: Service\n"), "what is not injected is passed through");
}

#[test]
fn completion_is_a_script() {
    assert!(run(&["completion", "bash"]).contains("complete "));
    let dir = tempfile::tempdir().expect("a directory");
    let link = dir.path().join("istioctl");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_meltemi"), &link).expect("a link");
    let output = Command::new(link).args(["completion", "bash"]).output().expect("istioctl");
    let script = succeeded("istioctl completion bash", output);
    assert!(script.contains("-F _istioctl") && !script.contains("-F _meltemi"), "{script}");
}
