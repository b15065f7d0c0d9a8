//! The accepted resources of a proxy, in memory and as files.
//!
//! Each type is a file that holds a `DeltaDiscoveryResponse`, named after its content; an index names the files that belong
//! together and is replaced last. So a change of endpoints rewrites the endpoints alone, and a crash leaves the set before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_proto::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};
use meltemi_proto::type_url;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::Directory;
use crate::istiod::Failure;

/// Resources of one type, by name.
pub type Resources = BTreeMap<String, Arc<Resource>>;

/// The accepted resources, by type URL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    types: BTreeMap<String, Arc<Resources>>,
}

/// Changes when the files are no longer read as before.
const FORMAT: u32 = 1;
const INDEX: &str = "config.json";
const SUFFIX: &str = ".resources";
/// Limit of the index, in bytes.
const MAX_INDEX: u64 = 1 << 20;
/// Limit of all resources together, in bytes. What is larger is not kept.
const MAX_CONFIG: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Index {
    format: u32,
    /// The proxy: kind, name and namespace.
    proxy: String,
    files: BTreeMap<String, String>,
}

impl Config {
    /// Resources of a type.
    pub fn get(&self, type_url: &str) -> Option<&Resources> {
        self.types.get(type_url).map(Arc::as_ref)
    }

    /// Replaces the resources of a type.
    pub fn set(&mut self, type_url: &str, resources: Resources) {
        // What did not change stays shared, so that comparing is cheap.
        if self.get(type_url) != Some(&resources) {
            self.types.insert(type_url.to_owned(), Arc::new(resources));
        }
    }

    /// Whether there is anything in it with which a proxy could start.
    pub fn is_empty(&self) -> bool {
        self.get(type_url::LISTENER).is_none_or(BTreeMap::is_empty)
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.types.values().map(|resources| resources.len()).sum()
    }

    /// Writes what is not there yet; `proxy` says whose it is.
    ///
    /// # Errors
    /// When it is too large or cannot be written; what was there before is still there then.
    pub fn save(&self, directory: &Directory, proxy: &str) -> Result<(), Failure> {
        let there = directory.names()?;
        let (mut files, mut size) = (BTreeMap::new(), 0);
        for (type_url, resources) in &self.types {
            let resources = resources.values().map(|resource| resource.as_ref().clone()).collect();
            let message =
                DeltaDiscoveryResponse { type_url: type_url.clone(), resources, ..Default::default() };
            size += message.encoded_len() as u64;
            if size > MAX_CONFIG {
                return Err(format!("the resources are larger than {MAX_CONFIG} bytes").into());
            }
            let bytes = message.encode_to_vec();
            let name = file_name(type_url, &bytes);
            if !there.contains(&name) {
                directory.write(&name, &bytes)?;
            }
            files.insert(type_url.clone(), name);
        }
        let index = Index { format: FORMAT, proxy: proxy.to_owned(), files };
        directory.write(INDEX, &serde_json::to_vec_pretty(&index)?)?;
        let used = |name: &String| index.files.values().any(|file| file == name);
        for name in there.iter().filter(|name| name.ends_with(SUFFIX) && !used(name)) {
            directory.remove(name)?;
        }
        Ok(())
    }

    /// Reads what was written for `proxy`; `None` when nothing was.
    ///
    /// # Errors
    /// When it is not whole, of another format or of another proxy.
    pub fn load(directory: &Directory, proxy: &str) -> Result<Option<Self>, Failure> {
        let Some(index) = directory.read(INDEX, MAX_INDEX)? else { return Ok(None) };
        let index: serde_json::Value = serde_json::from_slice(&index)?;
        if index["format"] != FORMAT {
            return Err(format!("format {}, expected {FORMAT}", index["format"]).into());
        }
        let index: Index = serde_json::from_value(index)?;
        if index.proxy != proxy {
            return Err(format!("it is of {}", index.proxy).into());
        }
        let mut config = Self::default();
        for (type_url, name) in index.files {
            config.types.insert(type_url.clone(), Arc::new(load_type(directory, &type_url, &name)?));
        }
        Ok(Some(config))
    }
}

