//! Golden tests: every folder below `golden/` holds objects, the proxies that look at them, and what they must get.
//!
//! After a wanted change: `UPDATE_GOLDEN=1 cargo test -p meltemi-translate --test golden`, then read the difference.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod mesh;

use std::collections::BTreeMap;
use std::path::Path;

use meltemi_mesh::{ProxyKind, ProxyView};
use meltemi_proto::{any, json, type_url};
use meltemi_translate::{Names, resources};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One proxy and the part of its resources that the case is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proxy {
    kind: String,
    pod: String,
    namespace: String,
    #[serde(default)]
    istio_extensions: bool,
    /// Type → what the names of the resources shown contain; empty shows all.
    show: BTreeMap<String, Vec<String>>,
}

const TYPES: [(&str, &str); 5] = [
    ("clusters", type_url::CLUSTER),
    ("endpoints", type_url::ENDPOINT),
    ("listeners", type_url::LISTENER),
    ("routes", type_url::ROUTE),
    ("secrets", type_url::SECRET),
];

#[test]
fn every_case_gives_what_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(!cases.is_empty());
    let different: Vec<String> = cases.iter().filter_map(|case| run(&root, case).err()).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn run(root: &Path, case: &Path) -> Result<(), String> {
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut input = read(&case.join("input.yaml"));
    if input.starts_with("# with bookinfo") {
        input = format!("{}\n---\n{input}", read(&root.join("bookinfo.yaml")));
    }
    let proxies: BTreeMap<String, Proxy> = yaml_serde::from_str(&read(&case.join("proxies.yaml"))).unwrap();
    let snapshot = mesh::world(&input).snapshot();
    let mut all = Ok(());
    for (name, proxy) in &proxies {
        let kind = if proxy.kind == "router" { ProxyKind::Router } else { ProxyKind::Sidecar };
        let mut identity = mesh::identity(&snapshot, kind, &proxy.namespace, &proxy.pod);
        if proxy.istio_extensions {
            identity.extensions = mesh::ISTIO_EXTENSIONS.map(str::to_owned).into();
        }
        let view = ProxyView::of(&snapshot, &identity);
        let actual = yaml_serde::to_string(&shown(&snapshot, &view, proxy)).unwrap();
        let path = case.join(format!("{name}.expected.yaml"));
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
