//! Which volume a claim gets. Pure.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use meltemi_apiserver::selector::LabelSelector;

use super::claim_of;
use crate::pod::env::quantity;

/// The volume that a claim is bound to already, the one that it names, or the smallest free one that fits.
pub fn choose<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [PersistentVolume],
) -> Option<&'a PersistentVolume> {
    let uid = claim.uid();
    let bound =
        |volume: &&PersistentVolume| claim_of(volume).is_some_and(|of| uid.is_some() && of.uid == uid);
    if let Some(own) = volumes.iter().find(bound) {
        return Some(own);
    }
    if let Some(named) = named(claim) {
        return volumes.iter().find(|volume| volume.name_any() == named && is_free(claim, volume));
    }
    let fitting = volumes.iter().filter(|volume| is_free(claim, volume) && fits(claim, volume));
    // One that is kept for this claim goes before any other.
    fitting.min_by(|a, b| {
        let order = |volume: &PersistentVolume| (claim_of(volume).is_none(), size(volume));
        order(a).partial_cmp(&order(b)).unwrap_or(std::cmp::Ordering::Equal)
    })
}

/// The volume that a claim asks for by name.
pub fn named(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// The class of a claim, "" for none.
pub fn class(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default()
}

/// How much a claim asks for.
pub fn request(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")
}

fn size(volume: &PersistentVolume) -> f64 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    capacity.and_then(quantity).unwrap_or(0.0)
}

fn is_free(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let kept_for_it = |of: &k8s_openapi::api::core::v1::ObjectReference| {
        of.uid.is_none() && of.name == claim.metadata.name && of.namespace == claim.metadata.namespace
    };
    volume.metadata.deletion_timestamp.is_none()
        && !matches!(phase, "Released" | "Failed")
        && claim_of(volume).is_none_or(kept_for_it)
}

fn fits(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let (Some(wanted), Some(offered)) = (&claim.spec, &volume.spec) else { return false };
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    let modes = offered.access_modes.as_deref().unwrap_or_default();
    let selector = wanted.selector.as_ref().and_then(|selector| serde_json::to_value(selector).ok());
    let labels = volume.labels().iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    offered.storage_class_name.as_deref().unwrap_or_default() == class(claim)
        && mode(&wanted.volume_mode) == mode(&offered.volume_mode)
        && wanted.access_modes.iter().flatten().all(|mode| modes.contains(mode))
        && size(volume) >= request(claim).and_then(quantity).unwrap_or(0.0)
        && LabelSelector::from_object(selector.as_ref()).matches_labels(&labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(spec: Value) -> PersistentVolumeClaim {
        let mut whole = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
            "resources": {"requests": {"storage": "2Gi"}}});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let meta = json!({"name": "c", "namespace": "n", "uid": "u"});
        serde_json::from_value(json!({"metadata": meta, "spec": whole})).unwrap()
    }

    fn volume(name: &str, size: &str, more: Value) -> PersistentVolume {
        let mut spec = json!({"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "storageClassName": "manual",
            "capacity": {"storage": size}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let meta = json!({"name": name, "labels": {"disk": name}});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    #[test]
    fn the_smallest_free_volume_that_fits() {
        let kept = |name: &str, uid: Value| json!({"claimRef": {"name": name, "namespace": "n", "uid": uid}});
        let mut volumes = vec![
            volume("small", "1Gi", json!({})),
            volume("big", "5Gi", json!({})),
            volume("right", "2048Mi", json!({})),
            volume("other-class", "2Gi", json!({"storageClassName": "fast"})),
            volume("taken", "2Gi", kept("c", json!("another"))),
            volume("for-another", "2Gi", kept("d", json!(null))),
        ];
        let chosen = |spec: Value, volumes: &[PersistentVolume]| {
            choose(&claim(spec), volumes).map(|volume| volume.name_any())
        };
        assert_eq!(chosen(json!({}), &volumes).as_deref(), Some("right"));
        assert_eq!(chosen(json!({"volumeName": "big"}), &volumes).as_deref(), Some("big"));
        assert_eq!(chosen(json!({"volumeName": "taken"}), &volumes), None);
        assert_eq!(chosen(json!({"accessModes": ["ReadWriteMany"]}), &volumes), None);
        let labelled = json!({"selector": {"matchLabels": {"disk": "big"}}});
        assert_eq!(chosen(labelled, &volumes).as_deref(), Some("big"));
        volumes.push(volume("kept", "9Gi", kept("c", json!(null))));
        assert_eq!(chosen(json!({}), &volumes).as_deref(), Some("kept"));
        volumes.push(volume("own", "2Gi", kept("c", json!("u"))));
        assert_eq!(chosen(json!({}), &volumes).as_deref(), Some("own"));
    }
}