fn load_type(directory: &Directory, type_url: &str, name: &str) -> Result<Resources, Failure> {
    if name.contains('/') {
        return Err(format!("{name:?} is not a name of ours").into());
    }
    let bytes = directory.read(name, MAX_CONFIG)?.ok_or_else(|| format!("{name} is missing"))?;
    if file_name(type_url, &bytes) != name {
        return Err(format!("{name} is damaged").into());
    }
    let message = DeltaDiscoveryResponse::decode(bytes.as_slice())?;
    Ok(message.resources.into_iter().map(|resource| (resource.name.clone(), Arc::new(resource))).collect())
}

/// `CDS-<hash of the content>.resources`: equal content is not written again, and damage shows.
fn file_name(type_url: &str, bytes: &[u8]) -> String {
    let short: String = type_url::short(type_url)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' })
        .collect();
    format!("{short}-{:016x}{SUFFIX}", fnv(bytes))
}

/// FNV-1a: the same for ever, unlike the standard library's. It finds accidents, not malice.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use meltemi_proto::google::protobuf::Any;

    use super::*;

    fn resource(name: &str, value: u8) -> (String, Arc<Resource>) {
        let any = Any { type_url: type_url::LISTENER.into(), value: vec![value; 9] };
        let resource =
            Resource { name: name.into(), version: "1".into(), resource: Some(any), ..Default::default() };
        (name.into(), Arc::new(resource))
    }

    fn config(listeners: &[(&str, u8)]) -> Config {
        let mut config = Config::default();
        config
            .set(type_url::LISTENER, listeners.iter().map(|(name, value)| resource(name, *value)).collect());
        config.set(type_url::CLUSTER, Resources::from([resource("c", 3)]));
        config
    }

    fn directory() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(&dir.path().join("last-good")).unwrap();
        (dir, directory)
    }

    #[test]
    fn what_was_written_last_is_read_and_nothing_else_is_left() {
        let (_dir, directory) = directory();
        assert_eq!(Config::load(&directory, "me").unwrap(), None);
        config(&[("a", 1)]).save(&directory, "me").unwrap();
        let (second, before) = (config(&[("a", 2), ("b", 1)]), directory.names().unwrap());
        second.save(&directory, "me").unwrap();
        assert_eq!(Config::load(&directory, "me").unwrap(), Some(second));
        let after = directory.names().unwrap();
        assert_eq!((before.len(), after.len()), (3, 3), "{before:?} {after:?}");
        assert_eq!(
            before.iter().filter(|name| after.contains(name)).count(),
            2,
            "the clusters were not written"
        );
        for name in after {
            let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_not_ours_or_not_whole_is_refused() {
        let (_dir, directory) = directory();
        let refused = |expected: &str| {
            let error = Config::load(&directory, "me").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        config(&[("a", 1)]).save(&directory, "you").unwrap();
        refused("it is of you");
        config(&[("a", 1)]).save(&directory, "me").unwrap();
        let names = directory.names().unwrap();
        let listeners = names.iter().find(|name| name.starts_with("LDS")).unwrap();
        let mut bytes = directory.read(listeners, 1 << 20).unwrap().unwrap();
        bytes[20] ^= 1;
        directory.write(listeners, &bytes).unwrap();
        refused("is damaged");
        directory.remove(listeners).unwrap();
        refused("is missing");
        directory.write(INDEX, br#"{"format": 7, "other": true}"#).unwrap();
        refused("format 7, expected 1");
        directory.write(INDEX, b"{").unwrap();
        refused("EOF");
    }

    #[test]
    fn a_directory_is_for_its_owner_only() {
        let (dir, directory) = directory();
        let mode = std::fs::metadata(directory.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        assert!(Directory::open(&link).is_err());
    }
}
