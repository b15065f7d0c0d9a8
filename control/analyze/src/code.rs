//! Istio's message codes, and their names as `istioctl analyze` knows them.

macro_rules! codes {
    ($($constant:ident = $code:literal $name:literal;)*) => {
        $(
            #[doc = $name]
            pub const $constant: &str = $code;
        )*

        /// All codes with their names.
        pub const ALL: &[(&str, &str)] = &[$(($code, $name)),*];

        /// The name of a code; empty for an unknown one.
        pub fn name(code: &str) -> &'static str {
            match code {
                $($code => $name,)*
                _ => "",
            }
        }
    };
}

codes! {
    DEPRECATED = "IST0002" "Deprecated";
    REFERENCED_RESOURCE_NOT_FOUND = "IST0101" "ReferencedResourceNotFound";
    NAMESPACE_NOT_INJECTED = "IST0102" "NamespaceNotInjected";
    POD_MISSING_PROXY = "IST0103" "PodMissingProxy";
    GATEWAY_PORT_NOT_ON_WORKLOAD = "IST0104" "GatewayPortNotOnWorkload";
    SCHEMA_VALIDATION_ERROR = "IST0106" "SchemaValidationError";
    MISPLACED_ANNOTATION = "IST0107" "MisplacedAnnotation";
    UNKNOWN_ANNOTATION = "IST0108" "UnknownAnnotation";
    CONFLICTING_MESH_GATEWAY_VIRTUAL_SERVICE_HOSTS = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts";
    CONFLICTING_SIDECAR_WORKLOAD_SELECTORS = "IST0110" "ConflictingSidecarWorkloadSelectors";
    MULTIPLE_SIDECARS_WITHOUT_WORKLOAD_SELECTORS = "IST0111" "MultipleSidecarsWithoutWorkloadSelectors";
    VIRTUAL_SERVICE_DESTINATION_PORT_SELECTOR_REQUIRED = "IST0112" "VirtualServiceDestinationPortSelectorRequired";
    MTLS_POLICY_CONFLICT = "IST0113" "MTLSPolicyConflict";
    PORT_NAME_IS_NOT_UNDER_NAMING_CONVENTION = "IST0118" "PortNameIsNotUnderNamingConvention";
    NO_SERVER_CERTIFICATE_VERIFICATION_DESTINATION_LEVEL = "IST0128" "NoServerCertificateVerificationDestinationLevel";
    NO_SERVER_CERTIFICATE_VERIFICATION_PORT_LEVEL = "IST0129" "NoServerCertificateVerificationPortLevel";
    VIRTUAL_SERVICE_UNREACHABLE_RULE = "IST0130" "VirtualServiceUnreachableRule";
    VIRTUAL_SERVICE_INEFFECTIVE_MATCH = "IST0131" "VirtualServiceIneffectiveMatch";
    VIRTUAL_SERVICE_HOST_NOT_FOUND_IN_GATEWAY = "IST0132" "VirtualServiceHostNotFoundInGateway";
    SERVICE_ENTRY_ADDRESSES_REQUIRED = "IST0134" "ServiceEntryAddressesRequired";
    CONFLICTING_GATEWAYS = "IST0145" "ConflictingGateways";
    WITHOUT_EFFECT = "MEL0001" "FieldWithoutEffect";
}
