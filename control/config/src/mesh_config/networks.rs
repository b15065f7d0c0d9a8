//! MeshNetworks: the networks of a mesh and the gateways between them.

use std::collections::BTreeMap;

message! {
    /// The key `meshNetworks` of ConfigMap `istio`.
    pub struct MeshNetworks {
        pub networks: BTreeMap<String, Network>,
    }

    /// One network.
    pub struct Network {
        pub endpoints: Vec<NetworkEndpoints>,
        pub gateways: Vec<IstioNetworkGateway>,
    }

    /// Which endpoints belong to the network.
    #[schemars(extend("x-oneof" = [["fromCidr", "fromRegistry"]]))]
    pub struct NetworkEndpoints {
        pub from_cidr: Option<String>,
        pub from_registry: Option<String>,
    }

    /// How the network is entered.
    #[schemars(extend("x-oneof" = [["registryServiceName", "address"]]))]
    pub struct IstioNetworkGateway {
        pub registry_service_name: Option<String>,
        pub address: Option<String>,
        pub port: u32,
        pub locality: String,
    }
}
