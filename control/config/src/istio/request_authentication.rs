//! RequestAuthentication: which JWTs a workload trusts.

use crate::Duration;
use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};

message! {
    /// JWT rules for the selected workloads.
    #[schemars(extend("x-oneof" = [["selector", "targetRef", "targetRefs"]]))]
    pub struct RequestAuthentication {
        pub selector: Option<WorkloadSelector>,
        #[schemars(extend("x-deprecated" = "use `targetRefs`"))]
        pub target_ref: Option<PolicyTargetReference>,
        pub target_refs: Vec<PolicyTargetReference>,
        pub jwt_rules: Vec<JwtRule>,
    }

    /// One issuer.
    #[schemars(extend("x-oneof" = [["jwksUri", "jwks"]]))]
    pub struct JwtRule {
        pub issuer: String,
        pub audiences: Vec<String>,
        #[schemars(extend("x-also" = ["jwks_uri"]))]
        pub jwks_uri: String,
        pub jwks: String,
        pub from_headers: Vec<JwtHeader>,
        pub from_params: Vec<String>,
        pub from_cookies: Vec<String>,
        pub output_payload_to_header: String,
        pub forward_original_token: bool,
        pub output_claim_to_headers: Vec<ClaimToHeader>,
        pub timeout: Option<Duration>,
        pub space_delimited_claims: Vec<String>,
        pub presence: JwtPresence,
    }

    /// A header that holds a token.
    pub struct JwtHeader {
        pub name: String,
        pub prefix: String,
    }

    /// Copies a claim to a header.
    pub struct ClaimToHeader {
        pub header: String,
        pub claim: String,
    }
}

enumeration! {
    /// Whether a request without a token passes.
    pub enum JwtPresence {
        #[default]
        Unspecified,
        Optional,
        Required,
    }
}
