//! What we hold and want of one type.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::Subscription;

/// One type's state on the client's side.
#[derive(Debug)]
pub(super) struct TypeState {
    pub(super) type_url: &'static str,
    pub(super) subscription: Subscription,
    /// Versions of what is in force, by name: what survives a reconnect.
    pub(super) holds: BTreeMap<Arc<str>, Arc<str>>,
    /// State of the world only: version of the last response that was accepted whole.
    pub(super) version: String,
    /// Nonce of the last response of this stream.
    pub(super) nonce: String,
    /// Has this stream asked for the type yet?
    pub(super) asked: bool,
    /// Were names ever asked for? Then an empty list must be told to the server, too.
    pub(super) named: bool,
}

impl TypeState {
    pub(super) fn new(type_url: &'static str, subscription: Subscription) -> Self {
        Self {
            type_url,
            subscription,
            holds: BTreeMap::new(),
            version: String::new(),
            nonce: String::new(),
            asked: false,
            named: false,
        }
    }

    /// Nothing is wanted and nothing was: there is no use in asking.
    pub(super) fn idle(&self) -> bool {
        !self.asked && self.subscription.as_names().is_some_and(BTreeSet::is_empty)
    }

    /// Names for a state-of-the-world request.
    pub(super) fn names(&self) -> Vec<String> {
        match &self.subscription {
            Subscription::Wildcard => Vec::new(),
            Subscription::Names(names) => names.iter().map(|name| name.to_string()).collect(),
        }
    }

    /// Replaces the subscription; returns what was added and what was dropped (`*` stands for the wildcard).
    pub(super) fn resubscribe(&mut self, new: Subscription) -> (Vec<String>, Vec<String>) {
        let old = tokens(&self.subscription);
        let now = tokens(&new);
        let added = now.difference(&old).map(|name| name.to_string()).collect();
        let dropped: Vec<String> = old.difference(&now).map(|name| name.to_string()).collect();
        if let Subscription::Names(names) = &new {
            self.holds.retain(|name, _| names.contains(name));
        }
        self.subscription = new;
        (added, dropped)
    }
}

fn tokens(subscription: &Subscription) -> BTreeSet<Arc<str>> {
    match subscription {
        Subscription::Wildcard => BTreeSet::from([Arc::from("*")]),
        Subscription::Names(names) => names.clone(),
    }
}
