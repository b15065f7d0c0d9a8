//! The controllers: what turns a Deployment into pods, and a Service into endpoints.
//!
//! Each is a `reconcile` of one object, driven by watches on the kind and on what it owns; the choices are pure functions
//! beside it. Lists are asked of the API server each time rather than taken from a cache: it is in the same process,
//! and an answer that is never stale needs no book-keeping of what is under way.

mod cron_job;
mod daemon_set;
mod deployment;
mod endpoints;
mod job;
pub mod node;
mod replica_set;
mod revisions;
mod rollout;
mod stateful_set;
pub(crate) mod workload;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Event, EventSource, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// What every controller works with.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
}

/// Why a reconciliation did not succeed. All are tried again.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The API server refused, or did not answer.
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// Starts every controller; they run until their tasks are dropped.
pub fn start(client: &Client, node: &str) -> Vec<JoinHandle<()>> {
    let context = Arc::new(Context { client: client.clone() });
    let pods = || Api::<Pod>::all(client.clone());
    let sets = Api::<ReplicaSet>::all(client.clone());
    let services = controller::<Service>(client);
    let store = services.store();
    let services = services.watches(pods(), any(), move |pod| selecting(&store.state(), &pod));
    vec![
        run(controller::<ReplicaSet>(client).owns(pods(), any()), replica_set::reconcile, &context),
        run(controller::<Deployment>(client).owns(sets, any()), deployment::reconcile, &context),
        run(controller::<Job>(client).owns(pods(), any()), job::reconcile, &context),
        run(
            controller::<CronJob>(client).owns(Api::<Job>::all(client.clone()), any()),
            cron_job::reconcile,
            &context,
        ),
        run(controller::<StatefulSet>(client).owns(pods(), any()), stateful_set::reconcile, &context),
        run(controller::<DaemonSet>(client).owns(pods(), any()), daemon_set::reconcile, &context),
        run(services, endpoints::reconcile, &context),
        tokio::spawn(node::heartbeat(client.clone(), node.to_owned())),
    ]
}

fn any() -> watcher::Config {
    watcher::Config::default()
}

fn controller<K>(client: &Client) -> Controller<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Controller::new(Api::all(client.clone()), any())
}

fn run<K, F>(
    controller: Controller<K>,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
    context: &Arc<Context>,
) -> JoinHandle<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    F: Future<Output = Result<Action, Fault>> + Send + 'static,
{
    let kind = K::kind(&()).into_owned();
    let again = |_: Arc<K>, _: &Fault, _: Arc<Context>| Action::requeue(Duration::from_millis(500));
    let outcomes = controller.run(reconcile, again, context.clone());
    tokio::spawn(outcomes.for_each(move |outcome| {
        if let Err(error) = outcome {
            tracing::debug!(%kind, %error, "will try again");
        }
        std::future::ready(())
    }))
}

/// The Services that select a pod.
fn selecting(services: &[Arc<Service>], pod: &Pod) -> Vec<ObjectRef<Service>> {
    let labels = pod.labels();
    let selects = |service: &&Arc<Service>| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        service.namespace() == pod.namespace()
            && selector
                .is_some_and(|selector| selector.iter().all(|(name, value)| labels.get(name) == Some(value)))
    };
    services.iter().filter(selects).map(|service| ObjectRef::from_obj(service.as_ref())).collect()
}

/// Writes an event about an object, for `kubectl describe`. A failure to write is not worth failing for.
pub(crate) async fn event<K>(client: &Client, about: &K, severity: &str, reason: &str, message: &str)
where
    K: Resource<DynamicType = ()>,
{
    let namespace = about.namespace().unwrap_or_else(|| "default".into());
    let now = Time(Timestamp::now());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:016x}", about.name_any(), fastrand::u64(..))),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: about.object_ref(&()),
        type_: Some(severity.into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        source: Some(EventSource { component: Some("controller-manager".into()), host: None }),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    if let Err(error) = events.create(&PostParams::default(), &event).await {
        tracing::debug!(%reason, %error, "event not written");
    }
}

/// A write to an object that has gone in the meantime, or changed, is no failure: its next change is watched.
pub(crate) fn gone_is_fine<T>(outcome: Result<T, kube::Error>) -> Result<(), Fault> {
    match outcome {
        Err(error) if !is_gone(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Somebody was faster: what should be there is.
pub(crate) fn exists_is_fine<T>(outcome: Result<T, kube::Error>) -> Result<(), Fault> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

pub(crate) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
