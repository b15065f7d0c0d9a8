//! A pod's volumes as directories in memory: made before its containers start, and kept up to date.

mod mounts;
mod publish;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection,
};

use super::env::{self, Sources};
pub use mounts::{Place, mounts};
pub use publish::{Files, publish};

/// A token that a pod asked for: which volume and source, and what it is to be for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequest {
    /// The audience; the API server itself if `None`.
    pub audience: Option<String>,
    /// Its life in seconds.
    pub seconds: i64,
}

/// Tokens that were issued.
pub type Tokens = BTreeMap<TokenRequest, Token>;

/// A token, and when to get the next one.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token itself.
    pub text: String,
    /// When four fifths of its life are over.
    pub refresh: Timestamp,
}

/// The tokens that a pod's volumes ask for.
pub fn wanted_tokens(pod: &Pod) -> Vec<TokenRequest> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let sources = volumes.filter_map(|v| v.projected.as_ref()?.sources.as_ref()).flatten();
    let mut wanted: Vec<TokenRequest> = sources.filter_map(token_request).collect();
    wanted.sort();
    wanted.dedup();
    wanted
}

fn token_request(source: &VolumeProjection) -> Option<TokenRequest> {
    let token = source.service_account_token.as_ref()?;
    let audience = token.audience.clone().filter(|a| !a.is_empty());
    Some(TokenRequest { audience, seconds: token.expiration_seconds.unwrap_or(3600) })
}

/// Makes or updates all volumes below `base`. The error says what is missing, as `FailedMount` events do.
pub fn materialize(pod: &Pod, base: &Path, sources: &dyn Sources, tokens: &Tokens) -> Result<(), String> {
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let dir = base.join(&volume.name);
        let failed = |e: io::Error| format!("volume \"{}\": {e}", volume.name);
        if let Some(claim) = &volume.persistent_volume_claim {
            sources.claim(&claim.claim_name).map_err(|e| format!("volume \"{}\": {e}", volume.name))?;
            continue;
        }
        let is_new = !dir.exists();
        fs::create_dir_all(&dir).map_err(failed)?;
        if volume.empty_dir.is_some() {
            // Once only: the permissions are the containers' to change.
            if !is_new {
                continue;
            }
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        } else if volume.host_path.is_none() {
            let files = files(pod, volume, sources, tokens)
                .map_err(|e| format!("MountVolume.SetUp failed for volume \"{}\" : {e}", volume.name))?;
            publish(&dir, &files).map_err(failed)?;
        }
    }
    Ok(())
}

fn files(pod: &Pod, volume: &Volume, sources: &dyn Sources, tokens: &Tokens) -> Result<Files, String> {
    let mut files = Files::new();
    if let Some(v) = &volume.config_map {
        let from =
            Keyed { kind: "configmap", name: &v.name, items: v.items.as_deref(), optional: v.optional };
        from.take(sources.config_map(&v.name), mode(v.default_mode), &mut files)?;
    } else if let Some(v) = &volume.secret {
        let name = v.secret_name.as_deref().unwrap_or_default();
        let from = Keyed { kind: "secret", name, items: v.items.as_deref(), optional: v.optional };
        from.take(sources.secret(name), mode(v.default_mode), &mut files)?;
    } else if let Some(v) = &volume.downward_api {
        downward(pod, v.items.as_deref(), sources, mode(v.default_mode), &mut files)?;
    } else if let Some(v) = &volume.projected {
        for source in v.sources.iter().flatten() {
            project(pod, source, sources, tokens, mode(v.default_mode), &mut files)?;
        }
    } else {
        return Err("this kind of volume is not supported on a one-machine cluster: use emptyDir, persistentVolumeClaim, configMap, secret, projected, downwardAPI or hostPath".into());
    }
    Ok(files)
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(0o644) & 0o777
}

#[allow(clippy::too_many_arguments, reason = "the parts of one projection")]
fn project(
    pod: &Pod,
    source: &VolumeProjection,
    sources: &dyn Sources,
    tokens: &Tokens,
    mode: u32,
    files: &mut Files,
) -> Result<(), String> {
    if let Some(v) = &source.config_map {
        let from =
            Keyed { kind: "configmap", name: &v.name, items: v.items.as_deref(), optional: v.optional };
        from.take(sources.config_map(&v.name), mode, files)?;
    }
    if let Some(v) = &source.secret {
        let from = Keyed { kind: "secret", name: &v.name, items: v.items.as_deref(), optional: v.optional };
        from.take(sources.secret(&v.name), mode, files)?;
    }
    if let Some(v) = &source.downward_api {
        downward(pod, v.items.as_deref(), sources, mode, files)?;
    }
    if let (Some(v), Some(request)) = (&source.service_account_token, token_request(source)) {
        let token = tokens.get(&request).ok_or("the service account's token has not been issued yet")?;
        files.insert(v.path.clone(), (token.text.clone().into_bytes(), mode));
    }
    Ok(())
}

struct Keyed<'a> {
    kind: &'static str,
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    optional: Option<bool>,
}

impl Keyed<'_> {
    fn take(
        &self,
        data: Option<BTreeMap<String, Vec<u8>>>,
        mode_of: u32,
        files: &mut Files,
    ) -> Result<(), String> {
        let optional = self.optional == Some(true);
        let Some(data) = data else {
            return if optional { Ok(()) } else { Err(format!("{} \"{}\" not found", self.kind, self.name)) };
        };
        let Some(items) = self.items.filter(|i| !i.is_empty()) else {
            files.extend(data.into_iter().map(|(key, value)| (key, (value, mode_of))));
            return Ok(());
        };
        for item in items {
            match data.get(&item.key) {
                Some(value) => {
                    let mode = item.mode.map_or(mode_of, |m| mode(Some(m)));
                    files.insert(item.path.clone(), (value.clone(), mode));
                }
                None if optional => {}
                None => return Err(format!("references non-existent {} key: {}", self.kind, item.key)),
            }
        }
        Ok(())
    }
}

fn downward(
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    sources: &dyn Sources,
    mode_of: u32,
    files: &mut Files,
) -> Result<(), String> {
    for item in items.into_iter().flatten() {
        let text = if let Some(field) = &item.field_ref {
            env::field(pod, &field.field_path, sources.facts())?
        } else if let Some(wanted) = &item.resource_field_ref {
            let name = wanted.container_name.as_deref().unwrap_or_default();
            let mut all = pod.spec.iter().flat_map(super::plan::containers);
            let container =
                all.find(|c| c.name == name).ok_or_else(|| format!("there is no container {name:?}"))?;
            env::resource(container, wanted, sources.facts())?
        } else {
            continue;
        };
        files.insert(item.path.clone(), (text.into_bytes(), item.mode.map_or(mode_of, |m| mode(Some(m)))));
    }
    Ok(())
}

/// A ConfigMap's data as bytes.
pub fn config_map_data(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
    text.chain(binary).collect()
}

/// A Secret's data as bytes.
pub fn secret_data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect()
}

/// The expiry in a token (a JWT), for deciding when to renew it.
pub fn token_expiry(token: &str) -> Option<Timestamp> {
    let payload = token.split('.').nth(1)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

#[cfg(test)]
mod tests;
