//! One watch of one kind.

use std::collections::BTreeSet;
use std::pin::pin;

use futures_util::StreamExt;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use meltemi_config::Kind;
use meltemi_mesh::Change;

use super::{Event, Outlet, read};

/// Namespace and name.
type Name = (String, String);

/// What a watch knows: which objects it has told the hub of.
pub struct Source {
    kind: Kind,
    outlet: Outlet,
    known: BTreeSet<Name>,
    listing: BTreeSet<Name>,
    synced: bool,
}

/// Watches all objects of `kind` until the end.
pub async fn watch_kind(kind: Kind, client: kube::Client, outlet: Outlet) {
    let info = kind.info();
    let gvk = GroupVersionKind::gvk(info.group, info.storage, info.name);
    let api: Api<DynamicObject> =
        Api::all_with(client, &ApiResource::from_gvk_with_plural(&gvk, info.plural));
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    let shutdown = outlet.shutdown.clone();
    let mut source = Source::new(kind, outlet);
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(event) => source.take(event),
            None => return,
        }
    }
}

impl Source {
    /// A watch that has seen nothing yet.
    pub fn new(kind: Kind, outlet: Outlet) -> Self {
        Self { kind, outlet, known: BTreeSet::new(), listing: BTreeSet::new(), synced: false }
    }

    /// Takes one event of the watch.
    pub fn take(&mut self, event: Result<watcher::Event<DynamicObject>, watcher::Error>) {
        match event {
            Ok(watcher::Event::Init) => self.listing.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                self.listing.insert(name(&object));
                self.upsert(object, "add");
            }
            Ok(watcher::Event::InitDone) => self.listed(),
            Ok(watcher::Event::Apply(object)) => {
                let known = !self.known.insert(name(&object));
                self.upsert(object, if known { "update" } else { "add" });
            }
            Ok(watcher::Event::Delete(object)) => {
                let name = name(&object);
                self.known.remove(&name);
                self.delete(name);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn upsert(&mut self, object: DynamicObject, event: &'static str) {
        self.outlet.metrics.event(self.kind, event);
        let (namespace, name) = name(&object);
        let (object, problem) = read(self.kind, object);
        match problem {
            Some(problem) => self.outlet.send(Event::Problem(problem)),
            None if self.kind.is_istio() => {
                self.outlet.send(Event::Sound { kind: self.kind, namespace, name })
            }
            None => {}
        }
        if let Some(object) = object {
            self.outlet.send(Event::Change(Change::Upsert(object)));
        }
    }

    fn delete(&self, (namespace, name): Name) {
        self.outlet.metrics.event(self.kind, "delete");
        if self.kind.is_istio() {
            let (namespace, name) = (namespace.clone(), name.clone());
            self.outlet.send(Event::Sound { kind: self.kind, namespace, name });
        }
        self.outlet.send(Event::Change(Change::Delete(self.kind, namespace, name)));
    }

    /// A list is complete: what it does not hold was deleted while nobody watched.
    fn listed(&mut self) {
        let listing = std::mem::take(&mut self.listing);
        let gone: Vec<Name> = self.known.difference(&listing).cloned().collect();
        self.known = listing;
        gone.into_iter().for_each(|name| self.delete(name));
        self.sync();
    }

    /// A kind that the API server does not have is empty, not unknown: the others must not wait for it. After any other
    /// failure what we know stays in force.
    fn failed(&mut self, error: &watcher::Error) {
        let absent = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
            _ => false,
        };
        if absent && !self.synced {
            tracing::warn!(kind = %self.kind, "the API server does not know this kind: install its CRD");
            self.sync();
        } else if !absent {
            tracing::warn!(kind = %self.kind, %error, "watch failed, trying again");
        }
    }

    fn sync(&mut self) {
        if !self.synced {
            self.synced = true;
            self.outlet.send(Event::Synced(self.kind));
        }
    }
}

fn name(object: &DynamicObject) -> Name {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
