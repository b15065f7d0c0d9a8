//! Every kind the mesh knows: group, versions, names and scope in one table.

use std::{fmt, str::FromStr};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are the kinds' own names")]
pub enum Kind {
    VirtualService,
    DestinationRule,
    Gateway,
    ServiceEntry,
    Sidecar,
    WorkloadEntry,
    WorkloadGroup,
    EnvoyFilter,
    ProxyConfig,
    AuthorizationPolicy,
    PeerAuthentication,
    RequestAuthentication,
    Telemetry,
    WasmPlugin,
    TrafficExtension,
    Service,
    EndpointSlice,
    Pod,
    Namespace,
    Secret,
    ConfigMap,
    Node,
}

/// What Kubernetes must know of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// The kind.
    pub kind: Kind,
    /// As in `kind:`.
    pub name: &'static str,
    /// API group; empty for Kubernetes' core group.
    pub group: &'static str,
    /// Versions, the preferred first.
    pub versions: &'static [&'static str],
    /// The version in which the API server stores the kind.
    pub storage: &'static str,
    /// As in URLs.
    pub plural: &'static str,
    /// As in `kubectl get`.
    pub singular: &'static str,
    /// Short names for `kubectl`.
    pub short_names: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";
const V1_BETA_ALPHA: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const V1_BETA: &[&str] = &["v1", "v1beta1"];

const fn istio(
    kind: Kind,
    names: (&'static str, &'static str, &'static str),
    group: &'static str,
    versions: &'static [&'static str],
    storage: &'static str,
    short_names: &'static [&'static str],
) -> KindInfo {
    let (name, plural, singular) = names;
    KindInfo { kind, name, group, versions, storage, plural, singular, short_names, namespaced: true }
}

const fn core(
    kind: Kind,
    names: (&'static str, &'static str, &'static str),
    group: &'static str,
    short_names: &'static [&'static str],
    namespaced: bool,
) -> KindInfo {
    let (name, plural, singular) = names;
    KindInfo {
        kind,
        name,
        group,
        versions: &["v1"],
        storage: "v1",
        plural,
        singular,
        short_names,
        namespaced,
    }
}

/// The table, in the order of the enumeration.
#[rustfmt::skip]
const TABLE: [KindInfo; 22] = [
    istio(Kind::VirtualService, ("VirtualService", "virtualservices", "virtualservice"), NETWORKING, V1_BETA_ALPHA, "v1", &["vs"]),
    istio(Kind::DestinationRule, ("DestinationRule", "destinationrules", "destinationrule"), NETWORKING, V1_BETA_ALPHA, "v1", &["dr"]),
    istio(Kind::Gateway, ("Gateway", "gateways", "gateway"), NETWORKING, V1_BETA_ALPHA, "v1", &["gw"]),
    istio(Kind::ServiceEntry, ("ServiceEntry", "serviceentries", "serviceentry"), NETWORKING, V1_BETA_ALPHA, "v1", &["se"]),
    istio(Kind::Sidecar, ("Sidecar", "sidecars", "sidecar"), NETWORKING, V1_BETA_ALPHA, "v1", &[]),
    istio(Kind::WorkloadEntry, ("WorkloadEntry", "workloadentries", "workloadentry"), NETWORKING, V1_BETA_ALPHA, "v1", &["we"]),
    istio(Kind::WorkloadGroup, ("WorkloadGroup", "workloadgroups", "workloadgroup"), NETWORKING, V1_BETA_ALPHA, "v1", &["wg"]),
    istio(Kind::EnvoyFilter, ("EnvoyFilter", "envoyfilters", "envoyfilter"), NETWORKING, &["v1alpha3"], "v1alpha3", &[]),
    istio(Kind::ProxyConfig, ("ProxyConfig", "proxyconfigs", "proxyconfig"), NETWORKING, &["v1beta1"], "v1beta1", &[]),
    istio(Kind::AuthorizationPolicy, ("AuthorizationPolicy", "authorizationpolicies", "authorizationpolicy"), SECURITY, V1_BETA, "v1", &["ap"]),
    istio(Kind::PeerAuthentication, ("PeerAuthentication", "peerauthentications", "peerauthentication"), SECURITY, V1_BETA, "v1", &["pa"]),
    istio(Kind::RequestAuthentication, ("RequestAuthentication", "requestauthentications", "requestauthentication"), SECURITY, V1_BETA, "v1", &["ra"]),
    istio(Kind::Telemetry, ("Telemetry", "telemetries", "telemetry"), "telemetry.istio.io", &["v1", "v1alpha1"], "v1alpha1", &["telemetry"]),
    istio(Kind::WasmPlugin, ("WasmPlugin", "wasmplugins", "wasmplugin"), EXTENSIONS, &["v1alpha1"], "v1alpha1", &[]),
    istio(Kind::TrafficExtension, ("TrafficExtension", "trafficextensions", "trafficextension"), EXTENSIONS, &["v1alpha1"], "v1alpha1", &[]),
    core(Kind::Service, ("Service", "services", "service"), "", &["svc"], true),
    core(Kind::EndpointSlice, ("EndpointSlice", "endpointslices", "endpointslice"), "discovery.k8s.io", &[], true),
    core(Kind::Pod, ("Pod", "pods", "pod"), "", &["po"], true),
    core(Kind::Namespace, ("Namespace", "namespaces", "namespace"), "", &["ns"], false),
    core(Kind::Secret, ("Secret", "secrets", "secret"), "", &[], true),
    core(Kind::ConfigMap, ("ConfigMap", "configmaps", "configmap"), "", &["cm"], true),
    core(Kind::Node, ("Node", "nodes", "node"), "", &["no"], false),
];

