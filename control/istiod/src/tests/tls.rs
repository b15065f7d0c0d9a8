use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_identity::authority::Authority;
use meltemi_identity::san::SanMatcher;
use meltemi_identity::verify::{ClientVerifier, Roots, ServerVerifier};
use meltemi_identity::{SpiffeId, csr, tls};
use meltemi_xds::client::{Connection, Connector};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::proxy::{TestProxy, node};
use super::{Mesh, service, soon};
use crate::ca::{Rotating, serving_credential};
use crate::options::Options;

const NAME: &str = "istiod.istio-system.svc";

pub fn server(authority: &Authority) -> Arc<rustls::ServerConfig> {
    let credential = serving_credential(authority, &Options::default().serving_names()).unwrap();
    let roots = Roots::from_pem(&authority.root_pem()).unwrap();
    let verifier = ClientVerifier::optional(roots, Vec::new());
    Arc::new(tls::server_config(Rotating::new(credential), Some(verifier), &[b"h2"]).unwrap())
}

struct Tls {
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
}

#[tonic::async_trait]
impl Connector for Tls {
    async fn connect(&mut self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        let stream = TlsConnector::from(self.config.clone()).connect(NAME.try_into()?, stream).await?;
        Ok(Connection::new(stream, NAME))
    }
}

/// A proxy that shows a certificate for `account`, signed by `authority`.
fn proxy(mesh: &Mesh, authority: &Authority, account: &str) -> TestProxy {
    let id = SpiffeId::new("cluster.local", "default", account).unwrap();
    let (key, request) = csr::generate(&id).unwrap();
    let chain = authority.sign(&request, &id, Duration::from_secs(600)).unwrap();
    let credential = tls::Credential::from_pem(&chain, &key).unwrap();
    let roots = Roots::from_pem(&mesh.authority.root_pem()).unwrap();
    let verifier = ServerVerifier::new(roots, vec![SanMatcher::dns(NAME)]);
    let config = tls::client_config(verifier, Some(credential), &[b"h2"]).unwrap();
    let connect = Tls { address: mesh.secure, config: Arc::new(config) };
    TestProxy::start(node("default", "reviews", "reviews"), true, connect, None)
}

#[tokio::test]
async fn a_client_certificate_of_our_authority_proves_who_connects() {
    let mesh = Mesh::start(&service("reviews", "10.244.0.1")).await;
    let mut proxy = proxy(&mesh, &mesh.authority, "reviews");
    proxy.started().await;
    let connection = mesh.hub.connections.find("reviews.default").unwrap();
    assert_eq!(connection.principal.as_deref(), Some("spiffe://cluster.local/ns/default/sa/reviews"));
}

#[tokio::test]
async fn certificates_of_others_do_not() {
    let mesh = Mesh::start(&service("reviews", "10.244.0.1")).await;
    soon(mesh.hub.first()).await.unwrap();
    let stranger = Authority::self_signed("cluster.local", Duration::from_secs(600)).unwrap();
    let mut refused = [proxy(&mesh, &stranger, "reviews"), proxy(&mesh, &mesh.authority, "ratings")];
    let [one, two] = &mut refused;
    let served = async {
        tokio::select! { _ = one.next() => {}, _ = two.next() => {} }
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), served).await.is_err());
    assert!(mesh.hub.connections.list().is_empty());
}
