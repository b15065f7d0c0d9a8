//! An object of any kind.

use std::sync::Arc;

use crate::istio::{
    AuthorizationPolicy, DestinationRule, EnvoyFilter, Gateway, PeerAuthentication, ProxyConfig,
    RequestAuthentication, ServiceEntry, Sidecar, Telemetry, TrafficExtension, VirtualService, WasmPlugin,
    WorkloadEntry, WorkloadGroup,
};
use crate::{Kind, Meta, Object, Spec, k8s};

/// Makes the enumeration and all that depends only on the list of kinds.
macro_rules! any_object {
    (istio: $($istio:ident),*; k8s: $($core:ident),*) => {
        /// An object of any kind the mesh reads; cheap to clone.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the variants are the kinds' own names")]
        pub enum AnyObject {
            $($istio(Arc<Object<$istio>>),)*
            $($core(Arc<k8s::$core>),)*
        }

        $(
            impl Spec for $istio {
                const KIND: Kind = Kind::$istio;
            }

            impl From<Object<$istio>> for AnyObject {
                fn from(object: Object<$istio>) -> Self {
                    AnyObject::$istio(Arc::new(object))
                }
            }
        )*

        $(
            impl From<k8s::$core> for AnyObject {
                fn from(object: k8s::$core) -> Self {
                    AnyObject::$core(Arc::new(object))
                }
            }
        )*

        impl AnyObject {
            /// The object's kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(AnyObject::$istio(_) => Kind::$istio,)*
                    $(AnyObject::$core(_) => Kind::$core,)*
                }
            }

            /// The name.
            pub fn name(&self) -> &str {
                match self {
                    $(AnyObject::$istio(object) => &object.meta.name,)*
                    $(AnyObject::$core(object) => object.metadata.name.as_deref().unwrap_or_default(),)*
                }
            }

            /// The namespace; empty for kinds of cluster scope.
            pub fn namespace(&self) -> &str {
                match self {
                    $(AnyObject::$istio(object) => &object.meta.namespace,)*
                    $(AnyObject::$core(object) => object.metadata.namespace.as_deref().unwrap_or_default(),)*
                }
            }

            /// The metadata in our form.
            pub fn meta(&self) -> Meta {
                match self {
                    $(AnyObject::$istio(object) => object.meta.clone(),)*
                    $(AnyObject::$core(object) => Meta::from(&object.metadata),)*
                }
            }
        }
    };
}

any_object! {
    istio: VirtualService, DestinationRule, Gateway, ServiceEntry, Sidecar, WorkloadEntry, WorkloadGroup, EnvoyFilter,
        ProxyConfig, AuthorizationPolicy, PeerAuthentication, RequestAuthentication, Telemetry, WasmPlugin,
        TrafficExtension;
    k8s: Service, EndpointSlice, Pod, Namespace, Secret, ConfigMap, Node
}

impl From<&k8s::ObjectMeta> for Meta {
    fn from(meta: &k8s::ObjectMeta) -> Self {
        Meta {
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            creation_timestamp: meta
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.to_string())
                .unwrap_or_default(),
        }
    }
}
