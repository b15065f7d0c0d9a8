//! Probes and hooks: looking at a container from outside.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::state::ProbeKind;
use crate::container::runtime;
use crate::container::spec::Process;

/// The container that is looked at.
#[derive(Clone)]
pub struct Target {
    /// Its pod's address.
    pub address: IpAddr,
    /// Its specification, for the names of ports.
    pub container: Container,
    /// Its init process.
    pub init: i32,
    /// What an exec in it starts from.
    pub process: Process,
}

/// Between looks at a container that has not passed yet; these do not count as failures.
const EAGER: Duration = Duration::from_millis(100);
const EAGER_EXEC: Duration = Duration::from_millis(500);
/// For how long after the start we look eagerly.
const EAGER_FOR: Duration = Duration::from_secs(60);

/// Counts passes and failures and says when the verdict changes. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    passes: i32,
    failures: i32,
    pass_at: i32,
    fail_at: i32,
    now: Option<bool>,
}

impl Verdict {
    /// The verdict before the first look.
    pub fn new(kind: ProbeKind, probe: &Probe) -> Self {
        let now = match kind {
            ProbeKind::Startup => None,
            ProbeKind::Liveness => Some(true),
            ProbeKind::Readiness => Some(false),
        };
        let at_least_one = |n: Option<i32>, default| n.unwrap_or(default).max(1);
        let (pass_at, fail_at) = (at_least_one(probe.success_threshold, 1), at_least_one(probe.failure_threshold, 3));
        Self { passes: 0, failures: 0, pass_at, fail_at, now }
    }

    /// Takes one look into account; the new verdict if it has changed.
    pub fn record(&mut self, passed: bool) -> Option<bool> {
        let (count, other, at) = if passed {
            (&mut self.passes, &mut self.failures, self.pass_at)
        } else {
            (&mut self.failures, &mut self.passes, self.fail_at)
        };
        *count = count.saturating_add(1);
        *other = 0;
        if *count >= at && self.now != Some(passed) {
            self.now = Some(passed);
            return Some(passed);
        }
        None
    }
}

/// Probes until the task is dropped, or for a startup probe until there is a verdict.
pub async fn run(target: Target, kind: ProbeKind, probe: Probe, report: impl Fn(Option<bool>, Option<String>)) {
    let seconds = |n: Option<i32>, default: i32| Duration::from_secs(u64::try_from(n.unwrap_or(default)).unwrap_or(1));
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let patience = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let eager = if probe.exec.is_some() { EAGER_EXEC } else { EAGER };
    let begun = Instant::now();
    let mut due = begun + period.min(Duration::from_secs(1));
    let mut verdict = Verdict::new(kind, &probe);
    let mut passed_once = kind == ProbeKind::Liveness;
    loop {
        let looked = tokio::time::timeout(patience, check(&target, &probe)).await;
        let result = looked.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())));
        match result {
            Ok(()) => {
                passed_once = true;
                if let Some(now) = verdict.record(true) {
                    report(Some(now), None);
                    if kind == ProbeKind::Startup {
                        return;
                    }
                }
                due = Instant::now() + period;
            }
            Err(message) if Instant::now() >= due || passed_once => {
                due = Instant::now() + period;
                let change = verdict.record(false);
                report(change, Some(message));
                if change.is_some() && kind != ProbeKind::Readiness {
                    return;
                }
            }
            Err(_) => {}
        }
        let next = if passed_once || begun.elapsed() > EAGER_FOR { due } else { due.min(Instant::now() + eager) };
        tokio::time::sleep_until(next).await;
    }
}

async fn check(target: &Target, probe: &Probe) -> Result<(), String> {
    if let Some(action) = &probe.http_get {
        http_get(target, action).await
    } else if let Some(action) = &probe.tcp_socket {
        let address = address(target, action.host.as_deref(), &action.port)?;
        TcpStream::connect(address).await.map(|_| ()).map_err(|e| format!("dial tcp {address}: {e}"))
    } else if let Some(action) = &probe.exec {
        exec(target, action).await
    } else if let Some(action) = &probe.grpc {
        grpc(target, action).await
    } else {
        Ok(())
    }
}

/// Runs a postStart or preStop hook to its end.
pub async fn hook(target: &Target, handler: &LifecycleHandler) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        exec(target, action).await
    } else if let Some(action) = &handler.http_get {
        http_get(target, action).await
    } else if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        Ok(())
    } else {
        Ok(())
    }
}

