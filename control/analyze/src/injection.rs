//! IST0102 and IST0103: who has a proxy and who has none.

use std::collections::BTreeMap;

use meltemi_config::AnyObject;
use meltemi_config::k8s::Pod;
use meltemi_config::path::Path;

use crate::code;
use crate::context::{Context, info, is_system, warning};

type Labels = BTreeMap<String, String>;

/// IST0102: a namespace that says nothing about injection.
pub(crate) fn namespaces(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::Namespace(namespace) = object else { continue };
        let name = object.name();
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let decided = ["istio-injection", "istio.io/rev", "istio.io/dataplane-mode"]
            .iter()
            .any(|key| labels.contains_key(*key));
        if is_system(name) || decided {
            continue;
        }
        let message = format!(
            "The namespace is not enabled for Istio injection. Run 'kubectl label namespace {name} istio-injection=enabled' to enable it, or 'kubectl label namespace {name} istio-injection=disabled' to explicitly mark it as not needing injection."
        );
        context.add(
            position,
            info(code::NAMESPACE_NOT_INJECTED, Path::root().key("metadata").key("labels"), message),
        );
    }
}

/// IST0103: a pod that should have a proxy.
pub(crate) fn pods(context: &mut Context<'_>) {
    let injected: BTreeMap<&str, bool> = context
        .objects
        .iter()
        .filter_map(|object| match object {
            AnyObject::Namespace(namespace) => {
                let labels = namespace.metadata.labels.clone().unwrap_or_default();
                let by_revision =
                    labels.contains_key("istio.io/rev") && !labels.contains_key("istio-injection");
                Some((
                    object.name(),
                    labels.get("istio-injection").is_some_and(|value| value == "enabled") || by_revision,
                ))
            }
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::Pod(pod) = object else { continue };
        if !injected.get(object.namespace()).copied().unwrap_or(false) || is_exempt(pod) || has_proxy(pod) {
            continue;
        }
        let message = format!(
            "The pod {} is missing the Istio proxy. This can often be resolved by restarting or redeploying the workload.",
            object.name()
        );
        found.push((
            position,
            warning(code::POD_MISSING_PROXY, Path::root().key("metadata").key("name"), message),
        ));
    }
    found.into_iter().for_each(|(position, diagnostic)| context.add(position, diagnostic));
}

fn is_exempt(pod: &Pod) -> bool {
    let empty = Labels::new();
    let says_no = |map: Option<&Labels>| {
        map.unwrap_or(&empty).get("sidecar.istio.io/inject").is_some_and(|value| value == "false")
    };
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let done = matches!(phase, "Succeeded" | "Failed") || pod.metadata.deletion_timestamp.is_some();
    host_network
        || done
        || says_no(pod.metadata.labels.as_ref())
        || says_no(pod.metadata.annotations.as_ref())
}

fn has_proxy(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .any(|container| container.name == "istio-proxy")
}
