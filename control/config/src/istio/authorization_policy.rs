//! AuthorizationPolicy: who may call what.

use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};

message! {
    /// Rules for the selected workloads.
    #[schemars(extend("x-oneof" = [["selector", "targetRef", "targetRefs"]]))]
    pub struct AuthorizationPolicy {
        pub selector: Option<WorkloadSelector>,
        #[schemars(extend("x-deprecated" = "use `targetRefs`"))]
        pub target_ref: Option<PolicyTargetReference>,
        pub target_refs: Vec<PolicyTargetReference>,
        /// No rule never matches; a rule `{}` always does.
        pub rules: Vec<Rule>,
        pub action: Action,
        pub provider: Option<ExtensionProviderRef>,
    }

    /// Matches when one of `from`, one of `to` and all of `when` match.
    pub struct Rule {
        pub from: Vec<RuleFrom>,
        pub to: Vec<RuleTo>,
        pub when: Vec<Condition>,
    }

    /// Where a request comes from.
    pub struct RuleFrom {
        pub source: Option<Source>,
    }

    /// What a request asks for.
    pub struct RuleTo {
        pub operation: Option<Operation>,
    }

    /// Identities and addresses.
    pub struct Source {
        pub principals: Vec<String>,
        pub not_principals: Vec<String>,
        pub request_principals: Vec<String>,
        pub not_request_principals: Vec<String>,
        pub namespaces: Vec<String>,
        pub not_namespaces: Vec<String>,
        pub service_accounts: Vec<String>,
        pub not_service_accounts: Vec<String>,
        pub trust_domains: Vec<String>,
        pub not_trust_domains: Vec<String>,
        pub ip_blocks: Vec<String>,
        pub not_ip_blocks: Vec<String>,
        pub remote_ip_blocks: Vec<String>,
        pub not_remote_ip_blocks: Vec<String>,
    }

    /// Hosts, ports, methods and paths.
    pub struct Operation {
        pub hosts: Vec<String>,
        pub not_hosts: Vec<String>,
        pub ports: Vec<String>,
        pub not_ports: Vec<String>,
        pub methods: Vec<String>,
        pub not_methods: Vec<String>,
        pub paths: Vec<String>,
        pub not_paths: Vec<String>,
    }

    /// An attribute and its values.
    pub struct Condition {
        pub key: String,
        pub values: Vec<String>,
        pub not_values: Vec<String>,
    }

    /// An external authorizer of MeshConfig.
    pub struct ExtensionProviderRef {
        pub name: String,
    }
}

enumeration! {
    /// What a match means.
    pub enum Action {
        #[default]
        Allow,
        Deny,
        Audit,
        Custom,
    }
}
