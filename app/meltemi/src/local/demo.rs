//! Deploying a demo, and waiting until a user would see it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _, discovery};
use meltemi_node::host_ports::HostPorts;
use serde_json::json;

/// The field manager of what we apply.
const MANAGER: &str = "meltemi";

/// Bookinfo: what `samples/` holds, so that users can apply the same files themselves.
pub const BOOKINFO: &[&str] = &[
    include_str!("../../../../samples/bookinfo/platform/kube/bookinfo.yaml"),
    include_str!("../../../../samples/bookinfo/networking/bookinfo-gateway.yaml"),
];

/// Turns automatic injection on for a namespace, as tutorials do first.
pub async fn enable_injection(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"labels": {"istio-injection": "enabled"}}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Applies every document of a YAML text by server-side apply, in its order.
pub async fn apply(client: &Client, namespace: &str, text: &str) -> anyhow::Result<()> {
    for document in documents(text)? {
        let object: DynamicObject = serde_json::from_value(document)?;
        let types = object.types.clone().context("a document lacks apiVersion or kind")?;
        let kind = GroupVersionKind::try_from(&types)?;
        let (resource, _) = discovery::pinned_kind(client, &kind).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let name = object.name_any();
        api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {} {name}", types.kind))?;
    }
    Ok(())
}

fn documents(text: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    use serde::Deserialize as _;
    let parsed = yaml_serde::Deserializer::from_str(text).map(serde_json::Value::deserialize);
    let documents = parsed.collect::<Result<Vec<_>, _>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Waits until `count` pods of the namespace, and all there are, are ready; names those that are not when time is up.
pub async fn pods_ready(
    client: &Client,
    namespace: &str,
    count: usize,
    patience: Duration,
) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let waiting = async {
        let mut changes = watcher(pods.clone(), watcher::Config::default()).default_backoff().boxed();
        loop {
            let list = pods.list(&ListParams::default()).await?.items;
            let live = list.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            let (ready, other): (Vec<_>, Vec<_>) = live.partition(|pod| is_ready(pod));
            if other.is_empty() && ready.len() >= count {
                return anyhow::Ok(());
            }
            changes.try_next().await?;
        }
    };
    match tokio::time::timeout(patience, waiting).await {
        Ok(done) => done,
        Err(_) => {
            let list = pods.list(&ListParams::default()).await?.items;
            let late: Vec<String> = list.iter().filter(|pod| !is_ready(pod)).map(describe).collect();
            anyhow::bail!("not ready after {patience:?}: {}", late.join("; "))
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A pod's name and why it waits.
fn describe(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let main = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let waiting = init.iter().chain(main).filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        Some(format!("{}: {reason} {}", container.name, waiting.message.as_deref().unwrap_or_default()))
    });
    format!("pod {} ({})", pod.name_any(), waiting.collect::<Vec<_>>().join(", "))
}

/// Asks for a page until it answers 200, from the host's network as the user will.
pub async fn page_answers(
    host: &HostPorts,
    address: SocketAddr,
    path: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = ask(host, address, path).await;
        match answer {
            Ok(200) => return Ok(()),
            other if Instant::now() > deadline => {
                let last =
                    other.map_or_else(|error| format!("{error:#}"), |status| format!("status {status}"));
                anyhow::bail!("http://{address}{path} does not answer: {last}");
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn ask(host: &HostPorts, address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    use http_body_util::{BodyExt as _, Empty};
    let stream = host.connect(address).await?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", address.to_string())
        .body(Empty::<hyper::body::Bytes>::new())?;
    let response = tokio::time::timeout(Duration::from_secs(10), sender.send_request(request)).await??;
    let status = response.status().as_u16();
    let _ = response.into_body().collect().await;
    connection.abort();
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_whole() {
        let all: Vec<_> = BOOKINFO.iter().flat_map(|text| documents(text).unwrap()).collect();
        let count = |kind: &str| all.iter().filter(|document| document["kind"] == kind).count();
        assert_eq!((count("Service"), count("Deployment"), count("ServiceAccount")), (4, 6, 4));
        assert_eq!((count("Gateway"), count("VirtualService")), (1, 1));
    }
}
