//! The variables about services that kubelets give to containers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// Variables for the API server, and with `links` for every service of the namespace that has an address.
pub(super) fn variables<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    add(
        &mut env,
        "KUBERNETES",
        &crate::net::API_IP.to_string(),
        &[(Some("https".into()), 443, "tcp".into())],
    );
    for service in services {
        let (Some(spec), Some(name)) = (&service.spec, &service.metadata.name) else { continue };
        let address = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None");
        if !links || service.metadata.namespace.as_deref() != Some(namespace) || name == "kubernetes" {
            continue;
        }
        let Some(address) = address else { continue };
        let ports: Vec<_> = spec
            .ports
            .iter()
            .flatten()
            .map(|p| (p.name.clone(), p.port, p.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase()))
            .collect();
        add(&mut env, &upper(name), address, &ports);
    }
    env
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn add(
    env: &mut BTreeMap<String, String>,
    name: &str,
    address: &str,
    ports: &[(Option<String>, i32, String)],
) {
    let Some((_, first, first_protocol)) = ports.first() else { return };
    env.insert(format!("{name}_SERVICE_HOST"), address.into());
    env.insert(format!("{name}_SERVICE_PORT"), first.to_string());
    env.insert(format!("{name}_PORT"), format!("{first_protocol}://{address}:{first}"));
    for (port_name, port, protocol) in ports {
        if let Some(port_name) = port_name {
            env.insert(format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.to_string());
        }
        let prefix = format!("{name}_PORT_{port}_{}", protocol.to_ascii_uppercase());
        env.insert(prefix.clone(), format!("{protocol}://{address}:{port}"));
        env.insert(format!("{prefix}_PROTO"), protocol.clone());
        env.insert(format!("{prefix}_PORT"), port.to_string());
        env.insert(format!("{prefix}_ADDR"), address.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_of_the_namespace_are_linked() {
        let service = |namespace: &str, name: &str, ip: &str| -> Service {
            serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name},
                "spec": {"clusterIP": ip, "ports": [{"name": "http-web", "port": 80}]}}))
            .unwrap()
        };
        let all = [
            service("a", "my-web", "10.96.1.1"),
            service("b", "far", "10.96.1.2"),
            service("a", "none", "None"),
        ];
        let env = variables(&all, "a", true);
        for (name, value) in [
            ("MY_WEB_SERVICE_HOST", "10.96.1.1"),
            ("MY_WEB_SERVICE_PORT", "80"),
            ("MY_WEB_SERVICE_PORT_HTTP_WEB", "80"),
            ("MY_WEB_PORT", "tcp://10.96.1.1:80"),
            ("MY_WEB_PORT_80_TCP_ADDR", "10.96.1.1"),
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.keys().any(|k| k.starts_with("FAR") || k.starts_with("NONE")));
        assert!(!variables(&all, "a", false).contains_key("MY_WEB_PORT"));
    }
}
