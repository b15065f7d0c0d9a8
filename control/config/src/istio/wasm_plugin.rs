//! WasmPlugin: a WebAssembly filter in the proxies of workloads.

use serde_json::{Map, Value};

use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};

message! {
    /// A filter for the selected workloads.
    #[schemars(extend("x-oneof" = [["selector", "targetRef", "targetRefs"]]))]
    pub struct WasmPlugin {
        pub selector: Option<WorkloadSelector>,
        #[schemars(extend("x-deprecated" = "use `targetRefs`"))]
        pub target_ref: Option<PolicyTargetReference>,
        pub target_refs: Vec<PolicyTargetReference>,
        pub url: String,
        pub sha256: String,
        pub image_pull_policy: PullPolicy,
        pub image_pull_secret: String,
        pub verification_key: String,
        pub plugin_config: Option<Map<String, Value>>,
        pub plugin_name: String,
        pub phase: PluginPhase,
        pub priority: Option<i32>,
        pub fail_strategy: FailStrategy,
        pub vm_config: Option<VmConfig>,
        #[serde(rename = "match")]
        pub matches: Vec<TrafficSelector>,
        #[serde(rename = "type")]
        pub plugin_type: PluginType,
    }

    /// Environment of the virtual machine.
    pub struct VmConfig {
        pub env: Vec<EnvVar>,
    }

    /// A variable.
    pub struct EnvVar {
        pub name: String,
        pub value_from: EnvValueSource,
        pub value: String,
    }

    /// Which traffic passes through the filter.
    pub struct TrafficSelector {
        pub mode: WorkloadSide,
        pub ports: Vec<PortNumber>,
    }

    /// A port by number.
    pub struct PortNumber {
        pub number: u32,
    }
}

enumeration! {
    /// Which side of a request.
    pub enum WorkloadSide {
        #[default]
        Undefined,
        Client,
        Server,
        ClientAndServer,
    }

    /// When the module is fetched.
    pub enum PullPolicy {
        #[default]
        #[serde(rename = "UNSPECIFIED_POLICY")]
        Unspecified,
        #[serde(rename = "IfNotPresent")]
        IfNotPresent,
        #[serde(rename = "Always")]
        Always,
    }

    /// Where the filter stands.
    pub enum PluginPhase {
        #[default]
        #[serde(rename = "UNSPECIFIED_PHASE")]
        Unspecified,
        Authn,
        Authz,
        Stats,
    }

    /// What happens when the filter fails.
    pub enum FailStrategy {
        #[default]
        FailClose,
        FailOpen,
        FailReload,
    }

    /// HTTP or network filter.
    pub enum PluginType {
        #[default]
        #[serde(rename = "UNSPECIFIED_PLUGIN_TYPE")]
        Unspecified,
        Http,
        Network,
    }

    /// Where a variable's value comes from.
    pub enum EnvValueSource {
        #[default]
        Inline,
        Host,
    }
}
