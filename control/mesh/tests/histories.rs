//! Whatever the history, the snapshot depends only on which objects there are.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use meltemi_config::{AnyObject, Kind, parse};
use meltemi_mesh::{Change, ProxyIdentity, ProxyKind, ProxyView, Settings, World};
use proptest::prelude::*;
use serde::Deserialize as _;

/// `PROPTEST_CASES` asks for more.
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

type Key = (Kind, String, String);

/// Every object of the pool with its versions.
static POOL: LazyLock<Vec<(Key, Vec<AnyObject>)>> = LazyLock::new(read_pool);

fn read_pool() -> Vec<(Key, Vec<AnyObject>)> {
    let mut pool: BTreeMap<Key, Vec<AnyObject>> = BTreeMap::new();
    for document in yaml_serde::Deserializer::from_str(include_str!("pool.yaml")) {
        let value = serde_json::Value::deserialize(document).expect("YAML");
        if value.is_null() {
            continue;
        }
        let object = parse::parse(&value).unwrap_or_else(|e| panic!("{value}: {e:?}"));
        let key = (object.kind(), object.namespace().to_owned(), object.name().to_owned());
        pool.entry(key).or_default().push(object);
    }
    pool.into_iter().collect()
}

/// A sidecar in each namespace.
fn proxies() -> Vec<ProxyIdentity> {
    let proxy = |namespace: &str| ProxyIdentity {
        kind: ProxyKind::Sidecar,
        name: "api-1".to_owned(),
        namespace: namespace.to_owned(),
        ips: vec![],
        labels: [("app".to_owned(), "api".to_owned())].into(),
        service_account: "sa".to_owned(),
        metadata: Default::default(),
        extensions: Default::default(),
    };
    vec![proxy("a"), proxy("b")]
}

fn change(key: &Key, object: Option<&AnyObject>) -> Change {
    match object {
        Some(object) => Change::Upsert(object.clone()),
        None => Change::Delete(key.0, key.1.clone(), key.2.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(100), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_snapshot_depends_only_on_what_there_is(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, any::<bool>()), 1..80),
    ) {
        let pool = &*POOL;
        let mut lived = World::new(Settings::default());
        let mut last: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        for (which, version, look) in steps {
            let which = which.index(pool.len());
            let (key, versions) = &pool[which];
            let version = (version < 3).then_some(version % versions.len());
            lived.apply(change(key, version.map(|v| &versions[v])));
            last.insert(which, version);
            if look {
                // Looking must leave nothing behind that later views would see.
                let snapshot = lived.snapshot();
                proxies().iter().for_each(|proxy| drop(ProxyView::of(&snapshot, proxy)));
            }
        }
        let mut fresh = World::new(Settings::default());
        for (which, version) in &last {
            if let Some(version) = version {
                fresh.apply(change(&pool[*which].0, Some(&pool[*which].1[*version])));
            }
        }
        let (lived, fresh) = (lived.snapshot(), fresh.snapshot());
        // Field by field: a failure then says where to look.
        prop_assert_eq!(&lived.services, &fresh.services);
        prop_assert_eq!(&lived.endpoints, &fresh.endpoints);
        prop_assert_eq!(&lived.workloads_by_ip, &fresh.workloads_by_ip);
        prop_assert!(lived == fresh);
        for proxy in proxies() {
            prop_assert_eq!(ProxyView::of(&lived, &proxy), ProxyView::of(&fresh, &proxy));
        }
    }

    #[test]
    fn doing_it_twice_changes_nothing(
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 1..40),
    ) {
        let pool = &*POOL;
        let mut world = World::new(Settings::default());
        for (which, version) in &picks {
            let (key, versions) = which.get(pool);
            world.apply(change(key, versions.get(version % versions.len())));
        }
        let before = world.snapshot();
        world.take_changes();
        let mut last: BTreeMap<&Key, &AnyObject> = BTreeMap::new();
        for (which, version) in &picks {
            let (key, versions) = which.get(pool);
            last.insert(key, &versions[version % versions.len()]);
        }
        for (key, object) in last {
            world.apply(change(key, Some(object)));
        }
        prop_assert!(before == world.snapshot());
        let again = world.take_changes();
        prop_assert!(again.is_empty(), "{:?}", again);
    }
}
