//! IST0107 and IST0108: annotations of Istio that are unknown, or stand where nobody reads them.

use std::collections::BTreeMap;

use meltemi_config::path::Path;
use meltemi_config::suggest::nearest;
use meltemi_config::{AnyObject, Kind};

use crate::code;
use crate::context::{Context, warning};

/// Where an annotation is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Any,
    Pod,
    Service,
    PodOrService,
    Policy,
    Namespace,
}

/// Istio's annotations.
#[rustfmt::skip]
const KNOWN: &[(&str, On)] = &[
    ("sidecar.istio.io/inject", On::Pod), ("sidecar.istio.io/status", On::Pod), ("sidecar.istio.io/rewriteAppHTTPProbers", On::Pod),
    ("sidecar.istio.io/proxyImage", On::Pod), ("sidecar.istio.io/proxyImageType", On::Pod), ("sidecar.istio.io/proxyCPU", On::Pod),
    ("sidecar.istio.io/proxyCPULimit", On::Pod), ("sidecar.istio.io/proxyMemory", On::Pod), ("sidecar.istio.io/proxyMemoryLimit", On::Pod),
    ("sidecar.istio.io/interceptionMode", On::Pod), ("sidecar.istio.io/bootstrapOverride", On::Pod),
    ("sidecar.istio.io/statsInclusionPrefixes", On::Pod), ("sidecar.istio.io/statsInclusionSuffixes", On::Pod),
    ("sidecar.istio.io/statsInclusionRegexps", On::Pod), ("sidecar.istio.io/statsHistogramBuckets", On::Pod),
    ("sidecar.istio.io/statsHistogramBins", On::Pod), ("sidecar.istio.io/statsFlushInterval", On::Pod),
    ("sidecar.istio.io/statsEvictionInterval", On::Pod), ("sidecar.istio.io/statsCompression", On::Pod),
    ("sidecar.istio.io/extraStatTags", On::Pod), ("sidecar.istio.io/userVolume", On::Pod), ("sidecar.istio.io/userVolumeMount", On::Pod),
    ("sidecar.istio.io/logLevel", On::Pod), ("sidecar.istio.io/componentLogLevel", On::Pod), ("sidecar.istio.io/agentLogLevel", On::Pod),
    ("sidecar.istio.io/nativeSidecar", On::Pod), ("sidecar.istio.io/discoveryAddress", On::Pod), ("status.sidecar.istio.io/port", On::Pod),
    ("readiness.status.sidecar.istio.io/initialDelaySeconds", On::Pod), ("readiness.status.sidecar.istio.io/periodSeconds", On::Pod),
    ("readiness.status.sidecar.istio.io/failureThreshold", On::Pod), ("readiness.status.sidecar.istio.io/applicationPorts", On::Pod),
    ("traffic.sidecar.istio.io/includeOutboundIPRanges", On::Pod), ("traffic.sidecar.istio.io/excludeOutboundIPRanges", On::Pod),
    ("traffic.sidecar.istio.io/includeInboundPorts", On::Pod), ("traffic.sidecar.istio.io/excludeInboundPorts", On::Pod),
    ("traffic.sidecar.istio.io/includeOutboundPorts", On::Pod), ("traffic.sidecar.istio.io/excludeOutboundPorts", On::Pod),
    ("traffic.sidecar.istio.io/excludeInterfaces", On::Pod), ("traffic.sidecar.istio.io/kubevirtInterfaces", On::Pod),
    ("istio.io/reroute-virtual-interfaces", On::Pod), ("inject.istio.io/templates", On::Pod), ("proxy.istio.io/config", On::Pod),
    ("proxy.istio.io/overrides", On::Pod), ("prometheus.istio.io/merge-metrics", On::Pod), ("istio.io/rev", On::Any),
    ("networking.istio.io/exportTo", On::Service), ("networking.istio.io/traffic-distribution", On::Service),
    ("networking.istio.io/service-type", On::Any), ("traffic.istio.io/nodeSelector", On::Service),
    ("topology.istio.io/controlPlaneClusters", On::Namespace), ("galley.istio.io/analyze-suppress", On::Any),
    ("istio.io/dry-run", On::Policy), ("istio.io/use-waypoint-canary-weight", On::Any), ("ambient.istio.io/redirection", On::Pod),
    ("ambient.istio.io/bypass-inbound-capture", On::Pod), ("ambient.istio.io/dns-capture", On::Pod),
    ("ambient.istio.io/waypoint-inbound-binding", On::Any), ("gateway.istio.io/controller-version", On::Any),
    ("gateway.istio.io/service-account", On::Any), ("gateway.istio.io/name-override", On::Any),
    ("install.operator.istio.io/chart-owner", On::Any), ("install.operator.istio.io/owner-generation", On::Any),
    ("install.operator.istio.io/version", On::Any), ("alpha.istio.io/identity", On::PodOrService),
    ("alpha.istio.io/kubernetes-serviceaccounts", On::Service), ("alpha.istio.io/canonical-serviceaccounts", On::Service),
];

pub(crate) fn all(context: &mut Context<'_>) {
    for position in 0..context.objects.len() {
        let Some(object) = context.objects.get(position) else { continue };
        let meta = object.meta();
        check(context, position, (object, &meta.annotations));
    }
}

fn check(
    context: &mut Context<'_>,
    position: usize,
    (object, annotations): (&AnyObject, &BTreeMap<String, String>),
) {
    for name in annotations.keys().filter(|name| is_istios(name)) {
        let path = Path::root().key("metadata").key("annotations").key(name);
        match KNOWN.iter().find(|(known, _)| known == name) {
            None => {
                let names: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
                let cure = nearest(name, &names)
                    .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean {near:?}?"));
                let found = warning(code::UNKNOWN_ANNOTATION, path, format!("Unknown annotation: {name}"));
                context.add(position, found.cure(cure));
            }
            Some((_, on)) if !fits(*on, object.kind()) => {
                let message = format!("Misplaced annotation: {name} can only be applied to {}", title(*on));
                let cure = if *on == On::Pod { "put it on the pod template" } else { "move it there" };
                context.add(position, warning(code::MISPLACED_ANNOTATION, path, message).cure(cure));
            }
            Some(_) => {}
        }
    }
}

fn is_istios(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain == "istio.io" || domain.ends_with(".istio.io"))
}

fn fits(on: On, kind: Kind) -> bool {
    match on {
        On::Any => true,
        On::Pod => kind == Kind::Pod,
        On::Service => matches!(kind, Kind::Service | Kind::ServiceEntry),
        On::PodOrService => matches!(kind, Kind::Pod | Kind::Service),
        On::Policy => kind == Kind::AuthorizationPolicy,
        On::Namespace => kind == Kind::Namespace,
    }
}

fn title(on: On) -> &'static str {
    match on {
        On::Any => "anything",
        On::Pod => "Pod",
        On::Service => "Service",
        On::PodOrService => "Pod or Service",
        On::Policy => "AuthorizationPolicy",
        On::Namespace => "Namespace",
    }
}
