//! The folders below `golden/`: objects, and the proxies that look at them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meltemi_mesh::{ProxyIdentity, ProxyKind, Snapshot};
use meltemi_proto::node::NodeMetadata;
use serde::Deserialize;

/// One proxy and the part of its resources that the case is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    kind: String,
    pod: String,
    namespace: String,
    #[serde(default)]
    pub istio_extensions: bool,
    /// Node metadata.
    #[serde(default)]
    metadata: NodeMetadata,
    /// Type → what the names of the resources shown contain; empty shows all.
    pub show: BTreeMap<String, Vec<String>>,
}

impl Proxy {
    /// The proxy as one that has none of Istio's own filters.
    pub fn identity(&self, snapshot: &Snapshot) -> ProxyIdentity {
        let kind = if self.kind == "router" { ProxyKind::Router } else { ProxyKind::Sidecar };
        let metadata = self.metadata.clone();
        ProxyIdentity { metadata, ..super::identity(snapshot, kind, &self.namespace, &self.pod) }
    }
}

/// A folder, read.
pub struct Case {
    pub folder: PathBuf,
    pub input: String,
    pub proxies: BTreeMap<String, Proxy>,
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All cases, by name.
pub fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(&root).expect("the cases");
    let mut folders: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(!folders.is_empty());
    let case = |folder: PathBuf| {
        let mut input = read(&folder.join("input.yaml"));
        if input.starts_with("# with bookinfo") {
            input = format!("{}\n---\n{input}", read(&root.join("bookinfo.yaml")));
        }
        let proxies = yaml_serde::from_str(&read(&folder.join("proxies.yaml"))).expect("proxies.yaml");
        Case { folder, input, proxies }
    };
    folders.into_iter().map(case).collect()
}
