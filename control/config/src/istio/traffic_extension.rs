//! TrafficExtension: a WebAssembly or Lua filter in the proxies of workloads.

use serde_json::{Map, Value};

use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};
use crate::istio::wasm_plugin::{FailStrategy, PluginType, PullPolicy, TrafficSelector, VmConfig};

message! {
    /// A filter for the selected workloads.
    #[schemars(extend("x-oneof" = [["selector", "targetRefs"], ["wasm", "lua"]]))]
    pub struct TrafficExtension {
        pub selector: Option<WorkloadSelector>,
        pub target_refs: Vec<PolicyTargetReference>,
        pub phase: ExtensionPhase,
        pub priority: Option<i32>,
        #[serde(rename = "match")]
        pub matches: Vec<TrafficSelector>,
        pub wasm: Option<WasmConfig>,
        pub lua: Option<LuaConfig>,
    }

    /// A WebAssembly module.
    pub struct WasmConfig {
        pub url: String,
        pub sha256: String,
        pub image_pull_policy: PullPolicy,
        pub image_pull_secret: String,
        pub verification_key: String,
        pub plugin_name: String,
        pub plugin_config: Option<Map<String, Value>>,
        pub fail_strategy: FailStrategy,
        pub vm_config: Option<VmConfig>,
        #[serde(rename = "type")]
        pub plugin_type: PluginType,
    }

    /// A Lua script.
    pub struct LuaConfig {
        pub inline_code: String,
    }
}

enumeration! {
    /// Where the filter stands.
    pub enum ExtensionPhase {
        #[default]
        Unspecified,
        Authn,
        Authz,
        Stats,
    }
}
