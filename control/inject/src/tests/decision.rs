use std::collections::BTreeMap;

use serde_json::json;

use super::{injected, pod, with_annotation};
use crate::{Context, Decision, Injector, InjectorConfig, LabelSelector, Policy, Reason, Values};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn in_namespace(namespace_labels: &[(&str, &str)], pod_labels: serde_json::Value) -> Decision {
    let mut pod = pod();
    pod["metadata"]["labels"] = pod_labels;
    let namespace_labels = Some(labels(namespace_labels));
    Injector::default().decide(&pod, &Context { namespace_labels, ..Context::of_namespace("default") })
}

#[test]
fn namespace_and_pod_labels_decide_as_the_webhook_selectors_do() {
    let other = |revision: &str| Decision::Skip(Reason::OtherRevision(revision.to_owned()));
    let table = [
        (vec![], json!({}), Decision::Skip(Reason::NotSelected)),
        (vec![("istio-injection", "enabled")], json!({}), Decision::Inject),
        (vec![("istio-injection", "disabled")], json!({}), Decision::Skip(Reason::NamespaceOptedOut)),
        (vec![("istio.io/rev", "default")], json!({}), Decision::Inject),
        (vec![("istio.io/rev", "canary")], json!({}), other("canary")),
        (vec![], json!({"istio.io/rev": "canary"}), other("canary")),
        (vec![], json!({"sidecar.istio.io/inject": "true"}), Decision::Inject),
        // The older label wins over the revision.
        (vec![("istio-injection", "enabled"), ("istio.io/rev", "canary")], json!({}), Decision::Inject),
        (
            vec![("istio-injection", "enabled")],
            json!({"sidecar.istio.io/inject": "false"}),
            Decision::Skip(Reason::OptedOut("label")),
        ),
    ];
    for (namespace, pod, expected) in table {
        assert_eq!(in_namespace(&namespace, pod.clone()), expected, "namespace {namespace:?}, pod {pod}");
    }
}

#[test]
fn pods_on_the_host_network_and_system_namespaces_are_left_alone() {
    let injector = Injector::default();
    let mut host = pod();
    host["spec"]["hostNetwork"] = json!(true);
    host["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("true");
    assert_eq!(
        injector.decide(&host, &Context::of_namespace("default")),
        Decision::Skip(Reason::HostNetwork)
    );
    let system = injector.decide(&pod(), &Context::of_namespace("kube-system"));
    assert_eq!(system, Decision::Skip(Reason::SystemNamespace("kube-system".to_owned())));
}

#[test]
fn the_label_counts_before_the_annotation() {
    let mut pod = with_annotation("sidecar.istio.io/inject", "false");
    let context = Context::of_namespace("default");
    assert_eq!(Injector::default().decide(&pod, &context), Decision::Skip(Reason::OptedOut("annotation")));
    pod["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("true");
    assert_eq!(Injector::default().decide(&pod, &context), Decision::Inject);
}

#[test]
fn selectors_and_policy_rule_pods_that_say_nothing() {
    let selector =
        |value: &str| LabelSelector { match_labels: labels(&[("app", value)]), ..LabelSelector::default() };
    let decide = |config| {
        let injector = Injector { config, ..Injector::default() };
        injector.decide(&pod(), &Context::of_namespace("default"))
    };
    let base = InjectorConfig::default();
    let never = InjectorConfig { never_inject_selector: vec![selector("reviews")], ..base.clone() };
    assert_eq!(decide(never), Decision::Skip(Reason::NeverInjectSelector));
    let disabled = InjectorConfig { policy: Policy::Disabled, ..base.clone() };
    assert_eq!(decide(disabled.clone()), Decision::Skip(Reason::PolicyDisabled));
    let always = InjectorConfig { always_inject_selector: vec![selector("reviews")], ..disabled };
    assert_eq!(decide(always), Decision::Inject);
    // An empty selector would take in every pod of the cluster.
    let empty = InjectorConfig { never_inject_selector: vec![LabelSelector::default()], ..base };
    assert_eq!(decide(empty), Decision::Inject);
}

#[test]
fn an_injected_pod_is_left_alone() {
    let first = injected(&pod());
    let again = Injector::default().decide(&first, &Context::of_namespace("default"));
    assert_eq!(again, Decision::Skip(Reason::AlreadyInjected));
}

#[test]
fn settings_are_read_strictly() {
    let error = InjectorConfig::parse("policy: enabled\npollicy: x\n").unwrap_err();
    assert!(error.to_string().contains("`config`") && error.message.contains("pollicy"), "{error}");
    let error = Values::parse(r#"{"global": {"proxy": {"statusPort": "many"}}}"#).unwrap_err();
    assert!(error.message.contains("statusPort"), "{error}");
    let values =
        Values::parse(r#"{"global": {"tag": "1.30.0", "platform": ""}, "pilot": {"cni": {}}}"#).unwrap();
    assert_eq!((values.global.tag.as_str(), values.global.hub.as_str()), ("1.30.0", "docker.io/istio"));
    let text = serde_json::to_string(&Values::default()).unwrap();
    assert_eq!(Values::parse(&text).unwrap(), Values::default());
}
