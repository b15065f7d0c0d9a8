//! The client machine: pure, for both variants of the protocol.

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use meltemi_proto::google::rpc::Status;

use super::intake::{Intake, error_text};
use super::state::TypeState;
use super::{Applied, Update};
use crate::resource::{Subscription, is_full_state};

/// A request to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// State of the world.
    Sotw(DiscoveryRequest),
    /// Incremental.
    Delta(DeltaDiscoveryRequest),
}

/// A response received.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// State of the world.
    Sotw(DiscoveryResponse),
    /// Incremental.
    Delta(DeltaDiscoveryResponse),
}

/// gRPC code INVALID_ARGUMENT, which clients give as the reason of a NACK.
const INVALID_ARGUMENT: i32 = 3;

/// A response that was taken in and waits for its verdict.
#[derive(Debug)]
struct Pending {
    index: usize,
    version: String,
    nonce: String,
    /// What will be in force if accepted.
    upserts: Vec<(Arc<str>, Arc<str>)>,
    removed: Vec<Arc<str>>,
    /// What could not even be read.
    broken: Vec<String>,
}

/// What we hold and want of every type, and how to tell it to a server.
#[derive(Debug)]
pub struct Client {
    node: Node,
    delta: bool,
    types: Vec<TypeState>,
    pending: Option<Pending>,
    /// The node goes with the first request of a stream only.
    introduced: bool,
}

