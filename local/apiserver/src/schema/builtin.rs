//! Schemas of the built-in kinds, from the JSON schemas of `k8s-openapi`, with the merge keys that those lack.

use super::{Definitions, merge_keys};
use k8s_openapi::api;
use k8s_openapi::schemars::JsonSchema;
use k8s_openapi::schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// All definitions reachable from the built-in kinds, once.
pub fn definitions() -> Arc<Definitions> {
    static ALL: LazyLock<Arc<Definitions>> = LazyLock::new(|| Arc::new(build()));
    ALL.clone()
}

macro_rules! add {
    ($generator:expr; $($ty:ty),* $(,)?) => { $( add_type::<$ty>(&mut $generator); )* };
}

fn add_type<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

fn build() -> Definitions {
    let settings = SchemaSettings::openapi3().with(|s| s.transforms.clear());
    let mut g = settings.into_generator();
    add_core(&mut g);
    add_groups(&mut g);
    let mut defs: Definitions = g.take_definitions(false);
    for (name, schema) in &mut defs {
        tidy(name, schema);
    }
    merge_keys::annotate(&mut defs);
    defs
}

fn add_core(g: &mut SchemaGenerator) {
    use api::core::v1::*;
    add!(*g; Namespace, Node, Pod, Service, Endpoints, ConfigMap, Secret, ServiceAccount, Event,
        PersistentVolume, PersistentVolumeClaim, LimitRange, ResourceQuota, PodTemplate, ReplicationController, Binding);
    add!(*g; k8s_openapi::apimachinery::pkg::apis::meta::v1::Status,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions);
}

fn add_groups(g: &mut SchemaGenerator) {
    add!(*g;
        api::apps::v1::Deployment, api::apps::v1::ReplicaSet, api::apps::v1::StatefulSet, api::apps::v1::DaemonSet,
        api::apps::v1::ControllerRevision, api::batch::v1::Job, api::batch::v1::CronJob,
        api::discovery::v1::EndpointSlice, api::networking::v1::Ingress, api::networking::v1::IngressClass,
        api::networking::v1::NetworkPolicy, api::rbac::v1::Role, api::rbac::v1::RoleBinding,
        api::rbac::v1::ClusterRole, api::rbac::v1::ClusterRoleBinding, api::coordination::v1::Lease,
        api::admissionregistration::v1::MutatingWebhookConfiguration,
        api::admissionregistration::v1::ValidatingWebhookConfiguration,
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        api::autoscaling::v2::HorizontalPodAutoscaler, api::autoscaling::v1::Scale,
        api::policy::v1::PodDisruptionBudget, api::policy::v1::Eviction, api::events::v1::Event,
        api::authentication::v1::TokenReview, api::authentication::v1::TokenRequest,
        api::authentication::v1::SelfSubjectReview, api::authorization::v1::SelfSubjectAccessReview,
        api::authorization::v1::SubjectAccessReview, api::authorization::v1::LocalSubjectAccessReview,
        api::authorization::v1::SelfSubjectRulesReview,
        api::scheduling::v1::PriorityClass, api::storage::v1::StorageClass,
    );
}

/// Makes the schema what Kubernetes publishes: open types where the crate's schema says nothing.
fn tidy(name: &str, schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        *schema = json!({});
        return;
    };
    match name.rsplit('.').next() {
        Some("Quantity") => {
            map.insert("description".into(), json!("A fixed-point number such as 100m, 1.5 or 64Mi."));
            map.insert("oneOf".into(), json!([{"type": "string"}, {"type": "number"}]));
        }
        Some("IntOrString") => {
            map.insert("format".into(), json!("int-or-string"));
            map.insert("oneOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
        }
        Some("FieldsV1") => {
            map.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
        }
        Some(
            "JSON"
            | "RawExtension"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrStringArray",
        ) => {
            // Any JSON value, or one of several types: the crate's schema says `object`.
            map.remove("type");
            map.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
        }
        _ => {}
    }
}