impl Kind {
    /// All kinds: Istio's, then Kubernetes'.
    pub fn all() -> impl Iterator<Item = Kind> {
        TABLE.iter().map(|info| info.kind)
    }

    /// Istio's kinds.
    pub fn istio() -> impl Iterator<Item = Kind> {
        Self::all().filter(|kind| kind.is_istio())
    }

    /// The row of the table.
    pub fn info(self) -> &'static KindInfo {
        &TABLE[self as usize]
    }

    /// As in `kind:`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// API group; empty for the core group.
    pub fn group(self) -> &'static str {
        self.info().group
    }

    /// Whether Istio owns the kind, so that it has a CRD.
    pub fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// `apiVersion` with the preferred version.
    pub fn api_version(self) -> String {
        let info = self.info();
        let version = info.versions.first().copied().unwrap_or("v1");
        if info.group.is_empty() { version.to_owned() } else { format!("{}/{version}", info.group) }
    }

    /// The kind of an `apiVersion` and `kind`; `None` if group, version or kind is not ours.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        TABLE
            .iter()
            .find(|info| info.name == kind && info.group == group && info.versions.contains(&version))
            .map(|info| info.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of the mesh; write it as in YAML, such as VirtualService")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Takes the name, the singular, the plural or a short name, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let lower = text.to_ascii_lowercase();
        TABLE
            .iter()
            .find(|info| {
                info.singular == lower || info.plural == lower || info.short_names.contains(&lower.as_str())
            })
            .map(|info| info.kind)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_enumeration() {
        for (position, info) in TABLE.iter().enumerate() {
            assert_eq!(info.kind as usize, position, "{}", info.name);
            assert!(info.versions.contains(&info.storage), "{}", info.name);
        }
    }

    #[test]
    fn finds_kinds_by_api_version_and_by_name() {
        assert_eq!(Kind::of("networking.istio.io/v1beta1", "VirtualService"), Some(Kind::VirtualService));
        assert_eq!(Kind::of("networking.istio.io/v2", "VirtualService"), None);
        assert_eq!(Kind::of("gateway.networking.k8s.io/v1", "Gateway"), None);
        assert_eq!(Kind::of("v1", "Service"), Some(Kind::Service));
        assert_eq!("vs".parse(), Ok(Kind::VirtualService));
        assert_eq!("DestinationRules".parse(), Ok(Kind::DestinationRule));
        assert_eq!(Kind::Service.api_version(), "v1");
    }
}
