//! What travels: named, versioned, encoded messages, and what a peer asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use meltemi_proto::any::message_name;
use meltemi_proto::envoy::service::discovery::v3::Resource as WireResource;
use meltemi_proto::google::protobuf::Any;
use meltemi_proto::type_url;
use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};

/// One resource, encoded once and shared by all streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Name by which it is subscribed to.
    pub name: Arc<str>,
    /// Changes when the content changes, and only then.
    pub version: Arc<str>,
    /// The encoded message (what stands inside the `Any`).
    pub body: Bytes,
    /// Type URL of the message.
    pub type_url: &'static str,
}

impl Resource {
    /// The resource as an `Any`.
    pub fn to_any(&self) -> Any {
        Any { type_url: self.type_url.to_owned(), value: self.body.to_vec() }
    }
}

/// All resources of one type that one proxy may see, by name.
pub type ResourceSet = Arc<BTreeMap<Arc<str>, Resource>>;

/// What a client asked for of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Everything the server has for it.
    Wildcard,
    /// These names.
    Names(BTreeSet<Arc<str>>),
}

impl Subscription {
    /// A subscription to these names.
    pub fn names<I: IntoIterator<Item = S>, S: Into<Arc<str>>>(names: I) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }

    /// Is `name` asked for?
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Wildcard => true,
            Self::Names(names) => names.contains(name),
        }
    }

    /// The names, when this is not a wildcard.
    pub fn as_names(&self) -> Option<&BTreeSet<Arc<str>>> {
        match self {
            Self::Wildcard => None,
            Self::Names(names) => Some(names),
        }
    }
}

/// For these types a first request without names means "everything" (the protocol's legacy wildcard).
pub fn empty_means_all(type_url: &str) -> bool {
    !matches!(
        type_url,
        type_url::ENDPOINT
            | type_url::ROUTE
            | type_url::SECRET
            | type_url::EXTENSION_CONFIG
            | type_url::VIRTUAL_HOST
    )
}

/// For these types a state-of-the-world response holds all there is, so absence means removal.
pub fn is_full_state(type_url: &str) -> bool {
    matches!(type_url, type_url::CLUSTER | type_url::LISTENER)
}

/// Place of a type in the order of pushes; unknown types come last.
pub(crate) fn push_rank(type_url: &str) -> usize {
    type_url::PUSH_ORDER.iter().position(|known| *known == type_url).unwrap_or(usize::MAX)
}

/// A resource as it came in a state-of-the-world response, with its name and a version; `None` when it cannot be read.
pub fn unwrapped(any: &Any) -> Option<WireResource> {
    if message_name(&any.type_url) == "envoy.service.discovery.v3.Resource" {
        return WireResource::decode(any.value.as_slice()).ok();
    }
    let (name, version) = (name_in(&any.value)?.to_string(), content_version(&any.value).to_string());
    Some(WireResource { name, version, resource: Some(any.clone()), ..Default::default() })
}

/// A version made from content, for state-of-the-world responses, which carry none for each resource.
pub(crate) fn content_version(body: &[u8]) -> Arc<str> {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("{:016x}", hasher.finish()).into()
}

/// The name inside an encoded resource: every resource type of xDS has it as its field 1.
pub(crate) fn name_in(body: &[u8]) -> Option<Arc<str>> {
    let mut rest = body;
    while rest.has_remaining() {
        let (tag, wire) = decode_key(&mut rest).ok()?;
        if tag != 1 {
            skip_field(wire, tag, &mut rest, DecodeContext::default()).ok()?;
            continue;
        }
        if wire != WireType::LengthDelimited {
            return None;
        }
        let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
        return std::str::from_utf8(rest.get(..length)?).ok().map(Arc::from);
    }
    None
}

#[cfg(test)]
mod tests {
    use meltemi_proto::envoy::config::cluster::v3::Cluster;
    use meltemi_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;

    use super::*;

    #[test]
    fn names_are_read_without_decoding_the_message() {
        let cluster = Cluster { name: "c".into(), alt_stat_name: "other".into(), ..Default::default() };
        assert_eq!(name_in(&cluster.encode_to_vec()).as_deref(), Some("c"));
        let load = ClusterLoadAssignment { cluster_name: "e".into(), ..Default::default() };
        assert_eq!(name_in(&load.encode_to_vec()).as_deref(), Some("e"));
        assert_eq!(name_in(&[]), None);
        assert_eq!(name_in(&[0x0a, 0xff]), None);
    }
}
