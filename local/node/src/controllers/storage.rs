//! Claims and volumes: a claim gets a directory below the data directory, for as long as it lives.

mod choice;
pub mod claims;
pub mod volumes;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, PostParams};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::{Fault, any, controller, exists_is_fine};
use crate::pod::claims::names;

/// The provisioner that makes directories of this machine.
pub const PROVISIONER: &str = "meltemi.io/local";
/// The class that claims get which name none.
const CLASS: &str = "standard";
/// The annotation that says who made a volume.
pub const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Makes the default class where it is missing; what users have made of theirs stays.
///
/// # Errors
/// When the API server refuses it.
pub async fn register(client: &Client) -> Result<(), Fault> {
    let class = json!({
        "metadata": {"name": CLASS, "annotations": {meltemi_apiserver::admission::builtin::DEFAULT_CLASS: "true"}},
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    });
    let classes: Api<StorageClass> = Api::all(client.clone());
    match serde_json::from_value(class) {
        Ok(class) => exists_is_fine(classes.create(&PostParams::default(), &class).await),
        Err(error) => Err(kube::Error::SerdeError(error).into()),
    }
}

/// What drives [`claims::reconcile`]: claims, volumes that become free, classes, and pods that let a claim go.
pub(super) fn claims(client: &Client) -> Controller<PersistentVolumeClaim> {
    let claims = controller::<PersistentVolumeClaim>(client);
    let (all, waiting) = (claims.store(), claims.store());
    let unbound = move || -> Vec<ObjectRef<PersistentVolumeClaim>> {
        let state = waiting.state();
        state
            .iter()
            .filter(|claim| !is_bound(claim))
            .map(|claim| ObjectRef::from_obj(claim.as_ref()))
            .collect()
    };
    let of_class = unbound.clone();
    claims
        .watches(Api::<PersistentVolume>::all(client.clone()), any(), move |_| unbound())
        .watches(Api::<StorageClass>::all(client.clone()), any(), move |_| of_class())
        .watches(Api::<Pod>::all(client.clone()), any(), move |pod| let_go(&all.state(), &pod))
}

/// The claims of a pod that are to be deleted.
fn let_go(claims: &[Arc<PersistentVolumeClaim>], pod: &Pod) -> Vec<ObjectRef<PersistentVolumeClaim>> {
    let is_its = |claim: &&Arc<PersistentVolumeClaim>| {
        claim.metadata.deletion_timestamp.is_some()
            && claim.namespace() == pod.namespace()
            && names(pod).any(|name| name == claim.name_any())
    };
    claims.iter().filter(is_its).map(|claim| ObjectRef::from_obj(claim.as_ref())).collect()
}

/// What drives [`volumes::reconcile`]: volumes, and the claims that they are bound to.
pub(super) fn volumes(client: &Client) -> Controller<PersistentVolume> {
    let of_claim = |claim: PersistentVolumeClaim| {
        let volume = claim.spec.and_then(|spec| spec.volume_name).filter(|name| !name.is_empty());
        volume.map(|name| ObjectRef::new(&name))
    };
    controller::<PersistentVolume>(client).watches(
        Api::<PersistentVolumeClaim>::all(client.clone()),
        any(),
        of_claim,
    )
}

/// Whether a claim has its volume.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// The claim that a volume is bound to, or kept for when the reference has no uid.
fn claim_of(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// An object's finalizers and one more.
fn with_finalizer<K: kube::Resource>(object: &K, finalizer: &str) -> Vec<String> {
    let mut all = object.meta().finalizers.clone().unwrap_or_default();
    if !all.iter().any(|one| one == finalizer) {
        all.push(finalizer.to_owned());
    }
    all
}

/// An object's finalizers but for one; `None` when it has not got it.
fn without_finalizer<K: kube::Resource>(object: &K, finalizer: &str) -> Option<Vec<String>> {
    let mut all = object.meta().finalizers.clone().unwrap_or_default();
    let before = all.len();
    all.retain(|one| one != finalizer);
    (all.len() < before).then_some(all)
}
