//! The ConfigMaps that rule istiod itself: the mesh configuration and the injector's settings.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use meltemi_config::mesh_config::MeshConfig;
use meltemi_inject::{Injector, MeshSettings};
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
    injector: ArcSwapOption<Injector>,
}

#[derive(Default)]
struct Texts {
    mesh: Option<String>,
    injector: BTreeMap<String, String>,
}

impl Settings {
    /// Settings that nobody has given yet: Istio's defaults.
    pub fn new(options: &Options) -> Arc<Self> {
        let settings = Self {
            mesh_name: options.mesh_config_map(),
            injector_name: options.injector_config_map(),
            native_sidecars: options.native_sidecars,
            trust_domain: options.trust_domain.clone(),
            texts: Mutex::default(),
            injector: ArcSwapOption::empty(),
        };
        settings.rebuild();
        Arc::new(settings)
    }

    /// What the webhook injects with.
    pub fn injector(&self) -> Option<Arc<Injector>> {
        self.injector.load_full()
    }

    /// The key `mesh`, as it was written.
    pub fn mesh_text(&self) -> String {
        self.texts.lock().mesh.clone().unwrap_or_default()
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
        let value: serde_json::Value = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
        let silent = value.get("trustDomain").is_none();
        let mut mesh: MeshConfig = match value {
            serde_json::Value::Null => MeshConfig::default(),
            value => serde_json::from_value(value).map_err(|error| error.to_string())?,
        };
        if silent {
            mesh.trust_domain.clone_from(&self.trust_domain);
        }
        Ok(mesh)
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

    fn rebuild(&self) {
        let texts = self.texts.lock();
        match Injector::from_config_maps(&texts.injector, texts.mesh.as_deref()) {
            Ok(mut injector) => {
                injector.native_sidecars = self.native_sidecars;
                if !texts.mesh.as_deref().unwrap_or_default().contains("trustDomain") {
                    injector.mesh = MeshSettings { trust_domain: self.trust_domain.clone(), ..injector.mesh };
                }
                self.injector.store(Some(Arc::new(injector)));
            }
            Err(error) => tracing::error!(%error, "injection settings cannot be read: the last good ones stay"),
        }
    }
}

/// Reads both ConfigMaps once, so that istiod starts with what is there.
pub async fn load(client: &kube::Client, namespace: &str, settings: &Settings) -> Result<(), kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for name in [&settings.mesh_name, &settings.injector_name] {
        if let Some(map) = maps.get_opt(name).await? {
            settings.take(&map);
        }
    }
    Ok(())
}

/// Watches the ConfigMaps of the control plane's namespace until the end.
pub async fn watch_settings(client: kube::Client, namespace: String, settings: Arc<Settings>, outlet: Outlet) {
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
