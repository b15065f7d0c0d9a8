use super::*;
use crate::istio::virtual_service::StringMatch;

fn virtual_service(spec: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": "default"}, "spec": spec,
    })
}

fn errors(value: Value) -> Vec<String> {
    parse(&value).expect_err("must not parse").iter().map(ToString::to_string).collect()
}

#[test]
fn reads_a_virtual_service() {
    let value = virtual_service(json!({
        "hosts": ["reviews"],
        "http": [{
            "match": [{"headers": {"end-user": {"exact": "jason"}, "x-there": {}}, "uri": {"prefix": "/api"}}],
            "route": [{"destination": {"host": "reviews", "subset": "v2", "port": {"number": 9080}}, "weight": 100}],
            "timeout": "1.5s", "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 50}}},
            "mirror_percent": 5,
        }],
    }));
    let AnyObject::VirtualService(object) = parse(&value).expect("valid") else { panic!("a VirtualService") };
    let route = &object.spec.http[0];
    assert_eq!(route.timeout, Some(crate::Duration::from_millis(1500)));
    assert_eq!(route.matches[0].uri, Some(StringMatch::Prefix("/api".to_owned())));
    assert_eq!(route.matches[0].headers["x-there"], StringMatch::Any);
    assert_eq!(route.route[0].destination.port.as_ref().map(|port| port.number), Some(9080));
    assert_eq!(route.mirror_percent, Some(5));
    assert_eq!(object.meta.name, "reviews");
}

#[test]
fn names_every_unknown_field_with_its_path() {
    let found = errors(virtual_service(json!({
        "hosts": ["a"], "htp": [],
        "http": [{"match": [{}, {"urii": {"exact": "/"}}], "route": [{"destination": {"hostname": "a"}}]}],
    })));
    assert!(
        found.contains(&"spec.http[0].match[1].urii: unknown field; did you mean \"uri\"?".to_owned()),
        "{found:?}"
    );
    assert!(found.iter().any(|error| error.starts_with("spec.htp: unknown field")), "{found:?}");
    assert!(
        found.iter().any(|error| error.starts_with("spec.http[0].route[0].destination.hostname")),
        "{found:?}"
    );
}

#[test]
fn names_every_wrong_value() {
    let found = errors(virtual_service(json!({
        "hosts": "a",
        "http": [{
            "timeout": "10", "retries": {"attempts": "three", "perTryTimeout": 2},
            "match": [{"uri": {"exact": "/a", "prefix": "/b"}, "port": -1, "ignoreUriCase": "yes"}, null],
            "redirect": {"derivePort": "FROM_REQEST_PORT"},
        }],
    })));
    for (path, part) in [
        ("spec.hosts", "expected a list"),
        ("spec.http[0].timeout", "is not a duration"),
        ("spec.http[0].retries.attempts", "expected a whole number"),
        ("spec.http[0].retries.perTryTimeout", "expected a duration"),
        ("spec.http[0].match[0].uri", "`exact` and `prefix` exclude each other"),
        ("spec.http[0].match[0].port", "out of range"),
        ("spec.http[0].match[0].ignoreUriCase", "expected true or false"),
        ("spec.http[0].match[1]", "the list element is empty"),
        ("spec.http[0].redirect.derivePort", "did you mean FROM_REQUEST_PORT?"),
    ] {
        assert!(
            found.iter().any(|e| e.starts_with(&format!("{path}: ")) && e.contains(part)),
            "{path}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn what_is_stored_may_hold_fields_of_another_version() {
    let value = virtual_service(json!({"hosts": ["a"], "shiny": {"new": true}}));
    let (object, warnings) = parse_lenient(&value).expect("valid");
    assert_eq!(object.kind(), Kind::VirtualService);
    assert_eq!(warnings.len(), 1);
    assert!(parse(&value).is_err());
    assert!(parse_lenient(&virtual_service(json!({"hosts": 3, "shiny": 1}))).is_err());
}

#[test]
fn kinds_and_versions_are_checked() {
    let found = errors(json!({"apiVersion": "networking.istio.io/v2", "kind": "VirtualService"}));
    assert!(found[0].contains("write networking.istio.io/v1 or"), "{found:?}");
    let found = errors(json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualServce"}));
    assert!(found[0].contains("did you mean VirtualService?"), "{found:?}");
    assert_eq!(errors(json!({})).len(), 2);
    assert_eq!(errors(json!([])).len(), 1);
    assert_eq!(
        errors(json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {}})).len(),
        1
    );
}

#[test]
fn kubernetes_kinds_are_checked_too() {
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec});
    assert!(
        parse(&service(json!({"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "a"}})))
            .is_ok()
    );
    assert_eq!(
        errors(service(json!({"ports": [{"port": 80, "prt": 1}]}))),
        ["spec.ports[0].prt: unknown field"]
    );
    assert_eq!(errors(service(json!({"ports": 1}))).len(), 1);
    for kind in ["v1 Service", "networking.istio.io/v1 Gateway"] {
        let (api, kind) = kind.split_once(' ').expect("two words");
        let value =
            json!({"apiVersion": api, "kind": kind, "metadata": {"name": "a", "labels": {"x": true}}});
        assert_eq!(errors(value), ["metadata.labels.x: expected a text, found true; put it in quotes"]);
    }
}

#[test]
fn deprecated_fields_are_told() {
    let parsed =
        read(&virtual_service(json!({"hosts": ["a"], "http": [{"corsPolicy": {"allowOrigin": ["*"]}}]})));
    let deprecated = parsed.expect("valid").deprecated;
    assert_eq!(
        deprecated[0].to_string(),
        "spec.http[0].corsPolicy.allowOrigin: this field is deprecated; use `allowOrigins`"
    );
}

#[test]
fn every_object_is_written_as_it_is_read() {
    let value = virtual_service(
        json!({"hosts": ["a"], "http": [{"match": [{"uri": {"exact": "/"}}], "timeout": "2s"}]}),
    );
    assert_eq!(parse(&value).expect("valid").to_value(), value);
}
