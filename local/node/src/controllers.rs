//! The controllers: what turns a Deployment into pods, and a Service into endpoints.
//!
//! Each is a `reconcile` of one object, driven by watches on the kind and on what it owns; the choices are pure functions
//! beside it. Lists are asked of the API server each time rather than taken from a cache: an answer
//! that is never stale needs no book-keeping of what is under way, and the server is near.

mod cron_job;
mod daemon_set;
mod deployment;
mod endpoints;
mod events;
mod job;
pub mod node;
pub(crate) mod ownership;
mod replica_set;
mod revisions;
mod rollout;
mod stateful_set;
mod status;
pub mod storage;
pub(crate) mod workload;

pub(crate) use events::{event, trouble};

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::Api;
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
    /// Where the directories of volumes are.
    pub volume_dir: PathBuf,
}

/// Why a reconciliation did not succeed. All are tried again.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The API server refused, or did not answer.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Something was refused by a quota, a webhook or the file system: an event says so.
    #[error("refused: {0}")]
    Refused(String),
}

/// How long to wait after a failure: one of the machine's passes, a refusal stands until somebody changes something.
fn patience(fault: &Fault) -> Duration {
    match fault {
        Fault::Kube(_) => Duration::from_millis(500),
        Fault::Refused(_) => Duration::from_secs(2),
    }
}

/// Starts every controller; they run until their tasks are dropped.
pub fn start(client: &Client, node: &str, volume_dir: PathBuf) -> Vec<JoinHandle<()>> {
    let context = Arc::new(Context { client: client.clone(), volume_dir });
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
        run(storage::claims(client), storage::claims::reconcile, &context),
        run(storage::volumes(client), storage::volumes::reconcile, &context),
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
    let again = |_: Arc<K>, fault: &Fault, _: Arc<Context>| Action::requeue(patience(fault));
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

/// What an error says to a user: the API server's own words where they are its.
pub(crate) fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