impl Client {
    /// A client that wants `types`, in the order given.
    pub fn new(node: Node, delta: bool, types: Vec<(&'static str, Subscription)>) -> Self {
        let types = types.into_iter().map(|(type_url, wanted)| TypeState::new(type_url, wanted)).collect();
        Self { node, delta, types, pending: None, introduced: false }
    }

    /// Delta or state of the world.
    pub fn is_delta(&self) -> bool {
        self.delta
    }

    /// A new stream is open: what to ask on it. Nothing that we hold is forgotten.
    pub fn connect(&mut self) -> Vec<Request> {
        self.pending = None;
        self.introduced = false;
        for state in &mut self.types {
            state.nonce.clear();
            state.asked = false;
        }
        (0..self.types.len()).filter_map(|index| self.ask(index)).collect()
    }

    /// Replaces the subscription to a type, adding the type if it is new. Returns what to send on an open stream.
    pub fn subscribe(&mut self, type_url: &'static str, subscription: Subscription) -> Option<Request> {
        let Some(index) = self.index(type_url) else {
            self.types.push(TypeState::new(type_url, subscription));
            return self.ask(self.types.len() - 1);
        };
        let state = &mut self.types[index];
        if state.subscription == subscription {
            return None;
        }
        let (added, dropped) = state.resubscribe(subscription);
        if !state.asked {
            return self.ask(index);
        }
        state.named |= !added.is_empty();
        Some(if self.delta {
            self.delta_request(index, |request| {
                request.resource_names_subscribe = added;
                request.resource_names_unsubscribe = dropped;
            })
        } else {
            self.sotw_request(index, None)
        })
    }

    /// Takes a response in. The update must be applied and [`Client::applied`] called before the next response.
    /// `None`: a response of a type that was never asked for, which is ignored.
    pub fn receive(&mut self, response: Response) -> Option<Update> {
        match response {
            Response::Sotw(response) => self.receive_sotw(response),
            Response::Delta(response) => self.receive_delta(response),
        }
    }

    /// What became of the update last received: the ACK or NACK to send, then changed subscriptions.
    pub fn applied(&mut self, applied: Applied) -> Vec<Request> {
        let Some(pending) = self.pending.take() else { return Vec::new() };
        let refused: BTreeSet<&str> = applied.rejected.iter().map(|(name, _)| name.as_ref()).collect();
        let state = &mut self.types[pending.index];
        for name in &pending.removed {
            if !refused.contains(name.as_ref()) {
                state.holds.remove(name);
            }
        }
        let accepted = pending.upserts.into_iter().filter(|(name, _)| !refused.contains(name.as_ref()));
        state.holds.extend(accepted);
        let error = error_text(&pending.broken, &applied.rejected);
        if error.is_none() {
            state.version = pending.version;
        }
        state.nonce = pending.nonce;
        let error = error.map(|message| Status { code: INVALID_ARGUMENT, message, details: Vec::new() });
        let verdict = if self.delta {
            self.delta_request(pending.index, |request| request.error_detail = error)
        } else {
            self.sotw_request(pending.index, error)
        };
        let mut requests = vec![verdict];
        for (type_url, subscription) in applied.subscribe {
            requests.extend(self.subscribe(type_url, subscription));
        }
        requests
    }

    /// Names and versions in force of a type.
    pub fn holds(&self, type_url: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let state = self.types.iter().find(|state| state.type_url == type_url);
        state.map(|state| state.holds.clone().into_iter().collect()).unwrap_or_default()
    }

    fn index(&self, type_url: &str) -> Option<usize> {
        self.types.iter().position(|state| state.type_url == type_url)
    }

    /// The first request for a type on this stream.
    fn ask(&mut self, index: usize) -> Option<Request> {
        let state = &mut self.types[index];
        if state.idle() {
            return None;
        }
        state.asked = true;
        state.named = state.subscription.as_names().is_some();
        if !self.delta {
            return Some(self.sotw_request(index, None));
        }
        let names = state.names();
        let holds =
            state.holds.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect();
        Some(self.delta_request(index, |request| {
            request.resource_names_subscribe = names;
            request.initial_resource_versions = holds;
        }))
    }

    fn sotw_request(&mut self, index: usize, error: Option<Status>) -> Request {
        let node = self.introduce();
        let state = &self.types[index];
        Request::Sotw(DiscoveryRequest {
            node,
            type_url: state.type_url.to_owned(),
            version_info: state.version.clone(),
            response_nonce: state.nonce.clone(),
            resource_names: state.names(),
            error_detail: error,
            ..Default::default()
        })
    }

    fn delta_request(&mut self, index: usize, fill: impl FnOnce(&mut DeltaDiscoveryRequest)) -> Request {
        let node = self.introduce();
        let state = &mut self.types[index];
        let mut request =
            DeltaDiscoveryRequest { node, type_url: state.type_url.to_owned(), ..Default::default() };
        fill(&mut request);
        // Only a verdict carries the nonce: a change of subscription says nothing about any response.
        request.response_nonce = std::mem::take(&mut state.nonce);
        Request::Delta(request)
    }

    fn introduce(&mut self) -> Option<Node> {
        let first = !std::mem::replace(&mut self.introduced, true);
        first.then(|| self.node.clone())
    }

    fn receive_sotw(&mut self, response: DiscoveryResponse) -> Option<Update> {
        let index = self.index(&response.type_url)?;
        let state = &self.types[index];
        let type_url = state.type_url;
        let mut intake = Intake::new(type_url);
        for any in response.resources {
            intake.sotw(any);
        }
        let full = is_full_state(type_url);
        let present: BTreeSet<&Arc<str>> = intake.all.iter().collect();
        // A resource we could not read may be any: then nothing is taken as removed.
        let sweep = full && intake.broken.is_empty();
        let removed: Vec<Arc<str>> =
            state.holds.keys().filter(|name| sweep && !present.contains(name)).cloned().collect();
        intake.upserts.retain(|resource| {
            state.subscription.contains(&resource.name)
                && state.holds.get(&resource.name) != Some(&resource.version)
        });
        Some(self.take(index, intake, removed, (response.version_info, response.nonce)))
    }

    fn receive_delta(&mut self, response: DeltaDiscoveryResponse) -> Option<Update> {
        let index = self.index(&response.type_url)?;
        let mut intake = Intake::new(self.types[index].type_url);
        for resource in response.resources {
            intake.delta(resource);
        }
        let state = &self.types[index];
        // What was unsubscribed while the response was on its way is no longer ours to hold.
        intake.upserts.retain(|resource| state.subscription.contains(&resource.name));
        let removed = response.removed_resources.into_iter().map(Arc::from).collect();
        Some(self.take(index, intake, removed, (response.system_version_info, response.nonce)))
    }

    fn take(
        &mut self,
        index: usize,
        intake: Intake,
        removed: Vec<Arc<str>>,
        (version, nonce): (String, String),
    ) -> Update {
        let upserts = intake.upserts.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
        self.pending =
            Some(Pending { index, version, nonce, upserts, removed: removed.clone(), broken: intake.broken });
        Update { type_url: intake.type_url, upserts: intake.upserts, removed }
    }
}
