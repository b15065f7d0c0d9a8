//! The objects and settings of a cluster, as the corpus takes them.

use anyhow::Context as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use meltemi_config::Kind;
use meltemi_config::mesh_config::{MeshConfig, MeshNetworks};
use serde_json::json;

use super::corpus::{Corpus, Origin};
use crate::cli::Global;

/// Adds the cluster's objects, and gives its mesh configuration.
pub async fn read(global: &Global, corpus: &mut Corpus) -> anyhow::Result<(MeshConfig, MeshNetworks)> {
    let client = global.client().await.context("use -k=false to analyze files alone")?;
    for kind in Kind::all() {
        let info = kind.info();
        let gvk =
            GroupVersionKind::gvk(info.group, info.versions.first().copied().unwrap_or("v1"), info.name);
        let resource = ApiResource::from_gvk_with_plural(&gvk, info.plural);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let list = match api.list(&ListParams::default()).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", info.plural)),
        };
        for object in list.items {
            let mut value = serde_json::to_value(&object)?;
            value["apiVersion"] = json!(resource.api_version);
            value["kind"] = json!(resource.kind);
            corpus.add_value(value, Origin::Cluster);
        }
    }
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client, &global.istio_namespace);
    let data = maps.get_opt("istio").await?.and_then(|map| map.data).unwrap_or_default();
    let text = |key: &str| data.get(key).map_or("", String::as_str);
    let mesh = MeshConfig::load(text("mesh")).context("ConfigMap istio, key mesh")?;
    let networks = MeshNetworks::load(text("meshNetworks")).context("ConfigMap istio, key meshNetworks")?;
    Ok((mesh.config, networks.config))
}
