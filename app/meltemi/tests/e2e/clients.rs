//! Programs that others wrote, against the API server.

use std::process::Command;

use crate::cluster::{shared, succeeded};
use crate::kubectl::{self, kubectl};
use crate::verbs::Release;

fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(format!("{}/tests/python/{name}", env!("CARGO_MANIFEST_DIR")));
    command
}

/// `MELTEMI_PYTHON_CLIENT` is where `make test` puts the official Python client.
#[test]
fn the_python_client_lists_watches_patches_executes_and_forwards() {
    let mut command = script("client.py");
    if let Some(place) = std::env::var_os("MELTEMI_PYTHON_CLIENT") {
        command.env("PYTHONPATH", place);
    }
    let output =
        command.arg("e2e-python").env("KUBECONFIG", shared().kubeconfig()).output().expect("python3");
    succeeded("the Python client", output);
}

#[test]
fn an_interactive_exec_has_a_terminal_of_the_container() {
    let cluster = shared();
    let pod = kubectl(cluster, "get pod -l app=ratings -o jsonpath={.items[0].metadata.name}");
    for release in Release::ALL {
        let shell = kubectl::command(cluster, &["exec", "-it", &pod, "-c", "ratings", "--", "sh"]);
        let output = script("terminal.py")
            .arg(release.program())
            .args(shell.get_args())
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("HOME", cluster.data_dir())
            .output();
        succeeded(&format!("kubectl exec -it, {release:?}"), output.expect("python3"));
    }
}
