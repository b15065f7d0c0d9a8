//! The ConfigMaps that rule istiod itself: the mesh configuration and the injector's settings.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use meltemi_config::mesh_config::{MeshConfig, MeshNetworks};
use meltemi_inject::Injector;
use parking_lot::Mutex;

use super::Outlet;
use crate::options::Options;

/// Kubernetes has native sidecars by default since this version.
const NATIVE_SIDECARS_SINCE: (u32, u32) = (1, 29);

/// The settings in force. A document that cannot be read changes nothing.
pub struct Settings {
    mesh_name: String,
    injector_name: String,
    native_sidecars: AtomicBool,
    trust_domain: String,
    /// The domain that the authority was started for.
    certified: OnceLock<String>,
    texts: Mutex<Texts>,
    injection: ArcSwap<Injection>,
}

#[derive(Default)]
struct Texts {
    mesh: Option<String>,
    injector: BTreeMap<String, String>,
}

/// What the webhook injects with, or why it cannot.
type Injection = Result<Arc<Injector>, String>;

impl Settings {
    /// Settings that nobody has given yet: Istio's defaults.
    pub fn new(options: &Options) -> Arc<Self> {
        Arc::new(Self {
            mesh_name: options.mesh_config_map(),
            injector_name: options.injector_config_map(),
            native_sidecars: AtomicBool::new(options.native_sidecars),
            trust_domain: options.trust_domain.clone(),
            certified: OnceLock::new(),
            texts: Mutex::default(),
            injection: ArcSwap::from_pointee(Err("the injection settings have not been read yet".to_owned())),
        })
    }

    /// What the webhook injects with, or why it cannot.
    pub fn injector(&self) -> Result<Arc<Injector>, String> {
        Injection::clone(&self.injection.load())
    }

    /// The injector's ConfigMap, as it was written.
    pub fn injector_texts(&self) -> BTreeMap<String, String> {
        self.texts.lock().injector.clone()
    }

    /// The mesh configuration that is in force.
    pub fn mesh_config(&self) -> MeshConfig {
        let text = self.texts.lock().mesh.clone().unwrap_or_default();
        self.parse_mesh(&text).unwrap_or_default()
    }

    fn parse_mesh(&self, text: &str) -> Result<MeshConfig, String> {
        let base = MeshConfig { trust_domain: self.trust_domain.clone(), ..MeshConfig::default() };
        let loaded = base.overlay(text).map_err(|error| error.to_string())?;
        for warning in &loaded.warnings {
            tracing::warn!(config_map = self.mesh_name, %warning, "mesh configuration");
        }
        let mut mesh = loaded.config;
        if let Some(certified) = self.certified.get().filter(|certified| **certified != mesh.trust_domain) {
            let asked = &mesh.trust_domain;
            tracing::warn!(
                config_map = self.mesh_name,
                certified,
                asked,
                "restart istiod to change the trust domain"
            );
            mesh.trust_domain.clone_from(certified);
        }
        Ok(mesh)
    }

    /// From now on the trust domain stays: certificates are signed for it.
    pub fn certify(&self, trust_domain: &str) {
        let _ = self.certified.set(trust_domain.to_owned());
    }

    /// Below version 1.29 the API server does not take init containers that keep running, or only if asked to.
    fn suit_cluster(&self, version: &Info) {
        let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
        let (Some(major), Some(minor)) = (number(&version.major), number(&version.minor)) else { return };
        if (major, minor) < NATIVE_SIDECARS_SINCE && self.native_sidecars.swap(false, Ordering::Relaxed) {
            tracing::info!(major, minor, "the cluster has no native sidecars: the proxy becomes a container");
        }
    }

    /// Takes a ConfigMap of the control plane's namespace; tells the mesh configuration if that is what changed.
    pub fn take(&self, map: &ConfigMap) -> Option<MeshConfig> {
        let name = map.metadata.name.as_deref().unwrap_or_default();
        let data = map.data.clone().unwrap_or_default();
        if name == self.mesh_name {
            let text = data.get("mesh").cloned().unwrap_or_default();
            let mesh = match self.parse_mesh(&text) {
                Ok(mesh) => mesh,
                Err(error) => {
                    tracing::error!(config_map = name, %error, "key `mesh` cannot be read: the last good one stays");
                    return None;
                }
            };
            for gap in meltemi_config::unsupported::mesh(&mesh) {
                tracing::warn!(config_map = name, %gap, "mesh configuration");
            }
            tell_of_networks(name, data.get("meshNetworks").map_or("", String::as_str));
            self.texts.lock().mesh = Some(text);
            self.rebuild();
            Some(mesh)
        } else {
            if name == self.injector_name {
                self.texts.lock().injector = data;
                self.rebuild();
            }
            None
        }
    }

