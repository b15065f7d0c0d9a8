//! Statuses: what istiod has to say of an object stands in the object, where its owner looks.
//!
//! An object without a fault gets no status, so that a healthy mesh costs the API server nothing; one that had a fault
//! and is sound again is told so.

mod findings;

pub use findings::{Finding, of_objects, of_problem, of_snapshot};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::hub::{News, Published};
use crate::metrics::Metrics;
use crate::objects::{Key, Objects};

/// Findings settle for this long before they are written.
const SETTLE: Duration = Duration::from_millis(200);

/// Writes statuses.
pub struct StatusWriter {
    client: kube::Client,
    objects: Objects,
    metrics: Arc<Metrics>,
    problems: BTreeMap<Key, (i64, Vec<Finding>)>,
    latest: Option<Published>,
    /// What was written last; an empty list for "no fault any more".
    written: BTreeMap<Key, Vec<Finding>>,
}

impl StatusWriter {
    /// Writes through `client`.
    pub fn new(client: kube::Client, objects: Objects, metrics: Arc<Metrics>) -> Self {
        Self { client, objects, metrics, problems: BTreeMap::new(), latest: None, written: BTreeMap::new() }
    }

    /// Follows the hub until the end.
    pub async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>, shutdown: CancellationToken) {
        loop {
            let first = tokio::select! {
                () = shutdown.cancelled() => return,
                first = news.recv() => first,
            };
            let Some(first) = first else { return };
            self.take(first);
            tokio::time::sleep(SETTLE).await;
            while let Ok(next) = news.try_recv() {
                self.take(next);
            }
            self.write_all().await;
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Snapshot(published) => self.latest = Some(published),
            News::Problem(problem) => {
                let key = (problem.kind, problem.namespace.clone(), problem.name.clone());
                self.problems.insert(key, (problem.generation, of_problem(&problem)));
            }
            News::Sound(kind, namespace, name) => {
                self.problems.remove(&(kind, namespace, name));
            }
            News::Namespace(_) => {}
        }
    }

    async fn write_all(&mut self) {
        self.metrics.rejected_configs.set(self.problems.len() as f64);
        let mut wanted: BTreeMap<Key, Vec<Finding>> = BTreeMap::new();
        for (key, (_, findings)) in &self.problems {
            wanted.entry(key.clone()).or_default().extend(findings.iter().cloned());
        }
        if let Some(latest) = &self.latest {
            let all = of_snapshot(&latest.snapshot).into_iter();
            for (key, findings) in all.chain(of_objects(&self.objects.list(), &latest.snapshot)) {
                wanted.entry(key).or_default().extend(findings);
            }
        }
        for key in self.written.keys() {
            wanted.entry(key.clone()).or_default();
        }
        self.remember_old(&mut wanted);
        for (key, findings) in wanted {
            if self.written.get(&key) != Some(&findings) {
                self.write(&key, &findings).await;
                self.written.insert(key, findings);
            }
        }
    }

    /// Objects that an earlier istiod complained about are looked at once more.
    fn remember_old(&self, wanted: &mut BTreeMap<Key, Vec<Finding>>) {
        for object in self.objects.list() {
            let key = (object.kind(), object.namespace().to_owned(), object.name().to_owned());
            if wanted.contains_key(&key) {
                continue;
            }
            let value = object.to_value();
            let messages = value.pointer("/status/validationMessages").and_then(Value::as_array);
            if messages.is_some_and(|messages| !messages.is_empty()) {
                wanted.insert(key, Vec::new());
            }
        }
    }

    async fn write(&self, key: &Key, findings: &[Finding]) {
        let (kind, namespace, name) = key;
        let info = kind.info();
        let gvk = GroupVersionKind::gvk(info.group, info.storage, info.name);
        let resource = ApiResource::from_gvk_with_plural(&gvk, info.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let generation = match self.problems.get(key) {
            Some((generation, _)) => *generation,
            None => self.objects.get(key).map(|object| object.meta().generation).unwrap_or_default(),
        };
        let patch = json!({"status": status(findings, generation)});
        match api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => tracing::debug!(%kind, namespace, name, findings = findings.len(), "status written"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => tracing::warn!(%kind, namespace, name, %error, "cannot write the status"),
        }
    }
}

fn status(findings: &[Finding], generation: i64) -> Value {
    let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.error).collect();
    let (state, reason) = match errors.first() {
        Some(first) => ("False", first.reason),
        None => ("True", "Accepted"),
    };
    let message = findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ");
    let messages: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "type": {"name": finding.reason, "code": finding.code},
                "level": if finding.error { "ERROR" } else { "WARNING" },
                "description": finding.message,
            })
        })
        .collect();
    json!({
        "conditions": [{
            "type": "Reconciled",
            "status": state,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": jiff::Timestamp::now().to_string(),
        }],
        "observedGeneration": generation,
        "validationMessages": messages,
    })
}
