//! What Kubernetes has and this server has not: the answer says so by name, instead of a bare 404.

use crate::error::ApiError;

/// group, plural, kind, why not or what to do instead.
const ROWS: &[(&str, &str, &str, &str)] = &[
    ("", "componentstatuses", "ComponentStatus", "ask /readyz?verbose"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", USE_WEBHOOK),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
        USE_WEBHOOK,
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", USE_WEBHOOK),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        USE_WEBHOOK,
    ),
    (
        "apiregistration.k8s.io",
        "apiservices",
        "APIService",
        "there are no aggregated API servers; define kinds by CustomResourceDefinition",
    ),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "nothing is scaled by load here; use `kubectl scale`",
    ),
    ("certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest", "no signer runs here"),
    ("certificates.k8s.io", "clustertrustbundles", "ClusterTrustBundle", "no signer runs here"),
    ("extensions", "ingresses", "Ingress", "use networking.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", "FlowSchema", "requests are not queued by priority"),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
        "requests are not queued by priority",
    ),
    ("internal.apiserver.k8s.io", "storageversions", "StorageVersion", "objects are stored in one version"),
    ("metrics.k8s.io", "nodes", "NodeMetrics", "the Metrics API is not available"),
    ("metrics.k8s.io", "pods", "PodMetrics", "the Metrics API is not available"),
    ("networking.k8s.io", "ipaddresses", "IPAddress", "service addresses are kept by the server itself"),
    ("networking.k8s.io", "servicecidrs", "ServiceCIDR", "service addresses are kept by the server itself"),
    ("node.k8s.io", "runtimeclasses", "RuntimeClass", "pods are processes of this machine, of one class"),
    ("policy", "podsecuritypolicies", "PodSecurityPolicy", "pods are not restricted"),
    ("resource.k8s.io", "deviceclasses", "DeviceClass", NO_DEVICES),
    ("resource.k8s.io", "resourceclaims", "ResourceClaim", NO_DEVICES),
    ("resource.k8s.io", "resourceclaimtemplates", "ResourceClaimTemplate", NO_DEVICES),
    ("resource.k8s.io", "resourceslices", "ResourceSlice", NO_DEVICES),
    ("storage.k8s.io", "csidrivers", "CSIDriver", NO_STORAGE),
    ("storage.k8s.io", "csinodes", "CSINode", NO_STORAGE),
    ("storage.k8s.io", "csistoragecapacities", "CSIStorageCapacity", NO_STORAGE),
    ("storage.k8s.io", "volumeattachments", "VolumeAttachment", NO_STORAGE),
    ("storage.k8s.io", "volumeattributesclasses", "VolumeAttributesClass", NO_STORAGE),
];

const USE_WEBHOOK: &str = "admission is by webhooks here";
const NO_DEVICES: &str = "no devices are handed out here";
const NO_STORAGE: &str = "volumes are directories of this machine, made by the StorageClass `standard`";

/// 404 for a resource that is not served: with its kind and the reason, where Kubernetes knows it.
pub fn unserved(group: &str, version: &str, plural: &str) -> ApiError {
    let Some((_, _, kind, why)) = ROWS.iter().find(|row| (row.0, row.1) == (group, plural)) else {
        return ApiError::no_such_path();
    };
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiError::not_found_because(format!("the local API server does not serve {kind} ({version}): {why}"))
}

/// What a stored object of this kind does not do here, for a warning to its creator.
pub fn without_effect(group: &str, plural: &str) -> Option<&'static str> {
    match (group, plural) {
        ("autoscaling", "horizontalpodautoscalers") => Some(
            "HorizontalPodAutoscaler is stored but has no effect in the local cluster: nothing is scaled by load",
        ),
        ("networking.k8s.io", "networkpolicies") => Some(
            "NetworkPolicy is stored but has no effect in the local cluster: no traffic is filtered by it",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_knows_is_refused_by_name() {
        let error = unserved("autoscaling", "v1", "horizontalpodautoscalers");
        assert_eq!(
            error.message,
            "the local API server does not serve HorizontalPodAutoscaler (autoscaling/v1): nothing is scaled by load here; use `kubectl scale`"
        );
        assert_eq!(error.to_status()["details"], serde_json::json!({}), "kubectl debug reads it unasked");
        assert_eq!(unserved("example.com", "v1", "frobs"), ApiError::no_such_path());
    }

    #[test]
    fn nothing_is_both_served_and_refused() {
        for resource in crate::registry::Registry::builtin().collections() {
            let refused = ROWS.iter().any(|row| (row.0, row.1) == (&resource.group, &resource.plural));
            assert!(!refused || resource.plural == "horizontalpodautoscalers", "{}", resource.qualified());
        }
    }
}
