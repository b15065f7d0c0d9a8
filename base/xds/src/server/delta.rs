//! Incremental: a response holds what changed and names what is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource,
};
use meltemi_proto::type_url;

use super::machine::{Ack, MAX_NAMES, MAX_TYPES, Machine, Nonces, Outcome, Refusal, Sent, names};
use crate::resource::{Resource, ResourceSet, Subscription, empty_means_all};

#[derive(Debug)]
struct Type {
    subscription: Subscription,
    /// What the client has, as far as we know: name → version.
    has: BTreeMap<Arc<str>, Arc<str>>,
    /// Names that it asked for since our last response: each must be answered, if only with "there is none".
    fresh: BTreeSet<Arc<str>>,
    pending: Option<Ack>,
    /// Answer even if there is nothing to say: the first request waits for it.
    forced: bool,
    /// Something may have changed while a verdict was out.
    dirty: bool,
}

/// One delta stream.
#[derive(Debug, Default)]
pub struct DeltaStream {
    types: BTreeMap<Arc<str>, Type>,
    nonces: Nonces,
    /// Clusters sent before the client asked for endpoints on this stream.
    warming: BTreeSet<Arc<str>>,
}

impl Machine for DeltaStream {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const DELTA: bool = true;

    fn node(request: &mut DeltaDiscoveryRequest) -> Option<Node> {
        request.node.take()
    }

    fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<Outcome, Refusal> {
        if request.type_url.is_empty() {
            return Err(Refusal::NoType);
        }
        let type_url: Arc<str> = Arc::from(request.type_url.as_str());
        let subscribe = names(&type_url, request.resource_names_subscribe)?;
        let unsubscribe = names(&type_url, request.resource_names_unsubscribe)?;
        let Some(state) = self.types.get_mut(&type_url) else {
            return self.first(type_url, subscribe, request.initial_resource_versions.into_iter().collect());
        };
        let answered = state.pending.take_if(|pending| pending.nonce == request.response_nonce);
        let error = request.error_detail.map(|status| status.message);
        let ack = answered.map(|pending| Ack { error, ..pending });
        let asked = !subscribe.is_empty() || !unsubscribe.is_empty();
        state.resubscribe(subscribe, &unsubscribe);
        let named = state.subscription.as_names().map_or(0, BTreeSet::len);
        // Under a wildcard names that do not exist wait here as well.
        if named.max(state.fresh.len()) > MAX_NAMES {
            return Err(Refusal::Names(type_url.to_string()));
        }
        let answer = asked || (ack.is_some() && std::mem::take(&mut state.dirty));
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

    fn respond(&mut self, type_url: &str, set: &ResourceSet) -> Option<Sent<DeltaDiscoveryResponse>> {
        let state = self.types.get_mut(type_url).filter(|state| state.pending.is_none())?;
        let changed: Vec<&Resource> = set.values().filter(|resource| state.owes(resource)).collect();
        let gone = state.gone(set);
        if changed.is_empty() && gone.is_empty() && !state.forced {
            return None;
        }
        let ack = Ack { version: String::new(), nonce: self.nonces.next(), error: None };
        for resource in &changed {
            state.has.insert(resource.name.clone(), resource.version.clone());
        }
        for name in &gone {
            state.has.remove(name);
        }
        state.fresh.clear();
        state.forced = false;
        state.pending = Some(ack.clone());
        if type_url == type_url::CLUSTER {
            let names = changed.iter().map(|resource| resource.name.clone()).collect();
            warm(self.types.get_mut(type_url::ENDPOINT), &mut self.warming, names);
        }
        Some(Sent {
            nonce: ack.nonce.clone(),
            resources: changed.len(),
            bytes: changed.iter().map(|resource| resource.body.len()).sum(),
            response: DeltaDiscoveryResponse {
                nonce: ack.nonce,
                type_url: type_url.to_owned(),
                resources: changed.into_iter().map(wire).collect(),
                removed_resources: gone.iter().map(|name| name.to_string()).collect(),
                ..Default::default()
            },
        })
    }
}

impl DeltaStream {
    fn first(
        &mut self,
        type_url: Arc<str>,
        subscribe: BTreeSet<Arc<str>>,
        initial: BTreeMap<String, String>,
    ) -> Result<Outcome, Refusal> {
        if self.types.len() >= MAX_TYPES {
            return Err(Refusal::Types);
        }
        if initial.len() > MAX_NAMES {
            return Err(Refusal::Names(type_url.to_string()));
        }
        let wildcard = subscribe.contains("*") || (subscribe.is_empty() && empty_means_all(&type_url));
        let mut has: BTreeMap<Arc<str>, Arc<str>> =
            initial.into_iter().map(|(name, version)| (name.into(), version.into())).collect();
        if *type_url == *type_url::ENDPOINT {
            has.retain(|name, _| !self.warming.contains(name));
            self.warming.clear();
        }
        // A name whose version the client told is answered only if it changed.
        let fresh = subscribe.iter().filter(|name| name.as_ref() != "*" && !has.contains_key(*name));
        let state = Type {
            fresh: fresh.cloned().collect(),
            has,
            subscription: if wildcard { Subscription::Wildcard } else { Subscription::Names(subscribe) },
            pending: None,
            forced: true,
            dirty: false,
        };
        self.types.insert(type_url.clone(), state);
        Ok(Outcome { type_url, ack: None, answer: true })
    }
}

/// Envoy puts a changed cluster in force only once its endpoints came anew ("warming"), and with the delta variant it
/// does not ask for them. So the client counts as having none for clusters that were just sent.
fn warm(endpoints: Option<&mut Type>, later: &mut BTreeSet<Arc<str>>, clusters: Vec<Arc<str>>) {
    let Some(endpoints) = endpoints else { return later.extend(clusters) };
    for name in clusters {
        if endpoints.has.remove(&name).is_some() {
            endpoints.fresh.insert(name);
        }
    }
}

impl Type {
    fn resubscribe(&mut self, subscribe: BTreeSet<Arc<str>>, unsubscribe: &BTreeSet<Arc<str>>) {
        for name in unsubscribe {
            self.fresh.remove(name);
            match &mut self.subscription {
                Subscription::Wildcard if name.as_ref() == "*" => {
                    self.subscription = Subscription::Names(BTreeSet::new());
                    self.has.clear();
                }
                // Under a wildcard the name stays wanted; the client may have dropped it, so it is sent again.
                Subscription::Wildcard => drop(self.has.remove(name)),
                Subscription::Names(names) => {
                    names.remove(name);
                    self.has.remove(name);
                }
            }
        }
        for name in subscribe {
            if name.as_ref() == "*" {
                self.subscription = Subscription::Wildcard;
                self.forced = true;
                continue;
            }
            // A client that asks for a name it has wants it once more (Envoy does, to warm a cluster).
            self.has.remove(&name);
            self.fresh.insert(name.clone());
            if let Subscription::Names(names) = &mut self.subscription {
                names.insert(name);
            }
        }
    }

    fn owes(&self, resource: &Resource) -> bool {
        (self.subscription.contains(&resource.name) || self.fresh.contains(&resource.name))
            && self.has.get(&resource.name) != Some(&resource.version)
    }

    /// What the client has or waits for and which is not there.
    fn gone(&self, set: &ResourceSet) -> Vec<Arc<str>> {
        let gone: BTreeSet<_> =
            self.has.keys().chain(&self.fresh).filter(|name| !set.contains_key(*name)).cloned().collect();
        gone.into_iter().collect()
    }
}

fn wire(resource: &Resource) -> WireResource {
    WireResource {
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        resource: Some(resource.to_any()),
        ..Default::default()
    }
}
