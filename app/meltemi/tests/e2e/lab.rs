//! Clusters without a mesh, for what only the local cluster does.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::{eventually, meltemi, succeeded};

/// A cluster without a mesh that is started and stopped as a user would.
pub struct Lab {
    data_dir: tempfile::TempDir,
}

impl Lab {
    /// Starts one.
    pub fn start() -> Self {
        let lab = Self { data_dir: tempfile::tempdir().expect("a directory") };
        lab.up();
        lab
    }

    /// Where its state is.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Our CLI on its data directory; it must succeed.
    pub fn meltemi(&self, args: &[&str]) -> String {
        let output =
            meltemi().args(args).arg("--data-dir").arg(self.data_dir.path()).output().expect("meltemi");
        succeeded(&args.join(" "), output)
    }

    /// Starts it again; the image `shell` is the machine's.
    pub fn up(&self) {
        self.meltemi(&["up", "--detach", "--profile", "none", "--image", "shell=/bin/sh"]);
    }

    /// kubectl with these words.
    pub fn command(&self, line: &str) -> Command {
        let program = std::env::var("MELTEMI_KUBECTL").unwrap_or_else(|_| "kubectl".into());
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.data_dir.path().join("kubeconfig")).env("HOME", self.data_dir.path());
        command.args(line.split(' '));
        command
    }

    /// Runs kubectl; it must succeed. Returns what it printed.
    pub fn kubectl(&self, line: &str) -> String {
        succeeded(line, self.command(line).output().expect("kubectl"))
    }

    /// Applies a manifest.
    pub fn apply(&self, yaml: &str) {
        use std::io::Write as _;
        let mut child = self.command("apply -f -").stdin(Stdio::piped()).spawn().expect("kubectl");
        child.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("kubectl reads");
        assert!(child.wait().expect("kubectl").success());
    }

    /// Waits until kubectl prints this.
    pub fn until(&self, line: &str, expected: &str) {
        eventually(line, || {
            let output = self.command(line).output().expect("kubectl");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if text == expected { Ok(()) } else { Err(text) }
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = meltemi().arg("down").arg("--data-dir").arg(self.data_dir.path()).output();
    }
}
