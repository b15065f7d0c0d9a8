//! Follows one ADS stream: what the proxy has been sent, and what of it it has accepted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use meltemi_xds::resource::{empty_means_all, is_full_state, unwrapped};

use super::config::{Config, Resources};

/// A response on its way, until the proxy's verdict.
#[derive(Debug)]
struct Pending {
    nonce: String,
    /// It holds all there is of its type.
    full: bool,
    upserts: Vec<Arc<Resource>>,
    removed: Vec<String>,
}

#[derive(Debug, Default)]
struct Type {
    resources: Resources,
    pending: Vec<Pending>,
    /// The proxy has the type: it was answered on this stream, or came with what it had.
    known: bool,
    /// It asked for something.
    wanted: bool,
    /// Names it asked for and was told nothing of, incrementally.
    missing: BTreeSet<String>,
}

/// One stream of the proxy.
#[derive(Debug, Default)]
pub struct Stream {
    /// What the proxy had accepted when the stream began.
    before: Config,
    types: BTreeMap<String, Type>,
}

impl Stream {
    /// A stream of a proxy that accepted `before` on those before it.
    pub fn new(before: Config) -> Self {
        Self { before, types: BTreeMap::new() }
    }

    /// The proxy asks, incrementally. Returns whether what it has accepted may be different now.
    pub fn delta_request(&mut self, request: &DeltaDiscoveryRequest) -> bool {
        let before = &self.before;
        let state = self.types.entry(request.type_url.clone()).or_insert_with(|| {
            let has = |name: &String| request.initial_resource_versions.contains_key(name);
            let resources = before.get(&request.type_url).into_iter().flatten();
            let resources: Resources =
                resources.filter(|(name, _)| has(name)).map(|(n, r)| (n.clone(), r.clone())).collect();
            Type { known: !resources.is_empty(), resources, ..Type::default() }
        });
        let names = request.resource_names_subscribe.iter().filter(|name| *name != "*");
        let missing = names.filter(|name| !state.resources.contains_key(*name));
        state.missing.extend(missing.cloned());
        state.wanted |= empty_means_all(&request.type_url) || !request.resource_names_subscribe.is_empty();
        let mut changed = state.verdict(&request.response_nonce, request.error_detail.is_some());
        for name in &request.resource_names_unsubscribe {
            state.missing.remove(name);
            changed |= state.resources.remove(name).is_some();
        }
        changed
    }

    /// The proxy asks, state of the world. Returns whether what it has accepted may be different now.
    pub fn sotw_request(&mut self, request: &DiscoveryRequest) -> bool {
        let full = is_full_state(&request.type_url);
        let before = &self.before;
        let state = self.types.entry(request.type_url.clone()).or_insert_with(|| {
            let held = before.get(&request.type_url).filter(|_| !request.version_info.is_empty());
            let resources = held.cloned().unwrap_or_default();
            Type { known: !resources.is_empty(), resources, ..Type::default() }
        });
        state.wanted |= empty_means_all(&request.type_url) || !request.resource_names.is_empty();
        let mut changed = state.verdict(&request.response_nonce, request.error_detail.is_some());
        if !full && !request.resource_names.iter().any(|name| name == "*") {
            let names: BTreeSet<&String> = request.resource_names.iter().collect();
            let count = state.resources.len();
            state.resources.retain(|name, _| names.contains(name));
            changed |= state.resources.len() != count;
        }
        changed
    }

    /// The control plane answers, incrementally.
    pub fn delta_response(&mut self, response: &DeltaDiscoveryResponse) {
        self.push(&response.type_url, || Pending {
            nonce: response.nonce.clone(),
            full: false,
            // One without a body is a heartbeat: nothing changed.
            upserts: response
                .resources
                .iter()
                .filter(|r| r.resource.is_some())
                .cloned()
                .map(Arc::new)
                .collect(),
            removed: response.removed_resources.clone(),
        });
    }

    /// The control plane answers, state of the world.
    pub fn sotw_response(&mut self, response: &DiscoveryResponse) {
        self.push(&response.type_url, || Pending {
            nonce: response.nonce.clone(),
            full: is_full_state(&response.type_url),
            upserts: response.resources.iter().filter_map(unwrapped).map(Arc::new).collect(),
            removed: Vec::new(),
        });
    }

    fn push(&mut self, type_url: &str, pending: impl FnOnce() -> Pending) {
        // What was never asked for has no place in the proxy.
        if let Some(state) = self.types.get_mut(type_url) {
            state.pending.push(pending());
        }
    }

    /// All that the proxy has accepted.
    pub fn accepted(&self) -> Config {
        let mut config = self.before.clone();
        for (type_url, state) in self.types.iter().filter(|(_, state)| state.known) {
            config.set(type_url, state.resources.clone());
        }
        config
    }

    /// Whether the proxy has had an answer to all that it asked for, so that what it accepted fits together.
    pub fn is_settled(&self) -> bool {
        let settled = |t: &Type| t.pending.is_empty() && t.missing.is_empty() && (t.known || !t.wanted);
        self.types.values().all(settled)
    }
}

impl Type {
    /// Takes a verdict in; a response that was refused changes nothing.
    fn verdict(&mut self, nonce: &str, refused: bool) -> bool {
        let Some(index) = self.pending.iter().position(|pending| pending.nonce == nonce) else {
            return false;
        };
        let pending = self.pending.remove(index);
        self.known = true;
        for name in pending.removed.iter().chain(pending.upserts.iter().map(|resource| &resource.name)) {
            self.missing.remove(name);
        }
        if refused {
            return true;
        }
        if pending.full {
            self.resources.clear();
        }
        for name in pending.removed {
            self.resources.remove(&name);
        }
        self.resources.extend(pending.upserts.into_iter().map(|resource| (resource.name.clone(), resource)));
        true
    }
}

#[cfg(test)]
mod tests;
