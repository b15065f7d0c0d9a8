use super::*;
use serde_json::json;

fn labelled(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

#[test]
fn label_selectors_match_as_kubernetes_does() {
    let web = labelled(json!({"app": "web", "tier": "front", "n": "5"}));
    for (selector, matches) in [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app!=web", false),
        ("app in (api, web)", true),
        ("app notin (api, web)", false),
        ("missing notin (a)", true),
        ("app", true),
        ("!app", false),
        ("!missing", true),
        ("n>4,n<6", true),
        ("n>5", false),
        ("app=web,tier=back", false),
        ("app in (web),tier in (front,back)", true),
    ] {
        assert_eq!(LabelSelector::parse(selector).unwrap().matches(&web), matches, "{selector}");
    }
}

#[test]
fn a_broken_label_selector_is_refused() {
    for selector in ["app in web", "a b", "=x", "app in (a"] {
        assert!(LabelSelector::parse(selector).is_err(), "{selector}");
    }
}

#[test]
fn the_object_form_and_the_query_form_agree() {
    let object = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "DoesNotExist"}]});
    let selector = LabelSelector::from_object(Some(&object));
    assert_eq!(selector.to_query(), "app=web,tier in (a,b),!x");
    assert_eq!(LabelSelector::parse(&selector.to_query()).unwrap(), selector);
}

#[test]
fn field_selectors_compare_and_refuse_unknown_fields() {
    let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
    let supported = |f: &str| supported_field("", "pods", f);
    let parse = |s: &str| FieldSelector::parse(s, &supported);
    assert!(parse("metadata.name=a,status.phase!=Failed").unwrap().matches(&pod));
    assert!(!parse("status.phase=Pending").unwrap().matches(&pod));
    assert!(parse("spec.nodeName=").unwrap().matches(&pod));
    assert_eq!(parse("spec.foo=1").unwrap_err().message, "field label not supported: spec.foo");
}
