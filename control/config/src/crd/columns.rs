//! The columns of `kubectl get`.

use serde_json::{Value, json};

use crate::Kind;

/// Istio's columns of a kind; `None` where Istio leaves it to kubectl's own.
pub(super) fn of(kind: Kind) -> Option<Value> {
    let bare =
        matches!(kind, Kind::EnvoyFilter | Kind::Gateway | Kind::ProxyConfig | Kind::RequestAuthentication);
    if bare {
        return None;
    }
    let mut columns: Vec<Value> = special(kind)
        .iter()
        .map(|(name, path, description)| {
            json!({"name": name, "type": "string", "jsonPath": path, "description": description})
        })
        .collect();
    let age = json!({
        "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
        "description": "Time since the object was created.",
    });
    // The one kind whose age stands first.
    columns.insert(if kind == Kind::WorkloadEntry { 0 } else { columns.len() }, age);
    Some(Value::Array(columns))
}

type Column = (&'static str, &'static str, &'static str);

fn special(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::VirtualService => &[
            ("Gateways", ".spec.gateways", "The names of gateways and sidecars that apply these routes."),
            ("Hosts", ".spec.hosts", "The hosts to which traffic is sent."),
        ],
        Kind::DestinationRule => &[("Host", ".spec.host", "The service of the registry.")],
        Kind::ServiceEntry => &[
            ("Hosts", ".spec.hosts", "The hosts of the service."),
            ("Location", ".spec.location", "Whether the service is inside the mesh."),
            ("Resolution", ".spec.resolution", "How the addresses are found."),
        ],
        Kind::WorkloadEntry => &[("Address", ".spec.address", "Address of the workload.")],
        Kind::AuthorizationPolicy => &[("Action", ".spec.action", "What a match means.")],
        Kind::PeerAuthentication => &[("Mode", ".spec.mtls.mode", "Mutual TLS that is demanded.")],
        _ => &[],
    }
}
