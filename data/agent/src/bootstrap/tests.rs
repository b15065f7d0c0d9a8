use meltemi_proto::json::{Style, to_json_as};
use meltemi_proto::node::NodeKind;

use super::*;
use crate::settings::tests::{args, reviews};

/// Compares with a file under `tests/golden`; `MELTEMI_BLESS=1` writes it.
fn golden(name: &str, role: NodeKind) {
    let settings = Settings::new(&args(role), &reviews()).unwrap();
    let extension = Extension { name: "envoy.filters.http.router".into(), ..Default::default() };
    let json = to_json_as(&bootstrap(&settings, vec![extension]), Style { proto_names: true }).unwrap();
    let text = serde_json::to_string_pretty(&json).unwrap() + "\n";
    let text = text.replace(version::MELTEMI, "VERSION");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("MELTEMI_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; if that is meant, run with MELTEMI_BLESS=1 and review");
}

#[test]
fn sidecar() {
    golden("bootstrap-sidecar.json", NodeKind::Sidecar);
}

#[test]
fn router() {
    golden("bootstrap-router.json", NodeKind::Router);
}
