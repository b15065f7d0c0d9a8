//! What outlives pods and the cluster's process: volumes of claims, and the logs of pods that have ended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cluster::{eventually, meltemi, succeeded};

const MANIFEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers: [{name: c, image: shell, args: [-c, echo farewell]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: shell
        args: [-c, "echo started >> /data/log; cat /data/log; sleep 1000"]
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: foreign}
spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec:
  containers: [{name: c, image: shell, args: [-c, "true"]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: foreign}}]
"#;

/// A cluster without a mesh that is started and stopped as a user would.
struct Lab {
    data_dir: tempfile::TempDir,
}

impl Lab {
    fn meltemi(&self, args: &[&str]) -> String {
        let output =
            meltemi().args(args).arg("--data-dir").arg(self.data_dir.path()).output().expect("meltemi");
        succeeded(&args.join(" "), output)
    }

    fn up(&self) {
        self.meltemi(&["up", "--detach", "--profile", "none", "--image", "shell=/bin/sh"]);
    }

    fn command(&self, line: &str) -> Command {
        let program = std::env::var("MELTEMI_KUBECTL").unwrap_or_else(|_| "kubectl".into());
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.data_dir.path().join("kubeconfig")).env("HOME", self.data_dir.path());
        command.args(line.split(' '));
        command
    }

    fn kubectl(&self, line: &str) -> String {
        succeeded(line, self.command(line).output().expect("kubectl"))
    }

    fn apply(&self, yaml: &str) {
        use std::io::Write as _;
        let mut child = self.command("apply -f -").stdin(Stdio::piped()).spawn().expect("kubectl");
        child.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("kubectl reads");
        assert!(child.wait().expect("kubectl").success());
    }

    /// Waits until kubectl prints this.
    fn until(&self, line: &str, expected: &str) {
        eventually(line, || {
            let output = self.command(line).output().expect("kubectl");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if text == expected { Ok(()) } else { Err(text) }
        });
    }

    fn directory(&self, claim: &str) -> PathBuf {
        let volume = self.kubectl(&format!("get pvc {claim} -o jsonpath={{.spec.volumeName}}"));
        self.data_dir.path().join("volumes").join(volume)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = meltemi().arg("down").arg("--data-dir").arg(self.data_dir.path()).output();
    }
}

fn gone(path: &Path) {
    eventually("the directory goes", || if path.exists() { Err(path.display().to_string()) } else { Ok(()) });
}

#[test]
fn claims_get_directories_that_outlive_pods_and_the_daemon() {
    let lab = Lab { data_dir: tempfile::tempdir().expect("a directory") };
    lab.up();
    lab.apply(MANIFEST);
    lab.until("get pod once -o jsonpath={.status.phase}", "Succeeded");
    lab.until("get sts web -o jsonpath={.status.readyReplicas}", "2");
    let claims = lab.kubectl("get pvc --no-headers -l app=web");
    assert_eq!(claims.matches("Bound").count(), 2, "{claims}");
    let (first, second) = (lab.directory("data-web-0"), lab.directory("data-web-1"));
    assert_eq!(std::fs::read_to_string(first.join("log")).expect("the volume"), "started\n");
    assert!(lab.kubectl("get storageclass").contains("standard (default)"));
    let message = "get pod waits -o jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}";
    lab.until(message, "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    assert!(lab.kubectl("describe pvc foreign").contains("storageclass.storage.k8s.io \"fast\" not found"));

    lab.meltemi(&["down"]);
    lab.up();
    assert_eq!(lab.kubectl("logs once"), "farewell\n");
    lab.until("logs web-0", "started\nstarted\n");
    lab.kubectl("delete pod once");

    lab.kubectl("scale sts web --replicas=1");
    gone(&second);
    lab.kubectl("delete sts web --wait=false");
    lab.until("get pods -l app=web -o name", "");
    assert_eq!(lab.kubectl("get pvc -l app=web -o name"), "persistentvolumeclaim/data-web-0\n");
    assert!(first.join("log").exists(), "retained");
    lab.kubectl("delete pvc data-web-0");
    gone(&first);
    lab.until("get pv -o name", "");
}

#[test]
fn a_set_says_why_its_pods_are_not_made() {
    let lab = Lab { data_dir: tempfile::tempdir().expect("a directory") };
    lab.up();
    lab.kubectl("create quota none --hard=pods=0");
    for (kind, more) in [("ReplicaSet", ""), ("StatefulSet", "serviceName: x,"), ("DaemonSet", "")] {
        lab.apply(&format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{more} selector: {{matchLabels: {{a: b}}}}, \
             template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: shell}}]}}}}}}"
        ));
        eventually(kind, || {
            let text = lab.kubectl(&format!("describe {} x", kind.to_lowercase()));
            let said =
                text.contains("FailedCreate") && text.contains("exceeded quota: none, requested: pods=1");
            if said { Ok(()) } else { Err(text) }
        });
    }
}
