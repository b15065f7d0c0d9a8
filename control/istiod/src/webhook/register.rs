//! Keeps our webhook configurations pointing at us: the certificate they trust, and that nothing passes unvalidated.

use std::pin::pin;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::options::Options;

/// Patches webhook configurations.
#[derive(Clone)]
pub struct Registrar {
    client: kube::Client,
    ca_bundle: String,
    namespace: String,
    revision: String,
    names: [String; 2],
    metrics: Arc<Metrics>,
}

impl Registrar {
    /// Configurations of this revision shall trust `root_pem`.
    pub fn new(client: kube::Client, root_pem: &str, options: &Options, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            ca_bundle: STANDARD.encode(root_pem),
            namespace: options.namespace.clone(),
            revision: options.revision.clone(),
            names: [options.injection_webhook.clone(), options.validation_webhook.clone()],
            metrics,
        }
    }

    /// Watches both kinds until the end. Call it once the webhooks answer: then validation may be made binding.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::join!(
            self.keep("MutatingWebhookConfiguration", shutdown.clone()),
            self.keep("ValidatingWebhookConfiguration", shutdown.clone()),
        );
    }

    async fn keep(&self, kind: &str, shutdown: CancellationToken) {
        let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::from_gvk(&gvk));
        let mut events =
            pin!(watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects());
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(object)) if self.is_ours(&object) => {
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = self.settle(&api, kind, object) => {}
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::warn!(kind, %error, "watch failed, trying again"),
                None => return,
            }
        }
    }

    /// By name, or by the label that revision tags and the default validator carry.
    fn is_ours(&self, object: &DynamicObject) -> bool {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let labels = object.metadata.labels.as_ref();
        let revision = labels.and_then(|labels| labels.get("istio.io/rev")).map(String::as_str);
        self.names.iter().any(|ours| ours == name) || revision == Some(self.revision.as_str())
    }

    /// Patches until it is done: nobody else would tell us that the object is still as it was.
    async fn settle(&self, api: &Api<DynamicObject>, kind: &str, mut object: DynamicObject) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut backoff = Backoff::default();
        while !self.patch(api, kind, &object).await && backoff.pause().await {
            match api.get_opt(&name).await {
                Ok(Some(found)) => object = found,
                Ok(None) => return,
                Err(error) => tracing::warn!(kind, name, %error, "cannot read the webhook configuration"),
            }
        }
    }

    /// True when there is nothing left to do.
    async fn patch(&self, api: &Api<DynamicObject>, kind: &str, object: &DynamicObject) -> bool {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let operations = self.operations(object, kind == "ValidatingWebhookConfiguration");
        if operations.is_empty() {
            return true;
        }
        self.metrics.webhook_patches.inc();
        let Ok(patch) = serde_json::from_value(Value::Array(operations)) else { return true };
        match api.patch(name, &PatchParams::default(), &Patch::<()>::Json(patch)).await {
            Ok(_) => {
                tracing::info!(kind, name, "updated the webhook configuration");
                true
            }
            Err(error) => {
                self.metrics.webhook_patch_failures.inc();
                tracing::warn!(kind, name, %error, "cannot update the webhook configuration");
                false
            }
        }
    }

    /// What must change; the names are tested, so that a list that was reordered meanwhile is not spoilt.
    fn operations(&self, object: &DynamicObject, validating: bool) -> Vec<Value> {
        let webhooks = object.data.get("webhooks").and_then(Value::as_array);
        let mut operations = Vec::new();
        for (index, webhook) in webhooks.into_iter().flatten().enumerate() {
            let service = webhook.pointer("/clientConfig/service/namespace").and_then(Value::as_str);
            if service.is_some_and(|namespace| namespace != self.namespace) {
                continue;
            }
            let mut set = |path: &str, value: &str| {
                let pointer = format!("/{path}");
                if webhook.pointer(&pointer).and_then(Value::as_str) != Some(value) {
                    operations.push(json!({"op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook["name"]}));
                    operations.push(
                        json!({"op": "add", "path": format!("/webhooks/{index}/{path}"), "value": value}),
                    );
                }
            };
            set("clientConfig/caBundle", &self.ca_bundle);
            if validating {
                set("failurePolicy", "Fail");
            }
        }
        operations
    }
}
