use super::look::{grpc_question, grpc_serving};
use super::*;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn probe(json: serde_json::Value) -> Probe {
    serde_json::from_value(json).unwrap()
}

#[test]
fn verdicts_follow_the_thresholds() {
    let spec = probe(json!({"failureThreshold": 2, "successThreshold": 2}));
    let mut verdict = Verdict::new(ProbeKind::Readiness, &spec);
    let seen: Vec<_> =
        [true, false, true, true, true, false, false, false].map(|p| verdict.record(p)).to_vec();
    assert_eq!(seen, [None, None, None, Some(true), None, None, Some(false), None]);
    let mut startup = Verdict::new(ProbeKind::Startup, &spec);
    assert_eq!([startup.record(false), startup.record(false)], [None, Some(false)]);
    assert_eq!(Verdict::new(ProbeKind::Liveness, &spec).record(true), None);
}

#[test]
fn health_messages() {
    assert_eq!(grpc_question("").as_ref(), [0, 0, 0, 0, 0]);
    assert_eq!(grpc_question("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    assert!(grpc_serving(&[0, 0, 0, 0, 2, 8, 1]));
    assert!(!grpc_serving(&[0, 0, 0, 0, 2, 8, 2]) && !grpc_serving(&[]));
}

fn target(port: u16) -> Target {
    let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]});
    Target {
        address: "127.0.0.1".parse().unwrap(),
        container: serde_json::from_value(container).unwrap(),
        init: 0,
        process: Process::default(),
    }
}

#[tokio::test]
async fn http_probes_look_at_the_status() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        for status in ["200 OK", "503 No"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(buffer[..length].starts_with(b"GET /healthz "));
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let probe = probe(json!({"httpGet": {"path": "/healthz", "port": "web"}}));
    assert_eq!(check(&target, &probe).await, Ok(()));
    assert_eq!(check(&target, &probe).await.unwrap_err(), "HTTP probe failed with statuscode: 503");
    assert!(check(&target, &probe).await.unwrap_err().contains("dial tcp"));
}

#[tokio::test]
async fn https_probes_ask_whoever_answers() {
    let issued = rcgen::generate_simple_self_signed(["somebody.else".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        for status in ["204 Fine", "500 Bad"] {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let length = stream.read(&mut [0; 1024]).await.unwrap();
            assert!(length > 0);
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
        // A server that speaks no TLS.
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let probe = probe(json!({"httpGet": {"port": "web", "scheme": "HTTPS"}}));
    assert_eq!(check(&target, &probe).await, Ok(()));
    assert_eq!(check(&target, &probe).await.unwrap_err(), "HTTP probe failed with statuscode: 500");
    assert!(check(&target, &probe).await.unwrap_err().starts_with("Get \"https://"));
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_fails_after_its_threshold() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let probe = probe(json!({"tcpSocket": {"port": free}, "periodSeconds": 1, "failureThreshold": 3}));
    let reports = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sink = reports.clone();
    run(target(free), ProbeKind::Startup, probe, move |verdict, _| sink.lock().push(verdict)).await;
    assert_eq!(*reports.lock(), [None, None, Some(false)]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_waits_for_an_answer_no_longer_than_it_may() {
    // Connections are accepted by the system; nobody answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let run = async |handler: serde_json::Value| {
        hook(&target(port), &serde_json::from_value(handler).unwrap(), Duration::from_secs(5)).await
    };
    assert_eq!(run(json!({"httpGet": {"port": "web"}})).await, Err("no answer within 5 s".into()));
    assert_eq!(run(json!({"sleep": {"seconds": 60}})).await, Ok(()), "what a pod asks for itself");
    assert!(run(json!({"tcpSocket": {"port": "web"}})).await.is_err(), "as in Kubernetes");
}
