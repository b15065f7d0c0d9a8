//! Whether a pod joins the mesh.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::annotations::{flag, names};
use crate::config::{LabelSelector, Policy};
use crate::inject::{Context, Injector};
use crate::pod::{PROXY_CONTAINER, PodRef, name};

/// The answer for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The pod gets a proxy.
    Inject,
    /// It does not, and why.
    Skip(Reason),
}

/// Why a pod gets no proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It shares the node's network: redirection would take the node's traffic.
    HostNetwork,
    /// It is in a namespace of the cluster's own machinery.
    SystemNamespace(String),
    /// It is in the control plane's namespace and does not ask for injection by its own label.
    ControlPlaneNamespace(String),
    /// It already has a proxy.
    AlreadyInjected,
    /// Its label or annotation `sidecar.istio.io/inject` says no.
    OptedOut(&'static str),
    /// `neverInjectSelector` matches.
    NeverInjectSelector,
    /// The policy is `disabled` and nothing asks for injection.
    PolicyDisabled,
    /// The namespace label `istio-injection` says no.
    NamespaceOptedOut,
    /// Neither the namespace nor the pod carries a label that asks for injection.
    NotSelected,
    /// The labels ask for another revision.
    OtherRevision(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => write!(f, "the pod uses the host's network (spec.hostNetwork)"),
            Self::SystemNamespace(ns) => write!(f, "namespace {ns} is never injected"),
            Self::ControlPlaneNamespace(ns) => write!(f, "namespace {ns} holds the control plane"),
            Self::AlreadyInjected => write!(f, "the pod already has the container {PROXY_CONTAINER}"),
            Self::OptedOut(place) => write!(f, "the pod's {place} {} is false", names::INJECT),
            Self::NeverInjectSelector => write!(f, "the pod matches neverInjectSelector"),
            Self::PolicyDisabled => write!(f, "the injection policy is disabled"),
            Self::NamespaceOptedOut => {
                write!(f, "the namespace label {} is not `enabled`", names::NAMESPACE_INJECTION)
            }
            Self::NotSelected => {
                write!(f, "the namespace has no label {} or {}", names::NAMESPACE_INJECTION, names::REVISION)
            }
            Self::OtherRevision(revision) => write!(f, "the labels select revision {revision}"),
        }
    }
}

impl Injector {
    /// Whether `pod` joins the mesh. Namespace labels are weighed only where [`Context::namespace_labels`] has them: in
    /// an admission request the API server's selectors have done that already, with fresher labels than ours.
    pub fn decide(&self, pod: &Value, context: &Context) -> Decision {
        match self.refusal(PodRef(pod), context) {
            Some(reason) => Decision::Skip(reason),
            None => Decision::Inject,
        }
    }

    fn refusal(&self, pod: PodRef<'_>, context: &Context) -> Option<Reason> {
        if pod.spec("hostNetwork").and_then(Value::as_bool) == Some(true) {
            return Some(Reason::HostNetwork);
        }
        // A proxy there could keep the cluster from starting.
        if meltemi_config::namespace::is_system(&context.namespace) {
            return Some(Reason::SystemNamespace(context.namespace.clone()));
        }
        if already_injected(pod) {
            return Some(Reason::AlreadyInjected);
        }
        let wish = wish(pod);
        if let Some(labels) = &context.namespace_labels
            && let Some(reason) = self.not_selected(pod, labels)
        {
            return Some(reason);
        }
        match wish {
            Some((true, _)) => None,
            Some((false, place)) => Some(Reason::OptedOut(place)),
            None => self.default_refusal(pod),
        }
    }

    /// For a pod that says nothing itself.
    fn default_refusal(&self, pod: PodRef<'_>) -> Option<Reason> {
        let any = |selectors: &[LabelSelector]| selectors.iter().any(|s| s.matches(|key| pod.label(key)));
        let webhook = &self.values.sidecar_injector_webhook;
        if any(&self.config.never_inject_selector) || any(&webhook.never_inject_selector) {
            return Some(Reason::NeverInjectSelector);
        }
        if any(&self.config.always_inject_selector) || any(&webhook.always_inject_selector) {
            return None;
        }
        let istiod = pod.label("app") == Some("istiod") || pod.label("istio") == Some("pilot");
        if istiod {
            return Some(Reason::ControlPlaneNamespace(self.values.global.istio_namespace.clone()));
        }
        (self.config.policy == Policy::Disabled).then_some(Reason::PolicyDisabled)
    }

    /// What the webhook's selectors would say.
    fn not_selected(&self, pod: PodRef<'_>, namespace: &BTreeMap<String, String>) -> Option<Reason> {
        let ours = self.revision();
        let pod_wish = pod.label(names::INJECT).and_then(flag);
        let pod_revision = pod.label(names::REVISION);
        if let Some(injection) = namespace.get(names::NAMESPACE_INJECTION) {
            return match injection.as_str() {
                "enabled" if ours == "default" => None,
                "enabled" => Some(Reason::OtherRevision("default".to_owned())),
                _ => Some(Reason::NamespaceOptedOut),
            };
        }
        let revision = namespace.get(names::REVISION).map(String::as_str).or(pod_revision);
        match revision {
            Some(revision) if revision == ours => None,
            Some(revision) => Some(Reason::OtherRevision(revision.to_owned())),
            None if pod_wish == Some(true) && ours == "default" => None,
            None if self.values.sidecar_injector_webhook.enable_namespaces_by_default
                && ours == "default" =>
            {
                None
            }
            None => Some(Reason::NotSelected),
        }
    }
}

/// What the pod itself asks for: the label counts before the older annotation.
fn wish(pod: PodRef<'_>) -> Option<(bool, &'static str)> {
    let label = pod.label(names::INJECT).filter(|value| !value.is_empty()).map(|value| (value, "label"));
    let annotation =
        || pod.annotation(names::INJECT).filter(|value| !value.is_empty()).map(|value| (value, "annotation"));
    label.or_else(annotation).map(|(value, place)| (flag(value) == Some(true), place))
}

/// A pod with our status and the proxy that it tells of. A proxy alone is one that the template has yet to fill.
fn already_injected(pod: PodRef<'_>) -> bool {
    let proxy = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| pod.containers(list))
        .find(|container| name(container) == PROXY_CONTAINER);
    proxy.is_some() && pod.annotation(names::STATUS).is_some()
}
