//! What holds for the whole mesh.

use meltemi_config::mesh_config::MeshConfig;

use crate::export::ExportTo;

/// MeshConfig and what the control plane knows of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// MeshConfig, with Istio's defaults where the user said nothing.
    pub mesh: MeshConfig,
    /// DNS suffix of Kubernetes services.
    pub domain: String,
    /// Name of the cluster, `Kubernetes` by default.
    pub cluster_id: String,
    /// Proxies take HTTP/1.0 (`PILOT_HTTP10`).
    pub http10: bool,
}

impl Settings {
    /// Settings for a mesh with the usual domain and cluster name.
    pub fn new(mesh: MeshConfig) -> Settings {
        Settings { mesh, domain: "cluster.local".into(), cluster_id: "Kubernetes".into(), http10: false }
    }

    /// Where objects hold for all namespaces.
    pub fn root_namespace(&self) -> &str {
        &self.mesh.root_namespace
    }

    /// Who sees services that do not say.
    pub fn service_export(&self) -> ExportTo {
        default_export(&self.mesh.default_service_export_to)
    }

    /// Who sees VirtualServices that do not say.
    pub fn virtual_service_export(&self) -> ExportTo {
        default_export(&self.mesh.default_virtual_service_export_to)
    }

    /// Who sees DestinationRules that do not say.
    pub fn destination_rule_export(&self) -> ExportTo {
        default_export(&self.mesh.default_destination_rule_export_to)
    }

    /// `spiffe://cluster.local/ns/default/sa/bookinfo-reviews`
    pub fn identity(&self, namespace: &str, service_account: &str) -> String {
        format!("spiffe://{}/ns/{namespace}/sa/{service_account}", self.mesh.trust_domain)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::new(MeshConfig::default())
    }
}

fn default_export(values: &[String]) -> ExportTo {
    if values.is_empty() || values.iter().any(|v| v == "*") {
        return ExportTo::All;
    }
    ExportTo::Namespaces(values.iter().filter(|v| *v != "~").cloned().collect())
}
