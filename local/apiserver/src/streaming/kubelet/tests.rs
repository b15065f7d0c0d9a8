use super::*;
use crate::kubelet::{Duplex, ExecOptions, ExecSession, KubeletError, LogOptions};
use crate::pki::{Leaf, Pki};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::StatusCode;
use http_body_util::BodyExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

/// Knows one pod, and tells what was asked of it.
struct OnePod;

fn unknown(pod: &PodRef) -> KubeletError {
    KubeletError::NotFound(format!("pod \"{}\" does not run on this node", pod.name))
}

#[async_trait::async_trait]
impl Kubelet for OnePod {
    async fn logs(
        &self,
        pod: &PodRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError> {
        if pod.name != "web" {
            return Err(unknown(pod));
        }
        let asked =
            format!("{} tail={:?} since={}", options.container, options.tail, options.since.is_some());
        Ok(stream::once(async { Ok(Bytes::from(asked)) }).boxed())
    }

    async fn exec(&self, pod: &PodRef, _: ExecOptions) -> Result<ExecSession, KubeletError> {
        Err(unknown(pod))
    }

    async fn attach(&self, pod: &PodRef, _: ExecOptions) -> Result<ExecSession, KubeletError> {
        Err(unknown(pod))
    }

    async fn port_forward(&self, pod: &PodRef, _: u16) -> Result<Box<dyn Duplex>, KubeletError> {
        Err(unknown(pod))
    }
}

async fn get(path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = handle(Arc::new(OnePod), request).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn api_servers_read_logs_by_path_and_get_plain_errors() {
    let logs = get("/containerLogs/default/web/app?tailLines=5&sinceSeconds=60").await;
    assert_eq!(logs, (StatusCode::OK, "app tail=Some(5) since=true".into()));
    let missing = get("/containerLogs/default/gone/app").await;
    assert_eq!(missing, (StatusCode::NOT_FOUND, "pod \"gone\" does not run on this node".into()));
    assert_eq!(
        get("/exec/default/web/app?command=ls&output=1").await.0,
        StatusCode::BAD_REQUEST,
        "no upgrade"
    );
    assert_eq!(get("/pods").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("/run/default/web/app").await.0, StatusCode::NOT_FOUND);
}

/// Asks over TLS for a log; `None` when the connection is refused.
async fn over_tls(pki: &Pki, identity: Option<Leaf>) -> Option<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = pki.kubelet_config(&pki.serving(&[], &[address.ip()]).unwrap()).unwrap();
    let serving = tokio::spawn(serve(listener, tls, Arc::new(OnePod)));
    let mut client = Arc::unwrap_or_clone(pki.client_config().unwrap());
    if let Some(leaf) = identity {
        let chain = vec![CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let roots = pki.client_config().unwrap();
        client = rustls::ClientConfig::builder_with_provider(roots.crypto_provider().clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(pki.roots().unwrap())
            .with_client_auth_cert(chain, key)
            .unwrap();
    }
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let connecting = TlsConnector::from(Arc::new(client)).connect(ServerName::from(address.ip()), stream);
    let mut answer = String::new();
    let asked = async {
        let mut stream = connecting.await?;
        let request =
            "GET /containerLogs/default/web/app HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    let outcome = asked.await;
    serving.abort();
    outcome.ok().filter(|_| answer.starts_with("HTTP/1.1 200")).map(|_| answer)
}

#[tokio::test]
async fn only_who_shows_a_certificate_of_the_cluster_is_served() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pki, stranger) = (Pki::open(own.path()).unwrap(), Pki::open(other.path()).unwrap());
    let answer = over_tls(&pki, Some(pki.client("kube-apiserver-kubelet-client", &[]).unwrap())).await;
    assert!(answer.unwrap().contains("app tail=None"));
    assert_eq!(over_tls(&pki, None).await, None);
    assert_eq!(
        over_tls(&pki, Some(stranger.client("kube-apiserver-kubelet-client", &[]).unwrap())).await,
        None
    );
}
