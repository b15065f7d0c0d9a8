//! One volume: made for a claim, free for one, bound, or taken back.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::super::{Context, Fault, gone_is_fine, trouble};
use super::{MADE_BY, PROVISIONER, choice, claim_of, without_finalizer};
use crate::cluster::NODE_NAME;

/// Keeps a volume until its claim is gone.
pub const PROTECTION: &str = "kubernetes.io/pv-protection";

/// Makes the directory and the volume for a claim. The inner error is the file system's.
pub async fn make(
    context: &Context,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
) -> Result<io::Result<PersistentVolume>, Fault> {
    let name = format!("pvc-{}", claim.uid().unwrap_or_default());
    let path = match directory(&context.volume_dir, &name) {
        Ok(path) => path,
        Err(error) => return Ok(Err(error)),
    };
    let spec = claim.spec.clone().unwrap_or_default();
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]});
    let volume = json!({
        "metadata": {"name": name, "annotations": {MADE_BY: PROVISIONER}, "finalizers": [PROTECTION]},
        "spec": {
            "capacity": {"storage": choice::request(claim)},
            "accessModes": spec.access_modes,
            "persistentVolumeReclaimPolicy": class.reclaim_policy,
            "storageClassName": class.name_any(),
            "volumeMode": "Filesystem",
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.metadata.name,
                "namespace": claim.metadata.namespace, "uid": claim.metadata.uid},
        },
    });
    let volume: PersistentVolume = serde_json::from_value(volume).map_err(kube::Error::SerdeError)?;
    let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
    Ok(Ok(volumes.create(&PostParams::default(), &volume).await?))
}

/// The directory of a volume, which any user of a container may write to; others on this machine do not get there.
///
/// # Errors
/// When it cannot be made.
pub fn directory(base: &Path, name: &str) -> io::Result<std::path::PathBuf> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(base)?;
    let path = base.join(name);
    if !path.is_dir() {
        std::fs::create_dir(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
    }
    Ok(path)
}

/// Takes one volume one step further.
pub async fn reconcile(volume: Arc<PersistentVolume>, context: Arc<Context>) -> Result<Action, Fault> {
    let client = &context.client;
    let deleted = volume.metadata.deletion_timestamp.is_some();
    let phase = match claim_of(&volume) {
        None => "Available",
        Some(claim) if claim.uid.is_none() => "Available",
        Some(_) if has_claim(client, &volume).await? => "Bound",
        Some(_) => "Released",
    };
    if phase == "Released" && is_ours(&volume) && reclaims(&volume) {
        return take_back(&context, &volume).await;
    }
    if phase != "Bound" && deleted {
        unprotect(client, &volume).await?;
        return Ok(Action::await_change());
    }
    let before = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    if before != Some(phase) {
        let volumes: Api<PersistentVolume> = Api::all(client.clone());
        let patch = Patch::Merge(json!({"status": {"phase": phase}}));
        gone_is_fine(volumes.patch_status(&volume.name_any(), &PatchParams::default(), &patch).await)?;
    }
    Ok(Action::await_change())
}

/// Whether the directory is ours to make and to remove.
pub fn is_ours(volume: &PersistentVolume) -> bool {
    volume.annotations().get(MADE_BY).is_some_and(|by| by == PROVISIONER)
}

fn reclaims(volume: &PersistentVolume) -> bool {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy == Some("Delete")
}

async fn has_claim(client: &Client, volume: &PersistentVolume) -> Result<bool, Fault> {
    let Some(wanted) = claim_of(volume) else { return Ok(false) };
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(client.clone(), wanted.namespace.as_deref().unwrap_or_default());
    let found = claims.get_opt(wanted.name.as_deref().unwrap_or_default()).await?;
    Ok(found.is_some_and(|claim| claim.metadata.uid == wanted.uid))
}

/// Removes the directory, then the volume.
async fn take_back(context: &Context, volume: &PersistentVolume) -> Result<Action, Fault> {
    let path = context.volume_dir.join(volume.name_any());
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
    match removed.map_err(io::Error::other).and_then(|removed| removed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            trouble(&context.client, volume, "VolumeFailedDelete", &error.to_string()).await;
            return Err(Fault::Refused(error.to_string()));
        }
        _ => {}
    }
    unprotect(&context.client, volume).await?;
    let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
    gone_is_fine(volumes.delete(&volume.name_any(), &DeleteParams::default()).await)?;
    Ok(Action::await_change())
}

async fn unprotect(client: &Client, volume: &PersistentVolume) -> Result<(), Fault> {
    let Some(finalizers) = without_finalizer(volume, PROTECTION) else { return Ok(()) };
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let patch = json!({"metadata": {"resourceVersion": volume.resource_version(), "finalizers": finalizers}});
    gone_is_fine(volumes.patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)
}
