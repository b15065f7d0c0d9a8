//! What one workload tells another of itself: in two request and response headers, or in an endpoint's metadata.

use std::cell::RefCell;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hashbrown::HashMap;
use http::{HeaderMap, HeaderName, HeaderValue};
use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::google::protobuf::{Struct, Value, value::Kind};
use meltemi_proto::structs;
use prost::Message;

/// Base64 of a `google.protobuf.Struct` with the workload's metadata.
pub const METADATA_HEADER: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
/// The sender's node id.
pub const ID_HEADER: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");

/// The most encoded metadata that is looked at.
const LONGEST: usize = 16 << 10;
/// How many peers a worker remembers. A mesh neighbour's metadata hardly ever changes.
const REMEMBERED: usize = 512;

/// A workload, as Istio's metric labels name it. Empty fields are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The workload, e.g. `productpage-v1`.
    pub workload: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The cluster id, e.g. `Kubernetes`.
    pub cluster: Arc<str>,
    /// `service.istio.io/canonical-name`.
    pub canonical_name: Arc<str>,
    /// `service.istio.io/canonical-revision`.
    pub canonical_revision: Arc<str>,
    /// The `app` label.
    pub app: Arc<str>,
    /// The `version` label.
    pub version: Arc<str>,
}

/// Peers by the header's bytes; bytes that do not decode are remembered too.
type Known = HashMap<Box<[u8]>, Option<Arc<Peer>>, foldhash::fast::RandomState>;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

impl Peer {
    /// Reads node metadata under Istio's keys.
    pub fn of(metadata: &Struct) -> Self {
        let field = |key: &str| structs::string(metadata, key).unwrap_or_default();
        let labels = match metadata.fields.get("LABELS").and_then(|value| value.kind.as_ref()) {
            Some(Kind::StructValue(labels)) => Some(labels),
            _ => None,
        };
        let label = |names: &[&str]| {
            let found = names.iter().filter_map(|name| structs::string(labels?, name));
            found.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
        };
        let workload = field("WORKLOAD_NAME");
        let name = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
        let revision =
            label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
        Peer {
            workload: workload.into(),
            namespace: field("NAMESPACE").into(),
            cluster: field("CLUSTER_ID").into(),
            canonical_name: if name.is_empty() { workload } else { name }.into(),
            canonical_revision: if revision.is_empty() { "latest" } else { revision }.into(),
            app: label(&["app"]).into(),
            version: label(&["version"]).into(),
        }
    }

    /// Reads `workload;namespace;canonical name;canonical revision;cluster`, which is what the control plane writes into
    /// `filter_metadata.istio.workload` of an endpoint.
    pub fn of_endpoint(text: &str) -> Self {
        let mut parts = text.split(';').map(Arc::<str>::from);
        let mut next = || parts.next().unwrap_or_default();
        Peer {
            workload: next(),
            namespace: next(),
            canonical_name: next(),
            canonical_revision: next(),
            cluster: next(),
            ..Peer::default()
        }
    }

    /// The peer that sent these headers. The same bytes are decoded once a worker.
    pub fn of_headers(headers: &HeaderMap) -> Option<Arc<Peer>> {
        let value = headers.get(&METADATA_HEADER)?.as_bytes();
        if value.len() > LONGEST {
            return None;
        }
        KNOWN.with_borrow_mut(|known| {
            if let Some(peer) = known.get(value) {
                return peer.clone();
            }
            if known.len() >= REMEMBERED {
                known.clear();
            }
            let peer = decode(value).map(Arc::new);
            known.insert(value.into(), peer.clone());
            peer
        })
    }
}

fn decode(value: &[u8]) -> Option<Peer> {
    let bytes = BASE64.decode(value).ok()?;
    Some(Peer::of(&Struct::decode(bytes.as_slice()).ok()?))
}

/// The two headers by which this proxy names its own workload, made once.
#[derive(Clone, Debug)]
pub struct OwnHeaders {
    metadata: HeaderValue,
    id: HeaderValue,
}

