//! Golden tests: every folder below `golden/` holds objects, the proxies that look at them, and what they must get.
//!
//! After a wanted change: `UPDATE_GOLDEN=1 cargo test -p meltemi-translate --test golden`, then read the difference.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod mesh;

use meltemi_mesh::{ProxyKind, ProxyView};
use meltemi_proto::{any, json, type_url};
use meltemi_translate::{Names, resources};
use mesh::cases::{self, Case, Proxy};
use serde_json::{Map, Value};

const TYPES: [(&str, &str); 6] = [
    ("clusters", type_url::CLUSTER),
    ("endpoints", type_url::ENDPOINT),
    ("listeners", type_url::LISTENER),
    ("routes", type_url::ROUTE),
    ("secrets", type_url::SECRET),
    ("names", type_url::NAME_TABLE),
];

#[test]
fn every_case_gives_what_is_written() {
    let different: Vec<String> = cases::all().iter().filter_map(|case| run(case).err()).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn run(case: &Case) -> Result<(), String> {
    let snapshot = mesh::world(&case.input).snapshot();
    let mut all = Ok(());
    for (name, proxy) in &case.proxies {
        let mut identity = proxy.identity(&snapshot);
        if proxy.istio_extensions {
            identity.extensions = mesh::ISTIO_EXTENSIONS.map(str::to_owned).into();
        }
        let view = ProxyView::of(&snapshot, &identity);
        let actual = yaml_serde::to_string(&shown(&snapshot, &view, proxy)).unwrap();
        let path = case.folder.join(format!("{name}.expected.yaml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            let diff =
                similar_asserts::SimpleDiff::from_str(&expected, &actual, "expected", "actual").to_string();
            all = Err(format!("{}\n{diff}", path.display()));
        }
    }
    all
}

fn shown(snapshot: &meltemi_mesh::Snapshot, view: &ProxyView, proxy: &Proxy) -> Value {
    let mut types = Map::new();
    for (short, type_url) in TYPES {
        let Some(wanted) = proxy.show.get(short) else { continue };
        let list = resources(type_url, snapshot, view, &Names::All).into_values();
        let list =
            list.filter(|r| wanted.is_empty() || wanted.iter().any(|part| r.name.contains(part.as_str())));
        let style = json::Style { proto_names: true };
        let list =
            list.map(|r| sorted(json::bytes_to_json(any::message_name(type_url), &r.body, style).unwrap()));
        types.insert(short.to_owned(), Value::Array(list.collect()));
    }
    Value::Object(types)
}

#[test]
fn a_transparent_proxy_calls_its_workload_in_the_clients_name() {
    let case = cases::all().into_iter().find(|case| case.folder.ends_with("bookinfo")).unwrap();
    let snapshot = mesh::world(&case.input).snapshot();
    let inbound = |mode: &str| {
        let proxy = case.proxies.values().find(|proxy| proxy.identity(&snapshot).kind == ProxyKind::Sidecar);
        let mut identity = proxy.unwrap().identity(&snapshot);
        identity.metadata.interception_mode = mode.to_owned();
        let all = meltemi_translate::listeners(&snapshot, &ProxyView::of(&snapshot, &identity));
        let listener = all.into_iter().find(|listener| listener.name == "virtualInbound").unwrap();
        let filters: Vec<String> = listener.listener_filters.iter().map(|f| f.name.clone()).collect();
        (listener.transparent.is_some_and(|v| v.value), filters.join(" ").contains("original_src"))
    };
    assert_eq!(inbound("REDIRECT"), (false, false));
    assert_eq!(inbound("TPROXY"), (true, true));
}

#[test]
fn http10_is_accepted_where_it_is_asked_for() {
    let case = cases::all().into_iter().find(|case| case.folder.ends_with("bookinfo")).unwrap();
    let snapshot = mesh::world(&case.input).snapshot();
    let proxy = case.proxies.values().find(|proxy| proxy.identity(&snapshot).kind == ProxyKind::Sidecar);
    let mut identity = proxy.unwrap().identity(&snapshot);
    let accepting = |identity: &meltemi_mesh::ProxyIdentity| {
        let view = ProxyView::of(&snapshot, identity);
        text(&snapshot, &view, type_url::LISTENER).matches(r#""accept_http_10":true"#).count()
    };
    assert_eq!(accepting(&identity), 0);
    identity.metadata.extra.insert("HTTP10".to_owned(), "1".into());
    assert!(accepting(&identity) > 2, "inbound and outbound");
}

/// All resources of a type, as JSON.
fn text(snapshot: &meltemi_mesh::Snapshot, view: &ProxyView, type_url: &str) -> String {
    let style = json::Style { proto_names: true };
    let json = |body: &[u8]| json::bytes_to_json(any::message_name(type_url), body, style).unwrap();
    let all = resources(type_url, snapshot, view, &Names::All).into_values();
    all.map(|resource| json(&resource.body).to_string()).collect()
}

#[test]
fn files_of_revoked_certificates_are_named() {
    let case = cases::all().into_iter().find(|case| case.folder.ends_with("gateway-mesh")).unwrap();
    let crl = "caCrl: /etc/certs/crl.pem,";
    let input = case.input.replace("mode: MUTUAL,", &format!("mode: MUTUAL, {crl}"));
    let input = input.replace("mode: SIMPLE, subject", &format!("mode: SIMPLE, {crl} subject"));
    let input = input.replace("mode: ISTIO_MUTUAL}", &format!("mode: ISTIO_MUTUAL, {crl}}}"));
    let snapshot = mesh::world(&input).snapshot();
    let proxy = case.proxies.values().find(|proxy| proxy.identity(&snapshot).kind == ProxyKind::Router);
    let view = ProxyView::of(&snapshot, &proxy.unwrap().identity(&snapshot));
    let named = |type_url| {
        text(&snapshot, &view, type_url).matches(r#""crl":{"filename":"/etc/certs/crl.pem"}"#).count()
    };
    assert_eq!(named(type_url::LISTENER), 1);
    assert_eq!(named(type_url::CLUSTER), 9, "the services of the mesh, and one outside");
}

/// Keys in order: `name` and `@type` first, the others by the alphabet.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by_key(|(key, _)| (key != "@type", key != "name", key.clone()));
            Value::Object(entries.into_iter().collect())
        }
        other => other,
    }
}
