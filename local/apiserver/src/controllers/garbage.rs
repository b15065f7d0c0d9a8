//! Owner references: dependents go after (or before) their owners; and what CRDs leave behind.

use crate::api::delete::{FOREGROUND, ORPHAN, Options, Propagation, delete};
use crate::object::{is_terminating, list, meta_mut, name, namespace, text, uid};
use crate::registry::Resource;
use crate::server::Core;
use crate::store::{Change, Stored, key};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Where an object is: storage key of its resource, and its key there.
type Place = (Arc<str>, String);

/// Who exists, and who names whom as owner.
#[derive(Default)]
struct Graph {
    places: HashMap<String, Place>,
    owners: HashMap<Place, Vec<String>>,
    dependents: HashMap<String, HashSet<Place>>,
}

impl Graph {
    fn note(&mut self, storage: &Arc<str>, value: &Value, gone: bool) {
        let place: Place = (storage.clone(), key(namespace(value), name(value)));
        for owner in self.owners.remove(&place).unwrap_or_default() {
            if let Some(all) = self.dependents.get_mut(&owner) {
                all.remove(&place);
            }
        }
        if gone {
            self.places.remove(uid(value));
            return;
        }
        self.places.insert(uid(value).to_owned(), place.clone());
        let owners: Vec<String> =
            list(value, "/metadata/ownerReferences").iter().map(|o| text(o, "/uid").to_owned()).collect();
        for owner in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(place.clone());
        }
        if !owners.is_empty() {
            self.owners.insert(place, owners);
        }
    }

    fn of(core: &Core) -> Self {
        let mut graph = Graph::default();
        for storage in core.store.storages() {
            for (_, stored) in core.store.list(&storage, "").items {
                graph.note(&storage, &stored.value, false);
            }
        }
        graph
    }

    fn dependents_of(&self, uid: &str) -> Vec<Place> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }
}

/// Runs until shutdown.
pub fn spawn(core: Arc<Core>) {
    let mut changes = core.store.subscribe_all();
    tokio::spawn(async move {
        let mut graph = Graph::of(&core);
        sweep(&core, &graph).await;
        let shutdown = core.shutdown.clone();
        loop {
            tokio::select! {
                received = changes.recv() => match received {
                    Ok(change) => react(&core, &mut graph, &change).await,
                    Err(RecvError::Lagged(_)) => {
                        graph = Graph::of(&core);
                        sweep(&core, &graph).await;
                    }
                    Err(RecvError::Closed) => return,
                },
                // Dependents made after their owner went, owners that wait: looked at again in quiet moments.
                () = tokio::time::sleep(Duration::from_secs(2)) => sweep(&core, &graph).await,
                () = shutdown.cancelled() => return,
            }
        }
    });
}

async fn react(core: &Arc<Core>, graph: &mut Graph, change: &Change) {
    let value = &change.object.value;
    graph.note(&change.storage, value, change.deleted);
    if change.deleted {
        for place in graph.dependents_of(uid(value)) {
            owner_gone(core, graph, &place).await;
        }
        if let Some(owners) =
            change.previous.as_ref().map(|p| list(&p.value, "/metadata/ownerReferences").to_vec())
        {
            for owner in owners {
                if let Some(place) = graph.places.get(text(&owner, "/uid")).cloned() {
                    settle(core, graph, &place).await;
                }
            }
        }
        clean_crds(core, &change.storage).await;
    } else if is_terminating(value) {
        settle(core, graph, &(change.storage.clone(), key(namespace(value), name(value)))).await;
    }
}

/// Looks at everything that may need work.
async fn sweep(core: &Arc<Core>, graph: &Graph) {
    for place in graph.owners.keys() {
        owner_gone(core, graph, place).await;
    }
    for place in graph.places.values() {
        let waits = core.store.get(&place.0, &place.1).is_some_and(|s| is_terminating(&s.value));
        if waits {
            settle(core, graph, place).await;
        }
    }
}

fn resource_of(core: &Core, storage: &str) -> Option<Arc<Resource>> {
    core.registry.load().collections().find(|r| *r.storage == *storage).cloned()
}

/// Deletes a dependent when none of its owners is left; drops references to owners that are gone when some are.
async fn owner_gone(core: &Arc<Core>, graph: &Graph, place: &Place) {
    let Some(stored) = core.store.get(&place.0, &place.1) else { return };
    let owners = list(&stored.value, "/metadata/ownerReferences");
    let exists = |o: &&Value| {
        let place = graph.places.get(text(o, "/uid"));
        place.is_some_and(|p| core.store.get(&p.0, &p.1).is_some_and(|s| uid(&s.value) == text(o, "/uid")))
    };
    let left: Vec<Value> = owners.iter().filter(exists).cloned().collect();
    if left.len() == owners.len() || owners.is_empty() || is_terminating(&stored.value) {
        return;
    }
    let Some(resource) = resource_of(core, &place.0) else { return };
    if left.is_empty() {
        let options = Options {
            propagation: Some(Propagation::Background),
            uid: uid(&stored.value).to_owned(),
            ..Options::default()
        };
        // Somebody else may have been faster.
        let _ = delete(core, &resource, &place.1, &options).await;
        return;
    }
    let mut new = stored.value.clone();
    meta_mut(&mut new).insert("ownerReferences".into(), left.into());
    let _ = core.store.update(&place.0, &place.1, stored.version, new).await;
}

