//! Certificates of gateways, by the names under which their listeners ask for them.

use std::collections::BTreeSet;

use meltemi_mesh::secret::Credential;
use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::core::v3::{DataSource, data_source};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3 as tls;

use crate::resource::Names;

const SCHEME: &str = "kubernetes://";
const CA_SUFFIX: &str = "-cacert";

/// The secrets named. A secret is left out when it is missing, when it belongs to another namespace, or when nothing
/// that applies to this proxy names it: a gateway gets the keys it serves and no others.
pub fn secrets(snapshot: &Snapshot, view: &ProxyView, wanted: &Names<'_>) -> Vec<tls::Secret> {
    if !view.is_router() {
        return Vec::new();
    }
    let used = used(snapshot, view);
    match wanted {
        Names::All => used.iter().filter_map(|name| secret(snapshot, view, &used, name)).collect(),
        Names::Only(names) => names.iter().filter_map(|name| secret(snapshot, view, &used, name)).collect(),
    }
}

/// Names of the secrets that Gateways and DestinationRules make a proxy use.
fn used(snapshot: &Snapshot, view: &ProxyView) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let servers = view.gateways.iter().flat_map(|g| &g.spec.servers);
    for tls in servers.filter_map(|s| s.tls.as_ref()) {
        let certificates = std::iter::once(&tls.credential_name).chain(&tls.credential_names);
        names.extend(
            certificates.filter(|n| !n.is_empty()).flat_map(|n| [n.clone(), format!("{n}{CA_SUFFIX}")]),
        );
        if !tls.ca_cert_credential_name.is_empty() {
            names.insert(format!("{}{CA_SUFFIX}", tls.ca_cert_credential_name));
        }
    }
    for rule in view.services.iter().filter_map(|service| view.destination_rule(snapshot, service)) {
        let policies =
            rule.traffic_policy.iter().chain(rule.subsets.iter().filter_map(|s| s.traffic_policy.as_ref()));
        let tls = policies
            .flat_map(|p| p.tls.iter().chain(p.port_level_settings.iter().filter_map(|l| l.tls.as_ref())));
        for name in tls.map(|t| &t.credential_name).filter(|name| !name.is_empty()) {
            names.extend([name.clone(), format!("{name}{CA_SUFFIX}")]);
        }
    }
    names.into_iter().map(|name| format!("{SCHEME}{name}")).collect()
}

fn secret(
    snapshot: &Snapshot,
    view: &ProxyView,
    used: &BTreeSet<String>,
    resource: &str,
) -> Option<tls::Secret> {
    let path = resource.strip_prefix(SCHEME)?;
    let own = view.identity.namespace.as_str();
    let (namespace, name) = path.split_once('/').unwrap_or((own, path));
    if namespace != own || !used.contains(&format!("{SCHEME}{name}")) {
        return None;
    }
    // Roots stand in a secret of their own, called so, or beside the certificate.
    let find = |name: &str| snapshot.credentials.get(namespace, name);
    let kind = match name.strip_suffix(CA_SUFFIX) {
        Some(base) => roots(find(name).filter(|c| c.ca.is_some()).or_else(|| find(base))?)?,
        None => certificate(find(name)?)?,
    };
    Some(tls::Secret { name: resource.to_owned(), r#type: Some(kind) })
}

fn certificate(credential: &Credential) -> Option<tls::secret::Type> {
    Some(tls::secret::Type::TlsCertificate(tls::TlsCertificate {
        certificate_chain: Some(inline(credential.certificate.as_ref()?)),
        private_key: Some(inline(credential.key.as_ref()?)),
        ..Default::default()
    }))
}

fn roots(credential: &Credential) -> Option<tls::secret::Type> {
    Some(tls::secret::Type::ValidationContext(tls::CertificateValidationContext {
        trusted_ca: Some(inline(credential.ca.as_ref()?)),
        crl: credential.crl.as_ref().map(|crl| inline(crl)),
        ..Default::default()
    }))
}

fn inline(bytes: &[u8]) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::InlineBytes(bytes.to_vec())), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use meltemi_mesh::{Change, ProxyIdentity, ProxyKind, Settings, World};
    use serde_json::json;

    use super::*;

    fn world() -> World {
        let gateway = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "edge"},
            "spec": {"selector": {"istio": "gw"}, "servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"},
                "hosts": ["*"], "tls": {"mode": "SIMPLE", "credentialName": "served"}}]},
        });
        let secret = |namespace: &str, name: &str| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
                "data": {"tls.crt": "YQ==", "tls.key": "Yg=="}})
        };
        let mut world = World::new(Settings::default());
        let objects = [gateway, secret("edge", "served"), secret("edge", "other"), secret("shop", "served")];
        for object in objects {
            world.apply(Change::Upsert(meltemi_config::parse::parse(&object).unwrap()));
        }
        world
    }

    fn names(kind: ProxyKind, namespace: &str, asked: &[&str]) -> Vec<String> {
        let identity = ProxyIdentity {
            kind,
            name: "gw".into(),
            namespace: namespace.into(),
            ips: vec![],
            labels: [("istio".to_owned(), "gw".to_owned())].into(),
            service_account: "gw".into(),
            metadata: Default::default(),
            extensions: Default::default(),
        };
        let snapshot = world().snapshot();
        let view = ProxyView::of(&snapshot, &identity);
        let asked = asked.iter().map(ToString::to_string).collect();
        secrets(&snapshot, &view, &Names::Only(&asked)).into_iter().map(|s| s.name).collect()
    }

    #[test]
    fn a_gateway_gets_the_keys_it_serves_and_no_others() {
        let asked = [
            "kubernetes://served",
            "kubernetes://edge/served",
            "kubernetes://other",
            "kubernetes://shop/served",
        ];
        assert_eq!(
            names(ProxyKind::Router, "edge", &asked),
            ["kubernetes://edge/served", "kubernetes://served"]
        );
        assert!(names(ProxyKind::Sidecar, "edge", &asked).is_empty(), "sidecars have no business with them");
        assert_eq!(
            names(ProxyKind::Router, "shop", &asked),
            ["kubernetes://served", "kubernetes://shop/served"]
        );
    }
}
