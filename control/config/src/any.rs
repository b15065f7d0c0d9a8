//! An object of any kind.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::diagnostic::FieldError;
use crate::istio::{
    AuthorizationPolicy, DestinationRule, EnvoyFilter, Gateway, PeerAuthentication, ProxyConfig,
    RequestAuthentication, ServiceEntry, Sidecar, Telemetry, TrafficExtension, VirtualService, WasmPlugin,
    WorkloadEntry, WorkloadGroup,
};
use crate::parse::{self, Parsed};
use crate::shape::Shape;
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

        /// The shape of a kind's spec; `None` for Kubernetes' kinds.
        pub(crate) fn spec_shape(kind: Kind) -> Option<&'static Shape> {
            match kind {
                $(Kind::$istio => {
                    static SHAPE: OnceLock<Shape> = OnceLock::new();
                    Some(SHAPE.get_or_init(Shape::of::<$istio>))
                })*
                $(Kind::$core => None,)*
            }
        }

        /// Parses an object whose kind is known.
        pub(crate) fn build(kind: Kind, value: &Value) -> Result<Parsed, Vec<FieldError>> {
            match kind {
                $(Kind::$istio => parse::istio::<$istio>(value),)*
                $(Kind::$core => parse::kubernetes::<k8s::$core>(value),)*
            }
        }

        impl AnyObject {
            /// The object as Kubernetes' JSON, in the preferred version.
            pub fn to_value(&self) -> Value {
                match self {
                    $(AnyObject::$istio(object) => istio_value(object),)*
                    $(AnyObject::$core(object) => serde_json::to_value(object.as_ref()).unwrap_or_default(),)*
                }
            }

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

fn istio_value<S: Spec>(object: &Object<S>) -> Value {
    let mut value = json!({
        "apiVersion": S::KIND.api_version(), "kind": S::KIND.name(), "metadata": object.meta, "spec": object.spec,
    });
    if let (Some(status), Some(fields)) = (&object.status, value.as_object_mut()) {
        fields.insert("status".to_owned(), status.clone());
    }
    value
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
