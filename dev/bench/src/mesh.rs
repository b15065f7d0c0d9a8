//! A small mesh as users write it, and a control plane that serves it: our translation behind our xDS server, to both proxies alike.

mod secrets;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context as _;
use meltemi_config::mesh_config::MeshConfig;
use meltemi_config::parse;
use meltemi_mesh::{Change, ProxyIdentity, ProxyKind, ProxyView, Settings, Snapshot, World};
use meltemi_proto::node::NodeId;
use meltemi_translate::Names;
use meltemi_xds::server::{Handler, Session, StreamInfo, sds_service, service};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use serde::Deserialize as _;
use serde_json::Value;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::transport::Server;

use self::secrets::Secrets;
use crate::bootstrap::Ports;

/// The namespace of everything.
pub const NAMESPACE: &str = "bench";
/// What proxies of ours have beyond Envoy; Envoy of upstream's making has none of it.
const OURS: [&str; 3] = ["istio.peer_metadata", "istio.alpn", "istio.stats"];

/// Where the proxies of the mesh listen.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Of the outer proxy: straight to the upstream.
    pub plain: Ports,
    /// Of the outer proxy: over mutual TLS to the inner one.
    pub mutual: Ports,
    /// Of the inner proxy.
    pub inner: Ports,
}

/// Serves the mesh from a thread of its own until the process ends; answers where.
pub fn serve(places: Places, upstream: SocketAddr) -> anyhow::Result<SocketAddr> {
    let snapshot = world(&yaml(places, upstream))?.snapshot();
    let secrets = Arc::new(Secrets::issue()?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener)?);
            let ads = service(Arc::new(Control(snapshot)));
            let serving = Server::builder().add_service(ads).add_service(sds_service(secrets));
            anyhow::Ok(serving.serve_with_incoming(incoming).await?)
        })
    });
    Ok(address)
}

fn world(text: &str) -> anyhow::Result<World> {
    let mut world = World::new(Settings::new(MeshConfig::default()));
    for document in yaml_serde::Deserializer::from_str(text) {
        let value = Value::deserialize(document).context("the mesh is not YAML")?;
        let object = parse::parse(&value)
            .map_err(|error| anyhow::anyhow!("{}: {error:?}", value["metadata"]["name"]))?;
        world.apply(Change::Upsert(object));
    }
    Ok(world)
}

fn yaml(places: Places, upstream: SocketAddr) -> String {
    let up = Ports { http1: upstream.port(), http2: upstream.port() };
    let (plain, mutual, inner) = (places.plain, places.mutual, places.inner);
    [
        entry("upstream", up),
        entry("inner", inner),
        rule("inner"),
        gateway("outer", &[plain.http1, plain.http2, mutual.http1, mutual.http2], ""),
        gateway("inner", &[inner.http1, inner.http2], ", tls: { mode: ISTIO_MUTUAL }"),
        routes("outer", &[(plain, "upstream"), (mutual, "inner")]),
        routes("inner", &[(inner, "upstream")]),
    ]
    .join("---\n")
}

fn object(api: &str, kind: &str, name: &str) -> String {
    format!(
        "apiVersion: {api}.istio.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {NAMESPACE} }}\n"
    )
}

