//! The whole of istiod over a stand-in for the API server: every port answers, and the authority works over TLS.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use meltemi_identity::san::SanMatcher;
use meltemi_identity::verify::{Roots, ServerVerifier};
use meltemi_identity::{SpiffeId, chain, csr, tls};
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::istio::auth::v1::IstioCertificateRequest;
use meltemi_proto::istio::auth::v1::istio_certificate_service_client::IstioCertificateServiceClient;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};

use super::soon;
use crate::options::Options;
use crate::run::{Istiod, Listeners};

type Answer = Response<UnsyncBoxBody<bytes::Bytes, Infallible>>;

/// Keeps what is created, lists nothing, and knows one token.
#[derive(Clone, Default)]
struct FakeApi(Arc<Mutex<BTreeMap<String, Value>>>);

impl FakeApi {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
        match method {
            Method::POST if path.ends_with("/tokenreviews") => reply(201, review(&sent)),
            Method::POST => {
                let name = sent["metadata"]["name"].as_str().unwrap_or_default();
                self.0.lock().insert(format!("{path}/{name}"), sent.clone());
                reply(201, sent)
            }
            _ if query.contains("watch=") => {
                let never =
                    futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, Infallible>>();
                Response::new(StreamBody::new(never).boxed_unsync())
            }
            _ => match (self.0.lock().get(&path), query.contains("limit=")) {
                (Some(found), _) => reply(200, found.clone()),
                (None, true) => reply(200, self.list(&path)),
                (None, false) => reply(
                    404,
                    json!({"kind": "Status", "status": "Failure", "code": 404,
                    "reason": "NotFound", "message": "not found"}),
                ),
            },
        }
    }

    fn list(&self, path: &str) -> Value {
        let namespace = json!({"metadata": {"name": "default"}});
        let items = if path == "/api/v1/namespaces" { vec![namespace] } else { Vec::new() };
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
    }
}

fn reply(status: u16, body: Value) -> Answer {
    let body = Full::new(bytes::Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn review(sent: &Value) -> Value {
    let good = sent["spec"]["token"] == "good";
    let user = json!({"username": "system:serviceaccount:default:reviews"});
    let status = json!({"authenticated": good, "user": user, "audiences": ["istio-ca"]});
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": sent["spec"], "status": status})
}

struct Running {
    istiod: Istiod,
    api: FakeApi,
    http: std::net::SocketAddr,
    https: std::net::SocketAddr,
    secure: std::net::SocketAddr,
    shutdown: Shutdown,
    tasks: TaskTracker,
}

async fn start() -> Running {
    let local = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        monitoring_addr: local,
        http_addr: local,
        https_addr: local,
        grpc_addr: local,
        secure_grpc_addr: local,
        ..Options::default()
    };
    let listeners = Listeners::bind(&options).await.unwrap();
    let address = |listener: &tokio::net::TcpListener| listener.local_addr().unwrap();
    let (http, https, secure) =
        (address(&listeners.http), address(&listeners.https), address(&listeners.secure_grpc));
    let (api, tasks, shutdown) = (FakeApi::default(), TaskTracker::new(), Shutdown::new());
    let istiod = Istiod::start(options, api.client(), listeners, &tasks, &shutdown).await.unwrap();
    Running { istiod, api, http, https, secure, shutdown, tasks }
}

impl Running {
    async fn tls(
        &self,
        address: std::net::SocketAddr,
        alpn: &[u8],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let roots = Roots::from_pem(&self.istiod.authority.root_pem()).unwrap();
        let verifier = ServerVerifier::new(roots, vec![SanMatcher::dns("istiod.istio-system.svc")]);
        let config = Arc::new(tls::client_config(verifier, None, &[alpn]).unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        TlsConnector::from(config)
            .connect("istiod.istio-system.svc".try_into().unwrap(), stream)
            .await
            .unwrap()
    }

    async fn channel(&self) -> Channel {
        let mut stream = Some(TokioIo::new(self.tls(self.secure, b"h2").await));
        let connect = tower::service_fn(move |_| {
            let stream = stream.take();
            async move { stream.ok_or_else(|| std::io::Error::other("once only")) }
        });
        Endpoint::from_static("http://istiod").connect_with_connector(connect).await.unwrap()
    }

    async fn certificate(&self, token: &str) -> Result<Vec<String>, tonic::Status> {
        let id = SpiffeId::new("cluster.local", "default", "reviews").unwrap();
        let (_, csr) = csr::generate(&id).unwrap();
        let mut request = tonic::Request::new(IstioCertificateRequest { csr, ..Default::default() });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut client = IstioCertificateServiceClient::new(self.channel().await);
        client.create_certificate(request).await.map(|answer| answer.into_inner().cert_chain)
    }
}

#[tokio::test]
async fn it_becomes_ready_gives_certificates_and_ends() {
    let running = soon(start()).await;
    soon(running.istiod.readiness.wait()).await;
    let chain_pem = soon(running.certificate("good")).await.unwrap();
    let leaf = chain::parse(&chain_pem[0]).unwrap();
    assert_eq!(chain::spiffe_id_of(&leaf[0]).unwrap().unwrap().service_account, "reviews");
    assert_eq!(soon(running.certificate("bad")).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    assert!(running.api.0.lock().contains_key("/api/v1/namespaces/istio-system/secrets/istio-ca-secret"));
    soon(async {
        while !running.api.0.lock().contains_key("/api/v1/namespaces/default/configmaps/istio-ca-root-cert") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.shutdown.request();
    running.tasks.close();
    soon(running.tasks.wait()).await;
}

#[tokio::test]
async fn webhooks_answer_over_https_and_probes_over_http() {
    let running = soon(start()).await;
    soon(running.istiod.readiness.wait()).await;
    let pod = json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let request = json!({"uid": "u", "operation": "CREATE", "namespace": "default", "object": pod});
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        .to_string();
    let mut stream = running.tls(running.https, b"http/1.1").await;
    let head = format!(
        "POST /inject HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = soon(exchange(&mut stream, &(head + &body))).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"patchType\":\"JSONPatch\""), "{answer}");
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    let answer =
        soon(exchange(&mut stream, "GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn exchange(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes without saying so is all right here.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
