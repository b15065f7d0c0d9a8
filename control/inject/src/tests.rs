//! Behaviour of injection as a whole.

mod decision;
mod pods;
mod probing;
mod proxyless;

use serde_json::{Value, json};

use crate::{Context, Injector, Outcome};

/// A small pod of a Deployment.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "reviews-v1-7f99cc4496-",
            "labels": {"app": "reviews", "version": "v1", "pod-template-hash": "7f99cc4496"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "reviews-v1-7f99cc4496",
                "controller": true}],
        },
        "spec": {"containers": [{"name": "reviews", "image": "examples-bookinfo-reviews-v1",
            "ports": [{"containerPort": 9080, "protocol": "TCP"}]}]},
    })
}

fn with_annotation(name: &str, value: &str) -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({name: value});
    pod
}

fn outcome(pod: &Value) -> Outcome {
    Injector::default().inject(pod, &Context::of_namespace("default")).unwrap()
}

#[track_caller]
fn injected(pod: &Value) -> Value {
    match outcome(pod) {
        Outcome::Injected(injected) => injected.pod,
        Outcome::Skipped(reason) => panic!("skipped: {reason}"),
    }
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let items = pod["spec"][list].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

fn find<'a>(pod: &'a Value, list: &str, name: &str) -> &'a Value {
    let items = pod["spec"][list].as_array().unwrap();
    items.iter().find(|item| item["name"] == name).unwrap()
}

/// The value of a variable of the (native) proxy.
fn env<'a>(pod: &'a Value, variable: &str) -> Option<&'a str> {
    let vars = find(pod, "initContainers", "istio-proxy")["env"].as_array()?;
    vars.iter().find(|var| var["name"] == variable)?["value"].as_str()
}
