use crate::patch::strategic;
use crate::registry::Registry;
use serde_json::{Value, json};

fn apply(kind: (&str, &str), current: Value, patch: Value) -> Value {
    let registry = Registry::builtin();
    let resource = registry.find_kind(kind.0, kind.1).unwrap().clone();
    strategic(resource.schema.node(), &current, &patch).unwrap()
}

const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");
const POD: (&str, &str) = ("v1", "Pod");
const SERVICE: (&str, &str) = ("v1", "Service");

#[test]
fn containers_merge_by_name_and_unknown_ones_are_added() {
    let current = json!({"spec": {"containers": [{"name": "a", "image": "x:1", "env": [{"name": "K", "value": "1"}]}]}});
    let patch = json!({"spec": {"containers": [{"name": "a", "image": "x:2", "env": [{"name": "L", "value": "2"}]}, {"name": "b", "image": "y"}]}});
    let expected = json!({"spec": {"containers": [
        {"name": "a", "image": "x:2", "env": [{"name": "K", "value": "1"}, {"name": "L", "value": "2"}]},
        {"name": "b", "image": "y"}]}});
    assert_eq!(apply(POD, current, patch), expected);
}

#[test]
fn patch_delete_removes_a_list_item_and_null_a_field() {
    let current = json!({"spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}]}});
    let patch = json!({"spec": {"nodeName": null, "containers": [{"name": "a", "$patch": "delete"}]}});
    assert_eq!(apply(POD, current, patch), json!({"spec": {"containers": [{"name": "b"}]}}));
}

#[test]
fn patch_replace_replaces_lists_and_maps() {
    let current = json!({"spec": {"containers": [{"name": "a"}], "nodeSelector": {"x": "1"}}});
    let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}], "nodeSelector": {"$patch": "replace", "y": "2"}}});
    assert_eq!(
        apply(POD, current, patch),
        json!({"spec": {"containers": [{"name": "c"}], "nodeSelector": {"y": "2"}}})
    );
}

#[test]
fn retain_keys_drops_the_other_strategy_parameters() {
    let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(apply(DEPLOYMENT, current, patch), json!({"spec": {"strategy": {"type": "Recreate"}}}));
}

#[test]
fn element_order_is_followed_and_items_only_the_server_has_stay() {
    let current = json!({"spec": {"containers": [{"name": "a"}, {"name": "side"}, {"name": "b"}]}});
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "a", "image": "i"}]}});
    let out = apply(POD, current, patch);
    let names: Vec<&str> =
        crate::object::list(&out, "/spec/containers").iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["side", "b", "a"]);
}

#[test]
fn primitive_lists_merge_as_sets_and_delete_by_value() {
    let current = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patch = json!({"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(apply(POD, current, patch), json!({"metadata": {"finalizers": ["b", "c"]}}));
}

#[test]
fn lists_without_a_merge_key_are_replaced() {
    let current =
        json!({"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1", "2"]}]}});
    let patch =
        json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}});
    let expected =
        json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}});
    assert_eq!(apply(POD, current, patch), expected);
}

#[test]
fn service_ports_merge_by_port() {
    let current = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 1}]}});
    let patch = json!({"spec": {"ports": [{"port": 80, "nodePort": 30007}]}});
    let expected =
        json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 1, "nodePort": 30007}]}});
    assert_eq!(apply(SERVICE, current, patch), expected);
}

#[test]
fn a_list_item_without_its_merge_key_is_an_error() {
    let registry = Registry::builtin();
    let resource = registry.find_kind("v1", "Pod").unwrap();
    let error = strategic(
        resource.schema.node(),
        &json!({"spec": {"containers": [{"name": "a"}]}}),
        &json!({"spec": {"containers": [{"image": "x"}]}}),
    );
    assert!(error.unwrap_err().message.contains("does not contain declared merge key: name"));
}
