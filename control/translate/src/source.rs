//! Conditions of VirtualServices that are about the client: they are decided here, once for the proxy.

use std::collections::BTreeMap;

use meltemi_config::istio::virtual_service::{L4MatchAttributes, TlsMatchAttributes};
use meltemi_mesh::virtual_service::MESH_GATEWAY;
use meltemi_mesh::{ProxyView, labels};

/// The parts of a match that do not depend on the request.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Port dialled; 0 means any.
    pub port: u32,
    /// Labels of the client.
    pub source_labels: &'a BTreeMap<String, String>,
    /// Namespace of the client; empty means any.
    pub source_namespace: &'a str,
    /// Gateways; empty means those of the VirtualService.
    pub gateways: &'a [String],
}

/// A match that has such parts.
pub trait Condition {
    /// The parts.
    fn parts(&self) -> Parts<'_>;
}

/// Can the match hold for connections of a sidecar to `port`?
pub fn holds(view: &ProxyView, condition: &impl Condition, port: u16) -> bool {
    let parts = condition.parts();
    about_client(view, &parts, port)
        && (parts.gateways.is_empty() || parts.gateways.iter().any(|g| g == MESH_GATEWAY))
}

/// Can the match hold at a gateway's port? `number` is the port that the Gateway names.
pub fn holds_at(view: &ProxyView, parts: &Parts<'_>, number: u16, gateway: &str, namespace: &str) -> bool {
    let named = |written: &String| {
        *written == gateway || (!written.contains('/') && format!("{namespace}/{written}") == gateway)
    };
    about_client(view, parts, number) && (parts.gateways.is_empty() || parts.gateways.iter().any(named))
}

fn about_client(view: &ProxyView, parts: &Parts<'_>, port: u16) -> bool {
    (parts.port == 0 || parts.port == u32::from(port))
        && labels::contains(&view.labels, parts.source_labels)
        && (parts.source_namespace.is_empty() || parts.source_namespace == view.identity.namespace)
}

impl Condition for TlsMatchAttributes {
    fn parts(&self) -> Parts<'_> {
        Parts {
            port: self.port,
            source_labels: &self.source_labels,
            source_namespace: &self.source_namespace,
            gateways: &self.gateways,
        }
    }
}

impl Condition for L4MatchAttributes {
    fn parts(&self) -> Parts<'_> {
        Parts {
            port: self.port,
            source_labels: &self.source_labels,
            source_namespace: &self.source_namespace,
            gateways: &self.gateways,
        }
    }
}
