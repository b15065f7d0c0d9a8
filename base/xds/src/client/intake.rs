//! The resources of a response as they come off the wire, and what is said of those that cannot be used.

use std::sync::Arc;

use bytes::Bytes;
use meltemi_proto::any::message_name;
use meltemi_proto::envoy::service::discovery::v3::Resource as WireResource;
use meltemi_proto::google::protobuf::Any;
use prost::Message;

use crate::resource::{Resource, content_version, name_in};

/// Length limit of a NACK's text, so that a thousand bad resources do not make a header-sized novel.
const MAX_ERROR: usize = 4096;

/// Reads the resources of a response.
pub(super) struct Intake {
    pub(super) type_url: &'static str,
    pub(super) upserts: Vec<Resource>,
    pub(super) all: Vec<Arc<str>>,
    pub(super) broken: Vec<String>,
}

impl Intake {
    pub(super) fn new(type_url: &'static str) -> Self {
        Self { type_url, upserts: Vec::new(), all: Vec::new(), broken: Vec::new() }
    }

    pub(super) fn sotw(&mut self, any: Any) {
        if message_name(&any.type_url) == "envoy.service.discovery.v3.Resource" {
            match WireResource::decode(any.value.as_slice()) {
                Ok(resource) => self.delta(resource),
                Err(error) => self.broken.push(format!("a wrapped resource does not decode: {error}")),
            }
            return;
        }
        let Some(name) = name_in(&any.value) else {
            self.broken.push(format!("a resource of {} without a name", any.type_url));
            return;
        };
        let version = content_version(&any.value);
        self.push(name, version, any);
    }

    pub(super) fn delta(&mut self, resource: WireResource) {
        let name: Arc<str> = resource.name.into();
        let Some(any) = resource.resource else {
            // A heartbeat for a resource with a time to live: nothing changed.
            self.all.push(name);
            return;
        };
        let version =
            if resource.version.is_empty() { content_version(&any.value) } else { resource.version.into() };
        self.push(name, version, any);
    }

    fn push(&mut self, name: Arc<str>, version: Arc<str>, any: Any) {
        self.all.push(name.clone());
        if message_name(&any.type_url) != message_name(self.type_url) {
            self.broken.push(format!("{name}: is a {}, expected {}", any.type_url, self.type_url));
            return;
        }
        self.upserts.push(Resource { name, version, body: Bytes::from(any.value), type_url: self.type_url });
    }
}

/// The text of a NACK; `None` when nothing is wrong.
pub(super) fn error_text(broken: &[String], rejected: &[(Arc<str>, String)]) -> Option<String> {
    let rejected = rejected.iter().map(|(name, reason)| format!("{name}: {reason}"));
    let mut text = broken.iter().cloned().chain(rejected).collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        return (!broken.is_empty()).then(String::new);
    }
    if text.len() > MAX_ERROR {
        let end = (0..=MAX_ERROR).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    Some(text)
}
