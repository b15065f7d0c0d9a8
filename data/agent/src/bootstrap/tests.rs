use meltemi_proto::json::{Style, to_json_as};
use meltemi_proto::node::NodeKind;

use super::*;
use crate::settings::tests::{args, reviews};

/// The bootstrap of a pod of Bookinfo, against its golden file.
fn golden(name: &str, role: NodeKind) {
    let settings = Settings::new(&args(role), &reviews()).unwrap();
    let extension = Extension { name: "envoy.filters.http.router".into(), ..Default::default() };
    let json = to_json_as(&bootstrap(&settings, vec![extension]), Style { proto_names: true }).unwrap();
    let text = serde_json::to_string_pretty(&json).unwrap() + "\n";
    crate::golden::check(name, &text.replace(version::MELTEMI, "VERSION"));
}

#[test]
fn sidecar() {
    golden("bootstrap-sidecar.json", NodeKind::Sidecar);
}

#[test]
fn router() {
    golden("bootstrap-router.json", NodeKind::Router);
}
