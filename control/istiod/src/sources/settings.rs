//! The ConfigMaps that rule istiod itself: the mesh configuration and the injector's settings.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use meltemi_config::mesh_config::MeshConfig;
use meltemi_inject::Injector;
use parking_lot::Mutex;

use super::Outlet;
use crate::options::Options;

/// The settings in force. A document that cannot be read changes nothing.
pub struct Settings {
    mesh_name: String,
    injector_name: String,
    native_sidecars: bool,
    trust_domain: String,
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
            native_sidecars: options.native_sidecars,
            trust_domain: options.trust_domain.clone(),
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
        Ok(loaded.config)
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
                injector.native_sidecars = self.native_sidecars;
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

/// Reads both ConfigMaps once, so that istiod starts with what is there.
pub async fn load(client: &kube::Client, namespace: &str, settings: &Settings) -> Result<(), kube::Error> {
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
