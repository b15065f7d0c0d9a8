//! `/inject`: gives pods their proxy.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use meltemi_inject::{Context, Outcome};
use serde_json::Value;
use tokio::time::Instant;

use super::Webhooks;
use super::review::{Request, Verdict};

pub async fn handle(State(webhooks): State<Webhooks>, path: Option<Path<String>>, body: Bytes) -> Response {
    let metrics = &webhooks.metrics;
    metrics.injections.inc();
    let started = Instant::now();
    let request = match Request::read(&body) {
        Ok(request) => request,
        Err(response) => {
            metrics.injections_failed.inc();
            return *response;
        }
    };
    let verdict = webhooks.inject(&request, &path.map(|Path(path)| path).unwrap_or_default());
    metrics.injection_time.observe(started.elapsed().as_secs_f64());
    request.answer(verdict).into_response()
}

impl Webhooks {
    fn inject(&self, request: &Request, path: &str) -> Verdict {
        let injector = match self.settings.injector() {
            Ok(injector) => injector,
            Err(error) => {
                self.metrics.injections_failed.inc();
                return Verdict::refuse(format!("istiod has no valid injection settings: {error}"));
            }
        };
        let context = context(request, path);
        match injector.inject(&request.object, &context) {
            Ok(Outcome::Injected(injected)) => {
                self.metrics.injections_done.inc();
                tracing::info!(pod = pod_name(&request.object), namespace = context.namespace, "injected");
                let patch = serde_json::to_vec(&injected.patch).unwrap_or_default();
                Verdict { patch: Some(patch), warnings: injected.warnings, ..Verdict::default() }
            }
            Ok(Outcome::Skipped(reason)) => {
                self.metrics.injections_skipped.inc();
                tracing::debug!(pod = pod_name(&request.object), %reason, "not injected");
                Verdict::default()
            }
            Err(error) => {
                self.metrics.injections_failed.inc();
                tracing::warn!(pod = pod_name(&request.object), namespace = context.namespace, %error, "not injected");
                Verdict::refuse(error.to_string())
            }
        }
    }
}

/// The request says the namespace (the pod itself need not), the URL may say cluster and network:
/// `/inject/cluster/NAME/net/NAME`.
fn context(request: &Request, path: &str) -> Context {
    let mut context = Context::of_namespace(request.namespace.clone());
    let mut words = path.split('/').filter(|word| !word.is_empty());
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match key {
            "cluster" => context.cluster = Some(value.to_owned()),
            "net" => context.network = Some(value.to_owned()),
            _ => {}
        }
    }
    context
}

fn pod_name(pod: &Value) -> &str {
    let text = |path| pod.pointer(path).and_then(Value::as_str);
    text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or_default()
}