/// A port by number or by the container's name for it.
fn port_of(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok())
        }
    };
    number.and_then(|n| u16::try_from(n).ok()).ok_or_else(|| format!("the container has no port {port:?}"))
}

fn address(target: &Target, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
    let ip = match host.filter(|h| !h.is_empty()) {
        Some(host) => host.parse().map_err(|_| format!("the host {host:?} is not an address"))?,
        None => target.address,
    };
    Ok(SocketAddr::new(ip, port_of(&target.container, port)?))
}

async fn http_get(target: &Target, action: &HTTPGetAction) -> Result<(), String> {
    let address = address(target, action.host.as_deref(), &action.port)?;
    let path = action.path.as_deref().unwrap_or("/");
    let stream = TcpStream::connect(address).await.map_err(|e| format!("dial tcp {address}: {e}"))?;
    if action.scheme.as_deref() == Some("HTTPS") {
        // Kubelets do not verify the certificate either; that somebody listens is what we look at.
        return Ok(());
    }
    let mut request = http::Request::get(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
        .header("host", address.to_string())
        .header("user-agent", "kube-probe/1.34")
        .header("accept", "*/*")
        .header("connection", "close");
    for header in action.http_headers.iter().flatten() {
        if header.name.eq_ignore_ascii_case("host")
            && let Some(headers) = request.headers_mut()
        {
            headers.remove("host");
        }
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Full::<Bytes>::default()).map_err(|e| e.to_string())?;
    let status = send(stream, request).await.map_err(|e| format!("Get \"http://{address}{path}\": {e}"))?;
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

async fn send(stream: TcpStream, request: http::Request<Full<Bytes>>) -> Result<u16, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = AbortOnDrop(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await?;
    drop(connection);
    Ok(response.status().as_u16())
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exec(target: &Target, action: &ExecAction) -> Result<(), String> {
    let mut process = target.process.clone();
    process.argv = action.command.clone().unwrap_or_default();
    let output = runtime::exec_output(target.init, process).await.map_err(|e: io::Error| e.to_string())?;
    if output.code == 0 { Ok(()) } else { Err(format!("command exited with {}: {}", output.code, output.text.trim())) }
}

/// `grpc.health.v1.Health/Check`, written out: the message is one string, the answer one number.
async fn grpc(target: &Target, action: &GRPCAction) -> Result<(), String> {
    let address = SocketAddr::new(target.address, u16::try_from(action.port).map_err(|_| "the port is not a number")?);
    let stream = TcpStream::connect(address).await.map_err(|e| format!("dial tcp {address}: {e}"))?;
    let text = |e: hyper::Error| format!("health check of {address}: {e}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
    let _connection = AbortOnDrop(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(grpc_question(action.service.as_deref().unwrap_or_default())))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let body = response.into_body().collect().await.map_err(text)?.to_bytes();
    if grpc_serving(&body) { Ok(()) } else { Err(format!("the service at {address} is not serving")) }
}

fn grpc_question(service: &str) -> Bytes {
    let service = service.as_bytes().get(..127.min(service.len())).unwrap_or_default();
    let message = if service.is_empty() {
        Vec::new()
    } else {
        [&[0x0a, service.len() as u8], service].concat()
    };
    let length = (message.len() as u32).to_be_bytes();
    [[0].as_slice(), &length, &message].concat().into()
}

/// Whether the framed answer says SERVING (field 1 = 1).
fn grpc_serving(body: &[u8]) -> bool {
    matches!(body, [0, _, _, _, _, 0x08, 1, ..])
}

#[cfg(test)]
mod tests {
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
        let seen: Vec<_> = [true, false, true, true, true, false, false, false].map(|p| verdict.record(p)).to_vec();
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

    #[tokio::test(start_paused = true)]
    async fn a_startup_probe_fails_after_its_threshold() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let probe = probe(json!({"tcpSocket": {"port": free}, "periodSeconds": 1, "failureThreshold": 3}));
        let reports = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let sink = reports.clone();
        run(target(free), ProbeKind::Startup, probe, move |verdict, _| sink.lock().push(verdict)).await;
        assert_eq!(*reports.lock(), [None, None, Some(false)]);
    }
}
