use serde_json::json;

use super::*;
use crate::any::pack;
use crate::envoy::config::cluster::v3::Cluster;
use crate::envoy::config::core::v3::TypedExtensionConfig;
use crate::google::protobuf::Duration;
use crate::istio::stats::PluginConfig;

fn cluster() -> Cluster {
    Cluster {
        name: "outbound|80||a.b".into(),
        connect_timeout: Some(Duration { seconds: 1, nanos: 500_000_000 }),
        ..Default::default()
    }
}

#[test]
fn both_field_styles() {
    let camel = to_json(&cluster()).unwrap();
    assert_eq!(camel, json!({"name": "outbound|80||a.b", "connectTimeout": "1.500s"}));
    let snake = to_json_as(&cluster(), Style { proto_names: true }).unwrap();
    assert_eq!(snake["connect_timeout"], "1.500s");
    for json in [camel, snake] {
        assert_eq!(from_json::<Cluster>(&json).unwrap(), cluster());
    }
}

#[test]
fn any_of_a_known_type_is_opened() {
    let own = PluginConfig { disable_host_header_fallback: true, ..Default::default() };
    let json = any_to_json(&pack(&own)).unwrap();
    assert_eq!(
        json,
        json!({"@type": "type.googleapis.com/stats.PluginConfig", "disableHostHeaderFallback": true})
    );
}

#[test]
fn any_of_an_unknown_type_keeps_its_bytes() {
    let foreign = Any { type_url: "type.googleapis.com/no.such.Type".into(), value: vec![1, 2, 3] };
    let config = TypedExtensionConfig { name: "x".into(), typed_config: Some(foreign) };
    let json = to_json_as(&config, Style { proto_names: true }).unwrap();
    let expected = json!({"@type": "type.googleapis.com/no.such.Type", "value": "AQID"});
    assert_eq!(json, json!({"name": "x", "typed_config": expected}));
}

#[test]
fn prints_what_the_library_prints() {
    let mut cluster = cluster();
    cluster.circuit_breakers = Some(Default::default());
    cluster.lb_policy = 1;
    cluster.metadata = Some(crate::envoy::config::core::v3::Metadata {
        filter_metadata: [(
            "istio".to_owned(),
            crate::structs::from_map(json!({"a": [true, "b"]}).as_object().unwrap()),
        )]
        .into(),
        ..Default::default()
    });
    cluster.typed_extension_protocol_options =
        [("x".to_owned(), pack(&Duration { seconds: 3, nanos: 0 }))].into();
    let message = decode("envoy.config.cluster.v3.Cluster", &cluster.encode_to_vec()).unwrap();
    let theirs = message
        .serialize_with_options(serde_json::value::Serializer, &prost_reflect::SerializeOptions::new())
        .unwrap();
    assert_eq!(to_json(&cluster).unwrap(), theirs);
}

#[test]
fn unknown_field_is_named() {
    let error = from_json::<Cluster>(&json!({"nmae": "x"})).unwrap_err().to_string();
    assert!(error.contains("nmae") && error.contains("Cluster"), "{error}");
}

#[test]
fn descriptors_belong_to_the_locked_envoy_types() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let (_, package) = lock.split_once("name = \"envoy-types\"\nversion = \"").unwrap();
    let (version, _) = package.split_once('"').unwrap();
    let recorded = include_str!("../../descriptors.version").trim();
    assert_eq!(
        version, recorded,
        "envoy-types changed: run `cargo run -p meltemi-proto --example descriptors`"
    );
}

#[test]
fn a_forgotten_pool_is_loaded_again() {
    let held = super::pool().unwrap();
    super::forget();
    assert!(held.get_message_by_name("envoy.config.bootstrap.v3.Bootstrap").is_some());
    assert!(super::knows("type.googleapis.com/envoy.config.cluster.v3.Cluster"));
}
