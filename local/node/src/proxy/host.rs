//! NodePort and LoadBalancer services on 127.0.0.1 of the host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::forward::Forwarder;
use super::table::{Protocol, cluster_ip};
use crate::host_ports::HostPorts;

/// The annotation that tells which port of 127.0.0.1 stands for which port of a LoadBalancer service: `80=8080,443=8443`.
pub const HOST_PORTS: &str = "meltemi.io/host-ports";

/// One service port that can be reached from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub service: String,
    /// The service port's name, if it has one.
    pub port_name: Option<String>,
    /// The service's port.
    pub port: u16,
    /// The port on the host's 127.0.0.1.
    pub host_port: u16,
    /// Whether it is there for the service's node port (otherwise for its load balancer).
    pub node_port: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    service: String,
    port: u16,
    node_port: Option<u16>,
}

struct Open {
    target: SocketAddr,
    port_name: Option<String>,
    forwarder: Forwarder,
}

/// The forwarders that are open now.
pub struct HostForwards {
    host: HostPorts,
    client: Client,
    open: BTreeMap<Key, Open>,
    failed: BTreeMap<Key, SocketAddr>,
    report: watch::Sender<Arc<Vec<Forward>>>,
}

impl HostForwards {
    /// None yet.
    pub fn new(host: HostPorts, client: Client, report: watch::Sender<Arc<Vec<Forward>>>) -> Self {
        Self { host, client, open: BTreeMap::new(), failed: BTreeMap::new(), report }
    }

    /// Whether a service could not get its port. It is worth another look from time to time: who has the port may end.
    pub fn lacks(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Opens and closes forwarders for the services, and writes the load balancers' status.
    pub async fn update(&mut self, services: &[Arc<Service>]) {
        let mut wanted = BTreeMap::new();
        for service in services {
            wanted.extend(wishes(service));
        }
        self.open.retain(|key, open| wanted.get(key).is_some_and(|(target, _)| *target == open.target));
        self.failed.retain(|key, target| wanted.get(key).is_some_and(|(now, _)| now == target));
        let mut changed = false;
        let mut new: Vec<_> = wanted.into_iter().filter(|(key, _)| !self.open.contains_key(key)).collect();
        // First those that get the very port they ask for: none may lose it to another's second choice.
        let mut exact = BTreeMap::new();
        for (key, _) in &new {
            if let Ok(listener) = self.host.listen(key.node_port.unwrap_or(key.port)).await {
                exact.insert(key.clone(), listener);
            }
        }
        new.retain(|(key, _)| exact.contains_key(key) || !self.failed.contains_key(key));
        for (key, (target, port_name)) in new {
            changed = true;
            self.failed.remove(&key);
            let listener = match exact.remove(&key) {
                Some(listener) => Ok(listener),
                None => self.listen(&key).await,
            };
            match listener.and_then(|listener| Forwarder::start(listener, target)) {
                Ok(forwarder) => {
                    self.open.insert(key, Open { target, port_name, forwarder });
                }
                Err(error) => {
                    self.complain(services, &key, &error.to_string()).await;
                    self.failed.insert(key, target);
                }
            }
        }
        self.publish(services, changed).await;
    }

    async fn complain(&self, services: &[Arc<Service>], key: &Key, error: &str) {
        tracing::warn!(service = %key.service, %error, "a service is not reachable from the host");
        let own = |s: &&Arc<Service>| {
            s.metadata.namespace.as_ref() == Some(&key.namespace)
                && s.metadata.name.as_ref() == Some(&key.service)
        };
        if let Some(service) = services.iter().find(own) {
            crate::controllers::event(
                &self.client,
                service.as_ref(),
                "Warning",
                "HostPortUnavailable",
                error,
            )
            .await;
        }
    }

    /// A node port must be the very one; a load balancer whose own port is not free gets a familiar one, or any.
    async fn listen(&self, key: &Key) -> std::io::Result<tokio::net::TcpListener> {
        if let Some(node_port) = key.node_port {
            return self.host.listen(node_port).await;
        }
        let familiar = if key.port < 1024 { key.port + 8000 } else { key.port };
        if let Ok(listener) = self.host.listen(familiar).await {
            return Ok(listener);
        }
        self.host.listen(0).await
    }

    async fn publish(&self, services: &[Arc<Service>], changed: bool) {
        let all = self.open.iter().map(|(key, open)| Forward {
            namespace: key.namespace.clone(),
            service: key.service.clone(),
            port_name: open.port_name.clone(),
            port: key.port,
            host_port: open.forwarder.local().port(),
            node_port: key.node_port.is_some(),
        });
        let all: Vec<Forward> = all.collect();
        if changed || self.report.borrow().len() != all.len() {
            self.report.send_replace(Arc::new(all.clone()));
        }
        for service in services {
            if is_load_balancer(service) {
                self.write_status(service, &all).await;
            } else {
                self.clear_status(service).await;
            }
        }
    }

    /// A service that is no load balancer any more has no address and no ports here.
    async fn clear_status(&self, service: &Service) {
        let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else {
            return;
        };
        if !service.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(HOST_PORTS)) {
            return;
        }
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let status = json!({"status": {"loadBalancer": null}});
        let mut cleared = api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
        if cleared.is_ok() {
            let patch = json!({"metadata": {"annotations": {HOST_PORTS: null}}});
            cleared = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        }
        if let Err(error) = cleared {
            tracing::debug!(%error, "what was a load balancer's status was not cleared");
        }
    }

