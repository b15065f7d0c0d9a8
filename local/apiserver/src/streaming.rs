//! Logs, exec, attach and port-forward: what clients speak on the wire, and the [`Kubelet`](crate::kubelet::Kubelet) behind.
//!
//! Two transports carry the streams: SPDY/3.1 (clients up to 1.30) and WebSocket (newer ones). Both end in [`wire`]'s
//! packets, so that what is done with the streams is written once.

mod exec;
pub mod kubelet;
mod logs;
mod portforward;
pub mod spdy;
mod websocket;
mod wire;

use crate::api::{Answer, Call};
use crate::error::{ApiError, Result};
use crate::kubelet::{Kubelet, KubeletError, PodRef};
use crate::object::{list, text, uid};
use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use std::sync::Arc;

/// Handles a streaming sub-resource of a pod.
pub async fn handle(call: Call, parts: Parts, _body: Body) -> Result<Response<Body>> {
    let sub = call.path.subresource.clone();
    if !call.resource.is("", "pods") {
        return Err(ApiError::no_such_path());
    }
    let stored = call.core.store.get("/pods", &call.key()).ok_or_else(|| call.not_found())?;
    let target = Target::of(&call, &stored.value)?;
    match (sub.as_str(), call.verb) {
        ("log", "get") => logs::handle(&target, &call.query, container(&call, &stored.value)?).await,
        ("log", _) => Err(ApiError::method_not_allowed()),
        ("portforward", "get" | "create") => portforward::handle(target, &call.query, parts).await,
        (_, "get" | "create") => {
            let container = container(&call, &stored.value)?;
            let options = exec::options(&call.query, exec::CLIENTS, container, sub == "attach")?;
            exec::handle(&target, options, parts).await
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// A pod and the kubelet that runs it.
#[derive(Clone)]
struct Target {
    pod: PodRef,
    kubelet: Arc<dyn Kubelet>,
}

impl Target {
    fn of(call: &Call, pod: &Value) -> Result<Self> {
        let kubelet = call.core.kubelet.read().clone();
        let kubelet = kubelet.ok_or_else(|| ApiError::unavailable("no node runs pods in this cluster"))?;
        if text(pod, "/spec/nodeName").is_empty() {
            let text = format!("pod {} does not have a host assigned", call.path.name);
            return Err(ApiError::bad_request(text));
        }
        let pod = PodRef {
            namespace: call.path.namespace.clone(),
            name: call.path.name.clone(),
            uid: uid(pod).to_owned(),
        };
        Ok(Target { pod, kubelet })
    }
}

impl From<KubeletError> for ApiError {
    fn from(error: KubeletError) -> Self {
        match error {
            KubeletError::NotFound(text) => ApiError::not_found_because(text),
            KubeletError::BadRequest(text) => ApiError::bad_request(text),
            KubeletError::Internal(text) => ApiError::internal(text),
        }
    }
}

/// The container that the query names, or the only one.
fn container(call: &Call, pod: &Value) -> Result<String> {
    let names =
        |p: &str| -> Vec<String> { list(pod, p).iter().map(|c| text(c, "/name").to_owned()).collect() };
    let (main, init) = (names("/spec/containers"), names("/spec/initContainers"));
    let asked = call.query.get("container");
    if !asked.is_empty() {
        if main.iter().chain(&init).any(|n| n == asked) {
            return Ok(asked.to_owned());
        }
        let text = format!("container {asked} is not valid for pod {}", call.path.name);
        return Err(ApiError::bad_request(text));
    }
    match main.as_slice() {
        [only] => Ok(only.clone()),
        _ => {
            let mut text = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                call.path.name,
                main.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(text))
        }
    }
}

/// Whether a comma-separated header has a token (any case).
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|t| t.trim().eq_ignore_ascii_case(token))
}

fn is_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

fn is_spdy(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "SPDY/3.1")
}

fn upgrade_required() -> ApiError {
    ApiError::bad_request("Upgrade request required: use SPDY/3.1 or a WebSocket over HTTP/1.1")
}

/// The 101 that starts SPDY; `protocol` is what was chosen of the client's X-Stream-Protocol-Version.
fn spdy_response(protocol: &'static str) -> Response<Body> {
    let mut response = Answer::bytes(StatusCode::SWITCHING_PROTOCOLS, bytes::Bytes::new()).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert("X-Stream-Protocol-Version", HeaderValue::from_static(protocol));
    response
}

/// The best of our protocols that the client offers, in our order.
fn choose(headers: &HeaderMap, name: &'static str, ours: &[&'static str]) -> Option<&'static str> {
    let name = header::HeaderName::from_static(name);
    ours.iter().copied().find(|p| has_token(headers, name.clone(), p))
}
