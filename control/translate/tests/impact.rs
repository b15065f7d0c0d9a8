//! `impact` is sound: types of resources that it does not name are equal before and after the change.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod mesh;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use meltemi_config::{AnyObject, Kind};
use meltemi_mesh::{Change, ProxyIdentity, ProxyKind, ProxyView, Settings, Snapshot, World, impact};
use meltemi_proto::type_url;
use meltemi_translate::{Names, resources};
use proptest::prelude::*;

const TYPES: [&str; 5] =
    [type_url::CLUSTER, type_url::ENDPOINT, type_url::LISTENER, type_url::ROUTE, type_url::SECRET];

/// `PROPTEST_CASES` asks for more.
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

type Key = (Kind, String, String);

/// Every object of the pool with its versions.
static POOL: LazyLock<Vec<(Key, Vec<AnyObject>)>> = LazyLock::new(read_pool);

fn read_pool() -> Vec<(Key, Vec<AnyObject>)> {
    let mut pool: BTreeMap<Key, Vec<AnyObject>> = BTreeMap::new();
    for object in mesh::objects(include_str!("../../mesh/tests/pool.yaml")) {
        let key = (object.kind(), object.namespace().to_owned(), object.name().to_owned());
        pool.entry(key).or_default().push(object);
    }
    pool.into_iter().collect()
}

fn proxy(kind: ProxyKind, namespace: &str, name: &str, ip: &str, app: (&str, &str)) -> ProxyIdentity {
    ProxyIdentity {
        kind,
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        ips: vec![ip.parse().unwrap()],
        labels: [(app.0.to_owned(), app.1.to_owned())].into(),
        service_account: "sa".to_owned(),
        metadata: Default::default(),
        extensions: Default::default(),
    }
}

/// A gRPC program without a proxy.
fn proxyless(mut identity: ProxyIdentity) -> ProxyIdentity {
    identity.metadata.extra.insert("GENERATOR".to_owned(), "grpc".into());
    identity
}

fn proxies() -> Vec<ProxyIdentity> {
    vec![
        proxyless(proxy(ProxyKind::Sidecar, "a", "grpc-1", "10.1.0.2", ("app", "web"))),
        proxy(ProxyKind::Sidecar, "a", "web-1", "10.1.0.1", ("app", "web")),
        proxy(ProxyKind::Sidecar, "a", "vm", "192.168.0.7", ("app", "web")),
        proxy(ProxyKind::Sidecar, "b", "api-1", "10.1.0.4", ("app", "api")),
        proxy(ProxyKind::Sidecar, "c", "alone", "10.1.0.77", ("app", "alone")),
        proxy(ProxyKind::Router, "istio-system", "gw-1", "10.1.0.9", ("istio", "ingressgateway")),
    ]
}

fn change(key: &Key, object: Option<&AnyObject>) -> Change {
    match object {
        Some(object) => Change::Upsert(object.clone()),
        None => Change::Delete(key.0, key.1.clone(), key.2.clone()),
    }
}

/// Route configurations of ports whose protocol is found out.
const SNIFFED: [&str; 2] = ["listed.a.svc.cluster.local:6000", "web.a.svc.cluster.local:80"];

/// Names of what differs in a type.
fn differing(
    type_url: &str,
    before: (&Arc<Snapshot>, &ProxyView),
    after: (&Arc<Snapshot>, &ProxyView),
) -> Vec<String> {
    let compare = |asked: &Names<'_>| -> BTreeSet<String> {
        let old = resources(type_url, before.0, before.1, asked);
        let new = resources(type_url, after.0, after.1, asked);
        let names = old.keys().chain(new.keys());
        names.filter(|name| old.get(*name) != new.get(*name)).map(|name| name.to_string()).collect()
    };
    let mut differ = compare(&Names::All);
    // What a proxy has once asked for by name it is told of, whether or not its listeners still ask.
    let all = [before, after].map(|(snapshot, view)| resources(type_url, snapshot, view, &Names::All));
    let asked: BTreeSet<String> = all
        .iter()
        .flat_map(|set| set.keys())
        .map(ToString::to_string)
        .chain(SNIFFED.map(str::to_owned))
        .collect();
    if matches!(type_url, type_url::ROUTE | type_url::ENDPOINT) {
        differ.extend(compare(&Names::Only(&asked)));
    }
    differ.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_named_is_equal(
        base in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 0..60),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4), 1..6),
    ) {
        let pool = &*POOL;
        let mut world = World::new(Settings::default());
        for (which, version) in base {
            let (key, versions) = which.get(pool);
            world.apply(change(key, versions.get(version % versions.len())));
        }
        let mut before = world.snapshot();
        world.take_changes();
        for (which, version) in steps {
            let (key, versions) = which.get(pool);
            let object = (version < 3).then(|| &versions[version % versions.len()]);
            world.apply(change(key, object));
            let after = world.snapshot();
            let changes = world.take_changes();
            for identity in proxies() {
                let old = ProxyView::of(&before, &identity);
                let new = ProxyView::of(&after, &identity);
                let named = impact(&changes, &old, &after);
                for type_url in TYPES.into_iter().filter(|t| !named.contains(t)) {
                    let differ = differing(type_url, (&before, &old), (&after, &new));
                    prop_assert!(
                        differ.is_empty(),
                        "{} of {}: {:?} after {:?}\nchanges: {:?}",
                        type_url, identity.name, differ, key, changes
                    );
                }
            }
            before = after;
        }
    }
}
