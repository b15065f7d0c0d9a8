//! One claim: bound to a volume that is there, or to one that is made for it; held while pods use it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::super::{Context, Fault, event, gone_is_fine, workload};
use super::{PROVISIONER, choice, claim_of, is_bound, volumes, with_finalizer, without_finalizer};
use crate::pod::claims::names;

/// Keeps a claim until no pod uses it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// Takes one claim one step further.
pub async fn reconcile(claim: Arc<PersistentVolumeClaim>, context: Arc<Context>) -> Result<Action, Fault> {
    let client = &context.client;
    if claim.metadata.deletion_timestamp.is_some() {
        let_go(client, &claim).await?;
        return Ok(Action::await_change());
    }
    if is_bound(&claim) {
        return Ok(Action::await_change());
    }
    let all = Api::<PersistentVolume>::all(client.clone()).list(&ListParams::default()).await?.items;
    let volume = match choice::choose(&claim, &all) {
        Some(volume) => volume.clone(),
        None => match provision(&context, &claim).await? {
            Ok(volume) => volume,
            Err((severity, reason, text)) => {
                event(client, claim.as_ref(), severity, reason, &text).await;
                return Ok(Action::await_change());
            }
        },
    };
    bind(client, &claim, &volume).await?;
    Ok(Action::await_change())
}

/// Why a claim waits: how grave that is, the reason and the words of an event.
type Waiting = (&'static str, &'static str, String);

/// Makes a volume, if the claim's class says that it is for us to do.
async fn provision(
    context: &Context,
    claim: &PersistentVolumeClaim,
) -> Result<Result<PersistentVolume, Waiting>, Fault> {
    if let Some(named) = choice::named(claim) {
        let text = format!("the volume {named:?} that is asked for is not there, or not free");
        return Ok(Err(("Warning", "FailedBinding", text)));
    }
    let name = choice::class(claim);
    if name.is_empty() {
        let text = "no persistent volumes available for this claim and no storage class is set";
        return Ok(Err(("Normal", "FailedBinding", text.into())));
    }
    let classes: Api<StorageClass> = Api::all(context.client.clone());
    let Some(class) = classes.get_opt(name).await? else {
        let text = format!("storageclass.storage.k8s.io {name:?} not found");
        return Ok(Err(("Warning", "ProvisioningFailed", text)));
    };
    if class.provisioner != PROVISIONER {
        let text = format!(
            "nobody here makes volumes as {:?}; the class `standard` ({PROVISIONER}) makes directories of this machine",
            class.provisioner
        );
        return Ok(Err(("Warning", "ProvisioningFailed", text)));
    }
    if claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        let text = "volumes are directories here: volumeMode must be Filesystem";
        return Ok(Err(("Warning", "ProvisioningFailed", text.into())));
    }
    match volumes::make(context, claim, &class).await? {
        Ok(volume) => {
            let text = format!("Successfully provisioned volume {}", volume.name_any());
            event(&context.client, claim, "Normal", "ProvisioningSucceeded", &text).await;
            Ok(Ok(volume))
        }
        Err(error) => Ok(Err(("Warning", "ProvisioningFailed", error.to_string()))),
    }
}

/// Ties claim and volume together, the volume first: from then on it is nobody else's.
async fn bind(
    client: &Client,
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Result<(), Fault> {
    let (name, namespace) = (claim.name_any(), claim.namespace().unwrap_or_default());
    let parameters = PatchParams::default();
    if claim_of(volume).is_none_or(|of| of.uid != claim.metadata.uid) {
        let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": namespace, "name": name, "uid": claim.metadata.uid});
        let patch = json!({"spec": {"claimRef": reference}, "metadata": {
            "resourceVersion": volume.resource_version(),
            "finalizers": with_finalizer(volume, volumes::PROTECTION),
            "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}});
        let volumes: Api<PersistentVolume> = Api::all(client.clone());
        volumes.patch(&volume.name_any(), &parameters, &Patch::Merge(patch)).await?;
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({"spec": {"volumeName": volume.name_any()}, "metadata": {
        "resourceVersion": claim.resource_version(),
        "finalizers": with_finalizer(claim, PROTECTION),
        "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}});
    claims.patch(&name, &parameters, &Patch::Merge(patch)).await?;
    let spec = volume.spec.clone().unwrap_or_default();
    let status = json!({"phase": "Bound", "accessModes": spec.access_modes, "capacity": spec.capacity});
    claims.patch_status(&name, &parameters, &Patch::Merge(json!({ "status": status }))).await?;
    Ok(())
}

/// Lets a deleted claim go when no pod uses it any more.
async fn let_go(client: &Client, claim: &PersistentVolumeClaim) -> Result<(), Fault> {
    let Some(finalizers) = without_finalizer(claim, PROTECTION) else { return Ok(()) };
    let (name, namespace) = (claim.name_any(), claim.namespace().unwrap_or_default());
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace).list(&ListParams::default()).await?;
    let ended = |pod: &Pod| matches!(workload::phase(pod), "Succeeded" | "Failed");
    if pods.iter().any(|pod| !ended(pod) && names(pod).any(|used| used == name)) {
        return Ok(());
    }
    let patch = json!({"metadata": {"resourceVersion": claim.resource_version(), "finalizers": finalizers}});
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    gone_is_fine(claims.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
}
