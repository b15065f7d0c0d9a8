//! Which pod the user means.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

/// A pod, a workload or a service, as users write it: `name`, `name.namespace`, `deployment/name`, `svc/name.namespace`.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    kind: Kind,
    name: &'a str,
    namespace: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Pod,
    Deployment,
    Service,
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str) -> anyhow::Result<Self> {
        let (kind, rest) = match text.split_once('/') {
            None => (Kind::Pod, text),
            Some(("pod" | "pods" | "po", rest)) => (Kind::Pod, rest),
            Some(("deployment" | "deployments" | "deploy", rest)) => (Kind::Deployment, rest),
            Some(("service" | "services" | "svc", rest)) => (Kind::Service, rest),
            Some((kind, _)) => {
                bail!("{text:?}: cannot look for kind {kind:?}; expected pod, deployment or service")
            }
        };
        let (name, namespace) = match rest.rsplit_once('.') {
            Some((name, namespace)) => (name, Some(namespace)),
            None => (rest, None),
        };
        if name.is_empty() || namespace.is_some_and(str::is_empty) {
            bail!("{text:?}: expected <pod>[.<namespace>], deployment/<name> or service/<name>");
        }
        Ok(Wanted { kind, name, namespace })
    }
}

/// Finds the pod; of a workload's or service's pods a running one.
///
/// # Errors
/// When there is none; the message lists near names.
pub async fn find(client: &Client, namespace: &str, text: &str) -> anyhow::Result<Pod> {
    let wanted = Wanted::parse(text)?;
    let namespace = wanted.namespace.unwrap_or(namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    match wanted.kind {
        Kind::Pod => match pods.get_opt(wanted.name).await? {
            Some(pod) => Ok(pod),
            None => Err(missing(&pods, wanted.name, namespace).await),
        },
        Kind::Deployment => {
            let all: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            let found = all.get_opt(wanted.name).await?;
            let found = found
                .with_context(|| format!("no deployment {:?} in namespace {namespace:?}", wanted.name))?;
            let labels = found.spec.and_then(|spec| spec.selector.match_labels).unwrap_or_default();
            selected(&pods, &labels, text).await
        }
        Kind::Service => {
            let all: Api<Service> = Api::namespaced(client.clone(), namespace);
            let found = all.get_opt(wanted.name).await?;
            let found =
                found.with_context(|| format!("no service {:?} in namespace {namespace:?}", wanted.name))?;
            selected(&pods, &found.spec.and_then(|spec| spec.selector).unwrap_or_default(), text).await
        }
    }
}

async fn selected(pods: &Api<Pod>, labels: &BTreeMap<String, String>, text: &str) -> anyhow::Result<Pod> {
    if labels.is_empty() {
        bail!("{text} selects no pods: it has no selector");
    }
    let selector: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut found = pods.list(&ListParams::default().labels(&selector.join(","))).await?.items;
    found.sort_by_key(|pod| (phase(pod) != "Running", pod.name_any()));
    found.into_iter().next().with_context(|| format!("{text} has no pods ({})", selector.join(",")))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

async fn missing(pods: &Api<Pod>, name: &str, namespace: &str) -> anyhow::Error {
    let all = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    let near = near(name, &names);
    match (near.as_slice(), names.is_empty()) {
        (_, true) => anyhow!(
            "no pod {name:?}: namespace {namespace:?} has no pods; name another with -n NAMESPACE or {name}.NAMESPACE"
        ),
        ([], _) => anyhow!(
            "no pod {name:?} in namespace {namespace:?}; it has: {}",
            names.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
        ),
        (near, _) => {
            anyhow!("no pod {name:?} in namespace {namespace:?}; did you mean {}?", near.join(" or "))
        }
    }
}

/// At most three of `names` that are like `name`, the nearest first.
pub fn near<'a>(name: &str, names: &'a [String]) -> Vec<&'a str> {
    let likeness = |other: &str| f64::from(similar::TextDiff::from_chars(name, other).ratio());
    let mut scored: Vec<(f64, &str)> = names.iter().map(|other| (likeness(other), other.as_str())).collect();
    scored.retain(|(likeness, other)| *likeness >= 0.6 || other.starts_with(name));
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Whether the pod has a proxy: as container, as init container that stays, or as its only purpose.
///
/// # Errors
/// When it has none; the message says how to get one.
pub fn has_proxy(pod: &Pod) -> anyhow::Result<()> {
    let spec = pod.spec.as_ref();
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    if containers.iter().chain(init).any(|container| container.name == "istio-proxy") {
        return Ok(());
    }
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    bail!(
        "pod {name}.{namespace} has no sidecar (no container istio-proxy). To inject one:\n  \
         kubectl label namespace {namespace} istio-injection=enabled\n  \
         kubectl rollout restart deployment -n {namespace}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write() {
        let read = |text| Wanted::parse(text).unwrap();
        assert_eq!(read("p-1"), Wanted { kind: Kind::Pod, name: "p-1", namespace: None });
        assert_eq!(read("p-1.shop"), Wanted { kind: Kind::Pod, name: "p-1", namespace: Some("shop") });
        assert_eq!(read("deploy/a.b"), Wanted { kind: Kind::Deployment, name: "a", namespace: Some("b") });
        assert_eq!(read("svc/a").kind, Kind::Service);
        assert!(Wanted::parse("job/a").unwrap_err().to_string().contains("job"));
        assert!(Wanted::parse(".ns").is_err());
    }

    #[test]
    fn near_names() {
        let names = ["reviews-v1-7f99-abcde", "reviews-v2-1234-fghij", "details-v1-9-xyz"].map(str::to_owned);
        assert_eq!(near("reviews", &names), ["reviews-v1-7f99-abcde", "reviews-v2-1234-fghij"]);
        assert_eq!(near("details-v1-9-xyy", &names), ["details-v1-9-xyz"]);
        assert!(near("kube-dns", &names).is_empty());
    }

    #[test]
    fn a_pod_without_sidecar_is_explained() {
        let mut pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "shop"}, "spec": {"containers": [{"name": "app"}]},
        }))
        .unwrap();
        assert!(
            has_proxy(&pod)
                .unwrap_err()
                .to_string()
                .contains("kubectl label namespace shop istio-injection=enabled")
        );
        let native = serde_json::from_value(serde_json::json!([{"name": "istio-proxy"}])).unwrap();
        pod.spec.as_mut().unwrap().init_containers = Some(native);
        assert!(has_proxy(&pod).is_ok());
    }
}
