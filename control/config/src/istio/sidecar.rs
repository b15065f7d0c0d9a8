//! Sidecar: what a workload's proxy accepts and what it may know of the mesh.

use crate::istio::destination_rule::ConnectionPoolSettings;
use crate::istio::gateway::ServerTlsSettings;
use crate::istio::selector::LabelsSelector;
use crate::istio::virtual_service::Destination;

message! {
    /// Inbound and outbound listeners of the selected workloads, or of the namespace.
    pub struct Sidecar {
        pub workload_selector: Option<LabelsSelector>,
        pub ingress: Vec<IstioIngressListener>,
        pub egress: Vec<IstioEgressListener>,
        pub inbound_connection_pool: Option<ConnectionPoolSettings>,
        pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    /// An inbound port.
    pub struct IstioIngressListener {
        pub port: Option<SidecarPort>,
        pub bind: String,
        pub capture_mode: CaptureMode,
        pub default_endpoint: String,
        pub tls: Option<ServerTlsSettings>,
        pub connection_pool: Option<ConnectionPoolSettings>,
    }

    /// Outbound hosts, perhaps of one port.
    pub struct IstioEgressListener {
        pub port: Option<SidecarPort>,
        pub bind: String,
        pub capture_mode: CaptureMode,
        /// `namespace/dnsName` with `.`, `~` and `*`.
        pub hosts: Vec<String>,
    }

    /// A port with its protocol.
    pub struct SidecarPort {
        pub number: u32,
        pub protocol: String,
        pub name: String,
        #[schemars(extend("x-deprecated" = "it has no effect"))]
        pub target_port: u32,
    }

    /// Traffic to hosts that the proxy does not know.
    pub struct OutboundTrafficPolicy {
        pub mode: OutboundTrafficPolicyMode,
        #[schemars(extend("x-deprecated" = "it has no effect"))]
        pub egress_proxy: Option<Destination>,
    }
}

enumeration! {
    /// How traffic comes to the listener.
    pub enum CaptureMode {
        #[default]
        Default,
        Iptables,
        None,
    }

    /// Traffic to hosts that the proxy does not know.
    pub enum OutboundTrafficPolicyMode {
        #[default]
        RegistryOnly,
        AllowAny,
        AllowAnyDynamicDns,
    }
}
