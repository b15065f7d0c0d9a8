use super::*;

#[test]
fn there_is_one_for_each_kind() {
    let names: Vec<String> =
        all().iter().map(|crd| crd["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(names.len(), 15);
    assert!(names.contains(&"virtualservices.networking.istio.io".to_owned()));
    assert!(names.contains(&"telemetries.telemetry.istio.io".to_owned()));
    for crd in all() {
        let versions = crd["spec"]["versions"].as_array().expect("a list").clone();
        let stored = versions.iter().filter(|version| version["storage"] == true).count();
        assert_eq!(stored, 1, "{}", crd["metadata"]["name"]);
    }
}

#[test]
fn schemas_are_structural() {
    for crd in all() {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_structural(schema, crd["metadata"]["name"].as_str().expect("a name"));
    }
}

/// Kubernetes' rules that matter here: a type at every node, no `$ref`, nothing but value checks inside `oneOf`.
fn assert_structural(schema: &Value, path: &str) {
    let free = schema.get("x-kubernetes-preserve-unknown-fields").is_some()
        || schema.get("x-kubernetes-int-or-string").is_some();
    assert!(schema.get("type").is_some() || free, "{path}: no type");
    for banned in ["$ref", "definitions", "patternProperties", "default", "const", "nullable", "x-oneof"] {
        assert!(schema.get(banned).is_none(), "{path}: {banned}");
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        assert_structural(property, &format!("{path}.{name}"));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            assert_structural(inner, &format!("{path}.{key}"));
        }
    }
}

/// Golden: the whole CRD of the smallest kind that has a map, an enumeration and a selector.
#[test]
fn golden_peer_authentication() {
    let crd = of(Kind::PeerAuthentication).expect("a CRD");
    let text = serde_json::to_string_pretty(&crd).expect("JSON");
    let golden = include_str!("golden/peerauthentication.json");
    similar_asserts::assert_eq!(text.trim(), golden.trim());
}
