//! State of the world: every response of a type holds all that is subscribed of it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use meltemi_proto::type_url;

use super::machine::{Ack, MAX_TYPES, Machine, Nonces, Outcome, Refusal, Sent, names};
use crate::resource::{Resource, ResourceSet, Subscription, empty_means_all};

/// Versions of what was sent, by name.
type Versions = BTreeMap<Arc<str>, Arc<str>>;

#[derive(Debug)]
struct Type {
    subscription: Subscription,
    /// Once names were given, an empty list means "nothing" and no longer "everything".
    explicit: bool,
    /// Version and nonce of the response that waits for its verdict.
    pending: Option<Ack>,
    nonce: String,
    sent: Option<Versions>,
    /// Answer even if nothing changed: the peer waits for it.
    forced: bool,
    /// Something may have changed while a verdict was out.
    dirty: bool,
}

/// One state-of-the-world stream.
#[derive(Debug, Default)]
pub struct SotwStream {
    types: BTreeMap<Arc<str>, Type>,
    nonces: Nonces,
}

impl Machine for SotwStream {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const DELTA: bool = false;

    fn node(request: &mut DiscoveryRequest) -> Option<Node> {
        request.node.take()
    }

    fn request(&mut self, request: DiscoveryRequest) -> Result<Outcome, Refusal> {
        if request.type_url.is_empty() {
            return Err(Refusal::NoType);
        }
        let type_url: Arc<str> = Arc::from(request.type_url.as_str());
        let asked = names(&type_url, request.resource_names)?;
        let Some(state) = self.types.get_mut(&type_url) else {
            // Whatever nonce a first request carries is of an older stream.
            return self.first(type_url, asked);
        };
        if request.response_nonce != state.nonce {
            // An answer to a response that we have replaced since: its names are outdated too.
            return Ok(Outcome { type_url, ..Outcome::default() });
        }
        let ack = state
            .pending
            .take()
            .map(|pending| Ack { error: request.error_detail.map(|status| status.message), ..pending });
        let grown = state.resubscribe(&type_url, asked);
        state.forced |= grown;
        let answer = state.forced || std::mem::take(&mut state.dirty);
        Ok(Outcome { type_url, ack, answer })
    }

    fn ready(&mut self, type_url: &str) -> bool {
        let Some(state) = self.types.get_mut(type_url) else { return false };
        state.dirty |= state.pending.is_some();
        state.pending.is_none()
    }

    fn subscription(&self, type_url: &str) -> Option<&Subscription> {
        self.types.get(type_url).map(|state| &state.subscription)
    }

    fn respond(&mut self, type_url: &str, set: &ResourceSet) -> Option<Sent<DiscoveryResponse>> {
        let state = self.types.get_mut(type_url).filter(|state| state.pending.is_none())?;
        let wanted: Vec<&Resource> =
            set.values().filter(|resource| state.subscription.contains(&resource.name)).collect();
        let versions: Versions = wanted.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
        if !state.forced && state.sent.as_ref() == Some(&versions) {
            return None;
        }
        let ack = Ack { version: digest(&versions), nonce: self.nonces.next(), error: None };
        state.forced = false;
        state.nonce.clone_from(&ack.nonce);
        state.sent = Some(versions);
        let sent = Sent {
            nonce: ack.nonce.clone(),
            resources: wanted.len(),
            bytes: wanted.iter().map(|resource| resource.body.len()).sum(),
            response: DiscoveryResponse {
                version_info: ack.version.clone(),
                nonce: ack.nonce.clone(),
                type_url: type_url.to_owned(),
                resources: wanted.into_iter().map(Resource::to_any).collect(),
                ..Default::default()
            },
        };
        state.pending = Some(ack);
        self.warm_dependents(type_url);
        Some(sent)
    }
}

impl SotwStream {
    fn first(&mut self, type_url: Arc<str>, asked: BTreeSet<Arc<str>>) -> Result<Outcome, Refusal> {
        if self.types.len() >= MAX_TYPES {
            return Err(Refusal::Types);
        }
        let wildcard = asked.contains("*") || (asked.is_empty() && empty_means_all(&type_url));
        let state = Type {
            explicit: !asked.is_empty(),
            subscription: if wildcard { Subscription::Wildcard } else { Subscription::Names(asked) },
            pending: None,
            nonce: String::new(),
            sent: None,
            forced: true,
            dirty: false,
        };
        self.types.insert(type_url.clone(), state);
        Ok(Outcome { type_url, ack: None, answer: true })
    }

    /// A client that was sent a new cluster asks for its endpoints by the same names again and waits for them
    /// (warming); the same holds for the routes of a listener. So the next such request must be answered.
    fn warm_dependents(&mut self, type_url: &str) {
        let dependent = match type_url {
            type_url::CLUSTER => type_url::ENDPOINT,
            type_url::LISTENER => type_url::ROUTE,
            _ => return,
        };
        if let Some(state) = self.types.get_mut(dependent) {
            state.forced = true;
        }
    }
}

impl Type {
    /// Returns whether names were added.
    fn resubscribe(&mut self, type_url: &str, asked: BTreeSet<Arc<str>>) -> bool {
        let stays = asked.is_empty() && !self.explicit && empty_means_all(type_url);
        if stays {
            return false;
        }
        self.explicit = true;
        let new = if asked.contains("*") { Subscription::Wildcard } else { Subscription::Names(asked) };
        let grown = match (&self.subscription, &new) {
            (Subscription::Wildcard, _) => false,
            (_, Subscription::Wildcard) => true,
            (Subscription::Names(old), Subscription::Names(new)) => !new.is_subset(old),
        };
        if let (Some(sent), Subscription::Names(names)) = (&mut self.sent, &new) {
            // What is no longer asked for is no longer part of what we compare with.
            sent.retain(|name, _| names.contains(name));
        }
        self.subscription = new;
        grown
    }
}

/// One version for the whole response.
fn digest(versions: &Versions) -> String {
    let mut hasher = DefaultHasher::new();
    versions.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
