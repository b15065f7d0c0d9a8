//! What outlives pods and the cluster's process: volumes of claims, and the logs of pods that have ended.

use std::path::{Path, PathBuf};

use crate::cluster::eventually;
use crate::lab::Lab;

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

fn directory(lab: &Lab, claim: &str) -> PathBuf {
    let volume = lab.kubectl(&format!("get pvc {claim} -o jsonpath={{.spec.volumeName}}"));
    lab.data_dir().join("volumes").join(volume)
}

fn gone(path: &Path) {
    eventually("the directory goes", || if path.exists() { Err(path.display().to_string()) } else { Ok(()) });
}

#[test]
fn claims_get_directories_that_outlive_pods_and_the_daemon() {
    let lab = Lab::start();
    lab.apply(MANIFEST);
    lab.until("get pod once -o jsonpath={.status.phase}", "Succeeded");
    lab.until("get sts web -o jsonpath={.status.readyReplicas}", "2");
    let claims = lab.kubectl("get pvc --no-headers -l app=web");
    assert_eq!(claims.matches("Bound").count(), 2, "{claims}");
    let (first, second) = (directory(&lab, "data-web-0"), directory(&lab, "data-web-1"));
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
