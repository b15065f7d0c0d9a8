//! The claims that a pod's volumes name, and the directories they stand for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::ResourceExt as _;

use super::live::Node;
use crate::controllers::storage::{is_bound, volumes};

/// The directory of a claim, and whether pods may only read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is on this machine.
    pub path: PathBuf,
    /// It is the machine's own.
    pub read_only: bool,
}

/// The names of the claims that a pod uses.
pub fn names(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

impl Node {
    /// Why a pod's claims keep it from being started, in the words of an event.
    pub(super) fn unclaimed(&self, pod: &Pod) -> Option<String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let leaves = |name: &str| {
            let claim = self.claims.get(namespace, name)?;
            let leaves = claim.metadata.deletion_timestamp.is_some();
            leaves.then(|| format!("persistentvolumeclaim {name:?} is being deleted"))
        };
        names(pod).find_map(|name| leaves(name).or_else(|| self.volume_of(namespace, name).err()))
    }

    /// The directory of a claim, made where it is ours and missing.
    pub(super) fn claimed(&self, namespace: &str, name: &str) -> Result<Directory, String> {
        let volume = self.volume_of(namespace, name)?;
        directory(&volume, &self.volume_dir)
    }

    fn volume_of(&self, namespace: &str, name: &str) -> Result<Arc<PersistentVolume>, String> {
        let claim = self.claims.get(namespace, name);
        let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        let unbound = || "pod has unbound immediate PersistentVolumeClaims".to_owned();
        let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
        let wanted = wanted.filter(|_| is_bound(&claim)).ok_or_else(unbound)?;
        // It may have been bound before we have heard of the volume.
        self.volumes.all().into_iter().find(|volume| volume.name_any() == wanted).ok_or_else(unbound)
    }
}

/// A directory of the machine's that a volume names is read, never written; one that is not there is made below ours.
fn directory(volume: &PersistentVolume, base: &Path) -> Result<Directory, String> {
    let spec = volume.spec.clone().unwrap_or_default();
    let host = spec.host_path.map(|host| host.path).or(spec.local.map(|local| local.path));
    let host = host.ok_or_else(|| {
        format!(
            "the volume {:?} is neither `local` nor `hostPath`: there are no others here",
            volume.name_any()
        )
    })?;
    let host = PathBuf::from(host);
    if !volumes::is_ours(volume) && host.exists() {
        return Ok(Directory { path: host, read_only: true });
    }
    // Not by the path that the volume names: that is for people, and the data directory may have been moved.
    let path = volumes::directory(base, &volume.name_any()).map_err(|error| error.to_string())?;
    Ok(Directory { path, read_only: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_our_directories_are_written_to() {
        let (base, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let volume = |made_by: &str, source: serde_json::Value| -> PersistentVolume {
            let notes = json!({"pv.kubernetes.io/provisioned-by": made_by});
            let meta = json!({"name": "v", "annotations": notes});
            serde_json::from_value(json!({"metadata": meta, "spec": source})).unwrap()
        };
        let there = json!({"hostPath": {"path": host.path()}});
        let own = Directory { path: base.path().join("v"), read_only: false };
        let of = |volume: PersistentVolume| directory(&volume, base.path());
        let read = Directory { path: host.path().into(), read_only: true };
        assert_eq!(of(volume("me", there.clone())), Ok(read));
        assert_eq!(of(volume("meltemi.io/local", there)), Ok(own.clone()), "its path is not trusted");
        assert_eq!(of(volume("me", json!({"local": {"path": "/no/such/directory"}}))), Ok(own));
        assert!(of(volume("me", json!({"nfs": {"server": "s", "path": "/"}}))).is_err());
    }
}
