//! What quotas and webhooks refuse to the cluster's own controllers, and how users get to know.

use crate::cluster::eventually;
use crate::lab::Lab;

#[test]
fn a_set_says_why_its_pods_are_not_made() {
    let lab = Lab::start();
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

/// A webhook that cannot be reached refuses all bindings.
const HOOK: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
webhooks:
- name: hook.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {url: "https://127.0.0.1:1/"}
  rules: [{operations: ["*"], apiGroups: [""], apiVersions: [v1], resources: [pods/binding]}]
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers: [{name: c, image: shell, args: [-c, "true"]}]
"#;

#[test]
fn a_binding_that_is_refused_is_tried_again() {
    let lab = Lab::start();
    lab.apply(HOOK);
    eventually("an event", || {
        let text = lab.kubectl("describe pod once");
        let said =
            text.contains("FailedScheduling") && text.contains("failed calling webhook \"hook.example.com\"");
        if said { Ok(()) } else { Err(text) }
    });
    lab.kubectl("delete validatingwebhookconfiguration hook");
    lab.until("get pod once -o jsonpath={.status.phase}", "Succeeded");
}