    async fn write_status(&self, service: &Service, all: &[Forward]) {
        let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else {
            return;
        };
        let own: Vec<&Forward> =
            all.iter().filter(|f| &f.namespace == namespace && &f.service == name && !f.node_port).collect();
        let ports: Vec<String> = own.iter().map(|f| format!("{}={}", f.port, f.host_port)).collect();
        let ports = ports.join(",");
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let annotation = service.metadata.annotations.as_ref().and_then(|a| a.get(HOST_PORTS));
        if annotation.map(String::as_str).unwrap_or_default() != ports {
            let patch = json!({"metadata": {"annotations": {HOST_PORTS: ports}}});
            if let Err(error) = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                tracing::debug!(%error, "a load balancer's ports were not written");
            }
        }
        let has_ingress = service
            .status
            .as_ref()
            .and_then(|s| s.load_balancer.as_ref()?.ingress.as_ref())
            .is_some_and(|ingress| !ingress.is_empty());
        if !has_ingress && !own.is_empty() {
            let patch = json!({"status": {"loadBalancer": {"ingress": [INGRESS.clone()]}}});
            if let Err(error) = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                tracing::debug!(%error, "a load balancer's status was not written");
            }
        }
    }
}

/// Where a load balancer is. Tutorials written on one cloud ask for the address, those of another for the name.
static INGRESS: LazyLock<serde_json::Value> =
    LazyLock::new(|| json!({"ip": "127.0.0.1", "hostname": "localhost", "ipMode": "Proxy"}));

fn is_load_balancer(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.type_.as_deref()) == Some("LoadBalancer")
}

/// What a service wants to have forwarded: to its cluster address, where the rules choose the endpoint.
fn wishes(service: &Service) -> Vec<(Key, (SocketAddr, Option<String>))> {
    let (Some(address), Some(spec)) = (cluster_ip(service), &service.spec) else { return Vec::new() };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    if kind != "NodePort" && kind != "LoadBalancer" {
        return Vec::new();
    }
    let mut wishes = Vec::new();
    for port in spec.ports.iter().flatten() {
        if Protocol::parse(port.protocol.as_deref()) != Some(Protocol::Tcp) {
            continue;
        }
        let Ok(number) = u16::try_from(port.port) else { continue };
        let node_port = port.node_port.and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0);
        let balanced = (kind == "LoadBalancer").then_some(None);
        for node_port in node_port.map(Some).into_iter().chain(balanced) {
            let key = Key {
                namespace: service.metadata.namespace.clone().unwrap_or_default(),
                service: service.metadata.name.clone().unwrap_or_default(),
                port: number,
                node_port,
            };
            wishes.push((key, (target(address, number), port.name.clone())));
        }
    }
    wishes
}

fn target(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(spec: serde_json::Value) -> Vec<(u16, Option<u16>)> {
        let service = json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec});
        let wishes = wishes(&serde_json::from_value(service).unwrap());
        wishes.into_iter().map(|(key, _)| (key.port, key.node_port)).collect()
    }

    #[test]
    fn what_is_forwarded() {
        let ports =
            json!([{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]);
        for (kind, expected) in [
            ("ClusterIP", vec![]),
            ("NodePort", vec![(80, Some(30080))]),
            ("LoadBalancer", vec![(80, Some(30080)), (80, None)]),
        ] {
            assert_eq!(
                wished(json!({"type": kind, "clusterIP": "10.96.5.5", "ports": ports})),
                expected,
                "{kind}"
            );
        }
        assert_eq!(wished(json!({"type": "LoadBalancer", "clusterIP": "", "ports": ports})), vec![]);
    }
}
