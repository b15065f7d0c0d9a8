use super::merge::{merge, prune};
use super::path::{Fields, Set, from_fields_v1, shown, to_fields_v1};
use super::without_ignored;
use crate::registry::{Registry, Resource};
use serde_json::{Value, json};
use std::sync::Arc;

fn resource(api_version: &str, kind: &str) -> Arc<Resource> {
    Registry::builtin().find_kind(api_version, kind).unwrap().clone()
}

fn fields(resource: &Resource, value: &Value) -> Set {
    without_ignored(Fields::of(resource, value)).into_keys()
}

#[test]
fn fields_have_kubernetes_form_and_read_back() {
    let deployment = resource("apps/v1", "Deployment");
    let value = json!({"kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": "web", "labels": {"app": "web"}, "finalizers": ["a/b"]},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}], "args": ["x"]}]}}}});
    let set = fields(&deployment, &value);
    let expected = json!({
        "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}, "f:labels": {"f:app": {}}},
        "f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
            ".": {}, "f:args": {}, "f:name": {},
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}},
    });
    assert_eq!(to_fields_v1(&set), expected);
    assert_eq!(from_fields_v1(&expected), set);
    let image = set.iter().find(|p| shown(p).ends_with("args")).unwrap();
    assert_eq!(shown(image), ".spec.template.spec.containers[name=\"web\"].args");
}

#[test]
fn merging_keeps_what_others_put_there() {
    let pod = resource("v1", "Pod");
    let live = json!({"metadata": {"labels": {"other": "1"}}, "spec": {"nodeName": "n", "containers": [
        {"name": "side", "image": "s"}, {"name": "a", "image": "old", "env": [{"name": "X", "value": "1"}]}]}});
    let config = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [
        {"name": "a", "image": "new", "env": [{"name": "Y", "value": "2"}]}, {"name": "b", "image": "b"}]}});
    let expected = json!({"metadata": {"labels": {"other": "1", "app": "a"}}, "spec": {"nodeName": "n", "containers": [
        {"name": "side", "image": "s"},
        {"name": "a", "image": "new", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
        {"name": "b", "image": "b"}]}});
    assert_eq!(merge(&pod, &live, &config), expected);
}

#[test]
fn what_is_no_longer_applied_goes_unless_somebody_else_owns_it() {
    let pod = resource("v1", "Pod");
    let before = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [
        {"name": "a", "ports": [{"containerPort": 80}], "image": "i"}, {"name": "b", "image": "j"}]}});
    let after = json!({"spec": {"containers": [{"name": "a", "image": "i"}]}});
    let owned = json!({"metadata": {"labels": {"b": "2"}}});
    let mut value = before.clone();
    // A default that nobody applied.
    value["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
    prune(&pod, &mut value, &fields(&pod, &before), &fields(&pod, &after), &fields(&pod, &owned));
    let expected =
        json!({"metadata": {"labels": {"b": "2"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    assert_eq!(value, expected);
}

#[test]
fn an_item_stays_while_another_owns_something_in_it() {
    let pod = resource("v1", "Pod");
    let before =
        json!({"spec": {"containers": [{"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}]}]}});
    let owned = json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X"}]}]}});
    let mut value = before.clone();
    prune(&pod, &mut value, &fields(&pod, &before), &Set::new(), &fields(&pod, &owned));
    assert_eq!(value, json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X"}]}]}}));
}

#[test]
fn list_items_that_cannot_be_told_apart_are_refused() {
    let deployment = resource("apps/v1", "Deployment");
    let of = |containers: Value| {
        let config = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"}, "spec": {"template": {"spec": {"containers": containers}}}});
        super::identity::check(&deployment, &config).map_err(|error| error.message)
    };
    let twice = of(json!([{"name": "a", "ports": [
        {"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}]}]));
    assert_eq!(
        twice.unwrap_err(),
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): \
         .spec.template.spec.containers[name=\"a\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]"
    );
    let nameless = of(json!([{"name": "a"}, {"image": "x"}])).unwrap_err();
    assert!(
        nameless.contains(
            ".containers: element 1: associative list with keys has an element that omits key field \"name\""
        ),
        "{nameless}"
    );
    assert_eq!(of(json!([{"name": "a"}, {"name": "b"}])), Ok(()));
}