fn entry(name: &str, at: Ports) -> String {
    let (http1, http2) = (at.http1, at.http2);
    object("networking", "ServiceEntry", name)
        + &format!(
            r#"spec:
  hosts: [{name}.{NAMESPACE}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {{ number: 80, name: http, protocol: HTTP }}
  - {{ number: 81, name: http2, protocol: HTTP2 }}
  endpoints:
  - {{ address: 127.0.0.1, ports: {{ http: {http1}, http2: {http2} }} }}
"#
        )
}

fn rule(name: &str) -> String {
    object("networking", "DestinationRule", name)
        + &format!(
            "spec: {{ host: {name}.{NAMESPACE}, trafficPolicy: {{ tls: {{ mode: ISTIO_MUTUAL }} }} }}\n"
        )
}

fn gateway(name: &str, ports: &[u16], tls: &str) -> String {
    let protocol = if tls.is_empty() { "HTTP" } else { "HTTPS" };
    let server = |port: &u16| {
        format!(
            "  - {{ port: {{ number: {port}, name: p{port}, protocol: {protocol} }}, hosts: [\"*\"]{tls} }}\n"
        )
    };
    let servers: String = ports.iter().map(server).collect();
    object("networking", "Gateway", name)
        + &format!("spec:\n  selector: {{ app: {name} }}\n  servers:\n{servers}")
}

fn routes(gateway: &str, to: &[(Ports, &str)]) -> String {
    let route = |port: u16, service: &str, number: u16| {
        format!(
            "  - match: [{{ port: {port} }}]\n    route: [{{ destination: {{ host: {service}.{NAMESPACE}, port: {{ number: {number} }} }} }}]\n"
        )
    };
    let routes: String = to
        .iter()
        .map(|(ports, service)| route(ports.http1, service, 80) + &route(ports.http2, service, 81))
        .collect();
    object("networking", "VirtualService", gateway)
        + &format!("spec:\n  hosts: [\"*\"]\n  gateways: [{gateway}]\n  http:\n{routes}")
}

/// The control plane.
struct Control(Arc<Snapshot>);

/// What one proxy gets.
struct Serving(Arc<Snapshot>, ProxyView);

#[tonic::async_trait]
impl Handler for Control {
    type Session = Serving;

    async fn open(&self, info: StreamInfo) -> Result<Serving, Status> {
        let id: NodeId =
            info.node.id.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
        let extensions = if info.node.cluster == "meltemi" { &OURS[..] } else { &[] };
        let identity = ProxyIdentity {
            kind: ProxyKind::Router,
            labels: [("app".to_owned(), id.name.clone())].into_iter().collect(),
            name: id.name,
            namespace: id.namespace,
            ips: vec![Ipv4Addr::LOCALHOST.into()],
            service_account: "default".to_owned(),
            metadata: Default::default(),
            extensions: extensions.iter().map(|&name| name.to_owned()).collect(),
        };
        Ok(Serving(self.0.clone(), ProxyView::of(&self.0, &identity)))
    }
}

#[tonic::async_trait]
impl Session for Serving {
    fn resources(&mut self, type_url: &str, subscription: &Subscription) -> ResourceSet {
        let Some(type_url) = meltemi_proto::type_url::known(type_url) else { return ResourceSet::default() };
        let only = subscription.as_names().map(|names| names.iter().map(ToString::to_string).collect());
        let names = only.as_ref().map_or(Names::All, Names::Only);
        let made = meltemi_translate::resources(type_url, &self.0, &self.1, &names).into_values();
        let share = |made: meltemi_translate::Resource| {
            let meltemi_translate::Resource { name, version, body, type_url } = made;
            (name.clone(), Resource { name, version, body, type_url })
        };
        Arc::new(made.map(share).collect::<BTreeMap<_, _>>())
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        std::future::pending().await
    }

    fn acked(&mut self, _: &str, _: &str, _: &str) {}

    fn nacked(&mut self, type_url: &str, _: &str, error: &str) {
        eprintln!("a proxy refused {type_url}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proxy_gets_its_listeners() {
        let at = |first| Ports { http1: first, http2: first + 1 };
        let places = Places { plain: at(1000), mutual: at(2000), inner: at(3000) };
        let text = yaml(places, SocketAddr::from(([127, 0, 0, 1], 9)));
        let snapshot = world(&text).unwrap().snapshot();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ports = |name: &str| {
            let node = meltemi_proto::envoy::config::core::v3::Node {
                id: format!("router~127.0.0.1~{name}.bench~bench.svc.cluster.local"),
                cluster: "meltemi".to_owned(),
                ..Default::default()
            };
            let info = StreamInfo { id: 1, node, peer: Default::default(), delta: true };
            let mut session = runtime.block_on(Control(snapshot.clone()).open(info)).unwrap();
            let set = session.resources(meltemi_proto::type_url::LISTENER, &Subscription::Wildcard);
            set.keys().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ports("outer"), ["0.0.0.0_1000", "0.0.0.0_1001", "0.0.0.0_2000", "0.0.0.0_2001"]);
        assert_eq!(ports("inner"), ["0.0.0.0_3000", "0.0.0.0_3001"]);
    }
}
