//! EnvoyFilter: patches to the generated Envoy configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::istio::selector::{LabelsSelector, PolicyTargetReference};

message! {
    /// Patches for the selected workloads.
    #[schemars(extend("x-oneof" = [["workloadSelector", "targetRefs"]]))]
    pub struct EnvoyFilter {
        pub workload_selector: Option<LabelsSelector>,
        pub target_refs: Vec<PolicyTargetReference>,
        pub config_patches: Vec<EnvoyConfigObjectPatch>,
        pub priority: i32,
    }

    /// One patch.
    pub struct EnvoyConfigObjectPatch {
        pub apply_to: ApplyTo,
        #[serde(rename = "match")]
        pub matches: Option<EnvoyConfigObjectMatch>,
        pub patch: Option<Patch>,
    }

    /// What of the configuration a patch is for.
    #[schemars(extend("x-oneof" = [["listener", "routeConfiguration", "cluster", "waypoint"]]))]
    pub struct EnvoyConfigObjectMatch {
        pub context: PatchContext,
        pub proxy: Option<ProxyMatch>,
        pub listener: Option<ListenerMatch>,
        pub route_configuration: Option<RouteConfigurationMatch>,
        pub cluster: Option<ClusterMatch>,
        pub waypoint: Option<WaypointMatch>,
    }

    /// By the proxy.
    pub struct ProxyMatch {
        /// A regular expression.
        pub proxy_version: String,
        pub metadata: BTreeMap<String, String>,
    }

    /// By the cluster.
    pub struct ClusterMatch {
        pub port_number: u32,
        pub service: String,
        pub subset: String,
        pub name: String,
    }

    /// By the route configuration.
    pub struct RouteConfigurationMatch {
        pub port_number: u32,
        pub port_name: String,
        pub gateway: String,
        pub vhost: Option<VirtualHostMatch>,
        pub name: String,
    }

    /// By the virtual host.
    pub struct VirtualHostMatch {
        pub name: String,
        pub domain_name: String,
        pub route: Option<RouteMatch>,
    }

    /// By the route.
    pub struct RouteMatch {
        pub name: String,
        pub action: RouteMatchAction,
    }

    /// By the listener.
    pub struct ListenerMatch {
        pub port_number: u32,
        pub port_name: String,
        pub filter_chain: Option<FilterChainMatch>,
        pub listener_filter: String,
        pub name: String,
    }

    /// By the filter chain.
    pub struct FilterChainMatch {
        pub name: String,
        pub sni: String,
        pub transport_protocol: String,
        pub transport_socket: Option<TransportSocketMatch>,
        pub application_protocols: String,
        pub filter: Option<FilterMatch>,
        pub destination_port: u32,
    }

    /// By the transport socket.
    pub struct TransportSocketMatch {
        pub name: String,
    }

    /// By a network filter.
    pub struct FilterMatch {
        pub name: String,
        pub sub_filter: Option<SubFilterMatch>,
    }

    /// By an HTTP filter inside the connection manager.
    pub struct SubFilterMatch {
        pub name: String,
    }

    /// By a waypoint's parts.
    pub struct WaypointMatch {
        pub port_number: u32,
        pub filter: Option<FilterMatch>,
        pub route: Option<WaypointRouteMatch>,
    }

    /// By a waypoint's route.
    pub struct WaypointRouteMatch {
        pub name: String,
    }

    /// What is changed.
    pub struct Patch {
        pub operation: PatchOperation,
        /// Envoy configuration as JSON.
        pub value: Option<Map<String, Value>>,
        pub filter_class: FilterClass,
    }
}

enumeration! {
    /// Kind of the object that is patched.
    pub enum ApplyTo {
        #[default]
        Invalid,
        Listener,
        FilterChain,
        NetworkFilter,
        HttpFilter,
        RouteConfiguration,
        VirtualHost,
        HttpRoute,
        Cluster,
        ExtensionConfig,
        Bootstrap,
        ListenerFilter,
    }

    /// Which direction or role.
    pub enum PatchContext {
        #[default]
        Any,
        SidecarInbound,
        SidecarOutbound,
        Gateway,
        Waypoint,
    }

    /// How the patch is carried out.
    pub enum PatchOperation {
        #[default]
        Invalid,
        Merge,
        Add,
        Remove,
        InsertBefore,
        InsertAfter,
        InsertFirst,
        Replace,
        MergeAndReplaceList,
    }

    /// Where an added filter stands.
    pub enum FilterClass {
        #[default]
        Unspecified,
        Authn,
        Authz,
        Stats,
    }

    /// What a route does.
    pub enum RouteMatchAction {
        #[default]
        Any,
        Route,
        Redirect,
        DirectResponse,
    }
}
