//! Resources as they go on the wire: encoded once, with a version that tells whether they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::type_url;
use prost::{Message, Name};

use crate::canonical;

/// Which resources are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Names<'a> {
    /// All that the proxy may see.
    All,
    /// Those asked for. One that does not exist comes back empty (endpoints, routes) or not at all (others).
    Only(&'a BTreeSet<String>),
}

impl Names<'_> {
    fn wants(&self, name: &str) -> bool {
        match self {
            Names::All => true,
            Names::Only(names) => names.contains(name),
        }
    }
}

/// One resource, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: Arc<str>,
    /// A hash of its content: equal contents have equal versions.
    pub version: Arc<str>,
    /// The message, encoded canonically.
    pub body: Bytes,
    /// What the message is.
    pub type_url: &'static str,
}

/// Resources by name.
pub type Resources = BTreeMap<Arc<str>, Resource>;

/// The resources of one type for a proxy. A type that this control plane does not serve has none.
pub fn resources(type_url: &str, snapshot: &Snapshot, view: &ProxyView, names: &Names<'_>) -> Resources {
    if crate::proxyless::is(view) {
        return crate::proxyless::resources(type_url, snapshot, view, names);
    }
    match type_url {
        type_url::CLUSTER => encode(type_url::CLUSTER, crate::clusters(snapshot, view), names, |c| &c.name),
        type_url::ENDPOINT => {
            encode(type_url::ENDPOINT, crate::endpoints(snapshot, view, names), names, |c| &c.cluster_name)
        }
        type_url::LISTENER => {
            encode(type_url::LISTENER, crate::listeners(snapshot, view), names, |l| &l.name)
        }
        type_url::ROUTE => encode(type_url::ROUTE, crate::routes(snapshot, view, names), names, |r| &r.name),
        type_url::SECRET => {
            encode(type_url::SECRET, crate::secrets(snapshot, view, names), names, |s| &s.name)
        }
        type_url::NAME_TABLE => {
            encode(type_url::NAME_TABLE, vec![crate::name_table(snapshot, view)], names, |_| "name-table")
        }
        _ => Resources::new(),
    }
}

pub(crate) fn encode<M: Message + Name>(
    type_url: &'static str,
    messages: Vec<M>,
    names: &Names<'_>,
    name: impl Fn(&M) -> &str,
) -> Resources {
    let mut resources = Resources::new();
    for message in messages.iter().filter(|m| names.wants(name(m))) {
        let resource = one(type_url, name(message), message);
        resources.entry(resource.name.clone()).or_insert(resource);
    }
    resources
}

/// Encodes one message.
pub fn one<M: Message + Name>(type_url: &'static str, name: &str, message: &M) -> Resource {
    let body = canonical::bytes(message);
    let version = format!("{:016x}", xxhash_rust::xxh64::xxh64(&body, 0));
    Resource { name: name.into(), version: version.into(), body: body.into(), type_url }
}
