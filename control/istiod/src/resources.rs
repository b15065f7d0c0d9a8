//! Resources made from a snapshot, shared between the proxies that see the same.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use meltemi_mesh::ProxyView;
use meltemi_proto::type_url;
use meltemi_translate::Names;
use meltemi_xds::{Resource, ResourceSet, Subscription};
use parking_lot::Mutex;

use crate::hub::Published;

/// So many different answers are kept of one snapshot; replicas of a workload share one.
const MOST: usize = 4096;

/// Resources made already, of the newest snapshot only.
#[derive(Default)]
pub struct Cache {
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    version: u64,
    kept: usize,
    entries: HashMap<Likeness, Vec<Entry>>,
}

/// What entries must have in common to be compared at all: the type, and a hash of most of what tells proxies apart.
type Likeness = (&'static str, u64);

struct Entry {
    names: Option<BTreeSet<Arc<str>>>,
    view: Arc<ProxyView>,
    set: ResourceSet,
}

impl Cache {
    /// The resources of one type for one proxy.
    pub fn resources(
        &self,
        type_url: &str,
        now: &Published,
        view: &Arc<ProxyView>,
        subscription: &Subscription,
    ) -> ResourceSet {
        let Some(type_url) = type_url::known(type_url) else { return ResourceSet::default() };
        let names = subscription.as_names();
        if type_url == type_url::LISTENER {
            // No two proxies have the same addresses.
            return build(type_url, now, view, names);
        }
        let likeness = (type_url, likeness(view, names));
        let mut made = self.made.lock();
        if let Some(set) = made.find(&likeness, now.version, view, names) {
            return set;
        }
        // Others must not wait while this one is made; at worst two make the same.
        drop(made);
        let set = build(type_url, now, view, names);
        made = self.made.lock();
        let entry = Entry { names: names.cloned(), view: view.clone(), set: set.clone() };
        made.keep(now.version, likeness, entry);
        set
    }
}

impl Made {
    fn find(
        &self,
        likeness: &Likeness,
        version: u64,
        view: &ProxyView,
        names: Option<&BTreeSet<Arc<str>>>,
    ) -> Option<ResourceSet> {
        if self.version != version {
            return None;
        }
        let fits = |entry: &&Entry| entry.names.as_ref() == names && sees_the_same(&entry.view, view);
        self.entries.get(likeness)?.iter().find(fits).map(|entry| entry.set.clone())
    }

    fn keep(&mut self, version: u64, likeness: Likeness, entry: Entry) {
        if version < self.version {
            return;
        }
        if version > self.version {
            self.version = version;
            self.entries.clear();
            self.kept = 0;
        }
        if self.kept < MOST {
            self.kept += 1;
            self.entries.entry(likeness).or_default().push(entry);
        }
    }
}

/// A hash of what is cheap to hash of all that [`sees_the_same`] compares, and of the names.
fn likeness(view: &ProxyView, names: Option<&BTreeSet<Arc<str>>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let identity = &view.identity;
    (identity.kind, &identity.namespace, &identity.service_account, &view.labels, names).hash(&mut hasher);
    hasher.finish()
}

/// Whether two views of one snapshot give equal resources, listeners apart. What names a single pod (its name, its
/// metadata) is no part of what is translated; of its addresses only the family is.
fn sees_the_same(a: &ProxyView, b: &ProxyView) -> bool {
    let family = |view: &ProxyView| view.identity.ips.first().map(std::net::IpAddr::is_ipv4);
    family(a) == family(b)
        && a.identity.kind == b.identity.kind
        && a.identity.metadata.generator() == b.identity.metadata.generator()
        && a.identity.namespace == b.identity.namespace
        && a.identity.service_account == b.identity.service_account
        && a.identity.extensions == b.identity.extensions
        && a.identity.metadata.interception_mode == b.identity.metadata.interception_mode
        && a.captures_dns() == b.captures_dns()
        && a.labels == b.labels
        && a.locality == b.locality
        && a.node == b.node
        && a.allow_any == b.allow_any
        && same(a.sidecar.as_ref(), b.sidecar.as_ref())
        && same_list(&a.gateways, &b.gateways)
        && same_list(&a.services, &b.services)
        && a.peer == b.peer
        && a.targets == b.targets
        && a.scope == b.scope
}

/// Views of one snapshot share its objects, so that looking inside is not needed.
fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn same_list<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn build(
    type_url: &'static str,
    now: &Published,
    view: &ProxyView,
    names: Option<&BTreeSet<Arc<str>>>,
) -> ResourceSet {
    let wanted: Option<BTreeSet<String>> =
        names.map(|names| names.iter().map(|name| name.to_string()).collect());
    let names = wanted.as_ref().map_or(Names::All, Names::Only);
    let made = meltemi_translate::resources(type_url, &now.snapshot, view, &names);
    let share = |made: meltemi_translate::Resource| {
        let meltemi_translate::Resource { name, version, body, type_url } = made;
        (name.clone(), Resource { name, version, body, type_url })
    };
    Arc::new(made.into_values().map(share).collect())
}
