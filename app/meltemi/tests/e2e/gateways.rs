//! TLS that ends at a gateway, with a certificate from a Secret.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use meltemi_identity::authority::Authority;
use meltemi_identity::serving;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::cluster::{Cluster, Plane, eventually, on_both_planes};
use crate::kubectl::{apply, kubectl};

const HOST: &str = "secure.e2e.test";
const GATEWAY: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [secure.e2e.test]
    tls: {mode: SIMPLE, credentialName: e2e-secure}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secure}
spec:
  hosts: [secure.e2e.test]
  gateways: [secure]
  http:
  - route: [{destination: {host: details.default.svc.cluster.local, port: {number: 9080}}}]
"#;

/// The certificate of a new authority, as a Secret of the gateway's namespace; the authority.
fn certify(cluster: &Cluster) -> Authority {
    let ttl = Duration::from_secs(3600);
    let authority = Authority::self_signed("e2e.test", ttl).expect("an authority");
    let cert = serving::issue(&authority, &[HOST], ttl).expect("a certificate");
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "e2e-secure"},
        "stringData": {"tls.crt": cert.chain_pem, "tls.key": cert.key_pem},
    });
    apply(cluster, "istio-system", &secret.to_string()).expect("the Secret");
    authority
}

/// The port of 127.0.0.1 behind which the gateway's port 443 is.
fn port(cluster: &Cluster) -> u16 {
    let text = kubectl(cluster, "-n istio-system get svc istio-ingressgateway -o json");
    let service: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let ports =
        service["metadata"]["annotations"]["meltemi.io/host-ports"].as_str().expect("ports of the host");
    let https = ports.split(',').find_map(|pair| pair.strip_prefix("443="));
    https.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port for 443 in {ports}"))
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A connection to the gateway by a client that trusts this authority alone.
fn connect(port: u16, authority: &Authority) -> Result<Connection, String> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).expect("PEM");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(HOST).expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|error| error.to_string())?;
    let mut connection = StreamOwned::new(client, stream);
    while connection.conn.is_handshaking() {
        connection.conn.complete_io(&mut connection.sock).map_err(|error| error.to_string())?;
    }
    Ok(connection)
}

/// Asks for a page of Bookinfo's details; the connection stays open.
fn ask(connection: &mut Connection) -> Result<(), String> {
    let request = format!("GET /details/0 HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    connection.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("Shakespeare") {
        let count = connection.read(&mut buffer).map_err(|error| format!("{error} after {text:?}"))?;
        text.push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()));
        if count == 0 || text.starts_with("HTTP/1.1 ") && !text.starts_with("HTTP/1.1 200") {
            return Err(text);
        }
    }
    Ok(())
}

on_both_planes!(a_gateway_serves_the_certificate_of_its_secret_and_the_next_one);

fn a_gateway_serves_the_certificate_of_its_secret_and_the_next_one(plane: Plane) {
    let cluster = plane.shared();
    kubectl(cluster, "create ns e2e-gateways");
    let first = certify(cluster);
    apply(cluster, "e2e-gateways", GATEWAY).expect("the Gateway");
    let port = port(cluster);
    let mut before = eventually("the page by HTTPS", || {
        let mut connection = connect(port, &first)?;
        ask(&mut connection).map(|()| connection)
    });
    let second = certify(cluster);
    eventually("the next certificate", || ask(&mut connect(port, &second)?));
    assert!(connect(port, &first).is_err(), "the former certificate is still served");
    ask(&mut before).expect("connections from before stay");
    kubectl(cluster, "delete ns e2e-gateways --wait=false");
    kubectl(cluster, "-n istio-system delete secret e2e-secure");
}
