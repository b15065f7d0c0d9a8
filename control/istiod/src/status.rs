//! Statuses: what istiod has to say of an object stands in the object, where its owner looks.
//!
//! An object without a fault gets no status, so that a healthy mesh costs the API server nothing; one that had a fault
//! and is sound again is told so. ServiceEntries are told the addresses that their hosts got.

mod addresses;
mod findings;

pub use findings::{Finding, of_objects, of_problem, of_snapshot};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use meltemi_mesh::view::Shown;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
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
    problems: BTreeMap<Key, (State, Vec<Finding>)>,
    latest: Option<Published>,
    /// What was written last, and of which state of the object; an empty list for "no fault any more".
    written: BTreeMap<Key, (State, Vec<Finding>)>,
    /// What the findings were last made from.
    seen: Option<Seen>,
}

/// Which object of a name, and which state of it.
#[derive(Debug, Clone, PartialEq)]
struct State {
    uid: String,
    generation: i64,
}

/// What findings depend on besides what is told one by one.
struct Seen {
    objects: u64,
    shown: Arc<Shown>,
}

impl StatusWriter {
    /// Writes through `client`.
    pub fn new(client: kube::Client, objects: Objects, metrics: Arc<Metrics>) -> Self {
        let (problems, written) = (BTreeMap::new(), BTreeMap::new());
        Self { client, objects, metrics, problems, latest: None, written, seen: None }
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
            let mut backoff = Backoff::default();
            loop {
                tokio::time::sleep(SETTLE).await;
                while let Ok(next) = news.try_recv() {
                    self.take(next);
                }
                if !self.has_news() || self.write_all().await || !backoff.pause().await {
                    break;
                }
                // What could not be written is looked at again.
                self.seen = None;
            }
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Snapshot(published) => self.latest = Some(published),
            News::Problem(problem) => {
                let key = (problem.kind, problem.namespace.clone(), problem.name.clone());
                let state = State { uid: problem.uid.clone(), generation: problem.generation };
                self.problems.insert(key, (state, of_problem(&problem)));
                self.seen = None;
            }
            News::Sound(kind, namespace, name) => {
                self.problems.remove(&(kind, namespace, name));
                self.seen = None;
            }
            News::Namespace(_) => {}
        }
    }

    /// Are there other objects, services or problems than at the last look? Endpoints come and go all the time.
    fn has_news(&mut self) -> bool {
        let shown = self.latest.as_ref().map(|latest| latest.snapshot.shown.clone()).unwrap_or_default();
        let seen = Seen { objects: self.objects.version(), shown };
        let same = |before: &Seen| before.objects == seen.objects && Arc::ptr_eq(&before.shown, &seen.shown);
        let news = !self.seen.as_ref().is_some_and(same);
        self.seen = Some(seen);
        news
    }

    /// True when all that had to be written is written.
    async fn write_all(&mut self) -> bool {
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
        // Of an object that is gone nothing is left to say.
        self.written = std::mem::take(&mut self.written)
            .into_iter()
            .filter(|(key, _)| self.problems.contains_key(key) || self.objects.get(key).is_some())
            .collect();
        for key in self.written.keys() {
            wanted.entry(key.clone()).or_default();
        }
        self.remember_old(&mut wanted);
        let mut done = self.write_addresses().await;
        for (key, findings) in wanted {
            let Some(state) = self.state(&key) else { continue };
            let now = (state, findings);
            if self.written.get(&key) == Some(&now) {
                continue;
            }
            match self.write(&key, &now.1, now.0.generation).await {
                true => drop(self.written.insert(key, now)),
                false => done = false,
            }
        }
        done
    }

    /// True when the statuses of all ServiceEntries say which addresses their hosts have.
    async fn write_addresses(&self) -> bool {
        let Some(latest) = &self.latest else { return true };
        let mut done = true;
        for (key, addresses) in addresses::of_objects(&self.objects.list(), &latest.snapshot) {
            done &= self.patch(&key, &json!({"status": {"addresses": addresses}})).await;
        }
        done
    }

    fn state(&self, key: &Key) -> Option<State> {
        if let Some((state, _)) = self.problems.get(key) {
            return Some(state.clone());
        }
        let object = self.objects.get(key)?;
        let meta = object.meta();
        Some(State { uid: meta.uid.clone(), generation: meta.generation })
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

    async fn write(&self, key: &Key, findings: &[Finding], generation: i64) -> bool {
        self.patch(key, &json!({"status": status(findings, generation)})).await
    }

    async fn patch(&self, key: &Key, patch: &Value) -> bool {
        let (kind, namespace, name) = key;
        let info = kind.info();
        let gvk = GroupVersionKind::gvk(info.group, info.storage, info.name);
        let resource = ApiResource::from_gvk_with_plural(&gvk, info.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        match api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                tracing::debug!(%kind, namespace, name, "status written");
                true
            }
            Err(kube::Error::Api(status)) if status.code == 404 => true,
            Err(error) => {
                tracing::warn!(%kind, namespace, name, %error, "cannot write the status");
                false
            }
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

#[cfg(test)]
mod tests;
