//! Where a container sees its pod's volumes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, Volume};

use crate::container::place::{self, Links};
use crate::container::spec::Mount;
use crate::pod::env::{self, Sources};

/// What mounts refer to.
pub struct Place<'a> {
    /// Where the pod's own volumes are.
    pub base: &'a Path,
    /// The container's environment, for `subPathExpr`.
    pub env: &'a [(String, String)],
    /// Where claims have their directories.
    pub sources: &'a dyn Sources,
}

/// Where a container's volumes are mounted, in order of depth so that one may lie in another.
pub fn mounts(pod: &Pod, container: &Container, place: &Place<'_>) -> Result<Vec<Mount>, String> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let volumes: BTreeMap<&str, &Volume> = volumes.map(|v| (v.name.as_str(), v)).collect();
    let mut mounts = Vec::new();
    for wanted in container.volume_mounts.iter().flatten() {
        let volume = volumes
            .get(wanted.name.as_str())
            .ok_or_else(|| format!("there is no volume {:?}", wanted.name))?;
        let (mut source, mut read_only) = (place.base.join(&wanted.name), wanted.read_only == Some(true));
        let mut own = volume.empty_dir.is_some();
        if let Some(host) = &volume.host_path {
            (source, read_only) = host_path(&host.path, host.type_.as_deref(), source, read_only)?;
        } else if let Some(claim) = &volume.persistent_volume_claim {
            let directory = place.sources.claim(&claim.claim_name)?;
            own = !directory.read_only;
            source = directory.path;
            read_only |= directory.read_only || claim.read_only == Some(true);
        } else {
            read_only |= !own;
        }
        let sub = match (&wanted.sub_path_expr, &wanted.sub_path) {
            (Some(expression), _) => Some(env::expand(expression, place.env)),
            (None, sub) => sub.clone(),
        };
        let sub = sub.filter(|s| !s.is_empty());
        if let Some(sub) = &sub {
            sub_path(&source, sub, own)?;
        }
        let target = PathBuf::from(&wanted.mount_path);
        mounts.push(Mount { source, sub: sub.map(PathBuf::from), target, read_only });
    }
    mounts.sort_by_key(|m| m.target.components().count());
    Ok(mounts)
}

/// A directory of the host is seen read-only; one that is to be made is made in memory instead, never on the host.
fn host_path(
    path: &str,
    kind: Option<&str>,
    in_memory: PathBuf,
    read_only: bool,
) -> Result<(PathBuf, bool), String> {
    let host = PathBuf::from(path);
    if host.exists() {
        return Ok((host, true));
    }
    if matches!(kind, Some("DirectoryOrCreate") | None | Some("")) {
        return Ok((in_memory, read_only));
    }
    Err(format!("hostPath {path} does not exist on this machine"))
}

/// Checks that a part of a volume is there, and makes it where it may be made.
fn sub_path(source: &Path, sub: &str, create: bool) -> Result<(), String> {
    let relative = Path::new(sub);
    if relative.is_absolute() || relative.components().any(|c| c == std::path::Component::ParentDir) {
        return Err(format!("subPath {sub:?} must be relative and must not hold `..`"));
    }
    let found = place::root(source).and_then(|root| match place::find(&root, relative, Links::Beneath) {
        Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
            place::directory(root.as_fd(), relative, Links::Beneath, 0o777)
        }
        found => found,
    });
    match found {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("subPath {sub:?} does not exist in the volume"))
        }
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            Err(format!("subPath {sub:?} leads out of the volume"))
        }
        Err(error) => Err(format!("subPath {sub:?}: {error}")),
    }
}