impl OwnHeaders {
    /// The headers of a proxy; `None` for a node id that no header can hold.
    pub fn of(node: &Node) -> Option<Self> {
        const KEYS: [&str; 6] =
            ["NAME", "NAMESPACE", "CLUSTER_ID", "OWNER", "SERVICE_ACCOUNT", "WORKLOAD_NAME"];
        const LABELS: [&str; 6] = [
            "app",
            "version",
            "service.istio.io/canonical-name",
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/name",
            "app.kubernetes.io/version",
        ];
        let mut sent = Struct::default();
        if let Some(metadata) = &node.metadata {
            sent = pick(metadata, &KEYS);
            if let Some(Kind::StructValue(labels)) =
                metadata.fields.get("LABELS").and_then(|v| v.kind.as_ref())
            {
                let kind = Some(Kind::StructValue(pick(labels, &LABELS)));
                sent.fields.insert("LABELS".to_owned(), Value { kind });
            }
        }
        let metadata = HeaderValue::try_from(BASE64.encode(sent.encode_to_vec())).ok()?;
        Some(OwnHeaders { metadata, id: HeaderValue::try_from(&node.id).ok()? })
    }

    /// Puts the headers into a request to, or a response for, a peer of the mesh.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(METADATA_HEADER, self.metadata.clone());
        headers.insert(ID_HEADER, self.id.clone());
    }
}

/// Takes the headers out, so that applications and outsiders never see them.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(&METADATA_HEADER);
    headers.remove(&ID_HEADER);
}

fn pick(from: &Struct, keys: &[&str]) -> Struct {
    let mut picked = Struct::default();
    for key in keys {
        if let Some(value) = from.fields.get(*key) {
            picked.fields.insert((*key).to_owned(), value.clone());
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(metadata: serde_json::Value) -> Node {
        let metadata = Some(structs::from_map(metadata.as_object().unwrap()));
        Node {
            id: "sidecar~10.0.0.1~p.default~default.svc.cluster.local".to_owned(),
            metadata,
            ..Node::default()
        }
    }

    #[test]
    fn a_workload_arrives_as_it_was_sent() {
        let node = node(json!({
            "NAMESPACE": "default", "WORKLOAD_NAME": "productpage-v1", "CLUSTER_ID": "Kubernetes",
            "LABELS": {"app": "productpage", "version": "v1", "secret": "kept at home"},
            "PROXY_CONFIG": {"large": "and kept at home"},
        }));
        let mut headers = HeaderMap::new();
        OwnHeaders::of(&node).unwrap().apply(&mut headers);
        let peer = Peer::of_headers(&headers).unwrap();
        assert_eq!(&*peer.workload, "productpage-v1");
        assert_eq!(&*peer.canonical_name, "productpage");
        assert_eq!(&*peer.canonical_revision, "v1");
        assert!(Arc::ptr_eq(&peer, &Peer::of_headers(&headers).unwrap()));
        let sent = BASE64.decode(headers.get(&METADATA_HEADER).unwrap().as_bytes()).unwrap();
        assert!(!String::from_utf8_lossy(&sent).contains("kept at home"));
        strip(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn garbage_is_no_peer() {
        for value in ["", "%%%", "AAAA"] {
            let headers = HeaderMap::from_iter([(METADATA_HEADER, HeaderValue::from_static(value))]);
            let peer = Peer::of_headers(&headers);
            assert!(peer.is_none_or(|peer| peer.workload.is_empty()), "{value}");
        }
        let long = HeaderValue::try_from("A".repeat(LONGEST + 4)).unwrap();
        assert!(Peer::of_headers(&HeaderMap::from_iter([(METADATA_HEADER, long)])).is_none());
    }

    #[test]
    fn an_endpoint_names_its_workload() {
        let peer = Peer::of_endpoint("reviews-v2;default;reviews;v2;Kubernetes");
        assert_eq!(
            (&*peer.workload, &*peer.canonical_revision, &*peer.cluster),
            ("reviews-v2", "v2", "Kubernetes")
        );
        assert_eq!(&*Peer::of_endpoint("only").workload, "only");
    }
}