/// Does what a terminating object's propagation finalizer asks for.
async fn settle(core: &Arc<Core>, graph: &Graph, place: &Place) {
    let Some(stored) = core.store.get(&place.0, &place.1).filter(|s| is_terminating(&s.value)) else {
        return;
    };
    let has = |f: &str| list(&stored.value, "/metadata/finalizers").iter().any(|v| v == f);
    if has(ORPHAN) {
        for dependent in graph.dependents_of(uid(&stored.value)) {
            disown(core, &dependent, uid(&stored.value)).await;
        }
        drop_finalizer(core, place, &stored, ORPHAN).await;
    } else if has(FOREGROUND) {
        let mut blocking = 0;
        for dependent in graph.dependents_of(uid(&stored.value)) {
            if is_held(core, graph, &dependent, uid(&stored.value)) {
                disown(core, &dependent, uid(&stored.value)).await;
                continue;
            }
            blocking += usize::from(delete_first(core, &dependent, uid(&stored.value)).await);
        }
        if blocking == 0 {
            drop_finalizer(core, place, &stored, FOREGROUND).await;
        }
    }
    if has(crate::crd::FINALIZER) {
        empty_crd(core, place, &stored).await;
    }
}

async fn disown(core: &Arc<Core>, place: &Place, owner: &str) {
    for _ in 0..8 {
        let Some(stored) = core.store.get(&place.0, &place.1) else { return };
        let mut new = stored.value.clone();
        let references = list(&new, "/metadata/ownerReferences");
        let left: Vec<Value> = references.iter().filter(|r| text(r, "/uid") != owner).cloned().collect();
        if left.is_empty() {
            meta_mut(&mut new).shift_remove("ownerReferences");
        } else {
            meta_mut(&mut new).insert("ownerReferences".into(), left.into());
        }
        if core.store.update(&place.0, &place.1, stored.version, new).await.is_ok() {
            return;
        }
    }
}

/// Whether a dependent has another owner that stays: then it stays too.
fn is_held(core: &Core, graph: &Graph, place: &Place, owner: &str) -> bool {
    let Some(stored) = core.store.get(&place.0, &place.1) else { return false };
    let others = list(&stored.value, "/metadata/ownerReferences")
        .iter()
        .map(|r| text(r, "/uid"))
        .filter(|u| *u != owner);
    let mut others = others.filter_map(|other| {
        let place = graph.places.get(other)?;
        core.store.get(&place.0, &place.1).filter(|s| uid(&s.value) == other)
    });
    let waits = |o: &Value| {
        is_terminating(o) && list(o, "/metadata/finalizers").iter().any(|finalizer| finalizer == FOREGROUND)
    };
    others.any(|other| !waits(&other.value))
}

/// Deletes a dependent in the foreground; whether its owner must wait for it.
async fn delete_first(core: &Arc<Core>, place: &Place, owner: &str) -> bool {
    let Some(stored) = core.store.get(&place.0, &place.1) else { return false };
    let reference =
        list(&stored.value, "/metadata/ownerReferences").iter().find(|r| text(r, "/uid") == owner);
    let Some(blocks) = reference.map(|r| r["blockOwnerDeletion"] == json!(true)) else { return false };
    if !is_terminating(&stored.value)
        && let Some(resource) = resource_of(core, &place.0)
    {
        let options = Options { propagation: Some(Propagation::Foreground), ..Options::default() };
        let _ = delete(core, &resource, &place.1, &options).await;
    }
    blocks && core.store.get(&place.0, &place.1).is_some()
}

async fn drop_finalizer(core: &Arc<Core>, place: &Place, stored: &Stored, finalizer: &str) {
    let mut new = stored.value.clone();
    let left: Vec<Value> =
        list(&new, "/metadata/finalizers").iter().filter(|f| *f != finalizer).cloned().collect();
    meta_mut(&mut new).insert("finalizers".into(), left.into());
    if list(&new, "/metadata/finalizers").is_empty() {
        meta_mut(&mut new).shift_remove("finalizers");
    }
    let finished = resource_of(core, &place.0).is_some_and(|r| crate::strategy::is_finished(&r, &new));
    // A lost race comes back as a change.
    let _ = if finished {
        core.store.delete(&place.0, &place.1, stored.version).await
    } else {
        core.store.update(&place.0, &place.1, stored.version, new).await
    };
    if place.0.starts_with("apiextensions.k8s.io/") {
        crate::crd::load(core);
    }
}

/// Deletes the objects of a terminating CRD, then lets it go.
async fn empty_crd(core: &Arc<Core>, place: &Place, stored: &Stored) {
    let storage =
        format!("{}/{}", text(&stored.value, "/spec/group"), text(&stored.value, "/spec/names/plural"));
    let resource = resource_of(core, &storage);
    if let Some(resource) = &resource {
        for (key, object) in core.store.list(&storage, "").items {
            if !is_terminating(&object.value) {
                let _ = delete(core, resource, &key, &Options::default()).await;
            }
        }
    }
    if core.store.list(&storage, "").items.is_empty() {
        drop_finalizer(core, place, stored, crate::crd::FINALIZER).await;
    }
}

/// After an object of a custom resource went, its CRD may be able to go.
async fn clean_crds(core: &Arc<Core>, storage: &Arc<str>) {
    let crds: Arc<str> = "apiextensions.k8s.io/customresourcedefinitions".into();
    for (key, stored) in core.store.list(&crds, "").items {
        let own =
            format!("{}/{}", text(&stored.value, "/spec/group"), text(&stored.value, "/spec/names/plural"));
        if is_terminating(&stored.value) && own == **storage {
            empty_crd(core, &(crds.clone(), key), &stored).await;
        }
    }
}
