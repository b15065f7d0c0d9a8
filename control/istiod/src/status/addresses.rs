//! Addresses that hosts of ServiceEntries got, for the status of their objects: `{value, host}` as Istio writes them.
//!
//! What stands in a status is kept as long as it can be, so that all control planes and all of their lives agree.

use std::net::Ipv4Addr;

use meltemi_config::istio::ServiceEntry;
use meltemi_config::{AnyObject, Kind, Object};
use meltemi_mesh::Snapshot;
use meltemi_mesh::service::allocation;
use serde_json::{Value, json};

use crate::objects::Key;

/// ServiceEntries whose status does not say which addresses their hosts have, with what it should say.
pub fn of_objects(objects: &[AnyObject], snapshot: &Snapshot) -> Vec<(Key, Value)> {
    let entries = objects.iter().filter_map(|object| match object {
        AnyObject::ServiceEntry(entry) => Some(entry),
        _ => None,
    });
    entries
        .filter_map(|entry| {
            let addresses = addresses(entry, snapshot);
            let key = (Kind::ServiceEntry, entry.meta.namespace.clone(), entry.meta.name.clone());
            (written(entry) != addresses).then(|| (key, Value::Array(addresses)))
        })
        .collect()
}

fn addresses(entry: &Object<ServiceEntry>, snapshot: &Snapshot) -> Vec<Value> {
    let mut all = Vec::new();
    for host in &entry.spec.hosts {
        let service = snapshot.services.get(&entry.meta.namespace, &host.to_ascii_lowercase());
        let given = service.filter(|service| service.name == entry.meta.name);
        let given = given.into_iter().flat_map(|service| &service.auto_addresses);
        all.extend(given.map(|address| json!({"value": address, "host": host})));
    }
    all
}

/// What stands in the status already. Addresses from elsewhere are not ours to touch: they stand for none to be written.
fn written(entry: &Object<ServiceEntry>) -> Vec<Value> {
    let status = entry.status.as_ref().and_then(|status| status.get("addresses")?.as_array());
    let ours = |entry: &&Value| {
        let address =
            entry.get("value").and_then(Value::as_str).and_then(|text| text.parse::<Ipv4Addr>().ok());
        address.is_some_and(allocation::is_ours)
    };
    status.into_iter().flatten().filter(ours).cloned().collect()
}