    /// Makes the injector anew. Settings that cannot be read do not take the place of good ones; where there never were
    /// any, pods are refused rather than injected in a way that nobody asked for.
    fn rebuild(&self) {
        let texts = self.texts.lock();
        match Injector::from_config_maps(&texts.injector, texts.mesh.as_deref()) {
            Ok(mut injector) => {
                injector.native_sidecars = self.native_sidecars.load(Ordering::Relaxed);
                let mesh = self.parse_mesh(texts.mesh.as_deref().unwrap_or_default());
                if let Ok(mesh) = mesh {
                    injector.mesh.trust_domain = mesh.trust_domain;
                }
                self.injection.store(Arc::new(Ok(Arc::new(injector))));
            }
            Err(error) => {
                tracing::error!(%error, "injection settings cannot be read: the last good ones stay");
                if self.injection.load().is_err() {
                    self.injection.store(Arc::new(Err(error.to_string())));
                }
            }
        }
    }

    /// Settings as they are without any ConfigMap.
    pub fn use_defaults(&self) {
        self.rebuild();
    }
}

fn tell_of_networks(map: &str, text: &str) {
    match MeshNetworks::load(text) {
        Ok(loaded) => {
            for gap in meltemi_config::unsupported::networks(&loaded.config) {
                tracing::warn!(config_map = map, %gap, "mesh networks");
            }
        }
        Err(error) => tracing::error!(config_map = map, %error, "key `meshNetworks` cannot be read"),
    }
}

/// Reads both ConfigMaps once, so that istiod starts with what is there.
pub async fn load(client: &kube::Client, namespace: &str, settings: &Settings) -> Result<(), kube::Error> {
    match client.apiserver_version().await {
        Ok(version) => settings.suit_cluster(&version),
        // It tells strangers nothing; its age then is not known.
        Err(kube::Error::Api(error)) => tracing::debug!(%error, "the API server does not tell its version"),
        Err(error) => return Err(error),
    }
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut found = false;
    for name in [&settings.mesh_name, &settings.injector_name] {
        if let Some(map) = maps.get_opt(name).await? {
            settings.take(&map);
            found = true;
        }
    }
    if !found {
        settings.use_defaults();
    }
    Ok(())
}

/// Watches the ConfigMaps of the control plane's namespace until the end.
pub async fn watch_settings(
    client: kube::Client,
    namespace: String,
    settings: Arc<Settings>,
    outlet: Outlet,
) {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut events = pin!(watcher(maps, watcher::Config::default()).default_backoff().applied_objects());
    let shutdown = outlet.shutdown.clone();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(map)) => {
                if let Some(mesh) = settings.take(&map) {
                    outlet.mesh_config(mesh);
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "watch of ConfigMaps failed, trying again"),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh_map(mesh: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("istio".to_owned());
        map.data = Some(BTreeMap::from([("mesh".to_owned(), mesh.to_owned())]));
        map
    }

    #[test]
    fn the_trust_domain_of_the_start_stays() {
        let settings = Settings::new(&Options::default());
        assert_eq!(settings.take(&mesh_map("trustDomain: one")).unwrap().trust_domain, "one");
        settings.certify("one");
        let changed = settings.take(&mesh_map("trustDomain: two\naccessLogFile: /x")).unwrap();
        assert_eq!((changed.trust_domain.as_str(), changed.access_log_file.as_str()), ("one", "/x"));
        assert_eq!(settings.injector().unwrap().mesh.trust_domain, "one");
    }

    #[test]
    fn old_clusters_get_no_native_sidecars() {
        let native = |major: &str, minor: &str| {
            let settings = Settings::new(&Options::default());
            let version = Info { major: major.to_owned(), minor: minor.to_owned(), ..Info::default() };
            settings.suit_cluster(&version);
            settings.use_defaults();
            settings.injector().unwrap().native_sidecars
        };
        assert_eq!(
            [native("1", "28+"), native("1", "29"), native("1", "34+"), native("", "")],
            [false, true, true, true]
        );
    }
}
